"""Measure how well models know drawings that they were not trained on, beside simple baselines.

    python -m studies.held_out_losses --data-dir quickdraw/simplified     # writes results/held_out_losses.json

For each category: denoising and stop loss of its model, of the base and of baselines, on all held-out drawings and on
as many training drawings. A model whose loss is far lower on training drawings has overfitted. Then
`python -m reports.tables` and `python -m reports.model_card` show the new numbers. Data: Quick, Draw! dataset, (c)
Google, CC BY 4.0.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from config import ATTRIBUTION, CHECKPOINTS, OWN_MODELS, SPLITS, TrainConfig
from dataset_utils import CategoryData, data_files, load_category
from diffusion_model import TrainedModel, load_weights
from diffusion_process import cosine_alpha_bar
from drawings.batches import StrokeSet, evenly_spread, stroke_set
from plumbing.command_line import check_file, run_script, script_parser
from plumbing.files import refuse_overwriting, write_atomically
from plumbing.processes import autocast_for
from stroke_tokens import Whitening
from train_diffusion import validation_losses

OUT = Path(__file__).resolve().parent.parent / "results" / "held_out_losses.json"
NOISE_DRAWS = 4
"""Noises of each stroke at once; the drawings are gone through again until there are LEAST_ERRORS in all."""
LEAST_ERRORS = 20_000
"""Then the loss of 29 buses changes by about one per cent from noise to noise."""


class Baseline(nn.Module):
    """Stands in for a model, and knows no history: only the category's mean stroke, its deviations, and lengths.

    It denoises a token as if its numbers were independent Gaussians, and ends a drawing of k strokes with the
    probability `ends` (longest + 1,) at k.
    """

    null_category = 0

    def __init__(self, tokens: Tensor, ends: Tensor) -> None:
        """Take the tokens (S, D) of training strokes, and the probabilities of ending."""
        super().__init__()
        self.mean, self.variance, self.stop = tokens.mean(0), tokens.var(0), torch.logit(ends)
        self.alpha_bar = cosine_alpha_bar()

    def context(self, tokens: Tensor, category: Tensor, affine: Tensor) -> Tensor:
        """Return how many strokes there are, (B, K + 1, 1), before each stroke and at the end."""
        return torch.arange(tokens.shape[1] + 1).expand(len(tokens), -1)[..., None]

    def stop_logits(self, context: Tensor) -> Tensor:
        """Return the logit (B, K + 1) that a drawing ends there."""
        return self.stop[context[..., 0]]

    def denoise_all(self, x_t: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """Return E[v | x_t], of the shape of `x_t`, for Gaussian tokens."""
        chosen = self.alpha_bar[t].float()[..., None]
        signal, noise = chosen.sqrt(), (1 - chosen).sqrt()
        slope = signal * noise * (1 - self.variance) / (chosen * self.variance + 1 - chosen)
        return slope * (x_t - signal * self.mean) - noise * self.mean


def ending_probabilities(lengths: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Return the probability that a drawing ends after k strokes, k = 0 ... longest: as a constant, and by k.

    The constant is drawings over strokes; by k it is the share of drawings of k strokes or more that have k, with one
    more that ends and one more that goes on.
    """
    ended = torch.bincount(lengths, minlength=longest + 1).float()
    reached = ended.flip(0).cumsum(0).flip(0)
    return (ended.sum() / lengths.sum()).expand(longest + 1), (ended + 1) / (reached + 2)


