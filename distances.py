"""Distances between two sets of features or numbers, each as its paper writes it, in float64 and without torch.

Features are (N, d) arrays, one row per drawing. Every function refuses sets it has no meaning for, NaN among them,
instead of returning a number. `with_floor` puts any of them beside what real drawings reach at the same N.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
NUM_SPLITS = 10
"""Random halvings of the real drawings behind every floor."""
NEIGHBOURS = 5
"""k of density and coverage, as Naeem et al. chose it."""
EXTRAPOLATION_SIZES = 15
MINIMUM_FLOOR = 8  # drawings a side
MINIMUM_EXTRAPOLATION = 16
ROW_CHUNK = 1024  # rows of a distance matrix at once: memory stays linear in the larger set


class Selectable(Protocol):
    """A set of drawings, as features or statistics, of which rows can be taken by an array of indices."""

    def __len__(self) -> int:
        """Return the number of drawings."""
        ...

    def __getitem__(self, rows: Any) -> Any:
        """Return the same kind of set, of the chosen drawings."""
        ...


Set = TypeVar("Set", bound=Selectable)


def check_features(features_a: ArrayLike, features_b: ArrayLike) -> tuple[Array, Array]:
    """Return two sets of features (N, d) and (M, d) as float64.

    Raises ValueError unless both have at least 2 rows, the same d of at least 1, and finite numbers only.
    """
    a, b = np.asarray(features_a, np.float64), np.asarray(features_b, np.float64)
    for features in (a, b):
        if features.ndim != 2 or features.shape[1] < 1:
            raise ValueError(f"features must be (N, d), got shape {features.shape}")
        if len(features) < 2:
            raise ValueError(f"{len(features)} drawings on one side, a distance needs at least 2")
        if not np.isfinite(features).all():
            raise ValueError("features hold NaN or infinity")
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"features of {a.shape[1]} and of {b.shape[1]} numbers cannot be compared")
    if not np.ptp(np.concatenate([a, b]), axis=0).any():
        raise ValueError("all features are the same: a network that sees no difference measures none")
    return a, b


# ------------------------------------------------------------------ Fréchet distance


def frechet_distance(features_a: ArrayLike, features_b: ArrayLike) -> float:
    """Return the Fréchet distance of Gaussians fitted to features (N, d) and (M, d), 0 or more.

    |mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))   (Heusel et al. 2017, eq. 6), covariances over N - 1.
    With C_a = A'A and C_b = B'B the last trace is the sum of the singular values of A B'. No covariance is
    squared and no matrix root taken, so that singular covariances (N <= d) need no special case.
    """
    a, b = check_features(features_a, features_b)
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    root_a, root_b = ((x - x.mean(axis=0)) / np.sqrt(len(x) - 1) for x in (a, b))
    # QR keeps A'A and makes A at most d x d
    small_a, small_b = (np.asarray(np.linalg.qr(r, mode="r")) if len(r) > r.shape[1] else r for r in (root_a, root_b))
    cross = np.linalg.svd(small_a @ small_b.T, full_matrices=False, compute_uv=False).sum()
    spread = (root_a**2).sum() + (root_b**2).sum() - 2 * cross
    return max(0.0, float(((mean_a - mean_b) ** 2).sum() + spread))


def frechet_distance_at_infinity(features_a: ArrayLike, features_b: ArrayLike, seed: int = 0) -> float:
    """Return the Fréchet distance extrapolated to infinitely many drawings on both sides; it may be negative.

    The expected distance of n against n drawings is FID_inf + c / n + O(1 / n^2): a line through 15 sizes n, from
    N / 4 to N = min(N, M) and even in 1 / n, is continued to 1 / n = 0 (Chong and Forsyth 2020, sec. 3, who let only
    one side grow). Below some 4 d drawings the curve still bends at N / 4, and the result is an upper bound at best;
    its floor says how far off it is. Raises ValueError below 16 drawings a side.
    """
    a, b = check_features(features_a, features_b)
    largest = min(len(a), len(b))
    if largest < MINIMUM_EXTRAPOLATION:
        raise ValueError(f"{largest} drawings on one side, an extrapolation needs at least {MINIMUM_EXTRAPOLATION}")
    rng = np.random.default_rng(seed)
    sizes = np.unique(np.rint(1 / np.linspace(1 / largest, 4 / largest, EXTRAPOLATION_SIZES)).astype(int))
    values = []
    for n in sizes:
        rows_a, rows_b = (rng.choice(len(x), n, replace=False) for x in (a, b))
        values.append(frechet_distance(a[rows_a], b[rows_b]))
    slope_and_limit = np.polyfit(1 / sizes, values, 1)
    return float(slope_and_limit[1])


# ------------------------------------------------------------------ kernel distance


def polynomial_kernel(scaled_products: Array) -> Array:
    """Return the kernel (x.y / d + 1)^3 of products x.y / d, of any shape (Bińkowski et al. 2018)."""
    k: Array = scaled_products + 1
    return k * k * k


def squared_mmd(x: Array, y: Array) -> float:
    """Return the unbiased squared MMD of features (N, d) and (M, d) under the kernel (x.y / d + 1)^3.

    It may be negative. Source: Gretton et al. 2012, eq. 3; the kernel of Bińkowski et al. 2018.
    """
    return float(squared_mmd_of_subsets(x, y, np.ones((len(x), 1)), np.ones((len(y), 1)))[0])


def squared_mmd_of_subsets(x: Array, y: Array, in_x: Array, in_y: Array) -> Array:
    """Return ``squared_mmd`` of S pairs of subsets, (S,), which ones in `in_x` (N, S) and `in_y` (M, S) mark.

    All subsets share the values of the kernel: computed once, and a sum over a subset is a product with its marks.
    """
    n, m = in_x.sum(axis=0), in_y.sum(axis=0)
    within_x, within_y = (
        _kernel_sums(a, a, chosen, chosen) - polynomial_kernel((a * a).sum(axis=1) / a.shape[1]) @ chosen
        for a, chosen in ((x, in_x), (y, in_y))
    )
    across = _kernel_sums(x, y, in_x, in_y)
    result: Array = within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * across / (n * m)
    return result


def _kernel_sums(x: Array, y: Array, in_x: Array, in_y: Array) -> Array:
    """Return, of every subset (column of in_x and in_y), the sum of the kernel of all its rows of x with all of y."""
    total = np.zeros(in_x.shape[1])
    for start in range(0, len(x), ROW_CHUNK):
        rows = slice(start, start + ROW_CHUNK)
        total += (in_x[rows] * (polynomial_kernel(x[rows] @ y.T / x.shape[1]) @ in_y)).sum(axis=0)
    return total


def kernel_distance(
    features_a: ArrayLike,
    features_b: ArrayLike,
    num_subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return KID (mean, standard deviation over subsets) of features (N, d) and (M, d), unscaled.

    Each subset holds min(subset_size, N, M) drawings of each side without repetition. Where that is all of
    both sides, every subset is the same one: it is computed once and the deviation is 0.
    """
    a, b = check_features(features_a, features_b)
    size = min(subset_size, len(a), len(b))
    if size < 2 or num_subsets < 1:
        raise ValueError(f"KID needs subsets of at least 2, and at least 1, got {subset_size} and {num_subsets}")
    if size == len(a) == len(b):
        return squared_mmd(a, b), 0.0
    rng = np.random.default_rng(seed)
    chosen = [[rng.choice(len(side), size, replace=False) for side in (a, b)] for _ in range(num_subsets)]
    if _is_cheaper_whole(len(a), len(b), size, num_subsets, a.shape[1]):
        in_a, in_b = np.zeros((len(a), num_subsets)), np.zeros((len(b), num_subsets))
        for subset, (rows_a, rows_b) in enumerate(chosen):
            in_a[rows_a, subset] = in_b[rows_b, subset] = 1
        values = squared_mmd_of_subsets(a, b, in_a, in_b)
    else:
        values = np.array([squared_mmd(a[rows_a], b[rows_b]) for rows_a, rows_b in chosen])
    return float(np.mean(values)), float(np.std(values))


