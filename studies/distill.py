"""Distil a trained model into a student that draws a stroke in four evaluations of one network, without a guide.

    python -m studies.distill --category cat --out runs/distill-cat                    # the shipped cat
    python -m studies.distill --checkpoint runs/dog/weights.safetensors --category dog  # a model of your own
    python -m studies.distill --category cat --student-steps 4,2 --out runs/distill-cat-fewer

First the teacher is recorded: histories, some of them real drawings and the others its own, and the way that it goes
from noise to the next stroke of each. Then the student, which begins as the teacher, learns to go that way in larger
steps. Writes into the run's folder: recorded/, weights.safetensors (the student), training_state.pt (to resume: repeat
the same command), metrics.jsonl, and grids: two rows by the teacher above two rows by the student from the same seeds.
Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.

With phi_t = pi/2 (t + 1) / T a noisy stroke is x_t = cos(phi_t) x_0 + sin(phi_t) eps, and a DDIM step from t to s turns
it by delta = phi_t - phi_s (Salimans and Ho 2022, arXiv:2202.00512, app. D):

    x_s = cos(delta) x_t - sin(delta) v

So from any x_t near the teacher's way one velocity leads to where the teacher is at s, and that is the target:

    v* = (cos(delta) x_t - x_s) / sin(delta)

Regression onto points of the teacher's own way is that of Zhou et al. 2024 (SFD, arXiv:2409.19681); guidance becomes
part of the student, as in Meng et al. 2023 (arXiv:2210.03142). The student takes its own last x_t, at first of none,
later of ever more of the drawings, so that it learns to repair its errors.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from config import SPLITS, TrainConfig, option, shipped_checkpoint
from dataset_utils import category_list, data_files, load_category
from diffusion_model import StrokeDiffusionModel, TrainedModel
from diffusion_process import cosine_alpha_bar, sampler_steps, trailing_timesteps
from drawings.batches import Batch, StrokeSet, TrainingData, stroke_set
from drawings.packed import running_sums
from plumbing.command_line import (
    add_config_arguments,
    add_device_argument,
    check_folder,
    config_from_arguments,
    run_script,
    script_parser,
    steps_by_stroke,
)
from plumbing.files import locked_folder
from plumbing.run_folder import refuse_losing_files
from plumbing.tensor_files import read_header, write_tensors
from sample_diffusion import (
    generate_drawings,
    guided_denoiser,
    load_model,
    weaker_network,
)
from stroke_tokens import points_to_vectors
from train_diffusion import Run, finished, go_on

SHARD = 64
"""Drawings that are recorded at once, of one category; and as many first strokes, which are the hardest to learn."""
FIRST_SHARD = 512
"""First strokes alone that are recorded at once."""
HELD_OUT_SHARDS = 2
"""Of each category, their real histories from held-out drawings: they validate."""
TEACHER_STEPS = 20
"""Steps in which the teacher is recorded, by its usual sampler: those of a student must divide them."""
QUICK_STEPS = (20, 10, 6)
"""Steps by stroke in which the teacher draws histories, whose own way is not what is recorded."""
LIKE_HISTORIES = 4
"""Parts that a shard is recorded in, its histories sorted by length."""
STAYS = ("category", "augmentation", "position", "read_stroke", "history", "history_norm", "stop")
"""Parts of a teacher that its student keeps: what reads the strokes so far, and says when a drawing ends."""
HUBER = 0.03
"""Distance below which the loss is quadratic, in whitened units: c of the pseudo-Huber loss."""

DISTILLATION = TrainConfig(
    steps=1500, batch_strokes=512, parts=1, noise_draws=1, learning_rate=7e-4, warmup=50, ema_decay=0.998,
    weight_decay=0.0, category_dropout=0.0, history_noise=0.0, augmentation=0.0, augmented_share=0.0, stop_weight=0.0,
    precision="float32", validate_every=250, sample_every=500,
)  # fmt: skip
"""How a student is trained, where no flag says otherwise."""


@dataclass(frozen=True)
class RecordConfig:
    """What is recorded of the teacher."""

    drawings: int = option(4096, f"histories to record, in shards of {SHARD} of one category", minimum=1,
                           maximum=10_000_000)  # fmt: skip
    real_share: float = option(0.4, "share of the histories that are real drawings: what people begin", minimum=0,
                               maximum=1)  # fmt: skip
    first_strokes: int = option(0, f"first strokes to record beside those, in shards of {FIRST_SHARD} of one category: "
                                "for a student whose first strokes stay far from the teacher's", minimum=0,
                                maximum=10_000_000)  # fmt: skip


# ------------------------------------------------------------------ recording


@dataclass
class Everywhere:
    """A network that predicts every stroke of whole drawings at once, from the strokes before it."""

    model: StrokeDiffusionModel
    context: Tensor

    @staticmethod
    def begin(model: StrokeDiffusionModel, category_id: int, history: Tensor) -> Everywhere:
        """Return the network that has seen drawings `history` (B, K, D), all of one category."""
        kind = torch.full((len(history),), category_id, device=history.device)
        return Everywhere(model, model.context(history, kind)[:, :-1])

    def v(self, x_t: Tensor, t: int) -> Tensor:
        """Return v_hat (B, K, D) of the strokes `x_t` at time `t`."""
        return self.model.denoise_all(x_t[:, :, None], t, self.context)[:, :, 0]


@torch.inference_mode()
def ways_of(
    teacher: TrainedModel, category: str, history: Tensor, kept: Sequence[int], generator: torch.Generator
) -> Tensor:
    """Return the teacher's ways from noise to strokes, (B, K, R + 1, D): x_t at the R times `kept`, and the strokes.

    The k-th is a next stroke for the first k strokes of a drawing of `history` (B, K, D); guided as the teacher is.
    """
    predictor = Everywhere.begin(teacher.model, teacher.category_id(category), history)
    weaker = None if teacher.guidance == 1.0 else Everywhere.begin(*weaker_network(teacher, category), history)
    denoise = guided_denoiser(predictor, weaker, teacher.guidance)
    alpha_bar = cosine_alpha_bar(len(teacher.model.time_table))
    noise = torch.randn(history.shape, generator=generator).to(history.device)
    states = [noise, *(x for x, _ in sampler_steps("dpm-solver++", denoise, lambda: noise, alpha_bar, TEACHER_STEPS))]
    times = trailing_timesteps(TEACHER_STEPS, len(alpha_bar))
    return torch.stack([*(states[times.index(t)] for t in kept), states[-1]], dim=2)


def recorded_shard(
    teacher: TrainedModel, category: str, real: StrokeSet, share: float, kept: Sequence[int], seeds: Sequence[int]
) -> dict[str, Tensor]:
    """Return `tokens` (S, R + 2, D), float16, and how many of them each drawing has, `lengths`, a function of `seeds`.

    A token of the history and the way to another stroke in its place; drawings lie end to end. Behind the SHARD
    drawings stand as many first strokes, each a drawing of its own.
    """
    whitening, rng = teacher.whitening, np.random.default_rng(seeds)
    count = round(share * SHARD)
    vectors = []
    if count:
        batch = real.batch(rng.integers(0, len(real), count))
        vectors = [own[:length] for own, length in zip(batch.vectors, batch.lengths.tolist(), strict=True)]
    first = int(rng.integers(2**30))
    drawn = generate_drawings(teacher, category, range(SHARD - count), seed=first, steps=QUICK_STEPS,
                              guidance=teacher.guidance).drawings  # fmt: skip
    vectors += [points_to_vectors(np.stack(drawing)) for drawing in drawn if drawing]
    vectors += [vectors[0].new_zeros(1, teacher.model.token_dim)] * SHARD
    vectors.sort(key=len)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    tokens = []
    for part in np.array_split(np.arange(len(vectors)), LIKE_HISTORIES):
        own = [vectors[i] for i in part]
        history = whitening.encode(pad_sequence(own, batch_first=True).to(whitening.mean.device))
        whole = torch.cat([history[:, :, None], ways_of(teacher, category, history, kept, generator)], dim=2)
        tokens += [row[: len(drawing)] for row, drawing in zip(whole, own, strict=True)]
    return shard_of(tokens)


def first_stroke_shard(
    teacher: TrainedModel, category: str, kept: Sequence[int], seeds: Sequence[int]
) -> dict[str, Tensor]:
    """Return FIRST_SHARD first strokes, each a drawing of its own, as ``recorded_shard`` returns drawings."""
    history = torch.zeros(FIRST_SHARD, 1, teacher.model.token_dim, device=teacher.model.position.device)
    generator = torch.Generator().manual_seed(int(np.random.default_rng(seeds).integers(2**62)))
    way = ways_of(teacher, category, history, kept, generator)
    return shard_of(torch.cat([history[:, :, None], way], dim=2))


def shard_of(tokens: Sequence[Tensor] | Tensor) -> dict[str, Tensor]:
    """Return drawings of tokens (K, R + 2, D) each as a shard stores them."""
    lengths = torch.tensor([float(len(row)) for row in tokens])
    return {"tokens": torch.cat(list(tokens)).to(torch.float16).cpu(), "lengths": lengths}


@dataclass(frozen=True)
class Recording(StrokeSet):
    """What was recorded, as a set that batches are made from: `tokens` (S, R + 2, D), drawing after drawing."""

    tokens: Tensor
    offsets: np.ndarray

    def num_strokes(self, indices: np.ndarray) -> np.ndarray:
        """Return how many strokes drawings have, int64 (k,)."""
        counts: np.ndarray = np.diff(self.offsets)[indices]
        return counts

    def batch(self, indices: np.ndarray) -> Batch:
        """Return the drawings `indices` as one batch whose vectors are (B, K, (R + 2) D)."""
        own = [self.tokens[self.offsets[i] : self.offsets[i + 1]].flatten(1).float() for i in indices.tolist()]
        lengths, category = torch.tensor([len(row) for row in own]), self.category[self.entries(indices)]
        vectors = pad_sequence(own, batch_first=True)
        return Batch(vectors, lengths, torch.from_numpy(category), torch.zeros(len(indices), 4))


def recording_of(shards: Sequence[Sequence[Path]], category_ids: Sequence[int], num_points: int) -> Recording:
    """Return the shards of each category, files, as one recording."""
    read = [[read_header(path, "recording").tensors() for path in own] for own in shards]
    lengths = [np.concatenate([shard["lengths"].long().numpy() for shard in own]) for own in read]
    rows = tuple(np.arange(len(own), dtype=np.int32) for own in lengths)
    tokens = torch.cat([shard["tokens"] for own in read for shard in own])
    return Recording((), rows, np.array(category_ids), num_points, 0, tokens, running_sums(np.concatenate(lengths)))


def record(
    teacher: TrainedModel, names: Sequence[str], settings: RecordConfig, kept: Sequence[int], choice: dict[str, Any],
    folder: Path, seed: int,
) -> TrainingData:  # fmt: skip
    """Return the recorded teacher as training data; what `folder` holds of it already is not recorded again."""
    # what a shard is a function of, beside its number
    both = {"teacher": teacher.sha256, "guide": teacher.guide and teacher.guide.sha256, "guidance": teacher.guidance}
    made_of = json.dumps(both | {"times": list(kept), "real_share": settings.real_share, "seed": seed}, sort_keys=True)
    counts = {"train": -(-settings.drawings // (SHARD * len(names))), "held-out": HELD_OUT_SHARDS,
              "first": -(-settings.first_strokes // (FIRST_SHARD * len(names)))}  # fmt: skip
    shards: tuple[list[list[Path]], list[list[Path]]] = ([], [])
    loaded = [load_category(name, **choice) for name in names]
    form = (teacher.model.config.num_points, teacher.model.config.max_strokes)
    folder.mkdir(parents=True, exist_ok=True)
    bar = tqdm(total=len(names) * sum(counts.values()), desc="recording", unit="shard", disable=None)
    with bar:
        for data in loaded:
            number = teacher.category_id(data.category)
            real = {"train": data.train, "held-out": data.validation}
            sets = {kind: stroke_set([drawings], [number], *form) for kind, drawings in real.items()}
            paths = {kind: [folder / f"{data.category}-{kind}-{i:04d}.safetensors" for i in range(count)]
                     for kind, count in counts.items()}  # fmt: skip
            for order, (kind, own) in enumerate(paths.items()):
                for i, path in enumerate(own):
                    if not path.exists():
                        seeds = (seed, number, order, i)
                        shard = (recorded_shard(teacher, data.category, sets[kind], settings.real_share, kept, seeds)
                                 if kind in sets else first_stroke_shard(teacher, data.category, kept, seeds))
                        write_tensors(path, shard, {"made_of": made_of})
                    elif read_header(path, "recording").words["made_of"] != made_of:
                        raise ValueError(f"{path}: is of another recording; choose another --out")
                    bar.update()
            shards[0].append(paths["train"] + paths["first"])
            shards[1].append(paths["held-out"])
    ids = [teacher.category_id(name) for name in names]
    train, held_out_set = (recording_of(own, ids, form[0]) for own in shards)
    source = {
        "data": sorted({data.source for data in loaded}),
        "split": sorted({data.split for data in loaded}),
        "trained_on": list(names),
        "recorded": asdict(settings) | {"strokes": len(train.tokens), "teacher_steps": TEACHER_STEPS,
                                        "guidance": teacher.guidance,
                                        "guide_sha256": teacher.guide.sha256 if teacher.guide else None},
    }  # fmt: skip
    described = f"{len(train)} drawings and first strokes, {len(train.tokens)} strokes recorded in {folder}"
    return TrainingData(train, held_out_set, teacher.categories, ids, source, described)


# ------------------------------------------------------------------ learning


def angle_between(t: int, after: int, num_timesteps: int) -> float:
    """Return by how much a step from time `t` to `after` turns, in radians; `after` -1 is the stroke without noise."""
    return 0.5 * math.pi * (t - after) / num_timesteps


def target_velocity(x_t: Tensor, x_after: Tensor, delta: float) -> Tensor:
    """Return v* = (cos(delta) x_t - x_after) / sin(delta), by which a step from `x_t` ends in `x_after`."""
    return (math.cos(delta) * x_t - x_after) / math.sin(delta)


def step(x_t: Tensor, v: Tensor, delta: float) -> Tensor:
    """Return x_s = cos(delta) x_t - sin(delta) v, a step of DDIM."""
    return math.cos(delta) * x_t - math.sin(delta) * v


def kept_times(steps: Sequence[int], num_timesteps: int) -> list[int]:
    """Return the times, falling, at which a student of `steps` by stroke stands.

    Raises ValueError for steps that do not divide the teacher's.
    """
    recorded = trailing_timesteps(TEACHER_STEPS, num_timesteps)
    for number in steps:
        if TEACHER_STEPS % number:
            raise ValueError(f"--student-steps names {number}, which must divide the teacher's {TEACHER_STEPS}")
    return [t for t in recorded if any(t in trailing_timesteps(number, num_timesteps) for number in steps)]


def distillation_losses(
    model: StrokeDiffusionModel, batch: Batch, steps: Sequence[int], own: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the pseudo-Huber distance of velocities per step, and the root-mean-square one of strokes, over a batch.

    `batch.vectors` are tokens and ways as a ``Recording`` has them. Where `own` (B,) is true a step begins where the
    student's last one has ended, elsewhere where the teacher stood. `weight` (D,) weighs the loss's components.
    """
    dim, num_timesteps = model.token_dim, len(model.time_table)
    history, *way = batch.vectors.unflatten(-1, (-1, dim)).unbind(2)
    times = kept_times(steps, num_timesteps)
    teacher = dict(zip([*times, -1], way, strict=True))
    context = model.context(history, batch.category)[:, :-1]
    stroke, errors, distances = torch.arange(history.shape[1], device=history.device), [], []
    for number in range(len(steps)):
        # strokes 0 ... number, for which context is a prefix; the last number of steps is for all others
        columns = slice(None) if number == len(steps) - 1 else slice(number + 1)
        counted = (batch.mask & (stroke >= number))[:, columns]
        grid = [*trailing_timesteps(steps[number], num_timesteps), -1]
        x = teacher[grid[0]][:, columns]
        for t, after in pairwise(grid):
            x, ahead = torch.where(own[:, None, None], x, teacher[t][:, columns]), teacher[after][:, columns]
            delta = angle_between(t, after, num_timesteps)
            v = model.denoise_all(x[:, :, None], t, context[:, columns])[:, :, 0].float()
            squares = ((v - target_velocity(x, ahead, delta)).square() * weight).mean(-1)
            errors.append(((squares + HUBER**2).sqrt() - HUBER)[counted])
            x = step(x, v.detach(), delta)
        distances.append((x - teacher[-1][:, columns]).square().mean(-1).sqrt()[counted])
    return torch.cat(errors).mean(), torch.cat(distances).mean()


