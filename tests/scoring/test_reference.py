"""Laws of the reference: what is shipped is what real drawings make, and damaged files are refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from config import CATEGORIES, NETWORK_PATH, REFERENCE_PATH
from dataset_utils import load_category
from drawings.embedded import embedded_drawings
from metrics import nearest_distances
from plumbing.tensor_files import write_tensors
from scoring import reference
from scoring.feature_network import LoadedNetwork, load_feature_network, read_safetensors
from scoring.stroke_statistics import MEASURES, describe_strokes
from studies.train_features import read_by_recogniser

REAL_DIR = os.environ.get("QUICKDRAW_DIR")
SHIPPED = (*CATEGORIES, "car")


@pytest.fixture(scope="module")
def loaded() -> LoadedNetwork:
    return load_feature_network(NETWORK_PATH)


def test_recognised_after_shows_each_beginning_and_keeps_what_is_finished(loaded: LoadedNetwork) -> None:
    drawings = [drawing for drawing in embedded_drawings("cat", 40) if len(drawing) > 2][:10]
    drawings.append(drawings[0] * 9)  # longer than the table
    after = reference.recognised_after(drawings, loaded, "cat")
    assert after.shape == (11, reference.MOST_STROKES)
    for row, drawing in zip(after, drawings, strict=True):
        for k in (1, 2, len(drawing), reference.MOST_STROKES):
            logits = reference.describe_drawings([drawing[: min(k, reference.MOST_STROKES)]], loaded).logits
            if k <= reference.MOST_STROKES:
                assert row[k - 1] == (loaded.classes[int(logits.argmax())] == "cat")


def test_of_many_drawings_some_are_shown_from_the_first_to_the_last(loaded: LoadedNetwork) -> None:
    drawings = embedded_drawings("cat", 9)
    every, some = (reference.recognised_after(drawings, loaded, "cat", most) for most in (9, 5))
    assert (some == every[::2]).all()


@pytest.mark.parametrize("category", SHIPPED)
def test_the_shipped_reference_has_every_part_and_names_where_it_comes_from(
    category: str, loaded: LoadedNetwork
) -> None:
    shipped = reference.load_reference(REFERENCE_PATH, category, loaded)
    assert shipped.source.startswith("Quick, Draw! dataset, (c) Google, CC BY 4.0: ")
    assert shipped.source.endswith("as pictures")
    assert "held-out" in shipped.strokes_source
    of_test_pictures = category in CATEGORIES
    assert ("official test split" in shipped.source) == of_test_pictures
    assert ("held-out" in shipped.source) == (not of_test_pictures)
    assert len(shipped.real.features) == (250 if of_test_pictures else len(shipped.statistics))
    assert len(shipped.independent.features) == reference.NUM_INDEPENDENT
    assert shipped.training is not None
    assert len(shipped.training) == min(shipped.num_learned_from, reference.MOST_TRAINING) > 200
    assert len(shipped.statistics) == len(shipped.recognised) == len(shipped.second.real.features) > 25
    assert len(shipped.second.independent.features) == reference.NUM_INDEPENDENT
    assert shipped.second.training is not None
    assert 40 < len(shipped.second.training) < 0.35 * shipped.num_learned_from
    assert 0.4 < reference.recognised(shipped.real.logits, loaded.classes, category).mean() < 1
    # features of the same drawing differ by less than 0.02 in each place: none that the models learned from is real
    assert nearest_distances(shipped.real.features, shipped.training)[0].min() > 0.5


@pytest.mark.skipif(not REAL_DIR, reason="QUICKDRAW_DIR names no folder of real drawings")
@pytest.mark.parametrize("category", SHIPPED)
def test_the_shipped_reference_is_what_the_real_drawings_make(category: str, loaded: LoadedNetwork) -> None:
    shipped = reference.load_reference(REFERENCE_PATH, category, loaded)
    data = load_category(category, data_dir=REAL_DIR, split="local")
    held_out, train = list(data.test), list(data.train)
    made = describe_strokes(held_out)
    assert (shipped.statistics.num_strokes == made.num_strokes).all()
    for name in MEASURES:
        np.testing.assert_allclose(getattr(shipped.statistics, name), getattr(made, name), rtol=1e-3, atol=0.07)
    assert shipped.training is not None
    assert shipped.num_learned_from == len(train)
    chosen = reference.training_part(len(train))
    assert len(chosen) == len(shipped.training)

    def features_of(drawings: list) -> np.ndarray:
        return reference.describe_drawings(drawings, loaded).features

    some = np.arange(0, len(chosen), max(1, len(chosen) // 20))
    np.testing.assert_allclose(shipped.training[some], features_of([train[i] for i in chosen[some]]), atol=0.02)
    if category not in CATEGORIES:
        np.testing.assert_allclose(shipped.real.features[:20], features_of(held_out[:20]), atol=0.02)
    second = shipped.second
    unread = np.flatnonzero(~read_by_recogniser(data.train))[:20]
    assert second.training is not None
    for found, drawings in ((second.real.features, held_out), (second.training, [train[i] for i in unread])):
        expected = reference.describe_drawings(drawings[:20], second.loaded).features
        np.testing.assert_allclose(found[: len(expected)], expected, atol=0.02)
    # a drawing on the edge between two names may fall to either side on another machine
    few = slice(0, 100)
    after = reference.recognised_after(held_out[few], loaded, category)
    assert (shipped.recognised[few] == after).mean() > 0.99


def test_a_reference_that_does_not_fit_is_refused_in_one_line(tmp_path: Path, loaded: LoadedNetwork) -> None:
    tensors, metadata = read_safetensors(REFERENCE_PATH)
    path = tmp_path / "reference.safetensors"

    def refused(changes: dict[str, torch.Tensor], message: str, category: str = "cat", **metadata_changes: str) -> None:
        write_tensors(path, {**tensors, **changes}, {**metadata, **metadata_changes})
        with pytest.raises(ValueError, match=message) as caught:
            reference.load_reference(path, category, loaded)
        assert len(str(caught.value).splitlines()) == 1
        assert "reference.safetensors" in str(caught.value)

    refused({}, "make it again", network_sha256="0" * 64)
    refused({}, "make it again", recogniser_sha256="0" * 64)
    refused({}, "make it again", format="reference-features-3")
    refused({}, "not 'dog'; give --real", category="dog")
    for name in ("sources", "counts"):
        for text in ("{", "[]", json.dumps({"cat": {}})):
            refused({}, "does not say where 'cat' comes from", **{name: text})
    refused({"cat.real": torch.zeros(9, 3)}, r"cat.real has shape \(9, 3\)")
    refused({"cat.real_strokes": torch.zeros(9, 3)}, r"cat.real_strokes has shape \(9, 3\)")
    refused({"cat.training": torch.full((9, 256), torch.nan)}, "NaN")
    refused({"cat.recognised": torch.zeros(9, 24, dtype=torch.uint8)}, r"cat.recognised has shape \(9, 24\)")
    path.write_bytes(REFERENCE_PATH.read_bytes()[:5000])
    with pytest.raises(ValueError, match="damaged"):
        reference.load_reference(path, "cat", loaded)
    assert reference.reference_categories(REFERENCE_PATH) == ["bus", "car", "cat", "rabbit"]


def test_a_part_of_many_training_drawings_is_always_the_same_and_in_order() -> None:
    assert reference.training_part(5).tolist() == [0, 1, 2, 3, 4]
    part = reference.training_part(9304)
    assert len(part) == len(set(part.tolist())) == reference.MOST_TRAINING
    assert (np.diff(part) > 0).all()
    assert part[0] < 20  # from all of them
    assert part[-1] > 9284
    assert (part == reference.training_part(9304)).all()
