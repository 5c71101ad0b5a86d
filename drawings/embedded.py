"""Cats, buses and rabbits drawn stroke by stroke by a small program, so that everything runs without a single file.

They stand in for the Quick, Draw! drawings, in the same form and of like size: a score measured on them says nothing
about people's drawings. `cat`, `bus` and `rabbit` yield ideal curves in the order in which people draw the parts, as
complex arrays, x + iy with y down; `hand` makes them look drawn by hand. Who changes what is drawn raises
``packed.PACKED_VERSION``, so that no cache keeps the old drawings.

    python -c "from drawings.embedded import embedded_drawings as draw; print(draw('cat', 1))"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from simplification.cutil import simplify_coords

Curve = NDArray[np.complex128]
Rng = np.random.Generator

LONGEST_SIDE = 255
UNIT = np.linspace(0.0, 1.0, 25)


def embedded_drawings(category: str, count: int, seed: int = 0) -> list[list[NDArray[np.uint8]]]:
    """Return `count` drawings of 1 to 20 strokes, (n, 2) uint8 pixels each, in the official simplified form.

    Drawing i depends on (category, seed, i) alone, so a longer list begins with the shorter one. Raises ValueError for
    a category that the program does not know.
    """
    if category not in ARTISTS:
        raise ValueError(f"embedded drawings: no category {category!r}; available: {', '.join(ARTISTS)}")
    name = int.from_bytes(category.encode(), "big")  # hash(category) changes from one process to the next
    generators = [np.random.default_rng([name, seed, index]) for index in range(count)]
    return [official_form(hand(rng, list(ARTISTS[category](rng)))) for rng in generators]


def hand(rng: Rng, curves: Sequence[Curve]) -> list[NDArray[np.float64]]:
    """Return the curves as (n, 2) float strokes of an unsteady hand, the longest side about 255 pixels."""
    every = np.concatenate(curves)
    size = LONGEST_SIDE / max(np.ptp(every.real), np.ptp(every.imag))
    shake, lean = rng.lognormal(0.15, 0.33), np.exp(1j * rng.normal(0, 0.05))
    width = rng.lognormal(0, 0.08) * (-1 if rng.random() < 0.3 else 1)  # some sheets are mirrored

    def noise(scale: float) -> complex:
        return complex(*rng.normal(0, scale * shake, 2))

    strokes = []
    for curve in curves:
        # each part is a little misplaced, turned and scaled about its own middle
        middle = size * curve.mean()
        arm = size * curve - middle
        z = middle + noise(1.4) + arm * (1 + noise(0.035))
        for waves in (0.7, 1.7, 3.1):  # a slow wobble along the stroke, wider where the stroke is longer
            along = np.linspace(0, waves, len(curve)) + rng.random()
            z += noise(0.022) * (np.abs(arm) + 12) * np.sin(2 * np.pi * along) / waves
        z *= lean
        strokes.append(np.stack([width * z.real, z.imag], axis=1))
    return strokes


def official_form(strokes: Sequence[NDArray[np.float64]]) -> list[NDArray[np.uint8]]:
    """Return the strokes top-left aligned, longest side 255 pixels, simplified by RDP (epsilon 2)."""
    current = list(strokes)
    while True:
        points = np.concatenate(current)
        low = points.min(axis=0)
        scale = LONGEST_SIDE / (points.max(axis=0) - low).max()
        scaled = [np.rint((stroke - low) * scale) for stroke in current]
        current = [simplify_coords(stroke, 2.0) for stroke in scaled]
        # Simplifying can take the outermost point away, so the box is fitted again until nothing changes.
        if sum(map(len, current)) == len(points):
            return [stroke.astype(np.uint8) for stroke in scaled]


# ---- curves -----------------------------------------------------------------------------------------


def arc(center: complex, rx: float, ry: float, start: float, sweep: float) -> Curve:
    """Return an elliptic arc; angles in degrees, clockwise from the right as seen on the sheet."""
    angle = np.deg2rad(start + sweep * UNIT)
    return center + rx * np.cos(angle) + 1j * ry * np.sin(angle)


def oval(rng: Rng, center: complex, rx: float, ry: float) -> Curve:
    """Return an ellipse begun near the top, either way round, whose ends pass or miss each other."""
    turn = rng.normal(354, 16) * (1 if rng.random() < 0.25 else -1)
    return center + (1 + rng.normal(0, 0.05) * UNIT) * arc(0, rx, ry, rng.normal(-105, 40), turn)


def polyline(*corners: complex) -> Curve:
    """Return straight segments between the corners."""
    last = len(corners) - 1
    points: Curve = np.interp(np.linspace(0, last, 8 * last + 1), np.arange(last + 1), np.array(corners, complex))
    return points


def box(rng: Rng, left: float, top: float, right: float, bottom: float) -> Curve:
    """Return a closed rectangle, begun at any corner, either way round."""
    corners = np.roll([left + 1j * top, left + 1j * bottom, right + 1j * bottom, right + 1j * top], rng.integers(4))
    corners = corners[::-1] if rng.random() < 0.4 else corners
    return polyline(*corners, corners[0] + rng.normal(0, 0.1) * (corners[0] - corners[-1]))


# ---- animals; the head has radius 1 about 0 -----------------------------------------------------------


def features(rng: Rng, whiskers: float) -> Iterator[Curve]:
    """Yield eyes, nose and mouth, not always all of them, and with that probability two or three whiskers a side."""
    dx, y, size = rng.uniform(0.28, 0.48), rng.uniform(-0.35, -0.1), rng.uniform(0.04, 0.18)
    if rng.random() < 0.92:
        for x in (-dx, dx):
            yield oval(rng, complex(x, y), size, size * rng.uniform(0.7, 1.3))
    y, size = rng.uniform(0.1, 0.25), rng.uniform(0.08, 0.16)
    if rng.random() < 0.7:
        yield oval(rng, 1j * y, size, 0.7 * size)
    if rng.random() < 0.5:
        yield arc(1j * (y + 0.2), 2 * size, 1.4 * size, 170, -160)
    if rng.random() < whiskers:
        number, reach = int(rng.integers(2, 4)), rng.uniform(0.5, 1.0)
        for side in (-1, 1):
            for slope in np.linspace(-0.3, 0.3, number):
                start = complex(side * 0.5, y + 0.1 + slope / 2)
                yield polyline(start, start + reach * complex(side, slope + rng.normal(0, 0.08)))


def cat(rng: Rng) -> Iterator[Curve]:
    """Yield a cat's head with ears and whiskers and, for some, a body with a tail, sitting or seen from the side."""
    view = rng.choice(["face", "front", "side"], p=[0.6, 0.18, 0.22])
    rx, ry, tip = rng.uniform(0.95, 1.25), rng.uniform(0.85, 1.1), rng.uniform(1.35, 1.9)
    yield oval(rng, 0, rx, ry)
    for side in (-1, 1):
        ear = (complex(0.88 * rx, -0.4 * ry), complex(0.72 * rx, -tip), complex(0.35 * rx, -0.92 * ry))
        yield polyline(*(complex(side * point.real, point.imag) for point in ear))
    yield from features(rng, 0.75 if view == "face" else 0.35)
    wide, tall = (0.9, 1.3) if view == "front" else (1.6, 0.75)
    wide, tall = wide * rng.uniform(0.9, 1.2), tall * rng.uniform(0.9, 1.2)
    middle = complex(0 if view == "front" else 0.5 + wide, 0.8 + tall)
    if view != "face":
        yield oval(rng, middle, wide, tall)
        for x in (-0.7, -0.4, 0.4, 0.7) if view == "side" else (-0.2, 0.2):
            top = middle + complex(x * wide, 0.7 * tall)
            yield polyline(top, top + rng.uniform(0.6, 1.0) * 1j)
        yield arc(middle + complex(wide, -rng.uniform(0.5, 1.0)), 0.5, rng.uniform(0.8, 1.4), 90, -180)


