"""What all stroke-by-stroke families share: tokens, history transformer, stop head, and the form of a head.

The reader of the history is the shipped base's (`checkpoints/base.safetensors`: its whitening, transformer and stop
head), held still: what it makes of the strokes so far is the same for all, and is computed once. The trunk is a small
denoiser of `diffusion_model.py`: some numbers come in, they look at the strokes before them, some numbers go out. What
comes in and goes out, and by which loss it learns, is all that makes a family:

    mixture     nothing -> weights, means, deviations       diffusion  a noisy stroke, its time -> v
    VAE         a latent -> a stroke                        vocabulary the codes so far, their number -> the next code
    GAN, energy noise -> a stroke
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from config import BASE_PATH, ModelConfig
from diffusion_model import HistoryState, StrokeDiffusionModel, TrainedModel, load_weights
from drawings.batches import random_affine, stroke_set, within
from drawings.packed import PackedDrawings
from families.interface import Family, Material
from sample_diffusion import StrokeRandomness
from stroke_tokens import vectors_to_points

TRUNK = ModelConfig(width=96, num_heads=4, denoiser_layers=3, dropout=0.0)
READER_WIDTH, TOKEN_DIM = 256, 64
BATCH_STROKES = 192
COPIES, AUGMENTATION, HISTORY_NOISE = 3, 0.1, 0.25
"""How often every drawing is read: as it is, then stretched and sheared at random, with noise on the strokes before."""


@functools.cache
def reader() -> TrainedModel:
    """Return the shipped base: what the strokes so far say, and whether the drawing ends."""
    trained = load_weights(BASE_PATH)
    shape = trained.model.config
    if (shape.width, trained.model.token_dim) != (READER_WIDTH, TOKEN_DIM):
        raise ValueError(f"{BASE_PATH}: has width {shape.width}, the families read one of width {READER_WIDTH}")
    trained.model.requires_grad_(False)
    return trained


@dataclass
class ReadBatch:
    """Drawings that have been read: `tokens` (B, K, D), `contexts` (B, K + 1, 256), `lengths` (B,) in strokes."""

    tokens: Tensor
    contexts: Tensor
    lengths: Tensor

    @property
    def mask(self) -> Tensor:
        """True where a stroke is real and not padding, bool (B, K)."""
        return within(self.lengths, self.tokens.shape[1])


@torch.no_grad()
def read_drawings(drawings: PackedDrawings, category: str, copy: int = 0) -> list[ReadBatch]:
    """Return drawings as the reader sees them, one a batch; copy 0 is as they are, others are changed at random."""
    trained = reader()
    kind = trained.category_id(category)
    data = stroke_set([drawings], [kind], TOKEN_DIM // 2, trained.model.config.max_strokes)
    generator = torch.Generator().manual_seed(1000 * kind + copy)
    order = np.argsort(data.num_strokes(np.arange(len(data))), kind="stable")
    found = []
    for rows in np.array_split(order, max(1, len(order) // 32)):
        batch = random_affine(data.batch(rows), AUGMENTATION if copy else 0.0, generator, 1.0)
        tokens = trained.whitening.encode(batch.vectors)
        level = (HISTORY_NOISE if copy else 0.0) * torch.rand(len(tokens), 1, 1, generator=generator)
        noisy = tokens + level * torch.randn(tokens.shape, generator=generator)
        contexts = trained.model.context(noisy, batch.category, batch.affine)
        found += [
            ReadBatch(own[None, :length], seen[None, : length + 1], batch.lengths[row : row + 1])
            for row, (own, seen, length) in enumerate(zip(tokens, contexts, batch.lengths.tolist(), strict=True))
        ]
    return found


def read_once(material: Material, number: int, copy: int) -> list[ReadBatch]:
    """Return ``read_drawings`` of the `number`-th category to learn from; kept, since all families share it."""
    key = ("read", number, copy)
    if key not in material.kept:
        material.kept[key] = read_drawings(material.train[number], material.categories[number], copy)
    result: list[ReadBatch] = material.kept[key]
    return result


def joined(drawings: Sequence[ReadBatch]) -> ReadBatch:
    """Return drawings as one batch, padded to the longest."""
    lengths = torch.cat([one.lengths for one in drawings])
    longest = int(lengths.max())
    tokens = torch.cat([F.pad(one.tokens, (0, 0, 0, longest - one.tokens.shape[1])) for one in drawings])
    contexts = torch.cat([F.pad(one.contexts, (0, 0, 0, longest + 1 - one.contexts.shape[1])) for one in drawings])
    return ReadBatch(tokens, contexts, lengths)


class Trunk(StrokeDiffusionModel):
    """The denoiser alone, with `inputs` numbers in and `outputs` out, over contexts that a reader has made."""

    def __init__(self, inputs: int, outputs: int, times: int) -> None:
        """Build it; `times` is how many times, or levels, it may be told."""
        super().__init__(TRUNK, 1, times)
        for own in ("category", "augmentation", "position", "read_stroke", "stop"):  # the reader's
            delattr(self, own)
        self.history = nn.ModuleList()
        self.reduce = nn.Linear(READER_WIDTH, TRUNK.width)
        self.read_noisy = nn.Linear(inputs, TRUNK.width)
        self.write_noise = nn.Linear(TRUNK.width, outputs)

    def read(self, contexts: Tensor) -> Tensor:
        """Return contexts (..., 256) of the reader in the trunk's own width."""
        own: Tensor = self.history_norm(self.reduce(contexts))
        return own

    def begun(self, count: int) -> HistoryState:
        """Return the state of `count` drawings of which nothing has been read."""
        nothing = torch.zeros(0, count, TRUNK.num_heads, TRUNK.width // TRUNK.num_heads)
        empty = torch.zeros(count, TRUNK.width)
        return HistoryState(empty, torch.zeros(6, *empty.shape), [], [(nothing, nothing)] * TRUNK.denoiser_layers)

    def told(self, state: HistoryState, context: Tensor) -> HistoryState:
        """Return the state after one more context (B, 256)."""
        return self.extend(self.reduce(context), [], state.denoiser)


class StrokeFamily(Family):
    """A family that draws stroke after stroke; a subclass says `head_loss` and `draw`."""

    kind = "strokes"
    inputs: ClassVar[int] = 1
    """How many numbers its trunk is given for a stroke."""
    outputs: ClassVar[int] = TOKEN_DIM
    times: ClassVar[int] = 1
    token_dim: ClassVar[int] = TOKEN_DIM

    def __init__(self, categories: Sequence[str]) -> None:
        """Build the trunk."""
        super().__init__(categories)
        self.trunk = Trunk(self.inputs, self.outputs, self.times)

    # -------------------------------------------------------------- what a family says

    def head_loss(self, tokens: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Return the loss, a scalar, of strokes `tokens` (B, K, D), of which `mask` (B, K) are real, given `context`.

        The k-th stroke may know context[:, :k + 1], (B, K, W) in all; ``answers`` sees to that.
        """
        raise NotImplementedError

    def draw(self, history: HistoryState, random: StrokeRandomness, temperature: float) -> Tensor:
        """Return the next strokes' tokens (B, D), with the random numbers of each drawing."""
        raise NotImplementedError

    def stroke_surprise(self, tokens: Tensor, context: Tensor) -> Tensor | None:
        """Return the nats (B, K) that each stroke costs, where the family has a likelihood."""
        return None

    # -------------------------------------------------------------- what it may use

    def answers(self, x: Tensor, context: Tensor, times: Tensor | None = None) -> Tensor:
        """Return what the trunk says to inputs (B, K, M, inputs), M for each stroke: (B, K, M, outputs)."""
        t = torch.zeros(x.shape[:3], dtype=torch.long) if times is None else times
        return self.trunk.denoise_all(x, t, context)

    def answer(self, x: Tensor, history: HistoryState, time: int = 0) -> Tensor:
        """Return what the trunk says to inputs (B, inputs) about the next stroke: (B, outputs)."""
        return self.trunk.denoise(x, self.trunk.time_modulation_at(time), history)

    @property
    def scale(self) -> Tensor:
        """Return the deviations (D,) of a token's numbers before whitening: how much each moves the points."""
        return reader().whitening.scale

    # -------------------------------------------------------------- the same for all

    def reads_with(self) -> str:
        """Return the sha256 of the base that reads the history."""
        return reader().sha256

    def prepare(self, material: Material) -> None:
        """Read all drawings, once for all families."""
        for number in range(len(material.categories)):
            for copy in range(COPIES):
                read_once(material, number, copy)

    def batches(self, material: Material, seed: int) -> Iterator[ReadBatch]:
        """Yield batches of drawings of like length."""
        rng, chances = np.random.default_rng(seed), material.chances()
        while True:
            kinds = rng.choice(len(chances), 1024, p=chances)
            copies = rng.integers(0, COPIES, len(kinds)).tolist()
            sides = [read_once(material, kind, copy) for kind, copy in zip(kinds.tolist(), copies, strict=True)]
            chosen = sorted((side[rng.integers(len(side))] for side in sides), key=lambda one: int(one.lengths[0]))
            batches, first = [], 0
            while first < len(chosen):
                last = first + 1
                while last < len(chosen) and (last + 1 - first) * int(chosen[last].lengths[0]) <= BATCH_STROKES:
                    last += 1
                batches.append(chosen[first:last])
                first = last
            yield from (joined(batches[i]) for i in rng.permutation(len(batches)))

    def batch_of(self, drawings: PackedDrawings, category: str) -> ReadBatch:
        """Return drawings as they are, as one batch."""
        return joined(read_drawings(drawings, category))

    def loss(self, batch: ReadBatch) -> Tensor:
        """Return the head's loss."""
        return self.head_loss(batch.tokens, self.trunk.read(batch.contexts[:, :-1]), batch.mask)

    def surprise(self, batch: ReadBatch) -> Tensor | None:
        """Return the nats (B,) of the strokes of whole drawings; where they end is the reader's, the same for all."""
        strokes = self.stroke_surprise(batch.tokens, self.trunk.read(batch.contexts[:, :-1]))
        return None if strokes is None else (strokes * batch.mask).sum(1)

    @torch.inference_mode()
    def generate(
        self, category: str, indices: Sequence[int], seed: int, temperature: float = 1.0
    ) -> list[list[np.ndarray]]:
        """Return one drawing per index, as strokes float32 (num_points, 2) in pixels: stop? draw, remember."""
        self.number(category)
        trained = reader()
        kind = torch.full((len(indices),), trained.category_id(category))
        state, own = trained.model.start(kind), self.trunk.begun(len(indices))
        drawings: list[list[np.ndarray]] = [[] for _ in indices]
        growing = np.arange(len(indices))
        for k in range(trained.model.config.max_strokes):
            random = StrokeRandomness(seed, [indices[row] for row in growing.tolist()], k, TOKEN_DIM)
            if k > 0:
                goes_on = random.uniform >= torch.sigmoid(trained.model.stop_logits(state.last)).numpy()
                random.keep(goes_on)
                rows = torch.from_numpy(np.flatnonzero(goes_on))
                growing, state, own = growing[goes_on], state.select(rows), own.select(rows)
            if len(growing) == 0:
                break
            own = self.trunk.told(own, state.last)
            tokens = self.draw(own, random, temperature)
            for row, points in zip(growing, vectors_to_points(trained.whitening.decode(tokens)), strict=True):
                drawings[row].append(points)
            state = trained.model.append(state, tokens, kind[: len(growing)])
        return drawings
