"""Laws of stroke tokens: resampling keeps ends, corners and shape; whitening is invertible."""

import numpy as np
import pytest
import torch

from drawings.embedded import embedded_drawings
from stroke_tokens import Whitening, points_to_vectors, resample_strokes, vectors_to_points


def pack(strokes: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(strokes), np.concatenate([[0], np.cumsum([len(s) for s in strokes])])


def distance_to_polyline(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    a, d = line[:-1], np.diff(line, axis=0)
    away = points[:, None] - a
    along = np.clip((away * d).sum(-1) / np.maximum((d * d).sum(-1), 1e-9), 0, 1)
    return np.linalg.norm(away - along[..., None] * d, axis=-1).min(1)


def sampled(stroke: np.ndarray, num_samples: int) -> np.ndarray:
    """Points on a stroke, evenly in half arc length and half turning angle."""
    stroke = stroke.astype(float)
    step = np.diff(stroke, axis=0)
    length = np.hypot(*step.T)
    heading = np.unwrap(np.arctan2(step[:, 1], step[:, 0])) if len(step) else np.zeros(0)
    turn = np.concatenate([[0], np.abs(np.diff(heading)), [0]])
    angle = (turn[1:] + turn[:-1])[: len(length)]
    weight = 0.5 if angle.sum() else 0.0
    mass = (1 - weight) * length / max(length.sum(), 1e-9) + weight * angle / max(angle.sum(), 1e-9)
    along = np.concatenate([[0], np.cumsum(mass)])
    return np.stack([np.interp(np.linspace(0, 1, num_samples), along, axis) for axis in stroke.T], axis=1)


STROKES = [stroke for drawing in embedded_drawings("cat", 100) for stroke in drawing]


def test_first_and_last_point_are_kept() -> None:
    resampled = resample_strokes(*pack(STROKES), 32)
    assert resampled.shape == (len(STROKES), 32, 2)
    np.testing.assert_allclose(resampled[:, 0], [s[0] for s in STROKES], atol=1e-4)
    np.testing.assert_array_equal(resampled[:, -1], [s[-1] for s in STROKES])


def test_original_vertices_lie_near_the_resampled_stroke() -> None:
    resampled = resample_strokes(*pack(STROKES), 32)
    errors = np.concatenate([distance_to_polyline(s.astype(float), r) for s, r in zip(STROKES, resampled, strict=True)])
    assert np.percentile(errors, 90) < 2.0
    assert np.percentile(errors, 99) < 6.0


def test_corners_attract_points() -> None:
    """Even in arc length alone, the same number of points loses more of the shape."""
    strokes = [s.astype(float) for s in STROKES if len(s) > 4]

    def even(stroke: np.ndarray) -> np.ndarray:
        arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(stroke, axis=0), axis=1))])
        wanted = np.linspace(0, arc[-1], 16)
        return np.stack([np.interp(wanted, arc, stroke[:, i]) for i in (0, 1)], axis=1)

    corner_aware = resample_strokes(*pack(strokes), 16)
    errors = [[distance_to_polyline(s, r).max() for s, r in zip(strokes, rs, strict=True)]
              for rs in (corner_aware, map(even, strokes))]  # fmt: skip
    assert np.mean(errors[0]) < 0.85 * np.mean(errors[1])


def test_fitted_points_come_nearest_to_the_stroke() -> None:
    """The 125 points of a stroke are fitted best: no other polyline through 32 points, its ends held, is nearer."""
    fitted = resample_strokes(*pack(STROKES[:40]), 32)
    dense = np.array([sampled(stroke, 31 * 4 + 1) for stroke in STROKES[:40]])
    share = np.arange(4)[:, None] / 4

    def squared_error(points: np.ndarray) -> np.ndarray:
        between = points[:, :-1, None] * (1 - share) + points[:, 1:, None] * share
        line = np.concatenate([between.reshape(len(points), -1, 2), points[:, -1:]], axis=1)
        return ((line - dense) ** 2).sum((1, 2))

    least = squared_error(fitted)
    assert least.sum() < 0.6 * squared_error(dense[:, ::4]).sum()
    rng = np.random.default_rng(0)
    for _ in range(20):
        moved = fitted + 0.1 * rng.standard_normal(fitted.shape) * np.isin(np.arange(32), (0, 31), invert=True)[:, None]
        assert (squared_error(moved) > least - 1e-3).all()


@pytest.mark.parametrize("num_points", [2, 3, 12])
def test_tokens_are_the_fit_to_what_sampling_a_stroke_point_by_point_gives(num_points: int) -> None:
    """The closed form beside its meaning: one stroke at a time, samples by interpolation, a least-squares fit."""
    num_samples = 4 * (num_points - 1) + 1
    wanted = []
    for stroke in STROKES:
        samples = sampled(stroke, num_samples)
        hats = np.maximum(0, 1 - np.abs(np.arange(num_samples)[:, None] / 4 - np.arange(num_points)))
        ends = hats[:, [0, -1]] @ samples[[0, -1]]
        inner = np.linalg.lstsq(hats[:, 1:-1], samples - ends, rcond=None)[0]
        wanted.append(np.concatenate([samples[:1], inner, samples[-1:]]))
    np.testing.assert_allclose(resample_strokes(*pack(STROKES), num_points), wanted, atol=1e-3)


def test_an_end_given_twice_changes_nothing() -> None:
    """A segment without length has no direction: it must not count as a turn."""
    stroke = np.array([[9, 5], [0, 0], [3, 7], [5, 7], [1, 2]])
    twice = [np.concatenate([stroke[:1], stroke]), np.concatenate([stroke, stroke[-1:]])]
    alone = resample_strokes(*pack([stroke]), 9)[0]
    np.testing.assert_allclose(resample_strokes(*pack(twice), 9), [alone, alone], atol=1e-4)


def test_straight_line_is_resampled_evenly() -> None:
    line = np.array([[0, 0], [10, 0], [90, 0]])
    np.testing.assert_allclose(resample_strokes(*pack([line]), 10)[0][:, 0], np.linspace(0, 90, 10), atol=1e-3)


def test_a_dot_is_repeated() -> None:
    for dot in (np.array([[7, 9]]), np.array([[7, 9], [7, 9]])):
        np.testing.assert_array_equal(resample_strokes(*pack([dot]), 5)[0], [[7, 9]] * 5)


def test_neighbours_do_not_change_a_stroke() -> None:
    together = resample_strokes(*pack(STROKES[:50]), 32)
    alone = np.concatenate([resample_strokes(*pack([s]), 32) for s in STROKES[:50]])
    np.testing.assert_allclose(together, alone, atol=1e-3)


def test_vectors_and_points_are_inverse() -> None:
    points = resample_strokes(*pack(STROKES), 16)
    np.testing.assert_allclose(vectors_to_points(points_to_vectors(points)), points, atol=1e-4)


def test_whitening_is_inverse_and_uncorrelated() -> None:
    vectors = points_to_vectors(resample_strokes(*pack(STROKES), 16))
    whitening = Whitening.fit(vectors)
    tokens = whitening.encode(vectors)
    torch.testing.assert_close(whitening.decode(tokens), vectors, rtol=0, atol=1e-5)
    covariance = torch.cov(tokens.double().T)
    assert (covariance - torch.diag(covariance.diag())).abs().max() < 1e-3
    assert covariance[0, 0] == pytest.approx(1.0, abs=0.01)
    assert (covariance.diag() <= 1.001).all()  # the floor keeps noise of the hand below unit variance
