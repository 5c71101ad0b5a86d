"""What each part of the design is worth: many small trainings, each with one thing changed, in one table.

    python ablations.py --data-dir quickdraw/simplified          # every line that results/ablations.json lacks
    python ablations.py --list                                   # the command behind each line
    python ablations.py --only tokens,history                    # some groups

Each line is a training by train_diffusion.py, then 500 drawings of each scored category by sample_diffusion.py's
function, then the figures of metrics.py against held-out drawings as strokes. Two budgets, both small: little networks
from scratch, for what changes the network or its tokens, and the shipped base fine-tuned for a few minutes, for the
rest. They show directions, not how much longer trainings gain. Writes results/ablations.json line by line;
interrupted, the same command goes on. Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import argparse
import json
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import CHECKPOINTS, NETWORK_PATH, SampleConfig
from plumbing.command_line import check_file, run_script, script_parser

if TYPE_CHECKING:  # torch takes over a second to import: --help and bad input answer before it
    from diffusion_model import TrainedModel
    from scoring.feature_network import LoadedNetwork
    from scoring.reference import Reference

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "ablations.json"
SCORED = ("car", "cat")
"""Categories with some hundred held-out drawings; the small trainings learn bus and rabbit beside them."""
SMALL = "--width 128 --num-layers 3 --denoiser-layers 3 --num-heads 4"
FULL_SIZE = "--width 256 --num-layers 5 --denoiser-layers 4 --num-heads 8"
BUDGET = (
    "--category cat,bus,rabbit,car --steps 800 --batch-strokes 512 --parts 1 --learning-rate 2e-3 --warmup 100 "
    "--ema-decay 0.99 --history-noise 0.2 --augmentation 0.1 --validate-every 800 --sample-every 0"
)
FINE_TUNED = "--init checkpoints/base.safetensors --steps 300 --batch-strokes 768 --learning-rate 8e-4"

UNGUIDED = SampleConfig(n=500, guidance=1.0)


@dataclass(frozen=True)
class Line:
    """A line of the table: what was changed, the flags of the training, how it is sampled, and with what weights."""

    group: str
    name: str
    flags: str = ""
    sampling: SampleConfig = UNGUIDED
    weights: str = ""
    """Weights of another line's training, or a shipped checkpoint's name, where nothing is trained."""
    guide: str = ""
    """Where the weights of the guide are from; none means the model without a category."""
    size: str = SMALL
    """Flags of the network, where it does not come from --init."""
    categories: tuple[str, ...] = SCORED

    @property
    def run(self) -> str:
        """The folder of the training under runs/ablations."""
        return f"{self.group}-{self.name}".replace(" ", "-").replace("/", "-")

    def command(self) -> list[str]:
        """Return the arguments of train_diffusion.py; later flags win over the budget's."""
        return shlex.split(f"{BUDGET} {'' if '--init' in self.flags else self.size} {self.flags}")


def guided(strength: float) -> SampleConfig:
    """Return settings with guidance."""
    return SampleConfig(n=500, guidance=strength)


def by_sampler(name: str, steps: int) -> SampleConfig:
    """Return settings with a sampler and its steps; fewer drawings, since a thousand steps take long."""
    return SampleConfig(n=250, sampler=name, steps=steps)


