"""The whole pipeline by its smallest profile: train, draw, score, report, from nothing and without a network."""

import dataclasses
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

import run_all
import sample_diffusion
from config import CATEGORIES, NETWORK_PATH, PROFILES
from dataset_utils import load_category, read_ndjson
from diffusion_model import TrainedModel, save_weights
from reports import report
from reports.gallery import CAPTIONS
from reports.report import CategoryResult
from scoring.feature_network import load_feature_network

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results")
    run_all.main(["--profile", "smoke", "--out", str(out)])
    return out


def test_smoke_profile_makes_drawings_figures_and_pictures_of_every_category(smoke: Path) -> None:
    run = json.loads((smoke / "smoke.json").read_text())
    assert list(run["categories"]) == list(CATEGORIES)
    for category in CATEGORIES:
        folder = smoke / "smoke" / category
        packed, _ = read_ndjson(folder / "drawings.ndjson")
        assert len(packed) == 64
        pictures = ("page.png", "best_worst.png", "diversity.png", "completions.png", "closest.png")
        for name in ("grid.png", "sheet.svg", "animation.gif", "denoising.gif", "conditions.json", *pictures):
            assert (folder / name).stat().st_size > 500, name
        scores = run["categories"][category]["scores"]
        assert scores["reference"].startswith("embedded")
        assert 0 < scores["fid"]["floor"] < scores["fid"]["at_floor_n"]
        assert run["categories"][category]["conditions"]["data_at_hand"] == "embedded"


