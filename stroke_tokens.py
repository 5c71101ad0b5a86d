"""Stroke tokens: a stroke of any length becomes one vector of fixed length, and back.

A polyline is resampled to `num_points` points, evenly in half arc length and half turning angle, so that corners
keep their points, and fitted to the stroke, so that corners are not cut; the points (p / 127.5 - 1), flattened to
D = 2 * num_points numbers, are whitened by the principal components of all training strokes. In that space Gaussian
noise is coloured like strokes: where a stroke stands (the first components) comes apart from what it looks like.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

NOISE_FLOOR = 0.02
"""Standard deviation, in units of half the canvas (2.5 px), below which a component counts as noise of the hand."""
BY_ANGLE = 0.5
"""Share of a token's points that goes by turning angle, so that corners keep theirs; the rest goes by arc length."""
FIT_SAMPLES = 4
"""Points of a stroke, per segment of its token, that the token's polyline is fitted to."""
BLOCK_STROKES = 1 << 12
"""Strokes resampled at once: so many that numpy's calls cost little, so few that they stay in the cache."""


def resample_strokes(points: np.ndarray, offsets: np.ndarray, num_points: int) -> np.ndarray:
    """Return every stroke resampled to float32 (S, num_points, 2), in the units of `points`.

    `points` (P, 2) holds all strokes end to end and `offsets` (S + 1,) where each begins; the whole ragged array is
    resampled at once. The first and last point are kept, and a dot is repeated. Points are dense where the stroke
    turns, and where points on the stroke would cut its corners they are put where the polyline through them comes
    nearest to the stroke, by least squares. Raises ValueError for a stroke without points.
    """
    offsets = np.asarray(offsets, dtype=np.int64)
    if len(offsets) > 1 and np.diff(offsets).min() < 1:
        raise ValueError(f"stroke {int(np.diff(offsets).argmin())} has no points")
    resampled = np.empty((len(offsets) - 1, num_points, 2), dtype=np.float32)
    for start in range(0, len(resampled), BLOCK_STROKES):
        block = offsets[start : start + BLOCK_STROKES + 1]
        own = np.asarray(points[block[0] : block[-1]], dtype=np.float64).T
        _resample_block(own[0], own[1], block - block[0], resampled[start : start + BLOCK_STROKES])
    return resampled


def resample_each(strokes: Sequence[np.ndarray], num_points: int) -> np.ndarray:
    """Return a list of strokes, at least one, resampled as ``resample_strokes`` does, float32 (S, num_points, 2)."""
    points = np.concatenate([np.asarray(stroke, np.float64) for stroke in strokes])
    return resample_strokes(points, np.cumsum([0, *map(len, strokes)]), num_points)


@functools.cache
def _running_sums(num_points: int) -> np.ndarray:
    """Return what the samples before the j-th make of constant and of linear strokes, (2 (K + 1), num_points).

    A resampled stroke is M s, with K samples s of the stroke and M the fit. Where the samples m ... n - 1 lie on one
    straight segment, s_j = a + b j, they add a (S_n - S_m) + b (T_n - T_m) to it. S_j, the sum of M's columns before
    j, is row 2 j, and T_j, that of the columns times their numbers, is row 2 j + 1.
    """
    columns = polyline_fit(num_points).T
    sums = np.zeros((len(columns) + 1, 2, num_points))
    sums[1:, 0] = np.cumsum(columns, axis=0)
    sums[1:, 1] = np.cumsum(columns * np.arange(len(columns))[:, None], axis=0)
    return sums.reshape(-1, num_points)


@functools.cache
def polyline_fit(num_points: int) -> np.ndarray:
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


def _resample_block(x: np.ndarray, y: np.ndarray, offsets: np.ndarray, out: np.ndarray) -> None:
    """Put strokes with points x and y (P,) resampled into `out` (S, num_points, 2).

    The K samples of a stroke are never made. Between two of its points they lie on a straight line, so what they add is
    known in closed form (``_running_sums``), and the stroke is a weighted sum of its rows, two for each of its points.
    """
    first, last = offsets[:-1], offsets[1:] - 1
    sums = _running_sums(out.shape[1])
    num_samples = len(sums) // 2 - 1
    dx, dy = (np.diff(part, append=0.0) for part in (x, y))
    dx[last] = dy[last] = 0.0  # the pen is up between strokes
    mass = _segment_mass(dx, dy, offsets)

    # in samples from the stroke's begin: where each point is, and the first sample that is not before it
    mass *= num_samples - 1
    before = np.cumsum(mass) - mass
    along = before - np.repeat(before[first], np.diff(offsets))
    sample = np.minimum(np.ceil(along), num_samples).astype(np.int32)
    sample[last] = num_samples
    columns = np.empty((len(x), 2), dtype=np.int32)
    columns[:, 0] = 2 * sample
    columns[:, 1] = columns[:, 0] + 1

    density = np.divide(1.0, mass, out=np.zeros_like(mass), where=mass > 0)
    table, pairs = torch.from_numpy(sums), torch.from_numpy((2 * offsets).astype(np.int32))
    entries = np.empty((len(x), 2))
    for axis, (place, step) in enumerate(((x, dx), (y, dy))):
        slope = step * density
        constant = place - slope * along
        constant[last] = 0.0
        # the line that ends in a point, less the one that begins there; what begins at sample 0 has no sum before it
        entries[1:, 0], entries[1:, 1] = constant[:-1] - constant[1:], slope[:-1] - slope[1:]
        entries[first] = 0.0
        dots = first[first == last]
        entries[dots, 0] = place[dots]
        rows, weights = torch.from_numpy(columns.ravel()), torch.from_numpy(entries.ravel())
        out[:, :, axis] = F.embedding_bag(rows, table, pairs, mode="sum", per_sample_weights=weights,
                                          include_last_offset=True)  # fmt: skip
        out[:, 0, axis], out[:, -1, axis] = place[first], place[last]  # without rounding


def _segment_mass(dx: np.ndarray, dy: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the share of its stroke that each segment (dx, dy) carries, (P,): 0 behind a stroke's last point.

    The share BY_ANGLE of it goes by turning angle, the rest by length; all of it where a stroke does not turn.
    """
    length = np.sqrt(dx * dx + dy * dy)
    turn = np.zeros_like(length)
    cross = dx[:-1] * dy[1:] - dy[:-1] * dx[1:]
    # where one of two segments has no length this is 0, never -0, which would count as half a turn
    turn[1:] = np.arctan2(np.abs(cross), dx[:-1] * dx[1:] + dy[:-1] * dy[1:] + 0.0)
    # a corner's turning is shared by the two segments that meet in it
    angle = turn.copy()
    angle[:-1] += turn[1:]
    lengths, angles = (np.add.reduceat(part, offsets[:-1]) for part in (length, angle))
    share = np.where(angles > 0, BY_ANGLE, 0.0)
    per_length = np.divide(1.0 - share, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    per_angle = np.divide(share, angles, out=np.zeros_like(angles), where=angles > 0)
    counts = np.diff(offsets)
    result: np.ndarray = length * np.repeat(per_length, counts) + angle * np.repeat(per_angle, counts)
    return result


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
    def fit(vectors: Tensor) -> Whitening:
        """Return the whitening of `vectors` (S, D): components by falling variance, scale sqrt(var + NOISE_FLOOR^2).

        Raises ValueError for fewer than two strokes or numbers that are not finite.
        """
        if len(vectors) < 2 or not torch.isfinite(vectors).all():
            raise ValueError(f"whitening needs at least 2 finite strokes, got {len(vectors)}")
        exact = vectors.double()
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
