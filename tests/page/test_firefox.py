"""The page in Firefox: it loads, a person and the model draw, undo takes back, and nothing goes wrong."""

from __future__ import annotations

import firefox
from browser_fixtures import missing
from chromium import HEAD

pytest_plugins = ("browser_fixtures",)


def test_in_firefox_too_person_and_model_draw(page_url: str) -> None:
    if firefox.path_of_firefox() is None:
        missing(f"no Firefox: none of {', '.join(firefox.BROWSERS)} is installed")
    with firefox.launched() as page:
        page.goto(page_url)
        page.wait_for("window.drawing?.state === 'ready'")
        for stroke in HEAD:
            page.drag([tuple(page.evaluate(f"drawing.placeOf({x}, {y})")) for x, y in stroke])
        by = "drawing.strokes.map((stroke) => stroke.by)"
        assert page.evaluate(by) == ["you", "you"]
        assert page.evaluate("drawing.strokes[0].points.length") >= len(HEAD[0]) - 1
        page.wait_for("drawing.ghost.stroke")
        page.click("#finish")
        page.wait_for("drawing.state === 'ready' && drawing.strokes.some((stroke) => stroke.by === 'model')")
        count = page.evaluate("drawing.strokes.length")
        page.click("#undo")
        assert page.evaluate("drawing.strokes.length") == count - 1
        page.wait_for("drawing.guesses")
        assert page.faults == []
