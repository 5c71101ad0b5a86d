"""Measure how fast the program is: drawing, training, loading, scoring and starting, in one table.

    python -m studies.benchmark                            # everything; writes results/benchmark.json
    python -m studies.benchmark --only drawing,scoring     # some parts, which are only printed
    python -m studies.benchmark --scale 0.1                # on a tenth of the drawings, only printed

Seconds depend on the machine and on what else it does: leave it alone meanwhile, and compare rows of one run only.
Operations (FLOP) and evaluations do not. Data: Quick, Draw! dataset, (c) Google, CC BY 4.0, where --data-dir or
QUICKDRAW_DIR has it.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from config import (
    ATTRIBUTION,
    CHECKPOINTS,
    NETWORK_PATH,
    QUALITIES,
    ModelConfig,
    TrainConfig,
    shipped_checkpoint,
    steps_of,
)
from dataset_utils import data_files, load_category, write_ndjson
from diffusion_model import load_with_guide
from drawings.batches import training_batches
from drawings.embedded import embedded_drawings
from families.interface import num_parameters
from families.sketch_rnn import COMPONENTS, SketchRNN
from families.training import load_family, shipped
from metrics import frechet_distance, kernel_distance
from plumbing.command_line import check_file, run_script, script_parser
from plumbing.files import refuse_overwriting, write_atomically
from reports.tables import markdown_table
from sample_diffusion import generate_drawings
from scoring.feature_network import load_feature_network
from scoring.reference import describe_drawings
from train_diffusion import prepare
from training_data import DataChoice

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "benchmark.json"


@dataclass(frozen=True)
class Row:
    """One measurement."""

    what: str
    value: float
    unit: str
    conditions: str


def seconds_of(work: Callable[[], Any], at_least: float = 1.0) -> float:
    """Return the median of the seconds that some work takes, repeated for at least so many."""
    timer = Timer("work()", globals={"work": work}, num_threads=torch.get_num_threads())
    return float(timer.blocked_autorange(min_run_time=at_least).median)


def operations_of(work: Callable[[], Any]) -> float:
    """Return the floating-point operations of all products and convolutions in some work, two a multiplication."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


# ------------------------------------------------------------------ drawing


def drawing(data_dir: str | None, scale: float) -> list[Row]:
    """Measure drawing with the shipped cat, student and teacher, many at once and one at a time, as they were tuned."""
    rows = []
    for quality in QUALITIES:
        trained = load_with_guide(shipped_checkpoint("cat", quality))
        for together in (max(2, int(256 * scale)), 1):
            draw = partial(generate_drawings, trained, "cat", range(together), seed=0, guidance=trained.guidance)
            lengths = [len(drawn) for drawn in draw().drawings]
            strokes = sum(lengths) / together
            steps = sum(steps_of(k, trained.steps) for length in lengths for k in range(length)) / together
            evaluations = steps * (1 if trained.guidance == 1 else 2)
            seconds = seconds_of(draw) / together
            how = f"cat, {quality}, {together} at once, float32"
            rows += [
                Row("drawing", 1 / seconds, "drawings/s", how),
                Row("drawing: a stroke", 1000 * seconds / strokes, "ms", how),
                Row("drawing: evaluations", evaluations, "a drawing", how),
                Row("drawing: operations", operations_of(draw) / together / 1e6, "MFLOP a drawing", how),
            ]
    return rows


def families(data_dir: str | None, scale: float) -> list[Row]:
    """Measure drawing with every family whose trained weights are shipped, the peers among them, all by one thread."""
    rows, together, threads = [], max(2, int(256 * scale)), torch.get_num_threads()
    torch.set_num_threads(1)
    for path in shipped().values():
        family, trained = load_family(path)
        work = partial(family.generate, "cat", range(together), 0, trained["temperature"])
        how = f"cat, {together} at once, 1 thread, {num_parameters(family):,} parameters of its own"
        unit = "pictures/s" if family.kind == "pictures" else "drawings/s"
        rows.append(Row(f"families: {family.title}", together / seconds_of(work), unit, how))
        if isinstance(family, SketchRNN):
            rows.append(hyper_lstm(together, points_drawn(family, work)))
    torch.set_num_threads(threads)
    return rows


def points_drawn(family: SketchRNN, work: Callable[[], Any]) -> int:
    """Return how many points, one after another, some drawing with a Sketch-RNN takes."""
    count = 0

    def another(*_: Any) -> None:
        nonlocal count
        count += 1

    hook = family.lstm.register_forward_hook(another)
    work()
    hook.remove()
    return count


