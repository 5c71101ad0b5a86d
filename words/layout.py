"""Where the things of a scene stand: usual sizes, and places that fulfil the relations without unwanted overlaps.

Lengths are pixels of the picture once all is placed; before that they are units of the same size for all things. A
thing is placed by its box; y goes down, and the ground is y = 0 until the scene is fitted into the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from words.names import kinds
from words.prompts import Relation

WIDTH, HEIGHT = 960, 640
MARGIN = 40.0
LINE_WIDTH = 4.0
GAP = 18.0
SIZE_POWER = 0.3
"""Sizes in the picture go with this power of those in the world: 20 times as long is drawn 2.5 times as long."""
UNIT = 130.0  # px of a thing of one metre
OVERLAPPING = ("in", "in front of", "behind", "under")
"""Relations in which the boxes of two things overlap."""

ROW_COST = 1.4
"""How much larger all must be for one more row on the ground, whose things would stand in the air."""

Strokes = list[NDArray[Any]]


@dataclass(frozen=True)
class Box:
    """A rectangle by its left, top, width and height."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The x of its right side."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """The y of its lower side."""
        return self.top + self.height

    @property
    def middle(self) -> float:
        """The x of its centre."""
        return self.left + self.width / 2

    def moved(self, dx: float, dy: float = 0.0) -> Box:
        """Return it elsewhere."""
        return replace(self, left=self.left + dx, top=self.top + dy)

    def scaled(self, factor: float) -> Box:
        """Return it in another size, the middle of its lower side where it was."""
        width, height = self.width * factor, self.height * factor
        return Box(self.middle - width / 2, self.bottom - height, width, height)

    def meets(self, other: Box, gap: float = 0.0) -> bool:
        """Tell whether two boxes overlap, or are nearer than `gap`."""
        return (self.left < other.right + gap and other.left < self.right + gap
                and self.top < other.bottom + gap and other.top < self.bottom + gap)  # fmt: skip


def box_of(strokes: Sequence[NDArray[Any]]) -> Box:
    """Return the box around some strokes."""
    points = np.concatenate(list(strokes)).astype(float)
    low, size = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1.0)
    return Box(float(low[0]), float(low[1]), float(size[0]), float(size[1]))


def around(boxes: Sequence[Box]) -> Box:
    """Return the box around some boxes."""
    left, top = min(box.left for box in boxes), min(box.top for box in boxes)
    return Box(left, top, max(box.right for box in boxes) - left, max(box.bottom for box in boxes) - top)


def usual_box(category: str, size: float, strokes: Strokes) -> Box:
    """Return the box of a thing that stands at x = 0 on the ground in its usual size times `size`."""
    own = box_of(strokes)
    longest = UNIT * kinds()[category].metres ** SIZE_POWER * size
    factor = longest / max(own.width, own.height)
    return Box(-own.width * factor / 2, -own.height * factor, own.width * factor, own.height * factor)


def placed(strokes: Strokes, box: Box) -> Strokes:
    """Return strokes scaled and moved into a box of their proportions."""
    own = box_of(strokes)
    scale = max(box.width / own.width, box.height / own.height) if own.width > 1 or own.height > 1 else 1.0
    return [(np.asarray(stroke, float) - (own.left, own.top)) * scale + (box.left, box.top) for stroke in strokes]


def arranged(
    categories: Sequence[str], sizes: Sequence[float], drawings: Sequence[Strokes], relations: Sequence[Relation]
) -> list[Box]:
    """Return the box of each thing of a scene, in px of the picture."""
    boxes = [usual_box(*each) for each in zip(categories, sizes, drawings, strict=True)]
    clusters = [_Cluster(numbers, boxes, categories, drawings) for numbers in _connected(len(boxes), relations)]
    for cluster in clusters:
        cluster.place([one for one in relations if one.subjects[0] in cluster.numbers])
    _side_by_side(clusters, boxes, categories)
    return fitted(boxes)


