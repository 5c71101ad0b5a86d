"""Reads, packs, splits and writes drawings of one category in the Quick, Draw! ndjson form.

    python -c "import dataset_utils; print(dataset_utils.load_category('cat').describe())"

A drawing is a list of strokes, a stroke an array (n, 2) of (x, y), y down, whole numbers 0..255. A split decides on
the data's own line numbers (official) or on a hash of each drawing (local). Nothing here needs torch.

Data: the Quick, Draw! dataset, (c) Google, CC BY 4.0, https://github.com/googlecreativelab/quickdraw-dataset.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import orjson

from config import CATEGORIES, SPLITS, quoted, resolve_category
from drawings.official import BASE_URL, OFFICIAL, download_category, file_identity, read_split, shown
from drawings.packed import (
    Drawing,
    PackedDrawings,
    joined,
    load_packed,
    local_sides,
    local_test_mask,
    official_stroke,
    running_sums,
    save_packed,
)  # fmt: skip
from drawings.simplify import simplify_drawing, simplify_stroke
from plumbing.files import atomic_file, remove_leftovers

__all__ = [
    "CategoryData", "Drawing", "LoadCounts", "PackedDrawings", "Shard", "available_categories", "category_list",
    "load_category", "local_test_mask", "read_ndjson", "read_shard", "simplify_drawing", "simplify_stroke", "word_of",
    "write_ndjson", "write_shard",
]  # fmt: skip

PROJECT = Path(__file__).resolve().parent
DATA_FOLDER = PROJECT / "data"
SPLIT_FOLDER = PROJECT / "subset"
# A drawing beyond these is cut and counted. The longest of 145,411 real ones has 138 strokes and 766 points.
MAX_STROKES = 2_000
MAX_POINTS = 20_000
# A line beyond these is refused before it is parsed, which takes up to 1 GB at the limit. 10^5 strokes are 300,000
# lists.
MAX_LINE_BYTES = 32 << 20
MAX_LINE_LISTS = 2_000_000
EMBEDDED_COUNT = 2_000
ABANDONED_SECONDS = 3_600  # after which a half-written cache is nobody's
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


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
    cut_strokes: int = 0
    cut_points: int = 0

    def describe(self) -> str:
        """Return the counts that are not zero, in words."""
        named = [(name.replace("_", " "), count) for name, count in dataclasses.asdict(self).items()]
        return ", ".join(f"{count} {name}" for name, count in named if count or name == "drawings")

    def describe_losses(self) -> str:
        """Return what was left out or cut, in words; empty if every line is a drawing as it was given."""
        losses = dataclasses.replace(self, drawings=0, raw_drawings=0).describe()
        return losses.removeprefix("0 drawings").removeprefix(", ")


def read_ndjson(
    path: str | Path, *, wanted_lines: Iterable[int] | None = None, recognized_only: bool = False
) -> tuple[PackedDrawings, LoadCounts]:
    """Return the drawings of an ndjson file, packed in the file's order, and the counts of what was left out.

    Each drawing may be simplified (strokes `[xs, ys]`) or raw (`[xs, ys, ts]`), which is simplified on the way in.
    `wanted_lines` are 0-based; other lines are not even parsed. `recognized_only` keeps drawings whose `recognized`
    is true; those where it is null or absent are left out and counted apart. Raises ValueError `FILE:LINE: ...`,
    lines from 1 as editors count, for a line that is no such drawing.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    wanted = None if wanted_lines is None else _checked_lines(path, wanted_lines)
    tally: Counter[str] = Counter()
    all_xs, all_ys = bytearray(), bytearray()
    points_of_strokes, strokes_of_drawings, lines = array("q"), array("q"), array("q")
    number = -1
    # A usual line takes the short way, at about 0.45 of the speed of the JSON parser alone. A line that is unusual in
    # any respect is undone and looked at again with care, which counts, simplifies, cuts or says what is wrong.
    with open(path, "rb") as file:
        for number, line in enumerate(_lines(file, path)):
            if wanted is not None and number not in wanted:
                continue
            num_points, num_strokes = len(all_xs), len(points_of_strokes)
            try:
                record = orjson.loads(line)
                if recognized_only and record.get("recognized") is not True:
                    tally["unrecognized" if record.get("recognized") is False else "unknown_recognition"] += 1
                    continue
                xs_here: list[int] = []
                ys_here: list[int] = []
                for xs, ys in record["drawing"]:
                    count = len(xs)
                    if count != len(ys) or not count:
                        raise ValueError("unusual stroke")
                    xs_here += xs
                    ys_here += ys
                    points_of_strokes.append(count)
                if not 0 < len(xs_here) <= MAX_POINTS or len(points_of_strokes) - num_strokes > MAX_STROKES:
                    raise ValueError("unusual drawing")
                # bytearray() refuses whatever is not a whole number in 0..255 (and takes half the time of bytes()),
                # but it takes true for 1: where a true or false is drawn an e follows the first list
                if line.rfind(b"e") > line.find(b"[") and _may_draw_booleans(line, record):
                    raise ValueError("unusual number")
                all_xs += bytearray(xs_here)
                all_ys += bytearray(ys_here)
            except (ValueError, TypeError, AttributeError, KeyError):
                del all_xs[num_points:], points_of_strokes[num_strokes:]
                for stroke in _unusual_drawing(line, tally, f"{path}:{number + 1}"):
                    all_xs += stroke[:, 0].tobytes()
                    all_ys += stroke[:, 1].tobytes()
                    points_of_strokes.append(len(stroke))
                if len(points_of_strokes) == num_strokes:
                    continue
            strokes_of_drawings.append(len(points_of_strokes) - num_strokes)
            lines.append(number)
    if wanted and max(wanted) > number:
        raise ValueError(f"{path}: line index {max(wanted)} was asked for, the file ends with {number}")
    packed = PackedDrawings(
        np.stack([np.frombuffer(values, dtype=np.uint8) for values in (all_xs, all_ys)], axis=1),
        running_sums(points_of_strokes),
        running_sums(strokes_of_drawings),
        np.array(lines, dtype=np.int64),
    )
    return packed, LoadCounts(drawings=len(packed), **tally)


