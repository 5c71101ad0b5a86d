"""What the ink of a video shows: one thing, or several that were drawn one after another.

Strokes in their order are divided into things so that the reader is sure of each: of all divisions the best by the sum
of log probabilities, each thing but the first with a gain that shrinks where its box overlaps the one before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree

from words.clips import Segments, clip, until
from words.video_network import LoadedVideoNetwork, described

MOST_PLACES = 12
"""Places between strokes at which a thing may end: those where the pen went furthest from what was there."""
GAIN, OVERLAP_PRICE = 1.0, 5.0
"""Chosen on scenes of one to three held-out drawings of people, of categories that the round trip does not ask for."""
SHARES = tuple(k / 20 for k in range(1, 21))
SURE = 0.5

Probabilities = NDArray[np.float64]
Reader = Callable[[Sequence[Segments]], Probabilities]
"""What returns the probability of each category (N, 345) of the ink of N things."""


@dataclass(frozen=True)
class Seen:
    """A thing that was read: its name with probability, others that it may be, and when it was drawn, in s.

    `course` has the name and its probability after each of SHARES of its ink; `sure_after` is the share after which it
    was this name with SURE and stayed so, None where that never was.
    """

    category: str
    chance: float
    others: list[tuple[str, float]]
    begins: float
    ends: float
    course: list[tuple[float, str, float]]
    sure_after: float | None


def reader_of(loaded: LoadedVideoNetwork, recogniser: Any) -> Reader:
    """Return the reader that a network and the picture recogniser make."""

    @torch.no_grad()
    def read(things: Sequence[Segments]) -> Probabilities:
        chances = []
        for start in range(0, len(things), 32):
            frames = np.stack([clip(segments) for segments in things[start : start + 32]])
            logits = loaded.network(*described(recogniser, frames))[:, -1] / loaded.temperature
            chances.append(logits.double().softmax(dim=1).numpy())
        return np.concatenate(chances)

    return read


def places(segments: Segments, strokes: NDArray[np.int64]) -> list[int]:
    """Return the numbers of strokes, sorted, with which a further thing may begin: at most MOST_PLACES."""
    count = int(strokes[-1]) + 1
    middles = (segments[:, :2] + segments[:, 2:]) / 2
    first = np.searchsorted(strokes, np.arange(count + 1))
    gaps = [0.0]
    for number in range(1, count):
        before, own = middles[: first[number]], middles[first[number] : first[number + 1]]
        gaps.append(float(KDTree(before).query(own)[0].min()))
    ranked = np.argsort(-np.array(gaps), kind="stable")
    return sorted(int(number) for number in ranked[:MOST_PLACES] if number)


def overlap(one: Segments, other: Segments) -> float:
    """Return which share of the smaller of two boxes lies in the other."""
    boxes = [(s.reshape(-1, 2).min(axis=0) - 1, s.reshape(-1, 2).max(axis=0) + 1) for s in (one, other)]
    common = np.minimum(boxes[0][1], boxes[1][1]) - np.maximum(boxes[0][0], boxes[1][0])
    areas = [float(np.prod(high - low)) for low, high in boxes]
    return float(np.prod(np.maximum(common, 0))) / min(areas)


def divided(segments: Segments, strokes: NDArray[np.int64], read: Reader) -> list[slice]:
    """Return the slices of segments that show one thing each, in the order of drawing."""
    bounds = np.searchsorted(strokes, [0, *places(segments, strokes), int(strokes[-1]) + 1])
    spans = [(i, j) for i in range(len(bounds) - 1) for j in range(i + 1, len(bounds))]
    parts = [segments[bounds[i] : bounds[j]] for i, j in spans]
    surest = dict(zip(spans, (float(value) for value in np.log(read(parts).max(axis=1))), strict=True))
    part = dict(zip(spans, parts, strict=True))
    best: dict[tuple[int, int], tuple[float, list[tuple[int, int]]]] = {}
    for i, j in sorted(spans, key=lambda span: span[1]):
        found: list[tuple[float, list[tuple[int, int]]]] = [
            (score + GAIN - OVERLAP_PRICE * overlap(part[before], part[i, j]), [*way, (i, j)])
            for before, (score, way) in best.items() if before[1] == i
        ] if i else [(0.0, [(i, j)])]  # fmt: skip
        score, way = max(found, key=lambda each: each[0])
        best[i, j] = (score + surest[i, j], way)
    _, way = max((best[span] for span in spans if span[1] == len(bounds) - 1), key=lambda each: each[0])
    return [slice(int(bounds[i]), int(bounds[j])) for i, j in way]


def seen(segments: Segments, times: NDArray[np.float64], classes: Sequence[str], read: Reader) -> Seen:
    """Return what one thing is, by its ink so far and in the end."""
    chances = read([until(segments, share) for share in SHARES])
    first = chances[-1].argsort()[::-1]
    named = (chances.argmax(axis=1) == first[0]) & (chances.max(axis=1) >= SURE)
    begin = int(np.flatnonzero(~np.append(False, named))[-1])  # of the last run of this name
    sure = SHARES[begin] if begin < len(SHARES) else None
    course = [(share, classes[int(row.argmax())], float(row.max())) for share, row in zip(SHARES, chances, strict=True)]
    return Seen(
        classes[first[0]], float(chances[-1, first[0]]), [(classes[i], float(chances[-1, i])) for i in first[1:3]],
        float(times[0]), float(times[-1]), course, sure,
    )  # fmt: skip
