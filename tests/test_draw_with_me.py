"""Laws of the page's server: the files of one folder, to this machine alone, whatever is asked of it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import draw_with_me
from page import folder as page_folder

ROOT = Path(__file__).resolve().parent.parent
Answer = tuple[int, http.client.HTTPMessage, bytes]
FILES = {
    "index.html": b"<!DOCTYPE html><title>page</title>",
    "main.js": b"export {}",
    "worker.mjs": b"export {}",
    "style.css": b"p {}",
    "site.json": b"{}",
    "icon.svg": b"<svg/>",
    "page.webmanifest": b"{}",
    "LICENSE": b"free",
    "models/cat.own.0123456789ab.onnx": bytes(range(256)) * 4096,
    "ort/ort-1.2.wasm": b"\0asm",
    "a (b).txt": "ş".encode(),
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with files, and things beside it and in it that are nobody's business."""
    folder = tmp_path / "site"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "site-beside").mkdir()
    (tmp_path / "site-beside" / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "linked").symlink_to(tmp_path)
    return folder


@contextmanager
def serving(site: Path) -> Iterator[int]:
    """Serve a folder from a thread; gives the port."""
    with draw_with_me.open_server(site, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def port(site: Path) -> Iterator[int]:
    with serving(site) as number:
        yield number


def ask(port: int, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    whole = answer.status, answer.headers, answer.read()
    connection.close()
    return whole


def connect(port: int, sent: str | bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(sent if isinstance(sent, bytes) else sent.replace("PORT", str(port)).encode())
    return connection


def ask_raw(port: int, text: bytes) -> bytes:
    """All that the server sends until it closes; the client closes nothing."""
    with connect(port, text) as connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def status_of(port: int, head: str) -> int:
    lines = f"{head}\n".replace("PORT", str(port)).replace("\n", "\r\n")
    return int(ask_raw(port, lines.encode("latin-1")).split()[1])


LARGE = "/models/large.onnx"
OWN = "Host: 127.0.0.1:PORT\n"


# ---- what is served


def test_every_file_is_served_whole_and_the_root_is_the_page(port: int) -> None:
    for name, content in FILES.items():
        assert ask(port, "/" + name.replace(" (b)", "%20%28b%29"))[::2] == (200, content)
    for path in ("/", "/?lang=tr", "/index.html"):
        assert ask(port, path)[::2] == (200, FILES["index.html"])
    status, headers, content = ask(port, "/models/cat.own.0123456789ab.onnx", "HEAD")
    assert (status, headers["Content-Length"], content) == (200, "1048576", b"")


def test_types_are_those_of_the_table_whatever_the_machine_says(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        draw_with_me.PageHandler, "extensions_map", {".js": "text/plain", ".wasm": "x/y", "": "text/plain"}
    )
    types = {name: ask(port, "/" + name)[1]["Content-Type"] for name in FILES if " " not in name}
    assert types == {
        "index.html": "text/html; charset=utf-8",
        "main.js": "text/javascript",
        "worker.mjs": "text/javascript",
        "style.css": "text/css; charset=utf-8",
        "site.json": "application/json",
        "icon.svg": "image/svg+xml",
        "page.webmanifest": "application/manifest+json",
        "LICENSE": "application/octet-stream",
        "models/cat.own.0123456789ab.onnx": "application/octet-stream",
        "ort/ort-1.2.wasm": "application/wasm",
    }


def test_every_answer_is_framed_read_and_sniffed_by_nobody(port: int) -> None:
    for path, method, status in (("/", "GET", 200), ("/", "HEAD", 200), ("/gone", "GET", 404), ("/", "POST", 405)):
        answer, headers, _ = ask(port, path, method)
        assert answer == status
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Referrer-Policy"] == "no-referrer"


def test_only_files_whose_names_carry_their_content_are_kept_by_the_browser(port: int) -> None:
    hashed = ask(port, "/models/cat.own.0123456789ab.onnx")[1]["Cache-Control"]
    assert hashed == "public, max-age=31536000, immutable"
    for path in ("/", "/main.js", "/site.json", "/ort/ort-1.2.wasm", "/models/gone.0123456789ab.onnx", "/models/"):
        assert ask(port, path)[1]["Cache-Control"] == "no-cache"
    changed = ask(port, "/main.js")[1]["Last-Modified"]
    assert ask(port, "/main.js", If_Modified_Since=changed)[::2] == (304, b"")
    assert ask(port, "/main.js", If_Modified_Since="Thu, 01 Jan 1970 00:00:00 GMT")[0] == 200


# ---- what is not


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/%2e%2e%2fsecret.txt", "/models/../../secret.txt",
     "/..%5csecret.txt", "/..\\secret.txt", "/%252e%252e/secret.txt", "/../site-beside/secret.txt", "/link.txt",
     "/linked/secret.txt", "/linked/site/index.html", "//etc/passwd", "/%2fetc/passwd", "/etc/passwd",
     "http://127.0.0.1/../secret.txt", "/index.html%00", "/%00", "/models%2fcat.own.0123456789ab.onnx", "/./main.js",
     "/models/../main.js", "/main.js/", "/%6dain.js", "/" + "a" * 5000, "/%ff", "/models", "/models/",
     "/linked/", "/.", "/..", "*"],
)  # fmt: skip
def test_what_leads_anywhere_else_is_not_found_and_no_folder_is_listed(port: int, path: str) -> None:
    answer = ask_raw(port, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.0 404 "), answer[:200]
    assert b"root:" not in answer
    assert b"secret" not in answer.split(b"\r\n\r\n", 1)[1]
    assert b"onnx" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_it_only_gives(port: int, method: str) -> None:
    for body in (b"", b"x" * 60_000):
        status, headers, _ = ask(port, "/", method, body)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_who_is_refused_while_still_sending_gets_the_answer(port: int) -> None:
    head = "POST / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 40000\r\n\r\n"
    with connect(port, head) as connection:
        for _ in range(4):
            time.sleep(0.1)
            connection.sendall(b"x" * 10_000)
        assert connection.recv(4096).startswith(b"HTTP/1.0 405 ")


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Content-Length: 65537\n", 413),
        ("Content-Length: 99999999999999999999\n", 413),
        (f"Content-Length: {'9' * 5000}\n", 413),
        ("Transfer-Encoding: chunked\n", 413),
        ("Transfer-Encoding: chunked\nContent-Length: 3\n", 413),
        ("Content-Length: -1\n", 400),
        ("Content-Length: many\n", 400),
        ("Content-Length: +5\n", 400),
        ("Content-Length: 1_0\n", 400),
        ("Content-Length: \u0665\n".encode().decode("latin-1"), 400),  # an Arabic five
        ("Content-Length:\n", 400),
        ("Content-Length: 3\nContent-Length: 4\n", 400),
    ],
)
def test_a_body_that_is_too_long_or_badly_announced_is_refused_before_it_comes(
    port: int, method: str, headers: str, status: int
) -> None:
    assert status_of(port, f"{method} / HTTP/1.1\n{OWN}{headers}") == status
    assert ask(port, "/")[0] == 200


