"""Train the critics that `sample_diffusion.py --choose` asks, and measure what choosing is worth.

    python -m studies.train_critics --data-dir quickdraw/simplified

For each shipped category 8,000 drawings of the model that draws by default are told from its training drawings, as
scoring/critic_eye.safetensors and the base see them; the critics go to scoring/critics.safetensors. Then, for each of
three seeds, 500 of 4,000 new drawings are chosen and scored as run_all.py scores, by both judges, which had no part in
it; a third judge is the code of the category's autoencoder. Written to results/critics.json. Data: Quick, Draw!
dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from config import ATTRIBUTION, OWN_MODELS, SampleConfig, shipped_checkpoint
from dataset_utils import CategoryData, data_files, learned_from, load_category
from diffusion_model import TrainedModel
from metrics import kernel_distance, score_drawings
from oddity.looks import Judges
from plumbing.command_line import check_file, run_script, script_parser
from plumbing.files import refuse_overwriting, write_atomically
from reports.tables import markdown_table, summary_table
from sample_diffusion import load_model, sample
from scoring.averages import over_seeds
from scoring.critic import CRITICS, EYE_PATH, Critic, Eye, load_critics, save_critics
from scoring.reference import Drawing
from studies.odd_pays import codes

OUT = Path(__file__).resolve().parent.parent / "results" / "critics.json"
LEARNED_FROM, LEARNED_SEEDS = 4000, (500_000, 504_000)
"""Generated drawings of each seed that a critic learns from; no measurement uses these seeds."""
REAL = 4000
"""Training drawings that a critic learns from, at most."""
CANDIDATES, KEPT, SEEDS = 4000, 500, (0, 1, 2)
FEW_HELD_OUT = 100
"""Held-out drawings below which the third judge compares with the training drawings as well."""


def trained_critic(trained: TrainedModel, category: str, data: CategoryData, eye: Eye) -> Critic:
    """Return the critic of a category."""
    real = [data.train.drawing(row) for row in np.random.default_rng(0).permutation(len(data.train))[:REAL]]
    drawn = [drawing for seed in LEARNED_SEEDS
             for drawing in sample(trained, category, SampleConfig(n=LEARNED_FROM, seed=seed)).drawings]  # fmt: skip
    conditions = {
        "category": category, "file": trained.file, "sha256": trained.sha256, "eye_sha256": eye.network.sha256,
        "base_sha256": eye.base.sha256, "generated": len(drawn), "seeds": LEARNED_SEEDS, "real": len(real),
    }  # fmt: skip
    return Critic.between(eye.features(drawn), eye.features(real), conditions)


def gain(
    trained: TrainedModel, category: str, data: CategoryData, critic: Critic, eye: Eye, data_dir: str | None
) -> dict[str, Any]:
    """Return the scores of KEPT of CANDIDATES drawings over seeds, and what the third judge finds with and without."""
    judges, training = Judges(category), learned_from(data, trained.trained_as(category), data_dir)
    held_out = list(data.test) + (list(data.train) if len(data.test) < FEW_HELD_OUT else [])
    real = codes(held_out, judges)
    scores, third = [], []
    for seed in SEEDS:
        drawn = sample(trained, category, SampleConfig(n=CANDIDATES, seed=seed)).drawings
        kept = [drawn[row] for row in critic.choose(eye.features(drawn), KEPT, seed)]
        scores.append(score_drawings(kept, None, category, training=training, seed=seed))

        def distance(drawings: Sequence[Drawing]) -> float:
            return kernel_distance(codes(drawings, judges), real)[0]

        third.append({"all": distance(drawn[:KEPT]), "chosen": distance(kept)})
    return {"scores": over_seeds(scores), "third_judge": over_seeds(third) | {"real": len(held_out)}}


def table(found: dict[str, Any]) -> str:
    """Return what was measured as tables in Markdown, ± over sampling seeds."""
    measured = {name: found[name] for name in OWN_MODELS if name in found}
    rows = [[f"KID, third judge, {kind}", *(f"{each['third_judge'][kind]:.1f} ± "
             f"{each['third_judge'].get(f'{kind}_over_seeds', 0):.1f}" for each in measured.values())]
            for kind in ("all", "chosen")]  # fmt: skip
    scores = {name: each["scores"] for name, each in measured.items()}
    return f"{markdown_table(*summary_table(scores))}\n\n{markdown_table(['', *measured], rows)}"


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of CATEGORY.ndjson files")
    parser.add_argument("--category", choices=OWN_MODELS, help="one alone; what is known of the others stays")
    parser.add_argument("--critics", type=Path, default=CRITICS, metavar="FILE", help="critics to write")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE",
                        help="measurements (default results/critics.json)")  # fmt: skip
    return parser


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Train, measure, write and print as the command line says; return what was measured."""
    arguments = build_parser().parse_args(argv)
    refuse_overwriting([EYE_PATH, *data_files(arguments.data_dir)], [arguments.critics, arguments.out])
    check_file(arguments.critics, "--critics")
    check_file(arguments.out)
    found: dict[str, Any] = {"attribution": ATTRIBUTION, "n": KEPT, "candidates": CANDIDATES, "seeds": list(SEEDS)}
    if arguments.category and arguments.out.is_file():
        found |= json.loads(arguments.out.read_text(encoding="utf-8"))
    for category in [arguments.category] if arguments.category else OWN_MODELS:
        data, eye = load_category(category, data_dir=arguments.data_dir, allow_download=False), Eye(category)
        trained = load_model(shipped_checkpoint(category))
        critic = trained_critic(trained, category, data, eye)
        save_critics(arguments.critics, load_critics(arguments.critics) | {category: critic})
        found[category] = gain(trained, category, data, critic, eye, arguments.data_dir)
        write_atomically(arguments.out, json.dumps(found, indent=1) + "\n")
    print(table(found))
    print(f"wrote {arguments.critics} and {arguments.out}")
    return found


if __name__ == "__main__":
    run_script(main)
