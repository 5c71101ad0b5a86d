"""Score generated drawings against real ones: FID, KID, density, coverage, two-sample accuracy and copies.

    python metrics.py score --generated drawings.ndjson                       # against the shipped reference
    python metrics.py score --generated drawings.ndjson --real real.ndjson --out scores.json
    python metrics.py official --real real.ndjson --generated drawings.ndjson # clean-fid's Inception FID and KID
    python metrics.py pictures --drawings drawings.ndjson --out folder        # PNGs in the official rendering

`score` compares features of this project's own two networks, one that sees pictures, rendered in one way, and one that
reads strokes, and the strokes themselves, each beside its baselines. Its scores compare with each other, not with
scores of other renderings, networks or numbers of drawings.
Features are (N, d) arrays, one row per drawing; every distance is computed in float64.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from config import CHECKPOINTS, NETWORK_PATH, REFERENCE_PATH, resolve_category
from dataset_utils import PackedDrawings, word_of
from drawings.fitting import load_sketches
from plumbing.command_line import add_device_argument, check_file, run_script, script_parser
from plumbing.files import refuse_overwriting, write_atomically
from rendering import FEATURE_RENDERING
from scoring import official
from scoring.baselines import MINIMUM_FLOOR, with_floor
from scoring.copies import TrainingStrokes, stroke_copies
from scoring.feature_network import LoadedNetwork, load_feature_network
from scoring.neighbours import ROW_CHUNK, check_features, nearest_distances, squared_distances
from scoring.reference import (
    Described,
    Judge,
    Reference,
    describe_drawings,
    load_reference,
    recognisability,
    recognised_after,
    reference_of,
)
from scoring.stroke_statistics import describe_strokes, stroke_distances
from scoring.two_sample import FOLDS, MOST_PER_SIDE, two_sample_accuracy

Array = NDArray[np.float64]
Drawing = Sequence[NDArray[Any]]
Measure = Callable[[Any, Any], dict[str, float]]
SUBSETS, SPLIT_SUBSETS = 100, 10
SUBSET_SIZE = 1000
NEIGHBOURS = 5
"""k of density and coverage, as Naeem et al. chose it."""
EXTRAPOLATION_SIZES = 15
EQUAL_N = 125  # drawings a side where categories are compared: half of the 250 real pictures that three of them have
MINIMUM_EXTRAPOLATION = 16


# ------------------------------------------------------------------ Fréchet distance


def frechet_distance(features_a: ArrayLike, features_b: ArrayLike) -> float:
    """Return the Fréchet distance of Gaussians fitted to features (N, d) and (M, d), 0 or more.

    |mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))   (Heusel et al. 2017, eq. 6), covariances over N - 1.
    With C_a = A'A and C_b = B'B the last trace is the sum of the singular values of A B'. No covariance is
    squared and no matrix root taken, so that singular covariances (N <= d) need no special case.
    """
    a, b = check_features(features_a, features_b)
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    root_a, root_b = ((x - x.mean(axis=0)) / np.sqrt(len(x) - 1) for x in (a, b))
    # QR keeps A'A and makes A at most d x d
    small_a, small_b = (np.asarray(np.linalg.qr(r, mode="r")) if len(r) > r.shape[1] else r for r in (root_a, root_b))
    cross = np.linalg.svd(small_a @ small_b.T, full_matrices=False, compute_uv=False).sum()
    spread = (root_a**2).sum() + (root_b**2).sum() - 2 * cross
    return max(0.0, float(((mean_a - mean_b) ** 2).sum() + spread))


def frechet_distance_at_infinity(features_a: ArrayLike, features_b: ArrayLike, seed: int = 0) -> float:
    """Return the Fréchet distance extrapolated to infinitely many drawings on both sides; it may be negative.

    The expected distance of n against n drawings is FID_inf + c / n + O(1 / n^2): a line through 15 sizes n, from
    N / 4 to N = min(N, M) and even in 1 / n, is extrapolated to 1 / n = 0 (Chong and Forsyth 2020, sec. 3, who let only
    one side grow). Below some 4 d drawings the curve still bends at N / 4, and the result is an upper bound at best;
    its real-vs-real baseline says how far off it is. Raises ValueError below 16 drawings a side.
    """
    a, b = check_features(features_a, features_b)
    largest = min(len(a), len(b))
    if largest < MINIMUM_EXTRAPOLATION:
        raise ValueError(f"{largest} drawings on one side, an extrapolation needs at least {MINIMUM_EXTRAPOLATION}")
    rng = np.random.default_rng(seed)
    sizes = np.unique(np.rint(1 / np.linspace(1 / largest, 4 / largest, EXTRAPOLATION_SIZES)).astype(int))
    values = []
    for n in sizes:
        rows_a, rows_b = (rng.choice(len(x), n, replace=False) for x in (a, b))
        values.append(frechet_distance(a[rows_a], b[rows_b]))
    slope_and_limit = np.polyfit(1 / sizes, values, 1)
    return float(slope_and_limit[1])


# ------------------------------------------------------------------ kernel distance


def polynomial_kernel(scaled_products: Array) -> Array:
    """Return the kernel (x.y / d + 1)^3 of products x.y / d, of any shape (Bińkowski et al. 2018)."""
    k: Array = scaled_products + 1
    return k * k * k


def squared_mmd(x: Array, y: Array) -> float:
    """Return the unbiased squared MMD of features (N, d) and (M, d) under the kernel (x.y / d + 1)^3.

    It may be negative. Source: Gretton et al. 2012, eq. 3; the kernel of Bińkowski et al. 2018.
    """
    return float(squared_mmd_of_subsets(x, y, np.ones((len(x), 1)), np.ones((len(y), 1)))[0])


def squared_mmd_of_subsets(x: Array, y: Array, in_x: Array, in_y: Array) -> Array:
    """Return ``squared_mmd`` of S pairs of subsets, (S,), which ones in `in_x` (N, S) and `in_y` (M, S) mark.

    All subsets share the values of the kernel: computed once, and a sum over a subset is a product with its marks.
    """
    n, m = in_x.sum(axis=0), in_y.sum(axis=0)
    within_x, within_y = (
        _kernel_sums(a, a, chosen, chosen) - polynomial_kernel((a * a).sum(axis=1) / a.shape[1]) @ chosen
        for a, chosen in ((x, in_x), (y, in_y))
    )
    across = _kernel_sums(x, y, in_x, in_y)
    result: Array = within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * across / (n * m)
    return result


def _kernel_sums(x: Array, y: Array, in_x: Array, in_y: Array) -> Array:
    """Return, of every subset (column of in_x and in_y), the sum of the kernel of all its rows of x with all of y."""
    total = np.zeros(in_x.shape[1])
    for start in range(0, len(x), ROW_CHUNK):
        rows = slice(start, start + ROW_CHUNK)
        total += (in_x[rows] * (polynomial_kernel(x[rows] @ y.T / x.shape[1]) @ in_y)).sum(axis=0)
    return total


def kernel_distance(
    features_a: ArrayLike,
    features_b: ArrayLike,
    num_subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
    seed: int = 0,
) -> tuple[float, float]:
    """Return KID (mean, standard deviation over subsets) of features (N, d) and (M, d), unscaled.

    Each subset holds min(subset_size, N, M) drawings of each side without repetition. Where that is all of
    both sides, every subset is the same one: it is computed once and the deviation is 0.
    """
    a, b = check_features(features_a, features_b)
    size = min(subset_size, len(a), len(b))
    if size < 2 or num_subsets < 1:
        raise ValueError(f"KID needs subsets of at least 2, and at least 1, got {subset_size} and {num_subsets}")
    if size == len(a) == len(b):
        return squared_mmd(a, b), 0.0
    rng = np.random.default_rng(seed)
    chosen = [[rng.choice(len(side), size, replace=False) for side in (a, b)] for _ in range(num_subsets)]
    in_a, in_b = np.zeros((len(a), num_subsets)), np.zeros((len(b), num_subsets))
    for subset, (rows_a, rows_b) in enumerate(chosen):
        in_a[rows_a, subset] = in_b[rows_b, subset] = 1
    values = squared_mmd_of_subsets(a, b, in_a, in_b)
    return float(np.mean(values)), float(np.std(values))


# ------------------------------------------------------------------ neighbours


def density_and_coverage(
    features_generated: ArrayLike, features_real: ArrayLike, k: int = NEIGHBOURS
) -> tuple[float, float]:
    """Return density and coverage of generated (M, d) by real features (N, d) (Naeem et al. 2020, eqs. 6 and 7).

    Around each real drawing lies a ball that reaches to its k-th nearest real neighbour. Density is the number of
    balls a generated drawing lies in, over k, on average: 1 where the sets are alike, 0 far from all real ones, and it
    may pass 1. Coverage is the share of balls with a generated drawing in it: variety; alike
    sets reach 1 - (N - 1) ... (N - k) / ((M + N - 1) ... (M + N - k)). Raises ValueError for N <= k.
    """
    generated, real = check_features(features_generated, features_real)
    if not 1 <= k < len(real):
        raise ValueError(f"k is {k}, must lie in 1 ... {len(real) - 1} for {len(real)} real drawings")
    shift = real.mean(axis=0)
    generated, real = generated - shift, real - shift
    balls, covered = 0, 0
    for start in range(0, len(real), ROW_CHUNK):
        rows = slice(start, start + ROW_CHUNK)
        among_real = squared_distances(real[rows], real)
        among_real[np.arange(len(among_real)), np.arange(start, start + len(among_real))] = np.inf  # not its own
        radius = np.partition(among_real, k - 1, axis=1)[:, k - 1 : k]
        inside = squared_distances(real[rows], generated) < radius
        balls += int(inside.sum())
        covered += int(inside.any(axis=1).sum())
    return balls / (k * len(generated)), covered / len(real)


# ------------------------------------------------------------------ pictures and copies


def judge_distances(a: NDArray[Any], b: NDArray[Any]) -> dict[str, float]:
    """Return KID and, where N and M allow, the two-sample accuracy of features (N, d) and (M, d)."""
    figures = {"kid": kernel_distance(a, b, SPLIT_SUBSETS)[0]}
    return figures | ({"two_sample": two_sample_accuracy(a, b)} if min(len(a), len(b)) >= FOLDS else {})


def fid_and_coverage(a: NDArray[Any], b: NDArray[Any]) -> dict[str, float]:
    """Return FID and, where M allows, density and coverage of features (N, d) and (M, d)."""
    figures = {"fid": frechet_distance(a, b)}
    if len(b) > NEIGHBOURS:
        figures["density"], figures["coverage"] = density_and_coverage(a, b)
    return figures


def feature_distances(generated: ArrayLike, real: ArrayLike) -> dict[str, float]:
    """Return all distances above and, where N and M allow, FID at infinity of features (N, d) and (M, d)."""
    a, b = np.asarray(generated), np.asarray(real)
    figures = fid_and_coverage(a, b) | judge_distances(a, b)
    if min(len(a), len(b)) >= MINIMUM_EXTRAPOLATION:
        figures["fid_infinity"] = frechet_distance_at_infinity(a, b)
    return figures


def picture_scores(
    generated: NDArray[Any], real: NDArray[Any], independent: NDArray[Any], seed: int, measure: Measure
) -> dict[str, dict[str, Any]]:
    """Return the scores of `measure` with their baselines; KID over 100 subsets, and normalised (`share`).

    Normalised KID is KID over the KID of the shuffled-stroke baseline: unlike KID it can be carried from one feature
    network to another. It is None where shuffled strokes are no farther than real drawings.
    """
    scores = with_floor(measure, generated, real, seed, independent)
    value, std = kernel_distance(generated, real, seed=seed)
    shuffled, _ = kernel_distance(independent, real, seed=seed)
    size = min(SUBSET_SIZE, len(generated), len(real))
    scores["kid"] |= {"value": value, "std": std, "num_subsets": SUBSETS, "subset_size": size}
    scores["kid"] |= {"independent_strokes": shuffled, "share": value / shuffled if shuffled > 0 else None}
    scores.get("two_sample", {})["n"] = min(MOST_PER_SIDE, len(generated), len(real))
    return scores


def scores_at_equal_n(generated: NDArray[Any], real: NDArray[Any], seed: int) -> dict[str, dict[str, Any]]:
    """Return FID, density and coverage beside their baselines, at most EQUAL_N a side: they depend on n."""
    return with_floor(fid_and_coverage, generated, real, seed, most=EQUAL_N)


def judged(judge: Judge, ours: Described, category: str, seed: int, measure: Measure) -> dict[str, Any]:
    """Return what a network makes of generated drawings: scores of its features, what it recognises, its conditions.

    KID and two-sample accuracy also have, as `training`, what training drawings score in the place of generated ones.
    """
    real, loaded = judge.real, judge.loaded
    scores = picture_scores(ours.features, real.features, judge.independent.features, seed, measure)
    if judge.training is not None:
        kid, _ = kernel_distance(judge.training, real.features, seed=seed)
        for name, value in (judge_distances(judge.training, real.features) | {"kid": kid}).items():
            scores.get(name, {})["training"] = value
    sides = {"generated": ours, "real": real, "independent_strokes": judge.independent}
    shares = {name: recognisability(side.logits, loaded.classes, category) for name, side in sides.items()}
    ours_top1, top1 = shares["generated"]["top1"], shares["real"]["top1"]
    return {
        "n_real": len(real.features),
        "feature_network": {"file": loaded.file, "sha256": loaded.sha256},
        **scores,
        "recognisability": shares,
        "top1_over_real": ours_top1 / top1 if top1 and ours_top1 is not None else None,
    }


def memorisation(generated: ArrayLike, real: ArrayLike, training: ArrayLike) -> dict[str, float | int | None]:
    """Return how near generated drawings come to training drawings, beside real drawings; features (N, d) each.

    Medians of the distance to the nearest training drawing, and their `ratio`: far below 1 means copies. A model may
    copy now and then and keep its median, so `nearer_than_real` is the share of generated drawings that are nearer than
    the nearest hundredth of real ones: 0.01 where no picture is copied. Copied strokes can pass: see `stroke_copies`.
    """
    ours, _ = nearest_distances(generated, training)
    theirs, _ = nearest_distances(real, training)
    median = float(np.median(theirs))
    return {
        "n_training": len(np.asarray(training)),
        "median_generated": float(np.median(ours)),
        "median_real": median,
        "ratio": float(np.median(ours)) / median if median > 0 else None,
        "nearer_than_real": float((ours < np.quantile(theirs, 0.01)).mean()),
    }


# ------------------------------------------------------------------ whole scores


def score_drawings(
    generated: Sequence[Drawing],
    real: Sequence[Drawing] | None,
    category: str,
    *,
    training: Sequence[Drawing] | None = None,
    source: str = "real drawings as strokes",
    seed: int = 0,
) -> dict[str, Any]:
    """Return every score of generated drawings, with its baselines and conditions, as a plain dict for JSON.

    `real` are real drawings, which `source` describes, or None for the shipped reference; `training` are drawings that
    the model learned from. Raises ValueError with fewer than 2 drawings on a side.
    """
    if len(generated) < 2 or (real is not None and len(real) < 2):
        raise ValueError(f"{len(generated)} generated drawings, at least 2 of each side are needed")
    loaded = load_feature_network(NETWORK_PATH)
    with suppress(ValueError) if real is not None else nullcontext():  # it may be somebody's own
        category = resolve_category(category, loaded.classes)
    if real is None:
        shipped, strokes = load_reference(REFERENCE_PATH, category, loaded), TrainingStrokes(training or ())
        reference = replace(shipped, training_strokes=strokes if training else None)
    else:
        reference = reference_of(real, category, loaded, training=training, source=source, seed=seed)
    return scores_against(reference, generated, category, loaded, seed)


def scores_against(
    reference: Reference, generated: Sequence[Drawing], category: str, loaded: LoadedNetwork, seed: int = 0
) -> dict[str, Any]:
    """Return what ``score_drawings`` does, against a reference at hand: it serves many sets of drawings."""
    first, second = Judge(loaded, reference.real, reference.independent, reference.training), reference.second
    ours, theirs = (describe_drawings(generated, judge.loaded) for judge in (first, second))
    return {
        "category": category,
        "n_generated": len(generated),
        "reference": reference.source,
        "seed": seed,
        "rendering": FEATURE_RENDERING,
        **judged(first, ours, category, seed, feature_distances),
        "equal_n": scores_at_equal_n(ours.features, reference.real.features, seed),
        "second_judge": {
            "reference": reference.strokes_source,
            **judged(second, theirs, category, seed, judge_distances),
        },
        "recognised_after": None
        if reference.recognised is None
        else {
            "generated": recognised_after(generated, loaded, category).mean(axis=0).tolist(),
            "real": reference.recognised.mean(axis=0).tolist(),
            "n_real": len(reference.recognised),
            "reference": reference.strokes_source,
        },
        "strokes": {
            "n_real": len(reference.statistics),
            "reference": reference.strokes_source,
            "distances": stroke_distances(describe_strokes(generated), reference.statistics, seed),
        },
        "memorisation": None
        if reference.training is None
        else {
            "n_learned_from": reference.num_learned_from,
            **memorisation(ours.features, reference.real.features, reference.training),
        },
        "stroke_copies": None
        if reference.training_strokes is None
        else {
            "generated": stroke_copies(generated, reference.training_strokes),
            "real": stroke_copies(reference.real_drawings, reference.training_strokes),
        },
    }


# ------------------------------------------------------------------ the official protocol


def official_kernel_distance(real: ArrayLike, generated: ArrayLike, seed: int = 0) -> tuple[float, float]:
    """Return KID of features (N, d) and (M, d), unscaled, as clean-fid does: mean and deviation over its 100 subsets.

    Only the arithmetic differs: float64 throughout. Source: Bińkowski et al. 2018.
    """
    a, b = check_features(real, generated)
    values = squared_mmd_of_subsets(a, b, *official.subset_marks(len(a), len(b), seed))
    return float(values.mean()), float(values.std())


def official_scores(
    real: official.Pictures, generated: official.Pictures, network: official.Network, seed: int = 0,
    batch_size: int = official.BATCH_SIZE,
) -> dict[str, Any]:  # fmt: skip
    """Return clean-fid's FID and KID of generated against real pictures, with baselines and conditions, for JSON."""
    theirs = official.describe(real, network, batch_size, "real")
    ours = official.describe(generated, network, batch_size, "generated")
    kid, std = official_kernel_distance(theirs.features, ours.features, seed)

    def both(a: Array, b: Array) -> dict[str, float]:
        return {"fid": frechet_distance(a, b), "kid": squared_mmd(a, b)}

    scores = with_floor(both, ours.features, theirs.features, seed)
    size = min(official.SUBSET_SIZE, real.count, generated.count)
    notes = [official.limits_note(real.count, generated.count, network), real.note, generated.note]
    notes += [official.plain_note(side.plain) for side in (theirs, ours)]
    scores["kid"] |= {"value": kid, "std": std, "num_subsets": official.NUM_SUBSETS, "subset_size": size}
    return {
        **scores,
        "n_real": real.count,
        "n_generated": generated.count,
        "unique_real": theirs.num_unique,
        "unique_generated": ours.num_unique,
        "seed": seed,
        "protocol": official.protocol(network, seed),
        "note": "; ".join(filter(None, notes)) or None,
    }


