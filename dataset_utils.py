"""Find, read, split, pack and write drawings of one category in the Quick, Draw! ndjson form.

    python -c "import dataset_utils; print(dataset_utils.load_category('cat').describe())"
    python dataset_utils.py splits --check     # are subset/<category>/indices.json the official splits?
    python dataset_utils.py pack --data-dir quickdraw/simplified --out packed
    python dataset_utils.py convert cat.npz cat.ndjson     # or .npz, .svg, .gif, from any form of docs/FORMATS.md

A drawing is a list of strokes, a stroke an array (n, 2) of (x, y), y down, whole numbers 0..255. A split goes by the
line numbers of the official file (official) or by a hash of each drawing (local). `splits` writes the official splits.
`pack` turns each ndjson file into a folder that needs no parsing, is mapped into memory and replaces the file: every
script takes the folder of these folders as --data-dir. Nothing here needs torch.

Data: the Quick, Draw! dataset, (c) Google, CC BY 4.0, https://github.com/googlecreativelab/quickdraw-dataset.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before config

import argparse
import dataclasses
import functools
import hashlib
import itertools
import os
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import orjson
from tqdm import tqdm

from config import CATEGORIES, SPLITS, quoted, resolve_category
from drawings import official
from drawings.convert import add_convert_arguments, run_convert
from drawings.embedded import embedded_drawings
from drawings.fitting import load_sketches, word_in
from drawings.formats import read_sketches
from drawings.official_lines import checked_strokes, cut, parsed_line
from drawings.packed import (
    MAX_POINTS,
    MAX_STROKES,
    LoadCounts,
    PackedCategory,
    PackedDrawings,
    drawings_at,
    load_packed,
    local_sides,
    official_stroke,
    running_sums,
    save_packed,
)
from drawings.simplify import simplify_drawing
from plumbing.command_line import check_folder, run_script, script_parser
from plumbing.files import atomic_file, locked_folder, opened, remove_leftovers
from rendering import drawings_animation

__all__ = [
    "CategoryData", "LoadCounts", "PackedDrawings", "available_categories", "category_list", "data_files",
    "load_category", "read_ndjson", "word_of", "write_ndjson",
]  # fmt: skip

PROJECT = Path(__file__).resolve().parent
DATA_FOLDER = PROJECT / "data"
SPLIT_FOLDER = PROJECT / "subset"
MAX_LINE_BYTES = 32 << 20  # a longer line is refused before it is parsed
EMBEDDED_COUNT = 2_000
MOST_VALIDATION = 1_000
"""Drawings of an official file, of neither side of its split, by which choices are made."""
PACK_COMMAND = "python dataset_utils.py pack"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# what systems put beside files, or call a second copy of one: "._cat", "~cat", "cat (1)", "cat copy 2", "cat - Kopya"
COPY = r"(copy|copie|copia|kopie|kopya)"
NO_CATEGORY = re.compile(rf"(?is)[.~].*|.*~|.*\(\d+\)|.* {COPY}(sı)?( \d+)?|.* - {COPY}.*|{COPY} of .*")
DOWNLOADED = ("", "full_simplified_", "full_raw_")
"""What a file's name begins with before that of its category, the best first: gsutil and browsers join the folders."""


# ------------------------------------------------------------------ find and load


@dataclass(frozen=True)
class CategoryData:
    """Holds one category's train and test drawings and the conditions under which they were got."""

    category: str
    train: PackedDrawings
    validation: PackedDrawings
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
        kind, _ = _chosen_folder(data_dir, DATA_FOLDER)
        where = data_dir or ("without --data-dir or QUICKDRAW_DIR" if kind == "data" else "QUICKDRAW_DIR")
        raise ValueError(f"{where}: {error}") from None
    return list(dict.fromkeys(names))


