"""Write report.html, one page that shows a whole run: drawings, how they were made, and their figures.

The page is one file that opens anywhere and asks no server for anything: drawings and charts are inline SVG, GIFs and
PNGs are data URIs, and a script of some lines draws a drawing again when it is clicked on. It is well-formed XML too,
with every text escaped, which is how the tests read it.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from config import ATTRIBUTION
from plumbing.files import write_atomically
from rendering import INK, REPLAY_CSS, RULE, replay_svg, svg_sheet
from reports.gallery import PAGE_CELL, PAGE_COLUMNS, PAGE_DRAWINGS, RealDrawings
from reports.tables import (
    MISSING,
    NOT_APPLICABLE,
    copy_table,
    count,
    part,
    picture_table,
    pictures_by_category,
    stroke_table,
)
from scoring.averages import over_seeds
from scoring.stroke_statistics import ink_length

Drawing = list[NDArray[Any]]
Points = NDArray[np.float64]

REPLAYED = 8  # drawings of a category that are drawn again on a click
IMAGE_BYTES = 400_000  # of one GIF or PNG; larger ones stay beside the page
ALL_IMAGE_BYTES = 6_000_000  # of all of them, before base64 adds a third
TOP_SHARE = 99.0  # percentile where the last bin of a histogram begins to hold everything longer


@dataclass(frozen=True)
class CategoryResult:
    """What a run has to show of one category; `real`, `others` and `losses` may be empty.

    `real` are drawings that no training saw, `others` fill the page where they are few. `seeds` has, for each sampling
    seed, the dict of ``metrics.score_drawings``, or ``{"not_measured": reason}``; `generated` are the drawings of the
    first one. `conditions` is that of ``sample_diffusion.sample``; its "data_at_hand" is "embedded" where a program
    drew what stands for real. `losses` are rows of metrics.jsonl. Captions with files (GIF or PNG): `gifs` show how
    drawings are made, `pictures` which are nearest to training, `gallery` is that of ``gallery.write_gallery``.
    """

    category: str
    generated: list[Drawing]
    real: list[Drawing]
    seeds: dict[str, dict[str, Any]]
    conditions: dict[str, Any]
    losses: list[dict[str, float]]
    gifs: Mapping[str, Path] = field(default_factory=dict)
    pictures: Mapping[str, Path] = field(default_factory=dict)
    gallery: Mapping[str, Path] = field(default_factory=dict)
    others: Sequence[Drawing] = ()

    @property
    def scores(self) -> dict[str, Any]:
        """The figures, averaged over the sampling seeds."""
        return over_seeds(list(self.seeds.values()))

    @property
    def real_name(self) -> str:
        """The word for the drawings in `real`."""
        return "embedded" if self.conditions.get("data_at_hand") == "embedded" else "real"


# ------------------------------------------------------------------ pieces of the page


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    def cell(text: str) -> str:
        opening = '<td class="none">' if text in (MISSING, NOT_APPLICABLE) else "<td>"
        return f"{opening}{escape(text)}</td>"

    body = "".join(f'<tr><th scope="row">{escape(n)}</th>{"".join(map(cell, cells))}</tr>' for n, *cells in rows)
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    return (
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<p class="note">{escape(caption)}</p>'
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name} · ")
        else:
            yield name, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _facts(values: Mapping[str, Any]) -> str:
    """Return a list of names and values; of hashes the first 12 digits, the rest in a tooltip."""

    def shown(text: str) -> str:
        is_hash = len(text) in (40, 64) and set(text) <= set("0123456789abcdef")
        return f'<code title="{text}">{text[:12]}</code>' if is_hash else escape(text)

    items = (f"<div><dt>{escape(name)}</dt><dd>{shown(text)}</dd></div>" for name, text in _flat(values))
    return f"<dl>{''.join(items)}</dl>"


def _sheet(drawings: Sequence[Drawing], columns: int, alt: str, *, cell: int = 128, animated: bool = False) -> str:
    """Return drawings as inline SVG, coloured by the order of strokes if they move."""
    svg = svg_sheet(drawings, columns, cell, animated=animated, color_by_order=animated)
    named = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1)
    return f'<div class="sheet{" moving" if animated else ""}">{named}</div>'


def _replays(drawings: Sequence[Drawing], category: str) -> str:
    """Return a row of drawings as buttons, each of which draws its drawing again, stroke by stroke."""

    def button(number: int, drawing: Drawing) -> str:
        strokes = f"{len(drawing)} stroke{'s' if len(drawing) > 1 else ''}"
        label = escape(f"{category} {number} of {len(drawings)}, {strokes}: draw it again")
        svg = replay_svg(drawing).replace("<svg ", '<svg aria-hidden="true" ', 1)
        return f'<button type="button" class="replay" aria-label="{label}">{svg}</button>'

    return f'<div class="row">{"".join(button(*pair) for pair in enumerate(drawings, 1))}</div>'


def _figure_tag(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{caption}</figcaption></figure>"


def _chart(title: str, x_label: str, y_label: str, series: Sequence[tuple[str, str, Points]]) -> str:
    """Return a chart of named series, (name, CSS class, (n, 2) points), with a legend and a description."""
    width, height, left, right, top, bottom = 360, 212, 42, 20, 10, 40
    low, high = (f([f(points, axis=0) for _, _, points in series], axis=0) for f in (np.min, np.max))
    low[1], high = 0.0, np.where(high > low, high, low + 1)
    scale = np.array([width - left - right, -(height - top - bottom)]) / (high - low)
    origin = np.array([left, height - bottom])

    def ticks(axis: int) -> NDArray[Any]:
        values = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low[axis], high[axis])
        return np.array([v for v in values if low[axis] <= v <= high[axis]])

    marks = []
    for value in ticks(1):
        y = origin[1] + (value - low[1]) * scale[1]
        marks.append(f'<path class="rule" d="M{left} {y:.1f}H{width - right}"/>')
        marks.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in ticks(0):
        x = origin[0] + (value - low[0]) * scale[0]
        marks.append(f'<text x="{x:.1f}" y="{height - bottom + 16}" text-anchor="middle">{value:g}</text>')
    middle = (left + width - right) / 2
    marks.append(f'<text x="{middle}" y="{height - 6}" text-anchor="middle">{escape(x_label)}</text>')
    for _, css, points in series:
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (points - (low[0], 0)) * scale + origin)
        marks.append(f'<polyline class="{css}" points="{line}"/>')
    legend = "".join(f'<li class="{css}">{escape(name)}</li>' for name, css, _ in series)
    alt = f"{title}, {y_label} by {x_label}: {'; '.join(name for name, _, _ in series)}"
    svg = f'<svg role="img" aria-label="{escape(alt)}" viewBox="0 0 {width} {height}">{"".join(marks)}</svg>'
    heading = f"<h4>{escape(title)} <small>{escape(y_label)}</small></h4>"
    return f'<figure class="chart">{heading}{svg}<ul class="legend">{legend}</ul></figure>'


def _histogram(title: str, x_label: str, sides: Mapping[str, Points], *, whole: bool) -> str:
    """Return a chart of the shares of drawings per bin, as steps; the last bin also holds all beyond it."""
    merged = np.concatenate(list(sides.values()))
    last = max(1.0, math.ceil(float(np.percentile(merged, TOP_SHARE))))
    edges = np.arange(0.5, last + 1) if whole else np.linspace(0, last, 25)
    series = []
    for name, values in sides.items():
        middle_of_last = (edges[-2] + edges[-1]) / 2
        share = 100 * np.histogram(np.clip(values, edges[0], middle_of_last), edges)[0] / len(values)
        steps = np.stack([np.repeat(edges, 2), np.concatenate([[0], np.repeat(share, 2), [0]])], axis=1)
        css = "generated" if name == "generated" else "real"
        series.append((f"{name}: N = {len(values):,}, mean {values.mean():,.{1 if whole else 0}f}", css, steps))
    return _chart(title, x_label, "% of drawings", series)


def _recognised_chart(result: CategoryResult) -> str | None:
    """Return a chart of how early drawings are recognised, or None where that is not measured."""
    scores, after = result.scores, part(result.scores, "recognised_after")
    seeds = f", mean of {len(result.seeds)} seeds" if len(result.seeds) > 1 else ""
    sides = (
        (f"{result.real_name}: N = {count(after, 'n_real')}", "real line", after.get("real")),
        (f"generated: N = {count(scores, 'n_generated')}{seeds}", "generated line", after.get("generated")),
    )
    series = []
    for name, css, shares in sides:
        if isinstance(shares, list) and len(shares) > 1:
            percents = 100 * np.array(shares, np.float64)
            series.append((name, css, np.stack([np.arange(1.0, len(shares) + 1), percents], axis=1)))
    return _chart("Recognised after every stroke", "strokes shown", "%", series) if series else None


def _charts(result: CategoryResult) -> str:
    sides = {name: side for name, side in ((result.real_name, result.real), ("generated", result.generated)) if side}
    charts = [chart] if (chart := _recognised_chart(result)) else []
    if sides:
        strokes = {name: np.array([len(d) for d in side], np.float64) for name, side in sides.items()}
        ink = {name: np.array([ink_length(d) for d in side], np.float64) for name, side in sides.items()}
        charts.append(_histogram("Strokes per drawing", "strokes", strokes, whole=True))
        charts.append(_histogram("Ink length", "px, longest side of a drawing 255", ink, whole=False))
    ends = "The last bin of a histogram also holds everything longer."
    note = ends if result.real else f"No real drawings are at hand: histograms show only generated ones. {ends}"
    whole = f'<h3>Distributions</h3><div class="charts">{"".join(charts)}</div><p class="note">{note}</p>'
    return whole if charts else ""


def _training_chart(result: CategoryResult) -> str:
    named = (("loss", "training", "generated line"), ("validation_loss", "held out, averaged weights", "real line"))
    curves = []
    for key, name, css in named:
        points = np.array([(row["step"], row[key]) for row in result.losses if {"step", key} <= row.keys()], np.float64)
        if len(points) > 1 and np.isfinite(points).all():
            curves.append((f"{name}: last {points[-1, 1]:.3g}", css, points))
    if not curves:
        return ""
    chart = _chart("Learning curve", "updates", "diffusion loss", curves)
    return f'<h3>Training</h3><div class="charts">{chart}</div>'


def _images(files: Mapping[str, Path], limit: int) -> str:
    parts = []
    for caption, path in files.items():
        size = path.stat().st_size if path.is_file() else None
        if size is not None and size < limit:
            data = base64.b64encode(path.read_bytes()).decode("ascii")
            kind = "png" if path.suffix == ".png" else "gif"
            image = f'<img alt="{escape(caption)}" src="data:image/{kind};base64,{data}"/>'
            parts.append(_figure_tag(image, escape(caption)))
        else:
            why = "is missing" if size is None else f"has {size / 1000:.0f} kB, too much for this page"
            parts.append(f'<p class="note">{escape(caption)}: {escape(path.name)} {why}.</p>')
    return "".join(parts)


def _scores(result: CategoryResult, image_limit: int) -> str:
    """Return the tables of a category: what pictures say, what strokes say, and whether drawings are copies."""
    scores, seeds = result.scores, list(result.seeds)
    pictures, strokes, copies = (_table(*of(scores, seeds)) for of in (picture_table, stroke_table, copy_table))
    pairs = f"<h3>The nearest pairs</h3>{_images(result.pictures, image_limit)}" if result.pictures else ""
    return (
        f"<h3>What pictures say</h3>{pictures}<h3>What strokes say</h3>{strokes}"
        f"<h3>Nearest training drawings</h3>{copies}{pairs}"
    )


def _conditions(result: CategoryResult) -> str:
    made, model = result.conditions, result.conditions.get("model") or {}
    sampler = f"{made.get('sampler', 'unknown')}, {made.get('steps', '?')} steps, guidance {made.get('guidance', '?')}"
    sampler += f" away from {made['guide']}" if made.get("guide") else ""
    facts = {
        "checkpoint": made.get("checkpoint", "unknown"), "sha256": made.get("checkpoint_sha256", "unknown"),
        "sampler": sampler, "seed": made.get("seed", "unknown"), "training data": model.get("data", "unknown"),
        "split": model.get("split", "unknown"), "updates": model.get("step", "unknown"),
    }  # fmt: skip
    whole = escape(json.dumps(made, indent=2, ensure_ascii=False, default=str))
    return f"{_facts(facts)}<details><summary>All conditions of these drawings</summary><pre>{whole}</pre></details>"


def _category(result: CategoryResult, image_limit: int) -> str:
    name, generated = escape(result.category), result.generated
    real = RealDrawings(result.real, result.others, result.real_name)
    seen = "The first ones, as they come; no training saw what is held out."
    own, first = f"The first of {len(generated):,}, as they come.", generated[:PAGE_DRAWINGS]
    grids = [
        _figure_tag(_sheet(shown, PAGE_COLUMNS, f"{said}: {result.category}", cell=PAGE_CELL), f"<b>{said}.</b> {how}")
        for shown, said, how in ((real.page, real.describe_page(), seen), (first, f"{len(first)} generated", own))
        if shown
    ]
    alone = "" if real.page else (
        '<p class="note before">They stand alone: this machine has no real drawings of this category that no training '
        "saw. Set QUICKDRAW_DIR to a folder that has them.</p>"
    )  # fmt: skip
    moving = _images(result.gifs, image_limit)
    wide = _images(result.gallery, image_limit)
    more = f'<h3>Best, worst, continued</h3><div class="wide">{wide}</div>' if wide else ""
    if generated:
        click = '<span class="hint">Click on a drawing, and it is drawn again.</span>'
        order = f"In the order of the model, from violet, drawn first, to green, drawn last. {click}"
        row = _replays(generated[:REPLAYED], result.category)
        moving = _figure_tag(row, f"<b>Stroke by stroke.</b> {order}") + moving
    return (
        f'<section id="{name}"><h2>{name}</h2>{_conditions(result)}'
        f"<h3>{result.real_name.capitalize() + ' beside generated' if real.page else 'Generated'}</h3>{alone}"
        f'<div class="{"pair" if real.page else ""}">{"".join(grids)}</div>'
        f'<h3>As they are drawn</h3><div class="motion">{moving}</div>'
        f"{more}{_scores(result, image_limit)}{_charts(result)}{_training_chart(result)}</section>"
    )


def write_report(path: Path, results: Sequence[CategoryResult], run: Mapping[str, Any]) -> None:
    """Write a run as one self-contained HTML page, mode 0644, whole or not at all; `run` are its conditions.

    Raises ValueError for no results, RunFailed where the file cannot be written.
    """
    if not results:
        raise ValueError(f"{path}: no results to report")
    num_images = sum(len(result.gifs) + len(result.pictures) + len(result.gallery) for result in results)
    image_limit = min(IMAGE_BYTES, ALL_IMAGE_BYTES // max(1, num_images))
    opening = [drawing for result in results for drawing in result.generated[: max(1, 6 // len(results))]][:12]
    hero = _sheet(opening, 6, "Generated drawings that draw themselves", animated=True) if opening else ""
    names = ", ".join(result.category for result in results)
    links = "".join(f'<a href="#{escape(r.category)}">{escape(r.category)}</a>' for r in results)
    summary = _table(*pictures_by_category({r.category: r.scores for r in results}, list(results[0].seeds)))
    page = PAGE.format(
        css=CSS + REPLAY_CSS, script=SCRIPT, names=escape(names), links=links, hero=hero, run=_facts(run),
        summary=summary, sections="".join(_category(result, image_limit) for result in results),
        attribution=escape(ATTRIBUTION),
    )  # fmt: skip
    write_atomically(path, page)


# ------------------------------------------------------------------ the page

CSS = """
:root { color-scheme: light dark; --page: #f6f5f2; --card: #fff; --ink: #1a1c21; --soft: #5d636e; --rule: #e3e4e8;
  --accent: #d33f1f; --real: #5f7396; --font: system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, sans-serif }
@media (prefers-color-scheme: dark) {
  :root { --page: #121317; --card: #1b1d23; --ink: #e9e9ec; --soft: #a2a7b2; --rule: #30333b;
    --accent: #ff7a5c; --real: #93a9d1 }
  img { filter: invert(.89) hue-rotate(180deg); border-color: #fff0 }
  .moving g:last-child, .replay g { filter: invert(1) hue-rotate(180deg) } }
* { box-sizing: border-box } body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 var(--font) }
html { -webkit-text-size-adjust: 100% }
main { max-width: 1120px; margin: 0 auto; padding: 3rem 1.5rem 4rem }
h1 { font-size: clamp(1.8rem, 4.5vw, 2.9rem); line-height: 1.12; letter-spacing: -.025em; margin: 0 0 .7rem }
h2 { font-size: 1.8rem; letter-spacing: -.02em; line-height: 1.2; margin: 0 0 .8rem }
h2::first-letter { text-transform: uppercase } h3 { font-size: 1.08rem; margin: 2rem 0 .6rem }
h4 { font-size: .92rem; margin: 0 0 .5rem } small { font-weight: 400 } p, li { max-width: 46em }
.lead { font-size: 1.12rem; color: var(--soft); margin: 0 0 1.6rem } .note { margin: .6rem 0 0; max-width: 68em }
.before { margin: 0 0 .6rem }
.note, figcaption, small, summary { color: var(--soft); font-size: .86rem } summary { cursor: pointer }
section { margin-top: 3.2rem; padding-top: 2.2rem; border-top: 1px solid var(--rule) }
.sheet, .scroll, .chart, img, pre { border: 1px solid var(--rule); border-radius: 12px; background: var(--card) }
nav { display: flex; flex-wrap: wrap; gap: .5rem; margin: 1.4rem 0 0 }
nav a { padding: .3rem .95rem; border: 1px solid var(--rule); border-radius: 99px; background: var(--card);
  color: var(--accent); text-decoration: none; font-size: .92rem }
figure { margin: 0; min-width: 0 } figcaption { margin-top: .5rem } figcaption b { color: var(--ink) }
svg, img { display: block; width: 100%; height: auto } .sheet { overflow: hidden } .sheet rect { fill: var(--card) }
.sheet path[stroke="INK"] { stroke: var(--ink) } .sheet g[stroke="RULE"] { stroke: var(--rule) }
.pair, .wide { display: grid; gap: 1.2rem } .pair { grid-template-columns: 1fr 1fr } .wide { max-width: 980px }
.motion { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start }
.motion figure { max-width: 258px } .motion figure:first-child { flex: 1 1 100%; max-width: none }
.row { display: grid; gap: .6rem; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)) }
.replay { padding: 0; border: 1px solid var(--rule); border-radius: 12px; background: var(--card); cursor: pointer }
.replay:hover, .replay:focus-visible { border-color: var(--accent); outline: 1px solid var(--accent) }
dl { display: flex; flex-wrap: wrap; gap: .7rem 2rem; margin: 0 0 .8rem } dd { margin: 0; overflow-wrap: anywhere }
dt { color: var(--soft); font-size: .76rem; line-height: 1.3 }
code, pre { font: .86em/1.5 ui-monospace, Menlo, Consolas, monospace }
pre { overflow: auto; max-height: 24rem; padding: 1rem } .scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums }
th, td { padding: .55rem .8rem; text-align: right; white-space: nowrap } th { font-weight: 600 }
thead th { color: var(--soft); font-size: .8rem; font-weight: 500 } tbody tr { border-top: 1px solid var(--rule) }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--card) }
td.none { color: var(--soft); font-size: .82rem }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 1.2rem }
.chart { max-width: 480px; padding: 1rem 1rem .8rem } .chart text { fill: var(--soft); font: 11.5px var(--font) }
.rule { stroke: var(--rule) }
polyline { stroke-width: 2; stroke-linejoin: round; fill: currentColor; fill-opacity: .18 }
.real { color: var(--real); stroke: var(--real) } .generated { color: var(--accent); stroke: var(--accent) }
polyline.line { fill: none } .legend { list-style: "■ "; margin: .5rem 0 0; padding: 0 0 0 1.1em; font-size: .84rem }
.prose { columns: 2 24rem; column-gap: 3rem } .prose p { margin: 0 0 1rem; break-inside: avoid }
@media (max-width: 640px) { main { padding: 1.8rem 1rem 3rem } .pair { grid-template-columns: 1fr }
  th, td { padding: .5rem .7rem } tbody th { white-space: normal; min-width: 6.5rem } }
