"""Draw with a trained model, stroke by stroke, or continue unfinished drawings.

    python sample_diffusion.py --category cat --n 64 --seed 0 --out samples/cat
    python sample_diffusion.py --category rabbit --prefix unfinished.ndjson --keep-strokes 2 --out samples/continued
    torchrun --nproc-per-node 2 -- sample_diffusion.py --category cat --n 1000     # the same drawings, by two processes

Writes into the folder: drawings.ndjson (the official form), grid.png (given strokes red), sheet.svg, the first drawings
as .svg, animation.gif (drawn point by point), denoising.gif (strokes emerging from noise), and conditions.json: the
settings, the model, what was counted, and the files. Files there that no earlier run wrote are not replaced.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from config import (
    AS_TUNED,
    ATTRIBUTION,
    QUALITIES,
    USUAL_STEPS,
    RunFailed,
    SampleConfig,
    resolve_category,
    shipped_checkpoint,
    steps_of,
)
from dataset_utils import write_ndjson
from diffusion_model import HistoryState, StrokeDiffusionModel, TrainedModel, load_with_guide
from diffusion_process import Denoiser, cosine_alpha_bar, sampler_steps
from drawings.fitting import FITS, write_sketches
from drawings.formats import Sketch
from drawings.packed import everyones_drawings
from drawings.prefixes import Prefix, as_given, read_prefixes
from drawings.simplify import official_form
from plumbing.command_line import (  # fmt: skip
    add_config_arguments,
    add_device_argument,
    candidates,
    check_folder,
    config_from_arguments,
    is_first_process,
    rate,
    run_script,
    script_parser,
    steps_by_stroke,
    strength,
)
from plumbing.files import locked_folder, write_atomically
from plumbing.processes import ALONE, Group, autocast_for, best_device, joined_processes
from plumbing.result_folder import SVG_FILES, files_of_earlier_run, refuse_losing_files, result_files
from rendering import denoising_animation, drawing_svg, drawings_animation, grid_image, save_image, svg_sheet
from scoring.placement import encoded, placed
from stroke_tokens import vectors_to_points

Drawing = list[np.ndarray]
Watcher = Callable[[int, np.ndarray], object]
"""(stroke number, points of x_t (B, num_points, 2) in pixels) as noise, and after every denoising step."""

SHEET_DRAWINGS = 64
ANIMATED_DRAWINGS = 6
EMERGING_STATES = 24
ODD = {
    "ended_not_finite": "ended before a stroke that was not finite",
    "empty": "were left out, having no stroke",
    "cut_at_longest": "were cut at the longest length",
    "rejected": "were left out as odd",
}
"""What is told of drawings where it was counted; see ``Generated``."""
TOKEN_TOLERANCE = 0.01
"""How far the tokens of model and guide may differ, in deviations: another CPU rounds a whitening otherwise."""
PATIENCE = timedelta(days=7)
"""How long a process waits for a slower one that is alive: they meet only when all have drawn."""


# ------------------------------------------------------------------ drawing, stroke after stroke


@dataclasses.dataclass
class Generated:
    """Drawings as smooth strokes (num_points, 2) in pixels, before simplification, and what happened on the way.

    `unfinished` drawings were cut at the model's longest length; those with a stroke, or a decision to go on, that is
    not finite were ended before it and are counted in `not_finite`.
    """

    drawings: list[Drawing]
    unfinished: int = 0
    not_finite: int = 0


def draw_batch(
    trained: TrainedModel,
    category: str,
    indices: Sequence[int],
    prefixes: Sequence[Drawing],
    config: SampleConfig,
    watch: Watcher | None = None,
) -> Generated:
    """Return one drawing per index: stop? denoise the next stroke, remember it, until every drawing has ended.

    `prefixes` are the strokes that the drawings begin with, equally many in each, maybe none.
    """
    model, device, longest = trained.model, trained.model.position.device, trained.model.config.max_strokes
    alpha_bar = cosine_alpha_bar(len(model.time_table))
    tokens = encoded(trained, prefixes)
    predictor = Predictor.begin(model, trained.category_id(category), tokens)
    weaker = None if config.guidance == 1.0 else Predictor.begin(*weaker_network(trained, category), tokens)
    predictors = [predictor, *([weaker] if weaker else [])]
    denoise = guided_denoiser(predictor, weaker, config.guidance)
    result = Generated([list(prefix) for prefix in prefixes])
    growing = np.arange(len(indices))  # rows of those that have not ended

    def keep(rows: NDArray[np.bool_]) -> None:
        nonlocal growing
        if not rows.all():
            growing = growing[rows]
            for each in predictors:
                each.keep(torch.from_numpy(np.flatnonzero(rows)).to(device))

    for k in range(len(prefixes[0]), longest + 1):
        random = StrokeRandomness(config.seed, [indices[row] for row in growing.tolist()], k, model.token_dim, device)
        # stop?
        if k > 0:
            ends = torch.sigmoid(model.stop_logits(predictor.state.last).float()).cpu().numpy()
            result.not_finite += int(np.isnan(ends).sum())  # they end here, for NaN compares as false
            goes_on = random.uniform >= ends
            random.keep(goes_on)
            keep(goes_on)
        if k == longest or len(growing) == 0:
            break
        # denoise the next stroke
        noise = random.normal()
        given = chain([noise], iter(random.normal, None)).__next__
        steps = sampler_steps(config.sampler, denoise, given, alpha_bar, steps_of(k, config.steps), config.eta)
        for x_t in chain([noise], (x for x, _ in steps)):
            if watch is not None:
                watch(k, vectors_to_points(trained.whitening.decode(x_t)))
        points = vectors_to_points(trained.whitening.decode(x_t))
        finite = np.isfinite(points).all((1, 2))
        result.not_finite += int((~finite).sum())
        keep(finite)
        # remember it
        for row, own in zip(growing, points[finite], strict=True):
            result.drawings[row].append(own)
        for each in predictors:
            each.remember(x_t[torch.from_numpy(finite).to(device)])
    result.unfinished = len(growing)
    return result


class Predicts(Protocol):
    """What denoises the next stroke: a network that knows the strokes before it."""

    def v(self, x_t: Tensor, t: int) -> Tensor:
        """Return v_hat, of the shape of `x_t`, at time `t`."""


def guided_denoiser(predictor: Predicts, weaker: Predicts | None, guidance: float) -> Denoiser:
    """Return the denoiser of the next stroke, guided away from what a weaker one would draw.

    v = v_weaker + guidance * (v - v_weaker): classifier-free guidance where the weaker one is the same network that
    was not told the category (Ho and Salimans 2022, eq. 6, with w = guidance - 1), autoguidance where it is a smaller
    or less trained network (Karras et al. 2024, arXiv:2406.02507, eq. 3).
    """

    def denoise(x_t: Tensor, t: int) -> Tensor:
        v = predictor.v(x_t, t)
        if weaker is not None:
            v_weaker = weaker.v(x_t, t)
            v = v_weaker + guidance * (v - v_weaker)
        return v.float()

    return denoise


@dataclasses.dataclass
class Predictor:
    """A network at work on a batch of drawings: what it makes of the strokes so far, as drawings of `kind` (B,)."""

    model: StrokeDiffusionModel
    kind: Tensor
    state: HistoryState
    time_modulations: dict[int, Tensor] = dataclasses.field(default_factory=dict)
    """By time, each computed when it is first needed: they serve all strokes of the batch."""

    @staticmethod
    def begin(model: StrokeDiffusionModel, category_id: int, prefix: Tensor) -> Predictor:
        """Return the network after the strokes `prefix` (B, k, D), all drawings of one category."""
        kind = torch.full((len(prefix),), category_id, device=prefix.device)
        return Predictor(model, kind, model.start(kind, prefix))

    def v(self, x_t: Tensor, t: int) -> Tensor:
        """Return v_hat (B, D) of the next stroke."""
        if t not in self.time_modulations:
            self.time_modulations[t] = self.model.time_modulation_at(t)
        return self.model.denoise(x_t, self.time_modulations[t], self.state)

    def keep(self, rows: Tensor) -> None:
        """Forget all but the drawings `rows`, indices."""
        self.kind, self.state = self.kind[rows], self.state.select(rows)

    def remember(self, token: Tensor) -> None:
        """Add the stroke `token` (B, D) to what has been drawn."""
        self.state = self.model.append(self.state, token, self.kind)


class StrokeRandomness:
    """The random numbers of the k-th stroke of some drawings: one generator each, seeded by (seed, drawing, stroke).

    So neither the batch nor the order of drawings changes what a drawing is given.
    """

    def __init__(
        self, seed: int, indices: Sequence[int], stroke: int, dim: int, device: torch.device | str = "cpu"
    ) -> None:
        self.dim, self.device = dim, device
        sequences = [np.random.SeedSequence([seed, index, stroke]) for index in indices]
        self.generators = [np.random.Generator(np.random.Philox(sequence)) for sequence in sequences]
        self.uniform = np.array([generator.random() for generator in self.generators])

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Forget all but the drawings `rows`, a mask."""
        self.uniform = self.uniform[rows]
        self.generators = [g for g, kept in zip(self.generators, rows, strict=True) if kept]

    def normal(self) -> Tensor:
        """Return the next standard normal numbers, float32 (B, D)."""
        rows = [generator.standard_normal(self.dim, dtype=np.float32) for generator in self.generators]
        return torch.from_numpy(np.stack(rows)).to(self.device)


