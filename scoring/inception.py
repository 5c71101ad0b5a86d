"""The Inception-v3 behind every published FID, as the TensorFlow graph of 2015-12-05 computes it, and its weights.

    load_inception("weights-inception-2015-12-05-6726825d.pth")

Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision" (arXiv:1512.00567), sections 5 and 6.
What differs from other ports of the network decides the digits: averages do not count padding, the last block takes
a maximum where the paper takes an average, BatchNorm has epsilon 0.001, and pixels enter as (x - 128) / 128.
The names of all parameters are those of the public weights. No weights come with this project.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from plumbing.tensor_files import check_is_file, read_header

INCEPTION_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
"""The file of torch-fidelity; pytorch-fid's pt_inception-2015-12-05-6726825d.pth holds the same tensors."""
SIDE = 299
"""Width and height of the pictures, in pixels."""
NUM_FEATURES = 2048

Convolutions = Sequence[tuple[int, int, int]]  # side by side, their channels stacked: channels out, height, width
Branch = Sequence[Convolutions]  # one after another


class _Convolution(nn.Module):
    """Convolve without bias, normalise, cut off below 0."""

    def __init__(self, channels_in: int, channels_out: int, kernel: tuple[int, int], stride: int, pad: bool) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if pad else (0, 0)
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels_out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H', W')."""
        return torch.relu_(self.bn(self.conv(x)))


class _Block(nn.Module):
    """Run branches of convolutions side by side and stack their channels, in the order in which they are given.

    A branch is named `<name>` where it is one convolution, else `<name>_1`, `<name>_2` ..., with a and b for two side
    by side. `branch_pool` convolves the pooled input. A block that halves the picture does so in the last convolution
    of each branch, and its last branch is a maximum alone.
    """

    def __init__(self, channels: int, branches: Mapping[str, Branch], pool: str = "average") -> None:
        super().__init__()
        self.pool = pool
        self.halves = "branch_pool" not in branches
        self.channels_out = channels if self.halves else 0
        self.branches: list[list[list[str]]] = []
        for branch_name, branch in branches.items():
            width, names = channels, []
            for number, step in enumerate(branch, start=1):
                last = self.halves and number == len(branch)
                name = branch_name if len(branch) == 1 else f"{branch_name}_{number}"
                names.append([name] if len(step) == 1 else [name + letter for letter in "ab"])
                for side, (channels_out, *kernel) in zip(names[-1], step, strict=True):
                    size = (kernel[0], kernel[1])
                    self.add_module(side, _Convolution(width, channels_out, size, 2 if last else 1, pad=not last))
                width = sum(channels_out for channels_out, *_ in step)
            self.branches.append(names)
            self.channels_out += width

    def _pooled(self, x: Tensor) -> Tensor:
        if self.halves:
            return functional.max_pool2d(x, 3, stride=2)
        if self.pool == "maximum":
            return functional.max_pool2d(x, 3, stride=1, padding=1)
        return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, channels_out, H, W), or half of H and W."""
        outputs = []
        for names in self.branches:
            y = self._pooled(x) if names[0] == ["branch_pool"] else x
            for step in names:
                sides = [self.get_submodule(name)(y) for name in step]
                y = sides[0] if len(sides) == 1 else torch.cat(sides, dim=1)
            outputs.append(y)
        return torch.cat([*outputs, self._pooled(x)] if self.halves else outputs, dim=1)


def _line(*convolutions: tuple[int, int, int]) -> Branch:
    return [[convolution] for convolution in convolutions]


def _block_35(channels: int, pooled: int) -> _Block:  # 35 x 35, figure 5 with one 5x5 left whole
    return _Block(channels, {
        "branch1x1": _line((64, 1, 1)),
        "branch5x5": _line((48, 1, 1), (64, 5, 5)),
        "branch3x3dbl": _line((64, 1, 1), (96, 3, 3), (96, 3, 3)),
        "branch_pool": _line((pooled, 1, 1)),
    })  # fmt: skip


def _block_17(narrow: int) -> _Block:  # 17 x 17, figure 6 with n = 7
    return _Block(768, {
        "branch1x1": _line((192, 1, 1)),
        "branch7x7": _line((narrow, 1, 1), (narrow, 1, 7), (192, 7, 1)),
        "branch7x7dbl": _line((narrow, 1, 1), (narrow, 7, 1), (narrow, 1, 7), (narrow, 7, 1), (192, 1, 7)),
        "branch_pool": _line((192, 1, 1)),
    })  # fmt: skip


def _block_8(channels: int, pool: str) -> _Block:  # 8 x 8, figure 7
    fork = [(384, 1, 3), (384, 3, 1)]
    return _Block(channels, {
        "branch1x1": _line((320, 1, 1)),
        "branch3x3": [*_line((384, 1, 1)), fork],
        "branch3x3dbl": [*_line((448, 1, 1), (384, 3, 3)), fork],
        "branch_pool": _line((192, 1, 1)),
    }, pool)  # fmt: skip


