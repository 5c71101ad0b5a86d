"""Drawings in the forms that people have them in, told by content: ndjson and its relatives, arrays, binary, SVG.

`read_sketches` returns what a file holds, in its own coordinates; docs/FORMATS.md says which form is told by what.
Nothing that a file says is executed.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from drawings.packed import MAX_COORDINATE
from drawings.sketch_rnn import (
    MAX_BYTES,
    SIDES,
    are_offsets,
    drawings_of_offsets,
    read_npy,
    read_npz,
    strokes_of_offsets,
)
from plumbing.files import opened

Stroke = npt.NDArray[np.float64]

FIELDS = ("word", "countrycode", "timestamp", "recognized", "key_id")
NUMBERS = frozenset({int, float})
SPACE = re.compile(r"\s*")
GZIP, NPY, ZIP = b"\x1f\x8b", b"\x93NUMPY", (b"PK\x03\x04", b"PK\x05\x06")
FOREIGN = {
    b"\x89PNG": "a PNG picture, which has no strokes", b"\xff\xd8\xff": "a JPEG picture, which has no strokes",
    b"GIF8": "a GIF picture, which has no strokes", b"%PDF": "a PDF; save its lines as SVG",
    b"PAR1": "a Parquet table; save it as .csv or .ndjson with a column 'drawing'",
    b"\x89HDF": "an HDF5 file; save its arrays as .npz", b"BZh": "bzip2; unpack it first",
    b"\xfd7zXZ": "xz; unpack it first", b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first", b"SQLite": "an SQLite database; export its drawings as .csv",
    **dict.fromkeys((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
                    "a Python pickle, which is not run; save its arrays as .npz"),
}  # fmt: skip
BINARY_HEAD, BINARY_COUNT = struct.Struct("<Q2sbIH"), struct.Struct("<H")


@dataclass(frozen=True)
class Sketch:
    """One drawing as a file has it: strokes (n, 2), y down, in coordinates of its own; times where it has them."""

    strokes: list[Stroke]
    times: list[Stroke] | None = None  # (n,) of each stroke, ms
    fields: Mapping[str, Any] = field(default_factory=dict)  # what of FIELDS it says
    number: int = 0  # its line, or its place in the file, from 0
    is_placed: bool = True  # offsets do not say where a drawing is

    @property
    def is_official(self) -> bool:
        """Tell whether it is in the simplified form's numbers: whole ones of 0..255, without times."""
        points = np.concatenate(self.strokes)
        inside = (points >= 0) & (points <= MAX_COORDINATE) & (points == np.floor(points))
        return self.times is None and bool(inside.all())


@dataclass(frozen=True)
class Sketches:
    """The drawings of a file, what form it has, and what is to be told of its reading."""

    form: str
    sketches: list[Sketch]
    counts: Counter[str]  # blank_lines, empty_drawings, empty_strokes: fields of LoadCounts
    notes: list[str] = field(default_factory=list)


# ------------------------------------------------------------------ read


def read_sketches(path: str | Path) -> Sketches:
    """Return the drawings of a file, in its order; its form is told by its content, whatever its name.

    Raises ValueError `FILE: ...` or `FILE:LINE: ...` that names what the file is where it holds no strokes, and
    OSError.
    """
    with opened(path) as file:
        content = file.read(MAX_BYTES + 1)
    form = ""
    if content.startswith(GZIP):
        form = "gzip of "
        try:
            with gzip.open(io.BytesIO(content)) as unpacked:
                content = unpacked.read(MAX_BYTES + 1)
        except (OSError, EOFError) as error:
            raise ValueError(f"{path}: is a damaged gzip file ({error})") from None
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path}: is larger than {MAX_BYTES >> 30} GiB; divide it")
    try:
        found = _of_bytes(content) or _of_text(_text(content), str(path))
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(f"{path}:") else f"{path}: {text}") from None
    return Sketches(form + found.form, found.sketches, found.counts, found.notes)


def _of_bytes(content: bytes) -> Sketches | None:
    """Return the drawings of what is no text; None where it can be text."""
    if content.startswith(NPY):
        return _of_offsets("numpy array of offsets", read_npy(content))
    if content.startswith(ZIP):
        return _of_offsets("Sketch-RNN npz", read_npz(content))
    for start, name in FOREIGN.items():
        if content.startswith(start):
            raise ValueError(f"is {name}")
    if (records := _binary_records(content)) is not None:
        return _sketches("official binary form", records)
    return None


