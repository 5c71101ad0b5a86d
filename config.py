"""The settings of every run: one frozen dataclass per kind, which feeds --help, validation and checkpoints.

This is the floor of the house: it imports nothing of the project and nothing heavy, so that `--help` and every
message about bad input answer at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import re
import typing
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

CATEGORIES = ("cat", "bus", "rabbit")
OWN_MODELS = (*CATEGORIES, "car")
"""Categories whose models are shipped beside the base, which draws all others."""
NAMES_PATH = Path(__file__).resolve().parent / "drawings" / "turkish_names.json"
TURKISH_NAMES: dict[str, str] = json.loads(NAMES_PATH.read_text(encoding="utf-8"))
"""What each of the 345 categories of the dataset is called in Turkish, in the order of their English names."""
SAMPLERS = ("dpm-solver++", "ddim", "ancestral")
SPLITS = ("auto", "official", "leak-free", "local")
SCHEDULES = ("cosine", "constant-decay")
PROFILES = ("smoke", "quick", "full")
PRECISIONS = ("auto", "float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda", "mps")
AS_TUNED = -1.0
"""The strength of guidance that says: what the checkpoint was tuned for."""
USUAL_SAMPLER, USUAL_STEPS = "dpm-solver++", 20
"""How a model is sampled whose checkpoint says nothing else."""
BASE_GUIDANCE = 3.0
"""Strength of guidance, away from no category, of the shipped base where its header tells none; docs/CATEGORIES.md says
how it was chosen."""
ATTRIBUTION = "Quick, Draw! dataset, (c) Google, CC BY 4.0"
CHECKPOINTS = Path(__file__).resolve().parent / "checkpoints"
BASE_PATH = CHECKPOINTS / "base.safetensors"
GUIDE_PATH = CHECKPOINTS / "guide.safetensors"
"""Early weights of the base: what the four models are guided away from."""
STUDENTS = CHECKPOINTS / "students"
QUALITIES = ("student", "teacher")
"""Students draw a stroke in a few evaluations of one network; their teachers, of the same names, in ten times that."""
NETWORK_PATH = CHECKPOINTS / "sketch_features.safetensors"
RECOGNISER_PATH = CHECKPOINTS / "stroke_recogniser.safetensors"
VIDEO_READER_PATH = CHECKPOINTS / "video_reader.safetensors"
REFERENCE_PATH = CHECKPOINTS / "reference_features.safetensors"

Config = TypeVar("Config")


class RunFailed(RuntimeError):
    """The run failed for a reason that is not the user's input; scripts end with exit code 1."""


def resolve_category(name: str, available: Sequence[str] = ()) -> str:
    """Return the category that `name` names in English or Turkish, in any case, with or without Turkish letters.

    `available` are the names to accept, by default all of the dataset. Raises ValueError with the
    available ones and the nearest matches in both languages.
    """
    known, wanted = tuple(available) or tuple(TURKISH_NAMES), name.strip()
    if wanted in known:
        return wanted
    turkish = {plain_name(TURKISH_NAMES[category]): category for category in known if category in TURKISH_NAMES}
    found = turkish | {plain_name(category): category for category in known}
    if plain_name(wanted) in found:
        return found[plain_name(wanted)]
    close = dict.fromkeys(found[match] for match in difflib.get_close_matches(plain_name(wanted), found))
    both = (f"'{match}' ({TURKISH_NAMES[match]})" if match in TURKISH_NAMES else f"'{match}'" for match in close)
    hint = f"; did you mean {' or '.join(both)}?" if close else "."
    shown = ", ".join(known) if len(known) <= 12 else f"{', '.join(known[:8])} ... ({len(known)} in all)"
    raise ValueError(f"unknown category {quoted(name)}{hint} Available: {shown}")


def shipped_checkpoint(category: str, quality: str = QUALITIES[0]) -> Path:
    """Return the path of the weights that draw `category`, there or not: its own, or the base's, which draws all 345.

    The student where there is one, unless `quality` is "teacher". The three of the assignment have their own or none.
    """
    own = CHECKPOINTS / f"{category}.safetensors"
    teacher = own if own.is_file() or category in CATEGORIES else BASE_PATH
    student = STUDENTS / teacher.name
    return student if quality == QUALITIES[0] and student.is_file() else teacher


