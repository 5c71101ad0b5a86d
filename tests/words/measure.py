"""The shares of words that are understood, by language, kind and half: ``python -m tests.words.measure``."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from words.prompts import read_prompt

TABLE = Path(__file__).resolve().parent / "words.tsv"
KINDS = ("bare", "inflected", "synonym")


def found(word: str, language: str) -> list[str]:
    """The categories that a prompt of one name is understood as."""
    try:
        return sorted({thing.category for thing in read_prompt(word, language).things})
    except ValueError:
        return []


def shares() -> tuple[dict[tuple[str, str, str], float], list[str]]:
    """The share of words understood by (language, kind, half), and those that were not."""
    right: dict[tuple[str, str, str], list[bool]] = {}
    missed = []
    with TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            for kind in KINDS:
                understood = found(row[kind], row["language"])
                right.setdefault((row["language"], kind, row["half"]), []).append(understood == [row["category"]])
                if understood != [row["category"]]:
                    instead = ", ".join(understood) or "nothing"
                    where = f"{row['half']} {row['language']} {kind}"
                    missed.append(f"{where}: {row[kind]} ({row['category']}) understood as {instead}")
    return {key: sum(each) / len(each) for key, each in right.items()}, missed


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="also show what was missed in the held-out half")
    return parser


if __name__ == "__main__":
    show_all = build_parser().parse_args().all
    measured, missed = shares()
    lines = [f"{' '.join(key):28} {share:.1%}" for key, share in measured.items()]
    shown = [line for line in missed if line.startswith("built") or show_all]
    sys.stdout.write("\n".join([*lines, *shown]) + "\n")
