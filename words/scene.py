"""A scene: things that a model has drawn, each in its place, and the files that hold it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from config import ATTRIBUTION, NETWORK_PATH, TURKISH_NAMES, shipped_checkpoint
from dataset_utils import write_ndjson
from diffusion_model import TrainedModel
from drawings.look import INK, WHITE
from drawings.simplify import official_form
from plumbing.files import write_atomically
from rendering import feature_rasters
from sample_diffusion import generate_drawings, load_model
from scoring.feature_network import LoadedNetwork, describe_inputs, load_feature_network
from words.layout import HEIGHT, LINE_WIDTH, WIDTH, Box, Strokes, arranged, fitted, hidden_removed, placed
from words.prompts import Relation, Understood

TRIES = 4
"""Drawings made of each thing, of which the recogniser of pictures chooses the one that it names most surely."""
FORMAT = "scene-1"
Asked = tuple[str, int]
"""A category, and which of the things of this category in a scene it is: with the seed it decides the drawing."""


@dataclass(frozen=True)
class Thing:
    """A thing in a scene: what it is, its strokes as they were drawn, and its box in the picture."""

    category: str
    number: int
    strokes: Strokes
    box: Box

    def in_place(self) -> Strokes:
        """Return its strokes where they are in the picture, in px."""
        return placed(self.strokes, self.box)


@dataclass(frozen=True)
class Scene:
    """Things in the order in which they are drawn, and what they were made from."""

    prompt: str
    language: str
    seed: int
    things: list[Thing]
    behind: list[tuple[int, int]] = field(default_factory=list)
    """Pairs of things of which the first is partly hidden by the second."""

    def visible(self) -> list[Strokes]:
        """Return the strokes of each thing in px, without what another one hides."""
        shown = [thing.in_place() for thing in self.things]
        whole = list(shown)
        for back, front in self.behind:
            shown[back] = hidden_removed(shown[back], whole[front])
        return shown

    def strokes(self) -> Strokes:
        """Return all strokes of the picture in px, in the order of drawing."""
        return [stroke for strokes in self.visible() for stroke in strokes]


def draw_things(asked: Sequence[Asked], seed: int) -> list[Strokes]:
    """Return the drawing of each (category, number), strokes (num_points, 2) in px of the 255 box.

    It depends on the seed, the category and the number alone. Raises ValueError where a checkpoint is missing.
    """
    drawn: dict[Asked, Strokes] = {}
    judge = load_feature_network(NETWORK_PATH)
    models: dict[Path, TrainedModel] = {}
    for category in dict.fromkeys(category for category, _ in asked):
        path = shipped_checkpoint(category)
        trained = models.setdefault(path, models.get(path) or load_model(path, device="cpu"))
        for number in sorted({number for own, number in asked if own == category}):
            made = tries(trained, category, number, seed)
            drawn[category, number] = [np.round(stroke, 2) for stroke in made[surest(made, category, judge)]]
    return [drawn[each] for each in asked]


def tries(trained: TrainedModel, category: str, number: int, seed: int) -> list[Strokes]:
    """Return the drawings, numbers `number` * TRIES and on, of which one becomes the thing (category, number).

    They are drawn alone, so that no thing's rounding depends on how many others are drawn.
    """
    indices = range(number * TRIES, (number + 1) * TRIES)
    made = generate_drawings(trained, category, indices, seed=seed, guidance=trained.guidance).drawings
    return [[stroke.astype(float) for stroke in drawing] for drawing in made]


def surest(drawings: Sequence[Strokes], category: str, judge: LoadedNetwork) -> int:
    """Return the number of the drawing that the recogniser takes for the category most surely.

    Raises ValueError where none has a stroke.
    """
    rows = [i for i, drawing in enumerate(drawings) if drawing]
    if not rows:
        raise ValueError(f"no drawing of '{category}' has a finite stroke; choose another --seed")
    _, logits = describe_inputs(judge.network, feature_rasters([drawings[i] for i in rows]))
    chances = np.exp(logits - logits.max(1, keepdims=True))
    return rows[int((chances[:, judge.classes.index(category)] / chances.sum(1)).argmax())]


def numbered(categories: Sequence[str], before: Sequence[Asked] = ()) -> list[Asked]:
    """Return each category with its number among the things of its kind, after those of `before`."""
    counts = {category: max((n for own, n in before if own == category), default=-1) + 1 for category in categories}
    asked = []
    for category in categories:
        asked.append((category, counts[category]))
        counts[category] += 1
    return asked


def make_scene(understood: Understood, seed: int) -> Scene:
    """Return the scene that a prompt asks for."""
    categories = [thing.category for thing in understood.things]
    asked = numbered(categories)
    drawings = draw_things(asked, seed)
    boxes = arranged(categories, [thing.size for thing in understood.things], drawings, understood.relations)
    things = [Thing(*each) for each in zip(*zip(*asked, strict=True), drawings, boxes, strict=True)]
    return Scene(understood.prompt, understood.language, seed, things, behind_pairs(understood.relations))


def behind_pairs(relations: Sequence[Relation]) -> list[tuple[int, int]]:
    """Return which thing is partly hidden by which, as relations say it."""
    pairs = []
    for one in relations:
        both = [(subject, landmark) for subject in one.subjects for landmark in one.landmarks]
        pairs += both if one.kind == "behind" else [(b, a) for a, b in both] if one.kind == "in front of" else []
    return pairs


def refitted(scene: Scene) -> Scene:
    """Return a scene whose things fill the picture again."""
    boxes = fitted([thing.box for thing in scene.things])
    return replace(scene, things=[replace(one, box=box) for one, box in zip(scene.things, boxes, strict=True)])


# ------------------------------------------------------------------ files


def scene_svg(scene: Scene) -> str:
    """Return the picture as an SVG, one group a thing, one path a stroke."""
    groups = []
    for thing, strokes in zip(scene.things, scene.visible(), strict=True):
        lines = ("L".join(f"{x:.1f} {y:.1f}" for x, y in (stroke if len(stroke) > 1 else [*stroke, *stroke]))
                 for stroke in strokes)  # fmt: skip
        paths = "".join(f'<path d="M{line}"/>' for line in lines)
        groups.append(f'<g data-word="{thing.category}">{paths}</g>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}"><rect width="{WIDTH}" height="{HEIGHT}" fill="{WHITE}"/>'
            f'<g fill="none" stroke="{INK}" stroke-width="{LINE_WIDTH:g}" stroke-linecap="round" '
            f'stroke-linejoin="round">\n' + "\n".join(groups) + "\n</g></svg>\n")  # fmt: skip


def write_scene_drawings(path: Path, scene: Scene) -> None:
    """Write the whole scene as one drawing, then each thing by itself, in the official form of the dataset."""
    drawings = [scene.strokes(), *(thing.strokes for thing in scene.things)]
    words = ["scene", *(thing.category for thing in scene.things)]
    write_ndjson(path, [official_form(drawing)[0] for drawing in drawings], word=words)


def save_scene(path: Path, scene: Scene, told: Sequence[str]) -> None:
    """Write a scene, so that it can be edited, with what was told of its prompt."""
    things = [
        {"category": one.category, "number": one.number,
         "box": [round(float(v), 2) for v in (one.box.left, one.box.top, one.box.width, one.box.height)],
         "strokes": [np.round(stroke, 2).T.tolist() for stroke in one.strokes]}
        for one in scene.things
    ]  # fmt: skip
    content = {"format": FORMAT, "attribution": ATTRIBUTION, "prompt": scene.prompt, "language": scene.language,
               "seed": scene.seed, "told": list(told), "behind": scene.behind, "things": things}  # fmt: skip
    write_atomically(path, json.dumps(content, ensure_ascii=False) + "\n")


def load_scene(path: Path) -> Scene:
    """Read a scene that ``save_scene`` wrote. Raises ValueError, of one line, for anything else."""
    path = path / "scene.json" if path.is_dir() else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError("of another format")
        things = [_thing(one) for one in content["things"]]
        behind = [(int(a), int(b)) for a, b in content["behind"]]
        if not things or any(not 0 <= i < len(things) for pair in behind for i in pair):
            raise ValueError("its things do not fit together")
        return Scene(str(content["prompt"]), str(content["language"]), int(content["seed"]), things, behind)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: not a scene that draw_scene.py wrote ({error!s:.100})") from None


def _thing(saved: dict[str, Any]) -> Thing:
    strokes = [np.array(stroke, dtype=float).T for stroke in saved["strokes"]]
    box = Box(*(float(value) for value in saved["box"]))
    shapes = all(stroke.ndim == 2 and stroke.shape[1] == 2 and len(stroke) for stroke in strokes)
    numbers = np.concatenate([np.ravel(stroke) for stroke in [*strokes, [box.left, box.top, box.width, box.height]]])
    if saved["category"] not in TURKISH_NAMES or not strokes or not shapes or not np.abs(numbers).max() < 1e5:
        raise ValueError("a thing of another form")
    return Thing(str(saved["category"]), int(saved["number"]), strokes, box)
