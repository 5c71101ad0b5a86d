"""Laws of the study of late strokes: gaps are exact, and what is given is kept."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA_DIR

from dataset_utils import load_category
from diffusion_model import TrainedModel, save_weights
from sample_diffusion import Sampled
from studies import given_strokes


def line(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, np.float64)


def test_a_gap_is_the_way_from_a_small_stroke_to_the_nearest_ink_before_it() -> None:
    body, near, far = line((0, 0), (255, 0)), line((100, 7), (110, 7)), line((100, 30), (140, 30))
    drawing = [body, near, far, line((0, 100), (60, 100))]  # the last one is no small stroke
    assert given_strokes.gaps_of_small_strokes([drawing]) == pytest.approx([7, 23], abs=0.3)  # 32 points a stroke
    assert given_strokes.gaps_of_small_strokes([drawing], given=2) == pytest.approx([23], abs=0.3)
    assert len(given_strokes.gaps_of_small_strokes([[near], [body]])) == 0


def test_drawings_go_on_from_the_strokes_given_and_are_compared_with_those_they_come_from(
    tiny_model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_category("cat", data_dir=DATA_DIR, split="local")
    data = dataclasses.replace(data, source="data-dir", validation=data.validation.select(np.arange(12)))
    real = [d for d in data.validation if len(d) <= tiny_model.model.config.max_strokes]
    monkeypatch.setattr(given_strokes, "load_category", lambda name, **where: data)

    def perfect(trained: TrainedModel, category: str, config: object, prefix: list | None = None) -> Sampled:
        same = [d for d in real if not prefix or any(np.array_equal(d[0], p[0]) and len(d) > len(p) for p in prefix)]
        return Sampled(same, {})

    monkeypatch.setattr(given_strokes, "sample", perfect)
    save_weights(tmp_path / "cat.safetensors", tiny_model)
    command = [
        "--category",
        "cat",
        "--checkpoint",
        str(tmp_path / "cat.safetensors"),
        "--out",
        str(tmp_path / "g.json"),
    ]
    rows = json.loads(given_strokes.main(command).read_text())["rows"]
    assert [row["given"] for row in rows] == [0, 1, 2, 3, 5]
    for row in rows:
        assert row["drawings"] == sum(len(d) > row["given"] for d in real)
        assert row["top1"] == row["top1_real"]
        assert row["gap_wasserstein_px"] in (0.0, None)
