"""Every command line answers fast and plainly: one line, an exit code, no torch for what needs none, nothing lost."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import pickle
import resource
import signal
import stat
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import wait_until
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_house import SCRIPTS

import run_all
import sample_diffusion
from config import CATEGORIES
from dataset_utils import read_ndjson, write_ndjson
from diffusion_model import TrainedModel, save_weights
from drawings.embedded import embedded_drawings
from plumbing.tensor_files import DIGEST

ROOT = Path(__file__).resolve().parent.parent
BUFFERED = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
MOST_SECONDS = 0.5
"""Of CPU time, which a busy machine does not stretch as it does the clock."""
MOST_IMPORTS = 2.5
"""Where the machine is so slow at the moment that 0.5 s are not enough: in imports of NumPy, measured beside it."""


def run(*words: object, env: dict[str, str] | None = None, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, words)]
    return subprocess.run(
        command, cwd=ROOT, env=BUFFERED | (env or {}), capture_output=True, text=True, timeout=300, **more
    )


def cpu_seconds(call: Callable[[], Any]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    call()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def changed(source: Path, target: Path, tensors: dict[str, torch.Tensor] | None = None, **words: object) -> Path:
    """A weights file with other words in its header, or other tensors."""
    with safe_open(source, framework="pt") as file:
        header = {key: value for key, value in file.metadata().items() if key != DIGEST}  # which a forger leaves out
    header |= {key: value if isinstance(value, str) else json.dumps(value) for key, value in words.items()}
    save_file(load_file(source) | (tensors or {}), target, header)
    return target


@pytest.fixture(scope="module")
def files(tiny_model: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of good and bad files of every kind."""
    folder = tmp_path_factory.mktemp("files")
    good = folder / "good.safetensors"
    conditions = {"data": ["embedded"], "trained_on": ["cat"]}
    save_weights(good, dataclasses.replace(tiny_model, conditions=conditions), torch.float32)
    whole = good.read_bytes()
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "cut.safetensors").write_bytes(whole[:-7])
    (folder / "half-header.safetensors").write_bytes(whole[:300])
    (folder / "text.safetensors").write_bytes(b"<html>not found</html>")
    (folder / "bomb.safetensors").write_bytes(pickle.dumps(Bomb(folder / "exploded")))
    # a tensor of 10^15 numbers in a file of some bytes
    giant = b'{"a":{"dtype":"F32","shape":[1000000000000000],"data_offsets":[0,4000000000000000]}}'
    (folder / "giant.safetensors").write_bytes(len(giant).to_bytes(8, "little") + giant + b"\0" * 64)
    with safe_open(good, framework="pt") as file:
        model = json.loads(file.metadata()["model"])
    headers: dict[str, dict[str, object]] = {
        "stranger": {"format": "something"},
        "no-json": {"model": "{"},
        "deep": {"conditions": "[" * 100_000},
        "long-number": {"conditions": "9" * 5000},
        "many": {"model": model | {"width": 4096, "num_layers": 64}},
        "shapes": {"model": model | {"num_points": 9}},
        "odd-width": {"model": model | {"num_heads": 3}},
        "no-names": {"categories": [3]},
        "bus": {"conditions": {"trained_on": ["bus"]}},
        "odd-names": {"conditions": {"trained_on": 3}},
        "guidance": {"conditions": {"sampling": {"guidance": float("nan")}}},
        "no-guide": {"conditions": {"sampling": {"guidance": 2, "guide": {"file": "gone.safetensors", "sha256": ""}}}},
        "other-guide": {"conditions": {"sampling": {"guidance": 2, "guide": {"file": good.name, "sha256": "0" * 64}}}},
    }
    for name, words in headers.items():
        changed(good, folder / f"{name}.safetensors", **words)
    changed(good, folder / "tokens.safetensors", {"whitening.basis": load_file(good)["whitening.basis"].flip(0)})
    changed(good, folder / "whole-numbers.safetensors", {"model.stop.bias": torch.zeros(1, dtype=torch.int32)})
    (folder / "pickle.pth").write_bytes(pickle.dumps(Bomb(folder / "exploded")))
    (folder / "text.pth").write_text("<html>not found</html>")
    drawings = embedded_drawings("cat", 40)
    write_ndjson(folder / "cats.ndjson", drawings, word="cat")
    write_ndjson(folder / "one.ndjson", drawings[:1], word="cat")
    write_ndjson(folder / "dogs.ndjson", drawings, word="dog")
    (folder / "wordless.ndjson").write_text('{"drawing": [[[0, 9], [0, 9]]]}\n' * 3)
    (folder / "latin.ndjson").write_bytes('{"word": "kö", "drawing": [[[0], [0]]]}\n'.encode("latin-1") * 3)
    (folder / "html.ndjson").write_text("<html>\n")
    (folder / "data").mkdir()
    for category in CATEGORIES:
        write_ndjson(folder / "data" / f"{category}.ndjson", embedded_drawings(category, 80), word=category)
    (folder / "nothing").mkdir()
    return folder


