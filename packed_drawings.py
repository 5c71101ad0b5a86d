"""Packed drawings: thousands of drawings as four flat numpy arrays, in memory and in a file.

A drawing is a list of strokes, a stroke an array (n, 2) of (x, y), y down, whole numbers 0..255.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.uint8]
Drawing = list[Points]
Offsets = npt.NDArray[np.int64]

MAX_COORDINATE = 255
LOCAL_TEST_PERCENT = 15
ARRAYS = ("points", "stroke_offsets", "drawing_offsets", "lines")


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
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("holds compressed arrays")
        with np.load(path, allow_pickle=False) as arrays:
            conditions = str(arrays["conditions"])
            packed = PackedDrawings(*(arrays[name] for name in ARRAYS))
    except (ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise ValueError(f"{path}: damaged ({error})") from None
    points, strokes, drawings, lines = (getattr(packed, name) for name in ARRAYS)
    if points.dtype != np.uint8 or points.ndim != 2 or points.shape[1] != 2 or len(lines) != len(drawings) - 1:
        raise ValueError(f"{path}: damaged (points {points.dtype} {points.shape}, {len(lines)} lines)")
    for offsets, total in ((strokes, len(points)), (drawings, len(strokes) - 1)):
        if offsets.dtype != np.int64 or offsets.ndim != 1 or not len(offsets) or offsets[0] or offsets[-1] != total:
            raise ValueError(f"{path}: damaged (offsets do not end at {total})")
        if (np.diff(offsets) < 0).any():
            raise ValueError(f"{path}: damaged (offsets run backwards)")
    return packed, conditions
