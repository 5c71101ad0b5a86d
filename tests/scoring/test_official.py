"""Laws of the official score: rendering, resizing, subsets, baselines, where the network comes from."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import URLError

import agreement
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import metrics
from config import RunFailed
from dataset_utils import PackedDrawings, write_ndjson
from drawings.embedded import embedded_drawings
from scoring import official
from scoring.official import Network, official_picture

PUBLISHED = official.PUBLISHED_SHA256 + 56 * "0"


def save_png(path: Path, side: int = 256, **settings: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), "white").save(path, **settings)
    return path


# ---- pictures


def test_an_official_picture_is_what_pillow_draws_on_white_rgb(cats: PackedDrawings) -> None:
    for index in range(50):
        image = Image.new("RGB", (256, 256), "white")
        for stroke in cats.drawing(index):
            ImageDraw.Draw(image).line([tuple(point) for point in stroke.tolist()], fill=0)
        assert np.array_equal(official_picture(cats.drawing(index)), np.array(image))


def test_written_pictures_are_the_drawings_in_their_order(tmp_path: Path) -> None:
    drawings = embedded_drawings("cat", 12)
    paths = official.write_pictures(drawings, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == [f"{index:05d}.png" for index in range(12)]
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == [path.name for path in paths]
    read = official.pictures_in_folder(tmp_path / "new" / "folder")
    assert read.count == 12
    for index, drawing in enumerate(drawings):
        with Image.open(paths[index]) as image:
            assert (image.mode, image.size) == ("RGB", (256, 256))
        assert np.array_equal(read.make(index), official_picture(drawing))
    with pytest.raises(ValueError, match=r"holds 12 pictures \(00000\.png\), must hold none"):
        official.write_pictures(drawings, tmp_path / "new" / "folder")


@pytest.mark.parametrize("stranger", ["00001.png", "deep/er/x.JPG", "damaged/00000.png"])
def test_pictures_that_it_did_not_write_are_left_alone(stranger: str, tmp_path: Path) -> None:
    (tmp_path / stranger).parent.mkdir(parents=True, exist_ok=True)
    if stranger.startswith("damaged"):
        (tmp_path / stranger).write_text("mine")
    else:
        save_png(tmp_path / "x.png").rename(tmp_path / stranger)
    (tmp_path / "notes.txt").write_text("not a picture")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="holds 1 pictures"):
        official.write_pictures(embedded_drawings("cat", 3), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_pictures_that_are_not_official_are_named(tmp_path: Path) -> None:
    save_png(tmp_path / "small" / "x.png", side=64)
    save_png(tmp_path / "jpeg" / "x.jpg")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "x.png").write_text("no picture")
    for folder, message in (("small", r"x\.png: is 64x64"), ("jpeg", r"x\.jpg: .* are PNG"), ("text", r"x\.png: dam")):
        with pytest.raises(ValueError, match=message):
            official.pictures_in_folder(tmp_path / folder)
    whole = official.write_pictures(embedded_drawings("cat", 2), tmp_path / "cut")[0]
    whole.write_bytes(whole.read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"00000\.png: damaged"):
        official.pictures_in_folder(tmp_path / "cut").make(0)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "I;16"])
def test_pictures_of_every_kind_are_those_of_the_official_rendering_on_white(mode: str, tmp_path: Path) -> None:
    drawing = embedded_drawings("cat", 1)[0]
    wanted = official.official_picture(drawing)
    grey = Image.fromarray(wanted[:, :, 0])
    ink = Image.new("L", grey.size, 0)
    ink.putalpha(Image.fromarray(255 - wanted[:, :, 0]))  # black everywhere, the paper transparent
    kinds = {"RGBA": ink.convert("RGBA"), "LA": ink, "P": ink.convert("RGBA").quantize(8), "1": grey.convert("1"),
             "I;16": Image.fromarray(np.asarray(grey, np.uint16) * 257)}  # fmt: skip
    for number in range(2):
        kinds[mode].save(tmp_path / f"{number}.png")
    with Image.open(tmp_path / "0.png") as image:
        assert image.mode == mode
    found = official.pictures_in_folder(tmp_path)
    assert np.array_equal(found.make(0), wanted)
    assert ("2 of 2 pictures have transparent parts" in found.note) == (mode in ("RGBA", "LA", "P"))


def test_what_is_left_out_is_told_and_leaves_a_gap_in_the_numbers_and_plain_pictures_are_named(tmp_path: Path) -> None:
    drawings, empty = embedded_drawings("cat", 3), b'{"drawing": [[[], []]], "word": "cat"}\n'
    write_ndjson(tmp_path / "cats.ndjson", drawings, word="cat")
    first, *others = (tmp_path / "cats.ndjson").read_bytes().splitlines(keepends=True)
    (tmp_path / "gaps.ndjson").write_bytes(b"".join([empty, first, empty, *others]))
    folder = tmp_path / "png"
    written = metrics.main(["pictures", "--drawings", f"{tmp_path}/gaps.ndjson", "--out", str(folder)])
    assert sorted(path.name for path in folder.iterdir()) == ["00001.png", "00003.png", "00004.png"]
    assert (written["n"], written["left_out"]) == (3, f"{tmp_path}/gaps.ndjson: 2 empty drawings, 2 empty strokes")
    for colour in ("white", "black"):
        Image.new("RGB", (256, 256), colour).save(folder / f"{colour}.png")
    torch.save(agreement.random_inception_state(), tmp_path / "random.pth")
    result = metrics.main(["official", "--real", f"{tmp_path}/gaps.ndjson", "--generated", str(folder),
                           "--inception-weights", f"{tmp_path}/random.pth"])  # fmt: skip
    assert written["left_out"] in result["note"]
    assert f"in 2 pictures nothing, or everything, is ink: {folder}/black.png, {folder}/white.png" in result["note"]


# ---- scores


def test_real_halves_score_at_the_baseline_and_buses_far_above() -> None:
    small = Network(agreement.small_network(), "small", PUBLISHED)
    cats = embedded_drawings("cat", 120)
    real, same = (official.pictures_of_drawings(side) for side in (cats[::2], cats[1::2]))
    buses = official.pictures_of_drawings(embedded_drawings("bus", 30))
    alike = metrics.official_scores(real, same, small, seed=3)
    other = metrics.official_scores(real, buses, small, seed=3)
    for name in ("fid", "kid"):
        scores = alike[name]
        assert (scores["floor_n"], other[name]["floor_n"]) == (30, 30)  # halves of the 60 real ones, not of 30 buses
        assert abs(scores["at_floor_n"] - scores["floor"]) < 4 * scores["floor_std"]
        assert other[name]["value"] > 4 * abs(scores["value"])
        assert other[name]["at_floor_n"] > scores["floor"] + 10 * scores["floor_std"]
    assert other["kid"]["std"] > 0 == pytest.approx(alike["kid"]["std"], abs=1e-9)
    assert (other["kid"]["subset_size"], other["kid"]["num_subsets"], other["seed"]) == (30, 100, 3)
    assert (other["n_real"], other["n_generated"], other["unique_generated"]) == (60, 30, 30)
    assert other["protocol"]["weights_sha256"] == PUBLISHED
    assert json.loads(json.dumps(other)) == other


def test_files_and_folders_of_the_same_drawings_have_the_same_scores(tmp_path: Path) -> None:
    drawings = [*embedded_drawings("cat", 4), *embedded_drawings("bus", 5)]
    for name, part in (("real", drawings[:4]), ("more", drawings[4:]), ("generated", drawings[4:7])):
        write_ndjson(tmp_path / f"{name}.ndjson", part, word="cat")
    torch.save(agreement.random_inception_state(), tmp_path / "random.pth")
    flags = ["--drawings", f"{tmp_path}/more.ndjson", "--out", f"{tmp_path}/png", "--n", "3"]
    written = metrics.main(["pictures", *flags])
    assert (written["n"], written["folder"], len(os.listdir(tmp_path / "png"))) == (3, str(tmp_path / "png"), 3)
    flags = ["--real", f"{tmp_path}/real.ndjson", "--inception-weights", f"{tmp_path}/random.pth", "--batch-size", "3"]
    results = [
        metrics.main(["official", *flags, "--generated", f"{tmp_path}/{name}"]) for name in ("generated.ndjson", "png")
    ]
    for name in ("fid", "kid"):
        assert results[0][name] == results[1][name]
        assert results[0][name]["value"] > 0
        assert results[0][name]["floor"] is None
    assert results[0]["weights_file"] == "random.pth"
    assert len(results[0]["protocol"]["weights_sha256"]) == 64
    assert "not the public file" in results[0]["note"]


# ---- where the network comes from


def stand_in_for_clean_fid(monkeypatch: pytest.MonkeyPatch, build: Any) -> None:
    package, features = ModuleType("cleanfid"), ModuleType("cleanfid.features")
    features.build_feature_extractor = build  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cleanfid", package)
    monkeypatch.setitem(sys.modules, "cleanfid.features", features)


def test_without_a_file_clean_fid_builds_what_its_scores_use(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    extract = agreement.small_network()

    def build(mode: str, device: torch.device, use_dataparallel: bool = True) -> Any:
        calls.append((mode, device.type, use_dataparallel))
        return extract

    stand_in_for_clean_fid(monkeypatch, build)
    network = official.open_network(None)
    assert calls == [("clean", "cuda" if torch.cuda.is_available() else "cpu", False)]
    assert (network.extract, network.sha256) == (extract, None)
    assert "own download" in network.described


@pytest.mark.parametrize("error", [URLError("no route to host"), RuntimeError("PytorchStreamReader failed\nat byte 7")])
def test_a_failed_download_is_one_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: Any, **__: Any) -> None:
        raise error

    stand_in_for_clean_fid(monkeypatch, build)
    with pytest.raises(RunFailed, match=r"clean-fid has no Inception network .*--inception-weights FILE") as caught:
        official.open_network(None)
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "cleanfid.features", None)  # as where it is not installed
    with pytest.raises(RunFailed, match=r"give --inception-weights FILE, .* pip install -r requirements/official\.txt"):
        official.open_network(None)
