"""What all families of pictures share: 64 x 64 px, ink in 16 sixteenths of a pixel; and the floor, independent pixels.

A pixel of `rendering.feature_rasters` is the mean of 4 x 4 black or white ones: its level, how many of the 16 hold ink,
is a count, and a count has a likelihood. An autoencoder's bound is in nats of the same pictures as a pixel's own table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from drawings.packed import PackedDrawings
from families.interface import Drawing, Family, Material
from rendering import feature_rasters
from sample_diffusion import StrokeRandomness

SIDE, PARTS = 64, 16
WIDTHS = (16, 32, 48, 64)


@dataclass
class PictureBatch:
    """Levels (B, 64, 64) float, 0 paper to 16 ink, and `category` (B,)."""

    levels: Tensor
    category: Tensor


def levels_of(drawings: Sequence[Drawing]) -> NDArray[np.uint8]:
    """Return the levels (N, 64, 64), 0 ... 16, of drawings."""
    return np.rint((255 - feature_rasters(drawings).astype(np.float32)) * (PARTS / 255)).astype(np.uint8)


def to_pictures(levels: Tensor) -> NDArray[np.uint8]:
    """Return grey pictures (N, 64, 64), 0 ink to 255, of levels that need not be whole."""
    return (255 - levels.clamp(0, PARTS) * (255 / PARTS)).round().to(torch.uint8).numpy()


def binomial_nats(levels: Tensor, logits: Tensor) -> Tensor:
    """Return - log p of levels (..., 0 ... 16) where each sixteenth holds ink with probability sigmoid(logits)."""
    ways = math.lgamma(PARTS + 1) - torch.lgamma(levels + 1) - torch.lgamma(PARTS - levels + 1)
    return levels * F.softplus(-logits) + (PARTS - levels) * F.softplus(logits) - ways


def ink_nats(levels: Tensor, logits: Tensor, shades: Tensor) -> Tensor:
    """Return - log p of levels (..., 0 ... 16) where a pixel holds ink with probability sigmoid(logits).

    How much ink is left to `shades` (16,), the probability of each level above 0. The sixteenths of a pixel are inked
    together or not at all: taken for independent, each pixel counts 16 times over, and a bound falls below the floor.
    """
    shade = shades[(levels.long() - 1).clamp(min=0)].log()
    return torch.where(levels > 0, F.softplus(-logits) - shade, F.softplus(logits))


class PictureFamily(Family):
    """A family that makes whole pictures."""

    kind = "pictures"
    batch_size: ClassVar[int] = 32

    def batches(self, material: Material, seed: int) -> Iterator[PictureBatch]:
        """Yield batches of pictures."""
        rng, chances = np.random.default_rng(seed), material.chances()
        sides = [torch.from_numpy(levels_of(list(side))) for side in material.train]
        while True:
            kinds = rng.choice(len(sides), self.batch_size, p=chances)
            chosen = torch.stack([sides[kind][int(rng.integers(len(sides[kind])))] for kind in kinds])
            yield PictureBatch(chosen.float(), torch.from_numpy(kinds))

    def batch_of(self, drawings: PackedDrawings, category: str) -> PictureBatch:
        """Return the pictures of drawings as one batch."""
        levels = torch.from_numpy(levels_of(list(drawings))).float()
        return PictureBatch(levels, torch.full((len(levels),), self.number(category)))

    def latents(self, indices: Sequence[int], seed: int, dim: int) -> Tensor:
        """Return standard normal numbers (B, dim), each row its own (seed, index)'s."""
        return StrokeRandomness(seed, indices, 0, dim).normal()


def encoder(channels: int) -> nn.Sequential:
    """Return a network from pictures (B, 1, 64, 64) to maps (B, channels, 4, 4)."""
    a, b, c, d = WIDTHS
    return nn.Sequential(
        nn.Conv2d(1, a, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(b, c, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(c, d, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(d, channels, 1),
    )  # fmt: skip


def decoder(channels: int) -> nn.Sequential:
    """Return a network from maps (B, channels, 4, 4) to logits of ink (B, 1, 64, 64)."""
    a, b, c, d = WIDTHS
    return nn.Sequential(
        nn.Conv2d(channels, d, 3, 1, 1), nn.LeakyReLU(0.2), nn.ConvTranspose2d(d, c, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(c, b, 4, 2, 1), nn.LeakyReLU(0.2), nn.ConvTranspose2d(b, a, 4, 2, 1), nn.LeakyReLU(0.2),
        mostly_paper(nn.ConvTranspose2d(a, 1, 4, 2, 1)),
    )  # fmt: skip


def mostly_paper(last: nn.ConvTranspose2d) -> nn.ConvTranspose2d:
    """Return the last layer of a decoder so that it begins with what is true of every drawing: there is little ink."""
    assert last.bias is not None
    nn.init.constant_(last.bias, -2.5)
    return last


class IndependentPixels(PictureFamily):
    """Each pixel has a table of its 17 levels, by counting: maximum likelihood, smoothed; no pixel knows of another."""

    title, likelihood, surprise_unit = "Independent pixels", "exact", "a probability of pictures"
    counts: Tensor
    SMOOTHING = 0.05

    def __init__(self, categories: Sequence[str]) -> None:
        """Make empty tables, (C, 17, 64, 64)."""
        super().__init__(categories)
        self.register_buffer("counts", torch.zeros(len(categories), PARTS + 1, SIDE, SIDE, dtype=torch.bfloat16))

    def prepare(self, material: Material) -> None:
        """Count, and that is all the training there is."""
        for number, side in enumerate(material.train):
            levels = levels_of(list(side))
            shares = np.stack([(levels == level).mean(0) for level in range(PARTS + 1)])
            n = len(levels)
            smoothed = (n * shares + self.SMOOTHING) / (n + self.SMOOTHING * (PARTS + 1))
            self.counts[number] = torch.from_numpy(smoothed)

    def chances(self) -> Tensor:
        """Return the probability of every level of every pixel, (C, 17, 64, 64)."""
        kept = self.counts.float()
        return kept / kept.sum(1, keepdim=True)

    def surprise(self, batch: PictureBatch) -> Tensor:
        """Return - log p (B,), exactly: the sum over pixels."""
        chance = self.chances()[batch.category].gather(1, batch.levels.long()[:, None])
        return -chance.log().sum((1, 2, 3))

    def loss(self, batch: PictureBatch) -> Tensor:
        """Return the nats a picture, which nothing is left to lower."""
        return self.surprise(batch).mean()

    @torch.inference_mode()
    def generate(self, category: str, indices: Sequence[int], seed: int, temperature: float = 1.0) -> Any:
        """Return pictures (B, 64, 64) uint8 of pixels drawn one by one; counts have no temperature."""
        below = self.chances()[self.number(category)].double().cumsum(0)
        rngs = StrokeRandomness(seed, indices, 0, 1).generators
        uniform = torch.from_numpy(np.stack([rng.random((SIDE, SIDE)) for rng in rngs]))
        return to_pictures((uniform[:, None] > below).sum(1).clamp(max=PARTS).float())
