"""Laws that hold for any file: a drawing, a counted skip, or one line with file and place, in bounded memory.

Files are nearly right: lines, splits and packed folders that this program or the dataset's makers could have written,
with a few things wrong. The default form takes some hundreds of them, `make test-long` tens of thousands.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import re
import sys
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dataset_utils import LoadCounts, PackedDrawings, load_category, read_ndjson, word_of
from drawings.official import MAX_SPLIT_BYTES, official_indices, read_split
from drawings.packed import PACKED_FILES, PackedCategory, load_packed

ROOT = Path(__file__).resolve().parent.parent
BOM = b"\xef\xbb\xbf"
Oracle = tuple[str, Any]


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


# --- what a line is, said once more and independently ------------------------------------------------------------


def parsed(line: bytes) -> Any:
    """Return the JSON of a line by the standard library, held to what the dataset's files may hold."""

    def finite(text: str) -> float:
        if math.isinf(value := float(text)):
            raise ValueError(text)
        return value

    def whole(text: str) -> float:
        return int(text) if -(2**63) <= int(text) < 2**64 else finite(text)

    def refuse(text: str) -> Any:
        raise ValueError(text)

    def checked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        json.dumps(pairs, ensure_ascii=False).encode()  # half of a pair of surrogates is no text
        return dict(pairs)

    text = line.decode()
    if "[" * 1025 in text:
        raise ValueError("too deep")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(5_000)  # this parser is less deep, and counts the depth of the tests as well
    try:
        record = json.loads(text, parse_float=finite, parse_int=whole, parse_constant=refuse, object_pairs_hook=checked)
        json.dumps(record, ensure_ascii=False).encode()
    finally:
        sys.setrecursionlimit(limit)
    return record


def expected(line: bytes, recognized_only: bool) -> Oracle:
    """Return what a line must come to: drawing (with its strokes), raw, the name of a count, or error."""
    if not line.strip():
        return "blank_lines", None
    try:
        record = parsed(line)
    except ValueError:
        return "error", None
    if not isinstance(record, dict):
        return "error", None
    if recognized_only and record.get("recognized") is not True:
        return ("unrecognized" if record.get("recognized") is False else "unknown_recognition"), None
    strokes = record.get("drawing")
    if not isinstance(strokes, list) or not all(isinstance(s, list) and len(s) in (2, 3) for s in strokes):
        return "error", None
    if len({len(stroke) for stroke in strokes}) > 1 or not all(isinstance(v, list) for s in strokes for v in s):
        return "error", None
    if any(len({len(values) for values in stroke}) > 1 for stroke in strokes):
        return "error", None
    if any(type(value) not in (int, float) for stroke in strokes for values in stroke for value in values):
        return "error", None
    kept = [stroke for stroke in strokes if stroke[0]]
    if not kept:
        return "empty_drawings", None
    if len(kept[0]) == 2:
        whole = all(0 <= v <= 255 and v == int(v) for stroke in kept for values in stroke for v in values)
        return ("drawing", [[[int(v) for v in values] for values in stroke] for stroke in kept]) if whole else (
            "error", None)  # fmt: skip
    axes = [[float(value) for stroke in kept for value in stroke[axis]] for axis in (0, 1)]
    side = max(max(axis) - min(axis) for axis in axes)
    # what has a size is scaled to 255, which must be a number
    return ("error", None) if math.isinf(side) or (side > 0 and math.isinf(255 / side)) else ("raw", None)


# --- files that are nearly right ---------------------------------------------------------------------------------

