"""Train the two networks that judge drawings on every category of a folder of Quick, Draw! drawings.

    python -m studies.train_features --data-dir quickdraw/simplified                       # the CNN that sees pictures
    python -m studies.train_features --data-dir quickdraw/simplified --network strokes     # the stroke recogniser

The folder holds CATEGORY.ndjson files in the official simplified form. Training uses the local split and never sees its
held-out 15 %. The same command resumes an interrupted training, and does not repeat a finished one. With `--pictures
FOLDER` it also writes the reference features of real pictures (FOLDER/CATEGORY.npz), with which `metrics.py` compares
drawings by default, and with `--held-out NAMES` those of categories without such pictures, whose held-out drawings are
rendered instead; both have features of either network. `--measure` does not train: it measures the network again and
writes the accuracy into its file.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import contextlib
import json
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

import rendering
from config import (
    ATTRIBUTION,
    CATEGORIES,
    NETWORK_PATH,
    RECOGNISER_PATH,
    REFERENCE_PATH,
    RunFailed,
    option,
    resolve_category,
)
from dataset_utils import CategoryData, PackedDrawings, available_categories, category_files, data_files, load_category
from drawings.packed import drawing_hashes, joined
from plumbing.command_line import (
    add_config_arguments,
    add_device_argument,
    check_file,
    config_from_arguments,
    run_script,
    script_parser,
)
from plumbing.files import locked_folder, refuse_overwriting
from plumbing.processes import autocast_for, best_device
from plumbing.run_folder import load_state, save_state
from plumbing.tensor_files import write_tensors
from scoring.feature_network import (
    KINDS,
    LoadedNetwork,
    Network,
    describe_inputs,
    kind_of,
    load_feature_network,
    save_feature_network,
)
from scoring.reference import NUM_INDEPENDENT, REFERENCE_FORMAT, describe_drawings, recognised_after, training_part
from scoring.stroke_statistics import describe_strokes, independent_strokes, to_arrays
from scoring.two_sample import MOST_PER_SIDE

Drawing = Sequence[NDArray[Any]]

CONFUSION_OF = (*CATEGORIES, "car")
CONFUSION_NAMES = 8


@dataclass(frozen=True)
class FeatureTrainingConfig:
    """Settings of one training run; every field is a command line option."""

    epochs: int = option(20, "passes over the (capped) training drawings", minimum=1, maximum=100_000)
    batch_size: int = option(256, "drawings per update", minimum=2, maximum=100_000)
    learning_rate: float = option(3e-3, "peak of the one-cycle schedule", minimum=1e-8, maximum=1)
    weight_decay: float = option(0.05, "AdamW weight decay", minimum=0, maximum=10)
    label_smoothing: float = option(0.1, "label smoothing", minimum=0, maximum=0.9)
    ema_decay: float = option(0.998, "decay of the EMA of the weights", minimum=0, maximum=0.999999)
    cap: int = option(400, "drawings of one category per epoch at most, drawn anew each epoch",
                      minimum=1, maximum=10_000_000)  # fmt: skip
    network: str = option("pictures", "which: the CNN that sees pictures, or the transformer that reads strokes",
                          choices=("pictures", "strokes"))  # fmt: skip
    seed: int = option(0, "random seed", minimum=0, maximum=2**31 - 1)


# ------------------------------------------------------------------ training


def augmented(drawing: Drawing, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Return a drawing slightly bent, perhaps mirrored, and with perhaps some of its strokes missing.

    A random affine map (rotation 0.12 rad, shear 0.08, aspect 10 %, standard deviations; mirrored left to right one
    time in two); one drawing in three ends early (its last 0 to 40 % of strokes are cut); every stroke of every second
    drawing is left out with probability 0.08. At least one stroke stays.
    """
    angle, shear, log_aspect = rng.normal(0, (0.12, 0.08, 0.1))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    affine = turn @ [[rng.choice([-1, 1]) * np.exp(log_aspect), shear], [0, 1]]
    share = rng.uniform(0.6, 1) if rng.random() < 1 / 3 else 1.0
    kept = list(drawing[: max(1, int(np.ceil(share * len(drawing))))])
    if rng.random() < 0.5:
        kept = [stroke for stroke in kept if rng.random() >= 0.08] or kept[:1]
    return [(np.asarray(stroke, dtype=np.float64) - 127.5) @ affine.T for stroke in kept]


