"""The check of drawings as a command: verdicts, the cleaned file, and what it refuses; and sampling that rejects."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pytest
from conftest import DATA_DIR, Answer

import check_drawings
import oddity.check
import sample_diffusion
from config import RunFailed
from dataset_utils import load_category, read_ndjson, write_ndjson
from drawings.packed import PackedDrawings
from oddity.check import Checker, article, ordinal


@pytest.fixture
def mixed(cats: PackedDrawings, tmp_path: Path) -> Path:
    """Twelve cats, three buses that say they are cats, and a scrawl."""
    buses = load_category("bus", data_dir=DATA_DIR, cache_dir=tmp_path / "cache").train
    rng = np.random.default_rng(0)
    scrawl = [rng.integers(0, 256, (60, 2)).astype(np.uint8) for _ in range(3)]
    path = tmp_path / "mixed.ndjson"
    write_ndjson(path, [*cats.select(range(12)), *buses.select(range(3)), scrawl], word="cat")
    return path


def test_what_is_no_cat_is_found_told_and_left_out_of_the_cleaned_file(mixed: Path, tmp_path: Path) -> None:
    out, keep = tmp_path / "out", tmp_path / "clean.ndjson"
    verdicts = check_drawings.main(["--category", "kedi", str(mixed), "--out", str(out), "--keep", str(keep)])
    odd = [number for number, verdict in enumerate(verdicts) if verdict.is_odd]
    assert set(odd) >= {12, 13, 14, 15}
    assert len(odd) <= 8
    assert all(verdict.reason for verdict in verdicts if verdict.verdict != "fine")
    lines = mixed.read_bytes().splitlines()
    kept = [orjson.loads(line) for line in keep.read_bytes().splitlines()]
    assert kept == [orjson.loads(line) for number, line in enumerate(lines) if number not in odd]
    rows = list(csv.DictReader((out / "verdicts.csv").open()))
    assert [row["verdict"] for row in rows] == [verdict.verdict for verdict in verdicts]
    assert {path.name for path in out.iterdir()} >= {"oddest.png", "borderline.png", "histogram.png"}
    before = (out / "verdicts.csv").read_bytes()
    check_drawings.main(["--category", "cat", str(mixed), "--out", str(out)])  # its own files are replaced
    assert (out / "verdicts.csv").read_bytes() == before


def test_more_false_alarms_call_more_odd_and_one_drawing_is_enough(mixed: Path, tmp_path: Path) -> None:
    drawings = list(read_ndjson(mixed)[0])
    strict, lenient = Checker("cat", false_alarms=0.3).odd(drawings), Checker("cat", false_alarms=0.01).odd(drawings)
    assert (strict | ~lenient).all()
    (one,) = Checker("cat").check(drawings[-1:])
    assert one.verdict == "odd"
    assert Checker("cat").check([]) == []


BAD = [
    (["--category", "cat", "EMPTY"], "holds no drawing to check"),
    (["--category", "zebu", "GOOD"], "unknown category 'zebu'"),
    (["--category", "cat", "MISSING"], "no such file"),
    (["--category", "cat", "GOOD", "--keep", "GOOD"], "is what was given to read"),
    (["--category", "cat", "GOOD", "--out", "FOREIGN"], "was not written by this script"),
    (["--category", "cat", "GOOD", "--false-alarms", "0.9"], "must lie in 0.001 ... 0.3"),
    (["--category", "cat", "GOOD", "--score", "neighbours", "--data-dir", "embedded"], "none are at hand"),
]


@pytest.mark.parametrize(("words", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_bad_input_is_one_line_and_nothing_is_written(
    words: list[str], reason: str, mixed: Path, tmp_path: Path, answer: Callable[..., Answer]
) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "oddest.png").write_text("somebody's")
    (tmp_path / "empty.ndjson").touch()
    places = {"EMPTY": tmp_path / "empty.ndjson", "GOOD": mixed, "MISSING": tmp_path / "nothing", "FOREIGN": foreign}
    before = mixed.read_bytes()
    asked = [places.get(word, word) for word in words]
    said = answer("check_drawings", *asked, *([] if "--out" in words else ["--out", tmp_path / "out"]))
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert reason in said.err
    assert mixed.read_bytes() == before
    assert (foreign / "oddest.png").read_text() == "somebody's"
    assert not list(tmp_path.rglob("verdicts.csv"))


def test_sampling_leaves_out_what_is_odd_and_says_how_many(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--category", "cat", "--checkpoint", str(tiny_weights), "--n", "6", "--steps", "2", "--out"]
    whole = sample_diffusion.main([*command, str(tmp_path / "whole")]).drawings
    monkeypatch.setattr(Checker, "odd", lambda self, drawings: np.arange(len(drawings)) % 3 == 1)
    sampled = sample_diffusion.main([*command, str(tmp_path / "some"), "--reject-odd", "0.05"])
    assert "2 were left out as odd" in capsys.readouterr().out
    wanted = [drawing for number, drawing in enumerate(whole) if number % 3 != 1]
    assert len(sampled.drawings) == 4
    assert all(np.array_equal(a, b) for one, two in zip(sampled.drawings, wanted, strict=True)
               for a, b in zip(one, two, strict=True))  # fmt: skip
    monkeypatch.setattr(Checker, "odd", lambda self, drawings: np.ones(len(drawings), bool))
    with pytest.raises(RunFailed, match="all 6 drawings are odd for cat"):
        sample_diffusion.main([*command, str(tmp_path / "none"), "--reject-odd", "0.05"])
    with pytest.raises(ValueError, match="do not go together"):
        sample_diffusion.main([*command, str(tmp_path / "none"), "--reject-odd", "0.05", "--prefix", "x.ndjson"])
    assert not (tmp_path / "none" / "drawings.ndjson").exists()


def test_reasons_are_english() -> None:
    assert [ordinal(number) for number in (0, 2, 10, 20, 110)] == ["first", "third", "11th", "21st", "111th"]
    names = ("dog", "ant", "The Eiffel Tower", "eyeglasses", "bus", "compass")
    assert [article(name) for name in names] == [
        "a dog", "an ant", "The Eiffel Tower", "eyeglasses", "a bus", "a compass",
    ]  # fmt: skip
    assert oddity.check.BORDER > 1
