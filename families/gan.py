"""A conditional generative adversarial network of the next stroke (Goodfellow et al. 2014, arXiv:1406.2661).

    discriminator  min  softplus(- D(x, c)) + softplus(D(G(z, c), c)) + gamma / 2 |grad_x D(x, c)|^2
    generator      min  softplus(- D(G(z, c), c))

Both in one scalar: each player's part holds the other's numbers still, so that one gradient step moves both (the
non-saturating loss with the gradient penalty of Mescheder et al. 2018, arXiv:1801.04406). No likelihood, one
evaluation a stroke. Nothing makes it draw *all* that people draw: what it leaves out is called mode collapse.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffusion_model import HistoryState
from families.strokes import TRUNK, StrokeFamily
from sample_diffusion import StrokeRandomness

PENALTY = 1.0


class _Judge(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1)
        )

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Return scores (N, 1) of strokes (N, D) with contexts (N, W)."""
        score: Tensor = self.layers(torch.cat([x, known], -1))
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
    part does not reach `fake`, nor that of the generator's part the discriminator.
    """
    x = real.detach().requires_grad_(True)
    score_real, score_fake = judge(x, known), judge(fake.detach(), known)
    (slope,) = torch.autograd.grad(score_real.sum(), x, create_graph=True)
    for_judge = F.softplus(-score_real) + F.softplus(score_fake)
    for_judge = for_judge + 0.5 * penalty * slope.square().flatten(1).sum(-1, keepdim=True)
    still = {name: parameter.detach() for name, parameter in judge.named_parameters()}
    for_generator = F.softplus(-torch.func.functional_call(judge, still, (fake, known.detach())))
    return for_judge.mean() + for_generator.mean()
