"""Drawings of any coordinates in the square of the dataset, and back in the coordinates that they came in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from config import TURKISH_NAMES
from drawings.formats import FIELDS, Sketch, Stroke, read_sketches
from drawings.packed import MAX_POINTS, MAX_STROKES, LoadCounts, PackedDrawings, Points, running_sums
from drawings.simplify import LONGEST_SIDE, simplify_drawing
from plumbing.files import atomic_file

FITS = ("auto", "always", "never")
SMALL = LONGEST_SIDE // 4  # pixels; of 145,411 drawings of the dataset the smallest has 206
ROOM = 0.8  # of the square that an unfinished drawing is given: what is added has to find room around it
PEN_SPEED, PEN_PAUSE = 0.17, 490.0  # pixels a ms, ms between strokes: medians of 77 raw cats, buses and rabbits
DEFAULTS = {"word": "", "countrycode": "ZZ", "timestamp": "1970-01-01 00:00:00.00000 UTC", "recognized": False}


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
    reason: str  # why they were fitted; empty where they are as they were

    def as_fitted(self) -> list[Sketch]:
        """Return the drawings of the official form as sketches, with what each says of itself."""
        strokes = [[stroke.astype(np.float64) for stroke in drawing] for drawing in self.packed]
        return [replace(sketch, strokes=own, times=None) for sketch, own in zip(self.sketches, strokes, strict=True)]

    def told(self, path: str | Path, is_fitted: bool = True) -> list[str]:
        """Return lines that say what was left out or cut of a file, what is doubtful, and whether it was fitted."""
        fit = f"{self.reason}: fitted into the square of the dataset and simplified as its drawings were"
        texts = [self.counts.describe_losses(), *self.notes, fit if self.reason and is_fitted else ""]
        return [f"{path}: {text}" for text in texts if text]


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
    reason, are_all = _reason_to_fit(sketches, fit, unfinished)
    if reason and fit == "never":
        raise ValueError(f"{path}: {reason}, and --fit never forbids to fit them")
    drawings: list[list[Points]] = []
    frames: list[Frame | None] = []
    for sketch in sketches:
        try:
            drawing, frame = fitted(sketch, unfinished) if are_all or sketch.times else (_as_it_is(sketch), None)
        except ValueError as error:
            raise ValueError(f"{path}:{sketch.number + 1}: {error}") from None
        drawings.append(drawing)
        frames.append(frame)
    raw = sum(sketch.times is not None for sketch in sketches)
    counts["raw_drawings"] += raw
    counts["fitted_drawings"] += sum(frame is not None for frame in frames) - raw
    lines = np.array([sketch.number for sketch in sketches], dtype=np.int64)
    packed = replace(PackedDrawings.from_drawings(drawings), lines=lines)
    return Loaded(packed, LoadCounts(drawings=len(packed), **counts), sketches, frames, found.form, found.notes, reason)


def _reason_to_fit(sketches: Sequence[Sketch], fit: str, unfinished: bool) -> tuple[str, bool]:
    """Return why drawings are fitted, in words, and whether all are or the raw ones alone; "" where they stay."""
    still = [sketch for sketch in sketches if sketch.times is None]
    if other := sum(not sketch.is_official for sketch in still):
        return f"{other} of {len(sketches)} drawings are not of whole numbers 0 to {LONGEST_SIDE}", True
    if fit == "always" and still:
        return "--fit always", True
    if fit == "auto" and unfinished and not all(sketch.is_placed for sketch in still):
        return "offsets do not say where a drawing is", True
    side = max((float(np.ptp(np.concatenate(sketch.strokes), axis=0).max()) for sketch in still), default=0.0)
    if fit == "auto" and 0 < side < SMALL:
        return f"no drawing is larger than {side:g} of {LONGEST_SIDE} (as prefixes, --fit never leaves them so)", True
    raw = len(sketches) - len(still)
    return f"{raw} of {len(sketches)} drawings are raw" if raw else "", False


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


def timed(sketch: Sketch) -> Sketch:
    """Return a drawing with the times that it has, or else those of a pen of the usual speed."""
    side = float(np.ptp(np.concatenate(sketch.strokes), axis=0).max())
    return sketch if sketch.times else replace(sketch, times=pen_times(sketch.strokes, unit=side / LONGEST_SIDE))


def pen_times(drawing: Sequence[npt.ArrayLike], start: float = 0.0, unit: float = 1.0) -> list[Stroke]:
    """Return times, ms (n,), at which a pen of PEN_SPEED passes the points of a drawing, whose pixel is `unit` long."""
    times = []
    for stroke in drawing:
        steps = np.hypot(*np.diff(np.asarray(stroke, dtype=np.float64), axis=0).T) / (PEN_SPEED * (unit or 1.0))
        times.append(np.rint(start + np.concatenate(([0.0], np.cumsum(steps)))))
        start = times[-1][-1] + PEN_PAUSE
    return times


def word_in(sketches: Iterable[Sketch], path: Path) -> str | None:
    """Return what the first drawing that has a word shows, or else the file's name where it is a category's."""
    words = (sketch.fields["word"] for sketch in sketches if isinstance(sketch.fields.get("word"), str))
    name = path.name.partition(".")[0]
    return next(words, name if name in TURKISH_NAMES else None)


def write_sketches(path: str | Path, sketches: Iterable[Sketch]) -> None:
    """Write drawings as ndjson in their own coordinates, all or nothing; raw, [xs, ys, ts], where they have times.

    What a drawing says of itself stays; what it does not is as `write_ndjson` gives it.
    """
    with atomic_file(path) as file:
        for number, sketch in enumerate(sketches):
            record = {**DEFAULTS, "key_id": f"{number:016d}", **sketch.fields}
            record = {name: record[name] for name in FIELDS}
            axes = [list(stroke.T) for stroke in sketch.strokes]
            for stroke, times in zip(axes, sketch.times or [], strict=False):
                stroke.append(times)
            record["drawing"] = [[_numbers(values) for values in stroke] for stroke in axes]
            file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))


def _numbers(values: npt.NDArray[Any]) -> list[float]:
    """Return numbers, whole ones as such."""
    return [int(value) if value.is_integer() and abs(value) < 2**53 else value for value in map(float, values)]
