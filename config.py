"""The settings of every run: one frozen dataclass per kind, which feeds --help, validation and checkpoints.

This is the floor of the house: it imports nothing of the project and nothing heavy, so that `--help` and every
message about bad input answer at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

CATEGORIES = ("cat", "bus", "rabbit")
TURKISH_NAMES = {"kedi": "cat", "otobus": "bus", "tavsan": "rabbit", "araba": "car"}
SAMPLERS = ("dpm-solver++", "ddim", "ancestral")
SPLITS = ("auto", "official", "leak-free", "local")
PROFILES = ("smoke", "quick", "full")
PRECISIONS = ("auto", "float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda")
AS_TUNED = -1.0
"""The strength of guidance that says: what the checkpoint was tuned for."""
ATTRIBUTION = "Quick, Draw! dataset, (c) Google, CC BY 4.0"
STATE_FILE, SETTINGS_FILE = "training_state.pt", "settings.json"
"""In a training's folder: what it goes on from, and what it is, which is enough to refuse another command at once."""
CHECKPOINTS = Path(__file__).resolve().parent / "checkpoints"
NETWORK_PATH = CHECKPOINTS / "sketch_features.safetensors"
REFERENCE_PATH = CHECKPOINTS / "reference_features.safetensors"

Config = TypeVar("Config")


class RunFailed(RuntimeError):
    """The run failed for a reason that is not the user's input; scripts end with exit code 1."""


