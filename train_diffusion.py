"""Train the stroke-by-stroke diffusion model of one category, or of many at once.

    python train_diffusion.py --category cat                              # one category from scratch
    python train_diffusion.py --category all --out runs/base              # pretrain on every category at hand
    python train_diffusion.py --preset finetune-cat --init checkpoints/base.safetensors   # a named recipe
    torchrun --nproc-per-node 2 train_diffusion.py --category cat         # the same model, by two processes

Writes into the run's folder: weights.safetensors (EMA of the weights), training_state.pt (to resume:
repeat the same command), metrics.jsonl and grids of samples. Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import hashlib
import json
import math
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from config import ATTRIBUTION, PRESETS, SPLITS, TRAIN_GROUPS, ModelConfig, Preset, RunFailed, TrainConfig
from dataset_utils import category_list, data_files
from diffusion_model import StrokeDiffusionModel, TrainedModel, load_weights, save_weights
from diffusion_process import cosine_alpha_bar, diffuse, diffusion_loss, min_snr_weight, sample_timesteps
from drawings.batches import (
    Batch,
    TrainingData,
    category_weights,
    evenly_spread,
    random_affine,
    training_batches,
)
from plumbing.command_line import (
    Terminated,
    add_config_arguments,
    add_device_argument,
    check_folder,
    config_from_arguments,
    run_script,
    script_parser,
    stop_signals,
)
from plumbing.files import append_line, locked_folder, sha256_of
from plumbing.processes import ALONE, Group, ProcessLost, autocast_for, best_device, joined_processes
from plumbing.run_folder import (
    LOG_FILE,
    STATE_FILE,
    WEIGHTS_FILE,
    forget_after,
    learning_curve,
    load_state,
    refuse_losing_files,
    refuse_other_run,
    require_pieces,
    save_state,
)
from rendering import grid_image, save_image
from sample_diffusion import generate_drawings
from stroke_tokens import Whitening
from training_data import DataChoice, load_training_data, relabelled, with_rows_for

VALIDATION_DRAWINGS = 384
MAX_BAD_STEPS = 3
GRID_DRAWINGS = 32
LOG_EVERY = 50
"""Updates behind a row of metrics.jsonl."""


# ------------------------------------------------------------------ losses


def losses(
    model: StrokeDiffusionModel, whitening: Whitening, batch: Batch, alpha_bar: Tensor, config: TrainConfig,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the diffusion loss (mean squared error of v per number) and the stop loss (nats per decision).

    Each real stroke of the batch counts once; padding counts nowhere. The history carries noise of a random level
    per drawing, up to `config.history_noise`, against errors that accumulate over strokes.
    """
    tokens = whitening.encode(batch.vectors)
    count, longest, dim = tokens.shape
    device = tokens.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=generator.device).to(device)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=generator.device).to(device)

    category = batch.category.masked_fill(uniform(count) < config.category_dropout, model.null_category)
    level = config.history_noise * uniform(count, 1, 1)
    context = model.context(tokens + level * normal(count, longest, dim), category, batch.affine)

    weight = whitening.scale**config.scale_weight

    def errors(strokes: Tensor, known: Tensor, draws: int) -> Tensor:
        """Return the errors (B, K, draws) of denoising `strokes` (B, K, D) with contexts `known` (B, K, W)."""
        shape = (*strokes.shape[:2], draws)
        t = sample_timesteps(shape, len(alpha_bar), generator).to(device)
        x0, eps = strokes[:, :, None].expand(*shape, dim), normal(*shape, dim)
        v_hat = model.denoise_all(diffuse(x0, eps, t, alpha_bar), t, known)
        error = diffusion_loss(v_hat, x0, eps, t, alpha_bar, weight / weight.mean())
        return error * min_snr_weight(t, alpha_bar, config.min_snr) if config.min_snr > 0 else error

    all_errors = errors(tokens, context[:, :-1], config.noise_draws)[batch.mask].flatten()
    if config.first_stroke_draws:
        first = errors(tokens[:, :1], context[:, :1], config.first_stroke_draws)
        all_errors = torch.cat([all_errors, first.flatten()])
    diffusion = all_errors.mean()

    ends, decided = stop_decisions(batch.lengths, longest)
    stop = F.binary_cross_entropy_with_logits(model.stop_logits(context).float()[decided], ends[decided])
    return diffusion, stop


