"""Is a stroke unlike its category, given the strokes before it: the hint of the page, where each stroke is judged.

A stroke's loss is the squared error with which the category's model denoises it at one time, with one noise and its
negative, which costs one evaluation. It is compared with the loss that a share of training strokes reach.
`page/engine/unlike.js` is the twin of `stroke_losses`. A drawing's first stroke is not judged: it may be anything.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diffusion_model import TrainedModel
from diffusion_process import cosine_alpha_bar
from scoring.placement import encoded, probing_noise

Drawing = Sequence[NDArray[Any]]
Array = NDArray[np.float64]

TIME = 499
"""Of T = 1000; of 99, 249, 499, 749 and 999 the one that tells foreign strokes best for all four categories."""
THRESHOLDS = Path(__file__).resolve().parent.parent / "results" / "odd_strokes.json"


@torch.inference_mode()
def stroke_losses(trained: TrainedModel, category: str, drawing: Drawing) -> Array:
    """Return the losses (K,) of the strokes of a drawing, each given those before it; the model's longest at most."""
    model = trained.model
    tokens = encoded(trained, [list(drawing)[: model.config.max_strokes]])
    context = model.context(tokens, torch.tensor([trained.category_id(category)]))[:, : tokens.shape[1]]
    alpha_bar = cosine_alpha_bar(len(model.time_table))[TIME].to(tokens)
    signal, noise = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    x0, eps = tokens[:, :, None], probing_noise(model.token_dim)
    v_hat = model.denoise_all(signal * x0 + noise * eps, TIME, context)
    losses: Array = (v_hat - (signal * eps - noise * x0)).square().mean((2, 3))[0].double().numpy()
    return losses


def shipped_threshold(category: str, sha256: str, path: Path = THRESHOLDS) -> float | None:
    """Return the loss from which a stroke is unlike a category; None where it was not measured with these weights."""
    found = json.loads(path.read_text()).get(category, {}) if path.is_file() else {}
    return float(found["threshold"]) if found.get("weights") == sha256 else None