def _of_text(text: str, path: str) -> Sketches:
    """Return the drawings of a text: SVG, table, or JSON in one of its dresses."""
    start = text.lstrip()[:1]
    if start == "<":
        head = text[:2000].lower()
        if "<svg" not in text and ("<html" in head or "<!doctype html" in head):
            raise ValueError("is a web page (HTML), no drawings")
        from drawings.svg_reading import read_svg  # its library takes 0.1 s to load, which no other form needs

        drawings = enumerate(read_svg(text))
        found = [Sketch(strokes, fields={"word": word} if word else {}, number=i) for i, (strokes, word) in drawings]
        return _counted("SVG", found)
    if start not in ("", "{", "["):
        heading = text.lstrip().split("\n", 1)[0]  # spreadsheets of some countries write semicolons
        mark = max(",;\t", key=heading.count)
        table = csv.DictReader(io.StringIO(text, newline=""), delimiter=mark)
        table.fieldnames = [name.strip().lower() for name in table.fieldnames or ()]
        if "drawing" in (table.fieldnames or ()):
            return _sketches("table with a column 'drawing'", _table_records(table, path))
    return _sketches(*_json_records(text, path))


def _text(content: bytes) -> str:
    """Return a file's content as text, UTF-8, 16 or 32 with or without their mark."""
    encoding = json.detect_encoding(content)
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"is no form of drawings that is known, and no {encoding} text (line {line})") from None


def _binary_records(content: bytes) -> list[_Record] | None:
    """Return the drawings of the official binary form; None where the content is not in it to its last byte."""
    records: list[_Record] = []
    at = 0
    try:
        while at < len(content):
            key_id, country, recognized, seconds, num_strokes = BINARY_HEAD.unpack_from(content, at)
            at += BINARY_HEAD.size
            if recognized not in (0, 1) or not country.isalpha():
                return None
            strokes = []
            for _ in range(num_strokes):
                (count,) = BINARY_COUNT.unpack_from(content, at)
                at += BINARY_COUNT.size
                strokes.append(np.frombuffer(content, np.uint8, 2 * count, at).reshape(2, count).astype(np.float64))
                at += 2 * count
            date = np.datetime64(seconds, "s").item()
            fields = {"key_id": str(key_id), "countrycode": country.decode(), "recognized": bool(recognized),
                      "timestamp": f"{date:%Y-%m-%d %H:%M:%S.00000} UTC"}  # fmt: skip
            records.append(_Record(len(records), f"drawing {len(records) + 1}", fields, strokes))
    except (struct.error, ValueError):
        return None
    return records or None


def _table_records(table: csv.DictReader[str], path: str) -> Iterator[_Record]:
    """Yield the drawings of a table, whose column 'drawing' is JSON."""
    csv.field_size_limit(MAX_BYTES >> 4)
    try:
        for number, row in enumerate(table):
            where = f"{path}:{table.line_num}"
            fields: dict[str, Any] = {name: row[name] for name in FIELDS if row.get(name)}
            if "recognized" in fields:
                fields["recognized"] = fields["recognized"].lower() in ("true", "1")
            yield from _records_of({**fields, "drawing": row["drawing"]}, number, where)
    except csv.Error as error:
        raise ValueError(f"{path}:{table.line_num}: {error}") from None


# ------------------------------------------------------------------ JSON


@dataclass(frozen=True)
class _Record:
    """A drawing whose strokes are arrays with x and y as rows or as columns, as the whole file will tell."""

    number: int
    where: str
    fields: Mapping[str, Any]
    strokes: list[Stroke]
    are_points: bool = False  # strokes (n, 2) of offsets


def _json_records(text: str, path: str) -> tuple[str, Iterator[_Record]]:
    """Return what a JSON text is, and its drawings: one a line, or values that follow each other in any layout."""
    lines = text.split("\n")
    if not text.strip():
        return "empty file", _line_records(lines, path)
    first = next(number for number, line in enumerate(lines) if line.strip())
    try:
        head = orjson.loads(lines[first])
    except ValueError as error:
        values = _values(text, path, f"{path}:{first + 1}: not JSON, nor another form that is known ({error})")
        return "JSON", (record for i, v in enumerate(values) for record in _records_of(v, i, f"{path}: value {i + 1}"))
    form = "ndjson" if isinstance(head, dict) and "drawing" in head else "JSON array"
    return form, _line_records(lines, path)


