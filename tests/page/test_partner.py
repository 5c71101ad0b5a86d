"""The page as a partner: proposals, help anywhere on the sheet, changed strokes, files of others, everyone."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from browser_fixtures import missing
from chromium import HEAD, by, checked, draw, finished, opened, place_of, points, ready, setting
from playwright.sync_api import Browser, Page, expect

from drawings.svg_reading import read_svg

pytest_plugins = ("browser_fixtures",)

AXE = "axe-core@4.11.0"
AXE_SHA512 = "ilYanEU8vxxBexpJd8cWM4ElSQq4QctCLKih0TSfjIfCQTeyH/6zVrmIJfLPrKTKJRbiG+cfnZbQIjAlJmF1jQ=="
GHOST = "window.drawing.ghost.stroke !== null"


@pytest.fixture
def page(shared: Page) -> Iterator[Page]:
    """A clean page of desktop size with the cat's model ready, which proposes strokes."""
    shared.keyboard.press("Escape")
    shared.evaluate("drawing.clear()")
    setting(shared, "seed", 0)
    checked(shared, "ghosts", True)
    shared.locator("#category-cat").evaluate("input => input.click()")
    ready(shared)
    yield shared
    shared.keyboard.press("Escape")
    shared.evaluate("drawing.clear()")
    assert shared.faults == []  # type: ignore[attr-defined]


def proposed(page: Page) -> list[list[float]]:
    """Wait for a proposal and return its points."""
    page.wait_for_function(GHOST)
    return page.evaluate("drawing.ghost.stroke.points")  # type: ignore[no-any-return]


def tap(page: Page, point: tuple[float, float]) -> None:
    page.mouse.click(*place_of(page, point))


# ------------------------------------------------------------------ the ghost


def test_after_each_stroke_the_next_one_is_proposed_and_tab_takes_it(page: Page) -> None:
    draw(page, HEAD[:1])
    ghost = proposed(page)
    assert by(page) == ["you"]  # it is no part of the drawing
    page.keyboard.press("Tab")
    assert by(page) == ["you", "model"]
    assert np.abs(np.array(points(page)[1]) - ghost).max() < 1e-6
    page.wait_for_function(GHOST)  # and on it goes
    page.keyboard.press("Escape")
    assert page.evaluate("drawing.ghost.stroke") is None
    page.keyboard.press("Tab")  # without a proposal it moves on, as everywhere
    assert page.evaluate("document.activeElement.id") != "pad"
    assert by(page) == ["you", "model"]


