"""How well a score tells odd drawings from true ones: areas under curves, error rates, and their bootstrap intervals.

Odd drawings are the positives, and a higher score is odder. A detector that calls everything odd has a perfect true
positive rate; so rates stand here in pairs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

Array = NDArray[np.float64]

BOOTSTRAPS, COVERED = 200, 0.95


def auc(odd: ArrayLike, true: ArrayLike) -> float:
    """Return the area under the ROC curve: how often an odd drawing scores above a true one, ties half.

    0.5 is chance. Source: Hanley and McNeil 1982, by the ranks of Mann and Whitney.
    """
    positives, negatives = np.asarray(odd, float), np.asarray(true, float)
    ranks = rankdata(np.concatenate([positives, negatives]))[: len(positives)]
    return float((ranks.sum() - len(positives) * (len(positives) + 1) / 2) / (len(positives) * len(negatives)))


def roc_curve(odd: ArrayLike, true: ArrayLike) -> tuple[Array, Array]:
    """Return false and true positive rates, each (n,) from 0 to 1, as the threshold falls over every score."""
    thresholds = np.unique(np.concatenate([np.asarray(odd, float), np.asarray(true, float)]))[::-1]
    rates = [np.concatenate([[0.0], share_above(side, thresholds)]) for side in (true, odd)]
    return rates[0], rates[1]


def share_above(scores: ArrayLike, thresholds: ArrayLike) -> Array:
    """Return the share of scores that are at a threshold or above it, for each threshold (n,)."""
    ordered = np.sort(np.asarray(scores, float))
    return 1 - np.searchsorted(ordered, np.asarray(thresholds, float), side="left") / len(ordered)


def average_precision(odd: ArrayLike, true: ArrayLike) -> float:
    """Return the mean precision over the odd drawings, each at its own score as threshold; ties count together.

    It depends on how many of each there are: of equal shares 0.5 is chance.
    """
    positives, negatives = np.sort(np.asarray(odd, float)), np.sort(np.asarray(true, float))
    found = len(positives) - np.searchsorted(positives, positives, side="left")
    wrong = len(negatives) - np.searchsorted(negatives, positives, side="left")
    return float((found / (found + wrong)).mean())


def fpr_at_tpr(odd: ArrayLike, true: ArrayLike, tpr: float = 0.95) -> float:
    """Return the share of true drawings called odd at the highest threshold that finds a share `tpr` of the odd."""
    ordered = np.sort(np.asarray(odd, float))[::-1]
    threshold = ordered[int(np.ceil(tpr * len(ordered))) - 1]
    return float(share_above(true, [threshold])[0])


MEASURES: dict[str, Callable[[ArrayLike, ArrayLike], float]] = {
    "auc": auc, "average_precision": average_precision, "fpr_at_95_tpr": fpr_at_tpr,
}  # fmt: skip


def measured(odd: ArrayLike, true: ArrayLike, threshold: float, seed: int = 0) -> dict[str, list[float]]:
    """Return each measure as [value, low, high] with its 95 % bootstrap interval, and TPR and TNR at the threshold.

    Odd and true drawings are drawn again apart from each other, as many as there are (Efron 1979). A drawing whose
    score is at the threshold or above it is called odd.
    """
    sides = np.asarray(odd, float), np.asarray(true, float)
    rng = np.random.default_rng(seed)
    functions = MEASURES | {
        "tpr": lambda odd, true: float((np.asarray(odd) >= threshold).mean()),
        "tnr": lambda odd, true: float((np.asarray(true) < threshold).mean()),
    }
    values = {name: function(*sides) for name, function in functions.items()}
    drawn: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(BOOTSTRAPS):
        again = [side[rng.integers(0, len(side), len(side))] for side in sides]
        for name, function in functions.items():
            drawn[name].append(function(*again))
    outside = 50 * (1 - COVERED)
    return {name: [values[name], *np.percentile(drawn[name], (outside, 100 - outside)).tolist()] for name in functions}
