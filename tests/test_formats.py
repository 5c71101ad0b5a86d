"""Drawings in other people's forms: each is read as what it is, by its content, or named; nothing of it is executed."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image

from dataset_utils import load_category, read_drawings, read_ndjson, word_of, write_ndjson
from drawings.embedded import embedded_drawings
from drawings.fitting import load_sketches
from drawings.formats import read_sketches
from drawings.sketch_rnn import drawings_of_offsets, read_npy, read_npz, write_npz
from tests.conftest import Answer
from tests.test_fuzzed_files import message_of, ndjson_files

ROUND = [[100, 60], [195, 85], [215, 200], [85, 225], [45, 120], [100, 60]]
EAR = [[62, 78], [55, 15], [105, 58]]
CAT = [[list(axis) for axis in zip(*stroke, strict=True)] for stroke in (ROUND, EAR)]
RECORD = {"word": "cat", "countrycode": "TR", "timestamp": "2017-03-01 10:00:00.00000 UTC", "recognized": True,
          "key_id": "5152802093400064", "drawing": CAT}  # fmt: skip
LINE = json.dumps(RECORD).encode()
OFFSETS = [[95, 25, 0], [20, 115, 0], [-130, 25, 0], [-40, -105, 0], [55, -60, 1], [-38, 18, 0], [-7, -63, 0],
           [50, 43, 1]]  # fmt: skip
TOP_LEFT = [[[x - 45, y - 15] for x, y in stroke] for stroke in (ROUND, EAR)]
"""What offsets tell of the cat: they do not know where it was, and it is of the size of the dataset's drawings."""


def npy(array: Any, protocol: int | None = None) -> bytes:
    """A .npy file; of objects as numpy writes them, or pickled by another protocol of other Pythons."""
    file = io.BytesIO()
    if protocol is None:
        np.save(file, np.asarray(array))
    else:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (len(array),)})
        file.write(pickle.dumps(array, protocol=protocol))
    return file.getvalue()


def ragged(*arrays: Any) -> np.ndarray:
    whole = np.empty(len(arrays), dtype=object)
    whole[:] = arrays
    return whole


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def binary(recognized: int = 1) -> bytes:
    head = struct.pack("<Q2sbIH", 5152802093400064, b"TR", recognized, 1488362400, 2)
    return head + b"".join(struct.pack("<H", len(xs)) + bytes(xs) + bytes(ys) for xs, ys in CAT)


def svg(body: str) -> bytes:
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 256 256">{body}</svg>'.encode()


def points(stroke: list[list[int]]) -> str:
    return " ".join(f"{x},{y}" for x, y in stroke)


