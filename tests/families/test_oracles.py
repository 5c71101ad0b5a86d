"""Every family against an oracle: data of which the right answer is known."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from diffusion_process import cosine_alpha_bar
from drawings.packed import PackedDrawings
from families import patches
from families.bayes import BayesTree, chow_liu, mutual_information, probabilities
from families.energy import energy_score
from families.gan import adversarial_loss
from families.interface import Material
from families.mixture import mixture_nats
from families.pictures import PARTS, IndependentPixels, PictureBatch, binomial_nats, ink_nats, levels_of
from families.points import to_drawing, to_sequence
from families.sketch_rnn import CLOSEST, bivariate_nats
from families.vae import negative_bound
from families.vocabulary import nearest_codes, residual_codebooks, sum_of_codes

HOUSE = [
    np.array([[0, 255], [0, 100], [120, 0], [255, 100], [255, 255]], np.uint8),
    np.array([[100, 255], [100, 180]], np.uint8),
]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------ maximum likelihood


def test_a_mixture_learned_from_gaussian_data_is_that_gaussian() -> None:
    x = torch.tensor([1.0, -2.0]) + torch.tensor([0.5, 2.0]) * normal(4000, 2)
    mean, spread = torch.zeros(1, 2, requires_grad=True), torch.zeros(1, 2, requires_grad=True)
    optimizer = torch.optim.Adam([mean, spread], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        mixture_nats(x, torch.zeros(1), mean, spread).mean().backward()
        optimizer.step()
    assert torch.allclose(mean[0], x.mean(0), atol=0.02)
    assert torch.allclose(spread[0].exp(), x.std(0), atol=0.02)


def test_a_mixture_is_the_sum_of_its_gaussians() -> None:
    weight, mean, spread, x = torch.tensor([0.3, 0.7]), normal(2, 3), 0.3 * normal(2, 3, seed=1), normal(5, 3, seed=2)
    density = sum(w * multivariate_normal(m, np.diag(np.exp(2 * s))).pdf(x)
                  for w, m, s in zip(weight.numpy(), mean.numpy(), spread.numpy(), strict=True))  # fmt: skip
    assert np.allclose(mixture_nats(x, weight.log(), mean, spread), -np.log(density), atol=1e-5)


def test_the_density_of_offsets_is_that_of_correlated_gaussians() -> None:
    out, x = normal(4, 12), normal(4, 2, seed=1)
    weights, mean_x, mean_y, spread_x, spread_y, rho = out.unflatten(-1, (6, 2)).unbind(-2)
    share, rho = torch.softmax(weights, -1), CLOSEST * rho.tanh()
    for row in range(4):
        density = 0.0
        for m in range(2):
            sx, sy, r = spread_x[row, m].exp().item(), spread_y[row, m].exp().item(), rho[row, m].item()
            covariance = [[sx * sx, r * sx * sy], [r * sx * sy, sy * sy]]
            own = multivariate_normal([mean_x[row, m], mean_y[row, m]], covariance)
            density += share[row, m].item() * own.pdf(x[row])
        assert math.isclose(bivariate_nats(x, out)[row].item(), -math.log(density), rel_tol=1e-4)


def test_levels_of_a_pixel_have_probability_1_together() -> None:
    levels = torch.arange(PARTS + 1.0)
    for logit in (-6.0, 0.0, 1.5):
        assert math.isclose((-binomial_nats(levels, torch.tensor(logit))).exp().sum().item(), 1, rel_tol=1e-5)
        chance = (-ink_nats(levels, torch.tensor(logit), torch.arange(1.0, PARTS + 1) / 136)).exp()
        assert math.isclose(chance.sum().item(), 1, rel_tol=1e-5)
        assert math.isclose(chance[0].item(), 1 / (1 + math.exp(logit)), rel_tol=1e-5)


def test_independent_pixels_are_counts_and_no_network_is_needed() -> None:
    side = PackedDrawings.from_drawings([HOUSE] * 3 + [HOUSE[:1]])
    family = IndependentPixels(["cat"])
    family.prepare(Material(("cat",), (side,), (side,)))
    levels = levels_of([HOUSE])
    shares = (levels_of(list(side)) == levels).mean(axis=0)  # how often each pixel is as in the house
    smoothed = (4 * shares + family.SMOOTHING) / (4 + family.SMOOTHING * (PARTS + 1))
    found = family.surprise(PictureBatch(torch.from_numpy(levels).float(), torch.tensor([0])))
    assert math.isclose(found.item(), -np.log(smoothed).sum(), rel_tol=0.01)  # kept in bfloat16
    assert torch.allclose(family.chances().sum(1), torch.ones(1, 64, 64))


# ------------------------------------------------------------------ variational bound


def test_the_bound_is_below_the_likelihood_and_reaches_it_at_the_true_posterior() -> None:
    # x = w z + noise of deviation s: p(x) = N(0, w w' + s^2), p(z | x) = N(w'x / (w'w + s^2), s^2 / (w'w + s^2))
    w, s, x = torch.tensor([1.5, -0.5, 0.3]), 0.6, normal(6, 3)
    truth = -multivariate_normal(np.zeros(3), np.outer(w, w) + s * s * np.eye(3)).logpdf(x)
    precision = float(w @ w + s * s)
    noise = normal(6, 20_000, 1, seed=1)

    def bound(shift: float, widen: float) -> np.ndarray:
        mean = (x @ w / precision)[:, None] + shift
        spread = torch.full((6, 1), math.log(widen * s / math.sqrt(precision)))
        z = mean[:, None] + spread.exp()[:, None] * noise
        return negative_bound(x, z * w, torch.full((3,), math.log(s)), mean, spread).numpy()

    assert np.allclose(bound(0, 1), truth, atol=0.03)
    for shift, widen in ((0.5, 1), (0, 2), (-0.3, 0.5)):
        assert (bound(shift, widen) > truth + 0.05).all()


# ------------------------------------------------------------------ adversaries and scores


class _Judge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        return self.layers(torch.cat([x, known], -1))


def test_a_generator_against_a_point_lands_on_it() -> None:
    torch.manual_seed(0)
    judge, generator, point = _Judge(), nn.Linear(4, 2), torch.tensor([1.0, -0.5])
    optimizer = torch.optim.Adam([*judge.parameters(), *generator.parameters()], lr=1e-2, betas=(0.0, 0.98))
    for _ in range(600):
        optimizer.zero_grad()
        adversarial_loss(judge, point.expand(64, 2), generator(torch.randn(64, 4)), torch.zeros(64, 1), 1.0).backward()
        optimizer.step()
    assert (generator(torch.randn(200, 4)) - point).norm(dim=-1).mean() < 0.15


def test_neither_player_moves_the_other() -> None:
    judge, real, fake, known = _Judge(), normal(8, 2, seed=1), normal(8, 2).requires_grad_(), normal(8, 1, seed=2)
    known.requires_grad_()
    adversarial_loss(judge, real, fake, known, 0.0).backward()
    x, softplus = fake.detach().requires_grad_(), nn.functional.softplus
    better = judge(real, known.detach()) - judge(x, known.detach())
    (for_generator,) = torch.autograd.grad(softplus(better).mean(), x, retain_graph=True)
    for_judge = torch.autograd.grad(softplus(-better).mean(), list(judge.parameters()))
    assert known.grad is None
    for found, wanted in zip([fake, *judge.parameters()], [for_generator, *for_judge], strict=True):
        assert found.grad is not None
        assert torch.allclose(found.grad, wanted, atol=1e-6)


def test_the_energy_score_is_least_for_draws_from_the_data_itself() -> None:
    x = normal(4000, 2)
    right, shifted, narrow = (
        energy_score(x, shift + width * normal(4000, 4, 2, seed=1)).mean()
        for shift, width in ((0, 1), (0.5, 1), (0, 0.3))
    )
    assert right < shifted - 0.03
    assert right < narrow - 0.03
    assert energy_score(x, x[:, None].expand(-1, 4, -1)).abs().max() < 1e-5


# ------------------------------------------------------------------ vocabulary, diffusion, sequences


def test_a_vocabulary_spells_what_it_sounds() -> None:
    books = torch.stack([100 * normal(6, 5), 1 * normal(6, 5, seed=1), 0.01 * normal(6, 5, seed=2)])
    codes = torch.tensor(list(product(range(6), repeat=3)))
    assert torch.equal(nearest_codes(sum_of_codes(codes, books), books), codes)
    few = normal(4, 5)
    learned = residual_codebooks(few.repeat(50, 1), 2, 8)
    assert torch.allclose(sum_of_codes(nearest_codes(few, learned), learned), few, atol=1e-4)


def test_denoising_a_single_point_lands_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    point, alpha_bar = normal(1, 12), cosine_alpha_bar(patches.TIMES)

    def exact(x: Tensor, t: Tensor, category: Tensor) -> Tensor:
        signal, noise = alpha_bar[t[0]].sqrt().float(), (1 - alpha_bar[t[0]]).sqrt().float()
        eps = (x.flatten(1) - signal * point) / noise
        more = torch.full((*x.shape[:2], 3), 9.0)  # what is written beside v is not v
        return torch.cat([(signal * eps - noise * point).unflatten(1, (-1, 4)), more], -1)

    states = patches.denoised(exact, 12, [0, 1], torch.zeros(2, dtype=torch.long), 0, 1.0, 4)  # type: ignore[arg-type]
    assert torch.allclose(states[-1], point.expand(2, -1), atol=1e-3)
    assert len(states) == patches.STEPS


def test_a_drawing_is_the_same_after_a_round_trip_through_offsets() -> None:
    back = to_drawing(*to_sequence(HOUSE))
    assert [len(stroke) for stroke in back] == [len(stroke) for stroke in HOUSE]
    assert np.allclose(np.concatenate(back), np.concatenate(HOUSE).astype(float) - HOUSE[0][0])


# ------------------------------------------------------------------ Bayes

COLUMNS = {"rain": ("no", "yes"), "wet": ("no", "yes"), "umbrella": ("no", "yes")}
ROWS = np.array([[0, 0, 0]] * 5 + [[0, 1, 0]] * 1 + [[1, 1, 1]] * 3 + [[1, 1, 0]] * 1)


def test_bayes_by_hand() -> None:
    tree = BayesTree.fit(COLUMNS, ROWS, smoothing=0.0)
    # of 10 days 4 rain; it is wet on all 4 and on 1 of the 6 others; of the 4 an umbrella is seen on 3
    assert tree.parents == (-1, 0, 0)
    assert math.isclose(tree.probability({"rain": 1}), 0.4)
    assert math.isclose(tree.probability({"wet": 1}), 0.4 * 1 + 0.6 / 6)
    assert math.isclose(tree.probability({"rain": 1}, {"wet": 1}), 0.4 / 0.5)
    assert math.isclose(tree.probability({"umbrella": 1, "wet": 1}), 0.4 * 0.75)
    assert math.isclose(tree.probability({"umbrella": 1}, {"wet": 1}), 0.3 / 0.5)
    assert tree.probability({"rain": 0}, {"rain": 1}) == 0
    with pytest.raises(ValueError, match="probability 0"):
        tree.probability({"wet": 1}, {"umbrella": 1, "rain": 0})


def test_smoothing_is_one_sighting_more_of_each_value() -> None:
    assert np.allclose(probabilities(np.array([0, 0, 1]), 3, 1.0), [3 / 6, 2 / 6, 1 / 6])


def test_probabilities_of_all_combinations_sum_to_1_and_marginals_are_their_sums() -> None:
    rng = np.random.default_rng(0)
    table = rng.integers(0, 2, (40, 3)) * (1, 1, 0) + rng.integers(0, 2, (40, 1)) * (0, 0, 1)
    tree = BayesTree.fit(COLUMNS, table)
    cases = {case: tree.probability(dict(zip(COLUMNS, case, strict=True))) for case in product((0, 1), repeat=3)}
    assert math.isclose(sum(cases.values()), 1)
    for name, place in zip(COLUMNS, range(3), strict=True):
        by_sum = [sum(p for case, p in cases.items() if case[place] == value) for value in (0, 1)]
        assert np.allclose(tree.marginal(name), by_sum)
    assert math.isclose(tree.log_likelihood(table), np.mean([math.log(cases[tuple(row)]) for row in table.tolist()]))


def test_columns_that_are_independent_say_nothing_about_each_other() -> None:
    both = np.array(list(product((0, 1), (0, 1, 2))))
    assert abs(mutual_information(both[:, 0], both[:, 1], (2, 3))) < 1e-12
    assert math.isclose(mutual_information(both[:, 0], both[:, 0], (2, 2)), math.log(2))


def test_a_chain_is_found_again() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2, 2000)
    b = np.where(rng.random(2000) < 0.1, 1 - a, a)
    c = np.where(rng.random(2000) < 0.1, 1 - b, b)
    assert chow_liu(np.stack([a, c, b], 1), [2, 2, 2]) == [-1, 2, 0]  # a - b - c


def test_samples_have_the_network_s_probabilities_and_obey_what_is_given() -> None:
    tree = BayesTree.fit(COLUMNS, ROWS)
    assert abs((tree.sample(20_000, 0)[:, 1] == 1).mean() - tree.probability({"wet": 1})) < 0.015
    rows = tree.sample(20_000, 0, {"wet": 1})
    assert (rows[:, 1] == 1).all()
    assert abs((rows[:, 0] == 1).mean() - tree.probability({"rain": 1}, {"wet": 1})) < 0.015
