"""Draw with a trained model, stroke by stroke, or continue unfinished drawings.

    python sample_diffusion.py --category cat --n 64 --seed 0 --out samples/cat
    python sample_diffusion.py --category rabbit --prefix unfinished.ndjson --keep-strokes 2 --out samples/continued

Writes into the folder: drawings.ndjson (the official Quick, Draw! form), grid.png, sheet.svg and the first drawings
as .svg, animation.gif (drawn point by point), denoising.gif (strokes emerging from noise), conditions.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import (
    AS_TUNED,
    ATTRIBUTION,
    CATEGORIES,
    CHECKPOINTS,
    RunFailed,
    SampleConfig,
    add_config_arguments,
    config_from_arguments,
    resolve_category,
    run_script,
    script_parser,
)

if TYPE_CHECKING:  # torch takes over a second to import: --help and bad input answer before it
    from checkpoint import TrainedModel
    from generation import Drawing

NOT_CATEGORIES = ("base", "sketch_features", "reference_features")
SVG_FILES = 8
SHEET_DRAWINGS = 64
ANIMATED_DRAWINGS = 6
EMERGING_STATES = 24


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

    Drawings with fewer strokes than that are left out, and their number is printed. `count` repeats or cuts the list
    to that many, so that one drawing can be continued in many ways. Raises ValueError for a file in which nothing is
    left, or of raw drawings, which would not come back as they were given.
    """
    from dataset_utils import read_ndjson

    packed, counts = read_ndjson(path)
    if counts.raw_drawings:
        raise ValueError(f"{path}: holds {counts.raw_drawings} raw drawings, a prefix must be in the simplified form")
    drawings = list(packed)
    if keep_strokes is not None:
        kept = [drawing[:keep_strokes] for drawing in drawings if len(drawing) >= keep_strokes]
        if len(kept) < len(drawings):
            print(f"{path}: left out {len(drawings) - len(kept)} drawings of fewer than {keep_strokes} strokes")
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


def load_model(path: Path, guide: str = "tuned") -> TrainedModel:
    """Return the model of a weights file, with its guide: the one it was tuned with, none for "null", or a file."""
    from checkpoint import load_weights, load_with_guide
    from devices import best_device

    if guide == "tuned":
        return load_with_guide(path, best_device())
    trained = load_weights(path, best_device())
    if guide != "null":
        trained.guide = load_weights(Path(guide), best_device())
    return trained


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
) -> Sampled:
    """Return `config.n` drawings of `category` (as many as `prefix`, where given), with a progress bar."""
    from tqdm import tqdm

    from devices import autocast_for
    from generation import generate_drawings, official_form

    config = as_tuned(config, trained)
    count = len(prefix) if prefix else config.n
    began = time.perf_counter()
    with tqdm(total=count, unit="drawing", desc=category, disable=None) as bar, autocast_for(config.precision)():
        generated = generate_drawings(
            trained, category, range(count), seed=config.seed, sampler=config.sampler, steps=config.steps,
            eta=config.eta, guidance=config.guidance, prefix=prefix, batch_size=config.batch_size,
            progress=bar.update,
        )  # fmt: skip
    seconds = time.perf_counter() - began
    kept = [len(drawing) for drawing in prefix] if prefix else [0] * count
    finished = [official_form(drawing, k) for drawing, k in zip(generated.drawings, kept, strict=True) if drawing]
    if not finished:
        raise RunFailed(f"none of {count} drawings has a finite stroke; is the checkpoint of a training that diverged?")
    ancestral = config.sampler == "ancestral"
    steps = len(trained.model.time_table) if ancestral else config.steps
    conditions = dataclasses.asdict(config) | {
        "n": len(finished),
        "steps": steps,
        "category": category,
        "guide": guide_name(trained) if config.guidance != 1.0 else None,
        "evaluations_per_stroke": steps * (1 if config.guidance == 1.0 else 2),
        "continued": prefix is not None,
        "empty": count - len(finished),
        "cut_at_longest": generated.unfinished,
        "ended_not_finite": generated.not_finite,
        "clipped_points": sum(clipped for _, clipped in finished),
        "drawings_per_second": round(count / seconds, 1),
        "model": trained.conditions,
        "attribution": ATTRIBUTION,
    }
    return Sampled([drawing for drawing, _ in finished], conditions)


def emerging_strokes(
    trained: TrainedModel, category: str, config: SampleConfig, prefix: Drawing | None = None
) -> list[list[Any]]:
    """Return, for each finite stroke of drawing 0, its points (num_points, 2) after the denoising steps.

    Of many steps EMERGING_STATES are kept, evenly spaced. An empty list says that nothing was added to the prefix.
    """
    import numpy as np

    from devices import autocast_for
    from generation import generate_drawings

    config = as_tuned(config, trained)
    strokes: dict[int, list[Any]] = {}
    with autocast_for(config.precision)():
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
    from atomic_files import write_atomically
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
    return parser


def main(argv: list[str] | None = None) -> Sampled:
    """Sample as the command line says, write the results, and return them."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    config = config_from_arguments(SampleConfig, arguments)
    if arguments.keep_strokes is not None and (arguments.keep_strokes < 1 or not arguments.prefix):
        raise ValueError(f"--keep-strokes is {arguments.keep_strokes}, must be at least 1 and come with --prefix")
    if arguments.checkpoint:
        path, category = Path(arguments.checkpoint), arguments.category
    else:
        category = resolve_category(arguments.category, known_categories())
        path = shipped_checkpoint(category)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    if config.eta and config.sampler != "ddim":
        raise ValueError(f"--eta is {config.eta:g}, which only --sampler ddim knows")
    if AS_TUNED != config.guidance < 0:
        raise ValueError(f"--guidance is {config.guidance:g}, must lie in 0 ... 20, or be {AS_TUNED:g}")
    prefix = None
    if arguments.prefix:
        prefix = read_prefixes(Path(arguments.prefix), arguments.keep_strokes, getattr(arguments, "n", None))

    from checkpoint import sha256_of

    trained = load_model(path, config.guide)
    category = resolve_category(category, trained.categories)
    sampled = sample(trained, category, config, prefix)
    sampled.conditions |= {"checkpoint": path.name, "checkpoint_sha256": sha256_of(path)}
    out = Path(arguments.out or f"samples/{category}")
    write_results(sampled, trained, category, config, out, prefix)
    print(f"wrote {len(sampled.drawings)} drawings to {out}/drawings.ndjson; look at {out}/grid.png and animation.gif")
    return sampled


def known_categories() -> list[str]:
    """Return the categories with shipped weights, and the three of the assignment in any case."""
    shipped = sorted(path.stem for path in CHECKPOINTS.glob("*.safetensors"))
    return list(dict.fromkeys((*CATEGORIES, *(name for name in shipped if name not in NOT_CATEGORIES))))


if __name__ == "__main__":
    run_script(main)
