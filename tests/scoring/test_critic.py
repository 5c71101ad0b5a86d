"""The critic that chooses among candidates: density ratios that are known, draws in proportion, files, refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Answer

import sample_diffusion
from config import BASE_PATH, NETWORK_PATH, RECOGNISER_PATH
from dataset_utils import PackedDrawings
from diffusion_model import TrainedModel
from plumbing.files import sha256_of
from scoring import critic
from scoring.critic import EYE_PATH, Critic, Eye, load_critics, save_critics, shipped_critic
from scoring.feature_network import load_feature_network


def test_chosen_candidates_move_to_the_real_density_and_keep_its_width() -> None:
    rng = np.random.default_rng(0)
    generated, real = rng.normal(size=(4000, 2)), rng.normal((1.0, 0.0), 1.0, (4000, 2))
    candidates = rng.normal(size=(20_000, 2))
    kept = candidates[Critic.between(generated, real).choose(candidates, 2_000, seed=1)]
    # the regression is held back by its penalty, so that it goes most of the way, and no further
    assert 0.6 < kept[:, 0].mean() < 1.0
    assert abs(kept[:, 1].mean()) < 0.1
    assert np.allclose(kept.std(0), 1.0, atol=0.1)


def test_few_real_drawings_weigh_as_much_as_many_generated() -> None:
    rng = np.random.default_rng(0)
    generated, real = rng.normal(size=(5000, 1)), rng.normal(size=(5000, 1)) + 1.0
    many, few = Critic.between(generated, real), Critic.between(generated, real[:200])
    assert few.weights[0] == pytest.approx(many.weights[0], rel=0.2)


def test_one_of_two_is_drawn_in_proportion_to_its_ratio() -> None:
    judge = Critic(np.array([np.log(3.0)]), {})
    drawn = [int(judge.choose(np.array([[0.0], [1.0]]), 1, seed)[0]) for seed in range(2000)]
    assert np.mean(drawn) == pytest.approx(0.75, abs=0.03)  # three standard errors


def test_what_is_kept_is_as_many_as_asked_in_order_and_the_same_again() -> None:
    features = np.random.default_rng(0).normal(size=(50, 3))
    judge = Critic(np.array([1.0, -1.0, 0.0]), {})
    kept = judge.choose(features, 7, seed=3)
    assert len(kept) == len(set(kept)) == 7
    assert list(kept) == sorted(kept)
    assert np.array_equal(kept, judge.choose(features, 7, seed=3))
    assert not np.array_equal(kept, judge.choose(features, 7, seed=4))


def test_critics_are_read_as_they_were_written_and_no_other_file_is(tmp_path: Path) -> None:
    path = tmp_path / "critics.safetensors"
    assert load_critics(path) == {}
    save_critics(path, {"cat": Critic(np.array([1.0, 2.5]), {"sha256": "a"})})
    read = load_critics(path)["cat"]
    assert read.weights.tolist() == [1.0, 2.5]
    assert read.conditions == {"sha256": "a"}
    with pytest.raises(ValueError, match="not a file of critics"):
        load_critics(Path(critic.__file__).parent.parent / "checkpoints" / "stroke_recogniser.safetensors")


def test_what_an_eye_sees_of_a_drawing_depends_on_no_other(tiny_model: TrainedModel, cats: PackedDrawings) -> None:
    eye = Eye("cat", load_feature_network(EYE_PATH), tiny_model)
    drawings = [cats.drawing(i) for i in range(5)]
    together = eye.features(drawings)
    alone = np.concatenate([eye.features([drawing]) for drawing in drawings])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert together.shape[1] == 256 + 2 * tiny_model.model.config.width + 1
    longer = eye.contexts([drawings[0], drawings[0][:1]])
    assert not np.allclose(longer[0], longer[1])


def test_what_chooses_has_no_part_in_any_score_and_has_never_seen_the_categories() -> None:
    eye = load_feature_network(EYE_PATH)
    assert len(eye.classes) == 341
    assert not {"cat", "bus", "rabbit", "car"} & set(eye.classes)
    assert eye.sha256 not in {load_feature_network(path).sha256 for path in (NETWORK_PATH, RECOGNISER_PATH)}


def test_only_drawings_of_the_weights_that_it_knows_are_chosen_among() -> None:
    shipped = load_critics()
    assert set(shipped) == {"cat", "bus", "rabbit", "car"}
    for category, each in shipped.items():
        weights = sample_diffusion.shipped_checkpoint(category)
        sha256 = sample_diffusion.load_model(weights).sha256
        assert shipped_critic(category, sha256).weights.tolist() == each.weights.tolist(), category
        assert each.conditions["category"] == category
        assert each.conditions["eye_sha256"] == load_feature_network(EYE_PATH).sha256
        assert each.conditions["base_sha256"] == sha256_of(BASE_PATH)
    with pytest.raises(ValueError, match="dog has no critic; bus, car, cat, rabbit have one"):
        shipped_critic("dog", "")
    with pytest.raises(ValueError, match="knows what the shipped model draws by default alone"):
        shipped_critic("cat", "other weights")


def test_sampling_keeps_what_the_critic_chose(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["--category", "cat", "--checkpoint", str(tiny_weights), "--steps", "2", "--out"]
    whole = sample_diffusion.main([*command, str(tmp_path / "whole"), "--n", "6"]).drawings

    class EveryThird(Critic):
        def chosen(self, drawings: Any, count: int, seed: int) -> Any:
            assert (len(drawings), count, seed) == (6, 2, 0)
            return [1, 4]

    monkeypatch.setattr(critic, "shipped_critic", lambda category, sha256: EveryThird(np.zeros(1), {}))
    sampled = sample_diffusion.main([*command, str(tmp_path / "some"), "--n", "2", "--choose", "3"])
    assert sampled.conditions["candidates"] == 6
    assert all(np.array_equal(a, b) for one, two in zip(sampled.drawings, [whole[1], whole[4]], strict=True)
               for a, b in zip(one, two, strict=True))  # fmt: skip


BAD = [
    (["--choose", "0"], "must lie in 1 ... 50"),
    (["--choose", "51"], "must lie in 1 ... 50"),
    (["--choose", "2", "--prefix", "x.ndjson"], "do not go together"),
    (["--choose", "2", "--quality", "teacher"], "draws by default alone"),
]


@pytest.mark.parametrize(("flags", "reason"), BAD)
def test_a_choice_that_makes_no_sense_is_refused_before_anything_is_drawn(
    flags: list[str], reason: str, tmp_path: Path, answer: Callable[..., Answer]
) -> None:
    said = answer("sample_diffusion", "--category", "cat", "--n", "100000", "--out", tmp_path / "out", *flags)
    assert (said.code, reason in said.err) == (2, True), said.err
    assert not (tmp_path / "out").exists()
