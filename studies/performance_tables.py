"""The figures of `benchmark.py` as the tables of PERFORMANCE.md, and the plan for the whole dataset made from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reports.tables import markdown_table, replace_between

MARKERS = ("<!-- benchmark -->", "<!-- /benchmark -->")
CATEGORIES, DRAWINGS, PASSES = 345, 50_000_000, 4
"""The whole dataset, and how often a training goes through it."""
GPUS, CORES = 8, 64
GPU_OPERATIONS = 1.5e14
"""What one GPU is assumed to sustain a second in training: an H100's 10^15 of bfloat16 are far off for width 256."""

Found = Mapping[str, Any]


def number(value: float | None) -> str:
    """Return a number with three digits that count, in plain notation with thousands."""
    if value is None:
        return "–"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def rows_table(rows: list[Found]) -> str:
    """Return the table of figures beside their limits."""
    head = ["", "measured", "limit beside it", "of it", "to reach", "", "conditions"]
    cells = []
    for row in rows:
        limit = "–" if row["limit"] is None else f"{number(row['limit'])} {row['unit']}: {row['limit_is']}"
        ratio = "–" if row["ratio"] is None else f"{row['ratio']:.2f}"
        met = "met" if row["met"] else "**missed**"
        cells.append([row["what"], f"{number(row['figure'])} {row['unit']}", limit, ratio, row["target"], met,
                      row["conditions"]])  # fmt: skip
    return markdown_table(head, cells)


def curves_table(curves: list[Found]) -> str:
    """Return the table of fitted exponents."""
    head = ["", "over", "from ... to", "exponent", "cost at the largest"]
    cells = [
        [curve["what"] + (", memory" if curve["unit"] == "bytes" else ""), curve["over"],
         f"{curve['sizes'][0]:,} ... {curve['sizes'][-1]:,}", f"{curve['exponent']:.2f}",
         f"{curve['costs'][-1] / 1e6:,.0f} MB" if curve["unit"] == "bytes" else f"{number(curve['costs'][-1])} s"]
        for curve in curves
    ]  # fmt: skip
    return markdown_table(head, cells)


def side_by_side_table(rows: list[Found]) -> str:
    """Return the table of ways to draw."""
    cells = [
        [row["way"], f"{row['parameters'] / 1e6:.1f} M", str(row["n"]), number(row["drawings_per_second"])]
        for row in rows
    ]
    return markdown_table(["", "parameters", "drawings", "drawings/s"], cells)


def plan(measured: Mapping[str, float]) -> dict[str, float]:
    """Return minutes, bytes and rates of packing and training on the whole dataset, from what was measured."""
    operations = measured["operations_per_drawing"]
    return {
        "packing_minutes": DRAWINGS / measured["packed_drawings_per_second"] / CORES / 60,
        "json_gigabytes": DRAWINGS * measured["json_bytes_per_drawing"] / 1e9,
        "packed_gigabytes": DRAWINGS * measured["packed_bytes_per_drawing"] / 1e9,
        "training_minutes": DRAWINGS * PASSES * operations / (GPUS * GPU_OPERATIONS) / 60,
        "gpu_drawings_per_second": GPU_OPERATIONS / operations,
        "core_drawings_per_second": measured["batched_drawings_per_second"],
        "exchanged_megabytes": 4 * measured["parameters"] / 1e6,
    }


def plan_table(measured: Mapping[str, float]) -> str:
    """Return the plan as a table, each line with what it follows from."""
    planned = plan(measured)
    index = DRAWINGS * 4 / 1e6
    cells = [
        ["packing, once", f"{planned['packing_minutes']:.1f} minutes on {CORES} cores",
         f"{number(measured['packed_drawings_per_second'])} drawings/s a core"],
        ["ndjson", f"{planned['json_gigabytes']:.0f} GB",
         f"{number(measured['json_bytes_per_drawing'])} bytes a drawing"],
        ["shards", f"{planned['packed_gigabytes']:.1f} GB, mapped",
         f"{number(measured['packed_bytes_per_drawing'])} bytes a drawing"],
        ["memory of a process", f"{index:.0f} MB and what the system keeps of the shards", "4 bytes a drawing"],
        ["training", f"{planned['training_minutes']:.1f} minutes on {GPUS} GPUs for {PASSES} passes, batches allowing",
         f"{measured['operations_per_drawing'] / 1e9:.2f} GFLOP a drawing; {GPU_OPERATIONS / 1e12:.0f} TFLOP/s a GPU, "
         "assumed"],
        ["a GPU takes", f"{number(planned['gpu_drawings_per_second'])} drawings/s", "from the line above"],
        ["a core prepares", f"{number(planned['core_drawings_per_second'])} drawings/s",
         "batches from packed drawings"],
        ["exchanged an update", f"{planned['exchanged_megabytes']:.0f} MB a part",
         f"{measured['parameters'] / 1e6:.1f} M parameters, float32"],
    ]  # fmt: skip
    return markdown_table([f"{DRAWINGS:,} drawings, {CATEGORIES} categories", "takes", "since"], cells)


def tables(found: Found) -> str:
    """Return everything that was measured as Markdown, with the conditions."""
    conditions = found["conditions"]
    parts = [
        f"Machine: {conditions['machine']}. PyTorch {conditions['torch']}, Python {conditions['python']}, "
        f"{conditions['threads']} threads; products of training in {conditions['training_products']}, which "
        f"`--precision auto` chooses there. Drawings: {conditions['drawings']}. The whole took "
        f"{conditions['seconds']:.0f} s.\n",
    ]
    for title, key, table in (
        ("Beside the limit", "rows", rows_table),
        ("Growth", "curves", curves_table),
        ("Side by side", "side_by_side", side_by_side_table),
        ("The whole dataset, on paper", "constants", plan_table),
    ):
        if found[key]:
            parts.append(f"### {title}\n\n{table(found[key])}")
    return "\n".join(parts)


def update_performance(page: Path, results: Path) -> None:
    """Put the tables of a file of results between the markers of PERFORMANCE.md."""
    replace_between(page, MARKERS, lambda: tables(json.loads(results.read_text(encoding="utf-8"))))
