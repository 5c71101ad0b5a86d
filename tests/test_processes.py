"""Laws of several processes: model and drawings are those of one, and none waits for one that has died."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import wait_until
from test_train_diffusion import TINY, assert_same, rows, state_of

import sample_diffusion
import train_diffusion
from dataset_utils import write_ndjson
from drawings.embedded import embedded_drawings
from plumbing.processes import ALONE, Group, best_device
from plumbing.run_folder import STATE_FILE
from train_diffusion import Run

pytestmark = pytest.mark.usefixtures("one_thread")

Start = Callable[..., "subprocess.Popen[str]"]
ENDLESS = [*TINY, "--steps", "100000"]


def torchrun(script: str, *arguments: str, processes: int = 2) -> list[str]:
    """The command line of a script under torchrun."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "--"]
    return [sys.executable, *launcher, script, *arguments]


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, output and errors; processes that wait for a dead one would do so for 10 minutes."""
    out, errors = process.communicate(timeout=400)
    return process.returncode, out, errors


def ranks(launcher: subprocess.Popen[str]) -> dict[int, int]:
    """The process ids of a torchrun's workers by rank."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            if f"\nPPid:\t{launcher.pid}\n" in (folder / "status").read_text():
                settings = (folder / "environ").read_bytes().split(b"\0")
                found |= {int(item[5:]): int(folder.name) for item in settings if item.startswith(b"RANK=")}
    return found


@pytest.fixture
def only_long(long_form: bool) -> None:
    """Skips what starts many processes."""
    if not long_form:
        pytest.skip("many processes: make test-long")


def test_two_processes_train_the_model_of_one_and_one_goes_on_where_two_ended(
    tmp_path: Path, started: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here with dropout and noise on the history; in bfloat16 where the hardware has it."""
    one, two = tmp_path / "one", tmp_path / "two"
    arguments = [*TINY, "--steps", "9", "--validate-every", "3", "--parts", "4"]
    code, _, errors = finished(started(torchrun("train_diffusion.py", *arguments, "--out", str(two))))
    assert code == 0, errors
    train_diffusion.main([*arguments, "--out", str(one)])
    a, b = state_of(one), state_of(two)
    assert (a.pop("machine"), b.pop("machine")) == ({"processes": 1, "threads": 1}, {"processes": 2, "threads": 1})
    assert_same(a, b)
    assert rows(one, "validation_loss") == rows(two, "validation_loss")

    os.replace(two / f"{STATE_FILE}.previous", two / STATE_FILE)
    train_diffusion.main([*arguments, "--out", str(two)])
    told = capsys.readouterr().out
    assert "saved with 2 processes, goes on with 1: same batches and random numbers" in told
    assert "Resuming cat from step 6" in told
    assert_same(state_of(two)["ema"], a["ema"])


@pytest.mark.usefixtures("only_long")
@pytest.mark.parametrize("victim", [0, 1])
def test_when_a_process_dies_the_others_end_with_a_message_and_one_process_goes_on(
    tmp_path: Path, started: Start, victim: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first process saves the last whole update; when it is the one that dies, its last state counts."""
    arguments = [*ENDLESS, "--out", str(tmp_path), "--validate-every", "10" if victim == 0 else "100000"]
    launcher = started(torchrun("train_diffusion.py", *arguments))
    wait_until((tmp_path / (f"{STATE_FILE}.previous" if victim == 0 else "metrics.jsonl")).exists, launcher)
    os.kill(ranks(launcher)[victim], signal.SIGKILL)
    code, _, errors = finished(launcher)
    assert code == 1
    told = [line for line in errors.splitlines() if "another of the 2 processes has ended" in line]
    assert len(told) == 1
    step = state_of(tmp_path)["counters"]["step"]
    saved = f"step {step}" if victim == 1 else "what process 0 has saved"
    assert f"the same command goes on from {saved}, also with another number of processes" in told[0]

    def interrupted(run: Run, batch: Any) -> dict[str, float]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_diffusion.main(arguments)
    assert f"Resuming cat from step {step} of" in capsys.readouterr().out


@pytest.mark.usefixtures("only_long")
def test_a_signal_to_all_saves_one_update_of_all(tmp_path: Path, started: Start) -> None:
    launcher = started(torchrun("train_diffusion.py", *ENDLESS, "--out", str(tmp_path), "--validate-every", "10"))
    wait_until((tmp_path / f"{STATE_FILE}.previous").exists, launcher)
    for pid in ranks(launcher).values():  # Ctrl-C in a terminal reaches every process, never at the same moment
        os.kill(pid, signal.SIGINT)
        time.sleep(0.07)
    _, out, errors = finished(launcher)
    assert "has ended" not in errors  # they stopped together, none was left waiting
    assert f"Interrupted: saved step {state_of(tmp_path)['counters']['step']}" in out
    assert out.count("Interrupted") == 1


def test_parts_are_shared_and_added_in_their_order() -> None:
    assert [list(Group(rank, 3).own_parts(6)) for rank in range(3)] == [[0, 3], [1, 4], [2, 5]]
    with pytest.raises(ValueError, match="--parts is 6, must be a multiple of the 4 processes"):
        Group(0, 4).own_parts(6)
    # in another order these would add up to 1
    parts = [torch.tensor([1e8]), torch.tensor([1.0]), torch.tensor([-1e8])]
    assert Group().add_up(parts).item() == 0.0


def test_processes_take_whole_batches_and_together_all_of_them() -> None:
    def shares(count: int, batch_size: int, size: int) -> list[list[int]]:
        return [list(range(count))[Group(rank, size).own_slice(count, batch_size)] for rank in range(size)]

    assert shares(10, 4, 1) == [list(range(10))]
    assert shares(10, 4, 3) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert shares(10, 4, 2) == [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9]]
    assert shares(5, 4, 4) == [[0, 1, 2, 3], [4], [], []]
    assert shares(0, 4, 2) == [[], []]
    rows = np.arange(6).reshape(3, 2)
    assert ALONE.concatenated(rows) is rows


