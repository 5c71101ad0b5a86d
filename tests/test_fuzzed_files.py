"""A law that holds for any file: each line is a drawing, a counted skip, or refused in one line with its place.

Files are nearly right: lines that this program or the dataset's makers could have written, with a few things wrong.
The default form takes some hundreds of them, `make test-long` tens of thousands.
"""

from __future__ import annotations

import dataclasses
import json
import re
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dataset_utils import LoadCounts, PackedDrawings, read_ndjson, word_of

BOM = b"\xef\xbb\xbf"


def message_of(action: Callable[[], Any]) -> str | None:
    """Return the message of the documented error, which is one short line; None if there is none."""
    try:
        action()
    except ValueError as error:
        caught = error
    else:
        return None
    assert type(caught) is ValueError, repr(caught)
    assert str(caught).isprintable(), repr(caught)
    assert len(str(caught)) < 500
    return str(caught)


ODD_TOKENS = [
    b"-1", b"256", b"1.5", b"2.0", b"1e2", b"1e999", b"5e-324", b"-0.0", b"NaN", b"Infinity", b"true", b"null", b'"5"',
    b"[]", b"[1]", b"{}", b"9" * 400, b"18446744073709551616", b"1.", b".5", b"", b'"\\ud800"', b"\xff", b"\x00",
    b"1 2", b"[" * 2000 + b"]" * 2000, b"\xe2\x80\xa8", BOM, b"]", b"[", b",", b"}", b"{", b'"', b"\\", b" ", b"\r",
]  # fmt: skip
FIELDS = [
    b'"word":"cat"', b'"recognized":true', b'"recognized":false', b'"recognized":null', b'"recognized":"true"',
    b'"word":"true drawing"', b'"word":null', b'"extra":{"drawing":[[[true],[1]]]}', '"word":"kedi ş 🐈"'.encode(),
    b'"x":' + b"[" * 1000 + b"]" * 1000, b'"word":"\xff"', b"", b'"drawing":null', b'"drawing":[]', b'"":0',
]  # fmt: skip
WHOLE_LINES = [
    b"", b"", b"", b"", b" ", b"\t \r", b"\x0b", b"{}", b"[]", b"null", b"1", b'"drawing"', BOM, b"\xc2\x85",
    b'{"drawing":"ab"}', b'{"drawing":[{"a":[1],"b":[2]}]}', b'{"drawing":[["a","b"]]}', b'{"drawing":[[[1]]]}',
    b'{"drawing":[[],[]]}', b'{"drawing":[[[1],[2],[3],[4]]]}',
]  # fmt: skip
DAMAGE = st.tuples(st.integers(0, 400), st.integers(0, 3), st.sampled_from([*ODD_TOKENS, None, None, None]))


def damaged(content: bytes, at: int, removed: int, put: bytes | None) -> bytes:
    """Return bytes with some put in place of others, or cut off where nothing is put."""
    at %= len(content) + 1
    return content[:at] if put is None else content[:at] + put + content[at + removed :]


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """Return the JSON of a drawing, simplified or raw, nearly always right."""
    kind = draw(st.integers(0, 15))
    if kind == 15:
        return draw(st.sampled_from(WHOLE_LINES))
    shape = draw(st.lists(st.lists(st.tuples(*[st.integers(0, 255)] * 2), max_size=5), max_size=3))
    strokes: list[list[list[Any]]] = [[[x for x, _ in stroke], [y for _, y in stroke]] for stroke in shape]
    if kind % 4 == 3:
        strokes = [[*stroke, [9.5 * i for i in range(len(stroke[0]))]] for stroke in strokes]
    fields = draw(st.lists(st.sampled_from(FIELDS[:5] * 9 + FIELDS), max_size=2))
    line = b"{" + b",".join([*fields[:1], b'"drawing":' + json.dumps(strokes).encode(), *fields[1:]]) + b"}"
    return damaged(line, *draw(DAMAGE)) if kind >= 12 else line