def data_files(data_dir: str | Path | None = None) -> list[Path]:
    """Return the files of drawings that loading from `data_dir`, or else $QUICKDRAW_DIR or data/, may read."""
    _, folder = _chosen_folder(data_dir, DATA_FOLDER)
    return [*folder.glob("*.ndjson"), *folder.glob("*.packed/*")] if folder else []


def load_category(
    category: str,
    *,
    data_dir: str | Path | None = None,
    split: str = "auto",
    recognized_only: bool = False,
    cache_dir: str | Path | None = None,
    allow_download: bool = True,
    data_folder: str | Path = DATA_FOLDER,
    base_url: str = official.BASE_URL,
    split_folder: str | Path = SPLIT_FOLDER,
) -> CategoryData:
    """Return the train and test drawings of a category from the first place that has them.

    The places: `data_dir` (a folder of `<category>.ndjson`, or of `<category>.packed` where there is none, or the word
    `embedded`), $QUICKDRAW_DIR (the same), `data_folder`, a download into it (cat, bus, rabbit), the embedded
    drawings. If one of the first two is named, no other is looked into. `split` is official, leak-free, local, or auto:
    official for a file with the official number of lines, else local. What was read once is kept packed in `cache_dir`,
    by default `data_folder/cache`; packed drawings are mapped into memory. Raises FileNotFoundError or ValueError, one
    line with the file, what is wrong and what would be right, and ConnectionError where a `split` needs the official
    file and it does not come.
    """
    if split not in SPLITS:
        raise ValueError(f"split is '{split}', must be one of {', '.join(SPLITS)}")
    data_folder = Path(data_folder)
    notes: list[str] = []
    source = _find_source(category, data_dir, data_folder, base_url if allow_download else None, split, notes)
    split = _resolve_split(split, source, notes)
    indices = None
    if split != "local":
        indices = official.read_split(Path(split_folder), source.category, leak_free=split == "leak-free")
    packed = source.packed
    if packed is None:
        cache_folder = Path(cache_dir) if cache_dir is not None else data_folder / "cache"
        packed = _cached(cache_folder, source, recognized_only, notes)
    elif packed.recognized_only != recognized_only:
        kinds = {False: "all drawings", True: "recognized drawings only"}
        raise ValueError(
            f"{source.path}: was packed with {kinds[not recognized_only]}, this asks for {kinds[recognized_only]}; "
            f"`{PACK_COMMAND}` packs them {'with' if recognized_only else 'without'} --recognized-only"
        )
    train, validation, test = local_parts(packed, source.category)
    if indices is not None:
        train, test = (drawings_at(packed, indices[name]) for name in ("train", "test"))
        validation = unused_drawings(packed, indices)
        for name, side in (("train", train), ("test", test)):
            if missing := len(indices[name]) - len(side):
                notes.append(f"{missing} of {len(indices[name])} {name} lines hold no drawing to use")
    if not len(train):
        raise ValueError(f"{source.path or source.kind}: no drawing to train on, read {packed.counts.describe()}")
    if not len(test):
        notes.append("no drawing to test on")
    return CategoryData(
        source.category, train, validation, test, source.kind, source.path, split, packed.counts, source.identity,
        tuple(notes),
    )  # fmt: skip


def learned_from(data: CategoryData, others: Sequence[str], data_dir: str | Path | None = None) -> list[Any]:
    """Return the training drawings of `data`, and of the categories `others`, trained as it, those that are at hand."""
    split = "official" if data.split == "leak-free" else data.split
    at_hand = set(available_categories(data_dir))
    rows = (load_category(other, data_dir=data_dir, split=split, allow_download=False).train
            for other in others if other in at_hand)  # fmt: skip
    return [drawing for part in (data.train, *rows) for drawing in part]


