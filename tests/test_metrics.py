"""Laws of the scores: FID, KID, neighbours and baselines against formulas, what each figure sees, the command line."""

from __future__ import annotations

import itertools
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

import metrics
from config import NETWORK_PATH
from dataset_utils import read_ndjson, write_ndjson
from drawings.embedded import embedded_drawings
from scoring.averages import over_seeds
from scoring.baselines import NUM_SPLITS
from scoring.feature_network import LoadedNetwork, load_feature_network
from scoring.reference import recognised_after, reference_of
from scoring.stroke_statistics import independent_strokes

REAL_DIR = os.environ.get("QUICKDRAW_DIR")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


# ---- Fréchet distance


def exact_gaussian(mean: np.ndarray, covariance: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Points whose sample mean and sample covariance (over N - 1) are exactly the given ones."""
    x = np.random.default_rng(seed).normal(size=(count, len(mean)))
    x -= x.mean(axis=0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_of_two_gaussians_is_the_closed_form() -> None:
    var_a, var_b = np.array([1.0, 4.0, 0.25]), np.array([9.0, 1.0, 0.25])
    a = exact_gaussian(np.zeros(3), np.diag(var_a), 50, seed=1)
    b = exact_gaussian(np.array([3.0, 0.0, -4.0]), np.diag(var_b), 80, seed=2)
    expected = 25 + ((np.sqrt(var_a) - np.sqrt(var_b)) ** 2).sum()  # commuting covariances
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [(2, 16), (10, 64), (500, 16)])
def test_frechet_distance_of_a_set_to_itself_is_zero(shape: tuple[int, int], rng: np.random.Generator) -> None:
    x = rng.normal(size=shape)
    assert metrics.frechet_distance(x, x[::-1]) == pytest.approx(0, abs=1e-9)


def test_extrapolation_comes_nearer_to_the_true_distance_than_all_drawings_do(rng: np.random.Generator) -> None:
    dimensions, shift = 24, 0.3
    truth = dimensions * shift**2
    errors = []
    for _ in range(12):
        a, b = rng.normal(size=(400, dimensions)), rng.normal(size=(400, dimensions)) + shift
        limit = metrics.frechet_distance_at_infinity(a, b)
        errors.append((limit - truth, metrics.frechet_distance(a, b) - truth))
    extrapolated, plain = np.mean(errors, axis=0)
    assert plain > 0.5  # what few drawings add to a distance of 2.2
    assert abs(extrapolated) < 0.15 * plain


# ---- kernel distance


def test_kernel_distance_is_the_unbiased_formula_written_out(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(3, 2)), rng.normal(size=(5, 2)) + 0.5

    def mean_of(pairs: itertools.permutations | itertools.product) -> float:
        return float(np.mean([(float(u @ v) / 2 + 1) ** 3 for u, v in pairs]))

    for b in (y, y[:3]):
        within = mean_of(itertools.permutations(x, 2)) + mean_of(itertools.permutations(b, 2))
        expected = within - 2 * mean_of(itertools.product(x, b))
        assert metrics.squared_mmd(x, b) == pytest.approx(expected, rel=1e-12)
    assert metrics.kernel_distance(x, y[:3]) == (pytest.approx(expected, rel=1e-12), 0.0)


def test_kernel_distance_of_halves_is_zero_on_average_and_often_negative(rng: np.random.Generator) -> None:
    values = [metrics.kernel_distance(*rng.normal(size=(2, 30, 6)))[0] for _ in range(400)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(400)
    assert min(values) < 0


def test_kernel_distance_is_mean_and_deviation_over_seeded_subsets(rng: np.random.Generator) -> None:
    sizes = (60, 80)
    a, b = (rng.normal(size=(size, 40)) + mean for size, mean in zip(sizes, (0, 1), strict=True))
    choice = np.random.default_rng(3)
    each = []
    for _ in range(30):
        rows = [choice.choice(size, 50, replace=False) for size in sizes]
        each.append(metrics.squared_mmd(a[rows[0]], b[rows[1]]))
    found = metrics.kernel_distance(a, b, num_subsets=30, subset_size=50, seed=3)
    assert found == pytest.approx((np.mean(each), np.std(each)), rel=1e-9)
    assert found != metrics.kernel_distance(a, b, num_subsets=30, subset_size=50, seed=4)
    assert found[0] == pytest.approx(metrics.squared_mmd(a, b), abs=4 * found[1] / np.sqrt(30))


# ---- neighbours


def test_nearest_distances_are_those_of_every_pair_written_out(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(1500, 3)) + 100, rng.normal(size=(7, 3)) + 100  # more rows than one chunk
    every = np.linalg.norm(a[:, None] - b, axis=2)
    found, nearest = metrics.nearest_distances(a, b)
    np.testing.assert_allclose(found, every.min(axis=1), rtol=1e-12)
    assert (nearest == every.argmin(axis=1)).all()
    assert metrics.nearest_distances(a[:2], a)[0].max() == 0


def test_density_and_coverage_count_balls_as_drawn_by_hand() -> None:
    real = np.array([[0.0], [1.0], [3.0], [7.0]])  # with k = 1 the balls reach 1, 1, 2 and 4
    generated = np.array([[0.5], [2.0], [50.0]])  # inside 2, 1 (on the rim of the second: outside) and 0 balls
    density, coverage = metrics.density_and_coverage(generated, real, k=1)
    assert density == pytest.approx(3 / 3)
    assert coverage == pytest.approx(3 / 4)


def test_density_and_coverage_of_like_sets_have_their_expected_values(rng: np.random.Generator) -> None:
    n, m, k = 1100, 300, 5  # more real ones than one chunk
    pairs = [metrics.density_and_coverage(rng.normal(size=(m, 2)), rng.normal(size=(n, 2)), k) for _ in range(20)]
    density, coverage = np.mean(pairs, axis=0)
    expected = 1 - np.prod([(n - i) / (m + n - i) for i in range(1, k + 1)])
    assert density == pytest.approx(1, abs=0.02)
    assert coverage == pytest.approx(expected, abs=0.02)


def test_coverage_falls_where_one_drawing_is_repeated_and_density_where_drawings_are_far(
    rng: np.random.Generator,
) -> None:
    real = rng.normal(size=(200, 4))
    repeated = np.repeat(real[:1] + 1e-3, 200, axis=0)
    assert metrics.density_and_coverage(repeated, real)[1] < 0.1
    half_far = np.concatenate([rng.normal(size=(100, 4)), rng.normal(size=(100, 4)) + 50])
    figures = metrics.feature_distances(half_far, real)
    assert figures["density"] == pytest.approx(0.5, abs=0.15)
    assert figures["coverage"] > 0.7
    assert figures["fid"] > figures["fid_infinity"] > 0
    with pytest.raises(ValueError, match=r"k is 5, must lie in 1 \.\.\. 4 for 5 real drawings"):
        metrics.density_and_coverage(real, real[:5])


EVERY = (
    metrics.frechet_distance, metrics.frechet_distance_at_infinity, metrics.kernel_distance, metrics.nearest_distances,
    metrics.density_and_coverage,
)  # fmt: skip


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((1, 4)), np.zeros((9, 4)), "1 drawings"),
        (np.zeros((9, 4)), np.full((9, 4), np.nan), "NaN"),
        (np.full((9, 4), np.inf), np.zeros((9, 4)), "infinity"),
        (np.zeros((9, 4)), np.zeros((9, 5)), "4 and of 5"),
        (np.zeros(9), np.zeros((9, 5)), "shape"),
        (np.ones((9, 4)), np.ones((30, 4)), "all features are the same"),
    ],
)
def test_features_that_make_no_distance_are_refused(a: np.ndarray, b: np.ndarray, message: str) -> None:
    for distance in EVERY:
        with pytest.raises(ValueError, match=message):
            distance(a, b)
    with pytest.raises(ValueError, match="15 drawings on one side, an extrapolation needs at least 16"):
        metrics.frechet_distance_at_infinity(np.eye(15), np.eye(15))


# ---- baselines


def test_baseline_and_score_are_taken_at_the_same_number(rng: np.random.Generator) -> None:
    sizes = []

    def measure(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        sizes.append((len(a), len(b)))
        return {"fid": metrics.frechet_distance(a, b), "shift": float(a.mean() - b.mean())}

    real, same, other = rng.normal(size=(60, 4)), rng.normal(size=(50, 4)), rng.normal(size=(45, 4)) + 2
    score = metrics.with_floor(measure, same, real, seed=0, independent=other)
    assert sizes == [(50, 60), (45, 60)] + [(30, 30)] * 2 * NUM_SPLITS
    assert score["fid"]["floor_n"] == 30
    assert abs(score["fid"]["at_floor_n"] - score["fid"]["floor"]) < 3 * score["fid"]["floor_std"]
    assert score["fid"]["independent_strokes"] > 10 * score["fid"]["value"]
    assert score["shift"]["independent_strokes"] == pytest.approx(2, abs=0.5)
    far = metrics.with_floor(measure, other, real, seed=0)["fid"]
    assert far["at_floor_n"] > 10 * score["fid"]["floor"]
    assert "independent_strokes" not in far


def test_halves_are_disjoint_and_too_few_drawings_have_no_baseline() -> None:
    def shared(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        repeated = float(len(a) - len(np.unique(a)))
        return {"shared": float(len(np.intersect1d(a, b))), "repeated": repeated} | (
            {"wants 30": 1.0} if len(a) >= 30 else {}
        )

    real = np.arange(40)
    score = metrics.with_floor(shared, real + 100, real, seed=1)
    assert (score["shared"]["floor"], score["repeated"]["floor"], score["repeated"]["at_floor_n"]) == (0, 0, 0)
    assert (score["wants 30"]["value"], score["wants 30"]["floor"], score["wants 30"]["at_floor_n"]) == (1, None, None)
    few = metrics.with_floor(shared, real[:5], real, seed=1)["shared"]
    assert (few["value"], few["floor_n"], few["floor"], few["at_floor_n_std"]) == (5, 5, None, None)


# ---- recognisability and copied pictures, on points whose distances are known


def test_recognisability_counts_the_best_and_the_best_five() -> None:
    classes = [f"class {i}" for i in range(8)]
    logits = np.zeros((3, 8)) + np.arange(8)  # class 7 is best, class 3 is fifth
    assert metrics.recognisability(logits, classes, "class 7") == {"top1": 1.0, "top5": 1.0}
    assert metrics.recognisability(logits, classes, "class 3") == {"top1": 0.0, "top5": 1.0}
    assert metrics.recognisability(logits, classes, "class 2") == {"top1": 0.0, "top5": 0.0}
    assert metrics.recognisability(logits, classes, "a category of somebody's own") == {"top1": None, "top5": None}


def test_memorisation_compares_medians_and_counts_what_is_nearer_than_real() -> None:
    training = np.array([[0.0], [100.0]])
    real = np.arange(1, 101)[:, None] / 10 + 20.0  # 20.1 ... 30 away from the nearest, its first hundredth 20.199
    generated = np.array([[10.0], [110.0], [20.15], [125.1], [140.0]])  # 10, 10, 20.15, 25.1 and 40 away
    found = metrics.memorisation(generated, real, training)
    assert found["median_generated"] == pytest.approx(20.15)
    assert found["median_real"] == pytest.approx(25.05)
    assert found["ratio"] == pytest.approx(20.15 / 25.05)
    assert found["nearer_than_real"] == pytest.approx(3 / 5)
    assert found["n_training"] == 2


# ---- averages over seeds


def test_over_seeds_gives_mean_and_deviation_beside_each_figure_that_differs() -> None:
    runs = [
        {"n": 5, "network": {"sha": "a"}, "fid": {"value": value, "floor": 2.0}, "curve": [value, 1.0]}
        for value in (1.0, 2.0, 6.0)
    ]
    merged = over_seeds(runs)
    assert merged["fid"]["value"] == 3.0
    assert merged["fid"]["value_over_seeds"] == pytest.approx(np.std([1, 2, 6], ddof=1))
    assert "floor_over_seeds" not in merged["fid"]
    assert (merged["n"], merged["network"]) == (5, {"sha": "a"})
    assert merged["curve"] == [3.0, 1.0]
    assert merged["curve_over_seeds"] == [pytest.approx(np.std([1, 2, 6], ddof=1)), 0.0]
    assert over_seeds(runs[:1]) == runs[0]
    assert over_seeds([{"x": None}, {"x": 1.0}]) == {"x": None}


# ---- whole scores, with the shipped network


def real_drawings(category: str, count: int) -> list:
    """Real drawings where they are at hand, drawings of the procedural artist otherwise."""
    if REAL_DIR:
        packed, _ = read_ndjson(Path(REAL_DIR) / f"{category}.ndjson")
        return [packed.drawing(i) for i in range(min(count, len(packed)))]
    return embedded_drawings(category, count)


@pytest.fixture(scope="module")
def loaded() -> LoadedNetwork:
    return load_feature_network(NETWORK_PATH)


def test_scores_tell_real_drawings_from_shuffled_strokes_from_reversed_drawings_from_buses(
    loaded: LoadedNetwork,
) -> None:
    cats = [drawing for drawing in real_drawings("cat", 260) if len(drawing) <= 24][:240]
    ours, real = cats[::2], cats[1::2]
    reference = reference_of(real, "cat", loaded, training=cats[::4])

    def scores(drawings: list) -> dict:
        return metrics.scores_against(reference, drawings, "cat", loaded)

    same, other, mixed = scores(ours), scores(real_drawings("bus", 40)), scores(independent_strokes(ours, 120, seed=9))
    for name in ("fid", "fid_infinity", "density", "coverage"):
        assert abs(same[name]["at_floor_n"] / same[name]["floor"] - 1) < 0.3, name
    assert abs(same["kid"]["share"]) < 0.25
    assert other["kid"]["value"] > 1.5 * same["kid"]["independent_strokes"] > 0
    assert other["coverage"]["value"] < 0.5 * same["coverage"]["floor"]
    assert other["recognisability"]["generated"]["top1"] < 0.1
    assert same["recognisability"]["generated"]["top1"] > 0.4

    for judge in (None, "second_judge"):
        found, far, shuffled = (side[judge] if judge else side for side in (same, other, mixed))
        assert found["two_sample"]["value"] < 0.62 < 0.7 < shuffled["two_sample"]["value"], judge
        assert far["two_sample"]["value"] > 0.9, judge
        assert 0.8 < found["top1_over_real"] < 1.25, judge
        assert far["recognisability"]["generated"]["top1"] < 0.15, judge

    assert mixed["kid"]["share"] == pytest.approx(1, abs=0.4)
    assert mixed["fid"]["at_floor_n"] > 1.15 * mixed["fid"]["floor"]
    jumps = mixed["strokes"]["distances"]["pen_jumps"]
    assert jumps["at_floor_n"] > 2 * jumps["floor"]

    # half of ours are training drawings: pictures and strokes both see it
    assert same["memorisation"]["nearer_than_real"] > 0.4
    assert same["stroke_copies"]["generated"]["share"] > 0.4 > 0.15 > same["stroke_copies"]["real"]["share"]

    backward = scores([drawing[::-1] for drawing in ours])
    assert backward["fid"]["value"] == pytest.approx(same["fid"]["value"], rel=1e-6)
    assert backward["two_sample"]["value"] == same["two_sample"]["value"]
    assert backward["second_judge"]["two_sample"]["value"] > 0.75  # it reads the order
    order = backward["strokes"]["distances"]["order"]
    assert order["at_floor_n"] > 1.5 * max(order["floor"], same["strokes"]["distances"]["order"]["at_floor_n"])
    after = same["recognised_after"]
    assert after["generated"][3] != backward["recognised_after"]["generated"][3]
    for side in ("generated", "real"):  # after all strokes it is recognisability
        assert after[side][-1] == pytest.approx(same["recognisability"][side]["top1"])
    assert after["real"] == pytest.approx(recognised_after(real, loaded, "cat").mean(axis=0).tolist())
    assert json.loads(json.dumps(same)) == same


def test_scores_without_real_drawings_use_the_shipped_reference_and_say_so() -> None:
    cats = real_drawings("cat", 60)
    score = metrics.score_drawings(cats, None, "kedi", training=cats[:40])
    assert (score["category"], score["n_real"], score["n_generated"]) == ("cat", 250, 60)
    assert "pictures" in score["reference"]
    assert score["kid"]["floor_n"] == 60
    assert "held-out" in score["strokes"]["reference"]
    assert score["strokes"]["n_real"] > 100
    assert score["second_judge"]["n_real"] == score["strokes"]["n_real"]
    assert "held-out" in score["second_judge"]["reference"]
    for judge in (score, score["second_judge"]):  # real training drawings are near, and the judge knows how near
        assert abs(judge["two_sample"]["training"] - 0.5) < 0.1
        assert abs(judge["kid"]["training"]) < 0.1 * judge["kid"]["independent_strokes"]
    assert score["memorisation"]["n_training"] == score["memorisation"]["n_learned_from"] > 1000
    assert score["kid"]["independent_strokes"] > 0.1
    assert score["kid"]["share"] == pytest.approx(score["kid"]["value"] / score["kid"]["independent_strokes"])
    if REAL_DIR:  # real drawings are far below shuffled strokes; those of a program are not
        assert abs(score["kid"]["share"]) < 0.3
    assert score["recognisability"]["real"]["top1"] > 0.4
    assert score["stroke_copies"]["generated"]["share"] > 0.5
    assert score["stroke_copies"]["real"]["share"] is None
    with pytest.raises(ValueError, match=r"not 'dog'; give --real"):
        metrics.score_drawings(cats, None, "dog")


# ---- the command line


def test_command_line_scores_files_of_few_drawings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cats = real_drawings("cat", 34)
    for name, drawings in (("real", cats[:10]), ("generated", cats[10:14]), ("training", cats[14:])):
        write_ndjson(tmp_path / f"{name}.ndjson", drawings, word="cat")
    out = tmp_path / "scores.json"
    names = ("real", "generated", "training")
    files = [word for name in names for word in (f"--{name}", str(tmp_path / f"{name}.ndjson"))]
    result = metrics.main(["score", *files, "--out", str(out)])
    assert json.loads(out.read_text()) == json.loads(capsys.readouterr().out) == result
    assert (result["n_real"], result["n_generated"], result["category"]) == (10, 4, "cat")
    assert result["memorisation"]["n_training"] == 20
    # what four drawings allow
    assert result["fid"]["floor"] is None
    assert result["fid"]["value"] > 0
    assert "fid_infinity" not in result
    for words in ("features is too high", "real-vs-real baselines need 8", "do not see redrawn strokes"):
        assert words in result["note"]


def test_a_category_of_ones_own_is_scored_against_ones_own_drawings_all_but_recognised(tmp_path: Path) -> None:
    write_ndjson(tmp_path / "çizim ş.ndjson", real_drawings("cat", 20), word="bizim kedi")
    own = str(tmp_path / "çizim ş.ndjson")
    result = metrics.main(["score", "--generated", own, "--real", own])
    assert (result["category"], result["fid"]["value"] < 1e-6) == ("bizim kedi", True)
    assert result["recognised_after"] is result["top1_over_real"] is result["recognisability"]["real"]["top1"] is None
    assert "'bizim kedi' is no category that the networks know: recognisability is not measured" in result["note"]
    with pytest.raises(ValueError, match="unknown category 'bizim kedi'"):
        metrics.main(["score", "--generated", own])


def test_a_pipe_is_read_as_a_file_is(tmp_path: Path) -> None:
    """Its drawings and its word, though it gives its content once."""
    write_ndjson(tmp_path / "cat.ndjson", real_drawings("cat", 4), word="cat")
    content, pipe = (tmp_path / "cat.ndjson").read_bytes(), tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=(content,), daemon=True).start()
    result = metrics.main(["score", "--generated", str(pipe)])
    assert (result["n_generated"], result["category"]) == (4, "cat")


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="done by one process: start it without torchrun"):
        metrics.main(["score", "--generated", "none.ndjson"])
