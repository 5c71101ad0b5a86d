"""Draw all categories that the base knows, one small drawing of each in a picture, and count how many are recognised.

    python -m studies.all_categories --publish                           # 32 drawings each: 12 minutes of a core
    python -m studies.all_categories --categories dog,house --n 4 --out two.png --json two.json

Writes the picture, and as JSON for each category which share of its drawings the feature network names correctly
(top-1), beside that of real held-out drawings where they are at hand. --publish puts the means and the least recognised
categories into docs/CATEGORIES.md. Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from config import BASE_PATH, CHECKPOINTS, NETWORK_PATH, TURKISH_NAMES, SampleConfig, resolve_category, validate
from dataset_utils import available_categories, data_files, load_category
from diffusion_model import TrainedModel
from drawings.packed import Drawing
from plumbing.command_line import add_device_argument, check_file, run_script, script_parser
from plumbing.files import refuse_overwriting, write_atomically
from rendering import FEATURE_RENDERING, grid_image, save_image
from reports.tables import markdown_table, part, replace_between
from sample_diffusion import load_model, sample
from scoring.feature_network import LoadedNetwork, load_feature_network
from scoring.reference import describe_drawings, recognised

ROOT = Path(__file__).resolve().parent.parent
PAGE, MARKERS = ROOT / "docs" / "CATEGORIES.md", ("<!-- categories -->", "<!-- /categories -->")
PICTURE, RESULTS = ROOT / "docs" / "all_categories.png", ROOT / "results" / "all_categories.json"
LEAST = 20
COLUMNS, CELL = 15, 96
"""Of the picture, in drawings and in pixels: 345 drawings fill 23 rows, and the longest name fits below its drawing."""
Result = dict[str, Any]


def held_out_drawings(category: str, data_dir: str | None) -> list[Drawing]:
    """Return the real drawings of a category that trained neither model nor feature network; none if none are there."""
    if (data_dir or os.environ.get("QUICKDRAW_DIR") or "embedded") == "embedded":
        return []
    is_there = category in available_categories(data_dir)
    return list(load_category(category, data_dir=data_dir).test) if is_there else []


def measured(
    drawings: list[Drawing], category: str, count: int, real: list[Drawing], loaded: LoadedNetwork
) -> Result:  # fmt: skip
    """Return top-1 of drawings and of real ones, None where there are none, and what else the drawings are taken for.

    They are `count`, of which those without a stroke are not in the list and count as not recognised.
    """
    logits = describe_drawings(drawings, loaded).logits
    others = Counter(name for name in (loaded.classes[i] for i in logits.argmax(1)) if name != category)
    theirs = recognised(describe_drawings(real, loaded).logits, loaded.classes, category) if real else None
    return {
        "top1": round(float(recognised(logits, loaded.classes, category).sum()) / count, 4),
        "real": None if theirs is None else round(float(theirs.mean()), 4),
        "n_real": len(real),
        "taken_for": {name: round(times / count, 4) for name, times in others.most_common(3)},
    }


def summary(categories: Mapping[str, Result], loaded: LoadedNetwork) -> Result:
    """Return the means over categories, their ratio, and the least recognised categories, the least first.

    Where no real drawings are at hand, theirs is the mean that the feature network's file states for its 345 classes.
    """
    real = [row["real"] for row in categories.values() if row["real"] is not None]
    stated = float(part(loaded.conditions, "held_out")["top1_mean_over_classes"])
    ours, theirs = float(np.mean([row["top1"] for row in categories.values()])), float(np.mean(real or stated))
    return {
        "mean_top1": round(ours, 4),
        "mean_top1_real": round(theirs, 4),
        "ratio": round(ours / theirs, 4),
        "real": f"held-out drawings of {len(real)} categories" if real else f"as {loaded.file} states it",
        "least_recognised": sorted(categories, key=lambda name: categories[name]["top1"])[:LEAST],
    }


def draw_and_measure(
    trained: TrainedModel, categories: list[str], config: SampleConfig, data_dir: str | None
) -> tuple[list[Drawing], Result]:
    """Return the first drawing of each category, and the results with their conditions."""
    loaded, began = load_feature_network(NETWORK_PATH), time.perf_counter()
    firsts: list[Drawing] = []
    rows: dict[str, Result] = {}
    made: dict[str, Any] = {}
    for number, category in enumerate(categories):  # seeds of their own, or all would begin with the same noise
        sampled = sample(trained, category, replace(config, seed=config.seed + number))
        firsts.append(sampled.drawings[0])
        real = held_out_drawings(category, data_dir)
        rows[category], made = measured(sampled.drawings, category, config.n, real, loaded), sampled.conditions
    conditions = {key: made[key] for key in ("sampler", "steps", "guidance", "guide", "attribution")}
    return firsts, {
        "n": config.n, "seed": config.seed, **conditions,
        "checkpoint": trained.file, "checkpoint_sha256": trained.sha256,
        "feature_network": {"file": loaded.file, "sha256": loaded.sha256}, "rendering": FEATURE_RENDERING,
        "seconds": round(time.perf_counter() - began, 1), **summary(rows, loaded), "categories": rows,
    }  # fmt: skip


def page_text(results: Result) -> str:
    """Return what stands between the markers of docs/CATEGORIES.md."""
    rows = []
    for name in results["least_recognised"]:
        row = results["categories"][name]
        taken = ", ".join(f"{other} {100 * share:.0f} %" for other, share in row["taken_for"].items())
        real = "not measured" if row["real"] is None else f"{100 * row['real']:.0f} %"
        rows.append([name, TURKISH_NAMES[name], f"{100 * row['top1']:.0f} %", real, taken])
    head = ["category", "in Turkish", "recognised", "real drawings", "most often taken for"]
    guide = results["guide"]
    guidance = f"guidance {results['guidance']:g} away from {guide}" if guide else "unguided"
    return (
        f"Of {results['n']} drawings of each category (seeds from {results['seed']} on, {results['steps']} steps, "
        f"{guidance}) the feature network\nnames {100 * results['mean_top1']:.1f} % correctly, the mean over "
        f"{len(results['categories'])} categories; of real held-out drawings\n{100 * results['mean_top1_real']:.1f} %. "
        f"The ratio is {results['ratio']:.2f}. These {len(rows)} categories it recognises least:\n\n"
        f"{markdown_table(head, rows)}\nWeights: {results['checkpoint']}, sha256 {results['checkpoint_sha256'][:12]}.\n"
    )


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", default=BASE_PATH,
                        help="weights of many categories (default checkpoints/base.safetensors)")  # fmt: skip
    parser.add_argument("--categories", metavar="NAMES", help="with commas (default all that the weights know)")
    parser.add_argument("--n", type=int, default=32, metavar="N", help="drawings per category (default 32)")
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="seed of the first category's drawings; each has the next (default 0)")
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of CATEGORY.ndjson files (default QUICKDRAW_DIR)")
    parser.add_argument("--out", type=Path, default=PICTURE, metavar="FILE",
                        help="picture to write (default docs/all_categories.png)")  # fmt: skip
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE",
                        help="results to write (default results/all_categories.json)")  # fmt: skip
    parser.add_argument("--publish", action="store_true", help="put the results of all categories into "
                        "docs/CATEGORIES.md")  # fmt: skip
    add_device_argument(parser)
    return parser


def main(argv: list[str] | None = None) -> Result:
    """Draw and measure as the command line says, write picture and results, and return the results."""
    arguments = build_parser().parse_args(argv)
    config = SampleConfig(n=arguments.n, seed=arguments.seed)
    validate(config)
    trained = load_model(arguments.checkpoint, device=arguments.device)
    names = arguments.categories.split(",") if arguments.categories else trained.categories
    categories = list(dict.fromkeys(resolve_category(name, trained.categories) for name in names))
    if arguments.publish and len(categories) < len(TURKISH_NAMES):
        raise ValueError(f"--publish is for all {len(TURKISH_NAMES)} categories, these are {len(categories)}")
    read = [arguments.checkpoint, *CHECKPOINTS.glob("*.safetensors"), *data_files(arguments.data_dir)]
    refuse_overwriting(read, [arguments.out, arguments.json])
    check_file(arguments.out)
    check_file(arguments.json, "--json")
    firsts, results = draw_and_measure(trained, categories, config, arguments.data_dir)
    labels = [name.removeprefix("The ") for name in categories]
    picture = grid_image(firsts, min(COLUMNS, len(firsts)), CELL, labels=labels)
    save_image(arguments.out, picture, few_colors=True)
    write_atomically(arguments.json, json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    if arguments.publish:
        replace_between(PAGE, MARKERS, lambda: page_text(results))
    print(f"top-1 {100 * results['mean_top1']:.1f} %, real drawings {100 * results['mean_top1_real']:.1f} %, ratio "
          f"{results['ratio']:.2f}; least recognised: {', '.join(results['least_recognised'])}")  # fmt: skip
    print(f"wrote {arguments.out} and {arguments.json}")
    return results


if __name__ == "__main__":
    run_script(main, "a smaller --n")