ODD_TOKENS = [
    b"-1", b"256", b"1.5", b"2.0", b"1e2", b"1E2", b"25.5e1", b"1e999", b"-1e999", b"1e-400", b"5e-324", b"-0", b"-0.0",
    b"NaN", b"Infinity", b"-Infinity", b"true", b"false", b"null", b'"5"', b'"true"', b"[]", b"[1]", b"{}", b'{"a":1}',
    b"9" * 30, b"9" * 400, b"-" + b"9" * 5000, b"18446744073709551616", b"9223372036854775808",
    b"1.7976931348623157e308",
    b"-1e308", b"0x10", b"01", b"+1", b"1.", b".5", b"", b"1 2", b'"\\ud800"', b'"\\n"', b"[" * 900 + b"]" * 900,
    b"[" * 2000 + b"]" * 2000, b"3.0000000000000001", b"1e-7", b"\xff", b"\x00", b"\xe2\x80\xa8", "１".encode(),
]  # fmt: skip
PLAIN_FIELDS = [
    b'"word":"cat"', b'"countrycode":"VE"', b'"timestamp":"2017-03-02 23:25:10.07453 UTC"', b'"recognized":true',
    b'"recognized":false', b'"recognized":null', b'"recognized":1', b'"recognized":"true"',
    b'"key_id":"5201136883597312"',
    b'"word":"true drawing"', b'"word":"drawing"', b'"word":null', b'"extra":{"drawing":[[[true],[1]]]}',
    b'"e":[1,[2]]',
    '"word":"kedi ş 🐈"'.encode(), b'"x":' + b"[" * 1000 + b"]" * 1000, b'"x":' + b'{"a":' * 90 + b"1" + b"}" * 90,
    b'"word":"\\u0063at"', b'"word":"\\ud83d\\ude00"', b'"word":"\\ud83d"', b'"word":"\xff"', b'"word":"a\tb"', b"",
    b'"drawing":null', b'"drawing":[[[true],[1]]]', b'"drawing":[]', b'"recognized":true,"recognized":false', b'"":0',
]  # fmt: skip
KEYS = [b'"drawing"'] * 60 + [b'"dr\\u0061wing"', b'"Drawing"', b'"drawing "', b"drawing", b"'drawing'"]
WHOLE_LINES = [
    b"", b" ", b"\t \r", b"\x0b", b"\x0c", b"{}", b"[]", b"null", b"1", b'"drawing"',
    b"<html><body>Sign in</body></html>",
    b"<?xml version='1.0'?>", gzip.compress(b'{"drawing":[[[1],[2]]]}', mtime=0), b"\x1f\x8b\x08", b"\0" * 40,
    b"[" * 100_000,
    b'{"drawing":' * 3_000, BOM, BOM + b'{"drawing":[[[1],[2]]]}', b"\xff\xfe{\0}\0", b'{"drawing":[[[1],[2]]]}\0',
    b'{"drawing":"ab"}', b'{"drawing":{"ab":1}}', b'{"drawing":[{"a":[1],"b":[2]}]}', b'{"drawing":["ab"]}',
    b'{"drawing":0}',
    b'{"drawing":[[{"1":2},[1]]]}', b'{"drawing":[[[1],{"1":1}]]}', b'{"drawing":[["a","b"]]}', b'{"drawing":[[5,5]]}',
    b'{"drawing":[[],[]]}', b'{"drawing":[[[1]]]}', b'{"drawing":[[[1],[2],[3],[4]]]}', b"\xe2\x80\xa8",
    b"\xc2\x85", b"\xa0",
]  # fmt: skip

FAULTS = [*ODD_TOKENS, *["drop a number", "drop a list", "one list more", "another separator"] * 6]


