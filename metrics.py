"""Score generated drawings against real ones, each figure beside the floor that real drawings reach.

    python metrics.py score --generated drawings.ndjson                       # against the shipped reference
    python metrics.py score --generated drawings.ndjson --real real.ndjson --out scores.json
    torchrun --nproc-per-node 2 metrics.py score --generated drawings.ndjson  # the same figures, by two processes
    python metrics.py official --real real.ndjson --generated drawings.ndjson # clean-fid's Inception FID and KID
    python metrics.py pictures --drawings drawings.ndjson --out folder        # PNGs in the official rendering

`score` compares features of this project's own sketch network, all drawings rendered in one way, and the strokes
themselves. Its figures compare with each other, not with figures of other renderings, networks or numbers of drawings.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from config import NETWORK_PATH, REFERENCE_PATH, resolve_category
from dataset_utils import read_ndjson, word_of
from distances import (
    MINIMUM_EXTRAPOLATION,
    MINIMUM_FLOOR,
    NEIGHBOURS,
    density_and_coverage,
    frechet_distance,
    frechet_distance_at_infinity,
    kernel_distance,
    nearest_distances,
    with_floor,
)
from plumbing.command_line import check_file, is_first_process, run_script, script_parser
from plumbing.files import write_atomically
from rendering import FEATURE_RENDERING
from scoring import official as official_metrics
from scoring.feature_network import load_feature_network
from scoring.reference import reference_categories
from scoring.stroke_statistics import describe_strokes, stroke_distances

if TYPE_CHECKING:  # torch takes over a second to import: --help and bad input answer before it
    from plumbing.processes import Group
    from scoring.feature_network import LoadedNetwork
    from scoring.reference import Reference

Drawing = Sequence[NDArray[Any]]
SUBSETS, FLOOR_SUBSETS = 100, 10
SUBSET_SIZE = 1000
NUM_FEATURES = 256
"""Numbers that the feature network makes of a drawing."""


def feature_distances(generated: ArrayLike, real: ArrayLike) -> dict[str, float]:
    """Return FID, KID, FID at infinity, density and coverage of features (N, d) and (M, d), where N and M allow."""
    a, b = np.asarray(generated), np.asarray(real)
    figures = {
        "fid": frechet_distance(a, b),
        "kid": kernel_distance(a, b, num_subsets=FLOOR_SUBSETS, subset_size=SUBSET_SIZE)[0],
    }
    if min(len(a), len(b)) >= MINIMUM_EXTRAPOLATION:
        figures["fid_infinity"] = frechet_distance_at_infinity(a, b)
    if len(b) > NEIGHBOURS:
        figures["density"], figures["coverage"] = density_and_coverage(a, b)
    return figures


def picture_scores(
    generated: NDArray[Any], real: NDArray[Any], independent: NDArray[Any], seed: int
) -> dict[str, dict[str, Any]]:
    """Return the figures of ``feature_distances`` with floors and ceilings; KID over 100 subsets, and as a share.

    The share is KID over the KID of independent strokes: unlike KID it can be carried from one feature network to
    another. It is None where independent strokes are not farther than real drawings.
    """
    scores: dict[str, dict[str, Any]] = {
        name: dict(figures)
        for name, figures in with_floor(feature_distances, generated, real, seed, independent).items()
    }
    value, std = kernel_distance(generated, real, SUBSETS, SUBSET_SIZE, seed)
    ceiling, _ = kernel_distance(independent, real, SUBSETS, SUBSET_SIZE, seed)
    size = min(SUBSET_SIZE, len(generated), len(real))
    scores["kid"] |= {"value": value, "std": std, "num_subsets": SUBSETS, "subset_size": size}
    scores["kid"] |= {"independent_strokes": ceiling, "share": value / ceiling if ceiling > 0 else None}
    return scores


def recognisability(logits: ArrayLike, classes: Sequence[str], category: str) -> dict[str, float]:
    """Return the shares of drawings, logits (N, C), whose best or best five classes hold `category`."""
    from scoring.reference import recognised

    shares = {f"top{k}": recognised(np.asarray(logits), classes, category, k).mean() for k in (1, 5)}
    return {name: float(share) for name, share in shares.items()}


def memorisation(generated: ArrayLike, real: ArrayLike, training: ArrayLike) -> dict[str, float | int | None]:
    """Return how near generated drawings come to training drawings, beside real drawings; features (N, d) each.

    Medians of the distance to the nearest training drawing, and their `ratio`: far below 1 means copies. A model may
    copy now and then and keep its median, so `nearer_than_real` is the share of generated drawings that are nearer
    than the nearest hundredth of real ones: 0.01 where nothing is copied.
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


