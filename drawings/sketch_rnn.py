"""Sketch-RNN's forms: drawings as offsets and pen (stroke-3, stroke-5) in .npy and .npz files.

A row of stroke-3 is (dx, dy, pen), of stroke-5 (dx, dy, down, up, end): the way to the next point, and whether a stroke
ends there. The first point is the origin and has no row (Ha and Eck 2017, arXiv:1704.03477, sec. 3.1), so that a
drawing's place is not in this form. Some writers give the first point a row of its own, its place in the square.

The published archives hold arrays of arrays, which numpy stores as pickles. A pickle is a program; here it is not run
but read: `pickletools` names its instructions, those that numpy writes for arrays of numbers build plain lists and
bytes, and at the first other one the file is refused.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Stroke = npt.NDArray[np.float64]
Rows = npt.NDArray[Any]

MAX_BYTES = 2 << 30  # of an unpacked file
SIDES = ("train", "valid", "test")
MAX_SHORT = 32_767  # the published archives are of int16
DATASET_SIDES = 206, 255  # pixels of the longest side of 145,411 simplified drawings


# ------------------------------------------------------------------ offsets


def are_offsets(rows: Rows) -> bool:
    """Tell whether numbers (n, m) can be stroke-3 or stroke-5: pens are 0 or 1, and of stroke-5 one of three is 1."""
    if not len(rows) or rows.shape[1] not in (3, 5):
        return False
    pens = rows[:, 2:]
    return bool(np.isin(pens, (0, 1)).all() and (rows.shape[1] == 3 or (pens.sum(axis=1) == 1).all()))


def drawings_of_offsets(arrays: Sequence[Rows]) -> list[list[Stroke]]:
    """Return the strokes of each of several drawings, as ``strokes_of_offsets`` does.

    Where all drawings are in the corner of their square by their rows alone, the first points have rows.
    """
    absolute = len(arrays) > 1 and not any(np.cumsum(rows[:, :2], axis=0).min(axis=0).any() for rows in arrays)
    return [strokes_of_offsets(rows, absolute) for rows in arrays]


def strokes_of_offsets(rows: Rows, absolute: bool = False) -> list[Stroke]:
    """Return the strokes, float64 (n, 2), of offsets (n, 3) or (n, 5), of which stroke-5 tells its end.

    They begin at the origin, unless the first row is the `absolute` place of the first point. Drawings of the size of
    the dataset's are aligned to the top left, as the dataset's are.
    """
    rows = np.asarray(rows, dtype=np.float64)
    if rows.shape[1] == 5:
        rows = rows[: np.argmax(np.append(rows[:, 4], 1.0) == 1)]
    if not len(rows):
        return []
    pens = rows[:, 2] if rows.shape[1] == 3 else rows[:, 3]
    points = np.cumsum(rows[:, :2], axis=0)
    if not absolute and (rows[0, :2].any() or pens[0]):  # the origin has no row of its own
        points, pens = np.concatenate([np.zeros((1, 2)), points]), np.append(0.0, pens)
    corner = points.min(axis=0)
    if DATASET_SIDES[0] <= (points - corner).max() <= DATASET_SIDES[1]:
        points -= corner
    return [stroke for stroke in np.split(points, np.flatnonzero(pens == 1) + 1) if len(stroke)]


def offsets_of_strokes(drawing: Sequence[npt.ArrayLike]) -> Rows:
    """Return a drawing as stroke-3, (n, 3): int16 where that holds all of it, else float64.

    A first stroke of one point, which has no row, becomes two equal points.
    """
    strokes = [np.asarray(stroke, dtype=np.float64) for stroke in drawing]
    if len(strokes[0]) == 1:
        strokes[0] = np.repeat(strokes[0], 2, axis=0)
    points = np.concatenate(strokes)
    rows = np.column_stack([np.diff(points, axis=0), np.zeros(len(points) - 1)])
    rows[np.cumsum([len(stroke) for stroke in strokes]) - 2, 2] = 1
    whole = (rows == np.floor(rows)).all() and np.abs(rows).max() <= MAX_SHORT
    return rows.astype(np.int16) if whole else rows


# ------------------------------------------------------------------ files


def write_npz(file: IO[bytes], sides: Mapping[str, Sequence[Sequence[npt.ArrayLike]]]) -> None:
    """Write drawings as Sketch-RNN's tools expect them: by side an array of stroke-3 arrays."""
    train, valid, test = ([offsets_of_strokes(drawing) for drawing in sides[name]] for name in SIDES)
    np.savez_compressed(file, train=_ragged(train), valid=_ragged(valid), test=_ragged(test))


def _ragged(arrays: Sequence[Rows]) -> Rows:
    whole = np.empty(len(arrays), dtype=object)
    for row, array in enumerate(arrays):
        whole[row] = array
    return whole


