"""Laws of weights files: what is saved comes back, what is damaged or forged is refused in one line that names it."""

from __future__ import annotations

import dataclasses
import json
import pickle
import random
import stat
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from config import CHECKPOINTS
from diffusion_model import RETIRED, TrainedModel, load_weights, load_with_guide, save_weights
from plumbing import tensor_files
from plumbing.files import sha256_of
from plumbing.tensor_files import DIGEST, read_header, write_tensors


def header_of(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return {key: value for key, value in file.metadata().items() if key != DIGEST}  # which a forger leaves out


def rewritten(path: Path, tensors: dict[str, torch.Tensor] | None = None, **words: object) -> Path:
    """The file with other words in its header, or other tensors."""
    header = header_of(path)
    header |= {key: value if isinstance(value, str) else json.dumps(value) for key, value in words.items()}
    save_file(load_file(path) | (tensors or {}), path, header)
    return path


# ---- what is saved comes back


def test_weights_come_back_with_everything_needed_to_draw(tiny_weights: Path, tiny_model: TrainedModel) -> None:
    loaded = load_weights(tiny_weights)
    assert (loaded.categories, loaded.conditions) == (tiny_model.categories, tiny_model.conditions)
    assert loaded.model.config == tiny_model.model.config
    assert (loaded.path, loaded.sha256) == (tiny_weights, sha256_of(tiny_weights))
    assert not loaded.model.training
    for (name, a), b in zip(loaded.model.state_dict().items(), tiny_model.model.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=name)
    for (name, a), b in zip(loaded.model.named_buffers(), tiny_model.model.buffers(), strict=True):  # in no file
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=name)
    for name in ("mean", "basis", "scale"):
        assert torch.equal(getattr(loaded.whitening, name), getattr(tiny_model.whitening, name))


def test_bfloat16_weights_are_half_as_large_and_within_their_rounding(tmp_path: Path, tiny_model: TrainedModel) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        save_weights(tmp_path / f"{dtype}", tiny_model, dtype)
    assert (tmp_path / "torch.bfloat16").stat().st_size < 0.6 * (tmp_path / "torch.float32").stat().st_size
    assert read_header(tmp_path / "torch.bfloat16").types["model.position"] == "bfloat16"
    a, b = load_weights(tmp_path / "torch.bfloat16").model, tiny_model.model
    for x, y in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=2**-8, atol=1e-8)


def test_eight_bits_are_whole_numbers_and_a_scale_per_row_and_are_stored_the_same_again(
    tmp_path: Path, tiny_model: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensor_files, "SMALLEST_EIGHT_BIT", 2000)
    for name, source in (("once", tiny_model), ("twice", None)):
        save_weights(tmp_path / name, source or load_weights(tmp_path / "once"), torch.int8)
    header, loaded = read_header(tmp_path / "once"), load_weights(tmp_path / "once").model.state_dict()
    small = [name for name, kind in header.types.items() if kind == "int8"]
    assert "model.context_modulation.weight" in small
    assert header.types["model.position"] == "float32"
    for name, tensor in tiny_model.model.state_dict().items():
        most = tensor.abs().amax(-1, keepdim=True) / 127 / 2 if f"model.{name}" in small else torch.zeros(1)
        assert ((loaded[name] - tensor).abs() <= most * 1.001).all(), name
    again = load_weights(tmp_path / "twice").model.state_dict()
    assert all(torch.equal(loaded[name], again[name]) for name in loaded)


def test_eight_bits_without_their_scales_are_refused(tmp_path: Path) -> None:
    write_tensors(tmp_path / "x", {"a": torch.ones(3, 4, dtype=torch.int8), "a.scale": torch.ones(2, 1)}, {})
    with pytest.raises(ValueError, match="a is int8 and lacks a float32 scale for each of its rows"):
        read_header(tmp_path / "x")


