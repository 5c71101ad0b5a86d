"""The network: a causal transformer over the strokes so far, and a denoiser of the next stroke.

    p(drawing | category) = prod_k  p(go on | strokes before k) * p(stroke_k | strokes before k)

    history   [category, stroke_1 ... stroke_k]  -- causal transformer -->  context c_k          (B, K + 1, W)
    denoiser  x_t of stroke_k+1, time t, c_k     -- attends to c_0 ... c_k -->  v_hat            (B, D)
    stop head c_k                                -->  logit of "the drawing is finished"         (B,)

The diffusion head per token of an autoregressive transformer is from Li et al. 2024 (MAR, arXiv:2406.11838); time and
context enter through adaptive layer norm (Peebles and Xie 2023, DiT, arXiv:2212.09748). What is new here: the noisy
stroke itself is a query to the strokes before it, layer by layer, so that a whisker can look for the face it must
touch. In training one pass of the transformer serves every stroke of a drawing (teacher forcing); in sampling keys
and values are cached and only the small denoiser runs per diffusion step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from config import ModelConfig


def sinusoidal_embedding(num_timesteps: int, width: int) -> Tensor:
    """Return the sinusoidal embedding of every time, float32 (T, width) (Vaswani et al. 2017, sec. 3.5)."""
    frequency = torch.exp(-math.log(10_000.0) * torch.arange(width // 2) / (width // 2))
    angle = torch.arange(num_timesteps)[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def _heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, L, W) -> (B, H, L, W / H)."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Return softmax(q k^T / sqrt(d)) v, (B, L, W), from heads (B, H, L, d); `mask` (L, L') is True where seen.

    Written out (Vaswani et al. 2017, eq. 1): over some ten strokes the fused kernels are 2 to 9 times slower on a CPU.
    """
    scores = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


class HistoryBlock(nn.Module):
    """One pre-norm transformer layer with causal attention over the history."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, cache: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the new states (B, L, W) of `x` and all keys and values (B, H, past + L, W / H)."""
        q, k, v = (_heads(part, self.num_heads) for part in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        if cache is not None:
            k, v = torch.cat([cache[0], k], dim=2), torch.cat([cache[1], v], dim=2)
        drop = self.dropout if self.training else 0.0
        # a single new stroke may look at everything; several at once only at what stands before each
        mask = None
        if x.shape[1] > 1:
            past = k.shape[2] - x.shape[1]
            mask = torch.ones(x.shape[1], k.shape[2], dtype=torch.bool, device=x.device).tril(past)
        x = x + F.dropout(self.out(attend(q, k, v, mask)), drop, self.training)
        hidden = self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))
        return x + F.dropout(hidden, drop, self.training), (k, v)


