"""Where in the model's square an unfinished drawing lies that was begun anywhere and at any size.

The models learned from drawings whose longest side fills the square of 255 px from its top left corner. Of a drawing's
beginning nobody knows how large a part of the whole it is. So several squares are tried around it, first of different
sizes, then of the best size in different places, and the one is taken in which the model denoises its strokes best:

    score(square) = Σ_k |v_hat - v|² / D  -  VOLUME · ln(255 / side)

summed over the strokes k, each seen after those before it. The second term is for the volume of a density that is
shrunk: without it small drawings, which lie near the mean stroke, would always win. `page/engine/placement.js` is the
twin of this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffusion_model import TrainedModel
from diffusion_process import cosine_alpha_bar
from drawings.fitting import Frame
from drawings.prefixes import Prefix
from drawings.simplify import LONGEST_SIDE
from stroke_tokens import points_to_vectors, resample_each

Drawing = Sequence[NDArray[np.generic]]

SHARES = (1.0, 0.85, 0.7, 0.55, 0.42)
"""Of a square's side, tried for the longest side of what is there."""
ANCHORS = (0.0, 0.5, 1.0)
"""Tried for where in the room that is left it lies, across and down."""
VOLUME = 0.4
"""Found on held-out cats: at 0 what is small stays too small, at 0.6 what fills the square is enlarged."""
PROBED_TIME = 249
"""The diffusion time whose loss is taken, one that students know, too; 299, 499 and 699 choose hardly otherwise."""
SAME = 2.0  # pixels; squares whose edges are no farther apart are one
SMALLEST = 8.0  # pixels; of something smaller nobody can say how it goes on at another size


@dataclass(frozen=True)
class Square:
    """The model's square in other coordinates: its top left corner and its side."""

    left: float
    top: float
    side: float

    def inside(self, drawing: Drawing) -> list[NDArray[np.float64]]:
        """Return strokes of those coordinates in pixels of the model's square."""
        corner = (self.left, self.top)
        return [(np.asarray(stroke, np.float64) - corner) * (LONGEST_SIDE / self.side) for stroke in drawing]


def sizes(drawing: Drawing, paper: float | None = None) -> list[Square]:
    """Return squares around the middle of a drawing, which takes up the SHARES of them.

    On a sheet of `paper`, from 0 to this in both directions, none reaches beyond it, and the whole sheet is the first
    where the drawing is large enough for it.
    """
    extent = max(float(np.ptp(_points(drawing), axis=0).max()), SMALLEST)
    sheet = [Square(0.0, 0.0, paper)] if paper and extent >= SHARES[-1] * paper else []
    return _different([*sheet, *(_around(drawing, extent / share, 0.5, 0.5, paper) for share in SHARES)])


def places(drawing: Drawing, side: float, paper: float | None = None) -> list[Square]:
    """Return squares of one size that hold a drawing, which lies in them left or right, high or low."""
    return _different([_around(drawing, side, across, down, paper) for across in ANCHORS for down in ANCHORS])


def _points(drawing: Drawing) -> NDArray[np.float64]:
    return np.concatenate([np.asarray(stroke, np.float64) for stroke in drawing])


def _around(drawing: Drawing, side: float, across: float, down: float, paper: float | None) -> Square:
    points = _points(drawing)
    low, high = points.min(axis=0), points.max(axis=0)
    side = min(side, paper or np.inf)
    corner = low - (across, down) * (side - (high - low))
    left, top = (corner if paper is None else corner.clip(0, paper - side)).tolist()
    return Square(left, top, side)


def _different(squares: Sequence[Square]) -> list[Square]:
    found: list[Square] = []
    for square in squares:
        if not any(_same(square, other) for other in found):
            found.append(square)
    return found


def _same(one: Square, other: Square) -> bool:
    ends = [(each.left, each.top, each.left + each.side, each.top + each.side) for each in (one, other)]
    return all(abs(a - b) <= SAME for a, b in zip(*ends, strict=True))


def probing_noise(dim: int) -> Tensor:
    """Return the noise (2, D), in both directions, with which every square is tried."""
    noise = torch.from_numpy(np.random.Generator(np.random.Philox(0)).standard_normal(dim, dtype=np.float32))
    return torch.stack([noise, -noise])


@torch.inference_mode()
def scores(trained: TrainedModel, category: str, drawing: Drawing, squares: Sequence[Square]) -> NDArray[np.float64]:
    """Return how badly the model takes a drawing in each of some squares, (S,), as written above."""
    model, placed = trained.model, [square.inside(drawing) for square in squares]
    tokens = encoded(trained, placed)
    kind = torch.full((len(squares),), trained.category_id(category), device=tokens.device)
    context = model.context(tokens, kind)[:, : len(drawing)]
    alpha_bar = cosine_alpha_bar(len(model.time_table))[PROBED_TIME].to(tokens)
    signal, noise = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    x0, eps = tokens[:, :, None], probing_noise(model.token_dim).to(tokens)
    v_hat = model.denoise_all(signal * x0 + noise * eps, PROBED_TIME, context)
    losses = (v_hat - (signal * eps - noise * x0)).square().mean((2, 3)).sum(1)
    sides = np.array([square.side for square in squares])
    return losses.double().cpu().numpy() - VOLUME * len(drawing) * np.log(LONGEST_SIDE / sides)


def encoded(trained: TrainedModel, prefixes: Sequence[Drawing]) -> Tensor:
    """Return the tokens (B, K, D) of the strokes of equally long prefixes."""
    model, count, length = trained.model, len(prefixes), len(prefixes[0])
    if length == 0:
        return model.position.new_zeros(count, 0, model.token_dim)
    strokes = [stroke for prefix in prefixes for stroke in prefix]
    vectors = points_to_vectors(resample_each(strokes, model.config.num_points))
    return trained.whitening.encode(vectors.to(model.position.device)).unflatten(0, (count, length))


def likeliest_square(trained: TrainedModel, category: str, drawing: Drawing, paper: float | None = None) -> Square:
    """Return the square in which the model takes an unfinished drawing for the likeliest; see the file's beginning."""

    def best(squares: Sequence[Square]) -> Square:
        return squares[int(np.argmin(scores(trained, category, drawing, squares)))]

    square = best(sizes(drawing, paper))
    return square if square.side == paper else best(places(drawing, square.side, paper))


def placed(trained: TrainedModel, category: str, prefix: Prefix) -> Prefix:
    """Return an unfinished drawing of other coordinates in the likeliest square, and any other as it is."""
    if prefix.frame is None or not prefix.drawing:
        return prefix
    own = [prefix.frame.own(stroke) for stroke in prefix.drawing]
    square = likeliest_square(trained, category, own)
    drawing = [np.rint(stroke).clip(0, LONGEST_SIDE).astype(np.uint8) for stroke in square.inside(own)]
    frame = Frame((square.left, square.top), LONGEST_SIDE / square.side, (0.0, 0.0))
    return replace(prefix, drawing=drawing, frame=frame)
