"""The ink of a video: which lines appear on still paper, and when.

Any video of a drawing will do: size, rate, colours, line width, bars at the sides, pauses and a pen or pointer that
moves over the paper make no difference. Ink is what has changed since the first picture and stays until the last. It is
thinned to lines one px wide (Zhang and Suen 1984), which become segments in the order in which they appeared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from plumbing.tensor_files import check_is_file
from words.clips import Segments
from words.names import needed

MOST_SECONDS = 300.0
MOST_PICTURES = 150
"""Pictures of a video that are looked at, evenly spaced."""
FASTEST = 30.0  # of them a second
MISSING = 0.5
"""Seconds without a picture at the end of a video that are told: the file may be cut off."""
MOST_SIDE = 4096
SIDE = 640
"""Longest side in px to which larger pictures are reduced."""
CHANGE = 40
"""How much a colour (0 to 255) must differ to be another one: more than what compression changes."""
CUT = 0.35
"""Share of a picture that, when it differs from the first, says that something else begins."""
IN_TURN = 2
"""Pictures between which two px at most appear that one stroke draws one after the other."""
LARGEST_PINHOLE = 6  # px
THIN = 2.5
"""Width in px that lines have at least on the grid on which they are thinned, if they were wider."""
SMALLEST = 3  # px of a thing that is not dust
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,gif,avi,mpegts,mpeg,ogg,flv"
"""What is opened: no play lists, which name other files."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Ink:
    """What appears in a video: segments (S, 4) in px in order, the stroke of each, when it appeared in s.

    A stroke is what was drawn in one go, as far as can be seen. Where nothing moves, `moves` is false: what stands
    there has no order. `notes` are to be said.
    """

    segments: Segments
    strokes: NDArray[np.int64]
    times: NDArray[np.float64]
    seconds: float
    moves: bool
    notes: tuple[str, ...] = ()


# ------------------------------------------------------------------ decoding


