"""From drawings to training batches: what a run learns from, batches of drawings of like length, random affine changes.

Everything random is a function of (seed, round) or (seed, step), so that resuming needs no saved generator. Drawings
stay packed, in memory or mapped from shards, and become stroke vectors when they are in a batch: of every drawing only
its number is held, 4 bytes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from drawings.packed import PackedDrawings, ranges, running_sums, spread_rows
from stroke_tokens import points_to_vectors, resample_strokes

ROUND_DRAWINGS = 16_384
"""Drawings chosen and sorted by length at a time: enough that a batch is of one length, few enough to stay random."""
SAMPLE_STROKES = 1 << 20
"""The most strokes that the whitening is fitted to: of more, these are spread evenly over all."""
BLOCK_STROKES = 1 << 16
"""Strokes of the sample that are resampled at once."""


@dataclass(frozen=True)
class StrokeSet:
    """Drawings of C categories, numbered through, which become stroke vectors in -1 ... 1 as batches ask for them.

    Category c has the id `category[c]` and the drawings `drawings[c]` at `rows[c]`; `too_long` others were left out.
    """

    drawings: tuple[PackedDrawings, ...]
    rows: tuple[np.ndarray, ...]  # int32
    category: np.ndarray  # int64 (C,)
    num_points: int
    too_long: int

    def __len__(self) -> int:
        return int(self.starts[-1])

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """The number of each category's first drawing, and that of all drawings, int64 (C + 1,)."""
        return running_sums([len(rows) for rows in self.rows])

    @property
    def sizes(self) -> np.ndarray:
        """Drawings per category, int64 (C,)."""
        return np.diff(self.starts)

    def entries(self, indices: np.ndarray) -> np.ndarray:
        """Return at which of the C categories drawings are, int64 (k,)."""
        return np.searchsorted(self.starts, indices, side="right") - 1

    def num_strokes(self, indices: np.ndarray) -> np.ndarray:
        """Return how many strokes drawings have, int64 (k,)."""
        entries, counts = self.entries(indices), np.empty(len(indices), dtype=np.int64)
        for entry in np.unique(entries):
            here = entries == entry
            offsets, rows = self.drawings[entry].drawing_offsets, self.rows[entry][indices[here] - self.starts[entry]]
            counts[here] = offsets[rows + 1] - offsets[rows]
        return counts

    def batch(self, indices: np.ndarray) -> Batch:
        """Return the drawings `indices` as one batch, padded with zeros to the longest of them."""
        entries = self.entries(indices)
        points, ends, lengths = [], [], []
        for entry, place in zip(entries.tolist(), (indices - self.starts[entries]).tolist(), strict=True):
            packed, row = self.drawings[entry], int(self.rows[entry][place])
            first, last = packed.drawing_offsets[row : row + 2]
            offsets = packed.stroke_offsets[first : last + 1]
            points.append(packed.points[offsets[0] : offsets[-1]])  # a drawing's strokes lie end to end
            ends.append(np.diff(offsets))
            lengths.append(len(ends[-1]))
        own = self._vectors(np.concatenate(points), running_sums(np.concatenate(ends)))
        batch = Batch(
            torch.zeros(len(indices), max(lengths), own.shape[1]),
            torch.tensor(lengths),
            torch.from_numpy(self.category[entries]),
            torch.zeros(len(indices), 4),
        )
        batch.vectors[batch.mask] = own
        return batch

    def sample_vectors(self, count: int = SAMPLE_STROKES) -> Tensor:
        """Return the vectors of all strokes, or of `count` spread evenly over them where there are more, (S, D)."""
        both = list(zip(self.drawings, self.rows, strict=True))
        ends = running_sums([packed.num_strokes[rows].sum() for packed, rows in both])
        wanted = np.arange(min(count, ends[-1])) * ends[-1] // min(count, ends[-1])
        blocks = []
        for number, (packed, rows) in enumerate(both):
            first, last = np.searchsorted(wanted, ends[number : number + 2])
            strokes = ranges(packed.drawing_offsets, rows)[wanted[first:last] - ends[number]]
            for start in range(0, len(strokes), BLOCK_STROKES):
                block = strokes[start : start + BLOCK_STROKES]
                offsets = running_sums(packed.stroke_offsets[block + 1] - packed.stroke_offsets[block])
                blocks.append(self._vectors(packed.points[ranges(packed.stroke_offsets, block)], offsets))
        return torch.cat(blocks)

    def _vectors(self, points: np.ndarray, offsets: np.ndarray) -> Tensor:
        return points_to_vectors(resample_strokes(points, offsets, self.num_points))


@dataclass
class Batch:
    """Padded drawings: `vectors` (B, K, D), `lengths` (B,) in strokes, `category` (B,), `affine` (B, 4) of zeros.

    `affine` is what ``random_affine`` changed: its matrices without the identity.
    """

    vectors: Tensor
    lengths: Tensor
    category: Tensor
    affine: Tensor

    @property
    def mask(self) -> Tensor:
        """True where a stroke is real and not padding, bool (B, K)."""
        return within(self.lengths, self.vectors.shape[1])

    def part(self, number: int, parts: int) -> Batch:
        """Return every `parts`-th drawing from `number` on, padded to the longest of them; it may have none."""
        lengths = self.lengths[number::parts]
        longest = int(lengths.max()) if len(lengths) else 0
        return Batch(self.vectors[number::parts, :longest], lengths, self.category[number::parts],
                     self.affine[number::parts])  # fmt: skip

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on `device`."""
        return Batch(*(part.to(device) for part in (self.vectors, self.lengths, self.category, self.affine)))


def within(lengths: Tensor, longest: int) -> Tensor:
    """Return which of `longest` places of padded sequences of `lengths` (B,) are no padding, bool (B, longest)."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def stroke_set(
    drawings: Sequence[PackedDrawings], category_ids: Sequence[int], num_points: int, max_strokes: int
) -> StrokeSet:
    """Return packed drawings, one entry per category, as batches are made from; longer ones are left out, counted."""
    rows = tuple(np.flatnonzero(packed.num_strokes <= max_strokes).astype(np.int32) for packed in drawings)
    too_long = sum(map(len, drawings)) - sum(map(len, rows))
    return StrokeSet(tuple(drawings), rows, np.array(category_ids, dtype=np.int64), num_points, too_long)


