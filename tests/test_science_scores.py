"""Laws of a whole score: which side is which, seen by drawings that are the real ones, or copies of training ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from config import NETWORK_PATH
from drawings.embedded import embedded_drawings
from metrics import memorisation, scores_against
from scoring.feature_network import LoadedNetwork, load_feature_network
from scoring.reference import Reference, reference_of

BUSES = embedded_drawings("bus", 48, seed=5)
REAL, TRAINING = BUSES[:24], BUSES[24:]


@pytest.fixture(scope="module")
def network() -> LoadedNetwork:
    return load_feature_network(NETWORK_PATH)


@pytest.fixture(scope="module")
def reference(network: LoadedNetwork) -> Reference:
    return reference_of(REAL, "bus", network, training=TRAINING)


def test_the_real_drawings_themselves_have_no_distance_and_shuffled_strokes_have(
    reference: Reference, network: LoadedNetwork
) -> None:
    score = scores_against(reference, REAL, "bus", network)
    assert score["fid"]["value"] == pytest.approx(0, abs=1e-3)
    assert score["kid"]["value"] < 0  # unbiased: each has its like on the other side
    assert score["coverage"]["value"] == 1
    for figure in ("fid", "kid"):
        assert score[figure]["independent_strokes"] > 0.01
    assert score["kid"]["share"] == pytest.approx(score["kid"]["value"] / score["kid"]["independent_strokes"])
    assert score["recognisability"]["generated"] == score["recognisability"]["real"]
    assert score["recognised_after"]["generated"] == score["recognised_after"]["real"]
    for judge in (score, score["second_judge"]):
        assert judge["top1_over_real"] in (1, None)
        assert judge["kid"]["value"] < 0
        assert judge["two_sample"]["value"] < 0.6  # the same drawings on both sides
        assert judge["two_sample"]["n"] == len(REAL)
        assert judge["two_sample"]["independent_strokes"] > 0.6
    assert all(figures["value"] == 0 for figures in score["strokes"]["distances"].values())
    assert score["memorisation"]["ratio"] == pytest.approx(1)
    assert score["stroke_copies"]["generated"] == score["stroke_copies"]["real"]


def test_a_copy_is_nearer_than_the_nearest_hundredth_of_real_drawings() -> None:
    real = np.arange(1.0, 101.0)[:, None]  # so far from the one training drawing, the nearest hundredth below 1.99
    generated = np.array([[1.5], [1.98], [2.0], [5.0], [50.0]])
    assert memorisation(generated, real, np.array([[0.0], [1000.0]]))["nearer_than_real"] == pytest.approx(2 / 5)


def test_copies_of_training_drawings_are_told_and_what_else_is_drawn_changes_the_generated_side_alone(
    reference: Reference, network: LoadedNetwork
) -> None:
    copies, others = (
        scores_against(reference, generated, "bus", network)
        for generated in (TRAINING, [*TRAINING[:4], *embedded_drawings("cat", 20, seed=6)])
    )
    assert copies["memorisation"]["ratio"] == pytest.approx(0, abs=1e-3)
    assert copies["memorisation"]["nearer_than_real"] == 1
    assert copies["stroke_copies"]["generated"]["share"] == 1
    assert copies["stroke_copies"]["real"]["share"] < 0.5
    assert others["memorisation"]["nearer_than_real"] < 0.5
    assert others["fid"]["value"] > 2 * copies["fid"]["value"]
    assert others["density"]["value"] < 0.6 * copies["density"]["value"]
    found: list[dict[str, Any]] = [copies["recognisability"], others["recognisability"]]
    assert found[0]["generated"]["top1"] > 2 * found[1]["generated"]["top1"]
    assert others["two_sample"]["value"] > 0.15 + copies["two_sample"]["value"]
    assert others["second_judge"]["kid"]["value"] > 2 * abs(copies["second_judge"]["kid"]["value"])
    assert copies["kid"]["training"] == pytest.approx(copies["kid"]["value"])  # they are the training drawings
    for side in ("real", "independent_strokes"):
        assert found[0][side] == found[1][side]