def weaker_network(trained: TrainedModel, category: str) -> tuple[StrokeDiffusionModel, int]:
    """Return the network that guidance compares with, and the category it is asked for.

    Raises ValueError for a guide that was not trained on the category, or that has other stroke tokens.
    """
    guide = trained.guide
    if guide is None:
        return trained.model, trained.model.null_category
    own, theirs = trained.whitening, guide.whitening
    same = own.basis.shape == theirs.basis.shape
    if same:  # the mean stroke, and those that are away from it by one deviation of one component
        tokens = torch.cat([own.mean[None] * 0, torch.eye(len(own.mean), device=own.mean.device)])
        same = torch.allclose(theirs.encode(own.decode(tokens)), tokens, rtol=0, atol=TOKEN_TOLERANCE)
    if not same:
        raise ValueError(f"{guide.file or 'the guide'}: was trained on other stroke tokens than "
                         f"{trained.file or 'the model'}; take a guide that began from the same weights")  # fmt: skip
    return guide.model, guide.category_id(category)


@torch.inference_mode()
def generate_drawings(
    trained: TrainedModel,
    category: str,
    indices: Sequence[int],
    *,
    seed: int,
    sampler: str = "auto",
    steps: int | Sequence[int] = (),
    eta: float = 0.0,
    guidance: float = 1.0,
    prefix: Sequence[Drawing] | None = None,
    batch_size: int = 256,
    progress: Callable[[int], object] = lambda finished: None,
    watch: Watcher | None = None,
) -> Generated:
    """Return one drawing per index, each (seed, index)'s own, as strokes float32 (num_points, 2) in pixels.

    `prefix` gives the first strokes of every drawing (in pixels of the 255 box); they come back as they were given.
    `sampler` and `steps` (by stroke, the last for all others) are the checkpoint's where they are not given. `guidance`
    other than 1 compares with the model's guide, or where it has none with its null category. `progress` is told how
    many drawings each batch has finished, `watch` every x_t on the way. Raises ValueError for a category
    that a model does not know, a guide of other tokens, or a prefix that is as long as the longest drawing.
    """
    steps = steps if isinstance(steps, int) else tuple(steps)
    config = as_tuned(SampleConfig(seed=seed, sampler=sampler, steps=steps, eta=eta, guidance=guidance), trained)
    longest = trained.model.config.max_strokes
    if prefix is not None and len(prefix) != len(indices):
        raise ValueError(f"{len(prefix)} prefixes for {len(indices)} drawings: one each, or none")
    for drawing in prefix or ():
        if len(drawing) >= longest:
            raise ValueError(f"a prefix has {len(drawing)} strokes, must have fewer than {longest}")
    result = Generated([[] for _ in indices])
    for first in range(0, len(indices), batch_size):
        rows = range(len(indices))[first : first + batch_size]
        lengths = [len(prefix[row]) if prefix else 0 for row in rows]
        for length in sorted(set(lengths)):  # equally long prefixes go together: the cache is not ragged
            chosen = [row for row, own in zip(rows, lengths, strict=True) if own == length]
            given = [prefix[row] if prefix else [] for row in chosen]
            batch = draw_batch(trained, category, [indices[row] for row in chosen], given, config, watch)
            for row, drawing in zip(chosen, batch.drawings, strict=True):
                result.drawings[row] = drawing
            result.unfinished += batch.unfinished
            result.not_finite += batch.not_finite
        progress(len(rows))
    return result


