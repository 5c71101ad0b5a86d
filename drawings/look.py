"""How pictures of drawings look: paper, ink, line width, and colours that tell the order of strokes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from plumbing.files import write_atomically

if TYPE_CHECKING:  # axes and projections: a sixth of the time of torch, which drawings are drawn without
    from matplotlib.figure import Figure

INK, ACCENT, HISTORY, RULE, CAPTION = "#1a1c21", "#e84d29", "#a8adb5", "#e6e8eb", "#616670"
WHITE, DARK, PALE = "#ffffff", "#16181d", "#f2f3f5"
BACKGROUNDS = ("white", "dark", "transparent")
LINE_WIDTH = 3.2  # of 256
SHADES = 8  # between paper and ink, in a palette
ORDERED = 24  # colours by order, in a palette; more strokes share them


def order_colors(count: int, is_dark: bool = False) -> list[str]:
    """Return `count` colours from violet, for the first stroke, to green: viridis without its pale end.

    On a dark paper they go from blue to yellow, without its dark end.
    """
    start = 0.3 if is_dark else 0.0
    return [to_hex(matplotlib.colormaps["viridis"](start + 0.75 * i / max(1, count - 1))) for i in range(count)]


def save_figure(path: Path, figure: Figure, **options: Any) -> None:
    """Write a figure as PNG, whole or not at all; `options` are those of ``Figure.savefig``."""
    content = io.BytesIO()
    figure.savefig(content, format="png", **options)
    write_atomically(path, content.getvalue())


@dataclass(frozen=True)
class Look:
    """The paper and the pen: `line_width` in 256ths of the picture."""

    background: str = "white"
    line_width: float = LINE_WIDTH
    color_by_order: bool = False

    @property
    def paper(self) -> str:
        """The colour of the paper; where it is transparent, of the paper that ink is told from."""
        return DARK if self.background == "dark" else WHITE

    def inks(self, count: int) -> list[str]:
        """Return the colours of `count` finished strokes."""
        ink = PALE if self.background == "dark" else INK
        return order_colors(count, self.background == "dark") if self.color_by_order else [ink] * count

    def palette(self) -> NDArray[np.uint8]:
        """Return the colours of an animation, (n, 3), the paper first: steps from it to each ink.

        A transparent one has no steps: GIF knows no half transparency, and they would be a rim of the paper's colour.
        """
        inks = [*self.inks(ORDERED), ACCENT] if self.color_by_order else [*self.inks(1), ACCENT, HISTORY]
        paper, *ends = (np.array(list(bytes.fromhex(color[1:]))) for color in (self.paper, *inks))
        steps = np.linspace(0, 1, 2 if self.background == "transparent" else SHADES)[:, None]
        colors = np.rint(paper + steps * (np.array(ends)[:, None] - paper))
        return colors.astype(np.uint8).reshape(-1, 3)


PLAIN = Look()
