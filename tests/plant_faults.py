"""Plants faults in the science, one at a time, and tells which of them the tests notice.

    python tests/plant_faults.py                       # all of them: exit code 1 where fewer than 95 % are caught
    python tests/plant_faults.py --only "no clipping"  # one, by its name or a part of it

Each fault is planted in a copy of the checkout, and the test files nearest to it are run there until one fails. A
fault that keeps the tests from running at all counts as escaped.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import hypothesis  # noqa: F401 - these take long to import: here once, and not for every fault
import matplotlib.pyplot  # noqa: F401
import playwright.sync_api  # noqa: F401
import pooch  # noqa: F401
import pytest
import scipy.stats  # noqa: F401
import torch._dynamo  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent
SHARE = 0.95
"""Of the faults must be caught."""
SECONDS = 600
"""That the tests of one fault may take; a fault that they hang on is caught."""
OUTPUT = "planted.txt"

# where the science is
TRAINING, SAMPLING, METRICS = "train_diffusion.py", "sample_diffusion.py", "metrics.py"
PROCESS, MODEL, TOKENS = "diffusion_process.py", "diffusion_model.py", "stroke_tokens.py"
BATCHES, PACKED, OFFICIAL = "drawings/batches.py", "drawings/packed.py", "drawings/official.py"
BASELINES, TWO_SAMPLE, RECOGNISER = "scoring/baselines.py", "scoring/two_sample.py", "scoring/stroke_recogniser.py"
REFERENCE, STATISTICS, COPIES = "scoring/reference.py", "scoring/stroke_statistics.py", "scoring/copies.py"
DISTILLATION = "studies/distill.py"
AVERAGES, TUNING, FEATURES = "scoring/averages.py", "studies/tune_sampling.py", "studies/train_features.py"
LOSSES, ORACLES = "studies/held_out_losses.py", "families/oracles"
VIDEO = "words/video"
DISTANCE_LAWS = (
    "frechet_distance_of_two_gaussians_is_the_closed_form",
    "extrapolation_comes_nearer_to_the_true_distance_than_all_drawings_do",
    "kernel_distance_is_the_unbiased_formula_written_out",
    "kernel_distance_is_mean_and_deviation_over_seeded_subsets",
    "density_and_coverage_count_balls_as_drawn_by_hand",
    "coverage_falls_where_one_drawing_is_repeated_and_density_where_drawings_are_far",
    "baseline_and_score_are_taken_at_the_same_number",
    "halves_are_disjoint_and_too_few_drawings_have_no_baseline",
)


class Fault(NamedTuple):
    """A change of a file: `old`, which it holds exactly once, becomes `new`; `tests` are those nearest to it."""

    path: str
    tests: tuple[str, ...]
    name: str
    old: str
    new: str


def _test(file: str) -> str:
    folder, slash, name = file.rpartition("/")
    return f"{folder}{slash}test_{name}"


def planted(path: str, tests: str, *faults: tuple[str, str, str]) -> list[Fault]:
    """Return faults (name, old, new) of one file; `tests` names test files, of slow ones their tests: file::law."""
    words = (word.partition("::") for word in tests.split())
    files = tuple(f"tests/{_test(file)}.py" + (f"::test_{law}" if law else "") for file, _, law in words)
    return [Fault(path, files, *fault) for fault in faults]


FAULTS = [
    *planted(
        TRAINING,
        "science_losses",
        ("the stop loss is dropped", "return diffusion, stop\n", "return diffusion, 0.0 * stop\n"),
        ("the end is never trained", "(decision <= lengths[:, None])", "(decision < lengths[:, None])"),
        ("the end is trained one stroke early", "ends = (decision ==", "ends = (decision + 1 =="),
        ("a stop is trained before the first stroke", "(decision >= 1) &", "(decision >= 0) &"),
        (
            "the noise of the history is on the targets",
            "    context = model.context(tokens + level * normal(count, longest, dim), category, batch.affine)\n",
            "    tokens = tokens + level * normal(count, longest, dim)\n"
            "    context = model.context(tokens, category, batch.affine)\n",
        ),
        ("the history has no noise", "level = config.history_noise *", "level = 0 * config.history_noise *"),
        ("the history is as noisy in all drawings", "config.history_noise * uniform(count, 1, 1)",
         "config.history_noise * torch.ones(count, 1, 1)"),
        ("category dropout is inverted", "uniform(count) < config.category_dropout",
         "uniform(count) > config.category_dropout"),
        ("category dropout is ignored", "uniform(count) < config.category_dropout", "uniform(count) < 0"),
        ("augmentation is not told", "category, batch.affine)", "category, torch.zeros_like(batch.affine))"),
        ("loss weights are inverted", "whitening.scale**config.scale_weight", "whitening.scale**-config.scale_weight"),
        ("loss weights are ignored", "whitening.scale**config.scale_weight", "whitening.scale**0"),
        ("loss weights change the loss as a whole", "weight / weight.mean())", "weight)"),
        ("a stroke is denoised in sight of itself",
         "errors(tokens, context[:, :-1],", "errors(tokens, context[:, 1:],"),
        ("first strokes are denoised in sight of themselves", "errors(tokens[:, :1], context[:, :1],",
         "errors(tokens[:, :1], context[:, 1:2],"),
        ("padding is trained", "config.noise_draws)[batch.mask].flatten()", "config.noise_draws).flatten()"),
        ("further draws of first strokes are left out", "    if config.first_stroke_draws:\n", "    if False:\n"),
        ("min-SNR is ignored", "if config.min_snr > 0 else error", "if config.min_snr < 0 else error"),
        ("copies of a stroke share their noise", "normal(*shape, dim)\n",
         "normal(*shape[:2], 1, dim).expand(*shape, dim)\n"),
        ("copies of a stroke share their time", "t = sample_timesteps(shape, len(alpha_bar), generator).to(device)",
         "t = sample_timesteps((*shape[:2], 1), len(alpha_bar), generator).to(device).expand(shape)"),
    ),
    *planted(
        TRAINING,
        "science_training",
        ("validation is in training mode", "    model.eval()\n", ""),
        ("there is no dropout in training", "start.model.to(self.device).train()",
         "start.model.to(self.device).eval()"),
        ("validation has noise on the history", "history_noise=0.0, ", ""),
        ("validation leaves categories out", "config, category_dropout=0.0, ", "config, "),
        ("validation is the mean over batches", "count = int(batch.lengths.sum())", "count = 1"),
    ),
    *planted(
        TRAINING,
        "science_training",
        ("the learning rate does not reach the optimizer", 'group["lr"] = rate', 'group["lr"] = config.learning_rate'),
        ("no clipping", "clip_grad_norm_(self.model.parameters(), 1.0)",
         'clip_grad_norm_(self.model.parameters(), float("inf"))'),
        ("clipping at norm 10", "clip_grad_norm_(self.model.parameters(), 1.0)",
         "clip_grad_norm_(self.model.parameters(), 10.0)"),
        ("everything decays", 'parameter.ndim != 2 or name in ("category.weight", "position")', "False"),
        ("nothing decays", "(weight_decay, 0.0), strict=True", "(0.0, 0.0), strict=True"),
        ("the optimizer forgets slowly", "betas=(0.9, 0.98)", "betas=(0.9, 0.999)"),
        ("the network that learns is saved", "return TrainedModel(self.averaged_model,",
         "return TrainedModel(self.model,"),
        ("the network that learns is validated", "            self.averaged_model, self.whitening, self.validation",
         "            self.model, self.whitening, self.validation"),
        ("the moving average is not one", "get_ema_multi_avg_fn(config.ema_decay)", "get_ema_multi_avg_fn(0.0)"),
        ("the moving average stands still", "            self.ema.update_parameters(self.model)\n", ""),
        (
            "the moving average is one update late",
            "            self.optimizer.step()\n            self.ema.update_parameters(self.model)\n",
            "            self.ema.update_parameters(self.model)\n            self.optimizer.step()\n",
        ),
        ("validation on training drawings", "evenly_spread(data.held_out,", "evenly_spread(data.train,"),
        ("the stop loss has no weight in the gradient", "loss = both[0] + config.stop_weight * both[1]",
         "loss = both[0] + both[1]"),
        ("all updates have the same noise", "SeedSequence([config.seed, self.step])", "SeedSequence([config.seed])"),
        ("gradients of parts are counted again", "            self.optimizer.zero_grad(set_to_none=True)\n", ""),
        ("all parts have the same noise", "seeds[1 + 2 * number : 3 + 2 * number]", "seeds[1:3]"),
        ("parts of a batch count alike", "torch.tensor(num_errors(part, config)) / whole",
         "torch.ones(2) / len(self.own_parts)"),
        ("all seeds have the same noise", "SeedSequence([config.seed, self.step])", "SeedSequence([self.step])"),
        ("no augmentation", "random_affine(batch, config.augmentation,", "random_affine(batch, 0.0,"),
        ("companions have no share of their own", "config.companion_share if config.companions else 0.0", "0.5"),
        ("balance is ignored", "data.targets, share, config.balance)", "data.targets, share, 1.0)"),
    ),
    *planted(
        TRAINING,
        "science_training",
        ("the learning rate never decays", "min(1.0, progress)", "0 * progress"),
        ("the learning rate ends above zero", "0.5 * (1 + math.cos(math.pi * min(1.0, progress)))",
         "0.5 * (1.1 + 0.9 * math.cos(math.pi * min(1.0, progress)))"),
        ("there is no warm-up", "if step < config.warmup:", "if step < 0:"),
    ),
    *planted(
        TRAINING,
        "train_diffusion::a_constant_learning_rate_warms_up_and_decays_over_its_last_share",
        ("a constant learning rate stays so", "1.0 if left >= decay else", "1.0 if left >= 0 else"),
    ),
    *planted(
        TRAINING,
        "science_data",
        ("fine-tuning fits the whitening anew", "whitening = initial.whitening\n",
         'whitening = Whitening.fit(data.train.sample_vectors(), components=model_config.whitening == "components")\n'),
        ("fine-tuning begins from nothing", "        model.load_state_dict(weights)\n", ""),
        ("the whitening is of held-out drawings", "Whitening.fit(data.train.", "Whitening.fit(data.held_out."),
    ),
    *planted(
        "training_data.py",
        "science_data",
        ("test drawings of companions are trained", "stroke_set([data.train for data in loaded], ids",
         "stroke_set([data.train if i < len(targets) else data.validation for i, data in enumerate(loaded)], ids"),
        ("training drawings are held out", "stroke_set([data.validation for data in loaded[own]]",
         "stroke_set([data.train for data in loaded[own]]"),
        ("companions are held out as well", "own = slice(0, len(targets))", "own = slice(0, len(loaded))"),
        ("recognized drawings are not asked for", "recognized_only=choice.recognized_only)", "recognized_only=False)"),
        ("the split is not asked for", "split=choice.split, recognized_only", 'split="local", recognized_only'),
        ("a new category begins as another", "known[initial.categories.index(other)]", "known[0]"),
        ("the row of no category is not the last", "torch.cat([known, *(row[None] for row in rows), null])",
         "torch.cat([known, null, *(row[None] for row in rows)])"),
    ),
    *planted(
        SAMPLING,
        "science_sampling",
        ("the order of guidance is swapped", "            v = v_weaker + guidance * (v - v_weaker)",
         "            v = v + guidance * (v_weaker - v)"),
        ("guidance is one stronger", "            v = v_weaker + guidance *",
         "            v = v_weaker + (guidance + 1) *"),
        ("guidance is not applied", "            v = v_weaker + guidance * (v - v_weaker)",
         "            v = v + 0 * v_weaker"),
        ("the guide is asked for another category", "return guide.model, guide.category_id(category)",
         "return guide.model, trained.category_id(category)"),
        ("the guide is asked for no category", "return guide.model, guide.category_id(category)",
         "return guide.model, guide.model.null_category"),
        ("without a guide the category itself is compared with", "return trained.model, trained.model.null_category",
         "return trained.model, trained.category_id(category)"),
        ("the guide is left aside", "    guide = trained.guide\n    if guide is None:",
         "    guide = trained.guide\n    if guide is None or guide:"),
        ("the guide does not remember strokes", "for each in predictors:\n            each.remember",
         "for each in predictors[:1]:\n            each.remember"),
        ("the first noise is too small", "torch.from_numpy(np.stack(rows)).to",
         "torch.from_numpy(0.8 * np.stack(rows)).to"),
        ("the guide decides the stop", "stop_logits(predictor.state.last)",
         "stop_logits((weaker or predictor).state.last)"),
        ("the guide's head decides the stop", "model.stop_logits(predictor.state.last)",
         "(weaker or predictor).model.stop_logits(predictor.state.last)"),
        ("the stop is inverted", "goes_on = random.uniform >= ends", "goes_on = random.uniform < ends"),
        ("the stop is the likelier choice", "goes_on = random.uniform >= ends", "goes_on = ends < 0.5"),
        ("the stop is decided before the first stroke", "        if k > 0:\n", "        if k >= 0:\n"),
        ("all drawings have the same noise",
         "SeedSequence([seed, index, stroke]) for", "SeedSequence([seed, stroke]) for"),
        ("all strokes have the same noise",
         "SeedSequence([seed, index, stroke]) for", "SeedSequence([seed, index]) for"),
        ("the seed is ignored", "SeedSequence([seed, index, stroke]) for", "SeedSequence([index, stroke]) for"),
        ("eta is ignored", "steps_of(k, config.steps), config.eta)", "steps_of(k, config.steps))"),
        ("steps are ignored", "alpha_bar, steps_of(k, config.steps), config.eta)", "alpha_bar, 20, config.eta)"),
        ("all strokes take the steps of the first", "steps_of(k, config.steps)", "steps_of(0, config.steps)"),
        ("the tuned steps are not used", "steps=config.steps or trained.steps)", "steps=config.steps or 20)"),
        ("the tuned sampler is not used", 'trained.sampler if config.sampler == "auto"',
         '"dpm-solver++" if config.sampler == "auto"'),
        ("an end is half as likely", "random.uniform >= ends", "random.uniform >= 0.5 * ends"),
    ),
    *planted(
        SAMPLING,
        "science_sampling",
        ("guidance asked for is overruled", "guidance=trained.guidance) if config.guidance == AS_TUNED else config",
         "guidance=trained.guidance) if True else config"),
        ("the tuned guidance is not used", "guidance=trained.guidance)", "guidance=1.0)"),
        ("the sampler of the settings is ignored", "own, seed=config.seed, sampler=config.sampler, steps",
         "own, seed=config.seed, steps"),
    ),
    *planted(
        "scoring/placement.py",
        "science_sampling",
        ("given strokes are not whitened", "trained.whitening.encode(vectors.to(model.position.device))",
         "(vectors.to(model.position.device))"),
    ),
    *planted(
        "scoring/placement.py",
        "placement",
        ("small drawings lie near the mean and win", "- VOLUME *", "- 0 *"),
        ("the least likely square is taken", "np.argmin", "np.argmax"),
        ("squares reach beyond the sheet", "corner if paper is None else", "corner if True else"),
    ),
    *planted(
        DISTILLATION,
        "distill",
        ("the target turns the other way", "(math.cos(delta) * x_t - x_after)", "(math.cos(delta) * x_t + x_after)"),
        ("the teacher is recorded without guidance", "None if teacher.guidance == 1.0 else Everywhere",
         "None and Everywhere"),
        ("strokes are recorded in sight of themselves", "model.context(history, kind)[:, :-1]",
         "model.context(history, kind)[:, 1:]"),
        ("the student learns from padding", "(batch.mask & (stroke", "((batch.mask | True) & (stroke"),
        ("the history learns as well", "not in STAYS)", "not in ())"),
        ("first strokes are not recorded", 'paths["train"] + paths["first"]', 'paths["train"]'),
        ("a student is not told its steps", '"steps": list(steps), "guidance": 1.0', '"guidance": 1.0'),
    ),
    *planted(
        "studies/refine.py",
        "refine",
        ("only half of the repulsion", "- 2 * apart + apart.detach()", "- apart"),
        ("no repulsion", "- 2 * apart + apart.detach()", "- apart.detach()"),
        ("strokes are drawn again from other noise", "StrokeRandomness(seed, [i], k", "StrokeRandomness(seed, [i], 0"),
        ("all strokes are drawn in the steps of the first", "[steps_of(k, steps) for k", "[steps_of(0, steps) for k"),
        ("later strokes answer to nothing", "wanted + shortened(answered, limit)", "wanted"),
        ("answers add up", "total = wanted + shortened", "total = total + shortened"),
    ),
    *planted(
        "drawings/ink.py",
        "refine",
        ("ink is transposed", "@ across", "@ across.flip(2)"),
        ("blots do not follow the line", "+ ways[segment] * share[:, None]", "+ 0 * share[:, None]"),
        ("no gradient but by the weights", "begins[segment] + ways", "begins.detach()[segment] + ways.detach()"),
        ("a moving point does not move its box", "points.amax(1)", "points.detach().amax(1)"),
        ("a drawing is not set into the picture", "* scale[owner][:, None, None]", "* 0.2"),
    ),
    *planted(
        PROCESS,
        "diffusion_process science_sampling science_losses",
        ("the schedule falls in a line", "torch.cos(0.5 * math.pi * t / num_timesteps) ** 2", "1 - t / num_timesteps"),
        ("the schedule is one step early", "torch.arange(1, num_timesteps + 1,", "torch.arange(0, num_timesteps,"),
        ("the target has the wrong sign", "return signal * eps - noise * x0", "return signal * eps + noise * x0"),
        ("the target is the noise", "return signal * eps - noise * x0", "return eps + 0 * x0"),
        ("noise is added to the whole stroke", "return signal * x0 + noise * eps", "return x0 + noise * eps"),
        ("pure noise is hardly trained", "device=generator.device) < 0.05", "device=generator.device) < 0.0"),
        ("training times are wider spread", "u = torch.sigmoid(torch.randn", "u = torch.sigmoid(2 * torch.randn"),
        ("min-SNR holds the wrong times back", "ratio.clamp(max=gamma)", "ratio.clamp(min=gamma)"),
        ("steps begin below the last time", "round(num_timesteps - i * num_timesteps / num_steps) - 1",
         "round((num_steps - 1 - i) * num_timesteps / num_steps)"),
        ("the ancestral sampler has too much noise", "(1 - before) / (1 - now) * beta)", "beta)"),
        ("DDIM ignores eta", "sigma = eta *", "sigma = 0 * eta *"),
        ("the DPM solver is of first order", "        previous = x0_hat\n", ""),
        ("the DPM solver's correction has the wrong sign",
         "x0_hat + (x0_hat - previous)", "x0_hat - (x0_hat - previous)"),
    ),
    *planted(
        MODEL,
        "diffusion_model science_sampling science_shipped",
        ("the history looks ahead", "device=x.device).tril()", "device=x.device)"),
        ("the denoiser looks ahead", "stroke[:, None] >= stroke[None, :]", "stroke[:, None] >= 0 * stroke[None, :]"),
        ("a change of the drawing is not read", "kind = kind + self.augmentation(affine)[:, None]", "pass"),
        ("strokes have no position", "[kind, strokes], dim=1) + self.position[: tokens.shape[1] + 1]",
         "[kind, strokes], dim=1)"),
        ("a cached stroke has the wrong position", "+ self.position[length]\n", "+ self.position[length - 1]\n"),
        ("attention is not scaled", "* q.shape[-1] ** -0.5", "* q.shape[-1] ** 0"),
        ("no category is the first category", "self.null_category = num_categories", "self.null_category = 0"),
        ("times are embedded otherwise", "math.log(10_000.0)", "math.log(1_000.0)"),
    ),
    *planted(
        TOKENS,
        "science_data stroke_tokens",
        ("the whitening has no floor", "(variance + NOISE_FLOOR**2).sqrt()", "variance.sqrt()"),
        ("the floor is added to the deviation",
         "(variance + NOISE_FLOOR**2).sqrt()", "(variance.sqrt() + NOISE_FLOOR)"),
        ("the whitening is a variance", "(variance + NOISE_FLOOR**2).sqrt()", "(variance + NOISE_FLOOR**2)"),
        ("the largest components come last", "variance.flip(0).clamp(min=0), basis.flip(1)",
         "variance.clamp(min=0), basis"),
        ("a component's sign is left to the machine",
         "basis = basis * basis.gather(0, basis.abs().argmax(0, keepdim=True)).sign()", "pass"),
        ("the mean stays in the tokens", "return (vectors - self.mean) @ self.basis", "return vectors @ self.basis"),
        ("the canvas is off by half a pixel", ".flatten(1) / 127.5 - 1.0", ".flatten(1) / 128 - 1.0"),
        ("points of a stroke are evenly spaced", "BY_ANGLE = 0.5", "BY_ANGLE = 0.0"),
    ),
    *planted(
        BATCHES,
        "batches science_training science_data",
        ("categories are drawn by their size", "np.maximum(data.sizes, 1.0) ** balance", "np.maximum(data.sizes, 1.0)"),
        ("companions and targets are exchanged", "((is_target, 1 - companion_share), (~is_target, companion_share))",
         "((is_target, companion_share), (~is_target, 1 - companion_share))"),
        ("shares of categories are ignored", "size=ROUND_DRAWINGS, p=weights)", "size=ROUND_DRAWINGS)"),
        ("every drawing is changed", "generator=generator) < share)", "generator=generator) < 1.0)"),
        ("another change is told than made", "affine=change.flatten(1))", "affine=change.mT.flatten(1))"),
        ("the change is twice as large", "change = size * torch.randn", "change = 2 * size * torch.randn"),
        ("changed drawings leave the canvas", "((moved - new_low) * scale + low)", "moved"),
        ("the longest drawings are left out", "packed.num_strokes <= max_strokes", "packed.num_strokes < max_strokes"),
        ("parts mix up categories", "self.category[number::parts]", "self.category[: len(lengths)]"),
        ("parts mix up what they are told", "self.affine[number::parts]", "self.affine[: len(lengths)]"),
        ("validation sees the first drawings", "spread_rows(len(data), count)",
         "spread_rows(min(len(data), count), count)"),
        ("padding counts as a stroke", "device=lengths.device) < lengths",
         "device=lengths.device) <= lengths"),
    ),
    *planted(
        PACKED,
        "science_data",
        ("a third is held out", "LOCAL_TEST_PERCENT = 15", "LOCAL_TEST_PERCENT = 33"),
        ("the sides of the split are exchanged",
         "on_test = local_test_mask(packed)", "on_test = ~local_test_mask(packed)"),
        ("the sides of the split overlap", "packed.select(np.flatnonzero(~on_test)), ", "packed, "),
    ),
    *planted(
        TUNING,
        "science_data",
        ("guidance is tuned on training drawings", "rows = list(data.validation)", "rows = list(data.train)"),
        ("copies are counted in validation drawings", "TrainingStrokes(training)",
         "TrainingStrokes(list(data.validation))"),
        ("losses are of training drawings", "stroke_set([self.data.validation]", "stroke_set([self.data.train]"),
        ("all ways of sampling are unguided", "sample(trained, name, config)",
         "sample(trained, name, replace(config, guidance=1.0))"),
        ("guidance is tuned on published seeds", "SEED = 1_000_000", "SEED = 0"),
        ("no guide is tried", "replace(model, guide=guide), config", "replace(model, guide=None), config"),
        ("the worst guidance is taken", 'row["copies"], row["kid"])', 'row["copies"], -row["kid"])'),
        ("copies do not count", 'row["copies"] > most_copies and row["copies"]', "False"),
        ("weights go the wrong way", "theirs[name].lerp(own, share)", "own.lerp(theirs[name], share)"),
    ),
    *planted(
        FEATURES,
        "science_data",
        ("the feature network learns from held-out drawings", "[each.train for each in data]",
         "[each.test for each in data]"),
        ("the feature network is measured on its training drawings", "[held_out_of(each) for each in data]",
         "[each.train for each in data]"),
    ),
    *planted(
        FEATURES,
        "train_features::references_are_of_pictures_or_of_held_out_drawings",
        ("references are of training drawings", "train, held_out = list(data.train), list(data.test)",
         "train, held_out = list(data.test), list(data.train)"),
    ),
    *planted(
        FEATURES,
        "train_features::the_stroke_recogniser_learns_from_three_quarters_of_the_training_drawings",
        ("the recogniser learns from all training drawings", "// 100 % 4 != 0", "// 100 % 4 != 9"),
    ),
    *planted(
        METRICS,
        " ".join(f"metrics::{law}" for law in DISTANCE_LAWS),
        ("FID has no means", "float(((mean_a - mean_b) ** 2).sum() + spread)", "float(spread)"),
        ("FID takes covariances over N", "np.sqrt(len(x) - 1)", "np.sqrt(len(x))"),
        ("FID counts the shared spread once", "- 2 * cross", "- cross"),
        ("FID is extrapolated in n", "np.polyfit(1 / sizes, values, 1)", "np.polyfit(sizes, values, 1)"),
        ("KID is biased", "/ (n * (n - 1)) + within_y / (m * (m - 1))", "/ (n * n) + within_y / (m * m)"),
        ("KID counts the pairs across once", "- 2 * across / (n * m)", "- across / (n * m)"),
        ("KID's kernel is a square", "return k * k * k", "return k * k"),
        ("KID's subsets repeat drawings", "rng.choice(len(side), size, replace=False) for side",
         "rng.choice(len(side), size) for side"),
        ("every drawing is its own neighbour", "= np.inf  # not its own", "+= 0.0  # not its own"),
        ("density is not over k", "return balls / (k * len(generated))", "return balls / len(generated)"),
        ("coverage is of generated drawings", "covered += int(inside.any(axis=1).sum())",
         "covered += int(inside.any(axis=0).sum())"),
    ),
    *planted(
        BASELINES,
        " ".join(f"metrics::{law}" for law in DISTANCE_LAWS),
        ("the halves of a floor overlap", "real[order[n : 2 * n]]", "real[order[n // 2 : n // 2 + n]]"),
        ("a score at the floor's number has all drawings", "generated[rng.permutation(len(generated))[:n]]",
         "generated"),
    ),
    *planted(
        TWO_SAMPLE,
        "scoring/two_sample",
        ("a classifier is asked what it has learned", "learn, ask = part != fold,", "learn, ask = part >= 0,"),
        ("features count by their unit", "(x - mean) / np.where(std > 0, std, 1.0)", "x - mean"),
    ),
    *planted(
        "scoring/critic.py",
        "scoring/critic",
        ("the likeliest are kept, not a sample", "self.weights + noise", "self.weights + 0 * noise"),
        ("generated drawings are kept", "y = np.repeat([-1.0, 1.0]", "y = np.repeat([1.0, -1.0]"),
        ("strokes that are not there are read", "mean = (contexts * seen)", "mean = contexts"),
        ("a critic of other weights chooses", 'conditions["sha256"] != sha256', 'conditions["sha256"] == ""'),
    ),
    *planted(
        RECOGNISER,
        "scoring/stroke_recogniser",
        ("padding is attended to", "attn_mask=mask[:, None, None]", "attn_mask=None"),
        ("the recogniser knows no order", "strokes + self.place[mask.nonzero()[:, 1]]", "strokes"),
        ("the recogniser judges with noise", "if self.training:", "if True:"),
    ),
    *planted(
        METRICS,
        "metrics::memorisation_compares_medians_and_counts_what_is_nearer_than_real science_scores",
        ("copies are looked for among generated drawings", "theirs, _ = nearest_distances(real, training)",
         "theirs, _ = nearest_distances(generated, training)"),
        ("a copy is nearer than a tenth", "np.quantile(theirs, 0.01)", "np.quantile(theirs, 0.1)"),
        ("density and coverage are of real drawings", "density_and_coverage(a, b)", "density_and_coverage(b, a)"),
        ("the share of KID is inverted", "value / shuffled if shuffled > 0", "shuffled / value if shuffled > 0"),
        ("copies and real drawings are exchanged", "memorisation(ours.features, reference.real.features,",
         "memorisation(reference.real.features, ours.features,"),
        ("scored drawings and real ones are exchanged", "picture_scores(ours.features, real.features,",
         "picture_scores(real.features, ours.features,"),
        ("real drawings are counted as recognised", '{"generated": ours, "real": real,',
         '{"generated": real, "real": ours,'),
        ("copied strokes are looked for in real drawings", "stroke_copies(generated, reference.training_strokes)",
         "stroke_copies(reference.real_drawings, reference.training_strokes)"),
    ),
    *planted(
        REFERENCE,
        "metrics::recognisability_counts_the_best_and_the_best_five "
        "scoring/reference::recognised_after_shows_each_beginning_and_keeps_what_is_finished",
        ("recognised means the best six", "(logits > own).sum(axis=1) < best", "(logits > own).sum(axis=1) <= best"),
        ("a drawing is recognised before it is shown", "beginnings = [drawing[:k] for", "beginnings = [drawing for"),
    ),
    *planted(
        STATISTICS,
        "scoring/stroke_statistics::shuffled_strokes_keep_every_position_mix_the_drawings_and_are_those_of_the_"
        "published_figures scoring/stroke_statistics::every_distance_of_two_drawings_is_its_closed_form",
        ("independent strokes know of each other", "drawings[rng.choice(donors[k])][k] for k in range(num_strokes)",
         "drawings[donors[num_strokes - 1][0]][k] for k in range(num_strokes)"),
        ("strokes are counted one short", "wasserstein_1(generated.num_strokes, real.num_strokes)",
         "wasserstein_1(generated.num_strokes - 1, real.num_strokes)"),
    ),
    *planted(
        COPIES,
        "scoring/copies",
        ("a copy is of one stroke", "FIRST_STROKES = 3", "FIRST_STROKES = 1"),
        ("a copy is nearer than the median", "np.quantile(self.apart, quantile)", "np.quantile(self.apart, 0.5)"),
        ("pairs are numbered among those compared", "int(training.rows[nearest[i]])", "int(nearest[i])"),
        ("training drawings are near to themselves", "_nearest(self.points[rows], self.points, themselves=rows)",
         "_nearest(self.points[rows], self.points)"),
        ("copies are counted by those copied", "len(copied) / len(distances)", "len(set(copied)) / len(distances)"),
    ),
    *planted(
        LOSSES,
        "held_out_losses",
        ("the Gaussian forgets the deviations", "* (1 - self.variance) /", "* self.variance /"),
        ("endings are not smoothed", "(ended + 1) / (reached + 2)", "ended / reached.clamp(min=1)"),
        ("held-out and training drawings are exchanged", '{"held_out": stroke_set([data.test], *form)',
         '{"held_out": stroke_set([data.train], *form)'),
    ),
    *planted(
        AVERAGES,
        "metrics::over_seeds_gives_mean_and_deviation_beside_each_figure_that_differs",
        ("seeds have a deviation over N", "np.std(column, axis=0, ddof=1)", "np.std(column, axis=0)"),
    ),
    *planted(
        OFFICIAL,
        "official_drawings::the_command_writes_what_is_shipped_checks_it_and_replaces_no_other_file",
        ("the leak-free list leaks", 'sorted(set(indices["test"]) - set(indices["train"]))',
         'sorted(set(indices["test"]))'),
    ),
    *planted(
        "families/mixture.py",
        f"{ORACLES}::a_mixture_is_the_sum_of_its_gaussians",
        ("components of a mixture are alike", "-torch.logsumexp(log_weight + each.sum(-1), -1)",
         "-torch.logsumexp(each.sum(-1), -1)"),
        ("a density forgets its deviations", "distance.square() - log_deviation -", "distance.square() -"),
    ),
    *planted(
        "families/vae.py",
        f"{ORACLES}::the_bound_is_below_the_likelihood_and_reaches_it_at_the_true_posterior",
        ("the KL is halved", "kl = 0.5 * (", "kl = 0.25 * ("),
        ("the bound is a bonus", "return nats + kl", "return nats - kl"),
    ),
    *planted(
        "families/gan.py",
        f"{ORACLES}::neither_player_moves_the_other {ORACLES}::a_generator_against_a_point_lands_on_it",
        ("the discriminator moves the generator", "[side.detach().requires_grad_(True)", "[side.requires_grad_(True)"),
        ("the generator helps the discriminator", "name: parameter.detach() for", "name: parameter for"),
        ("the generator wants to be found out", "F.softplus(better)", "F.softplus(-better)"),
    ),
    *planted(
        "families/energy.py",
        f"{ORACLES}::the_energy_score_is_least_for_draws_from_the_data_itself",
        ("draws need not differ", "return away - 0.5 *", "return away - 0.0 *"),
    ),
    *planted(
        "families/vocabulary.py",
        f"{ORACLES}::a_vocabulary_spells_what_it_sounds",
        ("levels spell the same", "rest = rest - book[codes[-1]]", "rest = rest - 0 * book[codes[-1]]"),
    ),
    *planted(
        "families/strokes.py",
        "families/families::a_stroke_is_judged_by_those_before_it_alone",
        ("drawing reads another history than training", "return self.extend(self.reduce(context), [], state.denoiser)",
         "return self.extend(self.reduce(context).roll(1, -1), [], state.denoiser)"),
    ),
    *planted(
        "families/bayes.py",
        f"{ORACLES}::bayes_by_hand {ORACLES}::a_chain_is_found_again "
        f"{ORACLES}::samples_have_the_network_s_probabilities_and_obey_what_is_given",
        ("the tree is the least likely", "max(((i, j) for i", "min(((i, j) for i"),
        ("what is given is not divided by", "return both / alone", "return both"),
        ("samples do not obey", "self.tables[column][before] * below[column]", "self.tables[column][before]"),
    ),
    *planted(
        "words/clips.py",
        f"{VIDEO}::a_clip_ends_with_the_picture_of_the_recogniser_and_loses_no_ink_on_the_way "
        f"{VIDEO}::a_clip_knows_neither_place_nor_size_nor_how_many_points_strokes_have",
        ("a clip dwells on its end", "(np.arange(1, num_frames + 1) / num_frames)",
         "(np.arange(1, num_frames + 1) / num_frames) ** 0.5"),
        ("a clip knows where a thing stands", "low, extent = points.min(axis=0),", "low, extent = np.zeros(2),"),
    ),
    *planted(
        "words/video_network.py",
        f"{VIDEO}::attention_is_divided_and_no_frame_sees_a_later_one {VIDEO}::new_ink_is_seen_once",
        ("a frame sees later ones", "self.time(x.transpose(1, 2).flatten(0, 1), causal=True)",
         "self.time(x.transpose(1, 2).flatten(0, 1), causal=False)"),
        ("time is mixed with space", "by_patch = self.time(x.transpose(1, 2).flatten(0, 1), causal=True)",
         "by_patch = self.time(x.mean(2, keepdim=True).expand_as(x).transpose(1, 2).flatten(0, 1), causal=True)"),
        ("old ink is new in every frame", "avg_pool2d((ink - before)", "avg_pool2d((ink - 0 * before)"),
    ),
    *planted(
        "words/ink.py",
        f"{VIDEO}::ink_is_the_same_whatever_the_recording {VIDEO}::thin_lines_stay_connected_and_one_px_wide "
        f"{VIDEO}::long_videos_and_those_without_still_paper_are_refused",
        ("lines are not thinned", "_segments(thinned(appeared >= 0), appeared)", "_segments(appeared >= 0, appeared)"),
        ("the last ink is the first", "len(self.times) - self.count, -1", "self.count, -1"),
        ("an hour of video is read", "if seconds > MOST_SECONDS:", "if seconds > 99 * MOST_SECONDS:"),
        ("a film of the world is a drawing", "if changed.mean() > CUT:", "if changed.mean() > 2:"),
    ),
    *planted(
        "words/read_back.py",
        f"{VIDEO}::what_was_read_is_said_as_a_prompt_that_means_it",
        ("two of a kind are one", "list(categories).count(category)", "min(1, list(categories).count(category))"),
    ),
]  # fmt: skip


def copy_checkout(to: Path) -> None:
    """Copy what git tracks or would track, and the drawings packed before, which cost time and no fault is in."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    if (ROOT / "data/cache").is_dir():
        shutil.copytree(ROOT / "data/cache", to / "data/cache")


