"""Packed drawings: thousands of drawings as four flat numpy arrays, in memory and in a folder of .npy files.

A drawing is a list of strokes, a stroke an array (n, 2) of (x, y), y down, whole numbers 0..255. A folder of them is
not read but mapped: the system brings in what is looked at, and takes it back where memory is short.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from plumbing.files import atomic_folder

if TYPE_CHECKING:  # it brings torch, which reading drawings does without
    from plumbing.processes import Group

Points = npt.NDArray[np.uint8]
Drawing = list[Points]
Offsets = npt.NDArray[np.int64]

MAX_COORDINATE = 255
# A drawing beyond these is cut and counted. The longest of 145,411 real ones has 138 strokes and 766 points.
MAX_STROKES = 2_000
MAX_POINTS = 20_000
LOCAL_TEST_PERCENT = 15
PACKED_VERSION = 2
"""Raised whenever the same ndjson file would come out as other arrays: older caches and folders are then made again."""
POINTS_FILE, OFFSETS_FILE, METADATA_FILE = PACKED_FILES = "points.npy", "offsets.npy", "metadata.json"


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
        """Return copies of the drawings at `indices` (k,) as k packed drawings, in that order and with repetitions."""
        chosen = np.asarray(indices, dtype=np.int64)
        strokes = ranges(self.drawing_offsets, chosen)
        return PackedDrawings(
            self.points[ranges(self.stroke_offsets, strokes)],
            running_sums(self.stroke_offsets[strokes + 1] - self.stroke_offsets[strokes]),
            running_sums(self.num_strokes[chosen]),
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


def spread_rows(count: int, most: int) -> Offsets:
    """Return the numbers of at most so many of `count` things, spread evenly from the first to the last."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(np.int64))


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


def drawing_hashes(packed: PackedDrawings) -> npt.NDArray[np.uint64]:
    """Return a hash of each drawing's strokes, uint64 (N,).

    It hangs on the strokes alone: not on the machine, the order of the file or its other drawings.
    """
    digests = bytearray()
    for drawing in packed:
        content = b"".join([len(stroke).to_bytes(4, "little") + stroke.tobytes() for stroke in drawing])
        digests += hashlib.sha256(content).digest()[:8]
    return np.frombuffer(digests, dtype="<u8")


def local_test_mask(packed: PackedDrawings) -> npt.NDArray[np.bool_]:
    """Return which drawings the local split sets aside for testing, bool (N,), about 15 % of them.

    A drawing's side hangs on ``drawing_hashes``: two equal drawings are never on two sides.
    """
    return drawing_hashes(packed) % 100 < LOCAL_TEST_PERCENT


def local_sides(packed: PackedDrawings) -> tuple[PackedDrawings, PackedDrawings]:
    """Return the training and the test drawings of the local split, each in their order.

    Where chance puts all of a handful aside for testing, all are for training.
    """
    on_test = local_test_mask(packed)
    on_test &= not on_test.all()
    return packed.select(np.flatnonzero(~on_test)), packed.select(np.flatnonzero(on_test))


@dataclass(frozen=True)
class LoadCounts:
    """Counts what a reader kept, left out and cut; every line it was asked for is a drawing or in one of these."""

    drawings: int = 0
    raw_drawings: int = 0  # of the drawings kept, how many were simplified on the way in
    blank_lines: int = 0
    empty_drawings: int = 0
    empty_strokes: int = 0
    unrecognized: int = 0
    unknown_recognition: int = 0
    cut_drawings: int = 0
    fitted_drawings: int = 0  # of the drawings kept, how many were in other coordinates, and simplified on the way in

    def describe(self) -> str:
        """Return the counts that are not zero, in words."""
        named = [(name.replace("_", " "), count) for name, count in dataclasses.asdict(self).items()]
        return ", ".join(f"{count} {name}" for name, count in named if count or name == "drawings")

    def describe_losses(self) -> str:
        """Return what was left out or cut, in words; empty if every line is a drawing as it was given."""
        losses = dataclasses.replace(self, drawings=0, raw_drawings=0, fitted_drawings=0).describe()
        return losses.removeprefix("0 drawings").removeprefix(", ")


@dataclass(frozen=True)
class PackedCategory:
    """Holds all drawings of one ndjson file and what has to be known of that file.

    Its sides are those of the local split; the official split finds its lines in both.
    """

    train: PackedDrawings
    test: PackedDrawings
    counts: LoadCounts
    source: str  # git blob id of the file
    num_lines: int
    recognized_only: bool


def drawings_at(packed: PackedCategory, lines: Sequence[int]) -> PackedDrawings:
    """Return copies of the drawings at some lines of the file, in that order and with repetitions.

    A line that no side has holds no drawing to use, and is left out.
    """
    wanted, both = np.asarray(lines, dtype=np.int64), joined((packed.train, packed.test))
    order = np.argsort(both.lines)
    row = np.searchsorted(both.lines, wanted, sorter=order)
    is_there = row < len(both)
    is_there[is_there] = both.lines[order[row[is_there]]] == wanted[is_there]
    return both.select(order[row[is_there]])


