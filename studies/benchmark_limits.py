"""How fast the program is, each figure beside the limit that it is held against, measured in the same run.

A machine is slow one minute and quick the next; a ratio of two things measured in turn stays. Each function measures
one row or a few; `benchmark.py` runs them. `scale` shrinks all sizes alike, 1 is what is published.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import rendering
from config import CHECKPOINTS, ModelConfig, TrainConfig
from dataset_utils import load_category, read_ndjson, write_ndjson
from diffusion_model import TrainedModel, load_with_guide
from drawings.batches import training_batches
from drawings.embedded import embedded_drawings
from drawings.packed import PackedDrawings
from metrics import frechet_distance, kernel_distance
from sample_diffusion import generate_drawings
from stroke_tokens import Whitening, points_to_vectors, resample_strokes
from train_diffusion import DataChoice, prepare

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("cat", "bus", "rabbit", "car")
"""Categories whose drawings are repeated until a file is large enough."""
REPEATS = 5
NUM_POINTS = 32
STEPS = 20
Clock = Callable[[], float]


@dataclass(frozen=True)
class Row:
    """One figure, `limit` being what it is held against, in the same unit, and `ratio` what is to reach `target`."""

    what: str
    figure: float
    unit: str
    limit: float | None
    limit_is: str
    ratio: float | None
    target: str
    met: bool
    conditions: str


def in_turn(
    ours: Callable[[], Any], limit: Callable[[], Any], repeats: int, clock: Clock
) -> tuple[float, float, float]:
    """Return the median seconds of both, measured one after the other, and the median of limit over ours."""
    pairs = []
    for _ in range(repeats):
        seconds = []
        for work in (ours, limit):
            began = clock()
            work()
            seconds.append(clock() - began)
        pairs.append(seconds)
    return (
        statistics.median(own for own, _ in pairs),
        statistics.median(other for _, other in pairs),
        statistics.median(other / own for own, other in pairs),
    )


# ------------------------------------------------------------------ drawings to measure on


def source_lines(data_dir: str | None, folder: Path) -> list[bytes]:
    """Return ndjson lines to repeat: of SOURCES in `data_dir`, or of embedded drawings, written into `folder`."""
    files = [Path(data_dir) / f"{name}.ndjson" for name in SOURCES] if data_dir not in (None, "embedded") else []
    files = [path for path in files if path.is_file()]
    if not files:
        files = [folder / "embedded.ndjson"]
        write_ndjson(files[0], embedded_drawings("cat", 2_000), word="cat")
    return [line for path in files for line in path.read_bytes().splitlines(keepends=True)]


def repeated_file(path: Path, lines: list[bytes], *, num_bytes: float = 0, num_drawings: float = 0) -> Path:
    """Write lines again and again until the file has at least so many bytes and drawings."""
    written = 0
    with path.open("wb") as file:
        for number, line in enumerate(cycle(lines)):
            if written >= num_bytes and number >= num_drawings:
                break
            written += file.write(line)
    return path


# ------------------------------------------------------------------ data


def reading(lines: list[bytes], folder: Path, scale: float) -> Row:
    """Measure ndjson to packed points on one core against the JSON parser alone."""
    path = repeated_file(folder / "read.ndjson", lines, num_bytes=1e8 * scale)

    def parse_only() -> None:
        with path.open("rb") as file:
            for line in file:
                orjson.loads(line)

    ours, limit, ratio = in_turn(lambda: read_ndjson(path), parse_only, REPEATS, time.process_time)
    megabytes = path.stat().st_size / 1e6
    return Row("ndjson to packed points", megabytes / ours, "MB/s", megabytes / limit, "orjson alone", ratio,
               "≥ 0.35 of it", ratio >= 0.35, f"{megabytes:.0f} MB, processor time, median of {REPEATS} pairs")


def tokens(lines: list[bytes], folder: Path, scale: float) -> Row:
    """Measure packed points to whitened stroke tokens on one core."""
    packed, _ = read_ndjson(repeated_file(folder / "tokens.ndjson", lines, num_drawings=40_000 * scale))
    whitening = Whitening.fit(points_to_vectors(resample_strokes(packed.points, packed.stroke_offsets, NUM_POINTS)))
    count = len(packed.stroke_offsets) - 1

    def encode() -> None:
        points = resample_strokes(packed.points, packed.stroke_offsets, NUM_POINTS)
        whitening.encode(points_to_vectors(points))

    with threads(1):
        ours, _, _ = in_turn(encode, lambda: None, REPEATS, time.process_time)
    return Row("packed points to stroke tokens", count / ours, "strokes/s", None, "", None, "≥ 300,000",
               count / ours >= 300_000, f"{count:,} strokes, {NUM_POINTS} fitted points, one core")  # fmt: skip


def second_start(lines: list[bytes], folder: Path, scale: float) -> Row:
    """Measure loading a category that was loaded before against reading the bytes of its file."""
    path = repeated_file(folder / "cat.ndjson", lines, num_drawings=120_000 * scale)

    def load() -> None:
        load_category("cat", data_dir=folder, cache_dir=folder / "cache")

    load()
    ours, limit, ratio = in_turn(load, path.read_bytes, REPEATS, time.perf_counter)
    return Row("second start, cached", ours, "s", limit, "reading the file", ratio, "< 1 s", ours < 1,
               f"{120_000 * scale:,.0f} drawings, split local, the file is hashed again")  # fmt: skip


def memory(lines: list[bytes], folder: Path, scale: float) -> Row:
    """Measure the resident memory that loading a category takes, in a process of its own, against its arrays."""
    (folder / "memory").mkdir()
    repeated_file(folder / "memory" / "cat.ndjson", lines, num_bytes=93e6 * scale, num_drawings=166_000 * scale)
    peak, packed, _ = loading(folder / "memory")
    over = (peak - packed) / 1e6
    return Row("memory of loading", peak / 1e6, "MB", packed / 1e6, "the packed arrays", packed / peak,
               "≤ arrays + 300 MB", over <= 300, "at least 166,000 drawings and 93 MB, peak over the imports, "
               "first load")  # fmt: skip


LOADING = """
import json, sys, time
from dataset_utils import load_category
def peak():  # not ru_maxrss, which a process takes over from the one that started it
    return 1024 * int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
