"""Several processes that train one model: `torchrun --nproc-per-node 2 train_diffusion.py ...`.

All of them hold the same weights and make the same updates. A batch is cut into parts (``TrainConfig.parts``) with
random numbers of their own; each process computes the gradients of some parts, all exchange them and add them up in
the order of the parts. So the model does not depend on how many processes there are: it is the same, bit for bit,
where each has as many threads.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from config import RunFailed

PATIENCE = timedelta(minutes=10)
"""How long a process waits for another one that is alive and silent; one that has died is noticed at once."""


class ProcessLost(RunFailed):
    """Another process of the training has ended or does not answer."""


@dataclass(frozen=True)
class Group:
    """The processes of one training: this one is number `rank` of `size`. Without torchrun there is one."""

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


@contextmanager
def joined_processes() -> Iterator[Group]:
    """Give the group of processes that torchrun has started, or a group of one, until the block ends.

    On a GPU machine each process takes the GPU of its number. Raises RunFailed where they don't find each other.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Group()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        dist.init_process_group(timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise RunFailed(f"the {size} processes did not find each other ({str(error).splitlines()[0]})") from error
    try:
        yield Group(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()
