"""Tuning of guidance: every way is tried, the nearest to training drawings is stored, and sampling takes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import sample_diffusion
from diffusion_model import TrainedModel, load_weights, save_weights
from plumbing.files import sha256_of
from studies import tune_sampling


@pytest.fixture
def guide(tiny_model: TrainedModel, tmp_path: Path) -> Path:
    weaker = TrainedModel(tiny_model.model, tiny_model.whitening, tiny_model.categories, {"data": ["embedded"]})
    path = tmp_path / "weaker.safetensors"
    save_weights(path, weaker)
    return path


def tune(guide: Path, *more: str) -> Path:
    command = ["--checkpoint", str(guide), "--category", "cat", "--guide", str(guide), "--data-dir", "embedded"]
    return tune_sampling.main([*command, "--n", "6", "--out", str(guide.parent / "cat.safetensors"), *more])


def test_the_best_way_is_kept_and_used(guide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tune(guide, "--strengths", "1,3", "--start", str(guide), "--shares", "0.5,1")
    chosen = load_weights(out).conditions["sampling"]
    ways = {(row["share"], row["guidance"], row["guide"]) for row in chosen["tried"]}
    assert ways == {(share, *way) for share in (0.5, 1.0) for way in ((1.0, None), (3.0, None), (3.0, guide.name))}
    best = chosen["tried"][0]
    assert (chosen["share"], chosen["guidance"]) == (best["share"], best["guidance"])
    assert chosen["guide"] == (best["guide"] and {"file": guide.name, "sha256": sha256_of(guide)})
    assert "validation drawings" in chosen["against"]
    assert "copies" in capsys.readouterr().out.splitlines()[-1]
    where = out.parent / "drawn"
    drawn = ["--category", "cat", "--checkpoint", str(out), "--n", "2", "--steps", "2"]
    sample_diffusion.main([*drawn, "--out", str(where)])
    assert json.loads((where / "conditions.json").read_text())["guidance"] == best["guidance"]


def test_embedded_drawings_do_not_tune_a_model_of_real_ones(guide: Path, tiny_weights: Path) -> None:
    command = ["--checkpoint", str(tiny_weights), "--category", "cat", "--guide", str(guide), "--data-dir", "embedded"]
    with pytest.raises(ValueError, match="was not trained on them"):
        tune_sampling.main([*command, "--out", str(guide.parent / "cat.safetensors")])
