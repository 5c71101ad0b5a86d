"""Measure how well every score tells odd drawings from true ones: tests A to E, three seeds, bootstrap intervals.

    python -m studies.odd_drawings --data-dir quickdraw/simplified             # an hour of one core
    python -m studies.odd_drawings --categories bus --seeds 1 --scores recognisers,neighbours
    python -m studies.odd_drawings --tables                                    # docs from what was measured

Writes results/odd_drawings.json and docs/odd_drawings_roc.png. All drawings that are judged are held out: no
network has learned from them, and no threshold comes from them. Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from config import CATEGORIES
from dataset_utils import CategoryData, available_categories, data_files, load_category
from drawings.look import save_figure
from drawings.packed import Drawing
from oddity.autoencoder import train_autoencoder
from oddity.calibration import Calibration, calibrated, load_calibration
from oddity.check import halves
from oddity.damage import DAMAGES, damaged
from oddity.looks import Judges, Look
from oddity.measures import auc, average_precision, measured
from oddity.scores import DEFAULT, SCORES, Measure
from plumbing.command_line import check_file, run_script, script_parser
from plumbing.files import refuse_overwriting, write_atomically
from reports.tables import replace_between
from studies.odd_tables import all_tables, roc

PROJECT = Path(__file__).resolve().parent.parent
OUT, PAYS = PROJECT / "results" / "odd_drawings.json", PROJECT / "results" / "odd_pays.json"
ROC = PROJECT / "docs" / "odd_drawings_roc.png"
DOCUMENT = PROJECT / "docs" / "ODD_DRAWINGS.md"
NEAR = {
    "cat": ("dog", "lion", "tiger", "bear", "raccoon", "mouse"),
    "bus": ("school bus", "van", "truck", "firetruck", "train"),
    "rabbit": ("kangaroo", "squirrel", "mouse", "cat"),
    "car": ("bus", "van", "truck", "pickup truck", "police car", "school bus"),
}  # fmt: skip
MOST_TRUE, MOST_NEAR, MOST_DAMAGED, MOST_CALIBRATING = 120, 20, 25, 60
"""Held-out drawings of the category; of each near one; those that are damaged; training drawings that set a threshold
for scores of models."""
HIDDEN = 0.05
HIDING = 400
"""Share of foreign drawings hidden among training drawings (test D), and how many of the latter."""
AUTOENCODER_STEPS = 400
PLAIN = ("recognisers", "recogniser", "recogniser_strokes")
"""Scores that need no drawings to be fitted to: test C over all categories."""


# ------------------------------------------------------------------ drawings


@dataclass
class Groups:
    """Held-out drawings of a category that are true, and odd ones by test."""

    true: list[Drawing]
    odd: dict[str, list[Drawing]] = field(default_factory=dict)


class Others:
    """Held-out drawings of other categories, read when they are first asked for."""

    def __init__(self, data_dir: str | None) -> None:
        self.data_dir, self.names = data_dir, available_categories(data_dir)
        self._loaded: dict[str, CategoryData] = {}
        self._training: dict[str, tuple[Look, Look, str]] = {}

    def data(self, name: str) -> CategoryData:
        """Return a category's drawings."""
        if name not in self._loaded:
            self._loaded[name] = load_category(name, data_dir=self.data_dir, allow_download=False)
        return self._loaded[name]

    def training(self, name: str, judges: Judges) -> tuple[Look, Look, str]:
        """Return looks at the training drawings that scores are fitted to, and at those that calibrate them."""
        if name not in self._training:
            known, calibrating, source = halves(self.data(name), False)
            self._training[name] = Look(known, judges), Look(calibrating, judges), source
        first, second, source = self._training[name]
        return first.by(judges), second.by(judges), source

    def held_out(self, name: str) -> list[Drawing]:
        """Return those held out of a category that scores are measured on."""
        return list(self.data(name).test)

    def foreign(self, category: str, count: int, rng: np.random.Generator) -> list[Drawing]:
        """Return `count` held-out drawings of other categories, each as likely as any other."""
        names = [name for name in self.names if name != category]
        chosen = [names[i] for i in rng.choice(len(names), count, replace=count > len(names))]
        found = []
        for name in chosen:
            side = self.data(name).test
            found.append(side.drawing(int(rng.integers(len(side)))) if len(side) else None)
        return [drawing for drawing in found if drawing is not None]


def some(drawings: Sequence[Drawing], most: int, rng: np.random.Generator) -> list[Drawing]:
    """Return at most so many drawings at random, in their order."""
    rows = np.sort(rng.permutation(len(drawings))[:most])
    return [drawings[row] for row in rows]


