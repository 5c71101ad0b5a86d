"""Laws of checkpoints: what is saved comes back, what is damaged is refused, nothing in a file is executed."""

import dataclasses
import json
import pickle
import random
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from config import CHECKPOINTS
from diffusion_model import (
    TrainedModel,
    load_weights,
    load_with_guide,
    save_weights,
    sha256_of,
)
from plumbing.tensor_files import DIGEST, read_header

ROOT = Path(__file__).resolve().parent.parent


def header_of(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {key: value for key, value in file.metadata().items() if key != DIGEST}  # which a forger leaves out


def test_weights_come_back_with_everything_needed_to_draw(tiny_weights: Path, tiny_model: TrainedModel) -> None:
    loaded = load_weights(tiny_weights)
    assert loaded.categories == tiny_model.categories
    assert loaded.conditions == tiny_model.conditions
    assert loaded.model.config == tiny_model.model.config
    for (name, a), b in zip(loaded.model.state_dict().items(), tiny_model.model.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=name)
    torch.testing.assert_close(loaded.whitening.basis, tiny_model.whitening.basis, rtol=0, atol=0)


def test_bfloat16_weights_are_half_as_large_and_within_their_rounding(tmp_path: Path, tiny_model: TrainedModel) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        save_weights(tmp_path / f"{dtype}", tiny_model, dtype)
    assert (tmp_path / "torch.bfloat16").stat().st_size < 0.6 * (tmp_path / "torch.float32").stat().st_size
    a, b = load_weights(tmp_path / "torch.bfloat16").model, tiny_model.model
    for x, y in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=2**-8, atol=1e-8)


def test_weights_are_readable_by_all(tiny_weights: Path) -> None:
    assert stat.S_IMODE(tiny_weights.stat().st_mode) == 0o644


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors: no such checkpoint"):
        load_weights(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_damaged_weights_are_refused_with_their_name(tiny_weights: Path, damage: str) -> None:
    whole = tiny_weights.read_bytes()
    tiny_weights.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "text": b"<html>" * 100}[damage])
    with pytest.raises(ValueError, match=r"tiny\.safetensors: damaged"):
        load_weights(tiny_weights)


def test_pickles_are_refused_unopened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    (tmp_path / "bomb.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="damaged"):
        load_weights(tmp_path / "bomb.safetensors")
    assert not (tmp_path / "exploded").exists()


def rewritten(path: Path, **changes: object) -> Path:
    header = header_of(path)
    header.update({key: value if isinstance(value, str) else json.dumps(value) for key, value in changes.items()})
    save_file(load_file(path), path, header)
    return path


def test_file_of_another_program_is_refused(tiny_weights: Path) -> None:
    with pytest.raises(ValueError, match="not a checkpoint of this program"):
        load_weights(rewritten(tiny_weights, format="something"))


def test_giant_declared_shape_is_refused_before_allocation(tiny_weights: Path) -> None:
    model = json.loads(header_of(tiny_weights)["model"]) | {"width": 4096, "num_layers": 64}
    with pytest.raises(ValueError, match="parameters, the limit is"):
        load_weights(rewritten(tiny_weights, model=model))


def test_shapes_that_do_not_fit_the_settings_are_named(tiny_weights: Path) -> None:
    model = json.loads(header_of(tiny_weights)["model"]) | {"num_points": 9}
    with pytest.raises(ValueError, match="has shape"):
        load_weights(rewritten(tiny_weights, model=model))


@pytest.mark.parametrize("model", [{"width": 32}, [], {"width": "32"}])
def test_settings_that_do_not_fit_are_refused(tiny_weights: Path, model: object) -> None:
    with pytest.raises(ValueError, match=r"tiny\.safetensors"):
        load_weights(rewritten(tiny_weights, model=model))


def test_numbers_that_are_not_finite_are_refused(tiny_weights: Path) -> None:
    tensors, header = load_file(tiny_weights), header_of(tiny_weights)
    tensors["model.stop.bias"][0] = float("nan")
    save_file(tensors, tiny_weights, header)
    with pytest.raises(ValueError, match=r"model\.stop\.bias holds numbers that are not finite"):
        load_weights(tiny_weights)


def test_one_flipped_bit_anywhere_is_found(tiny_weights: Path) -> None:
    """safetensors itself takes a flipped bit of a number for another number."""
    whole = tiny_weights.read_bytes()
    chosen = random.Random(0)
    for _ in range(150):
        at = chosen.randrange(len(whole)) if chosen.random() < 0.5 else chosen.randrange(6000)
        damaged = bytearray(whole)
        damaged[at] ^= 1 << chosen.randrange(8)
        tiny_weights.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"tiny\.safetensors"):
            load_weights(tiny_weights)
    tiny_weights.write_bytes(whole)
    load_weights(tiny_weights)


