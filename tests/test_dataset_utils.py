"""Laws of finding, reading, splitting, caching and writing drawings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

import dataset_utils
from dataset_utils import PackedDrawings, available_categories, load_category, read_ndjson, write_ndjson
from drawings.embedded import embedded_drawings
from drawings.official import OFFICIAL, official_indices
from drawings.packed import local_test_mask
from drawings.simplify import simplify_drawing

REAL_FOLDER = os.environ.get("QUICKDRAW_DIR", "")
HAS_REAL = (Path(REAL_FOLDER) / "cat.ndjson").is_file() if REAL_FOLDER else False
RAW_FOLDER = Path(REAL_FOLDER).parent / "raw"


@pytest.fixture(autouse=True)
def _no_environment_and_few_embedded_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUICKDRAW_DIR", raising=False)
    monkeypatch.setattr(dataset_utils, "EMBEDDED_COUNT", 100)


@pytest.fixture(scope="session")
def cat_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an ndjson file of cats, real ones where there are any."""
    if HAS_REAL:
        return Path(REAL_FOLDER) / "cat.ndjson"
    path = tmp_path_factory.mktemp("embedded") / "cat.ndjson"
    write_ndjson(path, embedded_drawings("cat", 300), word="cat")
    return path


def equal(left: PackedDrawings, right: PackedDrawings) -> bool:
    names = ("points", "stroke_offsets", "drawing_offsets", "lines")
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in names)


def written(path: Path, *lines: bytes | dict[str, Any]) -> Path:
    path.write_bytes(b"".join(line if isinstance(line, bytes) else orjson.dumps(line) + b"\n" for line in lines))
    return path


# --- packing -----------------------------------------------------------------------------------------------------


def test_packing_keeps_every_point_and_select_repeats_as_asked() -> None:
    drawings = embedded_drawings("bus", 20)
    packed = PackedDrawings.from_drawings(drawings)
    assert len(packed) == 20
    assert packed.num_strokes.tolist() == [len(drawing) for drawing in drawings]
    for found, drawing in zip(packed, drawings, strict=True):
        assert [stroke.tolist() for stroke in found] == [stroke.tolist() for stroke in drawing]
    chosen = packed.select([3, 19, 3, 0])
    assert chosen.lines.tolist() == [3, 19, 3, 0]
    for at, index in enumerate([3, 19, 3, 0]):
        assert [stroke.tolist() for stroke in chosen.drawing(at)] == [stroke.tolist() for stroke in drawings[index]]
    assert len(packed.select([])) == len(PackedDrawings.from_drawings([])) == 0
    with pytest.raises(IndexError, match="drawing 20 of 20"):
        packed.drawing(20)


@pytest.mark.parametrize("value", [256, -1, 1.5, float("nan"), float("inf")])
def test_no_value_is_packed_or_written_changed(tmp_path: Path, value: float) -> None:
    drawings = [[np.array([[0, 1], [2, 3]])], [np.array([[0, 0], [value, 1]])]]
    with pytest.raises(ValueError, match=r"drawing 1, stroke 0: holds .*0\.\.255"):
        PackedDrawings.from_drawings(drawings)
    target = written(tmp_path / "x.ndjson", b"as before")
    with pytest.raises(ValueError, match=r"x\.ndjson: drawing 1, stroke 0: holds .*0\.\.255"):
        write_ndjson(target, drawings, word="cat")
    assert target.read_bytes() == b"as before"
    assert list(tmp_path.iterdir()) == [target]


# --- writing and reading -----------------------------------------------------------------------------------------


def test_what_is_written_is_read_the_same_and_has_the_official_form(tmp_path: Path, cat_file: Path) -> None:
    packed = read_ndjson(cat_file)[0].select(range(50))
    path = tmp_path / "drawings.ndjson"
    write_ndjson(path, [packed.drawing(i) for i in range(50)], word="cat")
    again, counts = read_ndjson(path)
    assert [[s.tolist() for s in d] for d in packed] == [[s.tolist() for s in d] for d in again]
    assert counts.describe() == "50 drawings"
    assert path.stat().st_mode & 0o777 == 0o644
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    kinds = {"word": str, "countrycode": str, "timestamp": str, "recognized": bool, "key_id": str, "drawing": list}
    for number, record in enumerate(records):
        assert {name: type(value) for name, value in record.items()} == kinds
        # what the dataset's own converters to other forms do with the fields
        assert int(record["key_id"]) == number
        assert len(record["countrycode"].encode()) == 2
        time.strptime(record["timestamp"], "%Y-%m-%d %H:%M:%S.%f UTC")


