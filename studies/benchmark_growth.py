"""How time and memory grow with drawings, strokes, batch, size of the model and processes; and what a large run takes.

A curve is measured at a few sizes and fitted by cost = c size^exponent, a line in a log-log plot.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import rendering
from config import ModelConfig, TrainConfig
from drawings.batches import stroke_set
from metrics import frechet_distance, kernel_distance
from sample_diffusion import Predictor, generate_drawings
from stroke_tokens import resample_strokes
from studies.benchmark_limits import (
    NUM_POINTS,
    ROOT,
    STEPS,
    MatrixProducts,
    as_packed,
    dtype_name,
    in_turn,
    loading,
    repeated_file,
    shipped,
    training_run,
)
from studies.rival_samplers import PointLSTM, WholeDrawingUNet


@dataclass(frozen=True)
class Curve:
    """What something costs at several sizes, and the exponent of cost = c size^exponent."""

    what: str
    over: str
    unit: str
    sizes: list[int]
    costs: list[float]

    @property
    def exponent(self) -> float:
        """The slope of the line through the logarithms of the upper half of the sizes, where fixed costs are small."""
        half = max(2, (len(self.sizes) + 1) // 2)
        return float(np.polyfit(np.log(self.sizes[-half:]), np.log(self.costs[-half:]), 1)[0])


def seconds_of(work: Callable[[], Any], repeats: int = 3) -> float:
    """Return the median of the seconds that some work takes, after once without counting."""
    work()
    return in_turn(work, lambda: None, repeats, time.perf_counter)[0]


def powers(first: int, last: int, factor: float) -> list[int]:
    """Return sizes from `first` to `last`, each about `factor` times the one before."""
    count = max(2, round(np.log(last / first) / np.log(factor)) + 1)
    return np.unique(np.geomspace(first, last, count).round().astype(int)).tolist()


def over_drawings(lines: list[bytes], folder: Path, most: int) -> list[Curve]:
    """Measure everything that drawings go through, with up to `most` of them."""
    sizes = powers(max(10, most // 1000), most, 10)
    first, second = [], []
    for size in sizes:
        own = folder / f"growth-{size}"
        own.mkdir()
        path = repeated_file(own / "cat.ndjson", lines, num_drawings=size)
        first.append(loading(own))
        second.append(loading(own))
        path.unlink()
    curves = [
        Curve("load from ndjson", "drawings", "s", sizes, [seconds for _, _, seconds in first]),
        Curve("load from ndjson", "drawings", "bytes", sizes, [peak for peak, _, _ in first]),
        Curve("load from the cache", "drawings", "s", sizes, [seconds for _, _, seconds in second]),
        Curve("load from the cache", "drawings", "bytes", sizes, [peak for peak, _, _ in second]),
    ]
    fewer = powers(max(4, most // 1000), max(8, most // 10), 10**0.5)
    packed = [as_packed(lines, folder, size) for size in fewer]
    curves.append(Curve("stroke tokens", "drawings", "s", fewer, [
        seconds_of(lambda p=p: resample_strokes(p.points, p.stroke_offsets, NUM_POINTS)) for p in packed  # type: ignore[misc]
    ]))  # fmt: skip
    fewest = powers(max(4, most // 10_000), max(8, most // 100), 10**0.5)
    curves.append(Curve("pictures for features", "drawings", "s", fewest, [
        seconds_of(lambda n=n: rendering.feature_rasters([packed[-1].drawing(i) for i in range(n)])) for n in fewest  # type: ignore[misc]
    ]))  # fmt: skip
    sides = powers(max(4, most // 10_000), max(8, most // 20), 10**0.5)  # beyond the size from which KID takes subsets
    features = np.random.default_rng(0).normal(size=(2, sides[-1], 256))
    curves.append(Curve("FID and KID", "drawings a side", "s", sides, [
        seconds_of(lambda n=n: (frechet_distance(*features[:, :n]), kernel_distance(*features[:, :n])), 1)  # type: ignore[misc]
        for n in sides
    ]))  # fmt: skip
    trained = shipped("cat")
    few = powers(max(2, most // 100_000), max(4, most // 4_000), 2)
    curves.append(Curve("sampling, 256 at once", "drawings", "s", few, [
        seconds_of(lambda n=n: generate_drawings(trained, "cat", range(n), seed=0, steps=STEPS), 1) for n in few  # type: ignore[misc]
    ]))  # fmt: skip
    return curves


@torch.inference_mode()
def of_the_denoiser(most: int) -> list[Curve]:
    """Measure one evaluation of the denoiser over the strokes before and over the drawings at once, up to `most`."""
    trained, noise = shipped("cat"), torch.randn(most, 2 * NUM_POINTS, generator=torch.Generator().manual_seed(0))

    def evaluation(strokes: int, batch: int) -> float:
        tokens = noise[:batch, None].expand(-1, strokes, -1)
        predictor = Predictor.begin(trained.model, trained.category_id("cat"), tokens)
        return seconds_of(lambda: predictor.v(noise[:batch], 500), 5)

    strokes, batches = [1, 2, 4, 8, 16, 23], powers(1, most, 4)
    return [
        Curve("a step of the denoiser, 64 drawings", "strokes before", "s", strokes,
              [evaluation(k, min(64, most)) for k in strokes]),
        Curve("a step of the denoiser, 8 strokes before", "drawings at once", "s", batches,
              [evaluation(8, batch) for batch in batches]),
    ]  # fmt: skip


def over_model_sizes(folder: Path, data_dir: str | None, widths: Sequence[int]) -> list[Curve]:
    """Measure an update of training over the parameters of the model, at several widths."""
    parameters, seconds = [], []
    for width in widths:
        config = TrainConfig(batch_strokes=256)
        run, batches = training_run(folder / f"width-{width}", data_dir, config, ModelConfig(width=width))
        parameters.append(sum(p.numel() for p in run.model.parameters()))
        seconds.append(seconds_of(lambda: run.update(batches[0])))  # noqa: B023 - called at once
    return [Curve("update of training, 256 strokes", "parameters", "s", parameters, seconds)]


def over_processes(folder: Path, data_dir: str | None, counts: Sequence[int], scale: float) -> list[Curve]:
    """Measure training and sampling by several processes of one thread each, as seconds for the same work."""
    steps, drawings = max(2, int(8 * scale)), max(8, int(128 * scale))
    training, sampling = [], []
    for count in counts:
        out = folder / f"by-{count}"
        train = ["train_diffusion.py", "--category", "cat", "--data-dir", data_dir or "embedded", "--split", "local",
                 "--steps", str(steps), "--parts", str(max(counts)), "--batch-strokes", "768", "--sample-every", "0",
                 "--validate-every", str(steps), "--out", str(out)]  # fmt: skip
        draw = ["sample_diffusion.py", "--category", "cat", "--n", str(drawings), "--batch-size", str(drawings // 4),
                "--out", str(out / "drawn")]  # fmt: skip
        for command in (train, draw):
            by_torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", str(count), "--"]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run([sys.executable, *by_torchrun, *command], cwd=ROOT, env=environment, check=True,
                           capture_output=True)  # fmt: skip
        row = json.loads((out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[0])
        training.append(row["seconds"] / steps)
        conditions = json.loads((out / "drawn" / "conditions.json").read_text(encoding="utf-8"))
        sampling.append(1 / conditions["drawings_per_second"])
    return [
        Curve("update of training, 768 strokes, one thread each", "processes", "s", list(counts), training),
        Curve("a drawing, one thread each", "processes", "s", list(counts), sampling),
    ]


# ------------------------------------------------------------------ side by side


@torch.inference_mode()
def side_by_side(lines: list[bytes], folder: Path, scale: float) -> list[dict[str, Any]]:
    """Return drawings a second of this project's shipped cat model and of two other ways to draw, random weights.

    The LSTM takes as many steps as real drawings have points.
    """
    generator = torch.Generator().manual_seed(0)
    real, trained = as_packed(lines, folder, 1000), shipped("cat")
    points, count = round(len(real.points) / len(real)), max(4, int(256 * scale))
    lstm, unet, few = PointLSTM().eval(), WholeDrawingUNet().eval(), max(1, int(4 * scale))
    ours = sum(p.numel() for p in trained.model.parameters())

    def this(guidance: float) -> Callable[[], Any]:
        return lambda: generate_drawings(trained, "cat", range(count), seed=0, steps=STEPS, guidance=guidance)

    ways: list[tuple[str, int, int, Callable[[], Any]]] = [
        (f"this project, {STEPS} steps a stroke, guidance {trained.guidance:g}", ours, count, this(trained.guidance)),
        (f"this project, {STEPS} steps a stroke, unguided", ours, count, this(1.0)),
        (f"LSTM of Sketch-RNN's size, {points} points", parameters_of(lstm), count,
         lambda: lstm.draw(count, points, generator)),
        ("U-Net of SketchKnitter's size, 30 steps", parameters_of(unet), 4 * few,
         lambda: unet.draw(4 * few, 30, generator)),
        ("U-Net of SketchKnitter's size, 1000 steps", parameters_of(unet), few,
         lambda: unet.draw(few, 1000, generator)),
    ]  # fmt: skip
    rows = []
    for name, size, drawings, draw in ways:
        began = time.perf_counter()
        draw()
        seconds = time.perf_counter() - began
        rows.append({"way": name, "parameters": size, "n": drawings, "drawings_per_second": drawings / seconds})
    return rows


def parameters_of(model: torch.nn.Module) -> int:
    """Return how many numbers a network has learned."""
    return sum(parameter.numel() for parameter in model.parameters())


# ------------------------------------------------------------------ beyond one machine


def constants(lines: list[bytes], folder: Path, data_dir: str | None, scale: float) -> dict[str, float]:
    """Return what the plan for the whole dataset is made from, as measured on one core."""
    count = max(1000, int(100_000 * scale))
    own = folder / "plan"
    own.mkdir()
    repeated_file(own / "cat.ndjson", lines, num_drawings=count)
    pack = [sys.executable, "pack_drawings.py", "--data-dir", str(own), "--out", str(own / "packed")]
    began = time.perf_counter()
    subprocess.run(pack, cwd=ROOT, check=True, capture_output=True)
    packing = time.perf_counter() - began
    packed = as_packed(lines, folder, min(count, 10_000))
    data = stroke_set([packed], [0], NUM_POINTS, ModelConfig().max_strokes)
    chosen = np.random.default_rng(0).choice(len(data), min(len(data), 2048), replace=False)
    config = TrainConfig(batch_strokes=512)
    run, batches = training_run(folder / "plan-training", data_dir, config, ModelConfig())
    products = MatrixProducts()
    with products:
        run.update(batches[0])
    return {
        "json_bytes_per_drawing": (own / "cat.ndjson").stat().st_size / count,
        "packed_bytes_per_drawing": (own / "packed" / "cat.npz").stat().st_size / count,
        "packed_drawings_per_second": count / packing,
        "batched_drawings_per_second": len(chosen) / seconds_of(lambda: data.batch(chosen)),
        "operations_per_drawing": products.operations / len(batches[0].lengths),
        "strokes_per_drawing": float(data.num_strokes(np.arange(len(data))).mean()),
        "parameters": float(sum(p.numel() for p in run.model.parameters())),
    }


# ------------------------------------------------------------------ the picture


def growth_figure(curves: Sequence[Curve]) -> Any:
    """Return a matplotlib figure of all curves, one panel a kind of size, both axes logarithmic."""
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys((curve.over, curve.unit) for curve in curves))
    columns = 3
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.6 * rows), layout="constrained")
    for axes in figure.subplots(rows, columns, squeeze=False).flat[len(panels) :]:
        axes.set_axis_off()
    for (over, unit), axes in zip(panels, figure.axes, strict=False):
        for curve in curves:
            if (curve.over, curve.unit) == (over, unit):
                axes.loglog(curve.sizes, curve.costs, "o-", label=f"{curve.what}: {curve.exponent:.2f}", markersize=4)
        axes.set_xlabel(over)
        axes.set_ylabel("seconds" if unit == "s" else unit)
        axes.grid(color="#e6e8eb")
        axes.legend(fontsize=7, title="cost ∝ size^x, x =", title_fontsize=7, frameon=False)
    return figure


def name_of_arithmetic() -> str:
    """Return the type of numbers that training computes its products in on this machine."""
    from plumbing.devices import has_bfloat16

    return dtype_name(torch.bfloat16 if has_bfloat16(torch.device("cpu")) else torch.float32)
