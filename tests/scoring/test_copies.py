"""Laws of copied strokes: planted copies are counted, whole pictures rearranged or moved are none, chance is 1 %."""

from __future__ import annotations

import numpy as np
import pytest

from scoring import copies
from scoring.copies import TrainingStrokes


def stroke_copies(generated: list, training: list, quantile: float = 0.01) -> dict[str, float | int | None]:
    return copies.stroke_copies(generated, TrainingStrokes(training), quantile)


def random_drawings(count: int, seed: int, strokes: int = 4) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [[rng.uniform(0, 255, (rng.integers(2, 6), 2)) for _ in range(strokes)] for _ in range(count)]


def test_planted_copies_are_counted_and_nothing_else() -> None:
    training, generated = random_drawings(150, 0), random_drawings(40, 1)
    assert stroke_copies(generated, training)["share"] <= 0.05
    shift = np.array([1.5, 2.0])
    for i, j in ((0, 7), (1, 7), (2, 50), (3, 149)):  # redrawn 2.5 px away, with another fourth stroke
        generated[i] = [stroke + shift for stroke in training[j][:3]] + generated[i][3:]
    found = stroke_copies(generated, training)
    assert found["share"] == pytest.approx(4 / 40, abs=0.05)
    assert found["different"] >= 3
    assert (found["n_generated"], found["n_training"]) == (40, 150)
    # the same strokes in another order, or drawn elsewhere, are no copies
    for changed in ([d[1:3] + d[:1] for d in training], [[stroke + 90 for stroke in d] for d in training]):
        assert stroke_copies(changed, training)["share"] < 0.05
    assert stroke_copies(training, training)["share"] == 1


def test_chance_finds_as_many_as_the_quantile_says() -> None:
    training = random_drawings(400, 2)
    assert stroke_copies(random_drawings(400, 3), training, 0.1)["share"] == pytest.approx(0.1, abs=0.05)


def test_a_training_drawing_is_not_its_own_neighbour() -> None:
    training = TrainingStrokes(random_drawings(100, 6))
    distances = np.abs(training.points[:, None] - training.points).mean(axis=2) + np.diag(np.full(100, np.inf))
    assert training.apart == pytest.approx(distances.min(axis=1), rel=1e-5)


def test_distance_is_the_mean_over_points_in_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    def lines(y: float) -> list[np.ndarray]:
        return [np.array([[0.0, y], [100.0, y]])] * 3

    training = [lines(y) for y in (0, 10, 30, 60)]  # nearest others: 10, 10, 20 and 30 px away
    for y, copied in ((4.9, True), (75.1, False)):
        found = stroke_copies([lines(y)] * 2, training, 0.0)
        assert found["limit_px"] == pytest.approx(10)
        assert found["share"] == copied
        assert found["median_px"] == pytest.approx(y if copied else y - 60, rel=1e-5)
    monkeypatch.setattr(copies, "MOST_COMPARED", 2)  # the first and the last
    assert stroke_copies(training, training, 0.0)["limit_px"] == pytest.approx(10)


def test_pairs_are_the_nearest_by_their_places_among_all_drawings() -> None:
    training, generated = random_drawings(30, 8), random_drawings(12, 9)
    training[3], generated[0] = training[3][:2], generated[0][:2]  # too short to be compared
    generated[5], generated[9] = [stroke + 1 for stroke in training[20]], [stroke + 2 for stroke in training[4]]
    pairs = copies.nearest_pairs(generated, TrainingStrokes(training), 4)
    assert [pair[:2] for pair in pairs[:2]] == [(5, 20), (9, 4)]
    assert [distance for _, _, distance in pairs[:2]] == pytest.approx([2**0.5, 8**0.5], rel=1e-4)
    assert len(pairs) == 4
    assert copies.nearest_pairs(generated, TrainingStrokes(training[3:4]), 4) == []


def test_drawings_of_fewer_than_three_strokes_are_left_out() -> None:
    training, short = random_drawings(20, 4), random_drawings(5, 5, strokes=2)
    assert stroke_copies(short, training) == {"share": None, "n_generated": 0, "n_training": 20}
    assert stroke_copies(training, short)["share"] is None
