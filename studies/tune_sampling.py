"""Choose how far to fine-tune and how strongly to guide, by validation drawings, and write the weights chosen.

    python -m studies.tune_sampling --category cat --start runs/base/weights.safetensors \\
        --checkpoint runs/cat/weights.safetensors --out tuned/cat.safetensors

Weights between `--start`, from which the training began, and `--checkpoint`, where it ended, need no training: their
average is a model as well (Wortsman et al. 2022, arXiv:2109.01903). Each share of the way is drawn with at every
strength of guidance. The lowest KID to validation drawings, which no training has seen and no test sees, wins. Copies
are no way to win: what redraws more than `--most-copies` of the training drawings, by strokes, is not chosen, whatever
its KID. A stop head that has overfitted is sure of itself and wrong: its logits are scaled and shifted to fit the
validation drawings (Platt 1999; Guo et al. 2017, arXiv:1706.04599). Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from config import GUIDE_PATH, NETWORK_PATH, SPLITS, SampleConfig, TrainConfig, resolve_category, validate
from dataset_utils import CategoryData, data_files, learned_from, load_category
from diffusion_model import TrainedModel, load_weights, save_weights
from diffusion_process import cosine_alpha_bar
from drawings.batches import StrokeSet, evenly_spread, stroke_set
from metrics import kernel_distance
from plumbing.command_line import add_device_argument, check_file, run_script, script_parser
from plumbing.files import refuse_overwriting, sha256_of
from plumbing.processes import autocast_for, best_device
from sample_diffusion import as_tuned, generate_drawings, sample
from scoring.copies import Drawing, TrainingStrokes, stroke_copies
from scoring.feature_network import load_feature_network
from scoring.reference import describe_drawings, recognisability
from studies.held_out_losses import losses_of
from train_diffusion import VALIDATION_DRAWINGS, stop_decisions, validation_losses

STRENGTHS = "1,1.5,2,2.5,3"
SEED = 1_000_000
"""Far from the seeds that published results are drawn with."""
MOST_DRAWINGS = 1000
MOST_COPIES = 0.03
"""Real drawings that were held out copy up to three in a hundred."""


def between(start: TrainedModel, trained: TrainedModel, share: float) -> TrainedModel:
    """Return `trained` with weights that lie `share` of the way from those of `start` to its own.

    The trainings behind both become those behind it. `start` may also be another model trained from the same base.
    Raises ValueError where they are not of one shape, or have other stroke tokens: then no line leads from one to the
    other.
    """
    if share == 1:
        return trained
    ours, theirs = trained.model.state_dict(), start.model.state_dict()
    same_tokens = all(torch.equal(getattr(start.whitening, name), getattr(trained.whitening, name))
                      for name in ("mean", "basis", "scale"))  # fmt: skip
    if not same_tokens or {k: v.shape for k, v in ours.items()} != {k: v.shape for k, v in theirs.items()}:
        raise ValueError(f"{start.file}: is not what {trained.file} began from, its shapes or stroke tokens differ")
    model = copy.deepcopy(trained.model)
    model.load_state_dict({name: theirs[name].lerp(own, share) for name, own in ours.items()})
    own = dict(start.conditions)
    both = [*own.pop("lineage", []), own]
    lineage = trained.conditions.get("lineage", [])
    lineage = [*lineage, *(one for one in both if one not in lineage)]
    return replace(trained, model=model, conditions=trained.conditions | {"lineage": lineage})


@torch.no_grad()
def calibrated(trained: TrainedModel, drawings: StrokeSet) -> TrainedModel:
    """Return `trained` with the logits of its stop head scaled and shifted so that `drawings` are likeliest to end."""
    model = copy.deepcopy(trained.model).eval()
    logits, ends = [], []
    for batch in (batch.to(trained.whitening.mean.device) for batch in evenly_spread(drawings, MOST_DRAWINGS)):
        context = model.context(trained.whitening.encode(batch.vectors), batch.category, batch.affine)
        end, decided = stop_decisions(batch.lengths, batch.vectors.shape[1])
        logits.append(model.stop_logits(context)[decided].double().cpu())
        ends.append(end[decided].double().cpu())
    z, y = torch.cat(logits).numpy(), torch.cat(ends).numpy()

    def loss(line: NDArray[np.float64]) -> float:
        moved = line[0] * z + line[1]
        return float(np.mean(np.logaddexp(0, moved) - y * moved))

    scale, shift = minimize(loss, [1.0, 0.0], bounds=[(0.0, None), (None, None)]).x
    model.stop.weight *= scale
    model.stop.bias.mul_(scale).add_(shift)
    return replace(trained, model=model)


def losses_stated(trained: TrainedModel, drawings: StrokeSet) -> dict[str, float]:
    """Return the losses on held-out drawings that a header states, measured as a training does."""
    found = validation_losses(trained.model, trained.whitening, evenly_spread(drawings, VALIDATION_DRAWINGS),
                              cosine_alpha_bar(), TrainConfig(), autocast_for("float32"))  # fmt: skip
    return {name: round(value, 6) for name, value in found.items()}


class Judge:
    """What ways of drawing a category are judged by: validation drawings, and training drawings not to be copied."""

    def __init__(self, data: CategoryData, training: Sequence[Drawing]) -> None:
        self.loaded = load_feature_network(NETWORK_PATH)
        self.data, self.training = data, TrainingStrokes(training)
        rows = list(data.validation)
        if len(rows) < 2:
            raise ValueError(f"{data.category}: {len(rows)} validation drawings, tuning needs at least 2")
        self.real = rows[:: max(1, len(rows) // MOST_DRAWINGS)][:MOST_DRAWINGS]
        self.features = describe_drawings(self.real, self.loaded).features

    def validation(self, trained: TrainedModel) -> StrokeSet:
        """Return the validation drawings as `trained` is given them."""
        config = trained.model.config
        form = ([trained.category_id(self.data.category)], config.num_points, config.max_strokes)
        return stroke_set([self.data.validation], *form)

    def losses(self, trained: TrainedModel) -> dict[str, float]:
        """Return denoising and stop loss on validation drawings."""
        count = min(MOST_DRAWINGS, len(self.data.validation))
        denoising, stop = losses_of(trained.model, trained.whitening, self.validation(trained), count)
        return {"denoising": round(denoising, 5), "stop": round(stop, 5)}

    def figures(self, trained: TrainedModel, config: SampleConfig) -> dict[str, Any]:
        """Return KID, copies, top-1 and the mean number of strokes of one way of drawing."""
        name, config = self.data.category, as_tuned(config, trained)
        drawings = sample(trained, name, config).drawings
        ours = describe_drawings(drawings, self.loaded)
        top1 = recognisability(ours.logits, self.loaded.classes, name)["top1"]
        value, deviation = kernel_distance(ours.features, self.features, seed=SEED)
        return {
            "guidance": config.guidance,
            "guide": trained.guide.file if trained.guide and config.guidance != 1.0 else None,
            "kid": round(value, 6),
            "kid_std": round(deviation, 6),
            "copies": round(stroke_copies(drawings, self.training)["share"] or 0.0, 4),
            "top1": top1 and round(top1, 4),
            "strokes": round(sum(map(len, drawings)) / len(drawings), 3),
        }


def tried(
    ways: Sequence[tuple[float, TrainedModel]], strengths: Sequence[float], guides: Sequence[TrainedModel | None],
    judge: Judge, n: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the figures of every share of the way, strength and guide (None: the model without a category)."""
    rows = []
    for share, model in ways:
        losses = judge.losses(model)
        unguided = [(1.0, None)] if 1 in strengths else []
        for strength, guide in [*unguided, *product((s for s in strengths if s != 1), guides)]:
            config = SampleConfig(n=n, seed=SEED, guidance=strength)
            rows.append({"share": share, **judge.figures(replace(model, guide=guide), config), **losses})
            print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    return rows


