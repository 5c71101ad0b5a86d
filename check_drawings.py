"""Check whether drawings are what they claim to be: scores, verdicts, reasons, pictures, and a cleaned file.

    python check_drawings.py --category cat drawings.ndjson
    python check_drawings.py --category cat drawings.ndjson --keep clean.ndjson --out checked/cat --false-alarms 0.05
    python check_drawings.py --category dog drawings.svg               # any of 345 categories, any form of drawings

Writes into the folder: verdicts.csv (a line for each drawing: score, share of real drawings that are as odd, verdict,
reason), oddest.png and borderline.png, histogram.png with the threshold, and for cat, bus, rabbit and car redrawn.png,
what an autoencoder of such drawings makes of the oddest. How often each score is right stands in docs/ODD_DRAWINGS.md.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from config import resolve_category
from drawings.fitting import Loaded, load_sketches, write_sketches
from drawings.look import save_figure
from oddity.check import Checker, Verdict
from oddity.looks import Look
from oddity.scores import DEFAULT, SCORES
from oddity.sheets import before_after_sheet, drawings_sheet, histogram
from plumbing.command_line import check_file, check_folder, rate, run_script, script_parser
from plumbing.files import locked_folder, refuse_overwriting, refuse_replacing, write_atomically

VERDICTS = "verdicts.csv"
PICTURES = ("oddest.png", "borderline.png", "histogram.png", "redrawn.png")
SHOWN, REDRAWN = 40, 15
"""Drawings of a sheet, and of that of the autoencoder."""


def table(verdicts: Sequence[Verdict], loaded: Loaded) -> str:
    """Return verdicts as CSV, a line for each drawing: its line or place in the file from 1, and what it says it is."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("line", "key_id", "word", "score", "real_as_odd", "verdict", "reason"))
    for verdict, sketch in zip(verdicts, loaded.sketches, strict=True):
        own = (sketch.number + 1, sketch.fields.get("key_id", ""), sketch.fields.get("word", ""))
        rank = f"{verdict.rank:.4f}"
        writer.writerow((*own, f"{verdict.score:.4f}", rank, verdict.verdict, verdict.reason))
    return text.getvalue()


def save_pictures(checker: Checker, verdicts: Sequence[Verdict], loaded: Loaded, out: Path) -> list[str]:
    """Write the sheets and the histogram, and return their names: of what there is something to show of."""
    drawings = list(loaded.packed)
    scores = np.array([verdict.score for verdict in verdicts])
    order = np.argsort(-scores, kind="stable")
    borderline = sorted(order.tolist(), key=lambda row: abs(float(scores[row]) - checker.threshold))
    category, percent = checker.judges.category, 100 * checker.false_alarms
    figures = {}
    for name, rows, title in (
        ("oddest.png", order, f"The oddest of {len(drawings):,} as “{category}”, the worst first"),
        ("borderline.png", borderline, f"Nearest to the threshold of {percent:g} % false alarms"),
    ):
        shown = [int(row) for row in rows[:SHOWN]]
        labels = [label(verdicts[row], loaded.sketches[row].number) for row in shown]
        figures[name] = drawings_sheet(title, [drawings[row] for row in shown], labels,
                                       [verdicts[row].odd_stroke for row in shown])  # fmt: skip
    quantiles = checker.calibration.quantiles
    unit = f"{SCORES[checker.calibration.score].title}: odder to the right"
    figures["histogram.png"] = histogram(f"{len(drawings):,} drawings as “{category}”", scores, checker.threshold,
                                         quantiles, unit)  # fmt: skip
    if checker.judges.autoencoder is not None:
        look = Look([drawings[row] for row in order[:REDRAWN]], checker.judges)
        labels = [f"line {loaded.sketches[row].number + 1}" for row in order[:REDRAWN]]
        figures["redrawn.png"] = before_after_sheet(
            f"The oddest, redrawn from 32 numbers by an autoencoder of {category}s; red: what is lost", look.ink,
            look.redrawn, labels)  # fmt: skip
    for name, figure in figures.items():
        save_figure(out / name, figure)
    return list(figures)