SAMPLE = "sample_diffusion.py --category cat --out F/nothing"
TUNE = "tune_sampling.py --category cat --data-dir embedded --out F/tuned.safetensors"
FEATURES = "train_features.py --data-dir F/data --workers 0 --epochs 1 --batch-size 32"
OFFICIAL = "metrics.py official --real F/cats.ndjson --generated F/cats.ndjson"
WEIGHTS = (
    ("gone", "gone.safetensors: no such checkpoint"),
    ("empty", "empty.safetensors: damaged"),
    ("cut", "cut.safetensors: damaged"),
    ("half-header", "half-header.safetensors: damaged"),
    ("text", "text.safetensors: damaged"),
    ("bomb", "bomb.safetensors: damaged"),
    ("giant", "giant.safetensors: damaged"),
    ("stranger", "stranger.safetensors: not a checkpoint of this program (format something)"),
    ("no-json", "no-json.safetensors: its header is damaged"),
    ("deep", "deep.safetensors: its header is damaged"),
    ("long-number", "long-number.safetensors: its header is damaged"),
    ("many", "many.safetensors: declares 13,257,818,417 parameters, the limit is 500,000,000"),
    ("shapes", "shapes.safetensors: model.read_noisy.weight has shape (32, 16), its settings say (32, 18)"),
    ("odd-width", "odd-width.safetensors: width is 32, must be a multiple of 6"),
    ("no-names", "no-names.safetensors: its header lacks a list"),
    ("bus", "bus.safetensors: this checkpoint draws bus, not 'cat'"),
    ("odd-names", "odd-names.safetensors: the header of this checkpoint is damaged"),
    ("whole-numbers", "whole-numbers.safetensors: model.stop.bias is I32"),
)
QUICK = (
    *((f"{SAMPLE} --checkpoint F/{name}.safetensors", message) for name, message in WEIGHTS),
    *((f"{SAMPLE} --guide F/{name}.safetensors --guidance 2 --checkpoint F/good.safetensors", message)
      for name, message in WEIGHTS),
    *((f"{TUNE} --checkpoint F/{name}.safetensors --guide F/good.safetensors", WEIGHTS[i][1])
      for i, (name, _) in enumerate(WEIGHTS) if name in ("gone", "cut", "bomb", "many", "shapes")),
    (f"{TUNE} --guide F/cut.safetensors --checkpoint F/good.safetensors", "cut.safetensors: damaged"),
    (f"{TUNE} --guide F/tokens.safetensors --checkpoint F/good.safetensors", "was trained on other stroke tokens"),
    (f"{TUNE} --guide F/good.safetensors --checkpoint F/other-guide.safetensors", "was not trained on them"),
    (f"{TUNE} --checkpoint F/good.safetensors --strengths two", "--strengths is 'two'"),
    (f"{TUNE} --checkpoint F/good.safetensors --n 1", "--n is 1"),
    (f"{TUNE}/x --checkpoint F/good.safetensors --guide F/good.safetensors --out F", "is a folder, --out must name"),
    (f"{SAMPLE} --checkpoint F/guidance.safetensors", "guidance.safetensors: its header is damaged (guidance nan"),
    (f"{SAMPLE} --checkpoint F/no-guide.safetensors", "gone.safetensors: is missing; no-guide.safetensors is drawn"),
    (f"{SAMPLE} --checkpoint F/other-guide.safetensors", "is not the guide that other-guide.safetensors was tuned"),
    (f"{SAMPLE} --checkpoint F/good.safetensors --guide F/tokens.safetensors --guidance 2", "other stroke tokens than"),
    (f"{SAMPLE} --checkpoint F", "is a folder, must be a file"),
    (f"{SAMPLE} --checkpoint F/good.safetensors --category tavşan", "good.safetensors: unknown category 'tavşan'"),
    ("sample_diffusion.py --category ../x", "unknown category '../x'"),
    (f"{SAMPLE} --prefix F/html.ndjson", "html.ndjson:1: HTML"),
    (f"{SAMPLE} --prefix F/gone.ndjson", "gone.ndjson: no such file"),
    (f"{SAMPLE} --steps many", "--steps: invalid int value: 'many'"),
    (f"{SAMPLE}/x --out F/one.ndjson", "one.ndjson: cannot be written into (File exists)"),
    (f"{SAMPLE}/x --out F/one.ndjson/in/it", "cannot be written into (Not a directory)"),
    (f"{SAMPLE}/x --out /proc/drawings", "/proc/drawings: cannot be written into"),
    ("metrics.py score --generated F/gone.ndjson", "gone.ndjson: no such file"),
    ("metrics.py score --generated F/one.ndjson", "one.ndjson: 1 drawings, scoring needs at least 2"),
    ("metrics.py score --generated F/cats.ndjson --category unicorn", "unknown category 'unicorn'"),
    ("metrics.py score --generated F/dogs.ndjson", "not 'dog'; give --real"),
    ("metrics.py score --generated F/wordless.ndjson", "wordless.ndjson:1: has no text under the key 'word'; give"),
    ("metrics.py score --generated F/latin.ndjson", "latin.ndjson:1: not JSON"),
    ("metrics.py score --generated F/cats.ndjson --out F", "is a folder, --out must name a file"),
    ("metrics.py score --generated F/cats.ndjson --out F/one.ndjson/x", "cannot be written into"),
    (f"{OFFICIAL} --inception-weights F/gone.pth", "gone.pth: no such file"),
    (f"{OFFICIAL} --inception-weights F/text.pth", "text.pth: damaged, or not a state dict"),
    (f"{OFFICIAL} --inception-weights F/cut.safetensors", "cut.safetensors: damaged"),
    (f"{OFFICIAL} --batch-size 0", "--batch-size is 0"),
    ("metrics.py pictures --drawings F/cats.ndjson --out /proc/pictures", "/proc/pictures: cannot be written into"),
    ("train_features.py --data-dir F/gone", "gone: no such folder"),
    (f"{FEATURES} --out F/cut.safetensors", "cut.safetensors: damaged"),
    (f"{FEATURES} --out F/gone.safetensors --measure", "gone.safetensors: no such feature network"),
    (f"{FEATURES} --out F/one.ndjson/x", "cannot be written into"),
    (f"{FEATURES} --out F/new.safetensors --pictures F/nothing", "nothing: no <category>.npz files"),
    (f"{FEATURES} --out F/new.safetensors --device gpu", "argument --device: invalid choice: 'gpu'"),
    ("run_all.py --out /proc/results", "/proc/results/quick/cat: cannot be written into"),
    ("run_all.py --data-dir F/gone --out F/nothing", "gone (the data folder that was asked for): no such folder"),
    ("benchmark.py --scale 0", "--scale is 0, must lie in 0.001 ... 1"),
    ("benchmark.py --only speed", "--only names 'speed', must be of reading, tokens"),
    ("benchmark.py --data-dir F/gone", "gone: no such folder of drawings"),
    ("pack_drawings.py --data-dir F/gone --out F/nothing", "gone (the data folder that was asked for): no such folder"),
    ("pack_drawings.py --data-dir F --out F/nothing --processes 0", "--processes is 0, must lie in 1 ... 1024"),
    ("run_all.py --n 3", "--n is 3, must lie in 4 ... 1000000"),
    ("run_all.py --categories dog", "unknown category 'dog'"),
    ("ablations.py --only nothing", "--only names 'nothing'"),
    ("ablations.py --data-dir F/gone", "gone (the data folder that was asked for): no such folder"),
    ("model_card.py --checkpoints F/nothing", "nothing: no model checkpoints"),
    ("model_card.py --checkpoints F", "bomb.safetensors: damaged"),
    ("model_card.py --published F/text.pth", "text.pth: damaged, or not results"),
    ("model_card.py --out F", "is a folder, --out must name a file"),
    ("draw_with_me.py --port 65536 --build-only", "--port is 65536, must lie in 0 ... 65535"),
    ("draw_with_me.py --site F/one.ndjson --port 0", "one.ndjson: cannot be written into (File exists); choose"),
    ("draw_with_me.py --site F/data --build-only", "data: holds other files than a page; choose another --site"),
    ("make_splits.py --check --out F/nothing", "nothing/cat/indices.json: missing"),
    ("train_diffusion.py --steps 0", "--steps is 0, must lie in 1"),
)  # fmt: skip


