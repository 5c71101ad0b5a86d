"""Laws of the diffusion process: identities, exact denoisers that samplers must land on, the schedule's ends."""

import itertools

import pytest
import torch

import diffusion_process as dp

ALPHA_BAR = dp.cosine_alpha_bar(1000)


def noise_source(seed: int, shape: tuple[int, ...]) -> dp.NoiseSource:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator, dtype=torch.float64)


def gaussian_denoiser(mean: float, std: float, alpha_bar: torch.Tensor = ALPHA_BAR) -> dp.Denoiser:
    """The exact v of data N(mean, std^2), where E[x0 | x_t] is known in closed form."""

    def denoise(x_t: torch.Tensor, t: int) -> torch.Tensor:
        a = alpha_bar[t]
        x0 = mean + a.sqrt() * std**2 / (a * std**2 + 1 - a) * (x_t - a.sqrt() * mean)
        eps = (x_t - a.sqrt() * x0) / (1 - a).sqrt()
        return a.sqrt() * eps - (1 - a).sqrt() * x0

    return denoise


def last(steps: dp.Steps) -> torch.Tensor:
    return list(steps)[-1][0]


def test_schedule_falls_from_almost_one_to_exactly_zero() -> None:
    assert ALPHA_BAR.dtype == torch.float64
    assert ALPHA_BAR.shape == (1000,)
    assert (ALPHA_BAR.diff() < 0).all()
    assert 1 - ALPHA_BAR[0] < 1e-5
    assert ALPHA_BAR[-1] == 0.0
    assert dp.snr(ALPHA_BAR)[-1] == 0.0


@pytest.mark.parametrize("t", [0, 1, 500, 998, 999])
def test_conversions_are_round_trips(t: int) -> None:
    generator = torch.Generator().manual_seed(t)
    x0, eps = torch.randn(2, 5, 8, generator=generator, dtype=torch.float64)
    time = torch.full((5,), t)
    x_t = dp.diffuse(x0, eps, time, ALPHA_BAR)
    v = dp.v_from_x0_eps(x0, eps, time, ALPHA_BAR)
    torch.testing.assert_close(dp.x0_from_v(x_t, v, time, ALPHA_BAR), x0)
    torch.testing.assert_close(dp.eps_from_v(x_t, v, time, ALPHA_BAR), eps)


def test_diffused_data_keeps_unit_variance() -> None:
    noise = noise_source(0, (20_000, 1))
    for t in (0, 300, 999):
        x_t = dp.diffuse(noise(), noise(), torch.full((20_000,), t), ALPHA_BAR)
        assert x_t.var().item() == pytest.approx(1.0, abs=0.03)


def test_last_time_is_pure_noise() -> None:
    x0, eps = torch.full((1, 4), 7.0), torch.ones(1, 4)
    torch.testing.assert_close(dp.diffuse(x0, eps, torch.tensor([999]), ALPHA_BAR), eps)


def test_loss_is_zero_for_the_true_velocity_and_the_square_of_an_offset() -> None:
    x0, eps, t = torch.randn(3, 4), torch.randn(3, 4), torch.tensor([0, 500, 999])
    v = dp.v_from_x0_eps(x0, eps, t, ALPHA_BAR)
    torch.testing.assert_close(dp.diffusion_loss(v, x0, eps, t, ALPHA_BAR), torch.zeros(3))
    torch.testing.assert_close(dp.diffusion_loss(v + 2, x0, eps, t, ALPHA_BAR), torch.full((3,), 4.0))


def test_min_snr_weight_is_one_over_the_middle_and_bounded_by_gamma() -> None:
    t = torch.arange(1000)
    ratio = dp.snr(ALPHA_BAR)
    weight = dp.min_snr_weight(t, ALPHA_BAR, 5.0).double()
    noisy = ratio <= 5
    torch.testing.assert_close(weight[noisy], ALPHA_BAR[noisy], rtol=1e-5, atol=1e-7)  # SNR / (SNR + 1) is alpha_bar
    torch.testing.assert_close(weight[~noisy], 5 * (1 - ALPHA_BAR[~noisy]), rtol=1e-5, atol=1e-7)