# ------------------------------------------------------------------ a run


@dataclasses.dataclass
class Sampled:
    """Drawings in the official form, none empty, and the conditions of their making."""

    drawings: list[Drawing]
    conditions: dict[str, Any]
    written: list[Sketch] = dataclasses.field(default_factory=list)
    """The same in other coordinates or with times, where they are to be written so."""


def sample(
    trained: TrainedModel,
    category: str,
    config: SampleConfig,
    prefix: list[Drawing] | None = None,
    group: Group = ALONE,
) -> Sampled:
    """Return `config.n` drawings of `category` (as many as `prefix`, where given), with a progress bar.

    The processes of `group` share the drawings, and each of them has them all in the end. Raises RunFailed where no
    drawing has a stroke, and ValueError where the processes have other weights, settings or prefixes.
    """
    config = as_tuned(config, trained)
    count = len(prefix) if prefix else config.n
    if group.size > 1:
        given = [[stroke.tolist() for stroke in drawing] for drawing in prefix or []]
        weights = [trained.sha256, trained.guide and trained.guide.sha256]
        group.require_same(hashlib.sha256(repr([category, config, weights, given]).encode()).digest())
    own = range(count)[group.own_slice(count, config.batch_size)]
    began = time.perf_counter()
    with (
        tqdm(total=len(own), unit="drawing", desc=category, disable=None if group.rank == 0 else True) as bar,
        autocast_for(config.precision, trained.model.position.device)(),
    ):
        made = generate_drawings(
            trained, category, own, seed=config.seed, sampler=config.sampler, steps=config.steps, eta=config.eta,
            guidance=config.guidance, prefix=prefix[own.start : own.stop] if prefix else None,
            batch_size=config.batch_size, progress=bar.update,
        )  # fmt: skip
    kept = [len(prefix[i]) if prefix else 0 for i in own]
    finished = [official_form(drawing, k) for drawing, k in zip(made.drawings, kept, strict=True) if drawing]
    drawings = everyones_drawings([drawing for drawing, _ in finished], group)
    steps = len(trained.model.time_table) if config.sampler == "ancestral" else config.steps
    taken = [steps_of(k, steps) for own, k0 in zip(made.drawings, kept, strict=True) for k in range(k0, len(own))]
    counts = np.array([[made.unfinished, made.not_finite, sum(c for _, c in finished), sum(taken), len(taken)]])
    *counted, evaluations, strokes = group.concatenated(counts).sum(axis=0).tolist()
    seconds = time.perf_counter() - began
    if not drawings:
        raise RunFailed(f"none of {count} drawings has a finite stroke; is the checkpoint of a training that diverged?")
    guided = config.guidance != 1.0
    conditions = dataclasses.asdict(config) | {
        "n": len(drawings),
        "steps": steps,
        "category": category,
        "guide": (trained.guide.file if trained.guide else "the model without a category") if guided else None,
        "evaluations_per_stroke": round(evaluations * (2 if guided else 1) / max(1, strokes), 2),
        "continued": prefix is not None,
        "empty": count - len(drawings),
        **dict(zip(("cut_at_longest", "ended_not_finite", "clipped_points"), counted, strict=True)),
        "processes": group.size,
        "drawings_per_second": round(count / seconds, 1),
        "model": trained.conditions,
        "attribution": ATTRIBUTION,
    }
    return Sampled(drawings, conditions)