def groups_of(category: str, others: Others, seed: int) -> Groups:
    """Return the drawings of tests A, B and E, and of C where enough are known to be unrecognised."""
    rng = np.random.default_rng([seed, len(category)])
    held_out = others.held_out(category)
    groups = Groups(some(held_out, MOST_TRUE, rng))
    groups.odd["A"] = others.foreign(category, len(groups.true), rng)
    near = [some(others.held_out(name), MOST_NEAR, rng) for name in NEAR[category] if name in others.names]
    groups.odd["B"] = [drawing for part in near for drawing in part]
    chosen = some(groups.true, MOST_DAMAGED, rng)
    for kind in DAMAGES:
        strange = others.foreign(category, len(chosen), rng)
        both = zip(chosen, strange, strict=False)
        groups.odd[f"E: {kind}"] = [damaged(own, kind, foreign, rng) for own, foreign in both]
    return groups


def known_drawings(data: CategoryData) -> dict[bool, list[Drawing]]:
    """Return held-out drawings by what the game's recogniser said of them, where that is known."""
    found: dict[bool, list[Drawing]] = {True: [], False: []}
    if data.path is not None and data.path.is_file():
        with data.path.open("rb") as file:
            said = [orjson.loads(line).get("recognized") for line in file]
        sides = [data.test] if data.category in CATEGORIES else [data.validation, data.test]  # there they are the same
        for side in sides:
            for drawing, line in zip(side, side.lines, strict=True):
                if isinstance(said[line], bool):
                    found[said[line]].append(drawing)
    return found


# ------------------------------------------------------------------ scores


def fitted(
    category: str, others: Others, judges: Judges, names: Sequence[str]
) -> tuple[dict[str, Measure], dict[str, Calibration]]:
    """Return measures and calibrations of scores, by training drawings alone.

    Scores that are fitted, and those of recognisers alone, are calibrated on the half of the training drawings that
    they were not fitted to; those of diffusion models on training drawings, which these have learned.
    """
    first, second, source = others.training(category, judges)
    few = Look(second.drawings[:MOST_CALIBRATING], judges)
    measures, calibrations = {}, {}
    for name in names:
        measures[name] = SCORES[name].fit(first)
        values = measures[name](few if SCORES[name].models else second)
        calibrations[name] = calibrated(name, category, values, source)
    if DEFAULT in names:
        calibrations[DEFAULT] = load_calibration(category, [judges.pictures.sha256, judges.strokes.sha256])
    return measures, calibrations


def hidden(category: str, others: Others, judges: Judges, names: Sequence[str], seed: int) -> dict[str, Any]:
    """Return AUC and average precision of finding foreign drawings among training drawings (test D).

    Each half is judged by what was fitted to the other, foreign drawings and all. Scores of diffusion models are left
    out, for they have learned the true ones; the autoencoder, for its time.
    """
    names = [name for name in names if not is_slow(name)]
    rng = np.random.default_rng([seed, 4])
    true = some(list(others.data(category).train), HIDING, rng)
    strange = others.foreign(category, max(1, round(HIDDEN / (1 - HIDDEN) * len(true))), rng)
    mixed, is_foreign = [*true, *strange], np.arange(len(true) + len(strange)) >= len(true)
    order = rng.permutation(len(mixed))
    parts = order[::2], order[1::2]
    looks = [Look([mixed[row] for row in part], judges) for part in parts]
    scores = {name: np.zeros(len(mixed)) for name in names}
    for known, asked in ((0, 1), (1, 0)):
        for name, values in scores.items():
            values[parts[asked]] = SCORES[name].fit(looks[known])(looks[asked])
    return {name: {"auc": auc(values[is_foreign], values[~is_foreign]),
                   "average_precision": average_precision(values[is_foreign], values[~is_foreign]),
                   "true": len(true), "odd": len(strange)} for name, values in scores.items()}  # fmt: skip


