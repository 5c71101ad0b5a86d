"""A scene is changed by words: smaller, larger, moved, taken away, one more; what is not named stays as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from config import quoted
from words.layout import GAP, HEIGHT, WIDTH, Box, Strokes, around, box_of, usual_box
from words.names import GRAMMAR, find, kinds, longest_name, lowered, split_name
from words.prompts import MOST_THINGS, check_text, words_of
from words.scene import Scene, Thing, draw_things, numbered, refitted

FACTORS = {"smaller": 0.7, "larger": 1.4}
STEP = 0.15
"""How far a thing moves, as a share of the picture's width or height."""
MOVES = {"left": (-STEP, 0.0), "right": (STEP, 0.0), "up": (0.0, -STEP), "down": (0.0, STEP)}


@dataclass(frozen=True)
class Edit:
    """What is done to the things of a category: smaller, larger, left, right, up, down, remove or add."""

    action: str
    category: str
    count: int | None = None

    def line(self) -> str:
        """Return the edit in words."""
        return f"{self.action}: {'' if self.count is None else f'{self.count} × '}{self.category}"


def read_edits(text: str, language: str = "auto") -> tuple[list[Edit], list[str]]:
    """Return what a text asks to change, and what is told about words that were not understood.

    Raises ValueError where nothing in it is understood.
    """
    check_text(text, "the change is empty: say what to change, for example \"make the bus smaller\"")
    languages = list(GRAMMAR) if language == "auto" else [language]
    readings = [_read_edits(text, each) for each in languages]
    edits, told = min(readings, key=lambda reading: (len(reading[1]), -len(reading[0])))
    if not edits:
        raise ValueError(f"nothing in {quoted(text)} is understood as a change; say for example \"make the bus "
                         "smaller, move the cat left, another rabbit, remove the dog\"")  # fmt: skip
    return edits, told


def _read_edits(text: str, language: str) -> tuple[list[Edit], list[str]]:
    grammar = GRAMMAR[language]
    phrases = {lowered(phrase, language): action for action, each in grammar["edits"].items() for phrase in each}
    numbers = {lowered(word, language): number for word, number in grammar["numbers"].items()}
    passed = {lowered(word, language) for word in (*grammar["edit fillers"], *grammar["fillers"], *grammar["and"])}
    negations = {lowered(word, language) for word in grammar["negations"]} - set(phrases)
    edits, told, before = [], [], ""
    marks = "|".join(rf"\b{lowered(word, language)}\b" for word in grammar["and"])
    for clause in re.split(rf"[,;.]|{marks}", lowered(text, language)):
        words, action, categories, count = words_of(clause, language), "", [], None
        if any(word in negations for word in words):
            told.append(f"'{clause.strip()}' is not done: say what is to be done, not what is not")
            continue
        i = 0
        while i < len(words):
            for n in range(min(longest_name(language), len(words) - i), 0, -1):
                part = " ".join(words[i : i + n])
                if part in phrases:
                    action = phrases[part] if action in ("", *FACTORS) or phrases[part] == "add" else action
                elif part in numbers or part.isdigit():
                    count = numbers.get(part) or int(part)
                elif category := find(split_name(part), language):
                    categories.append(category)
                elif part not in passed:
                    continue
                break
            else:
                n = 1
                told.append(f"'{words[i]}' is not understood and is left out")
            i += n
        action = action or ("" if not categories else before)
        if categories and action:
            edits += [Edit(action, category, count) for category in categories]
            before = action
        elif words:
            told.append(f"'{' '.join(words)}' is no change: say what is to be done and with what")
    return edits, told


def edited(scene: Scene, edits: Sequence[Edit]) -> Scene:
    """Return the scene after the edits, one after another.

    Raises ValueError for a thing that is not in it, for more things than a scene holds, or where nothing would be left.
    """
    for edit in edits:
        if edit.action == "add":
            scene = _with_more(scene, edit)
            continue
        named = [i for i, thing in enumerate(scene.things) if thing.category == edit.category]
        if not named:
            there = ", ".join(dict.fromkeys(thing.category for thing in scene.things))
            raise ValueError(f"there is no {edit.category} in the scene; it has {there}")
        chosen = named[-edit.count :] if edit.count and edit.action == "remove" else named[: edit.count]
        if edit.action == "remove":
            scene = _without(scene, chosen)
        else:
            things = [_changed(thing, edit.action) if i in chosen else thing for i, thing in enumerate(scene.things)]
            scene = replace(scene, things=things)
    outside = around([thing.box for thing in scene.things])
    fits = outside.left >= 0 and outside.top >= 0 and outside.right <= WIDTH and outside.bottom <= HEIGHT
    return scene if fits else refitted(scene)


def _changed(thing: Thing, action: str) -> Thing:
    if action in FACTORS:
        return replace(thing, box=thing.box.scaled(FACTORS[action]))
    right, down = MOVES[action]
    return replace(thing, box=thing.box.moved(right * WIDTH, down * HEIGHT))


def _without(scene: Scene, chosen: Sequence[int]) -> Scene:
    kept = [i for i in range(len(scene.things)) if i not in chosen]
    if not kept:
        raise ValueError("nothing would be left of the scene; draw another one instead")
    place = {old: new for new, old in enumerate(kept)}
    behind = [(place[a], place[b]) for a, b in scene.behind if a in place and b in place]
    return replace(scene, things=[scene.things[i] for i in kept], behind=behind)


def _with_more(scene: Scene, edit: Edit) -> Scene:
    """Return the scene with more things of a category, in the size of those there, where there is room."""
    count = edit.count or 1
    if len(scene.things) + count > MOST_THINGS:
        raise ValueError(f"{len(scene.things) + count} things would be in the scene, it has room for {MOST_THINGS}")
    asked = numbered([edit.category] * count, [(thing.category, thing.number) for thing in scene.things])
    things = list(scene.things)
    for (category, number), strokes in zip(asked, draw_things(asked, scene.seed), strict=True):
        things.append(Thing(category, number, strokes, _free_place(category, strokes, things)))
    return replace(scene, things=things)


def _free_place(category: str, strokes: Strokes, things: Sequence[Thing]) -> Box:
    """Return a box where nothing stands: as near as can be to the middle, on the ground of the others or above it."""
    alike = [thing.box for thing in things if thing.category == category]
    own = box_of(strokes)
    if alike:
        longest = max(alike[-1].width, alike[-1].height)
    else:  # in proportion to the sizes of the others
        pairs = [(max(one.box.width, one.box.height), usual_box(one.category, 1.0, one.strokes)) for one in things]
        scale = min(1.0, sum(longest / max(usual.width, usual.height) for longest, usual in pairs) / len(pairs))
        usual = usual_box(category, 1.0, strokes)
        longest = scale * max(usual.width, usual.height)
    factor = longest / max(own.width, own.height)
    width, height = own.width * factor, own.height * factor
    boxes = [thing.box for thing in things]
    ground = max(box.bottom for box in boxes)
    base = GAP + height if kinds()[category].place == "s" else ground
    rows = sorted(range(0, HEIGHT, 20), key=lambda y: abs(y + height - base))
    for y in rows:
        for x in sorted(range(0, WIDTH, 20), key=lambda x: abs(x + width / 2 - WIDTH / 2)):
            box = Box(float(x), float(y), width, height)
            inside = box.right <= WIDTH - GAP and box.left >= GAP and box.top >= GAP and box.bottom <= HEIGHT - GAP
            if inside and not any(box.meets(other, GAP / 2) for other in boxes):
                return box
    right = max(box.right for box in boxes)  # no room: the picture is fitted again
    return Box(right + GAP, ground - height, width, height)
