"""Firefox of this machine, driven by WebDriver BiDi, which it speaks itself: no driver is needed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websocket import WebSocket, create_connection

BROWSERS = ("firefox-esr", "firefox")
PATIENCE = 120.0  # seconds in which a busy machine begins, loads and draws
SIZE = {"width": 1280, "height": 800}


def path_of_firefox() -> str | None:
    """The first Firefox that is installed."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


class Firefox:
    """A tab; `faults` are the errors that its console has shown."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket, self.faults, self.sent = socket, list[str](), 0
        self.send("session.new", capabilities={})
        self.send("session.subscribe", events=["log.entryAdded"])
        self.tab = self.send("browsingContext.getTree")["contexts"][0]["context"]
        self.send("browsingContext.setViewport", context=self.tab, viewport=SIZE)

    def send(self, method: str, **params: Any) -> Any:
        """Ask for something and return the answer; RuntimeError says what went wrong."""
        self.sent += 1
        self.socket.send(json.dumps({"id": self.sent, "method": method, "params": params}))
        while (answer := json.loads(self.socket.recv())).get("id") != self.sent:
            if answer.get("method") == "log.entryAdded" and answer["params"]["level"] == "error":
                self.faults.append(str(answer["params"]["text"]))
        if answer["type"] == "error":
            raise RuntimeError(f"{method}: {answer['message']}")
        return answer["result"]

    def goto(self, url: str) -> None:
        """Open a page."""
        self.send("browsingContext.navigate", context=self.tab, url=url, wait="complete")

    def evaluate(self, program: str) -> Any:
        """Return what a JavaScript expression is, or promises."""
        text = f"(async () => JSON.stringify(await ({program})))()"
        found = self.send("script.evaluate", expression=text, target={"context": self.tab}, awaitPromise=True)
        if found["type"] == "exception":
            raise RuntimeError(found["exceptionDetails"]["text"])
        return json.loads(found["result"].get("value", "null"))

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true."""
        self.evaluate(f"""(async () => {{
            for (const since = Date.now(); !({condition}); await new Promise((go) => setTimeout(go, 50)))
                if (Date.now() - since > {1000 * PATIENCE}) throw new Error("never: " + {json.dumps(condition)});
            return true;
        }})()""")

    def drag(self, places: list[tuple[float, float]]) -> None:
        """Press the mouse at the first of some places of the window, move over the others, let go."""
        moves = [{"type": "pointerMove", "x": round(x), "y": round(y), "duration": 30} for x, y in places]
        down, up = ({"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp"))
        mouse = {"type": "pointer", "id": "mouse", "actions": [moves[0], down, *moves[1:], up]}
        self.send("input.performActions", context=self.tab, actions=[mouse])

    def click(self, selector: str) -> None:
        """Click the middle of an element."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        self.drag([tuple(self.evaluate(f"(({{ x, y, width, height }}) => [x + width / 2, y + height / 2])({box})"))])


@contextmanager
def launched() -> Iterator[Firefox]:
    """Give a headless Firefox with a profile of its own."""
    with tempfile.TemporaryDirectory() as profile:
        # the language, for its texts are looked at
        (Path(profile) / "user.js").write_text('user_pref("intl.accept_languages", "en-US");\n')
        command = [str(path_of_firefox()), "--headless", "--remote-debugging-port", "0", "--profile", profile]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr is not None
            told = (re.search(r"BiDi listening on (ws://\S+)", line) for line in process.stderr)
            address = next(filter(None, told))[1]
            socket = create_connection(f"{address}/session", timeout=PATIENCE, suppress_origin=True)
            yield Firefox(socket)
            socket.close()
        finally:
            process.terminate()
            process.wait(30)
