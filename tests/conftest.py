"""Shared by all tests: real drawings where $QUICKDRAW_DIR is set, else the embedded ones, and a tiny model."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from checkpoint import TrainedModel, save_weights
from config import ModelConfig
from dataset_utils import PackedDrawings, load_category
from diffusion_model import StrokeDiffusionModel
from stroke_tokens import Whitening, points_to_vectors, resample_strokes

DATA_DIR = os.environ.get("QUICKDRAW_DIR") or "embedded"
TINY = ModelConfig(num_points=8, max_strokes=12, width=32, num_layers=1, num_heads=2, denoiser_layers=1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long forms: more kills, more fuzzed files")


@pytest.fixture(scope="session")
def long_form(request: pytest.FixtureRequest) -> bool:
    """Whether the long form of a test is wanted: `make test-long`."""
    return bool(request.config.getoption("--long"))


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 400) -> None:
    """Wait for what a process that goes on running is about to do."""
    deadline = time.time() + seconds
    while not happened():
        assert time.time() < deadline, f"not within {seconds} s"
        if process.poll() is not None:
            raise AssertionError(f"it ended by itself: {process.communicate()}")
        time.sleep(0.005)


def pytest_report_header() -> str:
    kind = "the embedded ones" if DATA_DIR == "embedded" else f"real, from {DATA_DIR}"
    return f"drawings: {kind}"


@pytest.fixture(scope="session")
def cats(tmp_path_factory: pytest.TempPathFactory) -> PackedDrawings:
    """The training drawings of cats at hand."""
    return load_category("cat", data_dir=DATA_DIR, cache_dir=tmp_path_factory.mktemp("cache")).train


@pytest.fixture(scope="session")
def tiny_model(cats: PackedDrawings) -> TrainedModel:
    """An untrained little model whose strokes nevertheless depend on everything they should."""
    torch.manual_seed(0)
    model = StrokeDiffusionModel(TINY, num_categories=2).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    torch.nn.init.constant_(model.stop.bias, -1.5)
    whitening = Whitening.fit(points_to_vectors(resample_strokes(cats.points, cats.stroke_offsets, TINY.num_points)))
    return TrainedModel(model, whitening, ("cat", "bus"), {"note": "untrained"})


@pytest.fixture
def tiny_weights(tiny_model: TrainedModel, tmp_path: Path) -> Path:
    """The little model as a file."""
    save_weights(tmp_path / "tiny.safetensors", tiny_model, torch.float32)
    return tmp_path / "tiny.safetensors"
