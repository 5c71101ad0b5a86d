"""Refine a student, so that what it draws comes nearer to what people draw, as seen by networks that judge nothing.

    python -m studies.refine --category rabbit --out runs/refine-rabbit      # the shipped student
    python -m studies.refine --checkpoint runs/distill-dog/weights.safetensors --category dog  # one of your own

A student draws as its teacher does, whose faults it learned: a stroke is trained on what comes before it in people's
drawings, and drawn after strokes of its own. Here the student draws whole drawings, and a few evaluations a stroke are
few enough to follow the gradient back through all of them (Clark et al. 2024, arXiv:2309.17400), and through what later
strokes answer to earlier ones. It follows the energy distance of drawn and people's drawings in the features f of some
views (Szekely and Rizzo 2013),

    2 E|f(drawn) - f(real)| - E|f(drawn) - f(drawn')| - E|f(real) - f(real')|

which is 0 where both are alike. That is moment matching (Salimans et al. 2024, arXiv:2406.04103) with a kernel, and
needs no second network that learns against the first. The views:

    contexts  what the base remembers after the k-th stroke, by k
    tokens    the k-th strokes themselves, by k
    pictures  what scoring/critic_eye.safetensors makes of whole drawings, at 3 depths; no cat, bus, rabbit or car was
              among those that it learned from
    places    the same, place by place
    ink       how much ink is where

None of them has a part in a score. History transformer, category table and stop head stay as they are. Writes into the
run's folder what the other trainings write; repeat the command to resume, with a memory of drawings that begins anew.
Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from config import BASE_PATH, SPLITS, TrainConfig, option, resolve_category, shipped_checkpoint, steps_of
from dataset_utils import data_files, load_category
from diffusion_model import StrokeDiffusionModel, TrainedModel
from diffusion_process import trailing_timesteps
from drawings.batches import Batch, StrokeSet, TrainingData, stroke_set, within
from drawings.ink import fitted, ink_pictures
from plumbing.command_line import (
    add_config_arguments,
    add_device_argument,
    check_folder,
    config_from_arguments,
    run_script,
    script_parser,
)
from plumbing.files import locked_folder
from plumbing.run_folder import refuse_losing_files
from sample_diffusion import StrokeRandomness, generate_drawings, load_model
from scoring.critic import EYE_PATH
from scoring.feature_network import SketchFeatureNetwork, load_feature_network
from stroke_tokens import points_to_vectors
from studies.distill import angle_between, learner_of, start_from, step
from train_diffusion import Run, finished, go_on

DRAWN = 64
"""Drawings of an update."""
REMEMBERED = 8
"""Updates whose drawings stand for what the student draws, beside the present ones: less noise in the gradient."""
PEOPLE, COMPARED = 4000, 500
"""Drawings of people that are looked at, at most, and that an update compares with."""
SEEN_PICTURES = 2000
"""Pictures of people's drawings, each of which is stretched and shifted a little otherwise."""
PLACES = 4
"""Rows and columns of places of a picture that are looked at one by one as well."""
BLUR = 4
"""Rows and columns of pixels that are one, where the ink itself is looked at."""
STRETCH = 0.08
"""Deviation of the entries of the 2 x 2 matrix by which a drawing is changed before the eye sees it."""
BY_STROKE = ("contexts", "tokens")
"""Views of single strokes; all others are of whole pictures."""
MOST_STROKES = 10
"""Strokes of a drawing that are compared by their number; with fewer than FEWEST drawings a number is left out."""
FEWEST = 8
OUTLIER = 3.0
"""A stroke's gradient is at most this many times the root mean square of all."""
MOST_ANSWERED = 1.0
"""What a stroke changes in later ones counts at most this many times the root mean square, for some change wildly."""
HELD_OUT, HELD_OUT_SEED = 256, 3_000_000
"""Drawings that validate, and their seed."""

REFINEMENT = TrainConfig(
    steps=160, batch_strokes=512, parts=1, noise_draws=1, learning_rate=2e-5, warmup=20, schedule="constant-decay",
    decay=0.3, ema_decay=0.95, weight_decay=0.0, category_dropout=0.0, history_noise=0.0, augmentation=0.0,
    augmented_share=0.0, stop_weight=0.0, precision="float32", validate_every=40, sample_every=0,
)  # fmt: skip
"""How a student is refined, where no flag says otherwise."""


