"""Write report.html, one page that shows a whole run: drawings, how they were made, and their scores.

The page is one file that opens anywhere and asks no server for anything: drawings are inline SVG, charts, GIFs and PNGs
are data URIs. Its text and looks are in report.html beside this file; every value that is put into it is escaped.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from config import ATTRIBUTION
from drawings.look import ACCENT, RULE
from plumbing.files import write_atomically
from rendering import REPLAY_CSS, replay_svg, svg_sheet
from reports.tables import (
    FULL,
    MISSING,
    count,
    how_to_read,
    measured,
    metadata_of,
    part,
    summary_note,
    summary_table,
    table_of,
)
from scoring.averages import over_seeds
from scoring.stroke_statistics import DrawingStatistics, describe_strokes

Drawing = list[NDArray[Any]]

TEMPLATE = Path(__file__).with_name("report.html")
METRICS = Path(__file__).resolve().parent.parent / "docs" / "METRICS.md"
REPLAYED = 8  # drawings of a category that are drawn again on a click
HERO_CELL = 200  # px
TOP_SHARE = 99.0  # percentile where the last bin of a histogram begins to hold everything longer
REAL_COLOR = "#5f7396"
CHART_STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "report", "font.size": 9, "axes.spines.top": False,
    "axes.spines.right": False, "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial", "sans-serif"],
}  # fmt: skip


@dataclass(frozen=True)
class CategoryResult:
    """What a run has to show of one category.

    `seeds` has, for each sampling seed, the dict of ``metrics.score_drawings``, or ``{"not_measured": reason}``;
    `generated` are the drawings of the first one, `shares` (N,) the probabilities that the recogniser gives them, None
    where it does not know the category. `conditions` is that of ``sample_diffusion.sample``. `real` are the statistics
    of real drawings, None where there are none, and `real_name` is "embedded" where a program drew them. `images` are
    captions with GIF or PNG files, `losses` the rows of a training's metrics.jsonl.
    """

    category: str
    generated: list[Drawing]
    seeds: dict[str, dict[str, Any]]
    conditions: dict[str, Any]
    shares: NDArray[np.float64] | None = None
    real: DrawingStatistics | None = None
    real_name: str = "real"
    images: Mapping[str, Path] = field(default_factory=dict)
    losses: Sequence[Mapping[str, Any]] = ()

    @property
    def scores(self) -> dict[str, Any]:
        """The scores, averaged over the sampling seeds."""
        return over_seeds(list(self.seeds.values()))

    @property
    def median(self) -> Drawing:
        """The drawing that the recogniser takes for its category more surely than half of the others."""
        order = np.arange(len(self.generated)) if self.shares is None else np.argsort(self.shares, kind="stable")
        return self.generated[order[len(order) // 2]]


def logged_losses(log: Path) -> list[dict[str, Any]]:
    """Return the rows of a training's metrics.jsonl; what a kill has left of a row is left out, with a warning."""
    rows = []
    for number, line in enumerate(log.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            rows.append(dict(json.loads(line)))
        except (ValueError, TypeError, RecursionError):
            warnings.warn(f"{log}:{number}: no row of numbers, left out of the report", stacklevel=2)
    return rows


# ------------------------------------------------------------------ pieces of the page


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], css: str = "") -> str:
    def cell(text: str) -> str:
        opening = '<td class="none">' if text == MISSING else "<td>"
        return f"{opening}{escape(text)}</td>"

    body = "".join(f'<tr><th scope="row">{escape(n)}</th>{"".join(map(cell, cells))}</tr>' for n, *cells in rows)
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    above = f"<thead><tr>{heads}</tr></thead>" if heads else ""
    return f'<div class="scroll"><table class="{css}">{above}<tbody>{body}</tbody></table></div>'


def _metadata(values: Mapping[str, Any]) -> str:
    shown = {name: ", ".join(map(str, v)) if isinstance(v, list | tuple) else str(v) for name, v in values.items()}
    return _table([], list(shown.items()), "metadata")


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{caption}</figcaption></figure>"


def _image(caption: str, content: bytes, kind: str) -> str:
    data = base64.b64encode(content).decode("ascii")
    return _figure(f'<img alt="{escape(caption)}" src="data:image/{kind};base64,{data}"/>', escape(caption))


