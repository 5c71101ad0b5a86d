"""Laws of sampling: guidance, first noise, steps, stopping, seen by predictors and networks whose strokes are known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import TINY
from torch import Tensor

from config import SampleConfig
from diffusion_model import HistoryState, StrokeDiffusionModel, TrainedModel
from diffusion_process import cosine_alpha_bar, sampler_steps, snr, trailing_timesteps
from sample_diffusion import StrokeRandomness, as_tuned, generate_drawings, guided_denoiser, official_form, sample
from stroke_tokens import Whitening, points_to_vectors, resample_strokes, vectors_to_points

ALPHA_BAR = cosine_alpha_bar()
DIM = 2 * TINY.num_points
GENERATOR = torch.Generator().manual_seed(0)
OURS, THEIRS = torch.randn(2, TINY.max_strokes, DIM, generator=GENERATOR)
WHITENING = Whitening(
    0.1 * torch.randn(DIM, generator=GENERATOR), torch.linalg.qr(torch.randn(DIM, DIM, generator=GENERATOR))[0],
    torch.linspace(0.4, 0.05, DIM),
)  # fmt: skip


class Oracle(StrokeDiffusionModel):
    """A network of which the k-th stroke is always `strokes[k]`, so that its v is exact; it remembers what is asked."""

    def __init__(self, strokes: Tensor, ends: float = 0.5) -> None:
        super().__init__(TINY, num_categories=2)
        torch.nn.init.normal_(self.stop.weight)  # so that a logit depends on the history
        self.strokes, self.ends = strokes, ends
        self.kinds: list[Tensor] = []
        self.given: list[Tensor | None] = []
        self.noisy: list[tuple[int, int, Tensor]] = []
        self.remembered: list[Tensor] = []
        self.decided: list[Tensor] = []

    def start(self, category: Tensor, prefix: Tensor | None = None) -> HistoryState:
        self.kinds.append(category)
        self.given.append(prefix)
        return super().start(category, prefix)

    def append(self, state: HistoryState, token: Tensor, category: Tensor) -> HistoryState:
        self.remembered.append(token)
        return super().append(state, token, category)

    def stop_logits(self, context: Tensor) -> Tensor:
        self.decided.append(context)
        return torch.full(context.shape[:-1], math.log(self.ends / (1 - self.ends)) if self.ends < 1 else math.inf)

    def time_modulation_at(self, t: int) -> Tensor:
        return torch.tensor(t)

    def denoise(self, x_t: Tensor, time_modulation: Tensor, state: HistoryState) -> Tensor:
        number, t = len(state.history[0][0]) - 1, int(time_modulation)
        self.noisy.append((number, t, x_t))
        signal, noise = ALPHA_BAR[t].sqrt(), (1 - ALPHA_BAR[t]).sqrt()
        return ((signal * x_t - self.strokes[number]) / noise).float()


def model_of(oracle: Oracle, guide: Oracle | None = None, categories: Sequence[str] = ("cat", "bus")) -> TrainedModel:
    weaker = TrainedModel(guide.eval(), WHITENING, ("bus", "cat"), {}) if guide else None
    return TrainedModel(oracle.eval(), WHITENING, tuple(categories), {}, weaker)


def drawn(trained: TrainedModel, count: int = 4, **settings) -> list[list[np.ndarray]]:
    return generate_drawings(trained, "cat", range(count), **{"seed": 3, "steps": 4} | settings).drawings


# ---- guidance


class Stub:
    """A predictor that says one thing, whatever it is asked."""

    def __init__(self, says: float) -> None:
        self.says, self.asked = says, []

    def v(self, x_t: Tensor, t: int) -> Tensor:
        self.asked.append((x_t, t))
        return torch.full_like(x_t, self.says)


@pytest.mark.parametrize(("guidance", "expected"), [(0.0, 2.0), (1.0, 7.0), (2.0, 12.0), (3.5, 19.5)])
def test_guidance_leads_from_the_weaker_prediction_through_the_other_and_beyond(
    guidance: float, expected: float
) -> None:
    predictor, weaker = Stub(7.0), Stub(2.0)
    x_t = torch.randn(3, DIM)
    assert guided_denoiser(predictor, weaker, guidance)(x_t, 321).unique().tolist() == [expected]  # type: ignore
    for each in (predictor, weaker):
        assert len(each.asked) == 1
        assert each.asked[0][0] is x_t
        assert each.asked[0][1] == 321


def test_without_a_weaker_predictor_there_is_no_guidance() -> None:
    assert guided_denoiser(Stub(7.0), None, 3.0)(torch.zeros(2, 2), 5).unique().tolist() == [7.0]  # type: ignore


@pytest.mark.parametrize("sampler", ["dpm-solver++", "ddim"])
@pytest.mark.parametrize("guidance", [1.0, 0.0, 2.0, 3.5])
def test_what_is_drawn_is_the_models_stroke_and_guided_lies_beyond_it_seen_from_the_guide(
    sampler: str, guidance: float
) -> None:
    drawings = drawn(model_of(Oracle(OURS), Oracle(THEIRS)), sampler=sampler, guidance=guidance)
    expected = vectors_to_points(WHITENING.decode(THEIRS + guidance * (OURS - THEIRS)))
    assert max(map(len, drawings)) > 1
    for drawing in drawings:
        np.testing.assert_allclose(np.stack(drawing), expected[: len(drawing)], atol=0.05)


def test_guidance_1_is_off_and_asks_nobody() -> None:
    oracle, guide = Oracle(OURS), Oracle(THEIRS)
    drawn(model_of(oracle, guide), guidance=1.0)
    assert (guide.kinds, guide.noisy, guide.remembered) == ([], [], [])
    drawn(model_of(Oracle(OURS), guide), guidance=2.0)
    assert len(guide.noisy) > 0


def test_each_network_is_asked_for_its_own_number_of_the_category_and_without_a_guide_for_none() -> None:
    oracle, guide = Oracle(OURS), Oracle(THEIRS)
    drawn(model_of(oracle, guide), guidance=2.0)
    assert [kind.unique().tolist() for kind in (*oracle.kinds, *guide.kinds)] == [[0], [1]]
    alone = Oracle(OURS)
    drawn(model_of(alone), guidance=2.0)
    assert [kind.unique().tolist() for kind in alone.kinds] == [[0], [2]]


def test_model_and_guide_see_the_same_noisy_strokes_and_remember_the_same_drawn_ones() -> None:
    oracle, guide = Oracle(OURS), Oracle(THEIRS)
    drawn(model_of(oracle, guide), guidance=2.0)
    assert len(oracle.noisy) == len(guide.noisy)
    for (number, t, x_t), (other_number, other_t, other) in zip(oracle.noisy, guide.noisy, strict=True):
        assert (number, t) == (other_number, other_t)
        assert torch.equal(x_t, other)
    for number, (token, other) in enumerate(zip(oracle.remembered, guide.remembered, strict=True)):
        assert torch.equal(token, other)
        wanted = (2 * OURS - THEIRS)[number].expand_as(token)
        torch.testing.assert_close(token, wanted, rtol=1e-3, atol=1e-3)


def test_the_strength_is_the_tuned_one_only_where_none_is_asked_for() -> None:
    tuned = replace(model_of(Oracle(OURS)), conditions={"sampling": {"guidance": 2.5}})
    assert as_tuned(SampleConfig(), tuned).guidance == 2.5
    assert as_tuned(SampleConfig(), model_of(Oracle(OURS))).guidance == 1.0
    for asked in (0.0, 1.0, 3.0):
        assert as_tuned(SampleConfig(guidance=asked), tuned).guidance == asked


def test_sampler_and_steps_are_the_tuned_ones_only_where_none_are_asked_for() -> None:
    sampling = {"guidance": 1.0, "sampler": "ddim", "steps": [4, 2]}
    tuned = replace(model_of(Oracle(OURS)), conditions={"sampling": sampling})
    found = [as_tuned(config, trained) for trained in (tuned, model_of(Oracle(OURS)))
             for config in (SampleConfig(), SampleConfig(sampler="ancestral", steps=7), SampleConfig(steps=(9, 3)))]
    assert [(config.sampler, config.steps) for config in found] == [
        ("ddim", (4, 2)), ("ancestral", 7), ("ddim", (9, 3)), ("dpm-solver++", 20), ("ancestral", 7),
        ("dpm-solver++", (9, 3))]  # fmt: skip


def test_each_stroke_takes_its_own_number_of_steps_and_those_of_one_number_are_as_before() -> None:
    oracle = Oracle(OURS, ends=0.01)
    drawn(model_of(oracle), 3, steps=(5, 3))
    taken = [sum(number == stroke for number, _, _ in oracle.noisy) for stroke in range(4)]
    assert taken == [5, 3, 3, 3]
    assert [stroke.tolist() for stroke in drawn(model_of(Oracle(OURS)), steps=(4, 4, 4))[0]] == [
        stroke.tolist() for stroke in drawn(model_of(Oracle(OURS)), steps=4)[0]]  # fmt: skip


def test_sampling_draws_as_its_settings_say(tiny_model: TrainedModel) -> None:
    config = SampleConfig(n=5, seed=9, sampler="ddim", steps=3, eta=0.7, guidance=1.5)
    wanted = generate_drawings(
        tiny_model, "bus", range(5), seed=9, sampler="ddim", steps=3, eta=0.7, guidance=1.5
    ).drawings
    for drawing, expected in zip(sample(tiny_model, "bus", config).drawings, wanted, strict=True):
        for stroke, points in zip(drawing, official_form(expected)[0], strict=True):
            np.testing.assert_array_equal(stroke, points)


# ---- noise and steps


def test_every_stroke_begins_as_standard_normal_noise_of_its_drawing_at_the_last_time() -> None:
    oracle = Oracle(OURS, ends=0.2)
    drawn(model_of(oracle), 200, steps=2)
    for stroke in range(3):
        t, x_t = next((t, x_t) for number, t, x_t in oracle.noisy if number == stroke)
        assert t == len(ALPHA_BAR) - 1
        assert x_t.mean().item() == pytest.approx(0, abs=0.08)
        assert x_t.std().item() == pytest.approx(1, abs=0.05)
        assert (x_t[1:] - x_t[:-1]).abs().max(dim=1).values.min() > 0.1


def test_every_seed_drawing_and_stroke_has_noise_of_its_own() -> None:
    seen = []
    for seed in (3, 4):
        oracle = Oracle(OURS, ends=1e-9)
        drawn(model_of(oracle), 2, seed=seed, steps=1)
        seen += [row for _, _, x_t in oracle.noisy[:3] for row in x_t]
    assert len(seen) == 2 * 3 * 2
    for a, b in itertools.combinations(seen, 2):
        assert (a - b).abs().max() > 0.1


@pytest.mark.parametrize("sampler", ["dpm-solver++", "ddim", "ancestral"])
def test_samplers_begin_with_the_noise_as_it_is(sampler: str) -> None:
    noise, asked = torch.randn(5, 3, dtype=torch.float64), []

    def denoise(x_t: Tensor, t: int) -> Tensor:
        asked.append((x_t, t))
        return torch.zeros_like(x_t)

    next(sampler_steps(sampler, denoise, lambda: noise, ALPHA_BAR, 5))
    assert torch.equal(asked[0][0], noise)
    assert asked[0][1] == len(ALPHA_BAR) - 1


@pytest.mark.parametrize(("sampler", "steps", "expected"), [("ddim", 5, 5), ("dpm-solver++", 7, 7)])
def test_a_stroke_takes_as_many_evaluations_as_steps_at_trailing_times(sampler: str, steps: int, expected: int) -> None:
    oracle = Oracle(OURS)
    drawn(model_of(oracle), sampler=sampler, steps=steps)
    by_stroke = itertools.groupby(oracle.noisy, key=lambda asked: asked[0])
    times = [[t for _, t, _ in asked] for _, asked in by_stroke]
    assert len(times) > 1
    for asked in times:
        assert len(asked) == expected
        assert asked == trailing_timesteps(steps, len(ALPHA_BAR))


def test_noise_on_the_way_is_added_only_where_eta_says() -> None:
    def taken(eta: float) -> int:
        calls = []

        def noise() -> Tensor:
            calls.append(1)
            return torch.randn(2, 2, dtype=torch.float64)

        list(sampler_steps("ddim", lambda x_t, t: torch.zeros_like(x_t), noise, ALPHA_BAR, 6, eta))
        return len(calls)

    assert (taken(0.0), taken(0.5)) == (1, 6)


def test_eta_and_sampler_reach_the_drawing(tiny_model: TrainedModel) -> None:
    settings = [{}, {"sampler": "ddim"}, {"sampler": "ddim", "eta": 1.0}]
    first = [drawn(tiny_model, 1, **setting)[0][0] for setting in settings]
    for a, b in itertools.combinations(first, 2):
        assert np.abs(a - b).max() > 0.05


def test_the_schedule_is_the_cosine_and_its_signal_to_noise_ratio() -> None:
    t = np.arange(1, 1001)
    expected = np.cos(np.pi / 2 * t / 1000) ** 2
    np.testing.assert_allclose(ALPHA_BAR.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(snr(ALPHA_BAR).numpy()[:-1], (expected / (1 - expected))[:-1], rtol=1e-9)
    assert trailing_timesteps(4, 1000) == [999, 749, 499, 249]


# ---- stopping


def length_by_rule(seed: int, index: int, ends: float) -> int:
    for k in range(1, TINY.max_strokes):
        if StrokeRandomness(seed, [index], k, DIM).uniform[0] < ends:
            return k
    return TINY.max_strokes


@pytest.mark.parametrize("ends", [0.1, 0.6])
def test_a_drawing_ends_after_a_stroke_with_the_probability_that_the_network_gives(ends: float) -> None:
    lengths = list(map(len, drawn(model_of(Oracle(OURS, ends)), 150, steps=1)))
    assert lengths == [length_by_rule(3, index, ends) for index in range(150)]
    assert np.mean(np.array(lengths) == 1) == pytest.approx(ends, abs=0.1)


@pytest.mark.parametrize(("ends", "guide_ends", "length"), [(1.0, 1e-9, 1), (1e-9, 1.0, TINY.max_strokes)])
def test_the_model_decides_when_a_drawing_ends_and_its_guide_does_not(
    ends: float, guide_ends: float, length: int
) -> None:
    trained = model_of(Oracle(OURS, ends), Oracle(THEIRS, guide_ends))
    assert [len(drawing) for drawing in drawn(trained, guidance=2.0)] == [length] * 4


def test_the_end_is_decided_once_after_each_stroke_by_all_strokes_so_far() -> None:
    oracle = Oracle(OURS, ends=1e-9)
    drawn(model_of(oracle, Oracle(THEIRS)), 2, guidance=2.0)
    assert len(oracle.decided) == TINY.max_strokes  # the last decision cannot go on
    tokens = torch.stack(oracle.remembered, dim=1)
    context = oracle.context(tokens, torch.zeros(2).long())
    torch.testing.assert_close(torch.stack(oracle.decided, dim=1), context[:, 1:], rtol=1e-4, atol=1e-4)


def test_given_strokes_are_the_history_of_model_and_guide_as_tokens() -> None:
    prefix = [[np.array([[0, 0], [255, 0], [255, 200]]), np.array([[10, 250], [20, 30]])]] * 2
    oracle, guide = Oracle(OURS), Oracle(THEIRS)
    drawings = drawn(model_of(oracle, guide), 2, guidance=2.0, prefix=prefix)
    points = resample_strokes(np.concatenate(prefix[0]), np.array([0, 3, 5]), TINY.num_points)
    for each in (oracle, guide):
        torch.testing.assert_close(each.given[0], WHITENING.encode(points_to_vectors(points)).expand(2, 2, DIM))
        assert each.noisy == [] or min(number for number, _, _ in each.noisy) == 2
    assert max(map(len, drawings)) > 2
    expected = vectors_to_points(WHITENING.decode(2 * OURS - THEIRS))
    for drawing in drawings:
        for number, stroke in enumerate(drawing[2:], start=2):
            np.testing.assert_allclose(stroke, expected[number], atol=0.05)


def test_drawings_that_have_ended_leave_the_others_as_they_are() -> None:
    together = drawn(model_of(Oracle(OURS, 0.4)), 12, steps=2)
    for index in (0, 5, 11):
        alone = generate_drawings(model_of(Oracle(OURS, 0.4)), "cat", [index], seed=3, steps=2).drawings[0]
        assert len(alone) == len(together[index])
        np.testing.assert_allclose(np.stack(alone), np.stack(together[index]), atol=0.05)
