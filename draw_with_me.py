"""Draw with a model: a page on this machine where you begin a drawing and the model goes on.

    python draw_with_me.py                          # opens http://127.0.0.1:8000/ in a browser, Ctrl-C ends it
    python draw_with_me.py --port 0 --no-browser    # on any free port, whose address is printed
    python draw_with_me.py --build-only             # only puts the page together, a folder for any web server

Everything happens in the browser, which asks for nothing but the files of the folder; no drawing leaves it. Only this
machine can open the page.
"""

from __future__ import annotations

import argparse
import re
import socket
import sys
import threading
import webbrowser
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import quote, unquote

from plumbing.command_line import check_folder, run_script, script_parser

SITE = Path(__file__).resolve().parent / "site"
HOST, PORTS = "127.0.0.1", range(8000, 8100)  # the first of them that is free, where none is asked for
TIMEOUT = 30.0  # seconds for which a client may be silent
MAX_BODY = 64 * 1024  # bytes that a request may announce; no body is used
LASTING = re.compile(r"\.[0-9a-f]{12}\.\w+$")  # a name that carries a hash: what it names never changes
TYPES = {
    ".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".txt": "text/plain; charset=utf-8",
    ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json",
    ".webmanifest": "application/manifest+json", ".png": "image/png", ".svg": "image/svg+xml",
}  # fmt: skip
"""By this table alone, for machines differ in what they say of an ending; all others are bytes."""
SAFETY = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class PageServer(ThreadingHTTPServer):
    """A server of this machine only, with a thread for each client."""

    request_queue_size = 128  # clients that come at once

    def server_bind(self) -> None:
        """Take the port, without looking up the machine's name as HTTPServer does: that may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])
        hosts = [f"{name}:{self.server_port}" for name in (HOST, "localhost", "[::1]")]
        self.hosts = {*hosts, *(host.removesuffix(":80") for host in hosts)}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has gone, and show every other error."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class PageHandler(SimpleHTTPRequestHandler):
    """Answers one request: a file of the folder, or an error."""

    server: PageServer
    timeout = TIMEOUT

    def parse_request(self) -> bool:
        """Read the head of a request; tell whether it may be answered, having refused it otherwise."""
        if not super().parse_request():
            return False
        if fault := self._fault():
            self.send_error(*fault)
            self._hear_out()
        return fault is None

    def _fault(self) -> tuple[HTTPStatus, str] | None:
        """Return what is wrong with a request, or None: the first line of defence is whom it says it asks."""
        hosts, origins = self.headers.get_all("Host", []), self.headers.get_all("Origin", [])
        if len(hosts) != 1 or hosts[0].strip().lower() not in self.server.hosts:
            # the name of another site that was made to lead here, or none
            return HTTPStatus.BAD_REQUEST, "This page is asked for by its own address only"
        if any(origin.strip().lower().removeprefix("http://") not in self.server.hosts for origin in origins):
            return HTTPStatus.BAD_REQUEST, "This page answers no other one"
        lengths = self.headers.get_all("Content-Length", [])
        if len(lengths) > 1 or not all(re.fullmatch("[0-9]+", length.strip()) for length in lengths):
            return HTTPStatus.BAD_REQUEST, "Bad Content-Length"
        if "Transfer-Encoding" in self.headers or any(len(length) > 9 or int(length) > MAX_BODY for length in lengths):
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A request may have {MAX_BODY} bytes"
        if self.command not in ("GET", "HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, "This server only gives"
        return None

    def _hear_out(self) -> None:
        """Read a little of what a refused client still sends: a connection closed before loses it the answer."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1)
            for _ in range(16):
                if not self.rfile.read1(MAX_BODY // 16):
                    break

    def translate_path(self, path: str) -> str:
        """Return the file of a URL, "" where there is none.

        A file has one URL, that of its own path in the folder: whatever leads there or elsewhere by "..", links or odd
        spelling is no file.
        """
        url = re.split("[?#]", path)[0]
        url = "/index.html" if url == "/" else url
        file = Path(self.directory, unquote(url[1:]))
        with suppress(OSError, ValueError):  # elsewhere, with a NUL, too long
            if file.is_file() and url == "/" + quote(file.resolve().relative_to(self.directory).as_posix()):
                return str(file)
        return ""

    def guess_type(self, path: Any) -> str:
        """Return the type of a file by its ending."""
        return TYPES.get(Path(path).suffix, "application/octet-stream")

    def send_response(self, code: int, message: str | None = None) -> None:
        """Begin an answer, with the headers that all have."""
        super().send_response(code, message)
        lasts = code in (HTTPStatus.OK, HTTPStatus.NOT_MODIFIED) and LASTING.search(self.path)
        self.send_header("Cache-Control", "public, max-age=31536000, immutable" if lasts else "no-cache")
        if code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        for name, value in SAFETY.items():
            self.send_header(name, value)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a page is dozens of requests."""


def open_server(site: Path, port: int | None) -> PageServer:
    """Return a server of a folder that listens but does not answer yet; without a port, on the first free one.

    Raises ValueError where the port, or all of them, cannot be had.
    """
    reason = ""
    for number in PORTS if port is None else [port]:
        try:
            return PageServer((HOST, number), partial(PageHandler, directory=str(site.resolve())))
        except OSError as error:
            reason = f"port {number} cannot be opened ({error.strerror}); choose another --port, or 0 for a free one"
    raise ValueError(reason)


def prepare(site: Path) -> None:
    """Put the page together in a folder unless it is there as it should be, and say so."""
    from page.folder import SITE_FILE, build_site, is_current

    made = not is_current(site)
    if made:
        check_folder(site, "--site")
        if any(site.iterdir()) and not (site / SITE_FILE).is_file():  # all that is in it would be removed
            raise ValueError(f"{site}: holds other files than a page; choose another --site, or empty it")
        build_site(site, print)
    sizes = [path.stat().st_size for path in site.rglob("*") if path.is_file()]
    print(f"{'wrote' if made else 'current:'} {site}, {len(sizes)} files of {sum(sizes) / 1e6:.1f} MB in all")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = script_parser(__doc__)
    parser.add_argument("--port", type=int, help="port of this machine, 0 for any that is free (default: the first "
                        f"free one from {PORTS[0]} on)")  # fmt: skip
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--site", type=Path, default=SITE, help="folder of the page, made where it is not (default "
                        "site/ beside this script)")  # fmt: skip
    parser.add_argument("--build-only", action="store_true", help="put the page together and end")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Put the page together where it is not, and serve it until Ctrl-C."""
    arguments = build_parser().parse_args(argv)
    if arguments.port is not None and not 0 <= arguments.port <= 65535:
        raise ValueError(f"--port is {arguments.port}, must lie in 0 ... 65535")
    if arguments.build_only:
        prepare(arguments.site)
        return
    with open_server(arguments.site, arguments.port) as server:
        prepare(arguments.site)
        url = f"http://{HOST}:{server.server_port}/"
        print(f"{url} is open, Ctrl-C ends it", flush=True)
        if not arguments.no_browser:
            # a browser in the terminal would wait for the page while the page waits for it
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        server.serve_forever()


if __name__ == "__main__":
    run_script(main)
