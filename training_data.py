"""What a training learns from: which drawings of which categories, and what a new category begins as."""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before config

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from config import ModelConfig, TrainConfig, related_category, resolve_category
from dataset_utils import category_list, load_category
from diffusion_model import TrainedModel
from drawings.batches import TrainingData, stroke_set


@dataclass(frozen=True)
class DataChoice:
    """Which drawings: the folder (None: where they are found), the split, and whether only recognized ones."""

    data_dir: str | None = None
    split: str = "auto"
    recognized_only: bool = False


def load_training_data(
    config: TrainConfig, model_config: ModelConfig, choice: DataChoice, known: tuple[str, ...]
) -> TrainingData:
    """Return the strokes of all categories of the run; `known` are the names an initial checkpoint brings.

    Raises ValueError where no drawing is short enough for the model. Of a handful none may be held out.
    """
    targets = category_list(config.category, choice.data_dir)
    told = relabelled(config.relabelled, targets, choice.data_dir)
    companions = [name for name in dict.fromkeys((*category_list(config.companions, choice.data_dir), *told))
                  if name not in targets]  # fmt: skip
    categories = known + tuple(name for name in targets + companions if name not in known and name not in told)
    names = targets + companions
    loaded = [load_category(name, data_dir=choice.data_dir, split=choice.split, recognized_only=choice.recognized_only)
              for name in tqdm(names, desc="data", unit="category", disable=len(names) < 20)]  # fmt: skip
    ids = [categories.index(told.get(name, name)) for name in names]
    form = (model_config.num_points, model_config.max_strokes)
    train = stroke_set([data.train for data in loaded], ids, *form)
    if not len(train):
        raise ValueError(f"none of {train.too_long} training drawings has at most --max-strokes {form[1]} strokes")
    own = slice(0, len(targets))
    held_out = stroke_set([data.validation for data in loaded[own]], ids[own], *form)
    source = {
        "data": sorted({data.source for data in loaded}),
        "split": sorted({data.split for data in loaded}),
        "recognized_only": choice.recognized_only,
        "train_drawings": {name: len(data.train) for name, data in zip(targets, loaded, strict=False)},
        "companion_drawings": sum(len(data.train) for data in loaded[len(targets) :]),
        "held_out_drawings": len(held_out),
        "left_out_over_max_strokes": train.too_long,
        "trained_on": targets,
    }
    cut = sum(data.counts.cut_drawings for data in loaded[1:])
    others = f"; {len(loaded)} categories in all" + (f", {cut} drawings cut in the others" if cut else "")
    description = loaded[0].describe() + (others if len(loaded) > 1 else "")
    if not len(held_out):
        description += "; no drawing is held out, so there are no validation losses"
    if loaded[0].source == "embedded" and choice.data_dir != "embedded":
        description += "\nThese are drawings of a program; docs/DATA.md says where to get those of people"
    return TrainingData(train, held_out, categories, ids[own], source, description)


def relabelled(text: str, targets: Sequence[str], data_dir: str | None) -> dict[str, str]:
    """Return the target that each category of `other=target, ...` is trained as, by their names among the data.

    Raises ValueError for what is no such pair, and for names that nothing has.
    """
    found = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        other, _, target = map(str.strip, pair.partition("="))
        if not target or "=" in target:
            raise ValueError(f"--relabelled has '{pair}', must be OTHER=TARGET")
        (name,) = category_list(other, data_dir) or [""]
        found[name] = resolve_category(target, targets)
        if name in ("", *targets):
            raise ValueError(f"--relabelled has '{pair}', whose first name must be of another category")
    return found


def with_rows_for(
    categories: Sequence[str], initial: TrainedModel
) -> tuple[dict[str, Tensor], dict[str, str | None]]:
    """Return a model's weights with a row for each of `categories`, its own first, and what each new one begins as.

    A new category begins as the known one that its name speaks of, "my cat" as cat, or as the mean of all (None).
    """
    weights = dict(initial.model.state_dict())
    known, null = weights["category.weight"].split([len(initial.categories), 1])
    related = {name: related_category(name, initial.categories) for name in categories[len(initial.categories) :]}
    rows = [known[initial.categories.index(other)] if other else known.mean(0) for other in related.values()]
    weights["category.weight"] = torch.cat([known, *(row[None] for row in rows), null])
    return weights, related