def local_parts(packed: PackedCategory, category: str) -> tuple[PackedDrawings, PackedDrawings, PackedDrawings]:
    """Return the training, validation and test drawings of the local split.

    Cats, buses and rabbits have test pictures of their own (the official test split), and few drawings: what is held
    out of them is for both, validation and statistics of strokes. Of other categories every second one is tested on.
    """
    held_out = packed.test
    if category in official.OFFICIAL:
        return packed.train, held_out, held_out
    rows = np.arange(len(held_out))
    return packed.train, held_out.select(rows[::2]), held_out.select(rows[1::2])


def unused_drawings(packed: PackedCategory, indices: Mapping[str, Sequence[int]]) -> PackedDrawings:
    """Return at most MOST_VALIDATION drawings of the official file that neither side of its split has."""
    used = np.concatenate([np.asarray(lines) for lines in indices.values()])
    return packed.test.select(np.flatnonzero(~np.isin(packed.test.lines, used))[:MOST_VALIDATION])


@dataclass(frozen=True)
class _Source:
    category: str
    kind: str
    path: Path | None
    identity: str
    num_lines: int
    packed: PackedCategory | None = None


def _chosen_folder(data_dir: str | Path | None, data_folder: Path) -> tuple[str, Path | None]:
    """Return what kind of source was chosen and its folder, which is None for the embedded drawings."""
    for kind, chosen in (("data-dir", data_dir), ("environment", os.environ.get("QUICKDRAW_DIR"))):
        if chosen is not None and str(chosen):
            return ("embedded", None) if str(chosen) == "embedded" else (kind, Path(chosen))
    return "data", data_folder


def category_files(folder: Path, kinds: Sequence[str] = (".ndjson", ".packed")) -> dict[str, Path]:
    """Return the file, or folder, of each category in a folder: of the first of `kinds` (endings) that it has.

    What systems put beside files, and second copies, are no categories.
    """
    found: dict[str, Path] = {}
    for kind, begin in itertools.product(kinds, DOWNLOADED):
        for path in sorted(folder.glob(f"{begin}*{kind}")):
            if not NO_CATEGORY.fullmatch(path.stem) and path.is_dir() == (kind == ".packed"):
                found.setdefault(path.stem.removeprefix(begin), path)
    for begin in DOWNLOADED[1:]:
        found = {name: path for name, path in found.items() if not name.startswith(begin)}
    return found


def _categories_in(kind: str, folder: Path) -> list[str]:
    names = set(category_files(folder))
    if kind == "data":
        return sorted(names.union(CATEGORIES))
    where = f"{folder} ({'$QUICKDRAW_DIR' if kind == 'environment' else 'the data folder that was asked for'})"
    if not folder.is_dir():
        raise FileNotFoundError(f"{where}: {'is a file, must be a folder' if folder.exists() else 'no such folder'}")
    if not names:
        raise FileNotFoundError(f"{where}: holds no <category>.ndjson, nor <category>.packed from `{PACK_COMMAND}`")
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
    path = category_files(folder).get(name, folder / f"{name}.ndjson") if folder is not None else None
    if path is not None and path.suffix == ".packed":
        packed = load_packed(path)
        return _Source(name, kind, path, packed.source, packed.num_lines, packed)
    if kind == "data" and path is not None and not path.is_file():
        kind, path = "embedded", None
        if base_url is not None:
            try:
                kind, path = "download", official.download_category(name, data_folder, base_url=base_url)
            except OSError as error:
                if split in ("official", "leak-free"):  # nothing else has these lines
                    raise
                notes.append(f"no download: {error}")
    if path is None:
        return _Source(name, kind, None, f"{EMBEDDED_COUNT} embedded drawings", EMBEDDED_COUNT)
    return _Source(name, kind, path, *official.file_identity(path))


def _resolve_split(split: str, source: _Source, notes: list[str]) -> str:
    facts = official.OFFICIAL.get(source.category)
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


# ------------------------------------------------------------------ read