def _line_records(lines: list[str], path: str) -> Iterator[_Record]:
    if lines[-1] == "":
        del lines[-1]
    for number, line in enumerate(lines):
        where = f"{path}:{number + 1}"
        if not line.strip():
            yield _Record(number, where, {"blank": True}, [])
            continue
        try:
            value = orjson.loads(line)
        except ValueError as error:
            raise ValueError(f"{where}: not JSON ({error})") from None
        yield from _records_of(value, number, where)


def _values(text: str, path: str, otherwise: str) -> Iterator[Any]:
    """Yield JSON values that follow each other; where the first is none, the error is `otherwise`."""
    decoder, number = json.JSONDecoder(parse_constant=_refused), 0
    at = _behind_space(text, 0)
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            line = text.count("\n", 0, at) + 1
            raise ValueError(f"{path}:{line}: not JSON ({error})" if number else otherwise) from None
        at, number = _behind_space(text, at), number + 1
        yield value


def _behind_space(text: str, at: int) -> int:
    found = SPACE.match(text, at)
    return found.end() if found else at


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _records_of(value: Any, number: int, where: str) -> Iterator[_Record]:
    """Yield the drawings of one JSON value: a record, one drawing, or a list of records or drawings."""
    if isinstance(value, dict) and "drawing" in value:
        fields = {name: value[name] for name in FIELDS if value.get(name) is not None}
        yield _record(value["drawing"], number, where, fields)
    elif isinstance(value, dict) and any(side in value for side in SIDES):
        yield from _records_of([drawing for side in SIDES for drawing in value.get(side, [])], number, where)
    elif isinstance(value, list) and value and isinstance(value[0], dict) and "drawing" in value[0]:
        for place, record in enumerate(value):
            if not isinstance(record, dict) or "drawing" not in record:
                raise ValueError(f"{where}: element {place} has no 'drawing', unlike element 0")
            yield from _records_of(record, number + place, f"{where}: element {place}")
    elif isinstance(value, list) and (depth := _depth(value)) in (2, 3, 4):
        many = depth == 4 or (depth == 3 and all(_depth(part) == 2 and _is_offset_rows(part) for part in value))
        for place, drawing in enumerate(value if many else [value]):
            yield _record(drawing, number + place, f"{where}: drawing {place}", {})
    else:
        keys = f"has the keys {', '.join(map(repr, list(value)[:6]))}" if isinstance(value, dict) else "is none"
        raise ValueError(f"{where}: not a Quick, Draw! drawing, has no list under the key 'drawing': {keys:.200}")


def _record(drawing: Any, number: int, where: str, fields: Mapping[str, Any]) -> _Record:
    """Return a drawing of nested lists, or their JSON as text, with its strokes as arrays."""
    if isinstance(drawing, str):
        try:
            drawing = orjson.loads(drawing)
        except ValueError as error:
            raise ValueError(f"{where}: 'drawing' is text and not JSON ({error})") from None
    if not isinstance(drawing, list):
        raise ValueError(f"{where}: not a Quick, Draw! drawing, has no list under the key 'drawing'")
    if _depth(drawing) == 2:  # one stroke, or offsets
        rows = _matrix(drawing, where, 0)
        if are_offsets(rows):
            return _Record(number, where, fields, strokes_of_offsets(rows), are_points=True)
        return _Record(number, where, fields, [rows])
    return _Record(number, where, fields, [_matrix(stroke, where, index) for index, stroke in enumerate(drawing)])


def _depth(value: Any) -> int:
    """Return how deep lists lie in each other, 0 to 5; a point as an object counts as a list of numbers."""
    depth = 0
    while isinstance(value, list) and depth < 5:
        depth, value = depth + 1, next((part for part in value if part not in ([], {})), (*value, None)[0])
    return depth + isinstance(value, dict)


def _is_offset_rows(rows: list[Any]) -> bool:
    try:
        return are_offsets(_matrix(rows, "", 0))
    except ValueError:
        return False


def require_numbers(rows: Iterable[Any], where: str) -> None:
    """Raise ValueError unless all of `rows` are lists of numbers."""
    for row in rows:
        if type(row) is not list:
            raise ValueError(f"{where} holds something that is not a list")
        if not NUMBERS.issuperset(map(type, row)):  # to Python true is a kind of 1
            odd = next(value for value in row if type(value) not in NUMBERS)
            shown = f"a {type(odd).__name__}" if isinstance(odd, (list, dict)) else f"{odd!r:.40}"
            raise ValueError(f"{where} holds {shown}, must be a number")


