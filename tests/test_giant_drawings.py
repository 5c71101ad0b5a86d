"""Laws of giant drawings: a million points or a hundred thousand strokes take bounded memory everywhere.

By default they are read (test_dataset_utils.py) and one is continued; in the long form they are read and trained on in
a process of its own, whose peak of memory is held to some three times what was measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sample_diffusion
from dataset_utils import read_ndjson

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"points": (1, 10**6), "strokes": (10**5, 3)}  # strokes, points of each


@pytest.fixture(params=SIZES)
def giant_file(request: pytest.FixtureRequest, tmp_path: Path, long_form: bool) -> Path:
    """A file of a giant drawing before a small one."""
    if request.param == "points" and not long_form:
        pytest.skip("its animation takes a minute: make test-long")
    count, length = SIZES[request.param]
    axis = [i * i % 256 for i in range(length)]
    drawings = [[[axis, axis[::-1]]] * count, [[[0, 255, 9], [0, 100, 9]]]]
    path = tmp_path / f"{request.param}.ndjson"
    path.write_text("\n".join(json.dumps({"word": "cat", "drawing": drawing}) for drawing in drawings) + "\n")
    return path


def test_a_giant_is_continued_through_the_command_line(
    giant_file: Path, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample_diffusion.main([
        "--category", "cat", "--checkpoint", str(tiny_weights), "--steps", "3", "--prefix", str(giant_file),
        "--out", str(tmp_path / "out"), "--device", "cpu",
    ])  # fmt: skip
    told = "".join(capsys.readouterr())
    assert f"{giant_file}: 1 cut drawings" in told
    written, given = (read_ndjson(path)[0] for path in (tmp_path / "out" / "drawings.ndjson", giant_file))
    kept = 1
    if giant_file.stem == "strokes":
        kept = 11
        assert f"cut 1 prefixes to {kept} strokes, the most" in told
    assert len(written) == 2
    for ours, theirs in zip(written.drawing(0)[:kept], given.drawing(0), strict=False):
        assert (ours == theirs).all()


# A process begins as large as the one that starts it, so a small one starts it.
MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(f"\\n{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}")
sys.exit(code)
"""


def within(megabytes: float, arguments: list[str]) -> str:
    """Run a Python program, hold its peak of memory to the bound, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, sys.executable, *arguments], cwd=ROOT, text=True, capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told, _, kilobytes = done.stdout.strip().rpartition("\n")
    assert int(kilobytes) / 1024 < megabytes, told
    return told


def test_a_giant_is_read_in_bounded_memory_and_told_where_it_is_trained_on(
    giant_file: Path, tmp_path: Path, long_form: bool
) -> None:
    if not long_form:
        pytest.skip("a process of its own: make test-long")
    within(700, ["-c", f"import dataset_utils as d; d.read_ndjson({str(giant_file)!r})"])
    folder = tmp_path / "data"
    folder.mkdir()
    small = "".join(f'{{"drawing": [[[0, 255], [0, {i}]]]}}\n' for i in range(60))
    (folder / "cat.ndjson").write_text(giant_file.read_text() + small)
    told = within(2500, [
        "train_diffusion.py", "--category", "cat", "--data-dir", str(folder), "--steps", "2", "--batch-strokes", "64",
        "--num-points", "8", "--width", "32", "--num-layers", "1", "--num-heads", "2", "--denoiser-layers", "1",
        "--sample-every", "0", "--out", str(tmp_path / "run"),
    ])  # fmt: skip
    assert "1 cut drawings" in told
