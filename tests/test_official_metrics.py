"""Laws of the official score: rendering, resizing, subsets, floors, where the network comes from, what is refused."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import URLError

import agreement
import numpy as np
import pytest
import torch
from distances import frechet_distance, squared_mmd
from PIL import Image, ImageDraw

from config import RunFailed
from dataset_utils import PackedDrawings, write_ndjson
from drawings.embedded import embedded_drawings
from scoring import official as official_metrics
from scoring.official import Network, Pictures, clean_resize, official_kernel_distance, official_picture

ROOT = Path(official_metrics.__file__).parent


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights for Inception as a file."""
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(agreement.random_inception_state(), path)
    return path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Network:
    """A quick network in the place of Inception."""
    network = Network(agreement.small_network(), "small", "6726825d" + 56 * "0")
    monkeypatch.setattr(official_metrics, "open_network", lambda *_: network)
    return network


def parsed(kind: str, *flags: Any) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    getattr(official_metrics, f"add_{kind}_arguments")(parser)
    return parser.parse_args([str(flag) for flag in flags])


def save_png(path: Path, side: int = 256, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (side, side), "white").save(path)
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
    paths = official_metrics.write_pictures(drawings, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == [f"{index:05d}.png" for index in range(12)]
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == [path.name for path in paths]
    read = official_metrics.pictures_in_folder(tmp_path / "new" / "folder")
    assert read.count == 12
    for index, drawing in enumerate(drawings):
        with Image.open(paths[index]) as image:
            assert (image.mode, image.size) == ("RGB", (256, 256))
        assert np.array_equal(read.make(index), official_picture(drawing))


def test_folders_with_other_pictures_are_left_alone(tmp_path: Path) -> None:
    drawings = embedded_drawings("cat", 3)
    official_metrics.write_pictures(drawings[::-1], tmp_path)
    (tmp_path / "notes.txt").write_text("not a picture")
    official_metrics.write_pictures(drawings, tmp_path)  # its own names are replaced
    assert np.array_equal(official_metrics.pictures_in_folder(tmp_path).make(0), official_picture(drawings[0]))
    before = (tmp_path / "00000.png").read_bytes()
    for stranger in ("00003.png", "deep/er/x.JPG"):
        save_png(tmp_path / "x.png").rename(tmp_path / "x")
        (tmp_path / stranger).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x").rename(tmp_path / stranger)
        with pytest.raises(ValueError, match=f"holds 1 other pictures .{Path(stranger).name}."):
            official_metrics.write_pictures(drawings[::-1], tmp_path)
        (tmp_path / stranger).unlink()
    assert (tmp_path / "00000.png").read_bytes() == before
    with pytest.raises(ValueError, match="no drawings"):
        official_metrics.write_pictures([], tmp_path / "none")


def test_a_failure_leaves_whole_pictures_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawings = embedded_drawings("cat", 4)
    save = Image.Image.save

    def full_disk(image: Image.Image, path: Path, *rest: Any) -> None:
        save(image, path, *rest)
        if "00002" in Path(path).name:
            Path(path).write_bytes(Path(path).read_bytes()[:100])
            raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        official_metrics.write_pictures(drawings, tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["00000.png", "00001.png"]


def test_a_folder_is_read_in_the_order_of_its_paths_with_subfolders(tmp_path: Path) -> None:
    for number, name in enumerate(("b/0.png", "a.png", "c/d/1.PNG")):
        save_png(tmp_path / name)
        Image.new("L", (256, 256), number).save(tmp_path / name)  # grey becomes RGB
    save_png(tmp_path / ".hidden.png")
    save_png(tmp_path / ".cache" / "x.png")
    pictures = official_metrics.pictures_in_folder(tmp_path)
    assert [pictures.make(index)[0, 0].tolist() for index in range(pictures.count)] == [[1] * 3, [0] * 3, [2] * 3]


def test_pictures_that_are_not_official_are_named(tmp_path: Path) -> None:
    save_png(tmp_path / "small" / "x.png", side=64)
    save_png(tmp_path / "jpeg" / "x.jpg")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "x.png").write_text("no picture")
    for folder, message in (("small", r"x\.png: is 64x64"), ("jpeg", r"x\.jpg: .* are PNG"), ("text", r"x\.png: dam")):
        with pytest.raises(ValueError, match=message):
            official_metrics.pictures_in_folder(tmp_path / folder)
    whole = official_metrics.write_pictures(embedded_drawings("cat", 1), tmp_path / "cut")[0]
    whole.write_bytes(whole.read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"00000\.png: damaged"):
        official_metrics.pictures_in_folder(tmp_path / "cut").make(0)


# ---- resizing


def bicubic_weights(side: int, target: int) -> np.ndarray:
    """Catmull-Rom weights (target, side) of a row, support widened when shrinking, cut at the border (Keys 1981)."""
    scale = side / target
    wide = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale
    x = np.abs(np.arange(side) + 0.5 - centres[:, None]) / wide
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0))
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("shape", [(256, 256), (400, 120), (64, 700)])
def test_resizing_is_the_bicubic_formula_cut_off_and_not_rounded(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    rows, columns = (bicubic_weights(side, 299) for side in shape)
    exact = np.stack([rows @ picture[:, :, channel] @ columns.T for channel in range(3)], axis=2)
    assert exact.min() < -1
    assert exact.max() > 256
    ours = clean_resize(picture)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, exact.clip(0, 255), atol=1e-3)
    assert np.abs(ours - np.rint(ours)).max() > 0.4


