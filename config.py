"""The settings of every run: one frozen dataclass per kind, which feeds --help, validation and checkpoints.

This is the floor of the house: it imports nothing of the project and nothing heavy, so that `--help` and every
message about bad input answer at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import os
import re
import signal
import sys
import typing
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

CATEGORIES = ("cat", "bus", "rabbit")
TURKISH_NAMES = {"kedi": "cat", "otobus": "bus", "tavsan": "rabbit", "araba": "car"}
SAMPLERS = ("dpm-solver++", "ddim", "ancestral")
SPLITS = ("auto", "official", "leak-free", "local")
SPACINGS = ("even", "curved", "fitted")
PROFILES = ("smoke", "quick", "full")
PRECISIONS = ("auto", "float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda")
AS_TUNED = -1.0
"""The strength of guidance that says: what the checkpoint was tuned for."""
ATTRIBUTION = "Quick, Draw! dataset, (c) Google, CC BY 4.0"
STATE_FILE, SETTINGS_FILE = "training_state.pt", "settings.json"
"""In a training's folder: what it goes on from, and what it is, which is enough to refuse another command at once."""
CHECKPOINTS = Path(__file__).resolve().parent / "checkpoints"
NETWORK_PATH = CHECKPOINTS / "sketch_features.safetensors"
REFERENCE_PATH = CHECKPOINTS / "reference_features.safetensors"

Config = TypeVar("Config")


class RunFailed(RuntimeError):
    """The run failed for a reason that is not the user's input; scripts end with exit code 1."""


