"""Laws of what is trained: noise, targets and weights of a batch, seen by models that record, or know, the strokes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from config import TrainConfig
from diffusion_model import TrainedModel
from diffusion_process import cosine_alpha_bar, diffuse, min_snr_weight, sample_timesteps, v_from_x0_eps
from drawings.batches import Batch
from stroke_tokens import Whitening
from train_diffusion import losses, num_errors

ALPHA_BAR = cosine_alpha_bar()
DIM = 6
PLAIN = TrainConfig(
    noise_draws=3, history_noise=0.0, category_dropout=0.0, scale_weight=0.0, min_snr=0.0, first_stroke_draws=0
)
LENGTHS = torch.tensor([4, 1, 3, 2])
GENERATOR = torch.Generator().manual_seed(0)
WHITENING = Whitening(
    torch.randn(DIM, generator=GENERATOR),
    torch.linalg.qr(torch.randn(DIM, DIM, generator=GENERATOR))[0],
    torch.tensor([3.0, 2.0, 1.0, 0.5, 0.25, 0.1]),
)
BATCH = Batch(
    torch.randn(4, 4, DIM, generator=GENERATOR), LENGTHS, torch.tensor([0, 1, 1, 0]),
    torch.randn(4, 4, generator=GENERATOR),
)  # fmt: skip
TOKENS = WHITENING.encode(BATCH.vectors)


class Recorder:
    """In the place of the network: remembers what it is told; its contexts are the numbers of strokes that they know.

    `v_hat` makes the prediction from the noisy strokes, their times and the contexts, `stop` the logits from contexts.
    """

    null_category = 2

    def __init__(self, v_hat=lambda x_t, t, known: torch.zeros_like(x_t), stop=lambda known: 0.0 * known):
        self.v_hat, self.stop = v_hat, stop
        self.told: list[tuple[Tensor, Tensor, Tensor]] = []
        self.asked: list[tuple[Tensor, Tensor, Tensor]] = []

    def context(self, tokens: Tensor, category: Tensor, affine: Tensor) -> Tensor:
        self.told.append((tokens, category, affine))
        return torch.arange(tokens.shape[1] + 1.0).expand(len(tokens), -1)[..., None]

    def denoise_all(self, x_t: Tensor, t: Tensor, context: Tensor) -> Tensor:
        self.asked.append((x_t, t, context[..., 0]))
        return self.v_hat(x_t, t, context[..., 0])

    def stop_logits(self, context: Tensor) -> Tensor:
        return self.stop(context[..., 0])


def losses_of(model: Recorder, batch: Batch = BATCH, seed: int = 1, **changes: float) -> tuple[float, float]:
    config = replace(PLAIN, **changes)
    both = losses(model, WHITENING, batch, ALPHA_BAR, config, torch.Generator().manual_seed(seed))  # type: ignore
    return float(both[0]), float(both[1])


def noise_levels(t: Tensor) -> tuple[Tensor, Tensor]:
    return ALPHA_BAR[t].sqrt()[..., None], (1 - ALPHA_BAR[t]).sqrt()[..., None]


def exact_v(x_t: Tensor, t: Tensor, known: Tensor) -> Tensor:
    """The velocity where the clean stroke is known: the k-th of TOKENS with the context of the k before it."""
    signal, noise = noise_levels(t)
    x0 = torch.stack([TOKENS[row, known[row].long()] for row in range(len(known))])[:, :, None]
    return ((signal * x_t - x0) / noise).to(x_t.dtype)


# ---- denoising


def test_whoever_knows_the_clean_strokes_has_no_loss() -> None:
    """So the targets are the clean strokes, each with the context of those before it, whatever the history's noise."""
    model = Recorder(exact_v)
    for noise in (0.0, 2.0):
        assert losses_of(model, history_noise=noise)[0] < 1e-8
    assert losses_of(model, first_stroke_draws=5)[0] < 1e-8
    assert [known.tolist() for _, _, known in model.asked] == [[[0, 1, 2, 3]] * 4] * 3 + [[[0]] * 4]


