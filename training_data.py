"""From drawings to training batches: what a run learns from, batches of drawings of like length, random affine changes.

Everything random is a function of (seed, round) or (seed, step), so that resuming needs no saved generator.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from config import ModelConfig, TrainConfig
from dataset_utils import PackedDrawings, category_list, load_category
from stroke_tokens import points_to_vectors, resample_strokes

ROUND_DRAWINGS = 16_384
"""Drawings chosen and sorted by length at a time: enough that a batch is of one length, few enough to stay random."""
AUGMENTED_SHARE = 0.5
"""The other drawings stay as they are, so that what is sampled, a drawing without a change, is trained most."""


@dataclass
class StrokeSet:
    """Drawings of one or more categories as stroke vectors `vectors` (S, D) in -1 ... 1.

    Drawing i is vectors[offsets[i] : offsets[i + 1]] of category `category[i]`; `too_long` drawings were left out.
    """

    vectors: Tensor
    offsets: np.ndarray
    category: np.ndarray
    too_long: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def num_strokes(self) -> np.ndarray:
        """Strokes per drawing, int64 (N,)."""
        return np.diff(self.offsets)

    def batch(self, indices: np.ndarray) -> Batch:
        """Return the drawings `indices` as one batch, padded to the longest of them."""
        lengths = self.num_strokes[indices]
        position = np.arange(lengths.max())
        rows = np.minimum(self.offsets[indices][:, None] + position, len(self.vectors) - 1)
        return Batch(
            self.vectors[torch.from_numpy(rows)],
            torch.from_numpy(lengths),
            torch.from_numpy(self.category[indices]),
            torch.zeros(len(indices), 4),
        )


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
        return torch.arange(self.vectors.shape[1], device=self.lengths.device) < self.lengths[:, None]

    def part(self, number: int, parts: int) -> Batch:
        """Return every `parts`-th drawing from `number` on, padded to the longest of them; it may have none."""
        lengths = self.lengths[number::parts]
        longest = int(lengths.max()) if len(lengths) else 0
        return Batch(self.vectors[number::parts, :longest], lengths, self.category[number::parts],
                     self.affine[number::parts])  # fmt: skip

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on `device`."""
        return Batch(*(part.to(device) for part in (self.vectors, self.lengths, self.category, self.affine)))


def stroke_set(
    drawings: Sequence[PackedDrawings],
    category_ids: Sequence[int],
    num_points: int,
    max_strokes: int,
    spacing: str = "fitted",
) -> StrokeSet:
    """Return the stroke vectors of packed drawings, one entry per category; longer ones are left out and counted.

    Raises ValueError where nothing is left.
    """
    vectors, lengths, categories, too_long = [], [], [], 0
    for packed, category_id in zip(drawings, category_ids, strict=True):
        fits = np.flatnonzero(packed.num_strokes <= max_strokes)
        too_long += len(packed) - len(fits)
        packed = packed.select(fits) if len(fits) < len(packed) else packed
        vectors.append(points_to_vectors(resample_strokes(packed.points, packed.stroke_offsets, num_points, spacing)))
        lengths.append(packed.num_strokes)
        categories.append(np.full(len(packed), category_id, dtype=np.int64))
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    if len(offsets) < 2:
        raise ValueError(f"no drawing of at most {max_strokes} strokes is left to train on")
    return StrokeSet(torch.cat(vectors), offsets, np.concatenate(categories), too_long)


@dataclass
class TrainingData:
    """What a run trains on: sets of strokes, the names behind category ids, and where from, as a table and in words."""

    train: StrokeSet
    held_out: StrokeSet
    categories: tuple[str, ...]
    targets: list[int]
    source: dict[str, Any]
    description: str


@dataclass(frozen=True)
class DataChoice:
    """Which drawings: the folder (None: where they are found), the split, and whether only recognized ones."""

    data_dir: str | None = None
    split: str = "auto"
    recognized_only: bool = False


