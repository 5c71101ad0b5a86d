"""Stroke tokens: a stroke of any length becomes one vector of fixed length, and back.

A polyline is resampled to `num_points` points, evenly in half arc length and half turning angle, so that corners
keep their points, and fitted to the stroke, so that corners are not cut; the points (p / 127.5 - 1), flattened to
D = 2 * num_points numbers, are whitened by the principal components of all training strokes. In that space Gaussian
noise is coloured like strokes: where a stroke stands (the first components) comes apart from what it looks like.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

NOISE_FLOOR = 0.02
"""Standard deviation, in units of half the canvas (2.5 px), below which a component counts as noise of the hand."""
FIT_SAMPLES = 4
"""Points of a stroke, per segment of its token, that the token's polyline is fitted to."""
BLOCK_STROKES = 1 << 14
"""Strokes resampled at once: bounds the memory, 0.2 GB at 32 points."""


def resample_strokes(points: np.ndarray, offsets: np.ndarray, num_points: int, spacing: str = "fitted") -> np.ndarray:
    """Return every stroke resampled to float32 (S, num_points, 2), in the units of `points`.

    `points` (P, 2) holds all strokes end to end and `offsets` (S + 1,) where each begins; the whole ragged array is
    resampled at once. The first and last point are kept, and a dot is repeated. `spacing` is "even" in arc length,
    "curved", half by arc length and half by turning angle, or "fitted": spaced like curved, but where points on the
    stroke would cut its corners they are put where the polyline through them comes nearest to the stroke, by least
    squares. Raises ValueError for a stroke without points.
    """
    if len(offsets) > 1 and np.diff(offsets).min() < 1:
        raise ValueError(f"stroke {int(np.diff(offsets).argmin())} has no points")
    if len(offsets) - 1 > BLOCK_STROKES:
        starts = range(0, len(offsets) - 1, BLOCK_STROKES)
        blocks = [np.asarray(offsets[start : start + BLOCK_STROKES + 1], dtype=np.int64) for start in starts]
        return np.concatenate(
            [resample_strokes(points[block[0] : block[-1]], block - block[0], num_points, spacing) for block in blocks]
        )
    if spacing != "fitted" or num_points < 3:
        return _points_along(points, offsets, num_points, 0.0 if spacing == "even" else 0.5).astype(np.float32)
    dense = _points_along(points, offsets, (num_points - 1) * FIT_SAMPLES + 1, 0.5)
    return np.swapaxes(np.swapaxes(dense, 1, 2) @ _polyline_fit(num_points).T, 1, 2).astype(np.float32)


@functools.cache
def _polyline_fit(num_points: int) -> np.ndarray:
    """Return the matrix (num_points, K) that fits a polyline, its ends held, to K points of a stroke.

    The polyline is a linear spline of uniform knots; K = (num_points - 1) FIT_SAMPLES + 1.
    """
    along = np.linspace(0, num_points - 1, (num_points - 1) * FIT_SAMPLES + 1)
    hats = np.maximum(0.0, 1.0 - np.abs(along[:, None] - np.arange(num_points)))
    fit = np.zeros((num_points, len(along)))
    fit[0, 0] = fit[-1, -1] = 1.0
    ends = hats[:, [0, -1]] @ fit[[0, -1]]
    fit[1:-1] = np.linalg.pinv(hats[:, 1:-1]) @ (np.eye(len(along)) - ends)
    return fit


def _points_along(points: np.ndarray, offsets: np.ndarray, num_points: int, by_angle: float) -> np.ndarray:
    """Return `num_points` points on each stroke, float64 (S, num_points, 2), spaced by arc length and turning angle."""
    points = np.asarray(points, dtype=np.float64)
    offsets = np.asarray(offsets, dtype=np.int64)
    num_strokes = len(offsets) - 1
    if num_strokes == 0:
        return np.zeros((0, num_points, 2))
    stroke_of = np.repeat(np.arange(num_strokes), np.diff(offsets))
    mass = _segment_mass(points, stroke_of, num_strokes, by_angle)

    # One rising coordinate over all strokes: stroke s spans 2s ... 2s + 1, and the gap keeps neighbours apart.
    total = np.concatenate([[0.0], np.cumsum(mass)])
    position = 2.0 * stroke_of + np.minimum(total - total[offsets[:-1]][stroke_of], 1.0)
    wanted = (2.0 * np.arange(num_strokes)[:, None] + np.linspace(0.0, 1.0, num_points)).ravel()
    after = np.searchsorted(position, wanted, side="right")
    before = np.maximum(after - 1, np.repeat(offsets[:-1], num_points))
    after = np.minimum(after, np.repeat(offsets[1:] - 1, num_points))
    gap = position[after] - position[before]
    share = np.divide(wanted - position[before], gap, out=np.zeros_like(gap), where=gap > 0)
    resampled = points[before] + share[:, None] * (points[after] - points[before])
    resampled = resampled.reshape(num_strokes, num_points, 2)
    resampled[:, -1] = points[offsets[1:] - 1]  # rounding of the running sum must not move the end
    return resampled