def test_shipped_files_are_those_of_their_list_and_a_flipped_bit_is_found(tmp_path: Path) -> None:
    sums = dict(reversed(line.split()) for line in (CHECKPOINTS / "SHA256SUMS").read_text().splitlines())
    assert sums == {path.name: sha256_of(path) for path in CHECKPOINTS.glob("*.safetensors")}
    (tmp_path / "SHA256SUMS").write_bytes((CHECKPOINTS / "SHA256SUMS").read_bytes())
    for name, load in (("cat", load_weights), ("reference_features", read_header), ("sketch_features", read_header)):
        damaged = bytearray((CHECKPOINTS / f"{name}.safetensors").read_bytes())
        damaged[-1000] ^= 4
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{name}\.safetensors: damaged, or another file than .*SHA256SUMS says"):
            load(path)


def test_same_model_is_written_as_the_same_bytes(tmp_path: Path, tiny_model: TrainedModel) -> None:
    for name in ("a", "b"):
        save_weights(tmp_path / name, tiny_model)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_category_the_model_was_not_trained_on_is_refused(tiny_model: TrainedModel) -> None:
    trained = TrainedModel(tiny_model.model, tiny_model.whitening, tiny_model.categories, {"trained_on": ["cat"]})
    assert trained.category_id("cat") == 0
    with pytest.raises(ValueError, match="draws cat, not 'bus'"):
        trained.category_id("bus")


def test_model_comes_with_the_guide_it_was_tuned_with(tmp_path: Path, tiny_model: TrainedModel) -> None:
    guide, path = tmp_path / "weaker.safetensors", tmp_path / "own.safetensors"
    save_weights(guide, tiny_model)
    sampling = {"guidance": 2.5, "guide": {"file": guide.name, "sha256": sha256_of(guide)}}
    save_weights(path, dataclasses.replace(tiny_model, conditions={"sampling": sampling}))
    loaded = load_with_guide(path)
    assert (loaded.guidance, load_weights(path).guide, tiny_model.guidance) == (2.5, None, 1.0)
    assert loaded.guide is not None
    assert loaded.guide.file == guide.name
    save_weights(guide, dataclasses.replace(tiny_model, conditions={"other": 1}))
    with pytest.raises(ValueError, match=r"weaker.safetensors: is not the guide that own.safetensors was tuned with"):
        load_with_guide(path)
    guide.unlink()
    with pytest.raises(FileNotFoundError, match=r"weaker.safetensors: is missing"):
        load_with_guide(path)


@pytest.mark.parametrize(
    "sampling",
    [3, [], {}, {"guidance": "2"}, {"guidance": 2, "guide": "x"}, {"guidance": 2, "guide": {"file": 1, "sha256": "x"}}],
)
def test_damaged_settings_of_sampling_are_refused(tmp_path: Path, tiny_model: TrainedModel, sampling: object) -> None:
    save_weights(tmp_path / "a.safetensors", dataclasses.replace(tiny_model, conditions={"sampling": sampling}))
    with pytest.raises(ValueError, match=r"a.safetensors: its header is damaged \(sampling"):
        load_with_guide(tmp_path / "a.safetensors")