def _is_cheaper_whole(n: int, m: int, size: int, num_subsets: int, dim: int) -> bool:
    """Tell whether one kernel of all drawings, read once a subset, takes fewer operations than one for each subset."""
    return (n * n + n * m + m * m) * (dim + num_subsets) < 3 * num_subsets * size * size * dim


# ------------------------------------------------------------------ neighbours


def _squared_distances(a: Array, b: Array) -> Array:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.maximum(squares, 0.0)  # rounding can leave -1e-12


def nearest_distances(features_a: ArrayLike, features_b: ArrayLike) -> tuple[Array, NDArray[np.int64]]:
    """Return, of every row of features_a (N, d), the distance to the nearest row of features_b, and its index, (N,)."""
    a, b = check_features(features_a, features_b)
    shift = b.mean(axis=0)  # near the origin the squares lose no digits
    a, b = a - shift, b - shift
    nearest = np.concatenate(
        [_squared_distances(a[i : i + ROW_CHUNK], b).argmin(axis=1) for i in range(0, len(a), ROW_CHUNK)]
    )
    return np.linalg.norm(a - b[nearest], axis=1), nearest


def density_and_coverage(
    features_generated: ArrayLike, features_real: ArrayLike, k: int = NEIGHBOURS
) -> tuple[float, float]:
    """Return density and coverage of generated (M, d) by real features (N, d) (Naeem et al. 2020, eqs. 6 and 7).

    Around each real drawing lies a ball that reaches to its k-th nearest real neighbour. Density is the number of
    balls a generated drawing lies in, over k, on average: 1 where the sets are alike, 0 far from all real ones, and it
    may pass 1. Coverage is the share of balls with a generated drawing in it: variety; alike
    sets reach 1 - (N - 1) ... (N - k) / ((M + N - 1) ... (M + N - k)). Raises ValueError for N <= k.
    """
    generated, real = check_features(features_generated, features_real)
    if not 1 <= k < len(real):
        raise ValueError(f"k is {k}, must lie in 1 ... {len(real) - 1} for {len(real)} real drawings")
    shift = real.mean(axis=0)
    generated, real = generated - shift, real - shift
    balls, covered = 0, 0
    for start in range(0, len(real), ROW_CHUNK):
        rows = slice(start, start + ROW_CHUNK)
        among_real = _squared_distances(real[rows], real)
        among_real[np.arange(len(among_real)), np.arange(start, start + len(among_real))] = np.inf  # not its own
        radius = np.partition(among_real, k - 1, axis=1)[:, k - 1 : k]
        inside = _squared_distances(real[rows], generated) < radius
        balls += int(inside.sum())
        covered += int(inside.any(axis=1).sum())
    return balls / (k * len(generated)), covered / len(real)


