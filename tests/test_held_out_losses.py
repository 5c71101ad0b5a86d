"""Laws of the held-out losses: baselines are exact where the truth is known; only drawings that no model saw count."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from dataset_utils import load_category
from diffusion_model import TrainedModel, save_weights
from diffusion_process import cosine_alpha_bar, diffuse, v_from_x0_eps
from studies import held_out_losses
from studies.held_out_losses import Baseline, ending_probabilities


def test_no_slope_denoises_gaussian_tokens_better_than_the_baseline() -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = 0.5 + 0.3 * torch.randn(200_000, 2, generator=generator)
    baseline, alpha_bar = Baseline(tokens, torch.full((25,), 0.1)), cosine_alpha_bar()
    for time in (50, 500, 950, 999):
        t = torch.full((len(tokens),), time)
        eps = torch.randn(tokens.shape, generator=generator)
        x_t, v = diffuse(tokens, eps, t, alpha_bar), v_from_x0_eps(tokens, eps, t, alpha_bar)
        v_hat = baseline.denoise_all(x_t, t, torch.zeros(0))
        residual = v - v_hat  # of the best predictor: without mean, and not correlated with what it has seen
        assert residual.mean(0).abs().max() < 0.01
        assert ((residual * (x_t - x_t.mean(0))).mean(0)).abs().max() < 0.01


def test_endings_are_counted_by_number_of_strokes_with_one_more_of_each() -> None:
    constant, by_number = ending_probabilities(torch.tensor([1, 2, 2, 4]), longest=5)
    assert constant.tolist() == pytest.approx([4 / 9] * 6)
    assert by_number.tolist() == pytest.approx([1 / 6, 2 / 6, 3 / 5, 1 / 3, 2 / 3, 1 / 2])


def test_the_study_measures_model_base_and_baselines_on_drawings_that_no_training_saw(
    tiny_model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_out_losses, "LEAST_ERRORS", 1)
    loaded = load_category("cat", data_dir="embedded")
    data = dataclasses.replace(loaded, train=loaded.train.select(np.arange(40)), test=loaded.test.select(np.arange(9)))
    monkeypatch.setattr(held_out_losses, "load_category", lambda name, **where: data)
    for name in ("base", "cat"):
        conditions = {"train_drawings": {"cat": 40}, "trained_on": list(tiny_model.categories)}
        save_weights(tmp_path / f"{name}.safetensors", dataclasses.replace(tiny_model, conditions=conditions))
    command = ["--checkpoints", str(tmp_path), "--categories", "cat", "--out", str(tmp_path / "losses.json")]
    cat = json.loads(held_out_losses.main(command).read_text())["categories"]["cat"]
    assert cat["denoising"]["model"] == cat["denoising"]["base"]  # the same weights and the same noise
    fitting = tiny_model.model.config.max_strokes  # longer drawings are left out
    training, held_out = (side.num_strokes[side.num_strokes <= fitting] for side in (data.train, data.test))
    assert (cat["drawings"], cat["strokes"]) == (len(held_out), held_out.sum())
    share, ends = len(training) / training.sum(), len(held_out) / held_out.sum()
    expected = -(ends * math.log(share) + (1 - ends) * math.log(1 - share))
    assert cat["stop"]["constant"]["held_out"] == pytest.approx(expected, abs=1e-4)
    monkeypatch.setattr(held_out_losses, "load_category", lambda name, **where: loaded)
    with pytest.raises(ValueError, match=r"cat\.safetensors: was not trained on these [\d,]+ drawings of cat"):
        held_out_losses.main(command)
