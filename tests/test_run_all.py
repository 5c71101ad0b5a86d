"""The whole pipeline by its smallest profile: train, draw, score, report, from nothing and without a network."""

import argparse
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import config
import dataset_utils
import run_all
from config import CATEGORIES, NETWORK_PATH, PRESETS
from dataset_utils import load_category, read_ndjson
from diffusion_model import TrainedModel, save_weights
from metrics import scores_against
from plumbing.run_folder import STATE_FILE
from reports import gallery
from run_all import PROFILES, Task
from scoring.feature_network import load_feature_network


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory, long_form: bool) -> Iterator[Path]:
    """What the smoke profile makes of buses: few of them after a short training, in the long form as it is."""
    out = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        if not long_form:
            for name in ("smoke", "smoke-guide"):
                train = dataclasses.replace(PRESETS[name].train, steps=20, batch_strokes=128, validate_every=10)
                patch.setitem(PRESETS, name, dataclasses.replace(PRESETS[name], train=train))
            few = dataclasses.replace(PROFILES["smoke"], drawings=20, tuning=("--strengths", "1.5", "--n", "8"))
            patch.setitem(PROFILES, "smoke", few)
            patch.setattr(dataset_utils, "EMBEDDED_COUNT", 300)
        run_all.main(["--profile", "smoke", "--categories", "otobüs", "--out", str(out)])
        yield out


def test_smoke_profile_makes_drawings_figures_pictures_and_a_page(smoke: Path) -> None:
    run = json.loads((smoke / "smoke.json").read_text())
    assert list(run["categories"]) == ["bus"]
    folder = smoke / "smoke" / "bus"
    assert len(read_ndjson(folder / "drawings.ndjson")[0]) == PROFILES["smoke"].drawings
    for name in ("grid.png", "sheet.svg", "animation.gif", "denoising.gif", "conditions.json", *gallery.CAPTIONS):
        assert (folder / name).stat().st_size > 500, name
    scores = run["categories"]["bus"]["scores"]
    assert scores["reference"].startswith("embedded")
    assert 0 < scores["fid"]["floor"] < scores["fid"]["at_floor_n"]
    assert run["categories"]["bus"]["conditions"]["data_at_hand"] == "embedded"
    pages = [(folder / "report.html").read_text() for folder in (smoke, smoke / "smoke")]
    assert re.sub('href="[^"]*METRICS.md"', "", pages[0]) == re.sub('href="[^"]*METRICS.md"', "", pages[1])
    for caption in gallery.CAPTIONS.values():
        assert pages[0].count(f"<figcaption>{caption}</figcaption>") == 1


def test_smoke_models_have_learned_more_than_where_ink_is(smoke: Path, long_form: bool) -> None:
    if not long_form:
        pytest.skip("a whole training: make test-long")
    rows = [json.loads(line) for line in (smoke / "smoke/bus/training/metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < 0.75 * losses[0]


def test_second_call_uses_what_is_trained_and_says_so(
    smoke: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_all, "reference_for", lambda *task: None)  # to be quick
    monkeypatch.setattr(gallery, "write_gallery", lambda *rest: {})
    folder = smoke / "smoke" / "bus"
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "training").rglob("*.pt")}
    drawings = (folder / "drawings.ndjson").read_bytes()
    (folder / "notes.txt").write_text("a user's own")
    run_all.main(["--profile", "smoke", "--out", str(smoke), "--categories", "bus"])
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "training").rglob("*.pt")} == before
    assert (folder / "drawings.ndjson").read_bytes() == drawings
    assert (folder / "notes.txt").read_text() == "a user's own"
    said = capsys.readouterr().out
    stages = re.findall(r"^\[(\d)/5\] (.*) \(about [\d,]+ (?:s|min|h|days) left\)$", said, flags=re.MULTILINE)
    drawing = f"bus: drawing {PROFILES['smoke'].drawings} drawings"
    names = ("bus: training", drawing, "bus: scoring", "bus: pictures", "report")
    assert stages == [(str(number), name) for number, name in enumerate(names, 1)]
    assert said.splitlines()[-1].startswith(f"Open {smoke}/report.html in a browser.")


