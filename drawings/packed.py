"""Packed drawings: thousands of drawings as four flat numpy arrays, in memory and in a file.

A drawing is a list of strokes, a stroke an array (n, 2) of (x, y), y down, whole numbers 0..255. A file of them is read
into memory, or mapped: then the system brings in what is looked at, and takes it back where memory is short.
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
BLOCK_DRAWINGS = 1 << 13
"""Drawings copied or hashed at once: so many that numpy's calls cost little, so few that indices take little memory."""
BLOCK_OFFSETS = 1 << 20
"""Offsets of a file that are checked at once."""
HEADER_BYTES = 256
"""More than the header of any array that is written here takes."""
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

    def part(self, start: int, stop: int) -> PackedDrawings:
        """Return the drawings `start` ... `stop` - 1; of the points it is a view."""
        strokes = self.drawing_offsets[start : stop + 1]
        points = self.stroke_offsets[strokes[0] : strokes[-1] + 1]
        return PackedDrawings(
            self.points[points[0] : points[-1]], points - points[0], strokes - strokes[0], self.lines[start:stop]
        )

    def select(self, indices: npt.ArrayLike) -> PackedDrawings:
        """Return copies of the drawings at `indices` (k,) as k packed drawings, in that order and with repetitions."""
        chosen = np.asarray(indices, dtype=np.int64)
        starts = range(0, max(len(chosen), 1), BLOCK_DRAWINGS)
        return joined([self._copied(chosen[start : start + BLOCK_DRAWINGS]) for start in starts])

    def _copied(self, chosen: Offsets) -> PackedDrawings:
        """Return a selection, by indices that take 8 bytes a point."""
        strokes = ranges(self.drawing_offsets, chosen)
        return PackedDrawings(
            self.points[ranges(self.stroke_offsets, strokes)],
            running_sums(self.stroke_offsets[strokes + 1] - self.stroke_offsets[strokes]),
            running_sums(self.drawing_offsets[chosen + 1] - self.drawing_offsets[chosen]),
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
            running_sums([len(stroke) for stroke in strokes]),
            running_sums([len(drawing) for drawing in checked]),
            np.arange(len(checked), dtype=np.int64),
        )


def joined(parts: Sequence[PackedDrawings]) -> PackedDrawings:
    """Return the drawings of all parts, one or more, as packed drawings."""
    return PackedDrawings(
        np.concatenate([part.points for part in parts]),
        running_sums(np.concatenate([np.diff(part.stroke_offsets) for part in parts])),
        running_sums(np.concatenate([part.num_strokes for part in parts])),
        np.concatenate([part.lines for part in parts]),
    )


def running_sums(lengths: npt.ArrayLike) -> Offsets:
    """Return where each of k lengths begins when they lie end to end, and where the last one ends, int64 (k + 1,)."""
    return np.concatenate(([0], np.cumsum(np.asarray(lengths, dtype=np.int64))))


def ranges(offsets: Offsets, chosen: Offsets) -> Offsets:
    """Return offsets[i] .. offsets[i + 1] - 1 of all chosen i in one array."""
    lengths = offsets[chosen + 1] - offsets[chosen]
    packed = running_sums(lengths)
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
    digests = bytearray()
    for start in range(0, len(packed), BLOCK_DRAWINGS):
        for content in _contents(packed.part(start, min(start + BLOCK_DRAWINGS, len(packed)))):
            digests += hashlib.sha256(content).digest()[:8]
    return np.frombuffer(digests, dtype="<u8") % 100 < LOCAL_TEST_PERCENT


def _contents(packed: PackedDrawings) -> Iterator[memoryview]:
    """Yield what of each drawing is hashed: of every stroke the number of its points, 4 bytes, and the points."""
    starts = 4 * np.arange(len(packed.stroke_offsets), dtype=np.int64) + 2 * packed.stroke_offsets  # in bytes
    content: Any = np.empty(starts[-1], dtype=np.uint8)
    is_point = np.ones(len(content), dtype=np.bool_)
    number = starts[:-1, None] + np.arange(4)
    content[number] = np.diff(packed.stroke_offsets).astype("<u4")[:, None].view(np.uint8)
    is_point[number] = False
    content[is_point] = packed.points.ravel()
    view = memoryview(content)
    return (view[start:end] for start, end in pairwise(starts[packed.drawing_offsets].tolist()))


def local_sides(packed: PackedDrawings) -> tuple[PackedDrawings, PackedDrawings]:
    """Return the training and the test drawings of the local split, each in their order."""
    on_test = local_test_mask(packed)
    return packed.select(np.flatnonzero(~on_test)), packed.select(np.flatnonzero(on_test))


def save_packed(file: IO[bytes], sides: Sequence[PackedDrawings], conditions: str) -> None:
    """Write packed drawings, one or two sides of a split end to end, and a line of text with their conditions, as .npz.

    The offsets of each side begin with 0, and are nowhere else 0: so the sides are found again, and without a copy.
    """
    arrays: dict[str, Any] = {name: np.concatenate([getattr(side, name) for side in sides]) for name in ARRAYS}
    np.savez(file, conditions=np.array(conditions), **arrays)


