"""Laws of training by several processes: the model is that of one process, and none waits for one that has died."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import wait_until
from test_interrupted_training import ENVIRONMENT, ROOT, STATE, TINY, assert_same_figures, assert_same_tables

import train_diffusion
import training
from checkpoint import load_state
from config import ModelConfig, TrainConfig
from processes import Group
from training_data import Batch, DataChoice

MODEL = ModelConfig(num_points=8, width=32, num_layers=1, num_heads=2, denoiser_layers=1)


def torchrun(out: Path, *more: str, processes: int = 2) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    if processes == 1:
        launcher = [sys.executable]
    return [*launcher, str(ROOT / "train_diffusion.py"), *TINY, "--out", str(out), *more]


Start = Callable[[list[str]], "subprocess.Popen[str]"]


@pytest.fixture
def started() -> Iterator[Start]:
    """Starts commands, and ends what is left of them."""
    processes: list[subprocess.Popen[str]] = []

    def start(arguments: list[str]) -> subprocess.Popen[str]:
        processes.append(
            subprocess.Popen(
                arguments, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            kill_all(process)


def finished(process: subprocess.Popen[str], seconds: float = 300) -> tuple[int, str, str]:
    out, errors = process.communicate(timeout=seconds)
    return process.returncode, out, errors


def ranks(launcher: subprocess.Popen[str]) -> dict[int, int]:
    """The process ids of a torchrun's workers by rank."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(launcher.pid)], capture_output=True, text=True).stdout
    found = {}
    for pid in map(int, listed.split()):
        try:
            settings = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        found |= {int(item[5:]): pid for item in settings if item.startswith(b"RANK=")}
    return found


def kill_all(launcher: subprocess.Popen[str]) -> None:
    """Kill a torchrun and its workers, which are in sessions of their own."""
    for pid in (*ranks(launcher).values(), launcher.pid):
        os.kill(pid, signal.SIGKILL)
    launcher.communicate()


def test_two_processes_train_the_model_of_one_also_across_a_change_of_their_number(
    tmp_path: Path, started: Start
) -> None:
    """Here with dropout and noise on the history; in bfloat16 where the hardware has it."""
    one, two, mixed = (tmp_path / name for name in ("one", "two", "mixed"))
    steps = ["--steps", "24", "--validate-every", "6", "--parts", "4"]
    for out, processes in ((one, 1), (two, 2)):
        code, _, errors = finished(started(torchrun(out, *steps, processes=processes)))
        assert code == 0, errors
    a, b = load_state(one / STATE), load_state(two / STATE)
    assert a is not None
    assert b is not None
    for part in ("model", "ema"):
        for name, weights in a[part].items():
            torch.testing.assert_close(b[part][name], weights, rtol=0, atol=1e-6, msg=f"{part} {name}")
    assert_same_figures(one, two)

    first = started(torchrun(mixed, *steps))
    wait_until((mixed / STATE).exists, first)
    kill_all(first)
    code, told, errors = finished(started(torchrun(mixed, *steps, processes=1)))
    assert code == 0, errors
    assert "saved with 2 processes, goes on with 1: same batches and random numbers" in told
    assert "Resuming cat from step" in told
    c = load_state(mixed / STATE)
    assert c is not None
    assert_same_tables(c["ema"], a["ema"], "ema")


@pytest.mark.parametrize("victim", [0, 1])
def test_when_a_process_dies_the_others_end_with_a_message_and_one_process_goes_on(
    tmp_path: Path, started: Start, victim: int
) -> None:
    """The first process saves the last whole update; when it is the one that dies, its last state counts."""
    steps = ["--steps", "100000", "--validate-every", "10" if victim == 0 else "100000"]
    launcher = started(torchrun(tmp_path / "run", *steps))
    wait_until((tmp_path / "run" / (STATE if victim == 0 else "metrics.jsonl")).exists, launcher)
    os.kill(ranks(launcher)[victim], signal.SIGKILL)
    killed = time.time()
    code, _, errors = finished(launcher, seconds=60)
    assert time.time() - killed < 60
    assert code == 1
    told = [line for line in errors.splitlines() if "another of the 2 processes has ended" in line]
    assert len(told) == 1
    assert "the same command goes on from" in told[0]
    state = load_state(tmp_path / "run" / STATE)
    assert state is not None
    if victim == 1:
        assert f"goes on from step {state['counters']['step']}, also with another number" in told[0]
    one = started(torchrun(tmp_path / "run", *steps, processes=1))
    time.sleep(6)
    one.send_signal(signal.SIGTERM)
    _, out, _ = finished(one, seconds=60)
    assert f"Resuming cat from step {state['counters']['step']}" in out


