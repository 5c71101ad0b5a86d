"""What a run of drawings keeps in its folder: the names of its files, by a list that it keeps of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from config import ATTRIBUTION
from plumbing.files import refuse_overwriting, refuse_replacing

SVG_FILES = 8


def result_files(count: int) -> list[str]:
    """Return the names of the files that a run of `count` drawings writes; what the run says of itself is first."""
    svgs = [f"drawing_{i:03d}.svg" for i in range(min(count, SVG_FILES))]
    return ["conditions.json", "drawings.ndjson", *svgs, "sheet.svg", "grid.png", "animation.gif", "denoising.gif"]


def files_of_earlier_run(out: Path, also: Sequence[str] = ()) -> list[str]:
    """Return the names of the files in a folder that an earlier run says it wrote there.

    They are names that a run writes, or of `also`, whatever else it says.
    """
    try:
        found = json.loads((out / "conditions.json").read_text(encoding="utf-8"))
        if found["attribution"] != ATTRIBUTION:
            return []
        listed = found.get("files") or result_files(found["n"])  # earlier versions kept no list
        return [name for name in (*result_files(SVG_FILES), *also) if name in listed and os.path.lexists(out / name)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def refuse_losing_files(out: Path, count: int, inputs: Iterable[Path] = (), also: Sequence[str] = ()) -> None:
    """Raise ValueError where a run of `count` drawings would replace or remove one of `inputs`, or what no run wrote.

    `also` are names of further files that the caller is about to write there.
    """
    names, earlier = [*result_files(count), *also], files_of_earlier_run(out, also)
    refuse_overwriting(inputs, [out / name for name in {*names, *earlier}])
    refuse_replacing(out, names, earlier)
