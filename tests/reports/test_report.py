"""Laws of the report: one file that needs no other, every text escaped, figures as they were scored."""

from __future__ import annotations

import base64
import dataclasses
import re
import stat
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from test_tables import HOSTILE, scores, three_seeds

from config import CATEGORIES
from drawings.embedded import embedded_drawings
from rendering import denoising_animation, grid_image, save_image
from reports import report, tables
from scoring.stroke_statistics import describe_strokes

ROOT = Path(report.__file__).resolve().parent.parent
SVG = "{http://www.w3.org/2000/svg}svg"


def result(category: str = "cat", **changes: Any) -> report.CategoryResult:
    made = {"sampler": "ddim", "steps": 20, "seed": 5, "checkpoint": "w.safetensors", "checkpoint_sha256": "ab" * 32,
            "model": {"data": ["embedded"], "train_drawings": {category: 4321}}}  # fmt: skip
    losses = [{"step": 50.0 * i, "loss": 1 / i} for i in range(1, 9)] + [{"step": 400.0, "validation_loss": 0.2}]
    generated, real = embedded_drawings(category, 12), describe_strokes(embedded_drawings(category, 9))
    whole = report.CategoryResult(category, generated, {"5": scores(category)}, made, real=real, losses=losses)
    return dataclasses.replace(whole, **changes)


def write(folder: Path, *results: report.CategoryResult, **run: Any) -> tuple[str, ElementTree.Element]:
    """The page's text, and its tree: it is well-formed XML, or this raises."""
    path = folder / "deep" / "report.html"
    report.write_report([path], results, run)
    text = path.read_text(encoding="utf-8")
    return text, ElementTree.fromstring(text)


def cells(tree: ElementTree.Element) -> list[list[list[str]]]:
    return [[["".join(cell.itertext()) for cell in row] for row in table.iter("tr")] for table in tree.iter("table")]


def section_of(tree: ElementTree.Element, category: str) -> ElementTree.Element:
    return next(element for element in tree.iter("section") if element.get("id") == category)


def chart_of(tree: ElementTree.Element, category: str = "cat") -> str:
    """The charts of a category, as the text of their SVG."""
    chart = section_of(tree, category).findall(".//img")[-1].get("src", "")
    assert chart.startswith("data:image/svg+xml;base64,")
    text = base64.b64decode(chart.split(",")[1]).decode()
    ElementTree.fromstring(text)
    return text


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ElementTree.Element]:
    """A page of three categories."""
    return write(tmp_path_factory.mktemp("page"), *map(result, CATEGORIES), profile="quick")


def test_page_shows_every_category_and_is_small(whole: tuple[str, ElementTree.Element]) -> None:
    text, tree = whole
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert {*CATEGORIES, "results", "limits", "scores"} == set(ids)
    assert len(ids) == len(set(ids))
    assert {f"#{name}" for name in ids} == {link.get("href") for link in tree.iter("a")} - {None, metrics_link(tree)}
    for category in CATEGORIES:
        assert "Charts of" in chart_caption(section_of(tree, category))
        assert "4,321" in "".join(section_of(tree, "limits").itertext())
    assert len(text.encode()) < 700_000


def chart_caption(section: ElementTree.Element) -> str:
    return "".join(section.findall(".//figcaption")[-1].itertext())


def metrics_link(tree: ElementTree.Element) -> str | None:
    return next(link.get("href") for link in tree.iter("a") if "computed" in "".join(link.itertext()))


def test_page_asks_no_server_for_anything_and_runs_only_its_few_lines(tmp_path: Path) -> None:
    gif, png = tmp_path / "denoising.gif", tmp_path / "closest.png"
    denoising_animation([[np.array([[0.0, 0.0], [9.0, 9.0]])]], gif, size=64)
    save_image(png, grid_image(embedded_drawings("cat", 4), columns=2, cell=64))
    text, tree = write(tmp_path, result(images={"from noise": gif, "nearest": png}))
    page = tmp_path / "deep" / "report.html"
    assert (page.parent / str(metrics_link(tree))).resolve() == ROOT / "docs" / "METRICS.md"
    assert stat.S_IMODE(page.stat().st_mode) == 0o644
    assert write(tmp_path, result(images={"from noise": gif, "nearest": png}))[0] == text
    images = {element.get("alt"): element.get("src", "").split(",") for element in tree.iter("img")}
    for name, kind, path in (("from noise", "gif", gif), ("nearest", "png", png)):
        assert images[name] == [f"data:image/{kind};base64", base64.b64encode(path.read_bytes()).decode()]
    (script,) = tree.iter("script")
    assert (script.attrib, (script.text or "").count("\n")) == ({}, 6)
    assert not re.search(r"fetch|XMLHttp|import|eval|innerHTML|write|cookie|Storage|location|[<&]", script.text or "")
    for element in tree.iter():
        assert element.tag not in ("link", "iframe", "object", "embed")
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            assert name not in ("src", "href") or value.startswith(("#", "data:image/")) or value == metrics_link(tree)
    for part in (text, chart_of(tree)):
        assert not re.search(r"url\((?!#)|@import", part)
        addresses = {found.split("/")[2] for found in re.findall(r"https?://[^\s\"<]+", part)}
        assert addresses <= {"www.w3.org", "purl.org", "creativecommons.org"}  # names of SVG's vocabularies
        assert "$" not in re.sub("base64,[^\"]*", "", part)


