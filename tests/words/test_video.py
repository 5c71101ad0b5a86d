"""Videos read back: clips, attention that is divided and causal, ink of any recording, things, words; bad files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import draw_scene
from config import NETWORK_PATH, VIDEO_READER_PATH
from rendering import feature_raster, replay
from scoring.feature_network import load_feature_network
from words import ink as ink_of_videos
from words.clips import clip, segments_of
from words.ink import read_ink, thinned
from words.prompts import read_prompt
from words.read_back import sentence, shipped_network
from words.things import divided
from words.video import write_video
from words.video_network import VideoNetwork, VideoNetworkConfig, described

av = pytest.importorskip("av")

HOUSE = [np.array([[0.0, 100], [0, 40], [60, 0], [120, 40], [120, 100], [0, 100]]),
         np.array([[50.0, 100], [50, 70], [70, 70], [70, 100]])]  # fmt: skip
"""Walls with a roof, then a door."""


def turned(time: float) -> NDArray[np.float64]:
    return np.array([np.cos(time), np.sin(time)])


CIRCLE = [np.array([60 + 50 * turned(angle) for angle in np.linspace(0, 2 * np.pi, 60)])]


def placed(drawing: Sequence[NDArray[Any]], left: float, top: float, scale: float) -> list[NDArray[Any]]:
    return [stroke * scale + [left, top] for stroke in drawing]


# ------------------------------------------------------------------ clips


def test_a_clip_ends_with_the_picture_of_the_recogniser_and_loses_no_ink_on_the_way() -> None:
    for drawing in (HOUSE, CIRCLE):
        frames = clip(segments_of(drawing)).astype(int)
        assert (frames[-1] != feature_raster(drawing)).mean() < 0.01
        assert (np.diff(frames, axis=0) <= 0).all()
        assert np.abs(np.diff((255 - frames).sum(axis=(1, 2))) / (255 - frames[-1]).sum() - 0.2).max() < 0.06


def test_a_clip_knows_neither_place_nor_size_nor_how_many_points_strokes_have() -> None:
    finer = [np.stack([np.interp(np.linspace(0, len(s) - 1, 8 * (len(s) - 1) + 1), range(len(s)), s[:, axis])
                       for axis in (0, 1)], axis=1) for s in HOUSE]  # fmt: skip
    first = clip(segments_of(HOUSE)).astype(int)
    for other in (finer, placed(HOUSE, 300, -40, 3.0)):
        assert np.abs(clip(segments_of(other)).astype(int) - first).mean() < 1.0


# ------------------------------------------------------------------ the network


def test_attention_is_divided_and_no_frame_sees_a_later_one() -> None:
    torch.manual_seed(0)
    network = VideoNetwork(VideoNetworkConfig(width=16, num_classes=7)).eval()
    maps, ink, own = torch.randn(2, 5, 4, 4, 256), torch.rand(2, 5, 32, 32), torch.randn(2, 5, 7)
    before = network(maps, ink, own)
    changed = maps.clone()
    changed[:, 3] += 1
    after = network(changed, ink, own)
    assert torch.allclose(after[:, :3], before[:, :3], atol=1e-5)
    assert not torch.allclose(after[:, 3], before[:, 3], atol=1e-3)
    assert not torch.allclose(after[:, 4], before[:, 4], atol=1e-3)
    # within one layer a patch of an earlier frame reaches only its own place, were it not for space
    x = torch.randn(1, 5, 4, 16)
    other = x.clone()
    other[0, 0, 0] *= -1
    layer: Any = network.layers[0]
    layer.space.forward = lambda x, causal: torch.zeros_like(x)
    one, changed = layer(x), layer(other)  # (1, T, S, W)
    assert not torch.allclose(one[0, 1:, 0], changed[0, 1:, 0], atol=1e-4)
    assert torch.allclose(one[0, :, 1:], changed[0, :, 1:], atol=1e-6)


def test_new_ink_is_seen_once() -> None:
    frames = np.stack([clip(segments_of(HOUSE))])
    _, new, _ = described(load_feature_network(NETWORK_PATH).network.eval(), frames)
    whole = (255 - frames[0, -1].astype(float)).mean() / 255
    assert new.mean(dim=(2, 3)).sum().item() == pytest.approx(whole, rel=1e-4)


def test_the_order_of_frames_matters() -> None:
    torch.manual_seed(0)
    network = VideoNetwork(VideoNetworkConfig(width=16, num_classes=7)).eval()
    maps, ink, own = torch.randn(1, 5, 4, 4, 256), torch.rand(1, 5, 32, 32), torch.zeros(1, 5, 7)
    order = [1, 0, 2, 3, 4]
    assert not torch.allclose(network(maps, ink, own)[:, -1], network(maps[:, order], ink[:, order], own)[:, -1])


# ------------------------------------------------------------------ the ink of a video


def pictures(drawing: list[NDArray[Any]], size: tuple[int, int], width: float, count: int) -> list[NDArray[np.uint8]]:
    return list(replay(drawing, size, width, count))


def boxed(frames: Sequence[NDArray[np.uint8]], bar: int) -> Iterator[NDArray[np.uint8]]:
    """Between black bars, with a pointer that wanders, on blue paper with yellow ink."""
    for number, frame in enumerate(frames):
        dark = frame.min(axis=2, keepdims=True) < 128
        colored = np.where(dark, (250, 220, 40), (20, 50, 120)).astype(np.uint8)
        wide = np.pad(colored, ((0, 0), (bar, bar), (0, 0)))
        if number < len(frames) - 1:
            wide[5 : 15, 5 + bar + number : 15 + bar + number] = 255
        yield wide


@pytest.mark.parametrize("kind", ["mp4", "webm", "gif"])
def test_ink_is_the_same_whatever_the_recording(kind: str, tmp_path: Path) -> None:
    expected = clip(segments_of(HOUSE)).astype(int)
    small = pictures(placed(HOUSE, 60, 40, 1.2), (200, 320), 3, 20)
    large = pictures(placed(HOUSE, 100, 80, 2.5), (400, 480), 9, 61)
    slow = [large[0]] * 10 + [frame for frame in large for _ in range(2)] + [large[-1]] * 30
    for name, frames in (("small", small), ("slow", slow), ("boxed", list(boxed(large, 80)))):
        path = tmp_path / f"{name}.{kind}"
        write_video(path, iter(frames))
        ink = read_ink(path)
        assert ink.moves
        assert (np.diff(ink.times) >= 0).mean() > 0.98
        found = clip(ink.segments).astype(int)
        assert np.abs(found - expected).mean() < 9, name  # of 255: lines that lie half a px beside
        for early in (0, 2, -1):  # what came first is there first
            assert np.corrcoef(found[early].ravel(), expected[early].ravel())[0, 1] > 0.6, (name, early)


def test_a_picture_is_read_without_order_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "still.mp4"
    write_video(path, pictures(placed(CIRCLE, 40, 40, 1.5), (240, 320), 4, 1))
    ink = read_ink(path)
    assert (ink.moves, ink.notes) == (False, ("nothing moves: read as a picture",))
    assert np.abs(clip(ink.segments)[-1].astype(int) - clip(segments_of(CIRCLE))[-1]).mean() < 9


def test_thin_lines_stay_connected_and_one_px_wide() -> None:
    thick = np.zeros((60, 60), bool)
    thick[10:50, 27:33] = thick[27:33, 10:50] = True
    thin = thinned(thick)
    assert thin.sum() < 90
    assert thin[30, 12:48].sum() + thin[29, 12:48].sum() >= 34
    assert (thin <= thick).all()


def test_a_damaged_video_is_read_until_the_damage(tmp_path: Path) -> None:
    path = tmp_path / "cut.webm"
    write_video(path, iter(pictures(placed(HOUSE, 60, 40, 1.2), (200, 320), 3, 60)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    ink = read_ink(path)
    assert len(ink.segments) > 50
    assert "its pictures end after" in ink.notes[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"no video" * 500, "not a video"), (b"\0\0\0\x20ftypisom" + bytes(4000), "not a video"),
     (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n", "not a video"),
     (None, "no such video")],
)  # fmt: skip
def test_a_file_that_is_no_video_is_refused_in_one_line(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "scene.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        draw_scene.main(["--read", str(path)])
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_long_videos_and_those_without_still_paper_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    noise = tmp_path / "noise.gif"
    write_video(noise, [rng.integers(0, 255, (40, 60, 3)).astype(np.uint8) for _ in range(6)])
    with pytest.raises(ValueError, match="no lines that appear on still paper"):
        read_ink(noise)
    white = tmp_path / "white.mp4"
    write_video(white, [np.full((40, 60, 3), 255, np.uint8)] * 3)
    with pytest.raises(ValueError, match="no line is drawn"):
        read_ink(white)
    monkeypatch.setattr(ink_of_videos, "MOST_SECONDS", 1.0)
    with pytest.raises(ValueError, match="lasts 0 minutes, at most 0 are read"):
        read_ink(white)


# ------------------------------------------------------------------ things and words


def test_strokes_are_divided_into_the_things_that_the_reader_is_surest_of() -> None:
    things = [placed(HOUSE, 0, 0, 1.0), placed(CIRCLE, 200, 0, 1.0), placed(HOUSE, 400, 0, 1.0)]
    lengths = [sum(len(segments_of([stroke])) for stroke in thing) for thing in things]
    strokes = [stroke for thing in things for stroke in thing]
    segments = segments_of(strokes)
    numbers = np.repeat(np.arange(len(strokes)), [len(segments_of([stroke])) for stroke in strokes])

    def reader(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Surest of a whole house and of a circle."""
        chances = np.full((len(parts), 3), 0.1)
        for number, part in enumerate(parts):
            wide = np.ptp(part.reshape(-1, 2), axis=0)[0]
            if len(part) in (len(segments_of(HOUSE)), len(segments_of(CIRCLE))) and wide < 130:
                chances[number, 0] = 0.8
        return chances

    found = divided(segments, numbers, reader)
    assert [part.stop - part.start for part in found] == lengths


