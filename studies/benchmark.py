"""Measure how fast the program is, each figure beside the limit that it is held against, and how all of it grows.

    python benchmark.py                                   # everything; writes results/benchmark.json and a figure
    python benchmark.py --only tokens,reading --scale 0.1 # some rows, on a tenth of the drawings
    python benchmark.py --publish                         # and puts the tables into PERFORMANCE.md

Ratios of two things that are measured in turn hold on a noisy machine; seconds do not. Leave the machine alone
meanwhile. Data: Quick, Draw! dataset, (c) Google, CC BY 4.0, where --data-dir or QUICKDRAW_DIR has it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from config import ATTRIBUTION
from plumbing.command_line import check_folder, run_script, script_parser
from plumbing.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
ROWS = ("reading", "tokens", "second-start", "memory", "training", "sampling", "one-drawing", "rendering", "scores",
        "start")  # fmt: skip
PARTS = (*ROWS, "growth", "rivals", "plan")


def measure(parts: list[str], data_dir: str | None, scale: float) -> dict[str, Any]:
    """Return the rows, curves and other figures of the chosen parts, with the conditions they were measured under."""
    import torch
    from tqdm import tqdm

    from studies import benchmark_growth as growth
    from studies import benchmark_limits as limits

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = limits.source_lines(data_dir, folder)
        whole = int(1_000_000 * scale)
        work: dict[str, Callable[[], Any]] = {
            "reading": lambda: [limits.reading(lines, folder, scale)],
            "tokens": lambda: [limits.tokens(lines, folder, scale)],
            "second-start": lambda: [limits.second_start(lines, folder, scale)],
            "memory": lambda: [limits.memory(lines, folder, scale)],
            "training": lambda: [limits.training_step(folder, data_dir, scale)],
            "sampling": lambda: [
                row for category, guidance in (("cat", None), ("cat", 1.0), ("car", None), ("car", 1.0))
                for row in limits.sampling(category, guidance, scale)
            ],
            "one-drawing": lambda: limits.one_drawing("cat", scale),
            "rendering": lambda: [limits.feature_rendering(lines, folder, scale)],
            "scores": lambda: [limits.scores(dim, scale) for dim in (256, 2048)],
            "start": lambda: limits.start(scale),
            "growth": lambda: growth.over_drawings(lines, folder, whole)
            + growth.of_the_denoiser(max(4, int(1024 * scale)))
            + growth.over_model_sizes(folder, data_dir, (64, 128, 256, 512) if scale == 1 else (32, 64))
            + growth.over_processes(folder, data_dir, (1, 2), scale),
            "rivals": lambda: growth.side_by_side(lines, folder, scale),
            "plan": lambda: growth.constants(lines, folder, data_dir, scale),
        }  # fmt: skip
        began, found = time.perf_counter(), {}
        for part in tqdm(parts, unit="part", disable=None):
            found[part] = work[part]()
    curves = found.get("growth", [])
    return {
        "conditions": {
            "machine": machine(), "torch": torch.__version__, "python": platform.python_version(),
            "threads": torch.get_num_threads(), "training_products": growth.name_of_arithmetic(), "scale": scale,
            "drawings": "embedded drawings" if data_dir in (None, "embedded") else ATTRIBUTION,
            "seconds": round(time.perf_counter() - began, 1),
        },
        "rows": [asdict(row) for part in ROWS for row in found.get(part, [])],
        "curves": [{**asdict(curve), "exponent": curve.exponent} for curve in curves],
        "side_by_side": found.get("rivals", []),
        "constants": found.get("plan", {}),
    }  # fmt: skip


def machine() -> str:
    """Return processor and number of cores in words."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        named = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        model = named[0].split(":", 1)[1].strip() if named else model
    return f"{model}, {os.cpu_count()} cores"


def write_figure(curves: list[dict[str, Any]], path: Path) -> None:
    """Write the log-log picture of all curves as a PNG file."""
    import io

    from studies.benchmark_growth import Curve, growth_figure

    content = io.BytesIO()
    plain = [Curve(**{key: value for key, value in curve.items() if key != "exponent"}) for curve in curves]
    growth_figure(plain).savefig(content, format="png", dpi=110)
    write_atomically(path, content.getvalue())


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help=f"with commas (default all: {', '.join(PARTS)})")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full sizes, 0.001 to 1 (default 1)")
    parser.add_argument("--data-dir", help="folder of <category>.ndjson files (default QUICKDRAW_DIR), or 'embedded'")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder (default results)")
    parser.add_argument("--publish", action="store_true", help="put the tables into PERFORMANCE.md; needs all parts")
    return parser


def main(argv: list[str] | None = None) -> Path:
    """Measure what the command line says, write it, and return the path of the figures."""
    arguments = build_parser().parse_args(argv)
    if not 0.001 <= arguments.scale <= 1:
        raise ValueError(f"--scale is {arguments.scale:g}, must lie in 0.001 ... 1")
    parts = [part.strip() for part in arguments.only.split(",") if part.strip()]
    if unknown := [part for part in parts if part not in PARTS]:
        raise ValueError(f"--only names '{unknown[0]}', must be of {', '.join(PARTS)}")
    if arguments.publish and (set(parts) != set(PARTS) or arguments.scale != 1):
        raise ValueError("--publish needs all parts at --scale 1")
    data_dir = arguments.data_dir or os.environ.get("QUICKDRAW_DIR") or None
    if data_dir not in (None, "embedded") and not Path(data_dir).is_dir():
        raise FileNotFoundError(f"{data_dir}: no such folder of drawings")
    check_folder(arguments.out)

    from studies.performance_tables import tables, update_performance

    found = measure(parts, data_dir, arguments.scale)
    path = arguments.out / "benchmark.json"
    write_atomically(path, json.dumps(found, indent=2) + "\n")
    if found["curves"]:
        write_figure(found["curves"], arguments.out / "benchmark_growth.png")
    if arguments.publish:
        update_performance(ROOT / "PERFORMANCE.md", path)
    print(tables(found))
    print(f"wrote {path}" + (f" and {arguments.out}/benchmark_growth.png" if found["curves"] else ""))
    return Path(path)


if __name__ == "__main__":
    run_script(main, "a smaller --scale")
