"""A variational autoencoder of pictures (Kingma and Welling 2014, arXiv:1312.6114), told the category.

    log p(x) >= E_q(z | x) log p(x | z) - KL(q(z | x) || N(0, 1)),      p(x | z) = prod over pixels: ink or paper
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from families.interface import Material
from families.pictures import PARTS, PictureBatch, PictureFamily, decoder, encoder, ink_nats, levels_of, to_pictures

LATENT, MAPS = 48, 64


class PictureVAE(PictureFamily):
    """Convolutions down to 48 numbers and up again; drawn are the decoder's means, and these are blurred."""

    title, likelihood, surprise_unit = "Picture VAE", "bound", "a probability of pictures"
    learning_rate = 1e-3
    shades: Tensor

    def __init__(self, categories: Sequence[str]) -> None:
        """Build encoder and decoder."""
        super().__init__(categories)
        self.kind_of = nn.Embedding(len(categories), MAPS * 16)
        self.encoder, self.decoder = encoder(MAPS), decoder(MAPS)
        self.describe, self.place = nn.Linear(MAPS * 16, 2 * LATENT), nn.Linear(LATENT, MAPS * 16)
        self.register_buffer("shades", torch.full((PARTS,), 1 / PARTS))

    def prepare(self, material: Material) -> None:
        """Count how dark pixels are that hold ink."""
        levels = torch.cat([torch.from_numpy(levels_of(list(side))).flatten() for side in material.train])
        counts = levels.bincount(minlength=PARTS + 1)[1:] + 1.0
        self.shades.copy_(counts / counts.sum())

    def decode(self, z: Tensor, category: Tensor) -> Tensor:
        """Return the logits of ink (B, 64, 64) of latents (B, LATENT)."""
        maps = (self.place(z) + self.kind_of(category)).unflatten(1, (MAPS, 4, 4))
        logits: Tensor = self.decoder(maps)[:, 0]
        return logits

    def surprise(self, batch: PictureBatch) -> Tensor:
        """Return the negative bound (B,) in nats."""
        maps = self.encoder(batch.levels[:, None] / PARTS).flatten(1) + self.kind_of(batch.category)
        mean, log_spread = self.describe(maps).chunk(2, -1)
        z = mean + log_spread.exp() * torch.randn_like(mean)
        nats = ink_nats(batch.levels, self.decode(z, batch.category), self.shades).sum((1, 2))
        return nats + 0.5 * (mean.square() + (2 * log_spread).exp() - 1 - 2 * log_spread).sum(-1)

    def loss(self, batch: PictureBatch) -> Tensor:
        """Return the negative bound a pixel."""
        return self.surprise(batch).mean() / batch.levels[0].numel()

    @torch.inference_mode()
    def generate(self, category: str, indices: Sequence[int], seed: int, temperature: float = 1.0) -> Any:
        """Return the means of pictures whose latents are from the prior, shrunk by the temperature."""
        kind = torch.full((len(indices),), self.number(category))
        logits = self.decode(temperature * self.latents(indices, seed, LATENT), kind)
        darkness = float(self.shades @ torch.arange(1.0, PARTS + 1))
        return to_pictures(darkness * torch.sigmoid(logits))
