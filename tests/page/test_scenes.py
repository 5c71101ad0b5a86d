"""Words on the page: a prompt is understood as by Python, things stand where Python puts them, and a scene is drawn."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import checked, opened, points, ready
from playwright.sync_api import Browser, Page, expect

from words.layout import arranged, hidden_removed
from words.prompts import read_prompt

WORDS = Path(__file__).resolve().parent.parent / "words"
PROMPTS = (Path(__file__).resolve().parent / "prompts.txt").read_text(encoding="utf-8").splitlines()

pytest_plugins = ("browser_fixtures",)


@pytest.fixture
def page(shared: Page) -> Iterator[Page]:
    """A clean page of desktop size."""
    shared.keyboard.press("Escape")
    shared.evaluate("drawing.clear()")
    checked(shared, "ghosts", False)
    ready(shared)
    yield shared
    shared.keyboard.press("Escape")
    shared.evaluate("drawing.clear()")
    assert shared.faults == []  # type: ignore[attr-defined]


def rows(name: str) -> list[dict[str, str]]:
    with (WORDS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


READ = """async (prompts) => {
    const { readPrompt, PromptFault } = await import('./words/prompts.js');
    const { say } = await import('./ui/words.js');
    const text = ([key, values]) => say(key, values).replace(/[“”]/g, "'");
    return prompts.map((prompt) => {
        try {
            const { language, things, relations, told } = readPrompt(prompt);
            return { language, things, relations, told: told.map(text) };
        } catch (error) {
            if (!(error instanceof PromptFault)) throw error;
            return { fault: text([error.key, error.values]) };
        }
    });
}"""


def understood(prompt: str) -> dict[str, Any] | str:
    """What Python understands, in the form of the page, or why it can draw nothing of it."""
    try:
        found = read_prompt(prompt)
    except ValueError as error:
        return str(error)
    relations = [{"subjects": list(one.subjects), "kind": one.kind, "landmarks": list(one.landmarks)}
                 for one in found.relations]  # fmt: skip
    things = [{"category": one.category, "size": one.size} for one in found.things]
    return {"language": found.language, "things": things, "relations": relations, "told": found.told}


def test_prompts_are_understood_as_by_python_and_the_same_is_told(page: Page) -> None:
    traps = rows("traps.tsv")
    words = [row[kind] for row in rows("words.tsv") for kind in ("bare", "inflected", "synonym")]
    prompts = [*PROMPTS, *(trap["prompt"] for trap in traps), *words[::2]]
    found = page.evaluate(READ, prompts)
    for prompt, own in zip(prompts, found, strict=True):
        expected = understood(prompt)
        assert ("fault" in own) == isinstance(expected, str), (prompt, own, expected)
        assert "fault" in own or own == expected, prompt
    lines = {prompt: " ".join([own.get("fault", ""), *own.get("told", [])])
             for prompt, own in zip(prompts, found, strict=True)}  # fmt: skip
    assert [trap["prompt"] for trap in traps if trap["said"] not in lines[trap["prompt"]]] == []


def blob(rng: np.random.Generator) -> list[np.ndarray]:
    """A drawing of some strokes in the box of 255."""
    return [np.cumsum(rng.normal(0, 12, (int(rng.integers(2, 30)), 2)), axis=0) + 128 for _ in range(3)]


@pytest.mark.parametrize("prompt", [prompt for prompt in PROMPTS if isinstance(understood(prompt), dict)])
def test_things_stand_where_python_puts_them(page: Page, prompt: str) -> None:
    found, rng = read_prompt(prompt), np.random.default_rng(0)
    categories, sizes = [one.category for one in found.things], [one.size for one in found.things]
    drawings = [blob(rng) for _ in categories]
    expected = [(box.left, box.top, box.width, box.height)
                for box in arranged(categories, sizes, drawings, found.relations)]  # fmt: skip
    program = """async ([prompt, drawings]) => {
        const { readPrompt } = await import('./words/prompts.js');
        const { arranged } = await import('./words/layout.js');
        const { things, relations } = readPrompt(prompt);
        const picture = { width: 960, height: 640, margin: 40 };
        return arranged(things, drawings, relations, picture).map((box) => [box.left, box.top, box.width, box.height]);
    }"""
    own = page.evaluate(program, [prompt, [[stroke.tolist() for stroke in drawing] for drawing in drawings]])
    np.testing.assert_allclose(own, expected, atol=1e-6)


def test_what_is_behind_is_hidden_as_by_python(page: Page) -> None:
    rng = np.random.default_rng(1)
    for _ in range(10):
        back, front = blob(rng), blob(rng)
        program = """async ([back, front]) => {
            const { visibleParts } = await import('./words/layout.js');
            return back.flatMap((stroke) => visibleParts(stroke, front));
        }"""
        own = page.evaluate(program, [[stroke.tolist() for stroke in each] for each in (back, front)])
        expected = hidden_removed(back, front)
        assert [len(stroke) for stroke in own] == [len(stroke) for stroke in expected]
        for stroke, other in zip(own, expected, strict=True):
            np.testing.assert_allclose(stroke, other, atol=1e-9)


def wanted(page: Page, text: str) -> None:
    """Type words into the field of what to draw."""
    page.focus("#find")
    page.keyboard.type(text)


def scene(page: Page, text: str) -> list[np.ndarray]:
    """Draw a scene and return the points of each thing's strokes, by what they were drawn in."""
    wanted(page, text)
    page.wait_for_selector("#found .scene:not([aria-disabled])")
    page.keyboard.press("Enter")
    page.wait_for_function("document.getElementById('status').innerText.includes('finished')")
    squares = page.evaluate("drawing.strokes.map(({ square }) => `${square.left} ${square.top}`)")
    strokes = [np.array(stroke) for stroke in points(page)]
    groups = [[stroke for stroke, own in zip(strokes, squares, strict=True) if own == each]
              for each in dict.fromkeys(squares)]  # fmt: skip
    return [np.concatenate(group) for group in groups]


