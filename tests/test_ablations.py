"""Ablations: every line is a command that runs, changes what it says, and stands in the committed table."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import DATA_DIR

import train_diffusion
from config import ModelConfig, TrainConfig
from plumbing.command_line import config_from_arguments
from studies import ablations

TRAINED = [line for line in ablations.LINES if not line.weights]


def settings(line: ablations.Line) -> dict[str, Any]:
    """All settings of a line's training, by name."""
    arguments = train_diffusion.build_parser().parse_args(line.command())
    parts = [dataclasses.asdict(config_from_arguments(kind, arguments)) for kind in (TrainConfig, ModelConfig)]
    return parts[0] | parts[1] | {"init": arguments.init}


def test_names_are_unique_and_so_are_folders() -> None:
    assert len({(line.group, line.name) for line in ablations.LINES}) == len(ablations.LINES)
    assert len({line.run for line in ablations.LINES}) == len(ablations.LINES)


@pytest.mark.parametrize("line", TRAINED, ids=lambda line: line.run)
def test_each_training_changes_one_thing(line: ablations.Line) -> None:
    from_scratch, fine_tuned = (
        settings(next(line for line in ablations.LINES if line.group == group))
        for group in ("from scratch", "fine-tuned")
    )
    own = settings(line)
    changed = min(
        ({key for key, value in own.items() if value != other[key]} for other in (from_scratch, fine_tuned)), key=len
    )
    allowed = {
        "seed": {"seed"},
        "layers": {"num_layers", "denoiser_layers"},
        "width": {"width", "num_heads"},
        "none": {"init", "width", "num_layers", "denoiser_layers", "num_heads"},
    }
    group = next((keys for word, keys in allowed.items() if word in line.name and len(changed) > 1), None)
    assert len(changed) <= 1 or (group is not None and changed <= group)
    assert changed or "seed 0" in line.name


def test_lines_that_only_draw_name_weights_that_exist() -> None:
    trained = {line.run for line in TRAINED} | {"shipped", "shipped-base"}
    for line in ablations.LINES:
        assert not line.weights or line.weights in trained
        assert not line.guide or line.guide in trained


def test_committed_table_is_what_the_program_measures() -> None:
    table = json.loads(ablations.RESULTS.read_text(encoding="utf-8"))
    rows = {(row["group"], row["name"]): row for row in table["lines"]}
    assert list(rows) == [(line.group, line.name) for line in ablations.LINES]
    for line in ablations.LINES:
        row = rows[line.group, line.name]
        assert line.weights or row["command"].split()[2:] == ablations.shlex.split(ablations.shlex.join(line.command()))
        assert row["sampling"]["guidance"] == line.sampling.guidance
        assert row["sampling"]["steps"] == line.sampling.steps
        assert set(row["categories"]) == set(line.categories)
        for figures in row["categories"].values():
            assert figures["n"] >= 0.95 * line.sampling.n
            assert figures["fid_at_floor_n"] > 0.8 * figures["fid_floor"]


def test_groups_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="--only names 'everything'"):
        ablations.main(["--only", "everything"])


def test_embedded_drawings_are_no_ground_for_ablations(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ablations, "RESULTS", tmp_path / "ablations.json")
    with pytest.raises(FileNotFoundError, match="embedded drawings: unknown category 'car'"):
        ablations.main(["--data-dir", "embedded"])


@pytest.mark.skipif(DATA_DIR == "embedded", reason="needs real drawings")
def test_a_line_is_trained_drawn_scored_and_not_done_twice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = "--category cat --steps 2 --batch-strokes 64 --num-points 8 --width 32 --num-layers 1 --num-heads 2"
    few, cat = ablations.SampleConfig(n=12, guidance=1.0, steps=2), ("cat",)
    line = ablations.Line("from scratch", "seed 0", sampling=few, size="", categories=cat)
    guided = dataclasses.replace(few, guidance=2.0)
    again = ablations.Line("guidance", "2", sampling=guided, weights=line.run, categories=cat)
    for name, value in {"ROOT": tmp_path, "RESULTS": tmp_path / "a.json", "BUDGET": tiny, "LINES": (line, again),
                        "SCORED": cat}.items():  # fmt: skip
        monkeypatch.setattr(ablations, name, value)
    ablations.main(["--data-dir", DATA_DIR])
    first = json.loads((tmp_path / "a.json").read_text())
    assert [row["name"] for row in first["lines"]] == ["seed 0", "2"]
    assert first["lines"][0]["step"] == 2
    assert first["lines"][1]["categories"]["cat"]["n"] == 12
    capsys.readouterr()
    ablations.main(["--data-dir", DATA_DIR])
    assert "==" not in capsys.readouterr().out
    assert json.loads((tmp_path / "a.json").read_text()) == first


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"lines": 3}', '{"lines": [3]}', '{"lines": [{"group": 3}]}', "[" * 99_999]
)
def test_a_damaged_table_is_named_and_kept(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "ablations.json"
    monkeypatch.setattr(ablations, "RESULTS", table)
    assert ablations.measured_rows() == []
    table.write_text(content)
    with pytest.raises(ValueError, match=r"ablations\.json: damaged; remove it"):
        ablations.main(["--only", "tokens"])
    assert table.read_text() == content


def test_shipped_weights_are_looked_at_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablations, "CHECKPOINTS", tmp_path)
    for line in ablations.LINES:
        if not (line.weights.startswith("shipped") or line.guide.startswith("shipped")):
            ablations.check_shipped(line)
            continue
        with pytest.raises(FileNotFoundError, match="no such checkpoint"):
            ablations.check_shipped(line)
