"""Laws of shards: a shard is its ndjson file, whole or not there, and is neither copied nor held in memory."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pack_drawings
import pytest
from conftest import wait_until

import dataset_utils
from dataset_utils import PackedDrawings, available_categories, load_category, read_shard, write_ndjson, write_shard
from drawings.embedded import embedded_drawings
from drawings.official import OFFICIAL
from drawings.packed import ARRAYS, load_packed, save_packed

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUICKDRAW_DIR", raising=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a folder of ndjson files, one of them of official length, and a folder of their shards."""
    source, packed = (tmp_path_factory.mktemp(name) for name in ("ndjson", "packed"))
    write_ndjson(source / "rabbit.ndjson", embedded_drawings("rabbit", 300), word="rabbit")
    lines = (source / "rabbit.ndjson").read_bytes().splitlines(keepends=True)
    short = sorted(lines, key=len)[:97]
    rounds, rest = divmod(OFFICIAL["cat"].num_drawings, len(short))
    (source / "cat.ndjson").write_bytes(b"".join(short * rounds + short[:rest]))
    unusual = [b"\n", b'{"drawing":[]}\n', b'{"drawing":[[[1],[2]]],"recognized":true}\n']
    (source / "dog.ndjson").write_bytes(b"".join(lines[:50] + unusual + lines[50:100]))
    pack_drawings.main(["--data-dir", str(source), "--out", str(packed)])
    return source, packed


def equal(left: PackedDrawings, right: PackedDrawings) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in ARRAYS)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("rabbit", "local"),
        ("dog", "auto"),
        ("cat", "local"),
        ("cat", "auto"),
        ("cat", "official"),
        ("cat", "leak-free"),
    ],
)
def test_a_shard_is_its_ndjson_file_drawing_by_drawing_and_split_by_split(
    folders: tuple[Path, Path], tmp_path: Path, name: str, split: str
) -> None:
    source, packed = (load_category(name, data_dir=folder, split=split, cache_dir=tmp_path) for folder in folders)
    assert equal(packed.train, source.train)
    assert equal(packed.test, source.test)
    facts = ("category", "source", "split", "identity", "notes")
    assert [getattr(packed, fact) for fact in facts] == [getattr(source, fact) for fact in facts]
    assert packed.path == folders[1] / f"{name}.npz"
    if packed.split == "local":  # for the others only the lines that are drawn were read
        assert packed.counts == source.counts


def test_a_shard_stands_alone_and_an_ndjson_file_of_its_name_goes_before_it(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "dog.npz").write_bytes((folders[1] / "dog.npz").read_bytes())
    write_ndjson(tmp_path / "fox.ndjson", embedded_drawings("cat", 50), word="fox")
    assert available_categories(tmp_path) == ["dog", "fox"]
    assert load_category("dog", data_dir=tmp_path).counts.drawings == 101
    (tmp_path / "dog.ndjson").write_bytes((tmp_path / "fox.ndjson").read_bytes())
    assert load_category("dog", data_dir=tmp_path, cache_dir=tmp_path / "cache").counts.drawings == 50


def test_a_shard_is_mapped_and_not_copied(folders: tuple[Path, Path]) -> None:
    data = load_category("rabbit", data_dir=folders[1])
    for packed in (data.train, data.test):
        for name in ARRAYS:
            array = getattr(packed, name)
            while isinstance(array.base, np.ndarray):
                array = array.base
            assert type(array) is np.memmap


def test_recognized_drawings_have_shards_of_their_own(folders: tuple[Path, Path], tmp_path: Path) -> None:
    shard = folders[1] / "dog.npz"
    with pytest.raises(ValueError, match=r"dog\.npz: was packed with all drawings.*with --recognized-only"):
        load_category("dog", data_dir=folders[1], recognized_only=True)
    command = ["--data-dir", str(folders[0]), "--out", str(tmp_path), "--categories", "dog", "--recognized-only"]
    counts = pack_drawings.main(command)["dog"]
    assert (counts.drawings, counts.unrecognized) == (1, 100)
    assert load_category("dog", data_dir=tmp_path, recognized_only=True).counts == counts
    with pytest.raises(ValueError, match=r"dog\.npz: was packed with recognized drawings only.*without --recognized"):
        load_category("dog", data_dir=tmp_path)
    assert read_shard(shard).counts.drawings == 101


