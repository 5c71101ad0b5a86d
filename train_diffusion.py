"""Train the stroke-by-stroke diffusion model of one category, or of many at once.

    python train_diffusion.py --category cat                              # one category from scratch
    python train_diffusion.py --category all --out runs/base              # pretrain on every category at hand
    python train_diffusion.py --preset finetune-cat --init checkpoints/base.safetensors   # a named recipe
    torchrun --nproc-per-node 2 train_diffusion.py --category cat         # the same model, by two processes

Writes into the run's folder: weights.safetensors (moving average), training_state.pt (to resume: repeat
the same command), metrics.jsonl and grids of samples. Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import argparse
import json
from contextlib import nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from config import (
    PRESETS,
    SETTINGS_FILE,
    SPLITS,
    STATE_FILE,
    TURKISH_NAMES,
    ModelConfig,
    Preset,
    TrainConfig,
    plain_name,
    refuse_other_run,
)
from plumbing.command_line import (
    add_config_arguments,
    add_device_argument,
    check_folder,
    config_from_arguments,
    run_script,
    script_parser,
)
from plumbing.files import locked_folder


def plain_category(text: str) -> str:
    """Return a category, or a list with commas, in plain English names without blanks around them, or 'all'."""
    names = [TURKISH_NAMES.get(plain_name(part), part.strip()) for part in text.split(",") if part.strip()]
    if not names:
        raise ValueError("--category is empty, must be a category, a list with commas, or 'all'")
    return ",".join(dict.fromkeys(names))


GROUPS = {
    "data": ("category", "companions", "companion_share", "balance", "augmentation"),
    "optimisation": ("steps", "batch_strokes", "learning_rate", "warmup", "weight_decay", "ema_decay", "seed"),
    "loss": ("noise_draws", "first_stroke_draws", "scale_weight", "min_snr", "history_noise", "category_dropout",
             "stop_weight"),
    "advanced": ("parts", "precision", "validate_every", "sample_every"),
}  # fmt: skip
"""The fields of TrainConfig under the headings of --help."""


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
    for title, names in GROUPS.items():
        add_config_arguments(groups[title], TrainConfig, only=names)
    add_config_arguments(groups["model"], ModelConfig)
    data = groups["data"]
    data.add_argument("--data-dir", metavar="FOLDER", help="folder of CATEGORY.ndjson files or shards, or 'embedded'")
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
    return replace(config, category=plain_category(config.category)), model_config, Path(init) if init else None


def main(argv: list[str] | None = None) -> Path:
    """Train as the command line says and return the path of the weights."""
    arguments = build_parser().parse_args(argv)
    config, model_config, init = chosen_settings(arguments)
    out = Path(arguments.out or "runs/" + (arguments.preset or config.category.replace(",", "+")))
    check_input(config, model_config, init, arguments.data_dir, out)

    # torch takes over a second: bad flags are answered before it
    from drawings.batches import DataChoice
    from plumbing.devices import best_device
    from plumbing.processes import joined_processes
    from training import prepare, train

    choice = DataChoice(arguments.data_dir, arguments.split, arguments.recognized_only)
    device = best_device(arguments.device)
    with joined_processes() as group, locked_folder(out) if group.rank == 0 else nullcontext():
        run = prepare(config, model_config, choice, init, out, device, group)
        try:
            train(run)
        except KeyboardInterrupt:
            saved = f"saved step {run.saved_step}" if run.saved_step else "nothing was saved yet"
            run.tell(f"\nInterrupted: {saved} in {run.out}; the same command goes on from there")
            raise
    weights = run.out / "weights.safetensors"
    skipped = f", {run.skipped} updates skipped as not finite" if run.skipped else ""
    run.tell(f"wrote {weights} ({run.step} updates{skipped}) and {run.out}/metrics.jsonl")
    return weights


def check_input(
    config: TrainConfig, model_config: ModelConfig, init: Path | None, data_dir: str | None, out: Path
) -> None:
    """Refuse, without torch, what cannot be trained: unknown categories, weights to begin from, a folder in use."""
    from dataset_utils import category_list
    from weights_header import read_weights_header

    for names in (config.category, config.companions):
        category_list(names, data_dir)
    if init is not None:
        read_weights_header(init)
    refuse_unlike_saved(out, config, None if init else model_config)
    check_folder(out)


def refuse_unlike_saved(out: Path, config: TrainConfig, model_config: ModelConfig | None) -> None:
    """Raise ValueError where the folder `out` holds a training of other settings, before anything slow is begun.

    The training itself compares once more, with its drawings and what it began from.
    """
    settings = out / SETTINGS_FILE
    if not settings.is_file() or not (out / STATE_FILE).is_file():
        return
    now: dict[str, dict[str, Any]] = {"train": asdict(config)}
    if model_config is not None:
        now["start"] = {"model": asdict(model_config)}
    try:
        saved = json.loads(settings.read_text(encoding="utf-8"))
        refuse_other_run(out, {part: dict(saved[part]) for part in now}, now)
    except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        pass  # damaged: the training state knows the settings as well


if __name__ == "__main__":
    run_script(main, "a smaller --batch-strokes or more --parts")