class InceptionV3(nn.Module):
    """Describe 299x299 RGB pictures by the 2,048 numbers that FID and KID compare."""

    def __init__(self) -> None:
        """Build the network with fresh weights, which measure nothing: see `load_inception`."""
        super().__init__()
        self.Conv2d_1a_3x3 = _Convolution(3, 32, (3, 3), stride=2, pad=False)
        self.Conv2d_2a_3x3 = _Convolution(32, 32, (3, 3), stride=1, pad=False)
        self.Conv2d_2b_3x3 = _Convolution(32, 64, (3, 3), stride=1, pad=True)
        self.Conv2d_3b_1x1 = _Convolution(64, 80, (1, 1), stride=1, pad=False)
        self.Conv2d_4a_3x3 = _Convolution(80, 192, (3, 3), stride=1, pad=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _block_35(192, 32), _block_35(256, 64), _block_35(288, 64)
        self.Mixed_6a = _Block(
            288, {"branch3x3": _line((384, 3, 3)), "branch3x3dbl": _line((64, 1, 1), (96, 3, 3), (96, 3, 3))}
        )
        self.Mixed_6b, self.Mixed_6c = _block_17(128), _block_17(160)
        self.Mixed_6d, self.Mixed_6e = _block_17(160), _block_17(192)
        self.Mixed_7a = _Block(768, {
            "branch3x3": _line((192, 1, 1), (320, 3, 3)),
            "branch7x7x3": _line((192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3)),
        })  # fmt: skip
        self.Mixed_7b, self.Mixed_7c = _block_8(1280, "average"), _block_8(2048, "maximum")

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the features (B, 2048) float32 of pictures (B, 3, 299, 299), floats 0 ... 255."""
        if pictures.ndim != 4 or pictures.shape[1:] != (3, SIDE, SIDE):
            raise ValueError(f"pictures must be (B, 3, {SIDE}, {SIDE}), got {tuple(pictures.shape)}")
        x = ((pictures.float() - 128) / 128).contiguous(memory_format=torch.channels_last)  # 1.6 times as fast on a CPU
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # (B, 64, 147, 147)
        x = functional.max_pool2d(x, 3, stride=2)  # (B, 64, 73, 73)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))  # (B, 192, 71, 71)
        x = functional.max_pool2d(x, 3, stride=2)  # (B, 192, 35, 35)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))  # (B, 288, 35, 35)
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))  # (B, 768, 17, 17)
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # (B, 2048, 8, 8)
        return x.mean(dim=(2, 3))


def load_inception(path: str | Path) -> InceptionV3:
    """Return the network with the weights of a state dict, .pth or .safetensors, in evaluation mode on the CPU.

    The classifier `fc` may be in the file and is left out. No code of a file is executed. Raises FileNotFoundError, or
    ValueError in one line for a file that is damaged, holds a program, or other tensors than the network's.
    """
    path = Path(path)
    state = read_header(path).tensors() if path.suffix == ".safetensors" else _read_state_dict(path)
    with torch.device("meta"):
        network = InceptionV3()
    # BatchNorm counts its batches in training only, and not every copy of the weights has the counters
    state = {name: tensor for name, tensor in state.items() if not str(name).endswith("num_batches_tracked")}
    counters = {name: torch.tensor(0) for name in network.state_dict() if name.endswith("num_batches_tracked")}
    # 1008 classes are TensorFlow's; the ImageNet weights of torchvision have the same names, 1000, and other features
    classifier = {"fc.weight": (1008, NUM_FEATURES), "fc.bias": (1008,)}
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items() if name not in counters}
    for name in sorted(wanted.keys() | state.keys(), key=str):
        expected, found = (wanted | classifier).get(name), tuple(getattr(state.get(name), "shape", ()))
        if found != expected:
            raise ValueError(
                f"{path}: {name!s:.60} has shape {found}, the FID's Inception-v3 has {expected or 'none'}; the file "
                f"wanted is {INCEPTION_WEIGHTS}, a state dict"
            )
    tensors = {name: state[name].detach().float() for name in wanted}
    if odd := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise ValueError(f"{path}: {odd[0]} holds NaN or infinity")
    network.load_state_dict(tensors | counters, assign=True)
    return network.eval().requires_grad_(False)


def _read_state_dict(path: Path) -> Mapping[Any, Any]:
    check_is_file(path, "file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a file of another kind is one error, without remarks on its pickling
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever a damaged file or a program (TorchScript) provokes
        raise ValueError(f"{path}: damaged, or not a state dict as {INCEPTION_WEIGHTS} is one") from error
    if not isinstance(state, Mapping):
        raise ValueError(f"{path}: holds a {type(state).__name__}, must be a state dict")
    return state
