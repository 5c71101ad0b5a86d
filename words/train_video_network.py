"""Train the reader of videos on real drawings of all categories, and measure it beside its controls.

    python -m words.train_video_network --data-dir quickdraw/simplified --out checkpoints/video_reader.safetensors

First clips are made and described by the picture recogniser, some drawings of each category a round, and kept in
--work; then the transformer learns from what is there. Both go on where they were stopped. Drawings are held out by the
local split: one half of these says how sure the network may be of its answers, the other half is what is published.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from config import ATTRIBUTION, NETWORK_PATH, VIDEO_READER_PATH
from dataset_utils import available_categories, load_category
from drawings.packed import PackedDrawings
from plumbing.command_line import run_script, script_parser
from plumbing.run_folder import load_state, save_state
from scoring.feature_network import load_feature_network
from studies.train_features import augmented, held_out_of
from words.clips import CLIP_FORM, NUM_FRAMES, clip, segments_of, until
from words.video_network import VideoNetwork, VideoNetworkConfig, described, save_video_network

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Of the ink of a held-out drawing, after which the reader is asked."""
WHOLE = 0.45
"""Share of the training clips that show a whole drawing; of the others at least EARLIEST of the ink is there."""
EARLIEST = 0.12
INTERMEDIATE = 0.3
"""Weight of the loss after frames that are not a clip's last."""
OWN_DROPPED = 0.25
"""Share of training clips for which the recogniser's own answer is withheld, so that the transformer learns too."""
DESCRIBED_AT_ONCE = 64


@dataclass(frozen=True)
class Clips:
    """Described clips: maps (N, T, 4, 4, 256) float16, new ink (N, T, 32, 32) uint8, own logits, labels (N,)."""

    maps: Tensor
    new_ink: Tensor
    own: Tensor
    labels: Tensor

    def batch(self, rows: Tensor, frames: slice = slice(None)) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the network reads of some clips."""
        return (self.maps[rows][:, frames].float(), self.new_ink[rows][:, frames].float() / 255,
                self.own[rows][:, frames].float())  # fmt: skip


def describe(frames: Iterator[NDArray[np.uint8]], labels: Sequence[int], recogniser: Any) -> Clips:
    """Return clips as the recogniser describes them."""
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    waiting: list[NDArray[np.uint8]] = []
    for number, each in enumerate(frames):
        waiting.append(each)
        if len(waiting) == DESCRIBED_AT_ONCE or number == len(labels) - 1:
            maps, new, own = described(recogniser, np.stack(waiting))
            parts.append((maps.half(), (255 * new).round().to(torch.uint8), own.half()))
            waiting = []
    maps, new, own = (torch.cat(column) for column in zip(*parts, strict=True))
    return Clips(maps, new, own, torch.tensor(labels))


def training_clips(data: Sequence[PackedDrawings], rows: range, recogniser: Any, seed: int) -> Clips:
    """Return one clip of each drawing of a round: slightly bent, whole or until a random share of its ink."""
    chosen = [(label, row) for label, packed in enumerate(data) for row in rows if row < len(packed)]

    def frames() -> Iterator[NDArray[np.uint8]]:
        for label, row in chosen:
            rng = np.random.default_rng([seed, label, row])
            segments = segments_of(augmented(data[label].drawing(row), rng))
            share = 1.0 if rng.random() < WHOLE else rng.uniform(EARLIEST, 1.0)
            yield clip(until(segments, share))

    return describe(frames(), [label for label, _ in chosen], recogniser)


def held_out_clips(data: Sequence[PackedDrawings], share: float, recogniser: Any, most: int, half: int) -> Clips:
    """Return clips of held-out drawings until a share of their ink, at most `most` a category, of one half of them."""
    chosen = [(label, row) for label, packed in enumerate(data) for row in range(half, len(packed), 2)[:most]]
    frames = (clip(until(segments_of(data[label].drawing(row)), share)) for label, row in chosen)
    return describe(frames, [label for label, _ in chosen], recogniser)


def cached(path: Path, make: Callable[[], Clips]) -> Clips:
    """Return the clips kept at `path`, made first where there are none."""
    if not path.is_file():
        began = time.perf_counter()
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        torch.save({name: getattr(made, name) for name in ("maps", "new_ink", "own", "labels")}, part)
        part.replace(path)
        sys.stderr.write(f"{path.name}: {len(made.labels)} clips in {time.perf_counter() - began:.0f} s\n")
    return Clips(**torch.load(path, weights_only=True))


# ------------------------------------------------------------------ training


@dataclass(frozen=True)
class Settings:
    """Settings of one training."""

    epochs: int
    batch_size: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    ema_decay: float = 0.99
    frames: int = NUM_FRAMES
    """The last ones of each clip that are read: 1 is the control that sees the last one only."""
    seed: int = 0


def loss_of(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the cross-entropy after the last frame, and weaker that after the others."""
    each = cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(logits.shape[1]), label_smoothing=smoothing,
                         reduction="none").unflatten(0, logits.shape[:2])  # fmt: skip
    last = each[:, -1].mean()
    return last + INTERMEDIATE * each[:, :-1].mean() if logits.shape[1] > 1 else last