def test_resizing_keeps_white_white_and_channels_apart() -> None:
    assert (clean_resize(np.full((256, 256, 3), 255, np.uint8)) == 255).all()
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    assert np.array_equal(clean_resize(picture[:, :, [2, 0, 1]]), clean_resize(picture)[:, :, [2, 0, 1]])


# ---- features


def test_features_are_made_in_batches_and_do_not_depend_on_them() -> None:
    drawings = embedded_drawings("cat", 11) + embedded_drawings("cat", 2)
    made, sizes = [], []
    extract = agreement.small_network()

    def watched(pictures: torch.Tensor) -> torch.Tensor:
        sizes.append((len(made), len(pictures)))
        return extract(pictures)

    def make(index: int) -> np.ndarray:
        made.append(index)
        return official_picture(drawings[index])

    by_four = official_metrics.describe(Pictures(13, make), Network(watched, "small", None), batch_size=4)
    assert sizes == [(4, 4), (8, 4), (12, 4), (13, 1)]  # no picture is made before its batch
    assert made == list(range(13))
    assert (by_four.features.shape, by_four.features.dtype, by_four.num_unique) == ((13, 16), np.float64, 11)
    one_by_one = official_metrics.describe(Pictures(13, make), Network(extract, "small", None), batch_size=1)
    rounding = 1e-5 * np.abs(by_four.features).max()
    np.testing.assert_allclose(by_four.features, one_by_one.features, rtol=0, atol=rounding)
    by_hand = extract(torch.from_numpy(clean_resize(official_picture(drawings[5])).transpose(2, 0, 1)[None].copy()))
    np.testing.assert_allclose(by_four.features[5], by_hand[0].numpy(), rtol=0, atol=rounding)
    assert np.ptp(by_four.features[:11], axis=0).min() > 1000 * rounding


# ---- kernel distance


def subset_values(real: np.ndarray, generated: np.ndarray, seed: int) -> list[float]:
    """KID of every subset, one by one: the generated ones are drawn first."""
    rng = np.random.RandomState(seed)
    size = min(1000, len(real), len(generated))
    values = []
    for _ in range(100):
        ours = generated[rng.choice(len(generated), size, replace=False)]
        values.append(squared_mmd(real[rng.choice(len(real), size, replace=False)], ours))
    return values


@pytest.mark.parametrize(("n", "m", "d"), [(50, 30, 6), (30, 50, 6), (1020, 1050, 3)])
def test_kernel_distance_is_the_mean_over_the_seeded_subsets(n: int, m: int, d: int) -> None:
    real, generated = agreement.features(n, m, d)
    mean, std = official_kernel_distance(real, generated, seed=4)
    expected = subset_values(real, generated, seed=4)
    assert mean == pytest.approx(np.mean(expected), rel=1e-10)
    assert std == pytest.approx(np.std(expected), rel=1e-8)
    assert official_kernel_distance(real, generated, seed=5)[0] != mean


def test_kernel_distance_of_equal_sizes_has_one_subset_and_no_deviation() -> None:
    real, generated = agreement.features(40, 40, 5)
    single = np.float32(real), np.float32(generated)
    mean, std = official_kernel_distance(*single)
    assert mean == pytest.approx(squared_mmd(*(np.float64(side) for side in single)), rel=1e-10)  # not in float32
    assert std < 1e-12 * mean
    with pytest.raises(ValueError, match="1 drawings"):
        official_kernel_distance(real[:1], generated)
    with pytest.raises(ValueError, match="NaN"):
        official_kernel_distance(real * np.nan, generated)