def test_what_was_read_is_said_as_a_prompt_that_means_it() -> None:
    for categories in (["rabbit", "rabbit", "bus"], ["mouse"] * 3, ["pants"], ["t-shirt", "t-shirt", "The Mona Lisa"],
                       ["knife", "knife", "sheep", "cactus", "cactus"], ["airplane", "octopus"]):  # fmt: skip
        for language in ("en", "tr", "ru"):
            said = sentence(categories, language)
            understood = [thing.category for thing in read_prompt(said, language).things]
            assert sorted(understood) == sorted(categories), said
    assert sentence(["rabbit", "bus", "rabbit"], "en") == "two rabbits and a bus"
    assert sentence(["rabbit", "bus", "rabbit"], "tr") == "iki tavşan ve bir otobüs"
    assert sentence(["rabbit", "bus", "rabbit"], "ru") == "2 × кролик и автобус"


# ------------------------------------------------------------------ what is published


def test_the_page_shows_the_figures_of_the_shipped_reader_and_of_the_round_trip() -> None:
    root = Path(draw_scene.__file__).parent
    page = (root / "docs" / "VIDEO.md").read_text(encoding="utf-8")
    loaded = shipped_network()
    assert VIDEO_READER_PATH.stat().st_size < 3e6
    held_out = loaded.conditions["held_out"]
    for name, label in (("video", "**video reader**"), ("last frame only", "control: same form, last frame only"),
                        ("recogniser, last frame", "picture recogniser, last frame")):  # fmt: skip
        assert f"| {label} | " + " | ".join(f"{100 * row[name]:.1f}" for row in held_out.values()) in page
    assert all(row["video"] > row["last frame only"] for row in held_out.values())
    trip = json.loads((root / "results" / "round_trip.json").read_text(encoding="utf-8"))
    for language, name in (("en", "English"), ("tr", "Turkish"), ("ru", "Russian")):
        cells = (f"{100 * row['come back']:.0f} ({100 * row['things that come back']:.0f}; "
                 f"{100 * row['as many things']:.0f})" for row in trip[language].values())  # fmt: skip
        assert f"| {name} | " + " | ".join(cells) in page


def test_a_video_is_read_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "circle.mp4"
    write_video(path, iter(pictures(placed(CIRCLE, 60, 20, 1.5), (200, 320), 4, 20)))
    draw_scene.main(["--read", str(path), "--language", "tr"])
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"{path}: 2.")
    assert said[1] == "tr: bir daire"
    assert "emin" in said[2]
