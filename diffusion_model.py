"""The network: a causal transformer over the strokes so far, and a denoiser of the next stroke.

    p(drawing | category) = prod_k  p(go on | strokes before k) * p(stroke_k | strokes before k)

    history   [category, stroke_1 ... stroke_k]  -- causal transformer -->  context c_k          (B, K + 1, W)
    denoiser  x_t of stroke_k+1, time t, c_k     -- attends to c_0 ... c_k -->  v_hat            (B, D)
    stop head c_k                                -->  logit of "the drawing is finished"         (B,)

The diffusion head per token of an autoregressive transformer is from Li et al. 2024 (MAR, arXiv:2406.11838); time and
context enter through adaptive layer norm (Peebles and Xie 2023, DiT, arXiv:2212.09748). What is new here: the noisy
stroke itself is a query to the strokes before it, layer by layer, so that a whisker can look for the face it must
touch. In training one pass of the transformer serves every stroke of a drawing (teacher forcing); in sampling keys
and values are cached and only the small denoiser runs per diffusion step.

A weights file is a safetensors file for sharing: the model in bfloat16 and the whitening of its tokens, with all that
rebuilds them in the header. It is checked against the shapes of a model without numbers before any is read.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before config

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from config import (
    BASE_GUIDANCE,
    BASE_PATH,
    CHECKPOINTS,
    GUIDE_PATH,
    SAMPLERS,
    USUAL_SAMPLER,
    USUAL_STEPS,
    ModelConfig,
    config_from_dict,
)
from plumbing.files import sha256_of
from plumbing.tensor_files import TYPES, Header, eight_bit_tensors, read_header, write_tensors
from stroke_tokens import Whitening


def sinusoidal_embedding(num_timesteps: int, width: int) -> Tensor:
    """Return the sinusoidal embedding of every time, float32 (T, width) (Vaswani et al. 2017, sec. 3.5)."""
    # on the CPU also where a model without numbers is built, for no file brings it
    frequency = torch.exp(-math.log(10_000.0) * torch.arange(width // 2, device="cpu") / (width // 2))
    angle = torch.arange(num_timesteps, device="cpu")[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


Cache = tuple[Tensor, Tensor]
"""Keys and values of the strokes so far, (k + 1, B, H, W / H) each: a new stroke goes behind them in one piece."""


def _heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, L, W) -> (B, H, L, W / H)."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def _cache(keys_values: tuple[Tensor, Tensor], num_heads: int) -> Cache:
    """Return keys and values (B, L, W) as a cache."""
    k, v = (x.transpose(0, 1).unflatten(-1, (num_heads, x.shape[-1] // num_heads)).contiguous() for x in keys_values)
    return k, v


def _longer(cache: Cache, keys_values: tuple[Tensor, Tensor]) -> Cache:
    """Return a cache with keys and values (B, W) of one more stroke in it."""
    k, v = (torch.cat([old, new.view(1, *old.shape[1:])]) for old, new in zip(cache, keys_values, strict=True))
    return k, v


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Return softmax(q k^T / sqrt(d)) v, (B, L, W), from heads (B, H, L, d); `mask` (L, L') is True where seen.

    Written out (Vaswani et al. 2017, eq. 1): over some ten strokes the fused kernels are 2 to 9 times slower on a CPU.
    """
    scores = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
    return (scores.masked_fill(~mask, -torch.inf).softmax(-1) @ v).transpose(1, 2).flatten(2)


