"""Runs train_diffusion.py for the tests of interruptions: notes what every update does, and kills itself where told.

    python tests/watched_training.py TRACE KILL_AT --category cat ...

TRACE gets a line for every update: step, learning rate, losses, and a hash of the drawings it learned from, exactly.
KILL_AT counts operations on files (half a content written, all of it synced, mode set, renamed ...): the process kills
itself by SIGKILL right before that one. 0 is never.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import train_diffusion
import training


def note_updates(trace: Path) -> None:
    update = training.Run.update

    def noted(self: training.Run, batch: Any) -> dict[str, float]:
        step, drawings = self.step, hashlib.sha256(batch.vectors.numpy().tobytes()).hexdigest()[:16]
        figures = update(self, batch)
        exact = " ".join(figures[name].hex() for name in ("learning_rate", "loss", "stop_loss", "grad_norm"))
        if self.group.rank == 0:
            with trace.open("a") as file:
                file.write(f"{step} {exact} {drawings}\n")
        return figures

    training.Run.update = noted  # type: ignore[method-assign]


def kill_before(number: int) -> None:
    """Kill this process right before the `number`-th operation on files of atomic_files.py."""
    count = itertools.count(1)

    def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(count) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*arguments, **options)

        return call

    fdopen = os.fdopen

    class HalfFirst:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def write(self, content: Any) -> None:
            half = len(content) // 2
            self.file.write(content[:half])
            self.file.flush()
            counted(self.file.write)(content[half:])

    @contextmanager
    def opened(handle: int, mode: str) -> Iterator[HalfFirst]:
        with fdopen(handle, mode) as file:
            yield HalfFirst(file)

    os.fdopen = opened  # type: ignore[assignment]
    for name in ("fsync", "chmod", "replace"):
        setattr(os, name, counted(getattr(os, name)))


if __name__ == "__main__":
    note_updates(Path(sys.argv[1]))
    kill_before(int(sys.argv[2]))
    train_diffusion.main(sys.argv[3:])
