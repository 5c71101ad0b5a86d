"""Command lines made from the settings, and how every script runs: exit codes, errors of one line, output folders."""

from __future__ import annotations

import argparse
import dataclasses
import io
import os
import re
import signal
import sys
import tempfile
import typing
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from config import AS_TUNED, DEVICES, Config, validate


def add_config_arguments(
    parser: argparse._ActionsContainer, kind: type[Any], skip: Sequence[str] = (),
    only: Sequence[str] | None = None, start: Any = None,
) -> None:  # fmt: skip
    """Add one flag per field of the dataclass `kind`, or of those in `only`, with its help, default and range.

    Defaults are told as they are in `start`, where it is given; see ``config_from_arguments``.
    """
    hints = typing.get_type_hints(kind)
    specs = {spec.name: spec for spec in dataclasses.fields(kind)}
    for name in specs if only is None else only:
        if name in skip:
            continue
        meta, choices = specs[name].metadata, specs[name].metadata.get("choices")
        default = getattr(start, name) if start else specs[name].default
        limits = f", {meta['minimum']:.10g} to {meta['maximum']:.10g}" if meta.get("minimum") is not None else ""
        parser.add_argument(
            "--" + name.replace("_", "-"),
            type=hints[name],
            default=argparse.SUPPRESS,  # so that a script can see which flags were given
            metavar="{" + ",".join(choices) + "}" if choices else _METAVARS[hints[name]],
            help=f"{meta['help']} (default {default if default != '' else 'none'}{limits})".replace("%", "%%"),
        )


_METAVARS = {int: "N", float: "X", str: "NAME"}


def config_from_arguments(kind: type[Config], arguments: argparse.Namespace, start: Config | None = None) -> Config:
    """Return a validated `kind` from parsed arguments; what no flag gives is as in `start`, or the default."""
    names = {spec.name for spec in dataclasses.fields(kind)}  # type: ignore[arg-type]
    given = {name: value for name, value in vars(arguments).items() if name in names}
    config: Config = dataclasses.replace(start or kind(), **given)  # type: ignore[type-var]
    validate(config)
    return config


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


def add_device_argument(parser: argparse._ActionsContainer) -> None:
    """Add --device, which ``processes.best_device`` understands, to `parser`."""
    parser.add_argument("--device", default="auto", choices=DEVICES, help="where to compute (default auto: a GPU "
                        "where there is one)")  # fmt: skip


def check_folder(folder: Path, flag: str = "--out") -> None:
    """Make a folder that is to be written into, raising ValueError where that fails: before the work, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{folder}: cannot be written into ({error.strerror}); choose another {flag}") from None


def check_file(path: Path, flag: str = "--out") -> None:
    """Make the folder of a file that is to be written, raising ValueError as ``check_folder`` does.

    Says so where the file is there and will be replaced.
    """
    if path.is_dir():
        raise ValueError(f"{path}: is a folder, {flag} must name a file")
    check_folder(path.parent, flag)
    if os.path.lexists(path):
        sys.stderr.write(f"{path}: is there already and will be replaced\n")


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM: everything is tidied up as after Ctrl-C."""


def _terminate(signum: int, frame: object) -> typing.NoReturn:
    raise Terminated


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Give a list that fills when SIGINT or SIGTERM arrives, so that the loop can save before it ends.

    A second one does not wait: it raises KeyboardInterrupt where it arrives, and what was saved before counts.
    """
    arrived: list[int] = []

    def remember(signum: int, frame: object) -> None:
        arrived.append(signum)
        if len(arrived) > 1:
            raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM)
    try:
        before = {n: signal.signal(n, remember) for n in numbers}
    except ValueError:  # not in the main thread (a notebook's helper thread): no handlers there
        yield arrived
        return
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is remember:  # not what a lost process has left to ignore
                signal.signal(number, handler)


def run_script(main: Callable[[], Any], less_memory: str = "") -> typing.NoReturn:
    """Run a script's `main` and exit: 0 done, 1 the run failed, 2 bad input, 130 interrupted, 143 terminated.

    Errors and warnings are one line. `less_memory` says which flag to turn when memory runs out.
    """
    debug = "--debug" in sys.argv
    name = Path(sys.argv[0]).name
    warnings.formatwarning = lambda message, *rest: f"warning: {' '.join(str(message).split())}\n"
    signal.signal(signal.SIGTERM, _terminate)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a console may know other letters than a folder's name has
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
        return "out of memory" + (f": try {less_memory}" if less_memory else "")
    return (text.splitlines() or [type(error).__name__])[0]


def strength(text: str) -> float:
    """Return the strength of guidance that --guidance says."""
    return AS_TUNED if text == "auto" else float(text)


def rate(text: str) -> float:
    """Return the rate of false alarms that --false-alarms or --reject-odd says, from 0.001 to 0.3."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.001 <= value <= 0.3:
        raise argparse.ArgumentTypeError(f"is {text!r}, must lie in 0.001 ... 0.3")
    return value


def candidates(text: str) -> int:
    """Return how many drawings --choose offers the critic for each that it keeps, from 1 to 50."""
    if not text.isdecimal() or not 1 <= int(text) <= 50:
        raise argparse.ArgumentTypeError(f"is {text!r}, must lie in 1 ... 50")
    return int(text)


def steps_by_stroke(text: str) -> int | tuple[int, ...]:
    """Return the steps by stroke that --steps says, one number or several with commas."""
    try:
        steps = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"invalid int value: {text!r}") from None
    return steps if len(steps) > 1 else steps[0]
