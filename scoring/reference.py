"""What generated drawings are compared with: real drawings, as features of their pictures and as numbers.

A reference is made from drawings at hand (`reference_of`), or read from the shipped file (`load_reference`), which
holds features and statistics only: it scores on a machine that has no drawing of a person. `studies/train_features.py`
wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from config import RECOGNISER_PATH
from plumbing.tensor_files import read_header
from scoring.copies import TrainingStrokes
from scoring.feature_network import LoadedNetwork, describe_inputs, kind_of, load_feature_network, read_safetensors
from scoring.stroke_statistics import DrawingStatistics, describe_strokes, from_arrays, independent_strokes

Drawing = Sequence[NDArray[Any]]
Features = NDArray[np.float32]

NUM_INDEPENDENT = 500
MOST_STROKES = 24
"""Columns of `recognised_after`: the longest drawing that the models make."""
MOST_SHOWN = 125
"""Drawings of a set that are shown stroke by stroke: each is as many pictures for the network as it has strokes."""
BATCH_SIZE = 64
"""Pictures that the feature network sees at once: a quarter faster than 256, and the same bits."""
PICTURES_AT_ONCE = 128 * BATCH_SIZE
MOST_TRAINING = 3000
"""Training drawings of a category whose features are shipped: 512 bytes each, and the file is to stay small."""
REFERENCE_FORMAT = "reference-features-4"


@dataclass(frozen=True)
class Described:
    """Features (N, D) and logits (N, C) of N drawings or pictures."""

    features: Features
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Judge:
    """A network, and what it makes of real drawings and of shuffled strokes.

    `training` holds features (N, D) of drawings that the models learned from, or is None where these are not known.
    """

    loaded: LoadedNetwork
    real: Described
    independent: Described
    training: Features | None


@dataclass(frozen=True)
class Reference:
    """Real drawings of a category, described; `source` and `strokes_source` say which ones.

    `real` and `independent` (shuffled strokes) are described as pictures. `second`, `statistics` and `recognised`,
    (N, MOST_STROKES) of ``recognised_after``, are of real drawings as strokes, which may be others than the pictures.
    `training` holds features (N, D) of drawings that the models learned from, or None where they are not known: of all
    of them, or of N at random of `num_learned_from`; that of `second`, the stroke recogniser, is of such drawings as it
    did not learn from itself. Of a shipped reference no drawings are at hand.
    """

    source: str
    real: Described
    independent: Described
    second: Judge
    strokes_source: str
    statistics: DrawingStatistics
    recognised: NDArray[np.bool_] | None
    training: Features | None
    num_learned_from: int
    real_drawings: Sequence[Drawing] = ()
    training_strokes: TrainingStrokes | None = None


def describe_drawings(drawings: Sequence[Drawing], loaded: LoadedNetwork) -> Described:
    """Return features and logits of drawings, as pictures or as strokes, whichever the network reads."""
    inputs_of = kind_of(loaded.network).inputs_of
    parts = [  # in bounded memory
        describe_inputs(loaded.network, inputs_of(drawings[start : start + PICTURES_AT_ONCE]), batch_size=BATCH_SIZE)
        for start in range(0, max(1, len(drawings)), PICTURES_AT_ONCE)
    ]
    features, logits = (np.concatenate(side) for side in zip(*parts, strict=True))
    return Described(features, logits)


def recognised(logits: NDArray[Any], classes: Sequence[str], category: str, best: int = 1) -> NDArray[np.bool_]:
    """Return, (N,), of which drawings, logits (N, C), the category is among the `best` classes."""
    logits = np.asarray(logits)
    if category not in classes:
        raise ValueError(f"the feature network does not know the category '{category}'")
    if logits.ndim != 2 or logits.shape[1] != len(classes) or not len(logits):
        raise ValueError(f"logits must be (N, {len(classes)}) with N at least 1, got {logits.shape}")
    own = logits[:, [list(classes).index(category)]]
    result: NDArray[np.bool_] = (logits > own).sum(axis=1) < best
    return result


def recognisability(logits: ArrayLike, classes: Sequence[str], category: str) -> dict[str, float | None]:
    """Return the shares of drawings, logits (N, C), whose best or best five classes hold `category`.

    They are None for a category of somebody's own, which is none of the classes.
    """
    if category not in classes:
        return {"top1": None, "top5": None}
    return {f"top{k}": float(recognised(np.asarray(logits), classes, category, k).mean()) for k in (1, 5)}


def recognised_after(
    drawings: Sequence[Drawing], loaded: LoadedNetwork, category: str, most: int = MOST_SHOWN
) -> NDArray[np.bool_]:
    """Return, (N, MOST_STROKES), whether each drawing is recognised after its first 1, 2, ... strokes.

    Of more than `most` drawings N = `most` are shown, spread evenly over them. A drawing that has ended stays as it is,
    so that the mean of a column is the share of all drawings that are recognised when at most so many strokes are
    shown.
    """
    chosen = np.linspace(0, len(drawings) - 1, min(most, len(drawings))).round().astype(int)
    drawings = [drawings[i] for i in chosen]
    shown = np.array([min(len(drawing), MOST_STROKES) for drawing in drawings])
    beginnings = [drawing[:k] for drawing, most in zip(drawings, shown, strict=True) for k in range(1, most + 1)]
    hits = recognised(describe_drawings(beginnings, loaded).logits, loaded.classes, category)
    first = np.concatenate([[0], np.cumsum(shown)[:-1]])
    columns = np.minimum(np.arange(MOST_STROKES), shown[:, None] - 1)
    result: NDArray[np.bool_] = hits[first[:, None] + columns]
    return result


def reference_of(
    real: Sequence[Drawing],
    category: str,
    loaded: LoadedNetwork,
    *,
    training: Sequence[Drawing] | None = None,
    source: str = "real drawings as strokes",
    seed: int = 0,
) -> Reference:
    """Return the reference that drawings at hand make; `training` are drawings that a model learned from."""
    independent = independent_strokes(real, max(len(real), NUM_INDEPENDENT), seed)
    recogniser = load_feature_network(RECOGNISER_PATH)
    return Reference(
        source=source,
        real=describe_drawings(real, loaded),
        independent=describe_drawings(independent, loaded),
        second=Judge(recogniser, describe_drawings(real, recogniser), describe_drawings(independent, recogniser), None),
        strokes_source=source,
        statistics=describe_strokes(real),
        recognised=recognised_after(real, loaded, category) if category in loaded.classes else None,
        training=describe_drawings(training, loaded).features if training else None,
        num_learned_from=len(training or ()),
        real_drawings=real,
        training_strokes=TrainingStrokes(training) if training else None,
    )


# ------------------------------------------------------------------ the shipped file


def _described(name: str, tensor: Tensor, loaded: LoadedNetwork) -> Described:
    features, width = tensor.float(), loaded.network.classifier.in_features
    if features.ndim != 2 or features.shape[1] != width or len(features) < 2:
        raise ValueError(f"{name} has shape {tuple(features.shape)}, the network makes (N, {width})")
    with torch.no_grad():
        return Described(features.numpy(), loaded.network.classify(features).numpy())


def load_reference(path: Path, category: str, loaded: LoadedNetwork) -> Reference:
    """Return a category's reference from a shipped file.

    Raises FileNotFoundError, or ValueError when the file is damaged, was made with another network or does not hold
    the category.
    """
    tensors, metadata = read_safetensors(path)
    recogniser = load_feature_network(RECOGNISER_PATH)
    expected = (REFERENCE_FORMAT, loaded.sha256, recogniser.sha256)
    if tuple(map(metadata.get, ("format", "network_sha256", "recogniser_sha256"))) != expected:
        raise ValueError(f"{path}: for another program or network; make it again with python -m studies.train_features")
    held = sorted({name.rsplit(".", 1)[0] for name in tensors})
    if category not in held:
        raise ValueError(f"{path}: holds {', '.join(held)}, not '{category}'; give --real FILE of real ones")
    try:
        sources, counts = (json.loads(metadata[name])[category] for name in ("sources", "counts"))
        source, strokes_source = str(sources["pictures"]), str(sources["strokes"])
        num_learned_from = int(counts["learned_from"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path}: damaged, does not say where '{category}' comes from") from None
    own = {name.rsplit(".", 1)[1]: tensor for name, tensor in tensors.items() if name.startswith(f"{category}.")}
    none = torch.zeros(0)
    parts = {
        f"{name}{form}": _described(f"{path}: {category}.{name}{form}", own.pop(f"{name}{form}", none), network)
        for name in ("real", "independent", "training")
        for form, network in (("", loaded), ("_strokes", recogniser))
    }
    after = own.pop("recognised", none).numpy()
    try:
        statistics = from_arrays({name: tensor.numpy() for name, tensor in own.items()})
    except ValueError as error:
        raise ValueError(f"{path}: {category}: {error}") from None
    if after.shape != (len(statistics), MOST_STROKES):
        raise ValueError(
            f"{path}: {category}.recognised has shape {after.shape}, must be {(len(statistics), MOST_STROKES)}"
        )
    return Reference(
        source=source,
        real=parts["real"],
        independent=parts["independent"],
        second=Judge(
            recogniser, parts["real_strokes"], parts["independent_strokes"], parts["training_strokes"].features
        ),
        strokes_source=strokes_source,
        statistics=statistics,
        recognised=after.astype(bool),
        training=parts["training"].features,
        num_learned_from=num_learned_from,
    )


def reference_categories(path: Path) -> list[str]:
    """Return the categories that a file of reference features holds, sorted; none where there is no file."""
    if not path.exists():
        return []
    counts = read_header(path).value("counts")
    if not isinstance(counts, dict):
        raise ValueError(f"{path}: no file of references (its counts are no table)")
    return sorted(counts)


def training_part(count: int) -> NDArray[np.int64]:
    """Return, in order, which of `count` training drawings the shipped file has: all, or MOST_TRAINING at random."""
    if count <= MOST_TRAINING:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, MOST_TRAINING, replace=False))