def word_of(path: str | Path) -> str:
    """Return what the first line that is not blank says it shows, by the same parser as `read_ndjson`.

    Raises ValueError `FILE:LINE: ...` where that line is not JSON or has no word.
    """
    number = 0
    with open(path, "rb") as file:
        for number, line in enumerate(_lines(file, path), start=1):
            if line.strip():
                record = _parsed_record(line, f"{path}:{number}")
                if isinstance(record, dict) and isinstance(record.get("word"), str):
                    return record["word"]
                break
    raise ValueError(f"{path}:{number}: has no text under the key 'word'; give --category")


def _checked_lines(path: str | Path, wanted_lines: Iterable[int]) -> set[int]:
    wanted = set()
    for index in wanted_lines:
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)) or index < 0:
            raise ValueError(f"{path}: line index {index!r}, must be a whole number >= 0")
        wanted.add(int(index))
    return wanted


def _lines(file: IO[bytes], path: str | Path) -> Iterator[bytes]:
    """Yield the lines of a file without its byte order mark; none is so long that parsing it could fill the memory."""
    if file.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
        file.seek(0)
    for number, line in enumerate(iter(functools.partial(file.readline, MAX_LINE_BYTES + 1), b""), start=1):
        if len(line) > MAX_LINE_LISTS:
            _refuse_giant(line, f"{path}:{number}")
        yield line