def test_eight_drawings_of_a_category_are_buttons_that_draw_them_again(tmp_path: Path) -> None:
    text, tree = write(tmp_path, result("cat"), result("bus", generated=embedded_drawings("bus", 3)))
    for category, count in (("cat", report.REPLAYED), ("bus", 3)):
        drawings = embedded_drawings(category, 12)[:count]
        buttons = [each for each in section_of(tree, category).iter("button") if each.get("class") == "replay"]
        assert [(button.get("type"), button.get("tabindex")) for button in buttons] == [("button", None)] * count
        for number, (button, drawing) in enumerate(zip(buttons, drawings, strict=True), 1):
            assert (button.get("aria-label") or "").startswith(f"{category} {number} of {count}, {len(drawing)} stroke")
            (svg,) = button
            assert (svg.tag, svg.get("aria-hidden")) == (SVG, "true")
            assert len(svg.findall(f".//{SVG[:-3]}path")) == len(drawing)
    css = "".join(style.text or "" for style in tree.iter("style"))
    motion = css[css.index("@media screen and (prefers-reduced-motion: no-preference) {") :]
    assert ".replaying path { animation:" in motion
    assert 'classList.add("replaying")' in text


def test_the_page_opens_with_the_median_drawing_of_each_category(tmp_path: Path) -> None:
    drawings = [[np.array([[0, 0], [10 * k, 255]])] * k for k in range(1, 6)]
    shares = np.array([0.9, 0.1, 0.5, 0.3, 0.7])
    assert result(generated=drawings, shares=shares).median is drawings[2]
    assert result(generated=drawings[:4]).median is drawings[2]
    _, tree = write(tmp_path, result(generated=drawings, shares=shares), result("bus", generated=drawings[:1]))
    hero = next(element for element in tree.iter("div") if element.get("class") == "hero")
    assert len(hero.findall(f".//{SVG[:-3]}path[@stroke-dasharray]")) == 3 + 1


def test_hostile_text_is_escaped_wherever_it_comes_from(tmp_path: Path) -> None:
    bad = scores() | dict.fromkeys(("n_real", "n_generated", "reference", "rendering"), HOSTILE)
    bad["feature_network"] = {"file": HOSTILE}
    bad["strokes"] = {"reference": HOSTILE, "n_real": HOSTILE}
    bad["recognised_after"] = bad["recognised_after"] | {"n_real": HOSTILE}
    bad_result = result(category="cat", seeds={HOSTILE: bad}, conditions={"sampler": HOSTILE, "seed": HOSTILE},
                        real_name=HOSTILE)  # fmt: skip
    bad_result = dataclasses.replace(bad_result, category=HOSTILE)
    silent = result("bus", seeds={"0": {"not_measured": HOSTILE}})
    text, tree = write(tmp_path, bad_result, silent, **{HOSTILE: HOSTILE, "list": [HOSTILE]})
    assert text.count("<script") == len(list(tree.iter("script"))) == 1
    assert text.count(escape(HOSTILE)) > 20
    assert "<script" not in chart_of(tree, HOSTILE)


def test_tables_are_those_of_the_scores(tmp_path: Path) -> None:
    results = [result("cat", seeds=three_seeds()), result("bus", seeds=three_seeds("bus", larger=2.0))]
    _, tree = write(tmp_path, *results)
    found = {r.category: r.scores for r in results}
    assert found["cat"]["fid"]["value"] == pytest.approx(31.26)
    shown = cells(tree)
    head, rows = tables.summary_table(found)
    assert shown[0] == [head, *rows]
    for _, caption, lines in tables.FULL:
        head, rows = tables.table_of(lines, found)
        assert [head, *rows] in shown
        assert caption in ["".join(element.itertext()) for element in tree.iter("p")]
    assert ["Weights", "w.safetensors, sha256 abababababab"] in shown[1]


@pytest.mark.parametrize("given", [{}, {"not_measured": "no <network>"}, {"fid": None, "kid": {"value": float("nan")}}])
def test_missing_scores_are_called_not_measured_with_the_reason(tmp_path: Path, given: dict[str, Any]) -> None:
    text, tree = write(tmp_path, result(seeds={"0": given}, real=None))
    assert ["KID × 10³ (real training drawings; real vs real)", "not measured"] in cells(tree)[0]
    assert ("“Not measured”: no &lt;network&gt;." in text) == ("not_measured" in given)
    assert not any("nan" in cell for table in cells(tree) for row in table for cell in row)
    assert "Recognised after" not in chart_of(tree)


def test_charts_show_real_drawings_by_their_statistics_alone(tmp_path: Path) -> None:
    for changes, words in (
        ({}, {"real: N = 9", "generated: N = 12", "Recognised after the first strokes", "real: N = 43",
              "generated: N = 1,077", "Learning curve", "held out: last 0.2"}),
        ({"real_name": "embedded", "losses": []}, {"embedded: N = 9", "embedded: N = 43"}),
        ({"real": None, "losses": []}, {"generated: N = 12"}),
    ):  # fmt: skip
        chart = chart_of(write(tmp_path, result(**changes))[1])
        assert [text for text in words if text not in chart] == []
        assert ("Learning curve" in chart) == bool(changes.get("losses", True))
        assert ("real: N = 9" in chart) == (not changes)
