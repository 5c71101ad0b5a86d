"""A drawing as a row of a table: a few words that say what kind of cat, bus or rabbit it is.

Every attribute has few values, so that counting is enough to know how often each occurs, and with which others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from families.interface import Drawing
from rendering import feature_rasters
from scoring.stroke_statistics import DrawingStatistics, describe_strokes

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "strokes": ("few", "some", "many"),
    "aspect": ("wide", "square", "tall"),
    "ink": ("little", "middle", "much"),
    "first_stroke": ("closed", "open"),
    "second_begins": ("nowhere", "upper-left", "upper-right", "lower-left", "lower-right"),
    "symmetry": ("lopsided", "even", "mirrored"),
    "small_strokes": ("none", "a-few", "many"),
}
"""Names and values. Small strokes are whiskers, wheels and eyes."""
STROKES, INK = (6, 10), (1000.0, 1350.0)
"""Below the first: few, little; below the second: some, middle. Strokes and px."""
ASPECT = (41.0, 49.0)
"""Degrees of the box's diagonal: below, a drawing is 15 per cent wider than tall."""
CLOSED = 0.15
"""A first stroke is closed where its ends are nearer than this share of its length."""
SYMMETRY = (0.35, 0.5)
"""Share of the ink, thickened by a pixel of 64, that has its mirror image in the drawing."""
SMALL, SMALL_STROKES = 60.0, (1, 4)
"""A small stroke is shorter, in px; none and a few are below these counts."""


def attributes_of(drawings: Sequence[Drawing]) -> NDArray[np.int64]:
    """Return the table of drawings, (N, 7): for each of ATTRIBUTES the number of its value."""
    statistics = describe_strokes(drawings)
    first = np.cumsum(statistics.num_strokes) - statistics.num_strokes
    small = np.bincount(statistics.stroke_drawing, statistics.stroke_length < SMALL, len(statistics))
    columns = [
        np.searchsorted(STROKES, statistics.num_strokes, side="right"),
        np.searchsorted(ASPECT, statistics.aspect, side="right"),
        np.searchsorted(INK, statistics.ink_length, side="right"),
        np.where(statistics.stroke_closedness[first] < CLOSED, 0, 1),
        _second_begins(drawings, statistics, first),
        np.searchsorted(SYMMETRY, mirrored_share(drawings), side="right"),
        np.searchsorted(SMALL_STROKES, small, side="right"),
    ]
    return np.stack(columns, axis=1).astype(np.int64)


def _second_begins(
    drawings: Sequence[Drawing], statistics: DrawingStatistics, first: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return in which quarter around the middle of the first stroke the second one begins: 0 nowhere, then 1 ... 4."""
    result = np.zeros(len(drawings), np.int64)
    for number, drawing in enumerate(drawings):
        if len(drawing) > 1:
            low, high = drawing[0].min(axis=0).astype(float), drawing[0].max(axis=0).astype(float)
            right, lower = statistics.stroke_start[first[number] + 1] > (low + high) / 2
            result[number] = 1 + int(right) + 2 * int(lower)
    return result


def mirrored_share(drawings: Sequence[Drawing]) -> NDArray[np.float64]:
    """Return the share (N,) of the ink of each drawing that its picture, flipped from left to right, has too."""
    ink = feature_rasters(drawings) < 160
    result = np.zeros(len(drawings))
    for number, own in enumerate(ink):
        columns = np.flatnonzero(own.any(axis=0))
        if len(columns):
            box = own[:, columns[0] : columns[-1] + 1]
            thick = np.pad(box, 1)
            thick = thick[1:-1, 1:-1] | thick[:-2, 1:-1] | thick[2:, 1:-1] | thick[1:-1, :-2] | thick[1:-1, 2:]
            result[number] = (box & thick[:, ::-1]).sum() / box.sum()
    return result


def wanted_values(text: str) -> dict[str, int]:
    """Return what a text such as `aspect=wide,strokes=few` asks for: the number of each attribute's value.

    Raises ValueError that names the attributes, or the values of one.
    """
    result = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (word.strip() for word in part.partition("="))
        if name not in ATTRIBUTES:
            raise ValueError(f"'{name}' is no attribute; there are {', '.join(ATTRIBUTES)}")
        if value not in ATTRIBUTES[name]:
            raise ValueError(f"{name} cannot be '{value}'; it is one of {', '.join(ATTRIBUTES[name])}")
        result[name] = ATTRIBUTES[name].index(value)
    return result


def having(table: NDArray[np.int64], wanted: dict[str, int]) -> NDArray[np.bool_]:
    """Return which rows (N,) of a table (N, 7) have all the wanted values."""
    columns = [table[:, list(ATTRIBUTES).index(name)] == value for name, value in wanted.items()]
    result: NDArray[np.bool_] = np.all([np.ones(len(table), bool), *columns], axis=0)
    return result


def obeying(drawings: Sequence[Drawing], wanted: dict[str, int]) -> NDArray[np.bool_]:
    """Return which drawings (N,) have all the wanted values."""
    return having(attributes_of(drawings), wanted)