def stop_decisions(lengths: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Return where drawings of `lengths` (B,) strokes end, 1.0, and where that is decided, (B, longest + 1).

    Nothing is decided before the first stroke, nor after the end.
    """
    decision = torch.arange(longest + 1, device=lengths.device)
    ends = (decision == lengths[:, None]).float()
    return ends, (decision >= 1) & (decision <= lengths[:, None])


def validation_losses(
    model: StrokeDiffusionModel, whitening: Whitening, batches: list[Batch], alpha_bar: Tensor, config: TrainConfig,
    autocast: Callable[[], Any],
) -> dict[str, float]:  # fmt: skip
    """Return the losses per stroke over fixed held-out drawings, the same noise at every call; none without any."""
    # unweighted and without noise on the history, so that runs with other settings can be compared
    fixed = replace(
        config, category_dropout=0.0, history_noise=0.0, scale_weight=0.0, min_snr=0.0, first_stroke_draws=0
    )
    if not batches:
        return {}
    generator, device = torch.Generator().manual_seed(2_718_281), whitening.mean.device
    alpha_bar = alpha_bar.to(device)
    sums = torch.zeros(2, dtype=torch.float64)
    strokes = 0
    was_training = model.training
    model.eval()
    with torch.inference_mode(), autocast():
        for batch in batches:
            both = losses(model, whitening, batch.to(device), alpha_bar, fixed, generator)
            count = int(batch.lengths.sum())
            sums += torch.stack(both).cpu().double() * count
            strokes += count
    model.train(was_training)
    return {"validation_loss": float(sums[0] / strokes), "validation_stop_loss": float(sums[1] / strokes)}


def num_errors(batch: Batch, config: TrainConfig) -> tuple[int, int]:
    """Return of how many errors each of the two ``losses`` of a batch is the mean."""
    strokes = int(batch.lengths.sum())
    return strokes * config.noise_draws + len(batch.lengths) * config.first_stroke_draws, strokes


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """Return the learning rate of update `step`: linear warm-up, then what `config.schedule` says.

    `cosine` is half a cosine down to zero. `constant-decay` is constant until the last `config.decay` of all updates,
    over which it falls to zero as 1 - sqrt(share done) (Hägele et al. 2024, arXiv:2405.18392).
    """
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if config.schedule == "constant-decay":
        left, decay = 1 - step / config.steps, config.decay
        return config.learning_rate * (1.0 if left >= decay else 1 - math.sqrt(1 - left / decay))
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return AdamW's two groups of what learns: matrices decay, biases, norms, embeddings and offsets do not."""
    groups: tuple[list[Tensor], list[Tensor]] = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[parameter.ndim != 2 or name in ("category.weight", "position")].append(parameter)
    return [{"params": group, "weight_decay": decay} for group, decay in zip(groups, (weight_decay, 0.0), strict=True)]


class Run:
    """A training run: everything that changes from update to update, and how it is saved and resumed.

    With several processes each has a run of its own, equal to the others; the first alone writes files.
    """

    COUNTERS = ("step", "drawings", "seconds", "bad_steps", "skipped")
    LOSSES = ("loss", "stop_loss")
    STORED = torch.bfloat16

    def __init__(
        self, config: TrainConfig, data: TrainingData, start: TrainedModel, out: Path, device: torch.device,
        group: Group = ALONE,
    ) -> None:  # fmt: skip
        self.config, self.data, self.out, self.device, self.group = config, data, out, device, group
        self.own_parts = group.own_parts(config.parts)
        self.model = start.model.to(self.device).train()
        self.whitening = start.whitening.to(self.device)
        self.alpha_bar = cosine_alpha_bar()
        self.ema = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, config.weight_decay), lr=config.learning_rate, betas=(0.9, 0.98)
        )
        self.autocast = autocast_for(config.precision, device)
        share = config.companion_share if config.companions else 0.0
        self.weights = category_weights(data.train, data.targets, share, config.balance)
        self.step, self.drawings, self.seconds, self.bad_steps, self.skipped = 0, 0, 0.0, 0, 0
        self.saved_step: int | None = None
        self.lineage: list[dict[str, Any]] = start.conditions["lineage"]
        self.identity = {"train": asdict(config), "data": data.source, "start": start.conditions["start"]}
        self.validation = [batch.to(device) for batch in evenly_spread(data.held_out, VALIDATION_DRAWINGS)]

    def update(self, batch: Batch) -> dict[str, float]:
        """Make one optimizer update and return its losses; a batch that is not finite is skipped and counted."""
        config = self.config
        began = time.perf_counter()
        diffusion, stop = self._add_up_gradients(batch)
        loss = diffusion + config.stop_weight * stop
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        rate = learning_rate_at(self.step, config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if torch.isfinite(loss) and torch.isfinite(norm):  # clipping lets NaN through
            self.optimizer.step()
            self.ema.update_parameters(self.model)
            self.bad_steps = 0
        else:
            self.bad_steps, self.skipped = self.bad_steps + 1, self.skipped + 1
            if self.bad_steps >= MAX_BAD_STEPS:
                raise RunFailed(
                    f"{self.out}: loss or gradient not finite in {MAX_BAD_STEPS} updates in a row at step {self.step}; "
                    f"the last saved state is untouched, try a --learning-rate below {config.learning_rate:g} in "
                    "another --out"
                )
        self.step, self.drawings = self.step + 1, self.drawings + len(batch.lengths)
        figures = dict(zip(self.LOSSES, (diffusion.item(), stop.item()), strict=True)) | {"grad_norm": norm.item()}
        seconds = time.perf_counter() - began
        self.seconds += seconds
        return figures | {"learning_rate": rate, "update_seconds": seconds, "update_drawings": len(batch.lengths)}

    def _add_up_gradients(self, batch: Batch) -> Tensor:
        """Leave the gradient of a batch's losses in the parameters and return the two losses, (2,).

        Each part of the batch has random numbers of its own, a function of (seed, step, part): neither another number
        of processes nor an interruption changes them.
        """
        config, parameters = self.config, [p for p in self.model.parameters() if p.requires_grad]
        seeds = np.random.SeedSequence([config.seed, self.step]).generate_state(1 + 2 * config.parts).tolist()
        generator = torch.Generator().manual_seed(seeds[0])
        changed = random_affine(batch, config.augmentation, generator, config.augmented_share, config.mirrored)
        whole = torch.tensor(num_errors(changed, config))
        vectors = []
        for number in self.own_parts:
            part = changed.part(number, config.parts)
            both = torch.zeros(2, device=self.device)
            self.optimizer.zero_grad(set_to_none=True)
            if len(part.lengths):
                noise, dropout = seeds[1 + 2 * number : 3 + 2 * number]
                torch.manual_seed(dropout)
                generator = torch.Generator(self.device).manual_seed(noise)
                share = torch.tensor(num_errors(part, config)) / whole
                with self.autocast():
                    both = torch.stack(self.losses(part.to(self.device), generator)).float() * share.to(self.device)
                    loss = both[0] + config.stop_weight * both[1]
                loss.backward()
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            vectors.append(torch.cat([*(gradient.flatten() for gradient in gradients), both.detach()]))
        total = self.group.add_up(vectors)
        sizes = [parameter.numel() for parameter in parameters]
        for parameter, gradient in zip(parameters, total[:-2].split(sizes), strict=True):
            parameter.grad = gradient.view_as(parameter)
        return total[-2:]

    def losses(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the two ``losses`` of a batch."""
        return losses(self.model, self.whitening, batch, self.alpha_bar, self.config, generator)

    def log_row(self, recent: list[dict[str, float]]) -> dict[str, float]:
        """Return a row of metrics.jsonl: means over the recent updates, learning rate and counters as they are."""
        means = {key: sum(r[key] for r in recent) / len(recent) for key in (*self.LOSSES, "grad_norm")}
        speed = sum(r["update_drawings"] for r in recent) / sum(r["update_seconds"] for r in recent)
        means |= {"learning_rate": recent[-1]["learning_rate"], "seconds": self.seconds, "drawings_per_second": speed}
        counters: dict[str, float] = {"step": self.step, "drawings": self.drawings}
        return counters | {key: float(f"{value:.6g}") for key, value in means.items()}

    @property
    def averaged_model(self) -> StrokeDiffusionModel:
        """The network with the EMA of the weights."""
        return cast(StrokeDiffusionModel, self.ema.module)

    def averaged(self) -> TrainedModel:
        """Return the EMA of the weights as a model that can be saved and sampled, with the conditions of its making."""
        conditions = self.identity["data"] | {
            "step": self.step,
            "drawings_seen": self.drawings,
            "training_seconds": round(self.seconds, 1),
            "train": self.identity["train"],
            "start": self.identity["start"],
            "lineage": self.lineage,
            "attribution": ATTRIBUTION,
        }
        return TrainedModel(self.averaged_model, self.whitening, self.data.categories, conditions)

    def held_out_losses(self) -> dict[str, float]:
        """Return the losses of the EMA of the weights on held-out drawings."""
        return validation_losses(
            self.averaged_model, self.whitening, self.validation, self.alpha_bar, self.config, self.autocast
        )

    def validate(self) -> dict[str, float]:
        """Score the EMA of the weights on held-out drawings and write it as weights.safetensors, whatever the score.

        Training past the lowest held-out loss was chosen by FID against test drawings, so that is not blind to it.
        """
        result = self.held_out_losses()
        trained = self.averaged()
        trained.conditions |= {key: round(value, 6) for key, value in result.items()}
        trained.conditions["curve"] = learning_curve(self.out / LOG_FILE)
        save_weights(self.out / WEIGHTS_FILE, trained, self.STORED)
        return result

    def state(self) -> dict[str, Any]:
        """Return everything a resumed run needs; the data order and all noise follow from seed and step."""
        return {
            "identity": self.identity,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "whitening": vars(self.whitening),
            "counters": {name: getattr(self, name) for name in self.COUNTERS},
            "machine": {"processes": self.group.size, "threads": torch.get_num_threads()},
        }

    def save(self) -> None:
        """Write the training state, so that the same command goes on from here."""
        save_state(self.out / STATE_FILE, self.state())
        self.saved_step = self.step

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state, telling what is not as it was.

        Raises ValueError that names the first piece that it lacks, or the first setting in which it is another run's.
        """
        where = self.out / STATE_FILE
        require_pieces(state, self.state() | {"identity": dict.fromkeys(self.identity)}, str(where))
        refuse_other_run(self.out, state["identity"], self.identity)
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        if state["counters"]["step"] > state["counters"]["skipped"]:  # AdamW itself would begin anew what is missing
            slots = dict.fromkeys(range(len(parameters)), dict.fromkeys(("step", "exp_avg", "exp_avg_sq")))
            require_pieces(state["optimizer"]["state"], slots, f"{where}: optimizer")
        try:
            self.model.load_state_dict(state["model"])
            self.ema.load_state_dict(state["ema"])
            self.optimizer.load_state_dict(state["optimizer"])
            for name, tensor in vars(self.whitening).items():  # not fitted anew: another machine rounds otherwise
                tensor.copy_(state["whitening"][name])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{where}: does not fit this model ({' '.join(str(error).split())[:200]})") from error
        for name in self.COUNTERS:
            setattr(self, name, state["counters"][name])
        self.saved_step = self.step
        for kind, now in self.state()["machine"].items():
            if (before := state["machine"][kind]) != now:
                exact = ", sums are rounded differently" if kind == "threads" else ""
                self.tell(f"saved with {before} {kind}, goes on with {now}: same batches and random numbers{exact}")

    def grid(self) -> list[Any]:
        """Return the drawings of a grid of samples: by the EMA of the weights, always from the same seeds."""
        return self.drawn_by(self.averaged())

    def drawn_by(self, trained: TrainedModel) -> list[Any]:
        """Return GRID_DRAWINGS drawings by a model, of all categories of the run."""
        trained.model.eval()
        targets = [self.data.categories[i] for i in self.data.targets][:GRID_DRAWINGS]
        parts = np.array_split(np.arange(GRID_DRAWINGS), len(targets))
        drawings = []
        for name, part in zip(targets, parts, strict=True):
            drawings += generate_drawings(trained, name, part.tolist(), seed=0, guidance=trained.guidance).drawings
        return drawings

    def tell(self, line: str) -> None:
        """Print a line, of several processes once."""
        if self.group.rank == 0:
            print(line, flush=True)


# ------------------------------------------------------------------ where a run starts


def prepare(
    config: TrainConfig, model_config: ModelConfig, choice: DataChoice, init: Path | None, out: Path,
    device: torch.device | None = None, group: Group = ALONE,
) -> Run:  # fmt: skip
    """Return a run that is ready to go on: data loaded, model new or from --init, state restored if there is one."""
    initial = load_weights(init) if init else None
    if initial is not None:
        model_config = replace(initial.model.config, dropout=model_config.dropout)
    data = load_training_data(config, model_config, choice, initial.categories if initial else ())
    torch.manual_seed(config.seed)
    start: dict[str, Any] = {"model": asdict(model_config), "init_sha256": None}
    lineage: list[dict[str, Any]] = []  # the conditions of all trainings before this one, the oldest first
    model, related = StrokeDiffusionModel(model_config, len(data.categories)), dict[str, str | None]()
    if initial is None or init is None:
        whitening = Whitening.fit(data.train.sample_vectors())
    else:
        start |= {"init": init.name, "init_sha256": sha256_of(init)}
        before = dict(initial.conditions)
        lineage = [*before.pop("lineage", []), before]
        weights, related = with_rows_for(data.categories, initial)
        model.load_state_dict(weights)
        whitening = initial.whitening
    trained = TrainedModel(model, whitening, data.categories, {"start": start, "lineage": lineage})
    run = Run(config, data, trained, out, device or best_device(), group)
    go_on(run)
    for name, other in related.items():
        run.tell(f"'{name}' is new to {init}: it begins as {other or 'the mean of all categories'}")
    return run


def go_on(run: Run) -> None:
    """Restore the state of a run that there is one of, saying so."""
    run.tell(f"data: {run.data.description}")
    if state := load_state(run.out / STATE_FILE):
        run.restore(state)
        run.tell(f"Resuming {run.config.category} from step {run.step} of {run.config.steps} in {run.out}")
    run.group.require_same(hashlib.sha256(json.dumps([run.identity, run.step]).encode()).digest())
    if run.group.rank == 0:
        if run.saved_step is None:  # from now on the folder is this run's
            run.save()
        forget_after(run.step, run.out / LOG_FILE)


def train(run: Run) -> None:
    """Run all updates that are left, with a progress bar, validations, checkpoints and sample grids on the way.

    SIGINT and SIGTERM, in any of the processes, let the update at hand end, save, and raise KeyboardInterrupt. When
    another process is lost the last whole update is saved, and RunFailed tells so.
    """
    config, data, first = run.config, run.data.train, run.group.rank == 0
    batches = training_batches(data, run.weights, config.batch_strokes, config.seed, run.step)
    bar = tqdm(total=config.steps, initial=run.step, unit="step", desc=config.category[:20], mininterval=1.0,
               disable=not first)  # fmt: skip
    recent: list[dict[str, float]] = []
    with stop_signals() as arrived, bar:
        while run.step < config.steps:
            try:
                recent.append(run.update(data.batch(next(batches))))
                stopping = run.group.any(bool(arrived))
            except ProcessLost as error:
                if first:
                    run.save()
                saved = f"step {run.saved_step}" if first else "what process 0 has saved"
                raise ProcessLost(
                    f"{run.out}: {error}; the same command goes on from {saved}, also with another number of processes"
                ) from error
            bar.update()
            if first:
                _after_update(run, recent, bar, stopping)
            if stopping and run.step < config.steps:
                raise Terminated if signal.SIGTERM in arrived else KeyboardInterrupt


def finished(run: Run) -> Path:
    """Train what is left of a run, and return the path of its weights; says what was written, or where it goes on."""
    try:
        train(run)
    except KeyboardInterrupt:
        saved = f"saved step {run.saved_step}" if run.saved_step else "nothing was saved yet"
        run.tell(f"\nInterrupted: {saved} in {run.out}; the same command goes on from there")
        raise
    weights = run.out / WEIGHTS_FILE
    skipped = f", {run.skipped} updates skipped as not finite" if run.skipped else ""
    run.tell(f"wrote {weights} ({run.step} updates{skipped}) and {run.out}/metrics.jsonl")
    return weights


def _after_update(run: Run, recent: list[dict[str, float]], bar: tqdm[Any], stopping: bool) -> None:
    """Write what is due after an update: a row of figures, a validation with weights, a state, a grid of samples."""
    config, log = run.config, run.out / LOG_FILE
    ends = run.step == config.steps
    if run.step % LOG_EVERY == 0 or ends:
        row = run.log_row(recent)
        recent.clear()
        append_line(log, json.dumps(row))
        bar.set_postfix_str(f"loss {row['loss']:.4f}, {row['drawings_per_second']:.0f} drawings/s")
    due = run.step % config.validate_every == 0 or ends
    if due:
        result = {key: float(f"{value:.6g}") for key, value in run.validate().items()}
        if result:
            append_line(log, json.dumps({"step": run.step} | result))
            tqdm.write(f"step {run.step}: " + ", ".join(f"{k} {v:.4f}" for k, v in result.items()))
    if due or stopping:
        run.save()
    if config.sample_every and run.step % config.sample_every == 0:
        save_image(run.out / f"samples_{run.step:07d}.png", grid_image(run.grid(), columns=8))


# ------------------------------------------------------------------ command line


def build_parser() -> argparse.ArgumentParser:
    """Return the command line: every field of TrainConfig and ModelConfig is a flag."""
    parser = script_parser(__doc__)
    parser.usage = "python train_diffusion.py [options]"
    parser.epilog = "presets:\n" + "".join(f"  {name:<20} {preset.help}\n" for name, preset in PRESETS.items())
    parser.add_argument("--preset", choices=PRESETS, metavar="NAME",
                        help="settings by name, see the end of this page; other flags win over them")  # fmt: skip
    parser.add_argument("--init", metavar="FILE", help="weights to start from (fine-tuning)")
    parser.add_argument("--out", metavar="FOLDER", help="folder of the run (default runs/PRESET or runs/CATEGORY)")
    groups = {
        title: parser.add_argument_group(title) for title in ("data", "optimisation", "loss", "model", "advanced")
    }
    for title, names in TRAIN_GROUPS.items():
        add_config_arguments(groups[title], TrainConfig, only=names)
    add_config_arguments(groups["model"], ModelConfig)
    data = groups["data"]
    data.add_argument("--data-dir", metavar="FOLDER",
                      help="folder of CATEGORY.ndjson files or CATEGORY.packed folders, or 'embedded'")  # fmt: skip
    data.add_argument("--split", default="auto", choices=SPLITS, help="which drawings train (default auto)")
    data.add_argument("--recognized-only", action=argparse.BooleanOptionalAction, default=False,
                      help="train on recognized drawings only")  # fmt: skip
    add_device_argument(groups["advanced"])
    return parser


def chosen_settings(arguments: argparse.Namespace) -> tuple[TrainConfig, ModelConfig, Path | None]:
    """Return what a command line asks for: its preset or the defaults, changed by its flags, and the --init weights.

    Raises ValueError where a value is out of its range, or a flag says what the --init weights decide.
    """
    preset = PRESETS[arguments.preset] if arguments.preset else Preset("", TrainConfig())
    config = config_from_arguments(TrainConfig, arguments, preset.train)
    model_config = config_from_arguments(ModelConfig, arguments, preset.model)
    init = arguments.init or preset.init
    shape = {spec.name for spec in fields(ModelConfig)} - {"dropout"}
    if init and (given := sorted(shape & set(vars(arguments)))):
        raise ValueError(f"--{given[0].replace('_', '-')} is given beside --init, whose checkpoint decides it")
    return config, model_config, Path(init) if init else None


def main(argv: list[str] | None = None) -> Path:
    """Train as the command line says and return the path of the weights."""
    arguments = build_parser().parse_args(argv)
    config, model_config, init = chosen_settings(arguments)
    category_list(config.companions, arguments.data_dir)  # unknown ones are told before a folder is made
    names = category_list(config.category, arguments.data_dir)
    if not names:
        raise ValueError("--category is empty, must be a category, a list with commas, or 'all'")
    if config.category.strip() != "all":  # 'kedi' and 'cat' are the same run
        config = replace(config, category=",".join(names))
    told = relabelled(config.relabelled, names, arguments.data_dir)  # a header that says so is read without the data
    config = replace(config, relabelled=",".join(f"{other}={target}" for other, target in told.items()))
    out = Path(arguments.out or "runs/" + (arguments.preset or config.category.replace(",", "+")))
    check_folder(out)
    read = [*data_files(arguments.data_dir), *([init] if init else [])]
    refuse_losing_files(out, read)
    choice = DataChoice(arguments.data_dir, arguments.split, arguments.recognized_only)
    device = best_device(arguments.device)
    with joined_processes(device) as group, locked_folder(out) if group.rank == 0 else nullcontext():
        return finished(prepare(config, model_config, choice, init, out, device, group))


if __name__ == "__main__":
    run_script(main, "a smaller --batch-strokes or more --parts")
