"""Training: one run with everything that changes from update to update, its loop, and how it is saved and resumed.

What a run trains on and how long is said by config.TrainConfig; the command line is train_diffusion.py.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import signal
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from checkpoint import load_state, require_pieces, save_state
from config import ATTRIBUTION, SETTINGS_FILE, STATE_FILE, ModelConfig, RunFailed, TrainConfig, refuse_other_run
from diffusion_model import StrokeDiffusionModel, TrainedModel, load_weights, save_weights
from diffusion_process import cosine_alpha_bar
from drawings.batches import (
    Batch,
    DataChoice,
    TrainingData,
    category_weights,
    load_training_data,
    random_affine,
    training_batches,
)
from plumbing.command_line import Terminated
from plumbing.devices import autocast_for, best_device
from plumbing.files import append_line, write_atomically
from plumbing.processes import ALONE, Group, ProcessLost
from rendering import grid_image, save_image
from sample_diffusion import generate_drawings
from stroke_tokens import Whitening
from training_losses import losses, num_errors, validation_losses

VALIDATION_DRAWINGS = 384
MAX_BAD_STEPS = 3
GRID_DRAWINGS = 32
CURVE_ROWS = 40
LOG_EVERY = 50
"""Updates behind a row of metrics.jsonl."""
LOG_FILE = "metrics.jsonl"


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """Return the learning rate of update `step`: linear warm-up, then a half cosine down to zero."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return AdamW's two groups: matrices decay, biases, norms, embeddings and offsets do not."""
    decays = [p for name, p in model.named_parameters() if p.ndim == 2 and name not in ("category.weight", "position")]
    chosen = {id(p) for p in decays}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [{"params": decays, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Give a list that fills when SIGINT or SIGTERM arrives, so that the loop can save before it ends.

    A second one does not wait: it raises KeyboardInterrupt where it arrives, and what was saved before counts.
    """
    arrived: list[int] = []

    def remember(signum: int, frame: object) -> None:
        arrived.append(signum)
        if len(arrived) > 1:
            raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM)
    try:
        before = {n: signal.signal(n, remember) for n in numbers}
    except ValueError:  # not in the main thread (a notebook's helper thread): no handlers there
        yield arrived
        return
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is remember:  # not what a lost process has left to ignore
                signal.signal(number, handler)


class Run:
    """A training run: everything that changes from update to update, and how it is saved and resumed.

    With several processes each has a run of its own, equal to the others; the first alone writes files.
    """

    COUNTERS = ("step", "drawings", "seconds", "bad_steps", "skipped")

    def __init__(
        self, config: TrainConfig, data: TrainingData, start: TrainedModel, out: Path, device: torch.device,
        group: Group = ALONE,
    ) -> None:  # fmt: skip
        self.config, self.data, self.out, self.device, self.group = config, data, out, device, group
        self.own_parts = group.own_parts(config.parts)
        self.model = start.model.to(self.device).train()
        self.whitening = start.whitening.to(self.device)
        self.alpha_bar = cosine_alpha_bar().to(self.device)
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
        self.identity = {"train": dataclasses.asdict(config), "data": data.source, "start": start.conditions["start"]}
        self.validation = self._validation_batches()

    def _validation_batches(self) -> list[Batch]:
        held_out = self.data.held_out
        # evenly over the whole held-out set, which is sorted by category
        chosen = np.unique(np.linspace(0, len(held_out) - 1, min(len(held_out), VALIDATION_DRAWINGS)).round())
        chosen = chosen.astype(np.int64)
        chosen = chosen[np.argsort(held_out.num_strokes(chosen), kind="stable")]
        parts = np.array_split(chosen, max(1, len(chosen) // 64))
        return [held_out.batch(part).to(self.device) for part in parts]

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
        figures = {"loss": diffusion.item(), "stop_loss": stop.item(), "grad_norm": norm.item()}
        seconds = time.perf_counter() - began
        self.seconds += seconds
        return figures | {"learning_rate": rate, "update_seconds": seconds, "update_drawings": len(batch.lengths)}

    def _add_up_gradients(self, batch: Batch) -> Tensor:
        """Leave the gradient of a batch's losses in the parameters and return the two losses, (2,).

        Each part of the batch has random numbers of its own, a function of (seed, step, part): neither another number
        of processes nor an interruption changes them.
        """
        config, parameters = self.config, list(self.model.parameters())
        seeds = np.random.SeedSequence([config.seed, self.step]).generate_state(1 + 2 * config.parts).tolist()
        changed = random_affine(batch, config.augmentation, torch.Generator().manual_seed(seeds[0]))
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
                    parts = losses(
                        self.model, self.whitening, part.to(self.device), self.alpha_bar, config, generator
                    )
                    both = torch.stack(parts).float() * share.to(self.device)
                    loss = both[0] + config.stop_weight * both[1]
                loss.backward()
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            vectors.append(torch.cat([*(gradient.flatten() for gradient in gradients), both.detach()]))
        total = self.group.add_up(vectors)
        sizes = [parameter.numel() for parameter in parameters]
        for parameter, gradient in zip(parameters, total[:-2].split(sizes), strict=True):
            parameter.grad = gradient.view_as(parameter)
        return total[-2:]

    def log_row(self, recent: list[dict[str, float]]) -> dict[str, float]:
        """Return a row of metrics.jsonl: means over the recent updates, learning rate and counters as they are."""
        means = {key: sum(r[key] for r in recent) / len(recent) for key in ("loss", "stop_loss", "grad_norm")}
        speed = sum(r["update_drawings"] for r in recent) / sum(r["update_seconds"] for r in recent)
        means |= {"learning_rate": recent[-1]["learning_rate"], "seconds": self.seconds, "drawings_per_second": speed}
        counters: dict[str, float] = {"step": self.step, "drawings": self.drawings}
        return counters | {key: _rounded(value) for key, value in means.items()}

    @property
    def averaged_model(self) -> StrokeDiffusionModel:
        """The network with the moving average of the weights."""
        return cast(StrokeDiffusionModel, self.ema.module)

    def averaged(self) -> TrainedModel:
        """Return the moving average as a model that can be saved and sampled, with the conditions of its making."""
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

    def validate(self) -> dict[str, float]:
        """Score the moving average on held-out drawings and write it as weights.safetensors, whatever the score.

        The lowest held-out loss is no criterion for stopping: with few drawings it is reached early, while the
        drawings go on getting better for long (FID against real test drawings falls by a third and more).
        """
        result = validation_losses(
            self.averaged_model, self.whitening, self.validation, self.alpha_bar, self.config, self.autocast
        )
        trained = self.averaged()
        trained.conditions |= {key: round(value, 6) for key, value in result.items()}
        trained.conditions["curve"] = learning_curve(self.out / LOG_FILE)
        save_weights(self.out / "weights.safetensors", trained)
        return result

    def state(self) -> dict[str, Any]:
        """Return everything a resumed run needs; the data order and all noise follow from seed and step."""
        return {
            "identity": self.identity,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
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
        require_pieces(state, self.state(), str(where))
        refuse_other_run(self.out, state["identity"], self.identity)
        for name, value in state["counters"].items():
            if type(value) not in (int, float) or not value >= 0:
                raise ValueError(f"{where}: {name} is {value!r:.40}, must be a number >= 0")
        slots = {} if state["counters"]["step"] == state["counters"]["skipped"] else self._optimizer_slots()
        require_pieces(state["optimizer"]["state"], slots, f"{where}: optimizer")
        try:
            self.model.load_state_dict(state["model"])
            self.ema.load_state_dict(state["ema"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{where}: does not fit this model ({' '.join(str(error).split())[:200]})") from error
        for name in self.COUNTERS:
            setattr(self, name, state["counters"][name])
        self.saved_step = self.step
        for kind, now in self.state()["machine"].items():
            if (before := state["machine"][kind]) != now:
                exact = ", sums are rounded otherwise" if kind == "threads" else ""
                self.tell(f"saved with {before} {kind}, goes on with {now}: same batches and random numbers{exact}")

    def _optimizer_slots(self) -> dict[int, dict[str, None]]:
        """Return the form of what AdamW remembers of every parameter."""
        count = sum(len(group["params"]) for group in self.optimizer.param_groups)
        return {number: dict.fromkeys(("step", "exp_avg", "exp_avg_sq")) for number in range(count)}

    def tell(self, line: str) -> None:
        """Print a line, of several processes once."""
        if self.group.rank == 0:
            print(line, flush=True)


def learning_curve(log: Path) -> list[dict[str, float]]:
    """Return the losses of metrics.jsonl, at most some CURVE_ROWS rows of training and all validations, by step."""
    if not log.is_file():
        return []
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    trained = [row for row in rows if "loss" in row]
    shown = trained[:: -(-len(trained) // CURVE_ROWS)] if trained else []
    kept = shown + [row for row in rows if "validation_loss" in row]
    keys = ("step", "loss", "stop_loss", "validation_loss", "validation_stop_loss")
    return [{key: row[key] for key in keys if key in row} for row in sorted(kept, key=lambda row: float(row["step"]))]


def sample_grid(run: Run, path: Path) -> None:
    """Write a grid of 32 drawings by the moving average: the same seeds each time, so that progress is seen."""
    trained = run.averaged()
    trained.model.eval()
    targets = [run.data.categories[i] for i in run.data.targets][:GRID_DRAWINGS]
    drawings = []
    for name, part in zip(targets, np.array_split(np.arange(GRID_DRAWINGS), len(targets)), strict=True):
        drawings += generate_drawings(trained, name, part.tolist(), seed=0).drawings
    save_image(path, grid_image(drawings, columns=8))


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
        result = {k: _rounded(v) for k, v in run.validate().items()}
        append_line(log, json.dumps({"step": run.step} | result))
        tqdm.write(f"step {run.step}: " + ", ".join(f"{k} {v:.4f}" for k, v in result.items()))
    if due or stopping:
        run.save()
    if config.sample_every and run.step % config.sample_every == 0:
        sample_grid(run, run.out / f"samples_{run.step:07d}.png")


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def lineage_of(initial: TrainedModel | None) -> list[dict[str, Any]]:
    """Return the conditions of all trainings behind a checkpoint, the oldest first."""
    if initial is None:
        return []
    own = {key: value for key, value in initial.conditions.items() if key != "lineage"}
    return [*initial.conditions.get("lineage", []), own]


def prepare(
    config: TrainConfig, model_config: ModelConfig, choice: DataChoice, init: Path | None, out: Path,
    device: torch.device | None = None, group: Group = ALONE,
) -> Run:  # fmt: skip
    """Return a run that is ready to go on: data loaded, model new or from --init, state restored if there is one."""
    initial = load_weights(init) if init else None
    if initial is not None:
        model_config = dataclasses.replace(initial.model.config, dropout=model_config.dropout)
    data = load_training_data(config, model_config, choice, initial.categories if initial else ())
    torch.manual_seed(config.seed)
    start: dict[str, Any] = {"model": dataclasses.asdict(model_config), "init_sha256": None}
    model = StrokeDiffusionModel(model_config, len(data.categories))
    if initial is None or init is None:
        whitening = Whitening.fit(data.train.sample_vectors())
    else:
        start |= {"init": init.name, "init_sha256": initial.sha256}
        model.load_state_dict(initial.model.state_dict())
        whitening = initial.whitening
    trained = TrainedModel(model, whitening, data.categories, {"start": start, "lineage": lineage_of(initial)})
    run = Run(config, data, trained, out, device or best_device(), group)
    run.tell(f"data: {data.description}")
    state = load_state(out / STATE_FILE)
    if state is not None:
        run.restore(state)
        run.tell(f"Resuming {config.category} from step {run.step} of {config.steps} in {out}")
    group.require_same(hashlib.sha256(json.dumps([run.identity, run.step]).encode()).digest())
    if group.rank == 0:
        write_atomically(out / SETTINGS_FILE, json.dumps(run.identity, indent=2) + "\n")
        _forget_after(run.step, out / LOG_FILE)
    return run


def _forget_after(step: int, log: Path) -> None:
    """Drop the rows that a killed run wrote after its last saved state: they are about to be written again."""
    if not log.is_file():
        return
    kept = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            if line.endswith("\n") and json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, TypeError, KeyError):
            warnings.warn(f"{log}: a damaged row is left out ({line[:40]!r})", stacklevel=2)
    write_atomically(log, "".join(kept))
