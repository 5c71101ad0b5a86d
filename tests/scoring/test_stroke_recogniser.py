"""Laws of the stroke recogniser: what of a drawing reaches it, and that padding does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from config import NETWORK_PATH, RECOGNISER_PATH
from drawings.embedded import embedded_drawings
from scoring.feature_network import describe_inputs, load_feature_network
from scoring.stroke_recogniser import (
    BOX,
    MOST_STROKES,
    PADDING,
    StrokeRecogniser,
    StrokeRecogniserConfig,
    stroke_arrays,
)

DRAWINGS = [drawing for drawing in embedded_drawings("cat", 60) if len(drawing) > 2][:20]


@pytest.fixture
def network() -> StrokeRecogniser:
    torch.manual_seed(0)
    return StrokeRecogniser(StrokeRecogniserConfig(channels=4, width=8, layers=2, heads=2, num_classes=3)).eval()


def test_arrays_hold_every_stroke_in_order_in_a_centred_box_and_padding() -> None:
    longest = DRAWINGS[0] * 20
    arrays = stroke_arrays([*DRAWINGS, longest])
    for array, drawing in zip(arrays, [*DRAWINGS, longest[:MOST_STROKES]], strict=True):
        own = array[: len(drawing)]
        assert (array[len(drawing) :] == PADDING).all()
        assert own.max() <= BOX < PADDING
        low, high = own.reshape(-1, 2).min(axis=0).astype(int), own.reshape(-1, 2).max(axis=0)
        assert (high - low).max() == pytest.approx(BOX, abs=1)
        np.testing.assert_allclose(low + high, BOX, atol=2)
        points = np.concatenate(drawing).astype(float)
        scale = BOX / np.ptp(points, axis=0).max()
        for stroke, found in zip(drawing, own, strict=True):
            steps = (np.asarray(stroke, float)[-1] - np.asarray(stroke, float)[0]) * scale
            np.testing.assert_allclose(found[-1].astype(float) - found[0], steps, atol=6)
    assert stroke_arrays([]).shape == (0, *arrays.shape[1:])
    assert (stroke_arrays([[np.array([[9, 9]])]])[0, 0] == BOX // 2).all()  # a dot


def test_place_size_and_points_between_do_not_reach_the_network() -> None:
    zigzag = [np.array([[0, 0], [60, 100], [120, 0]]), np.array([[30, 40], [90, 40]])]
    denser = [np.concatenate([[(a + b) / 2, b] for a, b in zip(s[:1].repeat(2, 0), s[:2], strict=True)] + [s[1:]])
              for s in zigzag]  # fmt: skip
    for other in ([stroke * 0.5 + 70 for stroke in zigzag], denser):
        assert np.abs(stroke_arrays([other]).astype(int) - stroke_arrays([zigzag]).astype(int)).max() <= 1
    assert np.abs(stroke_arrays([zigzag[::-1]]).astype(int) - stroke_arrays([zigzag]).astype(int)).max() > 20


def test_features_depend_on_the_own_strokes_and_their_order_alone(network: StrokeRecogniser) -> None:
    arrays = stroke_arrays([*DRAWINGS, DRAWINGS[0] * 20])
    features, logits = describe_inputs(network, arrays)
    assert features.shape == (len(arrays), 8)
    assert logits.shape == (len(arrays), 3)
    for size in (1, 7):  # alone, and beside shorter and longer ones
        np.testing.assert_allclose(describe_inputs(network, arrays, size)[0], features, atol=1e-5)
    backwards = describe_inputs(network, stroke_arrays([drawing[::-1] for drawing in DRAWINGS]))[0]
    assert np.abs(backwards - features[:-1]).max() > 0.05


def test_training_sees_noise_and_judging_does_not(network: StrokeRecogniser) -> None:
    batch = torch.from_numpy(stroke_arrays(DRAWINGS))
    assert network.features(batch).equal(network.features(batch))
    network.train()
    assert not network.features(batch).equal(network.features(batch))


def test_the_shipped_recogniser_is_small_knows_all_categories_and_says_what_it_learned_from() -> None:
    loaded, first = load_feature_network(RECOGNISER_PATH), load_feature_network(NETWORK_PATH)
    assert RECOGNISER_PATH.stat().st_size <= 2e6
    assert loaded.classes == first.classes
    assert loaded.conditions["network"] == "strokes"
    assert loaded.conditions["training_part"] == "three quarters, by a hash of each drawing"
    assert loaded.conditions["held_out_drawings"] == first.conditions["held_out_drawings"]
    assert loaded.conditions["held_out"]["top1_mean_over_classes"] > 0.5  # type: ignore[index]
