"""A convolutional autoencoder on pictures: it can redraw what it has learned, and errs where a drawing is odd.

A picture of 32 x 32 px passes a code of 32 numbers. What that cannot hold is not drawn again: a cat learned from cats
keeps its ears, a wheel beside it is lost. The error is measured on slightly blurred ink, so that a line one pixel aside
is not taken for a missing one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from config import ATTRIBUTION, RunFailed
from plumbing.tensor_files import read_header, write_tensors
from rendering import feature_rasters

Drawing = Sequence[NDArray[Any]]

FORMAT = "picture-autoencoder-1"
WIDTHS, CODE, SIDE = (16, 32, 48), 32, 32
STEPS, BATCH, RATE, WARM_UP = 800, 32, 3e-3, 50
LOG_EVERY = 50
"""Updates behind a row of metrics.jsonl."""
MOST_SHIFT = 1
"""Pixels by which pictures are moved at random in training."""
BATCH_TO_JUDGE = 256


class Autoencoder(nn.Module):
    """From ink (B, 32, 32), 0 paper to 1 ink, by way of 32 numbers to the logits of ink again."""

    def __init__(self) -> None:
        """Build it with fresh weights."""
        super().__init__()
        a, b, c = WIDTHS
        self.encoder = nn.Sequential(
            nn.Conv2d(1, a, 3, 2, 1), nn.SiLU(), nn.Conv2d(a, b, 3, 2, 1), nn.SiLU(),
            nn.Conv2d(b, c, 3, 2, 1), nn.SiLU(), nn.Flatten(), nn.Linear(16 * c, CODE),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(CODE, 16 * c), nn.SiLU(), nn.Unflatten(1, (c, 4, 4)),
            nn.ConvTranspose2d(c, b, 4, 2, 1), nn.SiLU(), nn.ConvTranspose2d(b, a, 4, 2, 1), nn.SiLU(),
            nn.ConvTranspose2d(a, 1, 4, 2, 1),
        )  # fmt: skip
        last = self.decoder[-1].bias
        assert isinstance(last, Tensor)
        nn.init.constant_(last, -2.5)  # what is true of every drawing: there is little ink

    def forward(self, ink: Tensor) -> Tensor:
        """Return the logits of ink (B, 32, 32)."""
        logits: Tensor = self.decoder(self.encoder(ink[:, None]))[:, 0]
        return logits


def ink_of(drawings: Sequence[Drawing]) -> Tensor:
    """Return the ink of drawings, float32 (N, 32, 32), 0 paper to 1 ink: feature rasters at half their size."""
    return F.avg_pool2d(1 - torch.from_numpy(feature_rasters(drawings)).float() / 255, 2)


def blurred(ink: Tensor) -> Tensor:
    """Return pictures (B, 32, 32) whose pixels are means over 3 x 3 px."""
    return F.avg_pool2d(ink[:, None], 3, 1, 1)[:, 0]


def train_autoencoder(
    ink: Tensor, seed: int, steps: int = STEPS, log: Callable[[dict[str, float]], object] = lambda row: None
) -> Autoencoder:
    """Return an autoencoder of pictures (N, 32, 32), trained to say where their ink is; `log` hears losses by step.

    The pictures are mirrored and moved at random. Raises RunFailed where the loss is not finite.
    """
    torch.manual_seed(seed)
    model, rng = Autoencoder(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    recent: list[float] = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))
        batch = _moved(ink[torch.randint(len(ink), (BATCH,), generator=rng)], rng)
        loss = F.binary_cross_entropy_with_logits(model(batch), batch)
        if not torch.isfinite(loss):
            raise RunFailed(f"autoencoder: the loss is not finite after {step} updates")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        recent.append(loss.item())
        if (step + 1) % LOG_EVERY == 0 or step + 1 == steps:
            log({"step": step + 1, "loss": sum(recent) / len(recent), "learning_rate": optimizer.param_groups[0]["lr"]})
            recent.clear()
    return model.eval()


def _moved(ink: Tensor, rng: torch.Generator) -> Tensor:
    """Return the pictures moved by up to MOST_SHIFT px, half of them mirrored."""
    x, y = torch.randint(-MOST_SHIFT, MOST_SHIFT + 1, (2,), generator=rng).tolist()
    mirrored = torch.rand(len(ink), generator=rng) < 0.5
    return torch.where(mirrored[:, None, None], ink.flip(2), ink).roll((y, x), (1, 2))


@torch.no_grad()
def redrawn(model: Autoencoder, ink: Tensor) -> Tensor:
    """Return what is left of pictures (N, 32, 32) after the code: the probability of ink."""
    parts = [torch.sigmoid(model(part)) for part in ink.split(BATCH_TO_JUDGE)]
    return torch.cat(parts) if parts else ink.clone()


def errors(ink: Tensor, again: Tensor) -> Tensor:
    """Return where pictures could not be drawn again, (N, 32, 32): the square of the difference of blurred ink."""
    return (blurred(ink) - blurred(again)) ** 2


def share_lost(ink: Tensor, again: Tensor) -> NDArray[np.float64]:
    """Return the share of the squared ink of pictures that was not drawn again, (N,): 0 all is there."""
    whole = (blurred(ink) ** 2).sum((1, 2)).clamp(min=1e-6)
    share: NDArray[np.float64] = (errors(ink, again).sum((1, 2)) / whole).double().numpy()
    return share


def save_autoencoders(path: Path, models: dict[str, Autoencoder], conditions: dict[str, Any]) -> None:
    """Write the autoencoders of several categories into one safetensors file, in bfloat16."""
    tensors = {f"{name}.{key}": tensor.to(torch.bfloat16) for name, model in models.items()
               for key, tensor in model.state_dict().items()}  # fmt: skip
    words = {"format": FORMAT, "categories": json.dumps(list(models)),
             "conditions": json.dumps(conditions | {"attribution": ATTRIBUTION})}  # fmt: skip
    write_tensors(path, tensors, words)


def load_autoencoders(path: Path) -> dict[str, Autoencoder]:
    """Return the autoencoders of a file, by category.

    Raises FileNotFoundError, or ValueError with one line for a file that is damaged or of something else.
    """
    header = read_header(path, "file of autoencoders")
    if header.words.get("format") != FORMAT:
        raise ValueError(f"{path}: not a file of autoencoders of this program")
    tensors, models = header.tensors(), {}
    for name in header.value("categories"):
        models[name] = Autoencoder()
        own = {key.removeprefix(f"{name}."): t.float() for key, t in tensors.items() if key.startswith(f"{name}.")}
        try:
            models[name].load_state_dict(own)
        except RuntimeError as error:  # one line a tensor
            reason = str(error).splitlines()[1].strip()
            raise ValueError(f"{path}: the tensors of {name} do not fit ({reason:.120})") from None
        models[name].eval()
    return models
