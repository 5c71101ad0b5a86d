"""Score generated drawings against real ones, each figure beside the floor that real drawings reach.

    python metrics.py --real real.ndjson --generated drawings.ndjson --out scores.json
    python metrics.py --generated drawings.ndjson --category cat      # against the shipped reference features

Distances compare features of this project's own sketch network, of drawings all rendered in one way. They can
be compared within one program's run, not with figures of other renderings, networks or numbers of drawings.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import rendering
from atomic_files import write_atomically
from config import ATTRIBUTION, resolve_category, run_script, script_parser
from dataset_utils import load_category, read_ndjson

if TYPE_CHECKING:
    from feature_network import LoadedNetwork

Drawing = Sequence[NDArray[Any]]
Array = NDArray[np.float64]

CHECKPOINTS = Path(__file__).resolve().parent / "checkpoints"
NETWORK_PATH = CHECKPOINTS / "sketch_features.safetensors"
REFERENCE_PATH = CHECKPOINTS / "reference_features.safetensors"
RENDERING = "bounding box to 236 of 256 px at (10, 10), PIL line width 3, averaged 4x4 to 64 px"
INDEPENDENT = ".independent"
NUM_INDEPENDENT = 500
NUM_SPLITS = 10
"""Random halvings of the real drawings behind every floor."""


def _feature_pair(features_a: ArrayLike, features_b: ArrayLike) -> tuple[Array, Array]:
    pair = np.asarray(features_a, np.float64), np.asarray(features_b, np.float64)
    for features in pair:
        if features.ndim != 2:
            raise ValueError(f"features must be (N, d), got shape {features.shape}")
        if len(features) < 2:
            raise ValueError(f"{len(features)} drawings on one side, a distance needs at least 2")
        if not np.isfinite(features).all():
            raise ValueError("features hold NaN or infinity")
    if pair[0].shape[1] != pair[1].shape[1]:
        raise ValueError(f"features of {pair[0].shape[1]} and of {pair[1].shape[1]} numbers cannot be compared")
    return pair


def frechet_distance(features_a: ArrayLike, features_b: ArrayLike) -> float:
    """Return the Fréchet distance of Gaussians fitted to features (N, d) and (M, d), 0 or more.

    |mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))   (Heusel et al. 2017, eq. 6), covariances over N - 1.
    With C_a = A'A and C_b = B'B the last trace is the sum of the singular values of A B'. No covariance is
    squared and no matrix root taken, so that singular covariances (N <= d) need no special case.
    """
    a, b = _feature_pair(features_a, features_b)
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    root_a, root_b = ((x - x.mean(axis=0)) / np.sqrt(len(x) - 1) for x in (a, b))
    # QR keeps A'A and makes A at most d x d
    small_a, small_b = (np.asarray(np.linalg.qr(r, mode="r")) if len(r) > r.shape[1] else r for r in (root_a, root_b))
    cross = np.linalg.svd(small_a @ small_b.T, full_matrices=False, compute_uv=False).sum()
    spread = (root_a**2).sum() + (root_b**2).sum() - 2 * cross
    return max(0.0, float(((mean_a - mean_b) ** 2).sum() + spread))


def _polynomial_kernel(x: Array, y: Array) -> Array:
    k: Array = x @ y.T / x.shape[1] + 1
    return k * k * k


def squared_mmd(x: Array, y: Array) -> float:
    """Return the unbiased squared MMD of features (N, d) and (M, d) under the kernel (x.y / d + 1)^3.

    It may be negative. Source: Gretton et al. 2012, eq. 3; the kernel of Bińkowski et al. 2018.
    """
    n, m = len(x), len(y)
    k_xx, k_yy = _polynomial_kernel(x, x), _polynomial_kernel(y, y)
    within = (k_xx.sum() - k_xx.trace()) / (n * (n - 1)) + (k_yy.sum() - k_yy.trace()) / (m * (m - 1))
    return float(within - 2 * _polynomial_kernel(x, y).mean())


def kernel_distance(
    features_a: ArrayLike,
    features_b: ArrayLike,
    num_subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return KID (mean, standard deviation over subsets) of features (N, d) and (M, d), unscaled.

    Each subset holds min(subset_size, N, M) drawings of each side without repetition. Where that is all of
    both sides, every subset is the same one: it is computed once and the deviation is 0.
    """
    a, b = _feature_pair(features_a, features_b)
    size = min(subset_size, len(a), len(b))
    if size < 2 or num_subsets < 1:
        raise ValueError(f"KID needs subsets of at least 2, and at least 1, got {subset_size} and {num_subsets}")
    if size == len(a) == len(b):
        return squared_mmd(a, b), 0.0
    rng = np.random.default_rng(seed)
    values = [
        squared_mmd(a[rng.choice(len(a), size, replace=False)], b[rng.choice(len(b), size, replace=False)])
        for _ in range(num_subsets)
    ]
    return float(np.mean(values)), float(np.std(values))


