"""Draw with a model: a page on this machine where you begin a drawing and the model finishes it.

    python draw_with_me.py                          # open http://127.0.0.1:8000/ in a browser; Ctrl-C ends it
    python draw_with_me.py --port 0 --no-browser    # on any free port; the address is printed
    python draw_with_me.py --build-only             # only make the page, a folder for any web server

Everything happens in the browser, which asks for nothing but the files of the folder; no drawing leaves it. Only this
machine can open the page.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import re
import sys
import threading
import webbrowser
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any

from page.export import build_site
from plumbing.command_line import run_script, script_parser

SITE = Path(__file__).resolve().parent / "site"
HOST, PORTS = "127.0.0.1", range(8000, 8100)  # the first of them that is free, where none is asked for
LASTING = re.compile(r"\.[0-9a-f]{12}\.\w+$")  # a name that carries a hash: what it names never changes
TYPES = {
    ".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".js": "text/javascript",
    ".wasm": "application/wasm", ".json": "application/json", ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json", ".gz": "application/octet-stream",
}  # fmt: skip
"""Machines differ in what they say of an ending, and a browser refuses a module that is called plain text; what is
packed is unpacked by the page, so that it is not said to be encoded."""
HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class PageServer(ThreadingTCPServer):
    """A server of this machine only, with a thread for each client."""

    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has gone, and show every other error."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class PageHandler(SimpleHTTPRequestHandler):
    """Gives the files of a folder to whoever asks for them by the page's own address."""

    server: PageServer
    timeout = 30.0  # seconds for which a client may be silent
    extensions_map = TYPES

    def send_head(self) -> Any:
        """Begin the answer to GET and HEAD; another site that was made to lead here, or whose page asks, gets none."""
        own = {f"{name}:{self.server.port}".removesuffix(":80") for name in (HOST, "localhost")}
        asked = [*self.headers.get_all("Host", [""]), *self.headers.get_all("Origin", [])]
        if any(address.strip().lower().removeprefix("http://") not in own for address in asked):
            self.send_error(HTTPStatus.BAD_REQUEST, "This page answers to its own address only")
            return None
        return super().send_head()

    def list_directory(self, path: Any) -> None:
        """Show no folder."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def send_response(self, code: int, message: str | None = None) -> None:
        """Begin an answer with the headers that all have."""
        super().send_response(code, message)
        lasts = code in (HTTPStatus.OK, HTTPStatus.NOT_MODIFIED) and LASTING.search(self.path)
        self.send_header("Cache-Control", "public, max-age=31536000, immutable" if lasts else "no-cache")
        for name, value in HEADERS.items():
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
    made = build_site(site)
    sizes = [path.stat().st_size for path in site.rglob("*") if path.is_file()]
    print(f"{'wrote' if made else 'current:'} {site}, {len(sizes)} files of {sum(sizes) / 1e6:.1f} MB in all")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = script_parser(__doc__)
    parser.add_argument("--port", type=int, metavar="N", help="port of this machine, 0 for any free one (default: the "
                        f"first free one from {PORTS[0]} on)")  # fmt: skip
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--site", type=Path, metavar="FOLDER", default=SITE, help="folder of the page, made if it is "
                        "missing (default site/ beside this script)")  # fmt: skip
    parser.add_argument("--build-only", action="store_true", help="make the page and end")
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
        url = f"http://{HOST}:{server.port}/"
        print(f"{url} is open, Ctrl-C ends it", flush=True)
        if not arguments.no_browser:
            # a browser in the terminal would wait for the page while the page waits for it
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        server.serve_forever()


if __name__ == "__main__":
    run_script(main)
