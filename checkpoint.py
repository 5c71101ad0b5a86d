"""Checkpoints: settings and tensors in one file, written so that a crash at any moment leaves a whole one.

Two kinds. *Weights* are for sharing: safetensors, the moving average in bfloat16, everything that rebuilds the model
in the header as JSON. A *training state* is for resuming: `torch.save`, with a sha256 beside it and the one before
kept as `*.previous`. Nothing here executes code from a file: `weights_only=True` and safetensors only.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes

from atomic_files import atomic_file, remove_leftovers, write_atomically
from config import CHECKPOINTS, ModelConfig, RunFailed, config_from_dict
from diffusion_model import StrokeDiffusionModel
from stroke_tokens import Whitening

FORMAT = "stroke-diffusion-1"
MAX_PARAMETERS = 500_000_000


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
        trained = self.conditions.get("trained_on", list(self.categories))
        if category not in trained:
            shown = ", ".join(trained[:10]) + (" ..." if len(trained) > 10 else "")
            raise ValueError(f"this checkpoint draws {shown}, not '{category}'")
        return self.categories.index(category)


@contextmanager
def _told_when_full(path: Path) -> Iterator[None]:
    """Turn an error of writing into RunFailed that names the file and the free space."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        free = shutil.disk_usage(path.parent).free / 1e6 if path.parent.is_dir() else 0.0
        raise RunFailed(
            f"{path}: could not be written ({str(error).splitlines()[0]}); {free:.0f} MB are free; "
            "what was saved before is untouched"
        ) from error


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


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
    with _told_when_full(path):
        write_atomically(path, safetensors_bytes(tensors, metadata))


