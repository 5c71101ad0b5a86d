"""Laws of several processes: model, drawings and figures are those of one, and none waits for one that has died."""

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

import sample_diffusion
import train_diffusion
import training
from checkpoint import load_state
from config import SETTINGS_FILE, ModelConfig, SampleConfig, TrainConfig
from dataset_utils import write_ndjson
from diffusion_model import TrainedModel
from drawings.batches import Batch, DataChoice
from drawings.embedded import embedded_drawings
from plumbing.processes import ALONE, Group
from sample_diffusion import generate_drawings, official_form

MODEL = ModelConfig(num_points=8, width=32, num_layers=1, num_heads=2, denoiser_layers=1)


def launched(script: str, *arguments: str, processes: int = 2) -> list[str]:
    """The command line of a script under torchrun, or without it for one process."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "--"]
    return [sys.executable, *(launcher if processes > 1 else []), str(ROOT / script), *arguments]


def torchrun(out: Path, *more: str, processes: int = 2) -> list[str]:
    return launched("train_diffusion.py", *TINY, "--out", str(out), *more, processes=processes)


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
    settings = tmp_path / "run" / SETTINGS_FILE
    before = settings.stat().st_mtime_ns
    one = started(torchrun(tmp_path / "run", *steps, processes=1))
    wait_until(lambda: settings.stat().st_mtime_ns != before, one)  # written anew when it goes on
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


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many threads here as in the processes of ENVIRONMENT."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("processes", "batch_size", "continued"),
    [(2, 3, False), (3, 8, True)],
    ids=["several batches each", "continued, one without drawings"],
)
def test_several_processes_draw_the_drawings_of_one(
    tiny_weights: Path, tmp_path: Path, started: Start, one_thread: None, capsys: pytest.CaptureFixture[str],
    processes: int, batch_size: int, continued: bool,
) -> None:  # fmt: skip
    command = f"--category cat --checkpoint {tiny_weights} --steps 2 --batch-size {batch_size} --n 14".split()
    if continued:  # some have a single stroke and are left out
        write_ndjson(tmp_path / "unfinished.ndjson", embedded_drawings("cat", 12, seed=9), word="cat")
        command += ["--prefix", str(tmp_path / "unfinished.ndjson"), "--keep-strokes", "2"]
    one, many = tmp_path / "one", tmp_path / "many"
    sample_diffusion.main([*command, "--out", str(one)])
    arguments = [*command, "--out", str(many)]
    code, told, errors = finished(started(launched("sample_diffusion.py", *arguments, processes=processes)))
    assert code == 0, errors
    assert told == capsys.readouterr().out.replace(str(one), str(many))
    conditions = [json.loads((out / "conditions.json").read_text()) for out in (one, many)]
    assert [each.pop("processes") for each in conditions] == [1, processes]
    assert [each.pop("drawings_per_second") > 0 for each in conditions] == [True, True]
    assert conditions[0] == conditions[1]
    names = sorted(path.name for path in one.iterdir() if path.name != "conditions.json")
    assert names == sorted(path.name for path in many.iterdir() if path.name != "conditions.json")
    assert [name for name in names if (one / name).read_bytes() != (many / name).read_bytes()] == []


@pytest.mark.parametrize("kept", [0, 2])
def test_a_run_draws_what_one_call_does(tiny_model: TrainedModel, kept: int) -> None:
    prefix = [drawing[:kept] for drawing in embedded_drawings("cat", 20) if len(drawing) >= kept][:7] if kept else None
    config = SampleConfig(n=7, steps=2, batch_size=3, guidance=1.0)
    drawings = sample_diffusion.sample(tiny_model, "cat", config, prefix).drawings
    whole = generate_drawings(tiny_model, "cat", range(7), seed=0, steps=2, prefix=prefix, batch_size=3).drawings
    assert len(drawings) == 7
    for drawing, smooth in zip(drawings, whole, strict=True):
        for stroke, other in zip(drawing, official_form(smooth, kept)[0], strict=True):
            np.testing.assert_array_equal(stroke, other)


def test_two_processes_score_as_one(tmp_path: Path, started: Start) -> None:
    generated, real = tmp_path / "generated.ndjson", tmp_path / "real.ndjson"
    drawings = [drawing[:6] for drawing in embedded_drawings("cat", 300, seed=1)]
    write_ndjson(generated, drawings[:270], word="cat")  # more than one batch of pictures
    write_ndjson(real, drawings[270:], word="cat")
    command = ["score", "--generated", str(generated), "--real", str(real), "--training", str(generated)]
    results = []
    for processes in (1, 2):  # one too as a process of its own: NumPy's products must have as many threads
        out = tmp_path / f"{processes}.json"
        arguments = launched("metrics.py", *command, "--out", str(out), processes=processes)
        code, told, errors = finished(started(arguments))
        assert code == 0, errors
        assert told == out.read_text()
        results.append(told)
    assert results[0] == results[1]


@pytest.mark.parametrize("victim", [0, 1])
def test_when_a_process_dies_in_drawing_the_others_end_with_a_message(
    tiny_weights: Path, tmp_path: Path, started: Start, victim: int
) -> None:
    command = ["--category", "cat", "--checkpoint", str(tiny_weights), "--n", "1000000", "--out", str(tmp_path / "out")]
    launcher = started(launched("sample_diffusion.py", *command))
    wait_until((tmp_path / "out/.lock").exists, launcher)
    time.sleep(1)
    os.kill(ranks(launcher)[victim], signal.SIGKILL)
    killed = time.time()
    code, told, errors = finished(launcher, seconds=60)
    assert time.time() - killed < 20
    assert (code, told) == (1, "")
    said = [line for line in errors.splitlines() if line.startswith("sample_diffusion.py: ")]
    assert len(said) == 1
    assert "another of the 2 processes has ended" in said[0]
    assert not (tmp_path / "out/drawings.ndjson").exists()


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


TRAINING = ["train_diffusion.py", *TINY, "--steps", "3"]
DRAWING = ["sample_diffusion.py", "--category", "cat", "--steps", "2", "--n", "4"]


@pytest.mark.parametrize("command", [TRAINING, DRAWING], ids=["training", "drawing"])
def test_processes_that_do_not_do_the_same_say_so(tmp_path: Path, started: Start, command: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    script, *arguments = command
    workers = []
    for rank in range(2):
        place = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        line = launched(script, *arguments, "--out", str(tmp_path), "--seed", str(rank), processes=1)
        workers.append(started(["env", *(f"{name}={value}" for name, value in place.items()), *line]))
    for worker in workers:
        code, _, errors = finished(worker, seconds=120)
        assert code == 2
        assert "process 1 has other drawings or settings than process 0" in errors
