"""What the shipped models do stays as it was published: their losses on held-out drawings, and what they draw."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from config import CHECKPOINTS, NETWORK_PATH, REFERENCE_PATH, TrainConfig, shipped_checkpoint
from diffusion_model import load_with_guide
from metrics import feature_distances
from sample_diffusion import generate_drawings, official_form
from scoring.feature_network import LoadedNetwork, load_feature_network
from scoring.reference import describe_drawings, load_reference, recognisability
from scoring.stroke_statistics import describe_strokes
from train_diffusion import Run
from training_data import DataChoice, load_training_data

REAL_DIR = os.environ.get("QUICKDRAW_DIR")
COUNT = 32
# Strokes a drawing, ink in pixels, share recognised and FID of drawings 0 ... 31 of seed 0. Another machine
# rounds otherwise, so that now and then a drawing ends a stroke sooner or later: hence bands and not bytes.
PUBLISHED = {
    "cat": (10.53, 1291.2, 0.75, 45.7),
    "bus": (7.00, 1228.8, 0.47, 25.9),
    "rabbit": (6.31, 1179.5, 0.78, 47.0),
    "car": (5.28, 1111.3, 0.91, 27.0),
}


@pytest.fixture(scope="module")
def network() -> LoadedNetwork:
    return load_feature_network(NETWORK_PATH)


@pytest.mark.parametrize("category", PUBLISHED)
def test_drawings_of_a_shipped_model_have_the_strokes_and_scores_they_had(
    category: str, network: LoadedNetwork
) -> None:
    trained = load_with_guide(shipped_checkpoint(category))
    made = generate_drawings(trained, category, range(COUNT), seed=0, guidance=trained.guidance)
    drawings = [official_form(drawing)[0] for drawing in made.drawings]
    described = describe_drawings(drawings, network)
    real = load_reference(REFERENCE_PATH, category, network).real
    strokes, ink, top1, fid = PUBLISHED[category]
    assert sum(map(len, drawings)) / COUNT == pytest.approx(strokes, abs=0.4)
    assert describe_strokes(drawings).ink_length.mean() == pytest.approx(ink, rel=0.05)
    assert recognisability(described.logits, network.classes, category)["top1"] == pytest.approx(top1, abs=0.1)
    assert feature_distances(described.features, real.features)["fid"] == pytest.approx(fid, abs=2.5)


@pytest.mark.skipif(not REAL_DIR, reason="QUICKDRAW_DIR names no folder of real drawings")
@pytest.mark.parametrize("category", ["cat", "bus", "rabbit"])
def test_a_shipped_model_has_the_losses_on_held_out_drawings_that_its_file_states(
    category: str, tmp_path: Path
) -> None:
    """To within the rounding of its weights; so it is read, tokenized, noised and split as it was trained.

    They were measured before their matrices were stored in eight bits.
    """
    rounding = 6e-3
    trained = load_with_guide(CHECKPOINTS / f"{category}.safetensors")
    config = TrainConfig(category=category, precision="float32")
    data = load_training_data(config, trained.model.config, DataChoice(REAL_DIR, "local"), trained.categories)
    assert len(data.held_out) == trained.conditions["held_out_drawings"]
    found = Run(config, data, trained, tmp_path, torch.device("cpu")).validate()
    assert found == {name: pytest.approx(trained.conditions[name], rel=rounding) for name in found}