def save_packed(folder: Path, packed: PackedCategory) -> None:
    """Write a category into a folder, whole, in place of what an earlier call wrote there.

    `points.npy` holds the points of both sides, `offsets.npy` of each side stroke_offsets, drawing_offsets and lines,
    end to end, and `metadata.json` how many there are of each, and all else. Two arrays, since each that is mapped
    keeps a file open, and the 345 categories of the dataset are mapped at once.

    Raises ValueError where the folder holds anything else, and OSError as `atomic_folder` does.
    """
    if folder.exists() and not (folder.is_dir() and {path.name for path in folder.iterdir()} <= set(PACKED_FILES)):
        raise ValueError(f"{folder}: is there already and holds other things than packed drawings; move it away first")
    sides = (packed.train, packed.test)
    points = np.concatenate([side.points for side in sides])
    offsets = np.concatenate([part for side in sides for part in _offsets_of(side)])
    facts = {
        "version": PACKED_VERSION,
        "source": packed.source,
        "num_lines": packed.num_lines,
        "recognized_only": packed.recognized_only,
        "counts": dataclasses.asdict(packed.counts),
        "sizes": [[len(part) for part in (side.points, *_offsets_of(side))] for side in sides],
        "crc32": [zlib.crc32(array.data) for array in (points, offsets)],
    }
    with atomic_folder(folder) as place:
        np.save(place / POINTS_FILE, points)
        np.save(place / OFFSETS_FILE, offsets)
        (place / METADATA_FILE).write_text(json.dumps([facts, _checksum(facts)], indent=1) + "\n", encoding="utf-8")


def load_packed(folder: Path, *, whole: bool = False) -> PackedCategory:
    """Return what `save_packed` wrote, the drawings mapped into memory.

    Raises ValueError, one line with the folder, for anything damaged, of another version or not from there: the
    checksums of metadata and offsets and the arrays' types and shapes are checked. A changed coordinate is noticed only
    where the `whole` of it is read, which takes half a second a gigabyte.
    """
    try:
        facts, checksum = json.loads((folder / METADATA_FILE).read_bytes())
        if checksum != _checksum(facts):
            raise ValueError(f"{METADATA_FILE} was changed")
        if facts["version"] != PACKED_VERSION:
            raise ValueError(f"version {facts['version']}, this program has {PACKED_VERSION}")
        sizes = np.array(facts["sizes"])
        points = _mapped(folder / POINTS_FILE, np.uint8, (sizes[:, 0].sum(), 2))
        offsets = _mapped(folder / OFFSETS_FILE, np.int64, (sizes[:, 1:].sum(),))
        checked = {0: points, 1: offsets} if whole else {1: offsets}
        if any(facts["crc32"][number] != zlib.crc32(array.data) for number, array in checked.items()):
            raise ValueError("its content was changed")
        parts = np.split(offsets, np.cumsum(sizes[:, 1:])[:-1])
        train = PackedDrawings(points[: sizes[0, 0]], *parts[:3])
        test = PackedDrawings(points[sizes[0, 0] :], *parts[3:])
        counts = LoadCounts(**facts["counts"])
        return PackedCategory(train, test, counts, facts["source"], facts["num_lines"], facts["recognized_only"])
    except Exception as error:  # numpy and json raise a dozen kinds for what they did not write
        reason = " ".join((str(error) or type(error).__name__).split())
        raise ValueError(f"{folder}: no packed drawings that can be used ({reason:.200})") from None


def _offsets_of(side: PackedDrawings) -> tuple[Offsets, Offsets, Offsets]:
    return side.stroke_offsets, side.drawing_offsets, side.lines


def _checksum(facts: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(facts, sort_keys=True).encode())


def _mapped(path: Path, kind: type[np.generic], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return the array of a .npy file as a view of the mapped file; it has this form and the file no byte more."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if type(array) is not np.memmap or array.dtype != kind or array.shape != shape or not array.flags.c_contiguous:
        raise ValueError(f"{path.name} holds no {np.dtype(kind)} {shape}")
    if (size := path.stat().st_size) != array.offset + array.nbytes:
        raise ValueError(f"{path.name} has {size:,} bytes, must have {array.offset + array.nbytes:,}")
    return np.asarray(array)


def everyones_drawings(own: list[Drawing], group: Group) -> list[Drawing]:
    """Return the drawings of all processes, in the official form, in the order of the processes."""
    if group.size == 1:
        return own
    packed = PackedDrawings.from_drawings(own)
    points, strokes, lengths = (
        group.concatenated(part) for part in (packed.points, np.diff(packed.stroke_offsets), packed.num_strokes)
    )
    of_strokes, of_drawings = (np.concatenate([[0], np.cumsum(sizes)]) for sizes in (strokes, lengths))
    return list(PackedDrawings(points, of_strokes, of_drawings, np.arange(len(lengths))))