def related_category(name: str, known: Sequence[str]) -> str | None:
    """Return the category of `known` that a name speaks of, in either language: the last of those with most letters.

    "my cat", "bizim kedi" and "cat-2" speak of cat, and None is returned where no part of the name is a category.
    """
    parts = [part for part in re.split(r"[^\w]+|_|\d+", name) if part]
    names = {plain_name(word): category for category in known for word in (category, TURKISH_NAMES.get(category, ""))}
    spans = ("".join(map(plain_name, parts[i:j])) for i in range(len(parts)) for j in range(i + 1, len(parts) + 1))
    found = [names[span] for span in spans if span and span in names]
    return max(reversed(found), key=len, default=None)


def quoted(name: str) -> str:
    """Return a name that somebody gave in quotes, on one line, also where it would fill or spoil a message."""
    return f"'{name}'" if name.isprintable() and len(name) <= 100 else f"{name!r:.60} ..."


@functools.lru_cache(maxsize=4096)
def plain_name(name: str) -> str:
    """Return a name in lower case without dots, tails, spaces and hyphens: KEDİ and otobüs are typed in many ways."""
    letters = unicodedata.normalize("NFKD", name.replace("ı", "i").lower())
    return re.sub(r"[ _-]", "", "".join(letter for letter in letters if not unicodedata.combining(letter)))


def option(
    default: Any, help: str, *, choices: Sequence[str] = (), minimum: float | None = None, maximum: float | None = None
) -> Any:
    """Return a dataclass field with its help text and the range that `validate` holds it to."""
    limits = {"help": help, "choices": tuple(choices), "minimum": minimum, "maximum": maximum}
    return field(default=default, metadata=limits)