def rabbit(rng: Rng) -> Iterator[Curve]:
    """Yield a rabbit's head with long ears, in either order, and for half of them a body with feet and a tail."""
    rx, ry = rng.uniform(0.85, 1.15), rng.uniform(0.85, 1.1)
    length, lean, lined = rng.uniform(0.6, 1.1), rng.uniform(2, 24), rng.random() < 0.25
    parts = [oval(rng, 0, rx, ry)]
    for side in (-1, 1):
        upright = np.exp(1j * np.deg2rad(side * lean + rng.normal(0, 4)))
        for size in (1.0, 0.55) if lined else (1.0,):
            ear = arc(-1j * length, 0.27 * size, length * size, 100, 340)
            parts.append(0.33 * side - 0.85j * ry + ear * upright)
    yield from [*parts[1:], parts[0]] if rng.random() < 0.3 else parts
    yield from features(rng, 0.15)
    if rng.random() < 0.5:
        wide, tall = rng.uniform(0.9, 1.5), rng.uniform(1.0, 1.4)
        floor = 0.85 + 2 * tall
        yield oval(rng, 1j * (0.85 + tall), wide, tall)
        if rng.random() < 0.6:
            for side in (-1, 1):
                yield oval(rng, complex(side * 0.6 * wide, floor), 0.5, 0.26)
        if rng.random() < 0.4:
            yield oval(rng, complex(wide + 0.2, floor - 0.6), 0.32, 0.3)


# ---- buses; the body is 4 wide and reaches from y = 0 down to its height -------------------------------


def bus(rng: Rng) -> Iterator[Curve]:
    """Yield a bus from the side: body, for some with a bonnet, windows and wheels in either order, and a door."""
    height, door, nose = rng.uniform(1.1, 2.2), rng.random() < 0.3, rng.uniform(4.5, 5.0)
    if rng.random() < 0.75:
        yield box(rng, 0, 0, 4, height)
    else:
        low, hood = 1j * height, 0.5j * height
        yield polyline(0, low, nose + low, nose + hood, 4 + hood, 4, 0)
    top, bottom, right = 0.15 * height, rng.uniform(0.45, 0.6) * height, 2.9 if door else 3.5
    edges = np.linspace(0.2, 0.2 + right, 1 + int(rng.choice([2, 3, 4, 5], p=[0.3, 0.35, 0.25, 0.1])))
    if rng.random() < 0.65:
        glass = rng.uniform(0.5, 0.8) * edges[1] - 0.1
        windows = [box(rng, x, top, x + glass, bottom) for x in edges[:-1]]
    else:  # one band, cut by lines
        windows = [box(rng, 0.2, top, 0.1 + right, bottom)]
        windows += [polyline(x + 1j * top, x + 1j * bottom) for x in edges[1:-1]]
    radius, axle = rng.uniform(0.24, 0.42), height + rng.uniform(0, 0.3)
    sizes = (radius, 0.4 * radius) if rng.random() < 0.15 else (radius,)  # with or without hubs
    axles = complex(rng.uniform(0.6, 1.0), axle), complex(rng.uniform(2.9, 3.3), axle)
    wheels = [oval(rng, at, size, size) for at in axles for size in sizes]
    yield from [*windows, *wheels] if rng.random() < 0.5 else [*wheels, *windows]
    if door:
        yield box(rng, 3.2, 0.2 * height, 3.75, 0.97 * height)


ARTISTS: dict[str, Callable[[Rng], Iterator[Curve]]] = {"cat": cat, "bus": bus, "rabbit": rabbit}