GOOD = {"word": "cat", "recognized": True, "drawing": [[[0, 5], [0, 255]]]}


def drawing_line(*strokes: Any, **fields: Any) -> bytes:
    return orjson.dumps({"drawing": list(strokes), **fields}) + b"\n"


BROKEN = {
    "truncated": (b'{"drawing":[[[0,5],[0,', "not JSON"),
    "html": (b"<html><body>Sign in</body></html>\n", "HTML"),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\n", "gzip"),
    "not utf-8": (b'{"word":"\xff\xfe","drawing":[[[1],[2]]]}\n', "not JSON"),
    "nan": (b'{"drawing":[[[NaN],[2]]]}\n', "not JSON"),
    "deep": (b"[" * 100_000 + b"\n", "not JSON"),
    "deep in a number's place": (b'{"drawing":[[[' + b"[" * 1000 + b"]" * 1000 + b"],[1]]]}\n", "holds a list"),
    "boolean under a hidden key": (b'{"dr\\u0061wing":[[[true],[1]]],"word":"drawing"}\n', "stroke 0 holds True"),
    "no drawing": (b'{"word":"cat"}\n', "no list under the key 'drawing'"),
    "unequal": (drawing_line([[1, 2], [3]]), r"stroke 0 has lists of unequal length \[2, 1\]"),
    "too large": (drawing_line([[1], [2]], [[256], [3]]), r"holds 256.*0\.\.255"),
    "fraction": (drawing_line([[1.5], [3]]), r"holds 1\.5"),
    "huge": (b'{"drawing":[[[123456789012345678901234567890],[3]]]}\n', "holds 1.2345"),
    "boolean": (drawing_line([[True], [3]]), "stroke 0 holds True"),
    "text": (drawing_line([["a"], [3]]), "stroke 0 holds 'a'"),
    "text for list": (drawing_line(["ab", "cd"]), "stroke 0 holds something that is not a list"),
    "one list": (drawing_line([[1, 2]]), r"not \[xs, ys\]"),
    "raw beside simplified": (drawing_line([[1], [2]], [[1], [2], [3]]), "stroke 1"),
    "raw out of range": (drawing_line([[-1e308, 1e308], [2, 3], [3, 4]]), "out of the range"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_line_is_refused_with_file_and_line(tmp_path: Path, kind: str) -> None:
    line, reason = BROKEN[kind]
    path = written(tmp_path / "cat.ndjson", GOOD, GOOD, line)
    with pytest.raises(ValueError, match=rf"cat\.ndjson:3: .*{reason}") as caught:
        read_ndjson(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_giant_drawing_is_cut_and_counted(tmp_path: Path) -> None:
    strokes = [[[i % 256], [i % 256]] for i in range(100_000)]
    points = [[list(range(256)) * 4000, list(range(256)) * 4000]]
    raw = [[list(range(100_000)), [i % 2 * 1000 for i in range(100_000)], list(range(100_000))]]
    raw_strokes = [[[i % 9], [i % 7], [0]] for i in range(100_000)]
    giants = (strokes, points, raw, raw_strokes, strokes[:2_001])
    path = written(tmp_path / "x.ndjson", *({"drawing": drawing} for drawing in giants))
    with pytest.warns(UserWarning, match="pixels of ink"):
        packed, counts = read_ndjson(path)
    assert packed.num_strokes.tolist() == [2_000, 1, 1, 2_000, 2_000]
    assert len(packed.drawing(1)[0]) == 20_000
    assert counts.cut_drawings == 5


# --- simplification ----------------------------------------------------------------------------------------------


def test_simplification_aligns_scales_and_leaves_corners() -> None:
    steps = np.linspace(0, 1, 50)[:, None]
    corners = np.array([[-300.0, 40.0], [210.0, 40.0], [210.0, 295.0]])
    stroke = np.concatenate(
        [corners[0] + (corners[1] - corners[0]) * steps, corners[1] + (corners[2] - corners[1]) * steps]
    )
    (simple,) = simplify_drawing([stroke])
    assert simple.dtype == np.uint8
    assert simple.tolist() == [[0, 0], [255, 0], [255, 128]]
    dot, line = simplify_drawing([[[5.0, 5.0]], [[5.0, 5.0], [10.0, 5.0]]])
    assert (dot.tolist(), line.tolist()) == ([[0, 0], [0, 0]], [[0, 0], [255, 0]])
    assert simplify_drawing([[[7.5, 1e6]]])[0].tolist() == [[0, 0], [0, 0]]
    with pytest.raises(ValueError, match="not a finite number"):
        simplify_drawing([[[0.0, float("nan")]]])


@pytest.mark.skipif(not (HAS_REAL and RAW_FOLDER.is_dir()), reason="needs raw and simplified real drawings")
def test_raw_drawings_come_out_as_the_official_simplified_ones(tmp_path: Path) -> None:
    same = total = 0
    for category in ("cat", "bus", "rabbit"):
        simplified = {}
        for line in (Path(REAL_FOLDER) / f"{category}.ndjson").read_bytes().splitlines():
            record = orjson.loads(line)
            simplified[record["key_id"]] = record["drawing"]
        packed, counts = read_ndjson(RAW_FOLDER / f"{category}.ndjson")
        assert counts.raw_drawings == counts.drawings == len(packed)
        for index, line in enumerate((RAW_FOLDER / f"{category}.ndjson").read_bytes().splitlines()):
            official = simplified.get(orjson.loads(line)["key_id"])
            if official is not None:
                same += sum(a.T.tolist() == b for a, b in zip(packed.drawing(index), official, strict=True))
                total += len(official)
    assert total > 500
    assert same / total > 0.97


# --- local split -------------------------------------------------------------------------------------------------


def test_local_split_hangs_on_the_drawing_alone(cat_file: Path) -> None:
    packed, _ = read_ndjson(cat_file)
    mask = local_test_mask(packed)
    order = np.random.default_rng(0).permutation(len(packed))
    doubled = np.concatenate([order, order[:20]])
    assert np.array_equal(local_test_mask(packed.select(doubled)), mask[doubled])
    same_everywhere = PackedDrawings.from_drawings([[[[i, 0], [0, i]]] for i in range(100)])
    assert np.flatnonzero(local_test_mask(same_everywhere)).tolist() == [6, 7, 12, 43, 48, 51, 60, 71, 82, 84]


# --- sources -----------------------------------------------------------------------------------------------------


def test_sources_are_tried_in_the_documented_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cat_file: Path
) -> None:
    named, environment, data = (tmp_path / name for name in ("named", "environment", "data"))
    for number, folder in enumerate((named, environment, data), start=1):
        folder.mkdir()
        written(folder / "cat.ndjson", *cat_file.read_bytes().splitlines(keepends=True)[: 20 * number])
    monkeypatch.setenv("QUICKDRAW_DIR", str(environment))
    options: dict[str, Any] = {"data_folder": data, "allow_download": False}
    found = load_category("kedi", data_dir=named, **options)
    assert (found.source, found.counts.drawings, found.category) == ("data-dir", 20, "cat")
    found = load_category("cat", **options)
    assert (found.source, found.counts.drawings) == ("environment", 40)
    monkeypatch.setenv("QUICKDRAW_DIR", "")
    found = load_category("cat", **options)
    assert (found.source, found.counts.drawings) == ("data", 60)
    assert str(data / "cat.ndjson") in found.describe()
    (data / "cat.ndjson").unlink()
    found = load_category("cat", **options)
    assert (found.source, found.path, found.split) == ("embedded", None, "local")
    assert len(found.train) + len(found.test) == dataset_utils.EMBEDDED_COUNT
    assert found.describe().startswith("cat from embedded drawings")
    assert "\n" not in found.describe()


def test_a_named_folder_without_the_category_is_an_error_not_a_fall_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "drawings"
    with pytest.raises(FileNotFoundError, match=r"drawings.*no such folder"):
        load_category("cat", data_dir=folder)
    folder.mkdir()
    with pytest.raises(FileNotFoundError, match=r"drawings.*holds no <category>\.ndjson"):
        load_category("cat", data_dir=folder)
    for path in (folder / "dog.ndjson", tmp_path / "secret.ndjson"):
        written(path, GOOD)
    for name in ("cat", "../secret", "", "dog.ndjson", str(folder / "dog"), "./dog", "*", "d\nog", "dog" * 100_000):
        with pytest.raises(FileNotFoundError, match=r"drawings: no .*Available: dog") as caught:
            load_category(name, data_dir=folder)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 600
    monkeypatch.setenv("QUICKDRAW_DIR", str(folder))
    with pytest.raises(FileNotFoundError, match=r"drawings: no 'cat\.ndjson' there.*Available: dog"):
        load_category("cat")
    monkeypatch.setenv("QUICKDRAW_DIR", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match=r"gone \(\$QUICKDRAW_DIR\): no such folder"):
        load_category("cat")
    with pytest.raises(FileNotFoundError, match="embedded drawings: unknown category 'dog'"):
        load_category("dog", data_dir="embedded")


def test_what_systems_put_beside_files_is_no_category(tmp_path: Path) -> None:
    for name in ("cat", "._cat", ".hidden", "~cat", "~$cat", "cat~", "cat (1)", "cat(1)", "cat copy", "cat copy 2",
                 "cat - Copy", "cat - Kopya", "cat kopyası", "Copy of cat", "The Eiffel Tower", "my cat"):  # fmt: skip
        written(tmp_path / f"{name}.ndjson", GOOD)
    (tmp_path / "sub.ndjson").mkdir()
    assert available_categories(tmp_path) == ["The Eiffel Tower", "cat", "my cat"]
    assert list(dataset_utils.main(["pack", "--data-dir", str(tmp_path), "--out", str(tmp_path / "packed")])) == [
        "The Eiffel Tower", "cat", "my cat"]  # fmt: skip
    for name in ("full_raw_dog", "full_simplified_dog", "full_raw_bus"):  # as gsutil and browsers call them
        written(tmp_path / f"{name}.ndjson", *[GOOD] * len(name))
    assert available_categories(tmp_path) == ["The Eiffel Tower", "bus", "cat", "dog", "my cat"]
    dog = load_category("dog", data_dir=tmp_path, cache_dir=tmp_path / "cache")
    assert (dog.category, dog.counts.drawings) == ("dog", len("full_simplified_dog"))
    folder = tmp_path / "çizimler [1]"
    folder.mkdir()
    written(folder / "cat.ndjson", *[GOOD] * 20, drawing_line([[1], [2]]))
    assert load_category("cat", data_dir=folder, cache_dir=folder).counts.drawings == 21


def test_a_file_without_a_drawing_is_an_error(tmp_path: Path) -> None:
    written(tmp_path / "cat.ndjson", {"drawing": []})
    with pytest.raises(ValueError, match=r"cat\.ndjson: no drawing to train on.*1 empty drawings"):
        load_category("cat", data_dir=tmp_path, cache_dir=tmp_path)
    written(tmp_path / "cat.ndjson", drawing_line([[1], [2]]))
    with pytest.raises(ValueError, match=r"no drawing to train on.*1 unknown recognition"):
        load_category("cat", data_dir=tmp_path, cache_dir=tmp_path, recognized_only=True)


# --- cache -------------------------------------------------------------------------------------------------------


@pytest.fixture
def cached(tmp_path: Path, cat_file: Path) -> dict[str, Any]:
    written(tmp_path / "cat.ndjson", *cat_file.read_bytes().splitlines(keepends=True)[:100])
    return {"data_dir": tmp_path, "cache_dir": tmp_path / "cache"}


def test_the_second_load_comes_from_the_cache(cached: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_category("cat", **cached)
    monkeypatch.setattr(dataset_utils, "read_ndjson", None)
    second = load_category("cat", **cached)
    assert equal(first.train, second.train)
    assert equal(first.test, second.test)
    assert first.counts == second.counts
    assert second.notes == ()


def test_a_stale_or_damaged_cache_is_rebuilt_and_the_reason_given(
    cached: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_category("cat", **cached)
    (cache,) = cached["cache_dir"].iterdir()
    for path in cache.iterdir():
        whole = path.read_bytes()
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
        again = load_category("cat", **cached)
        assert equal(first.train, again.train)
        assert again.notes[0].startswith(f"cache rebuilt: {cache}: no packed drawings that can be used (")
        assert load_category("cat", **cached).notes == ()
    source = cached["data_dir"] / "cat.ndjson"
    os.utime(source, (0, 0))
    assert load_category("cat", **cached).notes == ()
    source.write_bytes(source.read_bytes().replace(b"[[[", b"[[[1],[1]],[[", 1))
    assert load_category("cat", **cached).notes == ("cache rebuilt: another source",)
    monkeypatch.setattr("drawings.packed.PACKED_VERSION", 3)
    (note,) = load_category("cat", **cached).notes
    assert "(version 2, this program has 3)" in note


def test_a_cache_that_cannot_be_written_is_no_error(cached: dict[str, Any]) -> None:
    cached["cache_dir"].write_bytes(b"a file is in the way")
    assert "not cached" in load_category("cat", **cached).describe()
    cached["cache_dir"].unlink()
    load_category("cat", **cached)
    (cache,) = cached["cache_dir"].iterdir()
    shutil.rmtree(cache)
    written(cache, b"a user's file")
    assert "holds other things than packed drawings" in load_category("cat", **cached).describe()
    assert cache.read_bytes() == b"a user's file"


def test_validation_and_test_drawings_are_apart_where_there_are_no_test_pictures(tmp_path: Path) -> None:
    lines = b"".join(b'{"drawing":[[[%d,%d],[0,9]]]}\n' % (i, 255 - i) for i in range(256))
    for name in ("car", "bus"):
        written(tmp_path / f"{name}.ndjson", lines)
    car, bus = (load_category(name, data_dir=tmp_path, cache_dir=tmp_path / "cache") for name in ("car", "bus"))
    assert equal(bus.validation, bus.test)
    assert sorted([*car.validation.lines, *car.test.lines]) == bus.test.lines.tolist()
    assert abs(len(car.validation) - len(car.test)) <= 1


# --- official split ----------------------------------------------------------------------------------------------


def test_a_file_of_official_length_gets_the_official_split(tmp_path: Path) -> None:
    """Each line draws its own number; one that the split draws holds nothing to use."""
    indices, count = official_indices("cat"), OFFICIAL["cat"].num_drawings
    lines = [b'{"drawing":[[[%d,%d],[%d,0]]]}\n' % (i & 255, i >> 8 & 255, i >> 16) for i in range(count)]
    lines[indices["train"][0]] = b'{"drawing":[]}\n'
    (tmp_path / "cat.ndjson").write_bytes(b"".join(lines))
    options: dict[str, Any] = {"data_dir": tmp_path, "cache_dir": tmp_path / "cache"}
    found = load_category("cat", **options)
    wanted = [i for i in indices["train"] if i != indices["train"][0]]
    missing = len(indices["train"]) - len(wanted)
    assert (found.split, found.counts.empty_drawings) == ("official", 1)
    assert f"{missing} of 10000 train lines hold no drawing to use" in found.notes
    assert "other content" in found.describe()
    for side, expected in ((found.train, wanted), (found.test, indices["test"])):
        assert side.lines.tolist() == expected
        points = side.points.astype(np.int64).reshape(-1, 4)  # x0 y0 x1 y1
        assert (points[:, 0] + (points[:, 2] << 8) + (points[:, 1] << 16)).tolist() == expected
    assert len(found.validation) == dataset_utils.MOST_VALIDATION
    assert not set(found.validation.lines.tolist()) & {*indices["train"], *indices["test"]}
    strict = load_category("cat", split="leak-free", **options)
    assert equal(strict.train, found.train)
    assert strict.test.lines.tolist() == sorted(set(indices["test"]) - set(indices["train"]))
    assert len(list((tmp_path / "cache").iterdir())) == 1  # one cache serves every split


@pytest.mark.parametrize("split", ["official", "leak-free"])
def test_official_lines_of_another_file_are_an_error_that_explains_itself(cached: dict[str, Any], split: str) -> None:
    assert load_category("cat", **cached).split == "local"
    with pytest.raises(ValueError, match=rf"cat\.ndjson: --split {split} .*100 lines.*123,202.*--split local"):
        load_category("cat", split=split, **cached)
    with pytest.raises(ValueError, match=rf"embedded drawings: --split {split}"):
        load_category("cat", split=split, data_dir="embedded", cache_dir=cached["cache_dir"])
    with pytest.raises(ValueError, match="split is 'offical', must be one of"):
        load_category("cat", split="offical", **cached)


def test_a_console_that_lacks_a_letter_is_no_trouble() -> None:
    program = "from plumbing.command_line import run_script; run_script(lambda: print('çizimler/ş'))"
    command, environment = [sys.executable, "-c", program], os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=dataset_utils.PROJECT, capture_output=True, env=environment)
    assert (done.returncode, done.stdout.rstrip(), done.stderr) == (0, rb"\xe7izimler/\u015f", b"")
