"""What comes back: prompt, scene, mp4, words. ``python -m tests.words.round_trip --out FOLDER`` publishes the shares.

100 prompts a language: each of 40 nouns, drawn by lot from the 345 categories, alone; then 30 of two things and 30 of
three, by templates that nothing was built with. A prompt that means the same in several languages is drawn once. It has
come back when the video is read as the same categories, each as often. Goes on where it was stopped.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import csv
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import draw_scene
from plumbing.command_line import run_script, script_parser
from plumbing.files import write_atomically
from words.prompts import read_prompt
from words.read_back import plural, read_video, sentence

NOUNS = Path(__file__).resolve().parent / "round_trip.tsv"
TEMPLATES: dict[str, dict[int, tuple[str, ...]]] = {
    "en": {1: ("{a}",), 2: ("{a} and {b}", "{a} close to {b}", "two {as}", "{a} to the left of {b}"),
           3: ("{a}, {b} and {c}", "two {as} and {b}", "three {as}")},
    "tr": {1: ("bir {a}",), 2: ("bir {a} ve bir {b}", "{bnin} yanında bir {a}", "iki {a}", "{bnin} solunda bir {a}"),
           3: ("bir {a}, bir {b} ve bir {c}", "iki {a} ve bir {b}", "üç {a}")},
    "ru": {1: ("{a}",), 2: ("{a} и {b}", "{a} возле {b_of}", "{two} {a_of}", "{a} слева от {b_of}"),
           3: ("{a}, {b} и {c}", "{two} {a_of} и {b}", "три {a_of}")},
}  # fmt: skip
COUNTS = {1: 40, 2: 30, 3: 30}


def prompts() -> Iterator[tuple[int, dict[str, str], list[str]]]:
    """The number of each prompt, its words by language, and the categories that it asks for."""
    with NOUNS.open(encoding="utf-8", newline="") as file:
        nouns = list(csv.DictReader(file, delimiter="\t"))
    lot, number = random.Random(0), 0
    for things, count in COUNTS.items():
        for each in range(count):
            kind = each % len(TEMPLATES["en"][things])
            several = "{two}" in TEMPLATES["ru"][things][kind] or "три" in TEMPLATES["ru"][things][kind]
            a, b, c = lot.sample([noun for noun in nouns if noun["ru two"] or not several], 3)
            a = nouns[each] if things == 1 else a
            said = {language: kinds[things][kind].format(**forms(language, a, b, c))
                    for language, kinds in TEMPLATES.items()}  # fmt: skip
            english = TEMPLATES["en"][things][kind]
            asked = [a["category"]] * (2 if "two" in english else 3 if "three" in english else 1)
            asked += [noun["category"] for key, noun in (("{b}", b), ("{c}", c)) if key in english]
            yield number, said, sorted(asked)
            number += 1


def forms(language: str, *nouns: dict[str, str]) -> dict[str, str]:
    """What stands in a template's places."""
    found = {"two": nouns[0]["ru two"]}
    for key, noun in zip("abc", nouns, strict=True):
        if language == "en":
            found |= {key: sentence([noun["category"]], "en"), f"{key}s": plural(noun["category"])}
        else:
            found |= {key: noun[language], f"{key}_of": noun["ru genitive"], f"{key}nin": noun["tr genitive"]}
    return found


def comes_back(prompt: str, language: str, seed: int, folder: Path) -> list[str]:
    """The categories that the video of a prompt is read as, sorted."""
    draw_scene.main([prompt, "--language", language, "--seed", str(seed), "--videos", "mp4", "--out", str(folder)])
    return sorted(one.category for one in read_video(folder / "scene.mp4").things)


def rows_of(out: Path, most: int) -> list[dict[str, Any]]:
    """One row a prompt: what was asked for, understood and read, by language."""
    path = out / "rows.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    done = {row["number"] for row in rows}
    for number, said, asked in prompts():
        if number in done or len(rows) >= most:
            continue
        row: dict[str, Any] = {"number": number, "asked": asked, "said": said, "understood": {}, "read": {}}
        drawn: dict[str, list[str]] = {}
        for language, prompt in said.items():
            found = read_prompt(prompt, language)
            key = repr((found.things, [(one.subjects, one.kind, one.landmarks) for one in found.relations]))
            row["understood"][language] = sorted(thing.category for thing in found.things)
            if key not in drawn:
                drawn[key] = comes_back(prompt, language, number, out / f"{number:03}_{len(drawn)}")
            row["read"][language] = drawn[key]
        rows.append(row)
        write_atomically(path, json.dumps(rows, ensure_ascii=False, indent=1) + "\n")
    return rows


def shares(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The shares of prompts that come back, and of their things, by language and number of things."""
    result: dict[str, Any] = {}
    for language in TEMPLATES:
        for things in COUNTS:
            own = [row for row in rows if len(row["asked"]) == things]
            if not own:
                continue
            found = [sum(min(row["asked"].count(name), row["read"][language].count(name)) for name in set(row["asked"]))
                     for row in own]  # fmt: skip
            result.setdefault(language, {})[str(things)] = {
                "prompts": len(own),
                "understood": sum(row["understood"][language] == row["asked"] for row in own) / len(own),
                "come back": sum(row["read"][language] == row["asked"] for row in own) / len(own),
                "things that come back": sum(found) / (things * len(own)),
                "as many things": sum(len(row["read"][language]) == things for row in own) / len(own),
            }
    return result


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for scenes and rows.json")
    parser.add_argument("--n", type=int, default=100, metavar="N", help="prompts (default all 100)")
    parser.add_argument("--publish", type=Path, metavar="FILE", help="also write the shares to this file")
    return parser


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Make the round trips, print the shares and return them."""
    arguments = build_parser().parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    result = shares(rows_of(arguments.out, arguments.n))
    text = json.dumps(result, indent=2) + "\n"
    if arguments.publish:
        write_atomically(arguments.publish, text)
    sys.stdout.write(text)
    return result


if __name__ == "__main__":
    run_script(main)
