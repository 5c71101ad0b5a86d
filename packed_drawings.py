"""Packed drawings: thousands of drawings as four flat numpy arrays, in memory and in a file.

A drawing is a list of strokes, a stroke an array (n, 2) of (x, y), y down, whole numbers 0..255.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.uint8]
Drawing = list[Points]
Offsets = npt.NDArray[np.int64]

MAX_COORDINATE = 255
LOCAL_TEST_PERCENT = 15
ARRAYS = ("points", "stroke_offsets", "drawing_offsets", "lines")
# type and number of dimensions of what a file holds
FORMS = {**dict.fromkeys(ARRAYS, ("<i8", 1)), "points": ("|u1", 2), "conditions": ("<U", 0)}
# what numpy writes before an array; read by hand, because only these few forms are ever written here
NPY_HEADER = re.compile(
    rb"\{'descr': '(\|u1|<i8|<U[1-9]\d{0,7})', 'fortran_order': False, 'shape': \(((?:\d{1,15},? ?){0,2})\), \} *\n"
)


@dataclass(frozen=True)
class PackedDrawings:
    """Holds N drawings of S strokes and P points as four flat arrays."""

    points: Points  # (P, 2)
    stroke_offsets: Offsets  # (S + 1,), into points
    drawing_offsets: Offsets  # (N + 1,), into strokes
    lines: Offsets  # (N,), 0-based line number in the source file

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def num_strokes(self) -> Offsets:
        """Return the number of strokes of each drawing, int64 (N,)."""
        return np.diff(self.drawing_offsets)

    def __iter__(self) -> Iterator[Drawing]:
        """Yield the drawings in order."""
        return (self.drawing(index) for index in range(len(self)))

    def drawing(self, index: int) -> Drawing:
        """Return one drawing as a list of strokes, each a uint8 view (n, 2)."""
        if not 0 <= index < len(self):
            raise IndexError(f"drawing {index} of {len(self)}")
        ends = self.stroke_offsets[self.drawing_offsets[index] : self.drawing_offsets[index + 1] + 1]
        return [self.points[start:end] for start, end in pairwise(ends.tolist())]

    def select(self, indices: npt.ArrayLike) -> PackedDrawings:
        """Return the drawings at `indices` (k,) as k packed drawings, in that order and with repetitions."""
        chosen = np.asarray(indices, dtype=np.int64)
        strokes = _ranges(self.drawing_offsets, chosen)
        return PackedDrawings(
            self.points[_ranges(self.stroke_offsets, strokes)],
            _offsets(np.diff(self.stroke_offsets)[strokes]),
            _offsets(np.diff(self.drawing_offsets)[chosen]),
            self.lines[chosen],
        )

    @staticmethod
    def from_drawings(drawings: Iterable[Sequence[npt.ArrayLike]]) -> PackedDrawings:
        """Return drawings of whole coordinates 0..255 packed; their line numbers are their positions.

        Raises ValueError naming drawing, stroke and value for anything else.
        """
        checked = [
            [official_stroke(stroke, f"drawing {i}, stroke {j}") for j, stroke in enumerate(drawing)]
            for i, drawing in enumerate(drawings)
        ]
        strokes = [stroke for drawing in checked for stroke in drawing]
        return PackedDrawings(
            np.concatenate(strokes) if strokes else np.zeros((0, 2), dtype=np.uint8),
            _offsets([len(stroke) for stroke in strokes]),
            _offsets([len(drawing) for drawing in checked]),
            np.arange(len(checked), dtype=np.int64),
        )


def _offsets(lengths: npt.ArrayLike) -> Offsets:
    return np.concatenate(([0], np.cumsum(np.asarray(lengths, dtype=np.int64))))


def _ranges(offsets: Offsets, chosen: Offsets) -> Offsets:
    """Return offsets[i] .. offsets[i + 1] - 1 of all chosen i in one array."""
    lengths = offsets[chosen + 1] - offsets[chosen]
    packed = _offsets(lengths)
    return np.arange(packed[-1], dtype=np.int64) + np.repeat(offsets[chosen] - packed[:-1], lengths)


def official_stroke(stroke: npt.ArrayLike, where: str) -> Points:
    """Return a stroke as uint8 (n, 2), or raise ValueError if that would change it."""
    points = np.asarray(stroke)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or points.dtype.kind not in "iuf":
        raise ValueError(f"{where}: is {points.dtype} {points.shape}, must be numbers (n, 2) with n >= 1")
    # written so that NaN fails as well
    wrong = ~((points >= 0) & (points <= MAX_COORDINATE) & (points == np.floor(points)))
    if wrong.any():
        raise ValueError(f"{where}: holds {points[wrong][0]}, must be a whole number in 0..{MAX_COORDINATE}")
    return points.astype(np.uint8)


def local_test_mask(packed: PackedDrawings) -> npt.NDArray[np.bool_]:
    """Return which drawings the local split sets aside for testing, bool (N,), about 15 % of them.

    A drawing's side hangs on a hash of its strokes alone: not on the machine, the order of the file or its other
    drawings. Two equal drawings are never on two sides.
    """
    mask = np.zeros(len(packed), dtype=np.bool_)
    for index in range(len(packed)):
        content = b"".join(len(stroke).to_bytes(4, "little") + stroke.tobytes() for stroke in packed.drawing(index))
        digest = hashlib.sha256(content).digest()
        mask[index] = int.from_bytes(digest[:8], "little") % 100 < LOCAL_TEST_PERCENT
    return mask


def save_packed(file: IO[bytes], packed: PackedDrawings, conditions: str) -> None:
    """Write packed drawings and a line of text that says under which conditions they hold, as .npz."""
    np.savez(file, conditions=np.array(conditions), **{name: getattr(packed, name) for name in ARRAYS})


def load_packed(path: Path) -> tuple[PackedDrawings, str]:
    """Return what `save_packed` wrote.

    Raises ValueError, one line with the file, for anything damaged or not from there: it is checked before it is
    allocated (no compression, so nothing can be larger than the file), by zip's CRC, and for consistent offsets.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {name: _stored_array(archive, f"{name}.npy", path.stat().st_size) for name in FORMS}
        conditions = str(arrays.pop("conditions"))
        packed = PackedDrawings(**arrays)
        _require_consistent(packed)
    # RuntimeError: zip's answer to encryption and to methods it does not know; OSError: to offsets out of the file
    except (ValueError, KeyError, EOFError, MemoryError, OverflowError, RuntimeError, OSError, struct.error,
            zipfile.BadZipFile) as error:  # fmt: skip
        raise ValueError(f"{path}: damaged ({' '.join(str(error).split()):.200})") from None
    return packed, conditions


