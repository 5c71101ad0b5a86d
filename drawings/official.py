"""The official Quick, Draw! files and the official splits of cat, bus and rabbit: facts, checks, download.

Data: the Quick, Draw! dataset, (c) Google, CC BY 4.0, https://github.com/googlecreativelab/quickdraw-dataset.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from plumbing.files import atomic_file, remove_leftovers, write_atomically

BASE_URL = "https://storage.googleapis.com/quickdraw_dataset/full/simplified"
NUM_TRAIN, NUM_TEST = 10_000, 2_000
ATTEMPTS = 3
CONNECT_SECONDS, READ_SECONDS = 3, 10
ABANDONED_SECONDS = 3_600  # after which what a killed process left half-written is nobody's
SPLITS_COMMAND = "python dataset_utils.py splits"
REMEDY = f"remove it, then `{SPLITS_COMMAND}` writes the official one"


@dataclass(frozen=True)
class OfficialCategory:
    """What is known of one official file and of its split; blob ids are git's (`git hash-object FILE`)."""

    num_drawings: int
    split_seed: int
    data_blob: str
    split_blob: str


OFFICIAL = {
    "cat": OfficialCategory(
        123202, 0, "3abbe8b46581dcc514355513bf55b173f53b40c9", "1592c0cf393a9cfeb4db42bf53b704ba3bf3948e"
    ),
    "bus": OfficialCategory(
        166208, 1, "38e034ae019440c16f5f8904c552e1f2638349fb", "7e73602da0667428932e1656e7d97071f4566a7e"
    ),
    "rabbit": OfficialCategory(
        155288, 2, "9605cfbb415b135b4eb4103545eecdc34f40db42", "4df25f3aeadeef4f5d34c8948bbc61db57d00c61"
    ),
}


