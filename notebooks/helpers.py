"""What the notebooks share: pictures with alternative text, source code as it runs, drawings in a row of axes."""

from __future__ import annotations

import html
import inspect
import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, Code, Image, display
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image as Pillow

Picture = str | Figure | NDArray[np.uint8]


def show(picture: Picture, alternative: str) -> None:
    """Display an SVG text, a matplotlib figure or an (H, W, 3) uint8 picture, `alternative` for who cannot see it."""
    if isinstance(picture, str):
        display(HTML(f'<div role="img" aria-label="{html.escape(alternative)}">{picture}</div>'))
        return
    if isinstance(picture, Figure):
        drawn = io.BytesIO()
        picture.savefig(drawn, format="png", bbox_inches="tight")
        plt.close(picture)
        picture = np.asarray(Pillow.open(drawn).convert("RGB"))
    content = io.BytesIO()  # of few colours: it looks the same and takes a third of the bytes
    Pillow.fromarray(picture).quantize(48).save(content, "PNG", optimize=True)
    display(Image(content.getvalue()), metadata={"image/png": {"alt": alternative}})


def show_source(*functions: Callable[..., Any]) -> None:
    """Display the source of functions as it runs."""
    for function in functions:
        display(Code(inspect.getsource(function), language="python"))


def draw_strokes(axis: Any, drawing: Sequence[NDArray[Any]], colors: Sequence[str], width: float = 1.3) -> None:
    """Draw a drawing into a matplotlib axis without ticks, a colour for each stroke, y down."""
    for stroke, color in zip(drawing, colors, strict=True):
        dot = len(stroke) == 1
        axis.plot(*np.asarray(stroke).T, "." if dot else "-", color=color, linewidth=width, markersize=2 * width)
    axis.set(frame_on=False, xticks=[], yticks=[], aspect="equal")
    if not axis.yaxis_inverted():
        axis.invert_yaxis()