before, began = peak(), time.perf_counter()
data = load_category("cat", data_dir=sys.argv[1], cache_dir=sys.argv[2])
seconds = time.perf_counter() - began
sides = (data.train, data.test)
size = sum(getattr(side, name).nbytes for side in sides for name in ("points", "stroke_offsets", "drawing_offsets"))
print(json.dumps([max(peak() - before, 4096), size, seconds]))
"""


def loading(folder: Path) -> tuple[float, float, float]:
    """Return peak memory, size of the arrays and seconds of loading cat.ndjson of a folder, in a fresh process."""
    command = [sys.executable, "-c", LOADING, str(folder), str(folder / "cache")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    peak, packed, seconds = json.loads(done.stdout)
    return peak, packed, seconds


# ------------------------------------------------------------------ networks


class threads:
    """A block in which torch computes with so many threads."""

    def __init__(self, count: int) -> None:
        self.count, self.before = count, torch.get_num_threads()

    def __enter__(self) -> None:
        torch.set_num_threads(self.count)

    def __exit__(self, *error: object) -> None:
        torch.set_num_threads(self.before)


class MatrixProducts(TorchDispatchMode):
    """Records the shapes and type of all matrix products that are computed in a block."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[tuple[tuple[int, ...], tuple[int, ...], torch.dtype]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note the operands of a product, and compute it."""
        name = func._schema.name
        if name in ("aten::mm", "aten::bmm", "aten::matmul"):
            left, right = args[0].shape, args[1].shape
        elif name == "aten::addmm":
            left, right = args[1].shape, args[2].shape
        elif name == "aten::linear":
            width = args[0].shape[-1]
            left, right = (args[0].numel() // width, width), args[1].shape[::-1]
        else:
            return func(*args, **(kwargs or {}))
        self.counts[tuple(left), tuple(right), args[0].dtype] += 1
        return func(*args, **(kwargs or {}))

    @property
    def operations(self) -> float:
        """Floating-point operations of all products: two a multiplication."""
        return sum(2.0 * np.prod(left) * right[-1] * n for (left, right, _), n in self.counts.items())

    def compute(self) -> None:
        """Compute as many products of the same shapes and type, and nothing else."""
        with torch.inference_mode():
            for (left, right, dtype), count in self.counts.items():
                a, b = torch.ones(left, dtype=dtype), torch.ones(right, dtype=dtype)
                for _ in range(count):
                    a @ b


def training_run(folder: Path, data_dir: str | None, config: TrainConfig, model: ModelConfig) -> tuple[Any, list[Any]]:
    """Return a run that has just begun, and its first batches."""
    run = prepare(config, model, DataChoice(data_dir or "embedded", "local"), None, folder, torch.device("cpu"))
    chosen = training_batches(run.data.train, run.weights, config.batch_strokes, config.seed)
    return run, [run.data.train.batch(next(chosen)) for _ in range(3)]


def training_step(folder: Path, data_dir: str | None, scale: float) -> Row:
    """Measure an update of training against the products in it."""
    config = TrainConfig(batch_strokes=max(64, int(2048 * scale)))
    run, batches = training_run(folder / "training", data_dir, config, ModelConfig())
    run.update(batches[0])
    products = MatrixProducts()
    with products:
        run.update(batches[1])
    ours, limit, ratio = in_turn(lambda: run.update(batches[1]), products.compute, REPEATS, time.perf_counter)
    dtype = max(products.counts, key=lambda key: products.counts[key])[2]
    size = " x ".join(map(str, batches[1].vectors.shape[:2]))
    return Row("update of training", products.operations / ours / 1e9, "GFLOP/s", products.operations / limit / 1e9,
               "its matrix products alone", ratio, "≥ 0.45 of it", ratio >= 0.45,
               f"{size} strokes, {products.operations / 1e9:.0f} GFLOP in products, {dtype_name(dtype)}, "
               f"{torch.get_num_threads()} threads, {ours:.2f} s")  # fmt: skip


def dtype_name(dtype: torch.dtype) -> str:
    """Return the plain name of a type of numbers."""
    return str(dtype).removeprefix("torch.")


def shipped(category: str) -> TrainedModel:
    """Return a shipped model with its guide."""
    return load_with_guide(CHECKPOINTS / f"{category}.safetensors")


def sampling(category: str, guidance: float | None, scale: float) -> list[Row]:
    """Measure drawings a second in one large batch against the products in them; guidance None is as tuned."""
    trained, count = shipped(category), max(4, int(1000 * scale))
    strength = trained.guidance if guidance is None else guidance

    def draw() -> None:
        generate_drawings(trained, category, range(count), seed=0, steps=STEPS, guidance=strength, batch_size=count)

    products = MatrixProducts()
    with products:
        draw()
    ours, limit, ratio = in_turn(draw, products.compute, 3 if count < 100 else 1, time.perf_counter)
    name = f"{category}, {'unguided' if strength == 1 else f'guidance {strength:g}'}"
    conditions = f"{count:,} drawings at once, {STEPS} steps, float32, {torch.get_num_threads()} threads"
    most = count / limit
    return [
        Row(f"sampling: {name}", products.operations / ours / 1e9, "GFLOP/s", products.operations / limit / 1e9,
            "its matrix products alone", ratio, "≥ 0.40 of it", ratio >= 0.40, conditions),
        Row(f"sampling: {name}", count / ours, "drawings/s", most, "its matrix products alone", ratio,
            "≥ 300", count / ours >= 300, f"{products.operations / count / 1e6:.0f} MFLOP a drawing"),
    ]  # fmt: skip


def one_drawing(category: str, scale: float) -> list[Row]:
    """Measure how long a single drawing's first and next strokes take, guided as tuned."""
    trained = shipped(category)
    first, later = [], []
    for index in range(max(2, int(20 * scale))):
        moments = stroke_moments(trained, category, index)
        waits = [after - before for before, after in pairwise(moments)]
        first.append(waits[0])
        later += waits[1:]
    conditions = f"{category}, batch 1, {STEPS} steps, guidance {trained.guidance:g}, {torch.get_num_threads()} threads"
    rows = (("first stroke", first, 100), ("each next stroke", later, 60))
    return [
        Row(f"one drawing: {name}", 1000 * statistics.median(waits), "ms", None, "", None, f"< {most} ms",
            statistics.median(waits) < most / 1000, f"median of {len(waits)}; {conditions}")
        for name, waits, most in rows if waits
    ]  # fmt: skip


def stroke_moments(trained: TrainedModel, category: str, index: int) -> list[float]:
    """Return when a drawing was begun and when each of its strokes was there, by ``time.perf_counter``."""
    ends: dict[int, float] = {}

    def watch(k: int, points: np.ndarray) -> None:
        ends[k] = time.perf_counter()

    began = time.perf_counter()
    generate_drawings(trained, category, [index], seed=1, steps=STEPS, guidance=trained.guidance, watch=watch)
    return [began, *ends.values()]


# ------------------------------------------------------------------ pictures, scores, start


def agg_rasters(drawings: list[Any]) -> None:
    """Paint drawings at 64 px by matplotlib's Agg alone, one path each: what a good rasteriser takes."""
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.path import Path as LinePath
    from matplotlib.transforms import IdentityTransform

    paper, still = RendererAgg(64, 64, 72.0), IdentityTransform()  # type: ignore[no-untyped-call]
    for drawing in drawings:
        codes = np.full(sum(map(len, drawing)), LinePath.LINETO, dtype=np.uint8)
        codes[np.cumsum([0] + [len(stroke) for stroke in drawing[:-1]])] = LinePath.MOVETO
        paper.clear()  # type: ignore[no-untyped-call]
        pen = paper.new_gc()
        pen.set_linewidth(0.75)
        pen.set_capstyle("round")
        pen.set_joinstyle("round")
        pen.set_snap(False)
        path = LinePath(np.concatenate(drawing) * 0.25, codes)
        path.should_simplify = False
        paper.draw_path(pen, path, still)  # type: ignore[no-untyped-call]
        np.asarray(paper.buffer_rgba())[..., 0].copy()  # type: ignore[no-untyped-call]


def feature_rendering(lines: list[bytes], folder: Path, scale: float) -> Row:
    """Measure rendering for the feature network against matplotlib's Agg at that size."""
    packed, _ = read_ndjson(repeated_file(folder / "render.ndjson", lines, num_drawings=4_000 * scale))
    drawings = list(packed)
    ours, limit, ratio = in_turn(
        lambda: rendering.feature_rasters(drawings), lambda: agg_rasters(drawings), REPEATS, time.process_time
    )
    count = len(drawings)
    return Row("rendering for features, 64 px", count / ours, "drawings/s", count / limit, "RendererAgg, 64 px", ratio,
               "≥ 15,000", count / ours >= 15_000, f"{count:,} drawings, one core, drawn at 256 px")  # fmt: skip


def scores(dim: int, scale: float) -> Row:
    """Measure FID and KID of given features against two eigendecompositions of a covariance."""
    rng, count = np.random.default_rng(0), max(32, int(2_000 * scale))
    a, b = rng.normal(size=(2, count, dim))
    covariance = np.cov(a.T)

    def ours() -> None:
        frechet_distance(a, b)
        kernel_distance(a, b)

    def decompositions() -> None:
        for _ in range(2):
            np.linalg.eigh(covariance)

    own, limit, ratio = in_turn(ours, decompositions, 3, time.perf_counter)
    return Row(f"FID and KID, {dim} features", own, "s", limit, "two eigendecompositions", ratio,
               "≤ 2 times as long", own <= 2 * limit, f"{count:,} v {count:,}, KID over 100 subsets")  # fmt: skip


def start(scale: float) -> list[Row]:
    """Measure how long scripts take to start, as whole processes."""
    with tempfile.TemporaryDirectory() as folder:
        draw = ["sample_diffusion.py", "--category", "cat", "--n", "1", "--out", folder]
        pairs = (
            ("start: --help", ["sample_diffusion.py", "--help"], ["-c", "pass"], "python alone", 0.3),
            ("start: sample_diffusion.py --n 1", draw, ["-c", "import torch"], "import torch", 3.0),
        )
        rows = []
        for what, ours, limit, limit_is, most in pairs:
            repeats = max(1, int(REPEATS * scale))
            own, other, ratio = in_turn(partial(run, ours), partial(run, limit), repeats, time.perf_counter)
            rows.append(Row(what, own, "s", other, limit_is, ratio, f"< {most:g} s", own < most, "whole process"))
    return rows


def run(arguments: Iterable[str]) -> None:
    """Run Python in the project's folder, silently."""
    subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=True)


def as_packed(lines: list[bytes], folder: Path, count: int) -> PackedDrawings:
    """Return `count` drawings, packed."""
    return read_ndjson(repeated_file(folder / f"packed-{count}.ndjson", lines, num_drawings=count))[0]
