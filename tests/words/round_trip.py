"""What comes back: prompt, scene, mp4, words. ``python -m tests.words.round_trip --out FOLDER`` publishes the shares.

100 prompts a language: each of 40 nouns, drawn by lot from the 345 categories, alone; then 30 of two things and 30 of
three, by templates that nothing was built with. A prompt that means the same in several languages is drawn once. It has
come back when the video is read as the same categories, each as often. Goes on where it was stopped.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import csv
import itertools
import json
import random
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import draw_scene
from plumbing.command_line import run_script, script_parser
from plumbing.files import write_atomically
from words import scene
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


def films(out: Path, every: int) -> Iterator[dict[str, Any]]:
    """One row a prompt: what was asked for, what was understood, and the video, by language; drawn where missing."""
    for number, said, asked in itertools.islice(prompts(), 0, None, every):
        row: dict[str, Any] = {"number": number, "asked": asked, "said": said, "understood": {}, "video": {}}
        drawn: dict[str, str] = {}
        for language, prompt in said.items():
            found = read_prompt(prompt, language)
            key = repr((found.things, [(one.subjects, one.kind, one.landmarks) for one in found.relations]))
            row["understood"][language] = sorted(thing.category for thing in found.things)
            name = drawn.setdefault(key, f"{number:03}_{len(drawn)}")
            if not (out / name / "scene.mp4").is_file():
                draw_scene.main([prompt, "--language", language, "--seed", str(number), "--videos", "mp4",
                                 "--out", str(out / name)])  # fmt: skip
            row["video"][language] = name
        yield row


def read_again(out: Path, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with what their videos are read as; what has been read is kept in rows.json."""
    path = out / "rows.json"
    done: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    found = []
    for row in rows:
        for name in set(row["video"].values()) - set(done):
            done[name] = sorted(one.category for one in read_video(out / name / "scene.mp4").things)
            write_atomically(path, json.dumps(done, indent=1) + "\n")
        found.append(row | {"read": {language: done[name] for language, name in row["video"].items()}})
    return found


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
    parser.add_argument("--every", type=int, default=1, metavar="K", help="only every K-th prompt (default all)")
    parser.add_argument("--tries", type=int, default=scene.TRIES, metavar="N", help="drawings of each thing, of which "
                        "the picture recogniser chooses one as in any scene (default 4); 1: no choice")  # fmt: skip
    parser.add_argument("--only-draw", action="store_true", help="make the videos, do not read them")
    parser.add_argument("--publish", type=Path, metavar="FILE", help="also write the shares to this file")
    return parser


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Make the round trips, print the shares and return them."""
    arguments = build_parser().parse_args(argv)
    scene.TRIES = arguments.tries
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = films(arguments.out, arguments.every)
    if arguments.only_draw:
        return {"videos": len(list(rows))}
    result = shares(read_again(arguments.out, rows))
    text = json.dumps(result, indent=2) + "\n"
    if arguments.publish:
        write_atomically(arguments.publish, text)
    sys.stdout.write(text)
    return result


if __name__ == "__main__":
    run_script(main)