# ------------------------------------------------------------------ plain numbers and points


def _sorted_numbers(values: ArrayLike) -> Array:
    numbers = np.asarray(values, np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise ValueError(f"a list of numbers is needed, got shape {numbers.shape}")
    if not np.isfinite(numbers).all():
        raise ValueError("values hold NaN or infinity")
    return np.sort(numbers)


def wasserstein_1(values_a: ArrayLike, values_b: ArrayLike) -> float:
    """Return the Wasserstein-1 distance of two lists of numbers, in their unit: the area between their CDFs."""
    a, b = _sorted_numbers(values_a), _sorted_numbers(values_b)
    merged = np.sort(np.concatenate([a, b]))
    cdf_a, cdf_b = (np.searchsorted(v, merged[:-1], side="right") / len(v) for v in (a, b))
    return float((np.abs(cdf_a - cdf_b) * np.diff(merged)).sum())


def sliced_wasserstein_1(points_a: ArrayLike, points_b: ArrayLike, num_directions: int = 32) -> float:
    """Return the sliced Wasserstein-1 distance of points (N, 2) and (M, 2), in their unit.

    The mean of the distances of their projections on directions that are spread evenly over the half circle
    (Bonneel et al. 2015). A shift of one set by s costs about 2 |s| / pi.
    """
    a, b = np.asarray(points_a, np.float64), np.asarray(points_b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != 2 or b.shape[1] != 2:
        raise ValueError(f"two sets of points (N, 2) are needed, got shapes {a.shape} and {b.shape}")
    angles = np.pi * np.arange(num_directions) / num_directions
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return float(np.mean([wasserstein_1(a @ direction, b @ direction) for direction in directions]))


# ------------------------------------------------------------------ what real drawings reach


def with_floor(
    measure: Callable[[Set, Set], Mapping[str, float]],
    generated: Set,
    real: Set,
    seed: int,
    independent: Set | None = None,
) -> dict[str, dict[str, float | int | None]]:
    """Return every figure of `measure(generated, real)` beside its floor, and beside independent strokes if given.

    `value` is at full size. `floor` is the figure of two disjoint random halves of the real set, `at_floor_n` that of
    as many generated against as many real drawings, `floor_n` a side; both with `_std` over NUM_SPLITS halvings.
    Compare these two: most figures change with N. KID does not, being unbiased: its floor is 0 but for chance, so that
    its deviation is what counts. Without 8 drawings a side there is no floor: None, and
    neither for a figure that `measure` leaves out at n.
    """
    n = min(len(generated), len(real) // 2)
    values = measure(generated, real)
    ceilings = measure(independent, real) if independent is not None else {}
    result: dict[str, dict[str, float | int | None]] = {
        name: {"value": value, "floor_n": n}
        | dict.fromkeys(("at_floor_n", "at_floor_n_std", "floor", "floor_std"))
        | ({"independent_strokes": ceilings[name]} if ceilings else {})
        for name, value in values.items()
    }
    if n < MINIMUM_FLOOR:
        return result
    rng = np.random.default_rng(seed)
    floors, scores = [], []
    for _ in range(NUM_SPLITS):
        order = rng.permutation(len(real))
        floors.append(measure(real[order[:n]], real[order[n : 2 * n]]))
        scores.append(measure(generated[rng.permutation(len(generated))[:n]], real[order[:n]]))
    for name, figures in result.items():
        for key, found in (("at_floor_n", scores), ("floor", floors)):
            if numbers := [figure[name] for figure in found if name in figure]:
                figures |= {key: float(np.mean(numbers)), f"{key}_std": float(np.std(numbers))}
    return result
