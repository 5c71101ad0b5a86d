"""Laws of the feature network: what it computes, what its file holds and what it refuses."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from config import CATEGORIES, NETWORK_PATH
from drawings.embedded import embedded_drawings
from scoring.feature_network import (
    FeatureNetworkConfig,
    SketchFeatureNetwork,
    describe_inputs,
    load_feature_network,
    read_safetensors,
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


def _changed(path: Path, **header: object) -> Path:
    """The file with another header entry, or with one tensor given as `tensor=(name, value)`."""
    tensors, metadata = read_safetensors(path)
    if "tensor" in header:
        name, value = header.pop("tensor")  # type: ignore[misc]
        tensors[name] = value
    save_file(tensors, path, metadata | {key: json.dumps(value) for key, value in header.items()})
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {"widths": [4, 4, 8, 16], "num_classes": 3}}, "not those of its config"),
        ({"config": {"widths": [4, 4, 8, 8], "num_classes": 3, "magic": 1}}, "not a sketch feature network"),
        ({"config": {"widths": [10**6] * 4, "num_classes": 3}}, "not those of its config"),  # never allocated
        ({"classes": ["a", "b"]}, "2 class names for 3"),
        ({"format": "other"}, "not a sketch feature network"),
        ({"tensor": ("classifier.bias", torch.tensor([0.0, torch.nan, 0.0]))}, "classifier.bias holds NaN"),
        ({"tensor": ("classifier.bias", torch.zeros(3))}, "do not match the sha256"),
    ],
)
def test_files_that_are_not_what_they_say_are_refused(
    change: dict, message: str, network: SketchFeatureNetwork, tmp_path: Path
) -> None:
    path = tmp_path / "network.safetensors"
    save_feature_network(path, network, ["a", "b", "c"], {})
    with pytest.raises(ValueError, match=message) as error:
        load_feature_network(_changed(path, **change))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_or_missing_file_is_refused(network: SketchFeatureNetwork, tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    save_feature_network(path, network, ["a", "b", "c"], {})
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[:-5], b"<html>not found</html>"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged"):
            load_feature_network(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_feature_network(tmp_path / "none")


# ---- what is shipped


def test_the_shipped_network_is_small_and_knows_the_three_categories() -> None:
    loaded = load_feature_network(NETWORK_PATH)
    assert NETWORK_PATH.stat().st_size <= 3e6
    assert len(loaded.classes) == 345
    assert set(CATEGORIES) <= set(loaded.classes)
    assert loaded.network.classifier.in_features == 256
    assert loaded.conditions["held_out"]["top1_mean_over_classes"] > 0.5  # type: ignore[index]
