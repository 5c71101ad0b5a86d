"""What a user sees of every script: one line for what is wrong, whole files whatever happens, signals, exit codes."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import pickle
import re
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, Answer, wait_until
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_house import SCRIPTS

from config import CATEGORIES
from dataset_utils import read_ndjson, write_ndjson
from diffusion_model import TrainedModel, save_weights
from drawings.embedded import embedded_drawings
from plumbing.files import LOCK, UNFINISHED
from plumbing.run_folder import STATE_FILE, remove_training

BUFFERED = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}


def run(*words: object, **more: Any) -> subprocess.CompletedProcess[str]:
    """A script in a process of its own."""
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=BUFFERED, capture_output=True, text=True, timeout=300, **more)


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def changed(source: Path, target: Path, tensors: dict[str, torch.Tensor] | None = None, **words: object) -> Path:
    """A weights file with other words in its header, or other tensors."""
    with safe_open(source, framework="pt") as file:
        # a forger leaves out the hash of the content
        header = {key: value for key, value in file.metadata().items() if "sha256" not in key}
    header |= {key: value if isinstance(value, str) else json.dumps(value) for key, value in words.items()}
    save_file(load_file(source) | (tensors or {}), target, header)
    return target


@pytest.fixture(scope="module")
def files(tiny_model: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of good and bad files of every kind."""
    folder = tmp_path_factory.mktemp("files")
    good = folder / "good.safetensors"
    save_weights(good, dataclasses.replace(tiny_model, conditions={"trained_on": ["cat"]}), torch.float32)
    (folder / "cut.safetensors").write_bytes(good.read_bytes()[:-7])
    (folder / "bomb.safetensors").write_bytes(pickle.dumps(Bomb(folder / "exploded")))
    headers: dict[str, dict[str, object]] = {
        "bus": {"conditions": {"trained_on": ["bus"]}},
        "no-guide": {"conditions": {"sampling": {"guidance": 2, "guide": {"file": "gone.safetensors", "sha256": ""}}}},
    }
    for name, words in headers.items():
        changed(good, folder / f"{name}.safetensors", **words)
    changed(good, folder / "tokens.safetensors", {"whitening.basis": load_file(good)["whitening.basis"].flip(0)})
    (folder / "pickle.pth").write_bytes(pickle.dumps(Bomb(folder / "exploded")))
    (folder / "text.pth").write_text("<html>not found</html>")
    drawings = embedded_drawings("cat", 40)
    write_ndjson(folder / "cats.ndjson", drawings, word="cat")
    write_ndjson(folder / "one.ndjson", drawings[:1], word="cat")
    write_ndjson(folder / "dogs.ndjson", drawings, word="dog")
    (folder / "wordless.ndjson").write_text('{"drawing": [[[0, 9], [0, 9]]]}\n' * 3)
    (folder / "html.ndjson").write_text("<html>\n")
    (folder / "data").mkdir()
    for category in CATEGORIES:
        write_ndjson(folder / "data" / f"{category}.ndjson", embedded_drawings(category, 80), word=category)
    (folder / "nothing").mkdir()
    return folder


