"""Laws of refinement: what pulls a student towards people's drawings, and what of it stays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

import sample_diffusion
from diffusion_model import TrainedModel, load_weights, save_weights
from drawings.ink import SIDE, fitted, ink_pictures
from plumbing.files import sha256_of
from rendering import feature_rasters
from studies import refine

STUDENT = {
    "sampling": {"sampler": "ddim", "steps": [4, 2], "guidance": 1.0, "guide": None},
    "note": "a student",
    "recorded": {},
    "start": {"init_sha256": "its teacher's"},
}


pytestmark = pytest.mark.usefixtures("one_thread", "few_pictures")


@pytest.fixture
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer looks at people's drawings, and fewer drawings that validate: it is quick."""
    monkeypatch.setattr(refine, "SEEN_PICTURES", 100)
    monkeypatch.setattr(refine, "HELD_OUT", 32)


@pytest.fixture
def student(tiny_model: TrainedModel) -> TrainedModel:
    return replace(tiny_model, conditions=STUDENT)


def test_ink_looks_as_the_feature_raster_does() -> None:
    square = np.array([[20, 30], [200, 30], [200, 150], [20, 150], [20, 30]], dtype=float)
    circle = (80, 90) + 50 * np.stack([np.cos(t := np.linspace(0, 2 * np.pi, 5)), np.sin(t)], 1)  # left of the middle
    drawings = [[square, circle], [circle]]
    points = torch.tensor(np.stack([square, circle, circle]), dtype=torch.float32)
    owner = torch.tensor([0, 0, 1])
    ink = ink_pictures(fitted(points, owner, 2), owner, 2)
    exact = 1 - torch.from_numpy(np.stack(feature_rasters(drawings))).float() / 255
    assert ink.shape == exact.shape
    assert (ink - exact).abs().mean() < 0.02
    for ours, theirs in zip(ink, exact, strict=True):
        assert torch.corrcoef(torch.stack([ours.flatten(), theirs.flatten()]))[0, 1] > 0.9
        assert float(ours.sum()) == pytest.approx(float(theirs.sum()), rel=0.25)  # PIL's slanting lines are the thicker


def test_ink_says_where_a_stroke_must_move() -> None:
    owner, wanted = torch.tensor([0]), torch.tensor([[[20.0, 10.3], [20.0, 50.0]]])
    target = ink_pictures(wanted, owner, 1)
    for offset in (0.4, -0.4):
        points = (wanted + torch.tensor([offset, 0.0])).requires_grad_()
        (ink_pictures(points, owner, 1) - target).square().sum().backward()
        gradient = points.grad
        assert gradient is not None
        assert (gradient[0, :, 0] * offset > 0).all()
    dot = ink_pictures(torch.full((1, 8, 2), SIDE / 2), owner, 1)
    assert 0 < float(dot.sum()) < 4


def test_the_distance_is_none_between_like_drawings_and_its_gradient_leads_to_them() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.full((600,), 3)
    view = refine.View.of(torch.randn(600, 3, 5, generator=generator), lengths)

    def drawn(shift: float, spread: float) -> Tensor:
        return shift + spread * torch.randn(600, 3, 5, generator=generator)

    assert abs(float(view.distance(drawn(0.0, 1.0), lengths))) < 0.01
    assert float(view.distance(drawn(1.0, 1.0), lengths)) > 0.1
    # too far apart and too near together: on average it pulls to the middle, and pushes from it
    for spread, sign in ((2.0, 1), (0.5, -1), (1.0, 0)):
        features = drawn(0.0, spread).requires_grad_()
        refine_generator = torch.Generator().manual_seed(1)
        for _ in range(2):  # the second time there is something to remember
            (gradient,) = torch.autograd.grad(view.distance(features, lengths, refine_generator), features)
        view.drawn.clear()
        size = features.detach()
        outwards = 1e4 * float((gradient * size).sum(-1).mean() / size.square().sum(-1).mean().sqrt())
        assert (outwards > 0.5, outwards < -0.5) == (sign > 0, sign < 0), outwards


def test_a_stroke_that_is_drawn_again_from_its_noise_is_the_same(student: TrainedModel) -> None:
    tokens, noise = refine.drawn_with_noise(student, "cat", 12, seed=3)
    lengths = [len(own) for own in tokens]
    assert lengths == sorted(lengths)
    assert lengths[-1] > 2
    history, begin = (pad_sequence(parts, batch_first=True) for parts in (tokens, noise))
    with torch.no_grad():
        context = student.model.context(history, torch.zeros(len(history), dtype=torch.long))[:, :-1]
        again = refine.drawn_again(student.model, begin, context, student.steps)
    for own, first in zip(again, tokens, strict=True):
        torch.testing.assert_close(own[: len(first)], first, atol=2e-3, rtol=1e-3)


