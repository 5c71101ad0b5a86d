"""A conditional variational autoencoder of the next stroke (Kingma and Welling 2014, arXiv:1312.6114).

    log p(x | c) >= E_q(z | x, c) log p(x | z, c) - KL(q(z | x, c) || p(z)),      p(z) = N(0, 1)

The encoder q is thrown away after training: drawing takes a latent from p(z) and one evaluation. What is drawn is the
decoder's mean: of strokes that fit a latent equally well it is the average, which is why autoencoders blur.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diffusion_model import HistoryState
from families.strokes import TRUNK, StrokeFamily
from sample_diffusion import StrokeRandomness

LATENT = 16
NUM_SAMPLES = 8
"""Latents of a stroke that the bound is averaged over when it is measured."""


class VAE(StrokeFamily):
    """Conditional VAE with a Gaussian decoder, whose deviations are learned, one for each number of a token."""

    title, likelihood, surprise_unit = "Conditional VAE", "bound", "a density of tokens"
    inputs = LATENT

    def __init__(self, categories: Sequence[str]) -> None:
        """Build trunk and encoder."""
        super().__init__(categories)
        self.encoder = nn.Sequential(
            nn.Linear(self.token_dim + TRUNK.width, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(),
            nn.Linear(128, 2 * LATENT),
        )  # fmt: skip
        self.log_deviation = nn.Parameter(torch.full((self.token_dim,), -1.0))

    def head_loss(self, tokens: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Return the negative bound for a number of a token, mean over real strokes."""
        return self._bound(tokens, context, 1)[mask].mean() / self.token_dim

    def stroke_surprise(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Return the negative bound (B, K): - log p is this or less."""
        return self._bound(tokens, context, NUM_SAMPLES)

    def _bound(self, tokens: Tensor, context: Tensor, samples: int) -> Tensor:
        mean, log_deviation = self.encoder(torch.cat([tokens, context], -1)).chunk(2, -1)
        shape = (*mean.shape[:2], samples, LATENT)
        z = mean[:, :, None] + log_deviation.exp()[:, :, None] * torch.randn(shape)
        x_hat = self.answers(z, context)
        return negative_bound(tokens, x_hat, self.log_deviation, mean, log_deviation)

    def draw(self, history: HistoryState, random: StrokeRandomness, temperature: float) -> Tensor:
        """Return the decoder's mean at a latent from the prior, which the temperature shrinks."""
        return self.answer(temperature * random.normal()[:, :LATENT], history)


def negative_bound(x: Tensor, x_hat: Tensor, log_deviation: Tensor, mean: Tensor, log_spread: Tensor) -> Tensor:
    """Return the negative evidence bound (...) in nats of `x` (..., D).

    `x_hat` (..., S, D) are the decoder's means at S latents from q = N(mean, exp(log_spread)), both (..., Z), and
    `log_deviation` (D,) its deviations. KL(q || N(0, 1)) is in closed form (Kingma and Welling 2014, app. B).
    """
    distance = (x[..., None, :] - x_hat) * (-log_deviation).exp()
    nats = (0.5 * distance.square() + log_deviation + 0.5 * math.log(2 * math.pi)).sum(-1).mean(-1)
    kl = 0.5 * (mean.square() + (2 * log_spread).exp() - 1 - 2 * log_spread).sum(-1)
    return nats + kl
