"""How well diffusion models foresee each stroke of a drawing: losses at fixed noise, and the surprise of its end.

Every drawing meets the same noise, so a drawing's loss hangs on nothing but the drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from diffusion_model import StrokeDiffusionModel, TrainedModel
from diffusion_process import cosine_alpha_bar, diffuse, diffusion_loss
from drawings.batches import within
from stroke_tokens import points_to_vectors, resample_each

Drawing = Sequence[NDArray[Any]]
Array = NDArray[np.float64]

TIMES = (150, 350, 550, 750)
"""Noise levels at which each stroke is denoised, of T = 1000: from fine detail to mere place."""
BATCH = 64


@dataclass(frozen=True)
class StrokeLosses:
    """Of N drawings: `denoising` (N, K), the mean squared error of v of every stroke, NaN behind a drawing's last one,
    and `stop` (N,), the nats that its end cost: of going on after each stroke but the last, and of ending there."""

    denoising: Array
    stop: Array


@torch.inference_mode()
def stroke_losses(
    trained: TrainedModel, category_id: int, drawings: Sequence[Drawing], seed: int = 0, times: Sequence[int] = TIMES
) -> StrokeLosses:
    """Return the losses of drawings under a model that is told `category_id`; its null category is to be told nothing.

    Of a drawing with more strokes than the model knows only the first ones count, and no end.
    """
    model = trained.model
    longest, dim = model.config.max_strokes, model.token_dim
    noise = torch.randn(longest, len(times), dim, generator=torch.Generator().manual_seed(seed))
    denoising, stop = np.full((len(drawings), longest), np.nan), np.zeros(len(drawings))
    order = np.argsort([len(drawing) for drawing in drawings], kind="stable")
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        tokens, lengths = _tokens(trained, [drawings[row] for row in rows])
        context = model.context(tokens, torch.full((len(rows),), category_id))
        errors = _errors(model, tokens, context, noise, times)
        real = within(lengths, tokens.shape[1])
        denoising[rows, : tokens.shape[1]] = errors.masked_fill(~real, torch.nan).double().numpy()
        whole = torch.tensor([len(drawings[row]) <= longest for row in rows])
        stop[rows] = _stop_nats(model.stop_logits(context), lengths, whole).double().numpy()
    return StrokeLosses(denoising, stop)


def _tokens(trained: TrainedModel, drawings: Sequence[Drawing]) -> tuple[Tensor, Tensor]:
    """Return the tokens (B, K, D) of the first strokes of drawings, padded with zeros, and their lengths (B,)."""
    config = trained.model.config
    kept = [drawing[: config.max_strokes] for drawing in drawings]
    lengths = torch.tensor([len(drawing) for drawing in kept])
    vectors = points_to_vectors(resample_each([stroke for drawing in kept for stroke in drawing], config.num_points))
    longest = int(lengths.max())
    tokens = torch.zeros(len(kept), longest, vectors.shape[1])
    tokens[within(lengths, longest)] = trained.whitening.encode(vectors)
    return tokens, lengths


def _errors(
    model: StrokeDiffusionModel, tokens: Tensor, context: Tensor, noise: Tensor, times: Sequence[int]
) -> Tensor:
    """Return the squared errors of v of strokes (B, K, D), means over numbers and `times`, (B, K)."""
    alpha_bar, longest = cosine_alpha_bar(len(model.time_table)), tokens.shape[1]
    shape = (len(tokens), longest, len(times))
    t = torch.tensor(times).expand(shape)
    x0 = tokens[:, :, None].expand(*shape, -1)
    eps = noise[:longest].expand(*shape, -1)
    v_hat = model.denoise_all(diffuse(x0, eps, t, alpha_bar), t, context[:, :-1])
    return diffusion_loss(v_hat, x0, eps, t, alpha_bar).mean(2)


def _stop_nats(logits: Tensor, lengths: Tensor, whole: Tensor) -> Tensor:
    """Return the nats (B,) of decisions with `logits` (B, K + 1): go on after 1 ... n - 1 strokes, end after n.

    The end counts only of drawings that are `whole` (B,).
    """
    place = torch.arange(logits.shape[1])
    goes_on = F.softplus(logits).masked_fill((place < 1) | (place >= lengths[:, None]), 0.0).sum(1)
    ends = F.softplus(-logits).gather(1, lengths[:, None])[:, 0]
    return goes_on + ends * whole
