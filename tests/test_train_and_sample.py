"""End to end through the command line of sampling: draw, continue; bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sample_diffusion
import train_diffusion
from dataset_utils import read_ndjson, write_ndjson
from drawings.embedded import embedded_drawings

ROOT = Path(__file__).resolve().parent.parent
SHAPE = "--num-points 8 --width 32 --num-layers 1 --num-heads 2 --denoiser-layers 1".split()  # noqa: SIM905
RUN = "--data-dir embedded --batch-strokes 256 --warmup 2 --ema-decay 0.9 --sample-every 0".split()  # noqa: SIM905
TINY = [*RUN, *SHAPE]


def train(out: Path, *more: str) -> Path:
    return train_diffusion.main([*TINY, "--category", "kedi", "--out", str(out), *more])


def run_script(script: str, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / script), *arguments], capture_output=True, text=True, timeout=timeout, cwd=ROOT
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("run"), "--steps", "60", "--validate-every", "30", "--sample-every", "60")


def test_sampling_writes_every_file_and_the_same_bytes_twice(weights: Path, tmp_path: Path) -> None:
    command = ["--category", "kedi", "--n", "20", "--seed", "1", "--steps", "5", "--guidance", "1.5"]
    command += ["--checkpoint", str(weights)]
    for name in ("a", "b"):
        sample_diffusion.main([*command, "--out", str(tmp_path / name)])
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert {"drawings.ndjson", "grid.png", "sheet.svg", "animation.gif", "denoising.gif", "conditions.json",
            "drawing_000.svg"} <= names  # fmt: skip
    assert (tmp_path / "a/drawings.ndjson").read_bytes() == (tmp_path / "b/drawings.ndjson").read_bytes()
    packed, _ = read_ndjson(tmp_path / "a/drawings.ndjson")
    assert len(packed) == 20
    conditions = json.loads((tmp_path / "a/conditions.json").read_text())
    assert conditions["evaluations_per_stroke"] == 10  # guidance asks the network twice a step
    assert (conditions["guidance"], conditions["guide"]) == (1.5, "the model without a category")
    assert len(conditions["checkpoint_sha256"]) == 64


def test_batch_size_changes_no_drawing_in_float32(weights: Path, tmp_path: Path) -> None:
    command = ["--category", "cat", "--n", "24", "--steps", "4", "--checkpoint", str(weights)]
    for size in (24, 5):
        sample_diffusion.main([*command, "--batch-size", str(size), "--out", str(tmp_path / str(size))])
    a, b = (read_ndjson(tmp_path / str(size) / "drawings.ndjson")[0] for size in (24, 5))
    np.testing.assert_array_equal(a.num_strokes, b.num_strokes)
    same = [all(np.array_equal(x, y) for x, y in zip(a.drawing(i), b.drawing(i), strict=True)) for i in range(24)]
    assert np.mean(same) > 0.8  # the others: a coordinate rounded the other way, or a vertex chosen beside
    for i in range(24):
        for x, y in zip(a.drawing(i), b.drawing(i), strict=True):
            assert np.abs(x[0].astype(int) - y[0]).max() <= 1


def test_unfinished_drawings_are_continued_and_their_strokes_come_back(weights: Path, tmp_path: Path) -> None:
    drawings = embedded_drawings("cat", 5, seed=9)
    write_ndjson(tmp_path / "unfinished.ndjson", drawings, word="cat")
    sampled = sample_diffusion.main(
        ["--category", "cat", "--checkpoint", str(weights), "--prefix", str(tmp_path / "unfinished.ndjson"),
         "--keep-strokes", "2", "--steps", "4", "--out", str(tmp_path / "out")]
    )  # fmt: skip
    packed, _ = read_ndjson(tmp_path / "out/drawings.ndjson")
    assert len(packed) == len(sampled.drawings) == 5
    assert packed.num_strokes.max() > 2
    for i, drawing in enumerate(drawings):
        for a, b in zip(packed.drawing(i)[:2], drawing[:2], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("sample_diffusion.py", ["--category", "zebrafish"], "unknown category 'zebrafish'"),
        ("sample_diffusion.py", ["--category", "cat", "--checkpoint", "README.md"], "README.md: damaged, or not"),
        ("sample_diffusion.py", ["--category", "cat", "--steps", "1001"], "--steps is 1001, must lie in 1 ... 1000"),
        ("sample_diffusion.py", ["--category", "cat", "--sampler", "euler"], "--sampler is 'euler', must be one of"),
        ("sample_diffusion.py", ["--category", "cat", "--guidance", "-0.5"], "--guidance is -0.5, must lie in 0"),
        ("sample_diffusion.py", ["--category", "cat", "--guide", "none.safetensors"], "none.safetensors: no such"),
        ("sample_diffusion.py", ["--category", "cat", "--prefix", "none.ndjson"], "none.ndjson"),
        ("sample_diffusion.py", ["--category", "cat", "--keep-strokes", "0", "--prefix", "x"], "--keep-strokes is 0"),
        ("sample_diffusion.py", ["--category", "cat", "--frobnicate"], "unrecognized arguments: --frobnicate"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(
    script: str, arguments: list[str], message: str, tmp_path: Path
) -> None:
    result = run_script(script, *arguments, *(["--out", str(tmp_path)]))
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert message in lines[0]
    assert list(tmp_path.iterdir()) == []
