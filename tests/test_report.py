"""Laws of the report: one file that needs no other, every text escaped, figures as they were scored."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import stat
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import report
from config import CATEGORIES
from dataset_utils import read_ndjson
from embedded_drawings import embedded_drawings
from metrics import ink_length
from rendering import denoising_animation

REAL_DIR = os.environ.get("QUICKDRAW_DIR")
HOSTILE = """<script src="https://example.org/x.js">alert('&"')</script>|"""


def drawings(category: str, count: int) -> list:
    """Real drawings where they are at hand, drawings of the procedural artist otherwise."""
    if REAL_DIR:
        packed, _ = read_ndjson(Path(REAL_DIR) / f"{category}.ndjson")
        return [packed.drawing(i) for i in range(count)]
    return embedded_drawings(category, count)


def scores(category: str, shift: float = 0.0) -> dict[str, Any]:
    """Scores of the form of metrics.score_drawings, with figures that occur nowhere else."""

    def distance(value: float) -> dict[str, Any]:
        floors = {"at_floor_n": value * 1.5, "at_floor_n_std": 0.3, "floor": value / 2, "floor_std": 0.2, "floor_n": 20}
        return {"value": value, **floors}

    return {
        "category": category, "n_generated": 77, "n_real": 41, "reference": "real drawings as strokes", "seed": 3,
        "rendering": "some rendering", "feature_network": {"file": "net.safetensors", "sha256": "f" * 64},
        "fid": distance(31.26 + shift) | {"independent_strokes": 93.1},
        "kid": distance(0.004567 + shift / 1000) | {"std": 0.0011, "independent_strokes": 0.0512, "share": 0.0892},
        "recognisability": {
            "generated": {"top1": 0.613, "top5": 0.817}, "real": {"top1": 0.724, "top5": 0.913},
            "independent_strokes": {"top1": 0.119, "top5": 0.331},
        },
        "strokes_per_drawing": distance(0.77), "ink_length": distance(55.5),
    }  # fmt: skip


def result(category: str = "cat", **changes: Any) -> report.CategoryResult:
    made = {"sampler": "ddim", "steps": 20, "seed": 5, "checkpoint_sha256": "ab" * 32, "model": {"data": ["embedded"]}}
    losses = [{"step": 50.0 * i, "loss": 1 / i} for i in range(1, 9)] + [{"step": 400.0, "validation_loss": 0.2}]
    generated, real = embedded_drawings(category, 12), drawings(category, 9)
    whole = report.CategoryResult(category, generated, real, scores(category), made, losses)
    return dataclasses.replace(whole, **changes)


def write(folder: Path, *results: report.CategoryResult, **run: Any) -> tuple[str, ElementTree.Element]:
    """The page's text, and its tree: it is well-formed XML, or this raises."""
    path = folder / "deep" / "report.html"
    report.write_report(path, results, run)
    text = path.read_text(encoding="utf-8")
    return text, ElementTree.fromstring(text)


def rows(tree: ElementTree.Element) -> list[list[str]]:
    return [["".join(cell.itertext()) for cell in row] for row in tree.iter("tr")]


def test_page_shows_every_category_with_all_its_drawings_and_is_small(tmp_path: Path) -> None:
    text, tree = write(tmp_path, *(result(category) for category in CATEGORIES), profile="quick")
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert set(CATEGORIES) <= set(ids)
    assert len(ids) == len(set(ids))
    for section in (element for element in tree.iter("section") if element.get("id") in CATEGORIES):
        # real and generated still, generated moving, three charts
        assert len(section.findall(".//{http://www.w3.org/2000/svg}svg")) == 3
        assert len(section.findall(".//svg")) == 3
        still = section.findall(".//{http://www.w3.org/2000/svg}svg")[1]
        paths = [p for g in still if g.get("fill") == "none" for p in g]
        assert len(paths) == sum(len(d) for d in embedded_drawings(section.get("id") or "", 12))
    assert "animate attributeName" in text
    assert "quick" in "".join(tree.itertext())
    assert len(text.encode()) < 4_000_000