SAMPLE = "sample_diffusion --category cat --out F/nothing"
TUNE = "studies.tune_sampling --category cat --data-dir embedded --out F/tuned.safetensors"
FEATURES = "studies.train_features --data-dir F/data --epochs 1 --batch-size 32"
TRAIN = "train_diffusion --data-dir embedded --out F/nothing"
OFFICIAL = "metrics official --real F/cats.ndjson --generated F/cats.ndjson"
REFUSED = (
    (f"{SAMPLE} --checkpoint F/gone.safetensors", "gone.safetensors: no such checkpoint"),
    (f"{SAMPLE} --checkpoint F/cut.safetensors", "cut.safetensors: damaged"),
    (f"{SAMPLE} --checkpoint F/bomb.safetensors", "bomb.safetensors: damaged"),
    (f"{SAMPLE} --checkpoint F/bus.safetensors", "bus.safetensors: this checkpoint draws bus, not 'cat'"),
    (f"{SAMPLE} --checkpoint F/good.safetensors --guidance 2 --guide F/bus.safetensors", "draws bus, not"),
    (f"{SAMPLE} --checkpoint F/good.safetensors --guidance 2 --guide F/gone.safetensors", "gone.safetensors: no such"),
    (f"{TUNE} --checkpoint F/bomb.safetensors --guide F/good.safetensors", "bomb.safetensors: damaged"),
    (f"{TUNE} --guide F/tokens.safetensors --checkpoint F/good.safetensors", "other stroke tokens"),
    (f"{TUNE} --checkpoint F/good.safetensors --strengths two", "--strengths is 'two'"),
    (f"{TUNE} --checkpoint F/good.safetensors --strengths 99", "--guidance is 99"),
    (f"{TUNE} --checkpoint F/good.safetensors --n 1", "--n is 1"),
    (f"{SAMPLE} --checkpoint F/no-guide.safetensors", "gone.safetensors"),
    (f"{SAMPLE} --checkpoint F", "is a folder, must be a file"),
    (f"{SAMPLE} --checkpoint F/good.safetensors --category tavşan", "good.safetensors: unknown category 'tavşan'"),
    (f"{SAMPLE} --checkpoint F/good.safetensors --category tavşan", "without --checkpoint rabbit.safetensors draws it"),
    (f"{SAMPLE} --checkpoint F/good.safetensors --category bus", "; without --checkpoint bus.safetensors draws it"),
    (f"{SAMPLE} --prefix F", "is a folder, must be a file"),
    ("metrics score --generated F", "is a folder, must be a file"),
    ("sample_diffusion --category ../x", "unknown category '../x'"),
    (f"{SAMPLE} --prefix F/html.ndjson", "html.ndjson: is a web page (HTML)"),
    (f"{SAMPLE} --prefix F/gone.ndjson", "gone.ndjson: no such file"),
    (f"{SAMPLE} --steps 1001", "--steps is 1001, must lie in 1 ... 1000"),
    (f"{SAMPLE} --sampler euler", "--sampler is 'euler', must be one of"),
    (f"{SAMPLE} --guidance -0.5", "--guidance is -0.5, must lie in 0 ... 20, or be auto"),
    (f"{SAMPLE} --eta 0.5", "--eta is 0.5, which only --sampler ddim knows"),
    (f"{SAMPLE} --keep-strokes 0 --prefix F/cats.ndjson", "--keep-strokes is 0"),
    (f"{SAMPLE} --keep-strokes 2", "--keep-strokes is 2, must be at least 1 and come with --prefix"),
    (f"{SAMPLE} --steps many", "--steps: invalid int value: 'many'"),
    (f"{SAMPLE} --seed 2147483648", "--seed is 2147483648, must lie in 0 ... 2147483647"),
    (f"{SAMPLE}/x --out F/one.ndjson", "one.ndjson: cannot be written into (File exists)"),
    (f"{SAMPLE}/x --out /proc/drawings", "/proc/drawings: cannot be written into"),
    ("metrics score --generated F/gone.ndjson", "gone.ndjson: no such file"),
    ("metrics score --generated F/one.ndjson", "one.ndjson: 1 drawings, scoring needs at least 2"),
    ("metrics score --generated F/cats.ndjson --category unicorn", "unknown category 'unicorn'"),
    ("metrics score --generated F/dogs.ndjson", "not 'dog'; give --real"),
    ("metrics score --generated F/wordless.ndjson", "wordless.ndjson:1: has no text under the key 'word'; give"),
    ("metrics score --generated F/cats.ndjson --out F", "is a folder, --out must name a file"),
    (f"{OFFICIAL} --inception-weights F/gone.pth", "gone.pth: no such file"),
    (f"{OFFICIAL} --inception-weights F/text.pth", "text.pth: damaged, or not a state dict"),
    (f"{OFFICIAL} --batch-size 0", "--batch-size is 0"),
    ("metrics official --real F/cats.ndjson --generated F/nothing", "nothing: 0 pictures, scoring needs at least 2"),
    ("metrics score --generated F/cats.ndjson --seed -1", "--seed is -1, must lie in 0"),
    ("metrics pictures --drawings F/cats.ndjson --out F/nothing --n 41", "--n is 41, must lie in 1 ... 40"),
    ("metrics pictures --drawings F/cats.ndjson --out F/one.ndjson", "cannot be written into"),
    ("studies.train_features --data-dir F/gone", "gone: no such folder"),
    (f"{FEATURES} --out F/one.ndjson/x", "cannot be written into"),
    (f"{FEATURES} --out F/new.safetensors --device gpu", "argument --device: invalid choice: 'gpu'"),
    ("run_all --out /proc/results", "cannot be written into"),
    ("run_all --data-dir F/gone --out F/nothing", "gone (the data folder that was asked for): no such folder"),
    ("run_all --seeds 0", "--seeds is 0"),
    ("run_all --seed -1", "--seed is -1"),
    ("run_all --name ../x", "--name is '../x'"),
    ("run_all --n 3", "--n is 3, must lie in 4 ... 1000000"),
    ("run_all --categories unicorn", "unknown category 'unicorn'"),
    ("studies.ablations --only nothing", "--only names 'nothing'"),
    ("studies.held_out_losses --checkpoints F/nothing --out F/new.json", "base.safetensors: no such checkpoint"),
    ("studies.held_out_losses --out F", "is a folder, --out must name a file"),
    ("studies.benchmark --scale 0", "--scale is 0"),
    ("studies.benchmark --only drawing,speed", "--only names 'speed'"),
    ("studies.benchmark --data-dir F/gone", "no such folder"),
    ("draw_with_me --port 65536 --build-only", "--port is 65536, must lie in 0 ... 65535"),
    ("draw_with_me --site F/data --build-only", "data: holds other files than a page; choose another --site"),
    ("dataset_utils splits --check --out F/nothing", "nothing/cat/indices.json: missing"),
    ("dataset_utils pack --data-dir F/one.ndjson --out F/nothing", "is a file, must be a folder"),
    ("dataset_utils pack --data-dir F/gone --out F/nothing", "gone (the data folder that was asked for): no such"),
    ("train_diffusion --steps 0", "--steps is 0, must lie in 1"),
    (f"{TRAIN} --category ../x", "unknown category '../x'"),
    (f"{TRAIN} --category kat", "unknown category 'kat'; did you mean 'cat'"),
    (f"{TRAIN} --category ,", "--category is empty"),
    (f"{TRAIN} --companions dgo", "unknown category 'dgo'"),
    (f"{TRAIN} --schedule linear", "--schedule is 'linear', must be one of cosine, constant-decay"),
    (f"{TRAIN} --init F/gone.safetensors", "gone.safetensors: no such"),
    (f"{TRAIN} --preset finetune-cat --width 64", "--width is given beside --init, whose checkpoint decides it"),
    ("train_diffusion --learning-rate nan", "--learning-rate is nan"),
    ("train_diffusion --preset nothing", "invalid choice: 'nothing'"),
)  # fmt: skip