def _matrix(rows: Any, where: str, index: int) -> Stroke:
    """Return a stroke's lists of numbers, or points with x and y, as float64 (n, m); ValueError for anything else."""
    if not isinstance(rows, list):
        raise ValueError(f"{where}: stroke {index} is no list")
    if rows and isinstance(rows[0], dict):
        names = ["x", "y", *(name for name in ("t", "time", "timestamp") if name in rows[0])][:3]
        try:
            rows = [[point[name] for name in names] for point in rows]
        except (KeyError, TypeError):
            raise ValueError(f"{where}: stroke {index} has a point without x or y") from None
    require_numbers(rows, f"{where}: stroke {index}")
    if len({len(row) for row in rows}) > 1:
        raise ValueError(f"{where}: stroke {index} has lists of unequal length {[len(row) for row in rows[:9]]}")
    matrix = np.array(rows, dtype=np.float64).reshape(len(rows), -1 if rows and rows[0] else 0)
    if not np.isfinite(matrix).all():
        raise ValueError(f"{where}: stroke {index} holds a coordinate that is not a finite number")
    return matrix


# ------------------------------------------------------------------ which of its numbers are x and which y


def _of_offsets(form: str, arrays: Sequence[npt.NDArray[Any]]) -> Sketches:
    return _counted(form, [
        Sketch(strokes, number=i, is_placed=False) for i, strokes in enumerate(drawings_of_offsets(arrays))
    ])


def _sketches(form: str, records: Iterable[_Record]) -> Sketches:
    """Return drawings whose lists are coordinates ([xs, ys], [xs, ys, ts]) or, where they cannot be, points."""
    held = list(records)
    blank = sum("blank" in record.fields for record in held)
    held = [record for record in held if "blank" not in record.fields]
    unsure = [record for record in held if not record.are_points]
    as_points = not all(map(_can_be_coordinates, unsure)) and all(map(_can_be_points, unsure))
    notes = []
    lengths = [stroke.shape for record in unsure for stroke in record.strokes]
    if len(lengths) > 1 and set(lengths) == {(2, 2)}:
        notes.append("every stroke is two lists of two numbers: read as the dataset's [xs, ys], not as two points "
                     '(points can be told apart as {"x": ..., "y": ...})')  # fmt: skip
    if as_points:
        form += " of points"
    found = _counted(form, [_sketch(record, as_points) for record in held])
    found.counts["blank_lines"] += blank
    return Sketches(found.form, found.sketches, found.counts, notes)


def _can_be_coordinates(record: _Record) -> bool:
    return {len(stroke) for stroke in record.strokes if stroke.size} in ({2}, {3}, set())


def _can_be_points(record: _Record) -> bool:
    return {stroke.shape[1] for stroke in record.strokes if stroke.size} in ({2}, {3}, set())


def _sketch(record: _Record, as_points: bool) -> Sketch:
    strokes = record.strokes
    if not (record.are_points or as_points):
        lengths = {len(stroke) for stroke in strokes if stroke.size}
        for index, stroke in enumerate(strokes):
            if stroke.size and (len(stroke) not in (2, 3) or len(lengths) > 1):
                raise ValueError(f"{record.where}: stroke {index} is not [xs, ys] nor [xs, ys, ts], or unlike "
                                 "stroke 0, nor are all strokes lists of points")  # fmt: skip
        strokes = [stroke.T for stroke in strokes]
    strokes = [stroke if stroke.size else np.zeros((0, 2)) for stroke in strokes]
    full = [stroke for stroke in strokes if len(stroke)]
    times = [stroke[:, 2] for stroke in full] if full and all(stroke.shape[1] == 3 for stroke in full) else None
    if as_points and times and (np.diff(np.concatenate(times)) < 0).any():
        times = None  # pressure, or what else a point may have
    return Sketch([stroke[:, :2] for stroke in strokes], times, record.fields, record.number, not record.are_points)


def _counted(form: str, sketches: Sequence[Sketch]) -> Sketches:
    """Return the drawings that have a stroke, without empty strokes, and how many of both were left out."""
    counts: Counter[str] = Counter()
    kept = []
    for sketch in sketches:
        strokes = [stroke for stroke in sketch.strokes if len(stroke)]
        counts["empty_strokes"] += len(sketch.strokes) - len(strokes)
        if strokes:
            kept.append(replace(sketch, strokes=strokes))
        else:
            counts["empty_drawings"] += 1
    return Sketches(form, kept, counts)
