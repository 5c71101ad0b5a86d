"""The stroke recogniser: a small transformer that names drawings by their strokes in order, and sees no picture.

Input is what ``stroke_arrays`` makes of drawings: every stroke resampled to 32 points, in the drawing's own box. How
many points a stroke was given with does not reach the network, nor do the position and size of the drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from drawings.packed import running_sums
from stroke_tokens import resample_each

Drawing = Sequence[NDArray[Any]]

NUM_POINTS = 32
MOST_STROKES = 24
"""Strokes that are read; later ones are not."""
BOX = 254
"""Longest side of a drawing in the arrays, in their units; its box is centred."""
PADDING = 255
STROKE_FORM = f"{NUM_POINTS} points a stroke, of the first {MOST_STROKES} strokes, the longest side scaled to {BOX}"
JITTER = 2.0
"""Standard deviation of the noise on every point in training, in units of the arrays: invisible detail says nothing."""


@dataclass(frozen=True)
class StrokeRecogniserConfig:
    """Sizes of the network, and number of classes."""

    channels: int = 64
    width: int = 160
    layers: int = 2
    heads: int = 4
    num_classes: int = 345
    dropout: float = 0.1


class _Block(nn.Module):
    """Attention among the strokes of each drawing, and an MLP, both residual (Vaswani et al. 2017)."""

    def __init__(self, config: StrokeRecogniserConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, strokes: Tensor, mask: Tensor) -> Tensor:
        """Map the strokes (S, W) that `mask` (B, K) sets out on drawings to (S, W)."""
        padded = _padded(self.qkv(self.norms[0](strokes)), mask)  # (B, K, 3 W)
        q, k, v = padded.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, H, K, W / H)
        attended = scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None]).transpose(1, 2)
        strokes = strokes + self.out(attended.reshape(mask.numel(), -1).index_select(0, _places(mask)))
        result: Tensor = strokes + self.mlp(self.norms[1](strokes))
        return result


def _places(mask: Tensor) -> Tensor:
    """Return where in the flattened `mask` (B, K) the S strokes are, (S,)."""
    return mask.flatten().nonzero()[:, 0]


def _padded(strokes: Tensor, mask: Tensor) -> Tensor:
    """Return strokes (S, C) set out on their drawings, (B, K, C), zeros where `mask` (B, K) has none."""
    empty = strokes.new_zeros(mask.numel(), strokes.shape[1])
    return empty.index_copy(0, _places(mask), strokes).unflatten(0, mask.shape)


class StrokeRecogniser(nn.Module):
    """Classify drawings by their strokes; the mean of the last layer over a drawing's strokes is its feature vector."""

    def __init__(self, config: StrokeRecogniserConfig) -> None:
        """Build the network that `config` describes, with fresh weights."""
        super().__init__()
        self.config = config
        channels, width = config.channels, config.width
        self.shape = nn.Sequential(  # of places and steps, (S, 4, 32), by way of 8 overlapping parts of a stroke
            nn.Conv1d(4, channels, 8, stride=4, padding=2), nn.GELU(), nn.Flatten(), nn.Linear(8 * channels, width)
        )
        self.place = nn.Parameter(torch.randn(MOST_STROKES, width))  # of the first stroke, the second ...
        self.blocks = nn.ModuleList([_Block(config) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(width, config.num_classes)

    def features(self, arrays: Tensor) -> Tensor:
        """Return the features (B, W) float32 of ``stroke_arrays``, uint8 (B, MOST_STROKES, NUM_POINTS, 2)."""
        mask = arrays[:, :, 0, 0] != PADDING
        mask = mask[:, : int(mask.sum(dim=1).max())]
        points = arrays[:, : mask.shape[1]][mask].float()  # (S, 32, 2)
        if self.training:
            points = points + JITTER * torch.randn_like(points)
        points = points / (BOX / 2) - 1
        steps = torch.diff(points, dim=1, prepend=points[:, :1])
        strokes = self.shape(torch.cat([points, 8 * steps], dim=2).transpose(1, 2))  # steps are small beside places
        strokes = strokes + self.place[mask.nonzero()[:, 1]]
        for block in self.blocks:
            strokes = block(strokes, mask)
        return _padded(self.norm(strokes).float(), mask).sum(dim=1) / mask.sum(dim=1, keepdim=True)

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits (B, num_classes) float32 of features (B, W)."""
        logits: Tensor = self.classifier(self.dropout(features))
        return logits.float()

    def forward(self, arrays: Tensor) -> Tensor:
        """Return the logits (B, num_classes) float32 of ``stroke_arrays``."""
        return self.classify(self.features(arrays))


def stroke_arrays(drawings: Sequence[Drawing]) -> NDArray[np.uint8]:
    """Return the first MOST_STROKES strokes of drawings, uint8 (N, MOST_STROKES, NUM_POINTS, 2); others are PADDING.

    Strokes are resampled, and the drawing is scaled so that its longest side is BOX, its middle staying in the middle.
    """
    arrays = np.full((len(drawings), MOST_STROKES, NUM_POINTS, 2), PADDING, dtype=np.uint8)
    if not drawings:
        return arrays
    kept = [drawing[:MOST_STROKES] for drawing in drawings]
    counts = np.array([len(drawing) for drawing in kept])
    points = resample_each([stroke for drawing in kept for stroke in drawing], NUM_POINTS)
    first = running_sums(counts)[:-1]
    low = np.minimum.reduceat(points.min(axis=1), first)  # (N, 2)
    high = np.maximum.reduceat(points.max(axis=1), first)
    scale = BOX / np.maximum((high - low).max(axis=1), 1e-6)
    middle, scale = np.repeat((low + high) / 2, counts, axis=0), np.repeat(scale, counts)
    moved = (points - middle[:, None]) * scale[:, None, None] + BOX / 2
    arrays[np.arange(MOST_STROKES) < counts[:, None]] = np.rint(moved).clip(0, BOX)
    return arrays
