"""What pictures hide: how many strokes a drawing has, how long they are, where they begin, and in which order.

Each is compared between generated and real drawings by its Wasserstein-1 distance, in its own unit.
The statistics of a set of drawings say nothing of their lines: they may be shipped where drawings may not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scoring.baselines import with_floor

Drawing = Sequence[NDArray[Any]]
Array = NDArray[np.float64]
Integers = NDArray[np.int64]

ORDER_QUARTERS = 4
NUM_POSITIONS = 8
"""Positions in the drawing whose stroke lengths are compared; few drawings have more strokes."""
STATISTICS = (
    ("strokes_per_drawing", "Strokes per drawing", "strokes"),
    ("points_per_stroke", "Points per stroke", "points"),
    ("ink_length", "Ink length", "px"),
    ("stroke_length_by_position", "Stroke length by position", "px"),
    ("start_points", "Start points", "px"),
    ("pen_jumps", "Pen jumps", "px"),
    ("closedness", "Closedness", ""),
    ("aspect", "Aspect", "degrees"),
    ("order", "Order of drawing", "px"),
)
"""Name, label and unit of every distance that `statistic_distances` returns, in its order."""
COUNTS = ("num_strokes", "stroke_points")
"""Fields stored as uint16."""
MEASURES = ("aspect", "order", "stroke_length", "stroke_start", "stroke_jump", "stroke_closedness")
"""Fields stored as float16."""


@dataclass(frozen=True, eq=False)
class DrawingStatistics:
    """Numbers that describe N drawings with S strokes in all, without their lines; y points down.

    Strokes stand in the order of the drawings and of their strokes. `len()` is N; `[rows]` takes drawings.
    """

    num_strokes: Integers
    """(N,) strokes of each drawing, at least 1."""
    aspect: Array
    """(N,) degrees, angle of the bounding box's diagonal: 0 flat, 45 square, 90 upright. One point counts as square."""
    order: Array
    """(N, 4, 2) px, centre of each quarter of the drawing's ink in the order of drawing; its mean point without ink."""
    stroke_points: Integers
    """(S,) points of each stroke, at least 1."""
    stroke_length: Array
    """(S,) px, way of the pen on the paper."""
    stroke_start: Array
    """(S, 2) px, x and y of the first point."""
    stroke_jump: Array
    """(S,) px, straight way of the lifted pen from the end of the stroke before; NaN for first strokes."""
    stroke_closedness: Array
    """(S,) distance of start and end over length: 0 closed, 1 straight; NaN for strokes without length."""

    def __len__(self) -> int:
        return len(self.num_strokes)

    def __getitem__(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> DrawingStatistics:
        """Return the statistics of the drawings `rows`, indices (k,), in that order and with repetitions."""
        chosen = np.arange(len(self))[rows]
        counts = self.num_strokes[chosen]
        first = np.cumsum(self.num_strokes) - self.num_strokes
        strokes = np.repeat(first[chosen], counts) + _positions(counts)
        parts = {name: strokes if name.startswith("stroke_") else chosen for name in (*COUNTS, *MEASURES)}
        return DrawingStatistics(**{name: getattr(self, name)[rows] for name, rows in parts.items()})

    @cached_property
    def stroke_drawing(self) -> Integers:
        """Return the index of each stroke's drawing, int64 (S,)."""
        return np.repeat(np.arange(len(self)), self.num_strokes)

    @cached_property
    def stroke_position(self) -> Integers:
        """Return each stroke's position in its drawing, int64 (S,), 0 for the first."""
        return _positions(self.num_strokes)

    @cached_property
    def ink_length(self) -> Array:
        """Return the length of all strokes of each drawing, (N,) px."""
        return _sums(self.stroke_length, self.stroke_drawing, len(self))


def _positions(counts: Integers) -> Integers:
    """Return 0 ... c - 1 for each count c, one after another."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _sums(values: Array, groups: Integers, count: int) -> Array:
    """Return the sum of the values of each group, (count,); no group's sum depends on the others."""
    return np.bincount(groups, weights=values, minlength=count).astype(np.float64, copy=False)


# ------------------------------------------------------------------ describing drawings


def describe_strokes(drawings: Sequence[Drawing]) -> DrawingStatistics:
    """Return the statistics of N drawings, all as float64 or int64.

    Raises ValueError for no drawings, and for a drawing without strokes or with points that are not finite.
    """
    num_strokes = np.array([len(drawing) for drawing in drawings])
    if not num_strokes.all() or not len(num_strokes):
        raise ValueError("at least 1 drawing is needed, each of at least 1 stroke")
    strokes = [stroke for drawing in drawings for stroke in drawing]
    sizes = np.array([len(stroke) for stroke in strokes])
    points = np.concatenate(strokes, dtype=np.float64)
    stroke_of = np.repeat(np.arange(len(sizes)), sizes)
    drawing_of = np.repeat(np.arange(len(num_strokes)), num_strokes)[stroke_of]
    if not np.isfinite(points).all():
        raise ValueError(f"drawing {drawing_of[~np.isfinite(points).all(axis=1)][0]}: its points are not all finite")

    ends = np.cumsum(sizes) - 1  # index of each stroke's last point
    starts = ends - sizes + 1
    steps = np.diff(points, axis=0)
    ways = np.hypot(steps[:, 0], steps[:, 1])
    jumps = np.concatenate([[np.nan], ways[ends[:-1]]])
    first = np.cumsum(num_strokes) - num_strokes
    jumps[first] = np.nan
    ways[ends[:-1]] = 0.0  # from here on only what the pen draws
    lengths = _sums(ways, stroke_of[:-1], len(sizes))
    gaps = np.hypot(*(points[ends] - points[starts]).T)
    closedness = np.full(len(sizes), np.nan)
    np.divide(gaps, lengths, out=closedness, where=lengths > 0)
    low, high = (extreme.reduceat(points, starts[first]) for extreme in (np.minimum, np.maximum))
    width, height = (high - low).T
    return DrawingStatistics(
        num_strokes=num_strokes,
        aspect=np.where(width + height > 0, np.degrees(np.arctan2(height, width)), 45.0),
        order=_centres_of_quarters(points, ways, drawing_of, len(num_strokes)),
        stroke_points=sizes,
        stroke_length=lengths,
        stroke_start=points[starts],
        stroke_jump=jumps,
        stroke_closedness=np.minimum(closedness, 1.0),  # rounding can leave 1 + 1e-16
    )


def _centres_of_quarters(points: Array, ways: Array, drawing_of: Integers, count: int) -> Array:
    """Return the centre of every quarter of the ink of each drawing, (N, 4, 2) px.

    A quarter's centre is the mean of the midpoints of its segments, weighted with their lengths. `ways` (P - 1,) are
    the lengths of the segments from each point to the next, 0 where the pen is lifted; `drawing_of` (P,) is each
    point's drawing. A segment that a quarter's end falls into is cut there.
    """
    owner = drawing_of[:-1]
    totals = _sums(ways, owner, count)[owner]
    # in shares of the drawing's ink, so that the sum over all drawings keeps its digits for the smallest of them
    shares = np.divide(ways, totals, out=np.zeros(len(ways)), where=totals > 0)
    before = np.cumsum(shares) - shares
    before -= before[np.searchsorted(owner, owner)]  # counted from the drawing's own first segment

    num_points = _sums(np.ones(len(points)), drawing_of, count)
    mean_point = np.stack([_sums(coordinate, drawing_of, count) / num_points for coordinate in points.T], axis=1)
    centres = np.repeat(mean_point[:, None], ORDER_QUARTERS, axis=1)
    for quarter in range(ORDER_QUARTERS):
        start, end = (np.clip(q / ORDER_QUARTERS, before, before + shares) for q in (quarter, quarter + 1))
        middle = np.divide((start + end) / 2 - before, shares, out=np.zeros(len(ways)), where=shares > 0)
        midpoints = points[:-1] + middle[:, None] * np.diff(points, axis=0)
        weights = _sums(end - start, owner, count)
        for axis in range(2):
            weighted = _sums((end - start) * midpoints[:, axis], owner, count)
            np.divide(weighted, weights, out=centres[:, quarter, axis], where=weights > 0)
    return centres


# ------------------------------------------------------------------ comparing sets


def wasserstein_1(values_a: ArrayLike, values_b: ArrayLike) -> float:
    """Return the Wasserstein-1 distance of two lists of numbers, in their unit: the area between their CDFs.

    Equal to scipy.stats.wasserstein_distance, which takes as long to import as half of torch.
    """
    a, b = (np.sort(np.asarray(values, np.float64)) for values in (values_a, values_b))
    if a.ndim != 1 or b.ndim != 1 or not len(a) or not len(b) or not np.isfinite([*a[[0, -1]], *b[[0, -1]]]).all():
        raise ValueError(f"two lists of finite numbers are needed, got shapes {a.shape} and {b.shape}")
    merged = np.sort(np.concatenate([a, b]))
    cdf_a, cdf_b = (np.searchsorted(values, merged[:-1], side="right") / len(values) for values in (a, b))
    return float((np.abs(cdf_a - cdf_b) * np.diff(merged)).sum())


def sliced_wasserstein_1(points_a: ArrayLike, points_b: ArrayLike, num_directions: int = 32) -> float:
    """Return the sliced Wasserstein-1 distance of points (N, 2) and (M, 2), in their unit.

    The mean of the distances of their projections on directions that are spread evenly over the half circle
    (Bonneel et al. 2015). A shift of one set by s costs about 2 |s| / pi.
    """
    a, b = np.asarray(points_a, np.float64), np.asarray(points_b, np.float64)
    angles = np.pi * np.arange(num_directions) / num_directions
    directions = np.stack([np.cos(angles), np.sin(angles)])  # (2, num_directions)
    return float(np.mean([wasserstein_1(*sides) for sides in zip((a @ directions).T, (b @ directions).T, strict=True)]))


def _without_nan(values: Array) -> Array:
    """Return the numbers among `values`, or a single 0 where there are none."""
    numbers = values[~np.isnan(values)]
    return numbers if len(numbers) else np.zeros(1)


def statistic_distances(generated: DrawingStatistics, real: DrawingStatistics) -> dict[str, float]:
    """Return the Wasserstein-1 distance of each of the STATISTICS, in its unit, 0 or more.

    `stroke_length_by_position` compares the first strokes of all drawings, the second ones, up to NUM_POSITIONS, and
    is the mean of these distances, weighted with the shares of real drawings that have so many strokes; positions
    that one side lacks are left out. `start_points` and `order`, the mean over the four quarters, are points: sliced
    distances. A pen that is never lifted makes no jump, a dot ends where it begins: a side of such drawings alone
    counts as one jump of 0 px, or one closed stroke. Raises ValueError for an empty side.
    """
    if not len(generated) or not len(real):
        raise ValueError(f"{len(generated)} generated and {len(real)} real drawings, at least 1 of each is needed")
    sides = (generated, real)
    by_quarter = [
        sliced_wasserstein_1(generated.order[:, quarter], real.order[:, quarter]) for quarter in range(ORDER_QUARTERS)
    ]
    return {
        "strokes_per_drawing": wasserstein_1(generated.num_strokes, real.num_strokes),
        "points_per_stroke": wasserstein_1(generated.stroke_points, real.stroke_points),
        "ink_length": wasserstein_1(generated.ink_length, real.ink_length),
        "stroke_length_by_position": _length_distance_by_position(generated, real),
        "start_points": sliced_wasserstein_1(generated.stroke_start, real.stroke_start),
        "pen_jumps": wasserstein_1(*(_without_nan(side.stroke_jump) for side in sides)),
        "closedness": wasserstein_1(*(_without_nan(side.stroke_closedness) for side in sides)),
        "aspect": wasserstein_1(generated.aspect, real.aspect),
        "order": float(np.mean(by_quarter)),
    }


def _length_distance_by_position(generated: DrawingStatistics, real: DrawingStatistics) -> float:
    most = min(NUM_POSITIONS, generated.num_strokes.max(), real.num_strokes.max())
    lengths = [
        [side.stroke_length[side.stroke_position == position] for position in range(most)] for side in (generated, real)
    ]
    # every real drawing has one stroke at each position it reaches: their number is the weight
    weights = [len(of_real) for of_real in lengths[1]]
    values = [wasserstein_1(ours, theirs) for ours, theirs in zip(*lengths, strict=True)]
    return float(np.average(values, weights=weights))


def statistic_means(statistics: DrawingStatistics) -> dict[str, float]:
    """Return the mean of those of the STATISTICS of which a mean says something, each in its unit."""
    values = {
        "strokes_per_drawing": statistics.num_strokes,
        "points_per_stroke": statistics.stroke_points,
        "ink_length": statistics.ink_length,
        "pen_jumps": _without_nan(statistics.stroke_jump),
        "closedness": _without_nan(statistics.stroke_closedness),
        "aspect": statistics.aspect,
    }
    return {name: float(numbers.mean()) for name, numbers in values.items()}


def independent_strokes(drawings: Sequence[Drawing], count: int, seed: int = 0) -> list[Drawing]:
    """Return `count` drawings whose k-th stroke is the k-th stroke of some random real drawing: shuffled strokes.

    Number of strokes and strokes at each position are distributed as in real drawings, but no stroke knows of
    another: what a model reaches that ignores the history. A model must do better than this baseline.
    """
    if not len(drawings):
        raise ValueError("the shuffled-stroke baseline needs at least 1 real drawing")
    rng = np.random.default_rng(seed)
    lengths = np.array([len(drawing) for drawing in drawings])
    donors = [np.flatnonzero(lengths > k) for k in range(lengths.max())]
    return [
        [drawings[rng.choice(donors[k])][k] for k in range(num_strokes)] for num_strokes in rng.choice(lengths, count)
    ]


# ------------------------------------------------------------------ storing


def to_arrays(statistics: DrawingStatistics) -> dict[str, NDArray[Any]]:
    """Return statistics as small arrays, one per field, 12 bytes a stroke and 20 a drawing.

    Counts are uint16 and exact. Other numbers are float16, which rounds by 1 in 2048 of a number at most: whole
    coordinates stay exact, others up to 256 px shift by 1/16 px at most. NaN becomes 0: which strokes are first, and
    which have no length, is known without it. Raises ValueError for numbers too large.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for name in (*COUNTS, *MEASURES):
        values = getattr(statistics, name)
        limit = 2**16 - 1 if name in COUNTS else float(np.finfo(np.float16).max)
        if values.size and (largest := np.fmax.reduce(np.abs(values), axis=None)) > limit:
            raise ValueError(f"{name}: holds {largest:g}, at most {limit:g} can be stored")
        arrays[name] = np.nan_to_num(values).astype(np.uint16 if name in COUNTS else np.float16)
    arrays["stroke_closedness"][arrays["stroke_length"] == 0] = 0.0  # a length that is rounded to 0 is none
    return arrays


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> DrawingStatistics:
    """Return the statistics that `to_arrays` stored, as float64 and int64; ValueError where one is missing."""
    if missing := {*COUNTS, *MEASURES} - set(arrays):
        raise ValueError(f"statistics of drawings lack {min(missing)}")
    wide: dict[str, Any] = {name: arrays[name].astype(np.int64) for name in COUNTS}
    wide |= {name: arrays[name].astype(np.float64) for name in MEASURES}
    statistics = DrawingStatistics(**wide)
    statistics.stroke_jump[statistics.stroke_position == 0] = np.nan
    statistics.stroke_closedness[statistics.stroke_length == 0] = np.nan
    return statistics


def stroke_distances(generated: DrawingStatistics, real: DrawingStatistics, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Return every distance of ``statistic_distances`` with its baselines, and `mean_generated` and `mean_real`."""
    scores = with_floor(statistic_distances, generated, real, seed)
    for side, statistics in (("generated", generated), ("real", real)):
        for name, mean in statistic_means(statistics).items():
            scores[name][f"mean_{side}"] = mean
    return scores