def pictures_of(path: Path, notes: list[str]) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Yield at most MOST_PICTURES times in s and pictures (H, W, 3) of a video, evenly spaced.

    A file that is damaged further on is read until there, which `notes` are told. Raises FileNotFoundError, or
    ValueError, of one line, for a file that is no video or beyond the limits.
    """
    av = needed("av")
    check_is_file(path, "video")
    if not path.stat().st_size:
        raise ValueError(f"{path}: is empty, must be a video")
    try:
        with path.open("rb") as file, av.open(file, options={"format_whitelist": FORMATS}) as container:
            if not container.streams.video:
                raise ValueError(f"{path}: has no pictures, must be a video")
            yield from _decoded(av, container, path, notes)
    except (av.error.FFmpegError, EOFError) as error:
        raise ValueError(f"{path}: not a video that can be read ({getattr(error, 'strerror', error)!s:.80})") from None


def _decoded(av: Any, container: Any, path: Path, notes: list[str]) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    stream = container.streams.video[0]
    if max(stream.width, stream.height) > MOST_SIDE or not min(stream.width, stream.height):
        raise ValueError(f"{path}: is {stream.width} x {stream.height} px, at most {MOST_SIDE} a side are read")
    seconds = float(container.duration or 0) / av.time_base
    if seconds > MOST_SECONDS:
        raise ValueError(f"{path}: lasts {seconds / 60:.0f} minutes, at most {MOST_SECONDS / 60:.0f} are read")
    scale = min(1.0, SIDE / max(stream.width, stream.height))
    size = (max(2, round(stream.width * scale)), max(2, round(stream.height * scale)))
    step, due, rate, shown = max(1 / FASTEST, seconds / MOST_PICTURES), 0.0, float(stream.average_rate or 25), 0
    waiting, ends = None, seconds
    try:
        for number, frame in enumerate(container.decode(stream)):
            time = float(frame.time) if frame.time is not None else number / rate
            if time > MOST_SECONDS or number > 120 * MOST_SECONDS:
                raise ValueError(f"{path}: lasts longer than {MOST_SECONDS / 60:.0f} minutes, which are the most read")
            waiting, ends = (time, frame), time + float((frame.duration or 0) * stream.time_base)
            if time + 1e-6 >= due:
                yield time, frame.reformat(*size, format="rgb24", interpolation="AREA").to_ndarray()
                shown, due, waiting = shown + 1, max(due + step, time + step / 2), None
    except (av.error.FFmpegError, EOFError):
        if shown < 2:
            raise
        notes.append(f"damaged after {time:.1f} s: read until there")
    if not notes and seconds > ends + MISSING:
        notes.append(f"its pictures end after {ends:.1f} of {seconds:.1f} s")
    if waiting is not None:  # the last one tells what stays
        yield waiting[0], waiting[1].reformat(*size, format="rgb24", interpolation="AREA").to_ndarray()


# ------------------------------------------------------------------ what appears, and when


@dataclass
class _Scene:
    """Pictures from one cut to the next: the first and the latest, and in how many each px was not as in the first."""

    first: NDArray[np.int16]
    last: NDArray[np.int16]
    times: list[float]
    count: NDArray[np.int32]

    def add(self, time: float, picture: NDArray[np.int16], changed: Mask) -> None:
        """Take the next picture in."""
        self.count += changed
        self.times.append(time)
        self.last = picture

    def appeared(self) -> NDArray[np.int32]:
        """Return the number of the picture in which each px changed for good, -1 where it did not.

        Counted back from the end: where compression flickers, that is nearer the truth than the last change.
        """
        return np.where(_differs(self.last, self.first), len(self.times) - self.count, -1).astype(np.int32)


def _differs(a: NDArray[np.int16], b: NDArray[np.int16]) -> Mask:
    changed = np.abs(a - b) > CHANGE
    either: Mask = changed[..., 0] | changed[..., 1] | changed[..., 2]  # a tenth of the time of a maximum
    return either


def scenes_of(pictures: Iterator[tuple[float, NDArray[np.uint8]]]) -> list[_Scene]:
    """Return the pictures between cuts, which are where most of the picture changes at once."""
    scenes: list[_Scene] = []
    for time, raw in pictures:
        picture = raw.astype(np.int16)
        changed = _differs(picture, scenes[-1].first) if scenes else np.ones(picture.shape[:2], bool)
        if changed.mean() > CUT:
            scenes.append(_Scene(picture, picture, [time], np.zeros(picture.shape[:2], np.int32)))
        else:
            scenes[-1].add(time, picture, changed)
    return scenes


def _there_before(scene: _Scene, drawn: Mask) -> Mask:
    """Return the ink that the first picture has already: it looks as the drawn one does and is among it."""
    paper, ink = np.median(scene.first[drawn], axis=0), np.median(scene.last[drawn], axis=0)
    alike = (np.abs(scene.first - ink).sum(axis=2) < np.abs(scene.first - paper).sum(axis=2)) & ~drawn
    rows, columns = (np.flatnonzero(drawn.any(axis=axis)) for axis in (1, 0))
    reach = max(4, round(0.1 * max(np.ptp(rows), np.ptp(columns))))
    labels, _ = ndimage.label(alike, np.ones((3, 3)))
    kept = np.zeros_like(drawn)
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        inside = (place[0].start >= rows[0] - reach and place[0].stop <= rows[-1] + reach
                  and place[1].start >= columns[0] - reach and place[1].stop <= columns[-1] + reach)  # fmt: skip
        edge = not place[0].start or not place[1].start or place[0].stop == len(drawn) or place[1].stop == len(drawn[0])
        if inside and not edge:
            kept[place] |= labels[place] == number
    return kept


def _still(scene: _Scene) -> Mask:
    """Return the ink of a picture in which nothing moves: what differs from the commonest colour, but for bars."""
    colors, counts = np.unique(scene.last.reshape(-1, 3) // 16, axis=0, return_counts=True)
    ink = _differs(scene.last, (colors[counts.argmax()] * 16 + 8)[None, None].astype(np.int16))
    labels, count = ndimage.label(ink, np.ones((3, 3)))
    edges = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return ink & ~np.isin(labels, edges[edges > 0]) if count else ink


def coarser(appeared: NDArray[np.int32]) -> tuple[NDArray[np.int32], int]:
    """Return what appeared without pinholes, on a grid on which lines are few px wide, and how much coarser it is.

    On a fine grid wide lines, whose edges are never straight, would become lines with many short branches.
    """
    outside, _ = ndimage.label(appeared < 0)
    pinholes = (np.bincount(outside.ravel()) <= LARGEST_PINHOLE)[outside] & (appeared < 0)
    appeared = np.where(pinholes, ndimage.maximum_filter(appeared, 5), appeared)
    ink = appeared >= 0
    edge = ink & ~ndimage.binary_erosion(ink)
    factor = max(1, int(2 * ink.sum() / max(1, edge.sum()) / THIN))
    if factor == 1:
        return appeared, 1
    rows, columns = (-(-length // factor) for length in appeared.shape)
    whole = np.full((rows * factor, columns * factor), -1, np.int32)
    whole[: len(appeared), : len(appeared[0])] = appeared
    blocks = whole.reshape(rows, factor, columns, factor)
    inked: Mask = (blocks >= 0).sum(axis=(1, 3)) * 2 >= factor**2
    return np.where(inked, blocks.max(axis=(1, 3)), -1), factor


def thinned(ink: Mask) -> Mask:
    """Return ink thinned to lines one px wide: Zhang and Suen, CACM 27 (1984) 236."""
    thin = np.pad(ink, 1)
    while True:
        removed = 0
        for first in (True, False):
            rows, columns = np.nonzero(thin)
            around = [thin[rows + dy, columns + dx] for dy, dx in
                      ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))]  # fmt: skip
            count = np.sum(around, axis=0)
            turns = np.sum([~a & b for a, b in zip(around, [*around[1:], around[0]], strict=True)], axis=0)
            north, east, south, west = around[0::2]
            open_sides = ~(north & east & south) & ~(east & south & west) if first else (
                ~(north & east & west) & ~(north & south & west))  # fmt: skip
            going = (count >= 2) & (count <= 6) & (turns == 1) & open_sides
            thin[rows[going], columns[going]] = False
            removed += int(going.sum())
        if not removed:
            return thin[1:-1, 1:-1]


def _segments(thin: Mask, appeared: NDArray[np.int32]) -> tuple[Segments, NDArray[np.int64], NDArray[np.int32]]:
    """Return the segments of thin lines, smoothed, the stroke of each and when each appeared, in order.

    A stroke is of neighbouring px that appeared one after another; where it crosses an older line it is cut.
    """
    rows, columns = np.nonzero(thin)
    since = appeared[rows, columns]
    starts, ends = _neighbours(thin, rows, columns)
    points = _smoothed(np.stack([columns, rows], axis=1).astype(np.float64), starts, ends)
    in_turn = np.abs(since[starts] - since[ends]) <= IN_TURN
    links = (np.ones(int(in_turn.sum())), (starts[in_turn], ends[in_turn]))
    _, stroke = connected_components(coo_array(links, shape=(len(rows), len(rows))), directed=False)
    alone = np.flatnonzero(np.bincount(np.concatenate([starts, ends]), minlength=len(points)) == 0)
    starts, ends = np.concatenate([starts, alone]), np.concatenate([ends, alone])
    when = np.maximum(since[starts], since[ends])
    own = np.where(since[starts] >= since[ends], stroke[starts], stroke[ends])
    begins = np.full(len(rows), since.max(initial=0), np.int32)
    np.minimum.at(begins, own, when)
    order = np.lexsort((when, own, begins[own]))
    changes = np.diff(own[order], prepend=-1) != 0
    return np.hstack([points[starts], points[ends]])[order], np.cumsum(changes) - 1, when[order]


def _neighbours(
    thin: Mask, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of px, by their numbers, that lines connect: diagonals only where no corner is set."""
    number = np.full((len(thin) + 2, len(thin[0]) + 2), -1)
    number[rows + 1, columns + 1] = np.arange(len(rows))

    def beside(dy: int, dx: int) -> NDArray[np.int64]:
        found: NDArray[np.int64] = number[rows + 1 + dy, columns + 1 + dx]
        return found

    east, south, west = beside(0, 1), beside(1, 0), beside(0, -1)
    right = np.where((east < 0) & (south < 0), beside(1, 1), -1)
    left = np.where((west < 0) & (south < 0), beside(1, -1), -1)
    ends = np.concatenate([east, south, right, left])
    return np.tile(np.arange(len(rows)), 4)[ends >= 0], ends[ends >= 0]