def test_another_key_shows_another_and_a_tap_takes_it(page: Page) -> None:
    draw(page, HEAD[:1])
    first = proposed(page)
    page.keyboard.press("n")
    page.wait_for_function("(old) => ![undefined, old].includes(drawing.ghost.stroke?.points[0][0])", arg=first[0][0])
    ghost = proposed(page)
    assert np.abs(np.array(ghost) - first).max() > 1
    tap(page, tuple(ghost[len(ghost) // 2]))  # type: ignore[arg-type]
    assert by(page) == ["you", "model"]
    proposed(page)
    page.click("#other")
    proposed(page)
    page.click("#take")
    assert by(page) == ["you", "model", "model"]


def test_who_draws_on_ignores_the_ghost(page: Page) -> None:
    draw(page, HEAD[:1])
    ghost = proposed(page)
    page.mouse.move(*place_of(page, (60, 200)))
    page.mouse.down()
    assert page.evaluate("drawing.ghost.stroke") is None  # out of the way at once
    for point in ((90, 220), (130, 200)):
        page.mouse.move(*place_of(page, point), steps=3)
    page.mouse.up()
    assert by(page) == ["you", "you"]
    after = proposed(page)
    assert np.abs(np.array(after) - ghost).max() > 0.5  # it follows what was drawn
    far = next(p for p in ((5.0, 250.0), (250.0, 250.0)) if min(np.hypot(*(np.array(after) - p).T)) > 20)
    tap(page, far)  # a dot beside it is a dot
    assert by(page) == ["you"] * 3


def test_a_stroke_that_is_unlike_the_category_is_marked_and_said_until_something_else_is_done(page: Page) -> None:
    checked(page, "ghosts", False)
    scribble = [(60 + 130 * (i % 2), 60 + 9 * i) for i in range(14)]

    def judged() -> int:
        """What is said of the last stroke, after a question that is answered later."""
        page.evaluate("drawing.settled()")
        return int(page.evaluate("drawing.odd"))

    draw(page, HEAD)
    assert judged() == -1
    draw(page, [scribble])
    assert judged() == 2
    expect(page.locator("#status")).to_contain_text("Unlike a cat here")
    page.keyboard.press("Control+z")
    assert judged() == -1
    page.evaluate("drawing.clear()")
    draw(page, [scribble])  # a first stroke may be anything
    assert judged() == -1
    page.evaluate("drawing.clear()")
    page.click("#language")
    draw(page, [HEAD[0], scribble])
    assert judged() == 1
    expect(page.locator("#status")).to_contain_text("kedi çizimine benzemiyor")
    page.click("#language")


def test_without_proposals_nothing_is_proposed(page: Page) -> None:
    checked(page, "ghosts", False)
    draw(page, HEAD)
    page.wait_for_timeout(1500)
    assert page.evaluate("drawing.ghost.stroke") is None


# ------------------------------------------------------------------ anywhere, any size


def test_what_is_begun_small_in_a_corner_is_continued_there(page: Page) -> None:
    checked(page, "ghosts", False)
    small = [[(x * 0.3 + 170, y * 0.3 + 10) for x, y in stroke] for stroke in HEAD]
    draw(page, small)
    finished(page)
    drawn = np.concatenate([np.array(stroke) for stroke in points(page)[2:]])
    assert len(drawn)
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    assert low[0] > 60  # not over the whole sheet
    assert high[1] < 190
    square = page.evaluate("drawing.strokes.at(-1).square")
    assert 60 < square["side"] < 200


# ------------------------------------------------------------------ changing strokes


def test_every_stroke_can_be_erased_drawn_anew_tidied_and_redrawn_by_hand_and_all_of_it_undone(page: Page) -> None:
    checked(page, "ghosts", False)
    draw(page, [*HEAD, [(60, 200), (128, 240), (200, 200)]])
    stages = [points(page)]
    page.click("#change")
    tap(page, (75, 50))
    assert page.evaluate("drawing.chosen") == 0
    page.click("#tidy")
    page.wait_for_function("drawing.strokes[0].by === 'model'")
    ready(page)
    stages.append(points(page))
    assert np.linalg.norm(np.array(stages[1][0]).mean(0) - np.array(stages[0][0]).mean(0)) < 40
    page.keyboard.press("Escape")
    page.click("#change")
    page.focus("#pad")
    page.keyboard.press("ArrowLeft")  # from the last to the one before
    assert page.evaluate("drawing.chosen") == 1
    page.click("#again")
    page.wait_for_function("drawing.strokes[1].by === 'model'")
    ready(page)
    stages.append(points(page))
    page.click("#erase")
    stages.append(points(page))
    assert len(stages[-1]) == 2
    tap(page, (128, 240))
    page.click("#by-hand")
    draw(page, [[(50, 210), (128, 200), (210, 215)]])
    stages.append(points(page))
    assert len(stages[-1]) == 2
    assert by(page) == ["model", "you"]
    for stage in reversed(stages[:-1]):
        page.keyboard.press("Control+z")
        assert points(page) == stage
    for stage in stages[1:]:
        page.keyboard.press("Control+Shift+z")
        assert points(page) == stage


def test_from_a_stroke_on_the_rest_is_drawn_anew(page: Page) -> None:
    checked(page, "ghosts", False)
    draw(page, HEAD)
    finished(page)
    before = points(page)
    setting(page, "seed", 5)
    page.click("#change")
    page.focus("#pad")
    page.keyboard.press("ArrowRight")  # around the end, to the first
    page.keyboard.press("ArrowRight")
    assert page.evaluate("drawing.chosen") == 1
    page.click("#rest")
    page.wait_for_function("drawing.state === 'drawing'")
    ready(page)
    assert points(page)[:2] == before[:2]
    assert points(page)[2:] != before[2:]


# ------------------------------------------------------------------ guesses


def test_what_the_drawing_looks_like_is_proposed_and_gone_on_with(page: Page) -> None:
    checked(page, "ghosts", False)
    around = [(128 + 100 * np.cos(a), 128 + 100 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 24)]
    rays = [[(128 + r * np.cos(a), 128 + r * np.sin(a)) for r in (104, 126)] for a in np.linspace(0, 2 * np.pi, 12)]
    draw(page, [[(float(x), float(y)) for x, y in around], *[[(float(x), float(y)) for x, y in ray] for ray in rays]])
    page.wait_for_function("!document.getElementById('guess').hidden")
    name = page.evaluate("drawing.guesses.top[0].name")
    page.click("#guess")
    assert page.evaluate("drawing.category") == name
    ready(page)
    assert page.locator("#guess").is_hidden()


# ------------------------------------------------------------------ files of others


def saved(page: Page, kind: str, tmp_path: Path) -> Path:
    with page.expect_download() as download:
        page.click(f"#save-{kind}")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    return path


def shape(strokes: list[Any]) -> list[Any]:
    """First and last points of strokes, in units of the drawing's extent, from its corner."""
    every = np.concatenate([np.array(stroke) for stroke in strokes])
    low, side = every.min(axis=0), np.ptp(every, axis=0).max()
    return [((np.array(stroke)[[0, -1]] - low) / side).tolist() for stroke in strokes]


@pytest.mark.parametrize("kind", ["excalidraw", "tldr", "svg"])
def test_what_is_saved_for_others_comes_back_in_the_order_of_the_pen(page: Page, tmp_path: Path, kind: str) -> None:
    checked(page, "ghosts", False)
    draw(page, [*HEAD, [(60, 200), (128, 240), (200, 200)]])
    before = points(page)
    path = saved(page, kind, tmp_path)
    page.click("#clear")
    page.set_input_files("#open", path)
    page.wait_for_function("drawing.strokes.length === 3")
    np.testing.assert_allclose(shape(points(page)), shape(before), atol=5e-3)
    if kind == "svg":  # millimetres, and nothing beside the strokes that a plotter would draw
        root = ElementTree.parse(path).getroot()
        assert root.get("width") == root.get("height") == "136.5mm"
        assert root.get("viewBox") == "-9 -9 273 273"
        assert [each.tag.split("}")[1] for each in root.iter()] == ["svg", "g", "path", "path", "path"]
        assert np.abs(np.concatenate(points(page)) - np.concatenate(before)).max() < 0.06
        ((others, _),) = read_svg(path.read_text())
        np.testing.assert_allclose(shape(others), shape(before), atol=5e-3)


def test_lines_of_every_tldraw_are_read_in_their_groups_and_their_order(page: Page) -> None:
    """The first line of numbers, the second packed as of 2025, the third as of a short time before."""
    first = struct.pack("<3f", 0, 0, 0.5) + struct.pack("<6e", 30, 0, 0, 0, 12.5, 0)
    third = struct.pack("<6e", 1, 2, 0.5, -3.5, 4, 0.5)
    text = [base64.b64encode(each).decode() for each in (first, third)]
    segments = [{"points": [{"x": 0, "y": 0}, {"x": 10, "y": 5}]}, {"path": text[0]}, {"points": text[1]}]
    group = {"id": "shape:g", "typeName": "shape", "type": "group", "x": 100, "y": 0, "rotation": np.pi / 2,
             "index": "a2", "parentId": "page:p", "props": {}}  # fmt: skip
    lines = [{"id": f"shape:{i}", "typeName": "shape", "type": "draw", "x": 1, "y": 2, "index": index, "parentId": home,
              "props": {"segments": [segment], "scaleX": scale, "scaleY": 1}}
             for i, (segment, index, home, scale) in enumerate(zip(
                 segments, ["a1", "a1", "a3"], ["page:p", "shape:g", "page:p"], [1, 2, 1], strict=True))]  # fmt: skip
    broken = [None, {"typeName": "shape", "type": "draw", "x": 0, "y": 0, "props": {"segments": [{"path": "?"}]}}]
    program = "async (records) => (await import('./files/tldraw.js')).fromTldraw(records)"
    found = page.evaluate(program, [lines[2], lines[1], group, lines[0], *broken])
    expected = [[[1, 2], [11, 7]], [[98, 1], [98, 61], [85.5, 61]], [[2, 4], [-2.5, 6]]]
    for stroke, wanted in zip([each for each in found if each], expected, strict=True):
        np.testing.assert_allclose(stroke, wanted, atol=1e-9)


def test_a_foreign_svg_is_read_with_its_transforms_curves_and_lifted_pens(page: Page) -> None:
    text = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100"><script>document.title = "bad"</script>
        <rect width="100" height="100" fill="white"/><defs><path d="M0 0L9 9"/></defs>
        <g transform="translate(10 0) scale(2)"><path d="M0 0 L10 0 M20 20 l10 5" fill="none" stroke="red"/></g>
        <circle cx="50" cy="80" r="10" stroke="red"/><line x1="0" y1="90" x2="5" y2="90" stroke="red"/>
        <path d="m0 60 c5 5 10 5 15 0 m5 0 l5 0" stroke="red"/><text x="3" y="3">no line</text></svg>"""
    program = "async (text) => (await import('./files/svg.js')).parseSvg(text)"
    strokes = [np.array(stroke) for stroke in page.evaluate(program, text)]
    ends = [stroke[[0, -1]].round(2).tolist() for stroke in strokes]
    assert ends == [[[10, 0], [30, 0]], [[50, 40], [70, 50]], [[60, 80], [60, 80]], [[0, 90], [5, 90]],
                    [[0, 60], [15, 60]], [[20, 60], [25, 60]]]  # fmt: skip
    assert len(strokes[2]) > 20
    assert page.title() == "Draw with me"


def test_a_pasted_board_is_drawn(page: Page) -> None:
    board = {"type": "excalidraw/clipboard", "elements": [
        {"type": "freedraw", "x": 10, "y": 10, "width": 90, "height": 40, "angle": 0, "points": [[0, 0], [90, 40]]},
        {"type": "ellipse", "x": 0, "y": 100, "width": 50, "height": 50, "angle": 0},
        {"type": "text", "x": 0, "y": 0, "text": "hello"},
        {"type": "line", "isDeleted": True, "points": [[0, 0]]}]}  # fmt: skip
    program = """(text) => {
        const data = new DataTransfer();
        data.setData("text/plain", text);
        dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
    }"""
    page.evaluate(program, json.dumps(board))
    page.wait_for_function("drawing.strokes.length === 2")
    expect(page.locator("#status")).to_contain_text("What was pasted")
    page.evaluate(program, "just words")
    expect(page.locator("#status")).to_contain_text("is no drawing")
    assert by(page) == ["you", "you"]


def test_a_link_holds_the_drawing(page: Page, browser: Browser, page_url: str) -> None:
    checked(page, "ghosts", False)
    draw(page, HEAD)
    page.evaluate("() => { navigator.clipboard.writeText = async (text) => { window.copied = text; }; }")
    page.click("#link")
    page.wait_for_function("window.copied")
    link = page.evaluate("window.copied")
    assert link.startswith(page_url + "#drawing=")
    other = opened(browser, link)
    assert np.abs(np.array(points(other)[1])[[0, -1]] - np.array(points(page)[1])[[0, -1]]).max() < 8
    assert "#" not in other.url
    other.goto(page_url + "#drawing=rubbish")
    ready(other)
    assert other.faults == []  # type: ignore[attr-defined]
    other.context.close()


def test_the_drawing_is_filmed(page: Page, tmp_path: Path) -> None:
    checked(page, "ghosts", False)
    draw(page, HEAD)
    path = saved(page, "video", tmp_path)
    assert path.suffix in (".webm", ".mp4")
    head = path.read_bytes()[:12]
    assert head[:4] == b"\x1aE\xdf\xa3" or head[4:8] == b"ftyp"
    assert path.stat().st_size > 2000


# ------------------------------------------------------------------ everyone, for long


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program of an accessibility checker, from npm, checked against its hash."""
    folder = tmp_path_factory.mktemp("axe")
    done = subprocess.run([shutil.which("npm") or "npm", "pack", "--silent", AXE], cwd=folder, capture_output=True)
    packed = list(folder.glob("*.tgz"))
    if done.returncode != 0 or not packed:
        missing(f"npm could not fetch {AXE}")
    assert base64.b64encode(hashlib.sha512(packed[0].read_bytes()).digest()).decode() == AXE_SHA512
    with tarfile.open(packed[0]) as archive:
        content = archive.extractfile("package/axe.min.js")
        assert content is not None
        return content.read().decode()


@pytest.mark.parametrize("locale", ["en-US", "tr-TR"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_accessibility_checker_finds_nothing(
    browser: Browser, page_url: str, axe: str, scheme: Any, locale: str
) -> None:
    page = opened(browser, page_url, color_scheme=scheme, locale=locale)
    for details in page.locator("details > summary").all():
        details.click()
    draw(page, HEAD)
    page.wait_for_function(GHOST)
    page.wait_for_function("drawing.guesses")
    page.evaluate(axe)

    def findings() -> list[tuple[str, str]]:
        found = page.evaluate("async () => (await axe.run()).violations.map(({ id, nodes }) => [id, nodes[0].html])")
        return found  # type: ignore[no-any-return]

    assert findings() == []
    page.click("#change")
    assert findings() == []
    page.keyboard.press("Escape")
    page.click("#find")
    page.keyboard.type("c")
    page.keyboard.press("ArrowDown")
    assert findings() == []
    page.keyboard.press("Escape")
    finished(page, "#another")
    assert findings() == []
    page.context.close()


@pytest.mark.parametrize("width", [390, 820, 980, 1280, 2560, 640])  # the last is 1280 at 200 % zoom
def test_nothing_is_cut_off_at_any_width_and_the_sheet_is_whole_in_the_window(
    browser: Browser, page_url: str, width: int
) -> None:
    height = {390: 844, 820: 1180, 980: 1100, 1280: 800, 2560: 1440, 640: 400}[width]
    page = opened(browser, page_url, viewport={"width": width, "height": height})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#pad").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= height or height < 500
    draw(page, HEAD)
    for button in ("#finish", "#change", "#undo"):
        assert page.locator(button).is_visible()
    page.click("#change")
    cut = page.evaluate("""() => [...document.querySelectorAll("button")].filter((each) => each.checkVisibility())
        .filter((each) => each.scrollWidth > each.clientWidth + 1).map(({ id }) => id)""")
    assert cut == []
    page.context.close()


def test_five_hundred_strokes_are_drawn_and_undone_without_memory_growing(browser: Browser, page_url: str) -> None:
    page = opened(browser, page_url)
    raw = page.context.new_cdp_session(page)

    def memory() -> float:
        raw.send("HeapProfiler.collectGarbage")
        return float(raw.send("Runtime.getHeapUsage")["usedSize"]) / 1e6

    program = """async (count) => {
        const pad = document.getElementById("pad");
        const event = (type, x, y) => pad.dispatchEvent(new PointerEvent(type, {
            pointerId: 1, pointerType: "mouse", button: 0, clientX: x, clientY: y, bubbles: true }));
        pad.setPointerCapture = () => {};
        const { left, top, width } = pad.getBoundingClientRect();
        for (let i = 0; i < count; i++) {
            const [x, y] = [left + width * (0.1 + 0.8 * Math.random()), top + width * (0.1 + 0.8 * Math.random())];
            event("pointerdown", x, y);
            for (let j = 1; j < 12; j++) event("pointermove", x + 3 * j, y + 9 * Math.sin(j));
            event("pointerup", x + 33, y);
            if (i % 20 === 0) await new Promise(requestAnimationFrame);
        }
        return drawing.strokes.length;
    }"""
    checked(page, "ghosts", False)
    page.evaluate(program, 50)
    page.evaluate("drawing.clear()")
    before = memory()
    for _ in range(2):
        assert page.evaluate(program, 500) == 500
        page.evaluate("() => { for (let i = 0; i < 500; i++) document.getElementById('undo').click(); }")
        assert by(page) == []
    assert memory() - before < 8
    assert page.faults == []  # type: ignore[attr-defined]
    page.context.close()
