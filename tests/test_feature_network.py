"""Laws of the feature network: what it computes, what its file holds, what it refuses, and its training."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from config import CATEGORIES, NETWORK_PATH
from dataset_utils import PackedDrawings, load_category, write_ndjson
from drawings.embedded import embedded_drawings
from rendering import feature_rasters
from scoring.feature_network import (
    FeatureNetworkConfig,
    SketchFeatureNetwork,
    describe_pictures,
    load_feature_network,
    read_safetensors,
    save_feature_network,
)
from scoring.reference import _pictures, load_reference
from studies import train_features

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
    features, logits = describe_pictures(network.train(), pictures, batch_size=11)
    assert features.shape == (11, 8)
    assert logits.shape == (11, 3)
    for size in (1, 4):
        again = describe_pictures(network.train(), pictures, batch_size=size)
        np.testing.assert_allclose(again[0], features, atol=1e-5)
        np.testing.assert_allclose(again[1], logits, atol=1e-5)
    order = np.random.default_rng(1).permutation(11)
    np.testing.assert_allclose(describe_pictures(network, pictures[order])[0], features[order], atol=1e-5)


def test_white_paper_is_zero_ink(network: SketchFeatureNetwork) -> None:
    white = torch.full((1, 64, 64), 255, dtype=torch.uint8)
    seen = []
    network.stem.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    network.features(white)
    assert torch.equal(seen[0], torch.zeros(1, 1, 64, 64))


def test_pictures_of_another_size_are_refused(network: SketchFeatureNetwork) -> None:
    with pytest.raises(ValueError, match=r"must be \(B, 64, 64\)"):
        network(torch.zeros(2, 32, 32))


def test_a_saved_network_comes_back_with_names_conditions_and_hash(
    network: SketchFeatureNetwork, pictures: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "network.safetensors"
    sha256 = save_feature_network(path, network, ["a", "b", "ü"], {"seed": 7})
    loaded = load_feature_network(path)
    assert (loaded.classes, loaded.conditions, loaded.sha256) == (["a", "b", "ü"], {"seed": 7}, sha256)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [p.name for p in tmp_path.iterdir()] == ["network.safetensors"]
    expected = describe_pictures(network, pictures)[1]
    np.testing.assert_allclose(describe_pictures(loaded.network, pictures)[1], expected, atol=1e-2)
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
        ({"config": {"widths": [4, 4, 8, 16], "num_classes": 3}}, "its config declares"),
        ({"config": {"widths": [4, 4, 8, 8], "num_classes": 3, "magic": 1}}, "not a sketch feature network"),
        ({"config": {"widths": [10**6] * 4, "num_classes": 3}}, "its config declares"),  # never allocated
        ({"config": {"widths": [10**18] * 4, "num_classes": 3}}, "not a sketch feature network"),
        ({"config": {"widths": [1.5] * 4, "num_classes": 3}}, "not a sketch feature network"),
        ({"config": "[" * 9999}, "not a sketch feature network"),
        ({"classes": ["a", "b"]}, "2 class names for 3"),
        ({"classes": 3}, "not a sketch feature network"),
        ({"conditions": [3]}, "not a sketch feature network"),
        ({"format": "other"}, "not a sketch feature network"),
        ({"tensor": ("classifier.bias", torch.tensor([0.0, torch.nan, 0.0]))}, "classifier.bias holds NaN"),
        ({"tensor": ("classifier.bias", torch.zeros(3))}, "do not match the sha256"),
        ({"tensor": ("more", torch.zeros(3))}, "more has shape"),
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
    flipped = bytearray(whole)
    flipped[-3] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match=r"sha256|NaN"):
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


# ---- training


def test_augmentation_keeps_at_least_one_stroke_and_depends_on_the_seed_alone() -> None:
    packed = PackedDrawings.from_drawings(embedded_drawings("cat", 40))
    once, again, other = (train_features.augmented_drawings(packed, seed) for seed in ([1, 2], [1, 2], [1, 3]))
    flat = [np.concatenate([s for d in side for s in d])
            for side in (once, again, other)]  # fmt: skip
    np.testing.assert_array_equal(flat[0], flat[1])
    assert flat[0].shape != flat[2].shape or not np.allclose(flat[0], flat[2])
    kept = np.array([len(drawing) for drawing in once])
    assert kept.min() >= 1
    assert (kept <= packed.num_strokes).all()
    assert (kept < packed.num_strokes).any()
    single = PackedDrawings.from_drawings([[np.array([[i, 0], [0, i]])] for i in range(1, 200)])
    assert {len(drawing) for drawing in train_features.augmented_drawings(single, [0])} == {1}


def test_rendering_in_chunks_changes_nothing() -> None:
    drawings = embedded_drawings("bus", 7)
    packed = PackedDrawings.from_drawings(drawings)
    np.testing.assert_array_equal(train_features.render(packed, None, None, chunk=3), feature_rasters(drawings))


def test_an_epoch_holds_no_category_more_often_than_the_cap() -> None:
    packed = PackedDrawings.from_drawings(embedded_drawings("cat", 12))
    whole = train_features.LabelledDrawings(packed, np.repeat([0, 1, 2], [8, 1, 3]))
    first = whole.capped(3, np.random.default_rng(0))
    assert np.bincount(first.labels).tolist() == [3, 1, 3]
    assert len(set(first.packed.lines)) == 7
    np.testing.assert_array_equal(whole.labels[first.packed.lines], first.labels)


def test_accuracy_counts_drawings_and_categories() -> None:
    logits = np.zeros((4, 8), np.float32) + np.arange(8, dtype=np.float32)  # 7 is best, 3 is fifth
    result = train_features.accuracy(logits, np.array([7, 7, 7, 3]))
    assert result == {"top1": 0.75, "top1_mean_over_classes": 0.5, "top5": 1.0, "top5_mean_over_classes": 1.0}


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    for category in CATEGORIES:
        write_ndjson(tmp_path / f"{category}.ndjson", embedded_drawings(category, 80), word=category)
    return tmp_path


def _train(data_dir: Path, out: Path, *more: str) -> dict:
    fixed = ["--epochs", "3", "--batch-size", "32", "--workers", "0"]
    return train_features.main(["--data-dir", str(data_dir), "--out", str(out), *fixed, *more])


def test_an_interrupted_training_goes_on_to_the_same_network(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = _train(data_dir, data_dir / "whole.safetensors")
    assert whole["train_drawings"] + whole["held_out_drawings"] == 240
    assert whole["epoch_losses"][-1] < whole["epoch_losses"][0]
    step, taken = train_features._Trainer.step, []

    def interrupted(*arguments: object) -> float:
        taken.append(1)
        if len(taken) == 8:  # in the second epoch
            raise KeyboardInterrupt
        return step(*arguments)  # type: ignore[arg-type]

    out = data_dir / "parts.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(train_features._Trainer, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _train(data_dir, out)
    with pytest.raises(ValueError, match="other settings"):
        _train(data_dir, out, "--seed", "1")
    parts = _train(data_dir, out)
    assert "resuming" in capsys.readouterr().err
    assert parts["sha256"] == whole["sha256"]
    assert not out.with_suffix(".training").exists()


def test_training_refuses_what_it_cannot_train_on(data_dir: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        _train(data_dir / "none", data_dir / "x.safetensors")
    with pytest.raises(ValueError, match="less than --batch-size"):
        _train(data_dir, data_dir / "x.safetensors", "--batch-size", "300")
    with pytest.raises(ValueError, match="--epochs is 0"):
        _train(data_dir, data_dir / "x.safetensors", "--epochs", "0")


def test_reference_features_are_those_of_the_pictures(data_dir: Path) -> None:
    out, pictures_dir = data_dir / "network.safetensors", data_dir / "pictures"
    pictures_dir.mkdir()
    rasters = np.random.default_rng(0).integers(0, 2, (6, 256, 256), dtype=np.uint8) * 255
    np.savez(pictures_dir / "cat.npz", images=rasters)
    reference = data_dir / "reference.safetensors"
    result = _train(data_dir, out, "--pictures", str(pictures_dir), "--reference", str(reference))
    counts = {"real": 6, "independent": 500, "training": 69, "held_out": 11, "learned_from": 69}
    assert result["reference"] == {"cat": counts}
    loaded = load_feature_network(out)
    found = load_reference(reference, "cat", loaded)
    pooled = rasters.reshape(6, 64, 4, 64, 4).mean(axis=(2, 4)).round().astype(np.uint8)
    np.testing.assert_allclose(found.real.features, describe_pictures(loaded.network, pooled)[0], atol=2e-2)
    assert found.training is not None
    assert (len(found.independent.features), len(found.training), len(found.statistics)) == (500, 69, 11)
    with pytest.raises(ValueError, match="holds cat, not 'bus'"):
        load_reference(reference, "bus", loaded)
    with pytest.raises(ValueError, match="another program or feature network"):
        load_reference(reference, "cat", load_feature_network(NETWORK_PATH))


def test_pictures_that_are_none_are_refused_before_the_training(data_dir: Path) -> None:
    out, folder = data_dir / "network.safetensors", data_dir / "pictures"
    folder.mkdir()
    files = ["--pictures", str(folder), "--reference", str(data_dir / "reference.safetensors")]
    with pytest.raises(FileNotFoundError, match=r"pictures: no <category>\.npz files"):
        _train(data_dir, out, *files)
    (folder / "dog.npz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"dog\.npz: of 'dog' .* has no drawings"):
        _train(data_dir, out, *files)
    assert not out.exists()


@pytest.mark.parametrize("what", ["text", "cut", "floats", "small", "one", "objects", "bomb", "name"])
def test_damaged_pictures_are_refused_by_name(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, good = tmp_path / "cat.npz", np.zeros((9, 256, 256), np.uint8)
    arrays = {"floats": good.astype(float), "small": good[:, :64], "one": good[:1], "objects": np.array([{}])}
    np.savez_compressed(path, **{"pictures" if what == "name" else "images": arrays.get(what, good)})
    if what == "bomb":  # 9 pictures in a file of a kilobyte
        monkeypatch.setattr("scoring.reference.MOST_PICTURES", 8)
    if what in ("text", "cut"):
        path.write_bytes(path.read_bytes()[:-9] if what == "cut" else b"<html>")
    with pytest.raises(ValueError, match=r"cat\.npz: needs an array 'images' of shape \(N, 256, 256\)"):
        _pictures(path)


def test_a_category_without_pictures_has_its_held_out_drawings_as_reference(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, pictures_dir, path = (data_dir / name for name in ("network.safetensors", "pictures", "reference.safetensors"))
    pictures_dir.mkdir()
    np.savez(pictures_dir / "cat.npz", images=np.zeros((6, 256, 256), np.uint8))
    monkeypatch.setattr("scoring.reference.MOST_TRAINING", 20)
    files = ["--pictures", str(pictures_dir), "--reference", str(path)]
    result = _train(data_dir, out, *files, "--held-out", "bus, rabbit")
    data = load_category("bus", data_dir=data_dir, split="local")
    sizes = {"training": 20, "held_out": len(data.test), "learned_from": len(data.train)}
    assert result["reference"]["bus"] == {"real": len(data.test), "independent": 500, **sizes}
    assert list(result["reference"]) == ["cat", "bus", "rabbit"]
    loaded = load_feature_network(out)
    bus, cat = (load_reference(path, name, loaded) for name in ("bus", "cat"))
    assert "official test split" in cat.source
    assert "held-out" in bus.source
    expected = describe_pictures(loaded.network, feature_rasters(list(data.test)))[0]
    np.testing.assert_allclose(bus.real.features, expected, atol=2e-2)
    assert bus.training is not None
    assert (len(bus.training), bus.num_learned_from) == (20, len(data.train))
    before = path.read_bytes()
    for arguments, message in (
        ([*files, "--held-out", "cat"], "has pictures of 'cat'"),
        ([*files, "--held-out", "unicorn"], "unknown category 'unicorn'"),
        (["--held-out", "bus"], "--held-out is given without --pictures"),
    ):
        with pytest.raises(ValueError, match=message):
            _train(data_dir, out, *arguments)
    assert path.read_bytes() == before


def test_confusion_names_what_a_category_is_taken_for_most_often_first() -> None:
    classes = ["bus", "cat", "dog"]
    best = np.array([1, 1, 2, 1, 0, 2])  # taken for
    logits = np.eye(3, dtype=np.float32)[best]
    found = train_features.confusion(logits, np.array([1, 1, 1, 1, 0, 2]), classes)
    assert found["cat"] == {"n": 4, "taken_for": {"cat": 0.75, "dog": 0.25}}
    assert found["bus"] == {"n": 1, "taken_for": {"bus": 1.0}}
    assert list(found["cat"]["taken_for"]) == ["cat", "dog"]


def test_measuring_again_changes_the_figures_and_not_the_network(data_dir: Path) -> None:
    out = data_dir / "network.safetensors"
    trained = _train(data_dir, out)
    other = data_dir / "other"
    other.mkdir()
    for category in CATEGORIES:
        write_ndjson(other / f"{category}.ndjson", embedded_drawings(category, 30), word=category)
    measured = _train(other, out, "--measure")
    assert measured["sha256"] == trained["sha256"]
    assert measured["held_out_drawings"] < trained["held_out_drawings"]
    assert sum(entry["n"] for entry in measured["confusion"].values()) == measured["held_out_drawings"]
    (other / "dog.ndjson").write_bytes((other / "cat.ndjson").read_bytes())
    with pytest.raises(ValueError, match="holds 4 categories that are not those of"):
        _train(other, out, "--measure")