@pytest.mark.parametrize(("line", "message"), REFUSED, ids=[f"{n}-{line}" for n, (line, _) in enumerate(REFUSED)])
def test_what_the_user_did_wrong_is_one_line_and_nothing_is_written(
    line: str, message: str, files: Path, answer: Callable[..., Answer]
) -> None:
    words = [word.replace("F", str(files), 1) if word.startswith("F") else word for word in line.split()]
    before = sorted(files.rglob("*"))
    said = answer(*words)
    assert said.code == 2, said
    assert message in said.err
    assert len([text for text in said.err.splitlines() if " error: " in text]) == 1
    assert "Traceback" not in said.err
    assert [path for path in sorted(files.rglob("*")) if path not in before] == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_explains_itself(script: str, answer: Callable[..., Answer]) -> None:
    helped = answer(script.replace("/", "."), "--help")
    assert (helped.code, helped.err) == (0, "")
    assert "usage" in helped.out


def test_a_package_of_ones_own_does_not_stand_before_a_module_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "__init__.py").touch()
    program = "import dataset_utils, training_data; print(dataset_utils.CATEGORIES)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=BUFFERED | {"PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "('cat', 'bus', 'rabbit')\n"), done.stderr


def test_debug_shows_where_an_error_arose(answer: Callable[..., Answer]) -> None:
    with pytest.raises(ValueError, match="unknown category"):
        answer("sample_diffusion", "--category", "../x", "--debug")


# ---- what the system says


