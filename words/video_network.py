"""The reader of videos: a small transformer with divided space-time attention over a clip, and its weights file.

As in TimeSformer (Bertasius et al. 2021, arXiv:2102.05095) each layer attends first over time, from a patch to the same
patch of the frames before, then over space, from a patch to the others of its frame. What is in a patch is told by the
convolutions of the shipped picture recogniser, which stay as they are, and by the ink that is new in it. The answer is
the recogniser's own answer to the frame, corrected by what the transformer makes of how the frame came about. A frame
sees none that comes later, so that there is an answer after each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, scaled_dot_product_attention

from plumbing.tensor_files import read_header, write_tensors
from scoring.feature_network import LoadedNetwork
from words.clips import NUM_FRAMES

FORMAT = "video-reader-1"
MAP_SIDE = 4
"""Width and height of the recogniser's last map of a frame."""
INK_SIDE = 32
"""Width and height in px at which the network sees what ink is new."""


@dataclass(frozen=True)
class VideoNetworkConfig:
    """Sizes of the network: frames, patches along a side, width, layers, heads; number of classes."""

    frames: int = NUM_FRAMES
    patches: int = 2
    width: int = 128
    layers: int = 2
    heads: int = 4
    num_classes: int = 345
    dropout: float = 0.1


class _Attention(nn.Module):
    """Multi-head attention over the last but one axis, with the norm before it (Vaswani et al. 2017)."""

    def __init__(self, config: VideoNetworkConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm = nn.LayerNorm(config.width)
        self.qkv, self.out = nn.Linear(config.width, 3 * config.width), nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        """Map (N, L, W) to (N, L, W)."""
        q, k, v = self.qkv(self.norm(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        result: Tensor = self.out(scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2))
        return result


class _Layer(nn.Module):
    """Attention over time, attention over space, and an MLP, each added to what was there."""

    def __init__(self, config: VideoNetworkConfig) -> None:
        super().__init__()
        width = config.width
        self.time, self.space = _Attention(config), _Attention(config)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(),
                                 nn.Linear(2 * width, width), nn.Dropout(config.dropout))  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Map patches in time (B, T, S, W) to (B, T, S, W)."""
        batch, frames, patches, _ = x.shape
        by_patch = self.time(x.transpose(1, 2).flatten(0, 1), causal=True)
        x = x + by_patch.unflatten(0, (batch, patches)).transpose(1, 2)
        x = x + self.space(x.flatten(0, 1), causal=False).unflatten(0, (batch, frames))
        result: Tensor = x + self.mlp(x)
        return result


class VideoNetwork(nn.Module):
    """Name what is drawn in a clip, after each of its frames."""

    def __init__(self, config: VideoNetworkConfig) -> None:
        """Build the network that `config` describes, with fresh weights."""
        super().__init__()
        self.config = config
        cells = (MAP_SIDE // config.patches) ** 2
        self.of_map = nn.Linear(256 * cells, config.width)
        self.of_ink = nn.Linear((INK_SIDE // config.patches) ** 2, config.width, bias=False)
        self.place = nn.Parameter(0.02 * torch.randn(config.frames, config.patches**2, config.width))
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList([_Layer(config) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(config.width)
        self.classifier = nn.Linear(config.width, config.num_classes)
        self.trust = nn.Parameter(torch.ones(()))  # in the recogniser's own answer

    def forward(self, maps: Tensor, new_ink: Tensor, own: Tensor) -> Tensor:
        """Return the logits (B, T, num_classes) of maps (B, T, 4, 4, 256), new ink (B, T, 32, 32), own logits."""
        side = self.config.patches
        patches = maps.unflatten(3, (side, -1)).unflatten(2, (side, -1)).transpose(3, 4).flatten(4).flatten(2, 3)
        ink = new_ink.unflatten(3, (side, -1)).unflatten(2, (side, -1)).transpose(3, 4).flatten(4).flatten(2, 3)
        x = self.dropout(self.of_map(patches) + self.of_ink(ink) + self.place[-maps.shape[1] :])
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.classifier(self.norm(x).mean(dim=2)) + self.trust * own
        return logits.float()


@torch.no_grad()
def described(recogniser: Any, frames: NDArray[np.uint8]) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the network reads of clips (B, T, 64, 64): maps (B, T, 4, 4, 256), new ink, the recogniser's logits.

    `recogniser` is the picture recogniser of scoring/feature_network.py, in evaluation mode.
    """
    pictures = torch.from_numpy(np.ascontiguousarray(frames))
    ink = 1 - pictures.float() / 255  # (B, T, 64, 64)
    flat = ink.flatten(0, 1).unsqueeze(1).contiguous(memory_format=torch.channels_last)
    maps = recogniser.blocks(recogniser.stem(flat)).permute(0, 2, 3, 1)  # (B T, 4, 4, 256)
    own = recogniser.classifier(maps.mean(dim=(1, 2)))
    before = torch.cat([torch.zeros_like(ink[:, :1]), ink[:, :-1]], dim=1)
    new = avg_pool2d((ink - before).clamp(min=0), ink.shape[-1] // INK_SIDE)
    return maps.unflatten(0, ink.shape[:2]), new, own.unflatten(0, ink.shape[:2])


@dataclass(frozen=True)
class LoadedVideoNetwork:
    """A network read from a file, its class names, and the conditions under which it was made."""

    network: VideoNetwork
    classes: list[str]
    conditions: dict[str, Any]
    temperature: float = 1.0
    """What logits are divided by, so that of answers given with 60 % six in ten are right."""


def save_video_network(
    path: Path, network: VideoNetwork, classes: list[str], recogniser: LoadedNetwork, conditions: Mapping[str, Any]
) -> None:
    """Write a network in float16, with what made it, and which recogniser's convolutions it reads."""
    tensors = {name: tensor.half() for name, tensor in network.state_dict().items()}
    header = {"format": FORMAT, "config": asdict(network.config), "classes": classes,
              "recogniser_sha256": recogniser.sha256, "conditions": dict(conditions)}  # fmt: skip
    write_tensors(path, tensors, {key: json.dumps(value) for key, value in header.items()})


def load_video_network(path: Path, recogniser: LoadedNetwork) -> LoadedVideoNetwork:
    """Read a network that ``save_video_network`` wrote, in float32 and evaluation mode.

    Raises FileNotFoundError, or ValueError where the file is damaged, of another kind, or made for another recogniser.
    """
    header = read_header(path, "weights of the reader of videos")
    if header.words.get("format") != json.dumps(FORMAT):
        raise ValueError(f"{path}: not the weights of a reader of videos")
    if header.value("recogniser_sha256") != recogniser.sha256:
        raise ValueError(f"{path}: was made for another picture recogniser than {recogniser.file}")
    try:
        network = VideoNetwork(VideoNetworkConfig(**header.value("config")))
        network.load_state_dict({name: tensor.float() for name, tensor in header.tensors().items()})
    except (TypeError, RuntimeError, ZeroDivisionError) as error:
        raise ValueError(f"{path}: its weights do not fit its own description ({error!s:.100})") from None
    conditions = dict(header.value("conditions"))
    classes = [str(name) for name in header.value("classes")]
    return LoadedVideoNetwork(network.eval(), classes, conditions, float(conditions["temperature"]))
