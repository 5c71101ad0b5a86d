"""Laws of drawing: a drawing is its seed's own, prefixes come back, bad models are survived, nobody's file is lost."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import sample_diffusion
from config import ATTRIBUTION, RunFailed
from dataset_utils import read_ndjson, write_ndjson
from diffusion_model import TrainedModel, save_weights
from drawings.embedded import embedded_drawings
from sample_diffusion import StrokeRandomness, generate_drawings, official_form, weaker_network
from scoring.placement import SHARES
from stroke_tokens import vectors_to_points


def points(drawings: list[list[np.ndarray]]) -> np.ndarray:
    return np.concatenate([stroke for drawing in drawings for stroke in drawing])


# ---- the loop


@pytest.mark.parametrize("sampler", ["dpm-solver++", "ddim", "ancestral"])
def test_neither_batch_nor_order_changes_a_drawing(tiny_model: TrainedModel, sampler: str) -> None:
    small = copy.deepcopy(tiny_model)
    small.model.time_table = small.model.time_table[:40]  # 40 times keep the ancestral sampler short

    def draw(indices: list[int], batch_size: int) -> list[list[np.ndarray]]:
        return generate_drawings(
            small, "cat", indices, seed=5, sampler=sampler, steps=5, eta=0.5, batch_size=batch_size
        ).drawings

    together, alone = draw([0, 1, 2, 3, 4], 5), draw([4, 2, 0, 1, 3], 1)
    for index, other in zip([4, 2, 0, 1, 3], alone, strict=True):
        assert len(together[index]) == len(other)
        np.testing.assert_allclose(points([together[index]]), points([other]), atol=0.05)


def test_prefix_comes_back_unchanged_and_shapes_what_follows(tiny_model: TrainedModel) -> None:
    first = [np.array([[0, 0], [255, 0], [255, 200]], np.uint8)]
    second = [np.array([[10, 250], [20, 30]], np.uint8), np.array([[5, 5]], np.uint8)]
    result = generate_drawings(tiny_model, "cat", range(4), seed=1, steps=3, prefix=[first, second, first, second])
    for drawing, prefix in zip(result.drawings, [first, second, first, second], strict=True):
        assert len(drawing) >= len(prefix)
        for a, b in zip(drawing, prefix, strict=False):
            assert a is b
        official, _ = official_form(drawing, len(prefix))
        for a, b in zip(official, prefix, strict=False):
            np.testing.assert_array_equal(a, b)
    for other in ([second[0]], first):
        a = generate_drawings(tiny_model, "cat", [7], seed=1, steps=3, prefix=[first]).drawings[0][1:2]
        b = generate_drawings(tiny_model, "cat", [7], seed=1, steps=3, prefix=[other]).drawings[0][1:2]
        assert (other is first) == (len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True)))


def test_endless_drawings_are_cut_and_counted(tiny_model: TrainedModel) -> None:
    endless = copy.deepcopy(tiny_model)
    torch.nn.init.constant_(endless.model.stop.bias, -1e4)
    result = generate_drawings(endless, "cat", range(3), seed=0, steps=2)
    assert result.unfinished == 3
    assert [len(d) for d in result.drawings] == [12] * 3


def test_strokes_that_are_not_finite_end_a_drawing_and_are_counted(tiny_model: TrainedModel) -> None:
    broken = copy.deepcopy(tiny_model)
    torch.nn.init.constant_(broken.model.write_noise.bias, float("nan"))
    result = generate_drawings(broken, "cat", range(4), seed=0, steps=2)
    assert (result.not_finite, result.unfinished) == (4, 0)
    assert result.drawings == [[], [], [], []]


def test_where_no_drawing_has_a_finite_stroke_nothing_is_written(tiny_model: TrainedModel, tmp_path: Path) -> None:
    broken = copy.deepcopy(tiny_model)
    torch.nn.init.constant_(broken.model.write_noise.weight, 3e38)
    save_weights(tmp_path / "broken.safetensors", broken, torch.float32)
    with pytest.raises(RunFailed, match="none of 9 drawings has a finite stroke"):
        draw(tmp_path / "broken.safetensors", tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.*"))


def test_watcher_sees_noise_and_every_step_of_every_stroke(tiny_model: TrainedModel) -> None:
    seen: list[tuple[int, np.ndarray]] = []
    result = generate_drawings(tiny_model, "cat", [3], seed=0, steps=4, watch=lambda k, shown: seen.append((k, shown)))
    (drawing,) = result.drawings
    assert [k for k, _ in seen] == [k for k in range(len(drawing)) for _ in range(1 + 4)]
    for k, stroke in enumerate(drawing):
        noise = StrokeRandomness(0, [3], k, tiny_model.model.token_dim).normal()
        np.testing.assert_array_equal(seen[5 * k][1], vectors_to_points(tiny_model.whitening.decode(noise)))
        np.testing.assert_array_equal(seen[5 * k + 4][1][0], stroke)


def with_guide(trained: TrainedModel, change: Callable[[torch.Tensor], torch.Tensor], part: str) -> TrainedModel:
    whitening = dataclasses.replace(trained.whitening, **{part: change(getattr(trained.whitening, part))})
    return dataclasses.replace(trained, guide=dataclasses.replace(trained, whitening=whitening))


@pytest.mark.parametrize(("part", "change"), [
    ("basis", lambda basis: basis.flip(1)), ("basis", lambda basis: basis * basis.new_tensor([-1] + 15 * [1])),
    ("mean", lambda mean: mean + 0.1), ("scale", lambda scale: scale * 1.1), ("basis", lambda basis: basis[:8, :8]),
])  # fmt: skip
def test_guide_of_other_tokens_is_refused(
    tiny_model: TrainedModel, part: str, change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    trained = with_guide(tiny_model, change, part)
    with pytest.raises(ValueError, match="other stroke tokens"):
        generate_drawings(trained, "cat", range(2), seed=0, guidance=2.0)


@pytest.mark.parametrize("part", ["mean", "basis", "scale"])
def test_guide_whose_tokens_another_cpu_has_rounded_is_taken(tiny_model: TrainedModel, part: str) -> None:
    trained = with_guide(tiny_model, lambda numbers: numbers * (1 + 1e-6), part)
    assert weaker_network(trained, "cat") == (trained.guide.model, 0)


def test_official_form_is_integer_aligned_and_255_long() -> None:
    drawing = [np.array([[50.3, 60.2], [90.7, 61.0], [95.0, 99.5]]), np.array([[60.0, 70.0]])]
    official, clipped = official_form(drawing)
    everything = np.concatenate(official)
    assert everything.dtype == np.uint8
    assert everything.min(0).tolist() == [0, 0]
    assert everything.max() == 255
    assert clipped == 0


def test_continuation_outside_the_canvas_is_clipped_and_counted() -> None:
    prefix = np.array([[0, 0], [255, 255]], np.uint8)
    official, clipped = official_form([prefix, np.array([[-9.0, 5.0], [300.0, 5.0]])], kept_strokes=1)
    assert clipped == 2
    assert official[1].tolist() == [[0, 5], [255, 5]]


# ---- the command line


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Animations take most of a small run's time; these tests look at other files."""
    monkeypatch.setattr(sample_diffusion, "drawings_animation", lambda drawings, path: path.write_bytes(b"GIF"))
    monkeypatch.setattr(sample_diffusion, "denoising_animation", lambda states, path, history: path.write_bytes(b"GIF"))


