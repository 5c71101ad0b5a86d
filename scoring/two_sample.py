"""How well a classifier tells generated from real drawings: the two-sample test of features.

A logistic regression is trained on part of both sets and asked about the rest. Where nothing tells them apart it is
right every second time, whatever a distance says.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit

MOST_PER_SIDE = 500
FOLDS = 5
PENALTY = 0.1
"""Half of it, times the squared length of the weights, is added to the mean logistic loss."""


def two_sample_accuracy(features_a: ArrayLike, features_b: ArrayLike, seed: int = 0) -> float:
    """Return the share of held-out rows of features (N, d) and (M, d) whose side a logistic regression tells.

    0.5 where the sides are alike, 1 where they are apart. Of both sides the same number is taken at random,
    min(500, N, M), and cut into 5 parts; each is judged by a regression on the other four, which also say by what the
    features are standardised. Raises ValueError below 5 rows a side. Source: Lopez-Paz and Oquab 2017, sec. 3.
    """
    sides = [np.asarray(features, dtype=np.float64) for features in (features_a, features_b)]
    n = min(MOST_PER_SIDE, *map(len, sides))
    if n < FOLDS:
        raise ValueError(f"{n} drawings on one side, a two-sample test needs at least {FOLDS}")
    rng = np.random.default_rng(seed)
    x = np.concatenate([side[rng.permutation(len(side))[:n]] for side in sides])
    y = np.repeat([-1.0, 1.0], n)
    part = np.arange(2 * n) % n % FOLDS
    right = 0
    for fold in range(FOLDS):
        learn, ask = part != fold, part == fold
        mean, std = x[learn].mean(axis=0), x[learn].std(axis=0)
        scaled = (x - mean) / np.where(std > 0, std, 1.0)
        weights = logistic_weights(scaled[learn], y[learn])
        right += int((y[ask] * (scaled[ask] @ weights) > 0).sum())
    return right / (2 * n)


def logistic_weights(
    x: NDArray[np.float64], y: NDArray[np.float64], row_weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return the weights (d,) of a logistic regression of sides y, -1 or 1, on centred x (N, d).

    Both sides have as many rows, or as much of `row_weights` (N,), which sum to 1.
    """
    share = np.full(len(y), 1 / len(y)) if row_weights is None else row_weights

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = y * (x @ weights)
        slope = x.T @ (share * y * expit(-margin))
        return float(share @ np.logaddexp(0, -margin) + PENALTY / 2 * weights @ weights), PENALTY * weights - slope

    result: NDArray[np.float64] = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x
    return result