# ---- scores


def test_real_halves_score_at_the_floor_and_buses_far_above(small: Network) -> None:
    cats = embedded_drawings("cat", 120)
    real, same = (official_metrics.pictures_of_drawings(side) for side in (cats[::2], cats[1::2]))
    buses = official_metrics.pictures_of_drawings(embedded_drawings("bus", 30))
    alike = official_metrics.official_scores(real, same, weights=None, seed=3)
    other = official_metrics.official_scores(real, buses, weights=None, seed=3)
    for name in ("fid", "kid"):
        scores = alike[name]
        assert (scores["floor_n"], other[name]["floor_n"]) == (30, 30)  # halves of the 60 real ones, not of 30 buses
        assert abs(scores["at_floor_n"] - scores["floor"]) < 4 * scores["floor_std"]
        assert other[name]["value"] > 4 * abs(scores["value"])
        assert other[name]["at_floor_n"] > scores["floor"] + 10 * scores["floor_std"]
    assert other["kid"]["std"] > 0 == pytest.approx(alike["kid"]["std"], abs=1e-9)
    assert (other["kid"]["subset_size"], other["kid"]["num_subsets"], other["seed"]) == (30, 100, 3)
    theirs, ours = (official_metrics.describe(side, small).features for side in (real, buses))
    assert other["fid"]["value"] == pytest.approx(frechet_distance(theirs, ours), rel=1e-9)
    assert other["kid"]["value"] == official_kernel_distance(theirs, ours, 3)[0]
    assert json.loads(json.dumps(other)) == other


@pytest.mark.parametrize(
    ("n_real", "n_generated", "sha256", "notes"),
    [
        (2000, 2000, "6726825d00", [1]),
        (2000, 500, "6726825d00", [0, 1]),
        (2049, 2049, "6726825d00", [0]),
        (2049, 2048, "ffff", [0, 1, 2]),
    ],
)
def test_what_keeps_figures_from_being_compared_is_noted(
    n_real: int, n_generated: int, sha256: str, notes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def features(pictures: Pictures, *_: Any) -> official_metrics.Described:
        rows = np.random.default_rng(pictures.count).normal(size=(pictures.count, 3))
        return official_metrics.Described(rows, pictures.count - 1)

    monkeypatch.setattr(official_metrics, "describe", features)
    monkeypatch.setattr(official_metrics, "open_network", lambda *_: Network(lambda x: x, "random", sha256))
    sides = [Pictures(count, lambda _: np.zeros((256, 256, 3), np.uint8)) for count in (n_real, n_generated)]
    scores = official_metrics.official_scores(*sides, weights=None)
    words = ("not the official 2000 against 2000", "singular", "not the public file")
    assert [word in scores["note"] for word in words] == [index in notes for index in range(3)]
    assert (scores["n_real"], scores["n_generated"]) == (n_real, n_generated)
    assert (scores["unique_real"], scores["unique_generated"]) == (n_real - 1, n_generated - 1)
    assert scores["protocol"]["weights_sha256"] == sha256


def test_files_and_folders_of_the_same_drawings_have_the_same_scores(weights: Path, tmp_path: Path) -> None:
    drawings = embedded_drawings("cat", 7)
    write_ndjson(tmp_path / "real.ndjson", drawings[:4], word="cat")
    write_ndjson(tmp_path / "generated.ndjson", drawings[4:], word="cat")
    flags = ("--drawings", tmp_path / "generated.ndjson", "--out", tmp_path / "png")
    written = official_metrics.run_pictures(parsed("pictures", *flags))
    assert (written["n"], written["folder"]) == (3, str(tmp_path / "png"))
    results = [
        official_metrics.run_official(
            parsed("official", "--real", tmp_path / "real.ndjson", "--generated", tmp_path / generated,
                   "--inception-weights", weights, "--batch-size", "3")
        )
        for generated in ("generated.ndjson", "png")
    ]  # fmt: skip
    for name in ("fid", "kid"):
        assert results[0][name] == results[1][name]
        assert results[0][name]["value"] > 0
        assert results[0][name]["floor"] is None
    assert results[0]["weights_file"] == "random.pth"
    assert len(results[0]["protocol"]["weights_sha256"]) == 64
    assert "not the public file" in results[0]["note"]
    assert json.loads(json.dumps(results)) == results


def test_only_the_first_drawings_are_written_when_asked(tmp_path: Path) -> None:
    write_ndjson(tmp_path / "a.ndjson", embedded_drawings("cat", 5), word="cat")
    flags = ("--drawings", tmp_path / "a.ndjson", "--out", tmp_path / "png", "--n")
    assert official_metrics.run_pictures(parsed("pictures", *flags, 2))["n"] == 2
    assert len(os.listdir(tmp_path / "png")) == 2
    for wrong in (0, 6):
        with pytest.raises(ValueError, match=rf"--n is {wrong}, must lie in 1 \.\.\. 5"):
            official_metrics.run_pictures(parsed("pictures", *flags, wrong))


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
    network = official_metrics.open_network(None)
    assert calls == [("clean", "cuda" if torch.cuda.is_available() else "cpu", False)]
    assert (network.extract, network.sha256) == (extract, None)
    assert "own download" in network.described


def test_clean_fid_itself_is_called_as_it_wants() -> None:
    if agreement.library("clean-fid") is None:
        pytest.skip("clean-fid is not installed for comparison")
    import cleanfid.features

    made: list[Any] = []

    class Downloaded(torch.nn.Module):
        def __init__(self, path: str, download: bool, resize_inside: bool) -> None:
            super().__init__()
            made.append((download, resize_inside))

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return pictures.mean(dim=(2, 3))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cleanfid.features, "InceptionV3W", Downloaded)
        network = official_metrics.open_network(None)
        pictures = official_metrics.pictures_of_drawings(embedded_drawings("cat", 3))
        assert official_metrics.describe(pictures, network).features.shape == (3, 3)
    assert made == [(True, False)]


