"""Scores of several sampling seeds as one: means, with the deviation over seeds beside each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def over_seeds(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return scores of several sampling seeds as one dict of the same form: means, with a deviation beside each.

    The deviation over seeds of a score `x` (over N - 1) stands beside it as `x_over_seeds`; what is the same for all
    seeds has none. A score that one of them lacks is None. Raises ValueError when scores are not of one form.
    """
    if not scores:
        raise ValueError("no scores to average")
    result: dict[str, Any] = {}
    for key in dict.fromkeys(key for score in scores for key in score):
        if any(key not in score for score in scores):
            raise ValueError(f"scores of different forms: '{key}' is not in all of them")
        column = [score[key] for score in scores]
        if all(item == column[0] for item in column):
            result[key] = column[0]
        elif all(isinstance(item, Mapping) for item in column):
            result[key] = over_seeds(column)
        elif any(item is None for item in column):
            result[key] = None
        elif all(isinstance(item, int | float | list) for item in column):
            result[key] = np.mean(column, axis=0).tolist()
            result[f"{key}_over_seeds"] = np.std(column, axis=0, ddof=1).tolist()
        else:
            raise ValueError(f"scores of different forms: '{key}' is {column[0]!r} and {column[-1]!r}")
    return result
