"""The sketch feature network: a small residual CNN that names drawings, and whose features score them; and its file.

Input is the 64x64 grey picture of `rendering.feature_rasters` (0 = ink, 255 = paper). The 256 numbers
before the classifier are the features that `metrics.py` compares; the classifier gives recognisability.
The second judge, `scoring/stroke_recogniser.py`, is kept in files of the same form.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plumbing.tensor_files import read_header, write_tensors
from rendering import FEATURE_RENDERING, feature_rasters
from scoring.stroke_recogniser import STROKE_FORM, StrokeRecogniser, StrokeRecogniserConfig, stroke_arrays

Drawing = Sequence[NDArray[Any]]

SIDE = 64
"""Width and height of the pictures, in pixels."""


@dataclass(frozen=True)
class FeatureNetworkConfig:
    """Sizes of the network: channels of the stem and of the three residual blocks, and number of classes."""

    widths: tuple[int, int, int, int] = (32, 64, 112, 256)
    num_classes: int = 345
    dropout: float = 0.1


class _ResidualBlock(nn.Module):
    """Halve the picture and change its channels: two 3x3 convolutions beside a shortcut (He et al. 2016)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2), nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, H, H) to (B, C_out, H/2, H/2)."""
        return torch.relu(self.residual(x) + self.shortcut(x))


class SketchFeatureNetwork(nn.Module):
    """Classify 64x64 pictures of drawings; the pooled last feature map is the picture's feature vector."""

    def __init__(self, config: FeatureNetworkConfig) -> None:
        """Build the network that `config` describes, with fresh weights."""
        super().__init__()
        self.config = config
        stem, *widths = config.widths
        self.stem = nn.Sequential(
            nn.Conv2d(1, stem, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(stem), nn.ReLU()
        )
        pairs = zip((stem, *widths), widths, strict=False)
        self.blocks = nn.Sequential(*(_ResidualBlock(c_in, c_out) for c_in, c_out in pairs))
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(widths[-1], config.num_classes)

    def features(self, pictures: Tensor) -> Tensor:
        """Return the features (B, D) float32 of pictures (B, 64, 64), uint8 or float, from 0 ink to 255."""
        if pictures.ndim != 3 or pictures.shape[1:] != (SIDE, SIDE):
            raise ValueError(f"pictures must be (B, {SIDE}, {SIDE}), got {tuple(pictures.shape)}")
        ink = (1 - pictures.float() / 255).unsqueeze(1)  # (B, 1, 64, 64), mostly zeros
        ink = ink.contiguous(memory_format=torch.channels_last)
        maps: Tensor = self.blocks(self.stem(ink))  # (B, D, 4, 4)
        return maps.float().mean(dim=(2, 3))  # (B, D)

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits (B, num_classes) float32 of features (B, D)."""
        logits: Tensor = self.classifier(self.dropout(features))
        return logits.float()

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the logits (B, num_classes) float32 of pictures (B, 64, 64)."""
        return self.classify(self.features(pictures))


Network = SketchFeatureNetwork | StrokeRecogniser


@dataclass(frozen=True)
class Kind:
    """One of the two kinds of network: the format of its file, its settings, its class, how drawings become its input.

    `form` says the last in words.
    """

    format: str
    settings: Any
    network: Any
    inputs_of: Callable[[Sequence[Drawing]], NDArray[np.uint8]]
    form: str


KINDS = {
    "pictures": Kind(
        "sketch-features-1", FeatureNetworkConfig, SketchFeatureNetwork, feature_rasters, FEATURE_RENDERING
    ),
    "strokes": Kind("stroke-recogniser-1", StrokeRecogniserConfig, StrokeRecogniser, stroke_arrays, STROKE_FORM),
}


def kind_of(network: Network) -> Kind:
    """Return which of KINDS a network is."""
    return next(kind for kind in KINDS.values() if isinstance(network, kind.network))


@torch.no_grad()
def describe_inputs(
    network: Network, inputs: NDArray[np.uint8], batch_size: int = 256
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return features (N, D) and logits (N, num_classes), float32, of what its kind reads of N drawings.

    Always computed in float32 and evaluation mode, so that no score depends on the batch or on autocast.
    """
    network.eval()
    device = next(network.parameters()).device
    features, logits = [], []
    for start in range(0, len(inputs), batch_size):
        batch = torch.from_numpy(np.ascontiguousarray(inputs[start : start + batch_size])).to(device)
        features.append(network.features(batch))
        logits.append(network.classify(features[-1]))
    if not features:
        empty = np.zeros((0, network.classifier.in_features), np.float32)
        return empty, np.zeros((0, network.classifier.out_features), np.float32)
    return torch.cat(features).cpu().numpy(), torch.cat(logits).cpu().numpy()


def tensor_hash(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 (64 hex digits) of names, types, shapes and bytes of `tensors`, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file; floating numbers must all be finite.

    Raises FileNotFoundError when there is no such file and ValueError when it is damaged.
    """
    header = read_header(Path(path))
    return header.tensors(), dict(header.words)


def save_feature_network(
    path: str | Path, network: Network, classes: list[str], conditions: Mapping[str, object]
) -> str:
    """Write the network to `path` and return its hash; matrices are kept in float16, vectors in float32.

    `conditions` (plain JSON: seed, epochs, accuracy, ...) travels in the file's metadata.
    """
    if len(classes) != network.config.num_classes:
        raise ValueError(f"{len(classes)} class names for {network.config.num_classes} classes")
    state = network.state_dict()
    tensors = {name: tensor.to(torch.float16) if tensor.ndim >= 2 else tensor for name, tensor in state.items()}
    sha256 = tensor_hash(tensors)
    header = {
        "format": kind_of(network).format,
        "config": asdict(network.config),
        "classes": classes,
        "conditions": dict(conditions),
        "sha256": sha256,
    }
    write_tensors(path, tensors, {key: json.dumps(value) for key, value in header.items()})
    return sha256


@dataclass(frozen=True)
class LoadedNetwork:
    """A feature network read from a file, with its class names, training conditions, hash and the file's name."""

    network: Network
    classes: list[str]
    conditions: dict[str, object]
    sha256: str
    file: str


def load_feature_network(path: str | Path) -> LoadedNetwork:
    """Read a network that `save_feature_network` wrote, in float32 and evaluation mode.

    Raises FileNotFoundError, or ValueError with one line when the file is damaged, is of another kind, was
    changed after it was written, or holds tensors of other shapes than its configuration declares.
    """
    tensors, metadata = read_safetensors(path)
    try:
        header = {key: json.loads(metadata[key]) for key in ("format", "config", "classes", "conditions", "sha256")}
        kind = next((kind for kind in KINDS.values() if kind.format == header["format"]), None)
        if kind is None:
            raise ValueError(f"format {header['format']!r}")
        if not isinstance(header["conditions"], dict) or not all(isinstance(name, str) for name in header["classes"]):
            raise ValueError("conditions or class names of another form")
        config = kind.settings(**{k: tuple(v) if isinstance(v, list) else v for k, v in header["config"].items()})
        with torch.device("meta"):
            network = kind.network(config)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # of JSON, settings, shapes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: not a sketch feature network ({reason:.150})") from None
    if len(header["classes"]) != config.num_classes:
        raise ValueError(f"{path}: {len(header['classes'])} class names for {config.num_classes} classes")
    if tensor_hash(tensors) != header["sha256"]:
        raise ValueError(f"{path}: the tensors do not match the sha256 written beside them")
    whole = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    try:
        network.load_state_dict(whole, assign=True)
    except RuntimeError as error:  # one line a tensor
        raise ValueError(
            f"{path}: its tensors are not those of its config ({str(error).splitlines()[1].strip()})"
        ) from None
    return LoadedNetwork(network.eval(), header["classes"], header["conditions"], header["sha256"], Path(path).name)