def test_the_time_left_follows_the_stages_so_far(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(run_all.time, "perf_counter", lambda: now[0])
    progress = run_all.Progress([("a", 10.0), ("b", 20.0), ("c", 70.0)])
    for seconds in (0, 20, 40):  # twice as long as was guessed
        now[0] += seconds
        progress.begin()
    assert re.findall(r"about (.*) left", capsys.readouterr().out) == ["100 s", "3 min", "2 min"]
    assert [run_all.duration(s) for s in (5, 119, 3600 * 9, 86_400 * 84)] == ["5 s", "119 s", "9 h", "84 days"]


# ------------------------------------------------------------------ no file of others is lost


@pytest.mark.parametrize("name", ["quick.json", "report.html", "quick/report.html", "quick/bus/page.png",
                                  "quick/bus/drawings.ndjson", "quick/bus/training/weights.safetensors"])  # fmt: skip
def test_files_of_others_are_refused_before_anything_is_drawn(name: str, tmp_path: Path) -> None:
    theirs = tmp_path / name
    theirs.parent.mkdir(parents=True, exist_ok=True)
    theirs.write_text("a user's own")
    with pytest.raises(ValueError, match=r"was not written by .*; choose another --out"):
        run_all.main(["--categories", "bus", "--out", str(tmp_path)])
    assert theirs.read_text() == "a user's own"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [theirs]


def test_retrain_removes_only_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_all.train_diffusion, "main", lambda command: tmp_path / "weights")
    run, arguments = tmp_path / "training", argparse.Namespace(retrain=True, data_dir=None, device="auto")
    run.mkdir()
    (run / "notes.txt").write_text("a user's own")
    with pytest.raises(ValueError, match=rf"training: is no training \(it has no {STATE_FILE}\)"):
        run_all.train("cat", PROFILES["quick"], run, arguments)
    assert (run / "notes.txt").exists()
    (run / STATE_FILE).write_text("{}")
    run_all.train("cat", PROFILES["quick"], run, arguments)
    assert [path.name for path in run.iterdir()] == ["notes.txt"]


# ------------------------------------------------------------------ what is drawn, and what it is compared with


def test_without_drawings_at_hand_the_shipped_reference_scores_several_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QUICKDRAW_DIR", raising=False)
    monkeypatch.setattr(run_all, "DATA_FOLDER", tmp_path)
    run_all.main(["--categories", "bus", "--n", "8", "--seeds", "2", "--seed", "3", "--out", str(tmp_path)])
    run = json.loads((tmp_path / "quick.json").read_text())
    assert run["run"]["seeds"] == [3, 4]
    bus = run["categories"]["bus"]
    assert list(bus["seeds"]) == ["3", "4"]
    first, second = (bus["seeds"][seed]["fid"]["value"] for seed in ("3", "4"))
    assert first != second
    assert bus["scores"]["fid"]["value"] == pytest.approx((first + second) / 2)
    assert bus["scores"]["fid"]["value_over_seeds"] == pytest.approx(abs(first - second) / 2**0.5)
    assert (bus["scores"]["n_real"], bus["scores"]["memorisation"]["n_training"]) == (250, 215)
    assert bus["conditions"]["data_at_hand"] == "none"
    assert "real: N = 29" not in (tmp_path / "report.html").read_text()  # in the chart, which is a data URI
    made = {path.name for path in (tmp_path / "quick" / "bus").glob("*.png")}
    assert made == {"grid.png", "page.png", "best_worst.png", "diversity.png"}


