"""Runs train_diffusion.py and kills itself right before an operation on files.

    python tests/killed_training.py NUMBER --category cat ...

Operations are counted from 1: a file synced, its mode set, a file renamed. Where it is a sync, half of the file is
written.
"""

from __future__ import annotations

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

count, last, fsync = itertools.count(1), int(sys.argv[1]), os.fsync


def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Return an operation on files that kills the process where it is the last one."""

    def call(*arguments: Any, **options: Any) -> Any:
        if next(count) == last:
            if operation is fsync and stat.S_ISREG(os.fstat(arguments[0]).st_mode):
                os.ftruncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        return operation(*arguments, **options)

    return call


for name in ("fsync", "chmod", "replace"):
    setattr(os, name, counted(getattr(os, name)))
train_diffusion.main(sys.argv[2:])
