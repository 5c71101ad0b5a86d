"""End to end through the command lines: train, be killed, resume, fine-tune, sample, continue; bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import DATA_DIR, wait_until

import sample_diffusion
import train_diffusion
import training
from checkpoint import load_state
from config import ModelConfig, RunFailed, TrainConfig
from diffusion_model import load_weights
from diffusion_process import cosine_alpha_bar
from drawings.batches import Batch, DataChoice, StrokeSet, load_training_data

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


def test_training_lowers_the_loss_and_writes_what_it_says(weights: Path) -> None:
    rows = [json.loads(line) for line in (weights.parent / "metrics.jsonl").read_text().splitlines()]
    losses = [row["validation_loss"] for row in rows if "validation_loss" in row]
    assert losses[-1] < 0.98 * losses[0]
    assert (weights.parent / "samples_0000060.png").stat().st_size > 1000
    trained = load_weights(weights)
    assert trained.conditions["trained_on"] == ["cat"]
    assert trained.conditions["data"] == ["embedded"]
    assert trained.conditions["split"] == ["local"]
    assert trained.conditions["train"]["steps"] == 60


def test_no_held_out_drawing_is_in_any_training() -> None:
    """The shipped recipe's data: no stroke sequence of a held-out drawing is among those that train."""
    names = "cat,bus" if DATA_DIR == "embedded" else "cat,bus,rabbit,car"
    config = TrainConfig(category=names, companions="rabbit" if DATA_DIR == "embedded" else "van,school bus,tiger")
    data = load_training_data(config, ModelConfig(max_strokes=256), DataChoice(DATA_DIR), ())

    def contents(strokes: StrokeSet) -> set[bytes]:
        return {
            b"".join(len(stroke).to_bytes(4, "little") + stroke.tobytes() for stroke in packed.drawing(row))
            for packed, rows in zip(strokes.drawings, strokes.rows, strict=True)
            for row in rows
        }

    held_out = contents(data.held_out)
    assert len(held_out) > 50
    assert not held_out & contents(data.train)


def test_shipped_models_and_their_ancestors_held_the_same_drawings_out() -> None:
    for path in sorted((ROOT / "checkpoints").glob("*.safetensors")):
        if path.stem in sample_diffusion.NOT_CATEGORIES and path.stem != "base":
            continue
        conditions = load_weights(path).conditions
        for stage in [*conditions["lineage"], conditions]:
            assert stage["split"] == ["local"], (path.name, stage["split"])


def test_padding_never_reaches_the_loss(weights: Path) -> None:
    from drawings.batches import Batch

    trained, config = load_weights(weights), TrainConfig(category_dropout=0.0)
    vectors, lengths = torch.randn(3, 5, 16), torch.tensor([5, 2, 3])
    spoiled = vectors.clone()
    spoiled[1, 2:] = 77.0
    results = []
    for content in (vectors, spoiled):
        batch = Batch(content, lengths, torch.zeros(3, dtype=torch.long), torch.zeros(3, 4))
        generator = torch.Generator().manual_seed(0)
        both = training.losses(trained.model, trained.whitening, batch, cosine_alpha_bar(), config, generator)
        results.append(torch.stack(both))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("interrupted_at", [13, 15])  # between two validations, and at one
def test_interrupted_training_ends_bit_equal_with_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted_at: int
) -> None:
    arguments = ["--steps", "20", "--validate-every", "5"]
    train(tmp_path / "whole", *arguments)
    update, calls = training.Run.update, 0

    def interrupted(self: training.Run, batch: object) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == interrupted_at:
            os.kill(os.getpid(), signal.SIGINT)
        return update(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(training.Run, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", *arguments)
    monkeypatch.setattr(training.Run, "update", update)
    state = load_state(tmp_path / "broken" / "training_state.pt")
    assert state is not None
    assert state["counters"]["step"] == interrupted_at
    train(tmp_path / "broken", *arguments)
    a, b = (load_state(tmp_path / name / "training_state.pt") for name in ("whole", "broken"))
    assert a is not None
    assert b is not None
    for part in ("model", "ema"):
        for name in a[part]:
            assert torch.equal(a[part][name], b[part][name]), f"{part} {name}"
    for group_a, group_b in zip(a["optimizer"]["state"].values(), b["optimizer"]["state"].values(), strict=True):
        assert all(torch.equal(group_a[key], group_b[key]) for key in group_a)
    whole, broken = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "broken")
    )
    assert [r["validation_loss"] for r in whole if "validation_loss" in r] == [
        r["validation_loss"] for r in broken if "validation_loss" in r
    ]