def fitted(boxes: Sequence[Box]) -> list[Box]:
    """Return boxes scaled and moved so that they fill the picture up to its margin."""
    whole = around(boxes)
    scale = min((WIDTH - 2 * MARGIN) / whole.width, (HEIGHT - 2 * MARGIN) / whole.height)
    dx = (WIDTH - whole.width * scale) / 2 - whole.left * scale
    dy = (HEIGHT - whole.height * scale) / 2 - whole.top * scale
    return [Box(box.left * scale + dx, box.top * scale + dy, box.width * scale, box.height * scale) for box in boxes]


def _connected(count: int, relations: Sequence[Relation]) -> list[list[int]]:
    """Return the things in groups that relations connect, each in the order of the prompt."""
    group = list(range(count))
    for relation in relations:
        for other in (*relation.subjects, *relation.landmarks):
            old, new = group[other], group[relation.landmarks[0]]
            group = [new if one == old else one for one in group]
    return [[i for i in range(count) if group[i] == one] for one in dict.fromkeys(group)]


class _Cluster:
    """Things that relations connect; it places them and knows who has a place."""

    def __init__(
        self, numbers: list[int], boxes: list[Box], categories: Sequence[str], drawings: Sequence[Strokes]
    ) -> None:
        self.numbers, self.boxes, self.categories, self.drawings = numbers, boxes, categories, drawings
        self.done: list[int] = []
        self.may_meet: set[frozenset[int]] = set()

    def place(self, relations: Sequence[Relation]) -> None:
        """Place landmarks before those who stand in a relation to them."""
        subjects = {i for relation in relations for i in relation.subjects}
        for root in [i for i in self.numbers if i not in subjects] or self.numbers[:1]:
            self._put_beside(root)
        left = list(relations)
        while left:
            ready = [one for one in left if set(one.landmarks) <= set(self.done)] or left[:1]
            left.remove(ready[0])
            self._relate(ready[0])
        for number in self.numbers:
            if number not in self.done:
                self._put_beside(number)

    def _put_beside(self, number: int) -> None:
        if self.done:
            right = max(self.boxes[i].right for i in self.done)
            self.boxes[number] = self.boxes[number].moved(right + GAP - self.boxes[number].left)
        self.done.append(number)

    def _relate(self, relation: Relation) -> None:
        for number in relation.landmarks:
            if number not in self.done:
                self._put_beside(number)
        marks = [self.boxes[i] for i in relation.landmarks]
        new = [i for i in relation.subjects if i not in self.done]
        if relation.kind == "between" and len(marks) > 1:
            self._between(new, relation.landmarks)
            return
        mark = around(marks)
        if relation.kind in ("under", "in"):  # all that come there share its width
            room = mark.width * (0.9 if relation.kind == "under" else 0.75)
            height = mark.height * (0.5 if relation.kind == "under" else 0.45)
            wide = sum(self.boxes[i].width for i in new) + GAP * (len(new) - 1)
            shrink = min([1.0, room / max(wide, 1.0), *(height / self.boxes[i].height for i in new)])
            for i in new:
                self.boxes[i] = self.boxes[i].scaled(shrink)
        row = sum(self.boxes[i].width for i in new) + GAP * max(0, len(new) - 1)
        if relation.kind == "on" and len(new) > 1 and row > mark.width:  # all find room
            for i in new:
                self.boxes[i] = self.boxes[i].scaled(max(0.4, mark.width / row))
            row = sum(self.boxes[i].width for i in new) + GAP * max(0, len(new) - 1)
        left = mark.middle - row / 2
        for count, i in enumerate(new):
            side = -1 if relation.kind == "left of" or (relation.kind == "next to" and count % 2) else 1
            self.boxes[i] = self._spot(i, relation, mark, left, side)
            left += self.boxes[i].width + GAP
            self._avoid(i, relation, side)
            self.done.append(i)

    def _spot(self, number: int, relation: Relation, mark: Box, left: float, side: int) -> Box:
        """Return the box of a thing where its relation to the box `mark` wants it; in a row it begins at `left`."""
        box, kind = self.boxes[number], relation.kind
        if kind in ("left of", "right of", "next to"):
            x = mark.right + GAP if side > 0 else mark.left - GAP - box.width
            return box.moved(x - box.left, mark.bottom - box.bottom)
        if kind == "on":
            return box.moved(left - box.left, self._surface(relation.landmarks, left, left + box.width) - box.bottom)
        if kind == "above":
            return box.moved(left - box.left, mark.top - 2 * GAP - box.bottom)
        if kind == "below" or (kind == "under" and self._flies(relation.landmarks)):
            return box.moved(left - box.left, mark.bottom + 2 * GAP - box.top)
        if kind == "in":
            return box.moved(left - box.left, mark.bottom - 0.12 * mark.height - box.bottom)
        if kind == "under":
            return self._where_least_ink(number, box.moved(left - box.left, mark.bottom - box.bottom), relation, mark)
        if kind == "in front of":
            return box.moved(left + 0.3 * mark.width - box.left, mark.bottom + 0.2 * box.height - box.bottom)
        # behind: it looks out on one side
        return box.moved(mark.right - 0.45 * box.width - box.left,
                         mark.bottom - min(0.15 * mark.height, 0.5 * box.height) - box.bottom)  # fmt: skip

    def _flies(self, numbers: Sequence[int]) -> bool:
        return any(kinds()[self.categories[i]].place == "s" for i in numbers)

    def _ink(self, numbers: Sequence[int]) -> NDArray[np.float64]:
        """Return points along the strokes of placed things, some 2 px from each other, (n, 2)."""
        parts = [stroke for i in numbers for stroke in placed(self.drawings[i], self.boxes[i])]
        return np.concatenate([_along(stroke) for stroke in parts])

    def _surface(self, landmarks: Sequence[int], left: float, right: float) -> float:
        """Return the height, y, of what is highest below the middle of something that is put on landmarks."""
        ink, quarter = self._ink(landmarks), (right - left) / 4
        below = ink[(ink[:, 0] >= left + quarter) & (ink[:, 0] <= right - quarter)]
        return float((below if len(below) else ink)[:, 1].min())

    def _where_least_ink(self, number: int, box: Box, relation: Relation, mark: Box) -> Box:
        """Return the box at the foot of a landmark, moved within its width to where it covers the least ink."""
        ink = self._ink([*relation.landmarks, *(i for i in self.done if i not in relation.landmarks)])
        room = max(0.0, mark.width - box.width) / 2
        shifts = sorted(np.linspace(-room, room, 21) + mark.middle - box.middle, key=abs)

        def covered(shift: float) -> int:
            at = box.moved(float(shift))
            inside = (ink[:, 0] > at.left) & (ink[:, 0] < at.right) & (ink[:, 1] > at.top) & (ink[:, 1] < at.bottom)
            return int(inside.sum())

        return box.moved(float(min(shifts, key=covered)))

    def _between(self, new: Sequence[int], landmarks: Sequence[int]) -> None:
        first, second = landmarks[0], landmarks[-1]
        if self.boxes[first].left > self.boxes[second].left:
            first, second = second, first
        x = self.boxes[first].right + GAP
        for i in new:
            self.boxes[i] = self.boxes[i].moved(x - self.boxes[i].left)
            x = self.boxes[i].right + GAP
        push = x - self.boxes[second].left
        edge = self.boxes[second].left
        for i in self.done:  # what is to the right makes room
            if self.boxes[i].left >= edge:
                self.boxes[i] = self.boxes[i].moved(push)
        self.done += new

    def _avoid(self, number: int, relation: Relation, side: int) -> None:
        """Move a thing on, away from its landmark or to the side, until it meets nothing that it may not."""
        allowed = set(relation.landmarks) if relation.kind in OVERLAPPING else set()
        allowed |= {i for i in self.done if i not in relation.landmarks and relation.kind == "on"
                    and self.boxes[i].top >= self.boxes[number].bottom - 1}  # fmt: skip
        if relation.kind == "on":  # it may sink into the seat of a chair
            allowed |= set(relation.landmarks)
        for _ in range(60):
            box = self.boxes[number]
            met = [i for i in self.done if i not in allowed and box.meets(self.boxes[i])]
            if not met:
                return
            other = around([self.boxes[i] for i in met])
            if relation.kind in ("above",):
                self.boxes[number] = box.moved(0.0, other.top - GAP - box.bottom)
            elif relation.kind in ("below",):
                self.boxes[number] = box.moved(0.0, other.bottom + GAP - box.top)
            else:
                x = other.right + GAP if side > 0 else other.left - GAP - box.width
                self.boxes[number] = box.moved(x - box.left)