@pytest.mark.usefixtures("only_long")
@pytest.mark.parametrize(("processes", "batch_size"), [(2, 3), (3, 8)], ids=["in turns", "one without drawings"])
def test_several_processes_draw_the_drawings_of_one(
    tiny_weights: Path, tmp_path: Path, started: Start, capsys: pytest.CaptureFixture[str],
    processes: int, batch_size: int,
) -> None:  # fmt: skip
    """Here continued ones, some of which have a single stroke and are left out."""
    write_ndjson(tmp_path / "unfinished.ndjson", embedded_drawings("cat", 12, seed=9), word="cat")
    command = f"--category cat --checkpoint {tiny_weights} --steps 2 --batch-size {batch_size} --n 14".split()
    command += ["--prefix", str(tmp_path / "unfinished.ndjson"), "--keep-strokes", "2"]
    one, many = tmp_path / "one", tmp_path / "many"
    sample_diffusion.main([*command, "--out", str(one)])
    arguments = torchrun("sample_diffusion.py", *command, "--out", str(many), processes=processes)
    code, told, errors = finished(started(arguments))
    assert code == 0, errors
    idle = "2 of 3 processes have a batch to draw; a smaller --batch-size gives more of them\n"
    assert told.replace(idle, "") == capsys.readouterr().out.replace(str(one), str(many))
    assert (idle in told) == (processes == 3)
    conditions = [json.loads((out / "conditions.json").read_text()) for out in (one, many)]
    assert [each.pop("processes") for each in conditions] == [1, processes]
    assert [each.pop("drawings_per_second") > 0 for each in conditions] == [True, True]
    assert conditions[0] == conditions[1]
    names = sorted(path.name for path in one.iterdir() if path.name != "conditions.json")
    assert names == sorted(path.name for path in many.iterdir() if path.name != "conditions.json")
    assert [name for name in names if (one / name).read_bytes() != (many / name).read_bytes()] == []


def test_a_gpu_that_is_not_there_is_refused() -> None:
    for kind, seen in (("mps", torch.backends.mps.is_available()), ("cuda", torch.cuda.is_available())):
        if not seen:
            with pytest.raises(ValueError, match=f"--device is {kind}, but PyTorch sees no"):
                best_device(kind)