def test_a_signal_to_the_launcher_saves_one_update_of_all(tmp_path: Path, started: Start) -> None:
    steps = ["--steps", "100000", "--validate-every", "10"]
    launcher = started(torchrun(tmp_path / "run", *steps))
    wait_until((tmp_path / "run" / STATE).exists, launcher)
    for pid in ranks(launcher).values():  # Ctrl-C in a terminal reaches every process, never at the same moment
        os.kill(pid, signal.SIGINT)
        time.sleep(0.07)
    _, out, errors = finished(launcher, seconds=60)
    assert "has ended" not in errors  # they stopped together, none was left waiting
    state = load_state(tmp_path / "run" / STATE)
    assert state is not None
    assert f"Interrupted: saved step {state['counters']['step']}" in out
    assert out.count("Interrupted") == 1


def test_processes_that_cannot_share_the_parts_or_have_other_settings_say_so(tmp_path: Path, started: Start) -> None:
    code, _, errors = finished(started(torchrun(tmp_path, "--steps", "4", "--parts", "3")))
    assert code == 1
    assert "--parts is 3, must be a multiple of the 2 processes" in errors


def test_parts_are_shared_and_added_in_their_order() -> None:
    assert [list(Group(rank, 3).own_parts(6)) for rank in range(3)] == [[0, 3], [1, 4], [2, 5]]
    with pytest.raises(ValueError, match="must be a multiple of the 4 processes"):
        Group(0, 4).own_parts(6)
    # in another order these would add up to 1
    parts = [torch.tensor([1e8]), torch.tensor([1.0]), torch.tensor([-1e8])]
    assert Group().add_up(parts).item() == 0.0


def test_parts_of_a_batch_are_the_whole_batch_without_its_padding() -> None:
    lengths = torch.tensor([5, 3, 2, 1, 1])
    vectors = torch.arange(5 * 5 * 4, dtype=torch.float32).view(5, 5, 4)
    batch = Batch(vectors, lengths, torch.arange(5), torch.zeros(5, 4))
    parts = [batch.part(number, 3) for number in range(3)]
    assert [part.lengths.tolist() for part in parts] == [[5, 1], [3, 1], [2]]
    assert [part.vectors.shape[1] for part in parts] == [5, 3, 2]
    for number, part in enumerate(parts):
        for row, index in enumerate(range(number, 5, 3)):
            length = int(lengths[index])
            assert torch.equal(part.vectors[row, :length], vectors[index, :length])
            assert part.category[row] == index
    empty = batch.part(7, 8)
    assert (len(empty.lengths), empty.vectors.shape[1]) == (0, 0)


def test_every_stroke_weighs_the_same_in_however_many_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With losses that are known means, and without random numbers, the gradient does not depend on the parts."""

    def known(model: Any, whitening: Any, batch: Batch, alpha_bar: Any, config: TrainConfig, generator: Any) -> Any:
        values = batch.vectors.mean(-1)
        strokes, first = values[batch.mask], values[:, 0]
        total = config.noise_draws * strokes.sum() + config.first_stroke_draws * first.sum()
        count = config.noise_draws * len(strokes) + config.first_stroke_draws * len(first)
        weight = model.stop.bias.sum()
        return weight * total / count, weight * strokes.mean()

    monkeypatch.setattr(training, "losses", known)
    found = []
    for parts in (1, 2, 5):
        config = TrainConfig(parts=parts, first_stroke_draws=7, augmentation=0)
        run = training.prepare(config, MODEL, DataChoice("embedded"), None, tmp_path / str(parts))
        with torch.no_grad():
            run.model.stop.bias.fill_(1.0)
        batch = run.data.train.batch(np.arange(11))
        both = run._add_up_gradients(batch)
        assert run.model.stop.bias.grad is not None
        found.append([*both.tolist(), run.model.stop.bias.grad.item()])
    np.testing.assert_allclose(found[1:], [found[0]] * 2, rtol=1e-5)


def test_a_batch_of_fewer_drawings_than_parts_trains(tmp_path: Path) -> None:
    weights = train_diffusion.main(
        [*TINY, "--out", str(tmp_path), "--steps", "3", "--batch-strokes", "16", "--parts", "64"]
    )
    rows = [json.loads(line) for line in (weights.parent / "metrics.jsonl").read_text().splitlines()]
    assert all(0 < row["loss"] < 10 for row in rows if "loss" in row)


def test_processes_that_do_not_train_the_same_say_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    workers = []
    for rank in range(2):
        place = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        arguments = [*TINY, "--out", str(tmp_path), "--steps", "3", "--seed", str(rank)]
        workers.append(
            subprocess.Popen(
                [sys.executable, str(ROOT / "train_diffusion.py"), *arguments], env=ENVIRONMENT | place, cwd=ROOT,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
    for worker in workers:
        code, _, errors = finished(worker, seconds=120)
        assert code == 2
        assert "process 1 has other drawings or settings than process 0" in errors