def _segment_mass(points: np.ndarray, stroke_of: np.ndarray, num_strokes: int, by_angle: float) -> np.ndarray:
    """Return the share of its stroke that each segment i -> i + 1 carries, (P - 1,); 0 between two strokes.

    The share `by_angle` of it goes by turning angle, the rest by length.
    """
    inside = stroke_of[1:] == stroke_of[:-1]
    delta = np.diff(points, axis=0)
    length = np.where(inside, np.hypot(delta[:, 0], delta[:, 1]), 0.0)
    turn = np.zeros(len(points))
    both = inside[1:] & inside[:-1]
    if len(delta) > 1:
        cross = delta[:-1, 0] * delta[1:, 1] - delta[:-1, 1] * delta[1:, 0]
        dot = (delta[:-1] * delta[1:]).sum(-1)
        turn[1:-1] = np.where(both, np.abs(np.arctan2(cross, dot)), 0.0)
    # a corner's turning is shared by the two segments that meet in it
    angle = np.where(inside, 0.5 * (turn[1:] + turn[:-1]), 0.0)
    owner = stroke_of[:-1]
    total_length = np.bincount(owner, length, num_strokes)[owner]
    total_angle = np.bincount(owner, angle, num_strokes)[owner]
    length_share = np.divide(length, total_length, out=np.zeros_like(length), where=total_length > 0)
    angle_share = np.divide(angle, total_angle, out=np.zeros_like(length), where=total_angle > 0)
    return np.where(total_angle > 0, (1 - by_angle) * length_share + by_angle * angle_share, length_share)


def points_to_vectors(points: np.ndarray) -> Tensor:
    """Return resampled strokes (S, num_points, 2) in pixels as float32 (S, D) in -1 ... 1 over the canvas."""
    return torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32)).flatten(1) / 127.5 - 1.0


def vectors_to_points(vectors: Tensor) -> np.ndarray:
    """Return (S, D) vectors as float32 points (S, num_points, 2) in pixels of the 255 box."""
    return ((vectors.float().cpu() + 1.0) * 127.5).unflatten(-1, (-1, 2)).numpy()


@dataclass(frozen=True)
class Whitening:
    """Principal components of stroke vectors: `mean` (D,), `basis` (D, D) with a component per column, `scale` (D,)."""

    mean: Tensor
    basis: Tensor
    scale: Tensor

    @staticmethod
    def fit(vectors: Tensor, *, components: bool = True) -> Whitening:
        """Return the whitening of `vectors` (S, D): components by falling variance, scale sqrt(var + NOISE_FLOOR^2).

        Without `components` the numbers stay as they are and share one mean and one scale, to compare with. Raises
        ValueError for fewer than two strokes or numbers that are not finite.
        """
        if len(vectors) < 2 or not torch.isfinite(vectors).all():
            raise ValueError(f"whitening needs at least 2 finite strokes, got {len(vectors)}")
        exact = vectors.double()
        if not components:
            dim = vectors.shape[1]
            whole = torch.ones(dim)
            return Whitening(whole * float(exact.mean()), torch.eye(dim), whole * float(exact.std()))
        mean = exact.mean(0)
        variance, basis = torch.linalg.eigh(torch.cov(exact.T))
        variance, basis = variance.flip(0).clamp(min=0), basis.flip(1)
        # a component's sign is arbitrary; fix it, so that the same data gives the same tokens on every machine
        basis = basis * basis.gather(0, basis.abs().argmax(0, keepdim=True)).sign()
        return Whitening(mean.float(), basis.float().contiguous(), (variance + NOISE_FLOOR**2).sqrt().float())

    def encode(self, vectors: Tensor) -> Tensor:
        """Return tokens (..., D) of unit scale from stroke vectors (..., D)."""
        with torch.autocast(vectors.device.type, enabled=False):  # bfloat16 would drown the small components
            return (vectors - self.mean) @ self.basis / self.scale

    def decode(self, tokens: Tensor) -> Tensor:
        """Return stroke vectors (..., D) from tokens (..., D); the inverse of `encode`."""
        with torch.autocast(tokens.device.type, enabled=False):
            return (tokens.float() * self.scale) @ self.basis.T + self.mean

    def to(self, device: torch.device | str) -> Whitening:
        """Return the same whitening on `device`."""
        return Whitening(self.mean.to(device), self.basis.to(device), self.scale.to(device))
