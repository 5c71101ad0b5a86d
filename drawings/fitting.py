"""Drawings of any coordinates in the square of the dataset, and back in the coordinates that they came in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from drawings.formats import Sketch, Sketches, Stroke, read_sketches
from drawings.packed import MAX_POINTS, MAX_STROKES, LoadCounts, PackedDrawings, Points, running_sums
from drawings.simplify import LONGEST_SIDE, simplify_drawing
from plumbing.files import atomic_file

FITS = ("auto", "always", "never")
SMALL = LONGEST_SIDE // 4  # pixels; of 145,411 drawings of the dataset none is as small
ROOM = 0.8  # of the square that an unfinished drawing is given: what is added has to find room around it
PEN_SPEED, PEN_PAUSE = 0.17, 490.0  # pixels a ms, ms between strokes: medians of 100 raw cats, buses and rabbits each
DEFAULTS = {"countrycode": "ZZ", "timestamp": "1970-01-01 00:00:00.00000 UTC", "recognized": False}


@dataclass(frozen=True)
class Frame:
    """Where a drawing's own coordinates lie in the square of the dataset: pixel = (own - corner) * scale + offset."""

    corner: tuple[float, float]
    scale: float
    offset: tuple[float, float]

    def own(self, pixels: npt.ArrayLike) -> Stroke:
        """Return points (n, 2) of the square in the drawing's own coordinates, to a tenth of a pixel or finer."""
        own = (np.asarray(pixels, dtype=np.float64) - self.offset) / self.scale + self.corner
        return np.round(own, max(0, math.ceil(math.log10(self.scale)) + 1))


@dataclass(frozen=True)
class Loaded:
    """Drawings in the official form, the sketches that they were, and how each was fitted, None where it was not."""

    packed: PackedDrawings
    counts: LoadCounts
    sketches: list[Sketch]
    frames: list[Frame | None]
    form: str
    notes: list[str]


def load_sketches(
    path: str | Path, *, recognized_only: bool = False, fit: str = "auto", unfinished: bool = False
) -> Loaded:
    """Return the drawings of a file in any form that `read_sketches` reads, in the official one.

    Where one of them is not of whole numbers 0..255, or all are smaller than a quarter of the square, all are fitted
    and simplified as the dataset's drawings were; raw ones always are. With `fit` "always" all are, with "never" none,
    and what is not official is refused. `unfinished` drawings are given the middle of the square, not all of it.
    """
    found = read_sketches(path)
    sketches, counts = found.sketches, found.counts
    if recognized_only:
        known = [sketch.fields.get("recognized") for sketch in sketches]
        counts["unrecognized"] += sum(value is False for value in known)
        counts["unknown_recognition"] += sum(not isinstance(value, bool) for value in known)
        sketches = [sketch for sketch in sketches if sketch.fields.get("recognized") is True]
    whole, sketches = sketches, [_cut(sketch) for sketch in sketches]
    counts["cut_drawings"] += sum(a is not b for a, b in zip(whole, sketches, strict=True))
    reason, notes = _reason_to_fit(sketches, fit), list(found.notes)
    if reason and fit == "never":
        raise ValueError(f"{path}: {reason}, and --fit never forbids to fit them")
    if reason:
        notes.append(f"{reason}: fitted into the square of the dataset and simplified as its drawings were")
    drawings: list[list[Points]] = []
    frames: list[Frame | None] = []
    for sketch in sketches:
        try:
            drawing, frame = fitted(sketch, unfinished) if reason or sketch.times else (_as_it_is(sketch), None)
        except ValueError as error:
            raise ValueError(f"{path}:{sketch.number + 1}: {error}") from None
        drawings.append(drawing)
        frames.append(frame)
    raw = sum(sketch.times is not None for sketch in sketches)
    counts["raw_drawings"] += raw
    counts["fitted_drawings"] += sum(frame is not None for frame in frames) - raw
    lines = np.array([sketch.number for sketch in sketches], dtype=np.int64)
    packed = replace(PackedDrawings.from_drawings(drawings), lines=lines)
    return Loaded(packed, LoadCounts(drawings=len(packed), **counts), sketches, frames, found.form, notes)


