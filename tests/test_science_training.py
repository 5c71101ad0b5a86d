"""Laws of an update and of what is kept: learning rate, gradients, optimizer, moving average, validation, weights."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY
from torch import Tensor

import train_diffusion
from config import TrainConfig
from diffusion_model import StrokeDiffusionModel, TrainedModel, load_weights
from drawings.batches import Batch, StrokeSet, TrainingData, stroke_set, training_batches
from drawings.packed import PackedDrawings
from stroke_tokens import Whitening
from train_diffusion import Run, learning_rate_at, losses, parameter_groups, train

CONFIG = TrainConfig(steps=40, warmup=5, batch_strokes=96, learning_rate=0.01, ema_decay=0.7, sample_every=0)
SHAPE = dataclasses.replace(TINY, dropout=0.3)


def drawings_at_random(count: int, seed: int) -> PackedDrawings:
    """Drawings of 1 to 5 strokes between random points."""
    rng = np.random.default_rng(seed)
    return PackedDrawings.from_drawings(
        [[rng.integers(0, 256, (rng.integers(2, 9), 2)) for _ in range(rng.integers(1, 6))] for _ in range(count)]
    )


@pytest.fixture(scope="module")
def data() -> TrainingData:
    """A target, category 1, and a companion, category 0, that has more drawings."""
    form = (TINY.num_points, TINY.max_strokes)
    sets = [stroke_set([drawings_at_random(60, 1), drawings_at_random(90, 2)], [1, 0], *form),
            stroke_set([drawings_at_random(139, 3)], [1], *form)]  # fmt: skip
    return TrainingData(sets[0], sets[1], ("bus", "cat"), [1], {"data": ["random"]}, "at random")


def new_run(data: TrainingData, out: Path, **changes: float) -> Run:
    torch.manual_seed(0)
    model = StrokeDiffusionModel(SHAPE, num_categories=2)
    for parameter in model.parameters():  # a new network says 0 to everything
        torch.nn.init.normal_(parameter, std=0.1)
    whitening = Whitening.fit(data.train.sample_vectors())
    start = TrainedModel(model, whitening, data.categories, {"start": {}, "lineage": []})
    return Run(dataclasses.replace(CONFIG, **changes), data, start, out, torch.device("cpu"))  # type: ignore


def batch_of(data: TrainingData, count: int = 24) -> Batch:
    """Drawings of both categories, in turn."""
    return data.train.batch(np.arange(count) // 2 + data.train.starts[np.arange(count) % 2])


def copied(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def gradients(run: Run) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in run.model.named_parameters() if p.grad is not None}


def norm_of(vectors: dict[str, Tensor]) -> float:
    return math.sqrt(sum(float(vector.square().sum()) for vector in vectors.values()))


# ---- learning rate and optimizer


def test_the_learning_rate_warms_up_in_a_line_and_falls_by_half_a_cosine_to_nothing() -> None:
    config = dataclasses.replace(CONFIG, steps=105)
    rates = np.array([learning_rate_at(step, config) for step in range(106)])
    np.testing.assert_allclose(rates[:5], 0.01 * np.arange(1, 6) / 5)
    assert rates[5] == pytest.approx(0.01)
    assert rates[30] == pytest.approx(0.01 * (1 + math.cos(math.pi / 4)) / 2)
    assert rates[55] == pytest.approx(0.005)
    assert rates[104] < 1e-5
    assert rates[105] == pytest.approx(0, abs=1e-12)


def test_every_update_is_made_at_the_learning_rate_of_its_step(data: TrainingData, tmp_path: Path) -> None:
    run = new_run(data, tmp_path)
    for step in (0, 3, 5, 20, 39):
        run.step = step
        figures = run.update(batch_of(data))
        assert figures["learning_rate"] == learning_rate_at(step, run.config)
        assert {group["lr"] for group in run.optimizer.param_groups} == {learning_rate_at(step, run.config)}
        assert run.step == step + 1


def test_gradients_are_cut_to_norm_1_and_smaller_ones_stay(data: TrainingData, tmp_path: Path) -> None:
    large = new_run(data, tmp_path, stop_weight=100.0)
    assert large.update(batch_of(data))["grad_norm"] > 3
    assert norm_of(gradients(large)) == pytest.approx(1, abs=1e-3)
    small = new_run(data, tmp_path, stop_weight=0.0)
    torch.nn.init.zeros_(small.model.write_noise.weight)
    figures = small.update(batch_of(data))
    assert figures["grad_norm"] < 1
    assert norm_of(gradients(small)) == pytest.approx(figures["grad_norm"], rel=1e-4)


def test_an_update_is_adamw_with_decay_of_matrices_alone(data: TrainingData, tmp_path: Path) -> None:
    """Loshchilov and Hutter 2019, algorithm 2, with betas 0.9 and 0.98, written out beside the optimizer."""
    run = new_run(data, tmp_path, weight_decay=2.0)
    expected = copied(run.model)
    first = {name: torch.zeros_like(p) for name, p in expected.items()}
    second = {name: torch.zeros_like(p) for name, p in expected.items()}
    plain = ("category.weight", "position")
    for step in range(3):
        rate = run.update(batch_of(data))["learning_rate"]
        for name, gradient in gradients(run).items():
            if gradient.ndim == 2 and name not in plain:
                expected[name] *= 1 - rate * 2.0
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.98 * second[name] + 0.02 * gradient**2
            upward = (second[name] / (1 - 0.98 ** (step + 1))).sqrt() + 1e-8
            expected[name] -= rate * first[name] / (1 - 0.9 ** (step + 1)) / upward
    for name, parameter in run.model.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], rtol=1e-4, atol=1e-6, msg=name)


def test_every_parameter_is_in_one_group_of_the_optimizer(data: TrainingData, tmp_path: Path) -> None:
    model = new_run(data, tmp_path).model
    groups = parameter_groups(model, 0.1)
    assert sorted(id(p) for group in groups for p in group["params"]) == sorted(map(id, model.parameters()))


def test_the_stop_loss_weighs_as_much_as_said(data: TrainingData, tmp_path: Path) -> None:
    """Clipping scales all gradients alike: beside those of the denoiser those of the stop head grow with its weight."""
    shares = []
    for weight in (0.0, 0.1, 0.4):
        run = new_run(data, tmp_path, stop_weight=weight)
        run.update(batch_of(data))
        found = gradients(run)
        shares.append(float(found["stop.bias"].norm() / found["write_noise.bias"].norm()))
    assert shares[0] == 0
    assert shares[2] / shares[1] == pytest.approx(4, rel=1e-3)


# ---- what an update learns from


class Watched:
    """What the network of a run is told and asked, update by update."""

    def __init__(self, run: Run) -> None:
        self.tokens: list[Tensor] = []
        self.category: list[Tensor] = []
        self.affine: list[Tensor] = []
        self.noisy: list[Tensor] = []
        self.training: list[bool] = []
        context, denoise_all = run.model.context, run.model.denoise_all

        def told(tokens: Tensor, category: Tensor, affine: Tensor | None = None) -> Tensor:
            assert affine is not None
            for seen, value in ((self.tokens, tokens), (self.category, category), (self.affine, affine)):
                seen.append(value)
            self.training.append(run.model.training)
            return context(tokens, category, affine)

        def asked(x_t: Tensor, t: Tensor, known: Tensor) -> Tensor:
            self.noisy.append(x_t)
            return denoise_all(x_t, t, known)

        run.model.context, run.model.denoise_all = told, asked  # type: ignore[method-assign]


def test_updates_learn_from_the_training_drawings_in_the_order_of_the_seed(data: TrainingData, tmp_path: Path) -> None:
    run = new_run(data, tmp_path, steps=4, companion_share=0.3, balance=0.5, seed=7)
    run.config = dataclasses.replace(run.config, companions="bus")
    taken, update = [], run.update
    run.update = lambda batch: (taken.append(batch), update(batch))[1]  # type: ignore
    train(run)
    wanted = training_batches(data.train, run.weights, run.config.batch_strokes, 7)
    assert len(taken) == 4
    for batch, indices in zip(taken, wanted, strict=False):
        assert torch.equal(batch.vectors, data.train.batch(indices).vectors)
        assert torch.equal(batch.category, data.train.batch(indices).category)


def test_companions_have_their_share_and_targets_are_balanced_as_said(data: TrainingData, tmp_path: Path) -> None:
    for companions, share in (("bus", 0.3), ("", 0.0)):
        run = new_run(data, tmp_path, companions=companions, companion_share=0.3)  # type: ignore
        assert run.weights.tolist() == pytest.approx([1 - share, share])
    both = dataclasses.replace(data, targets=[0, 1])
    for balance in (0.0, 0.5, 1.0):
        weights = new_run(both, tmp_path, balance=balance).weights
        assert weights[1] / weights[0] == pytest.approx((90 / 60) ** balance)


def test_half_of_the_drawings_are_changed_and_the_network_is_told_how(data: TrainingData, tmp_path: Path) -> None:
    run = new_run(data, tmp_path, augmentation=0.2, history_noise=0.0, category_dropout=0.0, parts=3)
    watched = Watched(run)
    batch = batch_of(data, 90)
    run.update(batch)
    for number in range(3):
        tokens, affine, own = watched.tokens[number], watched.affine[number], batch.part(number, 3)
        still = (affine == 0).all(1)
        assert 7 < still.sum() < 23
        assert affine[~still].std().item() == pytest.approx(0.2, rel=0.3)
        moved = ((tokens - run.whitening.encode(own.vectors)).abs() * own.mask[..., None]).amax((1, 2))
        assert moved[still].max() < 1e-3
        # a drawing of one straight stroke can be where it was
        assert (moved[~still] > 0.02).float().mean() > 0.8


def test_every_update_part_and_seed_has_noise_of_its_own(data: TrainingData, tmp_path: Path) -> None:
    seen = []
    for seed in (0, 1):
        run = new_run(data, tmp_path, parts=2, augmentation=0.0, seed=seed, learning_rate=0.0)
        watched = Watched(run)
        twice = Batch(*(torch.cat([part[:1]] * 8) for part in dataclasses.astuple(batch_of(data))))
        for _ in range(2):
            run.update(twice)
        seen += watched.noisy
    assert len(seen) == 2 * 2 * 2
    for a, b in itertools.combinations(seen, 2):
        assert not torch.isclose(a, b).any()


def test_the_gradient_depends_neither_on_parts_nor_on_the_update_before(data: TrainingData, tmp_path: Path) -> None:
    """But for noise: the stop loss has none where the history has none, and alone moves the head that decides it."""
    losses_found, gradients_found = [], []
    for parts in (1, 3, 25):
        run = new_run(data, tmp_path, parts=parts, history_noise=0.0, category_dropout=0.0, augmentation=0.0,
                      learning_rate=0.0)  # fmt: skip
        for module in run.model.modules():
            if hasattr(module, "dropout"):
                module.dropout = 0.0
        for _ in range(2):
            figures = run.update(batch_of(data, 21))
            losses_found.append(figures["stop_loss"])
            gradients_found.append(gradients(run)["stop.weight"] * max(1.0, figures["grad_norm"]))
    assert losses_found == pytest.approx([losses_found[0]] * 6, rel=1e-5)
    for gradient in gradients_found[1:]:
        torch.testing.assert_close(gradient, gradients_found[0], rtol=1e-3, atol=1e-6)


def test_dropout_is_on_in_updates_also_after_a_validation(data: TrainingData, tmp_path: Path) -> None:
    run = new_run(data, tmp_path)
    watched = Watched(run)
    run.update(batch_of(data))
    run.validate()
    run.update(batch_of(data))
    assert watched.training
    assert all(watched.training)


# ---- the moving average and the weights file


def test_the_moving_average_is_that_of_the_weights_after_each_update(data: TrainingData, tmp_path: Path) -> None:
    run = new_run(data, tmp_path)
    expected: dict[str, Tensor] = {}
    for _ in range(4):
        run.update(batch_of(data))
        after = copied(run.model)
        expected = {name: 0.7 * expected[name] + 0.3 * after[name] if expected else after[name] for name in after}
    for name, parameter in run.averaged_model.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], rtol=1e-5, atol=1e-7)


def test_the_weights_file_is_the_moving_average_and_not_the_network_that_learns(
    data: TrainingData, tmp_path: Path
) -> None:
    run = new_run(data, tmp_path)
    for _ in range(3):
        run.update(batch_of(data))
    run.validate()
    saved = load_weights(tmp_path / "weights.safetensors")
    averaged, live = copied(run.averaged_model), copied(run.model)
    for name, parameter in saved.model.named_parameters():
        assert torch.equal(parameter, averaged[name].bfloat16().float()), name
    differing = [not torch.equal(p, live[name].bfloat16().float()) for name, p in saved.model.named_parameters()]
    assert np.mean(differing) > 0.9
    for name in ("mean", "basis", "scale"):
        assert torch.equal(getattr(saved.whitening, name), getattr(run.whitening, name))
    assert saved.categories == data.categories


# ---- validation


def contents(strokes: StrokeSet) -> list[bytes]:
    return [strokes.batch(np.array([index])).vectors.numpy().tobytes() for index in range(len(strokes))]


def test_validation_sees_every_held_out_drawing_once_and_no_other(data: TrainingData, tmp_path: Path) -> None:
    run = new_run(data, tmp_path)
    seen = [
        vectors[:length].numpy().tobytes() for batch in run.validation
        for vectors, length in zip(batch.vectors, batch.lengths, strict=True)
    ]  # fmt: skip
    assert sorted(seen) == sorted(contents(data.held_out))
    assert not set(seen) & set(contents(data.train))
    assert {int(category) for batch in run.validation for category in batch.category} == {1}


def test_of_many_held_out_drawings_some_are_seen_that_lie_evenly_among_all(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_diffusion, "VALIDATION_DRAWINGS", 24)
    seen = {
        vectors[:length].numpy().tobytes() for batch in new_run(data, tmp_path).validation
        for vectors, length in zip(batch.vectors, batch.lengths, strict=True)
    }  # fmt: skip
    places = [place for place, content in enumerate(contents(data.held_out)) if content in seen]
    assert places == [6 * number for number in range(24)]


def test_validation_is_the_plain_loss_of_the_moving_average_in_evaluation(data: TrainingData, tmp_path: Path) -> None:
    """Written out: no dropout, no noise on the history, no weights, no change of a drawing; the mean over strokes."""
    run = new_run(data, tmp_path, precision="float32")  # type: ignore
    for _ in range(3):
        run.update(batch_of(data))
    result = run.validate()
    for parameter in run.model.parameters():
        parameter.data.fill_(torch.nan)
    assert run.validate() == result

    plain = TrainConfig(category_dropout=0.0, history_noise=0.0, scale_weight=0.0, min_snr=0.0, first_stroke_draws=0)
    model = run.averaged_model.eval()
    generator, sums, strokes = torch.Generator().manual_seed(2_718_281), np.zeros(2), 0
    for batch in run.validation:
        with torch.no_grad():
            both = losses(model, run.whitening, batch, run.alpha_bar, plain, generator)
        sums += np.array([float(part) for part in both]) * int(batch.lengths.sum())
        strokes += int(batch.lengths.sum())
    assert list(result.values()) == pytest.approx((sums / strokes).tolist(), rel=1e-6)
    assert strokes == data.held_out.num_strokes(np.arange(len(data.held_out))).sum()


def test_validation_compares_runs_of_other_settings(data: TrainingData, tmp_path: Path) -> None:
    settings = [
        {}, {"scale_weight": 2.0}, {"min_snr": 5.0}, {"history_noise": 1.0}, {"category_dropout": 0.9},
        {"first_stroke_draws": 9}, {"augmentation": 0.5}, {"seed": 5},
    ]  # fmt: skip
    found = [new_run(data, tmp_path, **setting).validate() for setting in settings]
    assert all(result == found[0] for result in found)
