"""The official Quick, Draw! files and the official splits of cat, bus and rabbit: facts, checks, download.

Data: the Quick, Draw! dataset, (c) Google, CC BY 4.0, https://github.com/googlecreativelab/quickdraw-dataset.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import numpy as np
import orjson

BASE_URL = "https://storage.googleapis.com/quickdraw_dataset/full/simplified"
NUM_TRAIN, NUM_TEST = 10_000, 2_000
CONNECT_SECONDS, READ_SECONDS = 3, 10
CHUNK_BYTES = 1 << 14
GIVE_UP_SECONDS = 6  # bounds a name server that never answers, which no socket timeout covers
SILENT_SECONDS = 60  # as long a host that gave no answer is not asked again: three categories wait once
LOWEST_SPEED, SLOW_SECONDS = 1_000, 30  # bytes a second on average over so many: a slower download gives up
MAX_FILE_BYTES = 1 << 29  # of one category, five times the largest of the three
MAX_SPLIT_BYTES = 1 << 20  # ten times an official split file


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
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    num_lines, block = 0, b"\n"
    with path.open("rb") as file:
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
    """Return {"train": [...], "test": [...]} from the official split files of `category` under `folder`.

    Raises ValueError naming file, value and limit for anything that is not exactly the official split: what is
    wrong with the indices where that can be said, else that the blob id differs.
    """
    facts = OFFICIAL[category]
    path = folder / category / "indices.json"
    content = _split_bytes(path)
    indices = _checked_indices(path, content, ("train", "test"), facts.num_drawings)
    if git_blob_id(content) != facts.split_blob:
        leaked = len(set(indices["train"]) & set(indices["test"]))
        raise ValueError(
            f"{path}: not the official split (git blob id {git_blob_id(content)}, must be {facts.split_blob}; "
            f"{leaked} of its test lines are also in train); `python make_splits.py` writes it"
        )
    if leak_free:
        path = path.with_name("indices_leak_free.json")
        indices["test"] = _checked_indices(path, _split_bytes(path), ("test",), facts.num_drawings)["test"]
        if indices["test"] != (expected := leak_free_test(official_indices(category))):
            raise ValueError(
                f"{path}: {len(indices['test'])} lines that are not the {len(expected)} official test lines "
                "outside train; `python make_splits.py` writes them"
            )
    return indices


def _split_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such split file; `python make_splits.py` writes it")
    size = path.stat().st_size
    if size > MAX_SPLIT_BYTES:
        raise ValueError(
            f"{path}: has {size:,} bytes, a split file has at most {MAX_SPLIT_BYTES:,}; "
            "`python make_splits.py` writes it"
        )
    return path.read_bytes()


def shown(value: object) -> str:
    """Return a value of a JSON file in at most 40 characters of one line, of lists and objects only the kind."""
    return f"a {type(value).__name__}" if isinstance(value, (list, dict)) else f"{value!r:.40}"


def _checked_indices(path: Path, content: bytes, keys: tuple[str, ...], num_drawings: int) -> dict[str, list[int]]:
    try:
        indices: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    for key in keys:
        if not isinstance(indices, dict) or not isinstance(indices.get(key), list):
            raise ValueError(f"{path}: has no list under the key '{key}'")
        for index in indices[key]:
            if type(index) is not int or not 0 <= index < num_drawings:
                limit = f"must be a whole number in 0..{num_drawings - 1}"
                raise ValueError(f"{path}: '{key}' holds {shown(index)}, {limit}")
    return {key: indices[key] for key in keys}


def download_category(category: str, folder: Path, *, base_url: str = BASE_URL, attempts: int = 3) -> Path:
    """Download one category's official file (70 to 100 MB) and return its path, `folder/<category>.ndjson`.

    The file takes its place only after its git blob id was found right (of a category without a known id: after
    it proved to be whole lines of such drawings). An interrupted download of a known file stays as `.part` and
    goes on from there when repeated. Raises ConnectionError, one line with URL, reason, folder and what runs without.
    """
    target = folder / f"{category}.ndjson"
    part = folder / f"{category}.ndjson.part"
    url = f"{base_url}/{quote(category)}.ndjson"
    without = (
        f"nothing came to {target}; without it run --data-dir FOLDER (with {category}.ndjson in it), "
        "--data-dir embedded (drawings made by a program) and `make run` (the shipped models)"
    )
    folder.mkdir(parents=True, exist_ok=True)
    if silence := _silence(url):
        gave_up = f"gave up before the first of {attempts} attempts"
        raise ConnectionError(f"{url}: no connection ({silence}); {gave_up}, {without}")
    reason = ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(0.3 * attempt)
        if category not in OFFICIAL:
            part.unlink(missing_ok=True)
        reason, permanent = _fetch(url, part)
        if not reason:
            reason = _fault_of(part, category)
            if not reason:
                part.replace(target)
                return target
            part.unlink(missing_ok=True)
        if permanent:
            break
    raise ConnectionError(f"{url}: {reason}; gave up after {attempt + 1} of {attempts} attempts, {without}")


_silent_hosts: dict[str, tuple[float, str]] = {}
"""When, by time.monotonic(), and in what way an address gave no answer: three categories shall not wait thrice."""


def _silence(url: str) -> str:
    """Return why there is no answer from where `url` is, or an empty string, within GIVE_UP_SECONDS."""
    address = url.rpartition("/")[0]
    when, reason = _silent_hosts.get(address, (-math.inf, ""))
    if time.monotonic() - when > SILENT_SECONDS:
        reason = _answer_to_head(url)
        _silent_hosts[address] = (time.monotonic(), reason) if reason else (-math.inf, "")
    return reason


def _answer_to_head(url: str) -> str:
    """Ask for a file's header in a thread that may be left behind; return why there is none, or an empty string."""
    import requests

    answer: list[str] = []

    def ask() -> None:
        try:
            requests.head(url, timeout=CONNECT_SECONDS, allow_redirects=True).close()
            answer.append("")
        except (requests.RequestException, ValueError) as error:
            answer.append(type(error).__name__)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(GIVE_UP_SECONDS)
    return answer[0] if answer else f"no answer in {GIVE_UP_SECONDS} s"