def resolve_category(name: str, available: Sequence[str] = ()) -> str:
    """Return the English category name of `name`, which may be Turkish and in any case.

    `available` are the names to accept, by default the three of the assignment. Raises ValueError with the
    available ones and the nearest match.
    """
    known = tuple(available) or CATEGORIES
    wanted = name.strip()
    for candidate in (wanted, wanted.lower(), TURKISH_NAMES.get(plain_name(wanted), "")):
        if candidate in known:
            return candidate
    close = difflib.get_close_matches(wanted.lower(), known, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else "."
    shown = ", ".join(known) if len(known) <= 12 else f"{', '.join(known[:8])} ... ({len(known)} in all)"
    raise ValueError(f"unknown category {quoted(name)}{hint} Available: {shown}")


def quoted(name: str) -> str:
    """Return a name that somebody gave in quotes, on one line, also where it would fill or spoil a message."""
    return f"'{name}'" if name.isprintable() and len(name) <= 100 else f"{name!r:.60} ..."


def plain_name(name: str) -> str:
    """Return a name in lower case without dots and tails: KEDİ and otobüs are typed in more than one way."""
    letters = unicodedata.normalize("NFKD", name.replace("ı", "i").lower())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[str] = (),
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """Return a dataclass field with its help text and the range that `validate` holds it to."""
    limits = {"help": help, "choices": tuple(choices), "minimum": minimum, "maximum": maximum}
    return field(default=default, metadata=limits)


@dataclass(frozen=True)
class ModelConfig:
    """The shape of the network; stored in every checkpoint, and enough to rebuild it."""

    num_points: int = option(32, "points per stroke token", minimum=2, maximum=256)
    max_strokes: int = option(24, "longest drawing, in strokes", minimum=1, maximum=256)
    width: int = option(256, "width of transformer and denoiser", minimum=16, maximum=4096)
    num_layers: int = option(5, "layers of the history transformer", minimum=1, maximum=64)
    num_heads: int = option(8, "attention heads", minimum=1, maximum=64)
    denoiser_layers: int = option(4, "layers of the stroke denoiser", minimum=1, maximum=64)
    dropout: float = option(0.1, "dropout in training", minimum=0, maximum=0.9)
    spacing: str = option("fitted", "points of a token: even in arc length, denser in curves, or fitted to the stroke",
                          choices=SPACINGS)  # fmt: skip
    whitening: str = option("components", "tokens by principal components, or points of one common scale",
                            choices=("components", "points"))  # fmt: skip
    denoiser: str = option("attention", "the denoiser attends to earlier strokes, or is an MLP of equal cost",
                           choices=("attention", "mlp"))  # fmt: skip
    denoiser_category: str = option("through-history", "how the denoiser learns the category",
                                    choices=("through-history", "direct"))  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Lengths are optimizer updates; a batch is counted in strokes, not drawings."""

    category: str = option("cat", "cat, bus, rabbit, a list with commas, or 'all'")
    companions: str = option("", "categories trained beside, with commas, or 'all': rehearsal against overfitting")
    companion_share: float = option(0.5, "share of drawings from companions", minimum=0, maximum=0.95)
    balance: float = option(0.5, "a category is drawn in proportion to its size to this power",
                            minimum=0, maximum=1)  # fmt: skip
    steps: int = option(6000, "optimizer updates", minimum=1, maximum=10_000_000)
    batch_strokes: int = option(2048, "stroke tokens per batch, padding included", minimum=16, maximum=1_000_000)
    parts: int = option(2, "parts that a batch is computed in: more need less memory; processes share them",
                        minimum=1, maximum=1024)  # fmt: skip
    noise_draws: int = option(4, "noise levels trained per stroke and pass", minimum=1, maximum=64)
    first_stroke_draws: int = option(0, "further noise levels trained on the first stroke, which no other one explains",
                                     minimum=0, maximum=256)  # fmt: skip
    learning_rate: float = option(1e-3, "peak learning rate", minimum=0, maximum=1)
    warmup: int = option(300, "updates of linear warm-up", minimum=0, maximum=1_000_000)
    weight_decay: float = option(0.05, "AdamW weight decay of matrices", minimum=0, maximum=10)
    ema_decay: float = option(0.999, "decay of the weights' moving average", minimum=0, maximum=0.999999)
    scale_weight: float = option(
        0.5, "a component's loss is weighted by its scale in pixels to this power", minimum=0, maximum=2
    )
    min_snr: float = option(0.0, "gamma of min-SNR loss weighting, 0 is off", minimum=0, maximum=1000)
    history_noise: float = option(0.1, "largest noise on the history, whitened units", minimum=0, maximum=2)
    category_dropout: float = option(0.1, "share of drawings trained without category", minimum=0, maximum=1)
    augmentation: float = option(0.08, "size of the random affine change of a drawing", minimum=0, maximum=1)
    stop_weight: float = option(0.1, "weight of the stop loss beside the diffusion loss", minimum=0, maximum=100)
    seed: int = option(0, "random seed", minimum=0, maximum=2**31 - 1)
    precision: str = option("auto", "auto is bfloat16 where the hardware has it", choices=PRECISIONS)
    validate_every: int = option(500, "updates between validations and checkpoints", minimum=1, maximum=10_000_000)
    sample_every: int = option(2000, "updates between sample grids, 0 for none", minimum=0, maximum=10_000_000)


@dataclass(frozen=True)
class SampleConfig:
    """One sampling run: which drawings, by which sampler."""

    n: int = option(64, "number of drawings", minimum=1, maximum=10_000_000)
    seed: int = option(0, "seed; drawing i depends on it and on i alone", minimum=0, maximum=2**31 - 1)
    sampler: str = option("dpm-solver++", "diffusion sampler", choices=SAMPLERS)
    steps: int = option(20, "denoising steps per stroke; ancestral always takes all", minimum=1, maximum=1000)
    eta: float = option(0.0, "DDIM only: 0 deterministic, 1 as noisy as ancestral", minimum=0, maximum=1)
    guidance: float = option(AS_TUNED, "strength of guidance, 1 is off, -1 is what the checkpoint was tuned for",
                             minimum=AS_TUNED, maximum=20)  # fmt: skip
    guide: str = option("tuned", "guide away from: weights of a weaker model, 'null' for no category, or 'tuned': "
                                 "what the checkpoint was tuned with")  # fmt: skip
    batch_size: int = option(256, "drawings at once; changes speed, not drawings", minimum=1, maximum=100_000)
    precision: str = option("float32", "arithmetic of the network", choices=PRECISIONS)


def validate(config: Any) -> None:
    """Check every field of a config dataclass against its range, raising ValueError with flag, value and limit."""
    for spec in dataclasses.fields(config):
        value, flag = getattr(config, spec.name), "--" + spec.name.replace("_", "-")
        choices = spec.metadata.get("choices", ())
        low, high = spec.metadata.get("minimum"), spec.metadata.get("maximum")
        if choices and value not in choices:
            raise ValueError(f"{flag} is '{value}', must be one of {', '.join(choices)}")
        # written so that NaN fails as well
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            raise ValueError(f"{flag} is {value}, must lie in {low:g} ... {high:g}")


def add_config_arguments(parser: argparse.ArgumentParser, kind: type[Any], skip: Sequence[str] = ()) -> None:
    """Add one flag per field of the dataclass `kind` to `parser`, with its help, default and range."""
    hints = typing.get_type_hints(kind)
    for spec in dataclasses.fields(kind):
        if spec.name in skip:
            continue
        meta = spec.metadata
        limits = f", {meta['minimum']:g} to {meta['maximum']:g}" if meta.get("minimum") is not None else ""
        choices = f", one of {' | '.join(meta['choices'])}" if meta.get("choices") else ""
        shown = "''" if spec.default == "" else spec.default
        parser.add_argument(
            "--" + spec.name.replace("_", "-"),
            type=hints[spec.name],
            default=argparse.SUPPRESS,  # so that a script can see which flags were given
            metavar=hints[spec.name].__name__.upper(),
            help=f"{meta['help']} (default {shown}{limits}{choices})".replace("%", "%%"),
        )


def config_from_arguments(kind: type[Config], arguments: argparse.Namespace) -> Config:
    """Return a validated `kind` from parsed arguments; fields that have no flag keep their defaults."""
    names = [spec.name for spec in dataclasses.fields(kind)]  # type: ignore[arg-type]
    config = kind(**{name: getattr(arguments, name) for name in names if hasattr(arguments, name)})
    validate(config)
    return config


def config_from_dict(kind: type[Config], values: dict[str, Any], source: str) -> Config:
    """Return a validated `kind` from the plain dict in a checkpoint, naming `source` in every error."""
    names = {spec.name for spec in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if not isinstance(values, dict):
        raise ValueError(f"{source}: its {kind.__name__} is no table of settings")
    if set(values) != names:
        odd = sorted(set(values) ^ names)
        raise ValueError(f"{source}: its {kind.__name__} does not fit this program, fields {', '.join(odd)}")
    hints = typing.get_type_hints(kind)
    for name, value in values.items():
        if not isinstance(value, (int, float) if hints[name] is float else hints[name]):
            raise ValueError(f"{source}: {name} is {value!r}, must be of type {hints[name].__name__}")
    config = kind(**values)
    try:
        validate(config)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    return config


def refuse_other_run(folder: Path, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ValueError naming the first setting in which a command, `now`, differs from the run saved in `folder`.

    Both are tables of tables: the parts of a run and their settings. What `now` does not speak of is not compared.
    """
    for part, settings in now.items():
        if different := _difference(saved.get(part), settings):
            names, found, value = different
            raise ValueError(
                f"{folder} holds a run with {' '.join([part, *names])} = {found!r:.200}, this command says "
                f"{value!r:.200}; repeat its command, or choose another --out"
            )


def _difference(saved: Any, now: Any) -> tuple[list[str], Any, Any] | None:
    """Return the keys that lead to the first difference of two nested tables, and the two values, or None."""
    if not isinstance(saved, Mapping) or not isinstance(now, Mapping):
        return None if saved == now else ([], saved, now)
    for key in dict.fromkeys([*now, *saved]):
        if different := _difference(saved.get(key), now.get(key)):
            names, found, value = different
            return [str(key), *names], found, value
    return None


def is_first_process() -> bool:
    """Tell whether this process is the one that prints and writes, where torchrun has started several."""
    return os.environ.get("RANK", "0") == "0"


class _OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the whole usage before it."""

    def error(self, message: str) -> typing.NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (--help lists the options)\n")


def script_parser(docstring: str | None) -> argparse.ArgumentParser:
    """Return a parser that shows the module's docstring as its help and has --debug."""
    parser = _OneLineParser(
        description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--debug", action="store_true", help="show the full traceback of an error")
    return parser


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Add --device, which ``devices.best_device`` understands, to `parser`."""
    parser.add_argument("--device", default="auto", choices=DEVICES, help="where to compute (default auto: a GPU "
                        "where there is one)")  # fmt: skip


def check_folder(folder: Path, flag: str = "--out") -> None:
    """Make a folder that is to be written into, raising ValueError where that fails: before the work, not after it."""
    import tempfile

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{folder}: cannot be written into ({error.strerror}); choose another {flag}") from None


def check_file(path: Path, flag: str = "--out") -> None:
    """Make the folder of a file that is to be written, raising ValueError as ``check_folder`` does."""
    if path.is_dir():
        raise ValueError(f"{path}: is a folder, {flag} must name a file")
    check_folder(path.parent, flag)


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM: everything is tidied up as after Ctrl-C."""


def _terminate(signum: int, frame: object) -> typing.NoReturn:
    raise Terminated


def run_script(main: Callable[[], Any], less_memory: str = "") -> typing.NoReturn:
    """Run a script's `main` and exit: 0 done, 1 the run failed, 2 bad input, 130 interrupted, 143 terminated.

    Errors and warnings are one line. `less_memory` says which flag to turn when memory runs out.
    """
    debug = "--debug" in sys.argv
    name = Path(sys.argv[0]).name
    warnings.formatwarning = lambda message, *rest: f"warning: {' '.join(str(message).split())}\n"
    signal.signal(signal.SIGTERM, _terminate)
    try:
        try:
            main()
        finally:
            _flush_output()
    except KeyboardInterrupt as error:
        print(f"{name}: {'terminated' if isinstance(error, Terminated) else 'interrupted'}", file=sys.stderr)  # noqa: T201
        sys.exit(143 if isinstance(error, Terminated) else 130)
    except BrokenPipeError:  # whoever read the output has enough of it
        sys.exit(141)
    except (ValueError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        _fail(name, error, 2, debug)
    except (RuntimeError, OSError, MemoryError) as error:
        _fail(name, error, 1, debug, less_memory)
    sys.exit(0)


def _flush_output() -> None:
    """Write out what was printed while an error of it can still be told; what cannot be written is dropped."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        if not isinstance(error, BrokenPipeError):
            raise OSError(error.errno, error.strerror, "standard output") from None
        raise


def _fail(name: str, error: BaseException, code: int, debug: bool, less_memory: str = "") -> typing.NoReturn:
    if debug:
        raise error
    print(f"{name}: error: {_reason(error, less_memory)}", file=sys.stderr)  # noqa: T201
    sys.exit(code)


def _reason(error: BaseException, less_memory: str) -> str:
    """Return one line that says what went wrong: `file: reason` for errors of the system, advice for lack of memory."""
    if isinstance(error, OSError) and error.strerror:
        return ": ".join(str(part) for part in (error.filename, error.strerror) if part is not None)
    text = str(error).strip()
    if isinstance(error, MemoryError) or re.search("out of memory|can't allocate memory|bad_alloc", text):
        wanted = re.search(r"allocate ([\d.]+ \w+)", text)
        size = f" ({wanted[1]} more were wanted)" if wanted else ""
        return f"out of memory{size}" + (f": try {less_memory}" if less_memory else "")
    return (text.splitlines() or [type(error).__name__])[0]
