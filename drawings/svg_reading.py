"""Strokes of SVG documents, other programs' and those of `svg_writing`."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import ParseError

import numpy as np
import numpy.typing as npt
from svgelements import SVG, Close, Group, Line, Move, Path, Shape

from drawings.svg_writing import OWN_CLASS

Stroke = npt.NDArray[np.float64]

CURVE_STEPS = 24  # lines that a curve is read as
MOST_REUSED = 30  # <use>: nested ones multiply


def read_svg(text: str) -> list[tuple[list[Stroke], str | None]]:
    """Return the drawings of an SVG document, strokes (n, 2) in its user units, and the word of each where it has one.

    A document that was not written here is one drawing: every line that is painted, in the document's order, or, where
    none is, every outline of a path. Raises ValueError for what is no SVG.
    """
    if "<!ENTITY" in text or text.count("<use") > MOST_REUSED:
        raise ValueError(f"is an SVG of entities, or of over {MOST_REUSED} <use>: save it as plain paths first")
    # a symbol is shown where it is used only, as what stands in <defs> is; the library draws it in its own place, too
    text = re.sub(r"<symbol\b[^>]*/>", "", text)
    text = re.sub(r"<symbol\b", "<defs><symbol", re.sub(r"</symbol\s*>", "</symbol></defs>", text))
    try:
        document = SVG.parse(io.StringIO(text), reify=False)
        if not isinstance(document, SVG):
            raise ValueError("is XML, but no SVG")
        own = [group for group in document.elements() if _is_own(group)]
        if own:
            return [([s for path in group.select(_is_path) for s in _strokes(path)], group.values.get("data-word"))
                    for group in own]  # fmt: skip
        shapes = [shape for shape in document.elements() if isinstance(shape, Shape) and _is_seen(shape)]
    except (ParseError, AttributeError, TypeError, KeyError, IndexError, RecursionError, ZeroDivisionError) as error:
        raise ValueError(f"is no SVG that can be read ({error})") from None
    lines = [shape for shape in shapes if shape.stroke is not None and shape.stroke.value is not None]
    outlines = lines or [shape for shape in shapes if isinstance(shape, Path)]
    return [([stroke for shape in outlines for stroke in _strokes(abs(Path(shape)))], None)]


def _is_own(element: Any) -> bool:
    return isinstance(element, Group) and element.values.get("class") == OWN_CLASS


def _is_path(element: Any) -> bool:
    return isinstance(element, Path)


def _is_seen(shape: Any) -> bool:
    """Return whether a viewer shows a shape."""
    values = shape.values
    clear = any(str(values.get(name, 1)).strip() in ("0", "0.0", "0%") for name in ("opacity", "stroke-opacity"))
    return values.get("visibility") not in ("hidden", "collapse") and not clear


def _strokes(path: Any) -> Iterator[Stroke]:
    """Yield what the pen draws between two moves, curves as CURVE_STEPS lines."""
    points: list[tuple[float, float]] = []
    is_drawn = False
    for segment in path:
        if isinstance(segment, Move):
            if is_drawn:
                yield np.array(points)
            points, is_drawn = [], False
        is_drawn |= not isinstance(segment, Move)
        at = [1.0] if isinstance(segment, Move | Line | Close) else np.linspace(0, 1, CURVE_STEPS + 1)[1:]
        ends = [segment.end] if len(at) == 1 else [segment.point(t) for t in at]
        added = [(float(end.x), float(end.y)) for end in ends if end is not None]
        if not isinstance(segment, Close) or added != points[-1:]:
            points += added
    if is_drawn and points:
        yield np.array(points)
