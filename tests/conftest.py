"""Shared by all tests: real drawings where $QUICKDRAW_DIR is set, else the embedded ones, and a tiny model."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, sync_playwright

import draw_with_me
from config import ModelConfig
from dataset_utils import PackedDrawings, load_category
from diffusion_model import StrokeDiffusionModel, TrainedModel, save_weights
from page import folder as page_folder
from stroke_tokens import Whitening, points_to_vectors, resample_strokes

DATA_DIR = os.environ.get("QUICKDRAW_DIR") or "embedded"
ROOT = Path(__file__).resolve().parent.parent
TINY = ModelConfig(num_points=8, max_strokes=12, width=32, num_layers=1, num_heads=2, denoiser_layers=1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long forms: more kills, more fuzzed files")


@pytest.fixture(scope="session")
def long_form(request: pytest.FixtureRequest) -> bool:
    """Whether the long form of a test is wanted: `make test-long`."""
    return bool(request.config.getoption("--long"))


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 400) -> None:
    """Wait for what a process that goes on running is about to do."""
    deadline = time.time() + seconds
    while not happened():
        assert time.time() < deadline, f"not within {seconds} s"
        if process.poll() is not None:
            raise AssertionError(f"it ended by itself: {process.communicate()}")
        time.sleep(0.005)


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts commands, one thread each; what is left of them and of all that they started is killed at the end."""
    processes: list[subprocess.Popen[str]] = []
    mark = f"STARTED_BY={uuid.uuid4()}"

    def start(arguments: list[str], **variables: str) -> subprocess.Popen[str]:
        environment = os.environ | {"OMP_NUM_THREADS": "1", **variables} | dict([mark.split("=")])
        processes.append(subprocess.Popen(arguments, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))  # fmt: skip
        return processes[-1]

    yield start
    for environ in Path("/proc").glob("[0-9]*/environ"):  # the workers of torchrun are in sessions of their own
        with contextlib.suppress(OSError):
            if mark.encode() in environ.read_bytes():
                os.kill(int(environ.parent.name), signal.SIGKILL)
    for process in processes:
        process.kill()
        process.communicate()


def pytest_report_header() -> str:
    kind = "the embedded ones" if DATA_DIR == "embedded" else f"real, from {DATA_DIR}"
    return f"drawings: {kind}"


@pytest.fixture(scope="session")
def cats(tmp_path_factory: pytest.TempPathFactory) -> PackedDrawings:
    """The training drawings of cats at hand."""
    return load_category("cat", data_dir=DATA_DIR, cache_dir=tmp_path_factory.mktemp("cache")).train


@pytest.fixture(scope="session")
def tiny_model(cats: PackedDrawings) -> TrainedModel:
    """An untrained little model whose strokes nevertheless depend on everything they should."""
    torch.manual_seed(0)
    model = StrokeDiffusionModel(TINY, num_categories=2).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    torch.nn.init.constant_(model.stop.bias, -1.5)
    whitening = Whitening.fit(points_to_vectors(resample_strokes(cats.points, cats.stroke_offsets, TINY.num_points)))
    return TrainedModel(model, whitening, ("cat", "bus"), {"note": "untrained"})


@pytest.fixture
def tiny_weights(tiny_model: TrainedModel, tmp_path: Path) -> Path:
    """The little model as a file."""
    save_weights(tmp_path / "tiny.safetensors", tiny_model, torch.float32)
    return tmp_path / "tiny.safetensors"


# ------------------------------------------------------------------ a real browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def missing(reason: str) -> None:
    """Skip with a reason, where BROWSER_TESTS=required fail with it: CI must not pass without a browser."""
    if os.environ.get("BROWSER_TESTS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def page_site() -> Path:
    """The folder of the page, put together where it is not current."""
    if not page_folder.is_current(draw_with_me.SITE):
        try:
            draw_with_me.prepare(draw_with_me.SITE)
        except ValueError as error:  # no npm, no network
            missing(f"the page could not be put together: {error}")
    return draw_with_me.SITE


@pytest.fixture(scope="session")
def page_url(page_site: Path) -> Iterator[str]:
    """The address of the page, served as a person's own machine serves it."""
    with draw_with_me.open_server(page_site, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{draw_with_me.HOST}:{server.server_port}/"
        server.shutdown()


def browser_path() -> str | None:
    """The browser that $CHROMIUM names, or the first of some that is installed."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium of this machine."""
    path = browser_path()
    if path is None:
        missing(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=list(BROWSER_OPTIONS))
        yield opened
        opened.close()
