"""What a family draws, and how good it is: finished drawings, their features, and the temperature chosen for them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drawings.simplify import official_form
from families.interface import Drawing, Family, Material
from metrics import kernel_distance
from scoring.feature_network import LoadedNetwork, describe_inputs
from scoring.reference import Described, describe_drawings

TEMPERATURES = (0.3, 0.5, 0.7, 0.85, 1.0)
"""What is tried for every family, and the only thing: as many trials for each."""
AT_ONCE = 64


@dataclass(frozen=True)
class Drawn:
    """What a family drew: drawings in the official form, or pictures (N, 64, 64) uint8; `empty` were left out."""

    drawings: list[Drawing]
    pictures: NDArray[np.uint8] | None = None
    empty: int = 0

    def described(self, loaded: LoadedNetwork) -> Described:
        """Return features and logits by a network: of pictures, or of drawings in whichever form it reads."""
        if self.pictures is None:
            return describe_drawings(self.drawings, loaded)
        return Described(*describe_inputs(loaded.network, self.pictures, 64))


def draw(family: Family, category: str, count: int, seed: int, temperature: float) -> Drawn:
    """Return `count` drawings of a category, less those without a stroke, or pictures."""
    made: list[Any] = []
    for first in range(0, count, AT_ONCE):
        made += list(family.generate(category, range(first, min(count, first + AT_ONCE)), seed, temperature))
    if family.kind == "pictures":
        return Drawn([], np.stack(made))
    whole = [drawing for drawing in made if drawing and all(np.isfinite(stroke).all() for stroke in drawing)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scribbles with more ink than is sampled finely: at the start all scribble
        return Drawn([official_form(drawing)[0] for drawing in whole], None, count - len(whole))


class Validation:
    """Held-out drawings of one category, which temperatures and curves are judged by; never the test pictures."""

    def __init__(self, material: Material, category: str, loaded: LoadedNetwork, count: int = 100) -> None:
        """Describe the held-out drawings; families will draw `count` to be compared with them."""
        held_out: Sequence[Drawing] = list(material.held_out[material.categories.index(category)])
        self.category, self.loaded, self.count = category, loaded, count
        self.features = describe_drawings(held_out, loaded).features

    def kid(self, family: Family, temperature: float, seed: int = 99) -> float:
        """Return the KID of what a family draws; infinite where it draws nothing."""
        drawn = draw(family, self.category, self.count, seed, temperature)
        if drawn.empty > self.count - 2:
            return float("inf")
        return kernel_distance(drawn.described(self.loaded).features, self.features, 10)[0]

    def best_temperature(self, family: Family) -> tuple[float, dict[str, float]]:
        """Return the temperature of lowest KID, and the KIDs of all that were tried."""
        kids = {temperature: round(self.kid(family, temperature), 5) for temperature in TEMPERATURES}
        return min(kids, key=lambda temperature: kids[temperature]), {str(key): kid for key, kid in kids.items()}
