"""Shared by all tests: real drawings where $QUICKDRAW_DIR is set, else the embedded ones; a tiny model; scripts."""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from config import ModelConfig
from dataset_utils import load_category
from diffusion_model import StrokeDiffusionModel, TrainedModel, save_weights
from drawings.packed import PackedDrawings
from plumbing.command_line import run_script
from stroke_tokens import Whitening, points_to_vectors, resample_strokes

ROOT = Path(__file__).resolve().parent.parent
DATA_DIR = os.environ.get("QUICKDRAW_DIR") or "embedded"
TINY = ModelConfig(num_points=8, max_strokes=12, width=32, num_layers=1, num_heads=2, denoiser_layers=1)

# Under `nohup make test &` SIGINT is ignored, and so it would be in every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long forms: more kills, more fuzzed files")


def pytest_report_header() -> str:
    kind = "the embedded ones" if DATA_DIR == "embedded" else f"real, from {DATA_DIR}"
    return f"drawings: {kind}"


@pytest.fixture(scope="session")
def long_form(request: pytest.FixtureRequest) -> bool:
    """Whether the long form of a test is wanted: `make test-long`."""
    return bool(request.config.getoption("--long"))


# ------------------------------------------------------------------ processes


def descendants() -> set[int]:
    """The processes below this one, as Linux tells them; none elsewhere."""
    found, waiting = set(), ["self"]
    while waiting:
        for listed in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            try:
                children = listed.read_text().split()
            except OSError:  # it has just ended
                continue
            found |= {int(child) for child in children}
            waiting += children
    return found


@pytest.fixture(scope="session", autouse=True)
def _adopted() -> None:
    """What a process leaves behind becomes a child of this one, so that it is found."""
    if sys.platform == "linux":
        become_subreaper = 36  # of prctl(2)
        ctypes.CDLL(None).prctl(become_subreaper, 1, 0, 0, 0)


@pytest.fixture(autouse=True)
def _no_process_left() -> Iterator[None]:
    """A test, also one that fails, leaves no process behind."""
    before = descendants()
    yield
    for pid in descendants() - before:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


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
    """Starts commands, one thread each; what is left of them at the end of the test is killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(arguments: list[str], **variables: str) -> subprocess.Popen[str]:
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
        processes.append(subprocess.Popen(arguments, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))  # fmt: skip
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@dataclass(frozen=True)
class Answer:
    """What a script has said, and the code that it ended with."""

    code: int
    out: str
    err: str


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Answer]]:
    """Return a function that runs a script's `main` as the command line does, in this process: words -> Answer."""
    shown, on_sigterm = warnings.formatwarning, signal.getsignal(signal.SIGTERM)

    def run(script: str, *words: object) -> Answer:
        name = script.removesuffix(".py")
        monkeypatch.setattr(sys, "argv", [f"{name.rpartition('.')[2]}.py", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_script(importlib.import_module(name).main)
        said = capsys.readouterr()
        return Answer(int(ended.value.code or 0), said.out, said.err)

    yield run
    warnings.formatwarning = shown
    signal.signal(signal.SIGTERM, on_sigterm)


# ------------------------------------------------------------------ drawings and models


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


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many threads here as in the processes that are started: sums of other lengths round otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