READ_BY_RECOGNISER = "three quarters, by a hash of each drawing"


def read_by_recogniser(train: PackedDrawings) -> NDArray[np.bool_]:
    """Return which training drawings the stroke recogniser learns from, bool (N,): about three in four."""
    return drawing_hashes(train) // 100 % 4 != 0


def epoch_of(train: Sequence[PackedDrawings], config: FeatureTrainingConfig, epoch: int) -> tuple[Tensor, Tensor]:
    """Return what the network reads (N, ...) and labels (N,) of an epoch, shuffled, by seed and epoch alone."""
    rng = np.random.default_rng([config.seed, epoch])
    inputs, labels = [], []
    for label, packed in enumerate(train):
        chosen = rng.permutation(len(packed))[: config.cap]
        inputs.append(KINDS[config.network].inputs_of([augmented(packed.drawing(int(i)), rng) for i in chosen]))
        labels += [label] * len(chosen)
    order = rng.permutation(len(labels))
    return torch.from_numpy(np.concatenate(inputs)[order]), torch.tensor(labels)[order]


def warmed_up(decay: float) -> Callable[[Any, Any, Any], None]:
    """Return an EMA of lists of tensors that forgets faster at first: else a short training keeps its fresh weights."""

    def update(averaged: Any, own: Any, count: Any) -> None:
        get_ema_multi_avg_fn(min(decay, (1 + int(count)) / (10 + int(count))))(averaged, own, count)

    return update


