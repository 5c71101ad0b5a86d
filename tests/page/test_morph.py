"""Two drawings and those between them on the page: from the same noise as Python draws them, and used by hand."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from chromium import checked, points, ready, setting
from PIL import Image
from playwright.sync_api import Page, expect
from test_engine import randomness

from words.morph import EDGE, SIDE, _paired, base_model, between, square

SHARES = (0.0, 0.25, 0.5, 1.0)

pytest_plugins = ("browser_fixtures",)


@pytest.mark.parametrize(("first", "second"), [("cat", "bus"), ("flower", "umbrella")])
def test_between_two_drawings_it_draws_the_strokes_of_python(engine: Page, first: str, second: str) -> None:
    trained, indices = base_model(), (0, 1)
    expected = between(trained, first, second, SHARES, seed=3, indices=indices)
    numbers = [randomness(3, index, 0, trained.model.token_dim) for index in indices]
    program = """async ([names, numbers, shares]) => {
        const drawings = shares.map(() => []);
        const ends = names.map((category, i) => ({ category, randomness: numbers[i] }));
        await engine.morph(ends, shares, ({ ending, stroke }) => drawings[ending].push(stroke.points)).done;
        return drawings;
    }"""
    drawn = engine.evaluate(program, [[first, second], numbers, SHARES])
    assert [len(drawing) for drawing in drawn] == [len(drawing) for drawing in expected]
    assert min(map(len, drawn)) > 1
    for drawing, strokes in zip(drawn, expected, strict=True):
        np.testing.assert_allclose(np.array(drawing), np.array(strokes), atol=1e-2)


def test_a_drawing_on_the_way_moves_as_by_python(engine: Page) -> None:
    rng = np.random.default_rng(0)
    drawings = [[rng.normal(0, 40, (32, 2)) + 128 for _ in range(count)] for count in (3, 5, 2)]
    program = """async ([drawings, places]) => {
        const { onTheWay, square } = await import('./pictures/morph.js');
        return [drawings.map(square), places.map((place) => onTheWay(drawings.map(square), place))];
    }"""
    places = [0.25, 1.5, 1.75]
    squares, own = engine.evaluate(program, [[[s.tolist() for s in each] for each in drawings], places])
    keys = [[(stroke - EDGE) * 255 / (SIDE - 2 * EDGE) for stroke in square(drawing)] for drawing in drawings]
    for drawing, key in zip(squares, keys, strict=True):
        np.testing.assert_allclose(np.array(drawing), np.array(key), atol=1e-6)
    for place, strokes in zip(places, own, strict=True):
        share = (place % 1) ** 2 * (3 - 2 * (place % 1))
        pairs = _paired(*keys[int(place) : int(place) + 2])
        expected = [(1 - share) * a + share * b for a, b in pairs]
        np.testing.assert_allclose(np.array(strokes), np.array(expected), atol=1e-6)


# ------------------------------------------------------------------ by hand


@pytest.fixture
def page(shared: Page) -> Iterator[Page]:
    """A page of desktop size whose card of morphs is open."""
    shared.evaluate("drawing.clear()")
    checked(shared, "ghosts", False)
    ready(shared)
    shared.evaluate("document.getElementById('morph').open = true")
    yield shared
    shared.keyboard.press("Escape")
    shared.evaluate("drawing.clear()")
    assert shared.faults == []  # type: ignore[attr-defined]


def between_now(page: Page, place: float) -> list[Any]:
    setting(page, "place", place)
    return page.evaluate("drawing.between")  # type: ignore[no-any-return]


def test_two_things_are_chosen_the_slider_leads_from_one_to_the_other_and_what_it_shows_is_taken(page: Page) -> None:
    for field, word, name in (("#from", "flow", "flower"), ("#to", "şemsiye", "umbrella")):
        page.focus(field)
        page.keyboard.type(word)
        page.keyboard.press("Enter")
        assert page.input_value(field) == name
    page.click("#morph-draw")
    page.wait_for_function("drawing.between.length > 0")  # they appear while they are drawn
    assert page.evaluate("document.getElementById('morph-draw').textContent") == "Stop"
    expect(page.locator("#morph-status")).to_have_text("Done. Move the slider.", timeout=240_000)
    assert page.inner_text("#way .between").split() == ["flower", "Mix", "umbrella"]
    first, middle, second = (between_now(page, place) for place in (0, 0.5, 1))
    assert first != middle != second
    assert all(len(stroke) == 32 for stroke in first + middle + second)
    steps = [between_now(page, place) for place in np.linspace(0, 1, 193)]  # no leaps: neighbours are near
    pairs = [(np.array(a), np.array(b)) for a, b in pairwise(steps) if len(a) == len(b)]
    leaps = [np.abs(a - b).max() for a, b in pairs]
    assert max(leaps) < 60
    page.click("#mix")
    assert page.evaluate("drawing.between") == middle
    page.focus("#place")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("drawing.between") != middle
    assert "of the way from flower to umbrella" in str(page.get_attribute("#place", "aria-valuetext"))
    page.click("#mix")
    with page.expect_download() as download:
        page.click("#morph-gif")
    assert download.value.suggested_filename == "flower-umbrella.gif"
    with Image.open(io.BytesIO(download.value.path().read_bytes())) as film:
        assert film.n_frames == 97  # type: ignore[attr-defined]
    page.click("#morph-take")
    assert points(page) == middle
    page.keyboard.press("Control+z")
    assert points(page) == []


def test_a_morph_is_stopped_by_its_button_and_by_the_pen_that_draws(page: Page) -> None:
    for stop in (lambda: page.click("#morph-draw"), lambda: page.click("#finish")):
        page.click("#morph-draw")
        page.wait_for_function("document.getElementById('morph-draw').textContent === 'Stop'")
        stop()
        expect(page.locator("#morph-status")).to_have_text("Stopped.")
    ready(page)
    page.wait_for_function("drawing.strokes.length > 1")  # the model was free for it
