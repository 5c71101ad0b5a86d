"""Laws of the metrics: closed forms, other implementations, floors and ceilings, and what is refused."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

import metrics
from dataset_utils import read_ndjson, write_ndjson
from embedded_drawings import embedded_drawings

ROOT = Path(metrics.__file__).parent
REAL_DIR = os.environ.get("QUICKDRAW_DIR")


def real_drawings(category: str, count: int) -> list:
    """Real drawings where they are at hand, drawings of the procedural artist otherwise."""
    if REAL_DIR:
        packed, _ = read_ndjson(Path(REAL_DIR) / f"{category}.ndjson")
        return [packed.drawing(i) for i in range(min(count, len(packed)))]
    return embedded_drawings(category, count)


def exact_gaussian(mean: np.ndarray, covariance: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Points whose sample mean and sample covariance (over N - 1) are exactly the given ones."""
    x = np.random.default_rng(seed).normal(size=(count, len(mean)))
    x -= x.mean(axis=0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def sqrtm_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The Fréchet distance as the literature writes it."""
    c_a, c_b = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(c_a @ c_b).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c_a + c_b - 2 * root))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


# ---- Fréchet distance


def test_frechet_distance_of_two_gaussians_is_the_closed_form() -> None:
    var_a, var_b = np.array([1.0, 4.0, 0.25]), np.array([9.0, 1.0, 0.25])
    a = exact_gaussian(np.zeros(3), np.diag(var_a), 50, seed=1)
    b = exact_gaussian(np.array([3.0, 0.0, -4.0]), np.diag(var_b), 80, seed=2)
    expected = 25 + ((np.sqrt(var_a) - np.sqrt(var_b)) ** 2).sum()  # commuting covariances
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_equals_scipys_matrix_root(rng: np.random.Generator) -> None:
    a = rng.normal(size=(300, 20)) @ rng.normal(size=(20, 20))
    b = rng.normal(size=(200, 20)) @ rng.normal(size=(20, 20)) + 1
    assert metrics.frechet_distance(a, b) == pytest.approx(sqrtm_distance(a, b), rel=1e-9)


def test_frechet_distance_equals_torchmetrics(rng: np.random.Generator) -> None:
    fid = pytest.importorskip("torchmetrics.image.fid")
    import torch

    class Features(torch.nn.Module):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return pictures.reshape(len(pictures), -1)

    a, b = rng.normal(size=(120, 12)), rng.normal(size=(90, 12)) * 1.5 + 0.3
    theirs = fid.FrechetInceptionDistance(feature=Features(), input_img_size=(3, 2, 2), normalize=True)
    theirs.set_dtype(torch.float64)
    theirs.orig_dtype = torch.float64
    for features, real in ((a, True), (b, False)):
        # given as sums, since its update() goes through float32 pictures
        side = "real" if real else "fake"
        x = torch.from_numpy(features)
        setattr(theirs, f"{side}_features_sum", x.sum(dim=0))
        setattr(theirs, f"{side}_features_cov_sum", x.T @ x)
        setattr(theirs, f"{side}_features_num_samples", torch.tensor(len(x)))
    assert metrics.frechet_distance(a, b) == pytest.approx(theirs.compute().item(), rel=1e-8)


@pytest.mark.parametrize("shape", [(2, 16), (10, 64), (64, 64), (500, 16)])
def test_frechet_distance_of_a_set_to_itself_is_zero(shape: tuple[int, int], rng: np.random.Generator) -> None:
    x = rng.normal(size=shape)
    assert metrics.frechet_distance(x, x[::-1]) == pytest.approx(0, abs=1e-9)


def test_singular_covariances_need_no_special_case(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(9, 4)), rng.normal(size=(12, 4)) + 1
    basis = np.linalg.qr(rng.normal(size=(40, 4)))[0].T  # isometry into 40 dimensions: N < d and rank 4
    assert metrics.frechet_distance(a @ basis, b @ basis) == pytest.approx(sqrtm_distance(a, b), rel=1e-9)


def test_distances_do_not_depend_on_order_or_float32(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(40, 8)).astype(np.float32), rng.normal(size=(30, 8)).astype(np.float32)
    for distance in (metrics.frechet_distance, lambda x, y: metrics.squared_mmd(np.float64(x), np.float64(y))):
        expected = distance(a.astype(np.float64), b.astype(np.float64))
        assert distance(a[::-1], b[rng.permutation(30)]) == pytest.approx(expected, rel=1e-12)


# ---- kernel distance


def test_kernel_distance_is_the_unbiased_formula_written_out(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)) + 0.5

    def k(u: np.ndarray, v: np.ndarray) -> float:
        return (float(u @ v) / 3 + 1) ** 3

    within = sum(k(u, v) for s in (x, y) for u, v in itertools.permutations(s, 2)) / (4 * 3)
    across = sum(k(u, v) for u in x for v in y) / 16
    assert metrics.kernel_distance(x, y) == (pytest.approx(within - 2 * across, rel=1e-12), 0.0)


def test_kernel_distance_of_halves_is_zero_on_average_and_often_negative(rng: np.random.Generator) -> None:
    values = [metrics.kernel_distance(*rng.normal(size=(2, 30, 6)))[0] for _ in range(400)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(400)
    assert min(values) < 0


def test_kernel_distance_is_decided_by_its_seed_and_takes_subsets(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(60, 5)), rng.normal(size=(80, 5)) + 1
    first = metrics.kernel_distance(a, b, num_subsets=200, subset_size=20, seed=3)
    assert first == metrics.kernel_distance(a, b, num_subsets=200, subset_size=20, seed=3)
    assert first != metrics.kernel_distance(a, b, num_subsets=200, subset_size=20, seed=4)
    assert first[1] > 0
    assert first[0] == pytest.approx(metrics.squared_mmd(a, b), abs=4 * first[1] / np.sqrt(200))


def test_kernel_distance_equals_torchmetrics(rng: np.random.Generator) -> None:
    kid = pytest.importorskip("torchmetrics.image.kid")
    import torch

    a, b = rng.normal(size=(2, 25, 6))
    theirs = kid.poly_mmd(torch.from_numpy(a), torch.from_numpy(b))
    assert metrics.kernel_distance(a, b)[0] == pytest.approx(theirs.item(), rel=1e-8)


@pytest.mark.parametrize("distance", [metrics.frechet_distance, metrics.kernel_distance])
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((1, 4)), np.zeros((9, 4)), "1 drawings"),
        (np.zeros((9, 4)), np.full((9, 4), np.nan), "NaN"),
        (np.zeros((9, 4)), np.zeros((9, 5)), "4 and of 5"),
        (np.zeros(9), np.zeros((9, 5)), "shape"),
    ],
)
def test_features_that_make_no_distance_are_refused(distance, a, b, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        distance(a, b)


# ---- numbers and names


def test_wasserstein_equals_scipy_and_a_shift_costs_the_shift(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=50), rng.integers(0, 5, 33)
    assert metrics.wasserstein_1(a, b) == pytest.approx(scipy.stats.wasserstein_distance(a, b), rel=1e-12)
    assert metrics.wasserstein_1(a, a + 2.5) == pytest.approx(2.5)
    with pytest.raises(ValueError, match="NaN"):
        metrics.wasserstein_1([1.0, np.nan], [1.0])


def test_recognisability_counts_the_best_and_the_best_five() -> None:
    classes = [f"class {i}" for i in range(8)]
    logits = np.zeros((3, 8)) + np.arange(8)  # class 7 is best, class 3 is fifth
    assert metrics.recognisability(logits, classes, "class 7") == {"top1": 1.0, "top5": 1.0}
    assert metrics.recognisability(logits, classes, "class 3") == {"top1": 0.0, "top5": 1.0}
    assert metrics.recognisability(logits, classes, "class 2") == {"top1": 0.0, "top5": 0.0}
    with pytest.raises(ValueError, match="unicorn"):
        metrics.recognisability(logits, classes, "unicorn")


def test_ink_length_is_the_length_of_the_lines() -> None:
    drawing = [np.array([[0, 0], [3, 4], [3, 0]], np.uint8), np.array([[200, 200]], np.uint8)]
    assert metrics.ink_length(drawing) == 9.0


def test_independent_strokes_keep_every_position_and_mix_the_drawings() -> None:
    # stroke k of drawing i is the point (i, k)
    drawings = [[np.array([[i, k]], np.uint8) for k in range(1 + i % 4)] for i in range(40)]
    mixed = metrics.independent_strokes(drawings, 300, seed=1)
    assert all(stroke[0, 1] == k for drawing in mixed for k, stroke in enumerate(drawing))
    assert set(map(len, mixed)) == {1, 2, 3, 4}
    assert sum(len({stroke[0, 0] for stroke in d}) > 1 for d in mixed if len(d) > 1) > 200
    again = metrics.independent_strokes(drawings, 300, seed=1)
    assert all(np.array_equal(s, t) for d, e in zip(mixed, again, strict=True) for s, t in zip(d, e, strict=True))


def test_floor_and_score_are_taken_at_the_same_number(rng: np.random.Generator) -> None:
    sizes = []

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        sizes.append((len(a), len(b)))
        return metrics.frechet_distance(a, b)

    real, same, other = rng.normal(size=(60, 4)), rng.normal(size=(50, 4)), rng.normal(size=(50, 4)) + 2
    score = metrics.with_floor(distance, same, real, seed=0)
    assert sizes == [(50, 60)] + [(30, 30)] * 2 * metrics.NUM_SPLITS
    assert score["floor_n"] == 30
    assert abs(score["at_floor_n"] - score["floor"]) < 3 * score["floor_std"]
    assert metrics.with_floor(distance, other, real, seed=0)["at_floor_n"] > 10 * score["floor"]
    assert metrics.with_floor(distance, same, real[:3], seed=0)["floor"] is None


# ---- whole scores, with the shipped network


def test_real_halves_score_at_the_floor_and_buses_are_no_cats() -> None:
    cats = real_drawings("cat", 240)
    same = metrics.score_drawings(cats[::2], cats[1::2], "cat")
    other = metrics.score_drawings(real_drawings("bus", 120), cats[1::2], "kedi")
    assert other["category"] == "cat"
    assert abs(same["fid"]["at_floor_n"] / same["fid"]["floor"] - 1) < 0.25
    assert abs(same["kid"]["share"]) < 0.25
    assert other["kid"]["value"] > 1.5 * same["kid"]["independent_strokes"] > 0
    assert other["recognisability"]["generated"]["top1"] < 0.1
    assert same["recognisability"]["generated"]["top1"] > 0.4
    assert json.loads(json.dumps(same)) == same


def test_scores_without_real_drawings_use_the_shipped_reference_and_say_so() -> None:
    cats = real_drawings("cat", 60)
    score = metrics.score_drawings(cats, None, "cat")
    assert (score["n_real"], score["n_generated"]) == (250, 60)
    assert "pictures" in score["reference"]
    assert score["kid"]["floor_n"] == 60
    assert score["strokes_per_drawing"] is None
    assert score["kid"]["independent_strokes"] > 0.1
    assert score["kid"]["share"] == pytest.approx(score["kid"]["value"] / score["kid"]["independent_strokes"])
    if "QUICKDRAW_DIR" in os.environ:  # real drawings are far below independent strokes; those of a program are not
        assert abs(score["kid"]["share"]) < 0.3
    assert score["recognisability"]["real"]["top1"] > 0.4
    with pytest.raises(ValueError, match=r"not 'car'; give --real"):
        metrics.score_drawings(cats, None, "car")


def test_command_line_scores_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cats = real_drawings("cat", 40)
    write_ndjson(tmp_path / "real.ndjson", cats[:20], word="cat")
    write_ndjson(tmp_path / "generated.ndjson", cats[20:], word="cat")
    out = tmp_path / "scores.json"
    arguments = ["--real", str(tmp_path / "real.ndjson"), "--generated", str(tmp_path / "generated.ndjson")]
    result = metrics.main([*arguments, "--out", str(out)])
    assert json.loads(out.read_text()) == json.loads(capsys.readouterr().out) == result
    assert (result["n_real"], result["n_generated"], result["category"]) == (20, 20, "cat")


def test_bad_input_is_one_line_and_needs_no_torch(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    write_ndjson(tmp_path / "one.ndjson", embedded_drawings("cat", 1), word="cat")
    write_ndjson(tmp_path / "cats.ndjson", embedded_drawings("cat", 3), word="cat")
    for arguments, code, message in (
        (["--help"], 0, "--generated"),
        (["--generated", "none.ndjson"], 2, "none.ndjson: no such file"),
        (["--generated", str(tmp_path / "one.ndjson")], 2, "1 drawings"),
        (["--generated", str(tmp_path / "cats.ndjson"), "--category", "unicorn"], 2, "unknown category 'unicorn'"),
        (["--generated", str(tmp_path / "cats.ndjson"), "--seed", "-1"], 2, "--seed is -1"),
    ):
        done = subprocess.run(
            [sys.executable, str(ROOT / "metrics.py"), *arguments],
            env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert message in done.stdout + done.stderr
        assert code == 0 or len(done.stderr.splitlines()) == 1
