"""The program that draws keeps the official form, repeats itself exactly, and varies its drawings."""

import hashlib

import numpy as np
import pytest
from simplification.cutil import simplify_coords

from drawings.embedded import embedded_drawings

CATEGORIES = ("cat", "bus", "rabbit")
# Median strokes of real drawings (Quick, Draw!): cat 9, bus 6, rabbit 7. The program stays near them.
MEDIAN_STROKES = {"cat": (8, 12), "bus": (5, 8), "rabbit": (6, 9)}
# Real drawings, 5 to 95 %: a bus is wider than high (1.3 to 2.8), a rabbit mostly higher than wide.
MEDIAN_ASPECT = {"cat": (0.9, 1.4), "bus": (1.5, 2.2), "rabbit": (0.5, 1.0)}


def flat(drawing: list[np.ndarray]) -> bytes:
    return b"|".join(stroke.tobytes() for stroke in drawing)


@pytest.fixture(scope="module", params=CATEGORIES)
def category(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def drawings(category: str) -> list[list[np.ndarray]]:
    return embedded_drawings(category, 200)


def test_drawings_have_the_official_form(drawings: list[list[np.ndarray]]) -> None:
    """1 to 20 strokes, top-left aligned, longest side 255, and simplifying again changes nothing."""
    for drawing in drawings:
        assert 1 <= len(drawing) <= 20
        points = np.concatenate(drawing)
        assert (points.min(axis=0).tolist(), points.max()) == ([0, 0], 255)
        for stroke in drawing:
            assert stroke.dtype == np.uint8
            assert stroke.shape == (max(len(stroke), 2), 2)
            np.testing.assert_array_equal(simplify_coords(stroke.astype(np.float64), 2.0), stroke)


def test_a_longer_list_begins_with_the_shorter_one_and_no_two_drawings_are_alike(
    category: str, drawings: list[list[np.ndarray]]
) -> None:
    shorter, other = embedded_drawings(category, 17), embedded_drawings(category, 100, seed=1)
    assert [flat(drawing) for drawing in shorter] == [flat(drawing) for drawing in drawings[:17]]
    assert embedded_drawings(category, 0) == []
    assert len({flat(drawing) for drawing in drawings + other}) == 300


def test_drawings_are_the_same_in_every_version_and_process() -> None:
    digests = [
        hashlib.sha256(b"|".join(map(flat, embedded_drawings(name, 50, seed=5)))).hexdigest()[:16]
        for name in CATEGORIES
    ]
    assert digests == ["c979833d8e22aa38", "22b2a721c4dcbc98", "5a36a422327e4b1c"]


def test_they_vary_and_are_shaped_like_those_of_people(category: str, drawings: list[list[np.ndarray]]) -> None:
    counts = [len(drawing) for drawing in drawings]
    low, high = MEDIAN_STROKES[category]
    assert low <= np.median(counts) <= high
    assert len(set(counts)) >= 6
    # Aligned at the origin, so the largest coordinates are the extents.
    width, height = np.array([np.concatenate(drawing).max(axis=0) for drawing in drawings]).T
    narrow, wide = MEDIAN_ASPECT[category]
    assert narrow <= np.median(width / height) <= wide
    assert 40 <= np.median([sum(map(len, drawing)) for drawing in drawings]) <= 90
    starts = np.array([drawing[0][0] for drawing in drawings], dtype=float)
    assert starts.std(axis=0).min() > 15
    x, y = zip(*(drawing[0].astype(float).T for drawing in drawings), strict=True)
    areas = [np.sum(a * np.roll(b, -1) - np.roll(a, -1) * b) for a, b in zip(x, y, strict=True)]
    assert 0.1 < np.mean(np.array(areas) > 0) < 0.9


def test_what_it_cannot_draw_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'dog'.*cat, bus, rabbit"):
        embedded_drawings("dog", 1)