def load_packed(path: Path, *, mapped: bool = False) -> tuple[list[PackedDrawings], str]:
    """Return the sides and the conditions that `save_packed` wrote.

    Raises ValueError, one line with the file, for anything damaged or not from there: it is checked before it is
    allocated (no compression, so nothing can be larger than the file), by zip's CRC, and for consistent offsets. What
    is `mapped` is not read, so that a coordinate or a line number that was changed is not noticed; offsets are.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = {name: _stored_member(archive, f"{name}.npy", path.stat().st_size) for name in FORMS}
            if mapped:
                whole = np.memmap(file, dtype=np.uint8, mode="r")  # once: it holds a file descriptor
                arrays = {name: _mapped_array(file, archive, member, whole) for name, member in members.items()}
            else:
                arrays = {name: _array_in(name, archive.read(member)).copy() for name, member in members.items()}
        conditions = str(arrays.pop("conditions"))
        sides = _sides_of(**arrays)
        for side in sides:
            _require_consistent(side)
    # RuntimeError: zip's answer to encryption and to methods it does not know; OSError: to offsets out of the file
    except (ValueError, KeyError, EOFError, MemoryError, OverflowError, RuntimeError, OSError, struct.error,
            zipfile.BadZipFile) as error:  # fmt: skip
        raise ValueError(f"{path}: damaged ({' '.join(str(error).split()):.200})") from None
    return sides, conditions


def _stored_member(archive: zipfile.ZipFile, name: str, limit: int) -> zipfile.ZipInfo:
    """Return what an archive of `limit` bytes says of a member, which lies there as it is and no larger than that."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError("holds compressed arrays")
    if (size := max(info.file_size, info.compress_size)) > limit:
        raise ValueError(f"{name} declares {size:,} bytes in a file of {limit:,}")
    return info


def _mapped_array(
    file: IO[bytes], archive: zipfile.ZipFile, member: zipfile.ZipInfo, whole: npt.NDArray[np.uint8]
) -> npt.NDArray[Any]:
    """Return an array of an archive as a view of the mapped file."""
    archive.open(member).close()  # compares what zip says in two places, and refuses encryption
    file.seek(member.header_offset + 26)
    start = member.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))
    return _array_in(member.filename.removesuffix(".npy"), whole[start : start + member.file_size])


def _array_in(name: str, content: bytes | npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """Return the array that `content` holds; what its header declares is held against its size first."""
    head = bytes(content[:HEADER_BYTES])
    if head[:8] != b"\x93NUMPY\x01\x00" or not (header := NPY_HEADER.fullmatch(head, 10, _header_end(head))):
        raise ValueError(f"{name}.npy is no array of drawings")
    kind, shape = header[1].decode(), tuple(int(size) for size in re.findall(rb"\d+", header[2]))
    form, dimensions = FORMS[name]
    if not kind.startswith(form) or len(shape) != dimensions:
        raise ValueError(f"{name}.npy is {kind} {shape}, must be {form} in {dimensions} dimensions")
    declared, there = math.prod(shape) * np.dtype(kind).itemsize, len(content) - header.end()
    if declared != there:
        raise ValueError(f"{name}.npy declares {declared:,} bytes and has {there:,}")
    return np.frombuffer(content, dtype=kind, offset=header.end()).reshape(shape)


def _header_end(content: bytes) -> int:
    return 10 + int.from_bytes(content[8:10], "little")


def _sides_of(
    points: Points, stroke_offsets: Offsets, drawing_offsets: Offsets, lines: Offsets
) -> list[PackedDrawings]:
    """Return the sides that lie end to end in four arrays, as views; how many there are the zeros among offsets say."""
    sides = []
    strokes, drawings = _pieces_from_zero(stroke_offsets), _pieces_from_zero(drawing_offsets)
    for in_strokes, in_drawings in zip(strokes, drawings, strict=True):
        num_points, num_drawings = int(in_strokes[-1]), len(in_drawings) - 1
        sides.append(PackedDrawings(points[:num_points], in_strokes, in_drawings, lines[:num_drawings]))
        points, lines = points[num_points:], lines[num_drawings:]
    if len(points) or len(lines):
        raise ValueError(f"{len(points)} points and {len(lines)} lines more than in drawings")
    return sides


def _pieces_from_zero(offsets: Offsets) -> list[Offsets]:
    """Return one or two arrays that begin with 0, which lie end to end in one."""
    blocks = range(0, len(offsets), BLOCK_OFFSETS)
    starts = np.concatenate([at + np.flatnonzero(offsets[at : at + BLOCK_OFFSETS] == 0) for at in blocks])
    if not 1 <= len(starts) <= 2 or starts[0]:
        raise ValueError(f"offsets begin {len(starts)} times")
    return np.split(offsets, starts[1:])


def _require_consistent(packed: PackedDrawings) -> None:
    """Raise ValueError unless every drawing has strokes, every stroke points, and the lines are in a file's order."""
    points, strokes, drawings, lines = (getattr(packed, name) for name in ARRAYS)
    if points.shape[1] != 2 or len(lines) != len(drawings) - 1:
        raise ValueError(f"points {points.shape}, {len(lines)} lines")
    for offsets, total in ((strokes, len(points)), (drawings, len(strokes) - 1)):
        if offsets[-1] != total:
            raise ValueError(f"offsets do not end at {total}")
        if not _rises(offsets):
            raise ValueError("offsets do not rise")
    if (lines[:1] < 0).any() or not _rises(lines):
        raise ValueError("lines do not rise")


def _rises(values: Offsets) -> bool:
    """Tell whether every value is above the one before it, in blocks: a file's values may be more than fit memory."""
    starts = range(0, len(values), BLOCK_OFFSETS)
    blocks = (values[start : start + BLOCK_OFFSETS + 1] for start in starts)
    return all((block[1:] > block[:-1]).all() for block in blocks)