def test_a_category_without_weights_of_its_own_is_drawn_by_the_base_and_where_no_drawings_are_it_is_not_scored(
    tmp_path: Path, tiny_model: TrainedModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base, out = tmp_path / "base.safetensors", tmp_path / "results"
    save_weights(base, dataclasses.replace(tiny_model, categories=("cat", "dog")))
    monkeypatch.setattr(config, "BASE_PATH", base)
    monkeypatch.delenv("QUICKDRAW_DIR", raising=False)
    run_all.main(["--categories", "köpek", "--n", "4", "--out", str(out)])
    assert "dog: no real drawings are at hand" in capsys.readouterr().out.splitlines()
    dog = json.loads((out / "quick.json").read_text())["categories"]["dog"]
    assert dog["scores"] == run_all.NO_SCORES
    assert dog["conditions"]["checkpoint"] == "base.safetensors"
    assert (out / "quick" / "dog" / "grid.png").exists()
    assert "not measured" in (out / "report.html").read_text()


@pytest.fixture
def a_car(tmp_path: Path, tiny_model: TrainedModel, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of checkpoints that ships a fourth category, and no drawings at hand."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    names = ("cat", "car")
    save_weights(folder / "car.safetensors", dataclasses.replace(tiny_model, categories=names), torch.float32)
    for name in (*CATEGORIES, "base"):
        (folder / f"{name}.safetensors").touch()
    monkeypatch.setattr(config, "CHECKPOINTS", folder)
    monkeypatch.setattr(config, "BASE_PATH", folder / "base.safetensors")
    monkeypatch.setattr(config, "STUDENTS", folder / "students")
    monkeypatch.delenv("QUICKDRAW_DIR", raising=False)
    return folder


def chosen(*arguments: str) -> list[str]:
    return run_all.chosen_categories(run_all.build_parser().parse_args(arguments))


def test_quick_draws_four_categories_the_others_train_three_and_all_of_the_dataset_can_be_asked_for() -> None:
    assert chosen() == [*CATEGORIES, "car"]
    assert [chosen("--profile", name) for name in PROFILES if name != "quick"] == [list(CATEGORIES)] * 2
    assert chosen("--profile", "smoke", "--categories", "araba, KÖPEK,car") == ["car", "dog"]
    with pytest.raises(ValueError, match="--categories is ',', must name at least one"):
        chosen("--categories", ",")


def test_what_is_missing_is_said_before_anything_is_drawn(a_car: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    for words, message in (
        (["--data-dir", "no-such-folder"], "no-such-folder"),
        (["--retrain", "--data-dir", "embedded"], "embedded drawings: unknown category 'car'"),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            run_all.main(["--categories", "car", "--out", str(out), *words])
    with pytest.raises(ValueError, match=r"cat\.safetensors"):  # an empty file
        run_all.main(["--categories", "car,cat", "--out", str(out)])
    assert not out.exists()


@pytest.mark.parametrize(("category", "reference"), [("cat", "real drawings, split official"), ("dog", "real ")])
def test_drawings_of_the_official_test_and_of_unknown_categories_are_the_reference(
    category: str, reference: str
) -> None:
    loaded, network = load_category("cat", data_dir="embedded"), load_feature_network(NETWORK_PATH)
    few = {name: getattr(loaded, name).select(range(30)) for name in ("train", "test")}
    split = "official" if category == "cat" else "local"
    data = dataclasses.replace(loaded, category=category, source="data-dir", split=split, **few)
    found = run_all.reference_for(Task(category, data, None, network), list(data.train))
    assert found is not None
    assert scores_against(found, list(data.test), category, network)["reference"].startswith(reference)
    if category == "dog":
        assert run_all.reference_for(Task(category, None, None, network)) is None


def test_help_says_the_categories_of_every_profile() -> None:
    text = " ".join(run_all.build_parser().format_help().split())
    assert "smoke: cat,bus,rabbit; quick: cat,bus,rabbit,car; full: cat,bus,rabbit)" in text
