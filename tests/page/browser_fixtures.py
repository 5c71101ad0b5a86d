"""A real browser and the page in it, for the tests of this folder.

A plugin, not a conftest.py: tests import from the conftest.py above by that name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import chromium
import pytest
from playwright.sync_api import Browser, Page

import draw_with_me


def missing(reason: str) -> None:
    """Skip with a reason, where BROWSER_TESTS=required fail with it: CI must not pass without a browser."""
    if os.environ.get("BROWSER_TESTS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium of this machine."""
    if chromium.path_of_browser() is None:
        missing(f"no browser: none of {', '.join(chromium.BROWSERS)} is installed")
    with chromium.launched() as browser:
        yield browser


@pytest.fixture(scope="session")
def page_url(browser: Browser) -> Iterator[str]:
    """The address of the page, put together where it is not current."""
    try:
        draw_with_me.prepare(draw_with_me.SITE)
    except ValueError as error:  # no npm, no network
        missing(f"the page could not be put together: {error}")
    with chromium.served() as url:
        yield url


@pytest.fixture(scope="module")
def shared(browser: Browser, page_url: str) -> Iterator[Page]:
    """The page, opened once for the tests of a file."""
    page = chromium.opened(browser, page_url)
    yield page
    page.context.close()


@pytest.fixture(scope="module")
def engine(browser: Browser, page_url: str) -> Iterator[Page]:
    """A page of the site's own address that holds nothing but the engine."""
    page = browser.new_page()
    page.goto(page_url + "site.json")
    page.evaluate("async () => { window.engine = new (await import('./engine/engine.js')).Engine(); }")
    yield page
    page.close()
