"""Train the sketch feature network on every category of a folder of Quick, Draw! drawings.

    python train_features.py --data-dir quickdraw/simplified --out checkpoints/sketch_features.safetensors

The folder holds `<category>.ndjson` files of the official simplified form. Training uses the local split and
never sees a drawing of its other 15 %. The same command continues a training that was cut off, and does not
repeat one that is finished. With `--pictures DIR` it also writes the reference features of real pictures
(`DIR/<category>.npz`) that `metrics.py` compares with where no real drawings are at hand, and with `--held-out NAMES`
those of categories without such pictures, whose held-out drawings are rendered instead. `--measure` does not train: it
measures the network that is there once more and writes the figures into its file.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import signal
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

import rendering
from config import ATTRIBUTION, CATEGORIES, NETWORK_PATH, REFERENCE_PATH, RunFailed, option, resolve_category
from dataset_utils import PackedDrawings, available_categories, load_category
from plumbing.command_line import (
    add_config_arguments,
    add_device_argument,
    check_file,
    config_from_arguments,
    run_script,
    script_parser,
)
from plumbing.files import locked_folder
from scoring.feature_network import (
    LoadedNetwork,
    SketchFeatureNetwork,
    describe_pictures,
    load_feature_network,
    write_safetensors,
)
from scoring.reference import (
    NUM_INDEPENDENT,
    REFERENCE_FORMAT,
    describe_drawings,
    recognised_after,
    training_part,
)
from scoring.stroke_statistics import describe_strokes, independent_strokes, to_arrays

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
    ema_decay: float = option(0.998, "decay of the weights' moving average", minimum=0, maximum=0.999999)
    cap: int = option(400, "drawings of one category per epoch at most, drawn anew each epoch",
                      minimum=1, maximum=10_000_000)  # fmt: skip
    seed: int = option(0, "random seed", minimum=0, maximum=2**31 - 1)
    workers: int = option(2, "processes that render, 0 for this one; changes nothing but speed",
                          minimum=0, maximum=256)  # fmt: skip


def augmented_drawings(packed: PackedDrawings, seed: Sequence[int]) -> list[list[NDArray[np.float64]]]:
    """Return each drawing slightly bent, perhaps mirrored, and with perhaps some of its strokes missing.

    A random affine map per drawing (rotation 0.12 rad, shear 0.08, aspect 10 %, standard deviations; mirrored
    left to right one time in two); one drawing in three ends early (its last 0 to 40 % of strokes are cut);
    every stroke of every second drawing is left out with probability 0.08. At least one stroke stays.
    """
    rng = np.random.default_rng(seed)
    count = len(packed)
    angle = rng.normal(0, 0.12, count)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # (2, 2, N)
    aspect = np.exp(rng.normal(0, 0.1, count))
    mirror = rng.choice([-1.0, 1.0], count)
    zero, one = np.zeros(count), np.ones(count)
    shape = np.array([[mirror * aspect, rng.normal(0, 0.08, count)], [zero, one]])  # (2, 2, N)
    affine = np.einsum("ijn,jkn->nik", turn, shape)
    strokes_of = packed.num_strokes
    points_of = np.diff(packed.stroke_offsets)
    drawing_of_point = np.repeat(np.repeat(np.arange(count), strokes_of), points_of)
    points = np.einsum("pij,pj->pi", affine[drawing_of_point], packed.points.astype(np.float64) - 127.5)
    kept_share = np.where(rng.random(count) < 1 / 3, rng.uniform(0.6, 1.0, count), 1.0)
    num_kept = np.maximum(1, np.ceil(strokes_of * kept_share)).astype(int)
    share_missing = np.repeat(0.08 * (rng.random(count) < 0.5), strokes_of)
    stroke_missing = rng.random(len(share_missing)) < share_missing
    drawings = []
    for i in range(count):
        first = packed.drawing_offsets[i]
        kept = [s for s in range(first, first + num_kept[i]) if not stroke_missing[s]] or [first]
        drawings.append([points[packed.stroke_offsets[s] : packed.stroke_offsets[s + 1]] for s in kept])
    return drawings


def _render_chunk(packed: PackedDrawings, seed: Sequence[int] | None) -> NDArray[np.uint8]:
    if seed is not None:
        return rendering.feature_rasters(augmented_drawings(packed, seed))
    return rendering.feature_rasters(list(packed))


def render(
    packed: PackedDrawings, seed: Sequence[int] | None, pool: ProcessPoolExecutor | None, chunk: int = 1024
) -> NDArray[np.uint8]:
    """Return pictures (N, 64, 64) of drawings, augmented if a seed is given; `pool` changes but the speed."""
    starts = range(0, len(packed), chunk)
    parts = [packed.select(np.arange(start, min(start + chunk, len(packed)))) for start in starts]
    seeds = [None if seed is None else [*seed, start] for start in starts]
    return np.concatenate(list((pool.map if pool else map)(_render_chunk, parts, seeds)))


@dataclass(frozen=True)
class LabelledDrawings:
    """Drawings of all categories, one after another, with the index of each one's category."""

    packed: PackedDrawings
    labels: NDArray[np.int64]

    def capped(self, cap: int, rng: np.random.Generator) -> LabelledDrawings:
        """Return a random selection of at most `cap` drawings of each category, in random order."""
        order = rng.permutation(len(self.labels))
        by_label = order[np.argsort(self.labels[order], kind="stable")]
        labels = self.labels[by_label]
        place = np.arange(len(labels)) - np.searchsorted(labels, labels)
        chosen = rng.permutation(by_label[place < cap])
        return LabelledDrawings(self.packed.select(chosen), self.labels[chosen])


