"""A prompt in words becomes the things to draw, where they are, and what is told about all other words.

Nothing is dropped in silence: every word is understood, or is a small word of the grammar, or is told.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from config import quoted
from words.names import GRAMMAR, TURKISH_ENDING, find, kinds, longest_name, lowered, names, split_name

MOST_THINGS, MOST_WORDS, MOST_LETTERS = 12, 100, 2000
CLAUSE_ENDS = ("and", "boundary")
SIGNS = r"[^\w\s&+,;.:!?'’`\"“”„«»()\[\]/…–—-]+|-(?=\d)"
"""What is neither a word nor the usual punctuation, and a minus."""


@dataclass(frozen=True)
class Wanted:
    """A thing that a prompt asks for, and how large beside the usual."""

    category: str
    size: float = 1.0


@dataclass(frozen=True)
class Relation:
    """Some things stand in a relation to others; both are numbers of things."""

    subjects: tuple[int, ...]
    kind: str
    landmarks: tuple[int, ...]


@dataclass
class Understood:
    """What a prompt was understood as, and what is `told` about the words that were not."""

    prompt: str
    language: str
    things: list[Wanted] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    marked: list[tuple[str, str]] = field(default_factory=list)
    """Each part of the prompt with its role, or the category that it names."""

    def lines(self) -> list[str]:
        """Return, line by line, how the prompt was understood and what could not be."""
        counts: dict[str, int] = {}
        for thing in self.things:
            size = "" if thing.size == 1 else " (large)" if thing.size > 1 else " (small)"
            counts[thing.category + size] = counts.get(thing.category + size, 0) + 1
        listed = ", ".join(f"{count} × {name}" for name, count in counts.items())
        lines = [f"understood as {GRAMMAR[self.language]['name']}: {listed}"]
        for relation in self.relations:
            subjects, landmarks = (
                ", ".join(self.things[i].category for i in each) for each in (relation.subjects, relation.landmarks)
            )
            lines.append(f"  {subjects}: {relation.kind} {landmarks}")
        return lines + self.told


@dataclass
class Item:
    """A piece of a prompt: its role, what it says, and its text."""

    role: str
    value: Any
    text: str


def words_of(text: str, language: str) -> list[str]:
    """Return the words and marks of a text in small letters, without the endings that an apostrophe sets off."""
    words = re.findall(r"\d+|[^\W\d_]+(?:'[^\W\d_]+)?|[,;.:!?]", re.sub("[&+]", ",", lowered(text, language)))
    if language == "tr":
        words = [word.partition("'")[0] for word in words]
    return ["." if word in (":", "!", "?") else word.removesuffix("'s") for word in words]


def items_of(words: Sequence[str], language: str) -> list[Item]:
    """Return the words of a prompt as items, the longest phrases first."""
    items, i = [], 0
    longest = longest_name(language)
    while i < len(words):
        for n in range(min(longest, len(words) - i), 0, -1):
            if item := _item(tuple(words[i : i + n]), language):
                break
        else:
            item, n = Item("unknown", None, words[i]), 1
        items.append(item)
        i += n
    return items


def _item(words: tuple[str, ...], language: str) -> Item | None:
    grammar, text = _grammar(language), " ".join(words)
    if text.isdigit():
        return Item("number", int(text), text)
    for role in ("boundaries", "and", "negations", "relations", "numbers", "vague numbers", "sizes", "fillers"):
        if text in grammar[role]:
            return Item(_ROLE[role], grammar[role][text] if isinstance(grammar[role], dict) else text, text)
    if any(word in grammar["boundaries"] for word in words):
        return None
    if category := find(words, language):
        return Item("thing", category, text)
    if len(words) == 1 and language == "tr":
        if len(text) > 4 and text.endswith(tuple(grammar["negative endings"])):
            return Item("negated", text, text)
        for ending in grammar["locative endings"]:
            if text.endswith(ending) and (category := find((text.removesuffix(ending),), "tr")):
                return Item("thing", category, text)
    return None


_ROLE = {"boundaries": "boundary", "and": "and", "negations": "negation", "relations": "relation", "numbers": "number",
         "vague numbers": "vague", "sizes": "size", "fillers": "filler"}  # fmt: skip


def _grammar(language: str) -> dict[str, Any]:
    if language not in _GRAMMAR:
        def small(value: Any) -> Any:
            if isinstance(value, dict):
                return {lowered(key, language): each for key, each in value.items()}
            return {lowered(each, language) for each in value} if isinstance(value, list) else value

        _GRAMMAR[language] = {key: small(value) for key, value in GRAMMAR[language].items()}
    return _GRAMMAR[language]


_GRAMMAR: dict[str, dict[str, Any]] = {}


def check_text(text: str, empty: str) -> None:
    """Raise ValueError for a text without words, of which `empty` is said, a longer one than is read, or no text."""
    count = len(text.split())
    if count == 0:
        raise ValueError(empty)
    if count > MOST_WORDS or len(text) > MOST_LETTERS:
        raise ValueError(f"{count} words and {len(text)} letters are too many: at most {MOST_WORDS} and "
                         f"{MOST_LETTERS} are read")  # fmt: skip
    if any("\ud800" <= letter <= "\udfff" for letter in text):  # what a terminal of another encoding sends
        raise ValueError(f"{text!a:.60} is no text in UTF-8")


def language_of(prompt: str) -> str:
    """Return the language, "en", "tr" or "ru", that leaves least of a prompt unknown, or names most things."""
    unknown = {}
    for language in GRAMMAR:
        items = items_of(words_of(prompt, language), language)
        letters = set(lowered(prompt, language)) & set("çğıöşü")
        unknown[language] = (sum(len(item.text) for item in items if item.role == "unknown"),
                             language != "tr" if letters else 0,
                             -sum(item.role == "thing" for item in items))  # fmt: skip
    return min(unknown, key=lambda language: unknown[language])


def read_prompt(prompt: str, language: str = "auto") -> Understood:
    """Return what a prompt asks for, in "en", "tr", "ru" or whichever of them fits best.

    Raises ValueError for an empty or overlong prompt, one that asks for nothing that can be drawn, or for too much.
    """
    check_text(prompt, "the prompt is empty: say what to draw, for example \"two rabbits and a bus\"")
    language = language_of(prompt) if language == "auto" else language
    reader = _Reader(Understood(prompt, language))
    for sign in re.findall(SIGNS, prompt):
        reader.tell(f"'{sign}' is no word and is left out")
    reader.read(items_of(words_of(prompt, language), language))
    found = reader.found
    if not found.things:
        told = f" ({'; '.join(found.told)[:300]})" if found.told else ""
        raise ValueError(f"nothing in {quoted(prompt)} can be drawn{told}; name one of 345 categories in English, "
                         "Turkish or Russian")  # fmt: skip
    if len(found.things) > MOST_THINGS:
        raise ValueError(f"{len(found.things)} things are asked for, a scene has room for {MOST_THINGS}")
    return found


class _Reader:
    """Goes through the items of a prompt once; see ``read_prompt``."""

    def __init__(self, found: Understood) -> None:
        self.found, self.grammar = found, _grammar(found.language)
        self.after = bool(self.grammar["after its noun"])
        self.number: int | None = None
        self.size = 1.0
        self.group: list[tuple[int, ...]] = []  # things named that no relation has taken
        self.joined = self.was_joined = False  # by "and" or a comma, what comes and the thing before it
        self.pending: tuple[str, tuple[int, ...]] | None = None  # a preposition that waits for its noun
        self.waiting: tuple[str, tuple[int, ...]] | None = None  # a place that waits for who is there
        self.there: list[tuple[int, ...]] = []  # who has come to that place
        self.last: tuple[int, ...] = ()

    def read(self, items: list[Item]) -> None:
        """Understand all items in their order."""
        at = 0
        while at < len(items):
            item = items[at]
            self.found.marked.append((item.text, str(item.value) if item.role == "thing" else item.role))
            if item.role == "negation":
                at = self.negate(items, at)
            else:
                getattr(self, f"on_{item.role}")(item, items[at + 1 :])
            at += 1
        self.end_place()
        self.end_number()

    def end_number(self) -> None:
        """Forget a number and a size that no thing has come for."""
        if self.number not in (None, 1):
            self.tell(f"the number {self.number} stands before nothing that can be drawn")
        self.number, self.size = None, 1.0

    def tell(self, line: str) -> None:
        """Add a line to what is told, once."""
        if line not in self.found.told:
            self.found.told.append(line)

    def on_filler(self, item: Item, rest: Sequence[Item]) -> None:
        """Pass over a small word."""

    def on_number(self, item: Item, rest: Sequence[Item]) -> None:
        """Remember how many of the next thing are wanted."""
        self.number = item.value if self.number in (None, 1) else self.number

    def on_vague(self, item: Item, rest: Sequence[Item]) -> None:
        """Take a number for a word that leaves it open."""
        self.number = item.value
        self.tell(f"'{item.text}' is understood as {item.value}")

    def on_size(self, item: Item, rest: Sequence[Item]) -> None:
        """Remember how large the next thing is wanted."""
        self.size = item.value

    def on_unknown(self, item: Item, rest: Sequence[Item]) -> None:
        """Tell a word that is not known, with the name that it may be meant for."""
        known = {" ".join(name): category for name, category in names(self.found.language).items()}
        close = difflib.get_close_matches(item.text, known, 1, 0.8) if len(item.text) > 3 else []
        hint = f"; did you mean '{close[0]}'?" if close else ""
        foreign = [GRAMMAR[other]["name"] for other in GRAMMAR if other != self.found.language
                   and len(item.text) > 2 and split_name(item.text) in names(other)]  # fmt: skip
        hint = hint or (f"; it is a thing in {foreign[0]}, say all in one language" if foreign else "")
        self.tell(f"'{item.text}' cannot be drawn and is left out{hint}")

    def on_negated(self, item: Item, rest: Sequence[Item]) -> None:
        """Tell a word that says, by its ending, what is not there."""
        self.tell(f"'{item.text}' (without) is not understood: things are drawn whole")

    def on_and(self, item: Item, rest: Sequence[Item]) -> None:
        """Join what comes to what was."""
        self.end_number()
        self.joined = True

    def on_boundary(self, item: Item, rest: Sequence[Item]) -> None:
        """End a part of the prompt: what comes is in no relation to what was, unless it says so."""
        self.end_number()
        self.end_place()
        self.joined = True
        if not (rest and rest[0].role == "relation" and not self.after):
            self.group, self.last = [], ()

    def on_thing(self, item: Item, rest: Sequence[Item]) -> None:
        """Add things, or find those that were named before, and put them where they are wanted."""
        things = self.named(item)
        self.number, self.size, self.was_joined, self.joined = None, 1.0, self.joined, False
        if note := self.other_meaning(item):
            self.tell(f"'{item.text}' is understood as {item.value} ({note})")
        if self.pending:
            kind, subjects = self.pending
            self.landmark(kind, subjects, things)
        else:
            self.group.append(things)
            if self.waiting:
                self.there.append(things)
        if self.after and (ending := self.locative(item)):
            self.on_relation(Item("relation", ending, item.text), rest)

    def other_meaning(self, item: Item) -> str:
        """Return what is said of a word that also means something else, "" for others."""
        for word, note in self.grammar["homonyms"].items():
            if item.text.startswith(word) and find(split_name(word), self.found.language) == item.value:
                return str(note)
        return ""

    def locative(self, item: Item) -> str:
        """Return the relation that the ending of a Turkish word says, "" for none."""
        if not item.text.endswith(tuple(self.grammar["locative endings"])) or split_name(item.text) in names("tr"):
            return ""
        return "in" if kinds()[str(item.value)].place == "c" else "on"

    def named(self, item: Item) -> tuple[int, ...]:
        """Return the numbers of the things that a noun names; without a number it may be one of before."""
        things, before = self.found.things, [
            i for i, thing in enumerate(self.found.things) if thing.category == item.value
        ]
        if self.number is None and before and self.size == 1.0:
            return tuple(before)
        count = self.number
        if count is None:
            count = 2 if is_plural(item.text, self.found.language) and not (self.pending and not self.after) else 1
            if count == 2:
                self.tell(f"'{item.text}' is understood as 2")
        if len(things) + count > MOST_THINGS:
            raise ValueError(f"{len(things) + count} things are asked for, a scene has room for {MOST_THINGS}")
        things += [Wanted(str(item.value), self.size)] * count
        return tuple(range(len(things) - count, len(things)))

    def landmark(self, kind: str, subjects: tuple[int, ...], things: tuple[int, ...]) -> None:
        """Put things where a preposition and its noun say."""
        if kind == "between" and len(self.last) < 1:
            self.last = things
            return
        things = (*self.last, *things) if kind == "between" else things
        self.pending, self.group, self.last = None, [], things
        if subjects:
            self.relate(subjects, kind, things)
        else:
            self.waiting = (kind, things)

    def relate(self, subjects: Sequence[int], kind: str, landmarks: tuple[int, ...]) -> None:
        """Add a relation, unless a thing would stand in one to itself."""
        subjects = tuple(dict.fromkeys(i for i in subjects if i not in landmarks))
        if subjects:
            self.found.relations.append(Relation(subjects, kind, landmarks))

    def on_relation(self, item: Item, rest: Sequence[Item]) -> None:
        """Begin a relation with its preposition, or complete it with its postposition."""
        if self.after:
            self.postposition(item)
            return
        subjects = tuple(i for things in self.group for i in things) or self.last
        self.end_place()
        if item.value == "between":
            self.last = ()
        self.pending, self.group = (item.value, subjects), []

    def postposition(self, item: Item) -> None:
        """Take the noun before for the landmark, and for its subjects those before it or those to come."""
        count = 2 if item.value == "between" else 1
        taken = self.group[-count:]
        if not taken:
            self.tell(f"'{item.text}' stands behind nothing that can be drawn")
            return
        rest, marks = self.group[: -len(taken)], tuple(i for things in taken for i in things)
        self.there = [things for things in self.there if things not in taken]
        rest = [things for things in rest if things not in self.there]
        self.end_place()
        self.group = []
        if rest and (not self.was_joined or count == 2):
            self.relate([i for things in rest for i in things], item.value, marks)
        else:
            self.waiting = (item.value, marks)
        self.last = marks

    def end_place(self) -> None:
        """Put those who have come to a place into it."""
        if self.waiting and self.there:
            self.relate([i for things in self.there for i in things], *self.waiting)
        self.waiting, self.there = None, []

    def negate(self, items: list[Item], at: int) -> int:
        """Tell a negation with what it speaks of, which is not drawn; return the number of its last item."""
        end = at
        while end + 1 < len(items) and items[end + 1].role not in CLAUSE_ENDS:
            end += 1
            if items[end].role == "thing":
                break
        if self.after or end == at:  # it speaks of what is before
            start = at - 1
            while start >= 0 and items[start].role in ("filler",):
                start -= 1
            if start >= 0 and items[start].role == "relation" and self.found.relations:
                self.found.relations.pop()
            elif start >= 0 and items[start].role == "thing" and self.group:
                self.forget(self.group.pop())
            self.tell(f"'{' '.join(item.text for item in items[max(0, start) : at + 1])}' is not drawn: "
                      "what is not there cannot be shown")  # fmt: skip
            return at
        self.number, self.size = None, 1.0
        self.tell(f"'{' '.join(item.text for item in items[at : end + 1])}' is not drawn: "
                  "what is not there cannot be shown")  # fmt: skip
        return end

    def forget(self, numbers: tuple[int, ...]) -> None:
        """Take the latest things back."""
        if numbers and numbers[-1] == len(self.found.things) - 1:
            del self.found.things[numbers[0] :]
            self.there = [things for things in self.there if things != numbers]
            self.found.relations = [one for one in self.found.relations if not set(one.subjects) & set(numbers)]


def is_plural(word: str, language: str) -> bool:
    """Tell whether a noun that is not a name as it stands is a plural by its ending."""
    if split_name(word) in names(language):
        return False
    if language == "en":
        return word.endswith("s")
    if language == "tr":
        return any(TURKISH_ENDING.fullmatch(word, each.start()) for each in re.finditer("(?<=..)l[ae]r", word))
    return word.endswith(("ы", "и"))
