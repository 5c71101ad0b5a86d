"""What this program's files of tensors say of themselves, read and checked without torch and before any tensor.

    read_weights_header(Path("checkpoints/cat.safetensors")).categories

Settings, categories and conditions stand in the header as JSON, and from the settings follows the shape of every
tensor: a file of another program, with a damaged header, or with other tensors is refused here. `checkpoint.py` builds
the model from the same header.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config import CHECKPOINTS, ModelConfig, config_from_dict
from plumbing.tensor_files import Header, read_header, sha256_of

FORMAT = "stroke-diffusion-1"
MAX_PARAMETERS = 500_000_000
MAX_GUIDANCE = 20


@dataclass(frozen=True)
class WeightsHeader:
    """What a weights file declares: the form of its model, the category names it knows, and how it was made."""

    path: Path
    config: ModelConfig
    categories: tuple[str, ...]
    conditions: dict[str, Any]
    storage: str
    """The type that the model's numbers are stored in."""

    def category_id(self, category: str) -> int:
        """Return the index of `category`, raising ValueError with those the model was trained on."""
        return index_of_category(category, self.categories, self.conditions)


def index_of_category(category: str, categories: Sequence[str], conditions: dict[str, Any]) -> int:
    """Return the index of `category`, raising ValueError where the model of these conditions does not draw it."""
    trained = conditions.get("trained_on", list(categories))
    if not _are_names(trained):
        raise ValueError(f"the header of this checkpoint is damaged (trained_on: {trained!r:.80})")
    if category not in trained or category not in categories:
        shown = ", ".join(trained[:10]) + (" ..." if len(trained) > 10 else "")
        raise ValueError(f"this checkpoint draws {shown}, not '{category}'")
    return categories.index(category)


def read_weights_header(path: Path) -> WeightsHeader:
    """Return what a weights file declares.

    Raises FileNotFoundError, or ValueError naming the file and the first thing that is wrong with it: not
    safetensors, damaged, of another program, too large, or with other tensors than its settings say.
    """
    header = read_header(path, "checkpoint")
    if header.words.get("format") != FORMAT:
        raise ValueError(f"{path}: not a checkpoint of this program (format {header.words.get('format')!s:.40})")
    config = config_from_dict(ModelConfig, header.value("model"), str(path))
    if config.width % (2 * config.num_heads):
        raise ValueError(f"{path}: width is {config.width}, must be a multiple of {2 * config.num_heads} (2 x heads)")
    categories, conditions = header.value("categories"), header.value("conditions")
    if not _are_names(categories) or not 1 <= len(categories) <= 10_000 or not isinstance(conditions, dict):
        raise ValueError(f"{path}: its header lacks a list of 1 ... 10000 category names")
    _check_tensors(header, config, len(categories))
    return WeightsHeader(path, config, tuple(categories), conditions, header.types["model.position"])


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def sampling_of(header: WeightsHeader) -> dict[str, Any]:
    """Return what tune_sampling.py wrote, or no guidance; raises ValueError for settings of another form."""
    sampling = header.conditions.get("sampling", {"guidance": 1.0})
    guide = sampling.get("guide") if isinstance(sampling, dict) else None
    named = guide is None or (isinstance(guide, dict) and {type(guide.get(k)) for k in ("file", "sha256")} == {str})
    if not isinstance(sampling, dict) or type(sampling.get("guidance")) not in (int, float) or not named:
        raise ValueError(f"{header.path}: its header is damaged (sampling: {str(sampling)[:80]})")
    if not 0 <= sampling["guidance"] <= MAX_GUIDANCE:
        raise ValueError(
            f"{header.path}: its header is damaged (guidance {sampling['guidance']}, must lie in 0 ... {MAX_GUIDANCE})"
        )
    return sampling


def _check_tensors(header: Header, config: ModelConfig, num_categories: int) -> None:
    expected = tensor_shapes(config, num_categories)
    total = sum(map(math.prod, expected.values()))
    if total > MAX_PARAMETERS:
        raise ValueError(f"{header.path}: declares {total:,} parameters, the limit is {MAX_PARAMETERS:,}")
    for name in sorted(expected.keys() | header.shapes.keys()):
        found, wanted = header.shapes.get(name), expected.get(name)
        if found != wanted:
            raise ValueError(f"{header.path}: {name} has shape {found}, its settings say {wanted}")
        kinds = ("float32",) if name.startswith("whitening.") else ("float32", "bfloat16", "float16")
        if header.types[name] not in kinds:
            raise ValueError(f"{header.path}: {name} is {header.types[name]}, must be {' or '.join(kinds)}")


