"""Features that can be compared, and how far apart they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
ROW_CHUNK = 1024  # rows of a distance matrix at once: memory stays linear in the larger set


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


def squared_distances(a: Array, b: Array) -> Array:
    """Return the squared distances (N, M) between rows (N, d) and (M, d)."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.maximum(squares, 0.0)  # rounding can leave -1e-12


def nearest_distances(features_a: ArrayLike, features_b: ArrayLike) -> tuple[Array, NDArray[np.int64]]:
    """Return, of every row of features_a (N, d), the distance to the nearest row of features_b, and its index, (N,)."""
    a, b = check_features(features_a, features_b)
    shift = b.mean(axis=0)  # near the origin the squares lose no digits
    a, b = a - shift, b - shift
    nearest = np.concatenate(
        [squared_distances(a[i : i + ROW_CHUNK], b).argmin(axis=1) for i in range(0, len(a), ROW_CHUNK)]
    )
    return np.linalg.norm(a - b[nearest], axis=1), nearest