def test_page_asks_no_server_for_anything_and_runs_nothing(tmp_path: Path) -> None:
    gif = tmp_path / "denoising.gif"
    denoising_animation([[np.array([[0.0, 0.0], [9.0, 9.0]])]], gif, size=64)
    text, tree = write(tmp_path, result(gifs={"from noise": gif}))
    assert 'src="data:image/gif;base64,R0lG' in text
    for element in tree.iter():
        assert element.tag not in ("script", "link", "iframe", "object", "embed")
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            assert name not in ("src", "href") or value.startswith(("#", "data:image/gif;base64,"))
    assert not re.search(r"url\(|@import", text)
    assert re.findall(r"https?://[^\s\"<]+", text.replace("http://www.w3.org/2000/svg", "")) == []


def test_hostile_text_is_escaped_wherever_it_comes_from(tmp_path: Path) -> None:
    bad = scores("cat") | dict.fromkeys(("n_real", "reference", "rendering"), HOSTILE)
    bad["feature_network"] = {"file": HOSTILE}
    bad_result = result(scores=bad, conditions={"sampler": HOSTILE, "x": HOSTILE}, gifs={HOSTILE: tmp_path / "<b>.gif"})
    bad_result = dataclasses.replace(bad_result, category=HOSTILE)
    text, tree = write(tmp_path, bad_result, **{HOSTILE: HOSTILE, "nested": {"a": HOSTILE}})
    assert "<script" not in text
    assert not list(tree.iter("script"))
    assert text.count(escape(HOSTILE)) > 10
    assert "".join(tree.itertext()).count(HOSTILE) > 8


def test_without_real_drawings_the_page_says_so_and_shows_the_generated_ones(tmp_path: Path) -> None:
    text, tree = write(tmp_path, result(real=[], losses=[]))
    assert "this machine has no real drawings" in text
    assert "only generated ones are shown" in text
    assert [p.get("class") for p in tree.iter("polyline")] == ["generated", "generated"]
    assert "Real beside generated" not in text


@pytest.mark.parametrize("given", [{}, {"not_measured": "no <network>"}, {"fid": None, "kid": {"value": float("nan")}}])
def test_missing_scores_are_called_not_measured_with_the_reason(tmp_path: Path, given: dict[str, Any]) -> None:
    _, tree = write(tmp_path, result(scores=given))
    assert ["FID", "not measured", "–", *["not measured"] * 3] in rows(tree)
    assert '"Not measured": ' + given.get("not_measured", "this run made no scores") in "".join(tree.itertext())
    assert not any("nan" in cell for row in rows(tree) for cell in row)


def test_scores_against_pictures_lack_what_needs_strokes(tmp_path: Path) -> None:
    given = scores("cat") | {"strokes_per_drawing": None, "ink_length": None, "reference": "as pictures"}
    del given["fid"]["independent_strokes"]
    _, tree = write(tmp_path, result(scores=given))
    assert ["Ink length, W₁ in px", "not measured", "–", *["not measured"] * 2, "–"] in rows(tree)
    assert "it needs real drawings as strokes; the reference is as pictures" in "".join(tree.itertext())


def test_tables_hold_the_scores(tmp_path: Path) -> None:
    results = [result("cat"), result("bus", scores=scores("bus", shift=2.5))]
    _, tree = write(tmp_path, *results)
    cat = ["cat", "77 / 41", "31.3", "46.9 ± 0.3", "15.6 ± 0.2", "4.57 ± 1.10", "0.089", "61.3 %", "72.4 %"]
    assert rows(tree)[1] == cat
    assert ["FID", "31.3", "20", "46.9 ± 0.3", "15.6 ± 0.2", "93.1"] in rows(tree)
    assert ["Recognised, first five guesses", "81.7 %", "–", "–", "91.3 %", "33.1 %"] in rows(tree)
    assert rows(tree)[2][2] == "33.8"
    # the README's table is the page's, and comes from the JSON alone
    path = tmp_path / "results.json"
    categories = {entry.category: {"scores": entry.scores} for entry in results}
    path.write_text(json.dumps({"run": {}, "categories": categories}), encoding="utf-8")
    lines = report.readme_table(path).splitlines()
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:4]] == rows(tree)[1:3]
    assert "77 generated against 41 real drawings; floors of n = 20" in lines[5]
    assert "f" * 12 in lines[5]