def test_a_body_without_end_is_not_read(port: int) -> None:
    head = "POST / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nTransfer-Encoding: chunked\r\n\r\n"
    # the system may take some of it in, the server takes next to none
    with connect(port, head) as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        connection.sendall((b"8000\r\n" + b"x" * 0x8000 + b"\r\n") * 1000)
    assert ask(port, "/")[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (OWN, 200),
        ("Host: localhost:PORT\n", 200),
        ("host: LOCALHOST:PORT\n", 200),
        ("Host: [::1]:PORT\n", 200),
        (OWN + "Origin: http://127.0.0.1:PORT\n", 200),
        (OWN + "Origin: http://localhost:PORT\n", 200),
        ("", 400),
        ("Host:\n", 400),
        ("Host: 127.0.0.1\n", 400),
        ("Host: 127.0.0.1:1\n", 400),
        ("Host: evil.example:PORT\n", 400),
        ("Host: 127.0.0.1:PORT.evil.example\n", 400),
        ("Host: evil.example\n" + OWN, 400),
        (OWN + "Host: evil.example\n", 400),
        (OWN + "Origin: http://evil.example\n", 400),
        (OWN + "Origin: https://127.0.0.1:PORT\n", 400),
        (OWN + "Origin: http://127.0.0.1:1\n", 400),
        (OWN + "Origin: null\n", 400),
    ],
)
def test_who_asks_for_another_host_or_from_another_page_is_refused(port: int, headers: str, status: int) -> None:
    assert status_of(port, f"GET / HTTP/1.1\n{headers}") == status


