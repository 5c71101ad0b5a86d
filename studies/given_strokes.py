"""Measure where a model goes wrong: at its first stroke, or at late strokes that do not fit the early ones.

    python -m studies.given_strokes --category cat --data-dir quickdraw/simplified

Held-out drawings are kept to their first k strokes, for several k, and the model draws the rest. What is left of the
KID at k = 1 is not the first stroke's fault. Small strokes (eyes, windows, whiskers) stand on something or inside it:
their distance to the ink before them, beside that of real drawings, tells whether they find it.
Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

from config import NETWORK_PATH, SampleConfig
from dataset_utils import load_category
from metrics import kernel_distance
from plumbing.command_line import run_script
from sample_diffusion import load_model, sample
from scoring.copies import Drawing
from scoring.feature_network import load_feature_network
from scoring.reference import describe_drawings, recognisability
from stroke_tokens import resample_each
from studies.one_model import chosen_files, parser_of, write_measured

GIVEN = (0, 1, 2, 3, 5)
SMALL = 48.0
"""A stroke whose box is nowhere wider or higher than this, in pixels of 255, is a small one."""
MOST_DRAWINGS = 500
SEED = 2_000_000


def gaps_of_small_strokes(drawings: Sequence[Drawing], given: int = 0) -> NDArray[np.float64]:
    """Return how far, in pixels, each small stroke after stroke `given` is from the nearest ink drawn before it, (S,).

    The first stroke of a drawing has nothing before it and does not count.
    """
    gaps = []
    for drawing in drawings:
        strokes = [np.asarray(stroke, np.float64) for stroke in drawing]
        points = resample_each(strokes, 32)
        for k in range(max(1, given), len(strokes)):
            if np.ptp(strokes[k], axis=0).max() <= SMALL:
                gaps.append(cdist(points[k], points[:k].reshape(-1, 2)).min())
    return np.array(gaps)


def measure(category: str, checkpoint: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return, for each number of strokes given, the scores of the drawings that a model makes of real beginnings."""
    data = load_category(category, data_dir=arguments.data_dir, split=arguments.split)
    trained, loaded = load_model(checkpoint, device=arguments.device), load_feature_network(NETWORK_PATH)
    if data.source == "embedded" and trained.conditions.get("data") != ["embedded"]:
        raise ValueError(f"only embedded drawings are at hand, and {trained.file} was not trained on them; give "
                         "--data-dir")  # fmt: skip
    longest = trained.model.config.max_strokes
    real = [drawing for drawing in data.validation if len(drawing) <= longest][:MOST_DRAWINGS]
    if len(real) < 4:
        raise ValueError(f"{data.path or data.source}: {len(real)} held-out drawings of {category}, at least 4 needed")
    whole = describe_drawings(real, loaded)
    rows = []
    for given in GIVEN:
        rows_left = [i for i, drawing in enumerate(real) if len(drawing) > given]
        prefix = [list(real[i])[:given] for i in rows_left]
        config = SampleConfig(n=len(rows_left), seed=SEED)
        made = sample(trained, category, config, prefix if given else None).drawings
        ours = describe_drawings(made, loaded)
        # drawings that are whole with so few strokes are not compared with either
        kid, deviation = kernel_distance(ours.features, whole.features[rows_left], seed=SEED)
        gaps, real_gaps = (gaps_of_small_strokes(those, given) for those in (made, [real[i] for i in rows_left]))
        rows.append({
            "given": given, "drawings": len(made), "kid": round(kid, 5), "kid_std": round(deviation, 5),
            "top1": recognisability(ours.logits, loaded.classes, category)["top1"],
            "top1_real": recognisability(whole.logits[rows_left], loaded.classes, category)["top1"],
            "small_strokes": len(gaps), "gap_px": _mean(gaps), "gap_px_real": _mean(real_gaps),
            "gap_wasserstein_px": round(wasserstein_distance(gaps, real_gaps), 3) if len(gaps) and len(real_gaps)
            else None,
        })  # fmt: skip
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    return rows


def _mean(values: NDArray[np.float64]) -> float | None:
    return round(float(values.mean()), 3) if len(values) else None


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    return parser_of(__doc__, "given_strokes")


def main(argv: list[str] | None = None) -> Path:
    """Measure as the command line says and return the path of the written file."""
    arguments = build_parser().parse_args(argv)
    category, checkpoint, out = chosen_files(arguments, "given_strokes", "teacher")
    rows = measure(category, checkpoint, arguments)
    return write_measured(out, category, checkpoint, seed=SEED, small_px=SMALL, rows=rows)


if __name__ == "__main__":
    run_script(main)
