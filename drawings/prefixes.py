"""Unfinished drawings to continue: from the form that they are in to the square of the dataset, and back."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from drawings.fitting import Frame, continued, load_sketches, timed
from drawings.formats import Sketch
from drawings.packed import Drawing


@dataclass(frozen=True)
class Prefix:
    """An unfinished drawing in the square of the dataset, and what it was, with how it was fitted."""

    drawing: Drawing
    given: Sketch
    frame: Frame | None


def read_prefixes(
    path: str | Path, keep_strokes: int | None, count: int | None, most: int = sys.maxsize, fit: str = "auto"
) -> tuple[list[Prefix], list[str]]:
    """Return the unfinished drawings of a file of any form, cut to their first `keep_strokes` strokes, and lines.

    Drawings with fewer strokes than that are left out, those with more than `most` cut, and the lines say how many, and
    what reading left out, cut or fitted (see ``load_sketches``). `count` repeats or cuts the list to that many, so
    that one drawing can be continued in many ways. Raises ValueError for a file in which nothing is left.
    """
    loaded = load_sketches(path, fit=fit, unfinished=keep_strokes is None)
    told = loaded.told(path)
    if any(loaded.frames):
        told.append(f"{path}: what is drawn is written in its coordinates, its strokes as they were")
    if most == 0:
        raise ValueError(f"{path}: the model draws single strokes, it cannot continue a drawing")
    found = [Prefix(*of) for of in zip(loaded.packed, loaded.sketches, loaded.frames, strict=True)]
    kept = [replace(prefix, drawing=prefix.drawing[:keep_strokes])
            for prefix in found if len(prefix.drawing) >= (keep_strokes or 0)]  # fmt: skip
    if too_short := len(found) - len(kept):
        told.append(f"{path}: left out {too_short} drawings of fewer than {keep_strokes} strokes")
    if too_long := sum(len(prefix.drawing) > most for prefix in kept):
        told.append(f"{path}: cut {too_long} prefixes to {most} strokes, the most that the model can continue")
    if not kept:
        raise ValueError(f"{path}: holds no drawing to continue ({loaded.counts.describe()})")
    cut = [replace(prefix, drawing=prefix.drawing[:most]) for prefix in kept]
    return [cut[i % len(cut)] for i in range(count or len(cut))], told


def as_given(
    drawings: Sequence[Sequence[npt.NDArray[Any]]], prefixes: Sequence[Prefix], category: str, timing: bool
) -> list[Sketch]:
    """Return drawings as they are to be written, where they say more than generated ones do; else nothing.

    Those that continue others keep their country and time, those of fitted ones are in their coordinates, and with
    `timing` all have times.
    """
    if any(prefix.frame for prefix in prefixes):
        own = [continued(drawing, prefix.given, prefix.frame, len(prefix.drawing), timing)
               for drawing, prefix in zip(drawings, prefixes, strict=True)]  # fmt: skip
    elif prefixes or timing:
        fields = [prefix.given.fields for prefix in prefixes] or [{}] * len(drawings)
        plain = [Sketch([np.asarray(stroke, np.float64) for stroke in drawing], fields=of)
                 for drawing, of in zip(drawings, fields, strict=True)]  # fmt: skip
        own = [timed(sketch) for sketch in plain] if timing else plain
    else:
        own = []
    # a continuation is a new drawing, that nobody has recognised and that needs an identity of its own
    kept = [{name: value for name, value in sketch.fields.items() if name not in ("recognized", "key_id")}
            for sketch in own]  # fmt: skip
    return [replace(sketch, fields={**fields, "word": category}) for sketch, fields in zip(own, kept, strict=True)]
