"""Laws of the distances: closed forms, other implementations, floors, and what is refused."""

from __future__ import annotations

import itertools

import distances
import numpy as np
import pytest
import scipy.stats
from agreement import sqrtm_distance
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays


def exact_gaussian(mean: np.ndarray, covariance: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Points whose sample mean and sample covariance (over N - 1) are exactly the given ones."""
    x = np.random.default_rng(seed).normal(size=(count, len(mean)))
    x -= x.mean(axis=0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return white @ np.linalg.cholesky(covariance).T + mean


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


# ---- Fréchet distance


def test_frechet_distance_of_two_gaussians_is_the_closed_form() -> None:
    var_a, var_b = np.array([1.0, 4.0, 0.25]), np.array([9.0, 1.0, 0.25])
    a = exact_gaussian(np.zeros(3), np.diag(var_a), 50, seed=1)
    b = exact_gaussian(np.array([3.0, 0.0, -4.0]), np.diag(var_b), 80, seed=2)
    expected = 25 + ((np.sqrt(var_a) - np.sqrt(var_b)) ** 2).sum()  # commuting covariances
    assert distances.frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_equals_scipys_matrix_root(rng: np.random.Generator) -> None:
    a = rng.normal(size=(300, 20)) @ rng.normal(size=(20, 20))
    b = rng.normal(size=(200, 20)) @ rng.normal(size=(20, 20)) + 1
    for some in (a, a[:30]):  # many more drawings than features, and few more
        assert distances.frechet_distance(some, b) == pytest.approx(sqrtm_distance(some, b), rel=1e-9)


def test_frechet_distance_of_two_pairs_is_the_closed_form() -> None:
    # N = 2: covariances of rank 1 along (1, 0) and (0, 1), orthogonal, so that the trace of the root is 0
    a, b = np.array([[-1.0, 0], [1, 0]]), np.array([[0, -3.0], [0, 3]])
    assert distances.frechet_distance(a, b) == pytest.approx(2 + 18)
    assert distances.frechet_distance(a, 3 * a) == pytest.approx(2 + 18 - 2 * 6)  # along one line: (sigma - 3 sigma)^2


@pytest.mark.parametrize("shape", [(2, 16), (10, 64), (64, 64), (500, 16)])
def test_frechet_distance_of_a_set_to_itself_is_zero(shape: tuple[int, int], rng: np.random.Generator) -> None:
    x = rng.normal(size=shape)
    assert distances.frechet_distance(x, x[::-1]) == pytest.approx(0, abs=1e-9)


def test_singular_covariances_need_no_special_case(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(9, 4)), rng.normal(size=(12, 4)) + 1
    basis = np.linalg.qr(rng.normal(size=(40, 4)))[0].T  # isometry into 40 dimensions: N < d and rank 4
    assert distances.frechet_distance(a @ basis, b @ basis) == pytest.approx(sqrtm_distance(a, b), rel=1e-9)


def test_distances_do_not_depend_on_order_or_float32(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(40, 8)).astype(np.float32), rng.normal(size=(30, 8)).astype(np.float32)
    for distance in (
        distances.frechet_distance,
        lambda x, y: distances.squared_mmd(np.float64(x), np.float64(y)),
        lambda x, y: distances.density_and_coverage(x, y)[0],
    ):
        expected = distance(a.astype(np.float64), b.astype(np.float64))
        assert distance(a[::-1], b[rng.permutation(30)]) == pytest.approx(expected, rel=1e-12)


def test_extrapolation_comes_nearer_to_the_true_distance_than_all_drawings_do(rng: np.random.Generator) -> None:
    dimensions, shift = 24, 0.3
    truth = dimensions * shift**2
    errors = []
    for _ in range(12):
        a, b = rng.normal(size=(400, dimensions)), rng.normal(size=(400, dimensions)) + shift
        limit = distances.frechet_distance_at_infinity(a, b)
        errors.append((limit - truth, distances.frechet_distance(a, b) - truth))
    extrapolated, plain = np.mean(errors, axis=0)
    assert plain > 0.5  # what few drawings add to a distance of 2.2
    assert abs(extrapolated) < 0.15 * plain


def test_extrapolation_is_decided_by_its_seed_and_needs_drawings(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, 60, 5))
    assert distances.frechet_distance_at_infinity(a, b, 1) == distances.frechet_distance_at_infinity(a, b, 1)
    assert distances.frechet_distance_at_infinity(a, b, 1) != distances.frechet_distance_at_infinity(a, b, 2)
    with pytest.raises(ValueError, match="15 drawings on one side, an extrapolation needs at least 16"):
        distances.frechet_distance_at_infinity(a[:15], b)


# ---- kernel distance


def test_kernel_distance_is_the_unbiased_formula_written_out(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)) + 0.5

    def k(u: np.ndarray, v: np.ndarray) -> float:
        return (float(u @ v) / 3 + 1) ** 3

    within = sum(k(u, v) for s in (x, y) for u, v in itertools.permutations(s, 2)) / (4 * 3)
    across = sum(k(u, v) for u in x for v in y) / 16
    assert distances.kernel_distance(x, y) == (pytest.approx(within - 2 * across, rel=1e-12), 0.0)


def test_squared_mmd_of_unequal_sizes_is_the_formula_written_out(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(3, 2)), rng.normal(size=(5, 2)) + 0.5

    def mean_of(pairs: itertools.permutations | itertools.product) -> float:
        return float(np.mean([(float(u @ v) / 2 + 1) ** 3 for u, v in pairs]))

    within = mean_of(itertools.permutations(x, 2)) + mean_of(itertools.permutations(y, 2))
    across = mean_of(itertools.product(x, y))
    assert distances.squared_mmd(x, y) == pytest.approx(within - 2 * across, rel=1e-12)


def test_kernel_distance_of_halves_is_zero_on_average_and_often_negative(rng: np.random.Generator) -> None:
    values = [distances.kernel_distance(*rng.normal(size=(2, 30, 6)))[0] for _ in range(400)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(400)
    assert min(values) < 0


def test_kernel_distance_is_decided_by_its_seed_and_takes_subsets(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(60, 5)), rng.normal(size=(80, 5)) + 1
    first = distances.kernel_distance(a, b, num_subsets=200, subset_size=20, seed=3)
    assert first == distances.kernel_distance(a, b, num_subsets=200, subset_size=20, seed=3)
    assert first != distances.kernel_distance(a, b, num_subsets=200, subset_size=20, seed=4)
    assert first[1] > 0
    assert first[0] == pytest.approx(distances.squared_mmd(a, b), abs=4 * first[1] / np.sqrt(200))


def test_kernel_distance_over_subsets_is_the_mean_of_theirs(rng: np.random.Generator) -> None:
    """Whether one kernel serves all subsets (few drawings) or each has its own (many) changes nothing."""
    for sizes, whole in (((60, 80), True), ((900, 700), False)):
        a, b = (rng.normal(size=(size, 40)) + mean for size, mean in zip(sizes, (0, 1), strict=True))
        assert distances._is_cheaper_whole(*sizes, 50, 30, 40) == whole
        choice = np.random.default_rng(3)
        each = []
        for _ in range(30):
            rows = [choice.choice(size, 50, replace=False) for size in sizes]
            assert all(len(np.unique(chosen)) == 50 for chosen in rows)
            each.append(distances.squared_mmd(a[rows[0]], b[rows[1]]))
        found = distances.kernel_distance(a, b, num_subsets=30, subset_size=50, seed=3)
        assert found == pytest.approx((np.mean(each), np.std(each)), rel=1e-9)


# ---- neighbours


def test_nearest_distances_are_those_of_every_pair_written_out(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(1500, 3)) + 100, rng.normal(size=(7, 3)) + 100  # more rows than one chunk
    every = np.linalg.norm(a[:, None] - b, axis=2)
    found, nearest = distances.nearest_distances(a, b)
    np.testing.assert_allclose(found, every.min(axis=1), rtol=1e-12)
    assert (nearest == every.argmin(axis=1)).all()
    assert distances.nearest_distances(a[:2], a)[0].max() == 0


def test_density_and_coverage_count_balls_as_drawn_by_hand() -> None:
    real = np.array([[0.0], [1.0], [3.0], [7.0]])  # with k = 1 the balls reach 1, 1, 2 and 4
    generated = np.array([[0.5], [2.0], [50.0]])  # inside 2, 1 (on the rim of the second: outside) and 0 balls
    density, coverage = distances.density_and_coverage(generated, real, k=1)
    assert density == pytest.approx(3 / 3)
    assert coverage == pytest.approx(3 / 4)


def test_density_and_coverage_of_like_sets_have_their_expected_values(rng: np.random.Generator) -> None:
    n, m, k = 1100, 300, 5  # more real ones than one chunk
    pairs = [distances.density_and_coverage(rng.normal(size=(m, 2)), rng.normal(size=(n, 2)), k) for _ in range(20)]
    density, coverage = np.mean(pairs, axis=0)
    expected = 1 - np.prod([(n - i) / (m + n - i) for i in range(1, k + 1)])
    assert density == pytest.approx(1, abs=0.02)
    assert coverage == pytest.approx(expected, abs=0.02)


def test_coverage_falls_where_one_drawing_is_repeated_and_density_where_drawings_are_far(
    rng: np.random.Generator,
) -> None:
    real = rng.normal(size=(200, 4))
    repeated = np.repeat(real[:1] + 1e-3, 200, axis=0)
    assert distances.density_and_coverage(repeated, real)[1] < 0.1
    half_far = np.concatenate([rng.normal(size=(100, 4)), rng.normal(size=(100, 4)) + 50])
    density, coverage = distances.density_and_coverage(half_far, real)
    assert density == pytest.approx(0.5, abs=0.15)
    assert coverage > 0.7
    with pytest.raises(ValueError, match=r"k is 5, must lie in 1 \.\.\. 4 for 5 real drawings"):
        distances.density_and_coverage(real, real[:5])


# ---- what no distance has a meaning for

EVERY = (
    distances.frechet_distance,
    distances.frechet_distance_at_infinity,
    distances.kernel_distance,
    distances.nearest_distances,
    distances.density_and_coverage,
)


@pytest.mark.parametrize("distance", EVERY)
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((1, 4)), np.zeros((9, 4)), "1 drawings"),
        (np.zeros((9, 4)), np.full((9, 4), np.nan), "NaN"),
        (np.full((9, 4), np.inf), np.zeros((9, 4)), "infinity"),
        (np.zeros((9, 4)), np.zeros((9, 5)), "4 and of 5"),
        (np.zeros(9), np.zeros((9, 5)), "shape"),
        (np.ones((9, 4)), np.ones((30, 4)), "all features are the same"),
    ],
)
def test_features_that_make_no_distance_are_refused(distance, a, b, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        distance(a, b)


# ---- numbers and points


def test_wasserstein_equals_scipy_and_a_shift_costs_the_shift(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=50), rng.integers(0, 5, 33)
    assert distances.wasserstein_1(a, b) == pytest.approx(scipy.stats.wasserstein_distance(a, b), rel=1e-12)
    assert distances.wasserstein_1(a, a + 2.5) == pytest.approx(2.5)
    for wrong, message in (([1.0, np.nan], "NaN"), ([], "list of numbers"), ([[1.0]], "list of numbers")):
        with pytest.raises(ValueError, match=message):
            distances.wasserstein_1(wrong, [1.0])


@settings(max_examples=60, deadline=None)
@given(arrays(float, st.integers(1, 9), elements=st.floats(-50, 50)), st.floats(-9, 9))
def test_wasserstein_is_a_distance_that_moves_with_its_sets(values: np.ndarray, shift: float) -> None:
    other = np.array([0.0, 3.0])
    assert distances.wasserstein_1(values, values) == 0
    assert distances.wasserstein_1(values, other) == pytest.approx(distances.wasserstein_1(other, values))
    moved = distances.wasserstein_1(values + shift, other + shift)
    assert moved == pytest.approx(distances.wasserstein_1(values, other), abs=1e-9)


def test_sliced_wasserstein_of_a_shift_is_its_mean_projection(rng: np.random.Generator) -> None:
    points = rng.normal(size=(40, 2))
    angles = np.pi * np.arange(32) / 32
    expected = np.abs(3 * np.cos(angles) + 4 * np.sin(angles)).mean()
    assert expected == pytest.approx(2 * 5 / np.pi, rel=0.01)
    assert distances.sliced_wasserstein_1(points, points + np.array([3, 4])) == pytest.approx(expected, rel=1e-9)
    # on a line through 45 degrees marginals would see nothing of a turn by 90; slices do
    line = np.stack([points[:, 0], points[:, 0]], axis=1)
    assert distances.sliced_wasserstein_1(line, line * [1, -1]) > 0.3
    with pytest.raises(ValueError, match=r"points \(N, 2\)"):
        distances.sliced_wasserstein_1(points[:, 0], points)


# ---- floors


def test_floor_and_score_are_taken_at_the_same_number(rng: np.random.Generator) -> None:
    sizes = []

    def measure(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        sizes.append((len(a), len(b)))
        return {"fid": distances.frechet_distance(a, b), "shift": float(a.mean() - b.mean())}

    real, same, other = rng.normal(size=(60, 4)), rng.normal(size=(50, 4)), rng.normal(size=(45, 4)) + 2
    score = distances.with_floor(measure, same, real, seed=0, independent=other)
    assert sizes == [(50, 60), (45, 60)] + [(30, 30)] * 2 * distances.NUM_SPLITS
    assert score["fid"]["floor_n"] == 30
    assert abs(score["fid"]["at_floor_n"] - score["fid"]["floor"]) < 3 * score["fid"]["floor_std"]
    assert score["fid"]["independent_strokes"] > 10 * score["fid"]["value"]
    assert score["shift"]["independent_strokes"] == pytest.approx(2, abs=0.5)
    far = distances.with_floor(measure, other, real, seed=0)["fid"]
    assert far["at_floor_n"] > 10 * score["fid"]["floor"]
    assert "independent_strokes" not in far


def test_halves_are_disjoint_and_too_few_drawings_have_no_floor() -> None:
    def shared(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        return {"shared": float(len(np.intersect1d(a, b))), "repeated": float(len(a) - len(np.unique(a)))}

    real = np.arange(40)
    score = distances.with_floor(shared, real + 100, real, seed=1)
    assert (score["shared"]["floor"], score["repeated"]["floor"], score["repeated"]["at_floor_n"]) == (0, 0, 0)
    few = distances.with_floor(shared, real[:5], real, seed=1)["shared"]
    assert (few["value"], few["floor_n"], few["floor"], few["at_floor_n_std"]) == (5, 5, None, None)


def test_a_figure_that_needs_more_drawings_than_the_floor_has_stays_without_one() -> None:
    def measure(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        return {"size": float(len(a))} | ({"wants 15": 1.0} if len(a) >= 15 else {})

    real = np.arange(20)
    score = distances.with_floor(measure, real, real, seed=0)
    assert (score["size"]["value"], score["size"]["floor"], score["size"]["at_floor_n"]) == (20, 10, 10)
    assert (score["wants 15"]["value"], score["wants 15"]["floor"], score["wants 15"]["at_floor_n"]) == (1, None, None)
