"""Pictures of strokes that gradients flow through: how a pixel darkens as a point of a stroke moves.

A polyline becomes points so close that its line is whole, each a little round blot. A blot is a product of a function
of x and one of y, so a picture is one matrix product: with blots at (x_i, y_i) of weights w_i,

    ink(u, v) = 1 - exp(-DARKNESS sum_i w_i g(u - x_i) g(v - y_i)),   g a Gaussian of WIDTH px

which looks as `rendering.feature_raster` does, but for its jagged edges.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SIDE = 64
MARGIN = 2.5
"""Pixels of paper around a drawing, as in the feature rasters: 10 of 256."""
SPACING, WIDTH, DARKNESS = 0.6, 0.35, 0.9
"""Pixels from blot to blot, of a blot's deviation, and how black a line is: near to the feature rasters."""
DOT = 0.02
"""Weight of a blot beside its share of the line, in px, so that dots are seen."""


def fitted(points: Tensor, owner: Tensor, count: int) -> Tensor:
    """Return strokes (S, P, 2) in pixels of a picture, the longest side of each drawing's box as long as it may be.

    Stroke s is of the drawing `owner[s]` of `count`.
    """
    place = owner[:, None].expand(-1, 2)
    low = points.new_full((count, 2), math.inf).scatter_reduce(0, place, points.amin(1), "amin")
    high = points.new_full((count, 2), -math.inf).scatter_reduce(0, place, points.amax(1), "amax")
    scale = (SIDE - 2 * MARGIN) / (high - low).amax(1).clamp(min=1e-3)
    return (points - low[owner][:, None]) * scale[owner][:, None, None] + MARGIN


def ink_pictures(points: Tensor, owner: Tensor, count: int) -> Tensor:
    """Return pictures (count, SIDE, SIDE) from 0, paper, to 1, ink, of strokes `points` (S, P, 2) in pixels.

    Stroke s is of the drawing `owner[s]`, in rising order.
    """
    begins, ways = points[:, :-1].flatten(0, 1), points.diff(dim=1).flatten(0, 1)
    lengths = (ways.square().sum(-1) + 1e-12).sqrt()
    blots = (lengths.detach() / SPACING).ceil().long().unflatten(0, (len(points), -1))
    blots[:, 0].clamp_(min=1)
    blots = blots.flatten()
    segment = torch.repeat_interleave(torch.arange(len(blots), device=points.device), blots)
    number = torch.arange(len(segment), device=points.device) - (blots.cumsum(0) - blots)[segment]
    share = (number + 0.5) / blots[segment]
    centre = begins[segment] + ways[segment] * share[:, None]
    weight = lengths[segment] / blots[segment] + DOT
    # every drawing its own row of blots
    drawing = owner[segment // (points.shape[1] - 1)]
    many = torch.bincount(drawing, minlength=count)
    place = (drawing, torch.arange(len(drawing), device=points.device) - (many.cumsum(0) - many)[drawing])
    row = (count, int(many.max()))
    weights = points.new_zeros(row).index_put(place, weight)
    centres = points.new_zeros(*row, 2).index_put(place, centre)
    pixels = torch.arange(SIDE, device=points.device) + 0.5
    across, down = torch.exp(-((centres[..., None] - pixels) ** 2) / (2 * WIDTH**2)).unbind(2)
    density = (down * weights[..., None]).transpose(1, 2) @ across / (2 * math.pi * WIDTH**2)
    return 1 - torch.exp(-DARKNESS * density)
