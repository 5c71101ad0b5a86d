"""Laws of the training of the feature network and of the reference that it writes."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from config import CATEGORIES, NETWORK_PATH
from dataset_utils import PackedDrawings, load_category, write_ndjson
from drawings.embedded import embedded_drawings
from rendering import feature_rasters
from scoring import feature_network
from scoring.feature_network import describe_pictures, load_feature_network
from scoring.reference import load_reference
from studies import train_features


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


@pytest.fixture(autouse=True)
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """New networks are small: the laws are the same, and their training takes seconds."""
    small = functools.partial(feature_network.FeatureNetworkConfig, widths=(8, 8, 16, 16))
    monkeypatch.setattr(feature_network, "FeatureNetworkConfig", small)


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
        monkeypatch.setattr("studies.train_features.MOST_PICTURES", 8)
    if what in ("text", "cut"):
        path.write_bytes(path.read_bytes()[:-9] if what == "cut" else b"<html>")
    with pytest.raises(ValueError, match=r"cat\.npz: needs an array 'images' of shape \(N, 256, 256\)"):
        train_features.read_pictures(path)


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