def _replays(result: CategoryResult) -> str:
    """Return a row of drawings as buttons, each of which draws its drawing again, stroke by stroke."""
    shown, buttons = result.generated[:REPLAYED], []
    for number, drawing in enumerate(shown, 1):
        strokes = f"{len(drawing)} stroke{'s' if len(drawing) > 1 else ''}"
        label = escape(f"{result.category} {number} of {len(shown)}, {strokes}: draw it again")
        svg = replay_svg(drawing).replace("<svg ", '<svg aria-hidden="true" ', 1)
        buttons.append(f'<button type="button" class="replay" aria-label="{label}">{svg}</button>')
    order = "The first drawings, strokes coloured in their order, from violet to green."
    hint = '<span class="hint">Click on a drawing, and it is drawn again.</span>'
    return _figure(f'<div class="row">{"".join(buttons)}</div>', f"{order} {hint}")


def _hero(results: Sequence[CategoryResult]) -> str:
    medians = [result.median for result in results]
    svg = svg_sheet(medians, len(medians), HERO_CELL, animated=True, color_by_order=True)
    svg = svg.replace("<svg ", '<svg role="img" aria-label="Generated drawings that draw themselves" ', 1)
    note = "The median drawing of each category: the recogniser names half of the drawings more surely."
    return f'<div class="hero">{svg}</div><p class="note hint">{note}</p>'


# ------------------------------------------------------------------ charts


def _histogram(axes: Axes, title: str, unit: str, sides: Mapping[str, NDArray[Any]], whole: bool) -> None:
    """Draw the shares of drawings per bin; the last bin also holds everything beyond it."""
    merged = np.concatenate(list(sides.values()))
    first, last = 0.9 * merged.min(), max(1.0, math.ceil(float(np.percentile(merged, TOP_SHARE))))
    edges = np.arange(0.5, last + 1) if whole else np.linspace(first, last, 25)
    for name, values in sides.items():
        shares = 100 * np.histogram(np.clip(values, edges[0], (edges[-2] + edges[-1]) / 2), edges)[0] / len(values)
        label = f"{name}: N = {len(values):,}, mean {values.mean():,.{1 if whole else 0}f}"
        axes.stairs(shares, edges, fill=True, alpha=0.25, color=_color(name))
        axes.stairs(shares, edges, label=label, color=_color(name))
    axes.set(title=title, xlabel=unit, ylabel="% of drawings")


def _color(name: str) -> str:
    return ACCENT if name == "generated" else REAL_COLOR


def _recognition(axes: Axes, scores: Mapping[str, Any], real_name: str) -> None:
    """Draw the shares of drawings that are recognised when only their first strokes are shown."""
    after = part(scores, "recognised_after")
    for key, name, n in (("real", real_name, count(after, "n_real")),
                         ("generated", "generated", count(scores, "n_generated"))):  # fmt: skip
        shares = 100 * np.array(after[key], np.float64)
        axes.plot(np.arange(1, len(shares) + 1), shares, label=f"{name}: N = {n}", color=_color(name))
    axes.set(title="Recognised after the first strokes", xlabel="strokes shown", ylabel="% of drawings")


def _learning_curve(axes: Axes, losses: Sequence[Mapping[str, Any]]) -> None:
    for key, label, color in (("loss", "training", REAL_COLOR), ("validation_loss", "held out", ACCENT)):
        rows = [(row["step"], row[key]) for row in losses if {key, "step"} <= row.keys()]
        if rows:
            axes.plot(*zip(*rows, strict=True), label=f"{label}: last {rows[-1][1]:.3g}", color=color)
    axes.set(title="Learning curve", xlabel="updates", ylabel="diffusion loss")


