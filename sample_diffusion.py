"""Draw with a trained model, stroke by stroke, or continue unfinished drawings.

    python sample_diffusion.py --category cat --n 64 --seed 0 --out samples/cat
    python sample_diffusion.py --category rabbit --prefix unfinished.ndjson --keep-strokes 2 --out samples/continued
    torchrun --nproc-per-node 2 -- sample_diffusion.py --category cat --n 1000     # the same drawings, by two processes

Writes into the folder: drawings.ndjson (the official Quick, Draw! form), grid.png, sheet.svg and the first drawings
as .svg, animation.gif (drawn point by point), denoising.gif (strokes emerging from noise), conditions.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import AS_TUNED, ATTRIBUTION, CATEGORIES, CHECKPOINTS, RunFailed, SampleConfig, resolve_category
from plumbing.command_line import (
    add_config_arguments,
    add_device_argument,
    check_folder,
    config_from_arguments,
    is_first_process,
    run_script,
    script_parser,
)
from plumbing.files import locked_folder, write_atomically
from weights_header import WeightsHeader, check_guide, guide_path, read_weights_header, sampling_of

if TYPE_CHECKING:  # torch takes over a second to import: --help and bad input answer before it
    import numpy as np
    from numpy.typing import NDArray

    from checkpoint import TrainedModel
    from generation import Drawing, Generated
    from plumbing.processes import Group

NOT_CATEGORIES = ("base", "sketch_features", "reference_features")
SVG_FILES = 8
SHEET_DRAWINGS = 64
ANIMATED_DRAWINGS = 6
EMERGING_STATES = 24
COUNTED = ("cut_at_longest", "ended_not_finite", "clipped_points")
"""What is counted of drawings on the way; see ``generation.Generated`` and ``generation.official_form``."""


def tell(text: str) -> None:
    """Print a line; of several processes that torchrun has started the first alone prints it."""
    if is_first_process():
        print(text)


def shipped_checkpoint(category: str) -> Path:
    """Return the path of the shipped weights of `category`, raising FileNotFoundError with the command to train."""
    path = CHECKPOINTS / f"{category}.safetensors"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no shipped weights; train with `python train_diffusion.py --category {category}` "
            "and name them by --checkpoint"
        )
    return path


def read_prefixes(path: Path, keep_strokes: int | None, count: int | None) -> list[Drawing]:
    """Return the unfinished drawings of an ndjson file, cut to their first `keep_strokes` strokes.

    Drawings with fewer strokes than that are left out, and their number is printed, as is what reading left out or
    cut. `count` repeats or cuts the list to that many, so that one drawing can be continued in many ways. Raises
    ValueError for a file in which nothing is left, or of raw drawings, which would not come back as they were given.
    """
    from dataset_utils import read_ndjson

    packed, counts = read_ndjson(path)
    if counts.raw_drawings:
        raise ValueError(f"{path}: holds {counts.raw_drawings} raw drawings, a prefix must be in the simplified form")
    if losses := counts.describe_losses():
        tell(f"{path}: {losses}")
    drawings = list(packed)
    if keep_strokes is not None:
        kept = [drawing[:keep_strokes] for drawing in drawings if len(drawing) >= keep_strokes]
        if len(kept) < len(drawings):
            tell(f"{path}: left out {len(drawings) - len(kept)} drawings of fewer than {keep_strokes} strokes")
        drawings = kept
    if not drawings:
        raise ValueError(f"{path}: holds no drawing to continue ({counts.describe()})")
    return [drawings[i % len(drawings)] for i in range(count or len(drawings))]


def as_tuned(config: SampleConfig, trained: TrainedModel) -> SampleConfig:
    """Return the settings with the strength of guidance that the model was tuned for, where none is asked for."""
    return dataclasses.replace(config, guidance=trained.guidance) if config.guidance == AS_TUNED else config


def guide_name(trained: TrainedModel) -> str:
    """Return what guidance compares with, in words."""
    return "the model without a category" if trained.guide is None else trained.guide.file


def load_model(path: Path, guide: str = "tuned", device: str = "auto") -> TrainedModel:
    """Return the model of a weights file, with its guide: the one it was tuned with, none for "null", or a file."""
    from checkpoint import load_weights, load_with_guide
    from plumbing.devices import best_device

    place = best_device(device)
    if guide == "tuned":
        return load_with_guide(path, place)
    trained = load_weights(path, place)
    if guide != "null":
        trained.guide = load_weights(Path(guide), place)
    return trained


def check_model(
    path: Path, name: str, config: SampleConfig, read: Callable[[Path], WeightsHeader] = read_weights_header
) -> tuple[WeightsHeader, str]:
    """Refuse, without torch, weights and a guide that cannot draw what `name` calls as `config` says.

    Returns what the weights file declares and the category. Who checks several models that share a guide lets `read`
    remember it: reading hashes the whole file. Raises FileNotFoundError or ValueError naming the file.
    """
    header = read(path)
    try:
        category = resolve_category(name, header.categories)
        header.category_id(category)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    used = (sampling_of(header)["guidance"] if config.guidance == AS_TUNED else config.guidance) != 1.0
    guide = guide_path(header) if config.guide == "tuned" else None if config.guide == "null" else Path(config.guide)
    if guide is not None:
        weaker = read(guide)
        if used:
            check_guide(header, weaker, category)
    return header, category


@dataclasses.dataclass
class Sampled:
    """Drawings in the official form, none empty, and the conditions of their making."""

    drawings: list[Drawing]
    conditions: dict[str, Any]


def sample(
    trained: TrainedModel,
    category: str,
    config: SampleConfig,
    prefix: list[Drawing] | None = None,
    group: Group | None = None,
) -> Sampled:
    """Return `config.n` drawings of `category` (as many as `prefix`, where given), with a progress bar.

    The processes of `group` share the drawings, and each of them has them all in the end. Raises RunFailed where no
    drawing has a stroke, and ValueError where the processes have other weights, settings or prefixes.
    """
    from plumbing.processes import ALONE

    group = group or ALONE
    config = as_tuned(config, trained)
    if group.size > 1:
        group.require_same(digest_of(trained, category, config, prefix))
    count = len(prefix) if prefix else config.n
    turns = own_turns(count, config.batch_size, group)
    began = time.perf_counter()
    made = draw_together(trained, category, config, prefix, group, turns)
    seconds = time.perf_counter() - began
    drawings, counted = finish_together(made, prefix, group, turns)
    if not drawings:
        raise RunFailed(f"none of {count} drawings has a finite stroke; is the checkpoint of a training that diverged?")
    ancestral = config.sampler == "ancestral"
    steps = len(trained.model.time_table) if ancestral else config.steps
    conditions = dataclasses.asdict(config) | {
        "n": len(drawings),
        "steps": steps,
        "category": category,
        "guide": guide_name(trained) if config.guidance != 1.0 else None,
        "evaluations_per_stroke": steps * (1 if config.guidance == 1.0 else 2),
        "continued": prefix is not None,
        "empty": count - len(drawings),
        **dict(zip(COUNTED, counted.tolist(), strict=True)),
        "processes": group.size,
        "drawings_per_second": round(count / seconds, 1),
        "model": trained.conditions,
        "attribution": ATTRIBUTION,
    }
    return Sampled(drawings, conditions)


def own_turns(count: int, batch_size: int, group: Group) -> list[range]:
    """Return which of `count` drawings this process draws in each turn: in a turn every process draws a batch.

    Where there are no more batches than processes some draw nothing.
    """
    turns = [
        range(count)[first : first + group.size * batch_size] for first in range(0, count, group.size * batch_size)
    ]
    return [turn[group.own_slice(len(turn), batch_size)] for turn in turns]


def draw_together(
    trained: TrainedModel,
    category: str,
    config: SampleConfig,
    prefix: list[Drawing] | None,
    group: Group,
    turns: list[range],
) -> list[Generated]:
    """Return what this process draws in its `turns`.

    After each turn all wait for each other: so none has to be patient for longer than a batch takes, and the bar, which
    the first process shows, counts the drawings of all.
    """
    import numpy as np
    from tqdm import tqdm

    from generation import generate_drawings
    from plumbing.devices import autocast_for

    made = []
    title = category if group.size == 1 else f"{category}, by {group.size} processes"
    silent = None if group.rank == 0 else True  # None: where there is no terminal
    total = len(prefix) if prefix else config.n
    autocast = autocast_for(config.precision, trained.model.position.device)
    with tqdm(total=total, unit="drawing", desc=title, disable=silent) as bar, autocast():
        for own in turns:
            generated = generate_drawings(
                trained, category, own, seed=config.seed, sampler=config.sampler, steps=config.steps, eta=config.eta,
                guidance=config.guidance, prefix=prefix[own.start : own.stop] if prefix else None,
                batch_size=config.batch_size, progress=bar.update,
            )  # fmt: skip
            made.append(generated)
            bar.update(int(group.concatenated(np.array([len(own)])).sum()) - len(own))
    return made


def finish_together(
    made: list[Generated], prefix: list[Drawing] | None, group: Group, turns: list[range]
) -> tuple[list[Drawing], NDArray[np.int64]]:
    """Return the drawings of all processes in order, in the official form, and what was COUNTED of them, int64 (3,).

    `made` is what this process drew in its `turns`. Drawings without a stroke are left out.
    """
    import numpy as np

    from generation import official_form

    drawings: list[Drawing] = []
    counted = np.zeros(len(COUNTED), np.int64)
    for own, generated in zip(turns, made, strict=True):
        kept = [len(prefix[i]) if prefix else 0 for i in own]
        finished = [official_form(drawing, k) for drawing, k in zip(generated.drawings, kept, strict=True) if drawing]
        drawings += everyones_drawings([drawing for drawing, _ in finished], group)
        counted += [generated.unfinished, generated.not_finite, sum(clipped for _, clipped in finished)]
    return drawings, group.concatenated(counted[None]).sum(axis=0)


def everyones_drawings(own: list[Drawing], group: Group) -> list[Drawing]:
    """Return the drawings of all processes, in the official form, in the order of the processes."""
    import numpy as np

    from drawings.packed import PackedDrawings

    if group.size == 1:
        return own
    packed = PackedDrawings.from_drawings(own)
    points_of_strokes = group.concatenated(np.diff(packed.stroke_offsets))
    strokes_of_drawings = group.concatenated(packed.num_strokes)
    return list(
        PackedDrawings(
            group.concatenated(packed.points),
            np.cumsum([0, *points_of_strokes]),
            np.cumsum([0, *strokes_of_drawings]),
            np.arange(len(strokes_of_drawings)),
        )
    )


def digest_of(trained: TrainedModel, category: str, config: SampleConfig, prefix: list[Drawing] | None) -> bytes:
    """Return a hash of all that drawings depend on: of weights, guide, category, settings and prefixes."""
    import numpy as np

    from scoring.feature_network import tensor_hash

    weights = [tensor_hash(each.model.state_dict()) for each in (trained, trained.guide) if each]
    digest = hashlib.sha256(json.dumps([category, dataclasses.asdict(config), weights]).encode())
    for drawing in prefix or ():
        for stroke in drawing:
            digest.update(f"{len(drawing)} {len(stroke)} ".encode() + np.ascontiguousarray(stroke).tobytes())
    return digest.digest()


def emerging_strokes(
    trained: TrainedModel, category: str, config: SampleConfig, prefix: Drawing | None = None
) -> list[list[Any]]:
    """Return, for each finite stroke of drawing 0, its points (num_points, 2) after the denoising steps.

    Of many steps EMERGING_STATES are kept, evenly spaced. An empty list says that nothing was added to the prefix.
    """
    import numpy as np

    from generation import generate_drawings
    from plumbing.devices import autocast_for

    config = as_tuned(config, trained)
    strokes: dict[int, list[Any]] = {}
    with autocast_for(config.precision, trained.model.position.device)():
        generate_drawings(
            trained, category, range(1), seed=config.seed, sampler=config.sampler, steps=config.steps, eta=config.eta,
            guidance=config.guidance, prefix=[prefix] if prefix else None,
            watch=lambda k, points: strokes.setdefault(k, []).append(points[0]),
        )  # fmt: skip
    chosen = []
    for states in strokes.values():
        if np.isfinite(states[-1]).all():
            kept = np.linspace(0, len(states) - 1, min(len(states), EMERGING_STATES)).round().astype(int)
            chosen.append([states[i] for i in kept])
    return chosen


def write_results(
    sampled: Sampled,
    trained: TrainedModel,
    category: str,
    config: SampleConfig,
    out: Path,
    prefix: list[Drawing] | None = None,
) -> None:
    """Write drawings, pictures and conditions into the folder `out`."""
    from dataset_utils import write_ndjson
    from rendering import denoising_animation, drawing_svg, drawings_animation, grid_image, save_image, svg_sheet

    drawings = sampled.drawings
    shown = drawings[:SHEET_DRAWINGS]
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob("drawing_*.svg"):  # of a larger earlier run
        stale.unlink()
    write_ndjson(out / "drawings.ndjson", drawings, word=category)
    for i, drawing in enumerate(drawings[:SVG_FILES]):
        write_atomically(out / f"drawing_{i:03d}.svg", drawing_svg(drawing))
    write_atomically(out / "sheet.svg", svg_sheet(shown, columns=8))
    write_atomically(out / "conditions.json", json.dumps(sampled.conditions, indent=2) + "\n")
    save_image(out / "grid.png", grid_image(shown, columns=8))
    drawings_animation(drawings[:ANIMATED_DRAWINGS], out / "animation.gif")
    history = prefix[0] if prefix else None
    states = emerging_strokes(trained, category, config, history)
    if states:
        denoising_animation(states, out / "denoising.gif", history or [])
    else:
        (out / "denoising.gif").unlink(missing_ok=True)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line: every field of SampleConfig is a flag."""
    parser = script_parser(__doc__)
    parser.add_argument("--category", required=True, help="cat, bus, rabbit or car (kedi, otobüs, tavşan, araba)")
    add_config_arguments(parser, SampleConfig)
    parser.add_argument("--checkpoint", help="weights to draw with (default checkpoints/<category>.safetensors)")
    parser.add_argument("--out", help="folder for the results (default samples/<category>)")
    parser.add_argument("--prefix", help="ndjson of unfinished drawings to continue; --n repeats or cuts them")
    parser.add_argument("--keep-strokes", type=int, help="continue from the first K strokes of each prefix")
    add_device_argument(parser)
    return parser


