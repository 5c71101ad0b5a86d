"""What networks make of drawings, computed once and only when a score asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor

from config import BASE_PATH, NETWORK_PATH, RECOGNISER_PATH, shipped_checkpoint
from diffusion_model import TrainedModel, load_weights
from oddity.autoencoder import Autoencoder, ink_of, load_autoencoders, redrawn
from oddity.losses import StrokeLosses, stroke_losses
from scoring.feature_network import LoadedNetwork, load_feature_network
from scoring.reference import Described, describe_drawings

Drawing = Sequence[NDArray[Any]]
Array = NDArray[np.float64]

AUTOENCODERS = Path(__file__).resolve().parent / "autoencoders.safetensors"


_recogniser, _model = cache(load_feature_network), cache(load_weights)
"""Judges of one category after the other share what is the same for all."""


class Judges:
    """The networks that look at drawings of one category, each loaded when it is first asked for.

    `seed` makes the noise of denoising losses. The shipped files stand in for what is not given.
    """

    def __init__(self, category: str, seed: int = 0, autoencoder: Autoencoder | None = None) -> None:
        self.category, self.seed, self._autoencoder = category, seed, autoencoder

    @cached_property
    def pictures(self) -> LoadedNetwork:
        """The feature network, which names pictures."""
        return _recogniser(NETWORK_PATH)

    @cached_property
    def strokes(self) -> LoadedNetwork:
        """The stroke recogniser."""
        return _recogniser(RECOGNISER_PATH)

    @cached_property
    def base(self) -> TrainedModel:
        """The diffusion model of all 345 categories."""
        return _model(BASE_PATH)

    @cached_property
    def model(self) -> TrainedModel:
        """The category's own diffusion model, or the base where it has none."""
        return _model(shipped_checkpoint(self.category, "teacher"))

    @cached_property
    def autoencoder(self) -> Autoencoder | None:
        """The category's autoencoder; None where there is none."""
        if self._autoencoder is not None or not AUTOENCODERS.is_file():
            return self._autoencoder
        return load_autoencoders(AUTOENCODERS).get(self.category)


class Look:
    """Drawings, and what the judges of a category make of them."""

    def __init__(self, drawings: Sequence[Drawing], judges: Judges) -> None:
        self.drawings, self.judges = drawings, judges

    def __len__(self) -> int:
        return len(self.drawings)

    def select(self, rows: Sequence[int]) -> Look:
        """Return a look at some of the drawings, whose recognisers need not look again."""
        other = Look([self.drawings[row] for row in rows], self.judges)
        for name in ("pictures", "strokes"):
            seen: Described = getattr(self, name)
            setattr(other, name, Described(seen.features[rows], seen.logits[rows]))
        return other

    def by(self, judges: Judges) -> Look:
        """Return a look at the same drawings by other judges with the same recognisers."""
        other = Look(self.drawings, judges)
        other.pictures, other.strokes, other.ink = self.pictures, self.strokes, self.ink
        return other

    @cached_property
    def pictures(self) -> Described:
        """Features (N, 256) and logits (N, 345) of the pictures."""
        return describe_drawings(self.drawings, self.judges.pictures)

    @cached_property
    def strokes(self) -> Described:
        """Features (N, 160) and logits (N, 345) of the strokes in their order."""
        return describe_drawings(self.drawings, self.judges.strokes)

    @cached_property
    def own(self) -> StrokeLosses:
        """Losses under the category's own model."""
        model = self.judges.model
        return stroke_losses(model, model.category_id(self.judges.category), self.drawings, self.judges.seed)

    @cached_property
    def told(self) -> StrokeLosses:
        """Losses under the base that is told the category."""
        base = self.judges.base
        if self.judges.model is base:
            return self.own
        return stroke_losses(base, base.category_id(self.judges.category), self.drawings, self.judges.seed)

    @cached_property
    def untold(self) -> StrokeLosses:
        """Losses under the base that is told no category: what any drawing of the dataset may be."""
        base = self.judges.base
        return stroke_losses(base, base.model.null_category, self.drawings, self.judges.seed)

    @cached_property
    def ink(self) -> Tensor:
        """The pictures as ink (N, 32, 32)."""
        return ink_of(self.drawings)

    @cached_property
    def redrawn(self) -> Tensor:
        """What the category's autoencoder makes of them, (N, 32, 32)."""
        if self.judges.autoencoder is None:
            raise ValueError(f"there is no autoencoder of {self.judges.category}; docs/ODD_DRAWINGS.md says of what")
        return redrawn(self.judges.autoencoder, self.ink)

    def surprisal(self, described: Described, loaded: LoadedNetwork) -> Array:
        """Return - log p(category), nats (N,), by one of the recognisers."""
        logits = np.asarray(described.logits, np.float64)
        nats: Array = -log_softmax(logits, axis=1)[:, loaded.classes.index(self.judges.category)]
        return nats
