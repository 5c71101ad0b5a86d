"""Training drawings that a model redraws stroke by stroke, which features of whole pictures do not see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stroke_tokens import resample_strokes

Drawing = Sequence[NDArray[Any]]
FIRST_STROKES = 3
NUM_POINTS = 32
MOST_COMPARED = 500
"""Drawings of a side that are compared with all training drawings: 5 s for 10,000 of these."""


def stroke_copies(
    generated: Sequence[Drawing], training: Sequence[Drawing], reference_quantile: float = 0.01
) -> dict[str, float | int | None]:
    """Return the `share` of generated drawings whose first three strokes redraw those of a training drawing.

    The distance of two drawings is the mean distance, in pixels, of 32 points of each of their first three strokes, in
    order. A copy is nearer to a training drawing than all but `reference_quantile` of the training drawings are to
    another one, so that this is also the share that chance gives. `different` counts the training drawings copied.
    Drawings of fewer than three strokes are left out, and of more than MOST_COMPARED only so many, evenly spread, are
    compared. The share is None where nothing is left to compare.
    """
    ours, theirs = _first_strokes(generated), _first_strokes(training)
    found: dict[str, float | int | None] = {"share": None, "n_generated": len(ours), "n_training": len(theirs)}
    if not len(ours) or len(theirs) < 2:
        return found
    apart = [np.delete(_distances(theirs[i], theirs), i).min() for i in _spread(len(theirs))]
    limit = np.quantile(apart, reference_quantile)
    distances = [_distances(ours[i], theirs) for i in _spread(len(ours))]
    copied = [int(row.argmin()) for row in distances if row.min() < limit]
    return found | {"share": len(copied) / len(distances), "different": len(set(copied)), "limit_px": float(limit)}


def _first_strokes(drawings: Sequence[Drawing]) -> NDArray[np.complex64]:
    """Return the first strokes of each of the K drawings that have so many, as points x + i y, (K, 96) px."""
    strokes = [stroke for d in drawings if len(d) >= FIRST_STROKES for stroke in d[:FIRST_STROKES]]
    if not strokes:
        return np.zeros((0, FIRST_STROKES * NUM_POINTS), np.complex64)
    points = resample_strokes(np.concatenate(strokes), np.cumsum([0, *map(len, strokes)]), NUM_POINTS)
    return points.view(np.complex64).reshape(-1, FIRST_STROKES * NUM_POINTS)


def _distances(one: NDArray[np.complex64], others: NDArray[np.complex64]) -> NDArray[np.float32]:
    distances: NDArray[np.float32] = np.abs(others - one).mean(axis=1)
    return distances


def _spread(count: int) -> NDArray[np.int64]:
    """Return the indices of at most MOST_COMPARED of `count` things, evenly spread."""
    return np.unique(np.linspace(0, count - 1, MOST_COMPARED).astype(np.int64))
