"""One drawing turns into another: in-between drawings by the base model, which knows all categories.

Both ends have their own noise and category. In between, the first noise of each stroke is interpolated on the sphere
(Shoemake 1985), and the denoiser's velocity is v = (1 - a) v_first + a v_second, both asked about the same noisy
stroke after the same strokes. The sampler is deterministic, so a = 0 and a = 1 are drawings of the two categories.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from config import BASE_PATH, NETWORK_PATH, steps_of
from diffusion_model import TrainedModel
from diffusion_process import Denoiser, cosine_alpha_bar, sampler_steps
from rendering import replay
from sample_diffusion import (
    Predictor,
    StrokeRandomness,
    generate_drawings,
    guided_denoiser,
    load_model,
    weaker_network,
)
from scoring.feature_network import load_feature_network
from stroke_tokens import vectors_to_points
from words.layout import Box, Strokes, box_of, placed
from words.scene import surest
from words.video import RATE

KEY_DRAWINGS, BETWEEN = 13, 8
"""Drawings of a morph that the model makes, and frames from each to the next."""
END_TRIES = 8
SIDE, EDGE, WIDTH = 512, 40, 5.0
"""Side of the square picture, room around the drawing, and line width, in px."""


def slerp(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Return the noise (F, D) at `share` (F,) of the way from `first` to `second`, both (D,), on the great circle."""
    cosine = (first @ second / (first.norm() * second.norm())).clamp(-1.0, 1.0)
    angle, a = torch.arccos(cosine), share[:, None]
    if float(angle) < 1e-4:
        return (1 - a) * first + a * second
    return (torch.sin((1 - a) * angle) * first + torch.sin(a * angle) * second) / torch.sin(angle)


@dataclass
class _End:
    """One of the two categories: a guided network that remembers the strokes of all frames."""

    predictors: list[Predictor]
    denoise: Denoiser

    @staticmethod
    def begin(trained: TrainedModel, category: str, frames: int) -> _End:
        """Return the network of a category before the first stroke of each frame."""
        empty = trained.model.position.new_zeros(frames, 0, trained.model.token_dim)
        own = Predictor.begin(trained.model, trained.category_id(category), empty)
        if trained.guidance == 1.0:
            return _End([own], guided_denoiser(own, None, 1.0))
        weaker = Predictor.begin(*weaker_network(trained, category), empty)
        return _End([own, weaker], guided_denoiser(own, weaker, trained.guidance))

    def stop(self) -> Tensor:
        """Return the logits (F,) of ending now."""
        return self.predictors[0].model.stop_logits(self.predictors[0].state.last).float()

    def remember(self, token: Tensor) -> None:
        """Add the stroke `token` (F, D) to what each frame has drawn."""
        for each in self.predictors:
            each.remember(token)


@torch.inference_mode()
def between(trained: TrainedModel, first: str, second: str, shares: Sequence[float], seed: int,
            indices: tuple[int, int] = (0, 1)) -> list[Strokes]:  # fmt: skip
    """Return a drawing for each share of the way from the category `first` to `second`, in px of the 255 box.

    Share 0 is the model's drawing number indices[0] of `first`, share 1 its number indices[1] of `second`, up to
    rounding, and 0.5 is a mix of both. Raises ValueError for a category that the model does not know.
    """
    share = torch.tensor(shares, dtype=torch.float32)
    ends = [_End.begin(trained, category, len(shares)) for category in (first, second)]
    alpha_bar = cosine_alpha_bar(len(trained.model.time_table))
    drawings: list[Strokes] = [[] for _ in shares]
    goes_on = np.ones(len(shares), dtype=bool)

    def mixed(x_t: Tensor, t: int) -> Tensor:
        return (1 - share[:, None]) * ends[0].denoise(x_t, t) + share[:, None] * ends[1].denoise(x_t, t)

    for k in range(trained.model.config.max_strokes):
        random = StrokeRandomness(seed, indices, k, trained.model.token_dim)
        if k > 0:  # random numbers that change little from one to the next, so that neighbours end alike
            uniform = (1 - share.numpy()) * random.uniform[0] + share.numpy() * random.uniform[1]
            logits = (1 - share) * ends[0].stop() + share * ends[1].stop()
            goes_on &= uniform >= torch.sigmoid(logits).numpy()
        if not goes_on.any():
            break
        pair = random.normal()
        first_noise = partial(slerp, pair[0], pair[1], share)
        steps = steps_of(k, trained.steps)
        *_, (token, _) = sampler_steps(trained.sampler, mixed, first_noise, alpha_bar, steps)
        points = vectors_to_points(trained.whitening.decode(token))
        for row in np.flatnonzero(goes_on & np.isfinite(points).all((1, 2))):
            drawings[row].append(np.round(points[row].astype(float), 2))
        for end in ends:
            end.remember(token)
    return drawings


def recognisable(trained: TrainedModel, category: str, seed: int) -> int:
    """Return which of the first END_TRIES drawings of a category the recogniser takes for it most surely."""
    made = generate_drawings(trained, category, range(END_TRIES), seed=seed, guidance=trained.guidance)
    return surest(made.drawings, category, load_feature_network(NETWORK_PATH))


def base_model() -> TrainedModel:
    """Return the shipped base, the one model that knows every category."""
    return load_model(BASE_PATH, device="cpu")


def square(drawing: Strokes) -> Strokes:
    """Return a drawing in the middle of the square picture, in px."""
    own = box_of(drawing)
    scale = (SIDE - 2 * EDGE) / max(own.width, own.height)
    width, height = own.width * scale, own.height * scale
    return placed(drawing, Box((SIDE - width) / 2, (SIDE - height) / 2, width, height))


def morph_frames(drawings: Sequence[Strokes]) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures of a morph there: the first drawing held, each turning into the next, the last held.

    Points move along straight lines from a drawing to the next; a stroke that only one of two has grows from its
    middle or shrinks into it.
    """
    keys = [square(drawing) for drawing in drawings if drawing]
    for number, (one, other) in enumerate(pairwise(keys)):
        for _ in range(RATE // 2 if number == 0 else 0):
            yield _picture(one)
        for step in range(BETWEEN):
            share = step / BETWEEN
            share = share * share * (3 - 2 * share)
            yield _picture([(1 - share) * a + share * b for a, b in _paired(one, other)])
    yield _picture(keys[-1])


def _picture(strokes: Strokes) -> NDArray[np.uint8]:
    return next(replay(strokes, (SIDE, SIDE), WIDTH, 1))


def _paired(one: Strokes, other: Strokes) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    for k in range(max(len(one), len(other))):
        a = one[k] if k < len(one) else np.repeat(other[k].mean(0, keepdims=True), len(other[k]), 0)
        b = other[k] if k < len(other) else np.repeat(one[k].mean(0, keepdims=True), len(one[k]), 0)
        yield a, b
