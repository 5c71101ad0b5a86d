"""Training drawings that a model redraws stroke by stroke, which features of whole pictures do not see."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stroke_tokens import resample_each

Drawing = Sequence[NDArray[Any]]
FIRST_STROKES = 3
NUM_POINTS = 32
MOST_COMPARED = 2_000
"""Drawings of a side that are compared with all training drawings: four seconds for 2,000 of them and 10,000."""


class TrainingStrokes:
    """The first strokes of training drawings, and how far each of these drawings lies from the nearest other one."""

    def __init__(self, drawings: Sequence[Drawing]) -> None:
        """Take the first three strokes of those drawings that have so many, which are `rows` of all."""
        self.drawings = drawings
        self.rows, self.points = _first_strokes(drawings)

    @cached_property
    def apart(self) -> NDArray[np.float32]:
        """Return the distance, in pixels, of at most MOST_COMPARED of the drawings to the nearest other one."""
        rows = _spread(len(self.points))
        return _nearest(self.points[rows], self.points, themselves=rows)[0]

    def limit(self, quantile: float = 0.01) -> float:
        """Return the distance, in pixels, below which a drawing is a copy: chance finds the share `quantile`."""
        return float(np.quantile(self.apart, quantile))


def nearest_pairs(generated: Sequence[Drawing], training: TrainingStrokes, count: int) -> list[tuple[int, int, float]]:
    """Return the `count` generated drawings whose first three strokes are nearest to a training drawing's, in order.

    Each is (index of the generated drawing, index of the training drawing, distance in pixels).
    """
    rows, ours = _first_strokes(generated)
    if len(training.points) < 2:
        return []
    distances, nearest = _nearest(ours, training.points)
    order = np.argsort(distances, kind="stable")[:count]
    return [(int(rows[i]), int(training.rows[nearest[i]]), float(distances[i])) for i in order]


def stroke_copies(
    generated: Sequence[Drawing], training: TrainingStrokes, reference_quantile: float = 0.01
) -> dict[str, float | int | None]:
    """Return the `share` of generated drawings whose first three strokes redraw those of a training drawing.

    The distance of two drawings is the mean distance, in pixels, of 32 points of each of their first three strokes, in
    order. A copy is nearer to a training drawing than all but `reference_quantile` of the training drawings are to
    another one, so that this is also the share that chance gives. `different` counts the training drawings copied, and
    `median_px` is the median of the distances.
    Drawings of fewer than three strokes are left out, and of more than MOST_COMPARED only so many, evenly spread, are
    compared. The share is None where nothing is left to compare.
    """
    (_, ours), theirs = _first_strokes(generated), training.points
    found: dict[str, float | int | None] = {"share": None, "n_generated": len(ours), "n_training": len(theirs)}
    if not len(ours) or len(theirs) < 2:
        return found
    limit = training.limit(reference_quantile)
    distances, nearest = _nearest(ours[_spread(len(ours))], theirs)
    copied = nearest[distances < limit]
    found |= {"share": len(copied) / len(distances), "different": len(np.unique(copied))}
    return found | {"limit_px": limit, "median_px": float(np.median(distances))}


def _first_strokes(drawings: Sequence[Drawing]) -> tuple[NDArray[np.int64], NDArray[np.complex64]]:
    """Return which K drawings have so many strokes, (K,), and their first strokes as points x + i y, (K, 96) px."""
    rows = np.array([i for i, drawing in enumerate(drawings) if len(drawing) >= FIRST_STROKES], np.int64)
    strokes = [stroke for i in rows for stroke in drawings[i][:FIRST_STROKES]]
    if not strokes:
        return rows, np.zeros((0, FIRST_STROKES * NUM_POINTS), np.complex64)
    points = resample_each(strokes, NUM_POINTS)
    return rows, points.view(np.complex64).reshape(-1, FIRST_STROKES * NUM_POINTS)


def _nearest(
    ours: NDArray[np.complex64], theirs: NDArray[np.complex64], themselves: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return, of each of our N drawings, the distance to the nearest of theirs, and its index, (N,).

    `themselves` are the indices (N,) that our drawings have among theirs, where they are not to find themselves.
    """
    distances, nearest = np.zeros(len(ours), np.float32), np.zeros(len(ours), np.int64)
    for i, one in enumerate(ours):
        found = np.abs(theirs - one).mean(axis=1)
        if themselves is not None:
            found[themselves[i]] = np.inf
        distances[i], nearest[i] = found.min(), found.argmin()
    return distances, nearest


def _spread(count: int) -> NDArray[np.int64]:
    """Return the indices of at most MOST_COMPARED of `count` things, evenly spread."""
    return np.unique(np.linspace(0, count - 1, MOST_COMPARED).astype(np.int64))
