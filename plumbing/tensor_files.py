"""Files of tensors: safetensors, sealed with the sha256 of their content.

Such a file begins with names, types and shapes, and metadata as JSON. What is cut off, declares more than it brings, or
is not what was written is refused before a tensor is allocated. Nothing here reads a pickle.

A matrix can be stored in whole numbers of eight bits, q (R, C), beside one scale for each of its rows, s (R, 1): it is
read as q * s. That halves the file once more, for an error of about a hundredth of a row's deviation.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from plumbing.files import write_atomically

DIGEST = "content_sha256"
"""The key of the metadata under which a file says the sha256 of all the rest of it."""
SUMS = "SHA256SUMS"
TYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "I8": "int8"}
EIGHT_BIT, SCALE = TYPES["I8"], ".scale"
"""The type of tensors of eight bits, and what the name of their scales has behind theirs."""
SMALLEST_EIGHT_BIT = 16_384
"""Numbers of a matrix from which on eight bits pay: little ones hold few bytes, and much hangs on them."""


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself: metadata, shape and type of every tensor; and the file's sha256."""

    path: Path
    words: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    types: Mapping[str, str]
    sha256: str

    def value(self, key: str) -> Any:
        """Return what the JSON under `key` says, raising ValueError that names the file where there is none."""
        try:
            return json.loads(self.words[key])
        except (KeyError, ValueError, RecursionError) as error:
            raise ValueError(f"{self.path}: its header is damaged ({type(error).__name__}: {error!s:.130})") from None

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors, as the system maps them from the file; ValueError for numbers that are not finite.

        Those of eight bits come as float32.
        """
        with safe_open(self.path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in self.shapes}
            for name in (name for name, kind in self.types.items() if kind == EIGHT_BIT):
                tensors[name] = tensors[name].float() * file.get_tensor(name + SCALE)
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise ValueError(f"{self.path}: {name} holds NaN or infinity")
        return tensors


def check_is_file(path: Path, what: str) -> None:
    """Raise FileNotFoundError where nothing is at `path`, and ValueError where a folder is."""
    if path.is_dir():
        raise ValueError(f"{path}: is a folder, must be a file: {what}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such {what}")


def read_header(path: Path, what: str = "file") -> Header:
    """Return the header of a safetensors file, which `what` calls by its use, after one look at every byte of it.

    Raises FileNotFoundError, or ValueError for a file that is damaged, cut off or of another kind. A flipped bit of a
    number would pass for another number: so the content must have the sha256 that the file says, and the file the one
    that SHA256SUMS beside it says, which the shipped files rely on.
    """
    check_is_file(path, what)
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            types = {name: TYPES.get(part.get_dtype(), part.get_dtype()) for name, part in slices.items()}
            words = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: damaged, or not a safetensors file ({reason:.150})") from None
    for name in [name for name, kind in types.items() if kind == EIGHT_BIT]:
        found = shapes.pop(name + SCALE, None), types.pop(name + SCALE, None)
        if len(shapes[name]) != 2 or found != ((shapes[name][0], 1), "float32"):
            raise ValueError(f"{path}: {name} is int8 and lacks a float32 scale for each of its rows")
    content = path.read_bytes()
    if words.pop(DIGEST, None) not in (None, _content_sha256(content)):
        raise ValueError(f"{path}: damaged, its content does not have the sha256 in its header; get it again")
    whole = hashlib.sha256(content).hexdigest()
    sums = path.with_name(SUMS)
    lines = sums.read_text(errors="replace").splitlines() if sums.is_file() else []
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    if listed.get(path.name, whole) != whole:
        raise ValueError(f"{path}: damaged, or another file than {sums} says; get it again, or delete its line there")
    return Header(path, words, shapes, types, whole)


def _content_sha256(content: bytes) -> str:
    """Return the sha256 of a safetensors file as if its metadata did not hold it."""
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    words = {key: value for key, value in header.get("__metadata__", {}).items() if key != DIGEST}
    text = json.dumps(header | {"__metadata__": words}, sort_keys=True)
    return hashlib.sha256(text.encode() + content[begin:]).hexdigest()


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a sealed safetensors file, whole or not at all; the same tensors and metadata give the same bytes."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, sealed(save(plain, dict(metadata))))


def in_eight_bits(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return q, int8 (R, C), and scales s, float32 (R, 1), of a matrix (R, C), so that q * s is nearly the matrix.

    The largest number of a row becomes 127 or -127. Scales have 16 significant bits: so q * s is exact in float32, and
    a matrix that was stored so is stored in the same q and s again.
    """
    largest = weight.float().abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny * 2**16)
    scale = ((largest / 127).view(torch.int32) & ~0xFF).view(torch.float32)
    return (weight.float() / scale).round().clamp(-127, 127).to(torch.int8), scale


def eight_bit_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors to write where the larger matrices are in eight bits, their scales beside them."""
    result = dict(tensors)
    for name, tensor in tensors.items():
        if tensor.dim() == 2 and math.prod(tensor.shape) >= SMALLEST_EIGHT_BIT:
            result[name], result[name + SCALE] = in_eight_bits(tensor)
    return result


def sealed(content: bytes) -> bytes:
    """Return a safetensors file with the sha256 of its content in its metadata, which ``read_header`` holds it to."""
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    words = dict(sorted(header.pop("__metadata__", {}).items())) | {DIGEST: _content_sha256(content)}
    text = json.dumps({"__metadata__": words} | header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants tensors aligned
    return len(text).to_bytes(8, "little") + text + content[begin:]