@pytest.fixture(scope="module")
def no_torch(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which importing torch ends the program."""
    folder = tmp_path_factory.mktemp("no_torch")
    (folder / "torch.py").write_text("raise SystemExit('torch was imported')")
    return {"PYTHONPATH": str(folder), "QUICKDRAW_DIR": ""}


def is_quick(call: Callable[[], Any]) -> bool:
    """Whether a call's processes take little CPU time; only where the first is slow are more of them measured."""
    if cpu_seconds(call) < MOST_SECONDS:
        return True
    pairs = [(cpu_seconds(call), cpu_seconds(lambda: run("-c", "import numpy"))) for _ in range(3)]
    own, numpy = (statistics.median(seconds) for seconds in zip(*pairs, strict=True))
    return own < max(MOST_SECONDS, MOST_IMPORTS * numpy)


@pytest.mark.parametrize(("line", "message"), QUICK, ids=[f"{n}-{line}" for n, (line, _) in enumerate(QUICK)])
def test_what_the_user_did_wrong_is_one_line_at_once_without_torch(
    line: str, message: str, files: Path, no_torch: dict[str, str]
) -> None:
    words = [word.replace("F", str(files), 1) if word.startswith("F") else word for word in line.split()]
    before = sorted(files.rglob("*"))
    answers = []
    assert is_quick(lambda: answers.append(run(*words, env=no_torch)))
    answer = answers[0]
    assert (answer.returncode, answer.stdout) == (2, ""), answer.stderr
    assert answer.stderr.startswith(f"{words[0]}: error: ") or " error: " in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert message in answer.stderr
    assert [path for path in sorted(files.rglob("*")) if path not in before] == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_is_at_once_and_debug_shows_where_an_error_arose(name: str, files: Path, no_torch: dict[str, str]) -> None:
    answers = []
    assert is_quick(lambda: answers.append(run(f"{name}.py", "--help", env=no_torch)))
    assert (answers[0].returncode, answers[0].stderr) == (0, "")
    assert "usage" in answers[0].stdout
    line = next(line for line, message in reversed(QUICK) if line.startswith(name) and "argument" not in message)
    words = [word.replace("F", str(files), 1) if word.startswith("F") else word for word in line.split()]
    assert "Traceback (most recent call last)" in run(*words, "--debug", env=no_torch).stderr


# ---- what the system says


def program(body: str) -> subprocess.CompletedProcess[str]:
    """A script whose main is `body`."""
    return run("-c", f"import config\ndef main():\n    {body}\nconfig.run_script(main, 'a smaller --batch-size')")


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("open('/proc/nothing', 'w')", 2, "/proc/nothing: No such file or directory"),
        ("raise OSError(28, 'No space left on device', '/a/b')", 1, "/a/b: No space left on device"),
        ("raise OSError(24, 'Too many open files')", 1, "Too many open files"),
        ("raise RuntimeError('first\\nsecond')", 1, "first"),
        ("import numpy; numpy.zeros(10**15)", 1,
         "out of memory (7.11 PiB more were wanted): try a smaller --batch-size"),
        ("import torch; torch.zeros(10**15)", 1,
         "out of memory (4000000000000000 bytes more were wanted): try a smaller --batch-size"),
        ("raise RuntimeError('CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has')", 1,
         "out of memory (20.00 GiB more were wanted): try a smaller --batch-size"),
        ("raise MemoryError", 1, "out of memory: try a smaller --batch-size"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("import os; os.kill(os.getpid(), 15); import time; time.sleep(9)", 143, "terminated"),
    ],
)  # fmt: skip
def test_errors_of_the_system_are_one_plain_line(body: str, code: int, message: str) -> None:
    answer = program(body)
    assert answer.returncode == code, answer.stderr
    assert answer.stderr.splitlines() in ([f"-c: error: {message}"], [f"-c: {message}"])


