"""Laws of whole scores: floors and ceilings, what each figure sees, averages over seeds, and the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import metrics
from dataset_utils import read_ndjson, write_ndjson
from drawings.embedded import embedded_drawings
from scoring.feature_network import load_feature_network
from scoring.reference import recognised_after, reference_categories

ROOT = Path(metrics.__file__).parent
REAL_DIR = os.environ.get("QUICKDRAW_DIR")


def real_drawings(category: str, count: int) -> list:
    """Real drawings where they are at hand, drawings of the procedural artist otherwise."""
    if REAL_DIR:
        packed, _ = read_ndjson(Path(REAL_DIR) / f"{category}.ndjson")
        return [packed.drawing(i) for i in range(min(count, len(packed)))]
    return embedded_drawings(category, count)


def test_recognisability_counts_the_best_and_the_best_five() -> None:
    classes = [f"class {i}" for i in range(8)]
    logits = np.zeros((3, 8)) + np.arange(8)  # class 7 is best, class 3 is fifth
    assert metrics.recognisability(logits, classes, "class 7") == {"top1": 1.0, "top5": 1.0}
    assert metrics.recognisability(logits, classes, "class 3") == {"top1": 0.0, "top5": 1.0}
    assert metrics.recognisability(logits, classes, "class 2") == {"top1": 0.0, "top5": 0.0}
    with pytest.raises(ValueError, match="unicorn"):
        metrics.recognisability(logits, classes, "unicorn")


# ---- memorisation, on points whose distances are known


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


def test_copies_are_nearer_than_real_drawings_and_the_closest_pairs_name_them() -> None:
    rng = np.random.default_rng(0)
    training, real, fresh = (rng.normal(size=(n, 8)) for n in (300, 200, 200))
    honest = metrics.memorisation(fresh, real, training)
    assert honest["ratio"] == pytest.approx(1, abs=0.1)
    assert honest["nearer_than_real"] < 0.05
    copying = fresh.copy()
    copying[7], copying[40] = training[123] + 1e-3, training[9] + 1e-2
    assert metrics.memorisation(copying, real, training)["nearer_than_real"] >= 2 / 200
    pairs = metrics.closest_pairs(copying, training, 3)
    assert [(i, j) for i, j, _ in pairs[:2]] == [(7, 123), (40, 9)]
    assert [distance for _, _, distance in pairs] == sorted(distance for _, _, distance in pairs)
    assert metrics.memorisation(training[:50], real, training)["ratio"] == 0


def test_density_and_coverage_are_of_the_generated_drawings() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(100, 3))
    generated = np.concatenate([rng.normal(size=(50, 3)), rng.normal(size=(50, 3)) + 99])  # half of them far away
    figures = metrics.feature_distances(generated, real)
    assert figures["density"] == pytest.approx(0.5, abs=0.15)
    assert figures["coverage"] > 0.85
    assert figures["fid"] > figures["fid_infinity"] > 0


# ---- averages over seeds


def test_over_seeds_gives_mean_and_deviation_beside_each_figure_that_differs() -> None:
    runs = [
        {"n": 5, "network": {"sha": "a"}, "fid": {"value": value, "floor": 2.0}, "curve": [value, 1.0]}
        for value in (1.0, 2.0, 6.0)
    ]
    merged = metrics.over_seeds(runs)
    assert merged["fid"]["value"] == 3.0
    assert merged["fid"]["value_over_seeds"] == pytest.approx(np.std([1, 2, 6], ddof=1))
    assert "floor_over_seeds" not in merged["fid"]
    assert (merged["n"], merged["network"]) == (5, {"sha": "a"})
    assert merged["curve"] == [3.0, 1.0]
    assert merged["curve_over_seeds"] == [pytest.approx(np.std([1, 2, 6], ddof=1)), 0.0]
    assert metrics.over_seeds(runs[:1]) == runs[0]
    assert metrics.over_seeds([{"x": None}, {"x": 1.0}]) == {"x": None}


@pytest.mark.parametrize(
    ("runs", "message"),
    [([], "no scores"), ([{"a": 1}, {"b": 1}], "'a' is not in all"), ([{"a": "x"}, {"a": "y"}], "'a' is 'x' and 'y'")],
)
def test_scores_of_different_forms_have_no_average(runs: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.over_seeds(runs)


# ---- whole scores, with the shipped network


def test_real_halves_score_at_the_floor_and_buses_are_no_cats() -> None:
    cats = real_drawings("cat", 240)
    same = metrics.score_drawings(cats[::2], cats[1::2], "cat", training=cats[::6])
    other = metrics.score_drawings(real_drawings("bus", 120), cats[1::2], "kedi")
    assert other["category"] == "cat"
    assert other["memorisation"] is None
    for name in ("fid", "fid_infinity", "density", "coverage"):
        assert abs(same[name]["at_floor_n"] / same[name]["floor"] - 1) < 0.3, name
    assert abs(same["kid"]["share"]) < 0.25
    assert other["kid"]["value"] > 1.5 * same["kid"]["independent_strokes"] > 0
    assert other["coverage"]["value"] < 0.5 * same["coverage"]["floor"]
    assert other["recognisability"]["generated"]["top1"] < 0.1
    assert same["recognisability"]["generated"]["top1"] > 0.4
    assert same["memorisation"]["nearer_than_real"] > 0.2  # a third of the generated drawings are training drawings
    assert json.loads(json.dumps(same)) == same


def test_independent_strokes_score_far_above_the_floor() -> None:
    from scoring.stroke_statistics import independent_strokes

    cats = real_drawings("cat", 300)
    mixed = independent_strokes(cats[:150], 150, seed=9)
    score = metrics.score_drawings(mixed, cats[150:], "cat")
    assert score["kid"]["share"] == pytest.approx(1, abs=0.35)
    assert score["fid"]["at_floor_n"] > 1.2 * score["fid"]["floor"]
    assert score["coverage"]["at_floor_n"] < 0.85 * score["coverage"]["floor"]
    jumps = score["strokes"]["distances"]["pen_jumps"]
    assert jumps["at_floor_n"] > 2 * jumps["floor"]
    counts = score["strokes"]["distances"]["strokes_per_drawing"]
    assert counts["at_floor_n"] < 3 * counts["floor"] + 0.5


def test_the_order_of_strokes_is_seen_by_strokes_alone() -> None:
    cats = real_drawings("cat", 240)
    reversed_cats = [drawing[::-1] for drawing in cats[::2]]
    forward, backward = (metrics.score_drawings(side, cats[1::2], "cat") for side in (cats[::2], reversed_cats))
    assert backward["fid"]["value"] == pytest.approx(forward["fid"]["value"], rel=1e-6)
    order = backward["strokes"]["distances"]["order"]
    assert order["at_floor_n"] > 1.5 * max(order["floor"], forward["strokes"]["distances"]["order"]["at_floor_n"])
    early = [side["recognised_after"]["generated"][3] for side in (forward, backward)]
    assert early[0] != early[1]


def test_recognition_after_all_strokes_is_recognisability() -> None:
    cats = [drawing for drawing in real_drawings("cat", 80) if len(drawing) <= 24]
    score = metrics.score_drawings(cats[::2], cats[1::2], "cat")
    after = score["recognised_after"]
    assert len(after["generated"]) == len(after["real"]) == 24
    for side in ("generated", "real"):
        assert after[side][-1] == pytest.approx(score["recognisability"][side]["top1"])
    assert after["real"][0] < after["real"][-1]
    loaded = load_feature_network(metrics.NETWORK_PATH)
    assert after["real"] == pytest.approx(recognised_after(cats[1::2], loaded, "cat").mean(axis=0).tolist())
    assert after["real"] != after["generated"]


def test_scores_without_real_drawings_use_the_shipped_reference_and_say_so() -> None:
    cats = real_drawings("cat", 60)
    score = metrics.score_drawings(cats, None, "cat")
    assert (score["n_real"], score["n_generated"]) == (250, 60)
    assert "pictures" in score["reference"]
    assert score["kid"]["floor_n"] == 60
    assert "held-out" in score["strokes"]["reference"]
    assert score["strokes"]["n_real"] > 100
    assert score["memorisation"]["n_training"] == score["memorisation"]["n_learned_from"] > 1000
    assert score["kid"]["independent_strokes"] > 0.1
    assert score["kid"]["share"] == pytest.approx(score["kid"]["value"] / score["kid"]["independent_strokes"])
    if REAL_DIR:  # real drawings are far below independent strokes; those of a program are not
        assert abs(score["kid"]["share"]) < 0.3
    assert score["recognisability"]["real"]["top1"] > 0.4
    with pytest.raises(ValueError, match=r"not 'dog'; give --real"):
        metrics.score_drawings(cats, None, "dog")


def test_cars_are_scored_against_held_out_drawings_and_a_named_part_of_the_training_drawings() -> None:
    assert reference_categories(metrics.REFERENCE_PATH) == ["bus", "car", "cat", "rabbit"]
    score = metrics.score_drawings(real_drawings("cat", 60), None, "araba")
    assert score["category"] == "car"
    assert "held-out" in score["reference"]
    assert "official test split" not in score["reference"]
    assert score["n_real"] == score["strokes"]["n_real"] > 1000
    assert score["memorisation"]["n_training"] == 3000 < score["memorisation"]["n_learned_from"]
    assert score["kid"]["share"] > 1  # cats are no cars


def test_few_drawings_have_the_figures_that_few_drawings_allow() -> None:
    cats = real_drawings("cat", 8)
    score = metrics.score_drawings(cats[:4], cats[4:], "cat")
    assert score["fid"]["floor"] is None
    assert score["fid"]["value"] > 0
    assert not {"fid_infinity", "density", "coverage"} & score.keys()
    with pytest.raises(ValueError, match="1 generated drawings, at least 2"):
        metrics.score_drawings(cats[:1], cats[4:], "cat")


# ---- the command line


def test_command_line_scores_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cats = real_drawings("cat", 60)
    for name, drawings in (("real", cats[:20]), ("generated", cats[20:40]), ("training", cats[40:])):
        write_ndjson(tmp_path / f"{name}.ndjson", drawings, word="cat")
    out = tmp_path / "scores.json"
    names = ("real", "generated", "training")
    files = [word for name in names for word in (f"--{name}", str(tmp_path / f"{name}.ndjson"))]
    result = metrics.main(["score", *files, "--out", str(out)])
    assert json.loads(out.read_text()) == json.loads(capsys.readouterr().out) == result
    assert (result["n_real"], result["n_generated"], result["category"]) == (20, 20, "cat")
    assert result["memorisation"]["n_training"] == 20


def test_bad_input_is_one_line_and_needs_no_torch(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    write_ndjson(tmp_path / "one.ndjson", embedded_drawings("cat", 1), word="cat")
    write_ndjson(tmp_path / "cats.ndjson", embedded_drawings("cat", 3), word="cat")
    cats = ["score", "--generated", str(tmp_path / "cats.ndjson")]
    for arguments, code, message in (
        (["--help"], 0, "official"),
        (["score", "--help"], 0, "--generated"),
        ([], 2, "score | official | pictures"),
        (["score", "--generated", "none.ndjson"], 2, "none.ndjson: no such file"),
        (["score", "--generated", str(tmp_path / "one.ndjson")], 2, "1 drawings"),
        ([*cats, "--category", "unicorn"], 2, "unknown category 'unicorn'"),
        ([*cats, "--seed", "-1"], 2, "--seed is -1"),
        ([*cats, "--training", "x.ndjson"], 2, "--training is given without --real"),
    ):
        done = subprocess.run(
            [sys.executable, str(ROOT / "metrics.py"), *arguments],
            env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert message in done.stdout + done.stderr
        assert code == 0 or len(done.stderr.splitlines()) == 1