def load_weights(path: Path, device: str | torch.device = "cpu") -> TrainedModel:
    """Return the model of a weights file, float32, in evaluation mode, on `device`.

    Raises FileNotFoundError, or ValueError naming the file and the first thing that is wrong with it: not
    safetensors, damaged, of another program, of other shapes than its settings say, or with numbers not finite.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{path}: not a checkpoint of this program (format {metadata.get('format')!r})")
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            config, categories, conditions = _read_settings(path, metadata)
            model, expected = _empty_model(path, config, len(categories))
            _check_shapes(path, shapes, expected)
            tensors = {key: file.get_tensor(key).float() for key in shapes}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: damaged or not a safetensors file ({str(error).splitlines()[0]})") from error
    bad = [key for key, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise ValueError(f"{path}: {bad[0]} holds numbers that are not finite")
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    whitening = Whitening(*(tensors[f"whitening.{name}"] for name in ("mean", "basis", "scale")))
    return TrainedModel(model.to(device).eval(), whitening.to(device), categories, conditions, file=path.name)


def load_with_guide(path: Path, device: str | torch.device = "cpu") -> TrainedModel:
    """Return the model of a weights file as ``load_weights`` does, with the guide that it was tuned to be drawn with.

    A guide lies beside the file, or among the shipped checkpoints. Raises FileNotFoundError where it is missing and
    ValueError where it is not the one of the tuning.
    """
    trained = load_weights(path, device)
    wanted = _guide_of(path, trained.conditions.get("sampling", {"guidance": 1.0}))
    if wanted is None:
        return trained
    places = [folder / Path(wanted["file"]).name for folder in (path.parent, CHECKPOINTS)]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise FileNotFoundError(f"{places[0]}: is missing; {path.name} is drawn with it as its guide")
    if sha256_of(found) != wanted["sha256"]:
        raise ValueError(f"{found}: is not the guide that {path.name} was tuned with, sha256 {wanted['sha256'][:12]}")
    trained.guide = load_weights(found, device)
    return trained


def _read_settings(path: Path, metadata: Mapping[str, str]) -> tuple[ModelConfig, tuple[str, ...], dict[str, Any]]:
    try:
        config = config_from_dict(ModelConfig, json.loads(metadata["model"]), str(path))
        categories, conditions = json.loads(metadata["categories"]), json.loads(metadata["conditions"])
    except (KeyError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: its header is damaged ({type(error).__name__}: {error})") from error
    named = isinstance(categories, list) and all(isinstance(name, str) for name in categories)
    if not named or not 1 <= len(categories) <= 10_000 or not isinstance(conditions, dict):
        raise ValueError(f"{path}: its header lacks a list of 1 ... 10000 category names")
    return config, tuple(categories), conditions


def _guide_of(path: Path, sampling: Any) -> dict[str, str] | None:
    """Return file and sha256 of the guide in what tune_sampling.py wrote, refusing settings of another form."""
    guide = sampling.get("guide") if isinstance(sampling, dict) else None
    named = guide is None or (isinstance(guide, dict) and {type(guide.get(k)) for k in ("file", "sha256")} == {str})
    if not isinstance(sampling, dict) or type(sampling.get("guidance")) not in (int, float) or not named:
        raise ValueError(f"{path}: its header is damaged (sampling: {str(sampling)[:80]})")
    return guide


def _empty_model(
    path: Path, config: ModelConfig, num_categories: int
) -> tuple[StrokeDiffusionModel, dict[str, tuple[int, ...]]]:
    """Return a model to fill and the shape of every tensor a file must bring, refusing giants before allocation."""
    per_layer = 12 * config.num_layers + 8 * config.denoiser_layers + 13
    estimate = per_layer * config.width**2 + num_categories * config.width
    if estimate > MAX_PARAMETERS:
        raise ValueError(f"{path}: declares {estimate:,} parameters, the limit is {MAX_PARAMETERS:,}")
    try:
        model = StrokeDiffusionModel(config, num_categories)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    shapes = {f"model.{k}": tuple(v.shape) for k, v in model.state_dict().items()}
    dim = model.token_dim
    return model, shapes | {"whitening.mean": (dim,), "whitening.basis": (dim, dim), "whitening.scale": (dim,)}


def _check_shapes(path: Path, found: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]) -> None:
    for key in sorted(expected.keys() | found.keys()):
        if found.get(key) != expected.get(key):
            raise ValueError(f"{path}: {key} has shape {found.get(key)}, its settings say {expected.get(key)}")


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a training state with its sha256; the state before it is kept as `*.previous`, also when writing fails."""
    fresh = path.with_name(path.name + ".new")
    remove_leftovers(fresh)
    with _told_when_full(path):
        with atomic_file(fresh) as file:
            torch.save(dict(state), file)
        write_atomically(_digest_file(fresh), sha256_of(fresh))
    # Whatever moment a kill hits, one of path, *.previous and *.new is whole and carries a matching hash.
    for source, target in ((path, _previous(path)), (fresh, path)):
        if source.exists():
            os.replace(source, target)
            if _digest_file(source).exists():
                os.replace(_digest_file(source), _digest_file(target))


def load_state(path: Path) -> dict[str, Any] | None:
    """Return the newest whole training state, or None where there is none; warns where a damaged one was passed over.

    Tensors come back on the CPU. Raises RunFailed where states exist but none is whole.
    """
    candidates = [path.with_name(path.name + ".new"), path, _previous(path)]
    existing = [candidate for candidate in candidates if candidate.exists()]
    for candidate in existing:
        digest_file = _digest_file(candidate)
        try:
            if not digest_file.exists() or digest_file.read_text() != sha256_of(candidate):
                raise ValueError("its sha256 does not match")
            state: dict[str, Any] = torch.load(candidate, map_location="cpu", weights_only=True)
        except Exception as error:  # torch.load raises whatever a damaged file provokes
            if candidate is not candidates[0]:  # an unfinished *.new is what a kill leaves; no news
                warnings.warn(f"{candidate}: damaged, using the previous one ({error})", stacklevel=2)
            continue
        return state
    if any(candidate is not candidates[0] for candidate in existing):
        raise RunFailed(f"{path}: no whole training state is left; remove the folder to start anew")
    return None


def _digest_file(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _previous(path: Path) -> Path:
    return path.with_name(path.name + ".previous")