def test_smoke_models_have_learned_more_than_where_ink_is(smoke: Path) -> None:
    rows = [json.loads(line) for line in (smoke / "smoke/bus/training/metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < 0.75 * losses[0]


def test_report_is_one_page_that_asks_no_server(smoke: Path) -> None:
    page = (smoke / "report.html").read_text()
    assert all(category in page for category in CATEGORIES)
    for caption in CAPTIONS.values():
        assert page.count(f"<figcaption>{caption}</figcaption>") == len(CATEGORIES)
    assert "CC BY 4.0" in page
    assert page.count("<script") == page.count(f"<script>{report.SCRIPT}</script>") == 1
    assert 'src="http' not in page


def test_second_call_uses_what_is_trained(smoke: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = smoke / "smoke/cat/training/training_state.pt"
    before = state.stat().st_mtime_ns
    drawings = (smoke / "smoke/cat/drawings.ndjson").read_bytes()
    run_all.main(["--profile", "smoke", "--out", str(smoke), "--categories", "kedi"])
    assert state.stat().st_mtime_ns == before
    assert (smoke / "smoke/cat/drawings.ndjson").read_bytes() == drawings


def test_without_drawings_at_hand_the_shipped_reference_scores_several_seeds(tmp_path: Path) -> None:
    run_all.main(["--categories", "bus", "--n", "20", "--seeds", "2", "--seed", "3", "--out", str(tmp_path)])
    run = json.loads((tmp_path / "quick.json").read_text())
    assert run["run"]["seeds"] == [3, 4]
    bus = run["categories"]["bus"]
    assert list(bus["seeds"]) == ["3", "4"]
    first, second = (bus["seeds"][seed]["fid"]["value"] for seed in ("3", "4"))
    assert first != second
    assert bus["scores"]["fid"]["value"] == pytest.approx((first + second) / 2)
    assert bus["scores"]["fid"]["value_over_seeds"] == pytest.approx(abs(first - second) / 2**0.5)
    assert (bus["scores"]["n_real"], bus["scores"]["memorisation"]["n_training"]) == (250, 215)


def test_what_a_kill_has_left_of_a_log_is_left_out_with_a_warning(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_bytes(b'{"step": 1, "loss": 2.0}\n[]3\n{"step": 2, "lo')
    with pytest.warns(UserWarning, match=r"metrics\.jsonl:[23]: no row of numbers") as warned:
        assert run_all.logged_losses(log) == [{"step": 1, "loss": 2.0}]
    assert len(warned) == 2


@pytest.fixture
def a_car(tmp_path: Path, tiny_model: TrainedModel, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of checkpoints that ships a fourth category, and no drawings at hand."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    names = ("cat", "car")
    save_weights(folder / "car.safetensors", dataclasses.replace(tiny_model, categories=names), torch.float32)
    for name in (*CATEGORIES, "base"):
        (folder / f"{name}.safetensors").touch()
    for module in (run_all, sample_diffusion):
        monkeypatch.setattr(module, "CHECKPOINTS", folder)
    monkeypatch.delenv("QUICKDRAW_DIR", raising=False)
    return folder


def chosen(*arguments: str) -> list[str]:
    return run_all.chosen_categories(run_all.build_parser().parse_args(arguments))


def test_quick_draws_the_fourth_category_where_its_weights_are_and_the_others_train_the_three(a_car: Path) -> None:
    assert chosen() == [*CATEGORIES, "car"]
    assert [chosen("--profile", name) for name in PROFILES if name != "quick"] == [list(CATEGORIES)] * 2
    assert chosen("--profile", "smoke", "--categories", "araba, kedi,car") == ["car", "cat"]
    (a_car / "car.safetensors").unlink()
    assert chosen() == list(CATEGORIES)
    with pytest.raises(ValueError, match="unknown category 'car'"):
        chosen("--categories", "car")
    with pytest.raises(ValueError, match="--categories is ',', must name at least one"):
        chosen("--categories", ",")


def test_help_says_the_categories_of_every_profile() -> None:
    text = " ".join(run_all.build_parser().format_help().split())
    assert "smoke: cat,bus,rabbit; quick: cat,bus,rabbit,car; full: cat,bus,rabbit)" in text


def test_a_shipped_category_needs_no_drawings_and_the_pictures_say_what_they_can(a_car: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    run_all.main(["--categories", "car", "--n", "6", "--out", str(out), "--data-dir", "embedded"])
    run = json.loads((out / "quick.json").read_text())
    assert run["categories"]["car"]["conditions"]["data_at_hand"] == "none"
    made = {path.name for path in (out / "quick" / "car").glob("*.png")}
    assert made == {"grid.png", "page.png", "best_worst.png", "diversity.png"}
    with pytest.raises(FileNotFoundError, match="no-such-folder"):
        run_all.main(["--categories", "car", "--out", str(out), "--data-dir", "no-such-folder"])
    with pytest.raises(FileNotFoundError, match="embedded drawings: unknown category 'car'"):
        run_all.main(["--categories", "car", "--retrain", "--out", str(out), "--data-dir", "embedded"])


def test_publishing_copies_every_animation_and_writes_the_card(
    tmp_path: Path, a_car: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, run_file = tmp_path / "root", tmp_path / "run" / "quick.json"
    (root / "results").mkdir(parents=True)
    results = []
    for category in ("cat", "car"):
        folder = run_file.with_suffix("") / category
        folder.mkdir(parents=True)
        (folder / "animation.gif").write_text(category)
        results.append(CategoryResult(category, [], [], {}, {}, []))
    run_file.write_text("{}")
    written: list[tuple[Path, ...]] = []
    card, tables = types.ModuleType("model_card"), types.ModuleType("results_tables")
    monkeypatch.setattr(card, "write_model_card", lambda *paths: written.append(paths), raising=False)
    monkeypatch.setattr(tables, "update_readme", lambda *paths: written.append(paths), raising=False)
    for module in (card, tables):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(run_all, "ROOT", root)
    run_all.publish(results, run_file)
    assert [(root / f"{name}_fake_sample_animation.gif").read_text() for name in ("cat", "car")] == ["cat", "car"]
    published = root / "results" / "published.json"
    assert written == [
        (root / "README.md", published),
        (root / "README.tr.md", published),
        (published, a_car, root / "MODEL_CARD.md"),
    ]


@pytest.mark.parametrize(("category", "reference"), [("cat", "real drawings, split official"), ("dog", "real ")])
def test_drawings_of_the_official_test_and_of_unknown_categories_are_the_reference(
    category: str, reference: str
) -> None:
    loaded = load_category("cat", data_dir="embedded")
    split = "official" if category == "cat" else "local"
    data = dataclasses.replace(loaded, category=category, source="data-dir", split=split)
    drawings = [loaded.test.drawing(i) for i in range(40)]
    network = load_feature_network(NETWORK_PATH)
    found = run_all.reference_for(drawings[20:], data, network)
    assert run_all.score(drawings[:20], found, category, network)["reference"].startswith(reference)
    if category == "dog":
        found = run_all.reference_for([], data, network)
        assert "not_measured" in run_all.score(drawings[:20], found, category, network)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "--seeds is 0"),
        (["--n", "0"], "--n is 0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--name", "../x"], "--name is '../x'"),
        (["--categories", "köpek"], "unknown category 'köpek'"),
        (["--profile", "huge"], "invalid choice: 'huge'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(arguments: list[str], message: str, tmp_path: Path) -> None:
    command = [sys.executable, "run_all.py", *arguments, "--out", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