def read_npz(content: bytes) -> list[Rows]:
    """Return the offsets (n, 3) or (n, 5) of all drawings of an .npz file: train, valid, test, or all its arrays.

    Raises ValueError that names what the archive holds instead.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            if not names:
                raise ValueError("is a zip archive without arrays: unpack it first")
            if sum(archive.getinfo(name).file_size for name in names) > MAX_BYTES:
                raise ValueError(f"is larger than {MAX_BYTES >> 30} GiB when unpacked")
            order = {f"{side}.npy": place for place, side in enumerate(SIDES)}
            names = [name for name in names if name in order] or names  # beside them stand scales and labels
            names.sort(key=lambda name: order.get(name, len(order)))
            return [rows for name in names for rows in read_npy(archive.read(name))]
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise ValueError(f"is a damaged or encrypted zip archive ({error})") from None


def read_npy(content: bytes) -> list[Rows]:
    """Return the offsets (n, 3) or (n, 5) of all drawings of an .npy file; ValueError names what it holds instead."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, kind = read(file)
        arrays: list[Rows]
        if kind.hasobject:
            arrays = _pickled_arrays(file.read())
        else:
            numbers = np.frombuffer(content, kind, math.prod(shape), file.tell())
            array = numbers.reshape(shape, order="F" if by_columns else "C")
            arrays = list(array) if array.ndim == 3 else [array]
    except (ValueError, TypeError, EOFError, SyntaxError) as error:
        raise ValueError(f"is a numpy file that cannot be read ({error})") from None
    for array in arrays:
        if list(array.shape[1:]) == [784]:
            raise ValueError("holds pictures of 28 x 28 pixels, which have no strokes; give .ndjson, .bin or "
                             "Sketch-RNN's .npz of the same category")  # fmt: skip
        if array.ndim != 2 or array.dtype.kind not in "iuf" or not np.isfinite(array).all() or not are_offsets(array):
            raise ValueError(f"holds {array.dtype} {array.shape}, must be offsets and pen, stroke-3 (n, 3) or "
                             "stroke-5 (n, 5)")  # fmt: skip
    return arrays


# ------------------------------------------------------------------ arrays of arrays, without running their pickle


@dataclass
class _Type:
    code: str


@dataclass
class _Array:
    """What a pickle says of an array: it is filled when its state comes."""

    shape: tuple[int, ...] = ()
    kind: _Type | None = None
    by_columns: bool = False
    content: Any = None

    def numbers(self) -> Rows:
        """Return the array; its content, bytes of numbers of a known type, fills its shape."""
        if not isinstance(self.kind, _Type) or not re.fullmatch(r"[<>|=]?[iuf][1248]", self.kind.code):
            raise ValueError("it holds other things than arrays of numbers")
        content = self.content.encode("latin-1") if isinstance(self.content, str) else self.content
        return np.frombuffer(content, self.kind.code).reshape(self.shape, order="F" if self.by_columns else "C")


_NAMES = {
    **{f"numpy.{core}.multiarray _reconstruct": "array" for core in ("core", "_core")},
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
}
_VALUES = frozenset((
    "BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BINSTRING", "SHORT_BINSTRING",
))  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NOTHING = frozenset(("PROTO", "FRAME", "STOP"))


class _Name(str):
    """One of the few functions that numpy's pickles name; it is never called, nor even looked up."""


def _pickled_arrays(pickled: bytes) -> list[Rows]:
    """Return the arrays of numbers in numpy's pickle of an array of them; ValueError for any other pickle."""
    try:
        whole = _Reader().read(pickled)
        if not isinstance(whole, _Array) or not isinstance(whole.content, list):
            raise ValueError("it is no array of arrays")
        if not all(isinstance(part, _Array) for part in whole.content):
            raise ValueError("it holds other things than arrays of numbers")
        return [part.numbers() for part in whole.content]
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"its pickle, which is not run, is not that of an array of arrays: {error}") from None


class _Reader:
    """The values that the instructions of a pickle put together, without calling anything."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def read(self, pickled: bytes) -> Any:
        """Return the one value that is left at the end."""
        for instruction, argument, _ in pickletools.genops(pickled):
            self.obey(instruction.name, argument)
        (whole,) = self.stack
        return whole

    def obey(self, name: str, argument: Any) -> None:
        """Do what one instruction says, or raise ValueError where numpy's arrays need none of its kind."""
        stack = self.stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            full = argument if name == "GLOBAL" else " ".join(self.popped(2))
            if full not in _NAMES:
                raise ValueError(f"names {full!r:.60}")
            stack.append(_Name(_NAMES[full]))
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name in ("EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self.popped(("EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3").index(name))))
        elif name == "TUPLE":
            stack.append(tuple(self.popped(len(stack) - self.marks.pop())))
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name in ("APPEND", "APPENDS"):
            added = self.popped(1 if name == "APPEND" else len(stack) - self.marks.pop())
            stack[-1].extend(added)
        elif name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
            self.memo[len(self.memo) if argument is None else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "REDUCE":
            stack.append(_made(*self.popped(2)))
        elif name == "BUILD":
            _fill(*self.popped(2, keep=1))
        elif name not in _NOTHING:
            raise ValueError(f"has the instruction {name}")

    def popped(self, count: int, keep: int = 0) -> list[Any]:
        """Return the last `count` values, which leave the stack but for the first `keep` of them."""
        first = len(self.stack) - count
        if first < 0:
            raise ValueError("takes more than there is")
        values = self.stack[first:]
        del self.stack[first + keep :]
        return values


def _made(name: Any, arguments: Any) -> Any:
    """Return what stands for numpy's result of one of the known names."""
    if not isinstance(name, _Name):
        raise ValueError("calls what it has not named")
    if name == "array":
        return _Array()
    if name == "dtype":
        return _Type(str(arguments[0]))
    if name == "encode" and arguments[1] == "latin1":  # how Python 3 writes bytes for Python 2
        return arguments[0].encode("latin-1")
    raise ValueError(f"calls {name}")


def _fill(made: Any, state: Any) -> None:
    if isinstance(made, _Type):
        made.code = f"{state[1]}{made.code}"
    elif isinstance(made, _Array):
        _, made.shape, made.kind, made.by_columns, made.content = state
    else:
        raise ValueError("fills what is neither an array nor its type")
