"""Pictures of the comparison: drawings of every family side by side, the curve, and the stages of latent diffusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from families.interface import Drawing
from families.latent_diffusion import LatentDiffusion
from families.pictures import PARTS, levels_of, to_pictures

Picture = NDArray[np.uint8]
SHOWN = (0, 4, 9, 14, 19)
"""Steps of latent diffusion that are shown."""
COLORS = plt.get_cmap("tab20").colors  # type: ignore[attr-defined]


def strip(pictures: Picture) -> Picture:
    """Return pictures (N, H, W) uint8 side by side as one."""
    return np.concatenate(list(pictures), axis=1)


def families_figure(rows: Mapping[str, Picture]) -> Figure:
    """Return a row of pictures (N, 64, 64) for each title."""
    most = max(map(len, rows.values()))
    figure, axes = plt.subplots(len(rows), 1, figsize=(2.2 + 0.62 * most, 0.66 * len(rows)), squeeze=False)
    for axis, (title, pictures) in zip(axes[:, 0], rows.items(), strict=True):
        axis.imshow(strip(pictures), cmap="gray", vmin=0, vmax=255)
        axis.set(frame_on=False, xticks=[], yticks=[], xlim=(0, 64 * most))
        axis.set_ylabel(title, rotation=0, ha="right", va="center", fontsize=9)
    figure.tight_layout(pad=0.2)
    return figure


def curve_figure(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Return KID at temperature 1 over the processor seconds of training, a line for each title."""
    figure, axis = plt.subplots(figsize=(9, 4.2))
    for number, (title, points) in enumerate(curves.items()):
        seconds, kids = ([point[key] for point in points] for key in ("processor_seconds", "kid"))
        axis.plot(seconds, [1000 * kid for kid in kids], "o-", color=COLORS[number % 20], label=title)
    axis.set(xlabel="processor seconds of training", ylabel="KID × 10³ against held-out drawings", yscale="log")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter("{x:g}")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.tight_layout()
    return figure


@torch.inference_mode()
def stages_figure(family: LatentDiffusion, category: str, drawing: Drawing | None = None, seed: int = 0) -> Figure:
    """Return the stages of latent diffusion as pictures.

    Above, where a `drawing` is given: its picture, its latent's four channels, and what the decoder makes of them.
    Below: the latent and what the decoder sees in it while the noise is removed.
    """
    columns: list[tuple[str, Any, Any]] = []
    if drawing is not None:
        levels = torch.from_numpy(levels_of([drawing])).float()
        latent, _ = family.encode(levels)
        back = to_pictures(PARTS * torch.sigmoid(family.decode(latent)))[0]
        columns = [("picture", None, to_pictures(levels)[0]), ("latent, decoded", latent[0].numpy(), back)]
    steps = family.stages(category, [0], seed)
    columns += [(f"step {n + 1} of {len(steps)}", steps[n][0][0], steps[n][1][0]) for n in SHOWN if n < len(steps)]
    figure, axes = plt.subplots(2, len(columns), figsize=(1.5 * len(columns), 3.4), squeeze=False)
    limit = max(float(np.abs(own).max()) for _, own, _ in columns if own is not None)
    for column, (title, own, picture) in enumerate(columns):
        if own is not None:
            axes[0, column].imshow(_mosaic(own), cmap="RdBu", vmin=-limit, vmax=limit)
        axes[1, column].imshow(picture, cmap="gray", vmin=0, vmax=255)
        axes[0, column].set_title(title, fontsize=8)
        for axis in axes[:, column]:
            axis.set(frame_on=False, xticks=[], yticks=[])
    figure.tight_layout(pad=0.3)
    return figure


def _mosaic(latent: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return four channels (4, 8, 8) as one picture (17, 17), a line of nothing between them."""
    padded = np.pad(latent, ((0, 0), (0, 1), (0, 1)), constant_values=np.nan)
    return np.concatenate([np.concatenate(list(padded[:2]), 1), np.concatenate(list(padded[2:]), 1)])[:-1, :-1]
