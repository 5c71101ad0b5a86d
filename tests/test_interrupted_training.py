"""Laws of training that is interrupted: nothing saved is lost, and the end is the same to the last bit.

Kills are real: SIGKILL, SIGTERM and SIGINT to processes of their own.
"""

from __future__ import annotations

import copy
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import wait_until

import train_diffusion
import training
from checkpoint import load_state, save_state
from config import RunFailed
from diffusion_model import load_weights
from plumbing.files import locked_folder

ROOT = Path(__file__).resolve().parent.parent
SHAPE = "--num-points 8 --width 32 --num-layers 1 --num-heads 2 --denoiser-layers 1"
SMALL = "--category cat --data-dir embedded --batch-strokes 128 --warmup 5 --ema-decay 0.9 --sample-every 0"
TINY = f"{SMALL} {SHAPE}".split()
STATE = "training_state.pt"
# the same number of threads everywhere: sums of other lengths round otherwise
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def command(out: Path, *more: str) -> list[str]:
    return [sys.executable, str(ROOT / "train_diffusion.py"), *TINY, "--out", str(out), *more]


def watched(out: Path, kill_at: int, *more: str) -> list[str]:
    """The command line of a training that notes every update in `out`.trace; see watched_training.py."""
    return [
        sys.executable, str(ROOT / "tests/watched_training.py"), f"{out}.trace", str(kill_at), *TINY, "--out", str(out),
        *more,
    ]  # fmt: skip


def run(arguments: list[str], timeout: float = 300, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout, **options
    )


