"""Denoising diffusion with v-prediction: schedule, forward process, conversions and samplers, as plain functions.

One currency for noise: `alpha_bar`, float64, (T,), falling from almost 1 at t = 0 to exactly 0 at t = T - 1, where
x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps. Samplers are generators that yield (x_t, x0_hat) after every
step, so that animations, progress bars and tests all consume the same thing; the last x_t is the sample.

Ho, Jain, Abbeel 2020 (DDPM, arXiv:2006.11239); Salimans, Ho 2022 (v, arXiv:2202.00512); Lin et al. 2024 (zero
terminal SNR, arXiv:2305.08891); Song, Meng, Ermon 2021 (DDIM, arXiv:2010.02502); Lu et al. 2022 (DPM-Solver++,
arXiv:2211.01095).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, int], Tensor]
"""(x_t (B, D), t) -> v_hat (B, D)."""
NoiseSource = Callable[[], Tensor]
"""() -> the next standard normal noise (B, D); who calls it decides which generator stands behind it."""
Steps = Iterator[tuple[Tensor, Tensor]]


def cosine_alpha_bar(num_timesteps: int = 1000) -> Tensor:
    """Return alpha_bar, float64 (T,), of the cosine schedule with exactly zero SNR at t = T - 1.

    alpha_bar_t = cos(pi/2 * (t + 1) / T)^2, the cosine of Nichol and Dhariwal 2021 (arXiv:2102.09672, eq. 17)
    without its offset: the last step then ends at zero by itself and no rescaling is needed (Lin et al. 2024, sec. 3).
    """
    if num_timesteps < 2:
        raise ValueError(f"num_timesteps is {num_timesteps}, must be at least 2")
    t = torch.arange(1, num_timesteps + 1, dtype=torch.float64)
    alpha_bar = torch.cos(0.5 * math.pi * t / num_timesteps) ** 2
    alpha_bar[-1] = 0.0  # cos(pi/2)^2 is 4e-33 in float64
    return alpha_bar


def snr(alpha_bar: Tensor) -> Tensor:
    """Return the signal-to-noise ratio alpha_bar / (1 - alpha_bar), of the shape of `alpha_bar`."""
    return alpha_bar / (1 - alpha_bar)


def _chosen(alpha_bar: Tensor, t: Tensor) -> Tensor:
    """Return alpha_bar_t, float64, where t is; Apple's GPU knows no float64, so for it on the CPU."""
    table = alpha_bar.cpu() if t.device.type == "mps" else alpha_bar.to(t.device)
    return table[t.to(table.device)]


def _at(alpha_bar: Tensor, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t), shaped to multiply `like` (..., D)."""
    chosen = _chosen(alpha_bar, t)
    signal, noise = (root.to(like.dtype).to(like.device) for root in (chosen.sqrt(), (1 - chosen).sqrt()))
    return signal.unsqueeze(-1), noise.unsqueeze(-1)


def diffuse(x0: Tensor, eps: Tensor, t: Tensor, alpha_bar: Tensor) -> Tensor:
    """Return x_t ~ q(x_t | x0), shape of `x0` (..., D), for integer times `t` (...): DDPM eq. 4."""
    signal, noise = _at(alpha_bar, t, x0)
    return signal * x0 + noise * eps


def v_from_x0_eps(x0: Tensor, eps: Tensor, t: Tensor, alpha_bar: Tensor) -> Tensor:
    """Return the velocity v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x0 (Salimans and Ho 2022, app. D)."""
    signal, noise = _at(alpha_bar, t, x0)
    return signal * eps - noise * x0


def x0_from_v(x_t: Tensor, v: Tensor, t: Tensor, alpha_bar: Tensor) -> Tensor:
    """Return x0 = sqrt(alpha_bar) x_t - sqrt(1 - alpha_bar) v; well defined even at zero SNR."""
    signal, noise = _at(alpha_bar, t, x_t)
    return signal * x_t - noise * v


def eps_from_v(x_t: Tensor, v: Tensor, t: Tensor, alpha_bar: Tensor) -> Tensor:
    """Return eps = sqrt(1 - alpha_bar) x_t + sqrt(alpha_bar) v."""
    signal, noise = _at(alpha_bar, t, x_t)
    return noise * x_t + signal * v


def sample_timesteps(shape: tuple[int, ...], num_timesteps: int, generator: torch.Generator) -> Tensor:
    """Return random training times, int64 of `shape`, logit-normal in (t + 1/2) / T.

    The middle of the schedule, where strokes take shape, is trained most (Esser et al. 2024, arXiv:2403.03206,
    sec. 3.1). Every t has positive probability.
    """
    u = torch.sigmoid(torch.randn(shape, generator=generator, device=generator.device))
    # one draw in twenty is uniform: logit-normal alone would leave pure noise, where sampling starts, nearly untrained
    uniform = torch.rand(shape, generator=generator, device=generator.device)
    u = torch.where(torch.rand(shape, generator=generator, device=generator.device) < 0.05, uniform, u)
    return (u * num_timesteps).long().clamp_(max=num_timesteps - 1)


def diffusion_loss(
    v_hat: Tensor, x0: Tensor, eps: Tensor, t: Tensor, alpha_bar: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Return the squared error of the velocity, mean over D, shape of `t`: the v-form of DDPM's eq. 14.

    `weight` (D,), of mean 1, makes some components count more than others.
    """
    error = (v_hat.float() - v_from_x0_eps(x0, eps, t, alpha_bar)).square()
    return (error if weight is None else error * weight).mean(-1)