def read_ndjson(path: str | Path, *, recognized_only: bool = False) -> tuple[PackedDrawings, LoadCounts]:
    """Return the drawings of an ndjson file, packed in the file's order, and the counts of what was left out.

    Each drawing may be simplified (strokes `[xs, ys]`) or raw (`[xs, ys, ts]`), which is simplified on the way in.
    `recognized_only` keeps drawings whose `recognized` is true; those where it is null or absent are left out and
    counted apart. Raises ValueError `FILE:LINE: ...`, lines from 1 as editors count, for a line that is no such
    drawing.
    """
    tally: Counter[str] = Counter()
    points: list[npt.NDArray[np.uint8]] = [np.zeros((0, 2), dtype=np.uint8)]
    points_of_strokes, strokes_of_drawings, lines = array("q"), array("q"), array("q")
    with opened(path) as file:
        for number, line in enumerate(_lines(file, path)):
            if found := _drawing_of(line, recognized_only, tally, f"{path}:{number + 1}"):
                points.append(found[0])
                points_of_strokes.extend(found[1])
                strokes_of_drawings.append(len(found[1]))
                lines.append(number)
    offsets = running_sums(points_of_strokes), running_sums(strokes_of_drawings)
    packed = PackedDrawings(np.concatenate(points), *offsets, np.array(lines, dtype=np.int64))
    return packed, LoadCounts(drawings=len(packed), **tally)


def read_drawings(path: str | Path, *, recognized_only: bool = False) -> tuple[PackedDrawings, LoadCounts]:
    """Return the drawings of a file of any form, in the official one, and the counts: see `fitting.load_sketches`.

    A file in the official form is read as ``read_ndjson`` reads it, whatever its size.
    """
    with suppress(ValueError):
        return read_ndjson(path, recognized_only=recognized_only)
    loaded = load_sketches(path, recognized_only=recognized_only)
    return loaded.packed, loaded.counts


def word_of(path: str | Path) -> str:
    """Return what the first line that is not blank says it shows, or else the first drawing of any form, or the name.

    The file's name counts where it is that of a category. Raises ValueError `FILE:LINE: ...` where none of them tells.
    """
    number = 0
    with opened(path) as file:
        for number, line in enumerate(_lines(file, path), start=1):  # noqa: B007 - the error names the line
            if line.strip():
                with suppress(ValueError):
                    record = orjson.loads(line)
                    if isinstance(record, dict) and isinstance(record.get("word"), str):
                        return record["word"]
                break
    if word := word_in(read_sketches(path).sketches, Path(path)):
        return word
    raise ValueError(f"{path}:{number}: has no text under the key 'word'; give --category")


def _lines(file: IO[bytes], path: str | Path) -> Iterator[bytes]:
    """Yield the lines of a file without its byte order mark; none is so long that parsing it could fill the memory."""
    if file.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
        file.seek(0)
    for number, line in enumerate(iter(functools.partial(file.readline, MAX_LINE_BYTES + 1), b""), start=1):
        if len(line) > MAX_LINE_BYTES:
            raise ValueError(f"{path}:{number}: line is longer than {MAX_LINE_BYTES >> 20} MiB, the limit of a drawing")
        yield line


def _drawing_of(
    line: bytes, recognized_only: bool, tally: Counter[str], where: str
) -> tuple[npt.NDArray[np.uint8], list[int]] | None:
    """Return the points (n, 2) of a line's drawing and how many of them each stroke has.

    It is None where the line is left out, which is counted. Raises ValueError for a line that is no drawing.
    """
    if not line.strip():
        tally["blank_lines"] += 1
        return None
    record = parsed_line(line, where)
    if recognized_only and isinstance(record, dict) and (known := record.get("recognized")) is not True:
        tally["unrecognized" if known is False else "unknown_recognition"] += 1
        return None
    strokes = checked_strokes(record, where)
    kept = [stroke for stroke in strokes if stroke[0]]
    tally["empty_strokes"] += len(strokes) - len(kept)
    if not kept:
        tally["empty_drawings"] += 1
        return None
    if len(kept) > MAX_STROKES or sum(len(stroke[0]) for stroke in kept) > MAX_POINTS:
        tally["cut_drawings"] += 1
        kept = cut(kept)
    if len(kept[0]) == 3:
        tally["raw_drawings"] += 1
        try:
            simple = simplify_drawing([np.array(stroke[:2], dtype=np.float64).T for stroke in kept])
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        return np.concatenate(simple), [len(stroke) for stroke in simple]
    axes = [[value for stroke in kept for value in stroke[axis]] for axis in (0, 1)]
    points = official_stroke(np.array(axes, dtype=np.float64).T, where)  # 7.0 is a whole number too
    return points, [len(stroke[0]) for stroke in kept]