def resolve_category(name: str, available: Sequence[str] = ()) -> str:
    """Return the English category name of `name`, which may be Turkish and in any case.

    `available` are the names to accept, by default the three of the assignment. Raises ValueError with the
    available ones and the nearest match.
    """
    known = tuple(available) or CATEGORIES
    wanted = name.strip()
    for candidate in (wanted, wanted.lower(), TURKISH_NAMES.get(plain_name(wanted), "")):
        if candidate in known:
            return candidate
    close = difflib.get_close_matches(wanted.lower(), known, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else "."
    shown = ", ".join(known) if len(known) <= 12 else f"{', '.join(known[:8])} ... ({len(known)} in all)"
    raise ValueError(f"unknown category {quoted(name)}{hint} Available: {shown}")


def quoted(name: str) -> str:
    """Return a name that somebody gave in quotes, on one line, also where it would fill or spoil a message."""
    return f"'{name}'" if name.isprintable() and len(name) <= 100 else f"{name!r:.60} ..."


def plain_name(name: str) -> str:
    """Return a name in lower case without dots and tails: KEDİ and otobüs are typed in more than one way."""
    letters = unicodedata.normalize("NFKD", name.replace("ı", "i").lower())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[str] = (),
    minimum: float | None = None,
    maximum: float | None = None,
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
    companions: str = option("", "categories trained beside, with commas, or 'all': rehearsal against overfitting")
    companion_share: float = option(0.5, "share of drawings from companions", minimum=0, maximum=0.95)
    balance: float = option(0.5, "a category is drawn in proportion to its size to this power",
                            minimum=0, maximum=1)  # fmt: skip
    steps: int = option(6000, "optimizer updates", minimum=1, maximum=10_000_000)
    batch_strokes: int = option(2048, "stroke tokens per batch, padding included", minimum=16, maximum=1_000_000)
    parts: int = option(2, "parts that a batch is computed in: more need less memory; processes share them",
                        minimum=1, maximum=1024)  # fmt: skip
    noise_draws: int = option(4, "noise levels trained per stroke and pass", minimum=1, maximum=64)
    first_stroke_draws: int = option(0, "further noise levels trained on the first stroke, which no other one explains",
                                     minimum=0, maximum=256)  # fmt: skip
    learning_rate: float = option(1e-3, "peak learning rate", minimum=0, maximum=1)
    warmup: int = option(300, "updates of linear warm-up", minimum=0, maximum=1_000_000)
    weight_decay: float = option(0.05, "AdamW weight decay of matrices", minimum=0, maximum=10)
    ema_decay: float = option(0.999, "decay of the weights' moving average", minimum=0, maximum=0.999999)
    scale_weight: float = option(
        0.5, "a component's loss is weighted by its scale in pixels to this power", minimum=0, maximum=2
    )
    min_snr: float = option(0.0, "gamma of min-SNR loss weighting, 0 is off", minimum=0, maximum=1000)
    history_noise: float = option(0.1, "largest noise on the history, whitened units", minimum=0, maximum=2)
    category_dropout: float = option(0.1, "share of drawings trained without category", minimum=0, maximum=1)
    augmentation: float = option(0.08, "size of the random affine change of a drawing", minimum=0, maximum=1)
    stop_weight: float = option(0.1, "weight of the stop loss beside the diffusion loss", minimum=0, maximum=100)
    seed: int = option(0, "random seed", minimum=0, maximum=2**31 - 1)
    precision: str = option("auto", "auto is bfloat16 where the hardware has it", choices=PRECISIONS)
    validate_every: int = option(500, "updates between validations and checkpoints", minimum=1, maximum=10_000_000)
    sample_every: int = option(2000, "updates between sample grids, 0 for none", minimum=0, maximum=10_000_000)


@dataclass(frozen=True)
class SampleConfig:
    """One sampling run: which drawings, by which sampler."""

    n: int = option(64, "number of drawings", minimum=1, maximum=10_000_000)
    seed: int = option(0, "random seed; drawing i depends on it and on i alone, up to rounding",
                       minimum=0, maximum=2**31 - 1)  # fmt: skip
    sampler: str = option("dpm-solver++", "diffusion sampler", choices=SAMPLERS)
    steps: int = option(20, "denoising steps per stroke; ancestral always takes all", minimum=1, maximum=1000)
    eta: float = option(0.0, "DDIM only: 0 deterministic, 1 as noisy as ancestral", minimum=0, maximum=1)
    guidance: float = option(AS_TUNED, "strength of guidance, 1 is off; -1, or auto, is what the checkpoint was tuned "
                                       "for", minimum=AS_TUNED, maximum=20)  # fmt: skip
    guide: str = option("tuned", "guide away from: weights of a weaker model, 'null' for no category, or 'tuned': "
                                 "what the checkpoint was tuned with")  # fmt: skip
    batch_size: int = option(256, "drawings at once: more are faster and need more memory; of 64 drawings 1 to 6 "
                                  "differ by a pixel from those of another size, which rounds otherwise",
                             minimum=1, maximum=100_000)  # fmt: skip
    precision: str = option("float32", "arithmetic of the network", choices=PRECISIONS)


def validate(config: Any) -> None:
    """Check every field of a config dataclass against its range, raising ValueError with flag, value and limit."""
    for spec in dataclasses.fields(config):
        value, flag = getattr(config, spec.name), "--" + spec.name.replace("_", "-")
        choices = spec.metadata.get("choices", ())
        low, high = spec.metadata.get("minimum"), spec.metadata.get("maximum")
        if choices and value not in choices:
            raise ValueError(f"{flag} is '{value}', must be one of {', '.join(choices)}")
        # written so that NaN fails as well
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            raise ValueError(f"{flag} is {value}, must lie in {low:.10g} ... {high:.10g}")


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


def refuse_other_run(folder: Path, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ValueError naming the first setting in which a command, `now`, differs from the run saved in `folder`.

    Both are tables of tables: the parts of a run and their settings. What `now` does not speak of is not compared.
    """
    for part, settings in now.items():
        if different := _difference(saved.get(part), settings):
            names, found, value = different
            raise ValueError(
                f"{folder} holds a run with {' '.join([part, *names])} = {found!r:.200}, this command says "
                f"{value!r:.200}; repeat its command, or choose another --out"
            )


def _difference(saved: Any, now: Any) -> tuple[list[str], Any, Any] | None:
    """Return the keys that lead to the first difference of two nested tables, and the two values, or None."""
    if not isinstance(saved, Mapping) or not isinstance(now, Mapping):
        return None if saved == now else ([], saved, now)
    for key in dict.fromkeys([*now, *saved]):
        if different := _difference(saved.get(key), now.get(key)):
            names, found, value = different
            return [str(key), *names], found, value
    return None
