"""Diffusion: the next stroke is denoised from Gaussian noise (Ho et al. 2020, arXiv:2006.11239), as in this project.

    x_t = sqrt(alpha_bar_t) x + sqrt(1 - alpha_bar_t) eps,      loss = |v_hat(x_t, t, c) - v|^2

Loss, schedule and sampler are those of `diffusion_process.py`, the trunk is the denoiser of `diffusion_model.py`
itself; no guidance here. A stroke takes 20 evaluations where the other heads take one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_model import HistoryState
from diffusion_process import cosine_alpha_bar, diffuse, diffusion_loss, dpm_solver_sampler, sample_timesteps
from families.strokes import StrokeFamily
from sample_diffusion import StrokeRandomness

TIMES, STEPS, DRAWS = 1000, 20, 4
SCALE_WEIGHT = 0.5
"""As in train_diffusion.py: large components of a stroke count more."""


class Diffusion(StrokeFamily):
    """Diffusion with v-prediction, 20 steps of DPM-Solver++."""

    title, evaluations, times = "Diffusion, 20 steps", STEPS, TIMES
    inputs = StrokeFamily.token_dim

    def head_loss(self, tokens: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Return the squared error of v at DRAWS random times, mean over real strokes."""
        alpha_bar, shape = cosine_alpha_bar(TIMES), (*tokens.shape[:2], DRAWS)
        t = sample_timesteps(shape, TIMES, torch.default_generator)
        x0 = tokens[:, :, None].expand(*shape, -1)
        eps = torch.randn_like(x0)
        v_hat = self.answers(diffuse(x0, eps, t, alpha_bar), context, t)
        weight = self.scale**SCALE_WEIGHT
        return diffusion_loss(v_hat, x0, eps, t, alpha_bar, weight / weight.mean())[mask].mean()

    def draw(self, history: HistoryState, random: StrokeRandomness, temperature: float) -> Tensor:
        """Return a stroke denoised in STEPS steps from noise, which the temperature shrinks."""
        *_, (token, _) = dpm_solver_sampler(
            lambda x, t: self.answer(x, history, t), lambda: temperature * random.normal(), cosine_alpha_bar(TIMES),
            STEPS,
        )  # fmt: skip
        return token