SHORT = np.array(OFFSETS, dtype=np.int16)
AS_TEXT = json.dumps(CAT)
OBJECTS = [[{"x": x, "y": y} for x, y in stroke] for stroke in (ROUND, EAR)]
STROKE_5 = [[x, y, 1 - pen, pen, 0] for x, y, pen in OFFSETS] + [[0, 0, 0, 0, 1]] * 3
FORMS: dict[str, tuple[bytes, str, int]] = {
    "ndjson": (LINE + b"\n" + LINE, "ndjson", 2),
    "after a blank line": (b"\n" + LINE, "ndjson", 1),
    "old ends of lines": (LINE + b"\r" + LINE + b"\r", "JSON", 2),
    "pretty": (json.dumps(RECORD, indent=2).encode(), "JSON", 1),
    "pretty array": (json.dumps([RECORD, RECORD], indent=2).encode(), "JSON", 2),
    "array": (json.dumps([RECORD, RECORD]).encode(), "JSON array", 2),
    "bare drawing": (AS_TEXT.encode(), "JSON array", 1),
    "bare drawings": (json.dumps([CAT, CAT, CAT]).encode(), "JSON array", 3),
    "drawing as text": (json.dumps({**RECORD, "drawing": AS_TEXT}).encode(), "ndjson", 1),
    "gzip": (gzip.compress(LINE), "gzip of ndjson", 1),
    "UTF-16": (LINE.decode().encode("utf-16"), "ndjson", 1),
    "UTF-16 without mark": (LINE.decode().encode("utf-16-be"), "ndjson", 1),
    "UTF-8 with mark": (b"\xef\xbb\xbf" + LINE, "ndjson", 1),
    "points": (json.dumps({"drawing": [ROUND, EAR]}).encode(), "ndjson of points", 1),
    "objects": (json.dumps({"drawing": OBJECTS}).encode(), "ndjson of points", 1),
    "table": (b'key_id,word,drawing\n1,cat,"' + AS_TEXT.encode() + b'"\n2,cat,"' + AS_TEXT.encode() + b'"\n',
              "table with a column 'drawing'", 2),
    "spreadsheet's table": (b'\xef\xbb\xbfWord;Drawing\r\ncat;"' + AS_TEXT.encode() + b'"\r\n',
                            "table with a column 'drawing'", 1),
    "binary": (binary() + binary(0), "official binary form", 2),
    "SVG path": (svg(f'<rect width="9" height="9" fill="#fff"/><path d="M{points(ROUND)}M{points(EAR)}" stroke="#000"/>'
                     ), "SVG", 1),
    "SVG shapes": (svg('<style>.k{stroke:#123}</style><g transform="translate(10 5)" stroke="red">'
                       f'<polyline points="{points(TOP_LEFT[0])}" '
                       f'transform="translate(35 10)"/></g><path class="k" d="M62 78l-7 -63 50 43"/>'
                       '<path stroke="red" visibility="hidden" d="M0 0L9 9"/>'
                       '<symbol id="a"><path stroke="red" d="M0 0L9 9"/></symbol><symbol/>'
                       '<g opacity="0"><path stroke="red" d="M0 0L9 9"/></g>'),
                   "SVG", 1),
    "SVG outlines": (svg(f'<path d="M{points(ROUND)}"/><path d="M{points(EAR)}"/>'), "SVG", 1),
}  # fmt: skip
OFFSET_FORMS: dict[str, tuple[bytes, str, int]] = {
    "stroke-3": (npy(SHORT.astype(np.float32)), "numpy array of offsets", 1),
    "stroke-5": (npy(STROKE_5), "numpy array of offsets", 1),
    "padded stroke-5": (npy([STROKE_5, STROKE_5]), "numpy array of offsets", 2),
    "stroke-3 by columns": (npy(np.asfortranarray(SHORT)), "numpy array of offsets", 1),
    "stroke-3 as JSON": (json.dumps(OFFSETS).encode(), "JSON array", 1),
    "stroke-3 in ndjson": (json.dumps({"drawing": OFFSETS}).encode(), "ndjson", 1),
    "Sketch-RNN's JSON": (json.dumps({"train": [OFFSETS], "test": [OFFSETS]}).encode(), "JSON array", 2),
    "npz": (npz(test=ragged(SHORT), train=ragged(SHORT, SHORT), valid=ragged()), "Sketch-RNN npz", 3),
    "npz with a scale": (npz(train=ragged(SHORT), std=np.float64(3)), "Sketch-RNN npz", 1),
    "Python 2's": (npy(ragged(SHORT, SHORT), protocol=2), "numpy array of offsets", 2),
    "a row for the origin": (npy([[0, 0, 0], *OFFSETS]), "numpy array of offsets", 1),
}


def same(strokes: list[np.ndarray], expected: list[list[list[int]]]) -> bool:
    return [stroke.tolist() for stroke in strokes] == expected


@pytest.mark.parametrize("name", [*FORMS, *OFFSET_FORMS])
def test_a_form_is_told_by_its_content(tmp_path: Path, name: str) -> None:
    content, form, count = {**FORMS, **OFFSET_FORMS}[name]
    path = tmp_path / "some.file"
    path.write_bytes(content)
    found = read_sketches(path)
    assert (found.form, len(found.sketches)) == (form, count)
    for sketch in found.sketches:
        assert same(sketch.strokes, [ROUND, EAR] if name in FORMS else TOP_LEFT)
    assert load_sketches(path).told(path) == ([f"{path}: 1 blank lines"] if "blank" in name else [])  # and not fitted


def test_what_a_drawing_says_of_itself_is_read(tmp_path: Path) -> None:
    for name, content in (("a", LINE), ("b", binary())):
        (tmp_path / name).write_bytes(content)
        fields = {key: value for key, value in RECORD.items() if key not in ("drawing", "word" if name == "b" else "")}
        assert read_sketches(tmp_path / name).sketches[0].fields == fields


def test_offsets_whose_first_points_have_rows_are_recognised() -> None:
    """As Magenta's own converter writes them: the first row is where the first point is in the square."""
    absolute = np.array([[55, 45, 0], *OFFSETS])
    for drawings in ([absolute, absolute], [SHORT, SHORT]):
        assert [same(strokes, TOP_LEFT) for strokes in drawings_of_offsets(drawings)] == [True, True]


AMBIGUOUS = {"drawing": [[[40, 60], [215, 60]], [[215, 60], [215, 230]]]}


