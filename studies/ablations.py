"""What each part of the design is worth: many small trainings, each with one thing changed, in one table.

    python -m studies.ablations --data-dir quickdraw/simplified    # every line that results/ablations.json lacks
    python -m studies.ablations --list                             # the command behind each line
    python -m studies.ablations --only size,history                # some groups

Each line is a training by train_diffusion.py, then 500 drawings of each scored category by sample_diffusion.py's
function, then their scores by metrics.py against held-out drawings. Two budgets, both small, are presets of
train_diffusion.py: `ablation`, a little network from scratch, for what changes the network or its tokens, and
`ablation-fine-tuned`, the shipped base fine-tuned for a few minutes, for the rest. They show directions, not how much
longer trainings gain. Writes results/ablations.json line by line; after an interruption the same command resumes. Some
rows there are of alternatives that are no longer in the program: other points of a token, no whitening, an MLP as the
denoiser, the category given to it directly. Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import json
import shlex
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import train_diffusion
from config import CHECKPOINTS, NETWORK_PATH, PRESETS, SampleConfig
from dataset_utils import load_category
from diffusion_model import TrainedModel, load_weights
from metrics import scores_against
from plumbing.command_line import check_file, run_script, script_parser
from plumbing.files import write_atomically
from sample_diffusion import load_model, sample
from scoring.feature_network import LoadedNetwork, load_feature_network
from scoring.reference import Reference, reference_of

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "ablations.json"
SCORED = ("car", "cat")
"""Categories with some hundred held-out drawings; the small trainings learn bus and rabbit beside them."""
SCRATCH, FINE_TUNED = "ablation", "ablation-fine-tuned"
"""The two budgets, by the names of their presets."""
UNGUIDED = SampleConfig(n=500, guidance=1.0)


@dataclass(frozen=True)
class Line:
    """A line of the table: the budget, which settings of it were changed, how it is sampled, and with what weights."""

    group: str
    name: str
    preset: str = SCRATCH
    changed: Mapping[str, Any] = field(default_factory=dict)
    """Fields of TrainConfig and ModelConfig."""
    sampling: SampleConfig = UNGUIDED
    weights: str = ""
    """Weights of another line's training, or a shipped checkpoint's name, where nothing is trained."""
    guide: str = ""
    """Where the weights of the guide are from; none means the model without a category."""
    categories: tuple[str, ...] = SCORED

    @property
    def run(self) -> str:
        """The folder of the training under runs/ablations."""
        return f"{self.group}-{self.name}".replace(" ", "-").replace("/", "-")

    def command(self) -> list[str]:
        """Return the arguments of train_diffusion.py."""
        flags = [word for name, value in self.changed.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        return ["--preset", self.preset, *flags]


def guided(name: str, strength: float, guide: str = "") -> Line:
    """Return a line of the fine-tuned model, guided."""
    sampling = SampleConfig(n=500, guidance=strength)
    return Line("guidance", name, sampling=sampling, weights="fine-tuned-seed-0", guide=guide)


def by_sampler(sampler: str, steps: int) -> Line:
    """Return a line of the shipped cat, drawn by a sampler; fewer drawings, since a thousand steps take long."""
    sampling = SampleConfig(n=250, sampler=sampler, steps=steps)
    return Line("sampler", f"{sampler}, {steps} steps", sampling=sampling, weights="shipped", categories=("cat",))


LINES = (
    Line("from scratch", "seed 0"),
    Line("from scratch", "seed 1", SCRATCH, {"seed": 1}),
    Line("from scratch", "seed 2", SCRATCH, {"seed": 2}),
    Line("tokens", "16 points", SCRATCH, {"num_points": 16}),
    Line("tokens", "24 points", SCRATCH, {"num_points": 24}),
    Line("size", "width 64", SCRATCH, {"width": 64}),
    Line("size", "width 192", SCRATCH, {"width": 192, "num_heads": 6}),
    Line("size", "1 + 1 layers", SCRATCH, {"num_layers": 1, "denoiser_layers": 1}),
    Line("size", "5 + 5 layers", SCRATCH, {"num_layers": 5, "denoiser_layers": 5}),
    Line("fine-tuned", "seed 0", FINE_TUNED),
    Line("fine-tuned", "seed 1", FINE_TUNED, {"seed": 1}),
    # the budget of the fine-tuned, but a network of the base's size that has learned nothing
    Line("pretraining", "none", SCRATCH, {"steps": 300, "batch_strokes": 768, "learning_rate": 8e-4, "width": 256,
                                          "num_layers": 5, "denoiser_layers": 4, "num_heads": 8}),
    Line("history", "no noise", FINE_TUNED, {"history_noise": 0}),
    Line("history", "noise 0.5", FINE_TUNED, {"history_noise": 0.5}),
    Line("moving average", "none", FINE_TUNED, {"ema_decay": 0}),
    Line("moving average", "0.998", FINE_TUNED, {"ema_decay": 0.998}),
    Line("loss", "min-SNR 5", FINE_TUNED, {"min_snr": 5}),
    Line("loss", "unweighted", FINE_TUNED, {"scale_weight": 0}),
    Line("augmentation", "none", FINE_TUNED, {"augmentation": 0}),
    guided("without category, 1.5", 1.5),
    guided("without category, 2", 2.0),
    guided("base model, 1.5", 1.5, "shipped-base"),
    guided("base model, 2", 2.0, "shipped-base"),
    guided("base model, 3", 3.0, "shipped-base"),
    *(by_sampler(name, steps) for name in ("dpm-solver++", "ddim") for steps in (5, 10, 20, 50)),
    by_sampler("ancestral", 1000),
)  # fmt: skip


GROUPS = tuple(dict.fromkeys(line.group for line in LINES))


def weights_of(run: str, category: str) -> Path:
    """Return where the weights of a line lie: of a small training, or shipped for the category."""
    if run in ("shipped", "shipped-base"):
        return CHECKPOINTS / f"{'base' if run == 'shipped-base' else category}.safetensors"
    return ROOT / "runs" / "ablations" / run / "weights.safetensors"


def trained_conditions(line: Line, data_dir: str | None) -> dict[str, Any]:
    """Train a line where it is not trained yet, and return what the training was."""
    place = ["--out", str(ROOT / "runs" / "ablations" / line.run), *(["--data-dir", data_dir] if data_dir else [])]
    trained = load_weights(train_diffusion.main([*line.command(), *place]))
    kept = ("step", "drawings_seen", "training_seconds", "validation_loss", "validation_stop_loss")
    parameters = sum(parameter.numel() for parameter in trained.model.parameters())
    return {key: trained.conditions[key] for key in kept} | {"parameters": parameters}


def scored(
    trained: TrainedModel, category: str, config: SampleConfig, loaded: LoadedNetwork, reference: Reference
) -> dict[str, Any]:
    """Return the scores of a line for one category, and the seconds of drawing."""
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
    line: Line, references: Mapping[str, Reference], loaded: LoadedNetwork, data_dir: str | None
) -> dict[str, Any]:
    """Train, draw and score one line, and return its row of the table."""
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
    parser.add_argument("--only", metavar="GROUPS", help=f"with commas, of {', '.join(GROUPS)} (default all)")
    parser.add_argument("--list", action="store_true", help="print the commands and end")
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of CATEGORY.ndjson files")
    return parser


def chosen_lines(only: str | None) -> list[Line]:
    """Return the lines of the groups in `only`, raising ValueError for one that does not exist."""
    wanted = [part.strip() for part in only.split(",")] if only else GROUPS
    if unknown := [name for name in wanted if name not in GROUPS]:
        raise ValueError(f"--only names '{unknown[0]}', must be of {', '.join(GROUPS)}")
    return [line for line in LINES if line.group in wanted]


def measured_rows() -> list[dict[str, Any]]:
    """Return the lines of results/ablations.json, none where it is missing."""
    return list(json.loads(RESULTS.read_text(encoding="utf-8"))["lines"]) if RESULTS.is_file() else []


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
    done = [(row["group"], row["name"]) for row in rows]
    lines = [line for line in lines if (line.group, line.name) not in done]
    held_out = {name: load_category(name, data_dir=arguments.data_dir, split="local").test for name in SCORED}
    check_file(RESULTS)
    loaded = load_feature_network(NETWORK_PATH)
    for line in lines:  # what is shipped is looked at before anything is trained
        for category in line.categories if line.weights == "shipped" else ():
            load_model(weights_of(line.weights, category))
    references = {name: reference_of(list(drawings), name, loaded) for name, drawings in held_out.items()}
    for line in lines:
        print(f"\n== {line.group}: {line.name} ==")
        rows.append(measure(line, references, loaded, arguments.data_dir))
        budgets = {name: asdict(PRESETS[name]) for name in (SCRATCH, FINE_TUNED)}
        table = {"budgets": budgets, "seed": 0, "feature_network": loaded.sha256, "lines": rows}
        write_atomically(RESULTS, json.dumps(table, indent=1) + "\n")
        for category, scores in rows[-1]["categories"].items():
            share, fid = scores["kid_share"], scores["fid_at_floor_n"] / scores["fid_floor"]
            print(f"{category}: normalised KID {share:.2f}, FID {fid:.2f} x real vs real, top-1 {scores['top1']:.0%}")
    print(f"\nwrote {RESULTS}")
    return RESULTS


if __name__ == "__main__":
    run_script(main)
