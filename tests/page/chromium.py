"""Chromium of this machine, and a hand that uses the page in it."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

import draw_with_me

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE = 120_000
"""Milliseconds in which a busy machine compiles 14 MB of WebAssembly and draws."""
HEAD = [[(20, 70), (40, 8), (75, 50), (180, 50), (215, 8), (235, 70)], [(80, 120), (84, 126), (90, 120)]]
Strokes = list[list[tuple[float, float]]]


def path_of_browser() -> str | None:
    """The browser that $CHROMIUM names, or the first of some that is installed."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """Give a headless browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path_of_browser(), args=list(OPTIONS))
        yield browser
        browser.close()


@contextmanager
def served() -> Iterator[str]:
    """Give the address of the page, served as a person's own machine serves it."""
    with draw_with_me.open_server(draw_with_me.SITE, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{draw_with_me.HOST}:{server.port}/"
        server.shutdown()


def opened(browser: Browser, url: str, before: str = "", **options: Any) -> Page:
    """The page in a context of its own, its model ready; whatever goes wrong in it is noted in `page.faults`.

    The script `before` runs before those of the page.
    Its Content-Security-Policy would forbid the programs of these tests; one test leaves it in force.
    """
    usual = {"viewport": {"width": 1280, "height": 800}, "locale": "en-US", "bypass_csp": True}
    context = browser.new_context(**(usual | options))
    context.set_default_timeout(PATIENCE)
    if before:
        context.add_init_script(before)
    page = context.new_page()
    page.faults = []  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.faults.append(str(error)))  # type: ignore[attr-defined]
    page.on("console", lambda m: m.type == "error" and page.faults.append(m.text))  # type: ignore[attr-defined]
    page.goto(url)
    ready(page)
    return page


def ready(page: Page) -> None:
    """Wait until the model is there and does not draw."""
    page.wait_for_function("window.drawing?.state === 'ready'", timeout=PATIENCE)


def setting(page: Page, name: str, value: object) -> None:
    """Give one of the page's settings a value."""
    program = "(input, value) => { input.value = value; for (const kind of ['input', 'change'])" \
              " input.dispatchEvent(new Event(kind, { bubbles: true })); }"  # fmt: skip
    page.locator(f"#{name}").evaluate(program, str(value))


def checked(page: Page, name: str, value: bool) -> None:
    """Check or uncheck one of the page's boxes."""
    program = "(box, value) => { box.checked = value; box.dispatchEvent(new Event('change', { bubbles: true })); }"
    page.locator(f"#{name}").evaluate(program, value)


def place_of(page: Page, point: tuple[float, float]) -> tuple[float, float]:
    """Where on the screen a point of the box is."""
    page.locator("#pad").scroll_into_view_if_needed()
    x, y = page.evaluate("([x, y]) => drawing.placeOf(x, y)", list(point))
    return x, y


def draw(page: Page, strokes: Strokes) -> None:
    """Draw with the mouse."""
    for stroke in strokes:
        page.mouse.move(*place_of(page, stroke[0]))
        page.mouse.down()
        for point in stroke[1:]:
            page.mouse.move(*place_of(page, point), steps=4)
        page.mouse.up()


def finished(page: Page, button: str = "#finish") -> None:
    """Press a button of the model's and wait until it has drawn."""
    page.click(button)
    ready(page)


def by(page: Page) -> list[str]:
    """Whose strokes are on the paper."""
    return page.evaluate("drawing.strokes.map((stroke) => stroke.by)")  # type: ignore[no-any-return]


def points(page: Page) -> list[Any]:
    """The points of the strokes on the paper."""
    return page.evaluate("drawing.strokes.map((stroke) => stroke.points)")  # type: ignore[no-any-return]
