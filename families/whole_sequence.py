"""Diffusion of a whole drawing at once, in SketchKnitter's form (Wang et al. 2023, ICLR): 96 offsets and their pens.

All offsets are denoised together; what the pen does is a classification of the offsets, read off at the end. The
denoiser here is a transformer over patches of 4 offsets, where SketchKnitter has a U-Net. Nothing is drawn before
anything else: a beginning cannot simply be continued, and longer drawings do not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion_process import cosine_alpha_bar, diffuse, diffusion_loss, sample_timesteps
from families.patches import STEPS, TIMES, SequenceDenoiser, denoised
from families.points import ENDS, SequenceBatch, SequenceFamily

PATCH, PENS = 4, 3
PEN_WEIGHT = 0.1
CLEAN = 200
"""Only below this time the pens are learned: in noisier offsets nothing says what the pen does."""


class WholeSequence(SequenceFamily):
    """Whole-sequence diffusion over 96 offsets, 20 steps of DPM-Solver++ for a drawing."""

    title, evaluations, longest, batch_size = "Whole-sequence diffusion", STEPS, 96, 64
    learning_rate = 1e-3

    def __init__(self, categories: Sequence[str]) -> None:
        """Build it."""
        super().__init__(categories)
        self.denoiser = SequenceDenoiser(len(categories), self.longest // PATCH, 2 * PATCH, PATCH * (2 + PENS), 128, 4)

    def loss(self, batch: SequenceBatch) -> Tensor:
        """Return the squared error of v and a tenth of the nats a pen; behind the end everything is zero, and ends."""
        more = self.longest - batch.offsets.shape[1]
        x0 = F.pad(batch.offsets, (0, 0, 0, more)).flatten(1).unflatten(1, (-1, 2 * PATCH))
        pens = F.pad(batch.pens, (0, more), value=ENDS)
        t = sample_timesteps((len(x0),), TIMES, torch.default_generator)
        eps, alpha_bar, times = torch.randn_like(x0), cosine_alpha_bar(TIMES), t[:, None].expand(-1, x0.shape[1])
        out = self.denoiser(diffuse(x0, eps, times, alpha_bar), t, batch.category)
        error = diffusion_loss(out[..., : 2 * PATCH], x0, eps, times, alpha_bar).mean()
        logits = out[..., 2 * PATCH :].reshape(len(x0), self.longest, PENS)
        nats = F.cross_entropy(logits.transpose(1, 2), pens, reduction="none").mean(1)
        clean = (t < CLEAN).float()
        return error + PEN_WEIGHT * (nats * clean).sum() / clean.sum().clamp(min=1)

    @torch.inference_mode()
    def generate(self, category: str, indices: Sequence[int], seed: int, temperature: float = 1.0) -> Any:
        """Return a drawing per index."""
        kind = torch.full((len(indices),), self.number(category))
        x = denoised(self.denoiser, 2 * self.longest, list(indices), kind, seed, temperature, 2 * PATCH)[-1]
        out = self.denoiser(x.unflatten(-1, (-1, 2 * PATCH)), torch.zeros_like(kind), kind)
        pens = out[..., 2 * PATCH :].reshape(len(x), self.longest, PENS).argmax(-1)
        return self.drawings(x.unflatten(-1, (-1, 2)), pens)
