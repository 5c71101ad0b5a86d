"""Measure how long the page takes to its first stroke: `python tests/page_latency.py`, in Chromium on this machine.

Two strokes of a cat are given, the next is asked for with 20 seeds, 20 steps each, guided: from the press of the button
to the stroke, the networks loaded. Written as JSON to stdout.
"""

from __future__ import annotations

import json
import statistics
import threading

from conftest import BROWSER_OPTIONS, browser_path
from playwright.sync_api import sync_playwright

import draw_with_me

PROGRAM = """async () => {
    const { Engine } = await import("./engine.js");
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


def main() -> None:
    """Print the median and the longest of the times, in ms."""
    draw_with_me.prepare(draw_with_me.SITE)
    with draw_with_me.open_server(draw_with_me.SITE, 0) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=browser_path(), args=list(BROWSER_OPTIONS))
        page = browser.new_page()
        page.goto(f"http://{draw_with_me.HOST}:{server.server_port}/site.json")
        times = page.evaluate(PROGRAM)
        browser.close()
        server.shutdown()
    result = {
        name: {"median_ms": round(statistics.median(times[name])), "longest_ms": round(max(times[name])),
               "n": len(times[name])}
        for name in ("first", "next")
    }  # fmt: skip
    print(json.dumps({"loading_ms": round(times["loading"])} | result))


if __name__ == "__main__":
    main()