def test_the_loss_is_the_mean_square_of_the_error_over_real_strokes_draws_and_numbers() -> None:
    model = Recorder(lambda x_t, t, known: exact_v(x_t, t, known) + 2.0)
    assert losses_of(model)[0] == pytest.approx(4.0, rel=1e-5)
    # the error of the k-th stroke is k
    model = Recorder(lambda x_t, t, known: exact_v(x_t, t, known) + known[:, :, None, None])
    counted = [k**2 for length in LENGTHS for k in range(length)]
    assert losses_of(model)[0] == pytest.approx(sum(counted) / len(counted), rel=1e-5)


def test_every_copy_of_a_stroke_has_a_time_and_a_standard_normal_noise_of_its_own() -> None:
    model = Recorder()
    losses_of(model, noise_draws=64)
    (x_t, t, _) = model.asked[0]
    assert x_t.shape == (4, 4, 64, DIM)
    assert t.shape == (4, 4, 64)
    signal, noise = noise_levels(t)
    eps = (x_t - signal * TOKENS[:, :, None]) / noise
    very_noisy = t > 50  # where little noise is in x_t, rounding shows
    assert eps[very_noisy].mean() == pytest.approx(0, abs=0.05)
    assert eps[very_noisy].std() == pytest.approx(1, abs=0.03)
    assert len(t.unique()) > 300
    flat = eps[very_noisy].flatten()
    assert (flat[1:] - flat[:-1]).abs().min() > 0


def test_a_seed_decides_all_noise() -> None:
    def drawn(seed: int) -> Tensor:
        model = Recorder()
        losses_of(model, seed=seed, history_noise=1.0)
        return torch.cat([model.asked[0][0].flatten(), model.told[0][0].flatten()])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.isclose(drawn(1), drawn(2)).any()


def test_first_strokes_count_as_often_as_they_are_denoised() -> None:
    """An error of 1 in first strokes alone: its share of the mean is their share of all that was denoised."""
    model = Recorder(lambda x_t, t, known: exact_v(x_t, t, known) + (known == 0).float()[:, :, None, None])
    strokes, drawings = int(LENGTHS.sum()), len(LENGTHS)
    for draws, further in ((1, 0), (3, 0), (3, 7)):
        found = losses_of(model, noise_draws=draws, first_stroke_draws=further)[0]
        total = strokes * draws + drawings * further
        assert found == pytest.approx((drawings * draws + drawings * further) / total, rel=1e-5)
        config = replace(PLAIN, noise_draws=draws, first_stroke_draws=further)
        assert num_errors(BATCH, config) == (total, strokes)


def test_components_count_by_their_scale_to_a_power_and_all_together_as_before() -> None:
    def loss_in(component: int, power: float) -> float:
        offset = 3.0 * torch.eye(DIM)[component]
        return losses_of(Recorder(lambda *asked: exact_v(*asked) + offset), scale_weight=power)[0]

    for power in (0.0, 0.5, 1.0, 2.0):
        by_component = torch.tensor([loss_in(component, power) for component in range(DIM)])
        expected = WHITENING.scale**power
        torch.testing.assert_close(by_component, 9 / DIM * expected / expected.mean(), rtol=1e-4, atol=1e-6)


def test_min_snr_weighs_every_time_by_its_formula_and_0_is_off() -> None:
    for gamma in (0.0, 5.0):
        model = Recorder(lambda x_t, t, known: exact_v(x_t, t, known) + 1.0)
        found = losses_of(model, min_snr=gamma, noise_draws=8)[0]
        times = model.asked[0][1][BATCH.mask]
        weight = min_snr_weight(times, ALPHA_BAR, gamma) if gamma else torch.ones(1)
        assert found == pytest.approx(weight.mean().item(), rel=1e-4)


def test_the_target_is_the_velocity_between_noise_and_stroke() -> None:
    x0, eps, t = torch.tensor([[3.0]]), torch.tensor([[-2.0]]), torch.tensor([499])  # as much signal as noise
    assert diffuse(x0, eps, t, ALPHA_BAR).item() == pytest.approx((3 - 2) / 2**0.5, rel=1e-6)
    assert v_from_x0_eps(x0, eps, t, ALPHA_BAR).item() == pytest.approx((-2 - 3) / 2**0.5, rel=1e-6)


