"""Train the critics that `sample_diffusion.py --choose` asks, and measure what choosing is worth.

    python -m studies.train_critics --data-dir quickdraw/simplified

For each shipped category 2,000 drawings of the model that draws by default are told from its training drawings, by
features of both recognisers; the critics go to scoring/critics.safetensors. Then new drawings, 250 of 1,000 candidates
for each of three seeds, are measured by both recognisers, which flatter what their features chose, and by a third judge
that had no part in it, the code of the category's autoencoder; results/critics.json. Data: Quick, Draw! dataset, (c)
Google, CC BY 4.0.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from config import ATTRIBUTION, NETWORK_PATH, OWN_MODELS, REFERENCE_PATH, SampleConfig, shipped_checkpoint
from dataset_utils import CategoryData, data_files, load_category
from diffusion_model import TrainedModel
from metrics import kernel_distance
from oddity.looks import Judges, Look
from plumbing.command_line import check_file, run_script, script_parser
from plumbing.files import refuse_overwriting, write_atomically
from reports.tables import markdown_table
from sample_diffusion import load_model, sample
from scoring.averages import over_seeds
from scoring.copies import TrainingStrokes, stroke_copies
from scoring.critic import CRITICS, Critic, features_of, save_critics
from scoring.feature_network import load_feature_network
from scoring.reference import Reference, load_reference, recognisability
from scoring.two_sample import two_sample_accuracy
from studies.odd_pays import codes

OUT = Path(__file__).resolve().parent.parent / "results" / "critics.json"
LEARNED_FROM, LEARNED_SEED = 2000, 100
"""Generated drawings that a critic learns from, and their sampling seed, which no measurement uses."""
REAL = 4000
"""Training drawings that a critic learns from, at most."""
CANDIDATES, KEPT, SEEDS = 1000, 250, (0, 1, 2)
FEW_HELD_OUT = 100
"""Held-out drawings below which the third judge compares with the training drawings as well."""


def trained_critic(trained: TrainedModel, category: str, data: CategoryData) -> Critic:
    """Return the critic of a category."""
    real = [data.train.drawing(row) for row in np.random.default_rng(0).permutation(len(data.train))[:REAL]]
    drawn = sample(trained, category, SampleConfig(n=LEARNED_FROM, seed=LEARNED_SEED)).drawings
    conditions = {"file": trained.file, "sha256": trained.sha256, "generated": len(drawn), "seed": LEARNED_SEED,
                  "real": len(real)}  # fmt: skip
    return Critic.between(features_of(drawn), features_of(real), conditions)


def measured(
    look: Look, rows: Sequence[int], reference: Reference, real: Any, training: TrainingStrokes
) -> dict[str, Any]:
    """Return the scores of some of the drawings that a look has seen."""
    kept = look.select(rows)
    second, third = reference.second.real.features, codes(kept.drawings, kept.judges)
    return {
        "kid_pictures": kernel_distance(kept.pictures.features, reference.real.features)[0],
        "two_sample_pictures": two_sample_accuracy(kept.pictures.features, reference.real.features),
        "top1": recognisability(kept.pictures.logits, kept.judges.pictures.classes, kept.judges.category)["top1"],
        "kid_strokes": kernel_distance(kept.strokes.features, second)[0],
        "two_sample_strokes": two_sample_accuracy(kept.strokes.features, second),
        "kid_third": kernel_distance(third, real)[0],
        "two_sample_third": two_sample_accuracy(third, real),
        "copies": stroke_copies(kept.drawings, training)["share"],
    }


def gain(trained: TrainedModel, category: str, data: CategoryData, critic: Critic) -> dict[str, Any]:
    """Return scores of the first KEPT of CANDIDATES drawings and of the KEPT that the critic chose, over seeds."""
    reference = load_reference(REFERENCE_PATH, category, load_feature_network(NETWORK_PATH))
    judges, training = Judges(category), TrainingStrokes(list(data.train))
    held_out = list(data.test) + (list(data.train) if len(data.test) < FEW_HELD_OUT else [])
    real = codes(held_out, judges)
    rows: dict[str, list[dict[str, Any]]] = {"first": [], "chosen": []}
    for seed in SEEDS:
        look = Look(sample(trained, category, SampleConfig(n=CANDIDATES, seed=seed)).drawings, judges)
        features = np.hstack([look.pictures.features, look.strokes.features]).astype(float)
        kept = critic.choose(features, KEPT, seed)
        for name, chosen in (("first", range(KEPT)), ("chosen", kept)):
            rows[name].append(measured(look, list(chosen), reference, real, training))
    found: dict[str, Any] = {name: over_seeds(each) for name, each in rows.items()}
    return found | {"third_judge_real": len(held_out)}


COLUMNS = (
    ("KID × 10³", "kid_pictures", 1000, 0), ("two-sample", "two_sample_pictures", 1, 2), ("top-1, %", "top1", 100, 0),
    ("KID × 10³, strokes", "kid_strokes", 1000, 0), ("two-sample, strokes", "two_sample_strokes", 1, 2),
    ("KID, third judge", "kid_third", 1, 1), ("two-sample, third", "two_sample_third", 1, 2),
    ("copies, %", "copies", 100, 1),
)  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """Return what was measured as a table in Markdown, ± over sampling seeds."""

    def cells(row: dict[str, Any]) -> list[str]:
        return [f"{scale * row[key]:.{digits}f} ± {scale * row.get(f'{key}_over_seeds', 0.0):.{digits}f}"
                for _, key, scale, digits in COLUMNS]  # fmt: skip

    rows = [[f"{category}, {words}", *cells(found[category][name])] for category in OWN_MODELS if category in found
            for name, words in (("first", "all"), ("chosen", "chosen of 4"))]  # fmt: skip
    return markdown_table(["", *(label for label, *_ in COLUMNS)], rows)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of CATEGORY.ndjson files")
    parser.add_argument("--critics", type=Path, default=CRITICS, metavar="FILE", help="critics to write")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE",
                        help="measurements (default results/critics.json)")  # fmt: skip
    return parser


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Train, measure, write and print as the command line says; return what was measured."""
    arguments = build_parser().parse_args(argv)
    refuse_overwriting(data_files(arguments.data_dir), [arguments.critics, arguments.out])
    check_file(arguments.critics, "--critics")
    check_file(arguments.out)
    critics: dict[str, Critic] = {}
    found: dict[str, Any] = {"attribution": ATTRIBUTION, "n": KEPT, "candidates": CANDIDATES, "seeds": list(SEEDS)}
    for category in OWN_MODELS:
        data = load_category(category, data_dir=arguments.data_dir, allow_download=False)
        trained = load_model(shipped_checkpoint(category))
        critics[category] = trained_critic(trained, category, data)
        save_critics(arguments.critics, critics)
        found[category] = gain(trained, category, data, critics[category])
        write_atomically(arguments.out, json.dumps(found, indent=1) + "\n")
        print(table({category: found[category]}), flush=True)
    print(f"wrote {arguments.critics} and {arguments.out}")
    return found


if __name__ == "__main__":
    run_script(main)
