"""Laws of the official split: it is the very file of the assignment, and the leak-free list does not leak."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import make_splits
import numpy as np
import pytest

from drawings.official import OFFICIAL, git_blob_id, official_indices

PROJECT = Path(__file__).resolve().parent.parent
CATEGORIES = ("cat", "bus", "rabbit")


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_shipped_split_is_the_official_one(category: str) -> None:
    content = (PROJECT / "subset" / category / "indices.json").read_bytes()
    assert git_blob_id(content) == OFFICIAL[category].split_blob
    assert json.loads(content) == official_indices(category)


@pytest.mark.parametrize(
    ("category", "train", "test"), [("cat", 9598, 1984), ("bus", 9717, 1987), ("rabbit", 9675, 1981)]
)
def test_it_draws_with_replacement_and_never_hits_the_line_after_the_last(category: str, train: int, test: int) -> None:
    indices = official_indices(category)
    assert (len(indices["train"]), len(indices["test"])) == (10_000, 2_000)
    assert (len(set(indices["train"])), len(set(indices["test"]))) == (train, test)
    assert max(indices["train"] + indices["test"]) < OFFICIAL[category].num_drawings


def test_a_seed_that_hit_the_line_after_the_last_would_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unlucky:
        def __init__(self, seed: int) -> None:
            pass

        def randint(self, low: int, high: int, size: int) -> np.ndarray:
            return np.full(size, high - 1)

    monkeypatch.setattr("drawings.official.np.random.RandomState", Unlucky)
    with pytest.raises(ValueError, match="official split of cat: draws line 123202 of 123202"):
        official_indices("cat")


@pytest.mark.parametrize(("category", "count"), [("cat", 1818), ("bus", 1878), ("rabbit", 1847)])
def test_the_leak_free_list_is_the_test_lines_outside_train_each_once(category: str, count: int) -> None:
    indices = official_indices(category)
    leak_free = json.loads((PROJECT / "subset" / category / "indices_leak_free.json").read_bytes())
    assert list(leak_free) == ["test"]
    assert len(leak_free["test"]) == count
    assert leak_free["test"] == sorted(set(leak_free["test"]))
    assert set(leak_free["test"]) == set(indices["test"]) - set(indices["train"])


def test_the_script_writes_what_is_shipped_and_checks_it(tmp_path: Path) -> None:
    sizes = make_splits.main(["--out", str(tmp_path)])
    assert sizes["cat"] == {
        "train": 10_000, "train_unique": 9_598, "test": 2_000, "test_unique": 1_984, "test_leak_free": 1_818,
    }  # fmt: skip
    for category in CATEGORIES:
        for name in ("indices.json", "indices_leak_free.json"):
            assert (tmp_path / category / name).read_bytes() == (PROJECT / "subset" / category / name).read_bytes()
    make_splits.main(["--out", str(tmp_path), "--check"])
    make_splits.main(["--check"])
    changed = tmp_path / "bus" / "indices_leak_free.json"
    changed.write_bytes(changed.read_bytes().replace(b"1", b"2", 1))
    with pytest.raises(ValueError, match=r"indices_leak_free\.json: missing or not the official split"):
        make_splits.main(["--out", str(tmp_path), "--check"])


def test_a_failed_check_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "QUICKDRAW_DIR"}
    command = [sys.executable, str(PROJECT / "make_splits.py"), "--check", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "indices.json" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
