"""The page in a real browser, as people use it: drawing, the model's turn, files, a phone, no network, absurdity."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

import draw_with_me
from dataset_utils import read_ndjson, write_ndjson
from drawings.embedded import embedded_drawings

HEAD = [[(20, 70), (40, 8), (75, 50), (180, 50), (215, 8), (235, 70)], [(80, 120), (84, 126), (90, 120)]]
PATIENCE = 120_000
"""Milliseconds in which a busy machine compiles 14 MB of WebAssembly and draws."""


def opened(browser: Browser, url: str, **options: Any) -> Page:
    """The page in a context of its own, its model ready; whatever goes wrong in it is an error here.

    Its Content-Security-Policy would forbid the programs of these tests; one test leaves it in force.
    """
    usual = {"viewport": {"width": 1280, "height": 800}, "locale": "en-US", "bypass_csp": True}
    context = browser.new_context(**(usual | options))
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.faults = []  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.faults.append(str(error)))  # type: ignore[attr-defined]
    page.on("console", lambda m: m.type == "error" and page.faults.append(m.text))  # type: ignore[attr-defined]
    page.goto(url)
    ready(page)
    return page


def ready(page: Page) -> None:
    page.wait_for_function("window.drawing?.state === 'ready'", timeout=PATIENCE)


@pytest.fixture(scope="module")
def shared(browser: Browser, page_url: str) -> Iterator[Page]:
    page = opened(browser, page_url)
    yield page
    page.context.close()


@pytest.fixture
def page(shared: Page) -> Iterator[Page]:
    """A clean page of desktop size with the cat's model ready."""
    shared.evaluate("drawing.clear()")
    for name, value in (("temperature", 1), ("steps", 20), ("seed", 0)):
        setting(shared, name, value)
    shared.locator("#category-cat").evaluate("input => input.click()")
    yield shared
    shared.evaluate("drawing.clear()")
    assert shared.faults == []  # type: ignore[attr-defined]


def setting(page: Page, name: str, value: object) -> None:
    program = "(input, value) => { input.value = value; for (const kind of ['input', 'change'])" \
              " input.dispatchEvent(new Event(kind, { bubbles: true })); }"  # fmt: skip
    page.locator(f"#{name}").evaluate(program, str(value))


def place_of(page: Page, point: tuple[float, float]) -> tuple[float, float]:
    page.locator("#pad").scroll_into_view_if_needed()
    x, y = page.evaluate("([x, y]) => drawing.placeOf(x, y)", list(point))
    return x, y


def draw(page: Page, strokes: list[list[tuple[float, float]]]) -> None:
    """Draw with the mouse."""
    for stroke in strokes:
        page.mouse.move(*place_of(page, stroke[0]))
        page.mouse.down()
        for point in stroke[1:]:
            page.mouse.move(*place_of(page, point), steps=4)
        page.mouse.up()


def by(page: Page) -> list[str]:
    """Whose strokes are on the paper."""
    return page.evaluate("drawing.strokes.map((stroke) => stroke.by)")  # type: ignore[no-any-return]


def points(page: Page) -> list[Any]:
    return page.evaluate("drawing.strokes.map((stroke) => stroke.points)")  # type: ignore[no-any-return]


def finished(page: Page, button: str = "#finish") -> None:
    """Press a button of the model's and wait until it has drawn."""
    page.click(button)
    page.wait_for_function("window.drawing.state === 'ready'", timeout=PATIENCE)


