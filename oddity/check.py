"""Is each drawing what it claims to be: scores, verdicts at a threshold of known false alarms, and reasons.

Calibrations of the default score are shipped for all 345 categories; other scores are fitted to half of the training
drawings at hand and calibrated on the other half, which they have not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from config import RunFailed
from dataset_utils import CategoryData, load_category
from drawings.packed import spread_rows
from oddity.calibration import Calibration, calibrated, load_calibration
from oddity.looks import Judges, Look
from oddity.scores import DEFAULT, SCORES, Measure

Drawing = Sequence[NDArray[Any]]
DrawingT = TypeVar("DrawingT", bound=Drawing)
Array = NDArray[np.float64]

BORDER = 3.0
"""A drawing is borderline where so many times the false alarms would call it odd."""
LOOKS_LIKE, UNKNOWN = 0.4, 0.25
"""Probability from which another name is told as the reason, and below which no name is a name."""
STROKE_LIMIT, STROKE_LIMIT_OF_BASE = 0.09, 0.022
"""Loss of a stroke under the category's model less that of the base that is told nothing, from which it is unlike the
category's strokes: 99 of 100 strokes of held-out cats are below it. The second where the base is the model."""
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
MOST_TRAINING = 1000
"""Training drawings that a score is fitted to and calibrated on, half and half."""


@dataclass(frozen=True)
class Verdict:
    """One drawing's `score`, the share `rank` of real drawings that are as odd, and what follows from it.

    `verdict` is odd, borderline or fine; `reason` is told of what is not fine, and `odd_stroke` is the stroke it means.
    """

    score: float
    rank: float
    verdict: str
    reason: str = ""
    odd_stroke: int | None = None

    @property
    def is_odd(self) -> bool:
        """Whether the drawing is above the threshold."""
        return self.verdict == "odd"


class Checker:
    """Judges drawings of one category by one score at one rate of false alarms."""

    def __init__(self, category: str, score: str = DEFAULT, false_alarms: float = 0.05, data_dir: str | None = None):
        """Calibrate; raises ValueError or FileNotFoundError in one line where that cannot be done."""
        self.false_alarms, self.judges = false_alarms, Judges(category)
        self.measure: Measure
        if score == DEFAULT:
            self.measure = SCORES[score].fit(Look([], self.judges))
            networks = [self.judges.pictures.sha256, self.judges.strokes.sha256]
            self.calibration = load_calibration(category, networks)
        else:
            self.measure, self.calibration = self._fitted(score, data_dir)
        self.threshold = self.calibration.threshold(false_alarms)

    def _fitted(self, score: str, data_dir: str | None) -> tuple[Measure, Calibration]:
        name = self.judges.category
        data = load_category(name, data_dir=data_dir, allow_download=False)
        if data.source == "embedded":
            raise ValueError(f"--score {score} is fitted to real drawings of {name}, and none are at hand; give "
                             f"--data-dir, or take --score {DEFAULT}")  # fmt: skip
        known, calibrating, source = halves(data, SCORES[score].models)
        if not (len(known) and len(calibrating)):
            raise ValueError(f"--score {score} needs more than {len(data.train)} drawings of {name} to fit")
        measure = SCORES[score].fit(Look(known, self.judges))
        return measure, calibrated(score, name, measure(Look(calibrating, self.judges)), source)

    def scores(self, look: Look) -> Array:
        """Return the scores (N,) of drawings, raising RunFailed where one is not finite."""
        found = self.measure(look)
        if not np.isfinite(found).all():
            raise RunFailed(f"drawing {int(np.flatnonzero(~np.isfinite(found))[0])}: its score is not finite")
        return found

    def odd(self, drawings: Sequence[Drawing]) -> NDArray[np.bool_]:
        """Return which drawings (N,) are odd."""
        result: NDArray[np.bool_] = self.scores(Look(drawings, self.judges)) >= self.threshold
        return result

    def kept(self, drawings: list[DrawingT]) -> list[DrawingT]:
        """Return the drawings that are not odd, raising RunFailed where none is left."""
        left = [drawing for drawing, is_odd in zip(drawings, self.odd(drawings), strict=True) if not is_odd]
        if not left:
            raise RunFailed(f"all {len(drawings)} drawings are odd for {self.judges.category}")
        return left

    def check(self, drawings: Sequence[Drawing]) -> list[Verdict]:
        """Return the verdict on each drawing; the models look at those that are not fine, for reasons."""
        look = Look(drawings, self.judges)
        scores = self.scores(look)
        ranks = self.calibration.rank(scores)
        border = self.calibration.threshold(min(0.5, BORDER * self.false_alarms))
        words = np.where(scores >= self.threshold, "odd", np.where(scores >= border, "borderline", "fine"))
        rows = np.flatnonzero(words != "fine")
        reasons = dict(zip(rows.tolist(), self.reasons(look.select(rows.tolist())), strict=True))
        return [Verdict(float(score), float(rank), str(word), *reasons.get(row, ("", None)))
                for row, (score, rank, word) in enumerate(zip(scores, ranks, words, strict=True))]  # fmt: skip

    def reasons(self, look: Look) -> list[tuple[str, int | None]]:
        """Return what speaks against each drawing, in words, and the number of its odd stroke, from 0."""
        if not len(look):
            return []
        category = self.judges.category
        chances = (softmax(look.pictures.logits, 1) + softmax(look.strokes.logits, 1)) / 2
        classes = self.judges.pictures.classes
        excess = look.own.denoising - look.untold.denoising
        limit = STROKE_LIMIT_OF_BASE if self.judges.model is self.judges.base else STROKE_LIMIT
        found = []
        for chance, row in zip(chances, excess, strict=True):
            best, stroke = int(chance.argmax()), int(np.nanargmax(row))
            odd_stroke = stroke if row[stroke] >= limit else None
            parts = []
            if classes[best] != category and chance[best] >= LOOKS_LIKE:
                parts.append(f"looks like {article(classes[best])} ({100 * chance[best]:.0f} %)")
            elif chance[best] < UNKNOWN:
                parts.append("like nothing that is known")
            if odd_stroke is not None:
                parts.append(f"{ordinal(stroke)} stroke unlike any {category}'s")
            own = chance[classes.index(category)]
            found.append(("; ".join(parts) or f"hardly {article(category)} ({100 * own:.0f} %)", odd_stroke))
        return found


def halves(data: CategoryData, knows_training: bool) -> tuple[list[Drawing], list[Drawing], str]:
    """Return drawings to fit a score to, drawings to calibrate it on, and in words which the latter are.

    Models have learned all training drawings by heart, so that theirs are calibrated on the validation side.
    """
    training: list[Drawing] = list(data.train.select(spread_rows(len(data.train), MOST_TRAINING)))
    if knows_training:
        held_out: list[Drawing] = list(data.validation)
        return training, held_out, f"{len(held_out):,} held-out drawings"
    return training[::2], training[1::2], f"half of {len(training):,} training drawings, the other half fits the score"


def article(name: str) -> str:
    """Return the name of a category with its article, where it takes one: "a dog", "an ant", "The Eiffel Tower"."""
    if name[0].isupper() or (name.endswith("s") and not name.endswith(("ss", "us"))):
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def ordinal(number: int) -> str:
    """Return the word for the stroke of a number from 0: "first", "second" ... "11th"."""
    if number < len(ORDINALS):
        return ORDINALS[number]
    count = number + 1
    ending = "th" if count % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count}{ending}"
