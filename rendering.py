"""Draw drawings: the two reference rasters, feature rasters, grids, SVG and animated GIFs.

A drawing is a list of strokes, a stroke an (n, 2) array of (x, y), y down; the official form has integers
0..255. *Rasters* are what is measured on: they follow their reference to the pixel. *Pictures* are what is
looked at: antialiased, each drawing centred in its cell, all at one scale (255 units; larger ones shrink).

Every function takes time linear in the number of points. CPU time on one core: a real cat takes 75 us as a
feature raster, 0.3 ms in a grid, 0.1 s as a GIF; 10^6 random points take 2 s, 6 s and 30 s.
"""

from __future__ import annotations

import functools
import io
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends import backend_agg
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path as LinePath
from matplotlib.transforms import IdentityTransform
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image, ImageDraw

from drawings.look import ACCENT, CAPTION, HISTORY, INK, PLAIN, RULE, WHITE, Look, order_colors
from plumbing.files import write_atomically

Drawing = Sequence[NDArray[Any]]
Picture = NDArray[np.uint8]
Pixels = NDArray[np.uint32]
Points = NDArray[np.float64]
AnyPath = str | os.PathLike[str]

CANVAS = 256
BOX_SIDE = 236
BOX_CORNER = 10
FEATURE_SIDE = 64
FEATURE_RENDERING = "bounding box to 236 of 256 px at (10, 10), PIL line width 3, averaged 4x4 to 64 px"
COORDINATE_LIMIT = 10_000  # beyond any screen; PIL walks every pixel of a line, also those outside the picture

UNIT_SIDE = 255.0  # longest side of an official drawing
MARGIN = 0.08  # of the cell, on each side
WIDE = 400  # px, of a picture whose title is never small

PEN_SPEED = 0.045  # cells per frame
PEN_LIFT = 2.0  # frames between two strokes
FRAME_MS = 40
STATE_MS, EMERGING_MS = 80, 800  # of one state of a stroke that emerges from noise, of all its states; at least
HOLD_MS = 1500  # of a finished drawing
MAX_FRAMES = 500  # of one drawing (20 s), and 3,000 of one GIF
MAX_SECONDS = 12.0  # of one cycle of an animated SVG
PATH_CHUNK = 5000  # vertices; Agg refuses a path that covers too many pixels at once


# ------------------------------------------------------------------ rasters: what is measured on


def _points(drawing: Drawing) -> tuple[Points, list[int]]:
    """Return all points of a drawing as one (P, 2) array, and the number of points of each stroke."""
    for number, stroke in enumerate(drawing):
        if stroke.ndim != 2 or stroke.shape[1] != 2 or len(stroke) == 0:
            raise ValueError(f"stroke {number} has shape {stroke.shape}, expected (n, 2) with n >= 1")
    if len(drawing) == 0:
        return np.zeros((0, 2)), []
    points = np.concatenate(drawing).astype(np.float64, copy=False)
    largest = np.abs(points).max()
    if not largest <= COORDINATE_LIMIT:  # in this form it refuses NaN too
        raise ValueError(f"a drawing has a coordinate of size {largest:g}, the limit is {COORDINATE_LIMIT}")
    return points, [len(stroke) for stroke in drawing]


def _draw_lines(canvas: ImageDraw.ImageDraw, points: Points, lengths: list[int], width: int) -> None:
    # Floor, not round: scaling 256 rows to 237 makes some share one, and in the reference rasters straight
    # lines are 1.9 times as frequent as nearby on the rows that flooring shares, 1.0 on those of rounding.
    flat, start = np.floor(points).ravel().tolist(), 0
    for length in lengths:
        stop = start + 2 * length
        # PIL draws nothing for one point, and one pixel for a point given twice: the dot of the references.
        canvas.line(flat[start:stop] if length > 1 else flat[start:stop] * 2, fill=0, width=width)
        start = stop