def as_tuned(config: SampleConfig, trained: TrainedModel) -> SampleConfig:
    """Return the settings with what the model was tuned for where nothing is asked for: guidance, sampler, steps."""
    config = dataclasses.replace(config, guidance=trained.guidance) if config.guidance == AS_TUNED else config
    sampler = trained.sampler if config.sampler == "auto" else config.sampler
    return dataclasses.replace(config, sampler=sampler, steps=config.steps or trained.steps)


def reject_odd(sampled: Sampled, category: str, false_alarms: float) -> None:
    """Leave out what is odd for the category at a rate of false alarms, raising RunFailed where that is all."""
    from oddity.check import Checker  # seconds that only this flag is worth

    kept = Checker(category, false_alarms=false_alarms).kept(sampled.drawings)
    rejected, sampled.drawings = len(sampled.drawings) - len(kept), kept
    sampled.conditions |= {"n": len(kept), "reject_odd": false_alarms, "rejected": rejected}


def choose(sampled: Sampled, critic: Any, count: int, seed: int) -> None:
    """Keep `count` of the drawings, those that a ``scoring.critic.Critic`` takes for people's."""
    kept = critic.chosen(sampled.drawings, count, seed)
    sampled.conditions |= {"n": len(kept), "candidates": len(sampled.drawings), "first": int(kept[0])}
    sampled.drawings = [sampled.drawings[row] for row in kept]