def git_blob_id(content: bytes) -> str:
    """Return the 40 hex digits by which git names `content`."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def file_identity(path: Path) -> tuple[str, int]:
    """Return the git blob id of a file and its number of lines, in one pass over its bytes."""
    with path.open("rb") as file:
        return _identity(file)


def _identity(file: IO[bytes]) -> tuple[str, int]:
    digest = hashlib.sha1(b"blob %d\0" % file.seek(0, os.SEEK_END), usedforsecurity=False)
    file.seek(0)
    num_lines, block = 0, b"\n"
    while chunk := file.read(1 << 20):
        block = chunk
        digest.update(block)
        num_lines += block.count(b"\n")
    return digest.hexdigest(), num_lines + (not block.endswith(b"\n"))


def official_indices(category: str) -> dict[str, list[int]]:
    """Return the official split: 10,000 train and 2,000 test line numbers, drawn with replacement from 0..N-1.

    The legacy numpy stream is part of the protocol, which drew from 0..N inclusive: one line too many. None of the
    three seeds hits N, so nothing is lost; a seed that did would be refused here.
    """
    facts = OFFICIAL[category]
    drawn = np.random.RandomState(facts.split_seed).randint(0, facts.num_drawings + 1, size=NUM_TRAIN + NUM_TEST)
    if drawn.max() >= facts.num_drawings:
        raise ValueError(f"official split of {category}: draws line {drawn.max()} of {facts.num_drawings}")
    return {"train": drawn[:NUM_TRAIN].tolist(), "test": drawn[NUM_TRAIN:].tolist()}


def leak_free_test(indices: dict[str, list[int]]) -> list[int]:
    """Return the test lines that are not in train, each once, in ascending order."""
    return sorted(set(indices["test"]) - set(indices["train"]))


def read_split(folder: Path, category: str, *, leak_free: bool = False) -> dict[str, list[int]]:
    """Return {"train": [...], "test": [...]} from the official split file of `category` under `folder`.

    Of the `leak_free` one the test lines are those that are not in train. Raises ValueError where the file is not, byte
    by byte, the official one.
    """
    path = folder / category / "indices.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such split file; `{SPLITS_COMMAND}` writes it")
    content = path.read_bytes()
    if git_blob_id(content) != (blob := OFFICIAL[category].split_blob):
        raise ValueError(f"{path}: not the official split (its git blob id must be {blob}); {REMEDY}")
    indices: dict[str, list[int]] = json.loads(content)
    return {**indices, "test": leak_free_test(indices)} if leak_free else indices


def write_split(folder: Path, category: str, *, check: bool = False) -> dict[str, int]:
    """Write or only `check` the split files of a category under `folder`, and return the sizes of its lists.

    `indices.json` is made from a seed and the number of lines of the official file, and held against its known git
    blob id, so it is the very file of the assignment. It draws with replacement: lines repeat, and some test drawings
    are also train drawings. `indices_leak_free.json` lists, each once and in ascending order, the test lines that are
    not. Raises ValueError for another file in its place, which is never replaced.
    """
    facts, indices = OFFICIAL[category], official_indices(category)
    leak_free, official = leak_free_test(indices), json.dumps(indices).encode()
    if git_blob_id(official) != facts.split_blob:
        raise RuntimeError(f"{category}: numpy drew git blob {git_blob_id(official)}, must be {facts.split_blob}")
    files = {"indices.json": official, "indices_leak_free.json": json.dumps({"test": leak_free}).encode()}
    for name, content in files.items():
        path = folder / category / name
        if path.exists() and path.read_bytes() != content:
            raise ValueError(f"{path}: not the official split; {REMEDY}")
        if check and not path.exists():
            raise ValueError(f"{path}: missing; `{SPLITS_COMMAND}` writes it")
        if not check:
            write_atomically(path, content)
    return {
        "train": len(indices["train"]),
        "train_unique": len(set(indices["train"])),
        "test": len(indices["test"]),
        "test_unique": len(set(indices["test"])),
        "test_leak_free": len(leak_free),
    }


def download_category(category: str, folder: Path, *, base_url: str = BASE_URL) -> Path:
    """Download the official file of cat, bus or rabbit (70 to 100 MB) and return its path, `folder/<category>.ndjson`.

    The file takes its place only after its git blob id was found right; an interrupted download begins anew. Raises
    ConnectionError, one line with URL, reason, folder and what runs without, and OSError where it cannot be written.
    """
    import pooch  # here, because whoever downloads nothing need not wait for them
    import requests

    target = folder / f"{category}.ndjson"
    url = f"{base_url}/{category}.ndjson"
    without = (
        f"nothing came to {target}; without it run --data-dir FOLDER (with {category}.ndjson in it), "
        "--data-dir embedded (drawings made by a program) and `make run` (the shipped models)"
    )
    remove_leftovers(folder, older_than=ABANDONED_SECONDS)
    fetch = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(), chunk_size=1 << 16, timeout=(CONNECT_SECONDS, READ_SECONDS)
    )
    attempt, reason = 0, ""
    while attempt < ATTEMPTS:
        attempt += 1
        try:
            with atomic_file(target) as file:
                fetch(url, file, None)
                _require_official(file, category)
            return target
        except requests.ConnectionError as error:  # whoever does not answer is not asked again
            reason = f"no connection ({type(error).__name__})"
            break
        except requests.HTTPError as error:
            reason = str(error).partition(" for url")[0]
        except requests.RequestException as error:
            reason = f"interrupted ({type(error).__name__})"
        except ValueError as error:  # also from a header that is none
            reason = str(error)
    raise ConnectionError(f"{url}: {reason}; gave up after attempt {attempt}, {without}")


def _require_official(file: IO[bytes], category: str) -> None:
    """Raise ValueError where a downloaded file is not the category's."""
    expected, (blob, _) = OFFICIAL[category].data_blob, _identity(file)
    if blob != expected:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if file.read(1000).lstrip().startswith(b"<"):
            raise ValueError("sent a web page instead of drawings (does the network want you to log in?)")
        raise ValueError(f"sent {size:,} bytes with git blob id {blob}, must be {expected}")
