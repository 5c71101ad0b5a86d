"""Training by its command line: recipes, data, refusals; interrupted anywhere it ends the same to the last bit."""

from __future__ import annotations

import copy
import json
import math
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import train_diffusion
from config import CHECKPOINTS, PRESETS, ModelConfig, RunFailed, TrainConfig
from diffusion_model import load_weights
from plumbing.command_line import stop_signals
from plumbing.files import locked_folder
from plumbing.run_folder import STATE_FILE, load_state, save_state
from train_diffusion import Run

SHAPE = "--num-points 8 --width 32 --num-layers 1 --num-heads 2 --denoiser-layers 1".split()  # noqa: SIM905
RUN = "--data-dir embedded --batch-strokes 128 --warmup 5 --ema-decay 0.9 --sample-every 0".split()  # noqa: SIM905
TINY = [*RUN, *SHAPE]
STEPS = ["--steps", "8", "--validate-every", "4"]

Start = Callable[..., "subprocess.Popen[str]"]


pytestmark = pytest.mark.usefixtures("one_thread")


def train(out: Path, *more: str) -> Path:
    return train_diffusion.main([*TINY, "--category", "kedi", "--out", str(out), *more])


def state_of(folder: Path) -> dict[str, Any]:
    state = load_state(folder / STATE_FILE)
    assert state is not None
    return state