LINES = (
    Line("from scratch", "seed 0"),
    Line("from scratch", "seed 1", "--seed 1"),
    Line("from scratch", "seed 2", "--seed 2"),
    Line("tokens", "16 points", "--num-points 16"),
    Line("tokens", "24 points", "--num-points 24"),
    Line("tokens", "even", "--spacing even"),
    Line("tokens", "curved", "--spacing curved"),
    Line("tokens", "not whitened", "--whitening points"),
    Line("size", "width 64", "--width 64"),
    Line("size", "width 192", "--width 192 --num-heads 6"),
    Line("size", "1 + 1 layers", "--num-layers 1 --denoiser-layers 1"),
    Line("size", "5 + 5 layers", "--num-layers 5 --denoiser-layers 5"),
    Line("denoiser", "MLP of equal cost", "--denoiser mlp"),
    Line("denoiser", "category told directly", "--denoiser-category direct"),
    Line("fine-tuned", "seed 0", FINE_TUNED),
    Line("fine-tuned", "seed 1", f"{FINE_TUNED} --seed 1"),
    Line("pretraining", "none", "--steps 300 --batch-strokes 768 --learning-rate 8e-4", size=FULL_SIZE),
    Line("history", "no noise", f"{FINE_TUNED} --history-noise 0"),
    Line("history", "noise 0.5", f"{FINE_TUNED} --history-noise 0.5"),
    Line("moving average", "none", f"{FINE_TUNED} --ema-decay 0"),
    Line("moving average", "0.998", f"{FINE_TUNED} --ema-decay 0.998"),
    Line("loss", "min-SNR 5", f"{FINE_TUNED} --min-snr 5"),
    Line("loss", "unweighted", f"{FINE_TUNED} --scale-weight 0"),
    Line("augmentation", "none", f"{FINE_TUNED} --augmentation 0"),
    Line("guidance", "without category, 1.5", sampling=guided(1.5), weights="fine-tuned-seed-0"),
    Line("guidance", "without category, 2", sampling=guided(2.0), weights="fine-tuned-seed-0"),
    Line("guidance", "base model, 1.5", sampling=guided(1.5), weights="fine-tuned-seed-0", guide="shipped-base"),
    Line("guidance", "base model, 2", sampling=guided(2.0), weights="fine-tuned-seed-0", guide="shipped-base"),
    Line("guidance", "base model, 3", sampling=guided(3.0), weights="fine-tuned-seed-0", guide="shipped-base"),
    *(
        Line("sampler", f"{name}, {steps} steps", "", by_sampler(name, steps), "shipped", categories=("cat",))
        for name, steps in [
            *((name, steps) for name in ("dpm-solver++", "ddim") for steps in (5, 10, 20, 50)),
            ("ancestral", 1000),
        ]
    ),
)


GROUPS = tuple(dict.fromkeys(line.group for line in LINES))


def weights_of(run: str, category: str) -> Path:
    """Return where the weights of a line lie: of a small training, or shipped for the category."""
    if run in ("shipped", "shipped-base"):
        return CHECKPOINTS / f"{'base' if run == 'shipped-base' else category}.safetensors"
    return ROOT / "runs" / "ablations" / run / "weights.safetensors"


def trained_conditions(line: Line, data_dir: str | None) -> dict[str, Any]:
    """Train a line where it is not trained yet, and return what the training was."""
    import train_diffusion
    from diffusion_model import load_weights

    folder = ROOT / "runs" / "ablations" / line.run
    place = ["--out", str(folder), *(["--data-dir", data_dir] if data_dir else [])]
    trained = load_weights(train_diffusion.main([*line.command(), *place]))
    kept = ("step", "drawings_seen", "training_seconds", "validation_loss", "validation_stop_loss")
    parameters = sum(parameter.numel() for parameter in trained.model.parameters())
    return {key: trained.conditions[key] for key in kept} | {"parameters": parameters}


def scored(trained: TrainedModel, category: str, config: SampleConfig, loaded: LoadedNetwork,
           reference: Reference) -> dict[str, Any]:  # fmt: skip
    """Return the figures of a line for one category, and the seconds of drawing."""
    from metrics import scores_against
    from sample_diffusion import sample

    began = time.perf_counter()
    drawings = sample(trained, category, config).drawings
    seconds = time.perf_counter() - began
    scores = scores_against(reference, drawings, category, loaded)
    strokes = scores["strokes"]["distances"]["strokes_per_drawing"]
    return {
        "fid": scores["fid"]["value"],
        "fid_at_floor_n": scores["fid"]["at_floor_n"],
        "fid_floor": scores["fid"]["floor"],
        "kid": scores["kid"]["value"],
        "kid_std": scores["kid"]["std"],
        "kid_share": scores["kid"]["share"],
        "top1": scores["recognisability"]["generated"]["top1"],
        "top1_real": scores["recognisability"]["real"]["top1"],
        "strokes": strokes["mean_generated"],
        "strokes_real": strokes["mean_real"],
        "n": len(drawings),
        "n_real": scores["n_real"],
        "seconds": round(seconds, 1),
    }