def _joined(parts: list[PackedDrawings]) -> LabelledDrawings:
    def offsets(pieces: list[NDArray[np.int64]]) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(np.concatenate([np.diff(piece) for piece in pieces]))])

    packed = PackedDrawings(
        points=np.concatenate([p.points for p in parts]),
        stroke_offsets=offsets([p.stroke_offsets for p in parts]),
        drawing_offsets=offsets([p.drawing_offsets for p in parts]),
        lines=np.concatenate([p.lines for p in parts]),
    )
    return LabelledDrawings(packed, np.repeat(np.arange(len(parts)), [len(p) for p in parts]))


def category_names(data_dir: Path) -> list[str]:
    """Return the names of a folder's categories in order, raising where there are fewer than two."""
    if not data_dir.is_dir():
        raise FileNotFoundError(f"{data_dir}: no such folder of <category>.ndjson files")
    classes = sorted(path.stem for path in data_dir.glob("*.ndjson"))
    if len(classes) < 2:
        raise ValueError(f"{data_dir}: {len(classes)} *.ndjson files, a classifier needs at least 2")
    return classes


def load_all_categories(data_dir: Path) -> tuple[list[str], LabelledDrawings, LabelledDrawings]:
    """Return the names of the folder's categories in order, their training and their held-out drawings."""
    from tqdm import tqdm

    classes = category_names(data_dir)
    train, held_out = [], []
    for name in tqdm(classes, desc="read", disable=None):
        data = load_category(name, data_dir=data_dir, split="local")
        train.append(data.train)
        held_out.append(data.test)
    return classes, _joined(train), _joined(held_out)


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


