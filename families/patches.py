"""A small denoiser of short sequences, told time and category, for whole-sequence and latent diffusion."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffusion_model import sinusoidal_embedding
from diffusion_process import cosine_alpha_bar, dpm_solver_sampler
from sample_diffusion import StrokeRandomness

TIMES, STEPS = 1000, 20


class SequenceDenoiser(nn.Module):
    """A transformer over L tokens; time and category are two tokens more (Bao et al. 2023, arXiv:2209.12152)."""

    time_table: Tensor

    def __init__(self, num_categories: int, length: int, inputs: int, outputs: int, width: int, layers: int) -> None:
        """Build it: `inputs` numbers a token in, `outputs` out."""
        super().__init__()
        self.register_buffer("time_table", sinusoidal_embedding(TIMES, width), persistent=False)
        self.time, self.category = nn.Linear(width, width), nn.Embedding(num_categories, width)
        self.place = nn.Parameter(0.02 * torch.randn(length, width))
        self.read, self.write = nn.Linear(inputs, width), nn.Linear(width, outputs)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, x: Tensor, t: Tensor, category: Tensor) -> Tensor:
        """Return (B, L, outputs) of tokens `x` (B, L, inputs) at times `t` (B,), of `category` (B,)."""
        told = torch.stack([self.time(self.time_table[t]), self.category(category)], 1)
        states: Tensor = self.blocks(torch.cat([told, self.read(x) + self.place], 1))
        return self.write(states[:, 2:])


def denoised(denoiser: SequenceDenoiser, dim: int, indices: list[int], kind: Tensor, seed: int, temperature: float,
             channels: int) -> list[Tensor]:  # fmt: skip
    """Return all states x_t (B, dim) of a sampling in STEPS steps, the last one clean; `channels` numbers a token.

    Of more numbers that the denoiser may write for a token the first `channels` are v. Each row's noise is its own
    (seed, index)'s.
    """
    random = StrokeRandomness(seed, indices, 0, dim)

    def v(x: Tensor, t: int) -> Tensor:
        out = denoiser(x.unflatten(-1, (-1, channels)), torch.full((len(x),), t), kind)
        return out[..., :channels].flatten(1)

    steps = dpm_solver_sampler(v, lambda: temperature * random.normal(), cosine_alpha_bar(TIMES), STEPS)
    return [x for x, _ in steps]
