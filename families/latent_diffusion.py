"""Latent diffusion in small: Stable Diffusion's plan (Rombach et al. 2022, arXiv:2112.10752) on 64 px drawings.

    picture (64, 64) --encoder--> latent (4, 8, 8) --noise added, and removed again--> latent --decoder--> picture

First the autoencoder learns, then it is held still and the denoiser learns its latents, an eighth of the picture's
side. Noise that is removed in the latent costs a fraction of what it would in pixels, and the decoder, which knows
only pictures of drawings, makes lines of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffusion_process import cosine_alpha_bar, diffuse, diffusion_loss, sample_timesteps
from families.patches import STEPS, TIMES, SequenceDenoiser, denoised
from families.pictures import PARTS, WIDTHS, PictureBatch, PictureFamily, binomial_nats, mostly_paper, to_pictures

CHANNELS, GRID, PATCH = 4, 8, 2
TOKENS, TOKEN_DIM = (GRID // PATCH) ** 2, CHANNELS * PATCH * PATCH
FIRST_STAGE = 0.4
"""Share of the training that goes to the autoencoder."""
KL_WEIGHT = 0.1


class LatentDiffusion(PictureFamily):
    """Autoencoder, diffusion in its latent, told the category; 20 steps of DPM-Solver++ for a picture."""

    title, evaluations, learning_rate = "Latent diffusion", STEPS, 1e-3
    latent_scale: Tensor

    def __init__(self, categories: Sequence[str]) -> None:
        """Build autoencoder and denoiser."""
        super().__init__(categories)
        a, b, c, _ = WIDTHS
        self.encoder = nn.Sequential(
            nn.Conv2d(1, a, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(b, c, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(c, 2 * CHANNELS, 3, 1, 1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Conv2d(CHANNELS, c, 3, 1, 1), nn.LeakyReLU(0.2), nn.ConvTranspose2d(c, b, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(b, a, 4, 2, 1), nn.LeakyReLU(0.2), mostly_paper(nn.ConvTranspose2d(a, 1, 4, 2, 1)),
        )  # fmt: skip
        self.denoiser = SequenceDenoiser(len(categories), TOKENS, TOKEN_DIM, TOKEN_DIM, 96, 4)
        self.register_buffer("latent_scale", torch.zeros(()))
        self.share = 0.0

    def progress(self, share: float) -> None:
        """Hear when the second stage begins."""
        self.share = share

    def loss(self, batch: PictureBatch) -> Tensor:
        """Return the autoencoder's loss a pixel in the first stage, the denoiser's in the second."""
        mean, log_spread = self.encode(batch.levels)
        if self.share < FIRST_STAGE:
            z = mean + log_spread.exp() * torch.randn_like(mean)
            kl = 0.5 * (mean.square() + (2 * log_spread).exp() - 1 - 2 * log_spread).sum((1, 2, 3))
            nats = binomial_nats(batch.levels, self.decode(z)).sum((1, 2))
            return (nats + KL_WEIGHT * kl).mean() / batch.levels[0].numel()
        if self.latent_scale == 0:
            self.latent_scale.fill_(float(mean.detach().std()))
        x0 = to_tokens(mean.detach() / self.latent_scale)
        t = sample_timesteps((len(x0),), TIMES, torch.default_generator)
        eps, alpha_bar, times = torch.randn_like(x0), cosine_alpha_bar(TIMES), t[:, None].expand(-1, TOKENS)
        v_hat = self.denoiser(diffuse(x0, eps, times, alpha_bar), t, batch.category)
        return diffusion_loss(v_hat, x0, eps, times, alpha_bar).mean()

    def encode(self, levels: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log deviations (B, 4, 8, 8) of the latents of levels (B, 64, 64)."""
        mean, log_spread = self.encoder(levels[:, None] / PARTS).chunk(2, 1)
        return mean, log_spread.clamp(-6, 2)

    def decode(self, latent: Tensor) -> Tensor:
        """Return the logits of ink (B, 64, 64) of latents (B, 4, 8, 8)."""
        logits: Tensor = self.decoder(latent)[:, 0]
        return logits

    @torch.inference_mode()
    def stages(
        self, category: str, indices: Sequence[int], seed: int, temperature: float = 1.0
    ) -> list[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
        """Return, after each step, the latents (B, 4, 8, 8) and what the decoder sees in them, (B, 64, 64)."""
        kind = torch.full((len(indices),), self.number(category))
        dim = TOKENS * TOKEN_DIM
        states = denoised(self.denoiser, dim, list(indices), kind, seed, temperature, TOKEN_DIM)
        latents = [from_tokens(x.unflatten(-1, (-1, TOKEN_DIM))) * self.latent_scale.clamp(min=1e-6) for x in states]
        return [(z.numpy(), to_pictures(PARTS * torch.sigmoid(self.decode(z)))) for z in latents]

    def generate(self, category: str, indices: Sequence[int], seed: int, temperature: float = 1.0) -> Any:
        """Return the pictures of the last stage."""
        return self.stages(category, indices, seed, temperature)[-1][1]


def to_tokens(latent: Tensor) -> Tensor:
    """Return latents (B, 4, 8, 8) as 16 tokens of 16 numbers, (B, 16, 16): patches of 2 x 2."""
    side = GRID // PATCH
    patches = latent.reshape(-1, CHANNELS, side, PATCH, side, PATCH).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(-1, TOKENS, TOKEN_DIM)


def from_tokens(tokens: Tensor) -> Tensor:
    """Return the latents (B, 4, 8, 8) that ``to_tokens`` made tokens of."""
    side = GRID // PATCH
    patches = tokens.reshape(-1, side, side, CHANNELS, PATCH, PATCH).permute(0, 3, 1, 4, 2, 5)
    return patches.reshape(-1, CHANNELS, GRID, GRID)