def rows(folder: Path, key: str) -> list[dict[str, float]]:
    """The rows of the log that have `key`."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if key in row]


# ------------------------------------------------------------------ a training, and the recipes


def test_training_lowers_the_loss_and_writes_what_it_says(tmp_path: Path) -> None:
    weights = train(tmp_path, "--steps", "60", "--validate-every", "30", "--sample-every", "60")
    losses = [row["validation_loss"] for row in rows(tmp_path, "validation_loss")]
    assert losses[-1] < 0.98 * losses[0]
    assert (tmp_path / "samples_0000060.png").stat().st_size > 1000
    conditions = load_weights(weights).conditions
    assert (conditions["trained_on"], conditions["data"], conditions["split"]) == (["cat"], ["embedded"], ["local"])
    assert conditions["train"]["steps"] == conditions["step"] == 60
    assert not any(tmp_path.glob(".*"))


def test_many_categories_then_one_of_them_with_companions(tmp_path: Path) -> None:
    base = train_diffusion.main([*TINY, "--category", "all", "--out", str(tmp_path / "base"), "--steps", "3"])
    assert load_weights(base).categories == ("bus", "cat", "rabbit")
    more = ["--category", "tavşan", "--companions", "cat", "--init", str(base), "--steps", "3"]
    tuned = load_weights(train_diffusion.main([*RUN, *more, "--out", str(tmp_path / "tuned")]))
    assert tuned.categories == ("bus", "cat", "rabbit")
    conditions = tuned.conditions
    assert (conditions["trained_on"], conditions["companion_drawings"] > 0) == (["rabbit"], True)
    assert (conditions["start"]["init"], len(conditions["start"]["init_sha256"])) == ("weights.safetensors", 64)
    assert [stage["trained_on"] for stage in conditions["lineage"]] == [["bus", "cat", "rabbit"]]


@pytest.mark.parametrize("name", ["cat", "bus", "rabbit", "car"])
def test_presets_are_the_trainings_that_the_shipped_headers_record(name: str) -> None:
    """Settings that are newer than a training have the value that does what was done then."""
    conditions = load_weights(CHECKPOINTS / f"{name}.safetensors").conditions
    stages = ["all", "base", "related", *(["finetune-car-first"] if name == "car" else []), f"finetune-{name}"]
    trainings = [*conditions["lineage"], conditions]
    if conditions["sampling"].get("share", 1) < 1:  # averaged with a model of the later base
        *trainings, constant, longer, changed, own = trainings
        trainings += [longer, changed, own]
        stages[-1:] = ["base-longer", "related-changed", *stages[-1:]]
        assert constant["train"]["category"] == "all"  # 1,250 updates at a constant rate, as that preset says
    newer = {"parts": 1, "first_stroke_draws": 0, "min_snr": 0.0, "scale_weight": 0.0}
    for stage, recorded in zip(stages, trainings, strict=True):
        preset = PRESETS[stage]
        assert asdict(preset.train) == asdict(TrainConfig()) | newer | recorded["train"], stage
        assert preset.model.dropout == recorded["start"]["model"]["dropout"], stage
        assert (preset.init is None) == (recorded["start"]["init_sha256"] is None), stage
        assert recorded["split"] == ["local"], stage  # so all of them held the same drawings out


def test_flags_win_over_their_preset_and_help_explains_each() -> None:
    parser = train_diffusion.build_parser()
    arguments = parser.parse_args(["--preset", "finetune-bus", "--steps", "7"])
    config, model, init = train_diffusion.chosen_settings(arguments)
    assert config == replace(PRESETS["finetune-bus"].train, steps=7)
    assert model.dropout == 0.15
    assert init == Path("runs/related/weights.safetensors")
    text = parser.format_help()
    for name, preset in PRESETS.items():
        assert f"  {name:<20} {preset.help}\n" in text
    for spec in (*asdict(TrainConfig()), *asdict(ModelConfig())):
        assert text.count(f"\n  --{spec.replace('_', '-')} ") == 1


def test_a_constant_learning_rate_warms_up_and_decays_over_its_last_share() -> None:
    config = TrainConfig(steps=100, warmup=10, learning_rate=2.0, schedule="constant-decay", decay=0.25)
    rates = [train_diffusion.learning_rate_at(step, config) for step in range(100)]
    assert rates[:11] == pytest.approx([0.2 * (step + 1) for step in range(10)] + [2.0])
    assert set(rates[9:76]) == {2.0}
    assert rates[75:] == pytest.approx([2 * (1 - math.sqrt(done / 25)) for done in range(25)])
    assert {train_diffusion.learning_rate_at(step, replace(config, decay=0.0)) for step in (20, 99)} == {2.0}


# ------------------------------------------------------------------ every piece of the state counts


def assert_same(a: Any, b: Any, where: str = "state") -> None:
    """Two nested tables are equal, tensors bit for bit, all but the seconds that training took."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a.keys() - {"seconds"}:
            assert_same(a[key], b[key], f"{where} {key}")
    elif isinstance(a, list | tuple):
        for number, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where} {number}")
    else:
        assert a == b, where


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any], Path]:
    """The states of one training in its middle and at its end, and its folder."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("halves")
    train(folder, *STEPS)
    middle = load_state(folder / f"{STATE_FILE}.previous")
    assert middle is not None
    assert (middle["counters"]["step"], state_of(folder)["counters"]["step"]) == (4, 8)
    return middle, state_of(folder), folder


@pytest.fixture
def middle(halves: tuple[dict[str, Any], dict[str, Any], Path]) -> dict[str, Any]:
    return copy.deepcopy(halves[0])


@pytest.fixture
def end(halves: tuple[dict[str, Any], dict[str, Any], Path]) -> dict[str, Any]:
    return halves[1]


def resumed(folder: Path, state: dict[str, Any]) -> dict[str, Any]:
    """The state at the end of a training that goes on from `state`."""
    save_state(folder / STATE_FILE, state)
    train(folder, *STEPS)
    return state_of(folder)


def test_resumed_from_its_middle_it_ends_the_same(
    tmp_path: Path, middle: dict[str, Any], end: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert_same(resumed(tmp_path, middle), end)
    assert f"Resuming cat from step 4 of 8 in {tmp_path}" in capsys.readouterr().out


def test_the_whitening_is_kept_and_not_fitted_anew(tmp_path: Path, middle: dict[str, Any]) -> None:
    """Another machine rounds otherwise: a fit there would not be the whitening that the first half was trained with."""
    for tensor in middle["whitening"].values():
        tensor *= 1.001
    assert_same(resumed(tmp_path, middle)["whitening"], middle["whitening"])
    saved = load_weights(tmp_path / "weights.safetensors").whitening
    assert_same(vars(saved), middle["whitening"])


def test_a_run_of_other_settings_is_refused_by_the_first_difference(
    halves: tuple[Any, Any, Path], tmp_path: Path, middle: dict[str, Any]
) -> None:
    for change, message in (
        (["--learning-rate", "0.5"], r"holds a run with train learning_rate = 0\.001, this command says 0\.5"),
        (["--category", "bus"], "train category = 'cat', this command says 'bus'"),
        (["--width", "64"], "start model width = 32, this command says 64"),
    ):
        with pytest.raises(ValueError, match=message):
            train(halves[2], *STEPS, *change)
    middle["identity"]["data"]["train_drawings"]["cat"] = 7
    with pytest.raises(ValueError, match="data train_drawings cat = 7, this command says"):
        resumed(tmp_path, middle)
    del middle["counters"]
    with pytest.raises(ValueError, match=rf"{STATE_FILE}.* lacks 'counters'"):
        resumed(tmp_path, middle)


# ------------------------------------------------------------------ numbers that are not finite


@contextmanager
def nan_at(*steps: int) -> Iterator[None]:
    """Within it, the gradients of the given updates are NaN, while their losses are finite."""
    original = Run._add_up_gradients

    def spoiled(run: Run, batch: Any) -> torch.Tensor:
        both = original(run, batch)
        if run.step in steps:
            next(run.model.parameters()).grad.view(-1)[0] = float("nan")  # type: ignore[union-attr]
        return both

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "_add_up_gradients", spoiled)
        yield


def test_updates_that_are_not_finite_are_skipped_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with nan_at(2, 3, 5, 6):
        weights = train(tmp_path, *STEPS)
    state = state_of(tmp_path)
    assert state["counters"]["skipped"] == 4
    assert all(torch.isfinite(tensor).all() for tensor in state["model"].values())
    assert "(8 updates, 4 updates skipped as not finite)" in capsys.readouterr().out
    load_weights(weights)


def test_three_in_a_row_end_the_run_and_what_was_saved_is_untouched(tmp_path: Path, middle: dict[str, Any]) -> None:
    middle["counters"]["bad_steps"] = 1  # two before an interruption and one after it are three as well
    for steps, state in (((5, 6, 7), None), ((4, 5), middle)):
        if state:
            save_state(tmp_path / STATE_FILE, state)
        with nan_at(*steps), pytest.raises(RunFailed, match=r"in 3 updates in a row at step \d; .* --learning-rate"):
            train(tmp_path, *STEPS)
        assert (state_of(tmp_path)["counters"]["step"], state_of(tmp_path)["counters"]["skipped"]) == (4, 0)
    train(tmp_path, *STEPS)  # and from there it goes on


# ------------------------------------------------------------------ signals, kills, and two at once


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_last_update_and_it_ends_as_if_unbroken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], end: Any, number: int
) -> None:
    """Also where the signal was ignored by whoever started it, as by nohup; and what was there before is set again."""
    update = Run.update

    def signalled(self: Run, batch: Any) -> dict[str, float]:
        if self.step == 5:
            os.kill(os.getpid(), number)
        return update(self, batch)

    before = signal.signal(number, signal.SIG_IGN)
    try:
        monkeypatch.setattr(Run, "update", signalled)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, *STEPS)
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)
    assert state_of(tmp_path)["counters"]["step"] == 6
    assert f"saved step 6 in {tmp_path}; the same command goes on from there" in capsys.readouterr().out
    monkeypatch.undo()
    train(tmp_path, *STEPS)
    assert_same(state_of(tmp_path), end)


def test_a_second_signal_does_not_wait() -> None:
    with stop_signals() as arrived:
        os.kill(os.getpid(), signal.SIGINT)
        assert arrived == [signal.SIGINT]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_killed_at_any_moment_it_ends_bit_equal_with_an_unbroken_run(
    tmp_path: Path, started: Start, long_form: bool
) -> None:
    """The process kills itself right before an operation on files, with half of a file written."""
    kills = [14, 7]  # writing the second state; then, with the log mended, the weights
    if long_form:
        kills += [random.Random(n).randint(1, 40) for n in range(40)]
    arguments = [*TINY, "--category", "cat", "--steps", str(16 * len(kills)), "--validate-every", "4"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for number in kills:
        command = [sys.executable, "tests/killed_training.py", str(number), *arguments, "--out", str(broken)]
        process = started(command)
        process.communicate(timeout=400)
        assert process.returncode == -signal.SIGKILL
    for out in (whole, broken):
        train_diffusion.main([*arguments, "--out", str(out)])
    assert_same(state_of(whole), state_of(broken))
    assert rows(whole, "validation_loss") == rows(broken, "validation_loss")
    assert [row["step"] for row in rows(broken, "step")] == [row["step"] for row in rows(whole, "step")]
    assert list(broken.glob(".*")) == []  # what killed writers left is gone


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    message = rf"{tmp_path}: in use by pid {os.getpid()}; wait for it, or choose another --out"
    with locked_folder(tmp_path), pytest.raises(BlockingIOError, match=message):
        train(tmp_path, *STEPS)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_ends_the_run_with_the_space_needed_and_keeps_what_was_saved(
    tmp_path: Path, middle: dict[str, Any]
) -> None:
    save_state(tmp_path / STATE_FILE, middle)
    size = (tmp_path / STATE_FILE).stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
    try:
        with pytest.raises(OSError, match=rf"\({size / 1e6:.1f} MB needed, [\d.]+ MB free\); .* kept: .*{STATE_FILE}"):
            train(tmp_path, *STEPS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.glob(".*")) == []
    assert_same(state_of(tmp_path), middle)
    train(tmp_path, *STEPS)
    assert (tmp_path / STATE_FILE).stat().st_size == size