def _pytest(folder: Path, files: Sequence[str]) -> None:
    """Be pytest in a checkout, with what it prints in a file of it."""
    with open(folder / OUTPUT, "w") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    os.chdir(folder)
    sys.dont_write_bytecode = False  # pytest's own takes longest
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.path[:] = [part for part in sys.path if not Path(part or ".").resolve().is_relative_to(ROOT / "tests")]
    sys.path[:] = [part for part in sys.path if Path(part or ".").resolve() != ROOT]
    sys.exit(int(pytest.main(["-x", "-q", "--tb=no", "-p", "no:cacheprovider", *files])))


def run_tests(folder: Path, files: Sequence[str]) -> tuple[int | None, str]:
    """Return pytest's exit code over test files of a checkout, and the first test that failed or what else happened.

    A forked process runs them: what is imported here, from outside the checkout, it need not import again.
    """
    process = multiprocessing.get_context("fork").Process(target=_pytest, args=(folder, files))
    process.start()
    process.join(SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
        return 1, f"more than {SECONDS} s"
    text = (folder / OUTPUT).read_text(encoding="utf-8", errors="replace").strip()
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", text, re.MULTILINE)
    return process.exitcode, failed[1] if failed else text.rpartition("\n")[2]


def _write(path: Path, text: str) -> None:
    """Write a source file that no bytecode is of: Python knows its age in seconds, and a fault may be as long."""
    later = path.stat().st_mtime + 10
    path.write_text(text, encoding="utf-8")
    os.utime(path, (later, later))


def is_caught(folder: Path, fault: Fault) -> bool:
    """Plant a fault in a copy of the checkout, run its tests, put the file back, and print what became of it."""
    path, began = folder / fault.path, time.perf_counter()
    whole = path.read_text(encoding="utf-8")
    _write(path, whole.replace(fault.old, fault.new))
    code, where = run_tests(folder, fault.tests)
    _write(path, whole)
    words = {0: "ESCAPED", 1: "caught"}.get(code, "BROKEN")
    print(f"{words:7}  {fault.name} ({fault.path}, {time.perf_counter() - began:.0f} s): {where}", flush=True)
    return code == 1


def misplaced(faults: Sequence[Fault]) -> list[str]:
    """Return the names of faults whose old text its file does not hold exactly once."""
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path in {fault.path for fault in faults}}
    return [f"{fault.path}: {fault.name}" for fault in faults if texts[fault.path].count(fault.old) != 1]


