"""Writes the official splits of cat, bus and rabbit, and the test lists without the drawings that leak from train.

    python make_splits.py            # writes subset/<category>/indices.json and indices_leak_free.json
    python make_splits.py --check    # compares what is there, writes nothing

`indices.json` is made from a seed and the number of lines of the official file, and held against its known git blob
id, so it is the very file of the assignment. It draws with replacement: lines repeat, and some test drawings are also
train drawings. `indices_leak_free.json` lists, each once and in ascending order, the test lines that are not.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from drawings.official import OFFICIAL, git_blob_id, leak_free_test, official_indices
from plumbing.command_line import run_script, script_parser
from plumbing.files import write_atomically


def build_parser() -> argparse.ArgumentParser:
    """Return the command line parser."""
    parser = script_parser(__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "subset", help="folder of the split files")
    parser.add_argument("--check", action="store_true", help="only compare the files there with the official splits")
    return parser


def main(argv: Sequence[str] | None = None) -> dict[str, dict[str, int]]:
    """Write or check the split files and return, for each category, the sizes of its lists."""
    arguments = build_parser().parse_args(argv)
    sizes = {}
    for category, facts in OFFICIAL.items():
        indices = official_indices(category)
        leak_free = leak_free_test(indices)
        official = json.dumps(indices).encode()
        if git_blob_id(official) != facts.split_blob:
            raise RuntimeError(f"{category}: numpy drew git blob {git_blob_id(official)}, must be {facts.split_blob}")
        files = {"indices.json": official, "indices_leak_free.json": json.dumps({"test": leak_free}).encode()}
        for name, content in files.items():
            path = arguments.out / category / name
            if arguments.check:
                there = path.is_file() and path.stat().st_size == len(content)  # a giant is not even read
                if not there or path.read_bytes() != content:
                    raise ValueError(f"{path}: missing or not the official split; `python make_splits.py` writes it")
                continue
            write_atomically(path, content)
        sizes[category] = {
            "train": len(indices["train"]),
            "train_unique": len(set(indices["train"])),
            "test": len(indices["test"]),
            "test_unique": len(set(indices["test"])),
            "test_leak_free": len(leak_free),
        }
        print(
            f"{category}: {sizes[category]['train']:,} train lines ({sizes[category]['train_unique']:,} different), "
            f"{sizes[category]['test']:,} test lines ({sizes[category]['test_unique']:,} different, "
            f"{len(leak_free):,} of them not in train) of {facts.num_drawings:,}; git blob id {facts.split_blob}"
        )
    return sizes


if __name__ == "__main__":
    run_script(main)
