"""Several processes that do one run together: `torchrun --nproc-per-node 2 train_diffusion.py ...`.

In training all of them hold the same weights and make the same updates. A batch is cut into parts
(``TrainConfig.parts``) with random numbers of their own; each process computes the gradients of some parts, all
exchange them and add them up in the order of the parts. In sampling each process draws whole batches, and all exchange
what they drew. So no result depends on how many processes there are: it is the same, bit for bit, where each has as
many threads. What they exchange are numbers in tensors, never pickled objects. And where and in which arithmetic
each computes: on the GPU where there is one, in bfloat16 where the hardware has it.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from config import RunFailed
from plumbing.command_line import Terminated

PATIENCE = timedelta(minutes=10)
"""How long a process waits for another one that is alive and silent; one that has died is noticed at once."""


class ProcessLost(RunFailed):
    """Another process of the run has ended or does not answer."""


@dataclass(frozen=True)
class Group:
    """The processes of one run: this one is number `rank` of `size`. Without torchrun there is one."""

    rank: int = 0
    size: int = 1

    def own_parts(self, parts: int) -> range:
        """Return the numbers of the parts of a batch that are this process's; ValueError if others would have more."""
        if parts % self.size:
            raise ValueError(
                f"--parts is {parts}, must be a multiple of the {self.size} processes: --parts {self.size} (also with "
                "one process, for the same model)"
            )
        return range(self.rank, parts, self.size)

    def add_up(self, own: list[Tensor]) -> Tensor:
        """Return the sum of the vectors (n,) of all parts, of which `own` are this process's, in the parts' order."""
        everyones = self._exchanged(torch.stack(own))
        return functools.reduce(torch.add, [vectors[turn] for turn in range(len(own)) for vectors in everyones])

    def any(self, mine: bool) -> bool:
        """Tell whether it is true in any of the processes, so that all of them stop at the same update."""
        return bool(self.add_up([torch.tensor([float(mine)])]) > 0)

    def require_same(self, digest: bytes) -> None:
        """Raise ValueError where `digest`, a hash of what is trained and of its data, is not the same everywhere."""
        everyones = self._exchanged(torch.tensor(list(digest), dtype=torch.uint8))
        different = [rank for rank, theirs in enumerate(everyones) if not torch.equal(theirs, everyones[0])]
        if different:
            raise ValueError(f"process {different[0]} has other drawings or settings than process 0")

    def own_slice(self, count: int, batch_size: int) -> slice:
        """Return which of `count` things in a row this process works on: a run of whole batches, or nothing.

        Only the last of all batches may have fewer than `batch_size` things, as with one process. So each thing is
        computed in a matrix of the same shape, and rounded alike, by however many processes.
        """
        share = math.ceil(count / batch_size / self.size) * batch_size
        return slice(min(self.rank * share, count), min((self.rank + 1) * share, count))

    def concatenated(self, own: NDArray[Any]) -> NDArray[Any]:
        """Return the rows (n, ...) of all processes, in their order: arrays of one type and of as many as each has."""
        if self.size == 1:
            return own
        lengths = [int(length) for length in self._exchanged(torch.tensor(len(own)))]
        padded = np.zeros((max(lengths), *own.shape[1:]), own.dtype)
        padded[: len(own)] = own
        everyones = self._exchanged(torch.from_numpy(padded))
        return np.concatenate([rows[:length].numpy() for rows, length in zip(everyones, lengths, strict=True)])

    def _exchanged(self, mine: Tensor) -> list[Tensor]:
        """Return the tensors of all processes, of one shape, in their order."""
        if self.size == 1:
            return [mine]
        everyones = [torch.empty_like(mine) for _ in range(self.size)]
        try:
            dist.all_gather(everyones, mine)
        except RuntimeError as error:
            with contextlib.suppress(ValueError):  # torchrun now ends this process too, which first shall say why
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            raise ProcessLost(f"another of the {self.size} processes has ended or is silent") from error
        return everyones


ALONE = Group()


@contextmanager
def joined_processes(device: torch.device | None = None, patience: timedelta = PATIENCE) -> Iterator[Group]:
    """Give the group of processes that torchrun has started, or a group of one, until the block ends.

    On a GPU machine each process takes the GPU of its number, unless `device` is the CPU. One that waits for the others
    does so for `patience`, and no longer than it takes to notice that one has died. Raises RunFailed where there
    is no such GPU or they don't find each other, and ProcessLost where torchrun ends this process within the block.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    if torch.cuda.is_available() and (device is None or device.type == "cuda"):
        number, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if number >= count:
            raise RunFailed(f"process {number} of this machine finds {count} GPUs: start one process for each")
        torch.cuda.set_device(number)
    _find_each_other(size, patience)
    try:
        yield Group(dist.get_rank(), size)
    except Terminated as error:  # its launcher ends all when one has ended, in the middle of their work
        raise ProcessLost(f"ended by torchrun, or another of the {size} processes has ended") from error
    finally:
        dist.destroy_process_group()


def _find_each_other(size: int, patience: timedelta) -> None:
    # waits in C, where a handler of Python is not heard: so that torchrun can end it there, it has none
    handler = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        # named one by one: by default a GPU machine gets NCCL alone, which does not carry what lies on the CPU
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=patience)
    except (RuntimeError, ValueError) as error:
        raise RunFailed(f"the {size} processes did not find each other ({str(error).splitlines()[0]})") from error
    finally:
        signal.signal(signal.SIGTERM, handler)


# ------------------------------------------------------------------ devices


def best_device(wanted: str = "auto") -> torch.device:
    """Return the device `wanted`, cpu, cuda or mps (Apple's GPU); for auto CUDA's GPU where there is one, else the CPU.

    Raises ValueError for a GPU that is not there.
    """
    if wanted == "mps":
        if not torch.backends.mps.is_available():
            raise ValueError("--device is mps, but PyTorch sees no Apple GPU here; use --device cpu, or auto")
        return torch.device("mps")
    seen = wanted != "cpu" and torch.cuda.is_available()
    if wanted == "cuda" and not seen:
        built = f"this PyTorch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "it is built without"
        raise ValueError(f"--device is cuda, but PyTorch sees no CUDA GPU here ({built}); use --device cpu, or auto")
    return torch.device("cuda" if seen else "cpu")


def autocast_for(precision: str, device: torch.device | None = None) -> Callable[[], Any]:
    """Return a factory of context managers: bfloat16 autocast for "bfloat16", and for "auto" where it is in hardware.

    `device` is the one that computes, without it the best one.
    """
    device = device or best_device()
    on_cpu = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else on_cpu()
    enabled = precision == "bfloat16" or (precision == "auto" and fast)
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
