"""Laws that hold for any file: a drawing, a counted skip, or one line with file and place, in bounded memory.

Files are nearly right: lines and packed folders that this program or the dataset's makers could have written,
with a few things wrong. The default form takes some hundreds of them, `make test-long` tens of thousands.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import re
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dataset_utils import LoadCounts, PackedDrawings, load_category, read_ndjson, word_of
from drawings.packed import PACKED_FILES, PackedCategory, load_packed

BOM = b"\xef\xbb\xbf"


def fuzz(law: Callable[..., None], cases: int, **strategies: st.SearchStrategy[Any]) -> None:
    """Hold a law, with the counterexamples that are kept on it, against so many files: few are the same every time."""
    profile = settings(
        max_examples=cases, derandomize=cases < 1_000, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    profile(given(**strategies)(law))()


@contextlib.contextmanager
def bounded(size: int) -> Iterator[None]:
    """Let no warning pass, and no file of `size` bytes that takes much memory, which is watched in some."""
    if watched := size % 8 == 0:
        tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
        assert not watched or tracemalloc.get_traced_memory()[1] < 4_000_000 + 100 * size
    finally:
        tracemalloc.stop()


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


# --- files that are nearly right ---------------------------------------------------------------------------------

ODD_TOKENS = [
    b"-1", b"256", b"1.5", b"2.0", b"1e2", b"1E2", b"25.5e1", b"1e999", b"-1e999", b"1e-400", b"5e-324", b"-0", b"-0.0",
    b"NaN", b"Infinity", b"-Infinity", b"true", b"false", b"null", b'"5"', b'"true"', b"[]", b"[1]", b"{}", b'{"a":1}',
    b"9" * 30, b"9" * 400, b"-" + b"9" * 5000, b"18446744073709551616", b"9223372036854775808",
    b"1.7976931348623157e308",
    b"-1e308", b"0x10", b"01", b"+1", b"1.", b".5", b"", b"1 2", b'"\\ud800"', b'"\\n"', b"[" * 900 + b"]" * 900,
    b"[" * 2000 + b"]" * 2000, b"3.0000000000000001", b"1e-7", b"\xff", b"\x00", b"\xe2\x80\xa8", "１".encode(),
]  # fmt: skip
FIELDS = [
    b'"word":"cat"', b'"recognized":true', b'"recognized":false', b'"recognized":null', b'"recognized":"true"',
    b'"key_id":"5201136883597312"', b'"word":"true drawing"', b'"word":null', b'"extra":{"drawing":[[[true],[1]]]}',
    '"word":"kedi ş 🐈"'.encode(), b'"x":' + b"[" * 1000 + b"]" * 1000, b'"word":"\\ud83d"', b'"word":"\xff"', b"",
    b'"drawing":null', b'"drawing":[[[true],[1]]]', b'"drawing":[]', b'"recognized":true,"recognized":false', b'"":0',
]  # fmt: skip
WHOLE_LINES = [
    b"", b"", b"", b"", b" ", b"\t \r", b"\x0b", b"{}", b"[]", b"null", b"1", b'"drawing"', b"\0" * 40, BOM,
    b"[" * 100_000, b'{"drawing":' * 3_000, b"<html><body>Sign in</body></html>", gzip.compress(b"{}", mtime=0),
    b"\xff\xfe{\0}\0", b'{"drawing":"ab"}', b'{"drawing":{"ab":1}}', b'{"drawing":[{"a":[1],"b":[2]}]}',
    b'{"drawing":[[{"1":2},[1]]]}', b'{"drawing":[["a","b"]]}', b'{"drawing":[[5,5]]}', b'{"drawing":[[],[]]}',
    b'{"drawing":[[[1]]]}', b'{"drawing":[[[1],[2],[3],[4]]]}', b"\xe2\x80\xa8", b"\xc2\x85", b"\xa0",
]  # fmt: skip
BYTES_PUT_IN = [b"", b"\0", BOM, b"\xff", b"\xed\xa0\x80", b"]", b"[", b",", b"}", b"{", b'"', b"\\", b" ", b"e", b"-",
                b".", b"9", b"\r", b"\n", b"\x0b", None, None, None]  # fmt: skip
DAMAGE = st.tuples(st.integers(0, 400), st.integers(0, 3), st.sampled_from(BYTES_PUT_IN + ODD_TOKENS))


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


# --- ndjson ------------------------------------------------------------------------------------------------------


def assert_accounted_for(path: Path, only: bool, seen: Counter[str]) -> None:
    """Read a file: each line is its drawing or counted, or a message says which is wrong; those before it are right."""
    found: list[tuple[PackedDrawings, LoadCounts]] = []
    with bounded(path.stat().st_size):
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
    @example(content=b'{"recognized":true,"drawing":[[[1],[2]]]}\n' * 3, only=True)
    def law(content: bytes, only: bool) -> None:
        path.write_bytes(content)
        assert_accounted_for(path, only, seen)

    cases = 70_000 if long_form else 300
    fuzz(law, cases, content=ndjson_files(), only=st.booleans())
    kinds = ("drawings", "raw_drawings", "error", "blank_lines", "empty_drawings", "empty_strokes", "unrecognized",
             "unknown_recognition")  # fmt: skip
    assert all(seen[kind] > cases / 100 for kind in kinds), seen


def test_a_line_too_long_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "cat.ndjson"
    good = b'{"drawing":[[[1],[2]]]}\n'
    for body, reason in (
        (b'{"drawing":[[[' + b"1," * (17 << 20), "line is longer than 32 MiB, the limit of a drawing"),
        (b"\0" * (40 << 20), "line is longer than 32 MiB, the limit of a drawing"),
    ):
        path.write_bytes(good + body)
        tracemalloc.start()
        message = message_of(lambda: read_ndjson(path))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert message == f"{path}:2: {reason}"
        assert peak < 150_000_000  # of the line itself; parsed it takes a gigabyte


# --- packed folders ----------------------------------------------------------------------------------------------

NPY_HEADERS = [b"{'descr': '%s', 'fortran_order': %s, 'shape': %s, }" % parts for parts in (
    (b"<i8", b"False", b"(1000000000000,)"), (b"<i8", b"False", b"(99999999999999999999999,)"),
    (b"|O", b"False", b"(3,)"), (b"<i8", b"True", b"(3,)"), (b"<f8", b"False", b"(3,)"), (b"|u1", b"True", b"(9, 2)"),
    (b"|u1", b"False", b"(-1, 2)"), (b"<i8", b"False", b"()"), (b"|u1", b"False", b"(4000000000, 4000000000)"),
    (b"|V8", b"False", b"(3,)"), (b"|u1", b"False", b"(0, 2)"), (b">i8", b"False", b"(4,)"), (b"<i8", b"1", b"(3, )"),
    (b"<i8", b"False", b"((((((3,),),),),),)"), (b"<i8", b"False", b"(0,)"))]  # fmt: skip
ODD_METADATA = [b"", b"[]", b"{}", b"5", b"[{}, 0]", b"[[], 0]", b"[" * 5000, b"[null, null]", b"\xff", b'[{"a":1}, 2]']


def npy(header: bytes, size: int) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header + b"\n").to_bytes(2, "little") + header + b"\n" + b"\0" * size


@st.composite
def packed_folders(draw: st.DrawFn, whole: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files of a packed folder, nearly right: one is damaged, or another one, or lacks."""
    name, kind = draw(st.sampled_from(PACKED_FILES)), draw(st.integers(0, 5))
    content = whole[name]
    if kind == 0:
        return {other: whole[other] for other in whole if other != name}
    if kind == 1:
        content = draw(st.builds(npy, st.sampled_from(NPY_HEADERS), st.integers(0, 64)))
    elif kind == 2:
        content = draw(st.sampled_from([*ODD_METADATA, *whole.values(), b"PK\3\4", b"PK\5\6" + b"\0" * 18]))
    else:
        put = draw(st.sampled_from(BYTES_PUT_IN) | st.binary(max_size=8))
        content = damaged(content, draw(st.integers(0, 20_000)), len(put or b""), put)
    return {**whole, name: content}