def _reason_to_fit(sketches: Sequence[Sketch], fit: str) -> str:
    """Return why drawings are fitted, in words; nothing where they stay as they are."""
    still = [sketch for sketch in sketches if sketch.times is None]
    other = sum(not sketch.is_official for sketch in still)
    sides = [float(np.ptp(np.concatenate(sketch.strokes), axis=0).max()) for sketch in still]
    if other:
        return f"{other} of {len(sketches)} drawings are not of whole numbers 0 to {LONGEST_SIDE}"
    if fit == "always" and still:
        return "--fit always"
    if fit == "auto" and 0 < max(sides, default=0) < SMALL:
        return f"no drawing is larger than {max(sides):g} of {LONGEST_SIDE} (--fit never leaves them as they are)"
    return ""


def fitted(sketch: Sketch, unfinished: bool = False) -> tuple[list[Points], Frame]:
    """Return a drawing aligned, scaled and simplified as the dataset's were, uint8 strokes (n, 2), and its frame."""
    points = np.concatenate(sketch.strokes)
    corner, side = points.min(axis=0), float(np.ptp(points, axis=0).max())
    simple, scale, offset = simplify_drawing(sketch.strokes), LONGEST_SIDE / side if side else 1.0, np.zeros(2)
    if unfinished:
        offset, scale = np.rint((LONGEST_SIDE - np.concatenate(simple).max(axis=0) * ROOM) / 2), scale * ROOM
        simple = [np.rint(stroke * ROOM + offset).astype(np.uint8) for stroke in simple]
    return simple, Frame((float(corner[0]), float(corner[1])), scale, (float(offset[0]), float(offset[1])))


def _as_it_is(sketch: Sketch) -> list[Points]:
    return [stroke.astype(np.uint8) for stroke in sketch.strokes]


def _cut(sketch: Sketch) -> Sketch:
    """Return what of a drawing is within MAX_STROKES and MAX_POINTS; itself where that is all."""
    if len(sketch.strokes) <= MAX_STROKES and sum(map(len, sketch.strokes)) <= MAX_POINTS:
        return sketch
    ends = np.minimum(running_sums([len(stroke) for stroke in sketch.strokes[:MAX_STROKES]]), MAX_POINTS)
    sizes = [size for size in np.diff(ends).tolist() if size]
    strokes, times = ([part[:size] for part, size in zip(parts, sizes, strict=False)]
                      for parts in (sketch.strokes, sketch.times or []))  # fmt: skip
    return replace(sketch, strokes=strokes, times=times or None)


# ------------------------------------------------------------------ back


def continued(
    drawing: Sequence[npt.NDArray[Any]], given: Sketch, frame: Frame | None, kept: int, timing: bool = False
) -> Sketch:
    """Return a drawing of the square whose first `kept` strokes were given, in the coordinates of the given one.

    The given strokes come back as they were, with their times; where they have any, or with `timing`, the new strokes
    go on in time.
    """
    new = [np.asarray(stroke, dtype=np.float64) for stroke in drawing[kept:]]
    sketch = replace(given, strokes=given.strokes[:kept] + [frame.own(stroke) if frame else stroke for stroke in new])
    if given.times is None and not timing:
        return sketch
    first = given.times[:kept] if given.times else pen_times(drawing[:kept])
    return replace(sketch, times=first + pen_times(new, first[-1][-1] + PEN_PAUSE if first else 0.0))


def pen_times(drawing: Sequence[npt.ArrayLike], start: float = 0.0) -> list[Stroke]:
    """Return times, ms (n,), at which a pen of PEN_SPEED passes the points of a drawing of the 255 square."""
    times = []
    for stroke in drawing:
        steps = np.hypot(*np.diff(np.asarray(stroke, dtype=np.float64), axis=0).T) / PEN_SPEED
        times.append(np.rint(start + np.concatenate(([0.0], np.cumsum(steps)))))
        start = times[-1][-1] + PEN_PAUSE
    return times


def write_sketches(path: str | Path, sketches: Iterable[Sketch], *, word: str) -> None:
    """Write drawings as ndjson in their own coordinates, all or nothing; raw, [xs, ys, ts], where they have times.

    What a drawing says of itself stays; what it does not is as `write_ndjson` gives it.
    """
    with atomic_file(path) as file:
        for number, sketch in enumerate(sketches):
            record = {"word": word, **DEFAULTS, "key_id": f"{number:016d}", **sketch.fields}
            axes = [list(stroke.T) for stroke in sketch.strokes]
            for stroke, times in zip(axes, sketch.times or [], strict=False):
                stroke.append(times)
            record["drawing"] = [[_numbers(values) for values in stroke] for stroke in axes]
            file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))


def _numbers(values: npt.NDArray[Any]) -> list[float]:
    """Return numbers, whole ones as such."""
    return [int(value) if value.is_integer() and abs(value) < 2**53 else value for value in map(float, values)]