def test_only_this_machine_can_connect(site: Path) -> None:
    with draw_with_me.open_server(site, 0) as server, socket.socket() as other:
        assert server.server_address[0] == "127.0.0.1"
        other.settimeout(5)
        assert other.connect_ex(("127.0.0.2", server.server_port)) != 0


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET / HTTP/x\r\n\r\n", 400),
        (b"GET / a b HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 \r\n\r\n", None),  # the start of TLS
        (b"\r\n\r\n", None),
        (bytes(range(256)) * 8 + b"\r\n\r\n", None),
    ],
    ids=["long line", "many headers", "long header", "version 9.9", "version x", "words", "TLS", "nothing", "bytes"],
)
def test_what_is_no_request_is_refused_and_the_server_goes_on(port: int, request_: bytes, status: int | None) -> None:
    try:
        answer = ask_raw(port, request_)
    except ConnectionError:  # closed with something unread
        answer = b""
    assert status is None or f"Error code: {status}".encode() in answer or answer == b""
    assert b"<title>page" not in answer
    assert ask(port, "/")[0] == 200


# ---- many, slow and gone


def test_fifty_clients_at_once_get_every_byte(port: int) -> None:
    paths = ["/models/cat.own.0123456789ab.onnx", "/", "/main.js", "/gone", "/ort/ort-1.2.wasm"] * 10
    with ThreadPoolExecutor(len(paths)) as pool:
        answers = list(pool.map(lambda path: ask(port, path), paths))
    for path, (status, _, content) in zip(paths, answers, strict=True):
        name = "index.html" if path == "/" else path[1:]
        assert status == (404 if path == "/gone" else 200)
        assert content == FILES.get(name, content)


def test_a_client_that_is_slow_keeps_nobody_waiting(site: Path, port: int) -> None:
    (site / LARGE[1:]).write_bytes(bytes(50_000_000))
    silent = connect(port, "GET / HT")
    slow = connect(port, f"GET {LARGE} HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n")
    assert [ask(port, "/")[0] for _ in range(10)] == [200] * 10
    silent.setblocking(False)
    with pytest.raises(BlockingIOError):  # it is still waited for
        silent.recv(1)
    silent.setblocking(True)
    silent.sendall(b"TP/1.1\r\nHost: localhost:%d\r\n\r\n" % port)
    assert silent.recv(1000).startswith(b"HTTP/1.0 200 ")
    assert sum(map(len, iter(lambda: slow.recv(1 << 20), b""))) > 50_000_000
    silent.close()
    slow.close()