def test_figures_are_written_with_a_true_minus_and_never_as_minus_zero() -> None:
    assert report._figure({"floor": -0.0123, "floor_std": 0.41}, "floor") == "−0.01 ± 0.41"
    assert report._figure({"value": -0.0000001}, "value") == "0.000"
    assert report._figure({"value": None}, "value") == "not measured"


def test_histogram_shares_sum_to_one_and_the_last_bin_holds_the_tail() -> None:
    values = np.repeat([1.0, 2.0, 3.0, 500.0], [600, 380, 15, 5])
    chart = ElementTree.fromstring(report._histogram("t", "strokes", {"generated": values}, whole=True))
    line = next(chart.iter("polyline")).get("points", "").split()
    y = np.array([float(pair.split(",")[1]) for pair in line])
    heights = y[0] - y[1:-1:2]
    np.testing.assert_allclose(heights / heights.sum(), [0.60, 0.38, 0.02], atol=0.001)


def test_ink_chart_takes_drawings_of_single_dots(tmp_path: Path) -> None:
    dots = [[np.zeros((1, 2), np.uint8)]] * 3
    assert ink_length(dots[0]) == 0
    _, tree = write(tmp_path, result(generated=dots, real=[]))
    assert "nan" not in " ".join(p.get("points", "") for p in tree.iter("polyline"))


def test_large_or_missing_gifs_stay_outside_and_are_named(tmp_path: Path) -> None:
    large = tmp_path / "large.gif"
    large.write_bytes(b"GIF89a" + bytes(report.GIF_BYTES))
    text, _ = write(tmp_path, result(gifs={"big one": large, "lost one": tmp_path / "lost.gif"}))
    assert "base64" not in text
    assert "large.gif has 400 kB" in text
    assert "lost.gif is missing" in text


def test_report_is_readable_by_all_and_replaces_the_old_one_whole(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        first, _ = write(tmp_path, result(), profile="smoke")
        second, _ = write(tmp_path, result(), profile="smoke")
    finally:
        os.umask(before)
    assert first == second
    assert stat.S_IMODE((tmp_path / "deep" / "report.html").stat().st_mode) == 0o644
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["report.html"]


def test_nothing_to_report_and_bad_results_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"report\.html: no results"):
        report.write_report(tmp_path / "report.html", [], {})
    with pytest.raises(FileNotFoundError, match=r"run_all\.py makes it"):
        report.readme_table(tmp_path / "none.json")
    for text in ("{", "[]", "{}", '{"categories": [1]}', '{"categories": {"cat": {}}}'):
        (tmp_path / "bad.json").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"bad\.json: damaged"):
            report.readme_table(tmp_path / "bad.json")


def test_readme_keeps_all_but_what_stands_between_its_markers(tmp_path: Path) -> None:
    results, readme = tmp_path / "results.json", tmp_path / "README.md"
    results.write_text(json.dumps({"categories": {"cat": {"scores": scores("cat")}}}), encoding="utf-8")
    readme.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n", encoding="utf-8")
    for _ in range(2):
        report.update_readme(readme, results)
        table = report.readme_table(results)
        assert readme.read_text(encoding="utf-8") == f"before\n<!-- results -->\n{table}<!-- /results -->\nafter\n"
    for text in ("", "<!-- results -->", "<!-- /results --><!-- results -->"):
        readme.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"README\.md: needs one"):
            report.update_readme(readme, results)
        assert readme.read_text(encoding="utf-8") == text


def test_embedded_drawings_are_never_called_real(tmp_path: Path) -> None:
    _, tree = write(tmp_path, result(conditions={"data_at_hand": "embedded"}))
    section = next(element for element in tree.iter("section") if element.get("id") == "cat")
    captions = ["".join(element.itertext()) for name in ("figcaption", "li", "h3") for element in section.iter(name)]
    assert any(caption.startswith("Embedded. The first 9 of 9") for caption in captions)
    assert not any("real" in caption.lower() for caption in captions)