@pytest.mark.parametrize("error", [URLError("no route to host"), RuntimeError("PytorchStreamReader failed\nat byte 7")])
def test_a_failed_download_is_one_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: Any, **__: Any) -> None:
        raise error

    stand_in_for_clean_fid(monkeypatch, build)
    with pytest.raises(RunFailed, match=r"clean-fid has no Inception network .*--inception-weights FILE") as caught:
        official_metrics.open_network(None)
    assert "\n" not in str(caught.value)


# ---- command line

PROGRAM = """
import contextlib, io, json, sys
from scoring import official as official_metrics
from config import run_script, script_parser
def main():
    parser = script_parser("test")
    getattr(official_metrics, f"add_{kind}_arguments")(parser)
    getattr(official_metrics, f"run_{kind}")(parser.parse_args(flags))
answers = []
for kind, *flags in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            run_script(main)
        except SystemExit as end:
            answers.append((end.code, said.getvalue()))
print(json.dumps(answers))
"""


def test_bad_input_is_one_line_and_needs_no_torch(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    (tmp_path / "cleanfid.py").write_text("raise ImportError('no clean-fid here')")
    data = tmp_path / "data"
    write_ndjson(data / "one.ndjson", embedded_drawings("cat", 1), word="cat")
    write_ndjson(data / "two.ndjson", embedded_drawings("cat", 2), word="cat")
    save_png(data / "small" / "a.png", side=28)
    (data / "empty").mkdir()
    good = ["official", "--real", data / "two.ndjson", "--generated", data / "two.ndjson"]
    cases = (
        ([*good[:4], data / "none"], 2, "none: no such file"),
        ([*good[:4], data / "one.ndjson"], 2, "one.ndjson: 1 pictures, scoring needs at least 2"),
        ([*good[:4], data / "small"], 2, "a.png: is 28x28, official pictures are 256x256"),
        ([*good[:4], data / "empty"], 2, "empty: 0 pictures"),
        ([*good, "--seed", "-1"], 2, "--seed is -1, must lie in 0"),
        ([*good, "--seed", 2**32], 2, "--seed is 4294967296, must lie in 0"),
        ([*good, "--batch-size", "0"], 2, "--batch-size is 0, must lie in 1"),
        ([*good, "--inception-weights", "none.pth"], 2, "none.pth: no such file"),
        (good, 1, "no clean-fid here): give --inception-weights FILE"),
        (good, 1, "pip install -r requirements-official.txt"),
        (["pictures", "--drawings", "none.ndjson", "--out", data / "png"], 2, "none.ndjson: no such file"),
        (["pictures", "--drawings", data / "two.ndjson", "--out", data / "small"], 2, "small: holds 1 other pictures"),
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-c", PROGRAM, json.dumps([[str(word) for word in case[0]] for case in cases])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    for (found, said), (_, code, message) in zip(json.loads(done.stdout), cases, strict=True):
        assert (found, message in said) == (code, True), said
        assert len(said.splitlines()) == 1
