"""The folder that a run of sampling writes into: which files are its own, and may be replaced by the next run."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from config import ATTRIBUTION
from plumbing.files import refuse_overwriting

SVG_FILES = 8


def result_files(count: int) -> list[str]:
    """Return the names of the files that a run of `count` drawings writes; what the run says of itself is first."""
    svgs = [f"drawing_{i:03d}.svg" for i in range(min(count, SVG_FILES))]
    return ["conditions.json", "drawings.ndjson", *svgs, "sheet.svg", "grid.png", "animation.gif", "denoising.gif"]


def files_of_earlier_run(out: Path) -> list[str]:
    """Return the names of the files in a folder that an earlier run says it wrote there."""
    try:
        found = json.loads((out / "conditions.json").read_text(encoding="utf-8"))
        if found["attribution"] != ATTRIBUTION:
            return []
        listed = found.get("files") or result_files(found["n"])  # earlier versions kept no list
        return [name for name in result_files(SVG_FILES) if name in listed]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def refuse_losing_files(out: Path, count: int, inputs: Sequence[Path] = ()) -> None:
    """Raise ValueError where a run of `count` drawings would replace one of `inputs`, or what no run wrote."""
    refuse_overwriting(inputs, [out / name for name in result_files(count)])
    earlier = files_of_earlier_run(out)
    for name in result_files(count):
        if name not in earlier and os.path.lexists(out / name):
            raise ValueError(f"{out / name}: is there and was not written by this script; choose another --out")
