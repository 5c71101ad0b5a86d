"""Scores of odd drawings: measures against counting, losses against closed forms, thresholds that hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from config import NETWORK_PATH, RECOGNISER_PATH, TURKISH_NAMES
from diffusion_model import TrainedModel
from drawings.packed import PackedDrawings
from oddity.autoencoder import (
    Autoencoder,
    ink_of,
    load_autoencoders,
    redrawn,
    save_autoencoders,
    share_lost,
    train_autoencoder,
)
from oddity.calibration import LEVELS, calibrated, honest_levels, load_calibration, save_calibrations
from oddity.damage import DAMAGES, damaged
from oddity.looks import Judges, Look
from oddity.losses import stroke_losses
from oddity.measures import auc, average_precision, fpr_at_tpr, measured, roc_curve
from oddity.scores import SCORES
from plumbing.tensor_files import read_header


def test_areas_and_rates_are_those_of_counting_pairs_and_thresholds() -> None:
    rng = np.random.default_rng(0)
    odd, true = rng.integers(2, 9, 40).astype(float), rng.integers(0, 7, 60).astype(float)  # with ties
    above = (odd[:, None] > true).mean() + (odd[:, None] == true).mean() / 2
    assert auc(odd, true) == pytest.approx(above)
    false, found = roc_curve(odd, true)
    assert np.trapezoid(found, false) == pytest.approx(above)
    precisions = [(odd >= score).sum() / ((odd >= score).sum() + (true >= score).sum()) for score in odd]
    assert average_precision(odd, true) == pytest.approx(np.mean(precisions))
    possible = [threshold for threshold in np.unique(odd) if (odd >= threshold).mean() >= 0.95]
    assert fpr_at_tpr(odd, true) == pytest.approx((true >= max(possible)).mean())


def test_a_detector_that_calls_everything_odd_is_seen_through() -> None:
    same = np.zeros(50)
    found = measured(same, same, threshold=0.0)
    assert (found["tpr"][0], found["tnr"][0], found["auc"][0]) == (1.0, 0.0, 0.5)
    assert found["fpr_at_95_tpr"][0] == 1.0


def test_a_threshold_keeps_its_promise_and_levels_mend_what_was_learned_by_heart() -> None:
    rng = np.random.default_rng(1)
    new = rng.exponential(size=4000)
    learned = 0.5 * rng.exponential(size=4000)  # drawings that are known by heart look less odd
    plain = calibrated("recognisers", "cat", learned, "training drawings")
    assert (new >= plain.threshold(0.05)).mean() > 0.15
    levels = honest_levels((learned[:, None] < new[None, :2000]).mean(0))
    mended = calibrated("recognisers", "cat", learned, "mended", levels)
    assert (new[2000:] >= mended.threshold(0.05)).mean() == pytest.approx(0.05, abs=0.015)
    ranks = plain.rank(np.quantile(learned, [0.1, 0.5, 0.95]))
    assert ranks == pytest.approx([0.9, 0.5, 0.05], abs=0.01)


def test_the_shipped_thresholds_are_of_the_shipped_recognisers_and_of_all_categories(tmp_path: Path) -> None:
    judges = Judges("cat")
    networks = [judges.pictures.sha256, judges.strokes.sha256]
    for name in TURKISH_NAMES:
        quantiles = load_calibration(name, networks).quantiles
        assert len(quantiles) == len(LEVELS)
        assert (np.diff(quantiles) >= 0).all()
    with pytest.raises(ValueError, match="other recognisers"):
        load_calibration("cat", networks[::-1])
    found = [calibrated("recognisers", "cat", [1.0, 2.0], "two")]
    save_calibrations(found, {"networks": networks}, tmp_path / "one.safetensors")
    with pytest.raises(ValueError, match="nobody has trained a recogniser on 'zebu'"):
        load_calibration("zebu", networks, tmp_path / "one.safetensors")


def test_an_end_costs_the_nats_of_its_decisions_and_a_loss_hangs_on_the_drawing_alone(
    tiny_model: TrainedModel, cats: PackedDrawings
) -> None:
    drawings = [drawing for drawing in cats.select(range(40)) if len(drawing) <= tiny_model.model.config.max_strokes]
    together = stroke_losses(tiny_model, 0, drawings)
    alone = stroke_losses(tiny_model, 0, drawings[3:4])
    assert together.denoising[3] == pytest.approx(alone.denoising[0], rel=1e-4, nan_ok=True)
    assert np.isfinite(together.denoising).sum(1).tolist() == [len(drawing) for drawing in drawings]
    with torch.no_grad():
        weight, bias = tiny_model.model.stop.weight.clone(), tiny_model.model.stop.bias.clone()
        tiny_model.model.stop.weight.zero_()
        tiny_model.model.stop.bias.fill_(float(np.log(0.25 / 0.75)))
        stop = stroke_losses(tiny_model, 0, drawings).stop
        tiny_model.model.stop.weight.copy_(weight)
        tiny_model.model.stop.bias.copy_(bias)
    expected = [-(len(drawing) - 1) * np.log(0.75) - np.log(0.25) for drawing in drawings]
    assert stop == pytest.approx(expected, rel=1e-5)


def test_an_autoencoder_redraws_what_it_has_learned_and_its_file_gives_it_back(
    cats: PackedDrawings, tmp_path: Path
) -> None:
    ink = ink_of(list(cats.select(range(24))))
    rows: list[dict[str, float]] = []
    model = train_autoencoder(ink, 0, 150, rows.append)
    assert rows[-1]["step"] == 150
    assert rows[-1]["loss"] < rows[0]["loss"]
    torch.manual_seed(1)
    fresh = share_lost(ink, redrawn(Autoencoder(), ink))
    lost = share_lost(ink, redrawn(model, ink))
    assert lost.mean() < 0.9 * fresh.mean()
    assert share_lost(ink, ink).max() == 0
    save_autoencoders(tmp_path / "a.safetensors", {"cat": model}, {})
    again = load_autoencoders(tmp_path / "a.safetensors")["cat"]
    assert share_lost(ink, redrawn(again, ink)) == pytest.approx(lost, abs=0.02)  # bfloat16
    with pytest.raises(ValueError, match="not a file of autoencoders"):
        load_autoencoders(RECOGNISER_PATH)
    assert read_header(NETWORK_PATH).words  # and files of other kinds stay readable


def test_damages_are_what_they_are_called(cats: PackedDrawings) -> None:
    rng = np.random.default_rng(0)
    drawing, foreign = cats.drawing(0), cats.drawing(1)
    made = {kind: damaged(drawing, kind, foreign, rng) for kind in DAMAGES}
    assert [len(made[kind]) - len(drawing) for kind in DAMAGES] == [1, 1, -1, 0]
    for kind in DAMAGES[:2]:
        assert all(np.array_equal(a, b) for a, b in zip(made[kind], drawing, strict=False))
    assert sorted(stroke.tobytes() for stroke in made["order shuffled"]) == sorted(s.tobytes() for s in drawing)


@pytest.mark.parametrize("name", [name for name in SCORES if not SCORES[name].models and name != "autoencoder"])
def test_a_score_judges_each_drawing_for_itself_and_finds_scrawls_odder_than_what_it_was_fitted_to(
    name: str, cats: PackedDrawings
) -> None:
    judges, rng = Judges("cat"), np.random.default_rng(0)
    known = Look(list(cats.select(range(120))), judges)
    new = list(cats.select(range(120, 160)))
    scrawls = [[rng.integers(0, 256, (40, 2)).astype(np.uint8) for _ in range(6)] for _ in range(20)]
    measure = SCORES[name].fit(known)
    scores = measure(Look(new + scrawls, judges))
    assert scores[:5] == pytest.approx(measure(Look(new[:5], judges)), rel=1e-4, abs=1e-5)
    assert auc(scores[40:], scores[:40]) > 0.9