class _Trainer:
    """Everything that one training changes: network, moving average, optimizer and schedule."""

    PARTS = ("network", "average", "optimizer", "schedule")

    def __init__(
        self, config: FeatureTrainingConfig, num_classes: int, steps_per_epoch: int, device: torch.device
    ) -> None:
        import torch
        from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

        from scoring.feature_network import FeatureNetworkConfig, SketchFeatureNetwork

        torch.manual_seed(config.seed)
        self.config = config
        self.settings = asdict(config) | {"classes": num_classes, "steps_per_epoch": steps_per_epoch}
        self.device = device
        network = SketchFeatureNetwork(FeatureNetworkConfig(num_classes=num_classes))
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = AveragedModel(
            self.network,
            multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay),
            use_buffers=True,
        )
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, config.learning_rate, total_steps=config.epochs * steps_per_epoch, pct_start=0.2
        )
        self.epoch_losses: list[float] = []
        self.seconds = 0.0

    def step(self, pictures: torch.Tensor, labels: torch.Tensor) -> float:
        """Do one optimizer update and return its loss."""
        import torch

        self.network.train()
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.network(pictures.to(self.device))
        loss = torch.nn.functional.cross_entropy(
            logits, labels.to(self.device), label_smoothing=self.config.label_smoothing
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.average.update_parameters(self.network)
        return loss.item()

    @property
    def averaged_network(self) -> SketchFeatureNetwork:
        """The network with averaged weights: the one to measure and to keep."""
        return self.average.module.eval()  # type: ignore[return-value]

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs to go on as if nothing had happened."""
        import torch

        return {
            **{part: getattr(self, part).state_dict() for part in self.PARTS},
            "epoch_losses": self.epoch_losses,
            "seconds": self.seconds,
            "config": self.settings,
            "random_state": torch.get_rng_state(),
        }

    def restore(self, state: dict[str, Any], path: Path) -> None:
        """Take over what `state` returned; it must come from the same settings."""
        import torch

        from checkpoint import require_pieces

        require_pieces(state, self.state(), str(path))
        changed = {k for k, v in self.settings.items() if k != "workers" and state["config"].get(k) != v}
        if changed:
            names = ", ".join(sorted(changed))
            raise ValueError(f"{path}: begun with other settings ({names}); repeat those, or delete it")
        for part in self.PARTS:
            getattr(self, part).load_state_dict(state[part])
        torch.set_rng_state(state["random_state"])
        self.epoch_losses, self.seconds = list(state["epoch_losses"]), state["seconds"]


def train(
    config: FeatureTrainingConfig,
    train_set: LabelledDrawings,
    num_classes: int,
    state_path: Path,
    pool: ProcessPoolExecutor | None,
    device: str = "auto",
) -> _Trainer:
    """Return the trained network; the state is written to `state_path` after every epoch.

    What an epoch shows depends on the seed and the epoch's number alone, so a resumed run sees the same.
    """
    from checkpoint import load_state, save_state
    from plumbing.devices import best_device

    def chosen(epoch: int) -> LabelledDrawings:
        return train_set.capped(config.cap, np.random.default_rng([config.seed, epoch]))

    steps = len(chosen(0).labels) // config.batch_size
    if steps < 1:
        raise ValueError(f"{len(chosen(0).labels)} drawings an epoch, less than --batch-size {config.batch_size}")
    trainer = _Trainer(config, num_classes, steps, best_device(device))
    if state := load_state(state_path):
        trainer.restore(state, state_path)
        sys.stderr.write(f"resuming {state_path} after epoch {len(trainer.epoch_losses)}\n")
    saved = len(trainer.epoch_losses)
    try:
        for epoch in range(saved, config.epochs):
            _train_epoch(trainer, epoch, chosen(epoch), steps, pool)
            save_state(state_path, trainer.state())
            saved = epoch + 1
    except KeyboardInterrupt:
        done = f"after epoch {saved} of {config.epochs}" if saved else "before the end of the first epoch"
        sys.stderr.write(f"\nstopped {done}; the same command goes on from there\n")
        raise
    return trainer


def _train_epoch(
    trainer: _Trainer, epoch: int, epoch_set: LabelledDrawings, steps: int, pool: ProcessPoolExecutor | None
) -> None:
    import torch
    from tqdm import tqdm

    config, begun = trainer.config, time.perf_counter()
    pictures = torch.from_numpy(render(epoch_set.packed, [config.seed, epoch], pool))
    labels = torch.from_numpy(epoch_set.labels)
    total = 0.0
    with tqdm(range(steps), desc=f"epoch {epoch + 1}/{config.epochs}", disable=None) as bar:
        for k in bar:
            batch = slice(k * config.batch_size, (k + 1) * config.batch_size)
            total += trainer.step(pictures[batch], labels[batch])
            bar.set_postfix(loss=f"{total / (k + 1):.3f}")
    if not np.isfinite(total):
        raise RunFailed(f"the loss became NaN in epoch {epoch + 1}; try a smaller --learning-rate")
    trainer.epoch_losses.append(total / steps)
    trainer.seconds += time.perf_counter() - begun


def build_parser() -> argparse.ArgumentParser:
    """Return the command line parser."""
    parser = script_parser(__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of <category>.ndjson files")
    parser.add_argument("--out", type=Path, default=NETWORK_PATH, help="file of the trained network")
    parser.add_argument("--pictures", type=Path, help="folder of <category>.npz with real pictures, for the reference")
    parser.add_argument("--held-out", default="", metavar="NAMES",
                        help="categories, with commas, whose held-out drawings take the place of pictures")  # fmt: skip
    parser.add_argument("--reference", type=Path, default=REFERENCE_PATH, help="file of reference features")
    parser.add_argument("--measure", action="store_true", help="do not train: measure --out on held-out drawings again")
    add_config_arguments(parser, FeatureTrainingConfig)
    add_device_argument(parser)
    return parser


def held_out_categories(arguments: argparse.Namespace) -> list[str]:
    """Return the categories that --held-out names, in order; raises ValueError for one that has no drawings."""
    names = [name for name in arguments.held_out.split(",") if name.strip()]
    if names and not arguments.pictures:
        raise ValueError("--held-out is given without --pictures: the file of references is written as a whole")
    available = available_categories(arguments.data_dir) if names else ()
    held_out = sorted({resolve_category(name, available) for name in names})
    for category in held_out:
        if (path := arguments.pictures / f"{category}.npz").exists():
            raise ValueError(f"{path}: has pictures of '{category}', so --held-out must not name it")
    return held_out


def picture_files(folder: Path | None, data_dir: Path) -> dict[str, Path]:
    """Return the files of pictures in `folder` by category; raises where it has none, or one without drawings."""
    if folder is None:
        return {}
    pictures = {path.stem: path for path in sorted(folder.glob("*.npz"))}
    if not pictures:
        raise FileNotFoundError(f"{folder}: no <category>.npz files")
    available = available_categories(data_dir)
    for category, path in pictures.items():
        if category not in available:
            raise ValueError(f"{path}: of '{category}' {data_dir} has no drawings")
    return pictures


def check_network(path: Path, measure: bool, data_dir: Path) -> None:
    """Refuse, without torch, a network that is there but damaged, or is to be measured on other categories."""
    from scoring.feature_network import load_feature_network

    names = category_names(data_dir)
    if not path.exists() and not measure:
        check_file(path)
    elif load_feature_network(path).classes != names and measure:
        raise ValueError(f"{data_dir}: holds {len(names)} categories that are not those of {path}")


def held_out_figures(
    network: SketchFeatureNetwork, classes: list[str], held_out: LabelledDrawings, pool: ProcessPoolExecutor | None
) -> dict[str, Any]:
    """Return what the network makes of drawings that it was not trained on: accuracy and confusion."""
    from scoring.feature_network import describe_pictures

    _, logits = describe_pictures(network, render(held_out.packed, None, pool))
    return {
        "held_out_drawings": len(held_out.labels),
        "held_out": accuracy(logits, held_out.labels),
        "confusion": confusion(logits, held_out.labels, classes),
    }


def train_and_save(
    config: FeatureTrainingConfig, data_dir: Path, out: Path, pool: ProcessPoolExecutor | None, device: str = "auto"
) -> None:
    """Train on a folder's categories, measure on held-out drawings, write `out`."""
    classes, train_set, held_out = load_all_categories(data_dir)

    from scoring.feature_network import save_feature_network

    state_folder = out.with_suffix(".training")
    with locked_folder(state_folder):
        trainer = train(config, train_set, len(classes), state_folder / "state.pt", pool, device)
    conditions: dict[str, Any] = {
        **asdict(config),
        "train_drawings": len(train_set.labels),
        "split": "local",
        "rendering": rendering.FEATURE_RENDERING,
        "training_seconds": round(trainer.seconds, 1),
        "epoch_losses": [round(loss, 4) for loss in trainer.epoch_losses],
        **held_out_figures(trainer.averaged_network, classes, held_out, pool),
        "data": ATTRIBUTION,
    }
    save_feature_network(out, trainer.averaged_network, classes, conditions)
    shutil.rmtree(state_folder)


def measure_again(data_dir: Path, path: Path, pool: ProcessPoolExecutor | None) -> None:
    """Measure a trained network on a folder's held-out drawings and write the figures into its file."""
    from scoring.feature_network import load_feature_network, save_feature_network

    loaded = load_feature_network(path)
    classes, _, held_out = load_all_categories(data_dir)
    figures = held_out_figures(loaded.network, classes, held_out, pool)
    save_feature_network(path, loaded.network, classes, loaded.conditions | figures)


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor | None]:
    """Give a pool of processes, None for no workers; it ends with the block, and at once where that is broken off."""
    if not workers:
        yield None
        return
    # Ctrl-C reaches every process of a terminal; the answer to it is this one's, and workers inherit the silence
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        for _ in range(workers):
            pool.submit(int)
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Make what is missing of network and reference features; print and return the network's conditions."""
    arguments = build_parser().parse_args(argv)
    config = config_from_arguments(FeatureTrainingConfig, arguments)
    held_out, pictures = held_out_categories(arguments), picture_files(arguments.pictures, arguments.data_dir)
    check_network(arguments.out, arguments.measure, arguments.data_dir)
    if pictures:
        check_file(arguments.reference, "--reference")
    with worker_pool(config.workers) as pool:
        if arguments.measure:
            measure_again(arguments.data_dir, arguments.out, pool)
        elif arguments.out.exists():
            sys.stderr.write(f"{arguments.out} is there: not trained again (delete it to train anew)\n")
        else:
            train_and_save(config, arguments.data_dir, arguments.out, pool, arguments.device)

    loaded = load_feature_network(arguments.out)
    result = {"out": str(arguments.out), "sha256": loaded.sha256, **loaded.conditions}
    if pictures:
        result["reference"] = write_references(
            pictures, arguments.data_dir, arguments.out, arguments.reference, held_out
        )
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return result