# ------------------------------------------------------------------ files


def write_results(
    sampled: Sampled,
    trained: TrainedModel,
    category: str,
    config: SampleConfig,
    out: Path,
    prefix: list[Drawing] | None = None,
    also: Sequence[str] = (),
) -> None:
    """Write drawings, pictures and conditions into the folder `out`, in the place of what an earlier run wrote.

    `also` are names of files that the caller will write there. Raises ValueError, before anything is written, for a
    folder that holds other files of these names.
    """
    drawings, history = sampled.drawings, prefix[0] if prefix else None
    refuse_losing_files(out, len(drawings), also=also)
    states = emerging_strokes(trained, category, config, history, sampled.conditions.get("first", 0))
    files = [name for name in (*result_files(len(drawings)), *also) if states or name != "denoising.gif"]
    out.mkdir(parents=True, exist_ok=True)
    for name in set(files_of_earlier_run(out)) - set(files):
        (out / name).unlink(missing_ok=True)
    # first, so that a run that is killed leaves nothing that the next one takes for somebody's
    write_atomically(out / "conditions.json", json.dumps(sampled.conditions | {"files": files}, indent=2) + "\n")
    if sampled.written:
        write_sketches(out / "drawings.ndjson", sampled.written)
    else:
        write_ndjson(out / "drawings.ndjson", drawings, word=category)
    for i, drawing in enumerate(drawings[:SVG_FILES]):
        write_atomically(out / f"drawing_{i:03d}.svg", drawing_svg(drawing))
    shown = drawings[:SHEET_DRAWINGS]
    write_atomically(out / "sheet.svg", svg_sheet(shown, columns=8))
    save_image(out / "grid.png", grid_image(shown, columns=8, given=[len(own) for own in prefix or ()]))
    drawings_animation(drawings[:ANIMATED_DRAWINGS], out / "animation.gif")
    if states:
        denoising_animation(states, out / "denoising.gif", history or [])


def emerging_strokes(
    trained: TrainedModel, category: str, config: SampleConfig, prefix: Drawing | None = None, first: int = 0
) -> list[list[Any]]:
    """Return, for each finite stroke of drawing `first`, its points (num_points, 2) as noise and after each step.

    Of many states EMERGING_STATES are kept, evenly spaced. An empty list says that nothing was added to the prefix.
    """
    config = as_tuned(config, trained)
    strokes: dict[int, list[Any]] = {}
    with autocast_for(config.precision, trained.model.position.device)():
        generate_drawings(
            trained, category, [first], seed=config.seed, sampler=config.sampler, steps=config.steps, eta=config.eta,
            guidance=config.guidance, prefix=[prefix] if prefix else None,
            watch=lambda k, points: strokes.setdefault(k, []).append(points[0]),
        )  # fmt: skip
    finite = [states for states in strokes.values() if np.isfinite(states[-1]).all()]
    kept = [np.linspace(0, len(states) - 1, min(len(states), EMERGING_STATES)).round().astype(int) for states in finite]
    return [[states[i] for i in rows] for states, rows in zip(finite, kept, strict=True)]