def program(body: str) -> subprocess.CompletedProcess[str]:
    """A script whose main is `body`."""
    start = "from plumbing import command_line\ndef main():\n    "
    return run("-c", f"{start}{body}\ncommand_line.run_script(main, 'a smaller --batch-size')")


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("open('/proc/nothing', 'w')", 2, "/proc/nothing: No such file or directory"),
        ("raise OSError(28, 'No space left on device', '/a/b')", 1, "/a/b: No space left on device"),
        ("raise RuntimeError('first\\nsecond')", 1, "first"),
        ("import numpy; numpy.zeros(10**15)", 1,
         "out of memory: try a smaller --batch-size"),
        ("raise RuntimeError('CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has')", 1,
         "out of memory: try a smaller --batch-size"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("import os; os.kill(os.getpid(), 15); import time; time.sleep(9)", 143, "terminated"),
    ],
)  # fmt: skip
def test_errors_of_the_system_are_one_plain_line(body: str, code: int, message: str) -> None:
    said = program(body)
    assert said.returncode == code, said.stderr
    assert said.stderr.splitlines() in ([f"-c: error: {message}"], [f"-c: {message}"])


def test_warnings_are_one_line_without_their_source() -> None:
    said = program("import warnings; warnings.warn('state.pt: damaged,\\n  using the previous one')")
    assert (said.returncode, said.stderr) == (0, "warning: state.pt: damaged, using the previous one\n")


def test_a_reader_that_has_enough_is_no_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", "from plumbing import command_line\n"
                                "command_line.run_script(lambda: print('x' * 100_000))"],
                               cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 141


def test_output_that_cannot_be_printed_is_said_once() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", "from plumbing import command_line\ncommand_line.run_script(lambda: print(1))"]
        done = subprocess.run(command, cwd=ROOT, env=BUFFERED, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "-c: error: standard output: No space left on device\n")


