"""Cats, buses and rabbits drawn stroke by stroke by a small procedural artist.

With these drawings, training, sampling, the tests and the notebook run without a network and without a single file.
They stand in for the Quick, Draw! drawings, in the same form and of like size: a figure measured on them says nothing
about people's drawings.

An artist (`cat_face`, `bus_side`, ...) yields ideal curves in the order in which people draw the parts; `hand` makes
them look drawn by hand; `official_form` gives them the form of the dataset. A curve is a complex array, x + iy with y
down, so that to place, scale or turn it is one addition or multiplication.
Who changes what is drawn raises ``packed.PACKED_VERSION``, so that no cache keeps the old drawings.

    python -c "from drawings.embedded import embedded_drawings as draw; print(draw('cat', 1))"
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from simplification.cutil import simplify_coords

Curve = NDArray[np.complex128]
Rng = np.random.Generator
Artist = Callable[[Rng], Iterator[Curve]]

MAX_STROKES = 20
LONGEST_SIDE = 255

UNIT = np.linspace(0.0, 1.0, 25)
STEP = np.linspace(0.0, 1.0, 6, endpoint=False)
# Catmull-Rom: the weights of four neighbouring points at each step from the second to the third.
SPLINE = np.stack([STEP**0, STEP, STEP**2, STEP**3], axis=1) @ np.array(
    [[0.0, 1.0, 0.0, 0.0], [-0.5, 0.0, 0.5, 0.0], [1.0, -2.5, 2.0, -0.5], [-0.5, 1.5, -1.5, 0.5]]
)


def embedded_drawings(category: str, count: int, seed: int = 0) -> list[list[NDArray[np.uint8]]]:
    """Return `count` drawings of 1 to 20 strokes, (n, 2) uint8 pixels each, in the official simplified form.

    Drawing i depends on (category, seed, i) alone, so a longer list begins with the shorter one. Raises ValueError for
    a category that the artist does not know.
    """
    if category not in ARTISTS:
        raise ValueError(f"embedded drawings: no category {category!r}; available: {', '.join(ARTISTS)}")
    artists, weights = zip(*ARTISTS[category], strict=True)
    name = int.from_bytes(category.encode(), "big")  # hash(category) changes from one process to the next
    drawings = []
    for index in range(count):
        rng = np.random.default_rng(np.random.SeedSequence([name, seed, index]))
        artist: Artist = artists[rng.choice(len(artists), p=weights)]
        drawings.append(official_form(hand(rng, list(islice(artist(rng), MAX_STROKES)))))
    return drawings


# ---- from ideal curves to a drawing -----------------------------------------------------------------


def hand(rng: Rng, curves: Sequence[Curve]) -> list[NDArray[np.float64]]:
    """Return the curves as (n, 2) float strokes of an unsteady hand, the longest side about 255 pixels."""
    lengths = [len(curve) for curve in curves]
    stroke = np.repeat(np.arange(len(curves)), lengths)  # that each point belongs to
    z = np.concatenate(curves)
    z = z * LONGEST_SIDE / max(np.ptp(z.real), np.ptp(z.imag))
    shake = rng.lognormal(0.15, 0.33)

    def noise(scale: float) -> Curve:  # one complex value a stroke, spread over its points
        value: Curve = rng.normal(0, scale * shake, (len(curves), 2)) @ np.array([1, 1j])
        return value[stroke]

    # Each part is a little misplaced, and turned and scaled about its own middle.
    middle = np.array([part.mean() for part in np.split(z, np.cumsum(lengths)[:-1])])[stroke]
    arm = z - middle
    z = middle + arm * (1 + noise(0.035)) + noise(1.4)
    # A slow wobble along the stroke, wider where the stroke is longer.
    along = np.concatenate([np.linspace(0, 1, n) for n in lengths])
    for waves in (0.7, 1.7, 3.1):
        phase = 2 * math.pi * (waves * along + rng.random(len(curves))[stroke])
        z = z + noise(0.022) * (np.abs(arm) + 12) * np.sin(phase) / waves
    # The whole sheet leans, and is wider or narrower than meant.
    z = z * np.exp(1j * rng.normal(0, 0.05))
    points = np.stack([z.real * rng.lognormal(0, 0.08), z.imag], axis=1)
    if rng.random() < 0.3:
        points[:, 0] *= -1
    return np.split(points, np.cumsum(lengths)[:-1])


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


# ---- primitives -------------------------------------------------------------------------------------


def arc(center: complex, rx: float, ry: float, start: float, sweep: float) -> Curve:
    """Return an elliptic arc; angles in degrees, clockwise from the right as seen on the sheet."""
    angle = np.deg2rad(start + sweep * UNIT)
    return center + rx * np.cos(angle) + 1j * ry * np.sin(angle)


def oval(rng: Rng, center: complex, rx: float, ry: float) -> Curve:
    """Return an ellipse begun near the top whose ends pass or miss each other as in a quick drawing."""
    turn = rng.normal(354, 16) * (1 if rng.random() < 0.25 else -1)
    drift = 1 + rng.normal(0, 0.05) * UNIT
    return center + drift * arc(0, rx, ry, rng.normal(-105, 40), turn)


def polyline(*corners: complex) -> Curve:
    """Return straight segments between the corners."""
    last = len(corners) - 1
    points: Curve = np.interp(np.linspace(0, last, 8 * last + 1), np.arange(last + 1), np.array(corners, complex))
    return points


def loop(rng: Rng, *corners: complex) -> Curve:
    """Return a closed polygon, begun at any corner, either way round, its end not quite at its start."""
    first = 0 if rng.random() < 0.6 else int(rng.integers(len(corners)))
    ring = [*corners[first:], *corners[:first]]
    if rng.random() < 0.4:
        ring = [ring[0], *ring[:0:-1]]
    return polyline(*ring, ring[0] + rng.normal(0, 0.1) * (ring[0] - ring[-1]))


def box(rng: Rng, left: float, top: float, right: float, bottom: float) -> Curve:
    """Return a closed rectangle."""
    return loop(rng, left + 1j * top, left + 1j * bottom, right + 1j * bottom, right + 1j * top)


def curve(*points: complex) -> Curve:
    """Return a smooth curve through the points (a Catmull-Rom spline)."""
    p = np.array([points[0], *points, points[-1]], dtype=complex)
    windows = np.stack([p[:-3], p[1:-2], p[2:-1], p[3:]])
    return np.append((SPLINE @ windows).T.ravel(), p[-1])


def mirrored(points: Sequence[complex]) -> list[complex]:
    """Return the points mirrored at the vertical axis, in reverse order."""
    return [complex(-p.real, p.imag) for p in reversed(points)]


# ---- parts that cats and rabbits share; the head has radius 1 about 0 ---------------------------------


def eyes(rng: Rng) -> Iterator[Curve]:
    """Yield two eyes: dots, rings, slits or rings with pupils."""
    dx, y, kind = rng.uniform(0.28, 0.48), rng.uniform(-0.35, -0.1), rng.choice(4, p=[0.3, 0.45, 0.15, 0.1])
    size = rng.uniform(0.03, 0.06) if kind == 0 else rng.uniform(0.1, 0.19)
    for center in (complex(-dx, y), complex(dx, y)):
        if kind != 2:
            yield oval(rng, center, size, size * rng.uniform(0.7, 1.3))
        if kind >= 2:
            yield polyline(center - 0.7j * size, center + 0.7j * size)


def muzzle(rng: Rng) -> Iterator[Curve]:
    """Yield a nose, a mouth, or both."""
    y, size = rng.uniform(0.1, 0.25), rng.uniform(0.08, 0.16)
    nose, mouth = rng.random(2)
    if nose < 0.45:
        yield loop(rng, complex(-size, y - size), complex(0, y + 0.6 * size), complex(size, y - size))
    elif nose < 0.8:
        yield oval(rng, 1j * y, size, 0.7 * size)
    low, half = y + rng.uniform(0.16, 0.26), rng.uniform(0.1, 0.18)
    if mouth < 0.35 or nose >= 0.8:
        yield arc(1j * low, 2 * half, 1.2 * half, 170, -160)
    elif mouth < 0.65:
        yield curve(*(1j * low + half * p for p in (-2, -1 + 0.8j, -0.1, 0.1, 1 + 0.8j, 2)))


def whiskers(rng: Rng, most: int) -> Iterator[Curve]:
    """Yield two or, at most, `most` whiskers on each side."""
    number, reach = int(rng.integers(2, most + 1)), rng.uniform(0.5, 1.0)
    x, y = rng.uniform(0.35, 0.9), rng.uniform(0.2, 0.35)
    for side in (-1, 1):
        for k in range(number):
            slope = 0.3 * (k - (number - 1) / 2)
            start = complex(side * x, y + slope * 0.5)
            yield polyline(start, start + reach * complex(side, slope + rng.normal(0, 0.08)))


# ---- cats -------------------------------------------------------------------------------------------


def cat_face(rng: Rng, detail: float = 1.0) -> Iterator[Curve]:
    """Yield head, ears, eyes, muzzle and whiskers."""
    rx, ry = rng.uniform(0.95, 1.25), rng.uniform(0.85, 1.1)
    outer, inner = rng.uniform(-168, -148), rng.uniform(-125, -106)
    foot, root = (complex(rx * math.cos(a), ry * math.sin(a)) for a in np.deg2rad([outer, inner]))
    tip = (foot + root) / 2 + rng.uniform(0.65, 1.15) * np.exp(1j * math.radians(rng.uniform(-125, -95)))
    ear = [foot, tip, root]
    if rng.random() < 0.3:  # the pen is not lifted between ears and chin
        yield np.concatenate([polyline(*ear, *mirrored(ear)), arc(0, rx, ry, -180 - outer, 540 + 2 * outer)])
    else:
        shape = curve if rng.random() < 0.25 else polyline
        yield oval(rng, 0, rx, ry)
        yield shape(*ear)
        yield shape(*mirrored(ear))
    if rng.random() < 0.93:
        yield from eyes(rng)
    if rng.random() < 0.85 * detail:
        yield from muzzle(rng)
    if rng.random() < 0.4 + 0.3 * detail:
        yield from whiskers(rng, 3 if detail == 1 else 2)


def cat_sitting(rng: Rng) -> Iterator[Curve]:
    """Yield a cat that faces us: face, body, front legs and a tail."""
    yield from cat_face(rng, 0.5)
    wide, tall = rng.uniform(0.95, 1.35), rng.uniform(2.7, 3.6)
    if rng.random() < 0.35:
        yield oval(rng, complex(0, 0.9 + tall / 3.2), wide, tall / 3)
    else:
        flank = [-0.6 + 0.85j, -0.85 * wide + 0.5j * tall, -wide + 0.9j * tall, -0.6 * wide + 1j * tall]
        yield curve(*flank, *mirrored(flank))
    if rng.random() < 0.5:
        for x in (-0.25, 0.25):
            yield polyline(complex(x, 0.62 * tall), complex(x * 1.1, tall))
    if rng.random() < 0.9:
        start, sway = complex(0.9 * wide, 0.85 * tall), rng.uniform(-0.9, 0.5)
        yield start + curve(0, 0.7 + 0.05j, 1.1 - 0.6j, 0.9 - 1.2j, 1.2 + sway - 1.7j)


def cat_side(rng: Rng) -> Iterator[Curve]:
    """Yield a cat seen from the side: face, body, legs and a raised tail."""
    yield from cat_face(rng, 0.4)
    length, thick, leg = rng.uniform(2.5, 4.0), rng.uniform(0.6, 0.9), rng.uniform(0.7, 1.3)
    x, y = 0.6 + length / 2, 0.75 + thick / 2
    belly, back = y + 0.9 * thick, y - 0.9 * thick
    if rng.random() < 0.55:
        yield oval(rng, complex(x, y), length / 2, thick)
    else:
        upper = (complex(0.95, back), complex(x, back + 0.1), complex(length, back))
        lower = (complex(length + 0.2, belly), complex(x, belly - 0.08), complex(0.6, belly), 0.4 + 0.9j)
        yield curve(*upper, complex(length + 0.5, y), *lower)
    plain, few = rng.random(2) < 0.5
    for part in (0.25, 0.8) if few else (0.22, 0.36, 0.76, 0.9):
        top = complex(0.5 + part * length, belly - 0.05)
        foot = top + 1j * leg
        width = 0.4 if few else 0.25
        yield polyline(top, foot) if plain else polyline(top, foot, foot + width, top + width)
    if rng.random() < 0.95:
        start, up, bend = complex(length + 0.5, y - 0.3), rng.uniform(1.0, 1.9), rng.uniform(-0.6, 0.8)
        yield start + curve(0, 0.5 - 0.2j, complex(0.7, -0.6 * up), complex(0.7 + bend, -up))


# ---- buses; the body is 4 wide and reaches from y = 0 down to its height -------------------------------


def bus_body(rng: Rng, height: float) -> Curve:
    """Return the outline: a box, one with round corners, with a sloping front, or with a bonnet."""
    kind, low = rng.choice(4, p=[0.42, 0.22, 0.16, 0.2]), 1j * height
    if kind == 0:
        return box(rng, 0, 0, 4, height)
    if kind == 1:
        r = rng.uniform(0.15, 0.4)
        middles = (r + 1j * r, 4 - r + 1j * r, 4 - r + low - 1j * r, r + low - 1j * r)
        corners = [arc(middle, r, r, 180 + 90 * k, 90) for k, middle in enumerate(middles)]
        return np.concatenate([*corners, corners[0][:1]])
    if kind == 2:
        return loop(rng, 0, low, 4 + low, 4 + 0.55 * low, rng.uniform(3.4, 3.8))
    nose, hood = rng.uniform(4.5, 5.0), rng.uniform(0.45, 0.6) * low
    return loop(rng, 0, low, nose + low, nose + hood, 4 + hood, 4)


def bus_windows(rng: Rng, top: float, bottom: float, right: float) -> Iterator[Curve]:
    """Yield a row of windows: round or square ones, one band cut by lines, or cells hung below a line."""
    number, kind = int(rng.choice(4, p=[0.3, 0.35, 0.25, 0.1])) + 2, rng.random()
    width = right / number
    edges = [0.2 + k * width for k in range(number)]
    if kind < 0.6:
        glass, middle = width * rng.uniform(0.5, 0.8), 0.5j * (top + bottom)
        for x in edges:
            pane = x + glass / 2 + middle, glass / 2, (bottom - top) / 2
            yield oval(rng, *pane) if kind < 0.1 else box(rng, x, top, x + glass, bottom)
        return
    if kind < 0.85:
        yield box(rng, 0.2, top, 0.1 + right, bottom)
    else:
        yield polyline(1j * bottom, complex(right + 0.3, bottom))
        top = 0.0
    if kind > 0.68:
        for x in edges[1:]:
            yield polyline(complex(x, top), complex(x, bottom))


def bus_side(rng: Rng) -> Iterator[Curve]:
    """Yield a bus seen from the side: body, windows and wheels in either order, door, lamp."""
    double, door = rng.random() < 0.1, rng.random() < 0.28
    height = rng.uniform(2.0, 2.5) if double else rng.uniform(1.1, 2.0)
    yield bus_body(rng, height)
    tops = (0.12, 0.45) if double else (0.15,)
    band = 0.22 if double else rng.uniform(0.3, 0.45)
    right = 2.9 if door else 3.5
    windows = [part for top in tops for part in bus_windows(rng, top * height, (top + band) * height, right)]
    radius, rear, front = rng.uniform(0.24, 0.42), rng.uniform(0.6, 1.0), rng.uniform(2.9, 3.3)
    axles = (rear, rear + 2 * radius, front) if rng.random() < 0.1 else (rear, front)
    sizes = (radius, 0.4 * radius) if rng.random() < 0.15 else (radius,)  # with or without hubs
    axle = height + rng.uniform(0.0, 0.9) * radius
    wheels = [oval(rng, complex(x, axle), size, size) for x in axles for size in sizes]
    yield from [*windows, *wheels] if rng.random() < 0.5 else [*wheels, *windows]
    if door:
        yield box(rng, 3.2, 0.2 * height, 3.75, 0.97 * height)
        if rng.random() < 0.4:
            yield polyline(3.47 + 0.22j * height, 3.47 + 0.95j * height)
    if rng.random() < 0.15:
        yield oval(rng, 3.85 + 0.8j * height, 0.1, 0.1)


def bus_front(rng: Rng) -> Iterator[Curve]:
    """Yield a bus seen from the front: body, windscreen, lamps, wheels, mirrors and a sign."""
    w, h = rng.uniform(1.4, 1.8), rng.uniform(3.2, 4.0)
    yield box(rng, -w, 0, w, h)
    yield box(rng, -0.85 * w, 0.22 * h, 0.85 * w, 0.55 * h)
    for side in (-1, 1):
        yield oval(rng, complex(side * 0.68 * w, 0.78 * h), 0.22, 0.2)
    for side in (-1, 1):
        wheel = complex(side * 0.68 * w, h)
        yield polyline(wheel - 0.3, wheel - 0.3 + 0.5j, wheel + 0.3 + 0.5j, wheel + 0.3)
    if rng.random() < 0.5:
        for side in (-1, 1):
            yield oval(rng, complex(side * (w + 0.28), 0.36 * h), 0.2, 0.36)
    if rng.random() < 0.5:
        yield box(rng, -0.5 * w, 0.06 * h, 0.5 * w, 0.16 * h)


# ---- rabbits ----------------------------------------------------------------------------------------


def rabbit_ear(rng: Rng, foot: complex, lean: float, length: float) -> list[complex]:
    """Return points along a long ear on its foot, `lean` degrees to the right of the upright."""
    along = np.exp(1j * math.radians(lean + rng.normal(0, 4) - 90))
    width = 1j * rng.uniform(0.2, 0.34)
    shape = -0.75 * width, 0.6 * length - 1.1 * width, 0.97 * length - 0.5 * width
    half = [complex(foot + along * p) for p in shape]
    return [*half, *(foot + along * p.conjugate() for p in reversed(shape))]


def rabbit_ears(rng: Rng, root: complex, lean: float, length: float) -> Iterator[Curve]:
    """Yield two ears to the left and right of the root, often lined."""
    lined = rng.random() < 0.25
    for side in (-1, 1):
        ear = rabbit_ear(rng, root + 0.33 * side, side * lean, length)
        yield curve(*ear)
        if lined:
            heart = sum(ear) / len(ear)
            yield curve(*(heart + 0.5 * (p - heart) for p in ear))


def rabbit_face(rng: Rng, detail: float = 1.0) -> Iterator[Curve]:
    """Yield head and ears in either order or in one stroke, eyes, muzzle, teeth and whiskers."""
    rx, ry = rng.uniform(0.85, 1.15), rng.uniform(0.85, 1.1)
    lean, length, order = rng.uniform(2, 24), rng.uniform(1.2, 2.2), rng.random()
    if order < 0.25:
        ear = rabbit_ear(rng, complex(-0.45 * rx, -0.85 * ry), -lean, length)
        yield np.concatenate([curve(*ear, *mirrored(ear)), arc(0, rx, ry, -38, 256)])
    else:
        ears = list(rabbit_ears(rng, complex(0, -0.85 * ry), lean, length))
        head = oval(rng, 0, rx, ry)
        yield from [*ears, head] if order < 0.5 else [head, *ears]
    if rng.random() < 0.88:
        yield from eyes(rng)
    if rng.random() < 0.85 * detail:
        yield from muzzle(rng)
    if rng.random() < 0.25 * detail:
        low, size = rng.uniform(0.42, 0.5), rng.uniform(0.12, 0.18)
        for x in (-size, 0.0):
            yield polyline(*(complex(x, low) + size * p for p in (0, 2j, 1 + 2j, 1)))
    if rng.random() < 0.2 * detail:
        yield from whiskers(rng, 3)


def rabbit_sitting(rng: Rng) -> Iterator[Curve]:
    """Yield a rabbit that faces us: face, body, feet and now and then a tail."""
    yield from rabbit_face(rng, 0.4)
    wide, tall = rng.uniform(0.9, 1.5), rng.uniform(1.0, 1.4)
    floor = 0.85 + 2 * tall
    yield oval(rng, 1j * (0.85 + tall), wide, tall)
    if rng.random() < 0.55:
        for side in (-1, 1):
            yield oval(rng, complex(side * 0.6 * wide, floor), 0.5, 0.26)
    if rng.random() < 0.35:
        yield oval(rng, complex(wide + 0.2, floor - 0.6), 0.32, 0.3)


def rabbit_side(rng: Rng) -> Iterator[Curve]:
    """Yield a rabbit seen from the side: head, ears, body, tail, eye, feet, nose."""
    length, thick = rng.uniform(1.3, 1.9), rng.uniform(1.0, 1.35)
    middle = complex(0.4 + length, 0.75 * thick)
    floor = middle.imag + 0.95 * thick
    if rng.random() < 0.3:  # head and back in one line, as a loaf
        head, low = (0.6 - 0.5j, -0.3 - 0.7j, -1 + 0.1j, -0.2 + 0.7j), 1j * floor
        rump = (middle + length + 0.5j, middle + complex(0.6 * length, -0.9 * thick))
        yield curve(*head, 0.2 + low, middle.real + low, *rump, 0.6 - 0.1j)
    else:
        yield oval(rng, 0, rng.uniform(0.85, 1.05), rng.uniform(0.7, 0.85))
        yield oval(rng, middle, length, thick)
    yield from rabbit_ears(rng, 0.2 - 0.65j, rng.uniform(5, 16), rng.uniform(1.3, 1.9))
    puff = rng.uniform(0.28, 0.42)
    ovals = (
        (0.9, middle + length + 0.6 * puff, puff, puff),  # tail
        (0.85, -0.3 - 0.15j, 0.1, 0.11),  # eye
        (0.6, complex(middle.real + 0.4 * length, floor), 0.75, 0.26),  # hind foot
        (0.35, complex(middle.real - 0.6 * length, floor), 0.45, 0.22),  # forefoot
        (0.35, -0.92 + 0.1j, 0.13, 0.11),  # nose
    )
    for chance, center, rx, ry in ovals:
        if rng.random() < chance:
            yield oval(rng, center, rx, ry)


ARTISTS: dict[str, list[tuple[Artist, float]]] = {
    "cat": [(cat_face, 0.6), (cat_sitting, 0.18), (cat_side, 0.22)],
    "bus": [(bus_side, 0.92), (bus_front, 0.08)],
    "rabbit": [(rabbit_face, 0.45), (rabbit_sitting, 0.25), (rabbit_side, 0.3)],
}
