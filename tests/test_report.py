"""Laws of the report: one file that needs no other, every text escaped, figures as they were scored."""

from __future__ import annotations

import base64
import dataclasses
import os
import re
import stat
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from test_results_tables import HOSTILE, scores, three_seeds

from config import CATEGORIES
from dataset_utils import read_ndjson
from drawings.embedded import embedded_drawings
from rendering import denoising_animation, grid_image, save_image
from reports import report
from reports import tables as results_tables
from scoring.stroke_statistics import ink_length

REAL_DIR = os.environ.get("QUICKDRAW_DIR")
SVG = "{http://www.w3.org/2000/svg}svg"


def drawings(category: str, count: int) -> list:
    """Real drawings where they are at hand, drawings of the procedural artist otherwise."""
    if REAL_DIR:
        packed, _ = read_ndjson(Path(REAL_DIR) / f"{category}.ndjson")
        return [packed.drawing(i) for i in range(count)]
    return embedded_drawings(category, count)


def result(category: str = "cat", **changes: Any) -> report.CategoryResult:
    made = {"sampler": "ddim", "steps": 20, "seed": 5, "checkpoint_sha256": "ab" * 32, "model": {"data": ["embedded"]}}
    losses = [{"step": 50.0 * i, "loss": 1 / i} for i in range(1, 9)] + [{"step": 400.0, "validation_loss": 0.2}]
    generated, real = embedded_drawings(category, 12), drawings(category, 9)
    whole = report.CategoryResult(category, generated, real, {"5": scores(category)}, made, losses)
    return dataclasses.replace(whole, **changes)


def write(folder: Path, *results: report.CategoryResult, **run: Any) -> tuple[str, ElementTree.Element]:
    """The page's text, and its tree: it is well-formed XML, or this raises."""
    path = folder / "deep" / "report.html"
    report.write_report(path, results, run)
    text = path.read_text(encoding="utf-8")
    return text, ElementTree.fromstring(text)


def tables(tree: ElementTree.Element) -> list[list[list[str]]]:
    return [[["".join(cell.itertext()) for cell in row] for row in table.iter("tr")] for table in tree.iter("table")]


def section_of(tree: ElementTree.Element, category: str) -> ElementTree.Element:
    return next(element for element in tree.iter("section") if element.get("id") == category)


def line_of(svg: ElementTree.Element, css: str) -> np.ndarray:
    """Points of a chart's line, (n, 2), in the picture's pixels."""
    line = next(element for element in svg.iter("polyline") if element.get("class") == css)
    return np.array([[float(number) for number in pair.split(",")] for pair in (line.get("points") or "").split()])


def test_page_shows_every_category_with_all_its_drawings_and_is_small(tmp_path: Path) -> None:
    text, tree = write(tmp_path, *(result(category) for category in CATEGORIES), profile="quick")
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert set(CATEGORIES) <= set(ids)
    assert len(ids) == len(set(ids))
    for section in (element for element in tree.iter("section") if element.get("id") in CATEGORIES):
        # real, generated, and eight to draw again; recognised, strokes, ink and learning curve
        assert len(section.findall(f".//{SVG}")) == 2 + report.REPLAYED
        assert len(section.findall(".//svg")) == 4
        still = section.findall(f".//{SVG}")[1]
        paths = [p for g in still if g.get("fill") == "none" for p in g]
        assert len(paths) == sum(len(d) for d in embedded_drawings(section.get("id") or "", 12))
    assert "animate attributeName" in text
    assert "quick" in "".join(tree.itertext())
    assert len(text.encode()) < 4_000_000


