"""A video of a drawing, read back as words: what is in it, how sure that is, and after how much of it.

Any format that PyAV decodes. What is read is ink that appears on still paper (``words.ink``), divided into things
(``words.things``), each named by a transformer with divided space-time attention (``words.video_network``).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from config import NETWORK_PATH, VIDEO_READER_PATH
from scoring.feature_network import load_feature_network
from words.ink import Ink, read_ink
from words.names import GRAMMAR, main_names
from words.things import Reader, Seen, divided, reader_of, seen
from words.video_network import LoadedVideoNetwork, load_video_network

PLURALS = {"mouse": "mice", "foot": "feet", "tooth": "teeth", "knife": "knives", "leaf": "leaves", "sheep": "sheep",
           "fish": "fish", "person": "people"}  # fmt: skip
TEXTS = {
    "en": ("things", "sure after {:.0%} of its lines", "never quite sure", "or", "after"),
    "tr": ("şey", "çizgilerinin {:.0%} kadarından sonra emin", "hiç emin değil", "ya da", "sonra"),
    "ru": ("предметы", "уверенно после {:.0%} линий", "уверенности нет", "или", "после"),
}
"""By language: things, surely after a share, never sure, or, after."""


@dataclass(frozen=True)
class ReadBack:
    """What a video was read as: its things in the order of drawing, its length in s, and what is to be said of it."""

    things: list[Seen]
    seconds: float
    notes: tuple[str, ...]


_recogniser = functools.cache(load_feature_network)


@functools.cache
def shipped_network() -> LoadedVideoNetwork:
    """Return the shipped network, its categories and what made it. Raises what loading weights raises."""
    return load_video_network(VIDEO_READER_PATH, _recogniser(NETWORK_PATH))


@functools.cache
def shipped_reader() -> Reader:
    """Return the reader that the shipped network and the picture recogniser make."""
    return reader_of(shipped_network(), _recogniser(NETWORK_PATH).network)


def read_video(path: Path, several: bool = True) -> ReadBack:
    """Return what a video shows; as one thing unless `several`. Raises ValueError where it is no video."""
    ink = read_ink(path)
    return read_back(ink, shipped_reader(), shipped_network().classes, several)


def read_back(ink: Ink, reader: Reader, classes: Sequence[str], several: bool = True) -> ReadBack:
    """Return what ink shows."""
    parts = divided(ink.segments, ink.strokes, reader) if several and ink.moves else [slice(None)]
    things = [seen(ink.segments[part], ink.times[part], classes, reader) for part in parts]
    return ReadBack(things, ink.seconds, ink.notes)


def counted(categories: Sequence[str]) -> dict[str, int]:
    """Return how many there are of each category, in the order in which they come first."""
    return {category: list(categories).count(category) for category in dict.fromkeys(categories)}


def sentence(categories: Sequence[str], language: str) -> str:
    """Return things as a prompt of the language: "two rabbits and a bus"; in Russian with figures, "2 × кролик"."""
    name, numbers = main_names(language), GRAMMAR[language]["numbers"]
    word = {value: text for text, value in reversed(list(numbers.items()))}
    said = []
    for category, count in counted(categories).items():
        if language == "ru":
            said.append((f"{count} × " if count > 1 else "") + name[category])
        elif language == "tr" or count > 1:
            said.append(f"{word.get(count, count)} {plural(name[category]) if language == 'en' else name[category]}")
        else:
            article = "" if category.startswith("The ") or plural(category) == category else (
                "an " if category[0] in "aeio" else "a ")  # fmt: skip
            said.append(article + name[category])
    both = f" {GRAMMAR[language]['and'][0]} "
    return both.join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)


def plural(name: str) -> str:
    """Return the plural of an English category."""
    first, _, last = name.rpartition(" ")
    if last in PLURALS:
        last = PLURALS[last]
    elif last.endswith(("ch", "sh", "x", "bus")):
        last += "es"
    elif last.endswith("y") and last[-2] not in "aeo":
        last = last[:-1] + "ies"
    elif not last.endswith("s") or last.endswith("ss"):
        last += "s"
    return f"{first} {last}".strip()


def lines_of(path: Path, read: ReadBack, language: str) -> list[str]:
    """Return, line by line, what a video was read as: in one language, or its sentence in all three for "auto"."""
    spoken = language if language != "auto" else "en"
    names, (things, sure, never, either, after) = main_names(spoken), TEXTS[spoken]
    categories = [one.category for one in read.things]
    head = f"{path}: {read.seconds:.1f} s, {len(read.things)} {things}" if len(read.things) > 1 else (
        f"{path}: {read.seconds:.1f} s")  # fmt: skip
    lines = [head] + [f"{each}: {sentence(categories, each)}" for each in GRAMMAR if language in (each, "auto")]
    width = max(len(names[category]) for category in categories)
    for one in read.things:
        others = f" {either} ".join(f"{names[name]} {chance:.0%}" for name, chance in one.others)
        since = never if one.sure_after is None else sure.format(one.sure_after)
        lines.append(f"  {names[one.category]:{width}} {one.chance:4.0%}  {one.begins:.1f} - {one.ends:.1f} s, "
                     f"{since}; {either} {others}")  # fmt: skip
    if len(read.things) == 1:
        quarters = (f"{share:.0%} {names[name]} ({chance:.0%})" for share, name, chance in read.things[0].course[4::5])
        lines.append(f"  {after}: {', '.join(quarters)}")
    return [*lines, *read.notes]