def wasserstein_1(values_a: ArrayLike, values_b: ArrayLike) -> float:
    """Return the Wasserstein-1 distance of two lists of numbers, in their unit: the area between CDFs."""
    a, b = np.sort(np.asarray(values_a, np.float64)), np.sort(np.asarray(values_b, np.float64))
    if a.ndim != 1 or b.ndim != 1 or not len(a) or not len(b):
        raise ValueError(f"two lists of numbers are needed, got shapes {a.shape} and {b.shape}")
    if not np.isfinite(a).all() or not np.isfinite(b).all():
        raise ValueError("values hold NaN or infinity")
    merged = np.sort(np.concatenate([a, b]))
    cdf_a, cdf_b = (np.searchsorted(v, merged[:-1], side="right") / len(v) for v in (a, b))
    return float((np.abs(cdf_a - cdf_b) * np.diff(merged)).sum())


def recognisability(logits: ArrayLike, classes: Sequence[str], category: str) -> dict[str, float]:
    """Return the shares of drawings, logits (N, C), whose best or best five classes hold `category`."""
    logits = np.asarray(logits)
    if category not in classes:
        raise ValueError(f"the feature network does not know the category '{category}'")
    if logits.ndim != 2 or logits.shape[1] != len(classes) or not len(logits):
        raise ValueError(f"logits must be (N, {len(classes)}) with N at least 1, got {logits.shape}")
    own = logits[:, [list(classes).index(category)]]
    better = (logits > own).sum(axis=1)
    return {"top1": float((better < 1).mean()), "top5": float((better < 5).mean())}


def ink_length(drawing: Drawing) -> float:
    """Return the total length of a drawing's strokes in pixels of the 255 box."""
    steps = (np.diff(np.asarray(stroke, np.float64), axis=0) for stroke in drawing)
    return float(sum(np.hypot(step[:, 0], step[:, 1]).sum() for step in steps))


def independent_strokes(drawings: Sequence[Drawing], count: int, seed: int = 0) -> list[Drawing]:
    """Return `count` drawings whose k-th stroke is the k-th stroke of some random real drawing.

    Number of strokes and strokes at each position are distributed as in real drawings, but no stroke knows of
    another: what a model reaches that ignores the history. A model must do better than this.
    """
    if not drawings:
        raise ValueError("independent strokes need at least 1 real drawing")
    rng = np.random.default_rng(seed)
    lengths = np.array([len(drawing) for drawing in drawings])
    donors = [np.flatnonzero(lengths > k) for k in range(lengths.max())]
    return [
        [drawings[rng.choice(donors[k])][k] for k in range(num_strokes)] for num_strokes in rng.choice(lengths, count)
    ]


@dataclass(frozen=True)
class Described:
    """Features (N, D) and logits (N, C) of N drawings or pictures."""

    features: NDArray[np.float32]
    logits: NDArray[np.float32]


def describe_drawings(drawings: Sequence[Drawing], loaded: LoadedNetwork) -> Described:
    """Return features and logits of drawings, rendered as RENDERING says."""
    from feature_network import describe_pictures

    return Described(*describe_pictures(loaded.network, rendering.feature_rasters(drawings)))


def write_reference(pictures_dir: Path, data_dir: Path, network_path: Path, out: Path) -> dict[str, int]:
    """Write the features of `<category>.npz` pictures (uint8, N x 256 x 256) to `out`; return N per category.

    They are the reference of machines that have no real drawings; the pictures stay where they are. Beside them
    stand the features of NUM_INDEPENDENT drawings of independent strokes, taken from the training drawings of
    `data_dir`: the ceiling that a share of KID needs.
    """
    import torch

    from feature_network import describe_pictures, load_feature_network, write_safetensors

    paths = sorted(pictures_dir.glob("*.npz"))
    if not paths:
        raise FileNotFoundError(f"{pictures_dir}: no <category>.npz files")
    loaded = load_feature_network(network_path)
    tensors, counts = {}, {}
    for path in paths:
        with np.load(path) as archive:
            if "images" not in archive or archive["images"].shape[1:] != (256, 256):
                raise ValueError(f"{path}: needs an array 'images' of shape (N, 256, 256)")
            pooled = np.stack([rendering.pool_raster(picture) for picture in archive["images"]])
        features, _ = describe_pictures(loaded.network, pooled)
        train = load_category(path.stem, data_dir=data_dir).train
        mixed = independent_strokes([train.drawing(i) for i in range(len(train))], NUM_INDEPENDENT)
        counts[path.stem] = len(features)
        for name, rows in (
            (path.stem, features),
            (f"{path.stem}{INDEPENDENT}", describe_drawings(mixed, loaded).features),
        ):
            tensors[name] = torch.from_numpy(rows).to(torch.float16)
    metadata = {
        "format": "reference-features-1",
        "network_sha256": loaded.sha256,
        "rendering": RENDERING,
        "source": f"{ATTRIBUTION}: real drawings of the official test split, as pictures",
        "counts": json.dumps(counts),
    }
    write_safetensors(out, tensors, metadata)
    return counts