class HyperLSTM(nn.Module):
    """The large decoder of Sketch-RNN (Ha and Eck 2017, sec. 3): a small LSTM scales the gates of a large one.

    Ha, Dai and Le 2016, arXiv:1609.09106, eq. 10 to 13, with layer normalisation left out. Untrained: for its speed.
    """

    def __init__(self, units: int = 2048, hyper: int = 256, scales: int = 32, inputs: int = 5) -> None:
        super().__init__()
        self.small = nn.LSTMCell(inputs + units, hyper)
        self.codes = nn.Linear(hyper, 3 * 4 * scales)
        self.scalings = nn.Parameter(torch.randn(3, 4, scales, units) / scales)
        self.read, self.recur = nn.Linear(inputs, 4 * units, bias=False), nn.Linear(units, 4 * units, bias=False)
        self.out = nn.Linear(units, 6 * COMPONENTS + 3)

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor, small: tuple[Tensor, Tensor]) -> Any:
        """Return what a point's mixture is made from, and the next states, after points `x` (B, 5)."""
        small = self.small(torch.cat([x, hidden], 1), small)
        codes = self.codes(small[0]).unflatten(1, (3, 4, -1))
        read, recur, bias = torch.einsum("bkgs,kgsu->kbgu", codes, self.scalings)
        gates = read * self.read(x).view_as(read) + recur * self.recur(hidden).view_as(recur) + bias
        keep, take, new, show = gates.unbind(1)
        cell = keep.sigmoid() * cell + take.sigmoid() * new.tanh()
        hidden = show.sigmoid() * cell.tanh()
        return self.out(hidden), hidden, cell, small


@torch.inference_mode()
def hyper_lstm(together: int, points: int) -> Row:
    """Measure the paper's large decoder over as many points; drawing from its mixtures is left out, in its favour."""
    network, units = HyperLSTM().eval(), 2048
    x, wide, small = torch.randn(together, 5), torch.zeros(together, units), torch.zeros(together, 256)
    seconds = points * seconds_of(lambda: network(x, wide, wide, (small, small)))
    how = f"{together} at once, {points} points, 1 thread, {num_parameters(network):,} parameters, not trained"
    return Row("families: Sketch-RNN's HyperLSTM 2,048", together / seconds, "drawings/s", how)


# ------------------------------------------------------------------ training, loading, scoring, starting


def training(data_dir: str | None, scale: float) -> list[Row]:
    """Measure an update of training with the default settings on one category."""
    config = TrainConfig(batch_strokes=max(64, int(2048 * scale)))
    with tempfile.TemporaryDirectory() as folder:
        choice = DataChoice(data_dir or "embedded", "local")
        run = prepare(config, ModelConfig(), choice, None, Path(folder), torch.device("cpu"))
        chosen = training_batches(run.data.train, run.weights, config.batch_strokes, config.seed)
        batch = run.data.train.batch(next(chosen))
        update = partial(run.update, batch)
        operations, seconds = operations_of(update), seconds_of(update)
    how = f"{len(batch.lengths)} drawings, --batch-strokes {config.batch_strokes}, --precision auto"
    return [
        Row("training: an update", seconds, "s", how),
        Row("training: operations", operations / len(batch.lengths) / 1e6, "MFLOP a drawing", how),
    ]