def _refuse_giant(line: bytes, where: str) -> None:
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"{where}: line is longer than {MAX_LINE_BYTES >> 20} MiB, the limit of a drawing")
    if (lists := line.count(b"[") + line.count(b"{")) > MAX_LINE_LISTS:
        raise ValueError(f"{where}: line has {lists:,} lists, the limit of a drawing is {MAX_LINE_LISTS:,}")


def _may_draw_booleans(line: bytes, record: dict[str, Any]) -> bool:
    return line.count(b"true") + line.count(b"false") != isinstance(record.get("recognized"), bool)


def _unusual_drawing(line: bytes, tally: Counter[str], where: str) -> Drawing:
    """Return the strokes of a line that needs more than the short way, counting what is left out.

    Raises ValueError for a line that is no drawing.
    """
    if not line.strip():
        tally["blank_lines"] += 1
        return []
    strokes = _parsed_strokes(line, where)
    kept = [stroke for stroke in strokes if stroke[0]]
    tally["empty_strokes"] += len(strokes) - len(kept)
    if not kept:
        tally["empty_drawings"] += 1
        return []
    arrays = [np.array(stroke, dtype=np.float64).T for stroke in _cut(kept, tally)]
    if len(kept[0]) == 3:
        tally["raw_drawings"] += 1
        try:
            return simplify_drawing([stroke[:, :2] for stroke in arrays])
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return [official_stroke(stroke, f"{where}: stroke {index}") for index, stroke in enumerate(arrays)]


def _parsed_record(line: bytes, where: str) -> Any:
    try:
        return orjson.loads(line)
    except ValueError as error:
        kind = "HTML or XML" if line.lstrip().startswith(b"<") else f"not JSON ({error})"
        raise ValueError(f"{where}: {'gzip, unpack it first' if line.startswith(bytes([31, 139])) else kind}") from None


def _parsed_strokes(line: bytes, where: str) -> list[list[list[float]]]:
    record = _parsed_record(line, where)
    strokes = record.get("drawing") if isinstance(record, dict) else None
    if not isinstance(strokes, list):
        raise ValueError(f"{where}: not a Quick, Draw! drawing, has no list under the key 'drawing'")
    for index, stroke in enumerate(strokes):
        if not isinstance(stroke, list) or len(stroke) not in (2, 3) or len(stroke) != len(strokes[0]):
            raise ValueError(f"{where}: stroke {index} is not [xs, ys] nor [xs, ys, ts], or unlike stroke 0")
        if not all(isinstance(values, list) for values in stroke):
            raise ValueError(f"{where}: stroke {index} holds something that is not a list")
        if len({len(values) for values in stroke}) > 1:
            raise ValueError(f"{where}: stroke {index} has lists of unequal length {[len(v) for v in stroke]}")
        for values in stroke:
            for value in values:
                if type(value) not in (int, float):
                    raise ValueError(f"{where}: stroke {index} holds {shown(value)}, must be a number")
    return strokes


def _cut(strokes: list[list[list[float]]], tally: Counter[str]) -> list[list[list[float]]]:
    """Return the strokes within MAX_STROKES and MAX_POINTS, counting what is cut off."""
    ends = list(accumulate(len(stroke[0]) for stroke in strokes))
    num_kept = min(len(strokes), MAX_STROKES, 1 + bisect_left(ends, MAX_POINTS))
    surplus = max(ends[num_kept - 1] - MAX_POINTS, 0)
    kept = strokes[:num_kept]
    kept[-1] = [values[: len(values) - surplus] for values in kept[-1]]
    cut_points = ends[-1] - ends[num_kept - 1] + surplus
    tally.update(cut_drawings=int(cut_points > 0), cut_strokes=len(strokes) - num_kept, cut_points=cut_points)
    return kept


