"""What every family is: something that learns from batches by one number and draws; and the drawings it learns from.

    loss(batch) -> scalar            what is minimised, whatever the batch holds
    generate(category, indices, ...) drawings, or pictures of 64 px
    surprise(batch) -> nats          where there is a likelihood: exact, or a bound

Families that draw stroke after stroke (`families/strokes.py`) differ in their head alone:
`draw(history, random) -> token`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from dataset_utils import load_category
from drawings.packed import PackedDrawings

Drawing = Sequence[NDArray[Any]]


@dataclass(frozen=True)
class Material:
    """Drawings of some categories: those to learn from and those held out, one entry a category."""

    categories: tuple[str, ...]
    train: tuple[PackedDrawings, ...]
    held_out: tuple[PackedDrawings, ...]
    kept: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """What families have made of the drawings and share."""

    @staticmethod
    def load(categories: Sequence[str], data_dir: str | None = None) -> Material:
        """Return the drawings at hand of some categories, by the local split; errors as of ``load_category``."""
        loaded = [load_category(name, data_dir=data_dir, split="local", allow_download=False) for name in categories]
        return Material(tuple(categories), tuple(one.train for one in loaded), tuple(one.validation for one in loaded))

    def fewer(self, count: int) -> Material:
        """Return the first drawings, at most `count`, of each category and side."""
        def first(sides: tuple[PackedDrawings, ...]) -> tuple[PackedDrawings, ...]:
            return tuple(side.select(range(min(count, len(side)))) for side in sides)

        return Material(self.categories, first(self.train), first(self.held_out))

    def chances(self) -> NDArray[np.float64]:
        """Return how often each category is trained on, (C,): by the square root of its size, so that few count too."""
        sizes = np.sqrt([len(drawings) for drawings in self.train])
        result: NDArray[np.float64] = sizes / sizes.sum()
        return result


class Family(nn.Module):
    """A family of generative models; what it draws is decided by (seed, index) alone, up to rounding."""

    title: ClassVar[str]
    kind: ClassVar[str]
    """Strokes, sequence or pictures: what it draws, and so what it is scored by."""
    likelihood: ClassVar[str] = "none"
    """Exact, bound or none; of numbers of different kinds, which cannot be compared, `surprise_unit` tells which."""
    surprise_unit: ClassVar[str] = ""
    evaluations: ClassVar[int] = 1
    """Evaluations of its network for a stroke, a point or a picture."""
    budgets: ClassVar[float] = 1.0
    """How many of the budgets it is given: the peers have no reader, so they must learn to read the history as well."""
    learning_rate: ClassVar[float] = 2e-3
    betas: ClassVar[tuple[float, float]] = (0.9, 0.98)

    def __init__(self, categories: Sequence[str]) -> None:
        """Take the names of the categories it can be told."""
        super().__init__()
        self.categories = tuple(categories)

    def reads_with(self) -> str:
        """Return the sha256 of the weights that read the history for it, without which its own mean nothing; or ""."""
        return ""

    def prepare(self, material: Material) -> None:
        """Fit what is fitted once, before training: whitening, vocabularies, scales."""

    def progress(self, share: float) -> None:
        """Hear which share of the training budget is spent: for those that learn in stages."""

    def batches(self, material: Material, seed: int) -> Iterator[Any]:
        """Yield batches without end."""
        raise NotImplementedError

    def batch_of(self, drawings: PackedDrawings, category: str) -> Any:
        """Return drawings as they are, as one batch: what likelihoods are measured on."""
        raise NotImplementedError

    def loss(self, batch: Any) -> Tensor:
        """Return the number to minimise, a scalar."""
        raise NotImplementedError

    def surprise(self, batch: Any) -> Tensor | None:
        """Return the nats (B,) that the drawings of a batch cost, or None where there is no likelihood."""
        return None

    def generate(self, category: str, indices: Sequence[int], seed: int, temperature: float = 1.0) -> Any:
        """Return a drawing (strokes in pixels) or a picture (64, 64) uint8 per index."""
        raise NotImplementedError

    def number(self, category: str) -> int:
        """Return the number of a category, raising ValueError with those it knows."""
        if category not in self.categories:
            raise ValueError(f"{self.title} was trained on {', '.join(self.categories)}, not '{category}'")
        return self.categories.index(category)


def num_parameters(family: nn.Module) -> int:
    """Return how many numbers were learned."""
    return sum(parameter.numel() for parameter in family.parameters())