def loading(data_dir: str | None, scale: float) -> list[Row]:
    """Measure loading a category, from ndjson and once more from the cache."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "cat.ndjson"
        if data_dir in (None, "embedded"):
            write_ndjson(path, embedded_drawings("cat", 1000), word="cat")
        else:
            path.write_bytes((Path(str(data_dir)) / "cat.ndjson").read_bytes())
        lines, count = path.read_bytes().splitlines(keepends=True), max(10, int(120_000 * scale))
        path.write_bytes(b"".join((lines * (count // len(lines) + 1))[:count]))
        for source in ("from ndjson", "from the cache"):
            began = time.perf_counter()
            load_category("cat", data_dir=name, cache_dir=f"{name}/cache", split="local")
            how = f"{count:,} drawings, {path.stat().st_size / 1e6:.0f} MB of ndjson, {source}"
            rows.append(Row("loading", time.perf_counter() - began, "s", how))
    return rows


def scoring(data_dir: str | None, scale: float) -> list[Row]:
    """Measure features of drawings, rendering included, and FID and KID of given features."""
    count = max(16, int(2000 * scale))
    drawings, loaded = embedded_drawings("cat", count), load_feature_network(NETWORK_PATH)
    rows = [
        Row("scoring: features", count / seconds_of(lambda: describe_drawings(drawings, loaded)), "drawings/s",
            f"{count:,} drawings, rendered at 256 px")
    ]  # fmt: skip
    for dim in (256, 2048):
        sides = np.random.default_rng(0).normal(size=(2, count, dim))
        for name, distance in (("FID", frechet_distance), ("KID", kernel_distance)):
            seconds = seconds_of(partial(distance, *sides))
            rows.append(Row(f"scoring: {name}", seconds, "s", f"{count:,} v {count:,}, {dim} features"))
    return rows


def start(data_dir: str | None, scale: float) -> list[Row]:
    """Measure whole processes: importing torch, help, and one drawing with all its files."""
    run = partial(subprocess.run, cwd=ROOT, capture_output=True, check=True)
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "import torch": ["-c", "import torch"],
            "sample_diffusion.py --help": ["sample_diffusion.py", "--help"],
            "sample_diffusion.py --n 1": ["sample_diffusion.py", "--category", "cat", "--n", "1", "--out", folder],
        }
        seconds = {name: seconds_of(partial(run, [sys.executable, *words]), 10 * scale)
                   for name, words in commands.items()}  # fmt: skip
    return [Row("start", value, "s", f"python {name}, whole process") for name, value in seconds.items()]


# ------------------------------------------------------------------ command line

PARTS: dict[str, Callable[[str | None, float], list[Row]]] = {
    "drawing": drawing, "families": families, "training": training, "loading": loading, "scoring": scoring,
    "start": start,
}  # fmt: skip


def conditions(data_dir: str | None) -> dict[str, Any]:
    """Return what the measurements hold for."""
    return {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "drawings": "embedded drawings" if data_dir in (None, "embedded") else ATTRIBUTION,
    }


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parts = ", ".join(PARTS)
    parser.add_argument("--only", metavar="PARTS", default=",".join(PARTS), help=f"with commas (default all: {parts})")
    parser.add_argument("--scale", type=float, metavar="X", default=1.0,
                        help="share of the full sizes, 0.001 to 1 (default 1)")  # fmt: skip
    parser.add_argument("--data-dir", metavar="FOLDER",
                        help="folder of CATEGORY.ndjson files (default QUICKDRAW_DIR), or 'embedded'")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", default=RESULTS,
                        help="file to write (default results/benchmark.json)")  # fmt: skip
    return parser


def main(argv: list[str] | None = None) -> list[Row]:
    """Measure what the command line says, print it, and write it where everything was measured at full size."""
    arguments = build_parser().parse_args(argv)
    if not 0.001 <= arguments.scale <= 1:
        raise ValueError(f"--scale is {arguments.scale:g}, must lie in 0.001 ... 1")
    parts = [part.strip() for part in arguments.only.split(",") if part.strip()]
    if unknown := [part for part in parts if part not in PARTS]:
        raise ValueError(f"--only names '{unknown[0]}', must be of {', '.join(PARTS)}")
    data_dir = arguments.data_dir or os.environ.get("QUICKDRAW_DIR") or None
    if data_dir not in (None, "embedded"):
        load_category("cat", data_dir=data_dir, split="local")  # says what is wrong with it
    refuse_overwriting([*CHECKPOINTS.glob("*.safetensors"), *data_files(data_dir)], [arguments.out])
    check_file(arguments.out)
    began, rows = time.perf_counter(), []
    for part in tqdm(parts, unit="part", disable=None):
        rows += PARTS[part](data_dir, arguments.scale)
    found = conditions(data_dir) | {"seconds": round(time.perf_counter() - began, 1)}
    print(", ".join(f"{key} {value}" for key, value in found.items()) + "\n")
    print(markdown_table(["", "measured", "conditions"],
                         [[row.what, f"{row.value:,.3g} {row.unit}", row.conditions] for row in rows]))  # fmt: skip
    if set(parts) == set(PARTS) and arguments.scale == 1:
        table = {"conditions": found, "rows": [asdict(row) for row in rows]}
        write_atomically(arguments.out, json.dumps(table, indent=2) + "\n")
        print(f"wrote {arguments.out}")
    return rows


if __name__ == "__main__":
    run_script(main, "a smaller --scale")