def _side_by_side(clusters: Sequence[_Cluster], boxes: list[Box], categories: Sequence[str]) -> None:
    """Put clusters beside each other on the ground and those of the sky above, in the rows that let all be largest."""
    sky = [one.numbers for one in clusters if all(kinds()[categories[i]].place == "s" for i in one.numbers)]
    ground = [one.numbers for one in clusters if one.numbers not in sky]
    best: tuple[float, list[Box]] = (0.0, boxes)
    for on_ground in range(1, min(4, max(1, len(ground))) + 1):
        for above in range(1, min(3, max(1, len(sky))) + 1):
            tried = list(boxes)
            y = _rows(ground, tried, 0.0, on_ground)
            _rows(sky, tried, y, above)
            whole = around(tried)
            scale = min((WIDTH - 2 * MARGIN) / whole.width, (HEIGHT - 2 * MARGIN) / whole.height)
            scale /= ROW_COST ** (on_ground - 1)
            if scale > best[0] * 1.001:
                best = (scale, tried)
    boxes[:] = best[1]


def _rows(clusters: Sequence[list[int]], boxes: list[Box], y: float, count: int) -> float:
    """Put clusters in `count` rows whose lowest stands on `y`, and return where a row above them would stand."""
    share = -(-len(clusters) // count)
    rows = [clusters[i : i + share] for i in range(0, len(clusters), share)] if clusters else []
    for row in reversed(rows):
        wholes = [around([boxes[i] for i in numbers]) for numbers in row]
        x = -(sum(whole.width for whole in wholes) + 2 * GAP * (len(row) - 1)) / 2
        for numbers, whole in zip(row, wholes, strict=True):
            for i in numbers:
                boxes[i] = boxes[i].moved(x - whole.left, y - whole.bottom)
            x += whole.width + 2 * GAP
        y -= max(whole.height for whole in wholes) + 2 * GAP
    return y


def _along(stroke: NDArray[Any], step: float = 2.0) -> NDArray[np.float64]:
    """Return points along a stroke, at most `step` px apart, (n, 2)."""
    stroke = np.asarray(stroke, dtype=float)
    lengths = np.hypot(*np.diff(stroke, axis=0).T)
    reached = np.concatenate([[0.0], np.cumsum(lengths)])
    at = np.linspace(0.0, reached[-1], max(2, int(reached[-1] / step) + 1))
    return np.stack([np.interp(at, reached, stroke[:, axis]) for axis in (0, 1)], axis=1)


def hidden_removed(strokes: Strokes, front: Strokes) -> Strokes:
    """Return strokes without what lies behind the convex outline of `front`, cut into those that remain visible."""
    from scipy.spatial import ConvexHull, QhullError  # 0.3 s that few scenes need

    points = np.concatenate(front)
    try:
        sides = ConvexHull(points).equations  # (S, 3): outwards, how far a point is from each side
    except QhullError:  # a line hides nothing
        return strokes
    visible: Strokes = []
    for stroke in strokes:
        dense = _along(stroke)
        shown = (dense @ sides[:, :2].T + sides[:, 2] > 0).any(axis=1)
        if shown.all():
            visible.append(stroke)
            continue
        cuts = np.flatnonzero(np.diff(shown.astype(int))) + 1
        parts = np.split(np.arange(len(dense)), cuts)
        visible += [dense[part] for part in parts if shown[part[0]] and len(part) > 2]
    return visible