@dataclass(frozen=True)
class ModelConfig:
    """The shape of the network; stored in every checkpoint, and enough to rebuild it."""

    num_points: int = option(32, "points per stroke token", minimum=2, maximum=256)
    max_strokes: int = option(24, "longest drawing, in strokes", minimum=1, maximum=256)
    width: int = option(256, "width of transformer and denoiser", minimum=16, maximum=4096)
    num_layers: int = option(5, "layers of the history transformer", minimum=1, maximum=64)
    num_heads: int = option(8, "attention heads", minimum=1, maximum=64)
    denoiser_layers: int = option(4, "layers of the stroke denoiser", minimum=1, maximum=64)
    dropout: float = option(0.1, "dropout in training", minimum=0, maximum=0.9)


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Lengths are optimizer updates; a batch is counted in strokes, not drawings."""

    category: str = option("cat", "cat, bus, rabbit, a list with commas, or 'all'")
    companions: str = option("", "auxiliary categories trained beside, with commas, or 'all': against overfitting")
    companion_share: float = option(0.5, "share of drawings from the auxiliary categories", minimum=0, maximum=0.95)
    relabelled: str = option("", "auxiliary categories that are trained as a target, such as 'school bus=bus', with "
                                 "commas: more of what hardly differs")  # fmt: skip
    balance: float = option(0.5, "categories are drawn by their size to this power: 1 as they come, 0 all alike",
                            minimum=0, maximum=1)  # fmt: skip
    steps: int = option(6000, "optimizer updates", minimum=1, maximum=10_000_000)
    batch_strokes: int = option(2048, "stroke tokens per batch, padding included", minimum=16, maximum=1_000_000)
    parts: int = option(2, "parts a batch is computed in: more need less memory; processes share them",
                        minimum=1, maximum=1024)  # fmt: skip
    noise_draws: int = option(4, "noise levels per stroke and update", minimum=1, maximum=64)
    first_stroke_draws: int = option(0, "extra noise levels for first strokes, which no history explains",
                                     minimum=0, maximum=256)  # fmt: skip
    learning_rate: float = option(1e-3, "peak learning rate", minimum=0, maximum=1)
    warmup: int = option(300, "updates of linear warm-up", minimum=0, maximum=1_000_000)
    schedule: str = option("cosine", "after the warm-up the learning rate falls as half a cosine, or stays constant "
                                     "and decays at the end", choices=SCHEDULES)  # fmt: skip
    decay: float = option(0.2, "constant-decay: share of all updates, the last ones, over which the rate falls to 0",
                          minimum=0, maximum=1)  # fmt: skip
    weight_decay: float = option(0.05, "AdamW weight decay of matrices", minimum=0, maximum=10)
    ema_decay: float = option(0.999, "decay of the EMA of the weights", minimum=0, maximum=0.999999)
    scale_weight: float = option(
        0.5, "a component's loss is weighted by its scale in pixels to this power", minimum=0, maximum=2
    )
    min_snr: float = option(
        0.0, "gamma of min-SNR loss weighting, 0 is off; pure noise then has no weight", minimum=0, maximum=1000
    )
    history_noise: float = option(0.1, "largest noise on the history, in whitened units", minimum=0, maximum=2)
    category_dropout: float = option(0.1, "share of drawings trained without category", minimum=0, maximum=1)
    augmentation: float = option(0.08, "size of the random affine change of some of the drawings", minimum=0, maximum=1)
    augmented_share: float = option(0.5, "share of the drawings that are changed; the others stay as they are",
                                    minimum=0, maximum=1)  # fmt: skip
    mirrored: float = option(0.0, "share of the drawings that are flipped from left to right", minimum=0, maximum=1)
    stop_weight: float = option(0.1, "weight of the stop loss beside the diffusion loss", minimum=0, maximum=100)
    seed: int = option(0, "random seed", minimum=0, maximum=2**31 - 1)
    precision: str = option("auto", "auto is bfloat16 where the hardware has it", choices=PRECISIONS)
    validate_every: int = option(500, "updates between validations and checkpoints", minimum=1, maximum=10_000_000)
    sample_every: int = option(2000, "updates between sample grids, 0 for none", minimum=0, maximum=10_000_000)


TRAIN_GROUPS = {
    "data": ("category", "companions", "companion_share", "relabelled", "balance", "augmentation",
             "augmented_share", "mirrored"),
    "optimisation": ("steps", "batch_strokes", "learning_rate", "warmup", "schedule", "decay", "weight_decay",
                     "ema_decay", "seed"),
    "loss": ("noise_draws", "first_stroke_draws", "scale_weight", "min_snr", "history_noise", "category_dropout",
             "stop_weight"),
    "advanced": ("parts", "precision", "validate_every", "sample_every"),
}  # fmt: skip
"""The fields of TrainConfig under the headings of --help."""


@dataclass(frozen=True)
class Preset:
    """A recipe by name: what `train_diffusion.py --preset NAME` trains; a flag given beside it wins."""

    help: str
    train: TrainConfig
    model: ModelConfig = ModelConfig()
    init: str | None = None
    """Weights to start from; they bring the shape of the network, all but its dropout."""


_FOUR = "cat,bus,rabbit,car"
_VEHICLES = "school bus,van,truck,pickup truck,firetruck,ambulance,police car,train,tractor,bulldozer"
_ANIMALS = (
    "dog,bear,lion,tiger,panda,raccoon,squirrel,mouse,monkey,kangaroo,pig,cow,sheep,hedgehog,teddy-bear,"
    "face,smiley face"
)
_LITTLE = ModelConfig(width=128, num_layers=3, denoiser_layers=3, num_heads=4)
_TINY = ModelConfig(num_points=16, width=64, num_layers=2, num_heads=4, denoiser_layers=2, dropout=0.0)

_STAGE = TrainConfig(batch_strokes=768, parts=1, sample_every=0)
_FINE_TUNE = replace(_STAGE, learning_rate=5e-4, warmup=50, scale_weight=0.75, ema_decay=0.998, first_stroke_draws=12,
                    augmentation=0.15, validate_every=250)  # fmt: skip
_SMOKE = TrainConfig(batch_strokes=512, parts=1, steps=600, warmup=20, learning_rate=3e-3, ema_decay=0.98,
                    validate_every=300, sample_every=0)  # fmt: skip
_FULL = TrainConfig(steps=40_000, batch_strokes=16_384, noise_draws=8, warmup=1000, ema_decay=0.9995,
                   first_stroke_draws=16, validate_every=2000, sample_every=10_000)  # fmt: skip
_ABLATION = TrainConfig(category=_FOUR, steps=800, batch_strokes=512, parts=1, learning_rate=2e-3, warmup=100,
                       ema_decay=0.99, history_noise=0.2, augmentation=0.1, validate_every=800,
                       sample_every=0)  # fmt: skip
_RELATED_WEIGHTS, _CAR_WEIGHTS = "runs/related/weights.safetensors", "runs/finetune-car-first/weights.safetensors"

PRESETS = {
    # the stages of the shipped models, as the headers of checkpoints/ say they were run
    "all": Preset(
        "stage 1 of the shipped models: all 345 categories, loss unweighted (shipped: tokens of spacing 'curved')",
        replace(_STAGE, category="all", steps=5500, warmup=200, ema_decay=0.998, scale_weight=0.0, sample_every=1000),
        ModelConfig(dropout=0.0)),
    "base": Preset(
        "stage 2, from `all`: the base and guide (shipped: stopped at update 13,223 of 20,000, and the first 12,060 "
        "saw tokens of spacing 'curved')",
        replace(_STAGE, category="all", steps=20_000, warmup=200, history_noise=0.2, augmentation=0.12,
                validate_every=1000),
        init="runs/all/weights.safetensors"),
    "base-longer": Preset(
        "stage 2b, from `base`: goes on at a constant rate, which then decays: the shipped base (shipped: after 1,250 "
        "more updates at a constant 5e-4)",
        replace(_STAGE, category="all", steps=3000, schedule="constant-decay", decay=0.6, learning_rate=7e-4,
                warmup=100, first_stroke_draws=6, history_noise=0.25, augmentation=0.12, validate_every=250),
        ModelConfig(dropout=0.05), "runs/base/weights.safetensors"),
    "related": Preset(
        "stage 3, from `base`: cats, buses, rabbits and cars, with related categories as companions",
        replace(_STAGE, category=_FOUR, companions=f"{_VEHICLES},{_ANIMALS}", companion_share=0.45, steps=9000,
                learning_rate=7e-4, warmup=100, scale_weight=0.75, history_noise=0.35, augmentation=0.2),
        ModelConfig(dropout=0.15), "runs/base/weights.safetensors"),
    "related-changed": Preset(
        "stage 3b, from `base-longer`: every drawing changed, and told so, and school buses as buses, against copies; "
        "`studies.tune_sampling` averages it with the fine-tuned bus and rabbit",
        replace(_STAGE, category=_FOUR, companions=f"{_VEHICLES},{_ANIMALS}", companion_share=0.5,
                relabelled="school bus=bus", steps=2200, schedule="constant-decay", decay=0.5, learning_rate=7e-4,
                warmup=50, first_stroke_draws=8, scale_weight=0.75, history_noise=0.4, augmentation=0.2,
                augmented_share=1.0, mirrored=0.3, validate_every=200),
        ModelConfig(dropout=0.1), "runs/base-longer/weights.safetensors"),
    "finetune-cat": Preset(
        "stage 4, from `related`: the shipped cat",
        replace(_FINE_TUNE, category="cat", companions=f"{_ANIMALS},rabbit", companion_share=0.3, steps=1000,
                history_noise=0.25),
        init=_RELATED_WEIGHTS),
    "finetune-bus": Preset(
        "stage 4, from `related`: the shipped bus",
        replace(_FINE_TUNE, category="bus", companions=f"car,{_VEHICLES}", companion_share=0.4, steps=1000,
                history_noise=0.3),
        ModelConfig(dropout=0.15), _RELATED_WEIGHTS),
    "finetune-rabbit": Preset(
        "stage 4, from `related`: the shipped rabbit",
        replace(_FINE_TUNE, category="rabbit", companions=f"{_ANIMALS},cat", companion_share=0.4, steps=800,
                history_noise=0.4),
        ModelConfig(dropout=0.2), _RELATED_WEIGHTS),
    "finetune-car-first": Preset(
        "stage 4, from `related`: car",
        replace(_FINE_TUNE, category="car", companions=_VEHICLES, companion_share=0.1, steps=2000, history_noise=0.25),
        init=_RELATED_WEIGHTS),
    "finetune-car": Preset(
        "stage 5, from `finetune-car-first`: the shipped car",
        replace(_FINE_TUNE, category="car", companions=_VEHICLES, companion_share=0.1, steps=1600, history_noise=0.25),
        init=_CAR_WEIGHTS),
    # the profiles of run_all.py, and the weaker models that guide theirs
    "smoke": Preset("a tiny model in half a minute, to see that everything runs", _SMOKE, _TINY),
    "smoke-guide": Preset("the weaker model that guides `smoke`", replace(_SMOKE, steps=100), _TINY),
    "quick": Preset("one category from scratch, the defaults", TrainConfig()),
    "full": Preset("one category on the 10,000 training drawings of its official split; wants a GPU", _FULL),
    "full-guide": Preset("the weaker model that guides `full`", replace(_FULL, steps=10_000), _LITTLE),
    # the budgets of studies/ablations.py
    "ablation": Preset("a little network from scratch, four categories: what ablations change", _ABLATION, _LITTLE),
    "ablation-fine-tuned": Preset(
        "the shipped base fine-tuned for a few minutes: what the other ablations change",
        replace(_ABLATION, steps=300, batch_strokes=768, learning_rate=8e-4), init="checkpoints/base.safetensors"),
}  # fmt: skip


@dataclass(frozen=True)
class SampleConfig:
    """One sampling run: which drawings, by which sampler."""

    n: int = option(64, "number of drawings", minimum=1, maximum=10_000_000)
    seed: int = option(0, "random seed; drawing i depends on it and on i alone, up to rounding",
                       minimum=0, maximum=2**31 - 1)  # fmt: skip
    sampler: str = option("auto", "diffusion sampler; auto is the checkpoint's, dpm-solver++ where it names none",
                          choices=("auto", *SAMPLERS))  # fmt: skip
    steps: int | tuple[int, ...] = option((), "denoising steps of the first stroke, the second ..., and with the last "
                                              "number of all others; ancestral always takes all",
                                          minimum=1, maximum=1000)  # fmt: skip
    eta: float = option(0.0, "DDIM only: 0 deterministic, 1 as noisy as ancestral", minimum=0, maximum=1)
    guidance: float = option(AS_TUNED, "strength of guidance, 1 is off; -1, or auto, is what the checkpoint was tuned "
                                       "for", minimum=AS_TUNED, maximum=20)  # fmt: skip
    guide: str = option("tuned", "guide away from: weights of a weaker model, 'null' for no category, or 'tuned': "
                                 "what the checkpoint was tuned with")  # fmt: skip
    batch_size: int = option(256, "drawings at once: more are faster and need more memory; another size rounds "
                                  "differently, so that 1 to 6 of 64 drawings differ by a pixel",
                             minimum=1, maximum=100_000)  # fmt: skip
    precision: str = option("float32", "arithmetic of the network", choices=PRECISIONS)


def steps_of(stroke: int, steps: int | Sequence[int]) -> int:
    """Return the denoising steps of a drawing's k-th stroke: the k-th of `steps`, or the last where it has fewer."""
    return steps if isinstance(steps, int) else steps[min(stroke, len(steps) - 1)]