def without_the_rights_of_root() -> None:
    """Take from this process, and from what it starts, root's right to write where the mode forbids it."""
    drop_from_bounding_set, may_override_modes = 24, 1  # of prctl(2) and capabilities(7)
    libc = ctypes.CDLL(None, use_errno=True)
    if os.getuid() == 0 and libc.prctl(drop_from_bounding_set, may_override_modes, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def test_a_folder_that_is_read_only_is_said_before_the_work(tmp_path: Path, files: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    words = ("sample_diffusion.py", "--category", "cat", "--checkpoint", files / "good.safetensors", "--out", locked)
    try:
        said = run(*words, preexec_fn=without_the_rights_of_root)
    except subprocess.SubprocessError:
        pytest.skip("root may not give up its rights here")
    assert said.returncode == 2, said.stderr
    assert "cannot be written into (Permission denied); choose another --out" in said.stderr
    assert list(locked.iterdir()) == []


# ---- strangers' files


def test_nothing_in_a_strangers_file_is_executed(files: Path, tmp_path: Path, answer: Callable[..., Answer]) -> None:
    exploded, pictures = files / "exploded", tmp_path / "pictures"
    pictures.mkdir()
    np.savez(pictures / "cat.npz", images=np.array([Bomb(exploded)], dtype=object))
    network = tmp_path / "network.safetensors"
    network.write_bytes((ROOT / "checkpoints" / "sketch_features.safetensors").read_bytes())
    drawings = files / "cats.ndjson"
    features = ("studies.train_features", "--data-dir", files / "data")
    for words in (
        ("metrics", "official", "--real", drawings, "--generated", drawings,
         "--inception-weights", files / "pickle.pth"),
        (*features, "--out", files / "bomb.safetensors"),
        (*features, "--out", network, "--pictures", pictures, "--reference", tmp_path / "reference.safetensors"),
    ):  # fmt: skip
        said = answer(*words)
        assert said.code == 2, said
        assert "Traceback" not in said.err
        assert not exploded.exists()
    pickle.loads((files / "pickle.pth").read_bytes())  # so it is a bomb indeed
    assert exploded.exists()
    exploded.unlink()


# ---- files are whole, for all to read, and the user's stay


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


def draw(files: Path, out: Path, n: int = 12) -> tuple[object, ...]:
    """The words that draw with the little model."""
    weights = files / "good.safetensors"
    return ("sample_diffusion.py", "--category", "cat", "--checkpoint", weights, "--n", n, "--steps", 2, "--out", out)


def test_every_file_is_for_all_to_read_whatever_the_umask(
    files: Path, tmp_path: Path, answer: Callable[..., Answer]
) -> None:
    out, before = tmp_path / "out", os.umask(0o077)
    try:
        drawings = out / "drawings.ndjson"
        assert answer(*draw(files, out)).code == 0
        for words in (("score", "--generated", drawings, "--out", out / "scores.json"),
                      ("pictures", "--drawings", drawings, "--out", out / "pictures")):  # fmt: skip
            assert answer("metrics", *words).code == 0
    finally:
        os.umask(before)
    made = [path for path in out.rglob("*") if path.is_file() and path.name != LOCK]
    assert {path.name for path in made} >= {"drawings.ndjson", "grid.png", "animation.gif", "scores.json", "00000.png"}
    assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in made} == {"0o644"}


# everything that a script is given to read is somebody's: S is a copy of it, D its drawings, W its weights
READ_AND_WRITTEN = (
    "metrics score --generated D --out D",
    "metrics score --generated D --out S/../s/drawings.ndjson",
    "metrics score --generated D --out S/linked/drawings.ndjson",
    "metrics score --generated D --out S/hard.json",
    "metrics score --generated F/cats.ndjson --training D --out D",
    "metrics score --generated F/cats.ndjson --real D --out D",
    "metrics official --real D --generated S/png --out S/png/a.png",
    "metrics official --real D --generated D --inception-weights W --out W",
    "sample_diffusion --category cat --checkpoint W --prefix D --out S",
    "sample_diffusion --category cat --checkpoint W --prefix D --out S/linked",
    "sample_diffusion --category cat --checkpoint W --prefix S/hard.json --out S",
    "studies.tune_sampling --category cat --data-dir embedded --checkpoint W --guide W --out W",
    "studies.tune_sampling --category cat --data-dir S --checkpoint W --guide F/good.safetensors --out D",
    "studies.held_out_losses --data-dir S --out D",
    "studies.held_out_losses --checkpoints S --out W",
    "studies.all_categories --checkpoint W --out W",
    "studies.all_categories --checkpoint W --data-dir S --json D --out S/new.png",
    "studies.benchmark --only drawing --data-dir S --out D",
    "studies.given_strokes --category cat --checkpoint W --out W",
    "studies.placement --category cat --checkpoint W --out W",
    "studies.attributes --category cat --data-dir S --avatars --out D",
    "studies.train_features --data-dir S --out D",
    "train_diffusion --data-dir embedded --init W --out S",
)


@pytest.mark.parametrize("line", READ_AND_WRITTEN)
def test_what_was_given_to_read_is_never_written_over(
    line: str, files: Path, tmp_path: Path, answer: Callable[..., Answer]
) -> None:
    own = tmp_path / "s"
    (own / "png").mkdir(parents=True)
    (own / "png" / "a.png").write_bytes(b"mine")
    (own / "linked").symlink_to(own)
    weights, drawings = own / "weights.safetensors", own / "drawings.ndjson"
    for name in ("good", "base"):
        (own / f"{name}.safetensors").write_bytes((files / "good.safetensors").read_bytes())
    (own / "good.safetensors").rename(weights)
    for path in (drawings, own / "cat.ndjson", own / "bus.ndjson"):
        path.write_bytes((files / "cats.ndjson").read_bytes())
    (own / "hard.json").hardlink_to(drawings)
    before = {path: path.read_bytes() for path in own.rglob("*") if path.is_file()}
    places = {"S": own, "D": drawings, "W": weights, "F": files}
    script, *words = line.split()
    said = answer(script, *(re.sub("^[SDWF](?=/|$)", lambda found: str(places[found[0]]), word) for word in words))
    assert said.code == 2, said
    assert "is what was given to read" in said.err
    assert {path: path.read_bytes() for path in own.rglob("*") if path.is_file()} == before


def test_what_a_script_did_not_write_stays_in_the_folder_that_it_fills(
    files: Path, tmp_path: Path, answer: Callable[..., Answer]
) -> None:
    """Whatever its name is, also where the run before was made anew or left its unfinished files."""
    train = ("train_diffusion", "--preset", "smoke", "--data-dir", files / "data", "--steps", 1)
    for number, name in enumerate(("weights.safetensors", "metrics.jsonl", "samples_0000001.png")):
        mine = tmp_path / str(number) / name
        mine.parent.mkdir()
        mine.write_text('{"step": 1}')
        said = answer(*train, "--out", mine.parent)
        assert (said.code, f"{name}: is there and was not written by this script" in said.err) == (2, True), said
        assert [mine] == list(mine.parent.iterdir())
        assert mine.read_text() == '{"step": 1}'
    folder = tmp_path / "run"
    folder.mkdir()
    theirs = {".lock", ".notes.tmp", "notes.txt"}
    for name in theirs:
        (folder / name).write_text("mine")
    (folder / f".weights.safetensors.abc{UNFINISHED}").write_text("half")
    assert answer(*train, "--out", folder).code == 0
    assert {path.name for path in folder.iterdir() if path.read_bytes() == b"mine"} == theirs
    assert not list(folder.glob(f"*{UNFINISHED}"))
    remove_training(folder)
    assert {path.name for path in folder.iterdir()} == theirs


def test_a_kill_in_the_middle_of_a_write_leaves_whole_files(files: Path, tmp_path: Path) -> None:
    """The system kills the process in the very write that makes a file longer than the limit."""

    def killed_at_limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    words = list(map(str, draw(files, tmp_path / "out", 64)))
    script = (
        f"import runpy, signal, sys; sys.argv = {words}; sys.path.insert(0, '.')\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    assert run("-c", script, preexec_fn=killed_at_limit).returncode == -signal.SIGXFSZ
    assert_whole(tmp_path / "out")


def test_a_full_disk_is_named_with_the_file_and_leaves_no_half_of_one(files: Path, tmp_path: Path) -> None:
    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))

    said = run(*draw(files, tmp_path / "out", 40), preexec_fn=small_files_only)
    assert said.returncode == 1, said.stderr
    assert str(tmp_path / "out") in said.stderr
    assert "could not be written: File too large" in said.stderr
    assert_whole(tmp_path / "out")