def test_a_line_of_words_becomes_a_scene_with_its_relations(page: Page) -> None:
    cat, table = scene(page, "a red cat on a table")
    assert cat[:, 1].max() < table[:, 1].mean()  # it stands on it
    assert table[:, 0].min() < np.median(cat[:, 0]) < table[:, 0].max()
    for thing in (cat, table):
        assert thing.min() > -3
        assert thing.max() < 258
    expect(page.locator("#status")).to_contain_text("“red” cannot be drawn and is left out")
    page.evaluate("drawing.clear()")
    house, tree = scene(page, "слева от дерева дом")
    if house[:, 0].mean() > tree[:, 0].mean():
        house, tree = tree, house
    assert house[:, 0].max() < tree[:, 0].min()
    assert abs(house[:, 1].max() - tree[:, 1].max()) < 3  # both on the ground


def test_the_field_says_how_it_understands_words_and_what_it_cannot_draw(page: Page) -> None:
    wanted(page, "a unicorn on two big buses")
    page.wait_for_selector("#found .scene")
    assert page.locator("#found .scene").inner_text().split("\n") == [
        "Draw a scene: 2 × bus (large)", "“unicorn” cannot be drawn and is left out"]  # fmt: skip
    page.keyboard.press("Escape")
    wanted(page, "кошку")  # one thing is a category, in any language and form
    page.wait_for_selector("#found [data-category=cat]")
    page.keyboard.press("Escape")
    wanted(page, "rabit")
    expect(page.locator("#found")).to_contain_text("did you mean “rabbit”?")
    page.keyboard.press("Enter")  # nothing can be drawn of it
    assert page.evaluate("drawing.strokes.length") == 0
    page.keyboard.press("Escape")


def test_in_turkish_it_says_the_same(browser: Browser, page_url: str) -> None:
    page = opened(browser, page_url, locale="tr-TR")
    wanted(page, "masanın üstünde kırmızı bir kedi")
    page.wait_for_selector("#found .scene")
    assert page.locator("#found .scene").inner_text().split("\n") == [
        "Bir sahne çiz: 1 × masa, 1 × kedi", "masa üstünde: kedi", "“kırmızı” çizilemiyor, atlandı"]  # fmt: skip
    page.context.close()


def test_a_scene_that_is_stopped_goes_on_no_more(page: Page) -> None:
    wanted(page, "two cats and a bus")
    page.wait_for_selector("#found .scene")
    page.keyboard.press("Enter")
    page.wait_for_function("drawing.state === 'drawing'")
    page.keyboard.press("Escape")
    page.wait_for_timeout(1500)
    assert page.evaluate("drawing.state") == "ready"
    assert page.evaluate("drawing.strokes.length") == 0
