"""Laws of a whole score: which side is which, seen by drawings that are copies of real ones or of training drawings."""

from __future__ import annotations

from typing import Any

import pytest

from drawings.embedded import embedded_drawings
from metrics import score_drawings

BUSES = embedded_drawings("bus", 60, seed=5)
REAL, TRAINING = BUSES[:30], BUSES[30:]


def scored(generated: list) -> dict[str, Any]:
    return score_drawings(generated, REAL, "bus", training=TRAINING)


def test_the_real_drawings_themselves_have_no_distance_and_independent_strokes_have() -> None:
    score = scored(REAL)
    assert score["fid"]["value"] == pytest.approx(0, abs=1e-3)
    assert score["kid"]["value"] < 0  # unbiased: each has its like on the other side
    assert score["coverage"]["value"] == 1
    for figure in ("fid", "kid"):
        assert score[figure]["independent_strokes"] > 0.01
    assert score["recognisability"]["generated"] == score["recognisability"]["real"]
    assert score["recognised_after"]["generated"] == score["recognised_after"]["real"]
    assert all(figures["value"] == 0 for figures in score["strokes"]["distances"].values())
    assert score["memorisation"]["ratio"] == pytest.approx(1)


def test_copies_of_training_drawings_are_told_and_are_scored_as_generated() -> None:
    cars = embedded_drawings("cat", 30, seed=6)
    score = scored(TRAINING)
    assert score["memorisation"]["ratio"] == pytest.approx(0, abs=1e-3)
    assert score["memorisation"]["nearer_than_real"] == 1
    assert (score["n_generated"], score["n_real"], score["memorisation"]["n_learned_from"]) == (30, 30, 30)
    other = scored([*TRAINING[:5], *cars[:25]])
    assert other["fid"]["value"] > 2 * score["fid"]["value"]
    assert other["recognisability"]["real"] == score["recognisability"]["real"]
    assert other["recognisability"]["generated"]["top1"] < score["recognisability"]["generated"]["top1"]
    assert other["recognisability"]["independent_strokes"] == score["recognisability"]["independent_strokes"]
    assert other["density"]["value"] < 0.6 * score["density"]["value"]
