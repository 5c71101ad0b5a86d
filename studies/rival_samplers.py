"""Two other ways to draw, of their published sizes and with random weights: what they cost, not what they draw.

Only `benchmark.py` uses them. A point-by-point LSTM has the size of Sketch-RNN's decoder (Ha and Eck 2017,
arXiv:1704.03477, sec. 3: 512 units, 20 mixtures, a latent vector of 128); a one-dimensional U-Net that denoises a whole
drawing has that of SketchKnitter (Wang et al. 2023: 96 points, widths 96 to 384, two residual blocks a level).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffusion_process import cosine_alpha_bar, ddim_sampler

LSTM_UNITS, MIXTURES, LATENT = 512, 20, 128
UNET_POINTS, UNET_WIDTHS, BLOCKS_PER_LEVEL = 96, (96, 192, 288, 384), 2
GROUPS = 32


class PointLSTM(nn.Module):
    """Draws point after point: an LSTM, and a mixture of Gaussians for the next step of the pen."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(5 + LATENT, LSTM_UNITS)
        self.mixture = nn.Linear(LSTM_UNITS, 6 * MIXTURES + 3)

    def draw(self, count: int, num_points: int, generator: torch.Generator) -> Tensor:
        """Return `count` drawings of `num_points` points, (B, P, 5): a step (dx, dy) and which of three pen states."""
        latent = torch.randn(count, LATENT, generator=generator)
        point = torch.zeros(count, 5)
        hidden = cell = torch.zeros(count, LSTM_UNITS)
        points = []
        for _ in range(num_points):
            hidden, cell = self.cell(torch.cat([point, latent], dim=1), (hidden, cell))
            point = self._next_point(self.mixture(hidden), generator)
            points.append(point)
        return torch.stack(points, dim=1)

    def _next_point(self, output: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the next point (B, 5) from the mixture (Ha and Eck 2017, eqs. 3 to 7)."""
        pen, gaussians = output[:, :3].softmax(-1), output[:, 3:].unflatten(-1, (6, MIXTURES))
        chosen = torch.multinomial(gaussians[:, 0].softmax(-1), 1, generator=generator)
        parts = gaussians.gather(2, chosen[:, None].expand(-1, 6, -1)).squeeze(-1)
        rho, (one, two) = parts[:, 5].tanh(), torch.randn(2, len(output), generator=generator)
        dx = parts[:, 1] + parts[:, 3].exp() * one
        dy = parts[:, 2] + parts[:, 4].exp() * (rho * one + (1 - rho**2).sqrt() * two)
        state = F.one_hot(torch.multinomial(pen, 1, generator=generator).squeeze(-1), 3)
        return torch.cat([dx[:, None], dy[:, None], state], dim=1)


class _ResidualBlock(nn.Module):
    """Two convolutions with group norm, the second scaled and shifted by the time, beside a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, time_width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(GROUPS, channels_in), nn.GroupNorm(GROUPS, channels_out)
        self.conv1 = nn.Conv1d(channels_in, channels_out, 3, padding=1)
        self.conv2 = nn.Conv1d(channels_out, channels_out, 3, padding=1)
        self.time = nn.Linear(time_width, 2 * channels_out)
        self.shortcut = nn.Conv1d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return (B, C', P) from `x` (B, C, P)."""
        scale, shift = self.time(F.silu(time))[..., None].chunk(2, dim=1)
        hidden = self.norm2(self.conv1(F.silu(self.norm1(x)))) * (1 + scale) + shift
        return self.shortcut(x) + self.conv2(F.silu(hidden))


class WholeDrawingUNet(nn.Module):
    """Denoises all points of a drawing at once, each (dx, dy, pen), by a one-dimensional U-Net."""

    def __init__(self) -> None:
        super().__init__()
        first, time_width = UNET_WIDTHS[0], 4 * UNET_WIDTHS[0]
        self.time = nn.Sequential(nn.Linear(first, time_width), nn.SiLU(), nn.Linear(time_width, time_width))
        self.read, self.write = nn.Conv1d(3, first, 3, padding=1), nn.Conv1d(first, 3, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        widths, current = [first], first
        for level, width in enumerate(UNET_WIDTHS):
            for _ in range(BLOCKS_PER_LEVEL):
                self.down.append(_ResidualBlock(current, width, time_width))
                current = width
                widths.append(current)
            if level < len(UNET_WIDTHS) - 1:
                self.down.append(nn.Conv1d(current, current, 3, stride=2, padding=1))
                widths.append(current)
        self.middle = nn.ModuleList(_ResidualBlock(current, current, time_width) for _ in range(2))
        self.attention = nn.MultiheadAttention(current, 4, batch_first=True)
        for level, width in reversed(list(enumerate(UNET_WIDTHS))):
            for _ in range(BLOCKS_PER_LEVEL + 1):
                self.up.append(_ResidualBlock(current + widths.pop(), width, time_width))
                current = width
            if level:
                self.up.append(nn.Conv1d(current, current, 3, padding=1))

    def forward(self, x: Tensor, t: int) -> Tensor:
        """Return the prediction (B, 3, P) for noisy drawings `x` (B, 3, P) at time `t`."""
        frequency = torch.exp(torch.linspace(0, -9, UNET_WIDTHS[0] // 2))
        time = self.time(torch.cat([(t * frequency).cos(), (t * frequency).sin()]))[None]
        x = self.read(x)
        seen = [x]
        for layer in self.down:
            x = layer(x, time) if isinstance(layer, _ResidualBlock) else layer(x)
            seen.append(x)
        x = self.middle[0](x, time)
        tokens = x.transpose(1, 2)
        x = x + self.attention(tokens, tokens, tokens, need_weights=False)[0].transpose(1, 2)
        x = self.middle[1](x, time)
        for layer in self.up:
            if isinstance(layer, _ResidualBlock):
                x = layer(torch.cat([x, seen.pop()], dim=1), time)
            else:
                x = layer(F.interpolate(x, scale_factor=2))
        return self.write(x)

    def draw(self, count: int, num_steps: int, generator: torch.Generator) -> Tensor:
        """Return `count` drawings (B, 3, P) after `num_steps` evaluations, by DDIM."""

        def denoise(x_t: Tensor, t: int) -> Tensor:
            return self(x_t.unflatten(1, (3, UNET_POINTS)), t).flatten(1)

        def noise() -> Tensor:
            return torch.randn(count, 3 * UNET_POINTS, generator=generator)

        for x_t, _ in ddim_sampler(denoise, noise, cosine_alpha_bar(), num_steps):
            latest = x_t
        return latest.unflatten(1, (3, UNET_POINTS))