def measure(
    line: Line, references: dict[str, Reference], loaded: LoadedNetwork, data_dir: str | None
) -> dict[str, Any]:
    """Train, draw and score one line, and return its row of the table."""
    from sample_diffusion import load_model

    row: dict[str, Any] = {"group": line.group, "name": line.name}
    if not line.weights:
        row |= {"command": "python train_diffusion.py " + shlex.join(line.command())}
        row |= trained_conditions(line, data_dir)
    how = line.sampling
    row["sampling"] = {"sampler": how.sampler, "steps": how.steps, "n": how.n}
    row["sampling"] |= {"guidance": how.guidance, "guide": line.guide or None}
    row["categories"] = {}
    for category in line.categories:
        path = weights_of(line.weights or line.run, category)
        guide = str(weights_of(line.guide, category)) if line.guide else "null"
        trained = load_model(path, "tuned" if line.weights == "shipped" else guide)
        row["categories"][category] = scored(trained, category, how, loaded, references[category])
    return row


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--only", help=f"groups with commas, of {', '.join(GROUPS)} (default all)")
    parser.add_argument("--list", action="store_true", help="print the commands and end")
    parser.add_argument("--again", action="store_true", help="measure also what results/ablations.json has")
    parser.add_argument("--data-dir", help="folder of <category>.ndjson files")
    return parser


def chosen_lines(only: str | None) -> list[Line]:
    """Return the lines of the groups in `only`, raising ValueError for one that does not exist."""
    wanted = [part.strip() for part in only.split(",")] if only else GROUPS
    if unknown := [name for name in wanted if name not in GROUPS]:
        raise ValueError(f"--only names '{unknown[0]}', must be of {', '.join(GROUPS)}")
    return [line for line in LINES if line.group in wanted]


def measured_rows() -> list[dict[str, Any]]:
    """Return the lines of results/ablations.json, none where it is missing; raises ValueError for a damaged one."""
    if not RESULTS.is_file():
        return []
    try:
        rows = json.loads(RESULTS.read_text(encoding="utf-8"))["lines"]
        if all(isinstance(row["group"], str) and isinstance(row["name"], str) for row in rows):
            return list(rows)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise ValueError(f"{RESULTS}: damaged; remove it to measure everything again")


def check_shipped(line: Line) -> None:
    """Refuse, before anything is trained, shipped weights of a line that are missing or damaged."""
    from diffusion_model import load_with_guide

    for category in line.categories:
        for run in (line.weights, line.guide):
            if run.startswith("shipped"):
                load_with_guide(weights_of(run, category))


def main(argv: list[str] | None = None) -> Path:
    """Measure what is missing and return the path of the table."""
    arguments = build_parser().parse_args(argv)
    lines = chosen_lines(arguments.only)
    if arguments.list:
        for line in lines:
            does = f"train_diffusion.py {shlex.join(line.command())}" if not line.weights else f"draw: {line.sampling}"
            print(f"{line.group}: {line.name}: {does}")
        return RESULTS
    rows = measured_rows()
    done = {(row["group"], row["name"]) for row in rows}

    from dataset_utils import available_categories, load_category

    available_categories(arguments.data_dir)
    for line in lines:
        check_shipped(line)
    held_out = {name: load_category(name, data_dir=arguments.data_dir, split="local").test for name in SCORED}
    check_file(RESULTS)

    from plumbing.files import write_atomically
    from scoring.feature_network import load_feature_network
    from scoring.reference import reference_of

    loaded = load_feature_network(NETWORK_PATH)
    references = {name: reference_of(list(drawings), name, loaded) for name, drawings in held_out.items()}
    order = [(line.group, line.name) for line in LINES]
    for line in lines:
        if (line.group, line.name) in done and not arguments.again:
            continue
        print(f"\n== {line.group}: {line.name} ==")
        row = measure(line, references, loaded, arguments.data_dir)
        rows = [old for old in rows if (old["group"], old["name"]) != (line.group, line.name)] + [row]
        rows.sort(key=lambda row: order.index((row["group"], row["name"])))
        budgets = {"budget": BUDGET, "small": SMALL, "fine_tuned": FINE_TUNED}
        table = budgets | {"seed": 0, "feature_network": loaded.sha256, "lines": rows}
        write_atomically(RESULTS, json.dumps(table, indent=1) + "\n")
        for category, figures in row["categories"].items():
            share, fid = figures["kid_share"], figures["fid_at_floor_n"] / figures["fid_floor"]
            print(f"{category}: KID share {share:.2f}, FID {fid:.2f} times its floor, top-1 {figures['top1']:.0%}")
    print(f"\nwrote {RESULTS}")
    return RESULTS


if __name__ == "__main__":
    run_script(main)