def main(argv: Sequence[str] | None = None) -> int:
    """Plant the faults that the command line names and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME", default="", help="faults with this in their name or file")
    parser.add_argument("--list", action="store_true", help="print the faults and plant none")
    arguments = parser.parse_args(argv)
    chosen = [fault for fault in FAULTS if arguments.only in fault.name or arguments.only in fault.path]
    if arguments.list:
        print("\n".join(f"{fault.path}: {fault.name}" for fault in chosen))
        return 0
    if not chosen:
        print(f"no fault has '{arguments.only}' in its name", file=sys.stderr)
        return 2
    if lost := misplaced(chosen):
        print("not found exactly once, so it cannot be planted:", *lost, sep="\n", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_checkout(folder)
        files = sorted({file for fault in chosen for file in fault.tests})
        code, where = run_tests(folder, files)
        if code != 0:
            print(f"without any fault the tests fail: {where}", file=sys.stderr)
            return 2
        caught, began = 0, time.perf_counter()
        for number, fault in enumerate(chosen, start=1):
            caught += is_caught(folder, fault)
            left = (time.perf_counter() - began) / number * (len(chosen) - number)
            print(f"         {caught} of {number} caught, {left / 60:.0f} minutes left", flush=True)
    print(f"{caught} of {len(chosen)} planted faults caught")
    return 0 if caught >= SHARE * len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