def test_every_packed_folder_is_drawings_or_one_line_and_a_cache_never_changes_what_is_loaded(
    tmp_path: Path, long_form: bool
) -> None:
    (tmp_path / "cat.ndjson").write_bytes(b"".join(b'{"drawing":[[[%d,7],[9,%d]]]}\n' % (i, i) for i in range(30)))
    options: dict[str, Any] = {"data_dir": tmp_path, "cache_dir": tmp_path / "cache"}
    right = load_category("cat", **options)
    (folder,) = (tmp_path / "cache").iterdir()
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    seen: Counter[bool] = Counter()

    @example(files={**whole, "points.npy": npy(NPY_HEADERS[0], 0)})
    @example(files=whole)
    def law(files: dict[str, bytes]) -> None:
        for path in folder.iterdir():
            path.unlink()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        found: list[PackedCategory] = []
        with bounded(sum(map(len, files.values()))):
            message = message_of(lambda: found.append(load_packed(folder)))
        seen[message is None] += 1
        if message is not None:
            assert message.startswith(f"{folder}: no packed drawings that can be used ("), message
        for side in (found[0].train, found[0].test) if found else ():
            assert side.points.dtype == np.uint8
            assert sum(len(stroke) for drawing in side for stroke in drawing) == len(side.points)
            assert all(len(drawing) and all(len(stroke) for stroke in drawing) for drawing in side)
        again = load_category("cat", **options)
        assert again.counts == right.counts
        for side, other in ((again.train, right.train), (again.test, right.test)):
            assert [s.tolist() for d in side for s in d] == [s.tolist() for d in other for s in d]
            assert side.lines.tolist() == other.lines.tolist()
        if message is not None:
            assert again.notes[0].startswith(f"cache rebuilt: {folder}: no packed drawings that can be used (")

    cases = 15_000 if long_form else 200
    fuzz(law, cases, files=packed_folders(whole))
    assert seen[False] > cases / 4
    assert seen[True]


# --- the word of a file ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        (b'{"word":"cat"}', ""),
        (BOM + b'\n \r\n{"word":"c\\u0061t","x":' + b"[" * 1000 + b"]" * 1000 + b"}\n", ""),
        (b"", ":0: has no text under the key 'word'"),
        (b"\n[]", ":2: has no text under the key 'word'"),
        (b'{"word":["cat"]}', ":1: has no text under the key 'word'"),
        (gzip.compress(b"x", mtime=0), ":1: gzip, unpack it first"),
    ],
)
def test_the_word_of_a_file_is_read_by_the_same_parser(tmp_path: Path, content: bytes, outcome: str) -> None:
    path = tmp_path / "x.ndjson"
    path.write_bytes(content)
    found: list[str] = []
    message = message_of(lambda: found.append(word_of(path)))
    assert found == ["cat"] if not outcome else (message or "").startswith(f"{path}{outcome}"), message