def train(
    config: FeatureTrainingConfig, data: Sequence[PackedDrawings], state_path: Path, device: torch.device
) -> tuple[Network, list[float], float]:
    """Return the network with averaged weights, the loss of each epoch, and the seconds it took.

    `data` are the training drawings of each category. The state is written to `state_path` after every epoch.
    """
    steps = sum(min(len(packed), config.cap) for packed in data) // config.batch_size
    if steps < 1:
        raise ValueError(f"an epoch has fewer drawings than --batch-size {config.batch_size}")
    torch.manual_seed(config.seed)
    kind = KINDS[config.network]
    network: Network = kind.network(kind.settings(num_classes=len(data)))
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = AveragedModel(network, multi_avg_fn=warmed_up(config.ema_decay), use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.epochs * steps, pct_start=0.2
    )
    parts: dict[str, Any] = {"network": network, "average": average, "optimizer": optimizer, "schedule": schedule}
    settings = asdict(config) | {"classes": len(data), "steps_per_epoch": steps}
    losses, seconds, autocast = [], 0.0, autocast_for("auto", device)
    if state := load_state(state_path):
        if state["settings"] != settings:
            raise ValueError(f"{state_path}: begun with other settings; repeat those, or delete it")
        for name, part in parts.items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["random_state"])
        losses, seconds = list(state["losses"]), state["seconds"]
        sys.stderr.write(f"resuming {state_path} after epoch {len(losses)}\n")

    def update(inputs: Tensor, labels: Tensor) -> float:
        network.train()
        with autocast():
            logits = network(inputs.to(device))
        loss = cross_entropy(logits, labels.to(device), label_smoothing=config.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        average.update_parameters(network)
        return loss.item()

    for epoch in range(len(losses), config.epochs):
        began, total = time.perf_counter(), 0.0
        inputs, labels = epoch_of(data, config, epoch)
        with tqdm(range(steps), desc=f"epoch {epoch + 1}/{config.epochs}", disable=None) as bar:
            for k in bar:
                batch = slice(k * config.batch_size, (k + 1) * config.batch_size)
                total += update(inputs[batch], labels[batch])
                bar.set_postfix(loss=f"{total / (k + 1):.3f}")
        if not np.isfinite(total):
            raise RunFailed(f"the loss became NaN in epoch {epoch + 1}; try a smaller --learning-rate")
        losses.append(total / steps)
        seconds += time.perf_counter() - began
        now = {"settings": settings, "losses": losses, "seconds": seconds, "random_state": torch.get_rng_state()}
        save_state(state_path, now | {name: part.state_dict() for name, part in parts.items()})
    return average.module.eval(), losses, seconds  # type: ignore[return-value]


# ------------------------------------------------------------------ measuring


def accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """Return top-1 and top-5 over all drawings, and their means over categories (each weighs the same)."""
    rank = (logits > logits[np.arange(len(labels)), labels][:, None]).sum(axis=1)
    counts = np.bincount(labels)
    result = {}
    for k in (1, 5):
        hits = rank < k
        result[f"top{k}"] = float(hits.mean())
        per_class = np.bincount(labels, hits)[counts > 0] / counts[counts > 0]
        result[f"top{k}_mean_over_classes"] = float(per_class.mean())
    return result


def confusion(logits: NDArray[np.float32], labels: NDArray[np.int64], classes: list[str]) -> dict[str, dict[str, Any]]:
    """Return what drawings of this project's categories are taken for: their number, and shares of the first names."""
    result = {}
    for category in CONFUSION_OF:
        if category not in classes:
            continue
        taken = logits[labels == classes.index(category)].argmax(axis=1)
        shares = np.bincount(taken, minlength=len(classes)) / max(1, len(taken))
        first = np.argsort(-shares, kind="stable")[:CONFUSION_NAMES]
        named = {classes[i]: float(shares[i]) for i in first if shares[i] > 0}
        result[category] = {"n": len(taken), "taken_for": named}
    return result


def held_out_of(data: CategoryData) -> PackedDrawings:
    """Return all drawings that no training has seen: those for validation and those to test on, maybe the same."""
    return data.test if data.validation is data.test else joined((data.validation, data.test))


def measured(network: Network, classes: list[str], held_out: Sequence[PackedDrawings]) -> dict[str, Any]:
    """Return what the network makes of each category's held-out drawings: accuracy and confusion."""
    logits = [describe_inputs(network, kind_of(network).inputs_of(list(packed)))[1] for packed in held_out if packed]
    labels = np.repeat(np.arange(len(held_out)), [len(packed) for packed in held_out])
    together = np.concatenate(logits)
    return {
        "held_out_drawings": len(labels),
        "held_out": accuracy(together, labels),
        "confusion": confusion(together, labels, classes),
    }


# ------------------------------------------------------------------ the shipped reference

_TEST_PICTURES = f"{ATTRIBUTION}: real drawings of the official test split, as pictures"
_HELD_OUT = f"{ATTRIBUTION}: held-out 15 % of the drawings of which the others trained the models"
_TEST_HALF = f"{_HELD_OUT}, without the half of them that is for validation"


def read_pictures(path: Path) -> NDArray[np.uint8]:
    """Return the pictures (N, 256, 256) of an .npz file, pooled; raises ValueError for anything else."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images = arrays["images"]
        if images.dtype != np.uint8 or images.shape[1:] != (rendering.CANVAS, rendering.CANVAS) or len(images) < 2:
            raise ValueError(f"images are {images.dtype} {images.shape}, at least 2 of uint8 (256, 256) are needed")
    except (ValueError, KeyError, EOFError, OSError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: needs an array 'images' of shape (N, 256, 256) ({error})") from None
    return np.stack([rendering.pool_raster(picture) for picture in images])


def _category_tensors(
    category: str, pictures: Path | None, data_dir: Path, loaded: LoadedNetwork, recogniser: LoadedNetwork
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Return a category's part of the shipped file, and how many drawings are behind each part."""
    data = load_category(category, data_dir=data_dir, split="local")
    train, held_out = list(data.train), list(data.test)
    chosen = [train[i] for i in training_part(len(train))]
    shuffled = independent_strokes(train, NUM_INDEPENDENT)
    unread = np.flatnonzero(~read_by_recogniser(data.train))[:MOST_PER_SIDE]
    features = {
        "real": describe_inputs(loaded.network, read_pictures(pictures))[0]
        if pictures
        else describe_drawings(held_out, loaded).features,
        "independent": describe_drawings(shuffled, loaded).features,
        "training": describe_drawings(chosen, loaded).features,
        "real_strokes": describe_drawings(held_out, recogniser).features,
        "independent_strokes": describe_drawings(shuffled, recogniser).features,
        "training_strokes": describe_drawings([train[i] for i in unread], recogniser).features,
    }
    arrays = {
        "recognised": recognised_after(held_out, loaded, category, len(held_out)).astype(np.uint8),
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

    The categories of `held_out` have no pictures: their test drawings, by the local split of `data_dir`, are
    rendered instead, as generated drawings are. Beside the features of the pictures stand those of NUM_INDEPENDENT
    drawings of shuffled strokes and of ``training_part`` of the training drawings, what the stroke recogniser makes of
    held-out, shuffled and unread training drawings, and the statistics of the held-out drawings. Raises ValueError for
    a damaged file.
    """
    loaded, recogniser = load_feature_network(network_path), load_feature_network(RECOGNISER_PATH)
    tensors: dict[str, Tensor] = {}
    counts: dict[str, dict[str, int]] = {}
    sources: dict[str, dict[str, str]] = {}
    for category in tqdm([*pictures, *held_out], desc="references", unit="category", disable=None):
        own, counts[category] = _category_tensors(category, pictures.get(category), data_dir, loaded, recogniser)
        tensors |= {f"{category}.{name}": tensor for name, tensor in own.items()}
        sources[category] = (
            {"pictures": _TEST_PICTURES, "strokes": _HELD_OUT}
            if category in pictures
            else {"pictures": f"{_TEST_HALF}, as pictures", "strokes": _TEST_HALF}
        )
    metadata = {
        "format": REFERENCE_FORMAT,
        "network_sha256": loaded.sha256,
        "recogniser_sha256": recogniser.sha256,
        "rendering": rendering.FEATURE_RENDERING,
        "sources": json.dumps(sources),
        "counts": json.dumps(counts),
    }
    write_tensors(out, tensors, metadata)
    return counts


# ------------------------------------------------------------------ command line


def build_parser() -> argparse.ArgumentParser:
    """Return the command line parser."""
    parser = script_parser(__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, metavar="FOLDER", help="of CATEGORY.ndjson files")
    parser.add_argument("--leave-out", default="", metavar="NAMES",
                        help="categories, with commas, that it shall never have seen")
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help=f"file of the trained network (default: {NETWORK_PATH.name} or {RECOGNISER_PATH.name} in "
                             f"{NETWORK_PATH.parent.name})")  # fmt: skip
    parser.add_argument("--pictures", type=Path, metavar="FOLDER",
                        help="folder of CATEGORY.npz with real pictures, for the reference")  # fmt: skip
    parser.add_argument("--held-out", default="", metavar="NAMES",
                        help="categories, with commas, whose held-out drawings take the place of pictures")  # fmt: skip
    parser.add_argument("--reference", type=Path, metavar="FILE", default=REFERENCE_PATH, help="reference features")
    parser.add_argument("--measure", action="store_true", help="do not train: measure --out on held-out drawings again")
    add_config_arguments(parser, FeatureTrainingConfig)
    add_device_argument(parser)
    return parser


def categories_to_learn(arguments: argparse.Namespace) -> list[str]:
    """Return the categories of --data-dir but those of --leave-out, in order."""
    at_hand = sorted(available_categories(arguments.data_dir))
    left_out = {resolve_category(name, at_hand) for name in arguments.leave_out.split(",") if name.strip()}
    return [name for name in at_hand if name not in left_out]


def categories_of_reference(arguments: argparse.Namespace, classes: list[str]) -> tuple[dict[str, Path], list[str]]:
    """Return the files of pictures by category, and the categories of --held-out; raises ValueError for wrong ones."""
    names = [name for name in arguments.held_out.split(",") if name.strip()]
    if arguments.pictures is None:
        if names:
            raise ValueError("--held-out is given without --pictures: the file of references is written as a whole")
        return {}, []
    pictures = category_files(arguments.pictures, (".npz",))
    if not pictures:
        raise FileNotFoundError(f"{arguments.pictures}: no <category>.npz files")
    if unknown := [name for name in pictures if name not in classes]:
        raise ValueError(f"{pictures[unknown[0]]}: of '{unknown[0]}' {arguments.data_dir} has no drawings")
    held_out = sorted({resolve_category(name, classes) for name in names})
    if both := [name for name in held_out if name in pictures]:
        raise ValueError(f"{pictures[both[0]]}: has pictures of '{both[0]}', so --held-out must not name it")
    return pictures, held_out


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Make what is missing of network and reference features; print and return the network's conditions."""
    arguments = build_parser().parse_args(argv)
    config = config_from_arguments(FeatureTrainingConfig, arguments)
    if not arguments.data_dir.is_dir():
        raise FileNotFoundError(f"{arguments.data_dir}: no such folder of <category>.ndjson files")
    if arguments.pictures and config.network == "strokes":
        raise ValueError("--pictures goes with --network pictures: its file has features of either network")
    classes = categories_to_learn(arguments)
    out = arguments.out or (RECOGNISER_PATH if config.network == "strokes" else NETWORK_PATH)
    if len(classes) < 2:
        raise ValueError(f"{arguments.data_dir}: {len(classes)} categories, a classifier needs at least 2")
    pictures, held_out = categories_of_reference(arguments, classes)
    check_file(out)
    refuse_overwriting([*pictures.values(), *data_files(arguments.data_dir)], [out, arguments.reference])
    if pictures:
        check_file(arguments.reference, "--reference")
        refuse_overwriting([out], [arguments.reference])
    if out.exists() or arguments.measure:
        loaded = load_feature_network(out)
        if arguments.measure and loaded.classes != classes:
            raise ValueError(f"{arguments.data_dir}: holds {len(classes)} categories that are not those of {out}")
    if out.exists() and not arguments.measure:
        sys.stderr.write(f"{out} is there: not trained again (delete it to train anew)\n")
    else:
        data = [load_category(name, data_dir=arguments.data_dir, split="local")
                for name in tqdm(classes, desc="read", disable=None)]  # fmt: skip
        if arguments.measure:
            network, conditions = loaded.network, dict(loaded.conditions)
        else:
            state_folder = out.with_suffix(".training")
            with locked_folder(state_folder):
                learned = [each.train for each in data]
                if config.network == "strokes":
                    learned = [train.select(np.flatnonzero(read_by_recogniser(train))) for train in learned]
                network, losses, seconds = train(
                    config, learned, state_folder / "state.pt", best_device(arguments.device)
                )
            conditions = asdict(config) | {
                "train_drawings": sum(map(len, learned)),
                "split": "local",
                "training_part": "all" if config.network == "pictures" else READ_BY_RECOGNISER,
                "rendering": KINDS[config.network].form,
                "training_seconds": round(seconds, 1),
                "epoch_losses": [round(loss, 4) for loss in losses],
                "data": ATTRIBUTION,
            }
        conditions |= measured(network, classes, [held_out_of(each) for each in data])
        save_feature_network(out, network, classes, conditions)
        if not arguments.measure:
            for file in state_folder.glob("state.pt*"):
                file.unlink()
            with contextlib.suppress(OSError):  # something else is in it
                state_folder.rmdir()
    loaded = load_feature_network(out)
    result = {"out": str(out), "sha256": loaded.sha256, **loaded.conditions}
    if pictures:
        result["reference"] = write_references(pictures, arguments.data_dir, out, arguments.reference, held_out)
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return result


if __name__ == "__main__":
    run_script(main, "a smaller --batch-size")
