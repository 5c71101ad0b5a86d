"""Laws of distillation: what is recorded is the guided teacher's way, and a student is a checkpoint like others."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from test_train_diffusion import assert_same

import sample_diffusion
from diffusion_model import TrainedModel, load_weights, save_weights
from diffusion_process import cosine_alpha_bar, diffuse, sampler_steps, v_from_x0_eps
from drawings.batches import Batch
from plumbing.files import sha256_of
from plumbing.run_folder import STATE_FILE, load_state
from plumbing.tensor_files import read_header
from sample_diffusion import Predictor, guided_denoiser, weaker_network
from studies import distill

T = 1000
TINY = "--data-dir embedded --drawings 64 --batch-strokes 128 --warmup 2 --ema-decay 0.5 --sample-every 0".split()  # noqa: SIM905


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def teacher(tiny_model: TrainedModel, tmp_path: Path) -> Path:
    """The little model, guided away from no category."""
    conditions = {"sampling": {"guidance": 2.0}, "note": "untrained"}
    save_weights(tmp_path / "teacher.safetensors", replace(tiny_model, conditions=conditions), torch.float32)
    return tmp_path / "teacher.safetensors"


def run(teacher: Path, name: str, *more: str) -> Path:
    words = ["--checkpoint", str(teacher), "--category", "kedi", "--out", str(teacher.parent / name), *TINY, *more]
    return distill.main(words)


def test_a_step_turns_a_stroke_and_the_target_is_the_velocity_that_does() -> None:
    alpha_bar, generator = cosine_alpha_bar(T), torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 5, 64, generator=generator)
    for t, after in ((999, 749), (749, 499), (499, 249), (249, -1), (999, 499)):
        time = torch.full((5,), t)
        x_t, v = diffuse(x0, eps, time, alpha_bar), v_from_x0_eps(x0, eps, time, alpha_bar)
        x_after = diffuse(x0, eps, torch.full((5,), after), alpha_bar) if after >= 0 else x0
        delta = distill.angle_between(t, after, T)
        torch.testing.assert_close(distill.step(x_t, v, delta), x_after, atol=1e-5, rtol=0)
        torch.testing.assert_close(distill.target_velocity(x_t, x_after, delta), v, atol=1e-5, rtol=0)
        assert math.cos(distill.angle_between(t, -1, T)) ** 2 == pytest.approx(float(alpha_bar[t]), abs=1e-12)


def test_what_is_recorded_is_the_way_of_the_guided_teacher_stroke_after_stroke(tiny_model: TrainedModel) -> None:
    trained = replace(tiny_model, conditions={"sampling": {"guidance": 2.0}})
    history = torch.randn(3, 4, trained.model.token_dim)
    kept = distill.kept_times((4, 2), T)
    assert kept == [999, 749, 499, 249]
    ways = distill.ways_of(trained, "cat", history, kept, torch.Generator().manual_seed(1))
    alpha_bar = cosine_alpha_bar(T)
    for k in range(4):
        predictor = Predictor.begin(trained.model, 0, history[:, :k])
        weaker = Predictor.begin(*weaker_network(trained, "cat"), history[:, :k])
        denoise = guided_denoiser(predictor, weaker, 2.0)
        begin = partial(ways.__getitem__, (slice(None), k, 0))
        with torch.inference_mode():
            states = [x for x, _ in sampler_steps("dpm-solver++", denoise, begin, alpha_bar, 20)]
        for place, taken in ((1, 5), (2, 10), (3, 15), (4, 20)):
            torch.testing.assert_close(ways[:, k, place], states[taken - 1], atol=1e-4, rtol=1e-4)


def test_more_first_strokes_are_recorded_where_they_are_asked_for(
    teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distill, "FIRST_SHARD", 16)
    weights = run(teacher, "first", "--steps", "1", "--first-strokes", "17")
    shards = [read_header(path, "recording").tensors() for path in sorted(weights.parent.glob("recorded/cat-first-*"))]
    assert [shard["lengths"].tolist() for shard in shards] == [[1.0] * 16] * 2
    assert not torch.equal(shards[0]["tokens"], shards[1]["tokens"])
    # after no history they are what ``ways_of`` draws, one way each: noise, three states, stroke behind the token
    assert shards[0]["tokens"].shape == (16, 6, load_weights(teacher).model.token_dim)
    recorded = load_weights(weights).conditions["recorded"]
    histories = [read_header(path, "recording").tensors() for path in weights.parent.glob("recorded/cat-train-*")]
    strokes = sum(int(shard["lengths"].sum()) for shard in histories)
    assert (recorded["first_strokes"], recorded["strokes"]) == (17, strokes + 32)


def test_steps_by_stroke_count_each_stroke_at_its_own(tiny_model: TrainedModel) -> None:
    dim, generator = tiny_model.model.token_dim, torch.Generator().manual_seed(0)
    own, weight = torch.tensor([True, False]), torch.ones(dim)

    def losses(steps: tuple[int, ...], vectors: torch.Tensor, lengths: list[int]) -> list[float]:
        batch = Batch(vectors, torch.tensor(lengths), torch.zeros(2, dtype=torch.long), torch.zeros(2, 4))
        with torch.no_grad():
            both = distill.distillation_losses(tiny_model.model, batch, steps, own, weight)
        return [float(part) for part in both]

    way = torch.randn(2, 5, 4 * dim, generator=generator)  # token, two times, stroke
    plain = losses((2,), way, [5, 3])
    assert losses((2, 2), way, [5, 3]) == pytest.approx(plain, rel=1e-5)
    changed = way.clone()
    changed[1, 3:] = 7.0  # padding
    assert losses((2,), changed, [5, 3]) == pytest.approx(plain, rel=1e-5)
    assert losses((1,), way[..., [*range(2 * dim), *range(3 * dim, 4 * dim)]], [5, 3]) != pytest.approx(plain, rel=1e-3)


def test_a_student_nears_its_teacher_and_is_drawn_with_as_its_header_says(teacher: Path) -> None:
    weights = run(teacher, "a", "--steps", "30", "--validate-every", "15", "--learning-rate", "3e-3")
    rows = [json.loads(line) for line in (weights.parent / "metrics.jsonl").read_text().splitlines()]
    first, last = (row["validation_distance"] for row in rows if "validation_distance" in row)
    assert last < 0.95 * first
    save_weights(teacher.with_name("stored-alike"), load_weights(teacher), distill.Distillation.STORED)
    student, before = load_weights(weights), load_weights(teacher.with_name("stored-alike"))
    ours, theirs = student.model.state_dict(), before.model.state_dict()
    same = {name: torch.equal(tensor, theirs[name]) for name, tensor in ours.items()}
    learned = {name.split(".")[0] for name in ours if not same[name]}
    assert learned == {"read_noisy", "denoiser", "time_hidden", "time_modulation", "context_modulation", "write_noise"}
    conditions = student.conditions
    assert conditions["start"]["init_sha256"] == sha256_of(teacher)
    assert (conditions["recorded"]["guidance"], conditions["lineage"][-1]["note"]) == (2.0, "untrained")
    drawn = ["--category", "cat", "--checkpoint", str(weights), "--n", "3", "--out", str(teacher.parent / "drawn")]
    made = sample_diffusion.main(drawn).conditions
    assert (made["sampler"], made["steps"], made["guidance"], made["evaluations_per_stroke"]) == ("ddim", 4, 1.0, 4)


def test_interrupted_it_ends_the_same_to_the_last_bit_and_another_recording_is_refused(
    teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("--steps", "4", "--validate-every", "2", "--student-steps", "4,2")
    run(teacher, "whole", *more)
    update, shard = distill.Distillation.update, teacher.parent / "parts/recorded/cat-train-0000.safetensors"

    def interrupted(self: Any, batch: Batch) -> dict[str, float]:
        if self.step == 2:
            raise KeyboardInterrupt
        return update(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(distill.Distillation, "update", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(teacher, "parts", *more)
    shard.unlink()
    run(teacher, "parts", *more)
    states = [load_state(teacher.parent / name / STATE_FILE) for name in ("whole", "parts")]
    assert_same(*states)
    whole = teacher.parent / "whole/recorded" / shard.name
    assert whole.read_bytes() == shard.read_bytes()
    with pytest.raises(ValueError, match="is of another recording"):
        run(teacher, "parts", "--real-share", "0.9", *more)
    with pytest.raises(ValueError, match="names 3, which must divide"):
        run(teacher, "other", "--student-steps", "3")
