"""Train the stroke-by-stroke diffusion model of one category, or of many at once.

    python train_diffusion.py --category cat                              # one category from scratch
    python train_diffusion.py --category all --out runs/base              # pretrain on every category at hand
    python train_diffusion.py --category bus --init checkpoints/base.safetensors --companions "school bus,van"

Writes into the run's folder: weights.safetensors (moving average), training_state.pt (to resume: repeat
the same command), metrics.jsonl and grids of samples. Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path

from config import (
    SPLITS,
    TURKISH_NAMES,
    ModelConfig,
    TrainConfig,
    add_config_arguments,
    config_from_arguments,
    plain_name,
    run_script,
    script_parser,
)


def plain_category(text: str) -> str:
    """Return a category, or a list with commas, in plain English names without blanks around them, or 'all'."""
    names = [TURKISH_NAMES.get(plain_name(part), part.strip()) for part in text.split(",") if part.strip()]
    if not names:
        raise ValueError("--category is empty, must be a category, a list with commas, or 'all'")
    return ",".join(dict.fromkeys(names))


def build_parser() -> argparse.ArgumentParser:
    """Return the command line: every field of TrainConfig and ModelConfig is a flag."""
    parser = script_parser(__doc__)
    add_config_arguments(parser, TrainConfig)
    add_config_arguments(parser.add_argument_group("model"), ModelConfig)  # type: ignore[arg-type]
    parser.add_argument("--init", help="weights to start from (fine-tuning)")
    parser.add_argument("--out", help="folder of the run (default runs/<category>)")
    parser.add_argument("--data-dir", help="folder of <category>.ndjson files, or 'embedded'")
    parser.add_argument("--split", default="auto", choices=SPLITS, help="which drawings train (default auto)")
    parser.add_argument("--recognized-only", action=argparse.BooleanOptionalAction, default=False,
                        help="train on recognized drawings only")  # fmt: skip
    return parser


def main(argv: list[str] | None = None) -> Path:
    """Train as the command line says and return the path of the weights."""
    arguments = build_parser().parse_args(argv)
    config = config_from_arguments(TrainConfig, arguments)
    config = replace(config, category=plain_category(config.category))
    model_config = config_from_arguments(ModelConfig, arguments)
    shape = {spec.name for spec in fields(ModelConfig)} - {"dropout"}
    if arguments.init and (given := sorted(shape & set(vars(arguments)))):
        raise ValueError(f"--{given[0].replace('_', '-')} is given beside --init, whose checkpoint decides it")

    from training import DataChoice, prepare, train  # torch takes over a second: bad flags are answered before it

    choice = DataChoice(arguments.data_dir, arguments.split, arguments.recognized_only)
    out = Path(arguments.out or "runs/" + config.category.replace(",", "+"))
    run = prepare(config, model_config, choice, Path(arguments.init) if arguments.init else None, out)
    try:
        train(run)
    except KeyboardInterrupt:
        print(f"\nInterrupted: saved step {run.step} in {run.out}; the same command goes on from there")
        raise
    weights = run.out / "weights.safetensors"
    skipped = f", {run.skipped} updates skipped as not finite" if run.skipped else ""
    print(f"wrote {weights} ({run.step} updates{skipped}) and {run.out}/metrics.jsonl")
    return weights


if __name__ == "__main__":
    run_script(main)
