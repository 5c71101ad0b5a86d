"""Laws of training batches: padding is invisible, order is a function of the seed, shares are as asked."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from dataset_utils import PackedDrawings
from drawings.batches import (
    StrokeSet,
    batches_of_round,
    category_weights,
    random_affine,
    stroke_set,
    training_batches,
)
from drawings.embedded import embedded_drawings
from stroke_tokens import points_to_vectors, resample_strokes


@pytest.fixture(scope="module")
def data() -> StrokeSet:
    packed = [PackedDrawings.from_drawings(embedded_drawings(name, n)) for name, n in (("cat", 300), ("bus", 60))]
    return stroke_set(packed, [0, 1], num_points=8, max_strokes=12)


def drawing_at(data: StrokeSet, index: int) -> list[np.ndarray]:
    """Return the drawing of a number, found by counting."""
    numbered = [(packed, row) for packed, rows in zip(data.drawings, data.rows, strict=True) for row in rows]
    packed, row = numbered[index]
    return packed.drawing(row)


def vectors_of(drawing: list[np.ndarray]) -> torch.Tensor:
    offsets = np.cumsum([0] + [len(stroke) for stroke in drawing])
    return points_to_vectors(resample_strokes(np.concatenate(drawing), offsets, 8))


def test_longer_drawings_are_left_out_and_counted(data: StrokeSet) -> None:
    assert data.num_strokes(np.arange(len(data))).max() <= 12
    assert len(data) + data.too_long == 360
    assert data.too_long > 0


def test_batch_holds_each_drawing_and_masks_the_rest(data: StrokeSet) -> None:
    chosen = np.array([3, 0, len(data) - 1])
    batch = data.batch(chosen)
    for row, index in enumerate(chosen):
        torch.testing.assert_close(batch.vectors[row][batch.mask[row]], vectors_of(drawing_at(data, index)))
    assert batch.mask.sum(1).tolist() == data.num_strokes(chosen).tolist()
    assert not batch.vectors[~batch.mask].any()
    assert batch.category.tolist() == [0, 0, 1]


def test_a_drawing_has_the_same_vectors_in_every_batch(data: StrokeSet) -> None:
    chosen = np.random.default_rng(0).integers(0, len(data), 50)
    together = data.batch(chosen)
    for row, index in enumerate(chosen):
        alone = data.batch(chosen[row : row + 1]).vectors[0]
        torch.testing.assert_close(together.vectors[row, : len(alone)], alone, rtol=0, atol=1e-6)
        assert together.category[row] == data.category[data.entries(index)]


def test_the_sample_for_whitening_is_all_strokes_or_some_spread_evenly(data: StrokeSet) -> None:
    every = torch.cat([vectors_of(drawing_at(data, index)) for index in range(len(data))])
    torch.testing.assert_close(data.sample_vectors(), every, rtol=0, atol=1e-6)
    count = len(every) // 3
    torch.testing.assert_close(
        data.sample_vectors(count), every[np.arange(count) * len(every) // count], rtol=0, atol=1e-6
    )


def test_shares_of_categories_are_as_asked(data: StrokeSet) -> None:
    def shares(companion_share: float, balance: float, targets: list[int]) -> list[float]:
        weights = category_weights(data, targets, companion_share, balance)
        drawn = np.concatenate([b for r in range(4) for b in batches_of_round(data, weights, 512, 0, r)])
        # every drawing of a category is drawn alike
        for first, last in itertools.pairwise(data.starts):
            times = np.bincount(drawn, minlength=len(data))[first:last]
            assert times.std() < 1.3 * times.mean() ** 0.5
        assert np.bincount(data.entries(drawn)) / len(drawn) == pytest.approx(weights, abs=0.01)
        assert weights.sum() == pytest.approx(1)
        return weights.tolist()

    sizes = data.sizes
    assert shares(0.5, 1.0, [0, 1]) == pytest.approx(sizes / sizes.sum())
    assert shares(0.5, 0.0, [0, 1]) == pytest.approx([0.5, 0.5])
    assert shares(0.3, 0.5, [1]) == pytest.approx([0.3, 0.7])


def test_batches_fit_their_budget_and_hold_like_lengths(data: StrokeSet) -> None:
    weights = category_weights(data, [0, 1], 0, 1)
    batches = batches_of_round(data, weights, 128, seed=0, round_number=0)
    assert sum(map(len, batches)) == 16_384
    spreads = [int(np.ptp(data.num_strokes(batch))) for batch in batches]
    assert all(len(batch) * data.num_strokes(batch).max() <= 128 for batch in batches)
    assert np.mean(spreads) < 0.2


def test_order_follows_from_the_seed_and_can_be_entered_anywhere(data: StrokeSet) -> None:
    weights = category_weights(data, [0, 1], 0, 1)
    from_start = training_batches(data, weights, 512, seed=4)
    ahead = [next(from_start) for _ in range(600)]  # more than one round
    for step in (0, 7, 599):
        np.testing.assert_array_equal(next(training_batches(data, weights, 512, 4, step)), ahead[step])
    assert not np.array_equal(next(training_batches(data, weights, 512, 5)), ahead[0])


def test_affine_change_keeps_the_box_and_moves_the_points(data: StrokeSet) -> None:
    batch = data.batch(np.arange(20))
    moved = random_affine(batch, 0.1, torch.Generator().manual_seed(0))

    def boxes(vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        own = [v[m].unflatten(-1, (-1, 2)).flatten(0, 1) for v, m in zip(vectors, mask, strict=True)]
        return torch.stack([torch.cat([p.amin(0), (p.amax(0) - p.amin(0)).amax()[None]]) for p in own])

    before, after = boxes(batch.vectors, batch.mask), boxes(moved.vectors, batch.mask)
    torch.testing.assert_close(before, after, rtol=0, atol=1e-4)
    assert (moved.vectors - batch.vectors).abs().max() > 0.05
    assert random_affine(batch, 0.0, torch.Generator()) is batch


def test_half_of_the_drawings_stay_and_the_change_of_the_others_is_told(data: StrokeSet) -> None:
    batch = data.batch(np.arange(200))
    moved = random_affine(batch, 0.2, torch.Generator().manual_seed(0))
    still = (moved.affine == 0).all(1)
    assert 70 < still.sum() < 130
    torch.testing.assert_close(moved.vectors[still], batch.vectors[still], rtol=0, atol=1e-5)
    assert moved.affine[~still].std() == pytest.approx(0.2, rel=0.1)
    # up to the box, what is told is what was done
    for row in torch.nonzero(~still).flatten()[:5].tolist():
        before, after = (x.vectors[row][batch.mask[row]].unflatten(-1, (-1, 2)).flatten(0, 1) for x in (batch, moved))
        wanted = (before @ (torch.eye(2) + moved.affine[row].view(2, 2))).double()
        wanted, after = wanted - wanted.mean(0), (after - after.mean(0)).double()
        scale = (wanted * after).sum() / (wanted * wanted).sum()
        torch.testing.assert_close(after, scale * wanted, rtol=0, atol=1e-4)


def test_every_drawing_can_be_changed_and_a_flipped_one_is_told_so(data: StrokeSet) -> None:
    batch = data.batch(np.arange(200))
    changed = random_affine(batch, 0.2, torch.Generator().manual_seed(0), share=1.0)
    assert (changed.affine != 0).all()
    flipped = random_affine(batch, 0.0, torch.Generator().manual_seed(0), mirrored=1.0)
    assert (flipped.affine == torch.tensor([-2.0, 0.0, 0.0, 0.0])).all()
    for row in range(5):
        before, after = (x.vectors[row][batch.mask[row]].unflatten(-1, (-1, 2)).flatten(0, 1) for x in (batch, flipped))
        low, high = before[:, 0].min(), before[:, 0].max()
        torch.testing.assert_close(after[:, 0], low + high - before[:, 0], rtol=0, atol=1e-5)
        torch.testing.assert_close(after[:, 1], before[:, 1], rtol=0, atol=1e-5)


def test_padding_does_not_reach_the_affine_change(data: StrokeSet) -> None:
    batch = data.batch(np.arange(6))
    spoiled = batch.vectors.clone()
    spoiled[~batch.mask] = 99.0
    other = replace(batch, vectors=spoiled)
    a, b = (random_affine(x, 0.1, torch.Generator().manual_seed(1)) for x in (batch, other))
    torch.testing.assert_close(a.vectors[batch.mask], b.vectors[batch.mask])
