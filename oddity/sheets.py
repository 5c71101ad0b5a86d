"""Pictures of a check: the oddest drawings and the borderline ones, before and after the autoencoder, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from drawings.look import ACCENT, CAPTION, HISTORY, INK
from oddity.autoencoder import errors
from oddity.calibration import LEVELS, Array
from oddity.measures import roc_curve

Drawing = Sequence[NDArray[Any]]

CELL = 1.45  # inches
LINE_WIDTH = 1.1
COLORS = (ACCENT, "#2a78b5", "#3a9a5b", "#8a5fb0", "#c99a1c", INK, HISTORY)


def _cells(count: int, columns: int, title: str, extra: float = 0.25) -> tuple[Figure, list[Axes]]:
    """Return a figure of `count` empty cells in rows, and their axes."""
    rows = max(1, -(-count // columns))
    figure = Figure(figsize=(CELL * columns, (CELL + extra) * rows + 0.5), dpi=100, layout="constrained")
    grid: NDArray[Any] = figure.subplots(rows, columns, squeeze=False)
    axes: list[Axes] = list(grid.flat)
    for axis in axes:
        axis.set_axis_off()
    figure.suptitle(title, fontsize=10, color=INK)
    return figure, axes[:count]


def draw(axis: Axes, drawing: Drawing, odd_stroke: int | None = None) -> None:
    """Draw a drawing into an axis, y down, `odd_stroke` in red."""
    for number, stroke in enumerate(drawing):
        points = np.asarray(stroke, float)
        odd = number == odd_stroke
        axis.plot(points[:, 0], points[:, 1], "." if len(points) == 1 else "-", color=ACCENT if odd else INK,
                  linewidth=1.8 if odd else LINE_WIDTH, markersize=3, solid_capstyle="round")  # fmt: skip
    axis.set_aspect("equal", adjustable="datalim")
    axis.invert_yaxis()


def drawings_sheet(
    title: str, drawings: Sequence[Drawing], labels: Sequence[str], odd_strokes: Sequence[int | None], columns: int = 8
) -> Figure:
    """Return drawings with a line below each, the odd stroke of each red."""
    figure, axes = _cells(len(drawings), columns, title)
    for axis, drawing, label, odd in zip(axes, drawings, labels, odd_strokes, strict=True):
        draw(axis, drawing, odd)
        axis.text(0.5, -0.04, label, transform=axis.transAxes, ha="center", va="top", fontsize=7, color=CAPTION)
    return figure


def before_after_sheet(title: str, ink: Tensor, again: Tensor, labels: Sequence[str]) -> Figure:
    """Return pictures (N, 32, 32) of ink, what the autoencoder draws again, and where it cannot, marked red."""
    figure, axes = _cells(3 * len(ink), 9, title)
    marks = errors(ink, again)
    for number, label in enumerate(labels):
        before, after, marked = axes[3 * number : 3 * number + 3]
        before.imshow(ink[number], cmap="gray_r", vmin=0, vmax=1)
        after.imshow(again[number], cmap="gray_r", vmin=0, vmax=1)
        strength = (marks[number] / marks[number].max().clamp(min=1e-9)).clamp(0, 1)[..., None].numpy()
        paper = 1 - 0.75 * ink[number].numpy()[..., None] * np.ones(3)
        red = np.array([0.91, 0.30, 0.16])
        marked.imshow((paper * (1 - strength) + red * strength).clip(0, 1))
        for axis, words in ((before, label), (after, "redrawn"), (marked, "not redrawn")):
            axis.text(0.5, -0.04, words, transform=axis.transAxes, ha="center", va="top", fontsize=7, color=CAPTION)
    return figure


def histogram(title: str, scores: ArrayLike, threshold: float, quantiles: Array, unit: str) -> Figure:
    """Return the distribution of scores beside that of calibration drawings (`quantiles`), and the threshold."""
    figure = Figure(figsize=(6.4, 3.2), dpi=100, layout="constrained")
    axis = figure.subplots()
    found, known = np.asarray(scores, float), np.interp(np.linspace(0, 1, 500), LEVELS, quantiles)
    edges = np.linspace(min(known[0], found.min()), max(known[-1], np.percentile(found, 99.5), threshold * 1.05), 41)
    for values, color, label in ((known, HISTORY, "calibration drawings"), (found, INK, f"these {len(found):,}")):
        shares = np.full(len(values), 1 / len(values))
        shown = np.clip(values, edges[0], edges[-1])
        axis.hist(shown, edges.tolist(), weights=shares, color=color, alpha=0.6, label=label)
    axis.axvline(threshold, color=ACCENT, label="threshold")
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(unit)
    axis.set_ylabel("share of drawings")
    axis.legend(frameon=False, fontsize=8)
    return figure


def roc_picture(panels: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]]) -> Figure:
    """Return a ROC picture: a panel for each test, two a column, in it a curve for each score of (odd, true) scores."""
    columns = max(1, len(panels) // 2)
    figure = Figure(figsize=(3.0 * columns, 6.4), dpi=100, layout="constrained")
    grid: NDArray[Any] = figure.subplots(2, columns, squeeze=False, sharex=True, sharey=True).T
    for axis, (title, curves) in zip(grid.flat, panels.items(), strict=False):
        axis.plot([0, 1], [0, 1], ":", color=HISTORY, linewidth=1)
        for color, (name, sides) in zip(COLORS, curves.items(), strict=False):
            axis.plot(*roc_curve(*sides), color=color, linewidth=1.4, label=name)
        axis.set_title(title, fontsize=9)
        axis.set_aspect("equal")
    figure.supxlabel("true drawings called odd", fontsize=9)
    figure.supylabel("odd drawings found", fontsize=9)
    handles, names = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=9)
    return figure