def test_killed_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    state = tmp_path / "run" / "training_state.pt"
    command = [sys.executable, "train_diffusion.py", *TINY, "--category", "cat", "--out", str(tmp_path / "run")]
    command += ["--steps", "100000", "--validate-every", "5"]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    first = start()
    wait_until(state.with_name("training_state.pt.previous.sha256").exists, first)
    first.kill()
    first.communicate()
    saved = state.stat().st_mtime_ns
    second = start()
    wait_until(lambda: state.exists() and state.stat().st_mtime_ns != saved, second)
    second.send_signal(signal.SIGTERM)
    out, _ = second.communicate(timeout=120)
    assert "Resuming cat from step" in out
    assert "the same command goes on" in out
    assert second.returncode == 143


def test_state_of_another_run_is_refused_by_the_first_difference(tmp_path: Path) -> None:
    train(tmp_path, "--steps", "4", "--validate-every", "2")
    with pytest.raises(ValueError, match=r"holds a run with train learning_rate = 0\.001, this command says 0\.5"):
        train(tmp_path, "--steps", "4", "--validate-every", "2", "--learning-rate", "0.5")


def test_loss_that_is_not_finite_stops_after_three_and_keeps_the_last_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, calls = training.losses, 0

    def diverging(*arguments: object) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal calls
        calls += 1
        diffusion, stop = losses(*arguments)  # type: ignore[arg-type]
        return (diffusion * float("nan"), stop) if calls > 6 else (diffusion, stop)

    monkeypatch.setattr(training, "losses", diverging)
    with pytest.raises(RunFailed, match="not finite in 3 updates in a row"):
        train(tmp_path, "--steps", "90", "--validate-every", "4")
    state = load_state(tmp_path / "training_state.pt")
    assert state is not None
    assert state["counters"]["step"] == 4
    assert all(torch.isfinite(tensor).all() for tensor in state["model"].values())


def test_first_strokes_get_their_further_noise_levels(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of drawings of 1 to 5 strokes every real one is denoised as often as said, the first ones more often."""
    trained = load_weights(weights)
    seen = []
    denoise_all = trained.model.denoise_all

    def watched(x_t: torch.Tensor, t: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(x_t.shape))
        return denoise_all(x_t, t, context)

    monkeypatch.setattr(trained.model, "denoise_all", watched)
    batch = Batch(torch.randn(3, 5, 16), torch.tensor([5, 2, 1]), torch.zeros(3, dtype=torch.long), torch.zeros(3, 4))
    plain, more = (
        training.losses(trained.model, trained.whitening, batch, cosine_alpha_bar(),
                        TrainConfig(noise_draws=2, first_stroke_draws=draws), torch.Generator().manual_seed(0))
        for draws in (0, 7)
    )  # fmt: skip
    assert seen == [(3, 5, 2, 16), (3, 5, 2, 16), (3, 1, 7, 16)]
    assert plain[0] != more[0]
    assert plain[1] == more[1]


def test_seed_reaches_the_noise_of_training(weights: Path, tmp_path: Path) -> None:
    rows = []
    for seed in ("0", "1"):
        arguments = ["--category", "cat", "--steps", "3", "--seed", seed, "--init", str(weights)]
        train_diffusion.main([*RUN, *arguments, "--out", str(tmp_path / seed)])
        rows.append(json.loads((tmp_path / seed / "metrics.jsonl").read_text().splitlines()[0])["loss"])
    assert rows[0] != rows[1]


def test_many_categories_then_one_with_companions(tmp_path: Path) -> None:
    base = train_diffusion.main([*TINY, "--category", "all", "--out", str(tmp_path / "base"), "--steps", "6"])
    assert load_weights(base).categories == ("bus", "cat", "rabbit")
    tuned = train_diffusion.main(
        [*RUN, "--category", "tavşan", "--companions", "cat", "--init", str(base), "--out", str(tmp_path / "r"),
         "--steps", "6"]
    )  # fmt: skip
    conditions = load_weights(tuned).conditions
    assert conditions["trained_on"] == ["rabbit"]
    assert conditions["companion_drawings"] > 0
    assert len(conditions["start"]["init_sha256"]) == 64


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        (
            "train_diffusion.py",
            ["--category", "kat", "--data-dir", "embedded"],
            "unknown category 'kat'; did you mean 'cat'",
        ),
        ("train_diffusion.py", ["--category", "../x", "--data-dir", "embedded"], "unknown category '../x'"),
        ("train_diffusion.py", ["--steps", "0"], "--steps is 0, must lie in 1"),
        ("train_diffusion.py", ["--learning-rate", "nan"], "--learning-rate is nan"),
        ("train_diffusion.py", ["--steps", "many"], "--steps: invalid int value: 'many'"),
        ("train_diffusion.py", ["--data-dir", "/nowhere"], "/nowhere"),
        (
            "train_diffusion.py",
            ["--init", "nothing.safetensors", "--data-dir", "embedded"],
            "nothing.safetensors: no such",
        ),
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