# ------------------------------------------------------------------ the shipped reference

MOST_PICTURES = 50_000
"""Real pictures of a category that are read: 3.3 GB."""
_TEST_PICTURES = f"{ATTRIBUTION}: real drawings of the official test split, as pictures"
_HELD_OUT = f"{ATTRIBUTION}: held-out 15 % of the drawings of which the others trained the models"


def read_pictures(path: Path) -> NDArray[np.uint8]:
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


def _category_tensors(
    category: str, pictures: Path | None, data_dir: Path, loaded: LoadedNetwork
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Return a category's part of the shipped file, and how many drawings are behind each part."""
    data = load_category(category, data_dir=data_dir, split="local")
    train, held_out = list(data.train), list(data.test)
    chosen = [train[i] for i in training_part(len(train))]
    features = {
        "real": describe_pictures(loaded.network, read_pictures(pictures))[0]
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
    drawings of shuffled strokes and of at most MOST_TRAINING training drawings, and the statistics of the held-out
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
        "format": REFERENCE_FORMAT,
        "network_sha256": loaded.sha256,
        "rendering": rendering.FEATURE_RENDERING,
        "sources": json.dumps(sources),
        "counts": json.dumps(counts),
    }
    write_safetensors(out, tensors, metadata)
    return counts


if __name__ == "__main__":
    run_script(main, "a smaller --batch-size or fewer --workers")
