"""Laws of the gallery: what is shown is the first or follows the written rule, and what is given stays as it is."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dataset_utils import CategoryData, load_category
from drawings.embedded import embedded_drawings
from reports import gallery
from reports.gallery import (
    COMPLETIONS,
    EXTREMES,
    FIRST_STROKES,
    HALVES,
    PAGE_CELL,
    PAGE_COLUMNS,
    PAGE_DRAWINGS,
    WAYS,
    Drawing,
    RealDrawings,
    best_worst_image,
    completions_image,
    diversity_image,
    in_percent,
    page_image,
    probabilities,
    write_gallery,
)
from scoring.copies import TrainingStrokes

LONGEST = 24
DOT: Drawing = [np.array([[7, 9]], np.uint8)]


@pytest.fixture(scope="module")
def data() -> CategoryData:
    """Real drawings where they are at hand, else drawings of the procedural artist, some of them held out."""
    return load_category("cat", data_dir=os.environ.get("QUICKDRAW_DIR") or "embedded")


@pytest.fixture(scope="module")
def people(data: CategoryData) -> list[Drawing]:
    """Held-out drawings."""
    return list(data.test)


class Shown:
    """What was given to a function of rendering, in place of a picture of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.named: list[dict[str, Any]] = []
        real = getattr(gallery, name)

        def spy(*arguments: Any, **named: Any) -> Any:
            self.calls.append(arguments)
            self.named.append(named)
            return real(*arguments, **named)

        monkeypatch.setattr(gallery, name, spy)


def add_a_line(beginnings: list[Drawing]) -> list[Drawing]:
    """A model that draws one line, another one in each drawing."""
    return [[*beginning, np.array([[0, 255 - i], [255, i]], np.uint8)] for i, beginning in enumerate(beginnings)]


def is_same(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# ------------------------------------------------------------------ the page


def test_page_is_the_first_hundred_of_each_side_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(monkeypatch, "comparison_image")
    generated, real = embedded_drawings("cat", 120), embedded_drawings("bus", 150)
    picture = page_image(generated, RealDrawings(real[:130], real[130:]))
    left, right = shown.calls[0][:2]
    assert len(left) == len(right) == PAGE_DRAWINGS == PAGE_COLUMNS**2
    assert all(is_same(*pair) for pair in zip([*left, *right], [*real[:100], *generated[:100]], strict=True))
    assert shown.named[0]["titles"] == ("100 real, held out", "100 generated")
    assert len(picture) // PAGE_CELL == PAGE_COLUMNS
    few = RealDrawings(real[:29], real[29:])
    assert all(is_same(*pair) for pair in zip(few.page, real[:100], strict=True))
    assert few.describe_page() == "100 real: 29 held out, 71 of training"


# ------------------------------------------------------------------ best and worst


def test_probability_is_the_softmax_of_the_category_even_for_large_logits() -> None:
    logits = np.log(np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]], np.float32)) + np.array([[900.0], [-900.0]])
    found = probabilities(logits.astype(np.float32), ["bus", "cat", "dog"], "cat")
    np.testing.assert_allclose(found, [0.7, 0.25], rtol=1e-3)
    assert probabilities(logits, ["bus", "cat", "dog"], "rabbit") is None
    assert [in_percent(share) for share in (0.0004, 0.1234, 0.9989, 0.9996)] == [
        "< 0.1 %", "12.3 %", "99.9 %", "> 99.9 %",
    ]  # fmt: skip