def closest_pairs(generated: ArrayLike, training: ArrayLike, count: int) -> list[tuple[int, int, float]]:
    """Return the `count` generated drawings nearest to a training drawing, features (N, d) and (M, d), nearest first.

    Each is (index of the generated drawing, index of the training drawing, distance).
    """
    distances, nearest = nearest_distances(generated, training)
    order = np.argsort(distances, kind="stable")[:count]
    return [(int(i), int(nearest[i]), float(distances[i])) for i in order]


def score_drawings(
    generated: Sequence[Drawing],
    real: Sequence[Drawing] | None,
    category: str,
    *,
    training: Sequence[Drawing] | None = None,
    source: str = "real drawings as strokes",
    seed: int = 0,
    network_path: Path = NETWORK_PATH,
    reference_path: Path = REFERENCE_PATH,
    group: Group | None = None,
) -> dict[str, Any]:
    """Return every figure of generated drawings, with its floor and conditions, as a plain dict for JSON.

    `real` are real drawings, which `source` describes, or None for the shipped reference; `training` are drawings that
    the model learned from, beside `real`. The processes of `group` share the drawings; the first of them has the
    figures, the others an empty dict. Raises ValueError with fewer than 2 drawings on a side.
    """
    from plumbing.processes import ALONE
    from scoring.feature_network import load_feature_network
    from scoring.reference import load_reference, reference_of

    if len(generated) < 2 or (real is not None and len(real) < 2):
        raise ValueError(f"{len(generated)} generated drawings, at least 2 of each side are needed")
    loaded = load_feature_network(network_path)
    category = resolve_category(category, loaded.classes)
    if real is None:
        reference = load_reference(reference_path, category, loaded)
    else:
        reference = reference_of(
            real, category, loaded, training=training, source=source, seed=seed, group=group or ALONE
        )
    return scores_against(reference, generated, category, loaded, seed, group)


def scores_against(
    reference: Reference,
    generated: Sequence[Drawing],
    category: str,
    loaded: LoadedNetwork,
    seed: int = 0,
    group: Group | None = None,
) -> dict[str, Any]:
    """Return what ``score_drawings`` does, against a reference at hand: it serves many sets of drawings."""
    from plumbing.processes import ALONE
    from scoring.reference import describe_drawings, recognised_after

    group = group or ALONE
    ours = describe_drawings(generated, loaded, group)
    sides = {"generated": ours, "real": reference.real, "independent_strokes": reference.independent}
    after = recognised_after(generated, loaded, category, group)
    if group.rank > 0:
        return {}
    strokes = stroke_distances(describe_strokes(generated), reference.statistics, seed)
    return {
        "category": category,
        "n_generated": len(generated),
        "n_real": len(reference.real.features),
        "reference": reference.source,
        "seed": seed,
        "rendering": FEATURE_RENDERING,
        "feature_network": {"file": loaded.file, "sha256": loaded.sha256},
        **picture_scores(ours.features, reference.real.features, reference.independent.features, seed),
        "recognisability": {
            name: recognisability(side.logits, loaded.classes, category) for name, side in sides.items()
        },
        "recognised_after": {
            "generated": after.mean(axis=0).tolist(),
            "real": reference.recognised.mean(axis=0).tolist(),
            "n_real": len(reference.recognised),
            "reference": reference.strokes_source,
        },
        "strokes": {
            "n_real": len(reference.statistics),
            "reference": reference.strokes_source,
            "distances": strokes,
        },
        "memorisation": None
        if reference.training is None
        else {
            "n_learned_from": reference.num_learned_from,
            **memorisation(ours.features, reference.real.features, reference.training),
        },
    }


