"""What things are called: words of three languages and the category, usual size and place that each one names.

Names come from two tables: ``drawings/turkish_names.json`` and ``vocabulary.tsv``. Inflected forms are recognised by
the endings of each language; ``page/words/names.js`` does the same in the browser.
"""

from __future__ import annotations

import csv
import functools
import json
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from config import TURKISH_NAMES

FOLDER = Path(__file__).resolve().parent
GRAMMAR: dict[str, Any] = json.loads((FOLDER / "grammar.json").read_text(encoding="utf-8"))
"""By language: numbers, sizes, relations and the other small words that a prompt is built with."""
VOWELS = "аеиоуыэюя"
TURKISH_ENDING = re.compile(GRAMMAR["tr"]["noun ending"])
"""Plural, owner and case, in this order; each may be missing."""
WORDS_NEEDED = "install what words need: python -m pip install -r requirements/words.txt"


@dataclass(frozen=True)
class Kind:
    """A category as a thing of the world: its usual longest side in metres, and where it is met.

    The place is "g" on the ground, "s" in the sky, "c" on the ground and large enough to be in.
    """

    category: str
    metres: float
    place: str


def needed(module: str) -> Any:
    """Return an optional module, raising ValueError that says what to install where it is missing."""
    try:
        return import_module(module)
    except ImportError:
        raise ValueError(f"{module} is missing; {WORDS_NEEDED}") from None


@functools.cache
def _rows() -> tuple[dict[str, str], ...]:
    with (FOLDER / "vocabulary.tsv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file, delimiter="\t"))


@functools.cache
def kinds() -> dict[str, Kind]:
    """Return each of the 345 categories as a thing of the world."""
    return {row["category"]: Kind(row["category"], float(row["metres"]), row["place"]) for row in _rows()}


def lowered(text: str, language: str) -> str:
    """Return `text` in small letters, as the language writes them: Turkish has two kinds of i, Russian е for ё."""
    if language == "tr":
        text = text.replace("I", "ı").replace("İ", "i")
    return text.lower().replace("ё", "е").replace("’", "'").replace("i̇", "i")


def plain(text: str) -> str:
    """Return Turkish `text` without the marks that people leave out when they type in a hurry."""
    return text.translate(str.maketrans("çğıöşüâîû", "cgiosuaiu"))


@functools.cache
def names(language: str) -> dict[tuple[str, ...], str]:
    """Return the category of every name of a language, a name as its words in small letters."""
    column = {"en": "english", "tr": "turkish", "ru": "russian"}[language]
    found: dict[tuple[str, ...], str] = {}
    for first in (True, False):  # a category's own name goes before another one's synonym
        for row in _rows():
            own = [name.strip() for name in row[column].split(",") if name.strip()]
            for name in [main_names(language)[row["category"]]] if first else own:
                found.setdefault(split_name(lowered(name, language)), row["category"])
    return found


@functools.cache
def main_names(language: str) -> dict[str, str]:
    """Return what each category is called in a language."""
    if language == "tr":
        return TURKISH_NAMES
    return {row["category"]: row["category"] if language == "en" else row["russian"].partition(",")[0].strip()
            for row in _rows()}  # fmt: skip


def split_name(name: str) -> tuple[str, ...]:
    """Return the words of a name; a hyphen separates as a space does."""
    return tuple(name.replace("-", " ").split())


@functools.cache
def _bases(word: str, language: str) -> frozenset[str]:
    """Return a word as it is, and without each ending that it may have."""
    bases = {word}
    for instead, endings in GRAMMAR[language].get("endings", {}).items():
        own = [end for end in endings if word.endswith(end) and len(word) > len(end) + 1]
        bases |= {word.removesuffix(end) + instead for end in own}
    return frozenset(bases)


@functools.cache
def _bases_of_name(word: str, language: str) -> frozenset[str]:
    bases = _bases(word, language)
    return bases.union(*map(_fleeting, bases)) if language == "ru" else bases


def _fleeting(base: str) -> list[str]:
    """Return a Russian base with the vowel that comes and goes before its end: цветок, цветка; кошка, кошек."""
    if len(base) < 3 or base[-1] in VOWELS:
        return []
    before, last = base[:-1], base[-1]
    if before[-1] in "ое":
        return [before[:-1] + soft + last for soft in ("", "ь")]
    return [before.rstrip("ьй") + vowel + last for vowel in "ое"] if before[-1] not in VOWELS else []


@functools.cache
def _by_base(language: str) -> dict[str, list[tuple[str, ...]]]:
    found: dict[str, list[tuple[str, ...]]] = {}
    for name in names(language):
        for base in _bases_of_name(name[-1], language):
            found.setdefault(base, []).append(name)
    return found


@functools.cache
def longest_name(language: str) -> int:
    """Return the number of words of the longest name."""
    return max(map(len, names(language)))


def find(words: tuple[str, ...], language: str) -> str | None:
    """Return the category that words of small letters name, as they are or inflected, or None.

    Of several names that the words may be a form of the longest is taken.
    """
    if not words or words in names(language):
        return names(language).get(words)
    if language == "tr":
        likely = _without_marks().get(words, []) + _turkish(words)
    else:
        bases = sorted(_bases(words[-1], language))
        candidates = [name for base in bases for name in _by_base(language).get(base, ()) if len(name) == len(words)]
        likely = [name for name in candidates if all(map(_is_form, words, name, [language] * len(name)))]
    return names(language)[max(likely, key=lambda name: (len("".join(name)), name))] if likely else None


def _is_form(word: str, name: str, language: str) -> bool:
    """Tell whether a word can be a form of a name's: as long, alike but for the last letters, of one base."""
    kept = max(1, len(name) - 3)
    alike = len(word) >= max(2, len(name) - 1) and name[:kept] == word[:kept]
    return name == word or (alike and not _bases(word, language).isdisjoint(_bases_of_name(name, language)))


@functools.cache
def _without_marks() -> dict[tuple[str, ...], list[tuple[str, ...]]]:
    found: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for name in names("tr"):
        found.setdefault(tuple(map(plain, name)), []).append(name)
    return found


def _turkish(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the names that words are a form of by the order of Turkish endings: plural, owner, case."""
    *first, last = words
    ends = [i for i in range(2, len(last)) if TURKISH_ENDING.fullmatch(last, i)]
    softened = {"b": "p", "c": "ç", "d": "t", "ğ": "k", "g": "k"}
    found = []
    for end in ends:
        base = last[:end]
        possessed = [base + s + vowel for s in ("", "s") for vowel in "ıiuü"] if first else []  # okul otobüs-ü
        dropped = [base[:-1] + vowel + base[-1] for vowel in "ıiuü"]  # burun, burn-un
        for form in (base, base[:-1] + softened.get(base[-1], base[-1]), *possessed, *dropped):
            if (*first, form) in names("tr"):
                found.append((*first, form))
    return found
