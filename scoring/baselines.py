"""Baselines: every score beside what real drawings score against each other, and what shuffled strokes score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

NUM_SPLITS = 10
"""Random splits of the real drawings behind every real-vs-real baseline."""
MINIMUM_FLOOR = 8  # drawings a side


def with_floor(
    measure: Callable[[Any, Any], Mapping[str, float]], generated: Any, real: Any, seed: int, independent: Any = None,
    most: int | None = None,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Return every score of `measure(generated, real)` beside its baselines: real against real, shuffled strokes.

    The sets are features or statistics, of which an array of indices takes rows.
    `value` is at full size. `floor`, the real-vs-real baseline, is the score of two disjoint random parts of the real
    set, `at_floor_n` that of as many generated against as many real drawings, `floor_n` a side; both with `_std` over
    NUM_SPLITS random splits. Compare these two: most scores change with N. KID, being unbiased, does not. With fewer
    than 8 drawings a side the baseline is None, and so it is for a score that `measure` leaves out at n.
    `independent_strokes`, where these are given, is the shuffled-stroke baseline at full size; `floor_n` is at most
    `most`.
    """
    n = min(len(generated), len(real) // 2, most or len(real))
    values = measure(generated, real)
    shuffled = measure(independent, real) if independent is not None else {}
    result: dict[str, dict[str, Any]] = {
        name: {"value": value, "floor_n": n}
        | dict.fromkeys(("at_floor_n", "at_floor_n_std", "floor", "floor_std"))
        | ({"independent_strokes": shuffled[name]} if shuffled else {})
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
