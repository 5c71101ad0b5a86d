"""Laws of the feature network: what it computes, what its file holds and what it refuses."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest
import torch

from config import CATEGORIES, NETWORK_PATH
from drawings.embedded import embedded_drawings
from scoring.feature_network import (
    FeatureNetworkConfig,
    SketchFeatureNetwork,
    describe_inputs,
    load_feature_network,
    save_feature_network,
)
from scoring.stroke_recogniser import StrokeRecogniser, StrokeRecogniserConfig, stroke_arrays

SMALL = FeatureNetworkConfig(widths=(4, 4, 8, 8), num_classes=3)


@pytest.fixture
def network() -> SketchFeatureNetwork:
    torch.manual_seed(0)
    network = SketchFeatureNetwork(SMALL)
    network(torch.randint(0, 256, (8, 64, 64)))  # running averages other than the fresh ones
    return network.eval()


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (11, 64, 64), dtype=np.uint8)


def test_features_do_not_depend_on_the_batch(network: SketchFeatureNetwork, pictures: np.ndarray) -> None:
    features, logits = describe_inputs(network.train(), pictures, batch_size=11)
    assert features.shape == (11, 8)
    assert logits.shape == (11, 3)
    for size in (1, 4):
        again = describe_inputs(network.train(), pictures, batch_size=size)
        np.testing.assert_allclose(again[0], features, atol=1e-5)
        np.testing.assert_allclose(again[1], logits, atol=1e-5)
    order = np.random.default_rng(1).permutation(11)
    np.testing.assert_allclose(describe_inputs(network, pictures[order])[0], features[order], atol=1e-5)


@pytest.mark.parametrize("reads", ["pictures", "strokes"])
def test_a_saved_network_comes_back_with_names_conditions_and_hash(
    reads: str, network: SketchFeatureNetwork, pictures: np.ndarray, tmp_path: Path
) -> None:
    path, kept, inputs = tmp_path / "network.safetensors", network, pictures
    if reads == "strokes":
        kept = StrokeRecogniser(StrokeRecogniserConfig(channels=4, width=8, layers=1, heads=2, num_classes=3))
        inputs = stroke_arrays(embedded_drawings("cat", 11))
    sha256 = save_feature_network(path, kept, ["a", "b", "ü"], {"seed": 7})
    loaded = load_feature_network(path)
    assert type(loaded.network) is type(kept)
    assert (loaded.classes, loaded.conditions, loaded.sha256) == (["a", "b", "ü"], {"seed": 7}, sha256)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [p.name for p in tmp_path.iterdir()] == ["network.safetensors"]
    expected = describe_inputs(kept, inputs)[1]
    np.testing.assert_allclose(describe_inputs(loaded.network, inputs)[1], expected, atol=1e-2)
    assert save_feature_network(path, loaded.network, ["a", "b", "ü"], {"seed": 7}) == sha256


# ---- what is shipped


def test_the_shipped_network_is_small_and_knows_the_three_categories() -> None:
    loaded = load_feature_network(NETWORK_PATH)
    assert NETWORK_PATH.stat().st_size <= 3e6
    assert len(loaded.classes) == 345
    assert set(CATEGORIES) <= set(loaded.classes)
    assert loaded.network.classifier.in_features == 256
    assert loaded.conditions["held_out"]["top1_mean_over_classes"] > 0.5  # type: ignore[index]