def main(argv: list[str] | None = None) -> Sampled:
    """Sample as the command line says, write the results, and return them."""
    arguments = build_parser().parse_args(argv)
    config = config_from_arguments(SampleConfig, arguments)
    path, category, prefix = checked_input(arguments, config)
    out = Path(arguments.out or f"samples/{category}")
    check_folder(out)

    from checkpoint import sha256_of
    from plumbing.devices import best_device
    from plumbing.processes import joined_processes

    device = best_device(arguments.device)
    with joined_processes(device) as group, locked_folder(out) if group.rank == 0 else nullcontext():
        trained = load_model(path, config.guide, arguments.device)
        batches = math.ceil((len(prefix) if prefix else config.n) / config.batch_size)
        if batches < group.size:
            tell(f"{batches} of {group.size} processes have a batch to draw; a smaller --batch-size gives more of them")
        sampled = sample(trained, category, config, prefix, group)
        sampled.conditions |= {"checkpoint": path.name, "checkpoint_sha256": sha256_of(path)}
        if group.rank == 0:
            write_results(sampled, trained, category, config, out, prefix)
    tell(f"wrote {len(sampled.drawings)} drawings to {out}/drawings.ndjson; look at {out}/grid.png and animation.gif")
    if odd := what_was_odd(sampled.conditions):
        tell(f"of {sampled.conditions['n'] + sampled.conditions['empty']} drawings {odd}")
    return sampled