def test_training_times_are_logit_normal_but_for_one_in_twenty() -> None:
    t = sample_timesteps((200_000,), 1000, torch.Generator().manual_seed(0))
    for low, high, normal in ((250, 750, 0.7281), (0, 100, 0.0140), (900, 1000, 0.0140), (0, 500, 0.5)):
        share = ((t >= low) & (t < high)).float().mean().item()
        assert share == pytest.approx(0.95 * normal + 0.05 * (high - low) / 1000, abs=0.005)


# ---- what the network is told


def test_noise_of_a_random_level_a_drawing_lies_on_the_history() -> None:
    count, longest = 400, 5
    batch = Batch(torch.zeros(count, longest, DIM), torch.full((count,), longest), torch.zeros(count).long(),
                  torch.zeros(count, 4))  # fmt: skip
    model = Recorder()
    losses_of(model, batch, history_noise=0.6)
    levels = (model.told[0][0] - WHITENING.encode(batch.vectors)).flatten(1).std(1)
    # levels are uniform in 0 ... 0.6: a quarter of them in each quarter of that
    shares = torch.histc(levels, 4, 0, 0.6) / count
    assert levels.max() < 0.6 * 1.6
    assert shares[:3].min() > 0.17
    losses_of(model, batch, history_noise=0.0)
    assert torch.equal(model.told[1][0], WHITENING.encode(batch.vectors))


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_as_many_drawings_as_said_are_trained_without_category(share: float) -> None:
    count = 4000
    category = torch.arange(count) % 2
    batch = Batch(torch.zeros(count, 1, DIM), torch.ones(count).long(), category, torch.zeros(count, 4))
    model = Recorder()
    losses_of(model, batch, category_dropout=share)
    told = model.told[0][1]
    hidden = told == model.null_category
    assert hidden.float().mean().item() == pytest.approx(share, abs=0.025)
    assert torch.equal(told[~hidden], category[~hidden])


def test_the_network_is_told_how_each_drawing_was_changed() -> None:
    model = Recorder()
    losses_of(model)
    assert torch.equal(model.told[0][2], BATCH.affine)


# ---- stopping


def cross_entropy(logit: float, ends: bool) -> float:
    return torch.nn.functional.softplus(torch.tensor(-logit if ends else logit)).item()


def test_whoever_knows_the_lengths_has_no_stop_loss() -> None:
    model = Recorder(stop=lambda known: torch.where(known == LENGTHS[:, None], 40.0, -40.0))
    assert losses_of(model)[1] < 1e-8


def test_the_stop_loss_is_the_mean_cross_entropy_of_one_decision_after_every_stroke() -> None:
    """Not before the first stroke, not behind the end; and the decision to end is one of them."""
    logits = torch.tensor([[50.0, -1.0, 0.5, 2.0, -0.3]]).repeat(4, 1) + torch.arange(4.0)[:, None]
    model = Recorder(stop=lambda known: logits)
    each = [
        cross_entropy(logits[row, k].item(), k == length) for row, length in enumerate(LENGTHS)
        for k in range(1, length + 1)
    ]  # fmt: skip
    assert len(each) == LENGTHS.sum()
    assert losses_of(model)[1] == pytest.approx(sum(each) / len(each), rel=1e-5)


def test_padding_reaches_neither_loss(tiny_model: TrainedModel) -> None:
    """Of a real network, whose contexts could carry it from stroke to stroke."""
    batch = replace(BATCH, vectors=torch.randn(4, 4, tiny_model.model.token_dim, generator=GENERATOR))
    found = []
    for padding in (0.0, 99.0):
        batch.vectors[~batch.mask] = padding
        settings = batch, ALPHA_BAR, TrainConfig(first_stroke_draws=2), torch.Generator().manual_seed(1)
        found.append(torch.stack(losses(tiny_model.model, tiny_model.whitening, *settings)))
    torch.testing.assert_close(found[0], found[1])