def best_first(rows: Sequence[dict[str, Any]], most_copies: float) -> list[dict[str, Any]]:
    """Return the rows, those that copy no more than `most_copies` first, by KID; then the others, by copies."""
    return sorted(rows, key=lambda row: (row["copies"] > most_copies and row["copies"], row["kid"]))


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help="weights to tune")
    parser.add_argument("--category", required=True, metavar="NAME", help="what they draw")
    parser.add_argument(
        "--start",
        type=Path,
        metavar="FILE",
        help="weights that they were trained from, or others that were trained from the same",
    )
    parser.add_argument("--shares", metavar="X,X", help="shares of the way from --start to --checkpoint to try "
                        "(default 0.25,0.5,0.75,1, without --start 1)")  # fmt: skip
    parser.add_argument("--guide", type=Path, metavar="FILE", default=GUIDE_PATH,
                        help="a weaker model to guide away from (default checkpoints/guide.safetensors)")  # fmt: skip
    parser.add_argument("--strengths", default=STRENGTHS, metavar="X,X", help=f"strengths to try (default {STRENGTHS})")
    parser.add_argument("--most-copies", type=float, default=MOST_COPIES, metavar="X", help="share of drawings that "
                        f"may redraw a training drawing (default {MOST_COPIES:g})")  # fmt: skip
    parser.add_argument("--n", type=int, default=500, metavar="N", help="drawings per way of sampling (default 500)")
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of CATEGORY.ndjson files, or 'embedded'")
    parser.add_argument("--split", default="auto", choices=SPLITS, help="which drawings trained it (default auto)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="weights file to write")
    add_device_argument(parser)
    return parser


def numbers(arguments: argparse.Namespace, name: str) -> list[float]:
    """Return the numbers with commas that a flag was given."""
    text = getattr(arguments, name)
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--{name} is '{text}', must be numbers with commas") from None


def main(argv: list[str] | None = None) -> Path:
    """Tune as the command line says and return the path of the written weights."""
    arguments = build_parser().parse_args(argv)
    if arguments.n < 2:
        raise ValueError(f"--n is {arguments.n}, must be at least 2")
    arguments.shares = arguments.shares or ("0.25,0.5,0.75,1" if arguments.start else "1")
    strengths, shares = numbers(arguments, "strengths"), numbers(arguments, "shares")
    for strength in strengths:
        validate(SampleConfig(guidance=strength))
    if not all(0 <= share <= 1 for share in shares) or (shares != [1.0] and not arguments.start):
        raise ValueError(f"--shares is '{arguments.shares}', must lie in 0 ... 1 and needs --start where it is not 1")
    read = [path for path in (arguments.checkpoint, arguments.guide, arguments.start) if path]
    refuse_overwriting([*read, NETWORK_PATH, *data_files(arguments.data_dir)], [arguments.out])
    device = best_device(arguments.device)
    trained, guide = (load_weights(path, device) for path in (arguments.checkpoint, arguments.guide))
    start = load_weights(arguments.start, device) if arguments.start else trained
    category = resolve_category(arguments.category, trained.categories)
    # a guide that does not fit is told now, not after all unguided drawings
    generate_drawings(replace(trained, guide=guide), category, range(1), seed=SEED, steps=1, guidance=2.0)
    check_file(arguments.out)
    data = load_category(category, data_dir=arguments.data_dir, split=arguments.split)
    if data.source == "embedded" and trained.conditions.get("data") != ["embedded"]:
        raise ValueError(f"only embedded drawings are at hand, and {trained.file} was not trained on them; give "
                         "--data-dir")  # fmt: skip
    others = sorted({*trained.trained_as(category), *start.trained_as(category)})
    judge = Judge(data, learned_from(data, others, arguments.data_dir))
    ways = [(share, calibrated(between(start, trained, share), judge.validation(trained))) for share in shares]
    rows = best_first(tried(ways, strengths, (None, guide), judge, arguments.n), arguments.most_copies)
    best = rows[0]
    chosen = dict(ways)[best["share"]]
    before = chosen.conditions.get("sampling", {})
    chosen.conditions["sampling"] = {key: before[key] for key in ("sampler", "steps") if key in before} | {
        "guidance": best["guidance"],
        "guide": {"file": arguments.guide.name, "sha256": sha256_of(arguments.guide)} if best["guide"] else None,
        "share": best["share"],
        "start_sha256": start.sha256,
        "tried": rows,
        "against": f"{len(judge.real)} validation drawings",
        "most_copies": arguments.most_copies,
        "n": arguments.n,
        "seed": SEED,
    }
    chosen.conditions |= losses_stated(chosen, judge.validation(chosen))
    save_weights(arguments.out, chosen)
    too_many = "; EVERY way copies more than that" if best["copies"] > arguments.most_copies else ""
    print(f"wrote {arguments.out}: share {best['share']:g}, guidance {best['guidance']:g} away from "
          f"{best['guide'] or 'no category'}, copies {best['copies']:.1%} of at most {arguments.most_copies:.0%}"
          f"{too_many}")  # fmt: skip
    return Path(arguments.out)


if __name__ == "__main__":
    run_script(main, "a smaller --n")