def checked_input(arguments: argparse.Namespace, config: SampleConfig) -> tuple[Path, str, list[Drawing] | None]:
    """Return weights, category and prefixes of a command line, refusing all that is wrong with it without torch."""
    if arguments.keep_strokes is not None and (arguments.keep_strokes < 1 or not arguments.prefix):
        raise ValueError(f"--keep-strokes is {arguments.keep_strokes}, must be at least 1 and come with --prefix")
    if config.eta and config.sampler != "ddim":
        raise ValueError(f"--eta is {config.eta:g}, which only --sampler ddim knows")
    if AS_TUNED != config.guidance < 0:
        raise ValueError(f"--guidance is {config.guidance:g}, must lie in 0 ... 20, or be {AS_TUNED:g}")
    if arguments.checkpoint:
        path = Path(arguments.checkpoint)
    else:
        path = shipped_checkpoint(resolve_category(arguments.category, known_categories()))
    header, category = check_model(path, arguments.category, config)
    if not arguments.prefix:
        return path, category, None
    prefix = read_prefixes(Path(arguments.prefix), arguments.keep_strokes, getattr(arguments, "n", None))
    most = header.config.max_strokes - 1
    too_long = sum(len(drawing) > most for drawing in prefix)
    if too_long and not most:
        raise ValueError(f"{path}: draws single strokes, it cannot continue {arguments.prefix}")
    if too_long:
        tell(f"{arguments.prefix}: cut {too_long} prefixes to {most} strokes, the most that {path.name} can continue")
    return path, category, [drawing[:most] for drawing in prefix]


def what_was_odd(conditions: dict[str, Any]) -> str:
    """Return in words what is not as usual with the drawings of a run, from its conditions; nothing where all is."""
    said = {
        "ended_not_finite": "ended before a stroke that was not finite",
        "empty": "were left out, having no stroke",
        "cut_at_longest": "were cut at the longest length",
    }
    return ", ".join(f"{conditions[key]} {words}" for key, words in said.items() if conditions[key])


def known_categories() -> list[str]:
    """Return the categories with shipped weights, and the three of the assignment in any case."""
    shipped = sorted(path.stem for path in CHECKPOINTS.glob("*.safetensors"))
    return list(dict.fromkeys((*CATEGORIES, *(name for name in shipped if name not in NOT_CATEGORIES))))


if __name__ == "__main__":
    run_script(main, "a smaller --batch-size")