def validate(config: Any) -> None:
    """Check every field of a config dataclass against its range, raising ValueError with flag, value and limit."""
    for spec in dataclasses.fields(config):
        value, flag = getattr(config, spec.name), "--" + spec.name.replace("_", "-")
        choices = spec.metadata.get("choices", ())
        low, high = spec.metadata.get("minimum"), spec.metadata.get("maximum")
        if choices and value not in choices:
            raise ValueError(f"{flag} is '{value}', must be one of {', '.join(choices)}")
        for number in value if isinstance(value, tuple) else (value,):
            # written so that NaN fails as well
            if (low is not None and not number >= low) or (high is not None and not number <= high):
                raise ValueError(f"{flag} is {number}, must lie in {low:.10g} ... {high:.10g}")


def config_from_dict(kind: type[Config], values: dict[str, Any], source: str) -> Config:
    """Return a validated `kind` from the plain dict in a checkpoint, naming `source` in every error."""
    names = {spec.name for spec in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if not isinstance(values, dict):
        raise ValueError(f"{source}: its {kind.__name__} is no table of settings")
    if set(values) != names:
        odd = sorted(set(values) ^ names)
        raise ValueError(f"{source}: its {kind.__name__} does not fit this program, fields {', '.join(odd)}")
    hints = typing.get_type_hints(kind)
    for name, value in values.items():
        if not isinstance(value, (int, float) if hints[name] is float else hints[name]):
            raise ValueError(f"{source}: {name} is {value!r}, must be of type {hints[name].__name__}")
    config = kind(**values)
    try:
        validate(config)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    return config