def _smoothed(points: NDArray[np.float64], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return points of lines moved towards the middle of their two neighbours: round what pixels made angular."""
    degree = np.bincount(np.concatenate([starts, ends]), minlength=len(points))
    for _ in range(4):
        sums = np.zeros_like(points)
        np.add.at(sums, starts, points[ends])
        np.add.at(sums, ends, points[starts])
        points = np.where(degree[:, None] == 2, (points + sums / 2) / 2, points)
    return points


def read_ink(path: Path) -> Ink:
    """Return what is drawn in a video. Raises what ``pictures_of`` raises, and ValueError where nothing is drawn."""
    notes: list[str] = []
    scenes = scenes_of(pictures_of(path, notes))
    if not scenes:
        raise ValueError(f"{path}: has no pictures, must be a video")
    scene = max(scenes, key=lambda one: (int((one.appeared() >= 0).sum()) > SMALLEST, len(one.times)))
    appeared = scene.appeared()
    moves = int((appeared >= 0).sum()) > SMALLEST
    if not moves and len(scenes) > 1:
        raise ValueError(f"{path}: no lines that appear on still paper: more than a third of the picture changes")
    if moves:
        paper = np.median(scene.first[appeared >= 0], axis=0).astype(np.int16)
        appeared[~_differs(scene.last, paper[None, None])] = -1  # where a pointer stood at first
        appeared[_there_before(scene, appeared >= 0)] = 0
    else:
        appeared = np.where(_still(scene), 0, -1).astype(np.int32)
        notes.append("nothing moves: read as a picture")
    labels, count = ndimage.label(appeared >= 0, np.ones((3, 3)))
    sizes = ndimage.sum_labels(np.ones_like(labels), labels, np.arange(1, count + 1))
    appeared[np.isin(labels, 1 + np.flatnonzero(sizes < SMALLEST))] = -1
    if not (appeared >= 0).any():
        raise ValueError(f"{path}: no line is drawn in it")
    appeared, factor = coarser(appeared)
    # single px that flickered late are as old as the line that they are of
    around = ndimage.rank_filter(np.where(appeared < 0, np.iinfo(np.int32).max, appeared), 2, size=5)
    appeared = np.where(appeared < 0, -1, np.minimum(appeared, around)).astype(np.int32)
    segments, strokes, when = _segments(thinned(appeared >= 0), appeared)
    return Ink(segments * factor, strokes, np.array(scene.times)[when], scene.times[-1], moves, tuple(notes))