def tensor_shapes(config: ModelConfig, num_categories: int) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every tensor of a weights file, as ``StrokeDiffusionModel`` makes them."""
    width, dim = config.width, 2 * config.num_points
    shapes: dict[str, tuple[int, ...]] = {
        "category.weight": (num_categories + 1, width),
        "augmentation.weight": (width, 4),
        "position": (config.max_strokes + 1, width),
    }

    def add(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]

    for name, columns, rows in (
        ("read_stroke.0", dim, width), ("read_stroke.2", width, width), ("stop", width, 1), ("read_noisy", dim, width),
        ("time_hidden", width, width), ("time_modulation", width, 6 * width), ("context_modulation", width, 6 * width),
        ("write_noise", width, dim),
    ):  # fmt: skip
        add(name, rows, columns)
    add("history_norm", width)
    for block in (f"history.{i}" for i in range(config.num_layers)):
        add(f"{block}.norm1", width)
        add(f"{block}.norm2", width)
        for name, columns, rows in (("qkv", 1, 3), ("out", 1, 1), ("up", 1, 4), ("down", 4, 1)):
            add(f"{block}.{name}", rows * width, columns * width)
    reads = [("key_value", 1, 2)] if config.denoiser == "attention" else []
    for block in (f"denoiser.{i}" for i in range(config.denoiser_layers)):
        shapes[f"{block}.offset"] = (6 * width,)
        for name, columns, rows in (("query", 1, 1), ("out", 1, 1), *reads, ("up", 1, 2), ("down", 2, 1)):
            add(f"{block}.{name}", rows * width, columns * width)
    of_model = {f"model.{name}": shape for name, shape in shapes.items()}
    return of_model | {"whitening.mean": (dim,), "whitening.basis": (dim, dim), "whitening.scale": (dim,)}


def guide_path(header: WeightsHeader) -> Path | None:
    """Return the weights that a model was tuned to be guided away from, None where it was tuned with none.

    They lie beside the model's file, or among the shipped checkpoints. Raises FileNotFoundError where they are
    missing, and ValueError where they are not those of the tuning.
    """
    guide = sampling_of(header).get("guide")
    if guide is None:
        return None
    name = header.path.name
    places = [folder / Path(guide["file"]).name for folder in (header.path.parent, CHECKPOINTS)]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise FileNotFoundError(f"{places[0]}: is missing; {name} is drawn with it as its guide")
    if sha256_of(found) != guide["sha256"]:
        raise ValueError(f"{found}: is not the guide that {name} was tuned with, sha256 {guide['sha256'][:12]}")
    return found


def check_guide(header: WeightsHeader, guide: WeightsHeader, category: str) -> None:
    """Refuse a guide that has other stroke tokens than the model, or does not draw the category."""
    if _basis(header) != _basis(guide):
        raise ValueError(f"{guide.path}: was trained on other stroke tokens than {header.path.name}; take a guide "
                         "that began from the same weights")  # fmt: skip
    try:
        guide.category_id(category)
    except ValueError as error:
        raise ValueError(f"{guide.path}: {error}") from None


def _basis(header: WeightsHeader) -> bytes:
    """Return the principal components of a model's tokens, as the bytes of the file."""
    from safetensors import safe_open

    with safe_open(header.path, framework="np") as file:
        basis = file.get_tensor("whitening.basis")
    return bytes(basis.tobytes())


def network_categories(path: Path) -> list[str]:
    """Return the categories that the file of a feature network names, in its order.

    Raises FileNotFoundError, or ValueError for a file that is damaged or no feature network.
    """
    classes = read_header(path, "feature network; train_features.py makes it").value("classes")
    if not _are_names(classes):
        raise ValueError(f"{path}: not a sketch feature network (its classes are no list of names)")
    return list(classes)


def reference_categories(path: Path) -> list[str]:
    """Return the categories that a file of reference features holds, sorted; none where there is no file."""
    if not path.exists():
        return []
    counts = read_header(path).value("counts")
    if not isinstance(counts, dict):
        raise ValueError(f"{path}: no file of references (its counts are no table)")
    return sorted(counts)
