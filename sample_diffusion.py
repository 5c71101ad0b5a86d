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
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import (
    ATTRIBUTION,
    CATEGORIES,
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
CHECKPOINTS = Path(__file__).resolve().parent / "checkpoints"
SVG_FILES = 8
SHEET_DRAWINGS = 64
ANIMATED_DRAWINGS = 6


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

    `count` repeats or cuts the list to that many, so that one drawing can be continued in many ways. Raises
    ValueError for a file without drawings or a drawing with fewer strokes than are to be kept.
    """
    from dataset_utils import read_ndjson

    packed, _ = read_ndjson(path)
    if len(packed) == 0:
        raise ValueError(f"{path}: holds no drawing")
    drawings = [packed.drawing(i) for i in range(len(packed))][:count]
    if keep_strokes is not None:
        for i, drawing in enumerate(drawings):
            if len(drawing) < keep_strokes:
                raise ValueError(
                    f"{path}: drawing {i + 1} has {len(drawing)} strokes, --keep-strokes is {keep_strokes}"
                )
        drawings = [drawing[:keep_strokes] for drawing in drawings]
    return [drawings[i % len(drawings)] for i in range(count or len(drawings))]


@dataclasses.dataclass
class Sampled:
    """Drawings in the official form, the conditions of their making, and the strokes of the first one emerging."""

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
    finished = [official_form(drawing, k) for drawing, k in zip(generated.drawings, kept, strict=True)]
    steps = len(trained.model.time_table) if config.sampler == "ancestral" else config.steps
    conditions = dataclasses.asdict(config) | {
        "n": count,
        "category": category,
        "evaluations_per_stroke": steps * (1 if config.guidance == 1.0 else 2),
        "continued": prefix is not None,
        "cut_at_longest": generated.unfinished,
        "ended_not_finite": generated.not_finite,
        "clipped_points": sum(clipped for _, clipped in finished),
        "drawings_per_second": round(count / seconds, 1),
        "model": trained.conditions,
        "attribution": ATTRIBUTION,
    }
    return Sampled([drawing for drawing, _ in finished], conditions)


def emerging_strokes(
    trained: TrainedModel, category: str, config: SampleConfig, prefix: list[Drawing] | None
) -> list[list[Any]]:
    """Return, for each stroke of drawing 0, its points (num_points, 2) after every denoising step."""
    from generation import generate_drawings

    strokes: dict[int, list[Any]] = {}
    generate_drawings(
        trained, category, range(1), seed=config.seed, sampler=config.sampler, steps=config.steps, eta=config.eta,
        guidance=config.guidance, prefix=prefix[:1] if prefix else None,
        watch=lambda k, points: strokes.setdefault(k, []).append(points[0]),
    )  # fmt: skip
    return [strokes[k] for k in sorted(strokes)]


def write_results(
    sampled: Sampled,
    trained: TrainedModel,
    category: str,
    config: SampleConfig,
    out: Path,
    prefix: list[Drawing] | None = None,
) -> list[Path]:
    """Write drawings, pictures and conditions into the folder `out` and return the files' paths."""
    from checkpoint import atomic_write_text
    from dataset_utils import write_ndjson
    from rendering import denoising_animation, drawing_svg, drawings_animation, grid_image, save_image, svg_sheet

    drawings = sampled.drawings
    visible = [drawing for drawing in drawings if drawing]
    out.mkdir(parents=True, exist_ok=True)
    write_ndjson(out / "drawings.ndjson", visible, word=category)
    texts = {f"drawing_{i:03d}.svg": drawing_svg(drawing) for i, drawing in enumerate(visible[:SVG_FILES])}
    texts["sheet.svg"] = svg_sheet(visible[:SHEET_DRAWINGS], columns=8)
    texts["conditions.json"] = json.dumps(sampled.conditions, indent=2) + "\n"
    for name, text in texts.items():
        atomic_write_text(out / name, text)
    save_image(out / "grid.png", grid_image(visible[:SHEET_DRAWINGS], columns=8))
    drawings_animation(visible[:ANIMATED_DRAWINGS], out / "animation.gif")
    states = emerging_strokes(trained, category, config, prefix)
    denoising_animation(states, out / "denoising.gif", list(prefix[0]) if prefix else [])
    return [out / name for name in ("drawings.ndjson", "grid.png", "animation.gif", "denoising.gif", *texts)]


def build_parser() -> argparse.ArgumentParser:
    """Return the command line: every field of SampleConfig is a flag."""
    parser = script_parser(__doc__)
    parser.add_argument("--category", required=True, help="cat, bus or rabbit (kedi, otobüs, tavşan)")
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
    given = "--n" in (argv if argv is not None else sys.argv[1:])
    prefix = None
    if arguments.prefix:
        prefix = read_prefixes(Path(arguments.prefix), arguments.keep_strokes, config.n if given else None)

    from checkpoint import load_weights, sha256_of
    from devices import best_device

    trained = load_weights(path, best_device())
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
