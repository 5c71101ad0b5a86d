"""How a scene is made, as one picture: words, categories, noise, strokes, scene, beside latent diffusion on pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from config import TURKISH_NAMES, SampleConfig, shipped_checkpoint
from diffusion_model import TrainedModel
from drawings.look import ACCENT, CAPTION, HISTORY, INK, RULE, save_figure
from sample_diffusion import emerging_strokes, load_model
from words.layout import HEIGHT, WIDTH
from words.names import GRAMMAR
from words.prompts import Understood
from words.scene import TRIES, Scene, Thing, tries

SHOWN_STATES = (0.0, 0.25, 0.5, 1.0)
"""How far the denoising of the strokes that are shown is."""
MOST_SHOWN = 4  # things
LATENT_STEPS = (
    ("words", "a text network turns\nthem into numbers"),
    ("noise in the latent", "64 x 64 x 4 numbers\nin place of 512 x 512 x 3"),
    ("denoising", "a U-Net or transformer,\nall at once, 20-50 steps"),
    ("decoder", "the numbers become\n512 x 512 pixels"),
    ("picture", "no strokes, no order:\nit cannot be filmed"),
)
OURS = ("words", "categories and places", "noise of strokes", "strokes, each after those before it", "scene")


def stages_picture(path: Path, understood: Understood, scene: Scene) -> None:
    """Write the stages of a scene's making as a PNG."""
    things = scene.things[:MOST_SHOWN]
    figure = Figure(figsize=(15, 3.6 + 1.5 * len(things)), dpi=80)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 1, height_ratios=(2.2 + 1.5 * len(things), 1.4), hspace=0.12,
                               left=0.01, right=0.99, top=0.93, bottom=0.01)  # fmt: skip
    upper = grid[0].subgridspec(1, 5, width_ratios=(1.3, 1.2, 1.0, 3.0, 2.4), wspace=0.06)
    _words(figure.add_subplot(upper[0]), understood)
    _things(figure.add_subplot(upper[1]), understood, scene)
    noise = upper[2].subgridspec(len(things), 1)
    strokes = upper[3].subgridspec(len(things), len(SHOWN_STATES) - 1)
    models = {path: load_model(path, device="cpu") for path in {shipped_checkpoint(thing.category) for thing in things}}
    for row, thing in enumerate(things):
        states = _states(models[shipped_checkpoint(thing.category)], thing, scene.seed)
        steps = len(states[0]) - 1
        for column, share in enumerate(SHOWN_STATES):
            axes = figure.add_subplot(noise[row, 0] if column == 0 else strokes[row, column - 1])
            number = round(share * steps)
            _strokes(axes, [own[number] for own in states], f"step {number} of {steps}" if number else thing.category)
            if row == 0 and column < 2:
                _title(axes, OURS[2 + column], y=1.12)
    axes = figure.add_subplot(upper[4])
    _scene(axes, scene)
    _latent(figure.add_subplot(grid[1]))
    with matplotlib.rc_context({"font.family": "DejaVu Sans"}):
        save_figure(path, figure, metadata={"Software": None})


def _states(trained: TrainedModel, thing: Thing, seed: int) -> list[list[NDArray[Any]]]:
    """Return each stroke of a thing as noise and after each step: of the drawings made of it, the one that it shows."""
    made = tries(trained, thing.category, thing.number, seed)

    def apart(k: int) -> tuple[int, float]:
        both = zip(made[k], thing.strokes, strict=False)
        return abs(len(made[k]) - len(thing.strokes)), sum(float(np.abs(own - there).mean()) for own, there in both)

    best = min((k for k in range(TRIES) if made[k]), key=apart)
    return emerging_strokes(trained, thing.category, SampleConfig(n=1, seed=seed), first=thing.number * TRIES + best)


def _bare(axes: Any) -> None:
    axes.set_axis_off()


def _title(axes: Any, text: str, y: float = 1.01) -> None:
    axes.set_title(text, fontsize=12, color=ACCENT, loc="left", y=y, pad=2)


def _words(axes: Any, understood: Understood) -> None:
    _bare(axes)
    _title(axes, OURS[0])
    roles = [role in TURKISH_NAMES for _, role in understood.marked]
    y = 0.95
    for (text, role), known in zip(understood.marked, roles, strict=True):
        label = role if known else {"unknown": "not known", "and": "", "filler": "", "boundary": ""}.get(role, role)
        axes.text(0.02, y, text, fontsize=12, color=INK if label else CAPTION, weight="bold" if known else None)
        axes.text(0.55, y, label, fontsize=9, color=ACCENT if role in ("unknown", "negation") else CAPTION)
        y -= min(0.09, 0.9 / max(1, len(understood.marked)))
    axes.text(0.02, 0.0, f"read as {GRAMMAR[understood.language]['name']}", fontsize=9, color=CAPTION)


def _things(axes: Any, understood: Understood, scene: Scene) -> None:
    """Show the things as boxes in their places, and their relations below."""
    _title(axes, OURS[1])
    for thing in scene.things:
        box = thing.box
        axes.add_patch(matplotlib.patches.Rectangle((box.left, box.top), box.width, box.height, fill=False,
                                                    edgecolor=HISTORY))  # fmt: skip
        axes.text(box.left + 8, box.top + 8, thing.category, va="top", fontsize=8)
    lines = [line.strip() for line in understood.lines()[1 : 1 + len(understood.relations)]]
    axes.text(0, HEIGHT * 1.08, "\n".join(lines), fontsize=8, va="top", color=CAPTION)
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(HEIGHT, 0)
    axes.set_aspect("equal")
    _bare(axes)


def _strokes(axes: Any, strokes: Sequence[NDArray[Any]], label: str) -> None:
    for stroke in strokes:
        axes.plot(stroke[:, 0], stroke[:, 1], color=INK, linewidth=1.2, solid_capstyle="round")
    axes.set_xlim(-25, 280)
    axes.set_ylim(280, -25)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(RULE)
    axes.set_xlabel(label, fontsize=8, color=CAPTION)
    axes.xaxis.set_label_position("top")


def _scene(axes: Any, scene: Scene) -> None:
    _title(axes, OURS[4])
    for stroke in scene.strokes():
        axes.plot(stroke[:, 0], stroke[:, 1], color=INK, linewidth=1.6, solid_capstyle="round")
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(HEIGHT, 0)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(RULE)


def _latent(axes: Any) -> None:
    """Show the plan of latent diffusion on pixels in a row of boxes."""
    _bare(axes)
    axes.set_xlim(0, 5)
    axes.set_ylim(0, 1)
    axes.text(0.02, 0.93, "for comparison, latent diffusion on pixels (Rombach et al. 2022, arXiv:2112.10752); "
              "families/latent_diffusion.py trains it in small", fontsize=10, color=CAPTION)  # fmt: skip
    for number, (name, text) in enumerate(LATENT_STEPS):
        axes.add_patch(matplotlib.patches.Rectangle((number + 0.03, 0.08), 0.84, 0.72, fill=False, edgecolor=HISTORY))
        axes.text(number + 0.45, 0.62, name, ha="center", va="center", fontsize=11, color=ACCENT)
        axes.text(number + 0.45, 0.3, text, ha="center", va="center", fontsize=9, color=INK)
        if number:
            axes.annotate("", (number + 0.03, 0.44), (number - 0.13, 0.44),
                          arrowprops={"arrowstyle": "->", "color": HISTORY})  # fmt: skip