def test_two_lists_of_two_numbers_are_the_datasets_form_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    path.write_text(json.dumps(AMBIGUOUS))
    loaded = load_sketches(path)
    assert same(loaded.packed.drawing(0), [[[40, 215], [60, 60]], [[215, 215], [60, 230]]])
    assert "read as the dataset's [xs, ys], not as two points" in loaded.told(path)[0]
    path.write_text(json.dumps(AMBIGUOUS) + "\n" + json.dumps({"drawing": [ROUND]}))  # the second can only be points
    assert same(load_sketches(path).packed.drawing(0), AMBIGUOUS["drawing"])


# ------------------------------------------------------------------ what is not read


class Malicious:
    """What runs a command when a pickle of it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_a_pickle_in_an_archive_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    blobs = [npz(train=ragged(Malicious(mark))), npz(train=ragged(SHORT, Malicious(mark))),
             npy(ragged(Malicious(mark)), protocol=2)]  # fmt: skip
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    blobs.append(file.getvalue() + b"cnumpy.core.multiarray\n_reconstruct\n(S'touch'\ntRcos\nsystem\n(S'x'\ntR.")
    for blob in blobs:
        with pytest.raises(ValueError, match="its pickle, which is not run, is not that of an array of arrays"):
            (read_npz if blob.startswith(b"PK") else read_npy)(blob)
    assert not mark.exists()


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, kind)
    return file.getvalue()


NAMED: dict[str, tuple[bytes, str]] = {
    "PNG": (picture("PNG"), "is a PNG picture, which has no strokes"),
    "bitmaps": (npy(np.zeros((5, 784), np.uint8)), "holds pictures of 28 x 28 pixels"),
    "other numbers": (npy(np.zeros((5, 7))), r"holds float64 \(5, 7\), must be offsets and pen"),
    "other objects": (npz(train=ragged({"a": 1})), "its pickle, which is not run"),
    "zip": (b"PK\x05\x06" + b"\0" * 18, "zip archive without arrays"),
    "other bytes": (b"\0\1\2\3" * 9, "nor another form that is known"),
    "cut npz": (npz(train=ragged(SHORT))[:-30], "damaged or encrypted zip archive"),
    "cut npy": (npy(SHORT)[:-3], "numpy file that cannot be read"),
    "cut gzip": (gzip.compress(LINE)[:-9], "damaged gzip"),
    "web page": (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
    "other XML": (b"<ink><trace>1 2</trace></ink>", "is XML, but no SVG"),
    "entities": (b'<!DOCTYPE svg [<!ENTITY a "b">]><svg/>', "SVG of entities"),
    "pickle": (pickle.dumps([[1, 2]]), "is a Python pickle, which is not run"),
    "Parquet": (b"PAR1" + b"\0" * 9, "Parquet"),
    "Latin letters": (b'{"word": "\xe7i\xe7ek"}', "no utf-8 text"),
    "table without drawings": (b"a,b\n1,2\n", "not JSON"),
    "table with a broken one": (b'drawing\n"[[["\n', "'drawing' is text and not JSON"),
    "other keys": (b'{"strokes": []}', "has the keys 'strokes'"),
    "neither": (json.dumps({"drawing": [[[1, 2, 3, 4]], [[1, 2, 3, 4]]]}).encode(), r"stroke 0 is not \[xs, ys\]"),
    "not finite": (b'{"drawing": [[[1e999], [2]]]}', r"not JSON|finite"),
    "NaN": (b'{"drawing":\n[[[NaN], [2]]]}', "not JSON"),
    "deep": (b"[" * 100_000, "not JSON"),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    content, reason = NAMED[name]
    path = tmp_path / "x.file"
    path.write_bytes(content)
    message = message_of(lambda: read_sketches(path))
    assert message is not None
    assert message.startswith(f"{path}:")
    with pytest.raises(ValueError, match=reason):
        read_sketches(path)


def test_any_damaged_file_is_drawings_or_one_line(tmp_path: Path, long_form: bool) -> None:
    """And a file of the official form is read as the reader of that form alone reads it."""
    path = tmp_path / "x.ndjson"

    def law(content: bytes) -> None:
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            official: list[Any] = []
            strict = message_of(lambda: official.append(read_ndjson(path)))
            found: list[Any] = []
            message = message_of(lambda: found.append(load_sketches(path)))
        assert message is None or message.startswith(f"{path}:")
        if strict is None and message is None and "fitted" not in "".join(found[0].told(path)):
            assert same_drawings(official[0][0], found[0].packed)
            assert official[0][1] == found[0].counts

    profile = settings(max_examples=20_000 if long_form else 100, derandomize=not long_form, deadline=None,
                       database=None, suppress_health_check=list(HealthCheck))  # fmt: skip
    profile(given(content=ndjson_files())(law))()


def same_drawings(a: Any, b: Any) -> bool:
    return [[s.tolist() for s in drawing] for drawing in a] == [[s.tolist() for s in drawing] for drawing in b]


# ------------------------------------------------------------------ other coordinates

PLACES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "a canvas of 800": lambda p: p * 3 + 20,
    "floats": lambda p: p * 0.9 + 0.25,
    "negative": lambda p: p - 128.0,
    "0 to 1": lambda p: p / 255,
    "a small corner": lambda p: np.rint(p * 0.14 + 200),
}


@pytest.mark.parametrize("name", PLACES)
def test_other_coordinates_are_fitted_and_come_back(tmp_path: Path, name: str) -> None:
    strokes = [PLACES[name](np.array(stroke, float)) for stroke in (ROUND, EAR)]
    path = tmp_path / "x.ndjson"
    path.write_text(json.dumps({"drawing": [stroke.T.tolist() for stroke in strokes]}))
    loaded = load_sketches(path)
    fitted = np.concatenate(loaded.packed.drawing(0)).astype(int)
    assert fitted.min(axis=0).tolist() == [0, 0]
    assert fitted.max() == 255
    assert loaded.told(path)[-1].endswith("fitted into the square of the dataset and simplified as its drawings were")
    unfinished = load_sketches(path, unfinished=True)  # has room for what is added
    room = np.concatenate(unfinished.packed.drawing(0))
    assert min(room.min(), 255 - room.max()) >= 25
    for each in (loaded, unfinished):
        frame = each.frames[0]
        assert frame is not None
        side = np.ptp(np.concatenate(strokes), axis=0).max()
        for own, stroke in zip(strokes, each.packed.drawing(0), strict=True):
            assert np.abs(frame.own(stroke)[[0, -1]] - own[[0, -1]]).max() < side / 200  # a pixel or so
    if name == "a small corner":
        assert same(load_sketches(path, fit="never").packed.drawing(0), [s.tolist() for s in strokes])  # type: ignore[misc]
    else:
        with pytest.raises(ValueError, match="--fit never forbids"):
            load_sketches(path, fit="never")


def test_offsets_that_are_continued_are_fitted_for_they_have_no_place(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(npy(SHORT))
    assert load_sketches(tmp_path / "x.npy").frames == [None]
    assert load_sketches(tmp_path / "x.npy", unfinished=True).frames != [None]


def test_one_drawing_in_other_coordinates_speaks_for_its_file(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    path.write_text(json.dumps({"drawing": CAT}) + "\n" + json.dumps({"drawing": [[[0, 300], [0, 300]]]}))
    assert load_sketches(path).counts.fitted_drawings == 2
    packed, counts = read_drawings(path)  # as training reads it
    assert (len(packed), counts.fitted_drawings) == (2, 2)


# ------------------------------------------------------------------ convert

Run = Callable[..., Answer]


def convert(answer: Run, *words: Any) -> Answer:
    said = answer("dataset_utils", "convert", *words)
    assert said.code == 0, said.err
    return said


@pytest.mark.parametrize("form", ["ndjson", "npz", "svg"])
def test_drawings_survive_every_form(tmp_path: Path, answer: Run, form: str) -> None:
    drawings = embedded_drawings("cat", 40)
    write_ndjson(tmp_path / "cat.ndjson", drawings, word="cat")
    convert(answer, tmp_path / "cat.ndjson", tmp_path / f"a.{form}")
    convert(answer, tmp_path / f"a.{form}", tmp_path / "b.ndjson", "--word", "cat")
    if form == "npz":  # its sides are those of the local split
        sides = load_category("cat", data_dir=tmp_path, cache_dir=tmp_path / "cache")
        expected = [*sides.train, *list(sides.test)[::2], *list(sides.test)[1::2]]
        again = list(read_ndjson(tmp_path / "b.ndjson")[0])
        assert len(read_npz((tmp_path / "a.npz").read_bytes())) == 40
        assert same_drawings(again, [[s - np.concatenate(d).min(axis=0) for s in d] for d in expected])
    else:
        assert (tmp_path / "b.ndjson").read_bytes() == (tmp_path / "cat.ndjson").read_bytes()


def test_own_coordinates_times_and_metadata_survive(tmp_path: Path, answer: Run) -> None:
    raw = {**RECORD, "drawing": [[[0.1, 1000.25], [-3.5, 7], [0, 33]], [[5], [6], [99]]]}
    (tmp_path / "raw.ndjson").write_text(json.dumps(raw))
    convert(answer, tmp_path / "raw.ndjson", tmp_path / "b.ndjson")
    assert json.loads((tmp_path / "b.ndjson").read_bytes()) == raw
    convert(answer, tmp_path / "raw.ndjson", tmp_path / "c.svg")
    convert(answer, tmp_path / "c.svg", tmp_path / "d.ndjson", "--timing")
    again = json.loads((tmp_path / "d.ndjson").read_bytes())["drawing"]
    assert [stroke[:2] for stroke in again] == [stroke[:2] for stroke in raw["drawing"]]
    assert again[0][2][0] == 0
    assert again[1][2][0] > again[0][2][1] > 100  # a thousand units, then a pause
    convert(answer, tmp_path / "raw.ndjson", tmp_path / "e.ndjson", "--fit")
    assert read_ndjson(tmp_path / "e.ndjson")[1].describe() == "1 drawings"


def test_an_npz_is_what_sketch_rnns_readers_expect(tmp_path: Path) -> None:
    with open(tmp_path / "x.npz", "wb") as file:
        write_npz(file, {"train": [[np.array(ROUND), np.array(EAR)]], "valid": [], "test": []})
    theirs = np.load(tmp_path / "x.npz", encoding="latin1", allow_pickle=True)
    assert [len(theirs[side]) for side in ("train", "valid", "test")] == [1, 0, 0]
    assert theirs["train"][0].dtype == np.int16
    assert theirs["train"][0].tolist() == OFFSETS


def test_pictures_have_the_paper_and_the_pen_that_are_asked_for(tmp_path: Path, answer: Run) -> None:
    (tmp_path / "x.ndjson").write_bytes(LINE)
    for background, corner in (("white", (255, 255, 255, 255)), ("dark", (22, 24, 29, 255)), ("transparent", (0, 0))):
        path = tmp_path / f"{background}.gif"
        convert(answer, tmp_path / "x.ndjson", path, "--background", background, "--line-width", "9",
                "--color-by-order")  # fmt: skip
        with Image.open(path) as frames:
            frames.seek(frames.n_frames - 1)
            last = np.asarray(frames.convert("RGBA"))
        if background == "transparent":
            assert last[0, 0, 3] == 0
            assert set(np.unique(last[..., 3]).tolist()) == {0, 255}
        else:
            assert tuple(last[0, 0].tolist()) == corner
        inked = (last[..., 3] == 255) & (np.abs(last[..., :3].astype(int) - last[0, 0, :3]).sum(-1) > 150)
        assert inked.mean() > 0.05  # broad lines
        assert not (inked & (np.ptp(last[..., :3].astype(int), axis=-1) < 12)).any()  # all of them coloured
    convert(answer, tmp_path / "x.ndjson", tmp_path / "t.svg", "--background", "transparent", "--color-by-order")
    text = (tmp_path / "t.svg").read_text()
    assert "<rect" not in text
    assert len({part.split('"')[1] for part in text.split("stroke=")[1:]}) == 2


def test_convert_replaces_nothing(tmp_path: Path, answer: Run) -> None:
    path = tmp_path / "cat.ndjson"
    path.write_bytes(LINE)
    (tmp_path / "mine.svg").write_text("mine")
    for out, words in (("mine.svg", "is there already"), ("cat.ndjson", "is what was given to read"),
                       ("x.txt", r"must end in .ndjson, .npz, .svg, .gif")):  # fmt: skip
        said = answer("dataset_utils", "convert", path, tmp_path / out)
        assert said.code == 2
        assert words in said.err
    assert (tmp_path / "mine.svg").read_text() == "mine"
    assert path.read_bytes() == LINE


def test_what_a_file_shows_is_told_by_it_or_by_its_name(tmp_path: Path) -> None:
    for name, content, word in (("a", FORMS["UTF-16"][0], "cat"), ("bus.npz", OFFSET_FORMS["npz"][0], "bus"),
                                ("b", FORMS["table"][0], "cat")):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        assert word_of(tmp_path / name) == word
    (tmp_path / "mine.npz").write_bytes(OFFSET_FORMS["npz"][0])
    with pytest.raises(ValueError, match="give --category"):
        word_of(tmp_path / "mine.npz")