def test_the_gradient_goes_through_the_answers_of_later_strokes(
    student: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, kind, steps = student.model, torch.zeros(3, dtype=torch.long), student.steps
    generator = torch.Generator().manual_seed(0)
    noise, wanted = (torch.randn(3, 4, model.token_dim, generator=generator) for _ in range(2))

    def followed(most: float, times: int) -> Tensor:
        begin = noise.clone().requires_grad_()
        strokes = torch.zeros(3, 0, model.token_dim)
        for k in range(noise.shape[1]):  # one after another, with all gradients
            drawn = refine.drawn_again(model, begin[:, : k + 1], model.context(strokes, kind), steps)
            strokes = torch.cat([strokes, drawn[:, k:]], 1)
        if times < 0:
            return torch.autograd.grad((strokes * wanted).sum(), begin)[0]
        histories = strokes.detach().requires_grad_()
        again = refine.drawn_again(model, begin, model.context(histories, kind)[:, :-1], steps)
        monkeypatch.setattr(refine, "MOST_ANSWERED", most)
        pull = refine.through_answers(histories, again, wanted, times)
        return torch.autograd.grad((again * pull).sum(), begin)[0]

    exact = followed(0, -1)
    torch.testing.assert_close(followed(1e6, 8), exact, atol=1e-5, rtol=1e-4)
    last, none = followed(1e6, 1), followed(1e6, 0)
    torch.testing.assert_close(last[:, 2:], exact[:, 2:], atol=1e-5, rtol=1e-4)  # what comes next, and no further
    for less in (last, none, followed(0.1, 8)):
        assert (less - exact)[:, 0].abs().max() > 1e-3


def test_a_step_down_the_gradient_comes_as_much_nearer_as_it_says(
    student: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = tmp_path / "student.safetensors"
    save_weights(start, student, torch.float32)
    words = ["--category", "cat", "--checkpoint", str(start), "--data-dir", "embedded", "--answers", "32",
             "--out", str(tmp_path / "run")]  # fmt: skip
    monkeypatch.setattr(refine, "go_on", lambda run: None)
    monkeypatch.setattr(refine, "OUTLIER", 1e6)
    monkeypatch.setattr(refine, "MOST_ANSWERED", 1e6)
    run = refine.prepared(refine.build_parser().parse_args(words), start, tmp_path / "run", "cat")
    learned = [part for part in run.model.parameters() if part.requires_grad]

    def distance() -> Tensor:
        for view in run.views.values():
            view.drawn.clear()
        return run.losses(run.data.train.batch(np.arange(1)), torch.Generator().manual_seed(5))[0]

    before = distance()
    gradients = torch.autograd.grad(before, learned)
    size = sum(float(part.square().sum()) for part in gradients)
    expected = 1e-3 * before.item()
    with torch.no_grad():
        for part, gradient in zip(learned, gradients, strict=True):
            part -= expected / size * gradient
    assert (before - distance()).item() == pytest.approx(expected, rel=0.1)


def test_a_refined_student_is_a_student_that_reads_as_before(student: TrainedModel, tmp_path: Path) -> None:
    start = tmp_path / "student.safetensors"
    save_weights(start, student, torch.int8)
    words = ["--category", "kedi", "--checkpoint", str(start), "--data-dir", "embedded", "--steps", "4",
             "--warmup", "1", "--validate-every", "2", "--ema-decay", "0.1"]  # fmt: skip
    first, second = (refine.main([*words, "--out", str(tmp_path / name)]) for name in "ab")
    assert first.read_bytes()[-1000:] == second.read_bytes()[-1000:]
    ours, theirs = load_weights(first), load_weights(start)
    after, before = ours.model.state_dict(), theirs.model.state_dict()
    learned = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert learned == {"read_noisy", "denoiser", "time_hidden", "time_modulation", "context_modulation", "write_noise"}
    assert ours.conditions["start"]["init_sha256"] == sha256_of(start)
    assert (ours.sampler, ours.steps, ours.guidance) == ("ddim", (4, 2), 1.0)
    assert (ours.conditions["lineage"][-1]["note"], ours.teacher_sha256) == ("a student", "its teacher's")
    rows = [json.loads(line) for line in (first.parent / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "validation_distance" in row] == [2, 4]
    drawn = ["--category", "cat", "--checkpoint", str(first), "--n", "2", "--out", str(tmp_path / "drawn")]
    assert len(sample_diffusion.main(drawn).drawings) == 2


def test_what_is_no_student_is_told_to_become_one(tiny_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no student: it draws by dpm-solver\+\+ with guidance 1; distil it first"):
        refine.main(["--category", "cat", "--checkpoint", str(tiny_weights), "--data-dir", "embedded",
                     "--out", str(tmp_path / "run")])  # fmt: skip
