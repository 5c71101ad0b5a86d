"""Laws of the model card: it is what the program makes of the committed files, and makes up nothing."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from config import ATTRIBUTION, CHECKPOINTS
from diffusion_model import TrainedModel, save_weights
from plumbing.files import sha256_of
from reports import model_card
from reports.tables import COPIES, losses_table, markdown_table, read_run, results_table, table_of

ROOT = Path(model_card.__file__).resolve().parent.parent
PUBLISHED = ROOT / "results" / "published.json"
CARD = ROOT / "docs" / "MODEL_CARD.md"
CURVE = [{"step": 50, "loss": 0.9}, {"step": 400, "validation_loss": 0.3, "validation_stop_loss": 0.2},
         {"step": 450, "loss": 0.5}]  # fmt: skip


def conditions(name: str, **changes: Any) -> dict[str, Any]:
    """The header of a training, each number another one."""
    return {
        "train_drawings": {name: 4100, "other": 2}, "companion_drawings": 3300, "held_out_drawings": 510,
        "trained_on": [name], "step": 7000, "training_seconds": 930.2, "validation_loss": 0.2468,
        "validation_stop_loss": 0.1357, "curve": CURVE,
    } | changes  # fmt: skip


@pytest.fixture
def folder(tiny_model: TrainedModel, tmp_path: Path) -> Path:
    """A checkout in small: base, a cat, and results of that cat."""
    tried = [{"guidance": 1.0, "guide": None, "kid": 0.0901}, {"guidance": 2.0, "guide": None, "kid": 0.0802},
             {"guidance": 2.0, "guide": "base.safetensors", "kid": 0.0123}]  # fmt: skip
    sampling = {"guidance": 2.0, "guide": {"file": "base.safetensors", "sha256": "ab" * 32}, "tried": tried, "n": 77}
    base = conditions("bus", note="stopped | early", validation_loss=None)
    del base["validation_stop_loss"]
    for name, own in (("base", base), ("guide", base), ("cat", conditions("cat", sampling=sampling))):
        trained = dataclasses.replace(tiny_model, conditions=own)
        save_weights(tmp_path / "checkpoints" / f"{name}.safetensors", trained)
    publish(tmp_path, sha256_of(tmp_path / "checkpoints" / "cat.safetensors"))
    return tmp_path


def publish(folder: Path, sha256: str) -> None:
    entry = {"scores": {"kid": {"value": 0.0421}}, "conditions": {"checkpoint_sha256": sha256}, "seeds": {"5": {}}}
    (folder / "results.json").write_text(json.dumps({"run": {"seeds": [5]}, "categories": {"cat": entry}}))


def card_of(folder: Path) -> str:
    return model_card.card_text(folder / "results.json", folder / "checkpoints")


def test_the_card_is_what_the_program_writes_from_the_committed_files(tmp_path: Path) -> None:
    model_card.write_model_card(PUBLISHED, CHECKPOINTS, tmp_path / "new" / "card.md")
    made = (tmp_path / "new" / "card.md").read_text(encoding="utf-8")
    assert CARD.read_text(encoding="utf-8") == made, "python -m reports.model_card writes it anew"


def test_the_card_names_every_file_says_who_memorised_and_links_only_to_what_is_there() -> None:
    card = CARD.read_text(encoding="utf-8")
    for name in ("base", "cat", "bus", "rabbit", "car"):
        path = CHECKPOINTS / f"{name}.safetensors"
        assert re.search(rf"^\| {path.name} .* {sha256_of(path)} \|$", card, flags=re.MULTILINE)
    for words in ("Earlier models memorised", ATTRIBUTION, "stopped at update 13,223"):
        assert words in card
    _, entries, _ = read_run(PUBLISHED)
    scores = {name: entry["scores"] for name, entry in entries.items()}
    assert results_table(scores) in card
    assert markdown_table(*table_of(COPIES, scores)) in card
    assert losses_table(PUBLISHED, entries) in card
    assert losses_table(PUBLISHED, entries).count(" | ") > 4 * 8
    links = re.findall(r"\]\(\s*([^)]+)\)", card)
    # the other pages of docs/ may be written later than this one
    missing = [link for link in links if not link.startswith("http") and not (CARD.parent / link).is_file()]
    assert set(missing) <= {"METRICS.md"}
    assert "$" not in card
    assert "unknown" not in card


def test_numbers_come_from_the_headers(folder: Path, tiny_model: TrainedModel) -> None:
    card = card_of(folder)
    assert "| cat | 4,102 | 3,300 | 510 | 7,000 | 930 |" in card
    assert "| base | 4,102 | 3,300 | 510 | 7,000 | 930 |" in card
    assert f"{sum(p.numel() for p in tiny_model.model.parameters()):,}" in card
    assert f"At most {tiny_model.model.config.max_strokes} strokes" in card
    assert "| KID × 10³ (real training drawings; real vs real) | 42.1 |" in card
    assert "copies) of up to 77 drawings" in card
    assert "stopped &#124; early." in card


def test_guidance_that_was_chosen_is_bold_and_where_there_is_no_guide_the_card_says_so(folder: Path) -> None:
    rows = re.findall(r"^\| (.*(?:guidance|away).*) \|$", card_of(folder), flags=re.MULTILINE)
    assert rows == [
        "2.0 away from base.safetensors | **12.3**",
        "2.0 away from the model without category | 80.2",
        "no guidance | 90.1",
    ]


def test_scores_of_another_file_than_the_shipped_one_and_missing_files_are_refused(folder: Path) -> None:
    publish(folder, "cd" * 32)
    with pytest.raises(ValueError, match=r"was measured with another cat\.safetensors"):
        card_of(folder)
    (folder / "checkpoints" / "cat.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"cat\.safetensors"):
        card_of(folder)
