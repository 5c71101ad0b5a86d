"""What all stroke-by-stroke families share: tokens, history transformer, stop head, and the trunk that reads the history.

The trunk is the denoiser of `diffusion_model.py`: some numbers come in, they look at the strokes before them, some
numbers go out. What comes in and goes out, and by which loss it learns, is all that makes a family:

    mixture     nothing -> weights, means, deviations       diffusion  a noisy stroke, its time -> v
    VAE         a latent -> a stroke                        vocabulary the codes so far, their number -> the next code
    GAN, energy noise -> a stroke
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from config import ModelConfig
from diffusion_model import HistoryState, StrokeDiffusionModel
from drawings.batches import Batch, StrokeSet, random_affine, stroke_set, training_batches
from families.interface import Family, Material
from sample_diffusion import StrokeRandomness
from stroke_tokens import Whitening, vectors_to_points

SHAPE = ModelConfig(width=96, num_layers=3, num_heads=4, denoiser_layers=3, dropout=0.05)
BATCH_STROKES = 384
STOP_WEIGHT, HISTORY_NOISE, AUGMENTATION = 0.1, 0.2, 0.1
"""As in train_diffusion.py: of the stop loss, on the strokes before, and of the random affine change."""


class Trunk(StrokeDiffusionModel):
    """History transformer, stop head and a trunk with `inputs` numbers in and `outputs` numbers out."""

    def __init__(self, num_categories: int, inputs: int, outputs: int, times: int) -> None:
        """Build it for so many categories; `times` is how many times, or levels, the trunk may be told."""
        super().__init__(SHAPE, num_categories, times)
        self.read_noisy = nn.Linear(inputs, SHAPE.width)
        self.write_noise = nn.Linear(SHAPE.width, outputs)


class StrokeFamily(Family):
    """A family that draws stroke after stroke; a subclass says `head_loss` and `draw`."""

    kind = "strokes"
    inputs: ClassVar[int] = 1
    """How many numbers its trunk is given for a stroke."""
    outputs: ClassVar[int] = 64
    times: ClassVar[int] = 1
    token_dim: ClassVar[int] = 2 * SHAPE.num_points
    mean: Tensor
    basis: Tensor
    scale: Tensor

    def __init__(self, categories: Sequence[str]) -> None:
        """Build the trunk; the whitening is fitted by `prepare`, or comes from a file."""
        super().__init__(categories)
        self.trunk = Trunk(len(categories), self.inputs, self.outputs, self.times)
        self.register_buffer("mean", torch.zeros(self.token_dim))
        self.register_buffer("basis", torch.eye(self.token_dim))
        self.register_buffer("scale", torch.ones(self.token_dim))

    # -------------------------------------------------------------- what a family says

    def head_loss(self, tokens: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Return the loss, a scalar, of strokes `tokens` (B, K, D), of which `mask` (B, K) are real, given `context`.

        The k-th stroke may know context[:, :k + 1]; ``answers`` sees to that.
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
    def whitening(self) -> Whitening:
        """Return the whitening of the tokens."""
        return Whitening(self.mean, self.basis, self.scale)

    # -------------------------------------------------------------- the same for all

    def prepare(self, material: Material) -> None:
        """Fit the whitening to all strokes to learn from."""
        whitening = Whitening.fit(self._strokes(material).sample_vectors())
        for name, tensor in vars(whitening).items():
            getattr(self, name).copy_(tensor)

    @staticmethod
    def _strokes(material: Material, held_out: bool = False) -> StrokeSet:
        sides = material.held_out if held_out else material.train
        return stroke_set(sides, range(len(sides)), SHAPE.num_points, SHAPE.max_strokes)

    def batches(self, material: Material, seed: int) -> Iterator[Batch]:
        """Yield batches of drawings, half of them stretched and sheared a little."""
        data = self._strokes(material)
        generator = torch.Generator().manual_seed(seed)
        for chosen in training_batches(data, material.chances(), BATCH_STROKES, seed):
            yield random_affine(data.batch(chosen), AUGMENTATION, generator)

    def context(self, batch: Batch, noise: float = 0.0) -> tuple[Tensor, Tensor]:
        """Return the tokens (B, K, D) and the contexts (B, K + 1, W) of a batch; `noise` spoils the history."""
        tokens = self.whitening.encode(batch.vectors)
        level = noise * torch.rand(len(tokens), 1, 1)
        return tokens, self.trunk.context(tokens + level * torch.randn_like(tokens), batch.category, batch.affine)

    def loss(self, batch: Batch) -> Tensor:
        """Return the head's loss and a tenth of the stop loss."""
        tokens, context = self.context(batch, HISTORY_NOISE)
        stop = self._stop_nats(context, batch)
        return self.head_loss(tokens, context[:, :-1], batch.mask) + STOP_WEIGHT * stop.sum() / batch.lengths.sum()

    def _stop_nats(self, context: Tensor, batch: Batch) -> Tensor:
        """Return the nats (B, K + 1) of going on, or stopping, after each stroke; none before the first."""
        decision = torch.arange(context.shape[1])
        ends = (decision == batch.lengths[:, None]).float()
        decided = (decision >= 1) & (decision <= batch.lengths[:, None])
        nats = F.binary_cross_entropy_with_logits(self.trunk.stop_logits(context), ends, reduction="none")
        return nats * decided

    def surprise(self, batch: Batch) -> Tensor | None:
        """Return the nats (B,) of whole drawings: their strokes and where they end."""
        tokens, context = self.context(batch)
        strokes = self.stroke_surprise(tokens, context[:, :-1])
        return None if strokes is None else (strokes * batch.mask).sum(1) + self._stop_nats(context, batch).sum(1)

    @torch.inference_mode()
    def generate(
        self, category: str, indices: Sequence[int], seed: int, temperature: float = 1.0
    ) -> list[list[np.ndarray]]:
        """Return one drawing per index, as strokes float32 (num_points, 2) in pixels: stop? draw, remember."""
        kind = torch.full((len(indices),), self.number(category))
        history = self.trunk.start(kind)
        drawings: list[list[np.ndarray]] = [[] for _ in indices]
        growing = np.arange(len(indices))
        for k in range(SHAPE.max_strokes):
            random = StrokeRandomness(seed, [indices[row] for row in growing.tolist()], k, self.token_dim)
            if k > 0:
                goes_on = random.uniform >= torch.sigmoid(self.trunk.stop_logits(history.last)).numpy()
                random.keep(goes_on)
                growing, history = growing[goes_on], history.select(torch.from_numpy(np.flatnonzero(goes_on)))
            if len(growing) == 0:
                break
            tokens = self.draw(history, random, temperature)
            for row, points in zip(growing, vectors_to_points(self.whitening.decode(tokens)), strict=True):
                drawings[row].append(points)
            history = self.trunk.append(history, tokens, kind[: len(growing)])
        return drawings
