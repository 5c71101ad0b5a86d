"""Where an unfinished drawing lies: squares that hold it, chosen by the model's loss, whatever its coordinates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from config import shipped_checkpoint
from diffusion_model import TrainedModel, load_with_guide
from sample_diffusion import main
from scoring.placement import Square, likeliest_square, places, scores, sizes

HEAD = [np.array([[20, 70], [40, 8], [75, 50], [180, 50], [215, 8], [235, 70]], float),
        np.array([[80, 120], [84, 126], [90, 120]], float)]  # fmt: skip


@pytest.fixture(scope="module")
def cat() -> TrainedModel:
    return load_with_guide(shipped_checkpoint("cat"))


def moved(scale: float, left: float, top: float) -> list[np.ndarray]:
    return [stroke * scale + (left, top) for stroke in HEAD]


@pytest.mark.parametrize("way", [(1.0, 0.0, 0.0), (0.3, 5.0, 9.0), (0.4, 150.0, 160.0), (0.02, 250.0, 3.0)])
def test_squares_hold_the_drawing_and_lie_on_the_sheet(way: tuple[float, float, float]) -> None:
    points = np.concatenate(moved(*way))
    drawing = moved(*way)
    squares = sizes(drawing, 255.0)
    assert len(squares) >= 2
    squares += places(drawing, squares[-1].side, 255.0)
    for square in squares:
        assert min(square.left, square.top) >= 0
        assert max(square.left, square.top) + square.side <= 255 + 1e-9
        inside = np.concatenate(square.inside([points]))
        assert inside.min() >= -1e-6
        assert inside.max() <= 255 + 1e-6
    assert (Square(0.0, 0.0, 255.0) in squares) == (np.ptp(points, axis=0).max() >= 0.42 * 255)


def test_the_choice_does_not_depend_on_units_and_origin(cat: TrainedModel) -> None:
    one = likeliest_square(cat, "cat", HEAD)
    other = likeliest_square(cat, "cat", moved(40.0, -3000.0, 700.0))
    assert np.allclose([other.left + 3000, other.top - 700, other.side], 40 * np.array([one.left, one.top, one.side]))


def test_what_is_small_is_enlarged_and_what_is_large_is_not(cat: TrainedModel) -> None:
    small, large = likeliest_square(cat, "cat", moved(0.3, 0.0, 0.0), 255.0), likeliest_square(cat, "cat", HEAD, 255.0)
    assert small.side < 130
    assert large.side > 200
    wide = [Square(0.0, 0.0, 255.0), Square(0.0, 0.0, 80.0)]
    leave, enlarge = scores(cat, "cat", moved(0.3, 0.0, 0.0), wide)
    assert enlarge < leave


def test_a_drawing_of_other_coordinates_is_continued_where_it_was_begun(tmp_path: Path) -> None:
    far = [stroke.T.tolist() for stroke in moved(20.0, 9000.0, -4000.0)]
    (tmp_path / "far.ndjson").write_text(json.dumps({"word": "cat", "drawing": far}))
    out = ["--out", str(tmp_path / "out"), "--steps", "4"]
    main(["--category", "cat", "--prefix", str(tmp_path / "far.ndjson"), *out])
    drawing = json.loads((tmp_path / "out" / "drawings.ndjson").read_text())["drawing"]
    assert drawing[:2] == far
    new = np.concatenate([np.array(stroke).T for stroke in drawing[2:]])
    assert new[:, 0].min() > 9000 - 20 * 255 * 1.5
    assert new[:, 0].max() < 9000 + 20 * 255 * 2.5
    assert new[:, 1].min() > -4000 - 20 * 255 * 1.5