# ------------------------------------------------------------------ pack


def _packed_from(source: _Source, recognized_only: bool) -> PackedCategory:
    if source.path is None:
        packed = PackedDrawings.from_drawings(embedded_drawings(source.category, EMBEDDED_COUNT))
        counts = LoadCounts(drawings=len(packed))
    else:
        packed, counts = read_drawings(source.path, recognized_only=recognized_only)
    return PackedCategory(*local_sides(packed), counts, source.identity, source.num_lines, recognized_only)


def _cached(folder: Path, source: _Source, recognized_only: bool, notes: list[str]) -> PackedCategory:
    """Return the packed drawings of a source, from the cache if that was made from the same file."""
    place = hashlib.sha256(f"{source.path} {recognized_only}".encode()).hexdigest()[:8]
    path = folder / f"{source.category}-{place}.packed"
    if path.is_dir():
        try:
            packed = load_packed(path, whole=True)
            if (packed.source, packed.recognized_only) == (source.identity, recognized_only):
                return packed
            notes.append("cache rebuilt: another source")
        except ValueError as error:
            notes.append(f"cache rebuilt: {error}")
    packed = _packed_from(source, recognized_only)
    try:
        remove_leftovers(folder, older_than=official.ABANDONED_SECONDS)
        save_packed(path, packed)
    except (OSError, ValueError) as error:
        notes.append(f"not cached: {error}")
    return packed


def pack_category(source: Path, folder: Path, recognized_only: bool) -> tuple[LoadCounts, bool]:
    """Pack one ndjson file unless that is done already, and return its counts and whether it was packed now."""
    given = _Source(source.stem, "pack", source, *official.file_identity(source))
    with suppress(ValueError):  # what is not there or damaged is made again
        there = load_packed(folder)
        if (there.source, there.recognized_only) == (given.identity, recognized_only):
            return there.counts, False
    packed = _packed_from(given, recognized_only)
    save_packed(folder, packed)
    return packed.counts, True


# ------------------------------------------------------------------ write


def write_ndjson(path: str | Path, drawings: Iterable[Sequence[npt.ArrayLike]], *, word: str | Sequence[str]) -> None:
    """Write drawings in the official simplified form, one JSON object a line; all or nothing.

    `word` is the category of all, or of each. Tools for the dataset want every field and its type, so what a
    generated drawing does not have is given as its plainest true value: no country (ZZ), the epoch, and not
    recognized, for the game's recogniser never saw it.
    Raises ValueError for anything but whole coordinates 0..255; `path` is then as it was.
    """
    with atomic_file(path) as file:
        for index, drawing in enumerate(drawings):
            if not len(drawing):
                raise ValueError(f"{path}: drawing {index} has no stroke")
            strokes = [official_stroke(s, f"{path}: drawing {index}, stroke {j}") for j, s in enumerate(drawing)]
            record = {
                "word": word if isinstance(word, str) else word[index],
                "countrycode": "ZZ",
                "timestamp": "1970-01-01 00:00:00.00000 UTC",
                "recognized": False,
                "key_id": f"{index:016d}",
                "drawing": [stroke.T.tolist() for stroke in strokes],
            }
            file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))