def load_training_data(
    config: TrainConfig, model_config: ModelConfig, choice: DataChoice, known: tuple[str, ...]
) -> TrainingData:
    """Return the strokes of all categories of the run; `known` are the names an initial checkpoint brings."""
    targets = category_list(config.category, choice.data_dir)
    companions = [name for name in category_list(config.companions, choice.data_dir) if name not in targets]
    categories = known + tuple(name for name in targets + companions if name not in known)
    if known and len(categories) > len(known):
        raise ValueError(f"--init was not trained on '{categories[len(known)]}', which has no place in its categories")
    loaded = []
    for name in tqdm(targets + companions, desc="data", unit="category", disable=len(targets + companions) < 20):
        loaded.append(
            load_category(name, data_dir=choice.data_dir, split=choice.split, recognized_only=choice.recognized_only)
        )
    ids = [categories.index(name) for name in targets + companions]
    form = (model_config.num_points, model_config.max_strokes, model_config.spacing)
    train = stroke_set([data.train for data in loaded], ids, *form)
    own = slice(0, len(targets))
    held_out = stroke_set([data.test for data in loaded[own]], ids[own], *form)
    source = {
        "data": sorted({data.source for data in loaded}),
        "split": sorted({data.split for data in loaded}),
        "recognized_only": choice.recognized_only,
        "train_drawings": {name: len(data.train) for name, data in zip(targets, loaded, strict=False)},
        "companion_drawings": sum(len(data.train) for data in loaded[len(targets) :]),
        "held_out_drawings": len(held_out),
        "left_out_over_max_strokes": train.too_long,
        "trained_on": targets,
    }
    cut = sum(data.counts.cut_drawings for data in loaded[1:])
    others = f"; {len(loaded)} categories in all" + (f", {cut} drawings cut in the others" if cut else "")
    description = loaded[0].describe() + (others if len(loaded) > 1 else "")
    return TrainingData(train, held_out, categories, ids[own], source, description)


def drawing_weights(data: StrokeSet, targets: Sequence[int], companion_share: float, balance: float) -> np.ndarray:
    """Return the probability of each drawing, float64 (N,).

    Within targets and within companions a category's weight is its size to the power `balance` (1: as they come,
    0: every category alike); companions together get `companion_share`.
    """
    sizes = np.bincount(data.category, minlength=int(data.category.max()) + 1).astype(np.float64)
    per_category = np.where(sizes > 0, np.maximum(sizes, 1) ** balance, 0.0)
    is_target = np.isin(np.arange(len(sizes)), list(targets))
    for group, share in ((is_target, 1 - companion_share), (~is_target, companion_share)):
        total = per_category[group].sum()
        per_category[group] *= share / total if total > 0 else 0.0
    weights: np.ndarray = (per_category / np.maximum(sizes, 1))[data.category]
    return weights / weights.sum()


def batches_of_round(
    data: StrokeSet, weights: np.ndarray, batch_strokes: int, seed: int, round_number: int
) -> list[np.ndarray]:
    """Return the batches of one round as arrays of drawing indices, a function of (seed, round_number) alone.

    ROUND_DRAWINGS drawings are drawn with replacement by `weights`, sorted by length, and cut into batches of at most
    `batch_strokes` stroke tokens, padding included; the batches come in random order.
    """
    rng = np.random.default_rng([seed, round_number, 1])
    chosen = rng.choice(len(data), size=ROUND_DRAWINGS, p=weights)
    chosen = chosen[np.argsort(-data.num_strokes[chosen], kind="stable")]
    batches, first = [], 0
    while first < len(chosen):
        size = max(1, batch_strokes // int(data.num_strokes[chosen[first]]))
        batches.append(chosen[first : first + size])
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


def random_affine(batch: Batch, size: float, generator: torch.Generator) -> Batch:
    """Return the batch with half of the drawings stretched, sheared and turned, then set back into the 255 box.

    The 2 x 2 matrix is the identity plus normal noise of standard deviation `size`, which the batch remembers; as in
    the official form, the drawing's box begins at the top left again and its longest side is as long as it was.
    """
    if size == 0:
        return batch
    count = len(batch.lengths)
    points = batch.vectors.unflatten(-1, (-1, 2))
    change = size * torch.randn(count, 2, 2, generator=generator)
    change = change * (torch.rand(count, 1, 1, generator=generator) < AUGMENTED_SHARE)
    moved = torch.einsum("bkpi,bij->bkpj", points, torch.eye(2) + change)
    real = batch.mask[:, :, None, None]

    def box(p: Tensor) -> tuple[Tensor, Tensor]:
        low = p.masked_fill(~real, torch.inf).amin((1, 2), keepdim=True)
        high = p.masked_fill(~real, -torch.inf).amax((1, 2), keepdim=True)
        return low, (high - low).amax(-1, keepdim=True)

    (low, side), (new_low, new_side) = box(points), box(moved)
    scale = torch.where(new_side > 1e-6, side / new_side.clamp(min=1e-6), 1.0)
    return replace(batch, vectors=((moved - new_low) * scale + low).flatten(2), affine=change.flatten(1))
