"""Measure whether a drawing that was begun small is continued as well as one that fills the square.

    python -m studies.placement --category cat --data-dir quickdraw/simplified

Held-out drawings are kept to the first half of their strokes and continued four times: as they are; at half their size
in the corner of the sheet, without and with the placement that `sample_diffusion.py --fit` and the page use; and at
half their size elsewhere, with it. A network that knows 345 names says how many of the endings it names rightly.
Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from config import NETWORK_PATH, SampleConfig
from dataset_utils import load_category
from diffusion_model import TrainedModel
from drawings.simplify import LONGEST_SIDE
from plumbing.command_line import run_script
from sample_diffusion import Drawing, load_model, sample
from scoring.feature_network import load_feature_network
from scoring.placement import Square, likeliest_square
from scoring.reference import describe_drawings, recognised
from studies.one_model import chosen_files, parser_of, write_measured

PAPER = float(LONGEST_SIDE)
WAYS = {
    "as it is": (1.0, (0.0, 0.0), False),
    "as it is, placed": (1.0, (0.0, 0.0), True),
    "half size in the corner, left there": (0.5, (0.0, 0.0), False),
    "half size in the corner, placed": (0.5, (0.0, 0.0), True),
    "half size elsewhere, placed": (0.5, (80.0, 50.0), True),
}
"""Name: scale, offset in pixels, and whether the likeliest square is looked for."""
SEED = 3_000_000


def measure(trained: TrainedModel, category: str, real: list[Drawing]) -> list[dict[str, Any]]:
    """Return for each of WAYS how many endings of real beginnings are named rightly."""
    judge = load_feature_network(NETWORK_PATH)
    beginnings = [list(drawing)[: max(1, len(drawing) // 2)] for drawing in real]
    rows = []
    for name, (scale, offset, placed) in WAYS.items():
        on_paper = [[np.asarray(stroke, np.float64) * scale + offset for stroke in own] for own in beginnings]
        squares = [likeliest_square(trained, category, own, PAPER) if placed else Square(0.0, 0.0, PAPER)
                   for own in on_paper]  # fmt: skip
        given = [square.inside(own) for square, own in zip(squares, on_paper, strict=True)]
        made = sample(trained, category, SampleConfig(n=len(given), seed=SEED), given).drawings
        named = recognised(describe_drawings(made, judge).logits, judge.classes, category)
        rows.append({
            "way": name, "drawings": len(made), "named_rightly": round(float(named.mean()), 4),
            "mean_side_px": round(float(np.mean([square.side for square in squares])), 1),
            "strokes": round(float(np.mean([len(drawing) for drawing in made])), 2),
        })  # fmt: skip
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    return rows


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = parser_of(__doc__, "placement")
    parser.add_argument("--n", type=int, default=300, metavar="N", help="held-out drawings, at most (default 300)")
    return parser


def main(argv: list[str] | None = None) -> Path:
    """Measure as the command line says and return the path of the written file."""
    arguments = build_parser().parse_args(argv)
    category, checkpoint, out = chosen_files(arguments, "placement", "student")
    data = load_category(category, data_dir=arguments.data_dir, split=arguments.split)
    trained = load_model(checkpoint, device=arguments.device)
    real = [list(drawing) for drawing in data.validation if 2 <= len(drawing) < trained.model.config.max_strokes]
    if len(real) < 4:
        raise ValueError(f"{data.path or data.source}: {len(real)} held-out drawings of {category} of two strokes or "
                         "more, at least 4 needed")  # fmt: skip
    rows = measure(trained, category, real[: arguments.n])
    return write_measured(out, category, checkpoint, seed=SEED, rows=rows)


if __name__ == "__main__":
    run_script(main)