@pytest.fixture
def started() -> Iterator[Callable[[list[str]], subprocess.Popen[str]]]:
    """Starts processes, and ends those that are left."""
    processes: list[subprocess.Popen[str]] = []

    def start(arguments: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            arguments, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def updates(out: Path) -> list[str]:
    """The lines of the trace, one for every update that was ever made."""
    trace = Path(f"{out}.trace")
    return trace.read_text().splitlines() if trace.is_file() else []


def assert_same_state(a: Path, b: Path) -> None:
    """Weights, moving average and optimizer of two folders are equal, bit for bit, and so are the counters."""
    one, other = load_state(a / STATE), load_state(b / STATE)
    assert one is not None
    assert other is not None
    for part in ("model", "ema", "optimizer"):
        assert_same_tables(one[part], other[part], part)
    for counters in (one["counters"], other["counters"]):
        del counters["seconds"]
    assert one["counters"] == other["counters"]


def assert_same_tables(a: Any, b: Any, where: str) -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same_tables(a[key], b[key], f"{where} {key}")
    elif isinstance(a, list | tuple):
        for number, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same_tables(x, y, f"{where} {number}")
    else:
        assert a == b, where


def test_killed_at_random_moments_it_ends_bit_equal_with_an_unbroken_run(
    tmp_path: Path, started: Callable[[list[str]], subprocess.Popen[str]], long_form: bool
) -> None:
    """Kills at random moments, and right before random operations on files: in the middle of writing checkpoints."""
    by_time, by_operation = (20, 40) if long_form else (3, 4)
    steps = (by_time + by_operation) * 16
    more = ["--steps", str(steps), "--validate-every", "4"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(watched(whole, 0, *more)).returncode == 0
    choice = random.Random(0)
    kills = [("operation", choice.randint(1, 70)) for _ in range(by_operation)]
    kills += [("updates", choice.randint(1, 11)) for _ in range(by_time)]
    choice.shuffle(kills)
    for kind, number in kills:
        if kind == "operation":
            assert run(watched(broken, number, *more)).returncode == -signal.SIGKILL
            continue
        process, before = started(watched(broken, 0, *more)), len(updates(broken))
        wait_until(lambda n=before + number: len(updates(broken)) >= n, process)  # type: ignore[misc]
        time.sleep(choice.random() * 0.1)
        process.kill()
        process.communicate()
    last = run(watched(broken, 0, *more))
    assert last.returncode == 0, last.stderr
    assert "Resuming cat from step" in last.stdout
    # every update, also one made twice, learned from the same drawings at the same rate with the same losses
    assert len(updates(broken)) >= len(updates(whole)) == steps
    assert set(updates(broken)) == set(updates(whole))
    assert_same_state(whole, broken)
    assert_same_figures(whole, broken)
    assert list(broken.glob(".*.tmp")) == []  # what killed writers left is gone


def assert_same_figures(a: Path, b: Path) -> None:
    """The logs of two folders say the same of every update, and the weights that people get are equal."""
    logs = [[json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()] for folder in (a, b)]
    for log in logs:
        assert [row["step"] for row in log] == sorted(row["step"] for row in log)
    validated = [[row for row in log if "validation_loss" in row] for log in logs]
    assert validated[0] == validated[1]
    assert len(validated[0]) > 2
    one, other = (load_weights(folder / "weights.safetensors") for folder in (a, b))
    assert_same_tables(one.model.state_dict(), other.model.state_dict(), "weights")


# ------------------------------------------------------------------ every piece of the state counts


def train(out: Path, *more: str) -> Path:
    return train_diffusion.main([*TINY, "--out", str(out), *more])


STEPS = ("--steps", "14", "--validate-every", "7")


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """The states of one training in its middle and at its end."""
    folder = tmp_path_factory.mktemp("halves")
    train(folder, *STEPS)
    end = load_state(folder / STATE)
    middle = torch.load(folder / f"{STATE}.previous", weights_only=True)
    assert end is not None
    assert (middle["counters"]["step"], end["counters"]["step"]) == (7, 14)
    return middle, end


def resumed(folder: Path, state: dict[str, Any]) -> dict[str, Any]:
    """The state at the end of a training that goes on from `state`."""
    save_state(folder / STATE, state)
    train(folder, *STEPS)
    end = load_state(folder / STATE)
    assert end is not None
    return end


def without_time(state: dict[str, Any]) -> dict[str, Any]:
    return state | {"counters": {k: v for k, v in state["counters"].items() if k != "seconds"}}


def test_resumed_from_its_middle_it_ends_the_same(tmp_path: Path, halves: tuple[dict[str, Any], ...]) -> None:
    middle, end = halves
    assert_same_tables(without_time(resumed(tmp_path, middle)), without_time(end), "state")


PIECES = [
    ("identity",), ("model",), ("ema",), ("optimizer",), ("counters",), ("machine",),
    ("identity", "train"), ("identity", "data"), ("identity", "start"),
    ("model", "stop.weight"), ("ema", "n_averaged"), ("ema", "module.stop.weight"),
    ("optimizer", "state"), ("optimizer", "param_groups"), ("optimizer", "state", 0), ("optimizer", "state", 0, "step"),
    ("optimizer", "state", 3, "exp_avg"), ("optimizer", "state", 3, "exp_avg_sq"),
    *(("counters", name) for name in training.Run.COUNTERS), ("machine", "processes"), ("machine", "threads"),
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: ".".join(map(str, piece)))
def test_a_state_without_a_piece_is_refused_by_its_name(
    tmp_path: Path, halves: tuple[dict[str, Any], ...], piece: tuple[Any, ...]
) -> None:
    state = copy.deepcopy(halves[0])
    table = state
    for key in piece[:-1]:
        table = table[key]
    del table[piece[-1]]
    with pytest.raises(ValueError, match=rf"{STATE}.* lacks '{piece[-1]}'"):
        resumed(tmp_path, state)


@pytest.mark.parametrize(
    ("piece", "value", "message"),
    [
        (("counters", "step"), "7", "step is '7', must be a number >= 0"),
        (("counters", "drawings"), -1, "drawings is -1, must be a number >= 0"),
        (("counters", "seconds"), float("nan"), "seconds is nan, must be a number >= 0"),
        (("model", "stop.weight"), torch.zeros(3), "does not fit this model .*stop.weight"),
        (("optimizer", "param_groups"), "none", "does not fit this model"),
        (("identity",), "cat", "lacks 'train'"),
    ],
)
def test_a_state_with_a_piece_of_another_form_is_refused(
    tmp_path: Path, halves: tuple[dict[str, Any], ...], piece: tuple[Any, ...], value: Any, message: str
) -> None:
    state = copy.deepcopy(halves[0])
    table = state
    for key in piece[:-1]:
        table = table[key]
    table[piece[-1]] = value
    with pytest.raises(ValueError, match=rf"{STATE}.* {message}"):
        resumed(tmp_path, state)


def fresh(values: Any) -> Any:
    """The value that a piece of the state has in a run that has just begun."""
    return torch.zeros_like(values) if isinstance(values, torch.Tensor) else 0


FORGOTTEN = [
    ("model", "write_noise.weight"), ("ema", "module.stop.weight"), ("ema", "n_averaged"),
    ("optimizer", "state", 0, "step"), ("optimizer", "state", 3, "exp_avg"), ("optimizer", "state", 3, "exp_avg_sq"),
    ("counters", "step"), ("counters", "drawings"), ("counters", "bad_steps"), ("counters", "skipped"),
]  # fmt: skip


@pytest.mark.parametrize("piece", FORGOTTEN, ids=lambda piece: ".".join(map(str, piece)))
def test_a_piece_that_began_anew_would_be_seen_at_the_end(
    tmp_path: Path, halves: tuple[dict[str, Any], ...], piece: tuple[Any, ...]
) -> None:
    """The comparison of states is not blind to any piece: resuming without it ends elsewhere."""
    middle, end = copy.deepcopy(halves[0]), halves[1]
    table = middle
    for key in piece[:-1]:
        table = table[key]
    table[piece[-1]] = fresh(table[piece[-1]]) if piece[-1] not in ("bad_steps", "skipped") else 2
    if piece[-1] == "bad_steps":  # a good update sets it back: what counts is the next bad one
        with pytest.raises(RunFailed, match="in 3 updates in a row"), nan_at(7):
            resumed(tmp_path, middle)
        return
    with pytest.raises(AssertionError):
        assert_same_tables(without_time(resumed(tmp_path, middle)), without_time(end), "state")


# ------------------------------------------------------------------ numbers that are not finite


class nan_at:
    """Within it, the gradients of the given updates are NaN, while their losses are finite."""

    def __init__(self, *steps: int) -> None:
        self.steps = steps

    def __enter__(self) -> None:
        self.original = original = training.Run._add_up_gradients

        def spoiled(run: training.Run, batch: Any) -> torch.Tensor:
            both = original(run, batch)
            if run.step in self.steps:
                next(run.model.parameters()).grad.view(-1)[0] = float("nan")  # type: ignore[union-attr]
            return both

        training.Run._add_up_gradients = spoiled  # type: ignore[method-assign]

    def __exit__(self, *error: object) -> None:
        training.Run._add_up_gradients = self.original  # type: ignore[method-assign]


def test_updates_with_a_gradient_that_is_not_finite_are_skipped_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with nan_at(2, 3, 8, 9):
        weights = train(tmp_path, *STEPS)
    state = load_state(tmp_path / STATE)
    assert state is not None
    assert state["counters"]["skipped"] == 4
    assert all(torch.isfinite(tensor).all() for tensor in state["model"].values())
    assert "(14 updates, 4 updates skipped as not finite)" in capsys.readouterr().out
    load_weights(weights)


def test_three_in_a_row_end_the_run_and_what_was_saved_is_untouched(tmp_path: Path) -> None:
    with nan_at(9, 10, 11), pytest.raises(RunFailed, match=r"in 3 updates in a row at step 11; .* --learning-rate"):
        train(tmp_path, *STEPS)
    state = load_state(tmp_path / STATE)
    assert state is not None
    assert (state["counters"]["step"], state["counters"]["skipped"]) == (7, 0)
    train(tmp_path, *STEPS)  # and from there it goes on


# ------------------------------------------------------------------ signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_last_update_and_says_how_to_go_on(
    tmp_path: Path, started: Callable[[list[str]], subprocess.Popen[str]], number: int
) -> None:
    out = tmp_path / "run"
    process = started(watched(out, 0, "--steps", "100000", "--validate-every", "100000"))
    wait_until(lambda: len(updates(out)) >= 3, process)
    process.send_signal(number)
    told, _ = process.communicate(timeout=60)
    state = load_state(out / STATE)
    assert state is not None
    assert state["counters"]["step"] == len(updates(out))
    assert f"saved step {len(updates(out))} in {out}; the same command goes on from there" in told


def test_a_second_signal_does_not_wait(
    tmp_path: Path, started: Callable[[list[str]], subprocess.Popen[str]]
) -> None:
    """An update of a minute is left at once; the state saved before it counts."""
    out = tmp_path / "run"
    slow = ["--batch-strokes", "1000000", "--noise-draws", "64", "--parts", "1000"]
    process = started([*command(out, *slow, "--steps", "5")])
    wait_until((out / "settings.json").exists, process)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    told, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "nothing was saved yet" in told
    assert "Traceback" not in errors


def test_two_runs_in_one_folder_are_refused_and_kill_frees_it(
    tmp_path: Path, started: Callable[[list[str]], subprocess.Popen[str]]
) -> None:
    first = started(command(tmp_path, "--steps", "100000", "--validate-every", "5"))
    wait_until((tmp_path / STATE).exists, first)
    second = run(command(tmp_path, "--steps", "100000", "--validate-every", "5"), timeout=60)
    assert second.returncode == 1
    assert second.stderr.splitlines() == [
        f"train_diffusion.py: error: {tmp_path}: in use by pid {first.pid}; wait for it, or choose another --out"
    ]
    assert first.poll() is None
    first.kill()
    first.communicate()
    with locked_folder(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    assert not (tmp_path / ".lock").exists()


def test_never_two_hold_a_folder_however_often_it_changes_hands(
    tmp_path: Path, started: Callable[[list[str]], subprocess.Popen[str]]
) -> None:
    program = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from plumbing.files import locked_folder
held = 0
while held < 200:
    try:
        with locked_folder(Path({str(tmp_path)!r})):
            os.close(os.open({str(tmp_path / "inside")!r}, os.O_CREAT | os.O_EXCL))  # fails where another one is inside
            os.unlink({str(tmp_path / "inside")!r})
            held += 1
    except BlockingIOError:
        pass
"""
    for process in [started([sys.executable, "-c", program]) for _ in range(4)]:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors


# ------------------------------------------------------------------ disks and damaged files


def test_a_full_disk_ends_the_run_with_the_space_needed_and_keeps_what_was_saved(tmp_path: Path) -> None:
    """The limit lets one state be written and fails while a later one is half written."""
    out = tmp_path / "run"
    assert run(command(out, "--steps", "4", "--validate-every", "2")).returncode == 0
    size = (out / STATE).stat().st_size
    saved = {path.name: path.read_bytes() for path in out.iterdir()}

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    again = out.rename(tmp_path / "again")
    for name in (STATE, f"{STATE}.sha256"):  # as if the last two updates had not been made
        (again / name).write_bytes(saved[f"{name}.previous" if name == STATE else f"{STATE}.previous.sha256"])
    full = run(command(again, "--steps", "4", "--validate-every", "2"), preexec_fn=small_files)
    assert full.returncode == 1
    lines = [line for line in full.stderr.splitlines() if "error" in line]
    assert len(lines) == 1
    assert f"{STATE}.new" in lines[0]
    assert f"({size / 1e6:.1f} MB needed, " in lines[0]
    assert "MB free); what was there before is kept" in lines[0]
    assert list(again.glob(".*.tmp")) == []
    state = load_state(again / STATE)
    assert state is not None
    assert state["counters"]["step"] == 2
    assert run(command(again, "--steps", "4", "--validate-every", "2")).returncode == 0
    assert (again / STATE).stat().st_size == size


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_state_is_said_and_the_previous_one_goes_on_to_the_same_end(
    tmp_path: Path, halves: tuple[dict[str, Any], ...], damage: str, recwarn: pytest.WarningsRecorder
) -> None:
    middle, end = halves
    save_state(tmp_path / STATE, middle)
    save_state(tmp_path / STATE, end)
    whole = bytearray((tmp_path / STATE).read_bytes())
    whole[len(whole) // 2] ^= 1
    (tmp_path / STATE).write_bytes({"flip": bytes(whole), "cut": bytes(whole[:1000]), "empty": b""}[damage])
    train(tmp_path, *STEPS)
    assert any("damaged, using the previous one" in str(warning.message) for warning in recwarn)
    state = load_state(tmp_path / STATE)
    assert state is not None
    assert_same_tables(without_time(state), without_time(end), "state")


def test_damaged_rows_of_the_log_are_left_out_and_said(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    train(tmp_path, *STEPS)
    log = tmp_path / "metrics.jsonl"
    rows = log.read_bytes()
    log.write_bytes(b'{"step": 3, "lo\0\xff\n[]\n' + rows + b'{"step": 14, "half')
    train(tmp_path, *STEPS)
    assert log.read_bytes() == rows
    assert sum("a damaged row is left out" in str(warning.message) for warning in recwarn) == 2


def test_a_run_of_other_settings_is_refused_at_once(tmp_path: Path) -> None:
    """Before torch is imported, and again by the state itself where the settings' file is gone."""
    train(tmp_path, *STEPS)
    for change, message in (
        (["--learning-rate", "0.5"], "train learning_rate = 0.001, this command says 0.5"),
        (["--category", "bus"], "train category = 'cat', this command says 'bus'"),
        (["--width", "64"], "start model width = 32, this command says 64"),
    ):
        with pytest.raises(ValueError, match=message):
            train(tmp_path, *STEPS, *change)
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    refused = run(command(tmp_path, *STEPS, "--learning-rate", "0.5"))
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert spent.ru_utime + spent.ru_stime - begun.ru_utime - begun.ru_stime < 0.5
    for damaged in (None, "{", '{"train": 3}', "[" * 100_000):
        settings = tmp_path / "settings.json"
        settings.unlink() if damaged is None else settings.write_text(damaged)
        with pytest.raises(ValueError, match=r"learning_rate = 0\.001, this command says 0\.5"):
            train(tmp_path, *STEPS, "--learning-rate", "0.5")