def losses_of(model: Any, whitening: Whitening, drawings: StrokeSet, count: int) -> tuple[float, float]:
    """Return denoising loss (squared error of v per number) and stop loss (nats per decision) of `count` drawings.

    They are spread evenly over `drawings`. Every model is given the same noise.
    """
    batches = evenly_spread(drawings, count)
    errors = NOISE_DRAWS * sum(int(batch.lengths.sum()) for batch in batches)
    config = TrainConfig(category="", noise_draws=NOISE_DRAWS)
    found = validation_losses(model, whitening, batches * -(-LEAST_ERRORS // errors), cosine_alpha_bar(), config,
                              autocast_for("float32"))  # fmt: skip
    return found["validation_loss"], found["validation_stop_loss"]


def measure(data: CategoryData, trained: TrainedModel, base: TrainedModel) -> dict[str, Any]:
    """Return the losses of a category's model, of the base and of baselines, on held-out and training drawings.

    Raises ValueError where the model was not trained on the training drawings of `data`: others are not held out.
    """
    name, longest = data.category, trained.model.config.max_strokes
    if trained.conditions.get("train_drawings", {}).get(name) != len(data.train):
        raise ValueError(f"{trained.file}: was not trained on these {len(data.train):,} drawings of {name}")
    form = ([trained.category_id(name)], trained.model.config.num_points, longest)
    sets = {"held_out": stroke_set([data.test], *form), "training": stroke_set([data.train], *form)}
    training, count = sets["training"], len(sets["held_out"])
    tokens = base.whitening.encode(training.sample_vectors())
    lengths = torch.from_numpy(data.train.num_strokes[training.rows[0]].astype("int64"))
    constant, by_position = (Baseline(tokens, ends) for ends in ending_probabilities(lengths, longest))
    models: Mapping[str, tuple[nn.Module, Whitening]] = {
        "model": (trained.model, trained.whitening), "base": (base.model, base.whitening),
        "constant": (constant, base.whitening), "by_position": (by_position, base.whitening),
    }  # fmt: skip
    found = {who: {where: losses_of(*model, drawings, count) for where, drawings in sets.items()}
             for who, model in models.items()}  # fmt: skip

    def table(loss: int, names: Mapping[str, str]) -> dict[str, dict[str, float]]:
        return {label: {where: round(both[loss], 5) for where, both in found[who].items()}
                for label, who in names.items()}  # fmt: skip

    return {
        "checkpoint_sha256": trained.sha256, "base_sha256": base.sha256, "drawings": count,
        "strokes": int(sets["held_out"].num_strokes(torch.arange(count).numpy()).sum()),
        "denoising": table(0, {"model": "model", "base": "base", "gaussian": "constant"}),
        "stop": table(1, {name: name for name in models}),
    }  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of CATEGORY.ndjson files")
    parser.add_argument("--split", default="auto", choices=SPLITS, help="which drawings trained them (default auto)")
    parser.add_argument("--checkpoints", type=Path, default=CHECKPOINTS, metavar="FOLDER",
                        help="folder of base.safetensors and CATEGORY.safetensors (default checkpoints)")  # fmt: skip
    parser.add_argument("--categories", default=",".join(OWN_MODELS), metavar="NAMES",
                        help="with commas (default %(default)s)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="default results/held_out_losses.json")
    return parser


def main(argv: list[str] | None = None) -> Path:
    """Measure as the command line says and return the path of the written file."""
    arguments = build_parser().parse_args(argv)
    read = [*arguments.checkpoints.glob("*.safetensors"), *data_files(arguments.data_dir)]
    refuse_overwriting(read, [arguments.out])
    check_file(arguments.out)
    base = load_weights(arguments.checkpoints / "base.safetensors")
    found = {}
    for name in arguments.categories.split(","):
        data = load_category(name, data_dir=arguments.data_dir, split=arguments.split)
        found[data.category] = measure(data, load_weights(arguments.checkpoints / f"{data.category}.safetensors"), base)
        sys.stdout.write(f"{data.category}: {json.dumps(found[data.category])}\n")
    metadata = {
        "denoising": "mean squared error of v per number of a token, at the times of training, unweighted",
        "stop": "nats per decision",
        "history": "without noise, and without a change of shape",
        "noises_per_stroke": f"{NOISE_DRAWS} or more, at least {LEAST_ERRORS:,} in all, the same for every model",
        "training": "as many training drawings as are held out, evenly spread",
        "gaussian": "denoises with mean and deviations of the category's training strokes, by component",
        "constant": "training drawings over their strokes",
        "by_position": "share of training drawings with k strokes or more that have k, add-one smoothing",
        "split": data.split, "torch": torch.__version__, "attribution": ATTRIBUTION,
    }  # fmt: skip
    write_atomically(arguments.out, json.dumps({"metadata": metadata, "categories": found}, indent=2) + "\n")
    sys.stdout.write(f"wrote {arguments.out}\n")
    return Path(arguments.out)


if __name__ == "__main__":
    run_script(main)