def _chart(result: CategoryResult) -> str:
    """Return the charts of a category side by side, as one SVG image."""
    after, ours = part(result.scores, "recognised_after"), describe_strokes(result.generated)
    sides = ({result.real_name: result.real} if result.real else {}) | {"generated": ours}
    panels = 2 + bool(after) + bool(result.losses)
    with matplotlib.rc_context(CHART_STYLE):
        drawn = Figure(figsize=(3.4 * panels, 2.9), layout="constrained")
        axes = list(drawn.subplots(1, panels))
        for axis in axes:
            axis.grid(alpha=0.25)
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        strokes = {name: side.num_strokes for name, side in sides.items()}
        _histogram(axes[0], "Strokes per drawing", "strokes", strokes, whole=True)
        ink = {name: side.ink_length for name, side in sides.items()}
        _histogram(axes[1], "Ink length", "px, longest side of a drawing 255", ink, whole=False)
        if after:
            _recognition(axes[2], result.scores, result.real_name)
        if result.losses:
            _learning_curve(axes[-1], result.losses)
        for axis in axes:
            ticks, top = axis.get_yticks(), axis.get_ylim()[1]
            axis.set_yticks(ticks[(ticks >= 0) & (ticks <= top)])
            axis.set_ylim(0, 1.3 * top)  # room for the legend
            axis.legend(frameon=False, fontsize=8, handlelength=1, loc="upper right")
        memory = io.BytesIO()
        drawn.savefig(memory, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    source = part(result.scores, "strokes").get("reference")
    whose = f" Real drawings: {source}." if result.real and source else ""
    others = after and not str(result.scores.get("reference")).startswith(str(source))
    shown = " Recognised are, of real ones, these, and not the test pictures of the table." if others else ""
    caption = f"Charts of {result.category}. The last bin of a histogram also holds everything longer.{whose}{shown}"
    return _image(caption, memory.getvalue(), "svg+xml")


# ------------------------------------------------------------------ the page


def _section(template: Template, result: CategoryResult) -> str:
    images = [_image(caption, path.read_bytes(), path.suffix[1:]) for caption, path in result.images.items()]
    made, trained = result.conditions, part(result.conditions, "model")
    facts = metadata_of(result.scores, made) | {
        "Seed of the drawings": made.get("seed", "unknown"), "Training data": trained.get("data", "unknown"),
        "Training split": trained.get("split", "unknown"), "Training updates": trained.get("step", "unknown"),
    }  # fmt: skip
    return template.substitute(name=escape(result.category), figures=_replays(result) + "".join(images),
                               chart=_chart(result), metadata=_metadata(facts))  # fmt: skip


def _training_sizes(results: Sequence[CategoryResult]) -> str:
    """Return how many drawings of its own category each model has learned from, in words."""
    sizes = {r.category: part(r.conditions, "model", "train_drawings").get(r.category)
             or part(r.scores, "memorisation").get("n_learned_from") for r in results}  # fmt: skip
    return ", ".join(f"{name} {f'{n:,}' if isinstance(n, int) else 'unknown'}" for name, n in sizes.items())


def write_report(paths: Sequence[Path], results: Sequence[CategoryResult], run: Mapping[str, Any]) -> None:
    """Write a run as one self-contained HTML page to every one of `paths`; `run` is what holds for all categories.

    Raises ValueError for no results, OSError where a file cannot be written.
    """
    if not results:
        raise ValueError(f"{paths[0]}: no results to report")
    page, section, rest = re.split("<!-- /?section -->", TEMPLATE.read_text(encoding="utf-8"))
    scores = {r.category: r.scores for r in results}
    seeds = list(results[0].seeds)
    shown = {name: value for name, value in run.items() if not isinstance(value, Mapping)}
    reasons = {str(s["not_measured"]) for s in scores.values() if s.get("not_measured")}
    entries = {r.category: {"scores": r.scores, "conditions": r.conditions} for r in results}
    whole = [summary_note(entries, seeds), *(f"“{MISSING.capitalize()}”: {reason}." for reason in sorted(reasons))]
    sections = "".join(_section(Template(section), result) for result in results)
    values = {
        "names": escape(", ".join(scores)), "hero": _hero(results), "replay_css": REPLAY_CSS, "rule": RULE,
        "links": "".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in scores),
        "summary": f'{_table(*summary_table(scores))}<p class="note">{escape(" ".join(whole))}</p>',
        "training": escape(_training_sizes(results)), "run": _metadata(shown), "attribution": escape(ATTRIBUTION),
        "how_to_read": escape(how_to_read(seeds)),
        "tables": "".join(f'<h3>{title}</h3>{_table(*found)}<p class="note">{escape(caption)}</p>'
                          for title, caption, lines in FULL if measured((found := table_of(lines, scores))[1])),
    }  # fmt: skip
    for path in paths:
        link = Path(os.path.relpath(METRICS, path.resolve().parent)).as_posix()
        text = Template(page).substitute(values, metrics=escape(link)) + sections + Template(rest).substitute(values)
        write_atomically(path, text)
