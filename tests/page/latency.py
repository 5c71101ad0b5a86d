"""Measure how long the page takes to its first stroke: `PYTHONPATH=. python tests/page/latency.py`, in Chromium.

Two strokes of a cat are given, the next is asked for with 20 seeds, as the model was tuned: from the press of the
button to the stroke, the networks loaded. Then 10 cats are begun with the mouse, anywhere, with three strokes each:
from the pen's lifting to the ghost, by stroke. Written as JSON to stdout, times in ms; "least" is what comes nearest to
a machine that does nothing else. The bytes are those that are fetched before the first stroke can be drawn.
"""

from __future__ import annotations

import json
import statistics

from chromium import HEAD, draw, launched, opened, served
from playwright.sync_api import Browser, Page

import draw_with_me
from page.export import SITE_FILE

BEGINNING = [*HEAD, [(160, 120), (166, 126), (172, 120)]]

PROGRAM = """async () => {
    const { Engine } = await import("./engine/engine.js");
    const engine = new Engine();
    const began = performance.now();
    await engine.load("cat", () => {});
    const loading = performance.now() - began;
    const strokes = [[[20, 60], [40, 5], [70, 50], [180, 50], [215, 5], [235, 60]], [[80, 120], [82, 124]]]
        .map((points) => ({ points, by: "you" }));
    await engine.prepare({ category: "cat", strokes });
    const first = [], next = [];
    for (let seed = 0; seed < 20; seed++) {
        let last = performance.now();
        let count = 0;
        await engine.draw({ category: "cat", strokes, seed, limit: 2 }, (event) => {
            if (event.type !== "stroke") return;
            (count++ ? next : first).push(performance.now() - last);
            last = performance.now();
        }).done;
    }
    return { loading, first, next };
}"""


def ghosts(browser: Browser, url: str) -> dict[str, list[float]]:
    """Return ms from the pen's lifting to the ghost, by the number of strokes."""
    page: Page = opened(browser, url)
    times: dict[str, list[float]] = {}
    for i in range(10):
        page.evaluate("drawing.clear()")
        scale = 0.3 + 0.07 * i
        for k, stroke in enumerate(BEGINNING):
            draw(page, [[(x * scale + 5 * i, y * scale + 4 * i) for x, y in stroke]])
            page.wait_for_function("drawing.ghost.stroke")
            times.setdefault(f"ghost after stroke {k + 1}", []).append(page.evaluate("drawing.ghost.latency"))
    page.context.close()
    return times


def main() -> None:
    """Print the median, the least and the longest of the times, in ms, and the bytes."""
    draw_with_me.prepare(draw_with_me.SITE)
    with served() as url, launched() as browser:
        page = browser.new_page()
        page.goto(url + "site.json")
        times = page.evaluate(PROGRAM)
        page.close()
        loading = times.pop("loading")
        times |= ghosts(browser, url)
    result = {
        name: {"median": round(statistics.median(found)), "least": round(min(found)), "longest": round(max(found)),
               "n": len(found)}
        for name, found in times.items()
    }  # fmt: skip
    site = json.loads((draw_with_me.SITE / SITE_FILE).read_text())
    model = site["networks"]["models"]["cat"]
    fetched = [file for network in (model["own"], model["guide"]) if network for file in network["files"].values()]
    fetched += [file for file in site["total_bytes"] if file.startswith("ort/")] + [site["networks"]["numbers"]]
    fetched_bytes = sum(site["total_bytes"][file] for file in fetched)
    print(json.dumps({"loading": round(loading), "fetched_mb": round(fetched_bytes / 1e6, 1)} | result, indent=1))


if __name__ == "__main__":
    main()