def over_seeds(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return figures of several sampling seeds as one dict of the same form: means, with a deviation beside each.

    The deviation over seeds of a figure `x` (over N - 1) stands beside it as `x_over_seeds`; what is the same for all
    seeds has none. A figure that one of them lacks is None. Raises ValueError when scores are not of one form.
    """
    if not scores:
        raise ValueError("no scores to average")
    result: dict[str, Any] = {}
    for key in dict.fromkeys(key for score in scores for key in score):
        if any(key not in score for score in scores):
            raise ValueError(f"scores of different forms: '{key}' is not in all of them")
        column = [score[key] for score in scores]
        if all(item == column[0] for item in column):
            result[key] = column[0]
        elif all(isinstance(item, Mapping) for item in column):
            result[key] = over_seeds(column)
        elif any(item is None for item in column):
            result[key] = None
        elif all(isinstance(item, int | float | list) for item in column):
            result[key] = np.mean(column, axis=0).tolist()
            result[f"{key}_over_seeds"] = np.std(column, axis=0, ddof=1).tolist()
        else:
            raise ValueError(f"scores of different forms: '{key}' is {column[0]!r} and {column[-1]!r}")
    return result


# ------------------------------------------------------------------ the command line


def _read_drawings(path: Path) -> list[Drawing]:
    packed, counts = read_ndjson(path)
    if (losses := counts.describe_losses()) and is_first_process():
        print(f"{path}: {losses}", file=sys.stderr)
    if len(packed) < 2:
        raise ValueError(f"{path}: {len(packed)} drawings, scoring needs at least 2")
    return list(packed)


def run_score(arguments: argparse.Namespace) -> dict[str, Any]:
    """Score the drawings of the files that the command line names, and return the figures.

    Of several processes that torchrun has started the first returns them, and the others an empty dict.
    """
    if arguments.training and not arguments.real:
        raise ValueError("--training is given without --real: the shipped reference brings its own")
    generated = _read_drawings(arguments.generated)
    real, training = (_read_drawings(path) if path else None for path in (arguments.real, arguments.training))
    known = load_feature_network(NETWORK_PATH).classes
    category = resolve_category(arguments.category or word_of(arguments.generated), known)
    if real is None and category not in (held := reference_categories(REFERENCE_PATH)):
        raise ValueError(f"{REFERENCE_PATH}: holds {', '.join(held) or 'nothing'}, not '{category}'; give --real")
    files = {name: getattr(arguments, name) for name in ("real", "generated", "training")}

    import torch

    from plumbing.processes import joined_processes

    with joined_processes(torch.device("cpu")) as group:
        if group.size > 1:
            group.require_same(_digest_of([*files.values(), NETWORK_PATH], [category, arguments.seed]))
        scores = score_drawings(generated, real, category, training=training, seed=arguments.seed, group=group)
    return scores and {
        **{f"{name}_file": str(path) if path else None for name, path in files.items()},
        **scores,
        "note": _note(scores["n_generated"], scores["n_real"]) or None,
    }


def _digest_of(files: Sequence[Path | None], settings: Sequence[Any]) -> bytes:
    """Return a hash of the content of files and of settings."""
    from plumbing.tensor_files import sha256_of

    content = [sha256_of(path) if path else None for path in files]
    return hashlib.sha256(json.dumps([content, *settings]).encode()).digest()


def _note(n_generated: int, n_real: int) -> str:
    """Return in words what the numbers of drawings keep the figures from meaning."""
    notes, few = [], min(n_generated, n_real)
    if few <= NUM_FEATURES:
        notes.append(
            f"{n_generated} generated and {n_real} real drawings for {NUM_FEATURES} features: a covariance of no more "
            "drawings than features is singular and FID too high; compare it at floor_n with its floor, or take KID"
        )
    if min(n_generated, n_real // 2) < MINIMUM_FLOOR:
        notes.append(f"too few for floors, which take {MINIMUM_FLOOR} generated and {2 * MINIMUM_FLOOR} real drawings")
    return "; ".join(notes)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line parser."""
    parser = script_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="score | official | pictures")
    score = commands.add_parser("score", help="score drawings by this project's own metrics", allow_abbrev=False)
    score.add_argument("--generated", type=Path, required=True, help="generated drawings, ndjson")
    score.add_argument("--real", type=Path,
                       help="real drawings, ndjson (default: the shipped reference, if it has it)")  # fmt: skip
    score.add_argument("--training", type=Path, help="drawings the model learned from, ndjson: are any copied?")
    score.add_argument("--category", help="what they should show (default: the word in the generated file)")
    score.add_argument("--seed", type=int, default=0, help="seed of subsets, halves and independent strokes")
    score.add_argument("--out", type=Path, help="write the JSON here as well")
    official = commands.add_parser("official", help="FID and KID exactly as clean-fid does", allow_abbrev=False)
    official_metrics.add_official_arguments(official)
    pictures = commands.add_parser("pictures", help="write PNGs in the official rendering", allow_abbrev=False)
    official_metrics.add_pictures_arguments(pictures)
    for command in (score, official, pictures):
        command.add_argument("--debug", action="store_true", help="show the full traceback of an error")
    return parser


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Do what the command line says, print the figures as JSON, and return them."""
    arguments = build_parser().parse_args(argv)
    if getattr(arguments, "seed", 0) < 0:
        raise ValueError(f"--seed is {arguments.seed}, must be 0 or more")
    if arguments.command != "pictures" and arguments.out:
        check_file(arguments.out)
    if arguments.command != "score" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(f"{arguments.command} is for one process: start it without torchrun")
    commands = {
        "score": run_score,
        "official": official_metrics.run_official,
        "pictures": official_metrics.run_pictures,
    }
    result = commands[arguments.command](arguments)
    if not is_first_process():
        return result
    text = json.dumps(result, indent=2) + "\n"
    if arguments.command != "pictures" and arguments.out:
        write_atomically(arguments.out, text)
    sys.stdout.write(text)
    return result


if __name__ == "__main__":
    run_script(main, "fewer drawings, or for official a smaller --batch-size")
