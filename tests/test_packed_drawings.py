"""Laws of packed drawings: a folder is its ndjson file, whole or not there, neither copied nor held in memory."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import wait_until

import dataset_utils
from dataset_utils import LoadCounts, PackedDrawings, available_categories, load_category, read_ndjson, write_ndjson
from drawings import packed as packed_drawings
from drawings.embedded import embedded_drawings
from drawings.official import OFFICIAL
from drawings.packed import load_packed, local_sides

ROOT = Path(__file__).resolve().parent.parent
ARRAYS = ("points", "stroke_offsets", "drawing_offsets", "lines")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUICKDRAW_DIR", raising=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a folder of ndjson files, one of them of official length, and a folder of what they are packed into."""
    source, packed = (tmp_path_factory.mktemp(name) for name in ("ndjson", "packed"))
    write_ndjson(source / "rabbit.ndjson", embedded_drawings("rabbit", 100), word="rabbit")
    lines = (source / "rabbit.ndjson").read_bytes().splitlines(keepends=True)
    short = b'{"drawing":[[[0,9],[0,%d]]]}\n'
    (source / "cat.ndjson").write_bytes(b"".join(short % (i % 251) for i in range(OFFICIAL["cat"].num_drawings)))
    unusual = [b"\n", b'{"drawing":[]}\n', b'{"drawing":[[[1],[2]]],"recognized":true}\n']
    (source / "dog.ndjson").write_bytes(b"".join(lines[:50] + unusual + lines[50:]))
    pack("--data-dir", source, "--out", packed)
    return source, packed


def pack(*arguments: object) -> dict[str, LoadCounts]:
    return dataset_utils.main(["pack", *map(str, arguments)])


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def equal(left: PackedDrawings, right: PackedDrawings) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in ARRAYS)


@pytest.mark.parametrize(
    ("name", "split"), [("rabbit", "local"), ("dog", "auto"), ("cat", "local"), ("cat", "auto"), ("cat", "leak-free")]
)
def test_a_packed_folder_is_its_ndjson_file_drawing_by_drawing_and_split_by_split(
    folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory, name: str, split: str
) -> None:
    cache = tmp_path_factory.getbasetemp() / "one cache"
    source, packed = (load_category(name, data_dir=folder, split=split, cache_dir=cache) for folder in folders)
    assert equal(packed.train, source.train)
    assert equal(packed.test, source.test)
    facts = ("category", "source", "split", "identity", "notes", "counts")
    assert [getattr(packed, fact) for fact in facts] == [getattr(source, fact) for fact in facts]
    assert packed.path == folders[1] / f"{name}.packed"


