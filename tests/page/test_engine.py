"""Laws of the page's engine, in a real browser: from the same numbers it draws what Python draws."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Page

from config import CHECKPOINTS, NETWORK_PATH, shipped_checkpoint
from dataset_utils import load_category
from diffusion_model import load_with_guide
from diffusion_process import cosine_alpha_bar, sampler_steps
from drawings.simplify import simplify_stroke
from oddity.strokes import shipped_threshold, stroke_losses
from rendering import feature_rasters
from sample_diffusion import StrokeRandomness, generate_drawings
from scoring.feature_network import describe_inputs, load_feature_network
from scoring.placement import likeliest_square, places, scores, sizes
from stroke_tokens import points_to_vectors, resample_strokes

DATA_DIR = os.environ.get("QUICKDRAW_DIR") or "embedded"
LONGEST = 24

pytest_plugins = ("browser_fixtures",)


@pytest.fixture(scope="module")
def real() -> list[list[np.ndarray]]:
    """A hundred held-out drawings."""
    held_out = load_category("cat", data_dir=DATA_DIR).test
    return [held_out.drawing(index) for index in range(100)]


def randomness(seed: int, index: int, first: int, dim: int) -> list[dict[str, Any]]:
    """The random numbers that Python takes for the strokes of a drawing from the `first` on."""
    strokes = []
    for k in range(first, LONGEST + 1):
        random = StrokeRandomness(seed, [index], k, dim)
        strokes.append({"uniform": float(random.uniform[0]), "normal": random.normal()[0].tolist()})
    return strokes


def furthest(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    """How far, in px, a point of one drawing is from the same point of the other; infinite for other strokes."""
    if [len(stroke) for stroke in first] != [len(stroke) for stroke in second]:
        return np.inf
    return max((float(np.abs(one - other).max()) for one, other in zip(first, second, strict=True)), default=0.0)


DRAW = """async ([category, prefix, randomness, steps]) => {
    const endings = randomness.map(() => ({ strokes: [], reason: "" }));
    const strokes = prefix.map((points) => ({ points, by: "you", official: true }));
    const job = engine.draw({ category, strokes, endings: endings.length, randomness, steps }, (event) => {
        if (event.type === "stroke") endings[event.ending].strokes.push(event.stroke.points);
        else endings[event.ending].reason = event.reason;
    });
    await job.done;
    return endings;
}"""


@pytest.mark.parametrize(
    ("category", "kept", "steps"),  # the last by the base, without steps as tuned
    [("cat", 0, ()), ("cat", 2, (9, 5, 4)), ("bus", 2, (20,)), ("rabbit", 3, (7,)), ("hot dog", 0, (7,))],
)
def test_from_the_same_noise_it_draws_the_strokes_of_python(
    engine: Page, category: str, kept: int, steps: tuple[int, ...]
) -> None:
    trained = load_with_guide(shipped_checkpoint(category))
    held_out = load_category(category, data_dir=DATA_DIR).test if kept else ()
    given = next((drawing[:kept] for drawing in held_out if 4 <= len(drawing) <= 12), [])

    def by_python(indices: Sequence[int]) -> list[list[np.ndarray]]:
        return generate_drawings(
            trained, category, indices, seed=5, steps=steps, guidance=trained.guidance, prefix=[given] * len(indices)
        ).drawings

    # Of some drawings rounding moves late strokes, by Python as well: three endings that are the same alone.
    steady = [i for i, drawing in enumerate(by_python(range(8))) if furthest(by_python([i])[0], drawing) < 2e-4]
    indices = steady[:3]
    assert len(indices) == 3
    expected = by_python(indices)
    numbers = [randomness(5, index, kept, trained.model.token_dim) for index in indices]
    asked = list(steps) or None  # none: as the model was tuned
    drawn = engine.evaluate(DRAW, [category, [stroke.tolist() for stroke in given], numbers, asked])
    assert sum(len(ending["strokes"]) for ending in drawn) > 3
    for ending, drawing in zip(drawn, expected, strict=True):
        strokes = drawing[kept:]
        assert ending["reason"] == "finished"
        assert [len(points) for points in ending["strokes"]] == [len(stroke) for stroke in strokes]
        for points, stroke in zip(ending["strokes"], strokes, strict=True):
            assert np.abs(np.array(points) - stroke).max() < 1e-2


@pytest.mark.parametrize(("name", "steps"), [("ddim", 4), ("ddim", 1), ("dpm-solver++", 4)])
def test_its_samplers_are_those_of_python(engine: Page, name: str, steps: int) -> None:
    program = """async ([name, noise, alphaBar, steps]) => {
        const { SAMPLERS } = await import('./engine/sampler.js');
        const velocity = async (x, t) => x.map((value, j) => Math.sin(value + j) + t / 1000);
        return [...await SAMPLERS[name](velocity, Float32Array.from(noise), alphaBar, steps, () => true)];
    }"""
    alpha_bar, noise = cosine_alpha_bar(), torch.randn(1, 64)
    walk = sampler_steps(name, lambda x, t: torch.sin(x + torch.arange(64)) + t / 1000, lambda: noise, alpha_bar, steps)
    drawn = engine.evaluate(program, [name, noise[0].tolist(), alpha_bar.tolist(), steps])
    torch.testing.assert_close(torch.tensor([drawn]), list(walk)[-1][0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("way", [(0.5, (0.0, 0.0)), (0.5, (80.0, 50.0)), (1.0, (0.0, 0.0)), (0.2, (150.0, 20.0))])
def test_what_was_begun_anywhere_is_placed_as_by_python(
    engine: Page, real: list[list[np.ndarray]], way: tuple[float, tuple[float, float]]
) -> None:
    trained, (scale, offset) = load_with_guide(shipped_checkpoint("cat")), way
    beginnings = [[stroke * scale + offset for stroke in real[k][:k]] for k in (1, 2, 3)]
    program = """async (beginnings) => {
        const { model } = await import('./engine/loading.js');
        const { likeliestSquare, places, scores, sizes } = await import('./engine/placement.js');
        const cat = await model("cat");
        const results = [];
        for (const strokes of beginnings) {
            const squares = [...sizes(strokes), ...places(strokes, sizes(strokes).at(-1).side)];
            const best = await likeliestSquare(cat, strokes);
            const numbers = [...squares, best].map(({ left, top, side }) => [left, top, side]);
            const before = await scores(cat, strokes.slice(0, -1), squares);
            results.push([numbers, (await scores(cat, strokes, squares, before)).losses]);
        }
        return results;
    }"""
    found = engine.evaluate(program, [[stroke.tolist() for stroke in strokes] for strokes in beginnings])
    for (squares, given), strokes in zip(found, beginnings, strict=True):
        expected = sizes(strokes, 255.0)
        expected += places(strokes, expected[-1].side, 255.0)
        best = likeliest_square(trained, "cat", strokes, 255.0)
        numbers = [(each.left, each.top, each.side) for each in (*expected, best)]
        np.testing.assert_allclose(squares, numbers, atol=1e-9)
        np.testing.assert_allclose(given, scores(trained, "cat", strokes, expected), atol=2e-3)


def test_a_stroke_is_as_unlike_its_category_as_by_python(engine: Page, real: list[list[np.ndarray]]) -> None:
    trained = load_with_guide(shipped_checkpoint("cat"))
    program = """async (drawings) => {
        const { model } = await import('./engine/loading.js');
        const { strokeLoss } = await import('./engine/unlike.js');
        const cat = await model("cat");
        const results = [];
        for (const strokes of drawings) {
            let state = await cat.networks[0].start();
            for (const token of strokes.map((points) => cat.tokens.encode(points))) {
                results.push(await strokeLoss(cat, state, token));
                state = await cat.networks[0].append(state, token);
            }
        }
        return [results, cat.unlike];
    }"""
    found, threshold = engine.evaluate(program, [[stroke.tolist() for stroke in drawing] for drawing in real[:5]])
    expected = np.concatenate([stroke_losses(trained, "cat", drawing) for drawing in real[:5]])
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert threshold == shipped_threshold("cat", trained.sha256)
    assert 0.2 < threshold < 2


def test_tidied_little_a_stroke_stays_near_itself_and_drawn_anew_it_does_not(
    engine: Page, real: list[list[np.ndarray]]
) -> None:
    program = """async ([points, tidy]) => {
        const [first, second] = points.map((points) => ({ points, by: "you", official: true }));
        let found;
        const request = { category: "cat", strokes: [first], limit: 1, seed: 3, ...(tidy && { tidied: second }) };
        await engine.draw(request, (event) => event.type === "stroke" && (found = event.stroke.points)).done;
        return found;
    }"""
    far = []
    for drawing in [each for each in real if len(each) > 2][:6]:
        second = resample_strokes(drawing[1].astype(float), np.array([0, len(drawing[1])]), 32)[0]
        pair = [stroke.tolist() for stroke in drawing[:2]]
        made = [np.array(engine.evaluate(program, [pair, tidy])) for tidy in (True, False)]
        far.append([np.linalg.norm(points - second, axis=1).mean() for points in made])
    tidied, anew = np.median(far, axis=0)
    assert 0.1 < tidied < 15
    assert anew > 2 * tidied


def test_strokes_are_simplified_as_by_python(engine: Page) -> None:
    rng = np.random.default_rng(0)
    strokes = [np.cumsum(rng.normal(0, 6, (size, 2)), axis=0) + 128 for size in (1, 2, 3, 10, 80, 300)]
    strokes += [np.full((4, 2), 7.0), np.array([[0, 0], [50, 0], [0, 0.0]]), strokes[3][[0, *range(10), 0]]]
    inside = [stroke.clip(0, 255) for stroke in strokes]
    program = "async (all) => { const { officialPoints } = await import('./engine/simplify.js');" \
              " return all.map((points) => officialPoints({ points })); }"  # fmt: skip
    for points, stroke in zip(engine.evaluate(program, [s.tolist() for s in inside]), inside, strict=True):
        np.testing.assert_array_equal(points, np.rint(simplify_stroke(stroke)))


def test_tokens_are_those_of_python(engine: Page, real: list[list[np.ndarray]]) -> None:
    whitening = load_with_guide(CHECKPOINTS / "cat.safetensors").whitening
    strokes = [stroke for drawing in real for stroke in drawing]
    strokes += [np.array([[3, 200]]), np.array([[3, 200]] * 2), np.array([[0, 0], [9, 9], [9, 9], [255, 0]])]
    program = """async (all) => {
        const { tokens } = await (await import('./engine/loading.js')).model("cat");
        return all.map((points) => { const token = tokens.encode(points); return [[...token], tokens.decode(token)]; });
    }"""
    encoded, decoded = zip(*engine.evaluate(program, [stroke.tolist() for stroke in strokes]), strict=True)
    offsets = np.cumsum([0, *map(len, strokes)])
    points = resample_strokes(np.concatenate(strokes), offsets, 32)
    expected = whitening.encode(points_to_vectors(points))
    torch.testing.assert_close(torch.tensor(encoded), expected, atol=2e-4, rtol=0)
    np.testing.assert_allclose(decoded, points, atol=1e-3)


def test_the_recogniser_sees_what_python_shows_it_and_is_as_sure(engine: Page, real: list[list[np.ndarray]]) -> None:
    network = load_feature_network(NETWORK_PATH)
    drawings = [*real, [np.array([[3, 4]])], [np.array([[0, 0], [255, 0]])], [np.array([[9, 9], [9, 9]])] * 3]
    pictures = feature_rasters(drawings)
    _, logits = describe_inputs(network.network, pictures)
    expected = torch.from_numpy(logits).softmax(-1)[:, network.classes.index("cat")]
    program = """async (drawings) => {
        const { picture } = await import('./engine/recogniser.js');
        const results = [];
        for (const drawing of drawings) {
            const guesses = await engine.recognise(drawing.map((points) => ({ points })), "cat");
            results.push([[...picture(drawing)], guesses.own, guesses.top]);
        }
        return results;
    }"""
    seen, own, top = zip(*engine.evaluate(program, [[s.tolist() for s in d] for d in drawings]), strict=True)
    np.testing.assert_array_equal(np.array(seen).reshape(pictures.shape), pictures)
    np.testing.assert_allclose(own, expected, atol=1e-4)
    assert all(len(names) == 3 and names[0]["probability"] >= names[1]["probability"] for names in top)


def test_its_own_random_numbers_are_normal_uniform_and_repeated_by_the_seed(engine: Page) -> None:
    program = """async () => {
        const { StrokeRandomness } = await import('./engine/random.js');
        const take = (seed, stroke) => {
            const random = new StrokeRandomness(seed, stroke);
            return [random.uniform(), ...random.normal(64)];
        };
        return [Array.from({ length: 2000 }, (_, i) => take(i, i % 5)), take(3, 3), take(3, 4), take(2 ** 32 + 3, 3)];
    }"""
    many, same, other_stroke, other_seed = engine.evaluate(program)
    assert same == many[3]
    assert len({tuple(row) for row in (same, other_stroke, other_seed)}) == 3
    numbers = np.array(many)
    assert abs(numbers[:, 0].mean() - 0.5) < 0.02
    assert abs(numbers[:, 0].std() - 12**-0.5) < 0.01
    assert abs(numbers[:, 1:].mean()) < 0.01
    assert abs(numbers[:, 1:].std() - 1) < 0.01
    assert np.abs(np.corrcoef(numbers.T) - np.eye(65)).max() < 0.11


def test_endings_are_those_that_the_seeds_draw_alone_and_temperature_and_seed_matter(engine: Page) -> None:
    program = """async (options) => {
        const endings = Array.from({ length: options.endings ?? 1 }, () => []);
        const tell = (event) => event.type === "stroke" && endings[event.ending].push(event.stroke.points);
        await engine.draw({ category: "bus", strokes: [], ...options }, tell).done;
        return endings;
    }"""

    def drawn(**options: Any) -> list[Any]:
        return engine.evaluate(program, options)  # type: ignore[no-any-return]

    alone = [drawn(seed=seed)[0] for seed in (7, 8, 9)]
    for one, other in zip(drawn(seed=7, endings=3), alone, strict=True):
        assert len(one) == len(other)
        assert np.abs(np.array(one[0]) - np.array(other[0])).max() < 1e-2
    assert drawn(seed=7) == [alone[0]]
    assert alone[0] != alone[1]
    assert drawn(seed=7, temperature=0.5) != [alone[0]]
    assert len(drawn(seed=7, limit=1)[0]) == 1
    assert len(drawn(seed=7, limit=2)[0]) <= 2