def _boxed(drawing: Drawing) -> Image.Image:
    image = Image.new("L", (CANVAS, CANVAS), 255)
    points, lengths = _points(drawing)
    if lengths:
        points = points - points.min(axis=0)
        extent = points.max()
        if extent > 0:
            points = points * BOX_SIDE / extent
        _draw_lines(ImageDraw.Draw(image), points + BOX_CORNER, lengths, width=3)
    return image


def official_raster(drawing: Drawing) -> Picture:
    """Return the (256, 256) uint8 picture of the official protocol: ink 0 on paper 255, lines 1 px wide.

    Coordinates are pixels as they are: nothing is scaled or centred, and what lies outside is cut off. An
    empty drawing is white paper. Raises ValueError for NaN and for coordinates beyond +-10,000.
    """
    image = Image.new("L", (CANVAS, CANVAS), 255)
    points, lengths = _points(drawing)
    _draw_lines(ImageDraw.Draw(image), points, lengths, width=1)
    return np.array(image)


def pool_raster(raster: Picture) -> Picture:
    """Return the means of 4 x 4 px blocks, (..., 64, 64) uint8, of rasters (..., 256, 256) uint8."""
    if raster.dtype != np.uint8 or raster.shape[-2:] != (CANVAS, CANVAS):
        raise ValueError(f"raster is {raster.dtype} {raster.shape}, expected uint8 (..., {CANVAS}, {CANVAS})")
    wide = raster.astype(np.uint16)  # adding slices is 10 times as fast as reshape(...).mean(...)
    rows = wide[..., 0::4, :] + wide[..., 1::4, :] + wide[..., 2::4, :] + wide[..., 3::4, :]
    blocks = rows[..., 0::4] + rows[..., 1::4] + rows[..., 2::4] + rows[..., 3::4]
    pooled: Picture = ((blocks + 8) // 16).astype(np.uint8)  # halves go up
    return pooled


def feature_raster(drawing: Drawing) -> Picture:
    """Return the (64, 64) uint8 input of the feature network, of a drawing whatever its place and size.

    Its bounding box is moved to (10, 10) of 256 x 256 px and scaled to a longest side of 236 px; lines are 3 px wide,
    not antialiased. A drawing without extent is one dot there. Then ``pool_raster``. Errors as in ``official_raster``.
    """
    return np.array(_boxed(drawing).reduce(CANVAS // FEATURE_SIDE))  # what pool_raster does, at twice its speed


def feature_rasters(drawings: Sequence[Drawing]) -> Picture:
    """Return the feature rasters of many drawings, (N, 64, 64) uint8."""
    rasters = [feature_raster(drawing) for drawing in drawings]
    return np.array(rasters, dtype=np.uint8).reshape(-1, FEATURE_SIDE, FEATURE_SIDE)


# ------------------------------------------------------------------ the antialiased pen


class _Paper:
    """Paper of height x width px, white or of another colour, to paint strokes and write text on."""

    def __init__(self, height: int, width: int, color: str = WHITE) -> None:
        renderer: Any = backend_agg.RendererAgg
        self._agg = renderer(width, height, 72.0)  # at 72 dpi a point is a pixel
        self._height = height
        rgba: Picture = np.asarray(self._agg.buffer_rgba())
        # a live view, (H, W), a pixel in one number: copied ten times as fast as (H, W, 3) of (H, W, 4) bytes
        self.pixels: Pixels = rgba.view(np.uint32)[..., 0]
        self.pixels[:] = np.frombuffer(bytes.fromhex(color[1:] + "ff"), np.uint32)

    def picture(self) -> Picture:
        """Return what is on the paper as an (H, W, 3) uint8 picture."""
        return _rgb(self.pixels)

    def paint(self, strokes: Sequence[Points], color: str, width: float) -> None:
        """Paint strokes, (x, y) in px, with round caps and joins."""
        if not strokes:
            return
        # Agg drops lines without length. A last step of 1/100 px, hidden by the round cap, makes them dots.
        nudge = np.array([0.01, 0.0])
        vertices = np.concatenate([part for stroke in strokes for part in (stroke, stroke[-1:] + nudge)])
        vertices[:, 1] = self._height - vertices[:, 1]
        codes = np.full(len(vertices), LinePath.LINETO, dtype=LinePath.code_type)
        codes[np.cumsum([0] + [len(stroke) + 1 for stroke in strokes[:-1]])] = LinePath.MOVETO
        pen = self._agg.new_gc()
        pen.set_foreground(color)
        pen.set_linewidth(width)
        pen.set_capstyle("round")
        pen.set_joinstyle("round")
        pen.set_snap(False)
        for start in range(0, len(vertices) - 1, PATH_CHUNK):
            chunk = slice(start, start + PATH_CHUNK + 1)  # neighbours share a vertex: round caps hide the cut
            part = codes[chunk].copy()
            part[0] = LinePath.MOVETO
            path = LinePath(vertices[chunk], part)
            path.should_simplify = False
            self._agg.draw_path(pen, path, IdentityTransform())

    def write(self, text: str, x: float, y: float, size: float) -> None:
        """Write text centred at x, its baseline at y, all in px."""
        font = FontProperties(family="DejaVu Sans", size=size)
        width, _, _ = self._agg.get_text_width_height_descent(text, font, ismath=False)
        pen = self._agg.new_gc()
        pen.set_foreground(CAPTION)
        self._agg.draw_text(pen, round(x - width / 2), round(y), text, font, 0.0, ismath=False)


def _rgb(pixels: Pixels) -> Picture:
    """Return pixels (H, W) as an (H, W, 3) uint8 picture."""
    rgba = np.ascontiguousarray(pixels).view(np.uint8).reshape(*pixels.shape, 4)
    return np.stack([rgba[..., channel] for channel in range(3)], axis=-1)  # a sixth of the time of [..., :3].copy()


def _pen_width(cell: float) -> float:
    return max(1.2, 0.0125 * cell)


def _placement(drawing: Drawing, cell: float) -> tuple[float, Points]:
    """Return the (scale, offset) that centre a drawing in a cell, in px."""
    points, lengths = _points(drawing)
    if not lengths:
        return 1.0, np.zeros(2)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = cell * (1 - 2 * MARGIN) / max(UNIT_SIDE, float((high - low).max()))
    return scale, cell / 2 - (low + high) / 2 * scale


def _fit(drawing: Drawing, cell: float, corner: tuple[float, float] = (0.0, 0.0)) -> list[Points]:
    """Return the strokes in px, centred in the cell whose upper left corner is given."""
    scale, offset = _placement(drawing, cell)
    return [stroke * scale + (offset + corner) for stroke in drawing]


class _Layout:
    """Where the cells of a grid are: rows of `columns` cells, `foot` px below each, `head` px above all."""

    def __init__(self, count: int, columns: int, cell: int, *, head: int = 0, foot: int = 0) -> None:
        if count < 1 or columns < 1 or cell < 16:
            raise ValueError(f"{count} drawings, {columns} columns, cells of {cell} px: at least 1, 1 and 16")
        columns = min(columns, count)
        rows = -(-count // columns)
        pitch = cell + foot
        self.width, self.height = columns * cell, head + rows * pitch
        self.corners = [(i % columns * cell, head + i // columns * pitch) for i in range(count)]
        lines = [[(0, head + i * pitch), (self.width, head + i * pitch)] for i in range(1, rows)]
        lines += [[(i * cell, head), (i * cell, self.height)] for i in range(1, columns)]
        self.rules = [np.array(line) + 0.5 for line in lines]  # through the middle of pixels: crisp at 1 px


# ------------------------------------------------------------------ still pictures


def grid_image(
    drawings: Sequence[Drawing],
    columns: int = 8,
    cell: int = 128,
    *,
    title: str = "",
    labels: Sequence[str] = (),
    color_by_order: bool = False,
    given: Sequence[int] = (),
) -> Picture:
    """Return drawings in rows of `columns` cells of `cell` px as one antialiased (H, W, 3) uint8 picture.

    `title` stands above all, `labels` (one per drawing, or none) below each drawing. `color_by_order` colours the
    strokes from violet, drawn first, to green; of drawing i the first `given[i]` are red where it does not.
    Raises ValueError for no drawings, a cell below 16 px, or a wrong number of labels.
    """
    if labels and len(labels) != len(drawings):
        raise ValueError(f"{len(labels)} labels for {len(drawings)} drawings: give one each, or none")
    size = max(10.0, 0.11 * cell)
    title_size = max(size, 14.0) if columns * cell >= WIDE else size
    head, foot = round(2.4 * title_size) if title else 0, round(1.2 * size) if labels else 0
    layout = _Layout(len(drawings), columns, cell, head=head, foot=foot)
    paper = _Paper(layout.height, layout.width)
    paper.paint(layout.rules, RULE, 1.0)
    if title:
        paper.write(title, layout.width / 2, 1.5 * title_size, title_size)
    for index, (drawing, (left, top)) in enumerate(zip(drawings, layout.corners, strict=True)):
        strokes = _fit(drawing, cell, (left, top))
        if color_by_order:
            for stroke, color in zip(strokes, order_colors(len(strokes)), strict=True):
                paper.paint([stroke], color, _pen_width(cell))
        else:
            kept = given[index] if given else 0
            paper.paint(strokes[:kept], ACCENT, _pen_width(cell))
            paper.paint(strokes[kept:], INK, _pen_width(cell))
        if labels:
            paper.write(labels[index], left + cell / 2, top + cell + 0.5 * size, 0.85 * size)
    return paper.picture()


def comparison_image(
    real: Sequence[Drawing], generated: Sequence[Drawing], columns: int, cell: int, titles: tuple[str, str]
) -> Picture:
    """Return two titled grids side by side, each `columns` wide, as one (H, W, 3) uint8 picture."""
    left = grid_image(real, columns, cell, title=titles[0])
    right = grid_image(generated, columns, cell, title=titles[1])
    gutter = cell // 3
    picture = np.full((max(len(left), len(right)), left.shape[1] + gutter + right.shape[1], 3), 255, np.uint8)
    picture[: len(left), : left.shape[1]] = left
    picture[: len(right), left.shape[1] + gutter :] = right
    return picture


def continuations_image(
    rows: Sequence[Sequence[Drawing]],
    given: Sequence[int],
    headings: Sequence[tuple[str, int]],
    cell: int = 112,
) -> Picture:
    """Return rows of drawings that begin alike, their given strokes red, as one (H, W, 3) uint8 picture.

    All drawings of row i begin with the same `given[i]` strokes, which stand in the same place in each of its cells:
    a row has one scale and one centre. `headings` are (text, number of columns) of groups of columns, from left to
    right, with room between them. Raises ValueError for no row, or rows that do not fill the columns.
    """
    counts = [count for _, count in headings]
    if not rows or len(given) != len(rows) or any(len(row) != sum(counts) for row in rows):
        raise ValueError(f"rows of {[len(row) for row in rows]} drawings, {len(given)} numbers of given strokes: "
                         f"expected at least one row, each of {sum(counts)}, and as many numbers")  # fmt: skip
    size, gap = max(14.0, 0.11 * cell), cell // 6
    head = round(2.4 * size)
    paper = _Paper(head + len(rows) * cell, sum(counts) * cell + (len(counts) - 1) * gap)
    lefts: list[int] = []
    for number, (text, count) in enumerate(headings):
        left = len(lefts) * cell + number * gap
        layout = _Layout(count * len(rows), count, cell, head=head)
        paper.paint([rule + np.array([left, 0]) for rule in layout.rules], RULE, 1.0)
        paper.write(text, left + count * cell / 2, 1.5 * size, size)
        lefts += [left + column * cell for column in range(count)]
    for number, (row, kept) in enumerate(zip(rows, given, strict=True)):
        scale, offset = _placement([stroke for drawing in row for stroke in drawing], cell)
        for drawing, left in zip(row, lefts, strict=True):
            strokes = [stroke * scale + (offset + (left, head + number * cell)) for stroke in drawing]
            paper.paint(strokes[kept:], INK, _pen_width(cell))
            paper.paint(strokes[:kept], ACCENT, _pen_width(cell))
    return paper.picture()


def save_image(path: AnyPath, image: Picture, *, few_colors: bool = False) -> None:
    """Write an (H, W) or (H, W, 3) uint8 picture as a PNG file; its folder is made where missing.

    `few_colors` gives an (H, W, 3) picture the 24 colours of the animations: it looks the same and takes a quarter of
    the bytes.
    """
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"{path}: a picture is written as .png")
    whole, content = Image.fromarray(_palette_indices(image) if few_colors else image), io.BytesIO()
    if few_colors:
        whole.putpalette(PLAIN.palette().tobytes())
    whole.save(content, "PNG", optimize=True)
    write_atomically(path, content.getvalue())


# ------------------------------------------------------------------ time: the pen at an even pace


class _Track:
    """When, in frames, the pen is where: strokes follow one another at one speed, with pauses between."""

    def __init__(self, strokes: Sequence[Points], cell: float) -> None:
        self.strokes = strokes
        steps = [np.hypot(*np.diff(stroke, axis=0).T) / (PEN_SPEED * cell) for stroke in strokes]
        self.reached = [np.concatenate(([0.0], np.cumsum(step))) for step in steps]
        durations = np.array([max(1.0, reached[-1]) for reached in self.reached])  # a dot takes one frame
        self.ends = np.cumsum(durations) + PEN_LIFT * np.arange(len(strokes))
        self.starts = self.ends - durations
        self.total = float(self.ends[-1]) if len(strokes) else 0.0

    def stroke_until(self, number: int, time: float) -> Points:
        """Return the part of a stroke drawn at `time` >= its start, (n, 2); its last point is the pen."""
        stroke, reached, elapsed = self.strokes[number], self.reached[number], time - self.starts[number]
        passed = int(np.searchsorted(reached, elapsed, side="right"))
        pen = np.array([[np.interp(elapsed, reached, stroke[:, axis]) for axis in (0, 1)]])
        thinning = 1 + passed // 2000  # of giant strokes while they move, for a bounded time
        return np.concatenate([stroke[:passed:thinning], pen])


def _replay(
    track: _Track, shape: tuple[int, int], width: float, num_frames: int, look: Look = PLAIN
) -> Iterator[Pixels]:
    """Yield the pixels of `num_frames` pictures of a drawing that draws itself and is finished by the last."""
    paper, done = _Paper(*shape, look.paper), 0
    inks = look.inks(len(track.strokes))
    for time in track.total * (np.arange(1, num_frames + 1) / num_frames):
        finished = int(np.searchsorted(track.ends, time, side="right"))
        for ink in dict.fromkeys(inks[done:finished]):
            paper.paint([track.strokes[i] for i in range(done, finished) if inks[i] == ink], ink, width)
        done, finished_ink = finished, paper.pixels.copy()
        if done < len(track.strokes) and time >= track.starts[done]:
            drawn = track.stroke_until(done, time)
            paper.paint([drawn], ACCENT, width)
            paper.paint([drawn[-1:]], ACCENT, 2.4 * width)
        yield paper.pixels.copy()
        paper.pixels[:] = finished_ink


def replay(strokes: Sequence[Points], shape: tuple[int, int], width: float, frames: int = 0) -> Iterator[Picture]:
    """Yield pictures (H, W, 3) in which strokes, in px of a paper of `shape` (H, W), draw themselves in turn.

    As many as the pen needs at its usual speed where `frames` is 0; the last one, or the only one, shows all.
    """
    track = _Track(strokes, max(shape))
    for pixels in _replay(track, shape, width, frames or max(1, int(np.ceil(track.total)))):
        yield _rgb(pixels)


# ------------------------------------------------------------------ animated GIF


@functools.cache
def _nearest_color(look: Look) -> Picture:
    """Return the palette's nearest colour for 4 bits each of red, green, blue: (4096,) indices."""
    levels = np.arange(16) * 17.0
    colors = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(4096, 1, 3)
    nearest: Picture = np.argmin(((colors - look.palette()) ** 2).sum(axis=-1), axis=1).astype(np.uint8)
    return nearest


def _palette_indices(picture: Picture, look: Look = PLAIN) -> Picture:
    """Return the indices (H, W) of the palette's colours nearest to those of a picture (H, W, 3)."""
    red, green, blue = (picture[..., channel].astype(np.uint16) >> 4 for channel in range(3))
    indices: Picture = _nearest_color(look)[red << 8 | green << 4 | blue]
    return indices


def _write_gif(path: AnyPath, frames: Iterable[tuple[Pixels, int]], look: Look = PLAIN) -> None:
    """Write pairs of a picture's pixels (H, W) and its ms, a multiple of 10, as a GIF that loops for ever.

    Of each frame only the rectangle that has changed is written, which takes a tenth of the time of whole frames. On
    transparent paper each frame is whole and goes when the next one comes: nothing else takes ink away.
    """
    if Path(path).suffix.lower() != ".gif":
        raise ValueError(f"{path}: an animation is written as .gif")
    pieces: list[tuple[Picture, tuple[int, int]]] = []
    durations: list[int] = []
    clears = look.background == "transparent"
    before: Pixels | None = None
    for pixels, milliseconds in frames:
        changed = np.ones(pixels.shape, bool) if before is None else pixels != before
        before = pixels
        rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            durations[-1] += milliseconds
            continue
        if clears:
            rows, columns = (np.arange(length) for length in pixels.shape)
        top, left = int(rows[0]), int(columns[0])
        piece = _rgb(pixels[top : rows[-1] + 1, left : columns[-1] + 1])
        pieces.append((_palette_indices(piece, look), (left, top)))
        durations.append(milliseconds)
    (height, width), colors = pieces[0][0].shape, look.palette()
    # a table of 2 ** (1 + bits) colours for all frames, then the block that makes browsers repeat for ever
    bits = int(len(colors) - 1).bit_length() - 1
    parts = [b"GIF89a", struct.pack("<HHBBB", width, height, 0xF0 | bits, 0, 0)]
    parts += [colors.tobytes().ljust(3 << (1 + bits), b"\0"), b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"]
    clearing = {"disposal": 2, "transparency": 0} if clears else {}
    for (indices, corner), milliseconds in zip(pieces, durations, strict=True):
        parts += GifImagePlugin.getdata(Image.fromarray(indices), corner, duration=milliseconds, **clearing)
    write_atomically(path, b"".join([*parts, b";"]))


def frames_animation(path: AnyPath, pictures: Iterable[Picture], hold: int = HOLD_MS) -> None:
    """Write pictures (H, W, 3) as a GIF of 25 a second that holds the last one for `hold` ms, for ever."""
    def frames() -> Iterator[tuple[Pixels, int]]:
        for picture in pictures:
            opaque = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)]).view(np.uint32)[..., 0]
            yield opaque, FRAME_MS
        yield opaque, hold - FRAME_MS
    _write_gif(path, frames())


def drawings_animation(
    drawings: Sequence[Drawing], path: AnyPath, size: int = 256, look: Look = PLAIN
) -> None:
    """Write a size x size px GIF in which drawings draw themselves in turn, point by point, for ever.

    The pen follows the strokes in their order, at one speed; the stroke being drawn is red, finished ones
    are dark. Each finished drawing stays for 1.5 s. Long ones are sped up to 20 s, all to 2 minutes.
    """
    _Layout(len(drawings), 1, size)

    def frames() -> Iterator[tuple[Pixels, int]]:
        for drawing in drawings:
            track = _Track(_fit(drawing, size), size)
            num_frames = max(1, min(int(np.ceil(track.total)), 6 * MAX_FRAMES // max(6, len(drawings))))
            durations = [FRAME_MS] * (num_frames - 1) + [HOLD_MS]
            width = _pen_width(size) * look.line_width / PLAIN.line_width
            yield from zip(_replay(track, (size, size), width, num_frames, look), durations, strict=True)

    _write_gif(path, frames(), look)


def denoising_animation(
    strokes: Sequence[Sequence[NDArray[Any]]], path: AnyPath, history: Drawing = (), size: int = 256
) -> None:
    """Write a size x size px GIF of strokes that emerge from noise in turn, each through its (n, 2) states.

    `history`, the strokes before them, is grey and stands still, and a stroke that has emerged joins it. The
    finished drawing decides what is in view; noise may reach out of it. All are in the coordinates of the drawing.
    """
    if not strokes or not all(len(states) for states in strokes):
        raise ValueError("a denoising animation needs at least one stroke, and one state of each")
    finished = [states[-1] for states in strokes]
    scale, offset = _placement([*history, *finished], size)
    paper, width = _Paper(size, size), _pen_width(size)
    paper.paint([stroke * scale + offset for stroke in history], HISTORY, width)

    def pictures() -> Iterator[Pixels]:
        for states in strokes:
            background = paper.pixels.copy()
            for state in states:
                paper.pixels[:] = background
                stroke = state * scale + offset
                paper.paint([stroke], ACCENT, width)
                paper.paint(list(stroke[:, None]), ACCENT, 2 * width)
                yield paper.pixels.copy()
            paper.pixels[:] = background
            paper.paint([states[-1] * scale + offset], HISTORY, width)

    shown = [max(STATE_MS, EMERGING_MS // len(states)) for states in strokes for _ in states]
    _write_gif(path, zip(pictures(), [*shown[:-1], HOLD_MS], strict=True))


# ------------------------------------------------------------------ SVG


def _svg_line(stroke: Points) -> str:
    (x, y), *rest = stroke.round(1).tolist()
    return f"M{x:g} {y:g}" + ("L" + " ".join(f"{x:g} {y:g}" for x, y in rest) if rest else "h0")


def _svg_strokes(strokes: list[Points], colors: Sequence[str], cell: float, seconds: float) -> str:
    """Return one ``<path>`` a stroke; where `seconds` > 0 they are drawn in turn in that time, for ever."""
    if seconds <= 0:
        lines = zip(strokes, colors, strict=True)
        return "".join(f'<path d="{_svg_line(stroke)}" stroke="{color}"/>' for stroke, color in lines)
    track, cycle = _Track(strokes, cell), seconds + 2.0  # the finished drawing rests for 2 s
    loop = f'dur="{cycle:.2f}s" repeatCount="indefinite"'
    paths = []
    for stroke, color, start, end in zip(strokes, colors, track.starts, track.ends, strict=True):
        begin, finish = (f"{time / track.total * seconds / cycle:.4f}" for time in (start, end))
        dash, sweep = ' pathLength="1" stroke-dasharray="1"', '<animate attributeName="stroke-dashoffset" '
        sweep += f'values="1;1;0;0" keyTimes="0;{begin};{finish};1" {loop}/>'
        if not np.ptp(stroke.round(1), axis=0).any():  # a dot has no length to sweep
            dash = sweep = ""
        # Hidden before its turn: even a dash without length has a round cap.
        hidden = f'values="hidden;visible" keyTimes="0;{begin}" calcMode="discrete" {loop}'
        turn = f'<animate attributeName="visibility" {hidden}/>'
        paths.append(f'<path d="{_svg_line(stroke)}" stroke="{color}"{dash}>{sweep}{turn}</path>')
    return "".join(paths)


def _svg_document(width: int, height: int, paper: str, cell: float, lines: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'{paper}<g fill="none" stroke-width="{_pen_width(cell):g}" stroke-linecap="round" stroke-linejoin="round">'
        f"{''.join(lines)}</g></svg>"
    )


def svg_sheet(
    drawings: Sequence[Drawing],
    columns: int = 8,
    cell: int = 128,
    *,
    animated: bool = False,
    color_by_order: bool = False,
) -> str:
    """Return drawings in rows of `columns` cells of `cell` px as one SVG document, one ``<path>`` a stroke.

    `animated` lets them draw themselves stroke by stroke, all at once, for ever, without a script; a viewer
    that does not animate shows them finished. `color_by_order` as in ``grid_image``.
    """
    layout = _Layout(len(drawings), columns, cell)
    placed = [_fit(drawing, cell, corner) for drawing, corner in zip(drawings, layout.corners, strict=True)]
    seconds = max(_Track(strokes, cell).total for strokes in placed) * FRAME_MS / 1000 if animated else 0.0
    groups = []
    for strokes in placed:
        colors = order_colors(len(strokes)) if color_by_order else [INK] * len(strokes)
        groups.append(_svg_strokes(strokes, colors, cell, min(seconds, MAX_SECONDS)))
    paper = f'<rect width="{layout.width}" height="{layout.height}" fill="#fff"/>'
    if rules := "".join(_svg_line(rule) for rule in layout.rules):
        paper += f'<g stroke="{RULE}"><path d="{rules}"/></g>'
    return _svg_document(layout.width, layout.height, paper, cell, groups)


def drawing_svg(drawing: Drawing, size: int = 256) -> str:
    """Return one drawing as a size x size px SVG document: ``svg_sheet`` of one."""
    return svg_sheet([drawing], 1, size)


def replay_svg(drawing: Drawing, size: int = 256) -> str:
    """Return one drawing, whole, as a size x size px SVG of some KB that a page can draw again, stroke by stroke.

    Each ``<path>`` says when its turn comes and how long it takes, by CSS that has no effect until ``REPLAY_CSS`` runs
    the animations. Points are rounded to whole px, colours are by order of strokes.
    """
    strokes = [stroke.round() for stroke in _fit(drawing, size)]
    track = _Track(strokes, size)
    frame = min(FRAME_MS / 1000, MAX_SECONDS / max(1.0, track.total))  # seconds
    paths = []
    for stroke, color, start, end in zip(strokes, order_colors(len(strokes)), track.starts, track.ends, strict=True):
        is_dot = not np.ptp(stroke, axis=0).any()  # which has no length to sweep
        turn = f"animation-delay:{start * frame:.2f}s;animation-duration:{(end - start) * frame:.2f}s"
        kind = ' class="dot"' if is_dot else ' pathLength="1"'
        paths.append(f'<path d="{_svg_line(stroke)}" stroke="{color}"{kind} style="{turn}"/>')
    return _svg_document(size, size, "", size, paths)


REPLAY_CSS = """
@keyframes sweep { from { stroke-dasharray: 1; stroke-dashoffset: 1; visibility: hidden }
  to { stroke-dasharray: 1; stroke-dashoffset: 0; visibility: visible } }
@keyframes appear { from { visibility: hidden } to { visibility: visible } }
@media screen and (prefers-reduced-motion: no-preference) {
  .replaying path { animation: sweep 0s linear backwards } .replaying path.dot { animation-name: appear } }
"""
"""Draws each SVG of ``replay_svg`` in an element of class `replaying`, but not on paper or where motion is unwanted."""
