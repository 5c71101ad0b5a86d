"""Laws of drawing: a drawing is its seed's own, prefixes come back, the worst model is survived."""

import copy

import numpy as np
import pytest
import torch

from diffusion_model import TrainedModel
from sample_diffusion import StrokeRandomness, generate_drawings, official_form
from stroke_tokens import Whitening


def points(drawings: list[list[np.ndarray]]) -> np.ndarray:
    return np.concatenate([stroke for drawing in drawings for stroke in drawing])


def test_same_seed_gives_the_same_drawings(tiny_model: TrainedModel) -> None:
    a, b = (generate_drawings(tiny_model, "cat", range(6), seed=3, steps=4).drawings for _ in range(2))
    assert [len(d) for d in a] == [len(d) for d in b]
    np.testing.assert_array_equal(points(a), points(b))


@pytest.mark.parametrize("sampler", ["dpm-solver++", "ddim", "ancestral"])
def test_neither_batch_nor_order_changes_a_drawing(tiny_model: TrainedModel, sampler: str) -> None:
    small = copy.deepcopy(tiny_model)
    small.model.time_table = small.model.time_table[:40]  # 40 times keep the ancestral sampler short

    def draw(indices: list[int], batch_size: int) -> list[list[np.ndarray]]:
        return generate_drawings(
            small, "cat", indices, seed=5, sampler=sampler, steps=5, eta=0.5, batch_size=batch_size
        ).drawings

    together, alone = draw([0, 1, 2, 3, 4], 5), draw([4, 2, 0, 1, 3], 1)
    for index, other in zip([4, 2, 0, 1, 3], alone, strict=True):
        assert len(together[index]) == len(other)
        np.testing.assert_allclose(points([together[index]]), points([other]), atol=0.05)


def test_seeds_indices_and_strokes_have_their_own_randomness() -> None:
    draws = [StrokeRandomness(s, [i], k, 8).normal() for s, i, k in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]]
    for i, a in enumerate(draws):
        for b in draws[i + 1 :]:
            assert (a - b).abs().max() > 0.1


def test_category_and_guidance_change_the_drawing(tiny_model: TrainedModel) -> None:
    plain = generate_drawings(tiny_model, "cat", range(3), seed=0, steps=3).drawings
    other = generate_drawings(tiny_model, "bus", range(3), seed=0, steps=3).drawings
    guided = generate_drawings(tiny_model, "cat", range(3), seed=0, steps=3, guidance=3.0).drawings
    for drawings in (other, guided):
        assert np.abs(plain[0][0] - drawings[0][0]).max() > 0.5


def test_guide_is_compared_with_in_place_of_no_category(tiny_model: TrainedModel) -> None:
    """v_weaker + g (v - v_weaker): a guide equal to the model changes nothing, another one does, unless g is 1."""

    def draw(guide: TrainedModel | None, guidance: float) -> np.ndarray:
        trained = copy.copy(tiny_model)
        trained.guide = guide
        return points(generate_drawings(trained, "cat", range(3), seed=0, steps=3, guidance=guidance).drawings[:1])

    weaker = copy.deepcopy(tiny_model)
    for parameter in weaker.model.parameters():
        parameter.data *= 0.7
    plain = draw(None, 1.0)
    np.testing.assert_allclose(draw(copy.deepcopy(tiny_model), 2.0), plain, atol=0.05)
    np.testing.assert_array_equal(draw(weaker, 1.0), plain)
    assert np.abs(draw(weaker, 2.0)[:8] - plain[:8]).max() > 0.5
    assert np.abs(draw(weaker, 2.0)[:8] - draw(None, 2.0)[:8]).max() > 0.5


def test_guide_of_other_tokens_is_refused(tiny_model: TrainedModel) -> None:
    other = copy.deepcopy(tiny_model)
    other.whitening = Whitening(other.whitening.mean, other.whitening.basis.flip(1), other.whitening.scale)
    trained = copy.copy(tiny_model)
    trained.guide = other
    with pytest.raises(ValueError, match="other stroke tokens"):
        generate_drawings(trained, "cat", range(2), seed=0, guidance=2.0)