def test_best_and_worst_are_the_extremes_in_order_with_their_probability_below(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(monkeypatch, "grid_image")
    drawings = embedded_drawings("cat", 50)
    shares = np.random.default_rng(3).permutation(50) / 50 + 0.001
    best_worst_image(drawings, shares, "cat")
    ranks = np.argsort(-shares)
    for (grid, *_), named, chosen in zip(shown.calls, shown.named, (ranks, ranks[::-1]), strict=True):
        assert all(is_same(drawing, drawings[i]) for drawing, i in zip(grid, chosen[:EXTREMES], strict=True))
        assert named["labels"] == [in_percent(shares[i]) for i in chosen[:EXTREMES]]
    assert [named["title"].split("the ")[-1] for named in shown.named] == [
        "highest probability of “cat”",
        "lowest probability of “cat”",
    ]


# ------------------------------------------------------------------ going on from what is given


def test_diversity_goes_on_from_first_strokes_of_held_out_drawings(
    monkeypatch: pytest.MonkeyPatch, people: list[Drawing]
) -> None:
    shown = Shown(monkeypatch, "continuations_image")
    diversity_image(embedded_drawings("bus", 20), RealDrawings([DOT, *people]), add_a_line, LONGEST)
    rows, given, headings = shown.calls[0][:3]
    firsts = [drawing[:1] for drawing in people if len(drawing) > 1][:FIRST_STROKES]
    assert [len(row) for row in rows] == [1 + WAYS] * FIRST_STROKES
    assert given == [1] * FIRST_STROKES
    for row, first in zip(rows, firsts, strict=True):
        assert is_same(row[0], first)
        assert all(is_same(way[:1], first) and len(way) == 2 for way in row[1:])
    ends = [int(way[-1][1, 1]) for row in rows for way in row[1:]]
    assert ends == list(range(FIRST_STROKES * WAYS))  # every cell is another drawing, in order
    assert headings[1][0].endswith("first strokes of 3 held-out real drawings")
    own = [DOT, *(drawing for drawing in embedded_drawings("bus", 20) if len(drawing) > 1)]  # a dot has nothing to add
    diversity_image(own, RealDrawings(people[:2]), add_a_line, LONGEST)
    expected = [*people[:2], own[1]]
    assert all(is_same(row[0], drawing[:1]) for row, drawing in zip(shown.calls[1][0], expected, strict=True))
    assert shown.calls[1][2][1][0].endswith("first strokes of 2 held-out real and 1 generated drawings")


def test_completions_stand_between_the_half_and_the_whole(
    monkeypatch: pytest.MonkeyPatch, people: list[Drawing]
) -> None:
    shown = Shown(monkeypatch, "continuations_image")
    completions_image(RealDrawings(people), add_a_line, LONGEST)
    rows, given, _ = shown.calls[0][:3]
    wholes = [drawing for drawing in people if len(drawing) >= 4][:HALVES]
    assert given == [len(whole) // 2 for whole in wholes]
    for (half, *ways, last), whole in zip(rows, wholes, strict=True):
        assert is_same(last, whole)
        assert is_same(half, whole[: len(whole) // 2])
        assert len(ways) == COMPLETIONS
        assert all(is_same(way[:-1], half) for way in ways)


def test_pairs_are_the_nearest_by_strokes_each_above_the_training_drawing_that_it_redraws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = Shown(monkeypatch, "grid_image")
    training = embedded_drawings("cat", 30)
    redrawn = [[stroke + 0.5 for stroke in training[4]], [*training[17][:3], DOT[0]]]  # another end is a copy too
    gallery.copies_image([*embedded_drawings("bus", 9), *redrawn], TrainingStrokes(training))
    (grid, *_), labels = shown.calls[0], shown.named[0]["labels"]
    assert len(grid) == len(labels) == 2 * gallery.PAIRS
    pairs = list(zip(grid[:2], grid[gallery.PAIRS :], strict=False))
    assert all(
        is_same(*pair)
        for pair in zip(pairs[0] + pairs[1], (redrawn[1], training[17], redrawn[0], training[4]), strict=True)
    )
    assert labels[:2] == ["0.0 px, a copy", "0.7 px, a copy"]
    distances = [float(label.split()[0]) for label in labels[: gallery.PAIRS]]
    assert distances == sorted(distances)
    gallery.copies_image(redrawn, TrainingStrokes(training))
    assert [len(drawing) > 0 for drawing in shown.calls[1][0]] == [True] * 2 + [False] * 6 + [True] * 2
    assert gallery.copies_image([DOT], TrainingStrokes(training)) is None


# ------------------------------------------------------------------ all of them as files


def write(folder: Path, data: CategoryData | None, **changes: Any) -> dict[str, Path]:
    drawings = changes.get("drawings", embedded_drawings("cat", 12))
    given = {
        "drawings": drawings,
        "shares": np.linspace(0, 1, len(drawings)),
        "draw_on": add_a_line,
        "longest": LONGEST,
    }
    strokes = TrainingStrokes(list(data.train)) if data else None
    return write_gallery(folder, "cat", data=data, strokes=strokes, **(given | changes))


def test_all_pictures_are_small_files_the_same_bytes_twice(tmp_path: Path, data: CategoryData) -> None:
    few = dataclasses.replace(data, train=data.train.select(np.arange(90)))
    written = []
    for name in ("one", "two"):
        found = write(tmp_path / name, few)
        assert [path.name for path in found.values()] == list(gallery.CAPTIONS)
        written.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert written[0] == written[1]
    assert max(len(content) for content in written[0].values()) < 150_000


def test_what_cannot_be_made_is_not_there_even_after_an_earlier_run(tmp_path: Path, data: CategoryData) -> None:
    write(tmp_path, dataclasses.replace(data, train=data.train.select(np.arange(90))))
    both = Image.open(tmp_path / "page.png").size
    (tmp_path / "mine.png").write_bytes(b"a user's own")
    found = write(tmp_path, None, shares=None, drawings=[DOT])
    assert [path.name for path in found.values()] == ["page.png", "diversity.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["diversity.png", "mine.png", "page.png"]
    assert Image.open(tmp_path / "page.png").size[0] < both[0] / 2
    assert (np.array(Image.open(tmp_path / "diversity.png").convert("L")) < 150).any()