def min_snr_weight(t: Tensor, alpha_bar: Tensor, gamma: float) -> Tensor:
    """Return the weight of the v-loss at times `t`, of its shape: min(SNR, gamma) / (SNR + 1).

    Hang et al. 2023 (arXiv:2303.09556, sec. 3.4), who hold low-noise times back that would otherwise rule the loss.
    """
    ratio = snr(_chosen(alpha_bar, t))
    return (ratio.clamp(max=gamma) / (ratio + 1)).float().to(t.device)


def trailing_timesteps(num_steps: int, num_timesteps: int) -> list[int]:
    """Return `num_steps` falling times that begin at T - 1: the trailing spacing of Lin et al. 2024, table 2."""
    if not 1 <= num_steps <= num_timesteps:
        raise ValueError(f"steps is {num_steps}, must lie in 1 ... {num_timesteps}")
    return [round(num_timesteps - i * num_timesteps / num_steps) - 1 for i in range(num_steps)]


def _time(t: int, x: Tensor) -> Tensor:
    return torch.full(x.shape[:-1], t, dtype=torch.long, device=x.device)


def ancestral_sampler(denoise: Denoiser, noise: NoiseSource, alpha_bar: Tensor) -> Steps:
    """Yield (x_t, x0_hat), each (B, D), through all T steps of DDPM's ancestral sampler (algorithm 2).

    The posterior q(x_{t-1} | x_t, x0_hat) is DDPM's eq. 6 and 7 with its exact variance.
    """
    x = noise()
    for t in reversed(range(len(alpha_bar))):
        x0_hat = x0_from_v(x, denoise(x, t), _time(t, x), alpha_bar)
        if t == 0:
            yield x0_hat, x0_hat
            return
        now, before = alpha_bar[t].item(), alpha_bar[t - 1].item()
        beta = 1 - now / before
        mean = math.sqrt(before) * beta / (1 - now) * x0_hat + math.sqrt(1 - beta) * (1 - before) / (1 - now) * x
        x = mean + math.sqrt((1 - before) / (1 - now) * beta) * noise()
        yield x, x0_hat


def ddim_sampler(denoise: Denoiser, noise: NoiseSource, alpha_bar: Tensor, num_steps: int, eta: float = 0.0) -> Steps:
    """Yield (x_t, x0_hat), each (B, D), through `num_steps` steps of DDIM (eq. 12).

    `eta` = 0 is deterministic given the first noise; 1 is as noisy as the ancestral sampler (eq. 16).
    """
    x = noise()
    times = trailing_timesteps(num_steps, len(alpha_bar))
    for t, t_next in zip(times, [*times[1:], None], strict=True):
        v = denoise(x, t)
        x0_hat, eps_hat = (to(x, v, _time(t, x), alpha_bar) for to in (x0_from_v, eps_from_v))
        if t_next is None:
            yield x0_hat, x0_hat
            return
        now, after = alpha_bar[t].item(), alpha_bar[t_next].item()
        sigma = eta * math.sqrt((1 - after) / (1 - now) * (1 - now / after))
        x = math.sqrt(after) * x0_hat + math.sqrt(max(1 - after - sigma**2, 0.0)) * eps_hat
        if sigma > 0:
            x = x + sigma * noise()
        yield x, x0_hat


def dpm_solver_sampler(denoise: Denoiser, noise: NoiseSource, alpha_bar: Tensor, num_steps: int) -> Steps:
    """Yield (x_t, x0_hat), each (B, D), through `num_steps` steps of DPM-Solver++(2M) (algorithm 2).

    lambda = log(sqrt(alpha_bar) / sqrt(1 - alpha_bar)) is minus infinity at the start; exp(-h) is then 0 and the
    step is the exact first-order one, and so is the next, whose ratio of step lengths is infinite.
    """
    x = noise()
    times = trailing_timesteps(num_steps, len(alpha_bar))
    log_snr = [0.5 * math.log(s) if s > 0 else -math.inf for s in snr(alpha_bar)[times].tolist()]
    previous: Tensor | None = None
    for i, t in enumerate(times):
        x0_hat = x0_from_v(x, denoise(x, t), _time(t, x), alpha_bar)
        if i == num_steps - 1:
            yield x0_hat, x0_hat
            return
        now, after = alpha_bar[t].item(), alpha_bar[times[i + 1]].item()
        h = log_snr[i + 1] - log_snr[i]
        direction = x0_hat
        if previous is not None:
            ratio = (log_snr[i] - log_snr[i - 1]) / h
            direction = x0_hat + (x0_hat - previous) / (2 * ratio)
        x = math.sqrt((1 - after) / (1 - now)) * x - math.sqrt(after) * math.expm1(-h) * direction
        previous = x0_hat
        yield x, x0_hat


def sampler_steps(
    name: str, denoise: Denoiser, noise: NoiseSource, alpha_bar: Tensor, num_steps: int, eta: float = 0.0
) -> Steps:
    """Return the iterator of the sampler called `name`; the ancestral one takes all T steps whatever `num_steps` is."""
    if name == "ancestral":
        return ancestral_sampler(denoise, noise, alpha_bar)
    if name == "ddim":
        return ddim_sampler(denoise, noise, alpha_bar, num_steps, eta)
    if name == "dpm-solver++":
        return dpm_solver_sampler(denoise, noise, alpha_bar, num_steps)
    raise ValueError(f"unknown sampler '{name}', must be one of dpm-solver++, ddim, ancestral")