def learner_of(trained: TrainedModel) -> StrokeDiffusionModel:
    """Return a network without dropout that begins with the weights of another and learns all but what STAYS."""
    form = replace(trained.model.config, dropout=0.0)
    model = StrokeDiffusionModel(form, len(trained.categories), len(trained.model.time_table))
    model.load_state_dict(trained.model.state_dict())
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.split(".")[0] not in STAYS)
    return model


def start_from(trained: TrainedModel) -> dict[str, Any]:
    """Return what a run's conditions say of the weights it begins with, and of all trainings before them."""
    before = dict(trained.conditions)
    return {
        "start": {"model": asdict(trained.model.config), "init": trained.file, "init_sha256": trained.sha256},
        "lineage": [*before.pop("lineage", []), before],
    }


class Distillation(Run):
    """A training run whose network learns the ways of a teacher."""

    LOSSES = ("loss", "distance")
    STORED = torch.int8

    def __init__(
        self, config: TrainConfig, data: TrainingData, teacher: TrainedModel, steps: tuple[int, ...],
        start: dict[str, Any], out: Path, device: torch.device,
    ) -> None:  # fmt: skip
        """Begin with the teacher's weights; its history transformer and stop head, on which much hangs, stay."""
        model = learner_of(teacher)
        self.teacher, self.student_steps = teacher, steps
        super().__init__(config, data, TrainedModel(model, teacher.whitening, teacher.categories, start), out, device)
        weight = self.whitening.scale**config.scale_weight
        self.weight = weight / weight.mean()

    def losses(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the loss and, as a figure, the distance of a batch."""
        share = self.step / max(1, self.config.steps - 1)
        own = torch.rand(len(batch.lengths), generator=generator, device=generator.device) < share
        loss, distance = distillation_losses(self.model, batch, self.student_steps, own.to(self.device), self.weight)
        return loss, distance.detach()

    def held_out_losses(self) -> dict[str, float]:
        """Return loss and distance of the EMA of the weights where all steps begin at the student's own x_t."""
        sums, strokes = torch.zeros(2, dtype=torch.float64), 0
        with torch.inference_mode(), self.autocast():
            for batch in self.validation:
                own = torch.ones(len(batch.lengths), dtype=torch.bool, device=self.device)
                both = distillation_losses(self.averaged_model, batch, self.student_steps, own, self.weight)
                count = int(batch.lengths.sum())
                sums, strokes = sums + torch.stack(both).double().cpu() * count, strokes + count
        return {"validation_loss": float(sums[0] / strokes), "validation_distance": float(sums[1] / strokes)}

    def grid(self) -> list[Any]:
        """Return drawings, two rows by the teacher above two by the student, from the same seeds, and so once more."""
        both = [self.drawn_by(each) for each in (self.teacher, self.averaged())]
        return [drawing for first in (0, 16) for side in both for drawing in side[first : first + 16]]


# ------------------------------------------------------------------ command line


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--category", required=True, metavar="NAME", help="what it draws, or a list with commas")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="the teacher (default: the shipped weights)")
    parser.add_argument("--guide", default="tuned", metavar="NAME", help="what the teacher is guided away from "
                        "(default: as it was tuned)")  # fmt: skip
    parser.add_argument("--student-steps", type=steps_by_stroke, default=4, metavar="N,N", help="evaluations of the "
                        f"first stroke, the second ... and all others, each a divisor of {TEACHER_STEPS} "
                        "(default 4)")  # fmt: skip
    parser.add_argument("--out", metavar="FOLDER", help="folder of the run (default runs/distill-CATEGORY)")
    add_config_arguments(parser.add_argument_group("recording"), RecordConfig)
    names = ("steps", "batch_strokes", "learning_rate", "warmup", "weight_decay", "ema_decay", "scale_weight", "seed",
             "parts", "precision", "validate_every", "sample_every")  # fmt: skip
    add_config_arguments(parser.add_argument_group("optimisation"), TrainConfig, only=names, start=DISTILLATION)
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of CATEGORY.ndjson files, or 'embedded'")
    parser.add_argument("--split", default="auto", choices=SPLITS, help="which drawings trained it (default auto)")
    add_device_argument(parser)
    return parser


def prepared(arguments: argparse.Namespace, weights: Path, out: Path, names: Sequence[str]) -> Distillation:
    """Return a run of the teacher `weights` that is ready to go on: recorded, its state restored if there is one."""
    config = replace(config_from_arguments(TrainConfig, arguments, DISTILLATION), category=",".join(names))
    settings = config_from_arguments(RecordConfig, arguments)
    steps = arguments.student_steps if isinstance(arguments.student_steps, tuple) else (arguments.student_steps,)
    teacher = load_model(weights, arguments.guide, arguments.device)
    kept = kept_times(steps, len(teacher.model.time_table))
    start = start_from(teacher)
    choice = {"data_dir": arguments.data_dir, "split": arguments.split}
    data = record(teacher, names, settings, kept, choice, out / "recorded", config.seed)
    data.source["sampling"] = {"sampler": "ddim", "steps": list(steps), "guidance": 1.0, "guide": None}
    run = Distillation(config, data, teacher, steps, start, out, teacher.model.position.device)
    go_on(run)
    return run


def main(argv: list[str] | None = None) -> Path:
    """Distil as the command line says and return the path of the student's weights."""
    arguments = build_parser().parse_args(argv)
    names = category_list(arguments.category, arguments.data_dir)
    out = Path(arguments.out or "runs/distill-" + "+".join(names))
    weights = arguments.checkpoint or shipped_checkpoint(names[0], "teacher")
    check_folder(out)
    refuse_losing_files(out, [*data_files(arguments.data_dir), weights])
    with locked_folder(out):
        return finished(prepared(arguments, weights, out, names))


if __name__ == "__main__":
    run_script(main, "a smaller --batch-strokes")