def _stored_array(archive: zipfile.ZipFile, name: str, limit: int) -> npt.NDArray[Any]:
    """Return an array of an archive of `limit` bytes; what its header declares is held against its size first."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError("holds compressed arrays")
    if (size := max(info.file_size, info.compress_size)) > limit:
        raise ValueError(f"{name} declares {size:,} bytes in a file of {limit:,}")
    content = archive.read(info)
    if content[:8] != b"\x93NUMPY\x01\x00" or not (header := NPY_HEADER.fullmatch(content, 10, _header_end(content))):
        raise ValueError(f"{name} is no array of drawings")
    kind, shape = header[1].decode(), tuple(int(size) for size in re.findall(rb"\d+", header[2]))
    form, dimensions = FORMS[name.removesuffix(".npy")]
    if not kind.startswith(form) or len(shape) != dimensions:
        raise ValueError(f"{name} is {kind} {shape}, must be {form} in {dimensions} dimensions")
    declared, there = math.prod(shape) * np.dtype(kind).itemsize, len(content) - header.end()
    if declared != there:
        raise ValueError(f"{name} declares {declared:,} bytes and has {there:,}")
    return np.frombuffer(content, dtype=kind, offset=header.end()).reshape(shape).copy()


def _header_end(content: bytes) -> int:
    return 10 + int.from_bytes(content[8:10], "little")


def _require_consistent(packed: PackedDrawings) -> None:
    """Raise ValueError unless every drawing has strokes, every stroke points, and the lines are in a file's order."""
    points, strokes, drawings, lines = (getattr(packed, name) for name in ARRAYS)
    if points.shape[1] != 2 or len(lines) != len(drawings) - 1:
        raise ValueError(f"points {points.shape}, {len(lines)} lines")
    for offsets, total in ((strokes, len(points)), (drawings, len(strokes) - 1)):
        if not len(offsets) or offsets[0] or offsets[-1] != total:
            raise ValueError(f"offsets do not end at {total}")
        if (offsets[1:] <= offsets[:-1]).any():
            raise ValueError("offsets do not rise")
    if (lines[:1] < 0).any() or (lines[1:] <= lines[:-1]).any():
        raise ValueError("lines do not rise")