def test_warnings_are_one_line_without_their_source() -> None:
    answer = program("import warnings; warnings.warn('state.pt: damaged,\\n  using the previous one')")
    assert (answer.returncode, answer.stderr) == (0, "warning: state.pt: damaged, using the previous one\n")


@pytest.mark.parametrize("flag", ["--list", "--help"])
def test_a_reader_that_has_enough_is_no_error(flag: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "ablations.py", flag],
        cwd=ROOT,
        env=BUFFERED,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 141


def test_output_that_cannot_be_printed_is_said_once() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "make_splits.py", "--help"]
        done = subprocess.run(command, cwd=ROOT, env=BUFFERED, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "make_splits.py: error: standard output: No space left on device\n")


def test_a_full_disk_is_named_with_the_file_and_leaves_no_half_of_one(files: Path, tmp_path: Path) -> None:
    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))

    answer = run("sample_diffusion.py", "--category", "cat", "--checkpoint", files / "good.safetensors", "--n", 40,
                 "--steps", 2, "--out", tmp_path / "out", preexec_fn=small_files_only)  # fmt: skip
    assert answer.returncode == 1, answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert str(tmp_path / "out") in answer.stderr
    assert "could not be written: File too large" in answer.stderr
    assert list((tmp_path / "out").glob(".*")) == []
    assert_whole(tmp_path / "out")


