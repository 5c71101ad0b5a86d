"""Laws of the hint of the page: a stroke is judged by what comes before it, with the weights that were measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from config import OWN_MODELS, shipped_checkpoint
from diffusion_model import load_with_guide
from drawings.embedded import embedded_drawings
from oddity.strokes import THRESHOLDS, shipped_threshold, stroke_losses


def test_a_stroke_is_judged_by_what_comes_before_it_and_a_scribble_is_worse() -> None:
    trained = load_with_guide(shipped_checkpoint("cat"))
    drawing = list(embedded_drawings("cat", 1, seed=3)[0])
    losses = stroke_losses(trained, "cat", drawing)
    np.testing.assert_allclose(stroke_losses(trained, "cat", drawing[:3]), losses[:3], atol=1e-5)
    scribble = np.array([(60 + 130 * (i % 2), 60 + 9 * i) for i in range(14)])
    threshold = shipped_threshold("cat", trained.sha256)
    assert threshold is not None
    assert stroke_losses(trained, "cat", [*drawing[:2], scribble])[-1] > threshold > np.median(losses)


def test_thresholds_are_of_the_weights_that_are_shipped(tmp_path: Path) -> None:
    found = json.loads(THRESHOLDS.read_text())
    for name in OWN_MODELS:
        sha256 = load_with_guide(shipped_checkpoint(name)).sha256
        assert shipped_threshold(name, sha256) == found[name]["threshold"]
        assert shipped_threshold(name, "0" * 64) is None
    assert shipped_threshold("cat", sha256, tmp_path / "none.json") is None
