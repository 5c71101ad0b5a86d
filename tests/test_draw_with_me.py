"""The page's server: the files of one folder, to this machine alone."""

from __future__ import annotations

import http.client
import json
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import draw_with_me

ROOT = Path(__file__).resolve().parent.parent
HASHED = "models/cat.own.0123456789ab.gz"
FILES = {
    "index.html": b"<!DOCTYPE html><title>page</title>",
    "ui/main.js": b"export {}",
    "ui/style.css": b"p {}",
    "site.json": b"{}",
    "icon.svg": b"<svg/>",
    "manifest.webmanifest": b"{}",
    HASHED: bytes(range(256)) * 4096,
    "ort/ort.js": b"export {}",
    "ort/ort-1.2.wasm": b"\0asm",
}


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """The port at which a folder is served, beside which lies a secret."""
    for name, content in FILES.items():
        (tmp_path / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / name).write_bytes(content)
    (tmp_path / "secret.txt").write_text("secret")
    with draw_with_me.open_server(tmp_path / "site", 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.port
        server.shutdown()
        thread.join()


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    whole = answer.status, answer.headers, answer.read()
    connection.close()
    return whole


def status_of(port: int, head: str) -> int:
    """The status of the answer to a request that is written out; PORT stands for the server's."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(f"{head}\n".replace("PORT", str(port)).replace("\n", "\r\n").encode())
        return int(connection.makefile("rb").read().split()[1])


def test_every_file_is_served_whole_with_its_type_and_the_root_is_the_page(port: int) -> None:
    with ThreadPoolExecutor(4 * len(FILES)) as pool:  # at once, as a browser asks
        answers = list(pool.map(lambda name: ask(port, f"/{name}"), [*FILES] * 4))
    assert [(status, content) for status, _, content in answers] == [(200, content) for content in FILES.values()] * 4
    assert [headers["Content-Type"] for _, headers, _ in answers[: len(FILES)]] == [
        "text/html; charset=utf-8", "text/javascript", "text/css; charset=utf-8", "application/json", "image/svg+xml",
        "application/manifest+json", "application/octet-stream", "text/javascript", "application/wasm",
    ]  # fmt: skip
    assert ask(port, "/?lang=tr")[::2] == (200, FILES["index.html"])
    status, headers, content = ask(port, f"/{HASHED}", "HEAD")
    assert (status, headers["Content-Length"], content) == (200, "1048576", b"")


def test_every_answer_is_framed_read_and_sniffed_by_nobody(port: int) -> None:
    for path, method, status in (("/", "GET", 200), ("/", "HEAD", 200), ("/gone", "GET", 404), ("/", "POST", 501)):
        answer, headers, _ = ask(port, path, method)
        assert answer == status
        assert draw_with_me.HEADERS.items() <= dict(headers).items()


def test_only_files_whose_names_carry_their_content_are_kept_by_the_browser(port: int) -> None:
    assert ask(port, f"/{HASHED}")[1]["Cache-Control"] == "public, max-age=31536000, immutable"
    for path in ("/", "/ui/main.js", "/site.json", "/ort/ort-1.2.wasm", "/models/gone.0123456789ab.gz", "/models/"):
        assert ask(port, path)[1]["Cache-Control"] == "no-cache"
    changed = ask(port, "/ui/main.js")[1]["Last-Modified"]
    assert ask(port, "/ui/main.js", If_Modified_Since=changed)[::2] == (304, b"")


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/models/../../secret.txt", "/..%5csecret.txt",
     "/%252e%252e/secret.txt", "//etc/passwd", "/%2fetc/passwd", "/" + "a" * 5000, "/models/", "/gone"],
)  # fmt: skip
def test_what_leads_anywhere_else_is_not_found_and_no_folder_is_listed(port: int, path: str) -> None:
    status, _, content = ask(port, path)
    assert status == 404
    assert not any(word in content for word in (b"root:", b"secret", b"models/"))


OWN = "Host: 127.0.0.1:PORT\n"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (OWN, 200),
        ("host: LOCALHOST:PORT\n", 200),
        (OWN + "Origin: http://localhost:PORT\n", 200),
        ("", 400),
        ("Host:\n", 400),
        ("Host: 127.0.0.1\n", 400),
        ("Host: 127.0.0.1:1\n", 400),
        ("Host: evil.example:PORT\n", 400),
        ("Host: 127.0.0.1:PORT.evil.example\n", 400),
        (OWN + "Host: evil.example\n", 400),
        (OWN + "Origin: http://evil.example\n", 400),
        (OWN + "Origin: https://127.0.0.1:PORT\n", 400),
        (OWN + "Origin: null\n", 400),
    ],
)
def test_who_asks_for_another_host_or_from_another_page_is_refused(port: int, headers: str, status: int) -> None:
    assert status_of(port, f"GET / HTTP/1.1\n{headers}") == status


def test_only_this_machine_can_connect(tmp_path: Path) -> None:
    with draw_with_me.open_server(tmp_path, 0) as server, socket.socket() as other:
        assert server.server_address[0] == "127.0.0.1"
        other.settimeout(5)
        assert other.connect_ex(("127.0.0.2", server.port)) != 0
        with pytest.raises(ValueError, match=f"port {server.port} cannot be opened .*; choose another --port"):
            draw_with_me.open_server(tmp_path, server.port)


def test_the_script_serves_until_it_is_ended(tmp_path: Path) -> None:
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import draw_with_me; draw_with_me.build_site = lambda out: False\n"
        "draw_with_me.run_script(draw_with_me.main)"
    )
    words = ["--no-browser", "--port", "0", "--site", str(tmp_path)]
    with subprocess.Popen([sys.executable, "-c", program, *words], cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("current: ")
            address = process.stdout.readline()
            assert ask(int(address.split(":")[2].split("/")[0]), "/gone")[0] == 404
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            process.kill()


def test_a_browser_is_opened_at_the_address_and_the_page_is_made_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(draw_with_me, "build_site", lambda out: (out / "site.json").write_text(json.dumps({})) > 0)
    monkeypatch.setattr(draw_with_me.PageServer, "serve_forever", lambda self: None)
    monkeypatch.setattr(draw_with_me.webbrowser, "open", opened.put)
    draw_with_me.main(["--port", "0", "--site", str(tmp_path)])
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"wrote {tmp_path}, 1 files")
    assert opened.get(timeout=60) == told[1].split()[0]
