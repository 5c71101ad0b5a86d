"""Laws of the reference: what is shipped is what real drawings make, and damaged files are refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import reference
from config import CATEGORIES, NETWORK_PATH, REFERENCE_PATH
from dataset_utils import load_category
from drawing_statistics import MEASURES, describe_strokes
from embedded_drawings import embedded_drawings
from feature_network import LoadedNetwork, load_feature_network, read_safetensors, write_safetensors

REAL_DIR = os.environ.get("QUICKDRAW_DIR")


@pytest.fixture(scope="module")
def loaded() -> LoadedNetwork:
    return load_feature_network(NETWORK_PATH)


def test_description_does_not_depend_on_how_many_drawings_are_described_at_once(
    loaded: LoadedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawings = embedded_drawings("bus", 30)
    whole = reference.describe_drawings(drawings, loaded)
    monkeypatch.setattr(reference, "PICTURES_AT_ONCE", 7)
    parts = reference.describe_drawings(drawings, loaded)
    np.testing.assert_allclose(parts.features, whole.features, atol=1e-5)
    np.testing.assert_allclose(parts.logits, whole.logits, atol=1e-4)


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


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_shipped_reference_has_every_part_and_names_where_it_comes_from(
    category: str, loaded: LoadedNetwork
) -> None:
    shipped = reference.load_reference(REFERENCE_PATH, category, loaded)
    assert "Google, CC BY 4.0" in shipped.source
    assert "held-out" in shipped.strokes_source
    assert len(shipped.real.features) == 250
    assert len(shipped.independent.features) == reference.NUM_INDEPENDENT
    assert shipped.training is not None
    assert len(shipped.training) > 200
    assert len(shipped.statistics) == len(shipped.recognised) > 25
    assert 0.4 < reference.recognised(shipped.real.logits, loaded.classes, category).mean() < 1


@pytest.mark.skipif(not REAL_DIR, reason="QUICKDRAW_DIR names no folder of real drawings")
@pytest.mark.parametrize("category", CATEGORIES)
def test_the_shipped_reference_is_what_the_real_drawings_make(category: str, loaded: LoadedNetwork) -> None:
    shipped = reference.load_reference(REFERENCE_PATH, category, loaded)
    data = load_category(category, data_dir=REAL_DIR, split="local")
    held_out, train = list(data.test), list(data.train)
    made = describe_strokes(held_out)
    assert (shipped.statistics.num_strokes == made.num_strokes).all()
    for name in MEASURES:
        np.testing.assert_allclose(getattr(shipped.statistics, name), getattr(made, name), rtol=1e-3, atol=0.07)
    assert shipped.training is not None
    some = np.arange(0, len(train), 9)
    np.testing.assert_allclose(
        shipped.training[some], reference.describe_drawings([train[i] for i in some], loaded).features, atol=0.02
    )
    # a drawing on the edge between two names may fall to either side on another machine
    assert (shipped.recognised == reference.recognised_after(held_out, loaded, category)).mean() > 0.99


def test_a_reference_that_does_not_fit_is_refused_in_one_line(tmp_path: Path, loaded: LoadedNetwork) -> None:
    tensors, metadata = read_safetensors(REFERENCE_PATH)
    path = tmp_path / "reference.safetensors"

    def refused(changes: dict[str, torch.Tensor], message: str, category: str = "cat", **metadata_changes: str) -> None:
        write_safetensors(path, {**tensors, **changes}, {**metadata, **metadata_changes})
        with pytest.raises(ValueError, match=message) as caught:
            reference.load_reference(path, category, loaded)
        assert len(str(caught.value).splitlines()) == 1
        assert "reference.safetensors" in str(caught.value)

    refused({}, "make it again", network_sha256="0" * 64)
    refused({}, "make it again", format="reference-features-1")
    refused({}, "not 'car'; give --real", category="car")
    refused({"cat.real": torch.zeros(9, 3)}, r"cat.real has shape \(9, 3\)")
    refused({"cat.real": torch.zeros(1, 256)}, r"cat.real has shape \(1, 256\)")
    refused({"cat.training": torch.full((9, 256), torch.nan)}, "NaN")
    refused({"cat.recognised": torch.zeros(9, 24, dtype=torch.uint8)}, r"cat.recognised has shape \(9, 24\)")
    refused({"cat.aspect": torch.zeros(9, dtype=torch.float16)}, "cat: aspect: is float16")
    refused({"cat.odd": torch.zeros(9)}, "odd")
    path.write_bytes(REFERENCE_PATH.read_bytes()[:5000])
    with pytest.raises(ValueError, match="damaged"):
        reference.load_reference(path, "cat", loaded)