def load_model(path: Path, guide: str = "tuned", device: str = "auto") -> TrainedModel:
    """Return the model of a weights file, with its guide: the one it was tuned with, none for "null", or a file."""
    return load_with_guide(path, best_device(device), guide)


# ------------------------------------------------------------------ command line


def tell(text: str) -> None:
    """Print a line; of several processes that torchrun has started the first alone prints it."""
    if is_first_process():
        print(text)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line: every field of SampleConfig is a flag."""
    parser = script_parser(__doc__)
    what, how, where = map(parser.add_argument_group, ("what to draw", "how to sample", "files and machine"))
    what.add_argument("--category", required=True, metavar="NAME", help="one of 345, in English or Turkish")
    add_config_arguments(what, SampleConfig, only=("n", "seed"))
    what.add_argument("--reject-odd", type=rate, metavar="X", help="leave out what check_drawings.py calls odd at this "
                      "rate of false alarms, such as 0.05")  # fmt: skip
    what.add_argument("--choose", type=candidates, default=1, metavar="K", help="draw K times as many, and keep those "
                      "that a critic takes for people's (default 1, all; try 8)")  # fmt: skip
    what.add_argument("--prefix", metavar="FILE", help="drawings to continue, in any form of docs/FORMATS.md, repeated "
                      "or cut to --n")  # fmt: skip
    what.add_argument("--fit", choices=FITS, default="auto", help="fit prefixes into the square of the dataset, where "
                      "the model finds them likeliest, and write them back in their own coordinates (default auto: "
                      "where they are in others)")  # fmt: skip
    what.add_argument("--keep-strokes", type=int, metavar="K", help="continue from the first K strokes of each prefix")
    add_config_arguments(how, SampleConfig, only=("sampler",))
    how.add_argument("--steps", type=steps_by_stroke, metavar="N,N", default=argparse.SUPPRESS,
                     help="denoising steps of the first stroke, the second ... and with the last number of all others "
                     f"(default: the checkpoint's, {USUAL_STEPS} where it names none; 1 to 1000)")  # fmt: skip
    add_config_arguments(how, SampleConfig, only=("eta",))
    how.add_argument("--guidance", type=strength, metavar="X", default=argparse.SUPPRESS,
                     help="strength of guidance, 0 to 20, 1 is off (default auto: what the checkpoint was tuned "
                     "for)")  # fmt: skip
    add_config_arguments(how, SampleConfig, only=("guide",))
    how.add_argument("--quality", choices=QUALITIES, default=QUALITIES[0], help="the shipped student, with few "
                     "evaluations a stroke, or its teacher, with 40 (default student, where there is one)")  # fmt: skip
    where.add_argument("--checkpoint", metavar="FILE", help="weights to draw with (default: of checkpoints/, the "
                       "category's own, or else base.safetensors)")  # fmt: skip
    where.add_argument("--timing", action="store_true", help="write drawings.ndjson in the raw form, [xs, ys, ts], "
                       "with the times of a pen at the usual speed")  # fmt: skip
    where.add_argument("--out", metavar="FOLDER", help="folder for the results (default samples/CATEGORY)")
    add_config_arguments(where, SampleConfig, only=("batch_size", "precision"))
    add_device_argument(where)
    return parser


def main(argv: list[str] | None = None) -> Sampled:
    """Sample as the command line says, write the results, and return them."""
    arguments = build_parser().parse_args(argv)
    config = config_from_arguments(SampleConfig, arguments)
    if arguments.keep_strokes is not None and (arguments.keep_strokes < 1 or not arguments.prefix):
        raise ValueError(f"--keep-strokes is {arguments.keep_strokes}, must be at least 1 and come with --prefix")
    if (arguments.reject_odd or arguments.choose > 1) and arguments.prefix:
        raise ValueError("--reject-odd, --choose and --prefix do not go together: each prefix is answered")
    if config.eta and config.sampler != "ddim":
        raise ValueError(f"--eta is {config.eta:g}, which only --sampler ddim knows")
    if AS_TUNED != config.guidance < 0:
        raise ValueError(f"--guidance is {config.guidance:g}, must lie in 0 ... 20, or be auto")
    with joined_processes(best_device(arguments.device), PATIENCE) as group:
        trained, category = chosen_model(arguments, config)
        critic = None
        if arguments.choose > 1:
            from scoring.critic import shipped_critic  # SciPy, and what it sees through

            critic = shipped_critic(category, trained.sha256)
        prefixes: list[Prefix] = []
        if arguments.prefix:
            asked, most = getattr(arguments, "n", None), trained.model.config.max_strokes - 1
            prefixes, told = read_prefixes(arguments.prefix, arguments.keep_strokes, asked, most, arguments.fit)
            for line in told:
                tell(line)
            if arguments.keep_strokes is None:  # else the whole drawing has told where its beginning lies
                prefixes = [placed(trained, category, each) for each in prefixes]
        prefix, count = [each.drawing for each in prefixes] or None, len(prefixes) or config.n
        out = Path(arguments.out or f"samples/{category}")
        files = [arguments.prefix, trained.path, trained.guide and trained.guide.path]
        refuse_losing_files(out, count, [Path(file) for file in files if file])
        earlier = files_of_earlier_run(out)
        check_folder(out)
        with locked_folder(out) if group.rank == 0 else nullcontext():
            offered = dataclasses.replace(config, n=config.n * arguments.choose)
            sampled = sample(trained, category, offered, prefix, group)
            sampled.conditions |= {"checkpoint": trained.file, "checkpoint_sha256": trained.sha256}
            if critic:
                choose(sampled, critic, config.n, config.seed)
            if arguments.reject_odd:
                reject_odd(sampled, category, arguments.reject_odd)
            sampled.written = as_given(sampled.drawings, prefixes, category, arguments.timing)
            sampled.conditions |= {"prefix_file": arguments.prefix, "keep_strokes": arguments.keep_strokes}
            if group.rank == 0:
                write_results(sampled, trained, category, config, out, prefix)
    tell(f"wrote {len(sampled.drawings)} drawings to {out}/drawings.ndjson; look at {out}/grid.png and animation.gif")
    if earlier:
        tell(f"in the place of what an earlier run wrote there: {', '.join(earlier)}")
    if odd := [f"{sampled.conditions[key]} {words}" for key, words in ODD.items() if sampled.conditions.get(key)]:
        tell(f"of {sampled.conditions.get('candidates', count)} drawings {', '.join(odd)}")
    return sampled


def hint(name: str, path: Path) -> str:
    """Return, in words, which shipped model draws a category that the weights `path` do not; "" where none does."""
    with suppress(ValueError):
        able = shipped_checkpoint(resolve_category(name))
        if able.is_file() and not (path.exists() and able.samefile(path)):
            return f"; without --checkpoint {able.name} draws it"
    return ""


def chosen_model(arguments: argparse.Namespace, config: SampleConfig) -> tuple[TrainedModel, str]:
    """Return the model to draw with and the name that it knows --category by; refuse a guide that cannot guide it."""
    name = arguments.category
    path = Path(arguments.checkpoint or shipped_checkpoint(resolve_category(name), arguments.quality))
    trained = load_model(path, config.guide, arguments.device)
    try:
        category = resolve_category(name, trained.categories)
        trained.category_id(category)
    except ValueError as error:
        reason = str(error) if str(error).startswith(f"{path.name}:") else f"{path}: {error}"
        raise ValueError(reason + hint(name, path)) from None
    if as_tuned(config, trained).guidance != 1.0:
        weaker_network(trained, category)
    return trained, category


if __name__ == "__main__":
    run_script(main, "a smaller --batch-size")