def assert_whole(folder: Path) -> list[str]:
    """Every file of a folder of drawings can be read to its end; returns their names."""
    for path in folder.iterdir():
        if path.suffix == ".ndjson":
            assert path.read_bytes().endswith(b"}\n")
            read_ndjson(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".svg":
            assert path.read_text().rstrip().endswith("</svg>")
        elif path.suffix in (".png", ".gif"):
            with Image.open(path) as image:
                for frame in range(getattr(image, "n_frames", 1)):
                    image.seek(frame)
                    image.load()
    return sorted(path.name for path in folder.iterdir())


def without_the_rights_of_root() -> None:
    """Take from this process, and from what it starts, root's right to write where the mode forbids it."""
    drop_from_bounding_set, may_override_modes = 24, 1  # of prctl(2) and capabilities(7)
    libc = ctypes.CDLL(None, use_errno=True)
    if os.getuid() == 0 and libc.prctl(drop_from_bounding_set, may_override_modes, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


@pytest.mark.parametrize(
    "line",
    ["sample_diffusion.py --category cat --out L/x", "run_all.py --out L", "model_card.py --out L/card.md",
     "metrics.py score --generated F/cats.ndjson --out L/scores.json",
     "metrics.py pictures --drawings F/cats.ndjson --out L", "train_features.py --data-dir F/data --out L/x",
     "tune_sampling.py --category cat --checkpoint F/good.safetensors --guide F/good.safetensors --out L/x"],
)  # fmt: skip
def test_a_folder_that_is_read_only_is_said_before_the_work(
    line: str, tmp_path: Path, no_torch: dict[str, str], files: Path
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    places = {"F": str(files), "L": str(locked)}
    words = [places[word[0]] + word[1:] if word[0] in places else word for word in line.split()]
    try:
        answer = run(*words, env=no_torch, preexec_fn=without_the_rights_of_root)
    except subprocess.SubprocessError:
        pytest.skip("root may not give up its rights here")
    assert answer.returncode == 2, answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert "cannot be written into (Permission denied); choose another --out" in answer.stderr
    assert list(locked.iterdir()) == []


def test_every_file_is_for_all_to_read_whatever_the_umask(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    drawn = run("sample_diffusion.py", "--category", "cat", "--checkpoint", files / "good.safetensors", "--n", 12,
                "--steps", 2, "--out", out, umask=0o077)  # fmt: skip
    assert drawn.returncode == 0, drawn.stderr
    for words in (("score", "--generated", out / "drawings.ndjson", "--out", out / "scores.json"),
                  ("pictures", "--drawings", out / "drawings.ndjson", "--out", out / "pictures")):  # fmt: skip
        done = run("metrics.py", *words, umask=0o077)
        assert done.returncode == 0, done.stderr
    made = [path for path in out.rglob("*") if path.is_file()]
    assert {path.name for path in made} >= {"drawings.ndjson", "grid.png", "animation.gif", "scores.json", "00000.png"}
    assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in made} == {"0o644"}


# ---- strangers' files


def test_nothing_in_a_strangers_file_is_executed(files: Path, tmp_path: Path) -> None:
    exploded, pictures = files / "exploded", tmp_path / "pictures"
    pictures.mkdir()
    np.savez(pictures / "cat.npz", images=np.array([Bomb(exploded)], dtype=object))
    network = tmp_path / "network.safetensors"
    network.write_bytes((ROOT / "checkpoints" / "sketch_features.safetensors").read_bytes())
    official = ("metrics.py", "official", "--real", files / "cats.ndjson", "--generated", files / "cats.ndjson")
    features = ("train_features.py", "--data-dir", files / "data", "--workers", 0)
    for words in (
        (*official, "--inception-weights", files / "pickle.pth"),
        (*features, "--out", files / "bomb.safetensors"),
        (*features, "--out", network, "--pictures", pictures, "--reference", tmp_path / "reference.safetensors"),
    ):
        answer = run(*words)
        assert answer.returncode == 2, answer.stderr
        assert len(answer.stderr.splitlines()[-1:]) == 1
        assert "Traceback" not in answer.stderr
        assert not exploded.exists()
    pickle.loads((files / "pickle.pth").read_bytes())  # so it is a bomb indeed
    assert exploded.exists()
    exploded.unlink()


# ---- models that draw what is no drawing


def drawn(weights: Path, out: Path, *more: object) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    words = ("--category", "cat", "--checkpoint", weights, "--n", 12, "--steps", 3, "--guide", "null", "--out", out)
    answer = run("sample_diffusion.py", *words, *more)
    path = out / "conditions.json"
    return answer, json.loads(path.read_text()) if path.is_file() else {}


def test_a_model_that_never_ends_is_cut_and_counted(files: Path, tmp_path: Path) -> None:
    bias = {"model.stop.bias": torch.tensor([-50.0])}
    answer, conditions = drawn(changed(files / "good.safetensors", tmp_path / "endless", bias), tmp_path / "out")
    assert answer.returncode == 0, answer.stderr
    assert (conditions["n"], conditions["cut_at_longest"]) == (12, 12)
    assert "of 12 drawings 12 were cut at the longest length" in answer.stdout
    packed, _ = read_ndjson(tmp_path / "out" / "drawings.ndjson")
    assert packed.num_strokes.max() <= 12


def test_a_model_that_ends_at_once_draws_one_stroke(files: Path, tmp_path: Path) -> None:
    bias = {"model.stop.bias": torch.tensor([50.0])}
    answer, conditions = drawn(changed(files / "good.safetensors", tmp_path / "short", bias), tmp_path / "out")
    assert answer.returncode == 0, answer.stderr
    assert (conditions["n"], conditions["cut_at_longest"]) == (12, 0)
    assert set(read_ndjson(tmp_path / "out" / "drawings.ndjson")[0].num_strokes) == {1}


def test_strokes_that_are_not_finite_are_left_out_counted_and_said(files: Path, tmp_path: Path) -> None:
    good = load_file(files / "good.safetensors")["model.write_noise.weight"]
    overflowing = changed(files / "good.safetensors", tmp_path / "all", {"model.write_noise.weight": good * 0 + 3e38})
    answer, conditions = drawn(overflowing, tmp_path / "none")
    assert (answer.returncode, conditions) == (1, {})
    assert "none of 12 drawings has a finite stroke" in answer.stderr
    assert list((tmp_path / "none").iterdir()) == []
    # the history of the second stroke overflows: the first is kept
    read = load_file(files / "good.safetensors")["model.read_stroke.2.weight"]
    late = changed(files / "good.safetensors", tmp_path / "late", {"model.read_stroke.2.weight": read * 0 + 3e38})
    answer, conditions = drawn(late, tmp_path / "some")
    assert answer.returncode == 0, answer.stderr
    assert conditions["n"] == 12
    assert 0 < conditions["ended_not_finite"] <= 12
    said = f"of 12 drawings {conditions['ended_not_finite']} ended before a stroke that was not finite"
    assert said in answer.stdout
    assert set(read_ndjson(tmp_path / "some" / "drawings.ndjson")[0].num_strokes) == {1}


# ---- signals


def start(*words: object) -> subprocess.Popen[str]:
    """A script in a group of its own, so that a signal reaches it and its workers, as Ctrl-C in a terminal does."""
    return subprocess.Popen(
        [sys.executable, *map(str, words)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def has_imported(process: subprocess.Popen[str], name: str) -> bool:
    return name in Path(f"/proc/{process.pid}/maps").read_text()


def stopped(process: subprocess.Popen[str], number: int, name: str) -> list[str]:
    """Send a signal to a script and its workers; returns the lines it says before it ends as it should."""
    os.killpg(process.pid, number)
    _, error = process.communicate(timeout=60)
    code, word = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}[signal.Signals(number)]
    assert process.returncode == code, error
    *others, last = error.splitlines()
    assert last == f"{name}: {word}"
    assert "Traceback" not in error
    return others


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_sampling_that_is_stopped_leaves_nothing_half_done(number: int, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("sample_diffusion.py", "--category", "cat", "--checkpoint", files / "good.safetensors", "--out", out)
    process = start(*command, "--n", 1_000_000, "--steps", 100)
    wait_until(lambda: has_imported(process, "libtorch"), process)
    time.sleep(1.5)
    assert stopped(process, number, "sample_diffusion.py") == []
    assert list(out.iterdir()) == []
    if number == signal.SIGINT:  # the same command, but for its length
        again = run(*command, "--n", 4, "--steps", 2)
        assert again.returncode == 0, again.stderr
        assert "drawings.ndjson" in assert_whole(out)


def test_tuning_that_is_stopped_writes_no_weights(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned.safetensors"
    process = start("tune_sampling.py", "--category", "cat", "--data-dir", "embedded", "--out", out, "--n", 100_000,
                    "--checkpoint", files / "good.safetensors", "--guide", files / "good.safetensors")  # fmt: skip
    wait_until(lambda: has_imported(process, "libtorch"), process)
    time.sleep(1.5)
    assert stopped(process, signal.SIGTERM, "tune_sampling.py") == []
    assert list(tmp_path.iterdir()) == []


def test_training_of_features_says_where_it_goes_on_and_does(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "network.safetensors"
    state = out.with_suffix(".training") / "state.pt"
    command = ("train_features.py", "--data-dir", files / "data", "--out", out, "--workers", 2, "--epochs", 1000,
               "--batch-size", 32)  # fmt: skip
    process = start(*command)
    wait_until(state.exists, process)
    said = stopped(process, signal.SIGINT, "train_features.py")
    (line,) = [line for line in said if line.strip()]
    assert line.startswith("stopped after epoch")
    assert line.endswith("of 1000; the same command goes on from there")
    assert sorted(tmp_path.rglob(".*")) == []
    assert not out.exists()
    before = state.stat().st_mtime_ns
    again = start(*command)
    wait_until(lambda: state.stat().st_mtime_ns != before, again)
    said = stopped(again, signal.SIGTERM, "train_features.py")
    assert any(line.startswith(f"resuming {state} after epoch") for line in said)


def test_the_whole_pipeline_that_is_stopped_goes_on_from_its_training(tmp_path: Path, long_form: bool) -> None:
    command = ("run_all.py", "--profile", "smoke", "--categories", "cat", "--n", 8, "--out", tmp_path)
    state = tmp_path / "smoke" / "cat" / "training" / "training_state.pt"
    process = start(*command)
    wait_until(state.exists, process)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert error.splitlines()[-1] == "run_all.py: interrupted"
    assert "Traceback" not in error
    assert [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")] == []
    if long_form:
        again = run(*command)
        assert again.returncode == 0, again.stderr
        assert "Resuming cat from step" in again.stdout
        assert (tmp_path / "report.html").stat().st_size > 10_000


def test_files_of_drawings_are_whole_whenever_the_writer_is_killed(
    files: Path, tmp_path: Path, long_form: bool
) -> None:
    names = set()
    for attempt in range(20 if long_form else 5):
        out = tmp_path / str(attempt)
        process = start("sample_diffusion.py", "--category", "cat", "--checkpoint", files / "good.safetensors", "--n",
                        64, "--steps", 2, "--out", out)  # fmt: skip
        wait_until((out / "drawings.ndjson").exists, process)
        time.sleep(attempt % 5 * 0.15)
        process.kill()
        process.communicate()
        names |= set(assert_whole(out))
    assert "drawings.ndjson" in names


@pytest.mark.parametrize("limit", [2_000, 9_000, 40_000])
def test_a_kill_in_the_middle_of_a_write_leaves_whole_files(limit: int, files: Path, tmp_path: Path) -> None:
    """The system kills the process in the very write that makes a file longer than the limit."""

    def killed_at_limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    words = ["sample_diffusion.py", "--category", "cat", "--checkpoint", str(files / "good.safetensors"), "--n", "64",
             "--steps", "2", "--out", str(tmp_path / "out")]  # fmt: skip
    program = (
        f"import runpy, signal, sys; sys.argv = {words}; sys.path.insert(0, '.')\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    assert run("-c", program, preexec_fn=killed_at_limit).returncode == -signal.SIGXFSZ
    assert_whole(tmp_path / "out")


# ---- devices


def test_a_gpu_that_is_not_there_is_refused_and_the_cpu_draws_as_auto_does(files: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    for line in ("sample_diffusion.py --checkpoint F --out O --category cat", "run_all.py --out O --categories cat",
                 "tune_sampling.py --checkpoint F --guide F --category cat --data-dir embedded --out O/x"):  # fmt: skip
        words = [{"F": files / "good.safetensors", "O": tmp_path / "o"}.get(word, word) for word in line.split()]
        answer = run(*words, "--device", "cuda", env={"QUICKDRAW_DIR": ""})
        assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1), answer.stderr
        assert "--device is cuda, but PyTorch sees no CUDA GPU here" in answer.stderr
    command = ["--category", "cat", "--checkpoint", str(files / "good.safetensors"), "--n", "6", "--steps", "2"]
    for name in ("cpu", "auto"):
        sample_diffusion.main([*command, "--device", name, "--out", str(tmp_path / name)])
    assert len({(tmp_path / name / "drawings.ndjson").read_bytes() for name in ("cpu", "auto")}) == 1


def test_a_training_for_a_gpu_says_on_a_cpu_how_long_it_takes() -> None:
    full, quick = (
        run_all.build_parser().parse_args(["--profile", name, "--device", "cpu"]) for name in ("full", "quick")
    )
    with pytest.warns(UserWarning, match=r"--profile full wants a GPU: on a CPU a category takes about 4 days of one"):
        run_all.check_device(run_all.PROFILE_SETTINGS["full"], full)
    run_all.check_device(run_all.PROFILE_SETTINGS["quick"], quick)


# ---- few drawings


def test_scores_of_few_drawings_say_what_they_do_not_mean(files: Path, tmp_path: Path) -> None:
    answer = run("metrics.py", "score", "--generated", files / "cats.ndjson", "--real", files / "cats.ndjson")
    assert answer.returncode == 0, answer.stderr
    scores = json.loads(answer.stdout)
    assert scores["note"].startswith("40 generated and 40 real drawings for 256 features: a covariance of no more")
    assert scores["fid"]["value"] == pytest.approx(0, abs=1e-6)
    assert {figures["value"] for figures in scores["strokes"]["distances"].values()} == {0.0}