def draw(weights: Path, out: Path, *more: str) -> sample_diffusion.Sampled:
    words = ["--category", "kedi", "--checkpoint", str(weights), "--n", "9", "--seed", "1", "--steps", "3"]
    return sample_diffusion.main([*words, "--out", str(out), *more])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_sampling_writes_every_file_and_the_same_bytes_twice(tiny_weights: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw(tiny_weights, tmp_path / name, "--n", "2", "--seed", "4", "--guidance", "1.5")
    names = {"drawings.ndjson", "grid.png", "sheet.svg", "animation.gif", "denoising.gif", "conditions.json"}
    a, b = (contents(tmp_path / name) for name in ("a", "b"))
    assert set(a) == names | {"drawing_000.svg", "drawing_001.svg"}
    conditions = json.loads(a.pop("conditions.json"))
    b.pop("conditions.json")
    assert a == b
    assert len(read_ndjson(tmp_path / "a/drawings.ndjson")[0]) == 2
    assert set(conditions["files"]) == set(a) | {"conditions.json"}
    assert conditions["evaluations_per_stroke"] == 6  # guidance asks the network twice a step
    assert (conditions["guidance"], conditions["guide"]) == (1.5, "the model without a category")
    assert conditions["checkpoint_sha256"] == sample_diffusion.load_model(tiny_weights).sha256


def test_guidance_is_by_default_and_by_auto_what_the_checkpoint_was_tuned_for(
    tiny_model: TrainedModel, tmp_path: Path, quick: None
) -> None:
    path = tmp_path / "tuned.safetensors"
    save_weights(path, dataclasses.replace(tiny_model, conditions={"sampling": {"guidance": 2.5}}))
    found = [
        draw(path, tmp_path / str(i), "--n", "2", *more).conditions["guidance"]
        for i, more in enumerate(((), ("--guidance", "auto"), ("--guidance", "-1"), ("--guidance", "1")))
    ]
    assert found == [2.5, 2.5, 2.5, 1.0]


def test_batch_size_changes_a_drawing_by_no_more_than_a_pixel(tiny_weights: Path, tmp_path: Path, quick: None) -> None:
    a, b = (draw(tiny_weights, tmp_path / size, "--n", "20", "--batch-size", size).drawings for size in ("20", "5"))
    assert [len(drawing) for drawing in a] == [len(drawing) for drawing in b]
    same = [all(np.array_equal(x, y) for x, y in zip(one, other, strict=True)) for one, other in zip(a, b, strict=True)]
    assert np.mean(same) > 0.8  # the others: a coordinate rounded the other way, or a vertex chosen beside
    for one, other in zip(a, b, strict=True):
        for x, y in zip(one, other, strict=True):
            assert np.abs(x[0].astype(int) - y[0]).max() <= 1


def test_unfinished_drawings_are_continued_and_their_strokes_come_back(
    tiny_weights: Path, tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    short = [drawing for drawing in embedded_drawings("cat", 20, seed=9) if 2 <= len(drawing) < 12][:5]
    drawings = [*short, [np.array([[0, 0], [9, 9]])], [np.array([[3, 3]])] * 14]
    write_ndjson(tmp_path / "unfinished.ndjson", drawings, word="cat")
    prefix = ("--prefix", str(tmp_path / "unfinished.ndjson"))
    sampled = draw(tiny_weights, tmp_path / "out", *prefix, "--n", "7", "--keep-strokes", "2")
    packed, _ = read_ndjson(tmp_path / "out/drawings.ndjson")
    assert len(packed) == len(sampled.drawings) == 7
    told = json.loads((tmp_path / "out/conditions.json").read_text())
    assert (told["prefix_file"], told["keep_strokes"]) == (prefix[1], 2)
    assert packed.num_strokes.max() > 2
    usable = [drawings[i] for i in (0, 1, 2, 3, 4, 6, 0)]
    for i, drawing in enumerate(usable):
        for a, b in zip(packed.drawing(i)[:2], drawing[:2], strict=True):
            np.testing.assert_array_equal(a, b)
    assert "left out 1 drawings of fewer than 2 strokes" in capsys.readouterr().out
    draw(tiny_weights, tmp_path / "whole", *prefix, "--n", "7")
    assert "cut 1 prefixes to 11 strokes, the most that the model can continue" in capsys.readouterr().out


# ---- nobody's file is lost


def test_a_file_that_was_given_to_read_is_not_replaced_by_whatever_name(
    tiny_weights: Path, tmp_path: Path, quick: None
) -> None:
    out = tmp_path / "out"
    draw(tiny_weights, out, "--n", "3")
    (tmp_path / "linked").symlink_to(out)
    os.link(tiny_weights, tmp_path / "again.safetensors")
    before = contents(out)
    for folder in ("out", "linked", "out/../out"):
        with pytest.raises(ValueError, match=r"drawings\.ndjson: is what was given to read"):
            draw(tiny_weights, out, "--prefix", str(tmp_path / folder / "drawings.ndjson"))
    for flag in ("--checkpoint", "--guide"):
        (out / "grid.png").unlink()
        (out / "grid.png").symlink_to(tmp_path / "again.safetensors")
        with pytest.raises(ValueError, match=r"grid\.png: is what was given to read"):
            draw(tiny_weights, out, flag, str(tiny_weights))
    (out / "grid.png").unlink()
    (out / "grid.png").write_bytes(before["grid.png"])
    assert contents(out) == before
    sample_diffusion.load_model(tiny_weights)  # is whole


def test_files_that_no_run_wrote_stay_and_those_of_a_larger_run_go(
    tiny_weights: Path, tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tiny_weights, tmp_path, "--n", "6")
    (tmp_path / "drawing_007.svg").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    capsys.readouterr()
    draw(tiny_weights, tmp_path, "--n", "3")
    assert "in the place of what an earlier run wrote there: conditions.json, drawings.nd" in capsys.readouterr().out
    svgs = sorted(path.name for path in tmp_path.glob("*.svg"))
    assert svgs == ["drawing_000.svg", "drawing_001.svg", "drawing_002.svg", "drawing_007.svg", "sheet.svg"]
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"drawing_007\.svg: is there and was not written by this script"):
        draw(tiny_weights, tmp_path, "--n", "8")
    assert contents(tmp_path) == before
    assert before["drawing_007.svg"] == before["notes.txt"] == b"mine"


@pytest.mark.parametrize("told", ["[", "{}", "[3]", json.dumps({"attribution": ATTRIBUTION}), json.dumps(
    {"attribution": ATTRIBUTION, "files": ["../mine.svg", "/drawings.ndjson"]}), json.dumps({"n": 64})])  # fmt: skip
def test_a_folder_whose_files_say_nothing_of_an_earlier_run_is_left_alone(
    tiny_weights: Path, tmp_path: Path, told: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("conditions.json", "drawings.ndjson", "../mine.svg"):
        (out / name).write_text(told)
    with pytest.raises(ValueError, match="is there and was not written by this script; choose another --out"):
        draw(tiny_weights, out, "--n", "3")
    assert contents(out) == {name: told.encode() for name in ("conditions.json", "drawings.ndjson")}
    assert (tmp_path / "mine.svg").exists()


# ---- drawings of any form are continued


def test_a_drawing_in_other_coordinates_is_continued_in_them(
    tiny_weights: Path, tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"word": "dog", "countrycode": "TR", "key_id": "7", "recognized": True,
             "drawing": [[[-200, 520.5, 530], [100, 90, 700], [0, 40, 90]],
                         [[10, 11], [12, 12], [300, 310]]]}  # fmt: skip
    (tmp_path / "mine.json").write_text(json.dumps([given], indent=1))
    draw(tiny_weights, tmp_path / "out", "--prefix", str(tmp_path / "mine.json"), "--n", "4")
    said = capsys.readouterr().out
    assert "1 of 1 drawings are raw: fitted into the square of the dataset" in said
    assert "what is drawn is written in its coordinates, its strokes as they were" in said
    longest, side = 0, 730 / SHARES[-1]  # of the largest square that is tried
    for number, line in enumerate((tmp_path / "out/drawings.ndjson").read_bytes().splitlines()):
        record = json.loads(line)
        assert record["drawing"][:2] == given["drawing"]  # with its times
        assert (record["word"], record["countrycode"]) == ("cat", "TR")
        assert (record["recognized"], record["key_id"]) == (False, f"{number:016d}")  # a new drawing
        times = [t for stroke in record["drawing"] for t in stroke[2]]
        assert times == sorted(times)
        for xs, ys, ts in record["drawing"]:
            assert len(xs) == len(ys) == len(ts)
            assert -200 - 1.4 * side < min(xs) <= max(xs) < 530 + 1.4 * side  # some strokes leave the square
        longest = max(longest, len(record["drawing"]))
    assert longest > 2


def test_times_of_a_pen_are_written_where_they_are_asked_for(tiny_weights: Path, tmp_path: Path, quick: None) -> None:
    draw(tiny_weights, tmp_path / "plain", "--n", "3")
    draw(tiny_weights, tmp_path / "timed", "--n", "3", "--timing")
    plain, timed = ([json.loads(line) for line in (tmp_path / name / "drawings.ndjson").read_bytes().splitlines()]
                    for name in ("plain", "timed"))  # fmt: skip
    for a, b in zip(plain, timed, strict=True):
        assert [stroke[:2] for stroke in b.pop("drawing")] == a.pop("drawing")
        assert a == b