@dataclass
class TrainingData:
    """What a run trains on: sets of strokes, the names behind category ids, and where from, as a table and in words."""

    train: StrokeSet
    held_out: StrokeSet
    categories: tuple[str, ...]
    targets: list[int]
    source: dict[str, Any]
    description: str


def category_weights(data: StrokeSet, targets: Sequence[int], companion_share: float, balance: float) -> np.ndarray:
    """Return the probability that a drawing is of each category of `data`, float64 (C,).

    Within targets and within companions a category's weight is its size to the power `balance` (1: as they come,
    0: every category alike); companions together get `companion_share`.
    """
    weights = np.where(data.sizes > 0, np.maximum(data.sizes, 1.0) ** balance, 0.0)
    is_target = np.isin(data.category, list(targets))
    for group, share in ((is_target, 1 - companion_share), (~is_target, companion_share)):
        total = weights[group].sum()
        weights[group] *= share / total if total > 0 else 0.0
    return weights / weights.sum()


def batches_of_round(
    data: StrokeSet, weights: np.ndarray, batch_strokes: int, seed: int, round_number: int
) -> list[np.ndarray]:
    """Return the batches of one round as arrays of drawing indices, a function of (seed, round_number) alone.

    ROUND_DRAWINGS drawings are drawn with replacement, each a category by `weights` (C,) and then any drawing of it,
    sorted by length, and cut into batches of at most `batch_strokes` stroke tokens, padding included; the batches come
    in random order.
    """
    rng = np.random.default_rng([seed, round_number, 1])
    entries = rng.choice(len(weights), size=ROUND_DRAWINGS, p=weights)
    chosen = data.starts[entries] + rng.integers(0, data.sizes[entries])
    num_strokes = data.num_strokes(chosen)
    order = np.argsort(-num_strokes, kind="stable")
    batches, first = [], 0
    while first < len(order):
        size = max(1, batch_strokes // int(num_strokes[order[first]]))
        batches.append(chosen[order[first : first + size]])
        first += size
    rng.shuffle(batches)
    return batches


def training_batches(
    data: StrokeSet, weights: np.ndarray, batch_strokes: int, seed: int, first_step: int = 0
) -> Iterator[np.ndarray]:
    """Yield batches of drawing indices without end; `first_step` skips as many as an earlier run has consumed."""
    round_number, skip = 0, first_step
    while True:
        batches = batches_of_round(data, weights, batch_strokes, seed, round_number)
        yield from batches[skip:]
        skip = max(0, skip - len(batches))
        round_number += 1


def evenly_spread(data: StrokeSet, count: int) -> list[Batch]:
    """Return `count` drawings, or all where there are fewer, spread evenly over `data`, as batches of like length."""
    chosen = spread_rows(len(data), count)
    chosen = chosen[np.argsort(data.num_strokes(chosen), kind="stable")]
    return [data.batch(part) for part in np.array_split(chosen, max(1, len(chosen) // 64)) if len(part)]


def random_affine(
    batch: Batch, size: float, generator: torch.Generator, share: float = 0.5, mirrored: float = 0.0
) -> Batch:
    """Return the batch with a `share` of the drawings stretched, sheared and turned, then set back into the 255 box.

    The 2 x 2 matrix is the identity plus normal noise of standard deviation `size`, which the batch remembers; as in
    the official form, the drawing's box begins at the top left again and its longest side is as long as it was.
    A share `mirrored` of the drawings is also flipped from left to right.
    """
    if size == 0 and mirrored == 0:
        return batch
    count = len(batch.lengths)
    points = batch.vectors.unflatten(-1, (-1, 2))
    change = size * torch.randn(count, 2, 2, generator=generator)
    change = change * (torch.rand(count, 1, 1, generator=generator) < share)
    if mirrored > 0:
        flipped = torch.rand(count, generator=generator) < mirrored
        change = change + torch.tensor([[-2.0, 0.0], [0.0, 0.0]]) * flipped[:, None, None]
    moved = torch.einsum("bkpi,bij->bkpj", points, torch.eye(2) + change)
    real = batch.mask[:, :, None, None]

    def box(p: Tensor) -> tuple[Tensor, Tensor]:
        low = p.masked_fill(~real, torch.inf).amin((1, 2), keepdim=True)
        high = p.masked_fill(~real, -torch.inf).amax((1, 2), keepdim=True)
        return low, (high - low).amax(-1, keepdim=True)

    (low, side), (new_low, new_side) = box(points), box(moved)
    scale = torch.where(new_side > 1e-6, side / new_side.clamp(min=1e-6), 1.0)
    return replace(batch, vectors=((moved - new_low) * scale + low).flatten(2), affine=change.flatten(1))