def label(verdict: Verdict, number: int) -> str:
    """Return what stands below a drawing on a sheet: its line, the share of real drawings as odd, and why, in short."""
    reason = verdict.reason.replace("; ", "\n").partition(" unlike any ")[0]
    reason += " unlike" if verdict.odd_stroke is not None else ""
    return f"line {number + 1}: {100 * verdict.rank:.1f} %\n{reason or verdict.verdict}"


def told(checker: Checker, verdicts: Sequence[Verdict]) -> list[str]:
    """Return the lines that say what was found."""
    counts = Counter(verdict.verdict for verdict in verdicts)
    calibration, total = checker.calibration, len(verdicts)
    reasons = Counter(part for v in verdicts if v.is_odd for part in [v.reason.partition(" (")[0].partition(";")[0]])
    common = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common(5))
    return [
        f"{total:,} drawings as {checker.judges.category}: {counts['odd']} odd ({100 * counts['odd'] / total:.1f} %), "
        f"{counts['borderline']} borderline, {counts['fine']} fine",
        f"threshold {checker.threshold:.3f}: {100 * checker.false_alarms:g} % of real drawings are above it "
        f"(calibrated on {calibration.count:,} {calibration.source})",
        *([f"of the odd: {common}"] if common else []),
    ]


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="drawings in any form of docs/FORMATS.md")
    parser.add_argument("--category", required=True, metavar="NAME", help="what they claim to be")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write those that are not odd there, as they were")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder for the results (default checked/CATEGORY)")
    parser.add_argument("--false-alarms", type=rate, default=0.05, metavar="X",
                        help="share of real drawings that may be called odd (default 0.05, 0.001 to 0.3)")  # fmt: skip
    parser.add_argument("--score", default=DEFAULT, choices=SCORES, metavar="NAME",
                        help=f"one of {', '.join(SCORES)} (default {DEFAULT})")  # fmt: skip
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of CATEGORY.ndjson files, for scores that are "
                        "fitted to training drawings")  # fmt: skip
    return parser


def main(argv: list[str] | None = None) -> list[Verdict]:
    """Check as the command line says, write the results, and return the verdicts."""
    arguments = build_parser().parse_args(argv)
    category = resolve_category(arguments.category)
    out = arguments.out or Path("checked") / category
    loaded = load_sketches(arguments.file)
    if not loaded.sketches:
        raise ValueError(f"{arguments.file}: holds no drawing to check")
    names = (VERDICTS, *PICTURES)
    refuse_overwriting([arguments.file], [*(out / name for name in names), *filter(None, [arguments.keep])])
    refuse_replacing(out, names, names if _is_own(out) else ())
    check_folder(out)
    if arguments.keep:
        check_file(arguments.keep, "--keep")
    for line in loaded.told(arguments.file):
        print(line)
    checker = Checker(category, arguments.score, arguments.false_alarms, arguments.data_dir)
    verdicts = checker.check(list(loaded.packed))
    with locked_folder(out):
        for name in names:
            (out / name).unlink(missing_ok=True)
        write_atomically(out / VERDICTS, table(verdicts, loaded))
        pictures = save_pictures(checker, verdicts, loaded, out)
    if arguments.keep:
        kept = [sketch for sketch, verdict in zip(loaded.sketches, verdicts, strict=True) if not verdict.is_odd]
        write_sketches(arguments.keep, kept)
    print(*told(checker, verdicts), sep="\n")
    print(f"wrote {', '.join((VERDICTS, *pictures))} into {out}"
          + (f", and {len(kept):,} drawings to {arguments.keep}" if arguments.keep else ""))  # fmt: skip
    return verdicts


def _is_own(out: Path) -> bool:
    """Whether an earlier check wrote into the folder: its table begins as ours does."""
    path = out / VERDICTS
    return path.is_file() and path.read_bytes().startswith(b"line,key_id,word,score,")


if __name__ == "__main__":
    run_script(main)