def write_ndjson(
    path: str | Path,
    drawings: Iterable[Sequence[npt.ArrayLike]],
    *,
    word: str,
    key_ids: Sequence[str] | None = None,
) -> None:
    """Write drawings in the official simplified form, one JSON object a line; all or nothing.

    Tools for the dataset want every field and its type, so what a generated drawing does not have is given as its
    plainest true value: no country (ZZ), the epoch, and not recognized, for the game's recogniser never saw it.
    Raises ValueError for anything but whole coordinates 0..255; `path` is then as it was.
    """
    with atomic_file(path) as file:
        for index, drawing in enumerate(drawings):
            if not len(drawing):
                raise ValueError(f"{path}: drawing {index} has no stroke")
            strokes = [official_stroke(s, f"{path}: drawing {index}, stroke {j}") for j, s in enumerate(drawing)]
            record = {
                "word": word,
                "countrycode": "ZZ",
                "timestamp": "1970-01-01 00:00:00.00000 UTC",
                "recognized": False,
                "key_id": key_ids[index] if key_ids is not None else f"{index:016d}",
                "drawing": [stroke.T.tolist() for stroke in strokes],
            }
            file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))


@dataclass(frozen=True)
class CategoryData:
    """Holds one category's train and test drawings and the conditions under which they were got."""

    category: str
    train: PackedDrawings
    test: PackedDrawings
    source: str  # data-dir, environment, data, download or embedded
    path: Path | None
    split: str  # official, leak-free or local
    counts: LoadCounts
    identity: str  # git blob id of the source file
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return one line with source, split, counts and everything that is not as usual."""
        where = f"{self.source} ({self.path})" if self.path else f"{self.source} drawings, made by a program"
        sizes = f"{len(self.train):,} train and {len(self.test):,} test drawings"
        notes = "".join(f"; {note}" for note in self.notes)
        return f"{self.category} from {where}: split {self.split}, {sizes}; read {self.counts.describe()}{notes}"


def available_categories(data_dir: str | Path | None = None) -> list[str]:
    """Return the names of the categories that `load_category` can load, sorted.

    Raises FileNotFoundError if `data_dir`, or else $QUICKDRAW_DIR, names no folder.
    """
    kind, folder = _chosen_folder(data_dir, DATA_FOLDER)
    return sorted(CATEGORIES) if folder is None else _categories_in(kind, folder)


def category_list(text: str, data_dir: str | Path | None = None) -> list[str]:
    """Return the categories that a text with commas names, each once; 'all' means all that are at hand.

    Raises ValueError that names those at hand, and what ``available_categories`` raises.
    """
    available = available_categories(data_dir)
    if text.strip() == "all":
        return available
    try:
        names = [resolve_category(part, available) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ValueError(f"{data_dir or 'the drawings at hand'}: {error}") from None
    return list(dict.fromkeys(names))


def load_category(
    category: str,
    *,
    data_dir: str | Path | None = None,
    split: str = "auto",
    recognized_only: bool = False,
    cache_dir: str | Path | None = None,
    allow_download: bool = True,
    data_folder: str | Path = DATA_FOLDER,
    base_url: str = BASE_URL,
    split_folder: str | Path = SPLIT_FOLDER,
) -> CategoryData:
    """Return the train and test drawings of a category from the first place that has them.

    The places: `data_dir` (a folder of `<category>.ndjson`, or of shards `<category>.npz` where there is none, or the
    word `embedded`), $QUICKDRAW_DIR (the same), `data_folder`, a download into it (cat, bus, rabbit), the embedded
    drawings. If one of the first two is named, no other is looked into. `split` is official, leak-free, local, or auto:
    official for a file with the official number of lines, else local. Packed drawings are kept in `cache_dir`, by
    default `data_folder/cache`; the local sides of a shard are mapped into memory where they lie. Raises
    FileNotFoundError or ValueError, one line with the file, what is wrong and what would be right, and ConnectionError
    where a `split` needs the official file and it does not come.
    """
    if split not in SPLITS:
        raise ValueError(f"split is '{split}', must be one of {', '.join(SPLITS)}")
    data_folder = Path(data_folder)
    notes: list[str] = []
    source = _find_source(category, data_dir, data_folder, base_url if allow_download else None, split, notes)
    split = _resolve_split(split, source, notes)
    indices = None
    if split != "local":
        indices = read_split(Path(split_folder), source.category, leak_free=split == "leak-free")
    cache_folder = Path(cache_dir) if cache_dir is not None else data_folder / "cache"
    if source.shard is None:
        sides, counts = _cached_drawings(cache_folder, source, split, indices, recognized_only, notes)
    else:
        sides, counts = source.shard.sides, source.shard.counts
        _refuse_other_shard(source.shard, recognized_only, notes)
    if indices is not None:
        sides = tuple(_drawn(sides, indices[name], name, notes) for name in ("train", "test"))
    train, test = sides
    if not len(train):
        raise ValueError(f"{source.path or source.kind}: no drawing to train on, read {counts.describe()}")
    if not len(test):
        notes.append("no drawing to test on")
    return CategoryData(
        source.category, train, test, source.kind, source.path, split, counts, source.identity, tuple(notes)
    )


@dataclass(frozen=True)
class _Source:
    category: str
    kind: str
    path: Path | None
    identity: str
    num_lines: int
    shard: Shard | None = None


def _chosen_folder(data_dir: str | Path | None, data_folder: Path) -> tuple[str, Path | None]:
    """Return what kind of source was chosen and its folder, which is None for the embedded drawings."""
    for kind, chosen in (("data-dir", data_dir), ("environment", os.environ.get("QUICKDRAW_DIR"))):
        if chosen is not None and str(chosen):
            return ("embedded", None) if str(chosen) == "embedded" else (kind, Path(chosen))
    return "data", data_folder


def _categories_in(kind: str, folder: Path) -> list[str]:
    names = {path.stem for path in folder.glob("*.ndjson")} | {path.stem for path in folder.glob("*.npz")}
    if kind == "data":
        return sorted(names.union(CATEGORIES))
    where = f"{folder} ({'$QUICKDRAW_DIR' if kind == 'environment' else 'the data folder that was asked for'})"
    if not folder.is_dir():
        raise FileNotFoundError(f"{where}: no such folder")
    if not names:
        raise FileNotFoundError(f"{where}: holds no <category>.ndjson, nor <category>.npz")
    return sorted(names)


def _find_source(
    category: str, data_dir: str | Path | None, data_folder: Path, base_url: str | None, split: str, notes: list[str]
) -> _Source:
    """Return the first place that has the category, downloading from `base_url` unless it is None.

    Where a download fails the embedded drawings stand in, but for a `split` that only the official file has.
    """
    kind, folder = _chosen_folder(data_dir, data_folder)
    names = list(CATEGORIES) if folder is None else _categories_in(kind, folder)
    try:
        name = resolve_category(category, names)
    except ValueError as error:
        where = f"{folder}: no {quoted(f'{category}.ndjson')} there" if folder else "embedded drawings"
        raise FileNotFoundError(f"{where}: {error}") from None
    path = folder / f"{name}.ndjson" if folder is not None else None
    if path is not None and not path.is_file() and path.with_suffix(".npz").is_file():
        shard = read_shard(path.with_suffix(".npz"))
        return _Source(name, kind, shard.path, shard.identity, shard.num_lines, shard)
    if kind == "data" and path is not None and not path.is_file():
        kind, path = "embedded", None
        if base_url is not None:
            try:
                kind, path = "download", download_category(name, data_folder, base_url=base_url)
            except OSError as error:
                if split in ("official", "leak-free"):  # nothing else has these lines
                    raise
                notes.append(f"no download: {error}")
    if path is None:
        from drawings import embedded as embedded_drawings

        return _Source(name, kind, None, file_identity(Path(embedded_drawings.__file__))[0], EMBEDDED_COUNT)
    return _Source(name, kind, path, *file_identity(path))


def _resolve_split(split: str, source: _Source, notes: list[str]) -> str:
    facts = OFFICIAL.get(source.category)
    is_official = source.path is not None and facts is not None and source.num_lines == facts.num_drawings
    if split == "auto":
        split = "official" if is_official else "local"
    if split != "local" and not is_official:
        needed = f"the official file has {facts.num_drawings:,}" if facts else "there is no official split for it"
        raise ValueError(
            f"{source.path or 'embedded drawings'}: --split {split} picks lines of the official {source.category} "
            f"file, but this has {source.num_lines:,} lines and {needed}; --split local works on any file"
            + "".join(f"; {note}" for note in notes)
        )
    if is_official and facts is not None and source.identity != facts.data_blob:
        notes.append(f"official number of lines but other content (git blob id {source.identity})")
    return split


def _drawn(sides: Sequence[PackedDrawings], lines: list[int], name: str, notes: list[str]) -> PackedDrawings:
    """Return the drawings at the given lines of the file, repeated as drawn, noting those that were left out.

    Each side has its drawings in the file's order; a file's lines that no side has hold no drawing to use.
    """
    found = [_rows_of(side, lines) for side in sides]
    place = np.concatenate([np.flatnonzero(rows >= 0) for rows in found])
    if missing := len(lines) - len(place):
        notes.append(f"{missing} of {len(lines)} {name} lines hold no drawing to use")
    copies = [side.select(rows[rows >= 0]) for side, rows in zip(sides, found, strict=True)]
    return joined(copies).select(np.argsort(place, kind="stable"))


def _rows_of(packed: PackedDrawings, lines: list[int]) -> npt.NDArray[np.int64]:
    """Return which drawing each line of the file is, -1 where it is none of them."""
    wanted = np.asarray(lines, dtype=np.int64)
    if not len(packed):
        return np.full(len(wanted), -1)
    rows = np.minimum(np.searchsorted(packed.lines, wanted), len(packed) - 1)
    return np.where(packed.lines[rows] == wanted, rows, -1)


def _cached_drawings(
    folder: Path,
    source: _Source,
    split: str,
    indices: dict[str, list[int]] | None,
    recognized_only: bool,
    notes: list[str],
) -> tuple[Sequence[PackedDrawings], LoadCounts]:
    """Return the drawings that a split needs, from the cache if that was made under the same conditions.

    For the local split they are its two sides, else one, which has all lines that are wanted.
    """
    conditions: dict[str, Any] = {
        "source": source.identity, "split": split, "recognized_only": recognized_only, "code": _code_identity(),
    }  # fmt: skip
    place = hashlib.sha256(f"{source.path} {split} {recognized_only}".encode()).hexdigest()[:8]
    path = folder / f"{source.category}-{place}.npz"
    if path.is_file():
        try:
            sides, text = load_packed(path)
            found = json.loads(text)
            counts = _checked_counts(path, found.pop("counts"), sides, 2 if indices is None else 1)
            changed = [name for name in conditions if found.get(name) != conditions[name]]
            if not changed:
                return sides, counts
            notes.append(f"cache rebuilt: another {' and '.join(changed)}")
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            notes.append(f"cache rebuilt: {error}")
    if source.path is None:
        from drawings.embedded import embedded_drawings

        packed = PackedDrawings.from_drawings(embedded_drawings(source.category, EMBEDDED_COUNT))
        counts = LoadCounts(drawings=len(packed))
    else:
        wanted = None if indices is None else indices["train"] + indices["test"]
        packed, counts = read_ndjson(source.path, wanted_lines=wanted, recognized_only=recognized_only)
    sides = [*local_sides(packed)] if indices is None else [packed]
    try:
        remove_leftovers(folder, older_than=ABANDONED_SECONDS)
        with atomic_file(path) as file:
            save_packed(file, sides, json.dumps({**conditions, "counts": dataclasses.asdict(counts)}))
    except OSError as error:
        notes.append(f"not cached: {error}")
    return sides, counts


def _checked_counts(path: Path, counts: dict[str, Any], sides: Sequence[PackedDrawings], num_sides: int) -> LoadCounts:
    """Return the counts that a file of packed drawings holds, raising ValueError where they cannot be its own."""
    num_drawings = sum(map(len, sides))
    wrong = any(type(count) is not int or count < 0 for count in counts.values()) or counts["drawings"] != num_drawings
    if wrong or len(sides) != num_sides:
        raise ValueError(f"{path}: damaged (its counts are not of its {num_drawings} drawings)")
    return LoadCounts(**counts)


@dataclass(frozen=True)
class Shard:
    """Holds all drawings of one ndjson file, mapped into memory where they lie, and what has to be known of that file.

    It stands alone: the local split is in its two sides, and the official one takes its line numbers from there.
    """

    path: Path
    sides: Sequence[PackedDrawings]  # train and test of the local split
    counts: LoadCounts
    identity: str  # git blob id of the ndjson file
    num_lines: int
    recognized_only: bool
    code: str

    def is_of(self, identity: str, recognized_only: bool) -> bool:
        """Tell whether today's code would make the same shard of a file with that git blob id."""
        return (self.identity, self.recognized_only, self.code) == (identity, recognized_only, _code_identity())


