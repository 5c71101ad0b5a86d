"""Ablations: every line is a command that runs, changes what it says, and stands in the committed table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import DATA_DIR

import train_diffusion
from config import PRESETS, USUAL_STEPS, ModelConfig, TrainConfig
from studies import ablations

TRAINED = [line for line in ablations.LINES if not line.weights]
RETIRED = {("tokens", "even"), ("tokens", "curved"), ("tokens", "not whitened"), ("denoiser", "MLP of equal cost"),
           ("denoiser", "category told directly")}  # fmt: skip
"""Rows of the committed table that are of an earlier version, which had these alternatives."""


def test_every_line_has_a_name_and_a_folder_of_its_own() -> None:
    assert len({(line.group, line.name) for line in ablations.LINES}) == len(ablations.LINES)
    assert len({line.run for line in ablations.LINES}) == len(ablations.LINES)


@pytest.mark.parametrize("line", TRAINED, ids=lambda line: line.run)
def test_each_training_is_a_command_that_changes_one_thing(line: ablations.Line) -> None:
    arguments = train_diffusion.build_parser().parse_args(line.command())
    assert arguments.preset == line.preset
    budget = vars(PRESETS[line.preset].train) | vars(PRESETS[line.preset].model)
    for name, value in line.changed.items():
        assert getattr(arguments, name) == value != budget[name]
        assert name in vars(TrainConfig()) | vars(ModelConfig())
    together = [{"num_layers", "denoiser_layers"}, {"width", "num_heads"}]  # one thing, told by two settings
    assert len(line.changed) <= 1 or set(line.changed) in together or line.group == "pretraining"
    assert line.changed or line.name == "seed 0"


def test_committed_table_is_what_the_program_measures() -> None:
    rows = {(row["group"], row["name"]): row for row in ablations.measured_rows()}
    lines = {(line.group, line.name): line for line in ablations.LINES}
    assert [name for name in rows if name not in RETIRED] == list(lines)
    for name, line in lines.items():
        assert rows[name]["sampling"]["guidance"] == line.sampling.guidance
        assert rows[name]["sampling"]["steps"] == (line.sampling.steps or USUAL_STEPS)
        assert set(rows[name]["categories"]) == set(line.categories)
        for scores in rows[name]["categories"].values():
            assert scores["n"] >= 0.95 * line.sampling.n
            assert scores["fid_at_floor_n"] > 0.8 * scores["fid_floor"]


def test_groups_that_do_not_exist_are_refused_and_all_lines_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="--only names 'everything'"):
        ablations.main(["--only", "everything"])
    ablations.main(["--list"])
    assert len(capsys.readouterr().out.splitlines()) == len(ablations.LINES)


@pytest.mark.skipif(DATA_DIR == "embedded", reason="needs real drawings")
def test_a_line_is_trained_drawn_scored_and_not_done_twice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, cat = ablations.SampleConfig(n=12, guidance=1.0, steps=2), ("cat",)
    tiny = {"category": "cat", "steps": 2, "validate_every": 2}
    line = ablations.Line("from scratch", "seed 0", "smoke", tiny, sampling=few, categories=cat)
    again = ablations.Line("guidance", "2", sampling=replace(few, guidance=2.0), weights=line.run, categories=cat)
    old = {"group": "tokens", "name": "even", "categories": {}}
    (tmp_path / "a.json").write_text(json.dumps({"lines": [old]}))
    whole = ablations.reference_of
    for name, value in {"ROOT": tmp_path, "RESULTS": tmp_path / "a.json", "LINES": (line, again), "SCORED": cat,
                        "reference_of": lambda real, *rest: whole(real[:20], *rest)}.items():  # fmt: skip
        monkeypatch.setattr(ablations, name, value)
    ablations.main(["--data-dir", DATA_DIR])
    first = json.loads((tmp_path / "a.json").read_text())
    assert [row["name"] for row in first["lines"]] == ["even", "seed 0", "2"]
    assert first["lines"][1]["step"] == 2
    assert first["lines"][2]["categories"]["cat"]["n"] == 12
    capsys.readouterr()
    ablations.main(["--data-dir", DATA_DIR])
    assert "==" not in capsys.readouterr().out
    assert json.loads((tmp_path / "a.json").read_text()) == first