# ------------------------------------------------------------------ the command line


def _read_packed(path: Path, at_least: int = 2) -> tuple[PackedDrawings, str]:
    """Return the drawings of a file, and in words, which are printed too, what was left out, cut or fitted."""
    loaded = load_sketches(path)
    told = loaded.told(path)
    for line in told:
        print(line, file=sys.stderr)
    if len(loaded.packed) < at_least:
        raise ValueError(f"{path}: {len(loaded.packed)} drawings, scoring needs at least {at_least}")
    return loaded.packed, "; ".join(told)


def _read_drawings(path: Path) -> list[Drawing]:
    return list(_read_packed(path)[0])


def _read_pictures(path: Path) -> official.Pictures:
    if path.is_dir():
        return official.pictures_in_folder(path)
    packed, told = _read_packed(path)
    lines = packed.lines
    return replace(official.pictures_of_drawings(list(packed)), name=lambda i: f"{path}:{lines[i] + 1}", note=told)


def run_score(arguments: argparse.Namespace) -> dict[str, Any]:
    """Score the drawings of the files that the command line names, and return the scores."""
    files = {name: getattr(arguments, name) for name in ("real", "generated", "training")}
    real, generated, training = (_read_drawings(path) if path else None for path in files.values())
    category = _scored_as(arguments)
    scores = score_drawings(generated or [], real, category, training=training, seed=arguments.seed)
    return {
        **{f"{name}_file": str(path) if path else None for name, path in files.items()},
        **scores,
        "note": _note(scores, training is not None),
    }