def measure(category: str, others: Others, seed: int, names: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the measures of every test and score of a category, and the scores behind them."""
    judges = Judges(category, seed)
    if "autoencoder" in names:
        ink = others.training(category, judges)[0].ink
        judges = Judges(category, seed, train_autoencoder(ink, seed, AUTOENCODER_STEPS))
    measures, calibrations = fitted(category, others, judges, names)
    groups = groups_of(category, others, seed)
    true = Look(groups.true, judges)
    kept: dict[str, Any] = {"true": {name: measures[name](true).tolist() for name in names}}
    found: dict[str, Any] = {}
    looks = {test: Look(drawings, judges) for test, drawings in groups.odd.items()}
    for test, look in looks.items():
        kept[test] = {name: measures[name](look).tolist() for name in names}
        found[test] = {name: measured(kept[test][name], kept["true"][name], calibrations[name].threshold(0.05), seed)
                       for name in names}  # fmt: skip
        found[test]["odd"], found[test]["true"] = len(look), len(groups.true)
    for test in [test for test in groups.odd if test.endswith("added")] if "ratio_worst" in names else ():
        look = looks[test]  # the odd stroke is the last
        last = [min(len(drawing), look.own.denoising.shape[1]) - 1 for drawing in look.drawings]
        excess = look.own.denoising - look.untold.denoising
        found[test]["stroke_named"] = float((np.nanargmax(excess, axis=1) == last).mean())
        found[test]["stroke_by_chance"] = float((1 / (1.0 + np.array(last))).mean())
    found["D"] = hidden(category, others, judges, names, seed)
    return found, kept


def unrecognised(others: Others, names: Sequence[str], category: str | None = None) -> dict[str, Any]:
    """Return the measures of test C: drawings that the game did not recognise against those that it did.

    Of one category, or of all, whose scores count as they are. `names` are of scores that nothing is fitted for.
    """
    scores: dict[bool, dict[str, list[float]]] = {side: {name: [] for name in names} for side in (True, False)}
    for each in [category] if category else others.names:
        for side, drawings in known_drawings(others.data(each)).items():
            look = Look(drawings, Judges(each))
            for name in names if drawings else ():
                scores[side][name] += SCORES[name].fit(look)(look).tolist()
    # there is no threshold that serves all categories: the one that 95 % of the recognised ones are below
    thresholds = {name: float(np.quantile(scores[True][name], 0.95)) for name in names}
    result: dict[str, Any] = {name: measured(scores[False][name], scores[True][name], thresholds[name])
                              for name in names}  # fmt: skip
    return result | {"odd": len(scores[False][names[0]]), "true": len(scores[True][names[0]])}


# ------------------------------------------------------------------ a run, and its table


def is_slow(name: str) -> bool:
    """Whether a score needs a network that is trained or runs for each seed."""
    return SCORES[name].models or name == "autoencoder"


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of CATEGORY.ndjson files")
    parser.add_argument("--categories", default=",".join(NEAR), metavar="NAMES",
                        help="with commas (default %(default)s)")  # fmt: skip
    parser.add_argument("--scores", default=",".join(SCORES), metavar="NAMES", help="with commas (default all)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="how many seeds (default 3)")
    parser.add_argument("--whole", action="store_true", help="scores of diffusion models and autoencoders for every "
                        "seed, not the first alone: three times as long")  # fmt: skip
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="default results/odd_drawings.json")
    parser.add_argument("--tables", action="store_true", help="measure nothing: write tables and picture of what was")
    return parser


def main(argv: list[str] | None = None) -> Path:
    """Measure as the command line says and return the path of the written file; what was measured there stays."""
    arguments = build_parser().parse_args(argv)
    refuse_overwriting(data_files(arguments.data_dir), [arguments.out, ROC])
    found: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    if not arguments.tables:
        check_file(arguments.out)
        others, names = Others(arguments.data_dir), arguments.scores.split(",")
        for seed in range(arguments.seeds):
            for category in arguments.categories.split(","):
                if f"{category} {seed}" in found:
                    continue
                began = time.perf_counter()
                asked = [name for name in names if seed == 0 or arguments.whole or not is_slow(name)]
                result, scores = measure(category, others, seed, asked)
                found[f"{category} {seed}"] = {"measures": result, "scores": scores if seed == 0 else {}}
                write_atomically(arguments.out, json.dumps(rounded(found)) + "\n")
                print(f"{category}, seed {seed}: {time.perf_counter() - began:.0f} s", flush=True)
        unfitted = [name for name in names if not SCORES[name].fitted]
        for key, each, which in (("C cat", "cat", unfitted), ("C all", None, PLAIN)):
            if key not in found and set(which) <= set(names):
                found[key] = unrecognised(others, which, each)
                write_atomically(arguments.out, json.dumps(rounded(found)) + "\n")
    else:
        pays = json.loads(PAYS.read_text()) if PAYS.is_file() else {}
        for name, text in all_tables(found, pays).items():
            replace_between(DOCUMENT, (f"<!-- {name} -->", f"<!-- /{name} -->"), lambda text=text: text)  # type: ignore[misc]
        save_figure(ROC, roc(found))
    return Path(arguments.out)


def rounded(value: Any) -> Any:
    """Return nested tables with numbers of five digits."""
    if isinstance(value, Mapping):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


if __name__ == "__main__":
    run_script(main)
