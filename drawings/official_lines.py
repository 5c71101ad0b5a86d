"""Lines of the dataset's ndjson: what a line must be to be a drawing of the official form."""

from __future__ import annotations

from typing import Any

import orjson

from drawings.formats import require_numbers
from drawings.packed import MAX_POINTS, MAX_STROKES


def parsed_line(line: bytes, where: str) -> Any:
    """Return what a line of JSON says; ValueError where it is something else."""
    try:
        return orjson.loads(line)
    except ValueError as error:
        kind = "HTML or XML" if line.lstrip().startswith(b"<") else f"not JSON ({error})"
        raise ValueError(f"{where}: {'gzip, unpack it first' if line.startswith(bytes([31, 139])) else kind}") from None


def checked_strokes(record: Any, where: str) -> list[list[list[float]]]:
    """Return what a record has under 'drawing': lists of two or three lists of numbers, of one length in a stroke."""
    strokes = record.get("drawing") if isinstance(record, dict) else None
    if not isinstance(strokes, list):
        raise ValueError(f"{where}: not a Quick, Draw! drawing, has no list under the key 'drawing'")
    for index, stroke in enumerate(strokes):
        if type(stroke) is not list or len(stroke) not in (2, 3) or len(stroke) != len(strokes[0]):
            raise ValueError(f"{where}: stroke {index} is not [xs, ys] nor [xs, ys, ts], or unlike stroke 0")
        for values in stroke:
            if type(values) is not list:
                raise ValueError(f"{where}: stroke {index} holds something that is not a list")
        if len(stroke[0]) != len(stroke[1]) or len(stroke[0]) != len(stroke[-1]):
            raise ValueError(f"{where}: stroke {index} has lists of unequal length {[len(v) for v in stroke]}")
        require_numbers(stroke, f"{where}: stroke {index}")
    return strokes


def cut(strokes: list[list[list[float]]]) -> list[list[list[float]]]:
    """Return what of the strokes is within MAX_STROKES and MAX_POINTS."""
    kept, room = [], MAX_POINTS
    for stroke in strokes[:MAX_STROKES]:
        if room:
            kept.append([values[:room] for values in stroke])
            room -= len(kept[-1][0])
    return kept