def test_a_client_that_stays_silent_is_given_up_without_a_word(
    site: Path, port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert draw_with_me.PageHandler.timeout == 30
    monkeypatch.setattr(draw_with_me.PageHandler, "timeout", 0.3)
    (site / LARGE[1:]).write_bytes(bytes(50_000_000))
    silent = connect(port, "GET / HT")
    assert silent.recv(1000) == b""  # closed by the server
    silent.close()
    slow = connect(port, f"GET {LARGE} HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n")
    time.sleep(1)
    assert sum(map(len, iter(lambda: slow.recv(1 << 20), b""))) < 50_000_000
    slow.close()
    assert ask(port, "/")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_a_download_that_is_broken_off_is_not_worth_a_word(
    site: Path, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    (site / LARGE[1:]).write_bytes(bytes(20_000_000))
    for _ in range(5):
        with connect(port, f"GET {LARGE} HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n") as connection:
            assert connection.recv(4096).startswith(b"HTTP/1.0 200 ")
    time.sleep(0.3)
    assert ask(port, "/")[0] == 200
    assert capfd.readouterr() == ("", "")


# ---- the script


@pytest.fixture
def current(site: Path) -> Path:
    """The folder, as one that is made from the sources as they are."""
    (site / "site.json").write_text(json.dumps({"version": page_folder.version_of_sources()}))
    return site


def start(*words: object) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    command = [sys.executable, "draw_with_me.py", "--no-browser", *map(str, words)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def address(process: subprocess.Popen[str]) -> int:
    """The port that a script says it serves at."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
            return int(found[1])
    raise AssertionError(process.communicate())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_script_serves_until_it_is_ended(current: Path, number: int, code: int) -> None:
    process = start("--site", current, "--port", 0)
    port = address(process)
    assert ask(port, "/")[::2] == (200, FILES["index.html"])
    with socket.create_connection(("127.0.0.1", port)):  # a client that says nothing, which is not waited for
        process.send_signal(number)
        _, error = process.communicate(timeout=draw_with_me.TIMEOUT / 2)
    assert process.returncode == code
    assert error == f"draw_with_me.py: {'interrupted' if number == signal.SIGINT else 'terminated'}\n"


def test_a_port_that_is_taken_is_said_if_it_was_asked_for_and_else_the_next_one_is_taken(current: Path) -> None:
    with serving(current) as taken:
        process = start("--site", current, "--port", taken)
        output, error = process.communicate(timeout=60)
        assert (process.returncode, output) == (2, "")
        assert error == (
            f"draw_with_me.py: error: port {taken} cannot be opened (Address already in use); "
            "choose another --port, or 0 for a free one\n"
        )
    first = start("--site", current)
    second = start("--site", current)
    try:
        ports = address(first), address(second)
        assert len({*ports}) == 2
        assert {*ports} <= {*draw_with_me.PORTS}
        assert [ask(port, "/")[0] for port in ports] == [200, 200]
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()


def test_a_folder_that_is_not_current_is_made_and_one_that_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site, built = tmp_path / "new" / "site", []

    def build(out: Path, say: object = print) -> None:
        (out / "index.html").write_bytes(b"x" * 2_500_000)
        built.append(out)

    monkeypatch.setattr(page_folder, "build_site", build)
    monkeypatch.setattr(page_folder, "is_current", lambda out: bool(built))
    draw_with_me.main(["--build-only", "--site", str(site)])
    assert capsys.readouterr().out == f"wrote {site}, 1 files of 2.5 MB in all\n"
    draw_with_me.main(["--build-only", "--site", str(site)])
    assert capsys.readouterr().out == f"current: {site}, 1 files of 2.5 MB in all\n"
    assert built == [site]
    built.clear()
    with pytest.raises(ValueError, match="holds other files than a page"):
        draw_with_me.main(["--build-only", "--site", str(tmp_path / "new")])
    assert built == []


def test_the_browser_is_opened_unless_it_is_not_wanted(
    current: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = []
    monkeypatch.setattr(draw_with_me.webbrowser, "open", opened.append)
    monkeypatch.setattr(draw_with_me.PageServer, "serve_forever", lambda self: time.sleep(0.2))
    draw_with_me.main(["--site", str(current), "--port", "0", "--no-browser"])
    assert opened == []
    draw_with_me.main(["--site", str(current), "--port", "0"])
    assert [f"{url} is open, Ctrl-C ends it" for url in opened] == capsys.readouterr().out.splitlines()[-1:]
