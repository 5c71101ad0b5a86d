"""The room of families: one interface, one loop, heads of one size, drawings that depend on their seed alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from config import RunFailed
from drawings.packed import PackedDrawings
from families import strokes, training
from families.attributes import ATTRIBUTES, attributes_of, obeying, wanted_values
from families.avatars import LEAST_CONTRAST, avatar, color_combination, palette_table, pixel_table
from families.interface import Family, Material, num_parameters
from families.scoring import draw
from families.training import FAMILIES, load_family, save_family, train
from studies import attributes, compare_families

NAMES = ("cat", "bus")
HEADS = [name for name, family in FAMILIES.items() if family.kind == "strokes"]


@pytest.fixture
def material(cats: PackedDrawings, monkeypatch: pytest.MonkeyPatch) -> Material:
    """A few drawings, read once."""
    monkeypatch.setattr(strokes, "COPIES", 1)
    few = cats.select(range(24))
    return Material(NAMES, (few, few), (few, few))


def made(name: str, seed: int = 0) -> Family:
    torch.manual_seed(seed)
    return FAMILIES[name](NAMES).eval()


@pytest.mark.parametrize("name", FAMILIES)
def test_it_learns_by_one_number_and_draws_and_is_the_same_from_its_file(
    name: str, material: Material, tmp_path: Path
) -> None:
    family, conditions = train(made(name), material, 0.3)
    loss = family.loss(next(family.batches(material, 0)))
    assert loss.shape == ()
    nats = family.surprise(next(family.batches(material, 0)))
    assert (nats is None) == (family.likelihood == "none")
    assert (family.surprise_unit == "") == (nats is None)
    save_family(tmp_path / "a.safetensors", name, family, conditions)
    again, read = load_family(tmp_path / "a.safetensors")
    assert read == json.loads(json.dumps(conditions))
    save_family(tmp_path / "b.safetensors", name, again, read)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    drawn = draw(again, "cat", 3, 0, 1.0)
    assert len(drawn.drawings) + drawn.empty == 3 if drawn.pictures is None else drawn.pictures.shape == (3, 64, 64)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_drawing_depends_on_its_seed_and_number_not_on_the_batch(name: str, material: Material) -> None:
    family = made(name)
    family.prepare(material)
    for buffer in family.buffers():  # a latent's deviation, not measured before the second stage
        buffer += (buffer.ndim == 0) & (buffer == 0)
    loud = 30.0 if family.kind == "pictures" else 1.0  # untrained, they would all be grey
    many, one = family.generate("cat", range(4), 5, loud), family.generate("cat", [2], 5, loud)
    other = family.generate("cat", [2], 6, loud)
    same = [np.allclose(np.concatenate(list(many[2])), np.concatenate(list(drawn[0])), atol=1)
            if len(many[2]) == len(drawn[0]) and sum(map(len, many[2])) == sum(map(len, drawn[0])) else False
            for drawn in (one, other)]  # fmt: skip
    assert same == [True, False]
    with pytest.raises(ValueError, match="was trained on cat, bus, not 'dog'"):
        family.generate("dog", [0], 0)


def test_heads_are_of_one_size() -> None:
    sizes = np.array([num_parameters(made(name)) for name in HEADS])
    assert len(HEADS) >= 6
    assert (np.abs(sizes / ((sizes.max() + sizes.min()) / 2) - 1) <= 0.1).all(), dict(zip(HEADS, sizes, strict=True))


@pytest.mark.parametrize("name", HEADS)
def test_a_stroke_is_judged_by_those_before_it_alone(name: str, material: Material) -> None:
    family = made(name)
    assert isinstance(family, strokes.StrokeFamily)
    family.prepare(material)
    contexts = torch.randn(2, 5, strokes.READER_WIDTH)
    later = contexts.clone()
    later[:, 3:] = 0
    x = torch.randn(2, 5, 1, family.inputs)
    first, second = (family.answers(x, family.trunk.read(own)) for own in (contexts, later))
    assert torch.equal(first[:, :3], second[:, :3])
    assert not torch.allclose(first[:, 3:], second[:, 3:])
    # and drawing sees what training saw
    state = family.trunk.begun(2)
    for k in range(3):
        state = family.trunk.told(state, contexts[:, k])
    assert torch.allclose(family.answer(x[:, 2, 0], state), first[:, 2, 0], atol=1e-4)


def test_adding_a_family_takes_fewer_than_80_lines() -> None:
    path = Path(training.__file__).with_name("energy.py")
    assert len(path.read_text(encoding="utf-8").splitlines()) < 80


def test_a_loss_that_is_not_finite_ends_the_training(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    family = made("mixture")
    monkeypatch.setattr(family, "loss", lambda batch: torch.tensor(float("nan")))
    with pytest.raises(RunFailed, match="not finite after 0 updates"):
        train(family, material, 1.0)


def test_weights_of_something_else_are_refused(tiny_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not the weights of a family"):
        load_family(tiny_weights)
    family = made("vae")
    save_family(tmp_path / "gan.safetensors", "gan", family, {})
    with pytest.raises(ValueError, match="do not fit Conditional GAN"):
        load_family(tmp_path / "gan.safetensors")


def test_the_published_table_is_that_of_the_results() -> None:
    page = compare_families.DOCUMENT.read_text(encoding="utf-8")
    shown = page.split(compare_families.MARKERS[0])[1].split(compare_families.MARKERS[1])[0]
    assert shown.strip() == compare_families.published_text(compare_families.OUT)


def test_shipped_weights_are_small_and_of_one_budget() -> None:
    paths = training.shipped()
    assert sum(path.stat().st_size for path in paths.values()) <= 15e6
    heads = [load_family(path)[1]["budget"] for name, path in paths.items() if name in HEADS]
    assert len(set(heads)) <= 1


# ------------------------------------------------------------------ attributes, avatars

WIDE = [np.array([[0, 0], [255, 0], [255, 90], [0, 90], [0, 0]]), np.array([[200, 60], [210, 60]])]
TALL = [np.array([[0, 0], [80, 255]])]


def test_attributes_are_what_one_sees() -> None:
    words = [{name: values[row[i]] for i, (name, values) in enumerate(ATTRIBUTES.items())}
             for row in attributes_of([WIDE, TALL])]  # fmt: skip
    assert words[0] == {"strokes": "few", "aspect": "wide", "ink": "little", "first_stroke": "closed",
                        "second_begins": "lower-right", "symmetry": "mirrored", "small_strokes": "a-few"}  # fmt: skip
    assert words[1] | {"aspect": "tall", "first_stroke": "open", "second_begins": "nowhere"} == words[1]
    assert words[1]["symmetry"] == "lopsided"
    assert obeying([WIDE, TALL], wanted_values("aspect=wide, strokes=few")).tolist() == [True, False]
    with pytest.raises(ValueError, match="aspect cannot be 'round'; it is one of wide, square, tall"):
        wanted_values("aspect=round")


def test_steering_keeps_what_obeys_and_tells_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributes, "AT_ONCE", 4)
    wanted = wanted_values("aspect=wide")
    kept, share, drawn = attributes.steered(lambda number, count: [WIDE, TALL, TALL, TALL][:count], wanted, 3)
    assert (len(kept), share, drawn) == (3, 0.25, 12)
    with pytest.raises(RunFailed, match="only 0 of 8 drawings obey"):
        attributes.steered(lambda number, count: [TALL] * count, wanted, 1, most=8)


def test_colours_of_an_avatar_can_be_told_apart_and_come_from_the_pictures_named(tmp_path: Path) -> None:
    for number in range(50):
        colors = color_combination(palette_table(), np.random.default_rng(number))
        distances = [np.linalg.norm(colors[a] - colors[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
        assert min(distances) >= LEAST_CONTRAST
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:, 10:, 0] = 255  # a quarter black, the rest red
    Image.fromarray(picture).resize((40, 40)).save(tmp_path / "flag.png")
    colors, chance = pixel_table(tmp_path)
    assert abs(chance[colors[:, 0] > 200].sum() - 0.75) < 0.03
    assert (colors[:, 1:] < 32).all()
    paper, fill, pen = np.array([[250, 250, 250], [0, 200, 0], [0, 0, 0]], float)
    shown = avatar(WIDE, np.stack([paper, fill, pen]))
    assert (shown[0, 0] == 250).all()
    assert shown[64, 64, 1] > 150  # the closed stroke is filled
    assert shown[64, 64, 0] < 50
    with pytest.raises(FileNotFoundError, match="holds no picture"):
        pixel_table(tmp_path / "none")


def test_the_table_answers_questions_on_the_command_line(
    answer: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    found = attributes.main(["--data-dir", "embedded", "--likely", "aspect=wide", "--given", "aspect=wide"])
    assert found["probability"] == 1
    assert "p(aspect=wide given aspect=wide) = 1.000" in capsys.readouterr().out


# ------------------------------------------------------------------ the comparison


def test_the_comparison_writes_table_picture_and_curve(
    tmp_path: Path, material: Material, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare_families, "SMOKE_BUDGET", 0.3)
    own = Material(("cat", "bus", "rabbit"), material.train[:1] * 3, material.held_out[:1] * 3)
    monkeypatch.setattr(Material, "load", staticmethod(lambda categories, data_dir: own))
    names = "mixture,latent_diffusion,whole_sequence"
    rows = compare_families.main(["--smoke", "--only", names, "--out", str(tmp_path)])
    assert [row["title"] for row in rows][:2] == ["Real drawings", "Shuffled strokes"]
    assert len(rows) == 5
    assert rows[0]["fid"] < rows[1]["fid"] < rows[2]["fid"]
    assert {path.name for path in tmp_path.iterdir()} >= {"cat.json", "cat.md", "cat.png", "latent_diffusion.png"}
    written = json.loads((tmp_path / "cat.json").read_text())
    assert written["rows"][2]["nats"] is not None
    assert "| Gaussian mixture |" in capsys.readouterr().out
    document = tmp_path / "page.md"
    document.write_text("before <!-- families -->old<!-- /families --> after")
    monkeypatch.setattr(compare_families, "DOCUMENT", document)
    compare_families.publish(tmp_path)
    assert f"\n{compare_families.table_of(written['rows']).strip()}\n<!-- /families --> after" in document.read_text()
    with pytest.raises(ValueError, match="--only names 'flow'"):
        compare_families.main(["--only", "flow"])
