"""Laws of the statistics of strokes: closed forms, what changes them and what does not, baselines, their storage."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from drawings.packed import PackedDrawings
from scoring.stroke_statistics import (
    DrawingStatistics,
    describe_strokes,
    from_arrays,
    independent_strokes,
    sliced_wasserstein_1,
    statistic_distances,
    stroke_distances,
    to_arrays,
)

FIELDS = [field.name for field in fields(DrawingStatistics)]
UNMOVED = ["num_strokes", "aspect", "stroke_points", "stroke_length", "stroke_jump", "stroke_closedness"]

whole = st.integers(0, 255)
thousandth = st.integers(-1_000_000, 1_000_000).map(lambda number: number / 1000)
any_stroke = st.one_of(
    st.lists(st.tuples(whole, whole), min_size=1, max_size=6),
    st.lists(st.tuples(thousandth, thousandth), min_size=1, max_size=4),
).map(np.array)
any_drawing = st.lists(any_stroke, min_size=1, max_size=5)
any_drawings = st.lists(any_drawing, min_size=1, max_size=5)
by_hypothesis = settings(max_examples=40, deadline=None)


def stroke(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, np.float64)


def describe_one(*strokes: np.ndarray) -> DrawingStatistics:
    return describe_strokes([list(strokes)])


def assert_same(a: DrawingStatistics, b: DrawingStatistics, names: list[str] = FIELDS, tolerance: float = 1e-9) -> None:
    for name in names:
        assert getattr(a, name).dtype == getattr(b, name).dtype
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=0, atol=tolerance, err_msg=name)


@pytest.fixture(scope="module")
def drawings(cats: PackedDrawings) -> list[list[np.ndarray]]:
    """Cats, real ones where they are at hand."""
    return [cats.drawing(i) for i in range(min(len(cats), 400))]


@pytest.fixture(scope="module")
def halves(drawings: list[list[np.ndarray]]) -> tuple[DrawingStatistics, DrawingStatistics]:
    """Two halves of these cats, described."""
    order = np.random.default_rng(0).permutation(len(drawings))
    described = describe_strokes(drawings)
    return described[order[::2]], described[order[1::2]]


# ---- closed forms


def test_a_closed_square_has_the_centres_of_its_sides() -> None:
    square = describe_one(stroke((0, 0), (100, 0), (100, 100), (0, 100), (0, 0)))
    assert (square.num_strokes, square.stroke_points, square.stroke_length) == (1, 5, 400)
    assert (square.stroke_closedness, square.aspect, square.ink_length) == (0, 45, 400)
    assert square.stroke_start.tolist() == [[0, 0]]
    assert square.order.tolist() == [[[50, 0], [100, 50], [50, 100], [0, 50]]]
    assert np.isnan(square.stroke_jump).all()


def test_strokes_are_counted_measured_and_joined_by_jumps() -> None:
    two = describe_one(stroke((0, 0), (30, 0)), stroke((30, 40), (30, 100), (30, 130)))
    assert two.num_strokes.tolist() == [2]
    assert two.stroke_points.tolist() == [2, 3]
    assert two.stroke_length.tolist() == [30, 90]
    assert two.stroke_jump.tolist() == pytest.approx([np.nan, 40], nan_ok=True)
    assert two.stroke_start.tolist() == [[0, 0], [30, 40]]
    assert two.stroke_closedness.tolist() == [1, 1]
    assert two.ink_length.tolist() == [120]  # the lifted pen draws nothing
    assert two.aspect.tolist() == pytest.approx([np.degrees(np.arctan(130 / 30))])
    np.testing.assert_allclose(two.order, [[[15, 0], [30, 55], [30, 85], [30, 115]]], rtol=0, atol=1e-12)


def test_a_drawing_without_ink_counts_as_square_and_rests_in_its_mean_point() -> None:
    point, dots = describe_one(stroke((7, 9), (7, 9))), describe_one(stroke((0, 0)), stroke((4, 8)))
    assert (point.aspect, point.ink_length, point.stroke_points) == (45, 0, 2)
    assert np.isnan(point.stroke_closedness).all()
    assert point.order.tolist() == [[[7, 9]] * 4]
    assert dots.order.tolist() == [[[2, 4]] * 4]
    assert dots.stroke_jump[1] == pytest.approx(80**0.5)


@by_hypothesis
@given(any_drawing)
def test_the_order_is_that_of_a_pen_followed_in_small_steps(drawing: list[np.ndarray]) -> None:
    assume(describe_strokes([drawing]).ink_length[0] > 0)
    points = np.concatenate(drawing).astype(np.float64)
    steps = np.concatenate([[0.0], np.hypot(*np.diff(points, axis=0).T)])
    steps[np.cumsum([len(s) for s in drawing])[:-1]] = 0  # the pen is lifted on the way to these points
    inked = np.cumsum(steps)
    stations = (np.arange(8000) + 0.5) / 8000 * inked[-1]
    segment = np.searchsorted(inked, stations)  # the pen is between points segment - 1 and segment
    share = ((stations - inked[segment - 1]) / steps[segment])[:, None]
    way = points[segment - 1] * (1 - share) + points[segment] * share
    expected = way.reshape(4, 2000, 2).mean(axis=1)
    np.testing.assert_allclose(describe_strokes([drawing]).order[0], expected, rtol=0, atol=np.ptp(points) / 1000)


# ---- what changes the statistics, and what does not


@by_hypothesis
@given(any_drawings, st.integers(-500, 500), st.integers(-500, 500))
def test_a_shift_moves_starts_and_centres_and_nothing_else(drawings, x: int, y: int) -> None:
    shift = np.array([x, y])
    described, moved = describe_strokes(drawings), describe_strokes([[s + shift for s in d] for d in drawings])
    assert_same(described, moved, UNMOVED, tolerance=1e-6)
    np.testing.assert_allclose(described.stroke_start + shift, moved.stroke_start, rtol=0, atol=1e-9)
    np.testing.assert_allclose(described.order + shift, moved.order, rtol=0, atol=1e-6)


def test_distances_depend_neither_on_the_order_of_drawings_nor_on_their_repetition(halves) -> None:
    ours, theirs = (side[np.arange(40)] for side in halves)
    once = statistic_distances(ours, theirs)
    order = np.random.default_rng(1).permutation(40)
    assert statistic_distances(ours[order], theirs[order[::-1]]) == pytest.approx(once, rel=1e-9)
    assert statistic_distances(ours[np.tile(order, 3)], theirs[np.repeat(order, 2)]) == pytest.approx(once, rel=1e-9)
    assert statistic_distances(ours, ours[order]) == pytest.approx(dict.fromkeys(once, 0), abs=1e-9)


# ---- distances


def test_sliced_wasserstein_of_a_shift_is_its_mean_projection() -> None:
    points = np.random.default_rng(5).normal(size=(40, 2))
    angles = np.pi * np.arange(32) / 32
    expected = np.abs(3 * np.cos(angles) + 4 * np.sin(angles)).mean()
    assert expected == pytest.approx(2 * 5 / np.pi, rel=0.01)
    assert sliced_wasserstein_1(points, points + np.array([3, 4])) == pytest.approx(expected, rel=1e-9)
    # on a line through 45 degrees marginals would see nothing of a turn by 90; slices do
    line = np.stack([points[:, 0], points[:, 0]], axis=1)
    assert sliced_wasserstein_1(line, line * [1, -1]) > 0.3


def test_every_distance_of_two_drawings_is_its_closed_form() -> None:
    real = describe_one(stroke((0, 0), (96, 0)))
    drawn = describe_one(stroke((0, 0), (0, 30), (0, 60)), stroke((40, 30), (40, 40), (40, 30)))
    cosine = sliced_wasserstein_1([[0, 0]], [[4, 3]]) / 5  # mean of |cos| over the directions
    assert cosine == pytest.approx(2 / np.pi, rel=2e-3)
    centres = zip([(0, 10), (0, 30), (0, 50), (40, 35)], [(12, 0), (36, 0), (60, 0), (84, 0)], strict=True)
    assert statistic_distances(drawn, real) == pytest.approx({
        "strokes_per_drawing": 1,
        "points_per_stroke": 1,
        "ink_length": 16,
        "stroke_length_by_position": 36,
        "start_points": sliced_wasserstein_1([[0, 0]], [[40, 30]]) / 2,
        "pen_jumps": 50,
        "closedness": 0.5,
        "aspect": np.degrees(np.arctan(60 / 40)),
        "order": np.mean([sliced_wasserstein_1([a], [b]) for a, b in centres]),
    })  # fmt: skip


def with_lengths(*drawings: list[float]) -> DrawingStatistics:
    """Drawings whose strokes are lines of these lengths."""
    return describe_strokes([[stroke((0, 0), (length, 0)) for length in drawing] for drawing in drawings])


def test_lengths_by_position_are_weighted_with_the_real_drawings_that_reach_it() -> None:
    real = with_lengths([10, 20], [10], [10])
    drawn = with_lengths([20, 60], [20, 60])
    # position 0 costs 10 and three real drawings reach it, position 1 costs 40 and one does
    assert statistic_distances(drawn, real)["stroke_length_by_position"] == pytest.approx((3 * 10 + 1 * 40) / 4)
    assert statistic_distances(real, drawn)["stroke_length_by_position"] == pytest.approx((2 * 10 + 2 * 40) / 4)
    # one side alone has a third stroke: it is left out
    longer = with_lengths([20, 60, 500], [20, 60])
    assert statistic_distances(longer, real)["stroke_length_by_position"] == pytest.approx(17.5)
    assert statistic_distances(real, longer)["stroke_length_by_position"] == pytest.approx(25)


def test_a_pen_never_lifted_counts_as_one_jump_of_0_and_dots_as_closed() -> None:
    single = describe_one(stroke((0, 0), (5, 0)))
    jumping = describe_strokes([[stroke((0, 0), (5, 0)), stroke((5, 8), (9, 8))], [stroke((0, 0)), stroke((2, 0))]])
    assert statistic_distances(single, single)["pen_jumps"] == 0
    assert statistic_distances(jumping, single)["pen_jumps"] == statistic_distances(single, jumping)["pen_jumps"] == 5
    dots, ajar = describe_one(stroke((0, 0))), describe_one(stroke((0, 0), (3, 0), (3, 4)))
    assert statistic_distances(dots, dots)["closedness"] == 0
    assert statistic_distances(dots, ajar)["closedness"] == statistic_distances(ajar, dots)["closedness"] == 5 / 7


# ---- baselines


def test_means_stand_beside_the_distances_and_all_is_json() -> None:
    ours = describe_strokes([[stroke((0, 0), (6, 0)), stroke((6, 8), (6, 8), (6, 8))], [stroke((0, 0), (0, 4))]])
    theirs = describe_one(stroke((0, 0), (0, 9), (0, 0)))
    scores = stroke_distances(ours, theirs, seed=0)
    means = {name: (score.get("mean_generated"), score.get("mean_real")) for name, score in scores.items()}
    assert means == {
        "strokes_per_drawing": (1.5, 1), "points_per_stroke": (pytest.approx(7 / 3), 3), "ink_length": (5, 18),
        "stroke_length_by_position": (None, None), "start_points": (None, None), "pen_jumps": (8, 0),
        "closedness": (1, 0), "order": (None, None),
        "aspect": (pytest.approx((np.degrees(np.arctan(8 / 6)) + 90) / 2), 90),
    }  # fmt: skip
    assert json.loads(json.dumps(scores)) == scores


def test_shuffled_strokes_keep_every_position_mix_the_drawings_and_are_those_of_the_published_figures() -> None:
    # stroke k of drawing i is the point (i, k)
    points = [[np.array([[i, k]], np.uint8) for k in range(1 + i % 4)] for i in range(40)]
    mixed = independent_strokes(points, 300, seed=1)
    assert all(s[0, 1] == k for drawing in mixed for k, s in enumerate(drawing))
    assert set(map(len, mixed)) == {1, 2, 3, 4}
    assert sum(len({s[0, 0] for s in d}) > 1 for d in mixed if len(d) > 1) > 200
    donors = [[int(s[0, 0]) for s in d] for d in independent_strokes(points, 6, seed=1)]
    assert donors == [[32, 38, 10], [12], [34, 17, 11], [33, 10, 18], [25, 22], [3, 1]]
    with pytest.raises(ValueError, match="at least 1"):
        independent_strokes([], 3)


# ---- storing


def test_stored_statistics_of_official_drawings_are_small_and_near(drawings, halves) -> None:
    described = describe_strokes(drawings)
    arrays = to_arrays(described)
    assert sum(a.nbytes for a in arrays.values()) == 12 * len(described.stroke_points) + 20 * len(described)
    again = from_arrays(arrays)
    assert_same(described, again, ["num_strokes", "stroke_points", "stroke_start", "stroke_drawing"], tolerance=0)
    for name in set(FIELDS) - {"num_strokes", "stroke_points"}:
        np.testing.assert_allclose(getattr(again, name), getattr(described, name), rtol=1 / 2048, atol=0)
    np.testing.assert_allclose(again.order, described.order, rtol=0, atol=1 / 16)
    floors = statistic_distances(*halves)
    for name, moved in statistic_distances(again, described).items():
        assert moved <= 0.02 * floors[name], name
    assert_same(from_arrays(to_arrays(again)), again, tolerance=0)
