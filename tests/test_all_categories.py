"""One picture of all categories, and what is recognised of them: counted over what was asked for, real beside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from config import NETWORK_PATH
from drawings.packed import Drawing, PackedDrawings
from scoring.feature_network import load_feature_network
from scoring.reference import describe_drawings, recognised
from studies import all_categories

SCRIBBLE: Drawing = [np.array([[0, 0], [255, 255], [0, 255]], np.uint8)]


def test_shares_are_of_all_drawings_asked_for_also_of_those_that_have_no_stroke(cats: PackedDrawings) -> None:
    loaded = load_feature_network(NETWORK_PATH)
    real = [cats.drawing(i) for i in range(30)]
    hits = int(recognised(describe_drawings(real, loaded).logits, loaded.classes, "cat").sum())
    row = all_categories.measured([*real, SCRIBBLE], "cat", 40, real[:1] * 2, loaded)
    assert row["top1"] == pytest.approx(hits / 40, abs=1e-4)
    assert (row["n_real"], row["real"] in (0.0, 1.0)) == (2, True)
    assert "cat" not in row["taken_for"]
    assert 0 < sum(row["taken_for"].values()) <= (31 - hits) / 40 + 1e-3


def test_without_real_drawings_their_share_is_the_stated_one_and_the_least_recognised_come_first() -> None:
    loaded = load_feature_network(NETWORK_PATH)
    rows = {name: {"top1": top1, "real": None} for name, top1 in (("dog", 0.5), ("cat", 0.1), ("bus", 0.3))}
    found = all_categories.summary(rows, loaded)
    assert (found["mean_top1"], found["mean_top1_real"], found["ratio"]) == (0.3, 0.714, 0.4202)
    assert found["least_recognised"] == ["cat", "bus", "dog"]
    rows["dog"]["real"] = 0.6
    assert all_categories.summary(rows, loaded)["ratio"] == 0.5


def test_a_part_is_drawn_measured_and_not_published(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUICKDRAW_DIR", "embedded")
    page = tmp_path / "page.md"
    page.write_text("before <!-- categories -->\nold\n<!-- /categories --> after")
    monkeypatch.setattr(all_categories, "PAGE", page)
    files = ["--out", str(tmp_path / "all.png"), "--json", str(tmp_path / "all.json")]
    words = ["--checkpoint", str(tiny_weights), "--n", "2", *files]
    with pytest.raises(ValueError, match="--publish is for all 345 categories, these are 2"):
        all_categories.main([*words, "--publish"])
    results = all_categories.main([*words, "--categories", "otobüs,cat"])
    assert json.loads((tmp_path / "all.json").read_text()) == results
    assert list(results["categories"]) == ["bus", "cat"]
    assert Image.open(tmp_path / "all.png").width == 2 * all_categories.CELL
    monkeypatch.setattr(all_categories, "TURKISH_NAMES", {"cat": "kedi", "bus": "otobüs"})
    all_categories.main([*words, "--publish"])
    text = page.read_text()
    begin = "before <!-- categories -->\nOf 2 drawings of each category (seeds from 0 on, 20 steps, unguided) "
    assert text.startswith(begin)
    assert "| cat | kedi | " in text
    assert text.endswith("<!-- /categories --> after")
