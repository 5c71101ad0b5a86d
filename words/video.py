"""Videos in which a drawing is drawn: mp4 (H.264), webm (VP9) and GIF."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plumbing.files import write_atomically
from rendering import frames_animation, replay
from words.names import needed

RATE = 25  # frames a second
HOLD_SECONDS = 1.5  # of the finished picture
SECONDS = (2.0, 8.0)  # the shortest and the longest drawing
PACE = 20.0  # px a frame
CODECS = {
    ".mp4": ("libx264", {"crf": "20", "preset": "veryfast", "threads": "1", "flags": "+bitexact"}),
    ".webm": ("libvpx-vp9", {"crf": "34", "b": "0", "cpu-used": "6", "deadline": "realtime", "threads": "1",
                             "flags": "+bitexact"}),
}  # fmt: skip
"""One thread and no date, so that the same pictures are the same bytes."""

Picture = NDArray[np.uint8]


def frames_of(strokes: Sequence[NDArray[Any]], shape: tuple[int, int], width: float) -> Iterator[Picture]:
    """Yield the pictures of strokes, in px, being drawn at an even pace."""
    ink = sum(float(np.hypot(*np.diff(stroke, axis=0).T).sum()) for stroke in strokes)
    shortest, longest = (seconds * RATE for seconds in SECONDS)
    count = round(min(max(ink / PACE + 2 * len(strokes), shortest), longest))
    return replay(strokes, shape, width, count)


def write_video(path: Path, pictures: Iterable[Picture]) -> None:
    """Write pictures (H, W, 3) as a video of 25 a second, which ends with the last one held; ".gif" loops.

    Raises ValueError where the package that encodes is missing.
    """
    if path.suffix == ".gif":
        frames_animation(path, pictures)
        return
    av = needed("av")
    name, options = CODECS[path.suffix]
    content = io.BytesIO()
    with av.open(content, "w", format=path.suffix[1:], container_options={"fflags": "+bitexact"}) as container:
        stream: Any = None
        for picture in _held(pictures):
            if stream is None:
                stream = container.add_stream(name, rate=Fraction(RATE), options=options)
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.thread_count = 1
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    write_atomically(path, content.getvalue())


def _held(pictures: Iterable[Picture]) -> Iterator[Picture]:
    picture = None
    for picture in pictures:
        yield picture
    if picture is not None:
        for _ in range(round(HOLD_SECONDS * RATE)):
            yield picture