def test_same_model_is_written_as_the_same_bytes_readable_by_all(tmp_path: Path, tiny_model: TrainedModel) -> None:
    for name in ("a", "b"):
        save_weights(tmp_path / name, tiny_model)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_shipped_settings_that_have_one_value_left_are_read_and_not_written(tiny_weights: Path) -> None:
    shipped = json.loads(header_of(CHECKPOINTS / "guide.safetensors")["model"])
    assert RETIRED.items() <= shipped.items()
    config = load_weights(CHECKPOINTS / "guide.safetensors").model.config
    assert dataclasses.asdict(config) | RETIRED == shipped
    own = json.loads(header_of(tiny_weights)["model"])
    load_weights(rewritten(tiny_weights, model=own | RETIRED))


def test_other_values_of_retired_settings_are_refused_by_name(tiny_weights: Path) -> None:
    own = json.loads(header_of(tiny_weights)["model"])
    with pytest.raises(ValueError, match=r"tiny\.safetensors: denoiser is 'mlp', and there is no model but for"):
        load_weights(rewritten(tiny_weights, model=own | RETIRED | {"denoiser": "mlp"}))


# ---- what is damaged or forged


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors: no such checkpoint"):
        load_weights(tmp_path / "nothing.safetensors")
    with pytest.raises(ValueError, match="is a folder, must be a file: checkpoint"):
        load_weights(tmp_path)


def exploding(path: Path) -> bytes:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (path,))

    return pickle.dumps(Bomb())


GIANT = b'{"a":{"dtype":"F32","shape":[1000000000000000],"data_offsets":[0,4000000000000000]}}'
"""A tensor of 10^15 numbers in a file of some bytes."""


@pytest.mark.parametrize("damage", ["empty", "cut", "half header", "text", "giant", "pickle"])
def test_damaged_weights_are_refused_with_their_name(tiny_weights: Path, tmp_path: Path, damage: str) -> None:
    whole = tiny_weights.read_bytes()
    tiny_weights.write_bytes({
        "empty": b"", "cut": whole[:-7], "half header": whole[:300], "text": b"<html>" * 100,
        "giant": len(GIANT).to_bytes(8, "little") + GIANT + bytes(64), "pickle": exploding(tmp_path / "exploded"),
    }[damage])  # fmt: skip
    with pytest.raises(ValueError, match=r"^[^\n]*tiny\.safetensors: damaged[^\n]*$"):
        load_weights(tiny_weights)
    assert not (tmp_path / "exploded").exists()


def test_one_flipped_bit_anywhere_is_found(tiny_weights: Path) -> None:
    """safetensors itself takes a flipped bit of a number for another number."""
    whole = tiny_weights.read_bytes()
    chosen = random.Random(0)
    for _ in range(80):
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
    by_list, by_seal = "or another file than .*SHA256SUMS says", "its content does not have the sha256 in its header"
    for name, load, said in (("guide", load_weights, by_list), ("sketch_features", read_header, by_list),
                             ("cat", load_weights, by_seal), ("stroke_recogniser", read_header, by_seal),
                             ("reference_features", read_header, by_seal)):  # fmt: skip
        damaged = bytearray((CHECKPOINTS / f"{name}.safetensors").read_bytes())
        damaged[-1000] ^= 4
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{name}\.safetensors: damaged, {said}"):
            load(path)


@pytest.mark.parametrize(("words", "message"), [
    ({"format": "something"}, r"not a checkpoint of this program \(format something\)"),
    ({"model": "{"}, "its header is damaged"),
    ({"model": {"width": 4096, "num_layers": 64}}, r"declares 13,257,818,417 parameters, the limit is 500,000,000"),
    ({"model": {"num_points": 9}}, r"model\.read_noisy\.weight has shape \(32, 16\), its settings say \(32, 18\)"),
    ({"model": {"num_layers": 2}}, r"model\.history\.1\.down\.bias has shape None, its settings say \(32,\)"),
    ({"model": {"num_heads": 3}}, "width is 32, must be a multiple of 6"),
    ({"model": {"colour": 1}}, "does not fit this program, fields colour"),
    ({"categories": [3]}, r"its header lacks a list of 1 \.\.\. 10000 category names"),
    ({"conditions": {"trained_on": 3}}, r"its header is damaged \(trained_on: 3\)"),
    ({"conditions": {"sampling": {"guidance": 2, "guide": "x"}}}, r"its header is damaged \(sampling"),
    ({"conditions": {"sampling": {"guidance": float("nan")}}}, r"its header is damaged \(guidance"),
])  # fmt: skip
def test_headers_that_do_not_fit_are_refused_by_what_is_wrong(
    tiny_weights: Path, words: dict[str, object], message: str
) -> None:
    if isinstance(model := words.get("model"), dict):
        words = {"model": json.loads(header_of(tiny_weights)["model"]) | model}
    with pytest.raises(ValueError, match=r"^[^\n]*tiny\.safetensors: [^\n]*" + message):
        load_weights(rewritten(tiny_weights, **words))