def test_page_asks_no_server_for_anything_and_runs_only_its_few_lines(tmp_path: Path) -> None:
    gif, png = tmp_path / "denoising.gif", tmp_path / "closest.png"
    denoising_animation([[np.array([[0.0, 0.0], [9.0, 9.0]])]], gif, size=64)
    save_image(png, grid_image(embedded_drawings("cat", 4), columns=2, cell=64))
    text, tree = write(tmp_path, result(gifs={"from noise": gif}, pictures={"nearest": png}))
    images = {element.get("alt"): element.get("src", "").split(",") for element in tree.iter("img")}
    assert {name: kind for name, (kind, _) in images.items()} == {
        "from noise": "data:image/gif;base64",
        "nearest": "data:image/png;base64",
    }
    assert base64.b64decode(images["from noise"][1]) == gif.read_bytes()
    assert base64.b64decode(images["nearest"][1]) == png.read_bytes()
    assert [(script.attrib, script.text) for script in tree.iter("script")] == [({}, report.SCRIPT)]
    assert not re.search(r"fetch|XMLHttp|import|eval|innerHTML|write|cookie|Storage|location|[<&]", report.SCRIPT)
    for element in tree.iter():
        assert element.tag not in ("link", "iframe", "object", "embed")
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            assert name not in ("src", "href") or value.startswith(("#", "data:image/"))
    assert not re.search(r"url\(|@import", text)
    assert re.findall(r"https?://[^\s\"<]+", text.replace("http://www.w3.org/2000/svg", "")) == []


def test_eight_drawings_of_a_category_are_buttons_that_draw_them_again(tmp_path: Path) -> None:
    text, tree = write(tmp_path, result("cat"), result("bus", generated=embedded_drawings("bus", 3)))
    for category, count in (("cat", report.REPLAYED), ("bus", 3)):
        drawings = embedded_drawings(category, 12)[:count]
        buttons = [each for each in section_of(tree, category).iter("button") if each.get("class") == "replay"]
        # a button is reached by the tab key, and takes Enter and the space bar for a click
        assert [(button.get("type"), button.get("tabindex")) for button in buttons] == [("button", None)] * count
        for number, (button, drawing) in enumerate(zip(buttons, drawings, strict=True), 1):
            assert (button.get("aria-label") or "").startswith(f"{category} {number} of {count}, {len(drawing)} stroke")
            (svg,) = button
            assert (svg.tag, svg.get("aria-hidden")) == (SVG, "true")
            assert len(svg.findall(f".//{SVG[:-3]}path")) == len(drawing)
    css = "".join(style.text or "" for style in tree.iter("style"))
    assert css.count("animation:") == 1
    motion = css[css.index("@media screen and (prefers-reduced-motion: no-preference) {") :]
    assert ".replaying path { animation:" in motion
    assert 'classList.add("replaying")' in text


def test_the_page_has_a_hundred_a_side_and_says_what_fills_it_up(tmp_path: Path) -> None:
    real, generated = drawings("bus", 130), embedded_drawings("cat", 120)
    _, tree = write(tmp_path, result(real=real[:29], others=real[29:], generated=generated))
    section = section_of(tree, "cat")
    captions = ["".join(caption.itertext()) for caption in section.iter("figcaption")]
    assert captions[0].startswith("100 real: 29 held out, 71 of training. The first ones, as they come;")
    assert captions[1] == "100 generated. The first of 120, as they come."
    for sheet, shown in zip(section.findall(f".//{SVG}"), (real, generated), strict=False):
        paths = [path for g in sheet if g.get("fill") == "none" for path in g]
        assert len(paths) == sum(len(drawing) for drawing in shown[:100])


