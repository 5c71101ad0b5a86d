"""Turn drawings of any form that is read into ndjson, Sketch-RNN's npz, SVG or an animation."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from drawings.fitting import Loaded, load_sketches, timed, word_in, write_sketches
from drawings.formats import Sketch
from drawings.look import BACKGROUNDS, LINE_WIDTH, Look
from drawings.packed import local_test_mask
from drawings.sketch_rnn import write_npz
from drawings.svg_writing import write_svg
from plumbing.command_line import check_file
from plumbing.files import atomic_file, refuse_overwriting, write_atomically

FORMS = (".ndjson", ".npz", ".svg", ".gif")
ANIMATED = 6
Animate = Callable[..., None]


def add_convert_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `convert` takes to its parser."""
    parser.add_argument("file", type=Path, metavar="IN", help="drawings in any form of docs/FORMATS.md")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new file, .ndjson, .npz (stroke-3), .svg or .gif")
    parser.add_argument("--fit", action="store_true", help="align, scale and simplify all as the dataset's drawings "
                        "were (default: the coordinates stay as they are, but for .gif)")  # fmt: skip
    parser.add_argument("--word", metavar="NAME", help="what the drawings show (default: as IN or its name says)")
    parser.add_argument("--timing", action="store_true", help="ndjson in the raw form, [xs, ys, ts]: where IN has no "
                        "times, those of a pen at the usual speed")  # fmt: skip
    parser.add_argument("--background", choices=BACKGROUNDS, default="white", help="of .svg and .gif (default white)")
    parser.add_argument("--line-width", type=float, default=LINE_WIDTH, metavar="X",
                        help=f"of .svg and .gif, in 256ths of the square (default {LINE_WIDTH})")  # fmt: skip
    parser.add_argument("--color-by-order", action="store_true", help="strokes from violet, the first, to green")


def run_convert(arguments: argparse.Namespace, animate: Animate) -> list[str]:
    """Convert as the command line says, and return lines that say what was done.

    `animate` writes drawings as a GIF: (drawings, path, look=). Raises ValueError for an OUT of no known form or one
    that is there already.
    """
    path, out, form = arguments.file, arguments.out, arguments.out.suffix.lower()
    if form not in FORMS:
        raise ValueError(f"{out}: must end in {', '.join(FORMS)}, which say what is written")
    if not 0.1 <= arguments.line_width <= 64:
        raise ValueError(f"--line-width is {arguments.line_width:g}, must lie in 0.1 ... 64")
    refuse_overwriting([path], [out])
    if os.path.lexists(out):
        raise ValueError(f"{out}: is there already; remove it or choose another name")
    check_file(out, "OUT")
    loaded = load_sketches(path, fit="always" if arguments.fit else "auto")
    sketches = loaded.as_fitted() if arguments.fit else loaded.sketches
    if not sketches:
        raise ValueError(f"{path}: holds no drawing ({loaded.counts.describe()})")
    own = path.stem if path.is_file() else ""  # a pipe has no name
    words = [arguments.word or sketch.fields.get("word") or word_in(sketches, path) or own for sketch in sketches]
    look = Look(arguments.background, arguments.line_width, arguments.color_by_order)
    if form == ".npz":
        with atomic_file(out) as file:
            write_npz(file, _sides(loaded, sketches))
    elif form == ".svg":
        write_atomically(out, write_svg([sketch.strokes for sketch in sketches], words, look))
    elif form == ".gif":
        animate([loaded.packed.drawing(i) for i in range(min(ANIMATED, len(sketches)))], out, look=look)
    else:
        named = [replace(sketch, fields={**sketch.fields, "word": word})
                 for sketch, word in zip(sketches, words, strict=True)]  # fmt: skip
        write_sketches(out, map(timed, named) if arguments.timing else named)
    shown = min(ANIMATED, len(sketches)) if form == ".gif" else len(sketches)
    summary = f"{path}: read as {loaded.form}; wrote {shown} of {len(sketches)} drawings to {out}"
    return [*loaded.told(path, arguments.fit or form == ".gif"), summary]


def _sides(loaded: Loaded, sketches: list[Sketch]) -> dict[str, list[list[Any]]]:
    """Return the strokes of the drawings by side: the training side of the local split, the halves of the other."""
    held_out = local_test_mask(loaded.packed)
    rows = {"train": np.flatnonzero(~held_out)}
    rows["valid"], rows["test"] = (np.flatnonzero(held_out)[half::2] for half in (0, 1))
    return {side: [list(sketches[row].strokes) for row in chosen] for side, chosen in rows.items()}
