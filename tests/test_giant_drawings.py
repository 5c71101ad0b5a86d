"""Laws of giant drawings: a million points or a hundred thousand strokes take bounded time and memory everywhere.

Each case runs in a process of its own, whose time on the processor and peak of memory are measured. The bounds are some
three times what was measured on one core: loading 0.5 s and 190 MB, tokens 1.7 s and 210 MB, pictures 8 s and 310 MB.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from test_interrupted_training import ROOT

from dataset_utils import read_ndjson
from diffusion_model import TrainedModel, save_weights

KINDS = ("points", "strokes", "raw points", "raw strokes")


def giant(kind: str) -> list[list[list[int]]]:
    """A drawing of 10^6 points in one stroke, or of 10^5 strokes of three points, as lists of an ndjson line."""
    rng = random.Random(0)
    count, length = (1, 10**6) if kind.endswith("points") else (10**5, 3)
    axes = 3 if kind.startswith("raw") else 2
    return [[[rng.randrange(256) for _ in range(length)] for _ in range(axes)] for _ in range(count)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of a giant drawing before a small one."""
    folder = tmp_path_factory.mktemp("giants")
    found = {}
    for kind in KINDS:
        small = [[[0, 255, 9], [0, 100, 9], [0, 1, 2]][: 3 if kind.startswith("raw") else 2]]
        found[kind] = folder / f"{kind}.ndjson"
        lines = (json.dumps({"word": "cat", "drawing": drawing}) for drawing in (giant(kind), small))
        found[kind].write_text("\n".join(lines) + "\n")
    return found


# A process begins as large as the one that starts it, so a small one starts it.
MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"\\n{used.ru_utime + used.ru_stime} {used.ru_maxrss}")
sys.exit(code)
"""


def within(seconds: float, megabytes: float, arguments: list[str]) -> str:
    """Run a Python program, hold its processor time and peak of memory to the bounds, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, sys.executable, *arguments], cwd=ROOT, text=True, capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told, _, figures = done.stdout.strip().rpartition("\n")
    spent, kilobytes = map(float, figures.split())
    assert spent < seconds, told
    assert kilobytes / 1024 < megabytes, told
    return told


@pytest.mark.parametrize("kind", KINDS)
def test_a_giant_is_read_cut_and_counted(files: dict[str, Path], kind: str) -> None:
    program = f"import dataset_utils as d; print(d.read_ndjson({str(files[kind])!r})[1].describe())"
    told = within(4, 700, ["-c", program])
    cut = "980000 cut points" if kind.endswith("points") else "98000 cut strokes, 294000 cut points"
    assert told.splitlines()[-1].startswith("2 drawings")
    assert f"1 cut drawings, {cut}" in told
    packed, _ = read_ndjson(files[kind])
    assert len(packed) == 2
    assert packed.num_strokes.tolist() == [1 if kind.endswith("points") else 2000, 1]


UNCUT = """
import numpy as np, rendering, stroke_tokens
rng = np.random.default_rng(0)
drawing = [rng.integers(0, 256, ({length}, 2)).astype(np.uint8) for _ in range({count})]
offsets = np.cumsum([0] + [len(stroke) for stroke in drawing])
"""
USES = {
    "tokens": "assert stroke_tokens.resample_strokes(np.concatenate(drawing), offsets, 32).shape[0] == len(drawing)",
    "picture": "rendering.grid_image([drawing], columns=1)",
    "vectors": "rendering.drawing_svg(drawing), rendering.svg_sheet([drawing], columns=1)",
    "animation": "import pathlib; rendering.drawings_animation([drawing], pathlib.Path('{out}/giant.gif'))",
    "statistics": "import drawing_statistics; drawing_statistics.describe_strokes([drawing, drawing])",
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", ["points", "strokes"])
def test_a_giant_that_is_not_cut_is_no_trouble_either(kind: str, use: str, tmp_path: Path) -> None:
    count, length = (1, 10**6) if kind == "points" else (10**5, 3)
    if (kind, use) == ("points", "animation"):  # as a pen moves: far jumps have more pixels, and took 35 s
        walk = "drawing = [np.cumsum(rng.integers(-1, 2, (10**6, 2)), axis=0) % 256]\n"
    else:
        walk = ""
    within(40, 1500, ["-c", UNCUT.format(count=count, length=length) + walk + USES[use].format(out=tmp_path)])


@pytest.mark.parametrize("kind", ["points", "strokes"])
def test_a_giant_is_continued_through_the_command_line(
    files: dict[str, Path], kind: str, tiny_model: TrainedModel, tmp_path: Path
) -> None:
    save_weights(tmp_path / "tiny.safetensors", tiny_model)
    told = within(60, 2500, [
        "sample_diffusion.py", "--category", "cat", "--checkpoint", str(tmp_path / "tiny.safetensors"), "--steps", "3",
        "--prefix", str(files[kind]), "--out", str(tmp_path / "out"), "--device", "cpu",
    ])  # fmt: skip
    assert f"{files[kind]}: 1 cut drawings" in told
    packed, _ = read_ndjson(tmp_path / "out" / "drawings.ndjson")
    given, _ = read_ndjson(files[kind])
    kept = 1
    if kind == "strokes":
        kept = tiny_model.model.config.max_strokes - 1
        assert f"cut 1 prefixes to {kept} strokes, the most that tiny.safetensors can continue" in told
    assert len(packed) == 2
    for ours, theirs in zip(packed.drawing(0)[:kept], given.drawing(0), strict=False):
        assert (ours == theirs).all()


def test_a_giant_among_training_drawings_is_told(files: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    lines = files["points"].read_text() + '{"word": "cat", "drawing": [[[0, 255], [0, 9]]]}\n' * 60
    spread = lines.replace("[0, 9]", "[0, %d]")
    (folder / "cat.ndjson").write_text(spread % tuple(range(60)))
    told = within(60, 2500, [
        "train_diffusion.py", "--category", "cat", "--data-dir", str(folder), "--steps", "2", "--batch-strokes", "64",
        "--num-points", "8", "--width", "32", "--num-layers", "1", "--num-heads", "2", "--denoiser-layers", "1",
        "--sample-every", "0", "--out", str(tmp_path / "run"),
    ])  # fmt: skip
    assert "1 cut drawings, 980000 cut points" in told
