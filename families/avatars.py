"""Avatars: drawings as small coloured pictures whose pen, paper and fill are drawn from a table of colours.

The table is counted: from palettes, or from the pixels of pictures that the user names, where a colour's probability
is its share of the pixels. Paper, fill and pen are drawn one given the other: a colour may follow only where it can be
told from those before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, UnidentifiedImageError

from families.interface import Drawing
from scoring.stroke_statistics import describe_strokes

PALETTES = (
    "264653 2a9d8f e9c46a f4a261 e76f51",
    "1d3557 457b9d a8dadc f1faee e63946",
    "5f0f40 9a031e fb8b24 e36414 0f4c5c",
    "f8f4e3 d4cdc3 d5d0cd a2a392 2a1a1f",
    "ffcdb2 ffb4a2 e5989b b5838d 6d6875",
    "fefae0 dda15e bc6c25 606c38 283618",
)
"""Hexadecimal colours of equal probability."""
LEAST_CONTRAST = 90.0
"""Distance in red, green and blue (0 ... 255 each) at which two colours can be told apart."""
LEVELS, SIDE, SUPERSAMPLED = 8, 128, 4
CLOSED = 0.15
PICTURE_FILES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp")

Colors = NDArray[np.float64]


def palette_table() -> tuple[Colors, NDArray[np.float64]]:
    """Return the colours (C, 3) of PALETTES and their probabilities (C,)."""
    colors = np.array([list(bytes.fromhex(color)) for palette in PALETTES for color in palette.split()], np.float64)
    return colors, np.full(len(colors), 1 / len(colors))


def pixel_table(folder: Path, most: int = 200) -> tuple[Colors, NDArray[np.float64]]:
    """Return the colours (C, 3) of the pictures in a folder, 8 levels a channel, and their shares of the pixels (C,).

    At most so many pictures are read, each made small. Raises FileNotFoundError where there is none.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in PICTURE_FILES)[:most]
    if not paths:
        raise FileNotFoundError(f"{folder}: holds no picture ({', '.join(PICTURE_FILES)})")
    counts: NDArray[np.int64] = np.zeros(LEVELS**3, np.int64)
    for path in paths:
        try:
            with Image.open(path) as opened:
                pixels = np.asarray(opened.convert("RGB").resize((64, 64))).reshape(-1, 3).astype(np.int64)
        except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
            raise ValueError(f"{path}: no picture that can be read ({type(error).__name__})") from None
        codes = (pixels * LEVELS // 256) @ np.array([LEVELS * LEVELS, LEVELS, 1])
        counts += np.bincount(codes, minlength=LEVELS**3)
    seen = np.flatnonzero(counts)
    channels = np.stack([seen // LEVELS**2, seen // LEVELS % LEVELS, seen % LEVELS], axis=1)
    colors = np.asarray((channels + 0.5) * (256 / LEVELS), np.float64)
    return colors, np.asarray(counts[seen] / counts.sum(), np.float64)


def color_combination(table: tuple[Colors, NDArray[np.float64]], rng: np.random.Generator) -> Colors:
    """Return paper, fill and pen (3, 3): p(paper) p(fill | paper) p(pen | both), each apart from those before.

    Where no colour of the table is far enough the farthest one is taken.
    """
    colors, chance = table
    chosen = [colors[rng.choice(len(colors), p=chance)]]
    for _ in range(2):
        nearest = np.min([np.linalg.norm(colors - own, axis=1) for own in chosen], axis=0)
        allowed = chance * (nearest >= LEAST_CONTRAST)
        far = int(nearest.argmax())
        chosen.append(colors[rng.choice(len(colors), p=allowed / allowed.sum()) if allowed.sum() > 0 else far])
    return np.stack(chosen)


def avatar(drawing: Drawing, colors: Colors, side: int = SIDE) -> NDArray[np.uint8]:
    """Return a picture (side, side, 3) uint8 of a drawing: paper, closed strokes filled, lines of the pen."""
    big = side * SUPERSAMPLED
    paper, fill, pen = (tuple(int(channel) for channel in color) for color in colors)
    image = Image.new("RGB", (big, big), paper)
    canvas = ImageDraw.Draw(image)
    points = np.concatenate(drawing).astype(float)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = 0.8 * big / max(1.0, float((high - low).max()))
    placed = [(np.asarray(stroke, float) - (low + high) / 2) * scale + big / 2 for stroke in drawing]
    statistics = describe_strokes([drawing])
    for stroke, closedness in zip(placed, statistics.stroke_closedness, strict=True):
        if closedness < CLOSED and len(stroke) > 2:
            canvas.polygon([tuple(point) for point in stroke], fill=fill)
    width = max(2, big // 40)
    for stroke in placed:
        canvas.line([tuple(point) for point in stroke], fill=pen, width=width, joint="curve")
        for point in stroke[[0, -1]]:
            canvas.ellipse([*(point - width / 2), *(point + width / 2)], fill=pen)
    return np.asarray(image.resize((side, side), Image.Resampling.LANCZOS))


def avatars(
    drawings: Sequence[Drawing], table: tuple[Colors, NDArray[np.float64]], seed: int, columns: int = 8
) -> NDArray[np.uint8]:
    """Return a sheet (H, W, 3) uint8 of avatars, `columns` in a row."""
    pictures = [avatar(drawing, color_combination(table, np.random.default_rng([seed, number])))
                for number, drawing in enumerate(drawings)]  # fmt: skip
    pictures += [np.full((SIDE, SIDE, 3), 255, np.uint8)] * (-len(pictures) % columns)
    rows = [np.concatenate(pictures[start : start + columns], axis=1) for start in range(0, len(pictures), columns)]
    return np.concatenate(rows)