# ------------------------------------------------------------------ the rare commands


def build_parser() -> argparse.ArgumentParser:
    """Return the command line parser."""
    parser = script_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="splits | pack | convert")
    splits = commands.add_parser("splits", help="write the official splits, or check them", allow_abbrev=False)
    splits.add_argument("--out", type=Path, default=SPLIT_FOLDER, metavar="FOLDER", help="folder (default subset)")
    splits.add_argument("--check", action="store_true", help="only compare the files there with the official splits")
    pack = commands.add_parser("pack", help="turn each ndjson file into a folder that is mapped, not parsed",
                               allow_abbrev=False)  # fmt: skip
    pack.add_argument("--data-dir", type=Path, required=True, metavar="FOLDER", help="folder of CATEGORY.ndjson files")
    pack.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="another folder, for CATEGORY.packed")
    pack.add_argument("--categories", default="all", metavar="NAMES", help="with commas, or 'all' (default)")
    pack.add_argument("--recognized-only", action=argparse.BooleanOptionalAction, default=False,
                      help="pack recognized drawings only")  # fmt: skip
    convert = commands.add_parser("convert", help="write drawings of any form as ndjson, npz, SVG or GIF",
                                  allow_abbrev=False)  # fmt: skip
    add_convert_arguments(convert)
    for command in (splits, pack, convert):
        command.add_argument("--debug", action="store_true", help="show the full traceback of an error")
    return parser


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Do what the command line says; return sizes (splits) or counts (pack) by category, or what was told (convert)."""
    arguments = build_parser().parse_args(argv)
    if arguments.command == "convert":
        print(*(told := run_convert(arguments, drawings_animation)), sep="\n")
        return {"told": told}
    return run_splits(arguments) if arguments.command == "splits" else run_pack(arguments)


def run_splits(arguments: argparse.Namespace) -> dict[str, dict[str, int]]:
    """Write or check the split files of cat, bus and rabbit, and return the sizes of their lists."""
    sizes = {}
    for category, facts in official.OFFICIAL.items():
        sizes[category] = size = official.write_split(arguments.out, category, check=arguments.check)
        print(
            f"{category}: {size['train']:,} train lines ({size['train_unique']:,} different), {size['test']:,} test "
            f"lines ({size['test_unique']:,} different, {size['test_leak_free']:,} of them not in train) of "
            f"{facts.num_drawings:,}; git blob id {facts.split_blob}"
        )
    return sizes


def run_pack(arguments: argparse.Namespace) -> dict[str, LoadCounts]:
    """Pack what the command line says and return the counts of every category.

    What is there and was made from the same file stays, so that after Ctrl-C the same command goes on.
    """
    names = category_list(arguments.categories, arguments.data_dir)
    files = category_files(arguments.data_dir, (".ndjson",))
    if missing := [name for name in names if name not in files]:
        raise FileNotFoundError(f"{arguments.data_dir / missing[0]}.ndjson: no such file; what is packed is ndjson")
    sources = {name: files[name] for name in names}
    check_folder(arguments.out)
    done: dict[str, tuple[LoadCounts, bool]] = {}
    with locked_folder(arguments.out):
        for name, source in tqdm(sources.items(), desc="pack", unit="category", disable=None):
            done[name] = pack_category(source, arguments.out / f"{name}.packed", arguments.recognized_only)
    counts = {name: found for name, (found, _) in done.items()}
    made = sum(is_new for _, is_new in done.values())
    total = LoadCounts(*(sum(column) for column in zip(*map(dataclasses.astuple, counts.values()), strict=True)))
    losses = total.describe_losses()
    print(
        f"packed {made} categories into {arguments.out}, {len(done) - made} were there: {total.drawings:,} drawings "
        "in all" + (f"; left out or cut: {losses}" if losses else "")
    )
    return counts


if __name__ == "__main__":
    run_script(main)
