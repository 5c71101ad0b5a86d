"""Drawings in .svg files: any strokes of other programs' files, and an own form that brings every point back.

An own file holds one ``<g class="quickdraw">`` a drawing, in rows, one ``<path>`` a stroke: the numbers in a path are
the drawing's own coordinates, and the group's place on the sheet is a transform, which reading leaves out.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree.ElementTree import ParseError
from xml.sax.saxutils import quoteattr

import numpy as np
import numpy.typing as npt
from svgelements import SVG, Close, Group, Line, Move, Path, Shape

from drawings.look import PLAIN, Look

Stroke = npt.NDArray[np.float64]
Drawing = Sequence[npt.NDArray[Any]]

OWN_CLASS = "quickdraw"
CURVE_STEPS = 24  # lines that a curve is read as
MOST_REUSED = 30  # <use>: nested ones multiply
MARGIN = 0.04  # of the longest side, around each drawing


# ------------------------------------------------------------------ read


def read_svg(text: str) -> list[tuple[list[Stroke], str | None]]:
    """Return the drawings of an SVG document, strokes (n, 2) in its user units, and the word of each where it has one.

    A document that was not written here is one drawing: every line that is painted, in the document's order, or, where
    none is, every outline of a path. Raises ValueError for what is no SVG.
    """
    if "<!ENTITY" in text or text.count("<use") > MOST_REUSED:
        raise ValueError(f"is an SVG of entities, or of over {MOST_REUSED} <use>: save it as plain paths first")
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
    return shape.values.get("visibility") not in ("hidden", "collapse")


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


# ------------------------------------------------------------------ write


def write_svg(drawings: Sequence[Drawing], words: Sequence[str], look: Look = PLAIN) -> str:
    """Return drawings, each with a stroke, in rows of up to eight as an SVG document, which `read_svg` reads exactly."""
    corners = [np.concatenate(drawing).min(axis=0).astype(float) for drawing in drawings]
    sides = [np.ptp(np.concatenate(drawing).astype(float), axis=0).max() for drawing in drawings]
    # drawings of whole numbers 0..255 stand where they are in their square, others at its corner
    squares = [_is_in_the_square(drawing) for drawing in drawings]
    unit = max([255.0 if square else side for square, side in zip(squares, sides, strict=True)]) or 1.0
    cell, columns = unit * (1 + 2 * MARGIN), min(8, len(drawings))
    rows, groups = -(-len(drawings) // columns), []
    for number, (drawing, word) in enumerate(zip(drawings, words, strict=True)):
        low = np.zeros(2) if squares[number] else corners[number]
        x, y = np.array([number % columns, number // columns]) * cell + unit * MARGIN - low
        inks = zip(drawing, look.inks(len(drawing)), strict=True)
        paths = "".join(f'<path d="{_line(stroke)}" stroke="{ink}"/>' for stroke, ink in inks)
        place = f'transform="translate({x:.6g} {y:.6g})"'
        groups.append(f'<g class="{OWN_CLASS}" data-word={quoteattr(word)} {place}>{paths}</g>')
    width, height = f"{columns * cell:.6g}", f"{rows * cell:.6g}"
    paper = f'<rect width="{width}" height="{height}" fill="{look.paper}"/>'
    # pixels that a screen has, whatever the units
    shown = f'width="{columns * 256}" height="{rows * 256}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {shown} viewBox="0 0 {width} {height}">'
        f'{"" if look.background == "transparent" else paper}<g fill="none" '
        f'stroke-width="{look.line_width / 256 * unit:.6g}" stroke-linecap="round" stroke-linejoin="round">\n'
        + "\n".join(groups)
        + "\n</g></svg>\n"
    )


def _is_in_the_square(drawing: Drawing) -> bool:
    points = np.concatenate(drawing)
    return bool(((points >= 0) & (points <= 255) & (points == np.floor(points))).all())


def _line(stroke: npt.NDArray[Any]) -> str:
    """Return a stroke as path data; a single point closes, so that it is a dot and not taken for two points."""
    pairs = [" ".join(re.sub(r"\.0$", "", repr(value)) for value in point) for point in stroke.tolist()]
    return f"M{pairs[0]}" + ("L" + " ".join(pairs[1:]) if len(pairs) > 1 else "Z")
