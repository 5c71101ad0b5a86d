"""Pack drawings into shards: one file per category that needs no parsing, stands alone and is mapped, not read.

    python pack_drawings.py --data-dir quickdraw/simplified --out packed --processes 8       # every category there
    python pack_drawings.py --data-dir quickdraw/simplified --out packed --categories cat,bus

Every other script takes the folder of shards as --data-dir; the ndjson files are not needed any more. Shards that are
there and were made from the same file by the same code stay, so that after Ctrl-C the same command goes on. A process
holds one category at a time. Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from dataset_utils import LoadCounts, category_list, read_shard, write_shard
from drawings.official import file_identity
from plumbing.command_line import check_folder, run_script, script_parser
from plumbing.files import locked_folder

MAX_PROCESSES = 1024


def build_parser() -> argparse.ArgumentParser:
    """Return the command line parser."""
    parser = script_parser(__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of <category>.ndjson files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the shards, <category>.npz")
    parser.add_argument("--categories", default="all", help="names with commas, or 'all' (default)")
    parser.add_argument("--processes", type=int, default=1, help="categories packed at once (default 1)")
    parser.add_argument("--recognized-only", action=argparse.BooleanOptionalAction, default=False,
                        help="pack recognized drawings only")  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> dict[str, LoadCounts]:
    """Pack what the command line says and return the counts of every category."""
    arguments = build_parser().parse_args(argv)
    if not 1 <= arguments.processes <= MAX_PROCESSES:
        raise ValueError(f"--processes is {arguments.processes}, must lie in 1 ... {MAX_PROCESSES}")
    names = category_list(arguments.categories, arguments.data_dir)
    sources = [arguments.data_dir / f"{name}.ndjson" for name in names]
    for source in sources:
        if not source.is_file():
            raise FileNotFoundError(f"{source}: no such file; a shard is made from <category>.ndjson")
    check_folder(arguments.out)
    with locked_folder(arguments.out):
        done = pack_all(sources, arguments.out, arguments.recognized_only, arguments.processes)
    counts = {name: done[name][0] for name in sorted(done)}
    made = sum(is_new for _, is_new in done.values())
    total = LoadCounts(*(sum(column) for column in zip(*map(dataclasses.astuple, counts.values()), strict=True)))
    losses = total.describe_losses()
    print(
        f"wrote {made} shards to {arguments.out}, {len(done) - made} were there: {total.drawings:,} drawings in all"
        + (f"; left out or cut: {losses}" if losses else "")
    )
    return counts


def pack_all(
    sources: Sequence[Path], out: Path, recognized_only: bool, processes: int
) -> dict[str, tuple[LoadCounts, bool]]:
    """Pack each source into a shard of the folder `out`, and return by category what `pack_category` does.

    Where one fails, or this is interrupted, those that are being packed are finished and no other is begun.
    """
    largest_first = sorted(sources, key=lambda source: source.stat().st_size, reverse=True)
    done = {}
    executor = ProcessPoolExecutor(
        min(processes, len(sources)), multiprocessing.get_context("spawn"), initializer=_end_with_the_first
    )
    try:
        jobs = {
            executor.submit(pack_category, source, out / f"{source.stem}.npz", recognized_only): source.stem
            for source in largest_first
        }
        for job in tqdm(as_completed(jobs), total=len(jobs), desc="pack", unit="category", disable=None):
            done[jobs[job]] = job.result()
    finally:
        executor.shutdown(cancel_futures=True)
    return done


def pack_category(source: Path, shard: Path, recognized_only: bool) -> tuple[LoadCounts, bool]:
    """Pack one category if its shard is not there already, and return its counts and whether it was packed now."""
    with suppress(FileNotFoundError, ValueError):  # what is damaged is made again
        there = read_shard(shard)
        if there.is_of(file_identity(source)[0], recognized_only):
            return there.counts, False
    return write_shard(shard, source, recognized_only=recognized_only), True


def _end_with_the_first() -> None:
    """Let Ctrl-C be the first process's affair, and end this one with it, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    first = multiprocessing.parent_process()
    assert first is not None

    def wait() -> None:
        first.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    run_script(main, "fewer --processes")