def test_training_times_cover_the_range_and_prefer_the_middle() -> None:
    t = dp.sample_timesteps((200_000,), 1000, torch.Generator().manual_seed(0))
    assert t.min() == 0
    assert t.max() == 999
    middle, ends = ((t >= 400) & (t < 600)).float().mean(), ((t < 100) | (t >= 900)).float().mean()
    assert middle > 5 * ends > 0


@pytest.mark.parametrize("steps", [1, 2, 7, 20, 999, 1000])
def test_trailing_times_begin_with_pure_noise_and_fall(steps: int) -> None:
    times = dp.trailing_timesteps(steps, 1000)
    assert len(times) == steps
    assert times[0] == 999
    assert all(a > b >= 0 for a, b in itertools.pairwise(times))


@pytest.mark.parametrize("name", ["ancestral", "ddim", "dpm-solver++"])
@pytest.mark.parametrize("steps", [1, 2, 20])
def test_every_sampler_lands_on_data_that_is_one_point(name: str, steps: int) -> None:
    source = noise_source(1, (6, 3))
    result = last(dp.sampler_steps(name, gaussian_denoiser(1.7, 0.0), source, ALPHA_BAR, steps))
    torch.testing.assert_close(result, torch.full((6, 3), 1.7, dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "steps", "eta"), [("ancestral", 1000, 0), ("ddim", 1000, 0), ("ddim", 1000, 1), ("dpm-solver++", 100, 0)]
)
def test_samplers_reproduce_a_gaussian(name: str, steps: int, eta: float) -> None:
    source = noise_source(2, (4000, 1))
    result = last(dp.sampler_steps(name, gaussian_denoiser(-0.8, 0.5), source, ALPHA_BAR, steps, eta))
    assert result.mean().item() == pytest.approx(-0.8, abs=0.02)
    assert result.std().item() == pytest.approx(0.5, abs=0.02)


def test_ancestral_is_ddim_with_eta_one_and_all_steps() -> None:
    denoise = gaussian_denoiser(0.3, 0.7)
    a = last(dp.ancestral_sampler(denoise, noise_source(3, (4, 2)), ALPHA_BAR))
    b = last(dp.ddim_sampler(denoise, noise_source(3, (4, 2)), ALPHA_BAR, 1000, eta=1.0))
    torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_dpm_solver_is_of_second_order_and_ddim_of_first() -> None:
    """Four times the steps divide the error by about 4 and about 16 (the exact flow of a Gaussian is known)."""
    denoise, x_T = gaussian_denoiser(0.3, 0.7), noise_source(4, (8, 2))()
    exact = 0.3 + 0.7 * x_T  # from zero SNR at t = T - 1, the flow ends at mean + std * x_T

    def error(name: str, steps: int) -> float:
        return (last(dp.sampler_steps(name, denoise, lambda: x_T, ALPHA_BAR, steps)) - exact).abs().max().item()

    assert 3 < error("ddim", 80) / error("ddim", 320) < 5
    assert error("dpm-solver++", 80) / error("dpm-solver++", 320) > 8
    assert error("dpm-solver++", 20) < 0.1 * error("ddim", 20)


def test_deterministic_samplers_take_noise_once() -> None:
    calls = []

    def source() -> torch.Tensor:
        calls.append(1)
        return torch.zeros(2, 2, dtype=torch.float64)

    for name in ("ddim", "dpm-solver++"):
        calls.clear()
        list(dp.sampler_steps(name, gaussian_denoiser(0, 1), source, ALPHA_BAR, 10))
        assert len(calls) == 1


def test_samplers_yield_once_per_evaluation_and_end_on_their_estimate() -> None:
    for name, steps in (("ancestral", 1000), ("ddim", 10), ("dpm-solver++", 10)):
        path = list(dp.sampler_steps(name, gaussian_denoiser(0, 1), noise_source(5, (2, 2)), ALPHA_BAR, 10))
        assert len(path) == steps
        assert path[-1][0] is path[-1][1]