def _scored_as(arguments: argparse.Namespace) -> str:
    """Return the category that the generated drawings are scored as; says so where they are called otherwise."""
    if not arguments.category:
        return word_of(arguments.generated)
    with suppress(ValueError):
        if (named := resolve_category(word_of(arguments.generated))) != resolve_category(arguments.category):
            sys.stderr.write(f"{arguments.generated}: these '{named}' are scored as '{arguments.category}'\n")
    return str(arguments.category)


def _note(scores: dict[str, Any], counts_copies: bool) -> str:
    """Return in words what keeps the scores from meaning what they seem to."""
    notes, num_features = [], 256
    n_generated, n_real, n_strokes = scores["n_generated"], scores["n_real"], scores["second_judge"]["n_real"]
    if min(n_generated, n_real) <= num_features:
        notes.append(
            f"FID of {n_generated} generated and {n_real} real drawings for {num_features} features is too high: "
            "compare at_floor_n with its real-vs-real baseline, floor, or take KID"
        )
    if min(n_generated, n_real // 2) < MINIMUM_FLOOR:
        notes.append(f"real-vs-real baselines need {MINIMUM_FLOOR} generated and {2 * MINIMUM_FLOOR} real drawings")
    notes.append(
        "two_sample is 0.5 where generated drawings cannot be told from real ones, and 1 where they always can"
    )
    if scores["recognised_after"] is None:
        notes.append(f"'{scores['category']}' is no category that the networks know: recognisability is not measured")
    notes.append(f"second_judge compares with {n_strokes} real drawings, those known as strokes")
    counted_by = "stroke_copies counts" if counts_copies else "--training FILE counts"
    notes.append(f"features of whole pictures do not see redrawn strokes of training drawings, which {counted_by}")
    return "; ".join(notes)


def run_official(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the official scores of two files or folders."""
    real, generated = (_read_pictures(path) for path in (arguments.real, arguments.generated))
    network = official.open_network(arguments.inception_weights, arguments.device)
    files = {"real_file": str(arguments.real), "generated_file": str(arguments.generated)}
    files["weights_file"] = arguments.inception_weights and arguments.inception_weights.name
    return files | official_scores(real, generated, network, arguments.seed, arguments.batch_size)


def run_pictures(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write drawings as pictures in the official rendering, and return folder, number, rendering, what is missing.

    The names are the lines of the file, from 0 on: a line that is left out leaves a gap.
    """
    packed, told = _read_packed(arguments.drawings, 1)
    drawings = list(packed)
    if arguments.n is not None and not 1 <= arguments.n <= len(drawings):
        raise ValueError(f"--n is {arguments.n}, must lie in 1 ... {len(drawings)}: {arguments.drawings} holds no more")
    paths = official.write_pictures(drawings[: arguments.n], arguments.out, packed.lines[: arguments.n].tolist())
    return {"folder": str(arguments.out), "n": len(paths), "rendering": official.RENDERING, "left_out": told or None}


COMMANDS = {
    "score": (run_score, "Score drawings by this project's own metrics",
              "FID, KID, density, coverage, two-sample accuracy and recognisability by a network that sees pictures, "
              "and by one that reads strokes, statistics of strokes and copies. Beside the scores stand what real "
              "drawings score against each other (floor: the real-vs-real baseline) and what shuffled strokes score "
              "(independent_strokes)."),
    "official": (run_official, "FID and KID exactly as clean-fid computes them",
                 "All defaults of clean-fid 0.1.35, on 256x256 pictures in the official rendering, beside their "
                 "real-vs-real baselines."),
    "pictures": (run_pictures, "Write PNGs in the official rendering",
                 "256x256 pictures, for any other tool. Other pictures in the folder are never replaced."),
}  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """Return the command line parser."""
    parser = script_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar=" | ".join(COMMANDS))
    parsers = {
        name: commands.add_parser(name, help=short, description=f"{short}. {more}", allow_abbrev=False)
        for name, (_, short, more) in COMMANDS.items()
    }

    def add(command: str, flag: str, metavar: str, help: str, **settings: Any) -> None:
        kind = Path if metavar in ("FILE", "FOLDER") else str if metavar == "NAME" else int
        parsers[command].add_argument(flag, metavar=metavar, type=kind, help=help, **settings)

    add("score", "--generated", "FILE", "generated drawings, in any form of docs/FORMATS.md", required=True)
    add("score", "--real", "FILE", "real drawings (default: the shipped reference, if it has the category)")
    add("score", "--training", "FILE", "drawings that the model learned from: are any copied?")
    add("score", "--category", "NAME", "what they should show (default: the word in the generated file)")
    for side in ("real", "generated"):
        add("official", f"--{side}", "FILE", f"{side} drawings, or a folder of official PNG", required=True)
    add("official", "--inception-weights", "FILE", ".pth or .safetensors (default: clean-fid's own)")
    size = official.BATCH_SIZE
    add("official", "--batch-size", "N", f"pictures at once; changes speed and memory (default {size})", default=size)
    add_device_argument(parsers["official"])
    for command in ("score", "official"):
        add(command, "--seed", "N", "seed of subsets and random splits (default 0)", default=0)
        add(command, "--out", "FILE", "write the JSON here as well")
    add("pictures", "--drawings", "FILE", "drawings, in any form of docs/FORMATS.md", required=True)
    add("pictures", "--out", "FOLDER", "folder for 00000.png, 00001.png ..., named by line", required=True)
    add("pictures", "--n", "N", "only the first N drawings (default: all)")
    for each in parsers.values():
        each.add_argument("--debug", action="store_true", help="show the full traceback of an error")
    return parser


def _check(arguments: argparse.Namespace) -> None:
    """Raise ValueError for values out of range, and for an --out that is one of the files to read."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(f"{arguments.command} is done by one process: start it without torchrun")
    if not 0 <= (seed := getattr(arguments, "seed", 0)) < 2**32:
        raise ValueError(f"--seed is {seed}, must lie in 0 ... {2**32 - 1}")
    if not 1 <= (size := getattr(arguments, "batch_size", 1)) <= 10_000:
        raise ValueError(f"--batch-size is {size}, must lie in 1 ... 10000")
    if arguments.command != "pictures" and arguments.out:
        named = [path for path in vars(arguments).values() if isinstance(path, Path) and path is not arguments.out]
        given = [each for path in named for each in (official.picture_paths(path) if path.is_dir() else [path])]
        refuse_overwriting([*given, *CHECKPOINTS.glob("*.safetensors")], [arguments.out])
        check_file(arguments.out)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Do what the command line says, print the scores as JSON, and return them."""
    arguments = build_parser().parse_args(argv)
    _check(arguments)
    result = COMMANDS[arguments.command][0](arguments)
    text = json.dumps(result, indent=2) + "\n"
    if arguments.command != "pictures" and arguments.out:
        write_atomically(arguments.out, text)
    sys.stdout.write(text)
    return result


if __name__ == "__main__":
    run_script(main, "fewer drawings, or for official a smaller --batch-size")
