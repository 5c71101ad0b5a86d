"""An energy score instead of a discriminator: the shortest family here (Gneiting and Raftery 2007, sec. 4.3).

    loss = |x - y| - 1/2 |y - y'|,      y, y' = G(z, c), G(z', c)

Two draws of the generator shall be as far from each other as either is from the stroke that a person drew: the
expected loss is least where the generator draws as people do. No second player, no likelihood, one evaluation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion_model import HistoryState
from families.strokes import StrokeFamily
from sample_diffusion import StrokeRandomness

DRAWS = 4


class Energy(StrokeFamily):
    """A generator trained by the energy score: what adding a family takes."""

    title = "Energy score"
    inputs = StrokeFamily.token_dim

    def head_loss(self, tokens: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Return the energy score in pixels' proportions, mean over real strokes."""
        drawn = self.answers(torch.randn(*tokens.shape[:2], DRAWS, self.inputs), context)
        weight = self.scale / self.scale.mean()
        return energy_score(tokens * weight, drawn * weight)[mask].mean()

    def draw(self, history: HistoryState, random: StrokeRandomness, temperature: float) -> Tensor:
        """Return what the generator makes of noise, which the temperature shrinks."""
        return self.answer(temperature * random.normal(), history)


def energy_score(x: Tensor, drawn: Tensor) -> Tensor:
    """Return the energy score (...) of M draws (..., M, D) for what came, `x` (..., D): unbiased, lower is better."""
    count = drawn.shape[-2]
    away = (drawn - x[..., None, :]).norm(dim=-1).mean(-1)
    first, second = torch.triu_indices(count, count, 1)
    return away - 0.5 * (drawn[..., first, :] - drawn[..., second, :]).norm(dim=-1).mean(-1)