def load_reference(path: Path, category: str, loaded: LoadedNetwork) -> tuple[Described, Described, str]:
    """Return real drawings of a category, independent strokes, and where they come from, as a shipped file has them.

    Raises ValueError when the file was made with another network or does not hold the category.
    """
    import torch

    from feature_network import read_safetensors

    tensors, metadata = read_safetensors(path)
    if metadata.get("network_sha256") != loaded.sha256:
        raise ValueError(f"{path}: made with another feature network; make it again with train_features.py")
    held = sorted(name for name in tensors if not name.endswith(INDEPENDENT))
    if category not in held:
        raise ValueError(f"{path}: holds {', '.join(held)}, not '{category}'; give --real")
    width = loaded.network.classifier.in_features

    def described(name: str) -> Described:
        features = tensors.get(name, torch.zeros(0)).float()
        if features.ndim != 2 or features.shape[1] != width:
            raise ValueError(f"{path}: {name} has shape {tuple(features.shape)}, the network makes (N, {width})")
        with torch.no_grad():
            return Described(features.numpy(), loaded.network.classify(features).numpy())

    return described(category), described(f"{category}{INDEPENDENT}"), metadata.get("source", "unknown")


def with_floor(
    distance: Callable[[Any, Any], float], generated: NDArray[Any], real: NDArray[Any], seed: int
) -> dict[str, float | int | None]:
    """Return a distance at full size, and at `floor_n` drawings a side beside the floor of real drawings.

    The floor is the distance of two disjoint random halves of the real set, mean and standard deviation over
    NUM_SPLITS halvings; `at_floor_n` is the same number of generated against as many real drawings. Compare
    these two: most distances shrink as N grows. KID does not, being unbiased: averaged over halvings it is 0
    by construction, so that its floor is the deviation. Without 4 real and 2 generated drawings there is no
    floor: None.
    """
    n = min(len(generated), len(real) // 2)
    result: dict[str, float | int | None] = {"value": distance(generated, real)}
    result |= dict.fromkeys(("at_floor_n", "at_floor_n_std", "floor", "floor_std"), None) | {"floor_n": n}
    if n < 2:
        return result
    rng = np.random.default_rng(seed)
    floors, scores = [], []
    for _ in range(NUM_SPLITS):
        order = rng.permutation(len(real))
        floors.append(distance(real[order[:n]], real[order[n : 2 * n]]))
        scores.append(distance(generated[rng.permutation(len(generated))[:n]], real[order[:n]]))
    for name, values in (("at_floor_n", scores), ("floor", floors)):
        result |= {name: float(np.mean(values)), f"{name}_std": float(np.std(values))}
    return result


def _feature_distances(
    generated: Described, real: Described, independent: Described, seed: int
) -> dict[str, dict[str, Any]]:
    """Return FID and KID with floors, ceilings of independent strokes, and shares of the ceiling."""

    def kid(a: ArrayLike, b: ArrayLike) -> float:
        return kernel_distance(a, b, num_subsets=10, seed=seed)[0]

    scores: dict[str, dict[str, Any]] = {
        "fid": dict(with_floor(frechet_distance, generated.features, real.features, seed)),
        "kid": dict(with_floor(kid, generated.features, real.features, seed)),
    }
    value, std = kernel_distance(generated.features, real.features, seed=seed)
    size = min(1000, len(generated.features), len(real.features))
    scores["kid"] |= {"value": value, "std": std, "num_subsets": 100, "subset_size": size}
    ceiling = kernel_distance(independent.features, real.features, seed=seed)[0]
    scores["kid"] |= {"independent_strokes": ceiling, "share": value / ceiling if ceiling > 0 else None}
    scores["fid"]["independent_strokes"] = frechet_distance(independent.features, real.features)
    return scores


def stroke_distances(generated: Sequence[Drawing], real: Sequence[Drawing], seed: int) -> dict[str, dict[str, Any]]:
    """Return Wasserstein-1 distances of strokes per drawing and ink length (px of 255), with means."""
    measures: dict[str, Callable[[Drawing], float]] = {"strokes_per_drawing": len, "ink_length": ink_length}
    scores: dict[str, dict[str, Any]] = {}
    for name, measure in measures.items():
        ours, theirs = (np.array([measure(d) for d in side], np.float64) for side in (generated, real))
        means = {"mean_generated": float(ours.mean()), "mean_real": float(theirs.mean())}
        scores[name] = {**with_floor(wasserstein_1, ours, theirs, seed), **means}
    return scores


def score_drawings(
    generated: Sequence[Drawing],
    reference: Sequence[Drawing] | None,
    category: str,
    *,
    seed: int = 0,
    network_path: Path = NETWORK_PATH,
    reference_path: Path = REFERENCE_PATH,
) -> dict[str, Any]:
    """Return every figure of generated drawings, with its floor and conditions, as a plain dict for JSON.

    `reference` are real drawings, or None for the shipped features of real pictures: then what needs strokes
    (stroke counts, ink length) is None. Raises ValueError with fewer than 2 drawings.
    """
    from feature_network import load_feature_network

    if len(generated) < 2 or (reference is not None and len(reference) < 2):
        raise ValueError(f"{len(generated)} generated drawings, at least 2 of each side are needed")
    loaded = load_feature_network(network_path)
    category = resolve_category(category, loaded.classes)
    ours = describe_drawings(generated, loaded)
    if reference is None:
        real, independent, source = load_reference(reference_path, category, loaded)
        strokes = None
    else:
        real, source = describe_drawings(reference, loaded), "real drawings as strokes"
        mixed = independent_strokes(reference, len(generated), seed)
        independent = describe_drawings(mixed, loaded)
        strokes = stroke_distances(generated, reference, seed)
    named = {"generated": ours, "real": real, "independent_strokes": independent}
    return {
        "category": category,
        "n_generated": len(generated),
        "n_real": len(real.features),
        "reference": source,
        "seed": seed,
        "rendering": RENDERING,
        "feature_network": {"file": network_path.name, "sha256": loaded.sha256},
        **_feature_distances(ours, real, independent, seed),
        "recognisability": {
            name: recognisability(side.logits, loaded.classes, category) for name, side in named.items()
        },
        "strokes_per_drawing": strokes and strokes["strokes_per_drawing"],
        "ink_length": strokes and strokes["ink_length"],
    }


def _read_drawings(path: Path) -> list[Drawing]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    packed, _ = read_ndjson(path)
    if len(packed) < 2:
        raise ValueError(f"{path}: {len(packed)} drawings, scoring needs at least 2")
    return [packed.drawing(i) for i in range(len(packed))]


def known_categories(network_path: Path) -> list[str]:
    """Return the categories a feature network names, in its order, without loading it (nor torch)."""
    from safetensors import SafetensorError, safe_open

    if not network_path.is_file():
        raise FileNotFoundError(f"{network_path}: no such file; train_features.py makes it")
    try:
        with safe_open(network_path, framework="np") as file:
            classes: list[str] = json.loads((file.metadata() or {})["classes"])
    except (SafetensorError, KeyError, ValueError):
        raise ValueError(f"{network_path}: damaged, or not a sketch feature network") from None
    return classes


def _word_of(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        word = json.loads(file.readline()).get("word")
    if not isinstance(word, str):
        raise ValueError(f"{path}: its first line has no word; give --category")
    return word


def build_parser() -> argparse.ArgumentParser:
    """Return the command line parser."""
    parser = script_parser(__doc__)
    parser.add_argument("--real", type=Path, help="real drawings, ndjson (default: the shipped reference features)")
    parser.add_argument("--generated", type=Path, required=True, help="generated drawings, ndjson")
    parser.add_argument("--category", help="what they should show (default: the word in the generated file)")
    parser.add_argument("--seed", type=int, default=0, help="seed of subsets, halves and independent strokes")
    parser.add_argument("--out", type=Path, help="write the JSON here as well")
    return parser


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Score the drawings of two files, print the figures as JSON, and return them."""
    arguments = build_parser().parse_args(argv)
    if arguments.seed < 0:
        raise ValueError(f"--seed is {arguments.seed}, must be 0 or more")
    generated = _read_drawings(arguments.generated)
    reference = _read_drawings(arguments.real) if arguments.real else None
    category = resolve_category(arguments.category or _word_of(arguments.generated), known_categories(NETWORK_PATH))
    result = {
        "real_file": str(arguments.real) if arguments.real else None,
        "generated_file": str(arguments.generated),
        **score_drawings(generated, reference, category, seed=arguments.seed),
    }
    text = json.dumps(result, indent=2) + "\n"
    if arguments.out:
        write_atomically(arguments.out, text)
    sys.stdout.write(text)
    return result


if __name__ == "__main__":
    run_script(main)
