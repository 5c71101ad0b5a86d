"""Runs train_diffusion.py for the tests of interruptions: notes what every update does, and kills itself where told.

    python tests/watched_training.py TRACE KILL_AT --category cat ...

TRACE gets a line for every update: step, learning rate, losses, and a hash of the drawings it learned from, exactly.
KILL_AT counts operations on files (synced, mode set, renamed): the process kills itself by SIGKILL right
before that one. 0 is never.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import train_diffusion


def noting(trace: Path) -> Callable[..., dict[str, float]]:
    """Return ``Run.update`` as it is, but that it adds a line to `trace`."""
    update = train_diffusion.Run.update

    def noted(self: train_diffusion.Run, batch: Any) -> dict[str, float]:
        step, drawings = self.step, hashlib.sha256(batch.vectors.numpy().tobytes()).hexdigest()[:16]
        found = update(self, batch)
        exact = " ".join(found[name].hex() for name in ("learning_rate", "loss", "stop_loss", "grad_norm"))
        if self.group.rank == 0:
            with trace.open("a") as file:
                file.write(f"{step} {exact} {drawings}\n")
        return found

    return noted


def kill_before(number: int) -> None:
    """Kill this process right before the `number`-th operation on files; where that is a sync, half way in writing."""
    count = itertools.count(1)

    def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(count) == number:
                if operation is fsync and stat.S_ISREG(os.fstat(arguments[0]).st_mode):
                    os.ftruncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*arguments, **options)

        return call

    fsync = os.fsync
    for name in ("fsync", "chmod", "replace"):
        setattr(os, name, counted(getattr(os, name)))


if __name__ == "__main__":
    train_diffusion.Run.update = noting(Path(sys.argv[1]))  # type: ignore[method-assign]
    kill_before(int(sys.argv[2]))
    train_diffusion.main(sys.argv[3:])