def test_a_damaged_shard_is_refused_in_one_line(folders: tuple[Path, Path], tmp_path: Path) -> None:
    whole = (folders[1] / "rabbit.npz").read_bytes()
    sides, conditions = load_packed(folders[1] / "rabbit.npz")
    path = tmp_path / "rabbit.npz"
    at = whole.index(sides[0].stroke_offsets[:9].tobytes()) + 8
    facts = json.loads(conditions)
    files = [whole[:-100], whole[:5000], b"", whole[:at] + b"\xff" + whole[at + 1 :]]
    wrong: list[Any] = [{"counts": {"drawings": 3}}, {"num_lines": "many"}, {"source": 5}]
    for changed in [{}, [], *({**facts, **part} for part in wrong)]:
        with path.open("wb") as file:
            save_packed(file, sides, json.dumps(changed))
        files.append(path.read_bytes())
    with path.open("wb") as file:  # as a cache of the official split is
        save_packed(file, sides[:1], conditions)
    files.append(path.read_bytes())
    for content in files:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"rabbit\.npz: (damaged|no shard of drawings) \(") as caught:
            load_category("rabbit", data_dir=tmp_path)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500


def test_only_what_is_missing_damaged_or_of_another_source_or_code_is_packed(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tmp_path / "ndjson", tmp_path / "packed"
    source.mkdir()
    for name in ("dog", "rabbit"):
        (source / f"{name}.ndjson").write_bytes((folders[0] / f"{name}.ndjson").read_bytes())

    def packed_now() -> int:
        capsys.readouterr()
        pack_drawings.main(["--data-dir", str(source), "--out", str(out)])
        told = capsys.readouterr().out
        assert "1 blank lines, 1 empty drawings" in told
        return int(told.split()[1])

    assert [packed_now(), packed_now()] == [2, 0]
    whole = (out / "dog.npz").read_bytes()
    (out / "dog.npz").write_bytes(whole[:-100])
    assert packed_now() == 1
    assert (out / "dog.npz").read_bytes() == whole
    with (source / "rabbit.ndjson").open("ab") as file:
        file.write(b'{"drawing":[[[1],[2]]]}\n')
    assert packed_now() == 1
    write_shard(out / "dog.npz", source / "rabbit.ndjson")
    assert packed_now() == 1
    with monkeypatch.context() as changed:
        changed.setattr(dataset_utils, "_code_identity", lambda: "other code")
        write_shard(out / "dog.npz", source / "dog.ndjson")
    assert load_category("dog", data_dir=out).notes == ("packed by other code",)
    assert packed_now() == 1
    assert (out / "dog.npz").read_bytes() == whole


def test_packing_in_two_processes_equals_packing_in_one(folders: tuple[Path, Path], tmp_path: Path) -> None:
    pack_drawings.main(["--data-dir", str(folders[0]), "--out", str(tmp_path), "--processes", "2"])
    for path in folders[1].iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_interrupted_packing_leaves_nothing_half_written_and_the_next_call_goes_on(
    folders: tuple[Path, Path], tmp_path: Path, kind: signal.Signals
) -> None:
    source, out = tmp_path / "ndjson", tmp_path / "packed"
    source.mkdir()
    lines = (folders[0] / "rabbit.ndjson").read_bytes()
    for number in range(12):
        (source / f"kind {number}.ndjson").write_bytes(lines * 40)
    arguments = ["--data-dir", str(source), "--out", str(out), "--processes", "2"]
    process = subprocess.Popen(
        [sys.executable, "pack_drawings.py", *arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_until(lambda: len(list(out.glob("*.npz"))) >= 2, process)
    process.send_signal(kind)
    _, told = process.communicate(timeout=60)  # the others hold the pipes as well: when they are closed all have ended
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[kind]
    if kind != signal.SIGKILL:
        assert told.splitlines()[-1] in ("pack_drawings.py: interrupted", "pack_drawings.py: terminated")
        assert [path.suffix for path in out.iterdir()] == [".npz"] * len(list(out.iterdir()))
    there = {path: path.stat().st_mtime_ns for path in out.glob("*.npz")}
    assert 2 <= len(there) < 12
    assert all(read_shard(path).counts.drawings == 12_000 for path in there)
    pack_drawings.main(arguments)
    assert {path: path.stat().st_mtime_ns for path in there} == there
    assert sorted(path.name for path in out.iterdir()) == sorted(f"kind {number}.npz" for number in range(12))
    assert len({path.read_bytes() for path in out.iterdir()}) == 1


def test_what_cannot_be_packed_is_said_in_one_line(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "bad.ndjson").write_bytes(b'{"drawing":[[[1],[2]]]}\n<html>\n')
    (tmp_path / "only.npz").write_bytes((folders[1] / "dog.npz").read_bytes())
    for arguments, reason in (
        (["--data-dir", str(tmp_path), "--categories", "bad"], f"{tmp_path}/bad.ndjson:2: HTML or XML"),
        (["--data-dir", str(tmp_path), "--categories", "only"], f"{tmp_path}/only.ndjson: no such file"),
        (["--data-dir", str(tmp_path), "--categories", "cow"], f"{tmp_path}: unknown category 'cow'"),
        (["--data-dir", str(tmp_path / "none")], f"{tmp_path}/none (the data folder that was asked for): no such"),
        (["--data-dir", str(tmp_path), "--processes", "0"], "--processes is 0, must lie in 1 ... 1024"),
    ):
        done = subprocess.run([sys.executable, "pack_drawings.py", *arguments, "--out", str(tmp_path / "out")],
                              cwd=ROOT, capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith(f"pack_drawings.py: error: {reason}"), done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not list((tmp_path / "out").glob("*.npz"))


# --- memory ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a shard of 10^6 drawings, a few repeated."""
    folder = tmp_path_factory.mktemp("million")
    few = PackedDrawings.from_drawings(embedded_drawings("cat", 200))

    def tiled(count: int) -> PackedDrawings:
        strokes, drawings = (np.tile(np.diff(offsets), count) for offsets in (few.stroke_offsets, few.drawing_offsets))
        ends = (np.concatenate([[0], np.cumsum(lengths)]) for lengths in (strokes, drawings))
        return PackedDrawings(np.tile(few.points, (count, 1)), *ends, np.arange(200 * count))

    facts = {"source": "0" * 40, "num_lines": 10**6, "recognized_only": False, "code": dataset_utils._code_identity(),
             "counts": dataclasses.asdict(dataset_utils.LoadCounts(drawings=10**6))}  # fmt: skip
    with (folder / "cat.npz").open("wb") as file:
        save_packed(file, [tiled(4250), tiled(750)], json.dumps(facts))
    return folder


WATCHED = """
import sys, tracemalloc
import numpy as np, torch
from dataset_utils import load_category
from drawings.batches import batches_of_round, category_weights, stroke_set

def anonymous():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("RssAnon")]
    return int(line.split()[1]) / 1024

def batches(data, count):
    weights = category_weights(data, [0], 0.0, 0.5)
    for indices in batches_of_round(data, weights, 2048, 0, 0)[:count]:
        data.batch(indices)

few = load_category("cat", data_dir="embedded", cache_dir=sys.argv[2]).train
batches(stroke_set([few], [0], 32, 24), 3)
before = anonymous()
tracemalloc.start()
data = stroke_set([load_category("cat", data_dir=sys.argv[1]).train], [0], 32, 24)
loading = tracemalloc.get_traced_memory()[1] / 2**20
tracemalloc.stop()
batches(data, 40)
assert len(data) > 800_000
print(loading, anonymous() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory that is no file's is told by /proc")
def test_training_from_a_shard_of_a_million_drawings_takes_little_memory(million: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WATCHED, str(million), str(tmp_path)], cwd=ROOT, text=True,
                          capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    loading, growth = map(float, done.stdout.split())
    size = (million / "cat.npz").stat().st_size / 2**20
    # 4 bytes for each drawing's number, and 8 for a while to count its strokes; the shard has some 110 a drawing
    assert loading < 40 < size / 2
    assert growth < 40
