"""Pictures to judge a model by eye: nothing in them is picked but by a rule that is written beside it.

Five of a category: generated drawings beside real ones, the first of each as they come; the drawings that the feature
network takes most and least surely for the category; what a model makes of one first stroke; how it completes drawings
that a person has begun; and the generated drawings that come nearest to redrawing a training drawing. Those that show
people's drawings can only be made where such drawings are at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from dataset_utils import CategoryData
from drawings.packed import Drawing
from rendering import Picture, comparison_image, continuations_image, grid_image, save_image
from scoring.copies import TrainingStrokes, nearest_pairs

DrawOn = Callable[[list[Drawing]], list[Drawing]]
"""Draws on: returns, for each unfinished drawing, a drawing that begins with its strokes as they are."""

PAGE_DRAWINGS, PAGE_COLUMNS = 100, 10
EXTREMES, EXTREME_COLUMNS = 16, 8
FIRST_STROKES, WAYS = 3, 7
HALVES, COMPLETIONS = 2, 6
FEWEST_TO_HALVE = 4  # strokes: half of fewer says too little of what the person meant
CAPTIONS = {
    "page.png": "Generated drawings, and real ones beside them where any are at hand: the first of each as they come.",
    "best_worst.png": "The generated drawings to which the recogniser gives the highest and the lowest probability of "
    "the category, and that probability.",
    "diversity.png": "Each row begins with the same red stroke; the model has added what is dark.",
    "completions.png": "The model completes the first half, in red, of held-out drawings, whose originals are on the "
    "right. Where it added nothing, it took the half for a whole.",
    "copies.png": "The generated drawings whose first three strokes come nearest to those of a training drawing, which "
    "is below, and the mean distance of the points.",
}
PAGE_CELL, CELL = 64, 120  # px
PAIRS = 8


@dataclass(frozen=True)
class RealDrawings:
    """Real drawings of a category: those that no training saw, and others; `name` is the word for them."""

    held_out: Sequence[Drawing]
    others: Sequence[Drawing] = ()
    name: str = "real"

    @property
    def page(self) -> list[Drawing]:
        """The first drawings as they come, held-out ones before others, as many as a page shows."""
        held_out = list(self.held_out[:PAGE_DRAWINGS])
        return held_out + list(self.others[: PAGE_DRAWINGS - len(held_out)])

    def describe_page(self) -> str:
        """Return the title of a page of them, with numbers of drawings: "100 real: 29 held out, 71 of training"."""
        shown, held_out = len(self.page), min(PAGE_DRAWINGS, len(self.held_out))
        if held_out in (0, shown):
            return f"{shown} {self.name}, {'held out' if held_out else 'of training'}"
        return f"{shown} {self.name}: {held_out} held out, {shown - held_out} of training"


def page_image(generated: Sequence[Drawing], real: RealDrawings | None = None) -> Picture:
    """Return a page of 100 generated drawings, to the right of 100 real ones if there are any, as (H, W, 3) uint8."""
    shown, title = _full_row(generated[:PAGE_DRAWINGS], PAGE_COLUMNS), f"{min(PAGE_DRAWINGS, len(generated))} generated"
    if real is None or not real.page:
        return grid_image(shown, PAGE_COLUMNS, PAGE_CELL, title=title)
    titles = (real.describe_page(), title)
    return comparison_image(_full_row(real.page, PAGE_COLUMNS), shown, PAGE_COLUMNS, PAGE_CELL, titles=titles)


def probabilities(logits: NDArray[np.float32], classes: Sequence[str], category: str) -> NDArray[np.float64] | None:
    """Return the probability (N,) that the feature network gives the category, None where it has no such class.

    `logits` are (N, C), of the C classes.
    """
    if category not in classes:
        return None
    shares: NDArray[np.float64] = softmax(np.asarray(logits, np.float64), axis=1)[:, list(classes).index(category)]
    return shares


def in_percent(probability: float) -> str:
    """Return a probability as text with one decimal that never rounds to certainty: "> 99.9 %", "12.3 %", "< 0.1 %"."""
    percent = 100 * probability
    return "< 0.1 %" if percent < 0.1 else "> 99.9 %" if percent > 99.9 else f"{percent:.1f} %"


def best_worst_image(generated: Sequence[Drawing], shares: NDArray[np.float64], category: str) -> Picture:
    """Return the 16 drawings of highest and the 16 of lowest probability, `shares` (N,), as (H, W, 3) uint8.

    The best and the worst come first, and no drawing is shown twice: of fewer than 32 each side has half.
    """
    total, order = len(generated), np.argsort(-shares, kind="stable")
    best, worst = order[: min(EXTREMES, -(-total // 2))], order[::-1][: min(EXTREMES, total // 2)]
    stacked: list[Picture] = []
    for kind, chosen in (("highest", best), ("lowest", worst)):
        if not len(chosen):  # the worst of one drawing
            continue
        shown = _full_row([generated[i] for i in chosen], EXTREME_COLUMNS)
        labels = [in_percent(shares[i]) for i in chosen] + [" "] * (len(shown) - len(chosen))
        title = f"The {len(chosen)} of {total:,} drawings with the {kind} probability of “{category}”"
        picture = grid_image(shown, EXTREME_COLUMNS, CELL, title=title, labels=labels)
        stacked += [np.full_like(picture[: CELL // 6], 255), picture]
    return np.concatenate(stacked[1:])


def _full_row(drawings: Sequence[Drawing], columns: int) -> list[Drawing]:
    """Return the drawings, and empty ones to fill the first row: a grid of few is still as wide as its title."""
    return list(drawings) + [[]] * (columns - len(drawings))


def diversity_image(
    generated: Sequence[Drawing], real: RealDrawings | None, draw_on: DrawOn, longest: int
) -> Picture | None:
    """Return rows that show one first stroke and 7 ways in which the model goes on from it, as (H, W, 3) uint8.

    The first strokes are of the first held-out drawings with more strokes than that, then of generated ones. None
    for a model whose longest drawing has one stroke.
    """
    if longest < 2:
        return None
    people = [drawing[:1] for drawing in (real.held_out if real else ()) if len(drawing) > 1][:FIRST_STROKES]
    # those of one stroke last: they had nothing to go on with
    own = [drawing[:1] for drawing in sorted(generated, key=lambda drawing: len(drawing) < 2)]
    firsts = (people + own)[:FIRST_STROKES]
    counts = {f"held-out {real.name if real else ''}": len(people), "generated": len(firsts) - len(people)}
    source = " and ".join(f"{number} {name}" for name, number in counts.items() if number)
    drawings = draw_on([first for first in firsts for _ in range(WAYS)])
    rows = [[first, *drawings[i * WAYS : (i + 1) * WAYS]] for i, first in enumerate(firsts)]
    title = f"continued by the model in {WAYS} ways; first strokes of {source} drawings"
    headings = (("first stroke", 1), (title, WAYS))
    return continuations_image(rows, [1] * len(rows), headings, CELL)


def completions_image(real: RealDrawings | None, draw_on: DrawOn, longest: int) -> Picture | None:
    """Return rows that show half a held-out drawing, 6 completions by the model, and the whole, as (H, W, 3) uint8.

    They are the first drawings of at least 4 strokes, of which half is shorter than the model's longest drawing. None
    where there is no such drawing.
    """
    held_out = real.held_out if real else ()
    wholes = [whole for whole in held_out if len(whole) >= FEWEST_TO_HALVE and len(whole) // 2 < longest][:HALVES]
    if not wholes:
        return None
    halves = [whole[: len(whole) // 2] for whole in wholes]
    drawings = draw_on([half for half in halves for _ in range(COMPLETIONS)])
    completed = [drawings[i * COMPLETIONS : (i + 1) * COMPLETIONS] for i in range(len(halves))]
    rows = [[half, *ways, whole] for half, ways, whole in zip(halves, completed, wholes, strict=True)]
    headings = (("given half", 1), ("completed by the model", COMPLETIONS), ("the original", 1))
    return continuations_image(rows, [len(half) for half in halves], headings, CELL)


def copies_image(drawings: Sequence[Drawing], strokes: TrainingStrokes) -> Picture | None:
    """Return the 8 drawings that come nearest to redrawing a training drawing, and that one below, (H, W, 3) uint8.

    None where nothing can be compared.
    """
    pairs = nearest_pairs(drawings, strokes, PAIRS)
    if not pairs:
        return None
    limit, missing = strokes.limit(), PAIRS - len(pairs)
    shown = _full_row([drawings[i] for i, _, _ in pairs], PAIRS) + [strokes.drawings[j] for _, j, _ in pairs]
    labels = [f"{distance:.1f} px{', a copy' if distance < limit else ''}" for _, _, distance in pairs]
    labels += [" "] * missing + ["training drawing"] * len(pairs)
    title = f"Generated drawings above training drawings; nearer than {limit:.1f} px is a copy"
    return grid_image(shown, columns=PAIRS, cell=CELL, title=title, labels=labels)


def write_gallery(
    folder: Path, category: str, drawings: Sequence[Drawing], shares: NDArray[np.float64] | None,
    data: CategoryData | None, strokes: TrainingStrokes | None, draw_on: DrawOn, longest: int,
) -> dict[str, Path]:  # fmt: skip
    """Write the pictures that can be made into `folder` and return their captions and files.

    Those of an earlier run that cannot be made now are removed. `shares` (N,) are the probabilities that the recogniser
    gives `drawings`; `data` are real drawings and `strokes` those of its training drawings, None where none are at
    hand; `longest` is the model's longest drawing, in strokes.
    """
    real = None
    if data:
        kind = "embedded" if data.source == "embedded" else "real"
        real = RealDrawings(list(data.test), list(islice(data.train, PAGE_DRAWINGS)), kind)
    images = {
        "page.png": page_image(drawings, real),
        "best_worst.png": None if shares is None else best_worst_image(drawings, shares, category),
        "diversity.png": diversity_image(drawings, real, draw_on, longest),
        "completions.png": completions_image(real, draw_on, longest),
        "copies.png": copies_image(drawings, strokes) if strokes else None,
    }
    for name, image in images.items():
        if image is None:
            (folder / name).unlink(missing_ok=True)
        else:
            save_image(folder / name, image, few_colors=True)
    return {caption: folder / name for name, caption in CAPTIONS.items() if images[name] is not None}
