"""The whole pipeline by its smallest profile: train, draw, score, report, from nothing and without a network."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import run_all
from config import CATEGORIES
from dataset_utils import read_ndjson

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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
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
