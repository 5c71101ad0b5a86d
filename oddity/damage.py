"""Damaged drawings, to see whether a score notices: a scribble, a foreign stroke, one missing, another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Drawing = Sequence[NDArray[Any]]

DAMAGES = ("scribble added", "foreign stroke added", "stroke removed", "order shuffled")
SCRIBBLE_POINTS = 14


def damaged(drawing: Drawing, kind: str, foreign: Drawing, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    """Return a drawing with one damage of DAMAGES, strokes uint8 (n, 2) in the square of the dataset.

    A scribble goes to and fro over half of the drawing's box; the longest stroke of `foreign`, a drawing of something
    else, is added where it stands; the longest stroke is removed, where there are two or more.
    """
    strokes = [np.asarray(stroke, dtype=np.uint8) for stroke in drawing]
    if kind == "scribble added":
        low, high = np.concatenate(strokes).min(axis=0), np.concatenate(strokes).max(axis=0)
        middle = rng.uniform(low, np.maximum(high, low + 1))
        half = np.maximum((high - low) / 4, 8)
        points = middle + rng.uniform(-1, 1, (SCRIBBLE_POINTS, 2)) * half
        return [*strokes, np.clip(np.rint(points), 0, 255).astype(np.uint8)]
    if kind == "foreign stroke added":
        return [*strokes, np.asarray(max(foreign, key=_length), dtype=np.uint8)]
    if kind == "stroke removed":
        longest = max(range(len(strokes)), key=lambda number: _length(strokes[number]))
        return [s for number, s in enumerate(strokes) if number != longest] or strokes
    if kind == "order shuffled":
        return [strokes[number] for number in rng.permutation(len(strokes))]
    raise ValueError(f"'{kind}' is no damage, must be one of {', '.join(DAMAGES)}")


def _length(stroke: NDArray[Any]) -> float:
    return float(np.hypot(*np.diff(np.asarray(stroke, float), axis=0).T).sum())
