"""Make the README's animation of the page: `PYTHONPATH=. python tests/page/picture.py`, in Chromium.

Writes results/page.gif: a cat's head is begun with the mouse, the model goes on, and four endings stand side by side.
"""

from __future__ import annotations

import io
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from chromium import launched, opened, place_of, served, setting
from PIL import Image
from playwright.sync_api import Page

import draw_with_me
from plumbing.files import write_atomically

OUT = Path(__file__).resolve().parent.parent.parent / "results" / "page.gif"
SIZE = {"width": 1180, "height": 760}
WIDTH = 590
HEAD = [(20, 112), (38, 12), (76, 60), (176, 58), (216, 10), (236, 112)]
SEED = 3
FRAME_MS = 120
LAST_MS = 2500


def frame(page: Page) -> Image.Image:
    """Return the page as it looks now."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    return picture.resize((WIDTH, round(WIDTH * SIZE["height"] / SIZE["width"])), Image.Resampling.LANCZOS)


def while_it_draws(page: Page) -> list[tuple[Image.Image, int]]:
    """Return frames of the model's turn."""
    frames = []
    while page.evaluate("drawing.state") == "drawing":
        began = time.monotonic()
        picture = frame(page)
        frames.append((picture, max(FRAME_MS, round(1000 * (time.monotonic() - began)))))
    return frames


def tour(page: Page) -> list[tuple[Image.Image, int]]:
    """Draw, let the model finish, ask for other endings; return pictures and how many ms each is seen."""
    setting(page, "seed", SEED)
    frames = [(frame(page), 800)]
    page.mouse.move(*place_of(page, HEAD[0]))
    page.mouse.down()
    for one, other in pairwise(HEAD):
        for share in (0.5, 1.0):
            point = np.array(one) + share * (np.array(other) - np.array(one))
            page.mouse.move(*place_of(page, (float(point[0]), float(point[1]))))
            frames.append((frame(page), FRAME_MS))
    page.mouse.up()
    frames.append((frame(page), 600))
    for button, wait in (("#finish", LAST_MS), ("#another", LAST_MS)):
        page.click(button)
        frames += while_it_draws(page)
        page.wait_for_timeout(600)  # the recogniser's last word
        frames.append((frame(page), wait))
    return frames


def main() -> None:
    """Write the animation and tell its size."""
    draw_with_me.prepare(draw_with_me.SITE)
    with served() as url, launched() as browser:
        frames = tour(opened(browser, url, viewport=SIZE))
    # one palette for all, so that what does not change takes no bytes
    both = Image.new("RGB", (WIDTH, 2 * frames[0][0].height))
    for number in (0, 1):
        both.paste(frames[-number][0], (0, number * frames[0][0].height))
    palette = both.quantize(128, method=Image.Quantize.MAXCOVERAGE)
    pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture, _ in frames]
    memory = io.BytesIO()
    pictures[0].save(memory, "GIF", save_all=True, append_images=pictures[1:], loop=0, optimize=True,
                     duration=[ms // 10 * 10 for _, ms in frames])  # fmt: skip
    write_atomically(OUT, memory.getvalue())
    print(f"wrote {OUT}, {len(frames)} frames, {len(memory.getvalue()) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
