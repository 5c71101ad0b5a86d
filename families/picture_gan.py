"""A generative adversarial network of pictures (Goodfellow et al. 2014, arXiv:1406.2661), told the category.

The losses are those of `families/gan.py`; generator and discriminator are convolutions (Radford et al. 2016,
arXiv:1511.06434), and the discriminator's score is one for the category asked (Miyato and Koyama 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from families.gan import adversarial_loss
from families.pictures import PARTS, PictureBatch, PictureFamily, decoder, encoder, to_pictures

LATENT, MAPS = 48, 64
PENALTY = 2.0


class _Judge(nn.Module):
    def __init__(self, num_categories: int) -> None:
        super().__init__()
        self.encoder, self.score = encoder(MAPS), nn.Linear(MAPS * 16, 1)
        self.kind_of = nn.Embedding(num_categories, MAPS * 16)
        nn.init.zeros_(self.kind_of.weight)

    def forward(self, x: Tensor, category: Tensor) -> Tensor:
        """Return scores (B, 1) of pictures (B, 64, 64), 0 ... 1."""
        maps = torch.nn.functional.leaky_relu(self.encoder(x[:, None]).flatten(1), 0.2)
        score: Tensor = self.score(maps) + (maps * self.kind_of(category)).mean(1, keepdim=True)
        return score


class PictureGAN(PictureFamily):
    """Convolutional GAN with a gradient penalty."""

    title, learning_rate, batch_size = "Picture GAN", 4e-4, 32
    betas = (0.0, 0.98)

    def __init__(self, categories: Sequence[str]) -> None:
        """Build generator and discriminator."""
        super().__init__(categories)
        self.kind_of, self.place = nn.Embedding(len(categories), MAPS * 16), nn.Linear(LATENT, MAPS * 16)
        self.generator, self.discriminator = decoder(MAPS), _Judge(len(categories))

    def make(self, z: Tensor, category: Tensor) -> Tensor:
        """Return pictures (B, 64, 64), ink 0 ... 1, of noise (B, LATENT)."""
        maps = (self.place(z) + self.kind_of(category)).unflatten(1, (MAPS, 4, 4))
        return torch.sigmoid(self.generator(torch.nn.functional.leaky_relu(maps, 0.2))[:, 0])

    def loss(self, batch: PictureBatch) -> Tensor:
        """Return the losses of both players."""
        fake = self.make(torch.randn(len(batch.levels), LATENT), batch.category)
        return adversarial_loss(self.discriminator, batch.levels / PARTS, fake, batch.category, PENALTY)

    @torch.inference_mode()
    def generate(self, category: str, indices: Sequence[int], seed: int, temperature: float = 1.0) -> Any:
        """Return what the generator makes of noise, which the temperature shrinks."""
        kind = torch.full((len(indices),), self.number(category))
        return to_pictures(PARTS * self.make(temperature * self.latents(indices, seed, LATENT), kind))