# ---- signals


def start(*words: object) -> subprocess.Popen[str]:
    """A script in a group of its own, so that a signal reaches it and its workers, as Ctrl-C in a terminal does."""
    return subprocess.Popen(
        [sys.executable, *map(str, words)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def stopped(process: subprocess.Popen[str], number: int) -> list[str]:
    """Send a signal to a script and its workers; returns the lines it says before it ends as it should."""
    os.killpg(process.pid, number)
    _, error = process.communicate(timeout=300)
    code, word = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}[signal.Signals(number)]
    assert process.returncode == code, error
    *others, last = error.splitlines()
    assert last.endswith(f": {word}")
    assert "Traceback" not in error
    return others


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_sampling_that_is_stopped_leaves_nothing_half_done(number: int, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(*draw(files, out, 1_000_000))
    wait_until(out.is_dir, process)  # the folder is made before the work
    time.sleep(1)
    stopped(process, number)
    assert [path.name for path in out.iterdir() if path.name != LOCK] == []


def test_the_whole_pipeline_that_is_stopped_goes_on_from_its_training(tmp_path: Path, long_form: bool) -> None:
    command = ("run_all.py", "--profile", "smoke", "--categories", "cat", "--n", 8, "--out", tmp_path)
    training = tmp_path / "smoke" / "cat" / "training"
    process = start(*command)
    wait_until((training / "metrics.jsonl").exists, process)
    stopped(process, signal.SIGINT)
    assert (training / STATE_FILE).is_file()
    assert [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")] == []
    if long_form:
        again = run(*command)
        assert again.returncode == 0, again.stderr
        assert "Resuming cat from step" in again.stdout
        assert (tmp_path / "report.html").stat().st_size > 10_000


# ---- devices


def test_a_gpu_that_is_not_there_is_refused(files: Path, tmp_path: Path, answer: Callable[..., Answer]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    said = answer(*draw(files, tmp_path), "--device", "cuda")
    assert said.code == 2
    assert "--device is cuda, but PyTorch sees no CUDA GPU here" in said.err
