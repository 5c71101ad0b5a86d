"""Compare families of generative models on the same drawings: one table, one picture, one curve.

    python -m studies.compare_families --category cat          # with the shipped small weights: minutes
    python -m studies.compare_families --smoke                 # every family from scratch, for seconds: two minutes
    python -m studies.compare_families --retrain --data-dir quickdraw/simplified    # the shipped weights anew
    python -m studies.compare_families --retrain --only vae    # one of them

Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
from pathlib import Path
from typing import Any

import torch

from config import CATEGORIES, NETWORK_PATH
from families.interface import Family, Material
from families.scoring import Validation
from families.training import FAMILIES, WEIGHTS, save_family, train
from plumbing.command_line import run_script, script_parser
from scoring.feature_network import load_feature_network

BUDGET = 45.0
"""Processor seconds of one thread for each family."""


def retrain(names: list[str], seconds: float, data_dir: str | None, out: Path, seed: int = 0) -> None:
    """Train families on cats, buses and rabbits, choose their temperatures on held-out cats, and write their weights."""
    material, loaded = Material.load(CATEGORIES, data_dir), load_feature_network(NETWORK_PATH)
    validation = Validation(material, "cat", loaded)
    for name in names:
        curve: list[dict[str, float]] = []

        def watch(spent: float, family: Family, curve: list[dict[str, float]] = curve) -> None:
            curve.append({"processor_seconds": round(spent, 1), "kid": round(validation.kid(family, 1.0), 5)})

        family, conditions = train(FAMILIES[name](CATEGORIES), material, seconds, seed, watch)
        conditions["temperature"], conditions["temperatures"] = validation.best_temperature(family)
        conditions["curve"] = curve
        save_family(out / f"{name}.safetensors", name, family, conditions)
        print(f"{name}: {conditions}", flush=True)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--category", default="cat", metavar="NAME", help="what to draw (default cat)")
    parser.add_argument("--only", metavar="FAMILIES", default=",".join(FAMILIES), help="with commas (default all)")
    parser.add_argument("--retrain", action="store_true", help="train the shipped weights anew")
    parser.add_argument("--smoke", action="store_true", help="train every family for seconds")
    parser.add_argument("--seconds", type=float, default=BUDGET, metavar="X", help=f"budget (default {BUDGET:g})")
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of CATEGORY.ndjson files, or 'embedded'")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, metavar="FOLDER", help="folder of weights")
    return parser


def main(argv: list[str] | None = None) -> Any:
    """Do what the command line says."""
    arguments = build_parser().parse_args(argv)
    torch.set_num_threads(1)
    names = [name.strip() for name in arguments.only.split(",") if name.strip()]
    if arguments.retrain:
        retrain(names, arguments.seconds, arguments.data_dir, arguments.weights)


if __name__ == "__main__":
    run_script(main)
