"""Laws of the two-sample accuracy: half where nothing tells two sets apart, one where everything does."""

from __future__ import annotations

import numpy as np
import pytest

from scoring.two_sample import two_sample_accuracy


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_it_is_half_for_one_distribution_one_for_two_and_between_where_they_overlap(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, 400, 8))
    assert two_sample_accuracy(a, b) == pytest.approx(0.5, abs=0.05)
    assert two_sample_accuracy(a, b + 6) == 1
    near = b + np.eye(8)[0]  # the best guess is right with probability Phi(1/2)
    assert two_sample_accuracy(a, near) == pytest.approx(0.69, abs=0.05)
    assert two_sample_accuracy(near, a) == pytest.approx(two_sample_accuracy(a, near), abs=0.02)


def test_what_is_learned_by_heart_does_not_count(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, 50, 200))  # more features than drawings: any labels can be learned
    assert two_sample_accuracy(a, b) == pytest.approx(0.5, abs=0.15)


def test_features_of_any_unit_count_alike_and_constant_ones_not_at_all(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, 200, 5))
    b[:, 0] += 1
    units = np.array([1e-3, 1e3, 1, 1, 0])
    assert two_sample_accuracy(a * units + 7, b * units + 7) == pytest.approx(two_sample_accuracy(a, b), abs=0.02)


def test_it_depends_on_the_seed_alone_and_takes_as_many_of_both_sides(rng: np.random.Generator) -> None:
    few, many = rng.normal(size=(30, 4)), rng.normal(size=(3000, 4))
    assert two_sample_accuracy(few, many, seed=3) == two_sample_accuracy(few, many, seed=3)
    found = [two_sample_accuracy(few, many, seed) for seed in range(20)]
    assert len(set(found)) > 1
    assert np.mean(found) == pytest.approx(0.5, abs=0.1)  # 0.99 for one that takes all of them
    assert {round(share * 60, 6) % 1 for share in found} == {0}
    with pytest.raises(ValueError, match="4 drawings on one side"):
        two_sample_accuracy(few[:4], many)
