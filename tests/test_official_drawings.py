"""Laws of the official files: the split is the very file of the assignment, and no download leaves half a file."""

from __future__ import annotations

import dataclasses
import http.server
import json
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dataset_utils
from dataset_utils import load_category
from drawings import official
from drawings.official import (
    ATTEMPTS,
    OFFICIAL,
    download_category,
    git_blob_id,
    leak_free_test,
    official_indices,
    read_split,
)  # fmt: skip

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUICKDRAW_DIR", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(dataset_utils, "EMBEDDED_COUNT", 100)


# --- splits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("category", "train", "test", "leak_free"),
    [("cat", 9598, 1984, 1818), ("bus", 9717, 1987, 1878), ("rabbit", 9675, 1981, 1847)],
)
def test_the_shipped_split_is_the_official_one_drawn_with_replacement(
    category: str, train: int, test: int, leak_free: int
) -> None:
    content = (ROOT / "subset" / category / "indices.json").read_bytes()
    assert git_blob_id(content) == OFFICIAL[category].split_blob
    indices = official_indices(category)
    assert json.loads(content) == indices == read_split(ROOT / "subset", category)
    assert (len(indices["train"]), len(indices["test"])) == (10_000, 2_000)
    assert (len(set(indices["train"])), len(set(indices["test"]))) == (train, test)
    assert max(indices["train"] + indices["test"]) < OFFICIAL[category].num_drawings
    strict = json.loads((ROOT / "subset" / category / "indices_leak_free.json").read_bytes())
    assert strict == {"test": sorted(set(indices["test"]) - set(indices["train"]))}
    assert read_split(ROOT / "subset", category, leak_free=True) == {"train": indices["train"], **strict}
    assert len(strict["test"]) == leak_free == len(leak_free_test(indices))


def test_the_command_writes_what_is_shipped_checks_it_and_replaces_no_other_file(tmp_path: Path) -> None:
    command = ["splits", "--out", str(tmp_path)]
    with pytest.raises(ValueError, match=r"cat/indices\.json: missing; `python dataset_utils\.py splits` writes it"):
        dataset_utils.main([*command, "--check"])
    assert list(tmp_path.iterdir()) == []
    sizes = dataset_utils.main(command)
    assert sizes["cat"] == {
        "train": 10_000, "train_unique": 9_598, "test": 2_000, "test_unique": 1_984, "test_leak_free": 1_818,
    }  # fmt: skip
    for path in (ROOT / "subset").glob("*/*.json"):
        assert (tmp_path / path.parent.name / path.name).read_bytes() == path.read_bytes()
    dataset_utils.main([*command, "--check"])
    dataset_utils.main(["splits", "--check"])
    changed = tmp_path / "bus" / "indices_leak_free.json"
    changed.write_bytes(b"a user's own")
    for check in ([], ["--check"]):
        with pytest.raises(ValueError, match=r"indices_leak_free\.json: not the official split; remove it, then"):
            dataset_utils.main([*command, *check])
    assert changed.read_bytes() == b"a user's own"


# --- downloads ---------------------------------------------------------------------------------------------------

BODY = b"".join(b'{"word":"cat","drawing":[[[0,255],[%d,%d]]]}\n' % divmod(i, 256) for i in range(3_000))
PORTAL = b"<html>Sign in to the network</html>"


class _Server(http.server.ThreadingHTTPServer):
    """Serves BODY in the way that `mode` names, and counts the requests for it."""

    daemon_threads = True
    mode = "good"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = 0
        self.go_on = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of downloads that end early."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.0"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        mode = self.server.mode
        if mode in ("login", "moved") and self.path == "/cat.ndjson":
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            return
        self.server.asked += 1
        if mode.endswith(" once"):
            mode = mode.removesuffix(" once") if self.server.asked == 1 else "good"
        if mode in ("404", "500"):
            self.send_error(int(mode))
            return
        bodies = {"login": PORTAL, "nothing": b"", "wrong hash": BODY.replace(b"255", b"254", 1)}
        body = bodies.get(mode, BODY)
        self.send_response(200)
        self.send_header("Content-Length", "many" if mode == "no number" else str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        if mode == "cut":  # by a reset, instead of an orderly end that comes too early
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        if mode == "silent":
            self.server.go_on.wait(60)
        if mode != "short":
            self.wfile.write(body[len(body) // 2 :])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    monkeypatch.setitem(OFFICIAL, "cat", dataclasses.replace(OFFICIAL["cat"], data_blob=git_blob_id(BODY)))
    with _Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield running
        running.go_on.set()
        running.shutdown()


@pytest.mark.parametrize("mode", ["good", "moved", "short once", "cut once", "500 once", "wrong hash once"])
def test_a_download_that_fails_once_begins_anew_and_what_a_killed_one_left_goes(
    server: _Server, tmp_path: Path, mode: str
) -> None:
    server.mode = mode
    left = tmp_path / ".cat.ndjson.killed.unfinished.tmp"  # as by a process that was killed an hour ago
    left.write_bytes(BODY[:99])
    os.utime(left, (time.time() - 4_000,) * 2)
    path = download_category("cat", tmp_path, base_url=server.url)
    assert path.read_bytes() == BODY
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]
    assert server.asked == 1 + mode.endswith("once")


FAULTS = {
    "login": "web page .*log in",
    "404": "404 .*",
    "wrong hash": "sent .* bytes with git blob id .*, must be",
    "nothing": "sent 0 bytes",
    "no number": "many",
    "short": "interrupted",
    "silent": "no connection",
}


@pytest.mark.parametrize("mode", FAULTS)
def test_a_faulty_download_leaves_what_was_there_and_says_what_runs_without(
    server: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(official, "READ_SECONDS", 0.1)
    server.mode = mode
    target = tmp_path / "cat.ndjson"
    target.write_bytes(b"as before")
    with pytest.raises(ConnectionError) as caught:
        download_category("cat", tmp_path, base_url=server.url)
    told = str(caught.value)
    attempts = 1 if mode == "silent" else ATTEMPTS
    assert re.match(rf"{server.url}/cat\.ndjson: .*{FAULTS[mode]}.*; gave up after attempt {attempts}, nothing", told)
    assert f"nothing came to {target}; without it run --data-dir FOLDER" in told
    assert told.isprintable()
    assert server.asked == attempts
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"as before"]


def test_a_downloaded_file_is_the_source_and_the_next_time_it_is_data(server: _Server, tmp_path: Path) -> None:
    first, second = (load_category("cat", data_folder=tmp_path, base_url=server.url) for _ in range(2))
    assert (first.source, first.path, second.source) == ("download", tmp_path / "cat.ndjson", "data")
    assert first.counts.drawings == second.counts.drawings == 3_000
    assert server.asked == 1


# --- no network ---------------------------------------------------------------------------------------------------


def test_no_network_is_known_at_once_and_embedded_drawings_stand_in(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        data = load_category("cat", data_folder=tmp_path, base_url=url)
        with pytest.raises(ConnectionError) as caught:
            load_category("cat", split="official", data_folder=tmp_path, base_url=url)
    assert data.source == "embedded"
    assert f"{url}/cat.ndjson: no connection (" in data.describe()
    told = str(caught.value)
    assert told.startswith(f"{url}/cat.ndjson: no connection (")
    assert f"gave up after attempt 1, nothing came to {tmp_path / 'cat.ndjson'}; without it run --data-dir" in told
    assert told.isprintable()
    assert not list(tmp_path.glob("*.ndjson*"))
