"""Drawings as one sequence of points, the form of Sketch-RNN: offsets, and what the pen does after each.

A drawing of points p_0, p_1, ... is the offsets p_i - p_{i-1}, divided by their deviation over all drawings, and pens:
0 goes on, 1 is lifted after the point, 2 says that the drawing has ended, at a last offset of zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drawings.batches import within
from drawings.packed import PackedDrawings
from families.interface import Drawing, Family, Material

DRAWS, LIFTS, ENDS = 0, 1, 2
STRETCH = 0.1
"""Half the width of the random stretch of x and y, as Sketch-RNN is trained (Ha and Eck 2017, app. A.2)."""


@dataclass
class SequenceBatch:
    """Padded sequences: `offsets` (B, N, 2), `pens` (B, N), `lengths` (B,) with the end counted, `category` (B,)."""

    offsets: Tensor
    pens: Tensor
    lengths: Tensor
    category: Tensor

    @property
    def mask(self) -> Tensor:
        """True where an offset belongs to a drawing, its end included, bool (B, N)."""
        return within(self.lengths, self.offsets.shape[1])


def to_sequence(drawing: Drawing) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return offsets (n, 2) in pixels and pens (n,) of a drawing of n points; the first point is where it begins."""
    points = np.concatenate(drawing).astype(np.float32)
    pens = np.zeros(len(points), np.int64)
    pens[np.cumsum([len(stroke) for stroke in drawing]) - 1] = LIFTS
    offsets = np.diff(points, axis=0)
    return np.concatenate([offsets, np.zeros((1, 2), np.float32)]), np.append(pens[1:], ENDS)


def to_drawing(offsets: NDArray[np.float32], pens: NDArray[np.int64]) -> list[NDArray[np.float32]]:
    """Return the strokes in pixels that offsets (n, 2) and pens (n,) draw, up to the first end; the inverse."""
    end = int(np.argmax(pens == ENDS)) if (pens == ENDS).any() else len(pens)
    points = np.concatenate([np.zeros((1, 2), np.float32), np.cumsum(offsets[:end], axis=0)])
    after = np.flatnonzero(np.append(0, pens[:end]) == LIFTS) + 1
    return [stroke for stroke in np.split(points, after) if len(stroke)]


class SequenceFamily(Family):
    """A family that draws a whole drawing as one sequence of at most `longest` offsets; longer ones are left out."""

    kind = "sequence"
    longest: ClassVar[int] = 160
    batch_size: ClassVar[int] = 32
    budgets = 3.0
    offset_scale: Tensor

    def __init__(self, categories: Sequence[str]) -> None:
        """Take the categories; the deviation of offsets is measured by `prepare`."""
        super().__init__(categories)
        self.register_buffer("offset_scale", torch.ones(()))

    def prepare(self, material: Material) -> None:
        """Measure the deviation of all offsets."""
        offsets = np.concatenate([to_sequence(drawing)[0] for side in material.train for drawing in side])
        self.offset_scale.fill_(float(offsets.std()))

    def batches(self, material: Material, seed: int) -> Iterator[SequenceBatch]:
        """Yield batches of drawings, x and y of each stretched at random."""
        rng, chances = np.random.default_rng(seed), material.chances()
        sides = [[pair for pair in map(to_sequence, side) if len(pair[1]) <= self.longest] for side in material.train]
        while True:
            kinds = rng.choice(len(sides), self.batch_size, p=chances)
            chosen = [sides[kind][rng.integers(len(sides[kind]))] for kind in kinds]
            batch = self.padded(chosen, kinds)
            stretch = 1 + STRETCH * (2 * rng.random((len(kinds), 1, 2)) - 1)
            batch.offsets *= torch.from_numpy(stretch).float()
            yield batch

    def batch_of(self, drawings: PackedDrawings, category: str) -> SequenceBatch:
        """Return those drawings that are short enough, as they are, as one batch."""
        pairs = [pair for pair in map(to_sequence, drawings) if len(pair[1]) <= self.longest]
        return self.padded(pairs, np.full(len(pairs), self.number(category)))

    def padded(
        self, pairs: Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]], kinds: NDArray[np.int64]
    ) -> SequenceBatch:
        """Return sequences as one batch, padded with ends to the longest."""
        lengths = torch.tensor([len(pens) for _, pens in pairs])
        offsets = torch.zeros(len(pairs), int(lengths.max()), 2)
        pens = torch.full(offsets.shape[:2], ENDS)
        for row, (own, own_pens) in enumerate(pairs):
            offsets[row, : len(own)], pens[row, : len(own)] = torch.from_numpy(own), torch.from_numpy(own_pens)
        return SequenceBatch(offsets / self.offset_scale, pens, lengths, torch.from_numpy(kinds))

    def drawings(self, offsets: Tensor, pens: Tensor) -> list[list[NDArray[np.float32]]]:
        """Return the drawings in pixels of offsets (B, N, 2) and pens (B, N)."""
        pairs = zip((offsets * self.offset_scale).numpy(), pens.numpy(), strict=True)
        return [to_drawing(own, own_pens) for own, own_pens in pairs]
