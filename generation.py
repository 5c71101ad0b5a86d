"""Drawing stroke by stroke: stop or go on, diffuse the next stroke, remember it, until every drawing has ended.

Drawing i depends on (seed, i) alone: its k-th stroke takes all its random numbers from a generator seeded by
(seed, i, k), so neither the batch nor the order of drawings changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from checkpoint import TrainedModel
from diffusion_model import HistoryState, StrokeDiffusionModel
from diffusion_process import Denoiser, NoiseSource, Steps, cosine_alpha_bar, sampler_steps
from drawings.simplify import simplify_drawing, simplify_stroke
from stroke_tokens import points_to_vectors, resample_strokes, vectors_to_points

Drawing = list[np.ndarray]
Watcher = Callable[[int, np.ndarray], object]
"""(stroke number, points of x_t (B, num_points, 2) in pixels) after every denoising step."""


@dataclass
class Generated:
    """Drawings as smooth strokes (num_points, 2) in pixels, before simplification, and what happened on the way.

    `unfinished` drawings were cut at the model's longest length; those with a stroke, or a decision to go on, that is
    not finite were ended before it and are counted in `not_finite`.
    """

    drawings: list[Drawing]
    unfinished: int = 0
    not_finite: int = 0


def official_form(drawing: Drawing, kept_strokes: int = 0) -> tuple[Drawing, int]:
    """Return a generated drawing in the official simplified form, strokes uint8 (n, 2), and how many points it clipped.

    A whole drawing is aligned to the top left, scaled so that its longest side is 255 and simplified (RDP, epsilon
    2), as the dataset's own were. Where the first `kept_strokes` strokes were given they stay as they are: the new
    ones are simplified in place and points outside 0 ... 255 clipped.
    """
    if kept_strokes == 0:
        return simplify_drawing(drawing), 0
    new, clipped = [], 0
    for stroke in drawing[kept_strokes:]:
        rounded = np.rint(simplify_stroke(stroke))
        clipped += int(((rounded < 0) | (rounded > 255)).any(-1).sum())
        new.append(np.clip(rounded, 0, 255).astype(np.uint8))
    return [np.asarray(stroke) for stroke in drawing[:kept_strokes]] + new, clipped


class StrokeRandomness:
    """The random numbers of the k-th stroke of some drawings: one generator each, seeded by (seed, drawing, stroke)."""

    def __init__(
        self, seed: int, indices: Sequence[int], stroke: int, dim: int, device: torch.device | str = "cpu"
    ) -> None:
        self.dim, self.device = dim, device
        sequences = [np.random.SeedSequence([seed, index, stroke]) for index in indices]
        self.generators = [np.random.Generator(np.random.Philox(sequence)) for sequence in sequences]
        self.uniform = np.array([generator.random() for generator in self.generators])

    def keep(self, rows: np.ndarray) -> None:
        """Forget all but the drawings `rows`, a boolean mask."""
        self.uniform = self.uniform[rows]
        self.generators = [g for g, kept in zip(self.generators, rows, strict=True) if kept]

    def normal(self) -> Tensor:
        """Return the next standard normal numbers, float32 (B, D)."""
        rows = [generator.standard_normal(self.dim, dtype=np.float32) for generator in self.generators]
        return torch.from_numpy(np.stack(rows)).to(self.device)


@dataclass
class Predictor:
    """A network at work on a batch of drawings: what it makes of the strokes so far, as drawings of `kind` (B,)."""

    model: StrokeDiffusionModel
    kind: Tensor
    state: HistoryState
    time_modulations: dict[int, Tensor] = field(default_factory=dict)
    """By time, each computed when it is first needed: they serve all strokes of the batch."""

    @staticmethod
    def begin(model: StrokeDiffusionModel, category_id: int, prefix: Tensor) -> Predictor:
        """Return the network after the strokes `prefix` (B, k, D), all drawings of one category."""
        kind = torch.full((len(prefix),), category_id, device=prefix.device)
        return Predictor(model, kind, model.start(kind, prefix))

    def v(self, x_t: Tensor, t: int) -> Tensor:
        """Return v_hat (B, D) of the next stroke."""
        if t not in self.time_modulations:
            self.time_modulations[t] = self.model.time_modulation_at(t)
        return self.model.denoise(x_t, self.time_modulations[t], self.state)

    def keep(self, rows: Tensor) -> None:
        """Forget all but the drawings `rows`, indices."""
        self.kind, self.state = self.kind[rows], self.state.select(rows)

    def remember(self, token: Tensor) -> None:
        """Add the stroke `token` (B, D) to what has been drawn."""
        self.state = self.model.append(self.state, token, self.kind)


def guided_denoiser(predictor: Predictor, weaker: Predictor | None, guidance: float) -> Denoiser:
    """Return the denoiser of the next stroke, guided away from what a weaker one would draw.

    v = v_weaker + guidance * (v - v_weaker): classifier-free guidance where the weaker one is the same network that
    was not told the category (Ho and Salimans 2022, eq. 6, with w = guidance - 1), autoguidance where it is a smaller
    or less trained network (Karras et al. 2024, arXiv:2406.02507, eq. 3).
    """

    def denoise(x_t: Tensor, t: int) -> Tensor:
        v = predictor.v(x_t, t)
        if weaker is not None:
            v_weaker = weaker.v(x_t, t)
            v = v_weaker + guidance * (v - v_weaker)
        return v.float()

    return denoise


@torch.inference_mode()
def generate_drawings(
    trained: TrainedModel,
    category: str,
    indices: Sequence[int],
    *,
    seed: int,
    sampler: str = "dpm-solver++",
    steps: int = 20,
    eta: float = 0.0,
    guidance: float = 1.0,
    prefix: Sequence[Drawing] | None = None,
    batch_size: int = 256,
    progress: Callable[[int], object] = lambda finished: None,
    watch: Watcher | None = None,
) -> Generated:
    """Return one drawing per index, each (seed, index)'s own, as strokes float32 (num_points, 2) in pixels.

    `prefix` gives the first strokes of every drawing (in pixels of the 255 box); they come back as they were given.
    `guidance` other than 1 compares with the model's guide, or where it has none with its null category. `progress` is
    told how many drawings each batch has finished, `watch` every x_t on the way. Raises ValueError for a category
    that a model does not know, a guide of other tokens, or a prefix that is as long as the longest drawing.
    """
    result = Generated([])
    alpha_bar = cosine_alpha_bar(len(trained.model.time_table))

    def steps_of(denoise: Denoiser, noise: NoiseSource) -> Steps:
        return sampler_steps(sampler, denoise, noise, alpha_bar, steps, eta)

    predictors = [(trained.model, trained.category_id(category))]
    if guidance != 1.0:
        predictors.append(_weaker(trained, category))
    longest = trained.model.config.max_strokes
    if prefix is not None and len(prefix) != len(indices):
        raise ValueError(f"{len(prefix)} prefixes for {len(indices)} drawings: one each, or none")
    for drawing in prefix or ():
        if len(drawing) >= longest:
            raise ValueError(f"a prefix has {len(drawing)} strokes, must have fewer than {longest}")
    for first in range(0, len(indices), batch_size):
        chosen = list(indices[first : first + batch_size])
        given = list(prefix[first : first + batch_size]) if prefix else [[] for _ in chosen]
        # drawings with equally long prefixes go together: the cache is not ragged
        finished: dict[int, Drawing] = {}
        for length in sorted({len(drawing) for drawing in given}):
            rows = [row for row, drawing in enumerate(given) if len(drawing) == length]
            batch = _StrokeByStroke(trained, predictors, [chosen[r] for r in rows], [given[r] for r in rows],
                                    seed, guidance)  # fmt: skip
            batch.run(steps_of, result, watch)
            finished |= dict(zip(rows, batch.drawings, strict=True))
        result.drawings += [finished[row] for row in range(len(chosen))]
        progress(len(chosen))
    return result


def _weaker(trained: TrainedModel, category: str) -> tuple[StrokeDiffusionModel, int]:
    """Return the network that guidance compares with, and the category it is asked for."""
    guide = trained.guide
    if guide is None:
        return trained.model, trained.model.null_category
    same = guide.model.config.num_points == trained.model.config.num_points
    if not same or not torch.equal(guide.whitening.basis, trained.whitening.basis):
        raise ValueError("the guide was trained on other stroke tokens; take one that began from the same weights")
    return guide.model, guide.category_id(category)


class _StrokeByStroke:
    """One batch of drawings that grow together; those that end are taken out of the batch."""

    def __init__(
        self,
        trained: TrainedModel,
        predictors: list[tuple[StrokeDiffusionModel, int]],
        indices: list[int],
        prefixes: list[Drawing],
        seed: int,
        guidance: float,
    ) -> None:
        self.trained, self.model, self.seed, self.guidance = trained, trained.model, seed, guidance
        self.device = self.model.position.device
        self.indices = np.array(indices)
        self.drawings: list[Drawing] = [list(prefix) for prefix in prefixes]
        self.alive = np.arange(len(indices))
        tokens = self._encode(prefixes)
        self.predictors = [Predictor.begin(model, category_id, tokens) for model, category_id in predictors]

    def _encode(self, prefixes: list[Drawing]) -> Tensor:
        """Return the tokens (B, k, D) of equally long prefixes."""
        count, length, dim = len(prefixes), len(prefixes[0]), self.model.token_dim
        if length == 0:
            return torch.zeros(count, 0, dim, device=self.device)
        strokes = [np.asarray(stroke, dtype=np.float64) for prefix in prefixes for stroke in prefix]
        offsets = np.concatenate([[0], np.cumsum([len(stroke) for stroke in strokes])])
        config = self.model.config
        points = resample_strokes(np.concatenate(strokes), offsets, config.num_points, config.spacing)
        vectors = points_to_vectors(points).to(self.device)
        return self.trained.whitening.encode(vectors).unflatten(0, (count, length))

    def _keep(self, rows: np.ndarray) -> None:
        if rows.all():
            return
        self.alive = self.alive[rows]
        chosen = torch.from_numpy(np.flatnonzero(rows)).to(self.device)
        for predictor in self.predictors:
            predictor.keep(chosen)

    def run(self, steps_of: Callable[[Denoiser, NoiseSource], Steps], result: Generated, watch: Watcher | None) -> None:
        """Draw until every drawing has ended, adding to the counts in `result`."""
        predictor, weaker = self.predictors[0], self.predictors[1] if len(self.predictors) == 2 else None
        longest = self.model.config.max_strokes
        for k in range(len(self.drawings[0]), longest + 1):
            indices = self.indices[self.alive].tolist()
            random = StrokeRandomness(self.seed, indices, k, self.model.token_dim, self.device)
            if k > 0:
                ends = torch.sigmoid(self.model.stop_logits(predictor.state.last).float()).cpu().numpy()
                result.not_finite += int(np.isnan(ends).sum())  # they end here, for NaN compares as false
                goes_on = random.uniform >= ends
                random.keep(goes_on)
                self._keep(goes_on)
            if k == longest:
                result.unfinished += len(self.alive)
                return
            if len(self.alive) == 0:
                return
            denoise = guided_denoiser(predictor, weaker, self.guidance)
            x0_hat = self._next_stroke(steps_of(denoise, random.normal), k, watch)
            strokes = self._points(x0_hat)
            finite = np.isfinite(strokes).all((1, 2))
            if not finite.all():
                result.not_finite += int((~finite).sum())
                self._keep(finite)
                strokes, x0_hat = strokes[finite], x0_hat[torch.from_numpy(finite).to(self.device)]
                if len(self.alive) == 0:
                    return
            for row, points in zip(self.alive, strokes, strict=True):
                self.drawings[row].append(points)
            for each in self.predictors:
                each.remember(x0_hat)

    def _points(self, tokens: Tensor) -> np.ndarray:
        return vectors_to_points(self.trained.whitening.decode(tokens))

    def _next_stroke(self, steps: Steps, k: int, watch: Watcher | None) -> Tensor:
        """Return the tokens (B, D) that a sampler ends with, showing every x_t to `watch`."""
        for x_t, _ in steps:
            latest = x_t
            if watch is not None:
                watch(k, self._points(x_t))
        return latest
