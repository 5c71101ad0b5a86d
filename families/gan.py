"""A conditional generative adversarial network of the next stroke (Goodfellow et al. 2014, arXiv:1406.2661).

    discriminator  min  softplus(D(y, c) - D(x, c)) + gamma / 2 (|grad_x D(x, c)|^2 + |grad_y D(y, c)|^2)
    generator      min  softplus(D(x, c) - D(y, c)),      y = G(z, c)

Both in one scalar: each player's part holds the other's numbers still, so that one gradient step moves both. A drawn
stroke y is judged beside a real one, x, that continues the same drawing, and the slope is held small at both (Huang et
al. 2024, arXiv:2501.05441): by the classical loss, each judged alone, this generator drew one cat again and again, mode
collapse. No likelihood, one evaluation a stroke.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffusion_model import HistoryState
from families.strokes import TRUNK, StrokeFamily
from sample_diffusion import StrokeRandomness

PENALTY = 0.05
"""So small that the discriminator can tell strokes apart: at 1 it sees little but their mean."""
FORGOTTEN = 0.5
"""Share of the context that the discriminator does not see, another each time: a whole one is a drawing's fingerprint,
by which the one stroke that came next is learned by heart, and the generator is taught to draw no other."""


class _Judge(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1)
        )

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Return scores (N, 1) of strokes (N, D) with contexts (N, W)."""
        score: Tensor = self.layers(torch.cat([x, F.dropout(known, FORGOTTEN, self.training)], -1))
        return score


class GAN(StrokeFamily):
    """Conditional GAN: the trunk is the generator, an MLP that sees stroke and context the discriminator."""

    title = "Conditional GAN"
    inputs = StrokeFamily.token_dim
    learning_rate, betas = 5e-4, (0.0, 0.98)

    def __init__(self, categories: Sequence[str]) -> None:
        """Build generator and discriminator."""
        super().__init__(categories)
        self.discriminator = _Judge(self.token_dim + TRUNK.width)

    def head_loss(self, tokens: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Return the losses of both players, mean over real strokes."""
        fake = self.answers(torch.randn_like(tokens)[:, :, None], context)[:, :, 0][mask]
        return adversarial_loss(self.discriminator, tokens[mask], fake, context[mask], PENALTY)

    def draw(self, history: HistoryState, random: StrokeRandomness, temperature: float) -> Tensor:
        """Return what the generator makes of noise, which the temperature shrinks."""
        return self.answer(temperature * random.normal(), history)


def adversarial_loss(judge: nn.Module, real: Tensor, fake: Tensor, known: Tensor, penalty: float) -> Tensor:
    """Return the losses of discriminator and generator as one scalar, which either lowers by its own numbers alone.

    `judge(x, known)` scores `real` and `fake` (N, ...), given `known` (N, ...). The gradient of the discriminator's
    part reaches neither `fake` nor `known`, and that of the generator's part not the discriminator.
    """
    known, pair = known.detach(), [side.detach().requires_grad_(True) for side in (real, fake)]
    scores = [judge(side, known) for side in pair]
    slopes = torch.autograd.grad(scores[0].sum() + scores[1].sum(), pair, create_graph=True)
    steep = sum(slope.square().flatten(1).sum(-1, keepdim=True) for slope in slopes)
    still = {name: parameter.detach() for name, parameter in judge.named_parameters()}
    better = scores[0].detach() - torch.func.functional_call(judge, still, (fake, known))
    return (F.softplus(scores[1] - scores[0]) + 0.5 * penalty * steep + F.softplus(better)).mean()