def test_a_packed_folder_stands_alone_and_an_ndjson_file_of_its_name_goes_before_it(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(folders[1] / "dog.packed", tmp_path / "dog.packed")
    write_ndjson(tmp_path / "fox.ndjson", embedded_drawings("cat", 50), word="fox")
    assert available_categories(tmp_path) == ["dog", "fox"]
    assert load_category("dog", data_dir=tmp_path).counts.drawings == 101
    shutil.copy(tmp_path / "fox.ndjson", tmp_path / "dog.ndjson")
    assert load_category("dog", data_dir=tmp_path, cache_dir=tmp_path / "cache").counts.drawings == 50


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are listed by /proc")
def test_all_categories_of_the_dataset_stay_within_the_usual_limit_of_open_files(folders: tuple[Path, Path]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    held = [load_packed(folders[1] / "dog.packed") for _ in range(10)]
    assert (len(os.listdir("/proc/self/fd")) - before) / len(held) * 345 < 1024 - 256


def test_recognized_drawings_are_packed_apart(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dog\.packed: was packed with all drawings.*with --recognized-only"):
        load_category("dog", data_dir=folders[1], recognized_only=True)
    counts = pack("--data-dir", folders[0], "--out", tmp_path, "--categories", "dog", "--recognized-only")["dog"]
    assert (counts.drawings, counts.unrecognized) == (1, 100)
    assert load_packed(tmp_path / "dog.packed").counts == counts
    with pytest.raises(ValueError, match=r"dog\.packed: was packed with recognized drawings only.*without --recogn"):
        load_category("dog", data_dir=tmp_path)


def test_what_is_read_and_packed_changes_only_with_the_version(tmp_path: Path) -> None:
    """Who changes what comes out of a file raises PACKED_VERSION, so that no cache outlives it, and then this hash."""
    lines = [
        {"drawing": [[[0, 5, 9], [0, 255, 7]], [[3], [4]], [[], []]]},
        {"drawing": [[[0, 900, 905], [-40, 300, 1000], [0, 1, 2]]]},
        {"drawing": [[[1.0, 2.0], [3, 4]]], "recognized": True},
    ]
    path = tmp_path / "x.ndjson"
    path.write_text("\n".join(json.dumps(line) for line in lines * 20))
    packed, _ = read_ndjson(path)
    sides = local_sides(packed)
    digest = hashlib.sha256(b"".join(getattr(side, name).tobytes() for side in sides for name in ARRAYS)).hexdigest()
    assert (packed_drawings.PACKED_VERSION, digest[:16]) == (2, "4f9805fd85ca1527")


def test_a_damaged_folder_is_refused_in_one_line(folders: tuple[Path, Path], tmp_path: Path) -> None:
    whole = content_of(folders[1] / "rabbit.packed")
    folder = tmp_path / "rabbit.packed"
    offsets = np.load(folders[1] / "rabbit.packed" / "offsets.npy", allow_pickle=False)
    offsets[3] = offsets[2]
    np.save(tmp_path / "offsets.npy", offsets)
    for name, content, reason in (
        ("offsets.npy", (tmp_path / "offsets.npy").read_bytes(), "its content was changed"),
        ("offsets.npy", whole["points.npy"], "offsets.npy holds no int64"),
        ("points.npy", whole["points.npy"] + b"x", "points.npy has .* bytes, must have"),
        ("metadata.json", whole["metadata.json"].replace(b'"num_lines": 100', b'"num_lines": 99'), "was changed"),
    ):
        shutil.copytree(folders[1] / "rabbit.packed", folder, dirs_exist_ok=True)
        (folder / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"rabbit\.packed: no packed drawings .*\(.*{reason}"):
            load_category("rabbit", data_dir=tmp_path)


def test_only_what_is_missing_damaged_or_of_another_source_or_version_is_packed(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, folder = tmp_path / "dog.ndjson", tmp_path / "dog.packed"
    shutil.copy(folders[0] / "dog.ndjson", source)

    def packed_now() -> bool:
        return dataset_utils.pack_category(source, folder, False)[1]

    assert [packed_now(), packed_now()] == [True, False]
    whole = content_of(folder)
    (folder / "offsets.npy").write_bytes(b"")
    assert [packed_now(), packed_now()] == [True, False]
    assert content_of(folder) == whole == content_of(folders[1] / "dog.packed")
    with monkeypatch.context() as changed:
        changed.setattr(packed_drawings, "PACKED_VERSION", 3)
        assert [packed_now(), packed_now()] == [True, False]
    assert [packed_now(), packed_now()] == [True, False]
    with source.open("ab") as file:
        file.write(b'{"drawing":[[[1],[2]]]}\n')
    assert [packed_now(), packed_now()] == [True, False]
    (folder / "notes.txt").write_text("a user's")
    with source.open("ab") as file:
        file.write(b'{"drawing":[[[1],[2]]]}\n')
    with pytest.raises(ValueError, match=r"dog\.packed: is there already and holds other things.*move it away"):
        packed_now()
    assert (folder / "notes.txt").exists()


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_packing_leaves_nothing_half_written_and_the_next_call_goes_on(
    folders: tuple[Path, Path], tmp_path: Path, kind: signal.Signals, long_form: bool
) -> None:
    if kind == signal.SIGINT and not long_form:
        pytest.skip("one kill is enough: make test-long")
    source, out = tmp_path / "ndjson", tmp_path / "packed"
    source.mkdir()
    lines = (folders[0] / "rabbit.ndjson").read_bytes()
    for number in range(8):
        (source / f"kind {number}.ndjson").write_bytes(lines * 60)
    arguments = ["pack", "--data-dir", str(source), "--out", str(out)]
    program = (  # SIGINT may be ignored where the tests were started
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys, runpy; sys.argv[0] = 'dataset_utils.py'; runpy.run_path('dataset_utils.py', run_name='__main__')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        wait_until(lambda: len(list(out.glob("*.packed"))) >= 2, process)
        process.send_signal(kind)
        _, told = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130}[kind]
    if kind != signal.SIGKILL:
        assert told.splitlines()[-1] == "dataset_utils.py: interrupted"
        assert [path.suffix for path in out.iterdir()] == [".packed"] * len(list(out.iterdir()))
    there = {path: path.stat().st_mtime_ns for path in out.glob("*.packed")}
    assert len(there) >= 2
    assert all(load_packed(path, whole=True).counts.drawings == 6_000 for path in there)
    pack(*arguments[1:])
    assert {path: path.stat().st_mtime_ns for path in there} == there
    assert sorted(path.name for path in out.iterdir()) == sorted(f"kind {number}.packed" for number in range(8))
    assert len({path.read_bytes() for path in out.glob("*/points.npy")}) == 1
