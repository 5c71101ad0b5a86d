"""What things are called: words of three languages and the category, usual size and place that each one names.

Names come from two tables: ``drawings/turkish_names.json`` and ``vocabulary.tsv``. Inflected forms are recognised by
the stems of the Snowball algorithms (Porter 2001, https://snowballstem.org).
"""

from __future__ import annotations

import csv
import functools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from config import TURKISH_NAMES

FOLDER = Path(__file__).resolve().parent
STEMMERS = {"en": "english", "tr": "turkish", "ru": "russian"}
GRAMMAR: dict[str, Any] = json.loads((FOLDER / "grammar.json").read_text(encoding="utf-8"))
"""By language: numbers, sizes, relations and the other small words that a prompt is built with."""
RUSSIAN_ENDINGS = ("ами", "ями", "ах", "ях", "ов", "ев", "ей", "ом", "ем", "ам", "ям", "ью",
                   "а", "я", "у", "ю", "ы", "и", "е")
VOWELS = "аеиоуыэюя"
TURKISH_ENDING = re.compile(
    "(l[ae]r)?(s?[ıiuü]|[ıiuü]?m|[ıiuü]?n|[ıiuü]?[mn][ıiuü]z)?(n?[ıiuü]n|[ny]?[ıiuü]|[ny]?[ae]|n?[dt][ae](n|ki)?|y?l[ae])?"
)
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
def stemmer(language: str) -> Callable[[str], str]:
    """Return the function that cuts the endings from a word of the language."""
    stem: Callable[[str], str] = functools.cache(needed("snowballstemmer").stemmer(STEMMERS[language]).stemWord)
    return stem


@functools.cache
def _by_stem(language: str) -> dict[tuple[str, ...], list[tuple[str, ...]]]:
    found: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for name in names(language):
        stems = _stems(name, language)
        others = [(*stems[:-1], stem) for stem in _fleeting(stems[-1])] if language == "ru" else []
        for key in {name, stems, *others}:
            found.setdefault(key, []).append(name)
    return found


def _fleeting(stem: str) -> list[str]:
    """Return a Russian stem with the vowel that comes and goes before its last consonant: цветок, цветка; кошка, кошек.

    Snowball's rules do not know it.
    """
    if len(stem) < 3 or stem[-1] in VOWELS:
        return []
    before, last = stem[:-1], stem[-1]
    if before[-1] in "ое":
        return [before[:-1] + soft + last for soft in ("", "ь")]
    return [before.rstrip("ьй") + vowel + last for vowel in "ое"] if before[-1] not in VOWELS else []


def _stems(words: Sequence[str], language: str) -> tuple[str, ...]:
    return tuple(stemmer(language)(word) for word in words)


@functools.cache
def longest_name(language: str) -> int:
    """Return the number of words of the longest name."""
    return max(map(len, names(language)))


def find(words: tuple[str, ...], language: str) -> str | None:
    """Return the category that words of small letters name, as they are or inflected, or None.

    Of several names with one stem the longest is taken that the words share a beginning with.
    """
    if not words or words in names(language):
        return names(language).get(words)
    likely = _without_marks().get(words, []) + _turkish(words) if language == "tr" else []
    if not likely:
        index, stems = _by_stem(language), _stems(words, language)
        others = [(*words[:-1], form) for form in _other_forms(words[-1], language)]
        candidates = [name for key in (words, stems, *others) for name in index.get(key, ())]
        likely = [name for name in candidates if all(_related(a, b) for a, b in zip(name, words, strict=True))]
    return names(language)[max(likely, key=lambda name: len("".join(name)))] if likely else None


def _other_forms(word: str, language: str) -> list[str]:
    """Return what a word may be a form of where its stem is cut elsewhere than the name's: buses, кровати, льва."""
    if language == "en":
        return [word.removesuffix("es")]
    if language == "ru":
        ends = [ending for ending in RUSSIAN_ENDINGS if word.endswith(ending) and len(word) > len(ending) + 2]
        return [word[: -len(ending)] + soft for ending in ends for soft in ("", "ь")]
    return []


def _related(name: str, word: str) -> bool:
    """Tell whether a word can be a form of a name: as long, and alike but for the last letters."""
    kept = max(1, len(name) - 3)
    return name == word or (len(word) >= max(2, len(name) - 1) and plain(name)[:kept] == plain(word)[:kept])


@functools.cache
def _without_marks() -> dict[tuple[str, ...], list[tuple[str, ...]]]:
    found: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for name in names("tr"):
        found.setdefault(tuple(map(plain, name)), []).append(name)
    return found


def _turkish(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the names that words are a form of by the order of Turkish endings: plural, owner, case.

    The stemmer, which knows no dictionary, leaves some forms of names that end in s or n as they are.
    """
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
