"""What the four shipped models do stays what was published: their held-out losses, and the drawings they make.

Bands, not bytes: another machine rounds otherwise, and a few drawings then end a stroke sooner. They are wide enough
for any seed and narrow enough that a network that is misread, misled or badly sampled from leaves them.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from checkpoint import TrainedModel, load_with_guide
from config import CHECKPOINTS, NETWORK_PATH, REFERENCE_PATH, ModelConfig, TrainConfig
from drawings.batches import DataChoice, load_training_data
from generation import generate_drawings, official_form
from metrics import feature_distances, recognisability
from scoring.feature_network import LoadedNetwork, load_feature_network
from scoring.reference import describe_drawings, load_reference
from scoring.stroke_statistics import describe_strokes, statistic_distances
from training import Run

REAL_DIR = os.environ.get("QUICKDRAW_DIR")
SHIPPED = ("cat", "bus", "rabbit", "car")
COUNT = 64


@pytest.fixture(scope="module")
def network() -> LoadedNetwork:
    return load_feature_network(NETWORK_PATH)


def shipped(category: str) -> TrainedModel:
    return load_with_guide(CHECKPOINTS / f"{category}.safetensors")


# measured over seeds
BANDS = {}


@pytest.mark.parametrize("category", SHIPPED)
def test_drawings_of_a_shipped_model_score_as_published(category: str, network: LoadedNetwork) -> None:
    trained, reference = shipped(category), load_reference(REFERENCE_PATH, category, network)
    drawings = [
        official_form(drawing)[0]
        for drawing in generate_drawings(
            trained, category, range(COUNT), seed=0, steps=8, guidance=trained.guidance
        ).drawings
    ]
    ours = describe_drawings(drawings, network)
    figures = feature_distances(ours.features, reference.real.features)
    strokes = describe_strokes(drawings)
    away = statistic_distances(strokes, reference.statistics)
    top1 = recognisability(ours.logits, network.classes, category)["top1"]
    print(category, figures, top1, away)
