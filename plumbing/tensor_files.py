"""What files of tensors declare, read and checked without torch, which takes over a second to import.

    read_header(Path("checkpoints/cat.safetensors")).shapes

A safetensors file begins with names, types and shapes, and words in JSON. Opening it holds its length against them:
what is cut off, or declares more than it brings, is refused before anything is allocated. Nothing here reads a pickle.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TYPE_NAMES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
DIGEST = "content_sha256"
SUMS = "SHA256SUMS"
PICKLE_BEGINS = b"\x80"
INCEPTION_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
"""The file of torch-fidelity; pytorch-fid's pt_inception-2015-12-05-6726825d.pth holds the same tensors."""


@dataclass(frozen=True)
class Header:
    """The beginning of a safetensors file: its words, and the shape and type of every tensor."""

    path: Path
    words: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    types: Mapping[str, str]

    def value(self, key: str) -> Any:
        """Return what the JSON under `key` says, raising ValueError that names the file where there is none."""
        try:
            return json.loads(self.words[key])
        except (KeyError, ValueError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{self.path}: its header is damaged ({reason:.150})") from None


def _type_name(stored: str) -> str:
    return TYPE_NAMES.get(stored, stored)


def check_is_file(path: Path, what: str) -> None:
    """Raise FileNotFoundError where nothing is at `path`, and ValueError where a folder is."""
    if path.is_dir():
        raise ValueError(f"{path}: is a folder, must be a file: {what}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such {what}")


def read_header(path: Path, what: str = "file") -> Header:
    """Return the header of a safetensors file, which `what` calls by its use.

    Raises FileNotFoundError, or ValueError for a file that is damaged, cut off or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    check_is_file(path, what)
    try:
        with safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            types = {name: _type_name(str(part.get_dtype())) for name, part in slices.items()}
            words = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: damaged, or not a safetensors file ({reason:.150})") from None
    _check_digest(path, words)
    return Header(path, {key: text for key, text in words.items() if key != DIGEST}, shapes, types)


def sealed(content: bytes) -> bytes:
    """Return a safetensors file with the sha256 of its content among its words, which ``read_header`` holds it to.

    The same content always gives the same bytes.
    """
    header, body = _parted(content)
    words = dict(sorted(header.get("__metadata__", {}).items()))
    header = {name: header[name] for name in sorted(header, key=lambda name: name != "__metadata__")}
    header["__metadata__"] = words | {DIGEST: _digest(header, body)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants tensors aligned
    return len(text).to_bytes(8, "little") + text + body


def _parted(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header and the numbers of a safetensors file."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _digest(header: dict[str, Any], body: bytes) -> str:
    """Return the sha256 of a safetensors file, as if its words did not hold it."""
    words = {key: value for key, value in header.get("__metadata__", {}).items() if key != DIGEST}
    digest = hashlib.sha256(json.dumps(header | {"__metadata__": words}, sort_keys=True).encode())
    digest.update(body)
    return digest.hexdigest()


def _check_digest(path: Path, words: Mapping[str, str]) -> None:
    """Raise ValueError where a file is not what was written: a flipped byte of a number would pass for another number.

    Files from before they were sealed, the shipped ones among them, are looked up in SHA256SUMS beside them.
    """
    if DIGEST in words:
        if _digest(*_parted(path.read_bytes())) != words[DIGEST]:
            raise ValueError(f"{path}: damaged, its content has not the sha256 that its header says; get it anew")
        return
    sums = path.with_name(SUMS)
    lines = sums.read_text(errors="replace").splitlines() if sums.is_file() else []
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    if path.name in listed and sha256_of(path) != listed[path.name]:
        raise ValueError(f"{path}: damaged, or another file than {sums} says; get it anew, or delete its line there")


def check_tensor_file(path: Path) -> None:
    """Refuse what cannot be a file of tensors: `.safetensors` by its header, anything else as `torch.save` writes it.

    A zip file must hold no program, and must not unpack to more than its own size. Raises FileNotFoundError, or
    ValueError that names the file and what is wrong with it.
    """
    if path.suffix == ".safetensors":
        read_header(path)
        return
    check_is_file(path, "file")
    if zipfile.is_zipfile(path):
        _check_archive(path)
        return
    with open(path, "rb") as file:
        if file.read(1) != PICKLE_BEGINS:
            raise ValueError(f"{path}: damaged, or not a state dict of torch.save")


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (ValueError, OSError, NotImplementedError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: damaged ({error})") from None
    if any("/code/" in member.filename or member.filename.endswith("/constants.pkl") for member in members):
        raise ValueError(
            f"{path}: holds a program (TorchScript), which is not loaded; give the state dict {INCEPTION_WEIGHTS} of "
            "torch-fidelity, or leave the flag out and install clean-fid, which loads its own"
        )
    if packed := [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]:
        raise ValueError(f"{path}: {packed[0]} is compressed, which torch.save never does; it is not unpacked")
    declared, size = sum(member.file_size for member in members), path.stat().st_size
    if declared > size:
        raise ValueError(f"{path}: its members declare {declared:,} bytes, the file has {size:,}")


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