class DenoiserBlock(nn.Module):
    """One layer of the denoiser: the noisy strokes attend to the history, then an MLP; both adaLN-modulated.

    Without `attention`, to compare with, the first part is an MLP too: it costs as much, and the strokes so far are
    known to it by the modulation alone, as in Li et al. 2024.
    """

    def __init__(self, width: int, num_heads: int, attention: bool) -> None:
        super().__init__()
        self.num_heads, self.attention = num_heads, attention
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        if attention:
            self.key_value = nn.Linear(width, 2 * width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.offset = nn.Parameter(torch.zeros(6 * width))
        for layer in (self.out, self.down):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values (B, H, L, W / H) of the context (B, L, W); empty ones without attention."""
        if not self.attention:
            nothing = context.new_zeros(len(context), self.num_heads, 0, context.shape[2] // self.num_heads)
            return nothing, nothing
        k, v = self.key_value(context).chunk(2, dim=-1)
        return _heads(k, self.num_heads), _heads(v, self.num_heads)

    def forward(self, x: Tensor, modulation: Tensor, keys_values: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """Return the new states (B, Q, W) of `x`; `modulation` is (B, Q, 6 W) and `mask` (Q, L), True where seen."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (modulation + self.offset).chunk(6, dim=-1)
        h = torch.addcmul(shift1, F.layer_norm(x, x.shape[-1:]), 1 + scale1)
        query = self.query(h)
        found = attend(_heads(query, self.num_heads), *keys_values, mask) if self.attention else F.gelu(query)
        x = torch.addcmul(x, 1 + gate1, self.out(found))
        h = torch.addcmul(shift2, F.layer_norm(x, x.shape[-1:]), 1 + scale2)
        return torch.addcmul(x, 1 + gate2, self.down(F.gelu(self.up(h), approximate="tanh")))


@dataclass
class HistoryState:
    """What sampling keeps of the strokes so far: c_k as `last` (B, W), and keys and values (B, H, k + 1, W / H)."""

    last: Tensor
    history: list[tuple[Tensor, Tensor]]
    denoiser: list[tuple[Tensor, Tensor]]

    def select(self, rows: Tensor) -> HistoryState:
        """Return the state of the chosen drawings, (B',) indices or a boolean mask (B,)."""

        def pick(caches: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
            return [(k[rows], v[rows]) for k, v in caches]

        return HistoryState(self.last[rows], pick(self.history), pick(self.denoiser))


class StrokeDiffusionModel(nn.Module):
    """p(next stroke | category, strokes so far) by diffusion, and p(stop | ...), over stroke tokens of D numbers.

    Category `num_categories` is the null category: what classifier-free guidance compares with (Ho and Salimans
    2022, arXiv:2207.12598).
    """

    time_table: Tensor

    def __init__(self, config: ModelConfig, num_categories: int, num_timesteps: int = 1000) -> None:
        super().__init__()
        if config.width % (2 * config.num_heads):
            raise ValueError(f"--width is {config.width}, must be a multiple of {2 * config.num_heads} (2 x heads)")
        self.config, self.num_categories = config, num_categories
        self.token_dim, width = 2 * config.num_points, config.width
        self.null_category = num_categories
        self.category = nn.Embedding(num_categories + 1, width)
        self.augmentation = nn.Linear(4, width, bias=False)
        self.position = nn.Parameter(0.02 * torch.randn(config.max_strokes + 1, width))
        self.read_stroke = nn.Sequential(nn.Linear(self.token_dim, width), nn.SiLU(), nn.Linear(width, width))
        blocks = [HistoryBlock(width, config.num_heads, config.dropout) for _ in range(config.num_layers)]
        self.history = nn.ModuleList(blocks)
        self.history_norm = nn.LayerNorm(width)
        self.stop = nn.Linear(width, 1)

        self.read_noisy = nn.Linear(self.token_dim, width)
        attention = config.denoiser == "attention"
        layers = [DenoiserBlock(width, config.num_heads, attention) for _ in range(config.denoiser_layers)]
        self.denoiser = nn.ModuleList(layers)
        self.register_buffer("time_table", sinusoidal_embedding(num_timesteps, width), persistent=False)
        self.time_hidden = nn.Linear(width, width)
        self.time_modulation = nn.Linear(width, 6 * width)
        self.context_modulation = nn.Linear(width, 6 * width)
        self.write_noise = nn.Linear(width, self.token_dim)
        nn.init.normal_(self.category.weight, std=0.5)
        nn.init.zeros_(self.augmentation.weight)
        for layer in (self.time_modulation, self.context_modulation, self.write_noise, self.stop):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def _denoiser_blocks(self) -> list[DenoiserBlock]:
        return cast("list[DenoiserBlock]", list(self.denoiser))

    def _read_history(self, tokens: Tensor, category: Tensor, affine: Tensor | None = None) -> Tensor:
        """Return transformer inputs (B, K + 1, W): the category first, then the strokes `tokens` (B, K, D)."""
        kind = self.category(category)[:, None]
        if affine is not None:
            kind = kind + self.augmentation(affine)[:, None]
        strokes = self.read_stroke(tokens) + kind
        return torch.cat([kind, strokes], dim=1) + self.position[: tokens.shape[1] + 1]

    def context(self, tokens: Tensor, category: Tensor, affine: Tensor | None = None) -> Tensor:
        """Return the contexts c_0 ... c_K, (B, K + 1, W), of drawings `tokens` (B, K, D) of `category` (B,).

        c_k has seen the category and the first k strokes, nothing later, so padding behind a drawing is harmless.
        `affine` (B, 4) tells by how much each drawing was stretched and sheared in training, zeros or None: not at
        all. What is told does not leak into what is drawn (Karras et al. 2022, arXiv:2206.00364, app. F.2).
        """
        x = self._read_history(tokens, category, affine)
        for block in self.history:
            x, _ = block(x, None)
        return self._told_category(self.history_norm(x), category)

    def _told_category(self, context: Tensor, category: Tensor) -> Tensor:
        """Return contexts (B, L, W) with the category once more, where the denoiser is to be told it directly."""
        return context + self.category(category)[:, None] if self.config.denoiser_category == "direct" else context

    def stop_logits(self, context: Tensor) -> Tensor:
        """Return the logit (...) that the drawing ends here, from contexts (..., W)."""
        return self.stop(context).squeeze(-1)

    def time_modulations(self) -> Tensor:
        """Return the modulation by every time, (T, 6 W): one small product that serves a whole batch."""
        return self.time_modulation(F.silu(self.time_hidden(self.time_table)))

    def denoise_all(self, x_t: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """Return v_hat (B, K, M, D) for M noisy copies `x_t` (B, K, M, D) of every stroke, at times `t` (B, K, M).

        `context` (B, K, W) is c_0 ... c_{K-1}: the k-th stroke sees c_0 ... c_{k-1}, the strokes before it.
        """
        num_strokes, copies = x_t.shape[1:3]
        modulation = self.time_modulations()[t] + self.context_modulation(context)[:, :, None]
        stroke = torch.arange(num_strokes, device=x_t.device)
        mask = (stroke[:, None] >= stroke[None, :]).repeat_interleave(copies, dim=0)
        x = (self.read_noisy(x_t) + context[:, :, None]).flatten(1, 2)
        modulation = modulation.flatten(1, 2)
        for block in self._denoiser_blocks():
            x = block(x, modulation, block.keys_values(context), mask)
        return self.write_noise(F.layer_norm(x, x.shape[-1:])).unflatten(1, (num_strokes, copies))

    def start(self, category: Tensor, prefix: Tensor | None = None) -> HistoryState:
        """Return the state of drawings of `category` (B,) after the strokes `prefix` (B, k, D), which may be none."""
        if prefix is None:
            prefix = self.position.new_zeros(len(category), 0, self.token_dim)
        return self._extend(self._read_history(prefix, category), category, None)

    def append(self, state: HistoryState, token: Tensor, category: Tensor) -> HistoryState:
        """Return the state after one more stroke `token` (B, D); drawings already at max_strokes are refused."""
        length = state.history[0][0].shape[2]
        if length > self.config.max_strokes:
            raise ValueError(f"a drawing has at most {self.config.max_strokes} strokes")
        x = self.read_stroke(token) + self.category(category) + self.position[length]
        return self._extend(x[:, None], category, state)

    def _extend(self, x: Tensor, category: Tensor, state: HistoryState | None) -> HistoryState:
        caches = []
        for i, block in enumerate(self.history):
            x, cache = block(x, state.history[i] if state else None)
            caches.append(cache)
        context = self._told_category(self.history_norm(x), category)
        fresh = [block.keys_values(context) for block in self._denoiser_blocks()]
        if state:
            fresh = [
                (torch.cat([old[0], new[0]], dim=2), torch.cat([old[1], new[1]], dim=2))
                for old, new in zip(state.denoiser, fresh, strict=True)
            ]
        return HistoryState(context[:, -1], caches, fresh)

    def denoise(self, x_t: Tensor, t: int, state: HistoryState, time_modulations: Tensor) -> Tensor:
        """Return v_hat (B, D) of the next stroke `x_t` (B, D) at time `t`, given the state of its history."""
        modulation = (time_modulations[t] + self.context_modulation(state.last))[:, None]
        x = (self.read_noisy(x_t) + state.last)[:, None]
        for block, keys_values in zip(self.denoiser, state.denoiser, strict=True):
            x = block(x, modulation, keys_values, None)
        return self.write_noise(F.layer_norm(x, x.shape[-1:]))[:, 0]
