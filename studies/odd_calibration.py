"""Make what a check needs beside the recognisers: quantiles of the default score, and autoencoders of pictures.

    python -m studies.odd_calibration --data-dir quickdraw/simplified                   # 345 rows of quantiles
    python -m studies.odd_calibration --autoencoders --data-dir quickdraw/simplified    # four autoencoders, and logs

Both are written into oddity/. Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from config import OWN_MODELS
from dataset_utils import available_categories, data_files, load_category
from drawings.packed import PackedDrawings, spread_rows
from oddity.autoencoder import STEPS, Autoencoder, ink_of, save_autoencoders, train_autoencoder
from oddity.calibration import (
    CALIBRATION,
    FEW,
    LEVELS,
    Calibration,
    calibrated,
    honest_levels,
    save_calibrations,
)
from oddity.looks import AUTOENCODERS, Judges, Look
from oddity.scores import DEFAULT, SCORES
from plumbing.command_line import check_folder, run_script, script_parser
from plumbing.files import append_line, refuse_overwriting

MOST_SMALL, MOST, MOST_HELD_OUT = 120, 1500, 20
"""Training drawings of a small and of a large category whose scores are taken, and held-out ones of a small one."""


def spread(packed: PackedDrawings, most: int) -> PackedDrawings:
    """Return at most so many drawings, spread evenly."""
    return packed.select(spread_rows(len(packed), most))


def calibrate(data_dir: str | None, categories: list[str]) -> tuple[list[Calibration], dict[str, object]]:
    """Return a calibration of the default score for each category, and how they were made."""
    judges, training, ranks = Judges(""), {}, []
    measure = SCORES[DEFAULT].fit(Look([], judges))
    for name in tqdm(categories, unit="category", disable=None):
        data = load_category(name, data_dir=data_dir, allow_download=False)
        judges.category = name
        small = len(data.train) < FEW
        training[name] = (measure(Look(list(spread(data.train, MOST_SMALL if small else MOST)), judges)), small)
        if small and name not in OWN_MODELS and len(data.validation):
            scores = measure(Look(list(spread(data.validation, MOST_HELD_OUT)), judges))
            known = np.sort(training[name][0])
            ranks += (np.searchsorted(known, scores) / len(known)).tolist()
    levels = honest_levels(ranks) if ranks else None
    found = []
    for name, (scores, small) in training.items():
        if small and levels is not None:
            how = f"training drawings, at levels that {len(ranks):,} held-out drawings of small categories keep"
            found.append(calibrated(DEFAULT, name, scores, how, levels))
        else:
            found.append(calibrated(DEFAULT, name, scores, "training drawings"))
    conditions = {"networks": [judges.pictures.sha256, judges.strokes.sha256], "held_out": len(ranks),
                  "uncorrected_false_alarms": float((np.array(ranks) >= 0.95).mean()) if ranks else None,
                  "level_for_95": None if levels is None else float(np.interp(0.95, LEVELS, levels))}  # fmt: skip
    return found, conditions


def train_all(data_dir: str | None, out: Path, steps: int, seed: int) -> dict[str, Autoencoder]:
    """Return the autoencoders of the four categories, whose losses go to metrics.jsonl in folders of `out`."""
    models = {}
    for name in OWN_MODELS:
        folder = out / name
        check_folder(folder)
        log = folder / "metrics.jsonl"
        log.unlink(missing_ok=True)
        data = load_category(name, data_dir=data_dir, allow_download=False)
        ink = ink_of(list(spread(data.train, 2000)))

        def tell(row: dict[str, float], log: Path = log) -> None:
            append_line(log, json.dumps({key: float(f"{value:.6g}") for key, value in row.items()}))

        models[name] = train_autoencoder(ink, seed, steps, tell)
        print(f"{name}: {len(ink):,} drawings, {steps} updates, {log}")
    return models


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of CATEGORY.ndjson files")
    parser.add_argument("--autoencoders", action="store_true", help="train the autoencoders")
    parser.add_argument("--steps", type=int, default=STEPS, help="updates of each (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of their training (default 0)")
    parser.add_argument("--runs", type=Path, default=Path("runs/autoencoders"), metavar="FOLDER",
                        help="folder for their logs (default %(default)s)")  # fmt: skip
    return parser


def main(argv: list[str] | None = None) -> Path:
    """Do what the command line says and return the path of the written file."""
    arguments = build_parser().parse_args(argv)
    refuse_overwriting(data_files(arguments.data_dir), [CALIBRATION, AUTOENCODERS])
    if arguments.autoencoders:
        models = train_all(arguments.data_dir, arguments.runs, arguments.steps, arguments.seed)
        save_autoencoders(AUTOENCODERS, models, {"steps": arguments.steps, "seed": arguments.seed})
        print(f"wrote {AUTOENCODERS}")
        return AUTOENCODERS
    found, conditions = calibrate(arguments.data_dir, available_categories(arguments.data_dir))
    save_calibrations(found, conditions)
    print(f"wrote {CALIBRATION}: {json.dumps(conditions)}")
    return CALIBRATION


if __name__ == "__main__":
    run_script(main)