def test_prefix_comes_back_unchanged_and_shapes_what_follows(tiny_model: TrainedModel) -> None:
    first = [np.array([[0, 0], [255, 0], [255, 200]], np.uint8)]
    second = [np.array([[10, 250], [20, 30]], np.uint8), np.array([[5, 5]], np.uint8)]
    result = generate_drawings(tiny_model, "cat", range(4), seed=1, steps=3, prefix=[first, second, first, second])
    for drawing, prefix in zip(result.drawings, [first, second, first, second], strict=True):
        assert len(drawing) >= len(prefix)
        for a, b in zip(drawing, prefix, strict=False):
            assert a is b
        official, _ = official_form(drawing, len(prefix))
        for a, b in zip(official, prefix, strict=False):
            np.testing.assert_array_equal(a, b)
    for other in ([second[0]], first):
        a = generate_drawings(tiny_model, "cat", [7], seed=1, steps=3, prefix=[first]).drawings[0][1:2]
        b = generate_drawings(tiny_model, "cat", [7], seed=1, steps=3, prefix=[other]).drawings[0][1:2]
        assert (other is first) == (len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True)))


def test_prefix_as_long_as_the_longest_drawing_is_refused(tiny_model: TrainedModel) -> None:
    with pytest.raises(ValueError, match="has 12 strokes, must have fewer than 12"):
        generate_drawings(tiny_model, "cat", [0], seed=0, prefix=[[np.zeros((2, 2))] * 12])


def test_endless_drawings_are_cut_and_counted(tiny_model: TrainedModel) -> None:
    endless = copy.deepcopy(tiny_model)
    torch.nn.init.constant_(endless.model.stop.bias, -1e4)
    result = generate_drawings(endless, "cat", range(3), seed=0, steps=2)
    assert result.unfinished == 3
    assert [len(d) for d in result.drawings] == [12] * 3


def test_a_drawing_has_at_least_one_stroke(tiny_model: TrainedModel) -> None:
    hasty = copy.deepcopy(tiny_model)
    torch.nn.init.constant_(hasty.model.stop.bias, 1e4)
    assert [len(d) for d in generate_drawings(hasty, "cat", range(5), seed=0, steps=2).drawings] == [1] * 5


def test_strokes_that_are_not_finite_end_a_drawing_and_are_counted(tiny_model: TrainedModel) -> None:
    broken = copy.deepcopy(tiny_model)
    torch.nn.init.constant_(broken.model.write_noise.bias, float("nan"))
    result = generate_drawings(broken, "cat", range(4), seed=0, steps=2)
    assert result.not_finite == 4
    assert result.drawings == [[], [], [], []]


def test_watcher_sees_every_step_of_every_stroke(tiny_model: TrainedModel) -> None:
    seen: list[tuple[int, tuple[int, ...]]] = []
    result = generate_drawings(
        tiny_model, "cat", [0], seed=0, steps=4, watch=lambda k, shown: seen.append((k, shown.shape))
    )
    assert [k for k, _ in seen] == [k for k in range(len(result.drawings[0])) for _ in range(4)]
    assert seen[0][1] == (1, 8, 2)


def test_official_form_is_integer_aligned_and_255_long() -> None:
    drawing = [np.array([[50.3, 60.2], [90.7, 61.0], [95.0, 99.5]]), np.array([[60.0, 70.0]])]
    official, clipped = official_form(drawing)
    everything = np.concatenate(official)
    assert everything.dtype == np.uint8
    assert everything.min(0).tolist() == [0, 0]
    assert everything.max() == 255
    assert clipped == 0


def test_continuation_outside_the_canvas_is_clipped_and_counted() -> None:
    prefix = np.array([[0, 0], [255, 255]], np.uint8)
    official, clipped = official_form([prefix, np.array([[-9.0, 5.0], [300.0, 5.0]])], kept_strokes=1)
    assert clipped == 2
    assert official[1].tolist() == [[0, 5], [255, 5]]
