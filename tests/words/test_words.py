"""What a prompt is understood as, where things stand, and that the same seed gives the same bytes."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import draw_scene
from config import TURKISH_NAMES
from sample_diffusion import generate_drawings
from words import names as vocabulary
from words.edits import edited, read_edits
from words.layout import HEIGHT, WIDTH, Box, arranged, hidden_removed
from words.morph import base_model, between, slerp
from words.prompts import Understood, read_prompt
from words.scene import Scene, Thing, load_scene, save_scene

av = pytest.importorskip("av")
from tests.words.measure import KINDS, shares  # noqa: E402

TRAPS = Path(__file__).resolve().parent / "traps.tsv"
SQUARE = [np.array([[0.0, 0], [100, 0], [100, 100], [0, 100], [0, 0]])]


def test_each_category_has_a_name_in_every_language_and_is_found_by_it() -> None:
    assert set(vocabulary.kinds()) == set(TURKISH_NAMES)
    for language in ("en", "tr", "ru"):
        assert set(vocabulary.names(language).values()) == set(TURKISH_NAMES)
        for name, category in vocabulary.names(language).items():
            assert vocabulary.find(name, language) == category


@pytest.mark.parametrize(("kind", "least"), zip(KINDS, (0.98, 0.95, 0.85), strict=True))
def test_words_are_understood_as_often_as_the_document_says(kind: str, least: float) -> None:
    measured, missed = shares()
    for language in ("en", "tr", "ru"):
        assert np.mean([measured[language, kind, half] for half in ("built", "held-out")]) >= least, missed


def said(prompt: str) -> str:
    try:
        return "\n".join(read_prompt(prompt).lines())
    except ValueError as error:
        return str(error)


def test_what_is_not_understood_or_means_two_things_is_said() -> None:
    with TRAPS.open(encoding="utf-8", newline="") as file:
        traps = list(csv.DictReader(file, delimiter="\t"))
    assert len(traps) >= 50
    assert [trap["prompt"] for trap in traps if trap["said"] not in said(trap["prompt"])] == []


@pytest.mark.parametrize(
    ("prompts", "things", "relations"),
    [
        (("two rabbits and a bus", "iki tavşan ve bir otobüs", "два кролика и автобус"),
         ["bus", "rabbit", "rabbit"], []),
        (("a cat on a table", "masanın üstünde bir kedi", "kedi masanın üstünde", "на столе кошка", "masada kedi"),
         ["cat", "table"], [("cat", "on", "table")]),
        (("two birds to the left of a tree", "ağacın solunda iki kuş", "две птицы слева от дерева"),
         ["bird", "bird", "tree"], [("bird", "left of", "tree")]),
        (("a cat on a table and a dog under the table", "masanın üstünde bir kedi ve masanın altında bir köpek",
          "кошка на столе и собака под столом"),
         ["cat", "dog", "table"], [("cat", "on", "table"), ("dog", "under", "table")]),
        (("a bird between a house and a tree", "ev ile ağacın arasında bir kuş", "птица между домом и деревом"),
         ["bird", "house", "tree"], [("bird", "between", "house")]),
    ],
)  # fmt: skip
def test_the_three_languages_say_the_same(
    prompts: Sequence[str], things: list[str], relations: list[tuple[str, str, str]]
) -> None:
    for prompt in prompts:
        found = read_prompt(prompt)
        named = [thing.category for thing in found.things]
        assert sorted(named) == things, prompt
        assert [(named[one.subjects[0]], one.kind, named[one.landmarks[0]]) for one in found.relations] == relations
        assert found.told == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "the prompt is empty"),
        (["cat " * 10_000], "10000 words"),
        (["deux chats"], "nothing in 'deux chats' can be drawn"),
        (["no cat"], "nothing in 'no cat' can be drawn"),
        (["50 cats"], "50 things are asked for, a scene has room for 12"),
        (["1234567 cats"], "1234567 things are asked for"),
        (["a cat \udcff"], "no text in UTF-8"),
        (["cat", "--seed", "-1"], "--seed is -1"),
        (["cat", "--videos", "avi"], "--videos names 'avi'"),
        (["--edit", "remove the cat"], "--edit changes the scene of --scene"),
        (["--edit", "", "--scene", "nowhere"], "nowhere"),
        (["--morph", "cat", "qwxz"], "unknown category 'qwxz'"),
        (["--morph", " ", "cat"], "unknown category ' '"),
        (["--read", ""], "is a folder"),
    ],
)
def test_bad_input_is_refused_with_its_reason_and_nothing_is_written(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises((ValueError, FileNotFoundError, IsADirectoryError), match=message) as caught:
        draw_scene.main([*arguments, "--out", str(tmp_path / "new")])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_missing_package_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(vocabulary, "import_module", missing)
    with pytest.raises(ValueError, match=r"av is missing; .*requirements/words.txt"):
        vocabulary.needed("av")


# ------------------------------------------------------------------ places


def boxes_of(prompt: str) -> tuple[Understood, list[Box]]:
    found = read_prompt(prompt)
    categories, sizes = [one.category for one in found.things], [one.size for one in found.things]
    return found, arranged(categories, sizes, [SQUARE] * len(categories), found.relations)


@pytest.mark.parametrize(
    "prompt",
    ["12 cats", "five cats, two buses, a sun and a moon", "a cat on a table, a dog next to a house, three birds",
     "two cats left of a bus and a dog right of the bus", "a helicopter above a boat", "a bird between two houses",
     "a cat and a dog on a bench, the sun"],
)  # fmt: skip
def test_things_overlap_only_where_a_relation_says_so(prompt: str) -> None:
    found, boxes = boxes_of(prompt)
    for i, j in itertools.combinations(range(len(boxes)), 2):
        assert not boxes[i].meets(boxes[j], -1.0), (found.things[i], found.things[j])
    for box in boxes:
        assert box.left >= 0
        assert box.top >= 0
        assert box.right <= WIDTH
        assert box.bottom <= HEIGHT


def test_relations_are_where_they_say() -> None:
    def two(relation: str) -> tuple[Box, Box]:
        _, (subject, landmark) = boxes_of(f"a cat {relation} a house")
        return subject, landmark

    cat, house = two("on")
    assert abs(cat.bottom - house.top) < 2
    assert house.left < cat.middle < house.right
    cat, house = two("left of")
    assert cat.right < house.left
    assert cat.bottom == pytest.approx(house.bottom)
    cat, house = two("right of")
    assert cat.left > house.right
    cat, house = two("above")
    assert cat.bottom < house.top
    cat, house = two("below")
    assert cat.top > house.bottom
    for inside in ("in", "under"):
        cat, house = two(inside)
        assert house.left < cat.left < cat.right < house.right
        assert house.top < cat.top < cat.bottom <= house.bottom + 1e-6
    cat, house = two("behind")
    assert house.meets(cat)
    assert cat.bottom < house.bottom
    cat, house = two("in front of")
    assert house.meets(cat)
    assert cat.bottom > house.bottom


def test_larger_things_are_drawn_larger_and_the_sky_is_above() -> None:
    _, boxes = boxes_of("a mouse, a big mouse, a cat, a bus and the sun")
    sides = [box.width for box in boxes]
    assert sides[0] < sides[1]
    assert sides[0] < sides[2] < sides[3]
    assert boxes[4].bottom < min(box.top for box in boxes[:4])


def test_what_stands_behind_is_hidden_where_the_other_is() -> None:
    back = [np.array([[-50.0, 50], [150, 50]]), np.array([[200.0, 0], [210, 0]])]
    shown = hidden_removed(back, SQUARE)
    assert len(shown) == 3
    points = np.concatenate(shown)
    assert not ((points[:, 0] > 2) & (points[:, 0] < 98)).any()


# ------------------------------------------------------------------ scenes


def synthetic() -> Scene:
    boxes = (Box(100, 300, 100, 100), Box(300, 200, 200, 200), Box(600, 250, 150, 150))
    things = [Thing(category, 0, SQUARE, box) for category, box in zip(("cat", "bus", "dog"), boxes, strict=True)]
    return Scene("a cat, a bus and a dog", "en", 3, things)


@pytest.mark.parametrize("words", ["make the bus smaller", "otobüsü küçült", "сделай автобус меньше"])
def test_an_edit_changes_what_it_names_and_leaves_the_rest(words: str) -> None:
    edits, told = read_edits(words)
    before, after = synthetic(), edited(synthetic(), edits)
    assert told == []
    assert after.things[1].box.width < before.things[1].box.width
    assert after.things[1].box.bottom == before.things[1].box.bottom
    for i in (0, 2):
        assert after.things[i].box == before.things[i].box
    assert [one.category for one in edited(before, read_edits("remove the cat")[0]).things] == ["bus", "dog"]
    moved = edited(before, read_edits("move the dog right")[0]).things[2].box
    assert moved.left > before.things[2].box.left
    with pytest.raises(ValueError, match="no rabbit in the scene; it has cat, bus, dog"):
        edited(before, read_edits("remove the rabbit")[0])
    assert "is not done" in read_edits("don't remove the cat, remove the dog")[1][0]


@pytest.mark.parametrize(
    ("words", "message"),
    [("", "the change is empty"), ("make it nicer", "nothing in 'make it nicer' is understood as a change"),
     ("remove the rabbit", "no rabbit in the scene"), ("another 50 cats", "53 things would be in the scene"),
     ("remove the cat, remove the bus, remove the dog", "nothing would be left")],
)  # fmt: skip
def test_a_change_that_cannot_be_made_leaves_the_scene_as_it_was(words: str, message: str, tmp_path: Path) -> None:
    save_scene(tmp_path / "scene.json", synthetic(), [])
    before = (tmp_path / "scene.json").read_bytes()
    with pytest.raises(ValueError, match=message):
        draw_scene.main(["--edit", words, "--scene", str(tmp_path), "--out", str(tmp_path / "changed")])
    assert (tmp_path / "scene.json").read_bytes() == before


def test_a_scene_comes_back_as_it_was_saved_and_others_are_refused(tmp_path: Path) -> None:
    scene = dataclasses.replace(synthetic(), behind=[(0, 1)])
    save_scene(tmp_path / "scene.json", scene, ["told"])
    again = load_scene(tmp_path)
    assert dataclasses.replace(again, things=[]) == dataclasses.replace(scene, things=[])
    for one, other in zip(again.things, scene.things, strict=True):
        assert (one.category, one.number, one.box) == (other.category, other.number, other.box)
        np.testing.assert_array_equal(one.strokes[0], other.strokes[0])
    text = (tmp_path / "scene.json").read_text()
    for wrong in ("", "[]", text[:200], text.replace('"cat"', '"qwxz"'), text.replace("100.0", "NaN", 1),
                  text.replace("scene-1", "scene-9")):  # fmt: skip
        (tmp_path / "scene.json").write_text(wrong)
        with pytest.raises(ValueError, match="not a scene that draw_scene"):
            load_scene(tmp_path)


def test_the_same_seed_gives_the_same_bytes_and_the_video_ends_with_the_picture(tmp_path: Path) -> None:
    def drawn(folder: str, *more: str) -> dict[str, bytes]:
        draw_scene.main(["a cat", "--videos", "mp4,gif", "--out", str(tmp_path / folder), *more])
        return {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}

    first = drawn("first")
    assert set(first) == {"files.json", "scene.json", "scene.svg", "scene.png", "scene.ndjson", "scene.mp4",
                          "scene.gif"}  # fmt: skip
    assert drawn("first") == first  # in the place of what it wrote before
    assert drawn("other", "--seed", "1")["scene.json"] != first["scene.json"]
    with av.open(io.BytesIO(first["scene.mp4"])) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    still = picture(tmp_path / "first" / "scene.png")
    assert frames[-1].shape == still.shape
    assert np.abs(frames[-1].astype(float) - still).mean() < 3
    assert (frames[0] < 128).sum() < (frames[-1] < 128).sum() / 4
    assert len((tmp_path / "first" / "scene.ndjson").read_text().splitlines()) == 2


def picture(path: Path) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_morph_begins_and_ends_with_the_models_own_drawings() -> None:
    trained = base_model()
    there = between(trained, "cat", "bus", [0.0, 0.5, 1.0], seed=5, indices=(2, 3))
    alone = draw_scene_drawings(trained, "cat", 2), draw_scene_drawings(trained, "bus", 3)
    for drawing, own in ((there[0], alone[0]), (there[2], alone[1])):
        assert len(drawing) == len(own)
        for stroke, other in zip(drawing, own, strict=True):
            np.testing.assert_allclose(stroke, other, atol=0.1)
    mix = there[1][0]
    assert min(np.abs(mix - end[0]).max() for end in (there[0], there[2])) > 1


def draw_scene_drawings(trained: Any, category: str, index: int) -> list[Any]:
    return generate_drawings(trained, category, [index], seed=5, guidance=trained.guidance).drawings[0]


def test_noise_between_two_noises_keeps_its_size() -> None:
    first, second = torch.randn(2, 4096, generator=torch.Generator().manual_seed(0))
    way = slerp(first, second, torch.tensor([0.0, 0.3, 0.5, 1.0]))
    torch.testing.assert_close(way[0], first)
    torch.testing.assert_close(way[3], second)
    assert (way.square().mean(1) - 1).abs().max() < 0.1
