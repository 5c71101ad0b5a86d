"""The whole pipeline by its smallest profile: train, draw, score, report, from nothing and without a network."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

import run_all
from config import CATEGORIES, NETWORK_PATH
from dataset_utils import load_category, read_ndjson
from feature_network import load_feature_network

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
        for name in ("grid.png", "comparison.png", "sheet.svg", "animation.gif", "denoising.gif", "conditions.json"):
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
    assert "CC BY 4.0" in page
    assert "<script" not in page
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