@pytest.mark.parametrize(("tensor", "message"), [
    (torch.tensor([float("nan")]), r"model\.stop\.bias holds NaN or infinity"),
    (torch.zeros(1, dtype=torch.int32), r"model\.stop\.bias is I32, must be float16 or"),
    (torch.zeros(2), r"model\.stop\.bias has shape \(2,\), its settings say \(1,\)"),
])  # fmt: skip
def test_tensors_that_do_not_fit_are_refused_by_name(tiny_weights: Path, tensor: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=r"tiny\.safetensors: " + message):
        load_weights(rewritten(tiny_weights, {"model.stop.bias": tensor}))


# ---- guides and categories


def test_category_the_model_was_not_trained_on_is_refused(tiny_model: TrainedModel) -> None:
    trained = dataclasses.replace(tiny_model, conditions={"trained_on": ["cat"]})
    assert trained.category_id("cat") == 0
    with pytest.raises(ValueError, match="draws cat, not 'bus'"):
        trained.category_id("bus")


def test_a_header_says_by_which_sampler_and_steps_and_one_that_cannot_is_refused(
    tmp_path: Path, tiny_model: TrainedModel
) -> None:
    path, sampling = tmp_path / "student.safetensors", {"guidance": 1.0, "sampler": "ddim", "steps": [4, 2]}
    save_weights(path, dataclasses.replace(tiny_model, conditions={"sampling": sampling}))
    assert (load_weights(path).sampler, load_weights(path).steps) == ("ddim", (4, 2))
    assert (tiny_model.sampler, tiny_model.steps) == ("dpm-solver++", 20)
    for damage in ({"sampler": "euler"}, {"steps": []}, {"steps": [4, 0]}, {"steps": [4, 2.5]}, {"steps": "4"}):
        save_weights(path, dataclasses.replace(tiny_model, conditions={"sampling": sampling | damage}))
        with pytest.raises(ValueError, match="its header is damaged"):
            load_weights(path)


def test_model_comes_with_the_guide_it_was_tuned_with(tmp_path: Path, tiny_model: TrainedModel) -> None:
    guide, path = tmp_path / "weaker.safetensors", tmp_path / "own.safetensors"
    save_weights(guide, tiny_model)
    sampling = {"guidance": 2.5, "guide": {"file": guide.name, "sha256": sha256_of(guide)}}
    save_weights(path, dataclasses.replace(tiny_model, conditions={"sampling": sampling}))
    loaded = load_with_guide(path)
    assert (loaded.guidance, load_weights(path).guide, tiny_model.guidance) == (2.5, None, 1.0)
    assert loaded.guide is not None
    assert loaded.guide.path == guide
    assert load_with_guide(path, guide="null").guide is None
    other = load_with_guide(path, guide=str(path)).guide
    assert other is not None
    assert other.path == path
    save_weights(guide, dataclasses.replace(tiny_model, conditions={"other": 1}))
    with pytest.raises(ValueError, match=r"weaker.safetensors: is not the guide that own.safetensors was tuned with"):
        load_with_guide(path)
    guide.unlink()
    with pytest.raises(FileNotFoundError, match=r"weaker.safetensors: is missing"):
        load_with_guide(path)