# ------------------------------------------------------------------ what is seen


@dataclass(frozen=True)
class Eyes:
    """What drawings are looked at with: the base, as drawings of category `kind`, and a network for pictures."""

    student: TrainedModel
    base: TrainedModel
    kind: int
    network: SketchFeatureNetwork

    @staticmethod
    def of(student: TrainedModel, category: str, device: torch.device) -> Eyes:
        """Return the eyes for a student; a category that the base does not know it takes for none."""
        base = load_model(BASE_PATH, "null", str(device))
        known = category in base.categories
        network = cast(SketchFeatureNetwork, load_feature_network(EYE_PATH).network).to(device)
        for model in (base.model, network):
            model.eval().requires_grad_(False)
        return Eyes(student, base, base.category_id(category) if known else base.model.null_category, network)

    def by_stroke(self, tokens: Tensor) -> dict[str, Tensor]:
        """Return what is seen of each stroke of drawings of the student's `tokens` (B, K, D), (B, K, F) by view."""
        vectors, points = self.student.whitening.decode(tokens), self.base.model.config.num_points
        if points != self.student.model.config.num_points:
            lines = vectors.unflatten(-1, (-1, 2)).flatten(0, 1).transpose(1, 2)
            lines = F.interpolate(lines, points, mode="linear", align_corners=True).transpose(1, 2)
            vectors = lines.flatten(1).unflatten(0, tokens.shape[:2])
        read = self.base.whitening.encode(vectors)[:, : self.base.model.config.max_strokes]
        kind = torch.full((len(read),), self.kind, device=read.device)
        return {"contexts": self.base.model.context(read, kind)[:, 1:], "tokens": tokens[:, : read.shape[1]]}

    def whole(self, tokens: Tensor, lengths: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return what is seen of pictures of drawings, each changed a little at random, (B, 1, F) by view."""
        mask = within(lengths, tokens.shape[1])
        points, owner = self.student.whitening.decode(tokens[mask]).unflatten(-1, (-1, 2)), mask.nonzero()[:, 0]
        change = torch.eye(2) + STRETCH * torch.randn(len(tokens), 2, 2, generator=generator)
        shift = torch.rand(len(tokens), 1, 2, generator=generator) - 0.5
        changed = points @ change.to(points.device)[owner].transpose(1, 2)
        pixels = fitted(changed, owner, len(tokens)) + shift.to(points.device)[owner]
        ink = ink_pictures(pixels, owner, len(tokens)).unsqueeze(1)
        x, seen = self.network.stem(ink), {"ink": F.avg_pool2d(ink, BLUR).flatten(1)[:, None]}
        for depth, block in enumerate(self.network.blocks, 1):
            x = block(x)
            seen[f"pictures {depth}"] = x.mean((2, 3))[:, None]
            seen[f"places {depth}"] = F.adaptive_avg_pool2d(x, PLACES).flatten(1)[:, None]
        return seen


@dataclass
class View:
    """People's drawings as one view sees them, standardised, and those that the student drew last.

    `real[k]` (N_k, F) is what is seen at stroke k of the drawings that have one; of a whole picture there is only k=0.
    """

    mean: Tensor
    std: Tensor
    real: list[Tensor]
    drawn: deque[list[Tensor]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    @staticmethod
    def of(features: Tensor, lengths: Tensor) -> View:
        """Return the view of people's drawings from `features` (N, K, F) of their `lengths` (N,) strokes."""
        all_of_them = features[within(lengths, features.shape[1])]
        mean, std = all_of_them.mean(0), all_of_them.std(0) + 1e-3
        parts = by_number((features - mean) / std, lengths)
        return View(mean, std, [part for part in parts if len(part) >= FEWEST])

    def distance(self, features: Tensor, lengths: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the energy distance of what was drawn, `features` (B, K, F), the mean over its strokes.

        With a generator it compares with COMPARED drawings of people and those drawn last, which then include these:
        the gradient is that of the distance, the value only near to it. Without one, with all and with these alone.
        """
        parts = by_number((features - self.mean) / self.std, lengths)
        total, count = features.new_zeros(()), 0
        for k, (real, own) in enumerate(zip(self.real, parts, strict=False)):
            if len(own) < 2:
                continue
            if generator is not None:
                real = real[torch.randperm(len(real), generator=generator)[:COMPARED].to(real.device)]
                others = torch.cat([own.detach(), *(before[k] for before in self.drawn if k < len(before))])
            else:
                others = own.detach()
            apart = torch.cdist(own, others).sum() / (len(own) * (len(others) - 1))  # from itself it is 0
            among = torch.cdist(real, real).sum() / (len(real) * (len(real) - 1))
            # both drawings of a pair move, of which one has the gradient
            energy = 2 * torch.cdist(own, real).mean() - 2 * apart + apart.detach() - among
            total = total + energy / own.shape[1] ** 0.5 * len(own)
            count += len(own)
        if generator is not None:
            self.drawn.append([own.detach() for own in parts])
        return total / max(1, count)


def by_number(features: Tensor, lengths: Tensor) -> list[Tensor]:
    """Return features (N, K, F) of strokes by their number, (N_k, F) for k below K and MOST_STROKES."""
    return [features[lengths > k, k] for k in range(min(features.shape[1], MOST_STROKES))]


# ------------------------------------------------------------------ what is drawn


@torch.no_grad()
def drawn_with_noise(student: TrainedModel, category: str, count: int, seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return the tokens of `count` drawings, the shortest first, (K, D) each, and the noise that each began with."""
    made = generate_drawings(student, category, range(count), seed=seed, guidance=1.0).drawings
    device, dim = student.model.position.device, student.model.token_dim
    order = sorted((i for i in range(count) if made[i]), key=lambda i: len(made[i]))
    tokens = [student.whitening.encode(points_to_vectors(np.stack(made[i])).to(device)) for i in order]
    noise = [torch.cat([StrokeRandomness(seed, [i], k, dim, device).normal() for k in range(len(made[i]))])
             for i in order]  # fmt: skip
    return tokens, noise


def drawn_again(model: StrokeDiffusionModel, noise: Tensor, context: Tensor, steps: int | Sequence[int]) -> Tensor:
    """Return the strokes (B, K, D) that noise (B, K, D) becomes by DDIM after histories of contexts (B, K, W)."""
    by_stroke = [steps_of(k, steps) for k in range(noise.shape[1])]
    strokes: list[Tensor] = []
    while len(strokes) < len(by_stroke):
        first = len(strokes)
        same = next((k for k in range(first, len(by_stroke)) if by_stroke[k] != by_stroke[first]), len(by_stroke))
        x, num_timesteps = noise[:, :same], len(model.time_table)
        for t, after in pairwise([*trailing_timesteps(by_stroke[first], num_timesteps), -1]):
            v = model.denoise_all(x[:, :, None], t, context[:, :same])[:, :, 0]
            x = step(x, v, angle_between(t, after, num_timesteps))
        strokes += x[:, first:].unbind(1)
    return torch.stack(strokes, 1)


@dataclass(frozen=True)
class ViewWeights:
    """How much the views of strokes count beside those of the pictures, each of which counts 1, and how far."""

    contexts: float = option(1.0, "weight of contexts; each view of the pictures has 1", minimum=0, maximum=1000)
    tokens: float = option(1.0, "weight of tokens", minimum=0, maximum=1000)
    answers: int = option(2, "how many times the gradient goes back through the answers of later strokes", minimum=0,
                          maximum=32)  # fmt: skip


class Refinement(Run):
    """A training run whose network draws, and is drawn towards what people draw."""

    LOSSES = ("loss", "pictures")
    STORED = torch.int8

    def __init__(
        self, config: TrainConfig, data: TrainingData, student: TrainedModel, weights: ViewWeights,
        start: dict[str, Any], out: Path, device: torch.device,
    ) -> None:  # fmt: skip
        """Begin with the student's weights, and look at people's drawings."""
        model = learner_of(student)
        self.category, self.view_weights = config.category, weights
        super().__init__(config, data, replace(student, model=model, conditions=start), out, device)
        self.eyes = Eyes.of(replace(student, whitening=self.whitening), config.category, device)
        self.views = self.looked_at(data.train)
        self.held_out_views = self.looked_at(data.held_out)

    @torch.no_grad()
    def looked_at(self, drawings: StrokeSet) -> dict[str, View]:
        """Return the views of people's drawings."""
        rng, generator = np.random.default_rng(self.config.seed), torch.Generator().manual_seed(self.config.seed)
        chosen = rng.permutation(len(drawings))[:PEOPLE]
        found: dict[str, list[Tensor]] = {}
        lengths: dict[str, list[Tensor]] = {}
        often = max(1, SEEN_PICTURES // len(chosen))
        longest = int(drawings.num_strokes(chosen).max())
        for rows in np.array_split(chosen, -(-len(chosen) // 256)):
            batch = drawings.batch(rows).to(self.device)
            tokens = self.whitening.encode(batch.vectors)
            once = torch.ones_like(batch.lengths)
            seen = [(self.eyes.by_stroke(tokens), batch.lengths)]
            seen += [(self.eyes.whole(tokens, batch.lengths, generator), once) for _ in range(often)]
            for views, own in seen:
                for name, features in views.items():
                    room = 0 if own is once else longest - features.shape[1]
                    found.setdefault(name, []).append(F.pad(features, (0, 0, 0, room)))
                    lengths.setdefault(name, []).append(own)
        return {name: View.of(torch.cat(parts), torch.cat(lengths[name])) for name, parts in found.items()}

    def distances(self, tokens: Tensor, lengths: Tensor, views: dict[str, View], generator: torch.Generator,
                  is_learning: bool = False) -> dict[str, Tensor]:  # fmt: skip
        """Return by view how far drawings `tokens` (B, K, D) are from people's."""
        own = generator if is_learning else None
        seen = self.eyes.by_stroke(tokens)
        found = {name: views[name].distance(features, lengths, own) for name, features in seen.items()}
        once = torch.ones_like(lengths)
        seen = self.eyes.whole(tokens, lengths, generator)
        return found | {name: views[name].distance(features, once, own) for name, features in seen.items()}

    def weighed(self, distances: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of the distances of all views, and the sum of the pictures'."""
        pictures = torch.stack([value for name, value in distances.items() if name not in BY_STROKE]).sum()
        others = [getattr(self.view_weights, name) * distances[name] for name in BY_STROKE]
        return pictures + torch.stack(others).sum(), pictures.detach()

    def losses(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the distance of DRAWN drawings from people's, which the batch only sets the pace for."""
        del batch
        seed = int(torch.randint(2**30, (), generator=generator, device=generator.device))
        student = TrainedModel(self.model, self.whitening, self.data.categories, self.identity["data"])
        tokens, noise = drawn_with_noise(student, self.category, DRAWN, seed)
        halves = np.array_split(np.arange(len(tokens)), 2)  # like lengths: less padding
        paths = [self.path(student, [tokens[i] for i in half], [noise[i] for i in half]) for half in halves]
        ends = [own[: len(tokens[i])] for (_, strokes), half in zip(paths, halves, strict=True)
                for i, own in zip(half, strokes.detach(), strict=True)]  # fmt: skip
        drawn = pad_sequence(ends, batch_first=True).requires_grad_()
        lengths = torch.tensor([len(own) for own in tokens], device=self.device)
        chance = torch.Generator().manual_seed(seed)
        loss, pictures = self.weighed(self.distances(drawn, lengths, self.views, chance, is_learning=True))
        (gradient,) = torch.autograd.grad(loss, drawn)
        gradient, total = shortened(gradient, OUTLIER * root_mean_square(gradient)), loss.detach()
        for (histories, strokes), half in zip(paths, halves, strict=True):
            wanted = gradient[half[0] : half[-1] + 1, : strokes.shape[1]]
            pull = (strokes * through_answers(histories, strokes, wanted, self.view_weights.answers)).sum()
            total = total + pull - pull.detach()  # the value of the distance, with the gradient that was found
        return total, pictures

    def path(self, student: TrainedModel, tokens: list[Tensor], noise: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the strokes of drawings twice (B, K, D): as later strokes see them, and as they come from noise."""
        histories, begin = (pad_sequence(each, batch_first=True) for each in (tokens, noise))
        histories.requires_grad_()
        kind = torch.full((len(tokens),), student.category_id(self.category), device=self.device)
        return histories, drawn_again(self.model, begin, self.model.context(histories, kind)[:, :-1], student.steps)

    @torch.no_grad()
    def held_out_losses(self) -> dict[str, float]:
        """Return how far drawings of the EMA of the weights, always from the same seeds, are from held-out ones."""
        averaged = self.averaged()
        averaged.model.eval()
        tokens, _ = drawn_with_noise(averaged, self.category, HELD_OUT, HELD_OUT_SEED)
        lengths = torch.tensor([len(own) for own in tokens], device=self.device)
        generator = torch.Generator().manual_seed(HELD_OUT_SEED)
        both = self.distances(pad_sequence(tokens, batch_first=True), lengths, self.held_out_views, generator)
        distance, pictures = self.weighed(both)
        return {"validation_distance": float(distance), "validation_pictures": float(pictures)}


def root_mean_square(gradient: Tensor) -> Tensor:
    """Return the root mean square of the lengths of strokes' gradients (B, K, D), those of padding left out."""
    size = gradient.norm(dim=-1)
    return size[size > 0].square().mean().sqrt()


def shortened(gradient: Tensor, most: Tensor) -> Tensor:
    """Return the gradient (B, K, D) of strokes with none longer than `most` ()."""
    return gradient * (most / gradient.norm(dim=-1, keepdim=True).clamp(min=1e-20)).clamp(max=1.0)


def through_answers(histories: Tensor, strokes: Tensor, wanted: Tensor, times: int) -> Tensor:
    """Return the gradient for `strokes` whose own is `wanted` (B, K, D), with what they change in later ones.

    The strokes were drawn after `histories`, which have their values. If J is how they answer to those, the whole
    gradient is g = wanted + J^T g, for J leads to later strokes only: solved by inserting it `times` times.
    """
    total, limit = wanted, MOST_ANSWERED * root_mean_square(wanted)
    for _ in range(min(times, strokes.shape[1] - 1)):
        (answered,) = torch.autograd.grad(strokes, histories, total, retain_graph=True)
        total = wanted + shortened(answered, limit)
    return total


# ------------------------------------------------------------------ command line


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--category", required=True, metavar="NAME", help="what it draws")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="the student (default: the shipped one)")
    parser.add_argument("--out", metavar="FOLDER", help="folder of the run (default runs/refine-CATEGORY)")
    add_config_arguments(parser.add_argument_group("views"), ViewWeights)
    names = ("steps", "learning_rate", "warmup", "decay", "ema_decay", "seed", "validate_every", "sample_every")
    add_config_arguments(parser.add_argument_group("optimisation"), TrainConfig, only=names, start=REFINEMENT)
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of CATEGORY.ndjson files, or 'embedded'")
    parser.add_argument("--split", default="auto", choices=SPLITS, help="which drawings are compared with "
                        "(default auto)")  # fmt: skip
    add_device_argument(parser)
    return parser


def prepared(arguments: argparse.Namespace, weights: Path, out: Path, name: str) -> Refinement:
    """Return a run of the student `weights` that is ready to go on: its state restored if there is one."""
    config = replace(config_from_arguments(TrainConfig, arguments, REFINEMENT), category=name)
    views = config_from_arguments(ViewWeights, arguments)
    student = load_model(weights, "null", arguments.device)
    number = student.category_id(name)
    if student.sampler != "ddim" or student.guidance != 1.0:
        raise ValueError(f"{weights}: is no student: it draws by {student.sampler} with guidance {student.guidance:g}; "
                         "distil it first, by python -m studies.distill")  # fmt: skip
    drawings = load_category(name, data_dir=arguments.data_dir, split=arguments.split)
    form = (student.model.config.num_points, student.model.config.max_strokes)
    people, held_out = (stroke_set([part], [number], *form) for part in (drawings.train, drawings.validation))
    start = start_from(student)
    source = {
        "data": [drawings.source], "split": [drawings.split], "trained_on": [name],
        "sampling": student.conditions["sampling"], "refined": asdict(views) | {"people": len(people)},
    }  # fmt: skip
    described = f"{len(people)} drawings of people, {len(held_out)} held out"
    data = TrainingData(people, held_out, student.categories, [number], source, described)
    run = Refinement(config, data, student, views, start, out, student.model.position.device)
    go_on(run)
    return run


def main(argv: list[str] | None = None) -> Path:
    """Refine as the command line says and return the path of the student's weights."""
    arguments = build_parser().parse_args(argv)
    name = resolve_category(arguments.category)
    out = Path(arguments.out or f"runs/refine-{name}")
    weights = arguments.checkpoint or shipped_checkpoint(name)
    check_folder(out)
    refuse_losing_files(out, [*data_files(arguments.data_dir), weights])
    with locked_folder(out):
        return finished(prepared(arguments, weights, out, name))


if __name__ == "__main__":
    run_script(main)
