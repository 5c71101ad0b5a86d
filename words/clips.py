"""Clips: a drawing being drawn as a few small pictures, from strokes or from the ink of a video.

Ink is a list of segments (x0, y0, x1, y1) in the order of drawing, whatever its unit. A clip shows how it grows: frame
k of NUM_FRAMES has the first k equal parts of the ink's length, in the box of all ink so far, drawn as the pictures of
the feature network are. How fast the pen was, where it paused and how wide its line was is not in a clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from rendering import BOX_CORNER, BOX_SIDE, CANVAS, FEATURE_RENDERING, FEATURE_SIDE

NUM_FRAMES = 5
DOT = 0.01
"""Length of a dot, as a share of the longest side of all ink."""
CLIP_FORM = f"{NUM_FRAMES} frames of equal parts of the ink, box of the last; {FEATURE_RENDERING}"

Segments = NDArray[np.float64]


def segments_of(drawing: Sequence[NDArray[Any]]) -> Segments:
    """Return the segments (S, 4) of strokes (n, 2) in their order; a stroke of one point is a segment of no length."""
    strokes = [np.asarray(stroke, np.float64) for stroke in drawing]
    pieces = [np.hstack([stroke[:-1], stroke[1:]]) if len(stroke) > 1 else np.hstack([stroke, stroke])
              for stroke in strokes]  # fmt: skip
    return np.concatenate(pieces) if pieces else np.zeros((0, 4))


def lengths_of(segments: Segments) -> NDArray[np.float64]:
    """Return the length of each segment (S,), where a dot has one too."""
    points = segments.reshape(-1, 2)
    extent = float(np.ptp(points, axis=0).max()) or 1.0
    lengths = np.hypot(segments[:, 2] - segments[:, 0], segments[:, 3] - segments[:, 1])
    return np.where(lengths == 0, DOT * extent, lengths)


def until(segments: Segments, share: float) -> Segments:
    """Return what is drawn after `share` of the ink: at least one segment, the last one perhaps in part."""
    ends = np.cumsum(lengths_of(segments))
    target = share * ends[-1]
    whole = int(np.searchsorted(ends, target * (1 + 1e-9), side="right"))
    if whole == len(segments):
        return segments
    start = ends[whole - 1] if whole else 0.0
    part = segments[whole].copy()
    part[2:] = part[:2] + (part[2:] - part[:2]) * (target - start) / (ends[whole] - start)
    return np.vstack([segments[:whole], part])


def clip(segments: Segments, num_frames: int = NUM_FRAMES) -> NDArray[np.uint8]:
    """Return the frames (T, 64, 64) of ink being drawn, 0 ink to 255 paper. Raises ValueError where there is none."""
    if not len(segments):
        raise ValueError("no ink to make a clip of")
    points = segments.reshape(-1, 2)
    low, extent = points.min(axis=0), float(np.ptp(points, axis=0).max()) or 1.0
    ends = np.cumsum(lengths_of(segments))
    targets = ends[-1] * (np.arange(1, num_frames + 1) / num_frames) * (1 + 1e-9)
    scaled = (segments - np.tile(low, 2)) * BOX_SIDE / extent + BOX_CORNER  # to the pixel as in rendering.py
    image = Image.new("L", (CANVAS, CANVAS), 255)
    pen = ImageDraw.Draw(image)
    frames = np.empty((num_frames, FEATURE_SIDE, FEATURE_SIDE), np.uint8)
    done = 0
    for number, target in enumerate(targets):
        whole = int(np.searchsorted(ends, target, side="right"))
        for line in np.floor(scaled[done:whole]).tolist():
            pen.line(line, fill=0, width=3)
        done = whole
        if whole < len(segments):
            start = ends[whole - 1] if whole else 0.0
            part = scaled[whole].copy()
            part[2:] = part[:2] + (part[2:] - part[:2]) * (target - start) / (ends[whole] - start)
            pen.line(np.floor(part).tolist(), fill=0, width=3)
        frames[number] = np.asarray(image.reduce(CANVAS // FEATURE_SIDE))
    return frames