def write_shard(path: Path, source: Path, *, recognized_only: bool = False) -> LoadCounts:
    """Pack the drawings of the ndjson file `source` into the shard `path`, all or nothing, and return their counts.

    Raises what `read_ndjson` and ``atomic_files.atomic_file`` raise.
    """
    identity, num_lines = file_identity(source)
    packed, counts = read_ndjson(source, recognized_only=recognized_only)
    conditions = {
        "source": identity, "num_lines": num_lines, "recognized_only": recognized_only, "code": _code_identity(),
        "counts": dataclasses.asdict(counts),
    }  # fmt: skip
    with atomic_file(path) as file:
        save_packed(file, local_sides(packed), json.dumps(conditions))
    return counts


def read_shard(path: Path) -> Shard:
    """Return a shard, its drawings mapped: nothing is copied, and of all that it holds only offsets are looked at.

    Raises ValueError, one line with the file, for what is damaged or no shard; see ``load_packed`` for what a mapped
    file cannot tell.
    """
    sides, text = load_packed(path, mapped=True)
    try:
        facts = json.loads(text)
        counts = _checked_counts(path, facts["counts"], sides, 2)
        names = {"source": str, "num_lines": int, "recognized_only": bool, "code": str}
        if wrong := [name for name, kind in names.items() if type(facts[name]) is not kind]:
            raise ValueError(f"{wrong[0]} is {shown(facts[wrong[0]])}")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: no shard of drawings ({reason:.200}); pack_drawings.py writes them") from None
    return Shard(path, sides, counts, facts["source"], facts["num_lines"], facts["recognized_only"], facts["code"])


def _refuse_other_shard(shard: Shard, recognized_only: bool, notes: list[str]) -> None:
    """Raise ValueError where a shard has other drawings than are asked for, and note it where other code made it."""
    if shard.recognized_only != recognized_only:
        kinds = {False: "all drawings", True: "recognized drawings only"}
        raise ValueError(
            f"{shard.path}: was packed with {kinds[shard.recognized_only]}, this asks for {kinds[recognized_only]}; "
            f"pack_drawings.py packs them {'with' if recognized_only else 'without'} --recognized-only"
        )
    if shard.code != _code_identity():
        notes.append("packed by other code")


@functools.cache
def _code_identity() -> str:
    """Return a hash of the code that makes the cached arrays, so that no cache outlives a change of it."""
    modules = ("dataset_utils.py", "drawings/packed.py", "drawings/simplify.py")
    return hashlib.sha256(b"".join((PROJECT / name).read_bytes() for name in modules)).hexdigest()
