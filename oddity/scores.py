"""Scores of how odd a drawing is for its category, behind one interface: fit to drawings of it, then judge others.

A score is fitted to a Look at training drawings and becomes a measure: a Look at any drawings to numbers (N,), where
more is odder. What nothing is fitted for ignores the training drawings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddity.autoencoder import share_lost
from oddity.looks import Look
from scoring.neighbours import squared_distances
from stroke_tokens import resample_each

Array = NDArray[np.float64]
Measure = Callable[[Look], Array]

NEIGHBOURS = 5
RIDGE = 0.1
"""Share of the mean variance that is added to every direction of a covariance, for there are few drawings."""
TOKEN_STROKES, TOKEN_POINTS, TOKEN_COMPONENTS = 8, 8, 24
"""The linear autoencoder of tokens: 8 points of each of the first 8 strokes through a code of 24 numbers."""


@dataclass(frozen=True)
class Score:
    """A score: its name in words, and how it is fitted to training drawings of the category."""

    title: str
    fit: Callable[[Look], Measure]
    models: bool = False
    """Whether it needs diffusion models, which take some 100 times as long as all others."""
    fitted: bool = False
    """Whether it is fitted to training drawings."""


def _features_of(look: Look, kind: str) -> Array:
    return np.asarray(getattr(look, kind).features, np.float64)


def _neighbours(kind: str) -> Callable[[Look], Measure]:
    """The mean distance to the 5 nearest training drawings in a recogniser's features."""

    def fit(training: Look) -> Measure:
        known = _features_of(training, kind)

        def measure(look: Look) -> Array:
            nearest = np.sort(squared_distances(_features_of(look, kind), known), axis=1)[:, :NEIGHBOURS]
            mean: Array = np.sqrt(nearest).mean(axis=1)
            return mean

        return measure

    return fit


def _mahalanobis(kind: str) -> Callable[[Look], Measure]:
    """The distance from the mean of the training drawings' features, in their deviations."""

    def fit(training: Look) -> Measure:
        known = _features_of(training, kind)
        mean, covariance = known.mean(axis=0), np.cov(known.T)
        width = len(covariance)
        inverse = np.linalg.inv(covariance + RIDGE * np.trace(covariance) / width * np.eye(width))

        def measure(look: Look) -> Array:
            away = _features_of(look, kind) - mean
            return np.sqrt(np.einsum("ni,ij,nj->n", away, inverse, away))

        return measure

    return fit


def _plain(measure: Measure) -> Callable[[Look], Measure]:
    """A measure that nothing is fitted for."""
    return lambda training: measure


def _surprisal(kind: str) -> Measure:
    """The nats that a recogniser gives the category's name."""
    return lambda look: look.surprisal(getattr(look, kind), getattr(look.judges, kind))


def _both(look: Look) -> Array:
    """The nats that both recognisers give the category's name: as if they erred independently."""
    return _surprisal("pictures")(look) + _surprisal("strokes")(look)


def _unlike_itself(look: Look) -> Array:
    """The share of a picture's ink that the autoencoder does not draw again."""
    return share_lost(look.ink, look.redrawn)


def _token_table(look: Look) -> Array:
    """Points of the first strokes of drawings as rows (N, 8 * 8 * 2 + 8): in -1 ... 1, zeros where there is no stroke,
    and whether there is one."""
    rows = np.zeros((len(look), TOKEN_STROKES, 2 * TOKEN_POINTS + 1))
    kept = [drawing[:TOKEN_STROKES] for drawing in look.drawings]
    if strokes := [stroke for drawing in kept for stroke in drawing]:
        points = resample_each(strokes, TOKEN_POINTS)
        counts = np.array([len(drawing) for drawing in kept])
        there = np.arange(TOKEN_STROKES) < counts[:, None]
        rows[there] = np.concatenate([points.reshape(len(points), -1) / 127.5 - 1, np.ones((len(points), 1))], axis=1)
    return rows.reshape(len(look), -1)


def _token_autoencoder(training: Look) -> Measure:
    """The error of redrawing points through the first principal components: the best linear autoencoder."""
    known = _token_table(training)
    mean = known.mean(axis=0)
    _, _, directions = np.linalg.svd(known - mean, full_matrices=False)
    kept = directions[:TOKEN_COMPONENTS]

    def measure(look: Look) -> Array:
        away = _token_table(look) - mean
        error: Array = ((away - away @ kept.T @ kept) ** 2).sum(axis=1)
        return error

    return measure


def _total(losses: Any) -> Array:
    return np.nansum(losses.denoising, axis=1)


STROKE_WEIGHT = 20.0
"""Nats that a loss of 1 counts for, own model less base untold, of the worst stroke beside both recognisers."""


def _together(look: Look) -> Array:
    """What both recognisers say and what one stroke may add: no stroke speaks for a drawing."""
    worst = np.nanmax(look.own.denoising - look.untold.denoising, axis=1)
    together: Array = _both(look) + STROKE_WEIGHT * np.maximum(worst, 0.0)
    return together


DEFAULT = "recognisers"
SCORES: dict[str, Score] = {
    "recognisers": Score("both recognisers: − log p(category), summed", _plain(_both)),
    "together": Score("both recognisers and the worst stroke's loss ratio", _plain(_together), True),
    "recogniser": Score("recogniser of pictures: − log p(category)", _plain(_surprisal("pictures"))),
    "recogniser_strokes": Score("recogniser of strokes: − log p(category)", _plain(_surprisal("strokes"))),
    "neighbours": Score("5 nearest neighbours, features of pictures", _neighbours("pictures"), fitted=True),
    "neighbours_strokes": Score("5 nearest neighbours, features of strokes", _neighbours("strokes"), fitted=True),
    "mahalanobis": Score("Mahalanobis, features of pictures", _mahalanobis("pictures"), fitted=True),
    "mahalanobis_strokes": Score("Mahalanobis, features of strokes", _mahalanobis("strokes"), fitted=True),
    "autoencoder": Score("convolutional autoencoder of pictures", _plain(_unlike_itself)),
    "token_autoencoder": Score("linear autoencoder of stroke points", _token_autoencoder, fitted=True),
    "denoising": Score("denoising loss, mean of strokes", _plain(lambda look: np.nanmean(look.own.denoising, 1)), True),
    "denoising_worst": Score("denoising loss, worst stroke", _plain(lambda look: np.nanmax(look.own.denoising, 1)),
                             True),
    "ratio": Score("loss, own model less base untold, sum", _plain(lambda look: _total(look.own) - _total(look.untold)),
                   True),
    "ratio_worst": Score("loss, own model less base untold, worst stroke",
                         _plain(lambda look: np.nanmax(look.own.denoising - look.untold.denoising, 1)), True),
    "ratio_base": Score("loss, base told less base untold, sum",
                        _plain(lambda look: _total(look.told) - _total(look.untold)), True),
    "stop": Score("surprise of the end", _plain(lambda look: look.own.stop), True),
}  # fmt: skip
"""By the names that --score takes."""
