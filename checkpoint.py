"""Weights for sharing: safetensors, the EMA in bfloat16, everything that rebuilds the model in the header as JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes

from diffusion_model import StrokeDiffusionModel
from plumbing.files import write_atomically
from plumbing.tensor_files import sealed
from plumbing.tensor_files import sha256_of as sha256_of
from stroke_tokens import Whitening
from weights_header import FORMAT, guide_path, index_of_category, read_weights_header


@dataclass
class TrainedModel:
    """A model with all it takes to draw: whitening, the category names it knows, and the conditions of its making."""

    model: StrokeDiffusionModel
    whitening: Whitening
    categories: tuple[str, ...]
    conditions: dict[str, Any]
    guide: TrainedModel | None = None
    """A weaker model, which autoguidance compares with in sampling."""
    file: str = ""
    """Name of the weights file that it came from."""

    @property
    def guidance(self) -> float:
        """The strength of guidance in sampling that the checkpoint was tuned for, 1 (none) where it was not."""
        sampling = self.conditions.get("sampling")
        return float(sampling.get("guidance", 1.0)) if isinstance(sampling, dict) else 1.0

    def category_id(self, category: str) -> int:
        """Return the index of `category`, raising ValueError with those the model was trained on."""
        return index_of_category(category, self.categories, self.conditions)


def save_weights(path: Path, trained: TrainedModel, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write a shareable safetensors file: the model in `dtype`, the whitening in float32, settings in the header."""
    tensors = {f"model.{k}": v.detach().to("cpu", dtype).contiguous() for k, v in trained.model.state_dict().items()}
    for name in ("mean", "basis", "scale"):
        tensors[f"whitening.{name}"] = getattr(trained.whitening, name).cpu().contiguous()
    metadata = {
        "format": FORMAT,
        "model": json.dumps(dataclasses.asdict(trained.model.config)),
        "categories": json.dumps(list(trained.categories)),
        "conditions": json.dumps(trained.conditions),
    }
    write_atomically(path, sealed(safetensors_bytes(tensors, metadata)))


def load_weights(path: Path, device: str | torch.device = "cpu") -> TrainedModel:
    """Return the model of a weights file, float32, in evaluation mode, on `device`.

    Raises FileNotFoundError, or ValueError naming the file and the first thing that is wrong with it: not
    safetensors, damaged, of another program, of other shapes than its settings say, or with numbers not finite.
    """
    header = read_weights_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: damaged, or not a safetensors file ({str(error).splitlines()[0]})") from error
    bad = [key for key, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise ValueError(f"{path}: {bad[0]} holds numbers that are not finite")
    model = StrokeDiffusionModel(header.config, len(header.categories))
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    whitening = Whitening(*(tensors[f"whitening.{name}"] for name in ("mean", "basis", "scale")))
    return TrainedModel(
        model.to(device).eval(), whitening.to(device), header.categories, header.conditions, file=path.name
    )


def load_with_guide(path: Path, device: str | torch.device = "cpu") -> TrainedModel:
    """Return the model of a weights file as ``load_weights`` does, with the guide that it was tuned to be drawn with.

    A guide lies beside the file, or among the shipped checkpoints. Raises FileNotFoundError where it is missing and
    ValueError where it is not the one of the tuning.
    """
    guide = guide_path(read_weights_header(path))
    trained = load_weights(path, device)
    trained.guide = load_weights(guide, device) if guide else None
    return trained
