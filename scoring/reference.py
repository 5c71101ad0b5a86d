"""What generated drawings are compared with: real drawings, as features of their pictures and as numbers.

A reference is made from drawings at hand (`reference_of`), or read from the shipped file (`load_reference`), which
holds features and statistics only: it scores on a machine that has no drawing of a person. `write_references` made it.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

import rendering
from config import ATTRIBUTION
from dataset_utils import load_category
from plumbing.processes import ALONE, Group
from plumbing.tensor_files import read_header
from scoring.feature_network import (
    LoadedNetwork,
    describe_pictures,
    load_feature_network,
    read_safetensors,
    write_safetensors,
)
from scoring.stroke_statistics import DrawingStatistics, describe_strokes, from_arrays, independent_strokes, to_arrays

Drawing = Sequence[NDArray[Any]]
Features = NDArray[np.float32]

NUM_INDEPENDENT = 500
MOST_STROKES = 24
"""Columns of `recognised_after`: the longest drawing that the models make."""
BATCH_SIZE = 256
"""Pictures that the feature network sees at once; processes share whole batches."""
PICTURES_AT_ONCE = 32 * BATCH_SIZE
MOST_PICTURES = 50_000
"""Real pictures of a category that are read: 3.3 GB."""
MOST_TRAINING = 3000
"""Training drawings of a category whose features are shipped: 512 bytes each, and the file is to stay small."""
_FORMAT = "reference-features-3"
_TEST_PICTURES = f"{ATTRIBUTION}: real drawings of the official test split, as pictures"
_HELD_OUT = f"{ATTRIBUTION}: held-out 15 % of the drawings of which the others trained the models"


@dataclass(frozen=True)
class Described:
    """Features (N, D) and logits (N, C) of N drawings or pictures."""

    features: Features
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Reference:
    """Real drawings of a category, described; `source` and `strokes_source` say which ones.

    `real` and `independent` (drawings of independent strokes) are described as pictures. `statistics` and `recognised`,
    (N, MOST_STROKES) of ``recognised_after``, are of real drawings as strokes, which may be others than the pictures.
    `training` holds features (N, D) of drawings that the models learned from, or None where they are not known: of all
    of them, or of N at random of `num_learned_from`.
    """

    source: str
    real: Described
    independent: Described
    strokes_source: str
    statistics: DrawingStatistics
    recognised: NDArray[np.bool_]
    training: Features | None
    num_learned_from: int


def describe_drawings(drawings: Sequence[Drawing], loaded: LoadedNetwork, group: Group = ALONE) -> Described:
    """Return features and logits of drawings, rendered as FEATURE_RENDERING says, in bounded memory.

    The processes of `group` share the work, and each of them has the result.
    """
    own = drawings[group.own_slice(len(drawings), BATCH_SIZE)]
    parts = [
        describe_pictures(
            loaded.network, rendering.feature_rasters(own[start : start + PICTURES_AT_ONCE]), batch_size=BATCH_SIZE
        )
        for start in range(0, max(1, len(own)), PICTURES_AT_ONCE)
    ]
    features, logits = (group.concatenated(np.concatenate(side)) for side in zip(*parts, strict=True))
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


def recognised_after(
    drawings: Sequence[Drawing], loaded: LoadedNetwork, category: str, group: Group = ALONE
) -> NDArray[np.bool_]:
    """Return, (N, MOST_STROKES), whether each drawing is recognised after its first 1, 2, ... strokes.

    A drawing that has ended stays as it is, so that the mean of a column is the share of all drawings that are
    recognised when at most so many strokes are shown.
    """
    shown = np.array([min(len(drawing), MOST_STROKES) for drawing in drawings])
    beginnings = [drawing[:k] for drawing, most in zip(drawings, shown, strict=True) for k in range(1, most + 1)]
    hits = recognised(describe_drawings(beginnings, loaded, group).logits, loaded.classes, category)
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
    group: Group = ALONE,
) -> Reference:
    """Return the reference that drawings at hand make; `training` are drawings that a model learned from."""
    independent = independent_strokes(real, max(len(real), NUM_INDEPENDENT), seed)
    return Reference(
        source=source,
        real=describe_drawings(real, loaded, group),
        independent=describe_drawings(independent, loaded, group),
        strokes_source=source,
        statistics=describe_strokes(real),
        recognised=recognised_after(real, loaded, category, group),
        training=describe_drawings(training, loaded, group).features if training else None,
        num_learned_from=len(training or ()),
    )


# ------------------------------------------------------------------ the shipped file


def _pictures(path: Path) -> NDArray[np.uint8]:
    """Return the pictures (N, 256, 256) of an .npz file, pooled; raises ValueError for anything else or too much."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo("images.npy").file_size  # zip does not unpack more than it declares
        if size > MOST_PICTURES * rendering.CANVAS**2:
            raise ValueError(f"unpacks to {size:,} bytes, the limit is {MOST_PICTURES:,} pictures")
        with np.load(path, allow_pickle=False) as arrays:
            images = arrays["images"]
        if images.dtype != np.uint8 or images.shape[1:] != (rendering.CANVAS, rendering.CANVAS) or len(images) < 2:
            raise ValueError(f"images are {images.dtype} {images.shape}, at least 2 of uint8 (256, 256) are needed")
    except (ValueError, KeyError, EOFError, OSError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: needs an array 'images' of shape (N, 256, 256) ({error})") from None
    return np.stack([rendering.pool_raster(picture) for picture in images])


def training_part(count: int) -> NDArray[np.int64]:
    """Return, in order, which of `count` training drawings the shipped file has: all, or MOST_TRAINING at random."""
    if count <= MOST_TRAINING:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, MOST_TRAINING, replace=False))


