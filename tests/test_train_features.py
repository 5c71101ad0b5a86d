"""Training the feature network: what it sees, that it resumes bit for bit, and the reference that it writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from config import CATEGORIES, NETWORK_PATH
from dataset_utils import PackedDrawings, load_category, write_ndjson
from drawings.embedded import embedded_drawings
from rendering import feature_rasters
from scoring.feature_network import KINDS, FeatureNetworkConfig, describe_inputs, load_feature_network
from scoring.reference import load_reference
from scoring.stroke_recogniser import StrokeRecogniser, stroke_arrays
from studies import train_features


@pytest.fixture(scope="module", autouse=True)
def _small_networks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        kind = replace(KINDS["pictures"], settings=partial(FeatureNetworkConfig, widths=(4, 4, 8, 8)))
        patch.setitem(KINDS, "pictures", kind)
        yield


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for category in CATEGORIES:
        write_ndjson(folder / f"{category}.ndjson", embedded_drawings(category, 80), word=category)
    return folder


def train(data_dir: Path, out: Path, *more: object) -> dict[str, Any]:
    words = ["--data-dir", data_dir, "--out", out, "--epochs", "2", "--batch-size", "32", *more]
    return train_features.main([str(word) for word in words])


@pytest.fixture(scope="module")
def trained(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("trained") / "network.safetensors"
    return out, train(data_dir, out)


def test_augmentation_bends_and_cuts_but_leaves_a_stroke_and_depends_on_the_generator_alone() -> None:
    drawings = embedded_drawings("cat", 60)
    once, again, other = (
        [train_features.augmented(drawing, rng) for drawing in drawings]
        for rng in map(np.random.default_rng, (1, 1, 2))
    )
    for one, same in zip(once, again, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert any(len(a) != len(b) or not np.allclose(a[0], b[0]) for a, b in zip(once, other, strict=True))
    cut = [len(drawing) - len(bent) for drawing, bent in zip(drawings, once, strict=True)]
    assert min(cut) == 0 < max(cut)
    rng, dot = np.random.default_rng(0), [np.array([[3, 0], [0, 3]])]
    assert {len(train_features.augmented(dot, rng)) for _ in range(200)} == {1}


def test_the_average_of_a_short_training_has_forgotten_where_it_began() -> None:
    averaged, update = [torch.tensor([100.0])], train_features.warmed_up(0.999)
    for count in range(1, 100):
        update(averaged, [torch.tensor([1.0])], torch.tensor(count))
    assert averaged[0].item() == pytest.approx(1.0, abs=1e-3)


def test_what_is_left_out_is_neither_learned_nor_known(data_dir: Path, tmp_path: Path) -> None:
    train(data_dir, tmp_path / "eye.safetensors", "--leave-out", "kedi")
    assert load_feature_network(tmp_path / "eye.safetensors").classes == ["bus", "rabbit"]
    with pytest.raises(ValueError, match="0 categories, a classifier needs at least 2"):
        train(data_dir, tmp_path / "none.safetensors", "--leave-out", "cat,bus,rabbit")


def test_an_epoch_holds_no_category_more_often_than_the_cap_and_is_another_each_time() -> None:
    data = [PackedDrawings.from_drawings(embedded_drawings("cat", count)) for count in (8, 1, 3)]
    config = train_features.FeatureTrainingConfig(cap=3)
    pictures, labels = train_features.epoch_of(data, config, 0)
    assert pictures.shape == (7, 64, 64)
    assert np.bincount(labels).tolist() == [3, 1, 3]
    assert pictures.equal(train_features.epoch_of(data, config, 0)[0])
    assert not pictures.equal(train_features.epoch_of(data, config, 1)[0])


def test_accuracy_counts_drawings_and_categories() -> None:
    logits = np.zeros((4, 8), np.float32) + np.arange(8, dtype=np.float32)  # 7 is best, 3 is fifth
    result = train_features.accuracy(logits, np.array([7, 7, 7, 3]))
    assert result == {"top1": 0.75, "top1_mean_over_classes": 0.5, "top5": 1.0, "top5_mean_over_classes": 1.0}


def test_confusion_names_what_a_category_is_taken_for_most_often_first() -> None:
    best = np.array([1, 1, 2, 1, 0, 2])  # taken for
    logits = np.eye(3, dtype=np.float32)[best]
    found = train_features.confusion(logits, np.array([1, 1, 1, 1, 0, 2]), ["bus", "cat", "dog"])
    assert found["cat"] == {"n": 4, "taken_for": {"cat": 0.75, "dog": 0.25}}
    assert found["bus"] == {"n": 1, "taken_for": {"bus": 1.0}}


def test_an_interrupted_training_goes_on_to_the_same_network(
    data_dir: Path, trained: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    whole = trained[1]
    assert whole["train_drawings"] + whole["held_out_drawings"] == 240
    assert whole["epoch_losses"][-1] < whole["epoch_losses"][0]
    assert sum(entry["n"] for entry in whole["confusion"].values()) == whole["held_out_drawings"]
    epoch_of, out = train_features.epoch_of, tmp_path / "parts.safetensors"

    def interrupted(data: Any, config: Any, epoch: int) -> Any:
        if epoch == 1:
            raise KeyboardInterrupt
        return epoch_of(data, config, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(train_features, "epoch_of", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(data_dir, out)
    with pytest.raises(ValueError, match="other settings"):
        train(data_dir, out, "--seed", "1")
    parts = train(data_dir, out)
    assert "resuming" in capsys.readouterr().err
    assert parts["sha256"] == whole["sha256"]
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_the_stroke_recogniser_learns_from_three_quarters_of_the_training_drawings(
    data_dir: Path, trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "recogniser.safetensors"
    found = train(data_dir, out, "--network", "strokes")
    assert 0.6 < found["train_drawings"] / trained[1]["train_drawings"] < 0.9
    assert found["held_out_drawings"] == trained[1]["held_out_drawings"]
    assert found["epoch_losses"][-1] < found["epoch_losses"][0]
    assert isinstance(load_feature_network(out).network, StrokeRecogniser)
    side = load_category("bus", data_dir=data_dir, split="local").train
    read = train_features.read_by_recogniser(side)
    assert (train_features.read_by_recogniser(side.select(np.arange(len(side))[::-1])) == read[::-1]).all()
    with pytest.raises(ValueError, match="--pictures goes with --network pictures"):
        train(data_dir, out, "--network", "strokes", "--pictures", tmp_path)


def test_training_refuses_what_it_cannot_train_on(data_dir: Path, tmp_path: Path) -> None:
    for folder, more, error, message in (
        (tmp_path / "none", (), FileNotFoundError, "no such folder"),
        (data_dir, ("--batch-size", "300"), ValueError, "fewer drawings than --batch-size"),
        (data_dir, ("--epochs", "0"), ValueError, "--epochs is 0"),
    ):
        with pytest.raises(error, match=message):
            train(folder, tmp_path / "x.safetensors", *more)
    assert not (tmp_path / "x.safetensors").exists()


def test_measuring_again_changes_the_scores_and_not_the_network(
    data_dir: Path, trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "network.safetensors"
    out.write_bytes(trained[0].read_bytes())
    for category in CATEGORIES:
        write_ndjson(tmp_path / f"{category}.ndjson", embedded_drawings(category, 30), word=category)
    measured = train(tmp_path, out, "--measure")
    assert measured["sha256"] == trained[1]["sha256"]
    assert measured["held_out_drawings"] < trained[1]["held_out_drawings"]
    assert measured["epoch_losses"] == trained[1]["epoch_losses"]
    (tmp_path / "dog.ndjson").write_bytes((tmp_path / "cat.ndjson").read_bytes())
    with pytest.raises(ValueError, match="holds 4 categories that are not those of"):
        train(tmp_path, out, "--measure")


def test_references_are_of_pictures_or_of_held_out_drawings(
    data_dir: Path, trained: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, path, folder = trained[0], tmp_path / "reference.safetensors", tmp_path / "pictures"
    monkeypatch.setattr("scoring.reference.MOST_TRAINING", 20)
    folder.mkdir()
    rasters = np.random.default_rng(0).integers(0, 2, (6, 256, 256), dtype=np.uint8) * 255
    np.savez(folder / "cat.npz", images=rasters)
    files = ("--pictures", folder, "--reference", path)
    counts = train(data_dir, network, *files, "--held-out", "bus, rabbit")["reference"]
    data = load_category("bus", data_dir=data_dir, split="local")
    unread = int((~train_features.read_by_recogniser(data.train)).sum())
    sizes = {"independent": 500, "training": 20, "held_out": len(data.test), "learned_from": len(data.train)}
    strokes = {"real_strokes": len(data.test), "independent_strokes": 500, "training_strokes": unread}
    assert counts["bus"] == {"real": len(data.test), **sizes, **strokes}
    assert counts["cat"]["real"] == 6
    assert list(counts) == ["cat", "bus", "rabbit"]
    loaded = load_feature_network(network)
    bus, cat = (load_reference(path, name, loaded) for name in ("bus", "cat"))
    assert "official test split" in cat.source
    assert "held-out" in bus.source
    pooled = rasters.reshape(6, 64, 4, 64, 4).mean(axis=(2, 4)).round().astype(np.uint8)
    for found, pictures in ((cat, pooled), (bus, feature_rasters(list(data.test)))):
        np.testing.assert_allclose(found.real.features, describe_inputs(loaded.network, pictures)[0], atol=2e-2)
    by_strokes = describe_inputs(bus.second.loaded.network, stroke_arrays(list(data.test)))[0]
    np.testing.assert_allclose(bus.second.real.features, by_strokes, atol=2e-2)
    assert bus.training is not None
    assert (len(bus.training), bus.num_learned_from) == (20, len(data.train))
    with pytest.raises(ValueError, match="for another program or network"):
        load_reference(path, "cat", load_feature_network(NETWORK_PATH))
    before = path.read_bytes()
    for arguments, message in (
        ((*files, "--held-out", "cat"), "has pictures of 'cat'"),
        ((*files, "--held-out", "unicorn"), "unknown category 'unicorn'"),
        (("--held-out", "bus"), "--held-out is given without --pictures"),
        (("--pictures", folder, "--reference", network), "is what was given to read"),
    ):
        with pytest.raises(ValueError, match=message):
            train(data_dir, network, *arguments)
    (folder / "dog.npz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"dog\.npz: of 'dog' .* has no drawings"):
        train(data_dir, network, *files)
    assert path.read_bytes() == before


@pytest.mark.parametrize("what", ["text", "cut", "floats", "small", "one", "objects", "name"])
def test_damaged_pictures_are_refused_by_name(what: str, tmp_path: Path) -> None:
    path, good = tmp_path / "cat.npz", np.zeros((9, 256, 256), np.uint8)
    arrays = {"floats": good.astype(float), "small": good[:, :64], "one": good[:1], "objects": np.array([{}])}
    np.savez_compressed(path, **{"pictures" if what == "name" else "images": arrays.get(what, good)})
    if what in ("text", "cut"):
        path.write_bytes(path.read_bytes()[:-9] if what == "cut" else b"<html>")
    with pytest.raises(ValueError, match=r"cat\.npz: needs an array 'images' of shape \(N, 256, 256\)"):
        train_features.read_pictures(path)
