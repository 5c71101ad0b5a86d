"""Sketch-RNN's decoder at full size (Ha and Eck 2017, arXiv:1704.03477): an LSTM of 512 units draws point after point.

    p(drawing) = prod_i  [sum_m w_m N(dx, dy; mu_m, sigma_m, rho_m)] * p(pen_i)

The unconditional form, without the paper's encoder, which is told a category instead; the LSTM of 512 units is that of
the paper's decoder for a category and of the public decoders (the paper's largest one is a HyperLSTM of 2,048). Exact
likelihood; an error in a point moves all points after it (exposure bias).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from families.points import ENDS, SequenceBatch, SequenceFamily
from sample_diffusion import StrokeRandomness

UNITS, COMPONENTS = 512, 20
CLOSEST = 0.97
"""Of rho: beyond, a component is a line, and its density has no end."""


class SketchRNN(SequenceFamily):
    """The decoder-only Sketch-RNN, LSTM of 512 units, 20 components, told a category with every point."""

    title, likelihood, surprise_unit = "Sketch-RNN, LSTM 512", "exact", "a density of offsets"
    learning_rate, batch_size = 1e-3, 24

    def __init__(self, categories: Sequence[str]) -> None:
        """Build it."""
        super().__init__(categories)
        self.kind_of = nn.Embedding(len(categories), 16)
        self.start = nn.Embedding(len(categories), 2 * UNITS)
        self.lstm = nn.LSTM(2 + 3 + 16, UNITS, batch_first=True)
        self.out = nn.Linear(UNITS, 6 * COMPONENTS + 3)

    def _read(self, offsets: Tensor, pens: Tensor, category: Tensor, state: tuple[Tensor, Tensor] | None = None) -> Any:
        kind = self.kind_of(category)[:, None].expand(-1, offsets.shape[1], -1)
        if state is None:
            hidden, cell = self.start(category).tanh().chunk(2, -1)
            state = hidden.contiguous()[None], cell.contiguous()[None]
        hidden, state = self.lstm(torch.cat([offsets, F.one_hot(pens, 3).float(), kind], -1), state)
        return self.out(hidden), state

    def _nats(self, batch: SequenceBatch) -> Tensor:
        """Return the nats (B, N) of every point and pen; ends count as pens alone."""
        before = F.pad(batch.offsets, (0, 0, 1, 0))[:, :-1], F.pad(batch.pens, (1, 0))[:, :-1]
        out, _ = self._read(*before, batch.category)
        pens = F.cross_entropy(out[..., :3].transpose(1, 2), batch.pens, reduction="none")
        points = bivariate_nats(batch.offsets, out[..., 3:]) * (batch.pens != ENDS)
        return (points + pens) * batch.mask

    def loss(self, batch: SequenceBatch) -> Tensor:
        """Return the nats a point."""
        return self._nats(batch).sum() / batch.lengths.sum()

    def surprise(self, batch: SequenceBatch) -> Tensor:
        """Return - log p of drawings (B,), exactly."""
        return self._nats(batch).sum(1)

    @torch.inference_mode()
    def generate(self, category: str, indices: Sequence[int], seed: int, temperature: float = 1.0) -> Any:
        """Return a drawing per index, point after point until all have ended."""
        random = StrokeRandomness(seed, indices, 0, 2)
        kind = torch.full((len(indices),), self.number(category))
        point, pen, state = torch.zeros(len(kind), 2), torch.zeros(len(kind), dtype=torch.long), None
        points, pens = [], []
        for _ in range(self.longest):
            out, state = self._read(point[:, None], pen[:, None], kind, state)
            uniform = torch.tensor(np.array([generator.random(2) for generator in random.generators]))
            pen = pick(out[:, 0, :3] / temperature, uniform[:, 0])
            point = draw_offset(out[:, 0, 3:], uniform[:, 1], random.normal(), temperature)
            points.append(point)
            pens.append(pen)
            if all(bool((row == ENDS).any()) for row in torch.stack(pens, 1)):
                break
        return self.drawings(torch.stack(points, 1), torch.stack(pens, 1))


def pick(logits: Tensor, uniform: Tensor) -> Tensor:
    """Return one of C by its probability: int64 (B,) of logits (B, C) and uniform numbers (B,)."""
    chance = torch.softmax(logits, -1).double().cumsum(-1)
    return (uniform[:, None] > chance).sum(-1).clamp(max=logits.shape[-1] - 1)


def parts_of(out: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return logits (..., M), means and log deviations (..., M, 2), and rho (..., M) of 6 M numbers."""
    weights, mean_x, mean_y, spread_x, spread_y, rho = out.unflatten(-1, (6, -1)).unbind(-2)
    spread = torch.stack([spread_x, spread_y], -1).clamp(min=-6)
    return weights, torch.stack([mean_x, mean_y], -1), spread, CLOSEST * rho.tanh()


def bivariate_nats(x: Tensor, out: Tensor) -> Tensor:
    """Return - log p (...) of offsets `x` (..., 2) under mixtures of 6 M numbers (..., 6 M): the paper's eq. 3."""
    weights, mean, log_deviation, rho = parts_of(out)
    a, b = ((x[..., None, :] - mean) * (-log_deviation).exp()).unbind(-1)
    left = 1 - rho.square()
    each = -(a.square() + b.square() - 2 * rho * a * b) / (2 * left) - log_deviation.sum(-1) - 0.5 * left.log()
    return math.log(2 * math.pi) - torch.logsumexp(torch.log_softmax(weights, -1) + each, -1)


def draw_offset(out: Tensor, uniform: Tensor, normal: Tensor, temperature: float) -> Tensor:
    """Return an offset (B, 2) of mixtures (B, 6 M), with uniform (B,) and normal (B, 2) random numbers."""
    weights, mean, log_deviation, rho = parts_of(out)
    chosen, rows = pick(weights / temperature, uniform), torch.arange(len(out))
    rho, x, y = rho[rows, chosen], normal[:, 0], normal[:, 1]
    correlated = torch.stack([x, rho * x + (1 - rho.square()).sqrt() * y], -1)
    return mean[rows, chosen] + math.sqrt(temperature) * log_deviation[rows, chosen].exp() * correlated