def _category_tensors(
    category: str, pictures: Path | None, data_dir: Path, loaded: LoadedNetwork
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Return a category's part of the shipped file, and how many drawings are behind each part."""
    data = load_category(category, data_dir=data_dir, split="local")
    train, held_out = list(data.train), list(data.test)
    chosen = [train[i] for i in training_part(len(train))]
    features = {
        "real": describe_pictures(loaded.network, _pictures(pictures))[0]
        if pictures
        else describe_drawings(held_out, loaded).features,
        "independent": describe_drawings(independent_strokes(train, NUM_INDEPENDENT), loaded).features,
        "training": describe_drawings(chosen, loaded).features,
    }
    arrays = {
        "recognised": recognised_after(held_out, loaded, category).astype(np.uint8),
        **to_arrays(describe_strokes(held_out)),
    }
    tensors = {name: torch.from_numpy(rows).half() for name, rows in features.items()}
    tensors |= {name: torch.from_numpy(array) for name, array in arrays.items()}
    counts = {name: len(rows) for name, rows in features.items()}
    return tensors, counts | {"held_out": len(held_out), "learned_from": len(train)}


def write_references(
    pictures: Mapping[str, Path], data_dir: Path, network_path: Path, out: Path, held_out: Sequence[str] = ()
) -> dict[str, dict[str, int]]:
    """Write references from files of pictures (.npz, uint8, N x 256 x 256) by category; return what N each part has.

    The categories of `held_out` have no pictures: their held-out drawings, by the local split of `data_dir`, are
    rendered instead, as generated drawings are. Beside the features of the pictures stand those of NUM_INDEPENDENT
    drawings of independent strokes and of at most MOST_TRAINING training drawings, and the statistics of the held-out
    drawings. Raises ValueError for a damaged file.
    """
    loaded = load_feature_network(network_path)
    tensors: dict[str, Tensor] = {}
    counts: dict[str, dict[str, int]] = {}
    sources: dict[str, dict[str, str]] = {}
    for category in tqdm([*pictures, *held_out], desc="references", unit="category", disable=None):
        own, counts[category] = _category_tensors(category, pictures.get(category), data_dir, loaded)
        tensors |= {f"{category}.{name}": tensor for name, tensor in own.items()}
        source = _TEST_PICTURES if category in pictures else f"{_HELD_OUT}, as pictures"
        sources[category] = {"pictures": source, "strokes": _HELD_OUT}
    metadata = {
        "format": _FORMAT,
        "network_sha256": loaded.sha256,
        "rendering": rendering.FEATURE_RENDERING,
        "sources": json.dumps(sources),
        "counts": json.dumps(counts),
    }
    write_safetensors(out, tensors, metadata)
    return counts


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
    if metadata.get("format") != _FORMAT or metadata.get("network_sha256") != loaded.sha256:
        raise ValueError(f"{path}: made for another program or feature network; make it again with train_features.py")
    held = sorted({name.rsplit(".", 1)[0] for name in tensors})
    if category not in held:
        raise ValueError(f"{path}: holds {', '.join(held)}, not '{category}'; give --real")
    try:
        sources, counts = (json.loads(metadata[name])[category] for name in ("sources", "counts"))
        source, strokes_source = str(sources["pictures"]), str(sources["strokes"])
        num_learned_from = int(counts["learned_from"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path}: damaged, does not say where '{category}' comes from") from None
    own = {name.rsplit(".", 1)[1]: tensor for name, tensor in tensors.items() if name.startswith(f"{category}.")}
    none = torch.zeros(0)
    parts = {
        name: _described(f"{path}: {category}.{name}", own.pop(name, none), loaded)
        for name in ("real", "independent", "training")
    }
    after = own.pop("recognised", none).numpy()
    try:
        statistics = from_arrays({name: tensor.numpy() for name, tensor in own.items()})
    except ValueError as error:
        raise ValueError(f"{path}: {category}: {error}") from None
    if after.shape != (len(statistics), MOST_STROKES):
        expected = (len(statistics), MOST_STROKES)
        raise ValueError(f"{path}: {category}.recognised has shape {after.shape}, must be {expected}")
    return Reference(
        source=source,
        real=parts["real"],
        independent=parts["independent"],
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
