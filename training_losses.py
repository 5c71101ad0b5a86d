"""The losses of a batch: of denoising every stroke, and of deciding after each whether the drawing is finished."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from config import TrainConfig
from diffusion_model import StrokeDiffusionModel
from diffusion_process import diffuse, diffusion_loss, min_snr_weight, sample_timesteps
from drawings.batches import Batch
from stroke_tokens import Whitening


def losses(
    model: StrokeDiffusionModel,
    whitening: Whitening,
    batch: Batch,
    alpha_bar: Tensor,
    config: TrainConfig,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return the diffusion loss (mean squared error of v per number) and the stop loss (nats per decision).

    Each real stroke of the batch counts once; padding counts nowhere. The history carries noise of a random level
    per drawing, up to `config.history_noise`, against errors that accumulate over strokes.
    """
    tokens = whitening.encode(batch.vectors)
    count, longest, dim = tokens.shape
    device = tokens.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=generator.device).to(device)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=generator.device).to(device)

    category = batch.category.masked_fill(uniform(count) < config.category_dropout, model.null_category)
    level = config.history_noise * uniform(count, 1, 1)
    context = model.context(tokens + level * normal(count, longest, dim), category, batch.affine)

    weight = whitening.scale**config.scale_weight

    def errors(strokes: Tensor, known: Tensor, draws: int) -> Tensor:
        """Return the errors (B, K, draws) of denoising `strokes` (B, K, D) with contexts `known` (B, K, W)."""
        shape = (*strokes.shape[:2], draws)
        t = sample_timesteps(shape, len(alpha_bar), generator).to(device)
        x0, eps = strokes[:, :, None].expand(*shape, dim), normal(*shape, dim)
        v_hat = model.denoise_all(diffuse(x0, eps, t, alpha_bar), t, known)
        error = diffusion_loss(v_hat, x0, eps, t, alpha_bar, weight / weight.mean())
        return error * min_snr_weight(t, alpha_bar, config.min_snr) if config.min_snr > 0 else error

    all_errors = errors(tokens, context[:, :-1], config.noise_draws)[batch.mask].flatten()
    if config.first_stroke_draws:
        first = errors(tokens[:, :1], context[:, :1], config.first_stroke_draws)
        all_errors = torch.cat([all_errors, first.flatten()])
    diffusion = all_errors.mean()

    decision = torch.arange(longest + 1, device=device)
    ends = (decision == batch.lengths[:, None]).float()
    decided = (decision >= 1) & (decision <= batch.lengths[:, None])
    stop = F.binary_cross_entropy_with_logits(model.stop_logits(context).float()[decided], ends[decided])
    return diffusion, stop


def validation_losses(
    model: StrokeDiffusionModel,
    whitening: Whitening,
    batches: list[Batch],
    alpha_bar: Tensor,
    config: TrainConfig,
    autocast: Callable[[], Any],
) -> dict[str, float]:
    """Return the losses per stroke over fixed held-out drawings, with the same noise at every call."""
    # unweighted and without noise on the history, so that runs with other settings can be compared
    fixed = dataclasses.replace(
        config, category_dropout=0.0, history_noise=0.0, scale_weight=0.0, min_snr=0.0, first_stroke_draws=0
    )
    generator = torch.Generator().manual_seed(2_718_281)
    sums = torch.zeros(2, dtype=torch.float64)
    strokes = 0
    was_training = model.training
    model.eval()
    with torch.inference_mode(), autocast():
        for batch in batches:
            both = losses(model, whitening, batch, alpha_bar, fixed, generator)
            count = int(batch.lengths.sum())
            sums += torch.stack(both).double().cpu() * count
            strokes += count
    model.train(was_training)
    return {"validation_loss": float(sums[0] / strokes), "validation_stop_loss": float(sums[1] / strokes)}


def num_errors(batch: Batch, config: TrainConfig) -> tuple[int, int]:
    """Return of how many errors each of the two ``losses`` of a batch is the mean."""
    strokes = int(batch.lengths.sum())
    return strokes * config.noise_draws + len(batch.lengths) * config.first_stroke_draws, strokes