@st.composite
def ndjson_files(draw: st.DrawFn) -> bytes:
    end = draw(st.sampled_from([b"\n"] * 12 + [b"\r\n"] * 4 + [b"\n\n", b"\r", b"", b"\n" + BOM]))
    start, last = draw(st.sampled_from([(b"", b""), (b"", end), (BOM, end)]))
    return start + end.join(draw(st.lists(lines(), max_size=6))) + last


def lines_of(content: bytes) -> list[bytes]:
    lines = content.removeprefix(BOM).split(b"\n")
    return lines if lines[-1] else lines[:-1]


def assert_accounted_for(path: Path, only: bool, seen: Counter[str]) -> None:
    """Read a file: each line is its drawing or counted, or a message says which is wrong; those before it are right."""
    found: list[tuple[PackedDrawings, LoadCounts]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        message = message_of(lambda: found.append(read_ndjson(path, recognized_only=only)))
    word = message_of(lambda: word_of(path))
    assert word is None or word.startswith(f"{path}:")
    content = lines_of(path.read_bytes())
    if message is not None:
        place = re.match(re.escape(f"{path}:") + r"(\d+): ", message)
        assert place is not None, message
        number = int(place[1])
        seen["error"] += 1
        path.write_bytes(b"\n".join(content[: number - 1]))
        read_ndjson(path, recognized_only=only)
        path.write_bytes(b"\n" + content[number - 1])
        assert message_of(lambda: read_ndjson(path, recognized_only=only)) is not None
        return
    packed, counts = found[0]
    seen.update(dataclasses.asdict(counts))
    skipped = counts.blank_lines + counts.empty_drawings + counts.unrecognized + counts.unknown_recognition
    assert counts.drawings + skipped == len(content)
    assert (counts.drawings, packed.points.dtype) == (len(packed), np.uint8)
    assert counts.describe_losses().count("cut") == 0
    for drawing, number in zip(packed, packed.lines.tolist(), strict=True):
        record = orjson.loads(content[number])
        strokes = [stroke for stroke in record["drawing"] if stroke[0]]
        assert not only or record["recognized"] is True
        assert len(drawing) == len(strokes)
        if len(strokes[0]) == 2:  # repr: to Python true is a kind of 1
            assert repr([stroke.T.tolist() for stroke in drawing]) == repr(strokes).replace(".0", "").replace("-0", "0")


def test_every_ndjson_file_is_drawings_counted_skips_or_one_line_with_its_place(
    tmp_path: Path, long_form: bool
) -> None:
    path = tmp_path / "cat.ndjson"
    seen: Counter[str] = Counter()

    @example(content=b'{"dr\\u0061wing":[[[true],[1]]],"word":"drawing"}', only=False)
    @example(content=b'{"drawing":[[[' + b"[" * 1000 + b"]" * 1000 + b"],[1]]]}", only=False)
    @example(content=b'{"x":' + b"[" * 1000 + b"]" * 1000 + b',"drawing":[[[1],[2]]]}', only=False)
    @example(content=b'{"drawing":[[[5e-324,0],[1,1],[1,1]]]}', only=False)
    @example(content=BOM + b"\n" + BOM, only=False)
    @example(content=b'{"recognized":false,"drawing":[[[1],[2]]]}\n' * 3, only=True)
    @example(content=b'{"recognized":true,"drawing":[[[1],[2]]]}\n' * 3, only=True)
    def law(content: bytes, only: bool) -> None:
        path.write_bytes(content)
        assert_accounted_for(path, only, seen)

    cases = 70_000 if long_form else 200
    # the examples first, and few files are the same every time
    profile = settings(max_examples=cases, derandomize=not long_form, deadline=None, database=None,
                       suppress_health_check=list(HealthCheck))  # fmt: skip
    profile(given(content=ndjson_files(), only=st.booleans())(law))()
    kinds = ("drawings", "raw_drawings", "error", "blank_lines", "empty_drawings", "empty_strokes", "unrecognized",
             "unknown_recognition")  # fmt: skip
    assert all(seen[kind] > cases / 100 for kind in kinds), seen