def attend_once(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return what one query (B, W) a drawing finds in all of a cache, (B, W): ``attend`` without a mask.

    Products element by element and their sums: as many matrix products of one row are 2 to 3 times slower on a CPU.
    """
    scores = (k * q.view(1, *k.shape[1:])).sum(-1, keepdim=True) * k.shape[-1] ** -0.5
    return (v * scores.softmax(0)).sum(0).flatten(1)


class HistoryBlock(nn.Module):
    """One pre-norm transformer layer with causal attention over the history."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the new states of `x`, and the keys and values that were looked at, all (B, L, W)."""
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        heads = [_heads(part, self.num_heads) for part in (q, k, v)]
        return self._with_found(x, attend(heads[0], heads[1], heads[2], mask)), (k, v)

    def extend(self, x: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Return the new state (B, W) of one more stroke `x`, which looks at all before it, and the longer cache."""
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        cache = _longer(cache, (k, v))
        return self._with_found(x, attend_once(q, *cache)), cache

    def _with_found(self, x: Tensor, found: Tensor) -> Tensor:
        x = x + F.dropout(self.out(found), self.dropout, self.training)
        hidden = self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))
        return x + F.dropout(hidden, self.dropout, self.training)


class DenoiserBlock(nn.Module):
    """One layer of the denoiser: the noisy strokes attend to the history, then an MLP; both adaLN-modulated."""

    neutral: Tensor

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.offset = nn.Parameter(torch.zeros(6 * width))
        neutral = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 1.0], device="cpu").repeat_interleave(width)  # changes nothing
        self.register_buffer("neutral", neutral, persistent=False)
        for layer in (self.out, self.down):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values (..., W) of contexts (..., W)."""
        k, v = self.key_value(context).chunk(2, dim=-1)
        return k, v

    def own_modulation(self) -> Tensor:
        """Return what this layer adds to the modulation by time and context, (6, W)."""
        return (self.offset + self.neutral).unflatten(0, (6, -1))

    def forward(
        self, x: Tensor, modulation: Iterable[Tensor], keys_values: tuple[Tensor, Tensor], mask: Tensor | None
    ) -> Tensor:
        """Return the new states of `x`, of its shape: (B, Q, W), or (B, W) without a `mask`.

        `modulation` are shift, scale and gate of the attention, then of the MLP, each of the shape of `x`.
        `keys_values` are heads (B, H, L, W / H) of which each query sees what `mask` (Q, L) says, or without it a
        cache, seen whole.
        """
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation
        query = self.query(torch.addcmul(shift1, F.layer_norm(x, x.shape[-1:]), scale1))
        x = torch.addcmul(x, gate1, self.out(self._found(query, keys_values, mask)))
        hidden = self.up(torch.addcmul(shift2, F.layer_norm(x, x.shape[-1:]), scale2))
        return torch.addcmul(x, gate2, self.down(F.gelu(hidden, approximate="tanh")))

    def _found(self, query: Tensor, keys_values: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        if mask is None:
            return attend_once(query, *keys_values)
        return attend(_heads(query, self.num_heads), *keys_values, mask)


@dataclass
class HistoryState:
    """What sampling keeps of the strokes so far, of which all denoising steps of the next stroke make use.

    c_k is `last` (B, W), and `modulation` (6, B, W) what it adds to the denoiser's.
    """

    last: Tensor
    modulation: Tensor
    history: list[Cache]
    denoiser: list[Cache]

    def select(self, rows: Tensor) -> HistoryState:
        """Return the state of the chosen drawings, (B',) indices."""

        def pick(caches: list[Cache]) -> list[Cache]:
            return [(k.index_select(1, rows), v.index_select(1, rows)) for k, v in caches]

        return HistoryState(self.last[rows], self.modulation[:, rows], pick(self.history), pick(self.denoiser))


class StrokeDiffusionModel(nn.Module):
    """p(next stroke | category, strokes so far) by diffusion, and p(stop | ...), over stroke tokens of D numbers.

    Category `num_categories` is the null category: what classifier-free guidance compares with (Ho and Salimans
    2022, arXiv:2207.12598).
    """

    time_table: Tensor
    denoiser_block = DenoiserBlock
    """What the denoiser's layers are made of; who compares with another kind puts it here."""

    def __init__(self, config: ModelConfig, num_categories: int, num_timesteps: int = 1000) -> None:
        super().__init__()
        if config.width % (2 * config.num_heads):
            raise ValueError(f"--width is {config.width}, must be a multiple of {2 * config.num_heads} (2 x heads)")
        self.config, self.num_categories = config, num_categories
        self.token_dim, width = 2 * config.num_points, config.width
        self.null_category = num_categories
        self.category = nn.Embedding(num_categories + 1, width)
        self.augmentation = nn.Linear(4, width, bias=False)
        self.position = nn.Parameter(nn.init.normal_(torch.empty(config.max_strokes + 1, width), std=0.02))
        self.read_stroke = nn.Sequential(nn.Linear(self.token_dim, width), nn.SiLU(), nn.Linear(width, width))
        blocks = [HistoryBlock(width, config.num_heads, config.dropout) for _ in range(config.num_layers)]
        self.history = nn.ModuleList(blocks)
        self.history_norm = nn.LayerNorm(width)
        self.stop = nn.Linear(width, 1)

        self.read_noisy = nn.Linear(self.token_dim, width)
        layers = [self.denoiser_block(width, config.num_heads) for _ in range(config.denoiser_layers)]
        self.denoiser = nn.ModuleList(layers)
        self.register_buffer("time_table", sinusoidal_embedding(num_timesteps, width), persistent=False)
        self.time_hidden = nn.Linear(width, width)
        self.time_modulation = nn.Linear(width, 6 * width)
        self.context_modulation = nn.Linear(width, 6 * width)
        self.write_noise = nn.Linear(width, self.token_dim)
        nn.init.normal_(self.category.weight, std=0.5)
        nn.init.zeros_(self.augmentation.weight)
        for layer in (self.time_modulation, self.context_modulation, self.write_noise, self.stop):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def _history_blocks(self) -> list[HistoryBlock]:
        return cast("list[HistoryBlock]", list(self.history))

    def _denoiser_blocks(self) -> list[DenoiserBlock]:
        return cast("list[DenoiserBlock]", list(self.denoiser))

    def _read_history(self, tokens: Tensor, category: Tensor, affine: Tensor | None = None) -> Tensor:
        """Return transformer inputs (B, K + 1, W): the category first, then the strokes `tokens` (B, K, D)."""
        kind = self.category(category)[:, None]
        if affine is not None:
            kind = kind + self.augmentation(affine)[:, None]
        strokes = self.read_stroke(tokens) + kind
        return torch.cat([kind, strokes], dim=1) + self.position[: tokens.shape[1] + 1]

    def context(self, tokens: Tensor, category: Tensor, affine: Tensor | None = None) -> Tensor:
        """Return the contexts c_0 ... c_K, (B, K + 1, W), of drawings `tokens` (B, K, D) of `category` (B,).

        c_k has seen the category and the first k strokes, nothing later, so padding behind a drawing is harmless.
        `affine` (B, 4) tells by how much each drawing was stretched and sheared in training, zeros or None: not at
        all. What is told does not leak into what is drawn (Karras et al. 2022, arXiv:2206.00364, app. F.2).
        """
        x = self._read_history(tokens, category, affine)
        for block in self.history:
            x, _ = block(x)
        return cast(Tensor, self.history_norm(x))

    def stop_logits(self, context: Tensor) -> Tensor:
        """Return the logit (...) that the drawing ends here, from contexts (..., W)."""
        return self.stop(context).squeeze(-1)

    def _modulation_by_time(self, table: Tensor) -> Tensor:
        return self.time_modulation(F.silu(self.time_hidden(table)))

    def time_modulations(self, t: Tensor) -> Tensor:
        """Return what all strokes share of the denoiser's modulation at times `t` (S,), (S, layers, 6, 1, W)."""
        by_time = self._modulation_by_time(self.time_table[t]).unflatten(-1, (6, 1, -1))
        return torch.stack([block.own_modulation()[:, None] + by_time for block in self._denoiser_blocks()], dim=1)

    def time_modulation_at(self, t: int) -> Tensor:
        """Return ``time_modulations`` of one time, (layers, 6, 1, W)."""
        return self.time_modulations(torch.tensor([t], device=self.time_table.device))[0]

    def denoise_all(self, x_t: Tensor, t: Tensor | int, context: Tensor) -> Tensor:
        """Return v_hat (B, K, M, D) for M noisy copies `x_t` (B, K, M, D) of every stroke, at times `t` (B, K, M), or
        all at one.

        `context` (B, K, W) is c_0 ... c_{K-1}: the k-th stroke sees c_0 ... c_{k-1}, the strokes before it.
        """
        num_strokes, copies = x_t.shape[1:3]
        if isinstance(t, int):  # all at one time
            by_time = self._modulation_by_time(self.time_table[t])
        else:  # as an embedding, since the gradient of indexing adds up in whatever order the threads come
            by_time = F.embedding(t, self._modulation_by_time(self.time_table))
        modulation = (by_time + self.context_modulation(context)[:, :, None]).expand(-1, -1, copies, -1)
        parts = modulation.flatten(1, 2).chunk(6, dim=-1)
        stroke = torch.arange(num_strokes, device=x_t.device)
        mask = (stroke[:, None] >= stroke[None, :]).repeat_interleave(copies, dim=0)
        x = (self.read_noisy(x_t) + context[:, :, None]).flatten(1, 2)
        for block in self._denoiser_blocks():
            k, v = (_heads(part, block.num_heads) for part in block.keys_values(context))
            whole = (part + own for part, own in zip(parts, block.own_modulation(), strict=True))
            x = block(x, whole, (k, v), mask)
        return self.write_noise(F.layer_norm(x, x.shape[-1:])).unflatten(1, (num_strokes, copies))

    def start(self, category: Tensor, prefix: Tensor | None = None) -> HistoryState:
        """Return the state of drawings of `category` (B,) after the strokes `prefix` (B, k, D), which may be none."""
        if prefix is None:
            prefix = self.position.new_zeros(len(category), 0, self.token_dim)
        x, history, heads = self._read_history(prefix, category), [], self.config.num_heads
        for block in self.history:
            x, keys_values = block(x)
            history.append(_cache(keys_values, heads))
        context = self.history_norm(x)
        denoiser = [_cache(block.keys_values(context), heads) for block in self._denoiser_blocks()]
        return self._state(context[:, -1], history, denoiser)

    def append(self, state: HistoryState, token: Tensor, category: Tensor) -> HistoryState:
        """Return the state after one more stroke `token` (B, D); drawings already at max_strokes are refused."""
        length = len(state.history[0][0])
        if length > self.config.max_strokes:
            raise ValueError(f"a drawing has at most {self.config.max_strokes} strokes")
        x = self.read_stroke(token) + self.category(category) + self.position[length]
        return self.extend(x, state.history, state.denoiser)

    def extend(self, x: Tensor, history: list[Cache], denoiser: list[Cache]) -> HistoryState:
        """Return the state after one more input `x` (B, W) of the transformer, given the caches of those before it.

        With empty caches and the category as `x` that is what ``start`` returns for a drawing without strokes.
        """
        longer = []
        for block, cache in zip(self._history_blocks(), history, strict=True):
            x, more = block.extend(x, cache)
            longer.append(more)
        context = self.history_norm(x)
        blocks = zip(self._denoiser_blocks(), denoiser, strict=True)
        return self._state(context, longer, [_longer(cache, block.keys_values(context)) for block, cache in blocks])

    def _state(self, last: Tensor, history: list[Cache], denoiser: list[Cache]) -> HistoryState:
        modulation = torch.stack(self.context_modulation(last).chunk(6, dim=-1))
        return HistoryState(last, modulation, history, denoiser)

    def denoise(self, x_t: Tensor, time_modulation: Tensor, state: HistoryState) -> Tensor:
        """Return v_hat (B, D) of the next stroke `x_t` (B, D), given the state of its history.

        `time_modulation` is ``time_modulation_at`` the time of x_t.
        """
        x = self.read_noisy(x_t) + state.last
        for block, by_time, cache in zip(self._denoiser_blocks(), time_modulation, state.denoiser, strict=True):
            x = block(x, state.modulation + by_time, cache, None)
        return self.write_noise(F.layer_norm(x, x.shape[-1:]))


# ------------------------------------------------------------------ weights files

FORMAT = "stroke-diffusion-1"
MAX_PARAMETERS = 500_000_000
MAX_GUIDANCE, MAX_STEPS = 20, 1000
RETIRED = {"spacing": "fitted", "whitening": "components", "denoiser": "attention",
           "denoiser_category": "through-history"}  # fmt: skip
"""Settings that older weights files name, with the one value of each that there is a model for."""


@dataclass
class TrainedModel:
    """A model with all it takes to draw: whitening, the category names it knows, and the conditions of its making."""

    model: StrokeDiffusionModel
    whitening: Whitening
    categories: tuple[str, ...]
    conditions: dict[str, Any]
    guide: TrainedModel | None = None
    """A weaker model, which autoguidance compares with in sampling."""
    path: Path | None = None
    """The weights file that it came from, if from one, and that file's sha256."""
    sha256: str = ""

    @property
    def file(self) -> str:
        """The name of the weights file, "" where there is none."""
        return self.path.name if self.path else ""

    @property
    def guidance(self) -> float:
        """The strength of guidance in sampling that the checkpoint was tuned for, 1 (none) where it was not."""
        return float(self.conditions.get("sampling", {}).get("guidance", 1.0))

    @property
    def teacher_sha256(self) -> str:
        """The sha256 of the weights file that a student was distilled from, "" where the model is no student."""
        trainings = [self.conditions, *reversed(self.conditions.get("lineage", []))]  # distilled, and maybe refined
        return next((str(made["start"]["init_sha256"]) for made in trainings if "recorded" in made), "")

    def trained_as(self, category: str) -> list[str]:
        """Return which other categories this model, or one that it began from, was trained on as if they were this."""
        trainings = [self.conditions, *self.conditions.get("lineage", [])]
        pairs = (part.split("=") for one in trainings for part in one.get("train", {}).get("relabelled", "").split(","))
        return sorted({pair[0].strip() for pair in pairs if pair[-1].strip() == category and len(pair) == 2})

    @property
    def sampler(self) -> str:
        """The sampler that the checkpoint was tuned for, the usual one where it was not."""
        return str(self.conditions.get("sampling", {}).get("sampler", USUAL_SAMPLER))

    @property
    def steps(self) -> int | tuple[int, ...]:
        """The denoising steps by stroke that the checkpoint was tuned for, the usual number where it was not."""
        steps = self.conditions.get("sampling", {}).get("steps", [USUAL_STEPS])
        return steps[0] if len(steps) == 1 else tuple(steps)

    def category_id(self, category: str) -> int:
        """Return the index of `category`, raising ValueError with those the model was trained on."""
        trained = self.conditions.get("trained_on", self.categories)
        if category not in trained or category not in self.categories:
            shown = ", ".join(trained[:10]) + (" ..." if len(trained) > 10 else "")
            where = f"{self.file}: " if self.file else ""
            raise ValueError(f"{where}this checkpoint draws {shown}, not '{category}'")
        return self.categories.index(category)


def save_weights(path: Path, trained: TrainedModel, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write a shareable safetensors file: the model in `dtype`, the whitening in float32, settings in the header.

    torch.int8 means eight bits for the larger matrices (see ``plumbing.tensor_files``) and float32 for all the rest.
    """
    own = {f"model.{name}": tensor for name, tensor in trained.model.state_dict().items()}
    tensors = eight_bit_tensors(own) if dtype == torch.int8 else {name: own[name].to(dtype) for name in own}
    tensors |= {f"whitening.{name}": getattr(trained.whitening, name) for name in ("mean", "basis", "scale")}
    metadata = {
        "format": FORMAT,
        "model": json.dumps(asdict(trained.model.config)),
        "categories": json.dumps(list(trained.categories)),
        "conditions": json.dumps(trained.conditions),
    }
    write_tensors(path, tensors, metadata)


class _WithoutNumbers(TorchFunctionMode):
    """Lets a model of shapes alone be built: its random numbers, on no device, would need three seconds of imports."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def load_weights(path: Path, device: str | torch.device = "cpu") -> TrainedModel:
    """Return the model of a weights file, float32, in evaluation mode, on `device`.

    Raises FileNotFoundError, or ValueError naming the file and the first thing that is wrong with it: not
    safetensors, damaged, of another program, of other shapes than its settings say, or with numbers not finite.
    """
    header = read_header(path, "checkpoint")
    config, categories, conditions = _settings(header)
    with torch.device("meta"), _WithoutNumbers():  # nothing is allocated that the file does not bring
        model = StrokeDiffusionModel(config, len(categories))
    dim = model.token_dim
    wanted = {f"model.{name}": tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    wanted |= {"whitening.mean": (dim,), "whitening.basis": (dim, dim), "whitening.scale": (dim,)}
    total = sum(map(math.prod, wanted.values()))
    if total > MAX_PARAMETERS:
        raise ValueError(f"{path}: declares {total:,} parameters, the limit is {MAX_PARAMETERS:,}")
    for name in sorted(wanted.keys() | header.shapes.keys()):
        if header.shapes.get(name) != wanted.get(name):
            found = header.shapes.get(name)
            raise ValueError(f"{path}: {name} has shape {found}, its settings say {wanted.get(name)}")
        if header.types[name] not in TYPES.values():
            raise ValueError(f"{path}: {name} is {header.types[name]}, must be {' or '.join(TYPES.values())}")
    tensors = header.tensors()
    own = {name: tensors[f"model.{name}"].to(torch.float32, copy=True) for name in model.state_dict()}
    model.load_state_dict(own, assign=True)
    # not copied: a product is rounded by where its factors lie in memory, and drawings are to keep their bytes
    whitening = Whitening(*(tensors[f"whitening.{name}"].float() for name in ("mean", "basis", "scale")))
    return TrainedModel(
        model.to(device).eval(), whitening.to(device), categories, conditions, path=path, sha256=header.sha256
    )


def _settings(header: Header) -> tuple[ModelConfig, tuple[str, ...], dict[str, Any]]:
    """Return what a weights file declares: the form of its model, the category names it knows, how it was made.

    Raises ValueError naming the file for what cannot be used.
    """
    path = header.path
    if header.words.get("format") != FORMAT:
        raise ValueError(f"{path}: not a checkpoint of this program (format {header.words.get('format')!s:.40})")
    model, categories, conditions = (header.value(key) for key in ("model", "categories", "conditions"))
    for name, only in RETIRED.items():
        if isinstance(model, dict) and (value := model.pop(name, only)) != only:
            raise ValueError(f"{path}: {name} is {value!r:.40}, and there is no model but for {only!r} any more")
    config = config_from_dict(ModelConfig, model, str(path))
    if config.width % (2 * config.num_heads):
        raise ValueError(f"{path}: width is {config.width}, must be a multiple of {2 * config.num_heads} (2 x heads)")
    if not _are_names(categories) or not 1 <= len(categories) <= 10_000 or not isinstance(conditions, dict):
        raise ValueError(f"{path}: its header lacks a list of 1 ... 10000 category names")
    if not _are_names(trained := conditions.get("trained_on", [])):
        raise ValueError(f"{path}: its header is damaged (trained_on: {trained!r:.80})")
    _check_sampling(path, conditions.get("sampling", {"guidance": 1.0}))
    return config, tuple(categories), conditions


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _check_sampling(path: Path, sampling: Any) -> None:
    """Refuse what tune_sampling.py and distill.py do not write as guidance, guide, sampler and steps."""
    guide = sampling.get("guide") if isinstance(sampling, dict) else None
    named = guide is None or (isinstance(guide, dict) and {type(guide.get(k)) for k in ("file", "sha256")} == {str})
    if not isinstance(sampling, dict) or type(sampling.get("guidance")) not in (int, float) or not named:
        raise ValueError(f"{path}: its header is damaged (sampling: {str(sampling)[:80]})")
    if not 0 <= sampling["guidance"] <= MAX_GUIDANCE:
        found = sampling["guidance"]
        raise ValueError(f"{path}: its header is damaged (guidance {found}, must lie in 0 ... {MAX_GUIDANCE})")
    steps, sampler = sampling.get("steps", [USUAL_STEPS]), sampling.get("sampler", USUAL_SAMPLER)
    known = isinstance(steps, list) and all(type(number) is int and 1 <= number <= MAX_STEPS for number in steps)
    if sampler not in SAMPLERS or not known or not steps:
        raise ValueError(f"{path}: its header is damaged (sampler {sampler!s:.40}, steps {steps!s:.40})")


def load_with_guide(path: Path, device: str | torch.device = "cpu", guide: str = "tuned") -> TrainedModel:
    """Return the model of a weights file as ``load_weights`` does, with a guide: the one that it was tuned with.

    That lies beside the file or among the shipped checkpoints, and is known by its hash. Another `guide` is a weights
    file, or "null" for none.
    The shipped base is guided by BASE_GUIDANCE away from no category unless its header says otherwise.
    Raises FileNotFoundError where it is missing and ValueError where it is not the one of the tuning.
    """
    trained = load_weights(path, device)
    if path.resolve() == BASE_PATH:
        trained.conditions.setdefault("sampling", {"guidance": BASE_GUIDANCE, "guide": None})
    tuned = trained.conditions.get("sampling", {}).get("guide") if guide == "tuned" else None
    if tuned:
        places = [folder / Path(tuned["file"]).name for folder in (path.parent, CHECKPOINTS)]
        named = [place for place in places if place.is_file()]
        there = [*named, *([GUIDE_PATH] if GUIDE_PATH.is_file() else [])]
        found = next((place for place in there if sha256_of(place) == tuned["sha256"]), None)
        if found is None and not named:
            raise FileNotFoundError(f"{places[0]}: is missing; {path.name} is drawn with it as its guide")
        if found is None:
            wanted = tuned["sha256"][:12]
            raise ValueError(f"{named[0]}: is not the guide that {path.name} was tuned with, sha256 {wanted}")
        trained.guide = load_weights(found, device)
    elif guide not in ("tuned", "null"):
        trained.guide = load_weights(Path(guide), device)
    return trained
