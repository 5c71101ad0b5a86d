"""The procedural artist keeps the official form, repeats itself exactly, and varies its drawings."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from simplification.cutil import simplify_coords

from drawings.embedded import embedded_drawings

CATEGORIES = ("cat", "bus", "rabbit")
# Median strokes of real drawings (Quick, Draw!): cat 9, bus 6, rabbit 7. The artist stays near them.
MEDIAN_STROKES = {"cat": (8, 12), "bus": (5, 8), "rabbit": (6, 9)}
# Real drawings, 5 to 95 %: a bus is wider than high (1.3 to 2.8), a rabbit mostly higher than wide.
MEDIAN_ASPECT = {"cat": (0.9, 1.4), "bus": (1.5, 2.2), "rabbit": (0.5, 1.0)}


def flat(drawing: list[np.ndarray]) -> bytes:
    return b"|".join(stroke.tobytes() for stroke in drawing)


@pytest.fixture(scope="module")
def drawings() -> dict[str, list[list[np.ndarray]]]:
    return {category: embedded_drawings(category, 200) for category in CATEGORIES}


@pytest.mark.parametrize("category", CATEGORIES)
def test_strokes_have_the_official_shape_and_type(drawings, category):
    for drawing in drawings[category]:
        assert 1 <= len(drawing) <= 20
        for stroke in drawing:
            assert stroke.dtype == np.uint8
            assert stroke.ndim == 2
            assert stroke.shape[1] == 2
            assert len(stroke) >= 2


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_box_is_top_left_aligned_and_its_longest_side_is_255(drawings, category):
    for drawing in drawings[category]:
        points = np.concatenate(drawing)
        np.testing.assert_array_equal(points.min(axis=0), [0, 0])
        assert points.max() == 255


@pytest.mark.parametrize("category", CATEGORIES)
def test_simplifying_again_changes_nothing(drawings, category):
    for drawing in drawings[category]:
        for stroke in drawing:
            np.testing.assert_array_equal(simplify_coords(stroke.astype(np.float64), 2.0), stroke)


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_longer_list_begins_with_the_shorter_one(drawings, category):
    shorter = embedded_drawings(category, 17)
    assert [flat(drawing) for drawing in shorter] == [flat(drawing) for drawing in drawings[category][:17]]
    assert embedded_drawings(category, 0) == []


def test_drawings_are_the_same_in_another_process():
    """Python salts `hash` of a str in every process; the drawings must not depend on it."""
    drawing = "embedded_drawings('rabbit', 3, 5)[2]"
    code = f"from embedded_drawings import *; print([stroke.tolist() for stroke in {drawing}])"
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == str([stroke.tolist() for stroke in embedded_drawings("rabbit", 3, 5)[2]])


@pytest.mark.parametrize("category", CATEGORIES)
def test_no_two_drawings_are_alike_within_or_between_seeds(drawings, category):
    other = embedded_drawings(category, 200, seed=1)
    assert len({flat(drawing) for drawing in drawings[category] + other}) == 400


@pytest.mark.parametrize("category", CATEGORIES)
def test_stroke_counts_and_proportions_are_like_those_of_people(drawings, category):
    counts = [len(drawing) for drawing in drawings[category]]
    low, high = MEDIAN_STROKES[category]
    assert low <= np.median(counts) <= high
    assert len(set(counts)) >= 6
    # Aligned at the origin, so the largest coordinates are the extents.
    width, height = np.array([np.concatenate(drawing).max(axis=0) for drawing in drawings[category]]).T
    low, high = MEDIAN_ASPECT[category]
    assert low <= np.median(width / height) <= high
    points = [sum(map(len, drawing)) for drawing in drawings[category]]
    assert 40 <= np.median(points) <= 90


@pytest.mark.parametrize("category", CATEGORIES)
def test_pen_starts_and_directions_vary(drawings, category):
    starts = np.array([drawing[0][0] for drawing in drawings[category]], dtype=float)
    assert starts.std(axis=0).min() > 15
    x, y = zip(*(drawing[0].astype(float).T for drawing in drawings[category]), strict=True)
    areas = [np.sum(a * np.roll(b, -1) - np.roll(a, -1) * b) for a, b in zip(x, y, strict=True)]
    assert 0.1 < np.mean(np.array(areas) > 0) < 0.9


def test_an_unknown_category_is_refused_with_the_list_of_known_ones():
    with pytest.raises(ValueError, match=r"'dog'.*cat, bus, rabbit"):
        embedded_drawings("dog", 1)


@pytest.mark.parametrize(("arguments", "name"), [((-1, 0), "count"), ((1, -1), "seed")])
def test_a_negative_count_or_seed_is_refused(arguments, name):
    with pytest.raises(ValueError, match=f"{name} is -1"):
        embedded_drawings("cat", *arguments)