def _fetch(url: str, part: Path) -> tuple[str, bool]:
    """Append what is missing of `url` to `part`; return what went wrong, if anything, and whether it will again."""
    transfer = _Transfer(url, part)
    transfer.start()
    try:
        while True:
            before = transfer.received
            transfer.join(SLOW_SECONDS)
            if not transfer.is_alive():
                return transfer.outcome
            if transfer.received - before < LOWEST_SPEED * SLOW_SECONDS:
                return f"slower than {LOWEST_SPEED:,} bytes a second for {SLOW_SECONDS} s", True
    finally:
        transfer.stopped = True


class _Transfer(threading.Thread):
    """Appends what is missing of `url` to `part`, in a thread that may be left behind.

    A server that sends a byte now and then keeps every socket's time limit, so someone else has to watch. To the
    downloader this is the file, which is opened for the first chunk: what is no drawings touches nothing. It refuses
    a web page, to grow without end, and whatever comes after it was left behind.
    """

    def __init__(self, url: str, part: Path) -> None:
        super().__init__(daemon=True)
        self.url, self.part = url, part
        self.received, self.stopped = 0, False
        self.outcome: tuple[str, bool] = ("ended without a reason", False)
        self.file: IO[bytes]

    def answered(self, response: Any, **_: Any) -> None:
        """Remember whether the server sends the whole file, which it may where only the rest was asked for."""
        self.mode = "wb" if response.status_code == 200 else "ab"

    def write(self, chunk: bytes) -> None:
        """Append what has come."""
        if self.stopped:
            raise OSError("left behind")
        if not self.received:
            if chunk.lstrip().startswith(b"<"):
                raise OSError("sent a web page instead of drawings (does the network want you to log in?)")
            self.file = self.opened.enter_context(self.part.open(self.mode))
        if self.file.tell() + len(chunk) > MAX_FILE_BYTES:
            self.file.truncate(0)  # worth nothing
            raise OSError(f"sent more than {MAX_FILE_BYTES:,} bytes, no category is so large")
        self.file.write(chunk)
        self.received += len(chunk)

    def flush(self) -> None:
        """Hand what has come to the system, so that a kill loses nothing of it."""
        self.file.flush()

    def run(self) -> None:
        """Download, and leave in `outcome` what went wrong, if anything, and whether it will again."""
        import pooch
        import requests

        try:
            with ExitStack() as self.opened:
                start = self.part.stat().st_size if self.part.exists() else 0
                # a range counts in the bytes sent, so they must be those of the file
                headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
                fetch = pooch.HTTPDownloader(
                    progressbar=sys.stderr.isatty(),
                    chunk_size=CHUNK_BYTES,
                    headers=headers,
                    hooks={"response": self.answered},
                    timeout=(CONNECT_SECONDS, READ_SECONDS),
                )
                fetch(self.url, self, None)
            self.outcome = ("", False)
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            # 416: nothing is missing, the file's check says whether it is right
            self.outcome = ("", False) if status == 416 else (f"HTTP status {status}", 400 <= status < 500)
        except requests.RequestException as error:
            self.outcome = (f"interrupted ({type(error).__name__})", False)
        except OSError as error:  # refused above, the disk is full, the folder not writable
            self.outcome = (str(error), True)
        except ValueError as error:
            self.outcome = (f"sent a header that is none ({error})", True)


def _fault_of(part: Path, category: str) -> str:
    """Return why a downloaded file is not the category's, or an empty string."""
    if not part.is_file():
        return "sent an empty file"
    if category in OFFICIAL:
        blob, expected = file_identity(part)[0], OFFICIAL[category].data_blob
        if blob == expected:
            return ""
        return f"{part.stat().st_size} bytes with git blob id {blob}, must be {expected}"
    with part.open("rb") as file:
        first = file.readline(1 << 20)
        file.seek(max(part.stat().st_size - 1, 0))
        whole = file.read() == b"\n"
    try:
        record = orjson.loads(first)
        known = record["word"] == category and isinstance(record["drawing"], list)
    except (ValueError, TypeError, KeyError):
        known = False
    if not known:
        return f"its first line is not a Quick, Draw! drawing of '{category}'"
    return "" if whole else "its last line is cut off"
