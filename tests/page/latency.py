"""Measure how long the page takes to its first stroke: `PYTHONPATH=. python tests/page/latency.py`, in Chromium.

Two strokes of a cat are given, the next is asked for with 20 seeds, 20 steps each, guided: from the press of the button
to the stroke, the networks loaded. Written as JSON to stdout.
"""

from __future__ import annotations

import json
import statistics

from chromium import launched, served

import draw_with_me

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


def main() -> None:
    """Print the median and the longest of the times, in ms."""
    draw_with_me.prepare(draw_with_me.SITE)
    with served() as url, launched() as browser:
        page = browser.new_page()
        page.goto(url + "site.json")
        times = page.evaluate(PROGRAM)
    result = {
        name: {"median_ms": round(statistics.median(times[name])), "longest_ms": round(max(times[name])),
               "n": len(times[name])}
        for name in ("first", "next")
    }  # fmt: skip
    print(json.dumps({"loading_ms": round(times["loading"])} | result))


if __name__ == "__main__":
    main()
