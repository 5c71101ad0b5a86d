"""Measure how often a stroke that is unlike the category is noticed, as the page does it, and where the threshold lies.

    python -m studies.odd_strokes --data-dir quickdraw/simplified       # results/odd_strokes.json, ten minutes

The threshold is the loss that a hundredth of the training strokes from the second of a drawing on reach. Judged are
held-out drawings: their own strokes, and strokes put after some of theirs, the longest of a drawing of another category
where it stands there, or a scribble. Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from config import ATTRIBUTION, OWN_MODELS, shipped_checkpoint
from dataset_utils import data_files, load_category
from diffusion_model import load_with_guide
from oddity.damage import damaged
from oddity.strokes import THRESHOLDS, stroke_losses
from plumbing.command_line import check_file, run_script, script_parser
from plumbing.files import refuse_overwriting, write_atomically
from studies.odd_drawings import Others, some

FALSE_ALARMS = 0.01
MOST_TRAINING, MOST_TRUE = 400, 340
KINDS = ("foreign stroke added", "scribble added")


def measure(category: str, data_dir: str | None) -> dict[str, Any]:
    """Return the threshold of a category and what it finds and spares."""
    trained = load_with_guide(shipped_checkpoint(category))
    data, others = load_category(category, data_dir=data_dir, allow_download=False), Others(data_dir)
    rng = np.random.default_rng(0)

    def later(drawings: Any) -> Any:
        return np.concatenate([stroke_losses(trained, category, list(each))[1:] for each in drawings])

    training = later(some(list(data.train), MOST_TRAINING, rng))
    threshold = float(np.quantile(training, 1 - FALSE_ALARMS))
    true = some([list(each) for each in data.validation], MOST_TRUE, rng)
    own, spans = later(true), np.concatenate([[np.ptp(stroke, axis=0).max() for stroke in each[1:24]] for each in true])
    large = spans >= np.quantile(spans, 0.75)
    found: dict[str, Any] = {
        "threshold": round(threshold, 4), "weights": trained.sha256, "training_strokes": len(training),
        "own": len(own), "false_alarms": round(float((own > threshold).mean()), 4),
        "false_alarms_of_the_largest_quarter": round(float((own > threshold)[large].mean()), 4),
    }  # fmt: skip
    for kind in KINDS:
        losses = []
        for drawing, strange in zip(true, others.foreign(category, len(true), rng), strict=False):
            begun = drawing[: int(rng.integers(1, min(len(drawing), 22) + 1))]
            losses.append(stroke_losses(trained, category, damaged(begun, kind, strange, rng))[-1])
        found[kind] = {"n": len(losses), "found": round(float((np.array(losses) > threshold).mean()), 4)}
    return found


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of CATEGORY.ndjson files")
    parser.add_argument("--out", type=Path, default=THRESHOLDS, metavar="FILE", help="default results/odd_strokes.json")
    return parser


def main(argv: list[str] | None = None) -> Path:
    """Measure all categories that have a model of their own, and return the path of the written file."""
    arguments = build_parser().parse_args(argv)
    refuse_overwriting(data_files(arguments.data_dir), [arguments.out])
    check_file(arguments.out)
    table: dict[str, Any] = {"training_strokes_above": FALSE_ALARMS, "attribution": ATTRIBUTION}
    for category in OWN_MODELS:
        table[category] = measure(category, arguments.data_dir)
        print(category, json.dumps(table[category]), flush=True)
    write_atomically(arguments.out, json.dumps(table, indent=1) + "\n")
    return Path(arguments.out)


if __name__ == "__main__":
    run_script(main)
