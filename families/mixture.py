"""Maximum likelihood: the next stroke is a mixture of Gaussians (Ha and Eck 2017, Sketch-RNN, arXiv:1704.03477, eq. 3).

    p(x | history) = sum_m w_m prod_d N(x_d; mu_md, sigma_md)          loss = - log p(x | history)

Exact likelihood, one evaluation a stroke. Within a component the numbers of a stroke are independent: what has to fit
together, and does not always, is left to the choice of the component.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffusion_model import HistoryState
from families.strokes import StrokeFamily
from sample_diffusion import StrokeRandomness

COMPONENTS = 5
SMALLEST = -3.5
"""Of the log of a deviation: below, a component could sit on a single stroke and its likelihood grow without end."""


class Mixture(StrokeFamily):
    """Gaussian mixture by maximum likelihood; the temperature is Sketch-RNN's."""

    title, likelihood, surprise_unit = "Gaussian mixture", "exact", "a density of tokens"
    outputs = COMPONENTS * (1 + 2 * StrokeFamily.token_dim)

    def head_loss(self, tokens: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Return the nats for a number of a token, mean over real strokes."""
        return self.stroke_surprise(tokens, context)[mask].mean() / self.token_dim

    def stroke_surprise(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Return - log p (B, K), exactly."""
        out = self.answers(torch.zeros(*tokens.shape[:2], 1, 1), context)[:, :, 0]
        return mixture_nats(tokens, *self._parts(out))

    def draw(self, history: HistoryState, random: StrokeRandomness, temperature: float) -> Tensor:
        """Return a component's mean and its noise."""
        log_weight, mean, log_deviation = self._parts(self.answer(torch.zeros(len(history.last), 1), history))
        chance = torch.softmax(log_weight / max(temperature, 1e-3), -1).cumsum(-1)
        uniform = torch.tensor([generator.random() for generator in random.generators])[:, None]
        chosen = (uniform > chance).sum(-1).clamp(max=COMPONENTS - 1)
        rows = torch.arange(len(chosen))
        noise = math.sqrt(temperature) * random.normal()
        return mean[rows, chosen] + log_deviation[rows, chosen].exp() * noise

    def _parts(self, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log weights (..., M), means and log deviations (..., M, D)."""
        weights, rest = out[..., :COMPONENTS], out[..., COMPONENTS:]
        mean, log_deviation = rest.unflatten(-1, (COMPONENTS, 2, self.token_dim)).unbind(-2)
        return torch.log_softmax(weights, -1), mean, SMALLEST + torch.nn.functional.softplus(log_deviation - SMALLEST)


def mixture_nats(x: Tensor, log_weight: Tensor, mean: Tensor, log_deviation: Tensor) -> Tensor:
    """Return - log p(x) (...) of `x` (..., D) under mixtures of weights (..., M), means and deviations (..., M, D)."""
    distance = (x[..., None, :] - mean) * (-log_deviation).exp()
    each = -0.5 * distance.square() - log_deviation - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(log_weight + each.sum(-1), -1)
