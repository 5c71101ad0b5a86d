"""From which score on a drawing is called odd: quantiles of the score over real drawings of the category.

A threshold on training drawings is too strict where the networks know these drawings by heart. Of categories with few
drawings, held-out ones are called odd twice as often as promised. So their quantiles are taken at the levels at which
held-out drawings of other small categories, pooled, keep the promise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from config import ATTRIBUTION
from plumbing.tensor_files import read_header, write_tensors

Array = NDArray[np.float64]

FORMAT = "odd-drawings-1"
CALIBRATION = Path(__file__).resolve().parent / "calibration.safetensors"
LEVELS = np.round(np.concatenate([np.linspace(0, 0.9, 46), np.linspace(0.905, 1.0, 20)]), 4)
"""Shares of calibration drawings below each quantile that is kept."""
FEW = 600
"""Training drawings below which a category is small: its drawings are known by heart."""


@dataclass(frozen=True)
class Calibration:
    """Quantiles (66,) at LEVELS of a score over `count` drawings of a category; `source` says which ones."""

    score: str
    category: str
    quantiles: Array
    count: int
    source: str

    def threshold(self, false_alarms: float) -> float:
        """Return the score that a share `false_alarms` of real drawings of the category reaches."""
        return float(np.interp(1 - false_alarms, LEVELS, self.quantiles))

    def rank(self, scores: ArrayLike) -> Array:
        """Return the share of real drawings of the category that are at least as odd, for each score (N,)."""
        increasing = np.maximum.accumulate(self.quantiles + 1e-9 * np.arange(len(LEVELS)))
        share: Array = 1 - np.interp(np.asarray(scores, float), increasing, LEVELS)
        return share


def calibrated(score: str, category: str, scores: ArrayLike, source: str, levels: Array = LEVELS) -> Calibration:
    """Return the calibration of a score by its values (N,) over real drawings; `levels` stand in for LEVELS."""
    values = np.asarray(scores, float)
    return Calibration(score, category, np.quantile(values, levels), len(values), source)


def honest_levels(ranks: ArrayLike) -> Array:
    """Return the levels of training drawings that held-out drawings fall below as often as LEVELS say, (66,).

    `ranks` are the shares of training drawings of their own category that held-out drawings are odder than.
    """
    levels: Array = np.quantile(np.asarray(ranks, float), LEVELS)
    return levels


def save_calibrations(found: Sequence[Calibration], conditions: Mapping[str, Any], path: Path = CALIBRATION) -> None:
    """Write calibrations of one score, a row for each category."""
    table = torch.from_numpy(np.stack([each.quantiles for each in found])).float()
    words = {
        "format": FORMAT, "score": found[0].score, "categories": json.dumps([each.category for each in found]),
        "counts": json.dumps([each.count for each in found]), "sources": json.dumps([each.source for each in found]),
        "conditions": json.dumps({**conditions, "attribution": ATTRIBUTION}),
    }  # fmt: skip
    write_tensors(path, {"quantiles": table}, words)


def load_calibration(category: str, networks: Sequence[str], path: Path = CALIBRATION) -> Calibration:
    """Return the shipped calibration of a category, made with the networks of these sha256.

    Raises FileNotFoundError, or ValueError for a file that is damaged, was made with other networks, or lacks it.
    """
    header = read_header(path, "file of calibrations")
    if header.words.get("format") != FORMAT:
        raise ValueError(f"{path}: not a file of calibrations of this program")
    if header.value("conditions").get("networks") != list(networks):
        raise ValueError(f"{path}: made with other recognisers; make it anew: python -m studies.odd_calibration")
    names = header.value("categories")
    if category not in names:
        raise ValueError(f"{path}: nobody has trained a recogniser on '{category}'; it knows {len(names)} categories")
    row = names.index(category)
    quantiles = header.tensors()["quantiles"][row].double().numpy()
    return Calibration(header.words["score"], category, quantiles, header.value("counts")[row],
                       header.value("sources")[row])  # fmt: skip
