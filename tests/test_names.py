"""All 345 categories can be asked for, in English and Turkish, and each is drawn by the weights that know it best."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from config import (
    BASE_GUIDANCE,
    BASE_PATH,
    CATEGORIES,
    CHECKPOINTS,
    TURKISH_NAMES,
    plain_name,
    resolve_category,
    shipped_checkpoint,
)
from diffusion_model import TrainedModel, load_with_guide, save_weights
from plumbing.tensor_files import read_header

TURKISH_CAPITALS = str.maketrans("iı", "İI")


def test_the_table_has_the_categories_of_the_base_and_no_two_share_a_name_in_either_language() -> None:
    assert list(TURKISH_NAMES) == read_header(BASE_PATH).value("categories")
    assert len(TURKISH_NAMES) == 345
    owners: dict[str, set[str]] = {}
    for english, turkish in TURKISH_NAMES.items():
        for name in (english, turkish):
            owners.setdefault(plain_name(name), set()).add(english)
    assert {name: own for name, own in owners.items() if len(own) > 1} == {}


def test_every_name_is_understood_in_both_languages_however_it_is_typed() -> None:
    for english, turkish in TURKISH_NAMES.items():
        for typed in (english, english.upper(), turkish, turkish.translate(TURKISH_CAPITALS).upper(), turkish.upper(),
                      plain_name(turkish), f" {turkish} ", turkish.replace(" ", "-")):  # fmt: skip
            assert resolve_category(typed) == english, typed
    assert resolve_category("köpek", ("cat", "dog")) == "dog"


def test_an_unknown_name_is_answered_with_the_nearest_in_either_language() -> None:
    for typed in ("hous", "kopke", "timsahh"):
        with pytest.raises(ValueError, match=f"unknown category '{typed}'; did you mean") as caught:
            resolve_category(typed)
        nearest = {"hous": "'house' (ev)", "kopke": "'dog' (köpek)", "timsahh": "'crocodile' (timsah)"}
        assert nearest[typed] in str(caught.value)
    with pytest.raises(ValueError, match="unknown category 'ev'") as caught:
        resolve_category("ev", ("cat", "dog"))
    assert "house" not in str(caught.value)


def test_four_categories_have_weights_of_their_own_and_the_base_draws_the_others() -> None:
    own = {category for category in TURKISH_NAMES if shipped_checkpoint(category, "teacher") != BASE_PATH}
    assert own == {*CATEGORIES, "car"}
    assert shipped_checkpoint("cat", "teacher") == CHECKPOINTS / "cat.safetensors"


def test_a_student_draws_where_there_is_one_and_its_teacher_where_there_is_none_or_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config.STUDENTS", tmp_path)
    assert shipped_checkpoint("cat") == CHECKPOINTS / "cat.safetensors"
    assert shipped_checkpoint("dog") == BASE_PATH
    for name in ("cat", "base"):
        (tmp_path / f"{name}.safetensors").touch()
    assert shipped_checkpoint("cat") == tmp_path / "cat.safetensors"
    assert shipped_checkpoint("dog") == tmp_path / "base.safetensors"
    assert shipped_checkpoint("bus") == CHECKPOINTS / "bus.safetensors"
    assert shipped_checkpoint("cat", "teacher") == CHECKPOINTS / "cat.safetensors"


def test_the_base_is_guided_as_its_header_says_and_else_by_the_default(
    tiny_weights: Path, tiny_model: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_with_guide(tiny_weights).guidance == 1.0  # another model
    monkeypatch.setattr("diffusion_model.BASE_PATH", tiny_weights)
    base = load_with_guide(tiny_weights)
    assert (base.guidance, base.guide) == (BASE_GUIDANCE, None)
    conditions = {"sampling": {"guidance": 1.25, "guide": None}}
    save_weights(tiny_weights, dataclasses.replace(tiny_model, conditions=conditions))
    assert load_with_guide(tiny_weights).guidance == 1.25