@media (prefers-reduced-motion: reduce) { .moving, .hint { display: none } } @media print { .hint { display: none } }
""".replace("INK", INK).replace("RULE", RULE)

SCRIPT = """
for (const drawing of document.querySelectorAll(".replay")) drawing.addEventListener("click", () => {
  drawing.classList.remove("replaying")
  drawing.getBoundingClientRect()  // so that the browser sees it without, and begins anew
  drawing.classList.add("replaying")
})
"""

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>Sketches drawn stroke by stroke: {names}</title><style>{css}</style></head><body><main>
<header><h1>Sketches that a diffusion model draws stroke by stroke</h1>
<p class="lead">Each stroke starts as noise and is denoised into pen movements, given the strokes before it, until the
model ends the drawing. This page shows one run: what was drawn, how, and how far it is from drawings by people.</p>
{hero}<nav aria-label="Contents">{links}<a href="#figures">what the figures mean</a><a href="#limits">limits</a></nav>
</header><section id="results"><h2>Results</h2>{summary}<h3>Conditions of this run</h3>{run}</section>{sections}
<section id="figures"><h2>What the figures mean</h2><div class="prose">
<p><b>FID</b> is the distance of two Gaussians, fitted to the features of generated and of real drawings. 0 means
equal means and covariances. It grows as N shrinks, so two FIDs compare only at the same N.</p>
<p><b>FID∞</b> continues the FIDs of growing parts of the drawings, a line in 1/n, to infinitely many (Chong and Forsyth
2020). From a few hundred drawings it still comes out too high, so it has a floor at the same n as well.</p>
<p><b>KID</b> compares the same features by a polynomial kernel. It is unbiased: it does not grow as N shrinks, and
equal distributions come out around 0, sometimes below. Its share is KID over that of strokes at random.</p>
<p><b>Density and coverage</b> (Naeem et al. 2020) put a ball around every real drawing that reaches to its fifth
nearest real neighbour. Density counts the balls in which a generated drawing lies, over five: about 1 for real ones,
more where a model draws only what is typical. Coverage, a measure of variety, is the share of balls with a generated
drawing in them.</p>
<p><b>The feature network</b> was trained by this project on sketches; its hash stands beside the figures. FIDs from
another network, such as Inception, or from another rendering, are on another scale: they do not compare with these.</p>
<p><b>Floor.</b> The real drawings are split into random halves of n, and one is scored against the other: what real
drawings reach at this n. KID's floor is 0 but for chance; its ± is what counts.</p>
<p><b>Strokes at random</b> are drawings whose k-th stroke comes from any real drawing: right strokes that know nothing
of one another. A model that looks at what it has drawn must stay well below their FID and KID.</p>
<p><b>Recognised</b> (top-1) is the share of drawings that the feature network takes for their category, among all
categories it knows. It says whether single drawings are clear, not whether they vary. The chart shows only the first
strokes to it; drawings that have ended stay as they are.</p>
<p><b>W₁</b>, the Wasserstein-1 distance, is the mean amount by which the values of one side would have to change to
become those of the other, in their unit. Closedness is the distance of a stroke's ends over its length, aspect the
angle of the diagonal of a drawing, a pen jump the way between two strokes.</p>
<p><b>Order of drawing</b> cuts the ink of a drawing into four quarters, first to last, and compares where their
centres lie: which part of the canvas is drawn when.</p>
<p><b>Nearest training drawings.</b> A model that copies comes nearer to its training drawings than real drawings do
that no training saw: the ratio of medians is far below 1, or many more than 1 % are nearer than the nearest 1 %.</p>
</div></section>
<section id="limits"><h2>Limits</h2><ul>
<li>With a few hundred real drawings the covariance behind FID is barely known. Trust KID and the floors first.</li>
<li>The network that scores is small and was trained on drawings of the same kind. It can miss what people see.</li>
<li>Copies are looked for as whole pictures, by features: a single copied stroke goes unnoticed.</li>
<li>Order is compared by four places on the canvas, direction of strokes only by where they start.</li></ul></section>
<section><p class="note">Real drawings, and the data behind the models: {attribution}.</p></section>
</main><script>{script}</script></body></html>
"""