def pixels(page: Page) -> np.ndarray:
    """The canvas as numbers, 255 where nothing is drawn and 0 where ink covers it, in whichever colour."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    program = "pad => { const { data } = pad.getContext('2d').getImageData(0, 0, pad.width, pad.height);" \
              " return [pad.height, pad.width, [...data.filter((_, i) => i % 4 === 3)]]; }"  # fmt: skip
    height, width, alpha = page.locator("#pad").evaluate(program)
    return 255 - np.array(alpha, dtype=float).reshape(height, width)


def ink_near(picture: np.ndarray, page: Page, point: tuple[float, float]) -> bool:
    """Whether there is ink within some pixels of a point of the box."""
    box = page.locator("#pad").bounding_box()
    assert box is not None
    x, y = place_of(page, point)
    column = round((x - box["x"]) / box["width"] * picture.shape[1])
    row = round((y - box["y"]) / box["height"] * picture.shape[0])
    near = picture[max(row - 6, 0) : row + 7, max(column - 6, 0) : column + 7]
    return bool(near.size and near.min() < 100)


def saved(page: Page, kind: str, tmp_path: Path) -> Path:
    with page.expect_download() as download:
        page.click(f"#save-{kind}")
    assert download.value.suggested_filename == f"cat.{kind}"
    download.value.save_as(tmp_path / f"cat.{kind}")
    return tmp_path / f"cat.{kind}"


# ------------------------------------------------------------------ drawing together


def test_what_the_mouse_draws_the_model_finishes(page: Page) -> None:
    draw(page, HEAD)
    assert by(page) == ["you"] * 2
    drawn = np.array(points(page)[0])
    assert np.abs(drawn[[0, -1]] - np.array(HEAD[0])[[0, -1]]).max() < 2
    before = pixels(page)
    assert all(ink_near(before, page, point) for point in HEAD[0])
    finished(page)
    assert by(page)[:2] == ["you"] * 2
    assert 1 <= by(page).count("model") <= 22
    after = pixels(page)
    assert all(ink_near(after, page, point) for point in HEAD[0])
    for stroke in points(page)[2:]:
        assert ink_near(after, page, tuple(stroke[len(stroke) // 2]))
    assert (after < 100).sum() > 1.1 * (before < 100).sum()
    assert 0 < page.evaluate("drawing.latency") < PATIENCE
    guesses = page.evaluate("drawing.guesses")
    assert len(guesses["top"]) == 3
    assert page.locator("#guesses li").count() == 3


def test_undo_takes_strokes_back_one_by_one_and_the_same_seed_draws_the_same_again(page: Page) -> None:
    empty = pixels(page)
    draw(page, HEAD)
    two = pixels(page)
    finished(page)
    first = points(page)
    for count in range(len(first) - 1, 1, -1):
        page.click("#undo")
        assert len(by(page)) == count
    np.testing.assert_array_equal(pixels(page), two)
    finished(page)
    again = points(page)
    assert len(again) == len(first)
    for one, other in zip(first, again, strict=True):
        assert np.abs(np.array(one) - np.array(other)).max() < 1e-3
    page.keyboard.press("Control+z")
    assert len(by(page)) == len(first) - 1
    page.click("#redo")
    assert len(by(page)) == len(first)
    page.click("#clear")
    assert by(page) == []
    np.testing.assert_array_equal(pixels(page), empty)


def test_another_seed_and_another_category_draw_otherwise(page: Page) -> None:
    draw(page, HEAD)
    finished(page, "#one")
    first = points(page)[2]
    assert len(by(page)) == 3
    page.click("#undo")
    setting(page, "seed", 12)
    finished(page, "#one")
    assert points(page)[2] != first
    page.click("#undo")
    setting(page, "seed", 0)
    page.locator("#category-bus").evaluate("input => input.click()")
    ready(page)
    finished(page, "#one")
    assert points(page)[2] != first


def test_of_endings_side_by_side_one_is_taken(page: Page) -> None:
    draw(page, HEAD)
    finished(page, "#another")
    endings = page.locator("button.ending")
    expect(endings).to_have_count(4)
    sizes = page.evaluate("drawing.endings")
    assert len(sizes) == 4
    pictures = {bytes(endings.nth(i).screenshot()) for i in range(4)}
    assert len(pictures) > 1
    endings.nth(2).click()
    expect(endings).to_have_count(0)
    assert by(page)[:2] == ["you"] * 2
    assert by(page).count("model") == sizes[2] or by(page).count("model") == sizes[2] - 2


def test_the_model_can_be_stopped_and_undo_stops_it(page: Page) -> None:
    draw(page, HEAD)
    page.click("#finish")
    page.wait_for_selector("#stop:visible")
    page.click("#stop")
    expect(page.locator("#finish")).to_be_visible()
    page.click("#finish")
    page.wait_for_selector("#stop:visible")
    page.click("#undo")
    expect(page.locator("#finish")).to_be_visible()
    count = len(by(page))
    page.wait_for_timeout(1500)
    assert len(by(page)) == count


def test_a_stroke_can_be_seen_to_emerge_from_noise(page: Page) -> None:
    draw(page, HEAD)
    settled = pixels(page)
    page.locator("#watch").evaluate("input => input.checked || input.click()")
    page.click("#one")
    seen = 0
    for _ in range(2000):
        if by(page).count("model"):
            break
        seen += not np.array_equal(pixels(page), settled)
        page.wait_for_timeout(30)
    page.locator("#watch").evaluate("input => input.click()")
    ready(page)
    assert by(page) == ["you", "you", "model"]
    assert seen > 0  # something was on the paper before the stroke was


# ------------------------------------------------------------------ files


def test_what_is_saved_is_the_drawing_and_loads_in_this_project(page: Page, tmp_path: Path) -> None:
    draw(page, HEAD)
    finished(page)
    strokes = points(page)
    packed, _ = read_ndjson(saved(page, "ndjson", tmp_path), recognized_only=True)[:2]
    assert len(packed) == 1
    loaded = packed.drawing(0)
    assert len(loaded) == len(strokes)
    for ours, theirs in zip(loaded, strokes, strict=True):
        assert np.abs(np.asarray(ours[[0, -1]], float) - np.array(theirs)[[0, -1]].clip(0, 255)).max() < 2
    root = ElementTree.parse(saved(page, "svg", tmp_path)).getroot()
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) == len(strokes)
    picture = np.asarray(Image.open(saved(page, "png", tmp_path)).convert("L"))
    assert picture.shape == (512, 512)
    assert 0.01 < (picture < 128).mean() < 0.3
    film = Image.open(saved(page, "gif", tmp_path))
    assert film.n_frames > len(strokes)
    assert film.info["loop"] == 0
    ink = []
    for frame in (0, film.n_frames // 2, film.n_frames - 1):
        film.seek(frame)
        ink.append((np.asarray(film.convert("L")) < 200).mean())
    assert ink[0] < ink[1] < ink[2]


def test_a_drawing_of_this_project_is_opened_stroke_by_stroke_and_comes_back_unchanged(
    page: Page, tmp_path: Path
) -> None:
    drawing = embedded_drawings("cat", 1, seed=3)[0]
    write_ndjson(tmp_path / "given.ndjson", [drawing], word="cat")
    page.set_input_files("#open", tmp_path / "given.ndjson")
    page.wait_for_function("drawing.strokes.length > 0")
    assert len(by(page)) == len(drawing)
    written = json.loads(saved(page, "ndjson", tmp_path).read_text())
    assert written["word"] == "cat"
    assert [np.array(stroke).T.tolist() for stroke in written["drawing"]] == [stroke.tolist() for stroke in drawing]


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"[]", b'{"drawing": 5}', b'{"drawing": [[[1, 2], [3]]]}', b'{"drawing": [[["a"], [1]]]}',
     b'{"drawing": [[[1e999], [1]]]}', b'{"drawing": []}', bytes(range(256)), b'{"drawing": [[[null], [null]]]}'],
)  # fmt: skip
def test_a_wrong_file_is_said_in_a_line_and_changes_nothing(page: Page, tmp_path: Path, content: bytes) -> None:
    draw(page, HEAD)
    before, told = points(page), page.inner_text("#status")
    (tmp_path / "wrong.ndjson").write_bytes(content)
    page.set_input_files("#open", tmp_path / "wrong.ndjson")
    page.wait_for_function("(told) => document.getElementById('status').innerText !== told", arg=told)
    assert "wrong.ndjson" in page.inner_text("#status")
    assert points(page) == before


# ------------------------------------------------------------------ absurdity


def test_ten_thousand_strokes_do_not_stop_the_page(page: Page, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    strokes = [[xy.tolist() for xy in rng.integers(0, 256, (2, 3))] for _ in range(10_000)]
    (tmp_path / "many.ndjson").write_text(json.dumps({"word": "cat", "drawing": strokes}))
    page.set_input_files("#open", tmp_path / "many.ndjson")
    page.wait_for_function("drawing.strokes.length > 0")
    assert len(by(page)) == 2000
    assert "2,000" in page.inner_text("#status")
    page.click("#finish")
    page.wait_for_timeout(200)
    assert "24" in page.inner_text("#status")
    assert len(by(page)) == 2000
    for _ in range(3):
        page.click("#undo")
    draw(page, [[(5, 5), (250, 250)]])
    assert len(by(page)) == 1998


def test_dots_and_strokes_that_leave_the_canvas_are_strokes(page: Page) -> None:
    page.mouse.click(*place_of(page, (128, 128)))
    draw(page, [[(100, 100), (-400, 100), (100, 900), (3000, 3000)], [(250, 10), (250, -900)]])
    strokes = points(page)
    assert len(strokes) == 3
    assert len(strokes[0]) >= 1
    flat = np.concatenate([np.array(stroke) for stroke in strokes])
    assert flat.min() >= 0
    assert flat.max() <= 255
    assert ink_near(pixels(page), page, (128, 128))
    finished(page, "#one")
    assert by(page) == ["you"] * 3 + ["model"]


def test_many_dots_are_a_drawing_that_is_full(page: Page) -> None:
    for i in range(26):
        page.mouse.click(*place_of(page, (10 + 9 * i, 20 + 8 * i)))
    assert len(by(page)) == 26
    page.click("#finish")
    page.wait_for_timeout(200)
    assert "24" in page.inner_text("#status")
    assert len(by(page)) == 26


# ------------------------------------------------------------------ everyone, everywhere


def test_it_is_drawn_on_with_the_keyboard_alone(page: Page) -> None:
    page.focus("#pad")
    page.keyboard.press("d")
    for key in ["ArrowRight"] * 6 + ["ArrowDown"] * 6:
        page.keyboard.press(key)
    page.keyboard.press("d")
    assert by(page) == ["you"]
    assert len(points(page)[0]) >= 2
    page.keyboard.press("Enter")
    page.wait_for_function("drawing.strokes.some((stroke) => stroke.by === 'model')")
    ready(page)


def test_everything_that_can_be_pressed_is_reached_by_tab_and_has_a_name(page: Page) -> None:
    names = page.evaluate("""() => [...document.querySelectorAll("button, input, summary, canvas, a")]
        .filter((each) => each.checkVisibility())
        .map((each) => [each, each.ariaLabel || each.innerText || each.labels?.[0]?.innerText || ""])
        .map(([each, name]) => [each.id, each.tabIndex, name])""")
    assert len(names) > 12
    assert [name for name in names if name[1] < 0 or not name[2].strip()] == []


def test_both_languages_say_everything_and_are_remembered(browser: Browser, page_url: str) -> None:
    page = opened(browser, page_url, locale="tr-TR")
    assert page.get_attribute("html", "lang") == "tr"
    turkish = page.inner_text("body")
    assert re.search("[çğışöü]", turkish)
    page.click("#language")
    english = page.inner_text("body")
    assert page.get_attribute("html", "lang") == "en"
    assert "Draw" in english
    page.reload()
    assert page.get_attribute("html", "lang") == "en"
    missing = page.evaluate("""async () => {
        const { en, tr } = (await import('./words.js')).TEXTS;
        const lacking = (one, other) => Object.keys(one).filter((key) => typeof one[key] !== typeof other[key]);
        return [...lacking(en, tr), ...lacking(tr, en)];
    }""")
    assert missing == []
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_it_fits_and_touch_draws(browser: Browser, page_url: str, scheme: str) -> None:
    page = opened(browser, page_url, viewport={"width": 360, "height": 740}, device_scale_factor=2, is_mobile=True,
                  has_touch=True, color_scheme=scheme)  # fmt: skip
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for name in ("finish", "one", "another", "undo", "clear"):
        box = page.locator(f"#{name}").bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44, name
        assert 0 <= box["x"]
        assert box["x"] + box["width"] <= 360
    canvas = page.locator("#pad").bounding_box()
    assert canvas is not None
    assert canvas["width"] > 300
    touch = page.context.new_cdp_session(page)

    def finger(kind: str, at: list[tuple[float, float]]) -> None:
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in at]})

    for stroke in HEAD:
        finger("touchStart", [place_of(page, stroke[0])])
        for point in stroke[1:]:
            finger("touchMove", [place_of(page, point)])
        finger("touchEnd", [])
    assert by(page) == ["you"] * 2
    assert len(points(page)[0]) >= 4
    picture = pixels(page)
    assert ink_near(picture, page, HEAD[0][2])
    brightness = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L")).mean()
    assert brightness < 90 if scheme == "dark" else brightness > 200
    finished(page, "#one")
    assert by(page).count("model") == 1
    assert page.faults == []  # type: ignore[attr-defined]
    page.context.close()


def test_under_its_own_policy_it_draws_and_asks_no_other_host(browser: Browser, page_url: str) -> None:
    context = browser.new_context(locale="en-US")
    context.set_default_timeout(PATIENCE)
    asked: list[str] = []
    faults: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    context.on("console", lambda message: message.type == "error" and faults.append(message.text))
    page = context.new_page()
    page.goto(page_url)
    pad = page.locator("#pad")
    box = pad.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 40, box["y"] + 90)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 60, steps=9)
    page.mouse.up()
    page.click("#one")
    expect(page.locator("#guesses li")).to_have_count(3, timeout=PATIENCE)
    expect(page.locator("#finish")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#undo")).to_have_attribute("aria-disabled", "false")
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((page_url, "blob:", "data:"))] == []
    assert faults == []
    context.close()


def test_once_opened_it_draws_on_without_its_server(browser: Browser, page_site: Path) -> None:
    context = browser.new_context(bypass_csp=True)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    with draw_with_me.open_server(page_site, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page.goto(f"http://{draw_with_me.HOST}:{server.server_port}/")
        ready(page)
        page.reload()  # the worker that keeps the files serves from the second time on at the latest
        ready(page)
        server.shutdown()
    page.reload()
    ready(page)
    draw(page, HEAD)
    finished(page, "#one")
    assert by(page) == ["you", "you", "model"]
    context.close()
