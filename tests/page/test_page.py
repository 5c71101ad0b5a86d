"""The page in a real browser, as people use it: drawing, the model's turn, files, a phone, no network, absurdity."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from chromium import HEAD, PATIENCE, by, checked, draw, finished, opened, place_of, points, ready, served, setting
from PIL import Image
from playwright.sync_api import Browser, Page, expect

import draw_with_me
from dataset_utils import read_ndjson, write_ndjson
from drawings.embedded import embedded_drawings

pytest_plugins = ("browser_fixtures",)


@pytest.fixture
def page(shared: Page) -> Iterator[Page]:
    """A clean page of desktop size with the cat's model ready."""
    shared.evaluate("drawing.clear()")
    for name, value in (("temperature", 1), ("steps", 20), ("seed", 0)):
        setting(shared, name, value)
    checked(shared, "ghosts", False)
    shared.locator("#category-cat").evaluate("input => input.click()")
    ready(shared)
    yield shared
    shared.evaluate("drawing.clear()")
    assert shared.faults == []  # type: ignore[attr-defined]


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
    finished(page)
    assert by(page)[:2] == ["you"] * 2
    assert 1 <= by(page).count("model") <= 22
    after = pixels(page)
    assert all(ink_near(picture, page, point) for picture in (before, after) for point in HEAD[0])
    assert all(ink_near(after, page, tuple(stroke[len(stroke) // 2])) for stroke in points(page)[2:])
    assert (after < 100).sum() > 1.1 * (before < 100).sum()
    page.wait_for_function("drawing.guesses")
    assert len(page.evaluate("drawing.guesses.top")) == page.locator("#guesses li").count() == 3


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


def test_of_endings_side_by_side_one_is_taken(page: Page) -> None:
    draw(page, HEAD)
    finished(page, "#another")
    endings = page.locator("button.ending")
    expect(endings).to_have_count(4)
    sizes = page.evaluate("drawing.endings")
    assert len({bytes(endings.nth(i).screenshot()) for i in range(4)}) > 1
    endings.nth(2).click()
    expect(endings).to_have_count(0)
    assert by(page)[:2] == ["you"] * 2
    assert by(page).count("model") == sizes[2]
    assert min(sizes) >= 1  # none is what was there already


def test_the_model_can_be_stopped_and_undo_stops_it(page: Page) -> None:
    draw(page, HEAD)
    for button in ("#stop", "#undo"):
        page.click("#finish")
        page.wait_for_selector("#stop:visible")
        page.click(button)
        expect(page.locator("#finish")).to_be_visible()
    count = len(by(page))
    page.wait_for_timeout(1000)
    assert len(by(page)) == count


# ------------------------------------------------------------------ files


def test_what_is_saved_is_the_drawing_and_loads_in_this_project(page: Page, tmp_path: Path) -> None:
    draw(page, HEAD)
    finished(page)
    strokes = points(page)
    packed, _ = read_ndjson(saved(page, "ndjson", tmp_path))
    write_ndjson(tmp_path / "ours.ndjson", packed, word="cat")
    written, ours = (json.loads((tmp_path / f"{name}.ndjson").read_text()) for name in ("cat", "ours"))
    assert list(written) == list(ours)
    assert [written[name] == ours[name] for name in ours] == [True] * 4 + [False, True]  # each has a key_id of its own
    assert int(written["key_id"]) > 0
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
    film: Any = Image.open(saved(page, "gif", tmp_path))
    assert film.n_frames > len(strokes)
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
    own = {"countrycode": "TR", "timestamp": "2017-03-09 00:28:55.63750 UTC", "recognized": True, "key_id": "4811"}
    record = json.loads((tmp_path / "given.ndjson").read_text()) | own
    (tmp_path / "given.ndjson").write_text(json.dumps(record))
    page.set_input_files("#open", tmp_path / "given.ndjson")
    page.wait_for_function("drawing.strokes.length > 0")
    assert len(by(page)) == len(drawing)
    written = json.loads(saved(page, "ndjson", tmp_path).read_text())
    assert written == record
    assert [np.array(stroke).T.tolist() for stroke in written["drawing"]] == [stroke.tolist() for stroke in drawing]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"drawing": 5}', b'{"drawing": [[[1, 2], [3]]]}', b'{"drawing": [[["a"], [1]]]}',
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


@pytest.mark.parametrize("content", [
    '{"drawing": [[[0.1, 0.5], [0.2, 0.9]], [[0.3, 0.3], [0.2, 0.4]]]}', '{"drawing": [[[100, 500], [200, 900]]]}',
    '{"drawing": [[[-40, -10], [-7, 3]]]}', '{"drawing": [[[200, 230], [200, 240]]]}',
    '{"drawing": [[[5, 9], [5, 500], [0, 17]]]}'])  # fmt: skip
def test_other_coordinates_are_fitted_into_the_square_and_that_is_said(
    page: Page, tmp_path: Path, content: str
) -> None:
    (tmp_path / "own.ndjson").write_text(content)
    page.set_input_files("#open", tmp_path / "own.ndjson")
    page.wait_for_function("document.getElementById('status').innerText.includes('fitted into the square')")
    box = np.concatenate([np.array(stroke) for stroke in points(page)])
    assert box.min(axis=0).tolist() == [0, 0]
    assert box.max() == 255
    written = json.loads(saved(page, "ndjson", tmp_path).read_text())["drawing"]
    assert max(max(axis) for stroke in written for axis in stroke) == 255


def test_a_reload_loses_nothing_and_clearing_begins_anew(page: Page) -> None:
    draw(page, HEAD)
    finished(page, "#one")
    before = page.evaluate("drawing.strokes.map(({ points, by, token }) => [points, by, token && [...token]])")
    page.reload()
    ready(page)
    expect(page.locator("#status")).to_contain_text("clear the paper to begin anew")
    assert page.evaluate("drawing.strokes.map(({ points, by, token }) => [points, by, token && [...token]])") == before
    finished(page, "#one")
    page.click("#clear")
    page.reload()
    ready(page)
    assert by(page) == []


# ------------------------------------------------------------------ everyone, everywhere


def test_it_is_drawn_on_with_the_keyboard_alone(page: Page) -> None:
    page.focus("#pad")
    for key in ["d"] + ["ArrowRight"] * 6 + ["ArrowDown"] * 6 + ["d"]:
        page.keyboard.press(key)
    assert by(page) == ["you"]
    assert len(points(page)[0]) >= 2
    page.keyboard.press("Enter")
    page.wait_for_function("drawing.strokes.some((stroke) => stroke.by === 'model')")
    ready(page)


def test_every_category_is_found_by_either_name_with_the_keyboard_alone(page: Page) -> None:
    page.focus("#find")
    page.keyboard.type("KOPEK")  # köpek
    expect(page.locator("#found [aria-selected=true]")).to_contain_text("dog")
    page.keyboard.press("Enter")
    ready(page)
    assert page.evaluate("drawing.category") == "dog"
    assert page.input_value("#find") == "dog"
    assert page.locator("#categories :checked").count() == 0
    draw(page, HEAD)
    finished(page, "#one")
    assert by(page) == ["you", "you", "model"]
    page.focus("#find")
    page.keyboard.press("ArrowDown")  # opens the list at what is chosen
    expect(page.locator("#found [role=option]")).to_have_count(345)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    assert (page.locator("#found").is_hidden(), page.evaluate("drawing.category")) == (True, "dog")
    page.keyboard.type("nothing of this name")
    page.keyboard.press("Enter")
    assert page.evaluate("drawing.category") == "dog"
    page.keyboard.press("Tab")
    assert page.input_value("#find") == "dog"


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
    assert re.search("[çğışöü]", page.inner_text("body"))
    page.click("#language")
    assert page.get_attribute("html", "lang") == "en"
    assert "Draw" in page.inner_text("body")
    page.reload()
    assert page.get_attribute("html", "lang") == "en"
    missing = page.evaluate("""async () => {
        const { en, tr } = (await import('./ui/words.js')).TEXTS;
        const lacking = (one, other) => Object.keys(one).filter((key) => typeof one[key] !== typeof other[key]);
        return [...lacking(en, tr), ...lacking(tr, en)];
    }""")
    assert missing == []
    page.context.close()


def test_on_a_phone_it_fits_and_touch_draws_by_day_and_by_night(browser: Browser, page_url: str) -> None:
    page = opened(browser, page_url, viewport={"width": 360, "height": 740}, device_scale_factor=2, is_mobile=True,
                  has_touch=True, color_scheme="light")  # fmt: skip
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for name in ("finish", "one", "another", "undo", "clear"):
        box = page.locator(f"#{name}").bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44, name
        assert 0 <= box["x"] <= 360 - box["width"]
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
    assert ink_near(pixels(page), page, HEAD[0][2])
    finished(page, "#one")
    assert by(page).count("model") == 1
    brightness = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.wait_for_timeout(500)  # colours fade
        brightness.append(np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L")).mean())
    assert brightness[0] > 200
    assert brightness[1] < 90
    assert page.faults == []  # type: ignore[attr-defined]
    page.context.close()


def test_a_pen_ends_a_touch_and_neither_a_palm_nor_a_cancelled_stroke_draws(browser: Browser, page_url: str) -> None:
    page = opened(browser, page_url, has_touch=True)
    raw = page.context.new_cdp_session(page)

    def touch(kind: str, at: tuple[float, float] | None = None, radius: float = 8) -> None:
        where = [dict(zip("xy", place_of(page, at), strict=True), radiusX=radius, radiusY=radius)] if at else []
        raw.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": where})

    def pen(kind: str, at: tuple[float, float]) -> None:
        x, y = place_of(page, at)
        raw.send("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1,
                                              "clickCount": 1, "pointerType": "pen"})  # fmt: skip

    touch("touchStart", (200, 200))
    touch("touchMove", (180, 200))
    touch("touchCancel")
    touch("touchStart", (220, 220), radius=50)
    touch("touchMove", (150, 220), radius=50)
    touch("touchEnd")
    assert by(page) == []
    assert page.locator("#hint").is_visible()
    touch("touchStart", (230, 230))
    for kind, at in (("mousePressed", (20, 20)), ("mouseMoved", (80, 90)), ("mouseReleased", (80, 90))):
        pen(kind, at)  # type: ignore[arg-type]
    touch("touchMove", (210, 230))
    touch("touchEnd")
    # the hand again, at once: on a busy machine a pen that was there is long gone by the time of another call
    page.locator("#pad").evaluate("""(pad, [clientX, clientY]) => {
        for (const [kind, pointerType] of [["pointermove", "pen"], ["pointerdown", "touch"], ["pointerup", "touch"]]) {
            pad.dispatchEvent(new PointerEvent(kind, { pointerType, pointerId: 7, button: 0, clientX, clientY }));
        }
    }""", list(place_of(page, (200, 240))))
    assert by(page) == ["you"]
    assert np.abs(np.array(points(page)[0])[[0, -1]] - [[20, 20], [80, 90]]).max() < 2
    assert page.faults == []  # type: ignore[attr-defined]
    page.context.close()


def test_a_pen_that_measures_pressure_draws_wider_and_thinner_and_nothing_else_does(page: Page, tmp_path: Path) -> None:
    program = """([kind, pressures, y]) => {
        const pad = document.getElementById("pad");
        pad.setPointerCapture = () => {};
        for (const [i, pressure] of [...pressures, 0].entries()) {
            const [clientX, clientY] = drawing.placeOf(20 + 5 * i, y);
            const type = i === 0 ? "pointerdown" : i === pressures.length ? "pointerup" : "pointermove";
            const more = { pointerType: kind, pointerId: 9, button: 0, clientX, clientY, pressure };
            pad.dispatchEvent(new PointerEvent(type, more));
        }
    }"""
    rows = (("mouse", [0.5] * 40, 30.0), ("touch", [1.0, 0.2] * 20, 60.0), ("pen", [0.5] * 40, 90.0),
            ("pen", [0.05] * 20 + [1.0] * 20, 120.0))  # fmt: skip
    for row in rows:
        page.evaluate(program, list(row))
    assert by(page) == ["you"] * 4
    assert page.evaluate("drawing.strokes.map(({ pressures }) => pressures?.length ?? 0)") == [0, 0, 0, 40]
    picture = 255 - pixels(page)
    scale = picture.shape[0] / 273

    def width(x: float, y: float) -> float:
        column = round((x + 9) * scale)
        strip = picture[round((y - 9 + 9) * scale) : round((y + 18) * scale), column - 2 : column + 3]
        return float(strip.sum() / 255 / 5 / scale)

    plain = [width(x, y) for _, _, y in rows[:3] for x in (60, 180)]
    assert np.ptp(plain) < 0.1
    assert width(60, 120) < 0.8 * plain[0]
    assert width(205, 120) > 1.3 * plain[0]
    written = json.loads(saved(page, "excalidraw", tmp_path).read_text())["elements"]
    assert [element["simulatePressure"] for element in written] == [True] * 3 + [False]
    assert len(written[3]["pressures"]) == len(written[3]["points"]) == 40


def test_where_it_cannot_start_a_sentence_says_what_to_do(browser: Browser, page_url: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto((draw_with_me.SITE / "index.html").as_uri())
    expect(page.locator("#unstarted")).to_be_visible(timeout=10_000)
    assert "python draw_with_me.py" in page.inner_text("#unstarted")
    page.goto(page_url)
    expect(page.locator("#unstarted")).to_have_count(0)
    context.close()


def test_a_browser_without_simd_is_told_so_and_draws_alone(browser: Browser, page_url: str) -> None:
    context = browser.new_context(locale="en-US", bypass_csp=True)
    faults: list[str] = []
    context.add_init_script("WebAssembly.validate = () => false")
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(page_url)
    expect(page.locator("#status")).to_contain_text("lacks WebAssembly SIMD")
    draw(page, HEAD)
    assert by(page) == ["you", "you"]
    assert page.get_attribute("#finish", "aria-disabled") == "true"
    assert page.get_attribute("#save-svg", "aria-disabled") == "false"
    assert faults == []
    context.close()


def test_where_nothing_may_be_kept_it_draws_all_the_same(browser: Browser, page_url: str) -> None:
    forbidden = """for (const name of ["localStorage", "sessionStorage", "caches", "indexedDB"])
        Object.defineProperty(window, name, { get() { throw new DOMException("no", "SecurityError"); } });
        navigator.serviceWorker.register = async () => { throw new DOMException("no", "SecurityError"); };"""
    page = opened(browser, page_url, forbidden)
    draw(page, HEAD)
    finished(page, "#one")
    page.click("#theme")
    page.click("#undo")
    assert by(page) == ["you", "you"]
    assert page.faults == []  # type: ignore[attr-defined]
    page.context.close()


def test_while_a_slow_network_brings_the_model_bytes_and_percent_are_shown(
    browser: Browser, page_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(handler: draw_with_me.PageHandler, source: Any, target: Any) -> None:
        while block := source.read(1 << 18):
            target.write(block)
            time.sleep(0.2 if handler.path.startswith(("/models/", "/ort/")) else 0)

    monkeypatch.setattr(draw_with_me.PageHandler, "copyfile", slowly)
    note = """addEventListener("DOMContentLoaded", () => {
        window.said = [];
        const [line, bar] = ["status", "progress"].map((id) => document.getElementById(id));
        const noted = new MutationObserver(() => said.push([line.textContent, bar.hidden ? null : bar.value]));
        noted.observe(line, { childList: true });
        noted.observe(bar, { attributes: true });
    });"""
    with served() as url:
        page = opened(browser, url, note)
        said = page.evaluate("said")
        page.context.close()
    shares = [share for _, share in said if share is not None]
    assert len(set(shares)) > 10
    assert shares == sorted(shares)
    told = [re.search(r"([\d.]+) of ([\d.]+) MB \((\d+)%\)", text) for text, _ in said]
    percents = {int(found[3]) for found in told if found}
    assert len(percents) >= 2
    assert all(abs(int(f[3]) - 100 * float(f[1]) / float(f[2])) < 2 for f in told if f)


def test_under_its_own_policy_it_draws_and_asks_no_other_host(browser: Browser, page_url: str) -> None:
    context = browser.new_context(locale="en-US")
    context.set_default_timeout(PATIENCE)
    asked: list[str] = []
    faults: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    context.on("console", lambda message: message.type == "error" and faults.append(message.text))
    page = context.new_page()
    page.goto(page_url)
    box = page.locator("#pad").bounding_box()
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


def test_once_opened_it_draws_on_without_its_server(browser: Browser, page_url: str) -> None:
    with served() as url:
        page = opened(browser, url)
        page.reload()  # the worker that keeps the files serves from the second time on at the latest
        ready(page)
    page.reload()
    ready(page)
    draw(page, HEAD)
    finished(page, "#one")
    assert by(page) == ["you", "you", "model"]
    page.context.close()