def drawing_of(shape: bytes, faults: list[tuple[int, Any]]) -> bytes:
    """Return the JSON of a drawing: the first byte says whether it is raw, one more begins each stroke, two a point."""
    raw, rest = shape[:1] >= b"\xc0", list(shape[1:])
    strokes: list[list[list[bytes]]] = []
    while rest:
        values = [b"%d" % value for value in rest[1 : 1 + 2 * (rest[0] % 6)]]
        half = len(values) // 2
        times = [[b"%d.5" % (9 * i) for i in range(half)]] if raw else []
        strokes.append([values[:half], values[half : 2 * half], *times])
        rest = rest[1 + 2 * (rest[0] % 6) :]
    separator = b","
    for place, fault in faults:
        at = strokes[place % len(strokes)] if strokes else []
        values = at[place // 7 % len(at)] if at else []
        if fault == "drop a list":
            del at[:1]
        elif fault == "one list more":
            at.append([b"1"] * len(values))
        elif fault == "another separator":
            separator = [b", ", b",,", b" ,\t", b"\r,"][place % 4]
        elif fault == "drop a number":
            del values[:1]
        elif values:
            values[place // 3 % len(values)] = fault
    lists = [[b"[" + separator.join(values) + b"]" for values in stroke] for stroke in strokes]
    return b"[" + b",".join(b"[" + b",".join(stroke) + b"]" for stroke in lists) + b"]"


def damaged(content: bytes, at: int, removed: int, put: bytes | None) -> bytes:
    """Return bytes with some put in place of others, or cut off where nothing is put."""
    at %= len(content) + 1
    return content[:at] if put is None else content[:at] + put + content[at + removed :]


def seldom(strategy: st.SearchStrategy[Any], otherwise: Any = None) -> st.SearchStrategy[Any]:
    """Draw what is said in one of eight cases."""
    return st.integers(0, 7).flatmap(lambda number: strategy if number == 7 else st.just(otherwise))


BYTES_PUT_IN = [b"", b"\0", BOM, b"\xff", b"\xed\xa0\x80", b"true", b"]", b"[", b",", b"}", b"{", b'"', b"\\", b" ",
                b"e",
                b"-", b".", b"9", b"\r", b"\n", b"\x0b", None, None, None]  # fmt: skip
DAMAGE = st.tuples(st.integers(0, 400), st.integers(0, 3), st.sampled_from(BYTES_PUT_IN))
LINES = st.builds(
    lambda fields, key, shape, faults: (
        b"{" + b",".join([*fields[:1], key + b":" + drawing_of(shape, faults), *fields[1:]]) + b"}"
    ),
    fields=st.lists(st.sampled_from(PLAIN_FIELDS[:8] * 20 + PLAIN_FIELDS), max_size=2),
    key=st.sampled_from(KEYS),
    shape=st.binary(min_size=3, max_size=24),
    faults=seldom(st.lists(st.tuples(st.integers(0, 99), st.sampled_from(FAULTS)), min_size=1, max_size=2), []),
)
ODD_LINES = st.builds(lambda line, damage: damaged(line, *damage), LINES, DAMAGE) | st.sampled_from(WHOLE_LINES)
ENDS = [b"\n"] * 12 + [b"\r\n"] * 4 + [b"\n\n", b"\r", b"", b"\n" + BOM]


@st.composite
def ndjson_files(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(st.integers(0, 9).flatmap(lambda kind: ODD_LINES if kind == 9 else LINES), max_size=6))
    end = draw(st.sampled_from(ENDS))
    start, last = draw(st.sampled_from([(b"", b""), (b"", end), (b"", b"\n"), (BOM, end)]))
    damage = draw(seldom(DAMAGE))
    body = start + end.join(lines) + last
    return damaged(body, *damage) if damage else body


def lines_of(content: bytes) -> list[bytes]:
    lines = content.removeprefix(BOM).split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


# --- ndjson ------------------------------------------------------------------------------------------------------


def assert_as_expected(path: Path, only: bool, seen: Counter[str]) -> None:
    """Read a file and hold the outcome against what its lines must come to."""
    found: list[tuple[PackedDrawings, LoadCounts]] = []
    with bounded(path.stat().st_size):
        message = message_of(lambda: found.append(read_ndjson(path, recognized_only=only)))
    skipped: Counter[str] = Counter()
    drawings: list[tuple[int, Oracle]] = []
    for number, line in enumerate(lines_of(path.read_bytes())):
        kind, content = expected(line, only)
        seen[kind] += 1
        if kind == "error":
            assert message is not None, line
            assert message.startswith(f"{path}:{number + 1}: "), (message, line)
            return
        if kind in ("drawing", "raw"):
            drawings.append((number, (kind, content)))
        else:
            skipped[kind] += 1
    assert message is None, message
    (packed, counts) = found[0]
    assert packed.points.dtype == np.uint8
    assert packed.lines.tolist() == [number for number, _ in drawings]
    for drawing, (_, (kind, content)) in zip(packed, drawings, strict=True):
        if kind == "drawing":
            assert [stroke.T.tolist() for stroke in drawing] == content
        assert len(drawing)
        assert all(len(stroke) for stroke in drawing)
    assert counts.raw_drawings == sum(kind == "raw" for _, (kind, _) in drawings)
    names = ("blank_lines", "empty_drawings", "unrecognized", "unknown_recognition")
    assert {name: getattr(counts, name) for name in names} == {name: skipped[name] for name in names}
    assert counts.drawings == len(packed)
    assert (counts.cut_drawings, counts.cut_strokes, counts.cut_points) == (0, 0, 0)
    word = message_of(lambda: word_of(path))
    assert word is None or word.startswith(f"{path}:")


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
        assert_as_expected(path, only, seen)

    cases = 70_000 if long_form else 300
    fuzz(law, cases, content=ndjson_files(), only=st.booleans())
    kinds = ("drawing", "raw", "error", "blank_lines", "empty_drawings", "unrecognized", "unknown_recognition")
    assert all(seen[kind] > cases / 100 for kind in kinds), seen


def test_every_ndjson_file_is_read_by_the_same_parser() -> None:
    files = [*ROOT.glob("*.py"), *(ROOT / "drawings").glob("*.py"), *(ROOT / "scoring").glob("*.py")]
    parsing = {path.name for path in files if re.search(r"orjson\.loads|json\.loads\(line", path.read_text("utf-8"))}
    assert parsing <= {"dataset_utils.py", "run_all.py", "training.py", "train_diffusion.py"}  # the others: their logs


def test_a_line_too_long_or_of_too_many_lists_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "cat.ndjson"
    good = b'{"drawing":[[[1],[2]]]}\n'
    for body, reason in (
        (b'{"drawing":[' + b"[]," * 3_000_000, "line has 3,000,002 lists, the limit of a drawing is 2,000,000"),
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


# --- split files -------------------------------------------------------------------------------------------------

ODD_JSON = [*WHOLE_LINES, *ODD_TOKENS, b'{"train":[],"test":[]}', b'{"train":[[]]}', b'{"train":[{"a":1}],"test":[1]}',
            b'{"train":["\\n"]}', b'{"train":' + b"[" * 100_000, b'{"train":{"0":1},"test":[]}', b"[[1],[2]]",
            b'{"test":[0,1]}']  # fmt: skip
ODD_INDICES = [*ODD_TOKENS, b"123201", b"123202", b"0", b"-1", b"1.0", b"1e3", b"0,0", b"9" * 4299, b'"a\\nb"']


@st.composite
def split_files(draw: st.DrawFn, content: bytes) -> bytes:
    """Return the bytes of a split file, nearly right: damaged, with an odd index, or something else."""
    kind, place = draw(st.integers(0, 2)), draw(st.integers(0, 20_000))
    if kind == 0:
        return damaged(content, place, draw(st.integers(0, 3)), draw(st.sampled_from(BYTES_PUT_IN)))
    if kind == 1:
        at = content.index(b" ", place) + 1
        return content[:at] + draw(st.sampled_from(ODD_INDICES)) + content[content.index(b",", at) :]
    others = [BOM + content, content.decode().encode("utf-16"), content * 2, b" " + content, gzip.compress(content)]
    return draw(st.sampled_from([*ODD_JSON, *others]))


def test_every_split_file_is_the_official_one_or_one_line_with_its_name(tmp_path: Path, long_form: bool) -> None:
    official = official_indices("bus")
    right = json.dumps(official).encode()
    path = tmp_path / "bus" / "indices.json"
    path.parent.mkdir()
    seen: Counter[bool] = Counter()

    @example(content=b'{"train":[' + b"[" * 960 + b"]" * 960 + b"]}")
    @example(content=b'{"train":[' + b"9" * 5000 + b'],"test":[]}')
    @example(content=right)
    def law(content: bytes) -> None:
        path.write_bytes(content)
        found: list[Any] = []
        with bounded(1_000_001):
            message = message_of(lambda: found.append(read_split(tmp_path, "bus")))
        seen[message is None] += 1
        assert found == [official] if message is None else message.startswith(f"{path}: "), message

    cases = 10_000 if long_form else 100
    fuzz(law, cases, content=split_files(right))
    assert seen[False] > cases / 2
    assert seen[True]


def test_a_giant_split_file_is_refused_unread_with_size_and_limit(tmp_path: Path) -> None:
    (tmp_path / "bus").mkdir()
    path = tmp_path / "bus" / "indices.json"
    with path.open("wb") as file:
        file.truncate(50 << 30)  # a hole: it takes no room, but to read it would
    with bounded(0):
        message = message_of(lambda: read_split(tmp_path, "bus"))
    assert message is not None
    assert message.startswith(f"{path}: has 53,687,091,200 bytes, a split file has at most {MAX_SPLIT_BYTES:,}")
    assert max(facts.stat().st_size for facts in (ROOT / "subset").glob("*/*.json")) * 10 < MAX_SPLIT_BYTES


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
