"""Drawings as an SVG sheet that brings every point back.

It holds one ``<g class="quickdraw">`` a drawing, in rows, one ``<path>`` a stroke: the numbers in a path are the
drawing's own coordinates, and the group's place on the sheet is a transform, which `svg_reading` leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import numpy.typing as npt

from drawings.look import PLAIN, Look

Drawing = Sequence[npt.NDArray[Any]]

OWN_CLASS = "quickdraw"
MARGIN = 0.04  # of the longest side, around each drawing


def write_svg(drawings: Sequence[Drawing], words: Sequence[str], look: Look = PLAIN) -> str:
    """Return drawings, each with a stroke, in rows of up to eight as an SVG that `read_svg` reads exactly."""
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
