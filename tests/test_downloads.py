"""Laws of the download: nothing half or wrong at the final path, nothing that has come is lost, an answer in time."""

from __future__ import annotations

import dataclasses
import http.server
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

import dataset_utils
from dataset_utils import load_category
from drawings import official as official_data
from drawings.official import OFFICIAL, download_category, git_blob_id

ROOT = Path(__file__).resolve().parent.parent
BODY = b"".join(b'{"word":"cat","drawing":[[[0,255],[%d,%d]]]}\n' % divmod(i, 256) for i in range(8_000))
CHUNK = official_data.CHUNK_BYTES
PORTAL = b"<html>Sign in to the network</html>"


class _Server(http.server.ThreadingHTTPServer):
    """Serves BODY in the way that `mode` names, and remembers the Range headers of the GET requests for it."""

    daemon_threads = True
    mode = "good"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.ranges: list[str | None] = []
        self.endless_bytes = 0
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

    def do_HEAD(self) -> None:
        if self.server.mode == "dripping header":
            self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Long: ")
            self.drip(b"x")
        self.send_response(404 if self.server.mode == "404" else 200)
        self.end_headers()

    def drip(self, text: bytes) -> None:
        while not self.server.go_on.wait(0.02):
            self.wfile.write(text)

    def do_GET(self) -> None:
        mode = self.server.mode
        if mode in ("login", "moved") and self.path == "/cat.ndjson":
            self.send_response(302)
            self.send_header("Location", f"/{mode}")
            self.end_headers()
            return
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        first = len(self.server.ranges) == 1
        if mode in ("404", "500") or (first and mode == "500 once"):
            self.send_error(int(mode[:3]))
            return
        body = PORTAL if mode in ("portal", "login") else BODY
        if mode == "wrong hash" or (first and mode == "wrong hash once"):
            body = BODY.replace(b"255", b"254", 1)
        elif mode == "nothing":
            body = b""
        if mode in ("portal", "login", "no range", "endless", "nothing"):
            asked = None
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if start >= len(body) > 0:
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        if mode != "endless":
            self.send_header("Content-Length", "many" if mode == "no number" else str(len(body) - start))
        self.end_headers()
        self.send(body[start:], mode)

    def send(self, rest: bytes, mode: str) -> None:
        number = len(self.server.ranges)
        if mode in ("silent", "drip"):
            self.drip(rest[:1] if mode == "drip" else b"")
        elif mode == "endless":
            while not self.server.go_on.is_set():
                self.wfile.write(rest)
                self.server.endless_bytes += len(rest)
        elif mode == "halting":  # until it may go on
            self.wfile.write(rest[: 5 * CHUNK])
            self.server.go_on.wait(60)
            self.wfile.write(rest[5 * CHUNK :])
        elif mode == "walking":
            for at in range(0, len(rest), CHUNK // 8):
                self.wfile.write(rest[at : at + CHUNK // 8])
                time.sleep(0.05)
        elif mode == "always short" or (mode in ("short", "cut") and number <= 2):
            self.wfile.write(rest[: CHUNK + 1_000])
            if mode == "cut":  # by a reset, instead of an orderly end that comes too early
                time.sleep(0.2)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
        else:
            self.wfile.write(rest)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUICKDRAW_DIR", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(dataset_utils, "EMBEDDED_COUNT", 100)
    monkeypatch.setattr(official_data, "_silent_hosts", {})
    monkeypatch.setitem(OFFICIAL, "cat", dataclasses.replace(OFFICIAL["cat"], data_blob=git_blob_id(BODY)))


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield running
        running.go_on.set()
        running.shutdown()


def waited_for(is_so: Callable[[], bool], seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while not is_so() and time.monotonic() < until:
        time.sleep(0.01)
    return is_so()


def refused(server: _Server, folder: Path, category: str = "cat") -> str:
    """Return the message of a download that must fail, which leaves nothing but what goes on when repeated."""
    with pytest.raises(ConnectionError) as caught:
        download_category(category, folder, base_url=server.url)
    told = str(caught.value)
    assert told.startswith(f"{server.url}/{quote(category)}.ndjson: ")
    assert f"nothing came to {folder / category}.ndjson; without it run --data-dir FOLDER" in told
    assert "\n" not in told
    assert {path.name for path in folder.iterdir()} <= {f"{category}.ndjson.part"}
    return told


# --- what goes wrong and comes right ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "ranges"),
    [
        ("good", [None]),
        ("moved", [None]),
        ("short", [None, f"bytes={CHUNK}-", f"bytes={2 * CHUNK}-"]),
        ("cut", [None, f"bytes={CHUNK}-", f"bytes={2 * CHUNK}-"]),
        ("500 once", [None, None]),
        ("wrong hash once", [None, None]),
    ],
)
def test_a_download_goes_on_where_it_was_interrupted(
    server: _Server, tmp_path: Path, mode: str, ranges: list[str | None]
) -> None:
    server.mode = mode
    path = download_category("cat", tmp_path, base_url=server.url)
    assert path.read_bytes() == BODY
    assert list(tmp_path.iterdir()) == [path]
    assert server.ranges == ranges


@pytest.mark.parametrize(
    ("mode", "left", "ranges"),
    [
        ("good", BODY[:5_000], ["bytes=5000-"]),
        ("good", BODY, [f"bytes={len(BODY)}-"]),  # answered by 416: nothing is missing
        ("good", b"", [None]),
        ("good", b"<html>" + BODY[:5_000], ["bytes=5006-", None]),
        ("good", BODY + b"more", [f"bytes={len(BODY) + 4}-", None]),
        ("no range", BODY[:5_000], ["bytes=5000-"]),  # the whole body, where the rest was asked for
        ("no range", BODY + b"more", [f"bytes={len(BODY) + 4}-"]),
    ],
)
def test_a_part_is_gone_on_with_or_thrown_away_where_it_does_not_fit(
    server: _Server, tmp_path: Path, mode: str, left: bytes, ranges: list[str | None]
) -> None:
    server.mode = mode
    (tmp_path / "cat.ndjson.part").write_bytes(left)
    path = download_category("cat", tmp_path, base_url=server.url)
    assert path.read_bytes() == BODY
    assert list(tmp_path.iterdir()) == [path]
    assert server.ranges == ranges


# --- what does not come right -------------------------------------------------------------------------------------

FAULTS = {
    "portal": ("web page .*log in", 1),
    "login": ("web page .*log in", 1),
    "404": ("HTTP status 404", 1),
    "500": ("HTTP status 500", 3),
    "wrong hash": ("git blob id", 3),
    "nothing": ("empty file", 3),
    "no number": ("a header that is none .*many", 1),
    "always short": ("interrupted", 3),
    "silent": ("interrupted", 3),
    "drip": ("slower than 1,000 bytes a second for 0.3 s", 1),
    "endless": ("sent more than 400,000 bytes", 1),
}


@pytest.mark.parametrize("mode", FAULTS)
def test_a_faulty_download_leaves_nothing_at_the_final_path(
    server: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(official_data, "SLOW_SECONDS", 0.3 if mode == "drip" else 10)
    monkeypatch.setattr(official_data, "READ_SECONDS", 0.3)
    monkeypatch.setattr(official_data, "MAX_FILE_BYTES", 400_000)
    reason, attempts = FAULTS[mode]
    server.mode = mode
    start = time.monotonic()
    assert re.search(f"{reason}.*gave up after {attempts} of 3 attempts", refused(server, tmp_path))
    assert time.monotonic() - start < 8
    assert len(server.ranges) == attempts
    part = tmp_path / "cat.ndjson.part"
    assert not part.exists() or part.stat().st_size <= 400_000
    assert server.endless_bytes < 20_000_000  # what fits into the sockets goes out unread


@pytest.mark.parametrize("mode", ["portal", "login", "404", "500", "silent", "drip"])
def test_what_is_no_drawings_does_not_touch_what_has_come(
    server: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(official_data, "SLOW_SECONDS", 0.3 if mode == "drip" else 10)
    monkeypatch.setattr(official_data, "READ_SECONDS", 0.2)
    part = tmp_path / "cat.ndjson.part"
    part.write_bytes(BODY[:5_000])
    server.mode = mode
    refused(server, tmp_path)
    assert part.read_bytes() == BODY[:5_000]
    server.mode = "good"
    assert download_category("cat", tmp_path, base_url=server.url).read_bytes() == BODY
    assert set(server.ranges) == {"bytes=5000-"}


def test_a_download_that_was_given_up_writes_no_more(
    server: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(official_data, "SLOW_SECONDS", 0.5)
    server.mode = "halting"
    assert "slower than" in refused(server, tmp_path)
    left_behind = [thread for thread in threading.enumerate() if isinstance(thread, official_data._Transfer)]
    assert [thread.daemon for thread in left_behind] == [True]  # else the program could not end
    part = tmp_path / "cat.ndjson.part"
    assert part.read_bytes() == BODY[: 5 * CHUNK]
    server.mode = "always short"
    refused(server, tmp_path)
    assert part.read_bytes() == BODY[: 8 * CHUNK]
    server.go_on.set()  # the first download receives everything now
    left_behind[0].join(20)
    assert not left_behind[0].is_alive()
    assert part.read_bytes() == BODY[: 8 * CHUNK]


def test_a_full_disk_is_told_and_asked_for_once(server: _Server, tmp_path: Path) -> None:
    (tmp_path / "cat.ndjson.part").symlink_to("/dev/full")
    assert re.search("No space left on device.*after 1 of 3 attempts", refused(server, tmp_path))


def test_a_category_without_a_known_hash_must_at_least_be_drawings(server: _Server, tmp_path: Path) -> None:
    assert "first line is not a Quick, Draw! drawing of 'hot dog'" in refused(server, tmp_path, "hot dog")
    server.mode = "portal"
    assert "web page instead of drawings" in refused(server, tmp_path, "dog")
    assert list(tmp_path.iterdir()) == []


def test_a_downloaded_file_is_the_source_and_the_next_time_it_is_data(server: _Server, tmp_path: Path) -> None:
    first = load_category("cat", data_folder=tmp_path, base_url=server.url)
    assert (first.source, first.path, len(server.ranges)) == ("download", tmp_path / "cat.ndjson", 1)
    second = load_category("cat", data_folder=tmp_path, base_url=server.url)
    assert (second.source, len(server.ranges)) == ("data", 1)
    for name in ("points", "stroke_offsets", "drawing_offsets"):
        assert np.array_equal(getattr(first.train, name), getattr(second.train, name))


# --- no network ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listening", [True, False], ids=["silent", "closed"])
def test_no_network_is_known_within_seconds_and_embedded_drawings_stand_in(tmp_path: Path, listening: bool) -> None:
    with socket.socket() as silent:  # accepts connections by the kernel, never answers
        silent.bind(("127.0.0.1", 0))
        if listening:
            silent.listen(32)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = [load_category(name, data_folder=tmp_path, base_url=url) for name in ("cat", "bus", "rabbit")]
        with pytest.raises(ConnectionError) as caught:
            load_category("cat", split="official", data_folder=tmp_path, base_url=url)
        assert time.monotonic() - start < 10
        silent.settimeout(0)
        if listening:  # was asked once
            silent.accept()
            with pytest.raises(BlockingIOError):
                silent.accept()
    for data in found:
        assert data.source == "embedded"
        assert f"{url}/{data.category}.ndjson: no connection (" in data.describe()
    told = str(caught.value)
    assert told.startswith(f"{url}/cat.ndjson: no connection (")
    assert f"before the first of 3 attempts, nothing came to {tmp_path / 'cat.ndjson'}; without it run --data" in told
    assert "\n" not in told
    assert not list(tmp_path.glob("*.ndjson*"))


def test_a_header_that_comes_byte_by_byte_is_no_answer(
    server: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(official_data, "GIVE_UP_SECONDS", 0.5)
    server.mode = "dripping header"
    start = time.monotonic()
    assert re.search(r"no connection \(no answer in 0.5 s\)", refused(server, tmp_path))
    assert time.monotonic() - start < 3
    assert server.ranges == []


@pytest.mark.parametrize(
    ("words", "silent"),
    [
        (("run_all.py", "--profile", "full", "--out", "out"), True),
        (("train_diffusion.py", "--category", "cat", "--split", "official"), False),
    ],
    ids=["run_all, silent", "train_diffusion, refused"],
)
def test_without_a_network_the_command_line_answers_in_one_line_within_10_s(
    tmp_path: Path, words: tuple[str, ...], silent: bool
) -> None:
    # in a copy, which has no official files however many this checkout has
    for path in ROOT.glob("*.py"):
        shutil.copy(path, tmp_path)
    for name in ("subset", "checkpoints"):
        (tmp_path / name).symlink_to(ROOT / name)
    with socket.socket() as proxy:
        proxy.bind(("127.0.0.1", 0))
        if silent:
            proxy.listen(32)
        unset = ("no_proxy", "http_proxy", "https_proxy", "all_proxy")
        environment = {key: value for key, value in os.environ.items() if key.lower() not in unset}
        environment |= {"https_proxy": f"http://127.0.0.1:{proxy.getsockname()[1]}"}
        start = time.monotonic()
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        assert time.monotonic() - start < 10
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert f"error: {official_data.BASE_URL}/cat.ndjson: no connection (" in done.stderr
    assert f"nothing came to {tmp_path / 'data' / 'cat.ndjson'}; without it run --data-dir FOLDER" in done.stderr
    assert "--data-dir embedded" in done.stderr
    assert "`make run`" in done.stderr


# --- kills --------------------------------------------------------------------------------------------------------

PROGRAM = """
import dataclasses, pathlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from drawings import official as official_data
url, folder, blob = sys.argv[1:]
official_data.OFFICIAL["cat"] = dataclasses.replace(official_data.OFFICIAL["cat"], data_blob=blob)
print(official_data.download_category("cat", pathlib.Path(folder), base_url=url))
"""


@pytest.mark.parametrize("mode", ["halting", "walking"])
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_download_goes_on_from_what_has_come(
    server: _Server, tmp_path: Path, kill: signal.Signals, mode: str
) -> None:
    command = [sys.executable, "-c", PROGRAM, server.url, str(tmp_path), git_blob_id(BODY)]
    part = tmp_path / "cat.ndjson.part"
    server.mode = mode
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert waited_for(lambda: part.exists() and part.stat().st_size >= 3 * CHUNK)
        start = time.monotonic()
        process.send_signal(kill)
        said = process.stderr.read()
        assert process.wait(20) == -kill
        assert time.monotonic() - start < 2
    assert said.rstrip().endswith("KeyboardInterrupt" if kill == signal.SIGINT else "")
    assert "Fatal" not in said
    assert "Exception in thread" not in said
    assert list(tmp_path.iterdir()) == [part]
    come = part.read_bytes()
    assert BODY.startswith(come)
    assert 3 * CHUNK <= len(come) < len(BODY)
    server.mode = "good"
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, str(tmp_path / "cat.ndjson"), "")
    assert (tmp_path / "cat.ndjson").read_bytes() == BODY
    assert list(tmp_path.iterdir()) == [tmp_path / "cat.ndjson"]
    assert server.ranges == [None, f"bytes={len(come)}-"]
