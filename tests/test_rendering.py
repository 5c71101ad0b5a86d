"""Laws of the rasters, pictures and animations."""

from __future__ import annotations

import itertools
import json
import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rendering
from rendering import (
    HOLD_MS,
    continuations_image,
    denoising_animation,
    drawing_svg,
    drawings_animation,
    feature_raster,
    feature_rasters,
    grid_image,
    official_raster,
    pool_raster,
    replay_svg,
    svg_sheet,
)

SVG = "{http://www.w3.org/2000/svg}"


def boxed_raster(drawing):
    """What a feature raster is pooled from."""
    return np.array(rendering._boxed(drawing))


def stroke(*points):
    return np.array(points)


def artificial_drawings(count):
    """Return drawings of a random walk, a line and a dot each, in official coordinates."""
    rng = np.random.default_rng(7)
    return [
        [
            np.clip(np.cumsum(rng.integers(-40, 41, size=(12, 2)), axis=0) + 128, 0, 255),
            stroke((0, 0), (255, rng.integers(256))),
            stroke(rng.integers(256, size=2)),
        ]
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def drawings():
    """24 real cats where QUICKDRAW_DIR is set, else artificial drawings."""
    folder = os.environ.get("QUICKDRAW_DIR")
    if not folder:
        return artificial_drawings(24)
    with (Path(folder) / "cat.ndjson").open(encoding="utf-8") as lines:
        return [
            [np.array(points[:2]).T for points in json.loads(line)["drawing"]] for line in itertools.islice(lines, 24)
        ]


def read_gif(path):
    """Return the frames as (H, W, 3) arrays, and their times in ms."""
    frames, times = [], []
    with Image.open(path) as gif:
        for index in range(gif.n_frames):
            gif.seek(index)
            frames.append(np.array(gif.convert("RGB")))
            times.append(gif.info["duration"])
    return frames, times


def ink_box(raster):
    rows, columns = np.nonzero(raster == 0)
    return columns.min(), rows.min(), columns.max(), rows.max()


# ---------------------------------------------------------------- rasters


def test_official_raster_of_a_horizontal_line_is_exactly_its_pixels():
    expected = np.full((256, 256), 255, dtype=np.uint8)
    expected[20, 10:31] = 0
    np.testing.assert_array_equal(official_raster([stroke((10, 20), (30, 20))]), expected)


def test_official_raster_keeps_coordinates_as_they_are_and_a_point_is_a_pixel():
    assert ink_box(official_raster([stroke((3, 7), (3, 255), (200, 255))])) == (3, 7, 200, 255)
    assert np.argwhere(official_raster([stroke((5, 9))]) == 0).tolist() == [[9, 5]]


@pytest.mark.parametrize("scale", [0.01, 1, 30])
@pytest.mark.parametrize("shift", [-2000, 0, 0.4])
def test_boxed_raster_spans_10_to_246_whatever_the_place_and_size(scale, shift):
    square = stroke((0, 0), (100, 0), (100, 60), (0, 60), (0, 0)) * scale + shift
    # A line 3 px wide reaches one pixel further than its middle.
    box = ink_box(boxed_raster([square]))
    assert box[:3] == (9, 9, 247)
    assert abs(box[3] - (10 + 236 * 60 // 100 + 1)) <= 1  # float rounding may move the floor by one


def test_boxed_raster_floors_its_coordinates():
    # 255 units to 236 px: y = 14 lands on 10 + 12.957, so its line covers rows 21 to 23, not 22 to 24.
    raster = boxed_raster([stroke((0, 0), (0, 255)), stroke((100, 14), (255, 14))])
    assert np.nonzero(raster[:, 200] == 0)[0].tolist() == [21, 22, 23]


def test_feature_rasters_are_the_block_means_of_the_boxed_rasters(drawings):
    together = feature_rasters(drawings)
    assert (together.shape, together.dtype) == ((len(drawings), 64, 64), np.uint8)
    for raster, drawing in zip(together, drawings, strict=True):
        means = boxed_raster(drawing).reshape(64, 4, 64, 4).astype(np.float64).mean(axis=(1, 3))
        np.testing.assert_array_equal(raster, np.floor(means + 0.5))
        np.testing.assert_array_equal(pool_raster(boxed_raster(drawing)), raster)
        np.testing.assert_array_equal(feature_raster(drawing), raster)
    with pytest.raises(ValueError, match="expected uint8"):
        pool_raster(means)


@pytest.mark.parametrize("raster", [official_raster, boxed_raster])
def test_an_empty_drawing_is_white_paper_and_what_is_outside_does_no_harm(raster):
    assert (raster([]) == 255).all()
    wild = [stroke((-9000.5, 128), (9000.5, 128)), stroke((300, 300), (301, 400)), stroke((-1, -1))]
    assert (raster(wild) == 0).any()


def test_a_drawing_without_extent_is_a_dot_in_the_corner_of_the_box():
    assert np.argwhere(boxed_raster([stroke((80, 80), (80, 80))]) == 0).tolist() == [[10, 10]]


@pytest.mark.parametrize("raster", [official_raster, boxed_raster, lambda d: grid_image([d]), drawing_svg])
@pytest.mark.parametrize("bad", [np.nan, 1e9])
def test_coordinates_that_cannot_be_drawn_are_refused_by_value(raster, bad):
    with pytest.raises(ValueError, match=r"coordinate of size .* limit is 10000"):
        raster([stroke((0, 0), (bad, 5))])


# ---------------------------------------------------------------- still pictures


def test_grid_has_one_cell_per_drawing_and_white_paper_in_the_others(drawings):
    picture = grid_image(drawings[:5], columns=4, cell=64)
    assert picture.shape == (128, 256, 3)
    assert picture.dtype == np.uint8
    cells = picture.reshape(2, 64, 4, 64, 3).swapaxes(1, 2).reshape(8, 64, 64, 3)[:, 2:-2, 2:-2]
    assert [bool((cell < 128).any()) for cell in cells] == [True] * 5 + [False] * 3


def test_grid_centres_each_drawing():
    picture = grid_image([[stroke((0, 0), (255, 0), (255, 100), (0, 100), (0, 0))]], cell=128)
    for axis in (0, 1):
        inked = np.nonzero((picture < 250).any(axis=(axis, 2)))[0]
        assert inked.min() + inked.max() == 127


def test_grid_keeps_drawings_at_one_scale_and_shrinks_larger_ones():
    line = [stroke((0, 0), (255, 0))]
    half = [stroke((0, 0), (127.5, 0))]
    huge = [stroke((0, 0), (2550, 0))]
    widths = [np.ptp(np.nonzero((grid_image([d], cell=200) < 128).any(axis=(0, 2)))[0]) for d in (line, half, huge)]
    assert widths[0] == widths[2] == pytest.approx(168, abs=3)
    assert widths[1] == pytest.approx(84, abs=3)


def test_a_dot_shows_in_every_kind_of_picture(tmp_path):
    dot = [stroke((128, 128))]
    assert (grid_image([dot]) < 200).any()
    assert drawing_svg(dot).count("M128 128h0") == 1
    drawings_animation([dot], tmp_path / "dot.gif")
    assert (read_gif(tmp_path / "dot.gif")[0][-1] < 128).any()


def test_colours_follow_the_order_of_strokes():
    first, last = stroke((0, 0), (255, 0)), stroke((0, 255), (255, 255))
    picture = grid_image([[first, last]], cell=128, color_by_order=True)
    backwards = grid_image([[last, first]], cell=128, color_by_order=True)
    np.testing.assert_allclose(picture.astype(int), backwards[::-1], atol=2)
    upper, lower = picture[10, 64].astype(int), picture[-11, 64].astype(int)
    assert upper[2] > upper[1]  # violet
    assert lower[1] > lower[2]  # green


def reddish(picture):
    return picture[..., 0].astype(int) - picture[..., 2] > 100


def dark(picture):
    return picture.max(axis=2) < 110


def test_given_strokes_are_red_and_stand_still_in_their_row():
    beginning = [stroke((0, 0), (60, 0))]
    ends = [stroke((0, 100), (255, 100)), stroke((0, 40), (0, 255)), stroke((20, 30), (30, 30))]
    rows = [[beginning, *([*beginning, end] for end in ends)], [[s + 100.0 for s in [*beginning, end]] for end in
            (ends[0], *ends)]]  # fmt: skip
    picture = continuations_image(rows, [1, 0], [("given", 1), ("added", 3)], cell=120)
    head, gap = len(picture) - 240, picture.shape[1] - 480
    assert gap > 0
    lefts = [0, 120 + gap, 240 + gap, 360 + gap]
    above = [picture[head + 2 : head + 118, left + 2 : left + 118] for left in lefts]
    below = [picture[head + 122 : head + 238, left + 2 : left + 118] for left in lefts]
    assert [bool(dark(cell).any()) for cell in above] == [False, True, True, True]
    for cell in above:
        np.testing.assert_array_equal(reddish(cell), reddish(above[0]))
    assert not any(reddish(cell).any() for cell in below)
    assert all(dark(cell).any() for cell in below)
    # the row is centred as a whole: the longest lines of its cells reach the margins
    columns = np.nonzero((above[1] < 200).any(axis=(0, 2)))[0]
    assert abs(columns.min() + columns.max() - 115) <= 2


# ---------------------------------------------------------------- animations


def test_gif_is_256_px_loops_for_ever_and_lasts_as_long_as_the_pen_needs(tmp_path):
    # One stroke of 255 units: 0.84 of the cell at 0.045 cells a frame makes 19 frames; two drawings.
    line = [stroke((0, 0), (255, 0))]
    drawings_animation([line, line], tmp_path / "two.gif")
    frames, times = read_gif(tmp_path / "two.gif")
    assert frames[0].shape == (256, 256, 3)
    assert sum(times) == 2 * (18 * rendering.FRAME_MS + HOLD_MS)
    assert times[-1] == HOLD_MS
    with Image.open(tmp_path / "two.gif") as gif:
        assert gif.info["loop"] == 0


def test_strokes_appear_in_their_order_and_only_the_current_one_is_red(tmp_path):
    upper, lower = stroke((0, 0), (255, 0)), stroke((0, 255), (255, 255))
    drawings_animation([[lower, upper]], tmp_path / "order.gif")
    frames, _ = read_gif(tmp_path / "order.gif")
    early, late = frames[4], frames[-4]
    assert reddish(early[128:]).any()
    assert (early[:128] == 255).all()
    assert reddish(late[:128]).any()
    assert not reddish(late[128:]).any()
    assert (late[128:] < 100).any()
    assert not reddish(frames[-1]).any()


def test_an_animation_ends_with_the_finished_picture_and_is_a_small_file(tmp_path, drawings):
    drawings_animation(drawings[:3], tmp_path / "three.gif", size=128)
    frames, _ = read_gif(tmp_path / "three.gif")
    # 8 greys are 36 apart; where strokes touch, edges painted in turn are a little lighter than edges painted at once.
    differences = np.abs(frames[-1].astype(int) - grid_image(drawings[2:3], 1, 128))
    assert (differences > 24).mean() < 0.002
    assert differences.max() < 100
    assert len(np.unique(np.concatenate(frames[::40]).reshape(-1, 3), axis=0)) <= 24
    assert (tmp_path / "three.gif").stat().st_size < 150_000


def test_given_strokes_of_a_grid_are_red_and_all_others_ink():
    drawings = [[stroke((0, 0), (255, 0)), stroke((0, 255), (255, 255))], [stroke((0, 0), (255, 255))]]
    plain, told = (grid_image(drawings, 2, 64, given=given) for given in ((), (1, 0)))
    red = reddish(told)
    assert not reddish(plain).any()
    assert red[:32, :64].any()
    assert not red[32:, :64].any()
    assert not red[:, 64:].any()
    np.testing.assert_array_equal(plain[32:], told[32:])


def test_denoising_shows_each_state_over_a_history_that_stands_still(tmp_path):
    target = stroke((60, 200), (200, 200)).astype(float)
    states = [target + scale * np.array([[-40.0, -400.0], [40.0, -40.0]]) for scale in (1.0, 0.5, 0.0)]
    history = [stroke((0, 0), (255, 0))]
    denoising_animation([states], tmp_path / "noise.gif", history)
    frames, times = read_gif(tmp_path / "noise.gif")
    assert times == [260, 260, HOLD_MS]  # a third of EMERGING_MS, in hundredths of a second
    is_grey = [(frame[..., 0] < 200) & (np.ptp(frame.astype(int), axis=2) < 30) for frame in frames]
    assert is_grey[2][:128].any()
    assert (is_grey[2][:128] & ~is_grey[0][:128]).sum() <= 40  # less where the state crosses it
    red_rows = [np.nonzero(reddish(frame).any(axis=1))[0] for frame in frames]
    assert np.ptp(red_rows[2]) < 12 < np.ptp(red_rows[1])
    for nothing in ([], [[]]):
        with pytest.raises(ValueError, match="at least one stroke"):
            denoising_animation(nothing, tmp_path / "none.gif")


# ---------------------------------------------------------------- SVG


def assert_through_points(path, points, tolerance):
    """Placing is one scale and one shift, so differences of points keep their directions and ratios."""
    numbers = np.array(path.get("d").translate(str.maketrans("MLh", "   ")).split(), dtype=float)
    placed = numbers[: 2 * len(points)].reshape(-1, 2)
    np.testing.assert_allclose(placed - placed[0], (points - points[0]) * (256 * 0.84 / 255), atol=tolerance)
    return placed


@pytest.mark.parametrize("animated", [False, True])
def test_svg_is_xml_with_one_path_per_stroke_through_its_points(drawings, animated):
    root = ElementTree.fromstring(svg_sheet(drawings[:1], cell=256, animated=animated))
    assert (root.get("width"), root.get("viewBox")) == ("256", "0 0 256 256")
    for path, points in zip(root.findall(f".//{SVG}path"), drawings[0], strict=True):
        assert_through_points(path, points, 0.2)


def test_animated_svg_draws_strokes_one_after_another_without_script_or_style(drawings):
    text = svg_sheet(drawings[:1], animated=True)
    assert "<script" not in text
    assert "<style" not in text
    assert len(text) < 10_000
    root = ElementTree.fromstring(text)
    turns = []
    for path in root.findall(f".//{SVG}path"):
        show = path.find(f"{SVG}animate[@attributeName='visibility']")
        sweep = path.find(f"{SVG}animate[@attributeName='stroke-dashoffset']")
        start = float(show.get("keyTimes").split(";")[1])
        times = (
            [float(time) for time in sweep.get("keyTimes").split(";")] if sweep is not None else [0, start, start, 1]
        )
        assert times[1] == start
        turns.append((start, times[2]))
    assert all(start <= end for start, end in turns)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(turns))
    assert 0 == turns[0][0] < turns[-1][1] < 1
    assert len({animate.get("dur") for animate in root.iter(f"{SVG}animate")}) == 1


def test_a_replay_is_the_whole_drawing_until_its_animations_are_run(drawings):
    for drawing in [*drawings, [stroke((0, 0)), stroke((9, 9), (9, 9))], []]:
        text = replay_svg(drawing)
        assert len(text.encode()) <= 6_000
        paths = ElementTree.fromstring(text).findall(f".//{SVG}path")
        for path, points in zip(paths, drawing, strict=True):
            # no dash, not hidden, no animation: only what an animation would take
            assert set(path.attrib) - {"class", "pathLength"} == {"d", "stroke", "style"}
            assert re.fullmatch(r"animation-delay:[\d.]+s;animation-duration:[\d.]+s", path.get("style"))
            placed = assert_through_points(path, points, 1.01)
            kind = ("dot", None) if (placed == placed[0]).all() else (None, "1")
            assert (path.get("class"), path.get("pathLength")) == kind