def test_pictures_of_the_gallery_stand_with_their_captions_where_there_are_any(tmp_path: Path) -> None:
    picture = tmp_path / "best_worst.png"
    save_image(picture, grid_image(embedded_drawings("cat", 4), columns=2, cell=64))
    text, tree = write(tmp_path, result(gallery={"Best & worst": picture}), result("bus"))
    images = {element.get("alt"): element.get("src") for element in section_of(tree, "cat").iter("img")}
    assert images == {"Best & worst": "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()}
    assert text.count("<h3>Best, worst, continued</h3>") == 1


def test_hostile_text_is_escaped_wherever_it_comes_from(tmp_path: Path) -> None:
    bad = scores() | dict.fromkeys(("n_real", "n_generated", "reference", "rendering"), HOSTILE)
    bad["feature_network"] = {"file": HOSTILE}
    bad["strokes"] = {"reference": HOSTILE, "n_real": HOSTILE}
    bad["recognised_after"] = bad["recognised_after"] | {"n_real": HOSTILE, "reference": HOSTILE}
    bad["memorisation"] = {"n_training": HOSTILE}
    bad_result = result(
        seeds={HOSTILE: bad},
        conditions={"sampler": HOSTILE, "x": HOSTILE},
        gifs={HOSTILE: tmp_path / "<b>.gif"},
        pictures={HOSTILE: tmp_path / "<b>.png"},
        gallery={HOSTILE: tmp_path / "<b>.png"},
    )
    bad_result = dataclasses.replace(bad_result, category=HOSTILE)
    silent = result("bus", seeds={"0": {"not_measured": HOSTILE}})
    text, tree = write(tmp_path, bad_result, silent, **{HOSTILE: HOSTILE, "nested": {"a": HOSTILE}})
    assert text.count("<script") == 1
    assert "<b>." not in text
    assert [script.text for script in tree.iter("script")] == [report.SCRIPT]
    assert text.count(escape(HOSTILE)) > 20
    assert "".join(tree.itertext()).count(HOSTILE) > 20


def test_without_real_drawings_the_page_says_so_and_shows_the_generated_ones(tmp_path: Path) -> None:
    given = scores() | {"recognised_after": None}
    text, tree = write(tmp_path, result(real=[], losses=[], seeds={"0": given}))
    assert "this machine has no real drawings" in text
    assert "histograms show only generated ones" in text
    assert [p.get("class") for p in tree.iter("polyline")] == ["generated", "generated"]
    assert "Real beside generated" not in text


@pytest.mark.parametrize("given", [{}, {"not_measured": "no <network>"}, {"fid": None, "kid": {"value": float("nan")}}])
def test_missing_scores_are_called_not_measured_with_the_reason(tmp_path: Path, given: dict[str, Any]) -> None:
    _, tree = write(tmp_path, result(seeds={"0": given}))
    summary, pictures, strokes, copies = tables(tree)
    assert ["FID", "not measured"] in summary
    assert ["FID", *["not measured"] * 4] in pictures
    assert ["Ink length, px", "–", "–", *["not measured"] * 3] in strokes
    assert ["Median, generated over real", "not measured", "–"] in copies
    reason = f"“Not measured”: {given.get('not_measured', 'this run made no scores')}."
    assert "".join(tree.itertext()).count(reason) == 3
    assert not any("nan" in cell for table in tables(tree) for row in table for cell in row)


def test_tables_are_those_of_the_scores(tmp_path: Path) -> None:
    results = [result("cat", seeds=three_seeds()), result("bus", seeds=three_seeds("bus", larger=2.0))]
    _, tree = write(tmp_path, *results)
    shown, seeds = tables(tree), ["0", "1", "2"]
    head, rows, caption = results_tables.pictures_by_category({r.category: r.scores for r in results}, seeds)
    assert shown[0] == [head, *rows]
    makers = (results_tables.picture_table, results_tables.stroke_table, results_tables.copy_table)
    expected = [maker(r.scores, seeds) for r in results for maker in makers]
    assert shown[1:] == [[head, *rows] for head, rows, _ in expected]
    captions = ["".join(element.itertext()) for element in tree.iter("p")]
    assert all(text in captions for text in (caption, *(text for _, _, text in expected)))
    assert ["FID", "31.3 ± 0.6", "46.9 ± 0.9", "15.6 ± 0.2", "93.1"] in shown[1]
    assert "31.3" not in {cell for row in shown[4] for cell in row}


def test_scores_are_the_mean_over_seeds() -> None:
    assert result(seeds=three_seeds()).scores["fid"]["value"] == pytest.approx(31.26)
    assert result().scores == scores()


def test_the_chart_of_recognition_shows_the_shares_after_every_stroke(tmp_path: Path) -> None:
    _, tree = write(tmp_path, result(seeds=three_seeds()))
    chart = section_of(tree, "cat").findall(".//svg")[0]
    assert (chart.get("aria-label") or "").startswith("Recognised after every stroke, % by strokes shown")
    lines = [line_of(chart, f"{side} line") for side in ("real", "generated")]
    after = scores()["recognised_after"]
    shares = np.array([after["real"], after["generated"]])
    baseline = lines[1][0, 1]  # no generated drawing of the example is recognised by its first stroke
    heights = np.array([baseline - line[:, 1] for line in lines])
    np.testing.assert_allclose(heights / heights.max(), shares / shares.max(), atol=0.001)
    for line in lines:
        np.testing.assert_allclose(np.diff(line[:, 0]), (line[-1, 0] - line[0, 0]) / 23, atol=0.11)
    numbers = [text.text for text in chart.iter("text") if text.get("text-anchor") == "middle"]
    assert numbers == ["5", "10", "15", "20", "strokes shown"]
    legend = ["".join(item.itertext()) for item in section_of(tree, "cat").iter("li")][:2]
    assert legend == ["real: N = 43", "generated: N = 1,077, mean of 3 seeds"]
    _, tree = write(tmp_path, result())
    assert "generated: N = 1,077" in ["".join(item.itertext()) for item in section_of(tree, "cat").iter("li")]


def test_histogram_shares_sum_to_one_and_the_last_bin_holds_the_tail() -> None:
    values = np.repeat([1.0, 2.0, 3.0, 500.0], [600, 380, 15, 5])
    chart = ElementTree.fromstring(report._histogram("t", "strokes", {"generated": values}, whole=True))
    y = line_of(chart, "generated")[:, 1]
    heights = y[0] - y[1:-1:2]
    np.testing.assert_allclose(heights / heights.sum(), [0.60, 0.38, 0.02], atol=0.001)


def test_ink_chart_takes_drawings_of_single_dots(tmp_path: Path) -> None:
    dots = [[np.zeros((1, 2), np.uint8)]] * 3
    assert ink_length(dots[0]) == 0
    _, tree = write(tmp_path, result(generated=dots, real=[]))
    assert "nan" not in " ".join(p.get("points", "") for p in tree.iter("polyline"))


def test_large_or_missing_images_stay_outside_and_are_named(tmp_path: Path) -> None:
    large = tmp_path / "large.gif"
    large.write_bytes(b"GIF89a" + bytes(report.IMAGE_BYTES))
    pictures = {"pairs": tmp_path / "closest.png"}
    text, _ = write(tmp_path, result(gifs={"big one": large, "lost one": tmp_path / "lost.gif"}, pictures=pictures))
    assert "base64" not in text
    assert "large.gif has 400 kB" in text
    assert "lost.gif is missing" in text
    assert "closest.png is missing" in text


def test_all_images_of_a_page_share_its_room(tmp_path: Path) -> None:
    some = tmp_path / "some.gif"
    some.write_bytes(b"GIF89a" + bytes(report.IMAGE_BYTES // 2))
    many = 2 * report.ALL_IMAGE_BYTES // report.IMAGE_BYTES + 1
    half = {str(i): some for i in range(many // 2)}
    assert write(tmp_path, result(gifs=half))[0].count("base64") == len(half)
    for others in ("pictures", "gallery"):
        assert "base64" not in write(tmp_path, result(gifs=half, **{others: {str(i): some for i in range(many)}}))[0]


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


def test_nothing_to_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"report\.html: no results"):
        report.write_report(tmp_path / "report.html", [], {})


def test_embedded_drawings_are_never_called_real(tmp_path: Path) -> None:
    _, tree = write(tmp_path, result(conditions={"data_at_hand": "embedded"}))
    section = section_of(tree, "cat")
    captions = ["".join(element.itertext()) for name in ("figcaption", "li", "h3") for element in section.iter(name)]
    assert any(caption.startswith("9 embedded, held out. The first ones") for caption in captions)
    assert any(caption.startswith("embedded: N = 43") for caption in captions)
    assert not any("real" in caption.lower() for caption in captions)