def train(settings: Settings, parts: Sequence[Clips], num_classes: int, state_path: Path) -> VideoNetwork:
    """Return the network with averaged weights that has learned from clips; the state is kept after every epoch."""
    torch.manual_seed(settings.seed)
    network = VideoNetwork(VideoNetworkConfig(frames=settings.frames, num_classes=num_classes))
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay))
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    steps = sum(-(-len(part.labels) // settings.batch_size) for part in parts)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate,
                                                   total_steps=settings.epochs * steps, pct_start=0.2)  # fmt: skip
    states: dict[str, Any] = {"network": network, "average": average, "optimizer": optimizer, "schedule": schedule}
    begin = 0
    if state := load_state(state_path):
        if state["settings"] != asdict(settings) | {"steps": steps}:
            raise ValueError(f"{state_path}: begun with other settings; repeat those, or delete it")
        for name, part in states.items():
            part.load_state_dict(state[name])
        begin = state["epoch"]
    frames = slice(-settings.frames, None)
    for epoch in range(begin, settings.epochs):
        rng, began, total = torch.Generator().manual_seed(1000 * settings.seed + epoch), time.perf_counter(), 0.0
        torch.manual_seed(1000 * settings.seed + epoch)
        # a batch is of one round, whose drawings are of all categories: no copy of all clips is needed
        batches = [(part, rows) for part in parts
                   for rows in torch.randperm(len(part.labels), generator=rng).split(settings.batch_size)]  # fmt: skip
        network.train()
        for number in torch.randperm(len(batches), generator=rng).tolist():
            part, rows = batches[number]
            maps, ink, own = part.batch(rows, frames)
            own = own * (torch.rand(len(rows), 1, 1) >= OWN_DROPPED)
            loss = loss_of(network(maps, ink, own), part.labels[rows], settings.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
            total += loss.item()
        now = {"settings": asdict(settings) | {"steps": steps}, "epoch": epoch + 1}
        save_state(state_path, now | {name: part.state_dict() for name, part in states.items()})
        sys.stderr.write(f"epoch {epoch + 1}: loss {total / len(batches):.3f}, {time.perf_counter() - began:.0f} s\n")
    result: VideoNetwork = average.module.eval()  # type: ignore[assignment]
    return result


# ------------------------------------------------------------------ measuring


@torch.no_grad()
def answers(network: VideoNetwork, clips: Clips, order: Sequence[int] | None = None) -> Tensor:
    """Return the logits (N, classes) after the last frame, of clips whose frames stand in another order if given."""
    network.eval()
    frames = slice(-network.config.frames, None)
    logits = []
    for rows in torch.arange(len(clips.labels)).split(256):
        read = clips.batch(rows, frames)
        if order is not None:
            read = tuple(each[:, list(order)] for each in read)  # type: ignore[assignment]
        logits.append(network(*read)[:, -1])
    return torch.cat(logits)


def temperature_of(network: VideoNetwork, clips: Sequence[Clips]) -> float:
    """Return what logits are divided by so that they are as sure as they are right (Guo et al. 2017, 1706.04599)."""
    logits, labels = torch.cat([answers(network, each) for each in clips]), torch.cat([each.labels for each in clips])
    tried = [0.02 * k for k in range(15, 101)]
    return min(tried, key=lambda one: cross_entropy(logits / one, labels).item())


def top(logits: Tensor, labels: Tensor, k: int = 1) -> float:
    """Return the share of rows whose label is among the k first, the mean over categories."""
    hits = (logits.topk(k, dim=1).indices == labels[:, None]).any(dim=1)
    return float(np.mean([hits[labels == label].float().mean().item() for label in labels.unique()]))


def measured(network: VideoNetwork, last_only: VideoNetwork, clips: Clips) -> dict[str, float]:
    """Return top-1 of the network and of its controls on clips of one share of the ink."""
    logits, labels = answers(network, clips), clips.labels
    averaged = clips.own.float().softmax(dim=2).mean(dim=1)
    return {
        "video": top(logits, labels),
        "video top-5": top(logits, labels, 5),
        "last frame only": top(answers(last_only, clips), labels),
        "frames shuffled": top(answers(network, clips, (3, 1, 4, 0, 2)), labels),
        "frames before the last shuffled": top(answers(network, clips, (2, 0, 3, 1, 4)), labels),
        "recogniser, averaged": top(averaged, labels),
        "recogniser, last frame": top(clips.own[:, -1].float(), labels),
        "drawings": len(labels),
    }


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, metavar="FOLDER", help="of CATEGORY.ndjson files")
    parser.add_argument("--out", type=Path, default=VIDEO_READER_PATH, metavar="FILE", help="weights to write")
    parser.add_argument("--work", type=Path, default=Path("runs/video_reader"), metavar="FOLDER",
                        help="folder of clips and training states (default runs/video_reader)")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds of drawings (default 5)")
    parser.add_argument("--per-round", type=int, default=40, metavar="N", help="drawings of a category (default 40)")
    parser.add_argument("--epochs", type=int, default=6, metavar="N", help="passes over all clips (default 6)")
    parser.add_argument("--held-out", type=int, default=8, metavar="N", help="drawings a category (default 8)")
    parser.add_argument("--only-clips", action="store_true", help="make clips, do not train")
    return parser


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Make clips, train on them, measure, write the weights; print and return the figures."""
    arguments = build_parser().parse_args(argv)
    classes = sorted(available_categories(arguments.data_dir))
    loaded = load_feature_network(NETWORK_PATH)
    if loaded.classes != classes:
        raise ValueError(f"{arguments.data_dir}: holds {len(classes)} categories that are not the recogniser's")
    return run(arguments, classes, loaded)


def run(arguments: argparse.Namespace, classes: list[str], loaded: Any) -> dict[str, Any]:
    """Do what the command line says, once it is known to make sense."""
    data = [load_category(name, data_dir=arguments.data_dir, split="local") for name in classes]
    learned, held_out = [each.train for each in data], [held_out_of(each) for each in data]
    work, recogniser, parts = arguments.work, loaded.network.eval(), []
    for number in range(arguments.rounds):
        rows = range(number * arguments.per_round, (number + 1) * arguments.per_round)
        path = work / f"round_{arguments.per_round}_{number}.pt"
        parts.append(cached(path, partial(training_clips, learned, rows, recogniser, 0)))
    if arguments.only_clips:
        return {}
    settings = Settings(arguments.epochs)
    network = train(settings, parts, len(classes), work / "state.pt")
    last_only = train(Settings(arguments.epochs, frames=1), parts, len(classes), work / "last_only.pt")
    halves = {"validation": (max(1, arguments.held_out // 3), 0), "test": (arguments.held_out, 1)}
    chosen_by, tests = ([cached(work / f"{name}_{most}_{share}.pt",
                                partial(held_out_clips, held_out, share, recogniser, most, half)) for share in SHARES]
                        for name, (most, half) in halves.items())  # fmt: skip
    figures = {str(share): measured(network, last_only, clips) for share, clips in zip(SHARES, tests, strict=True)}
    conditions = asdict(settings) | {
        "temperature": temperature_of(network, chosen_by),
        "clips": CLIP_FORM, "drawings": sum(len(part.labels) for part in parts), "split": "local",
        "held_out": figures, "data": ATTRIBUTION,
    }  # fmt: skip
    save_video_network(arguments.out, network, classes, loaded, conditions)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return figures


if __name__ == "__main__":
    run_script(main, "fewer --rounds")
