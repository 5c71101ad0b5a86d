"""Laws of headers: they are read without torch, and say exactly which tensors a model has."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from weights_header import (
    check_guide,
    guide_path,
    network_categories,
    read_weights_header,
    reference_categories,
    tensor_shapes,
)

from config import CHECKPOINTS, NETWORK_PATH, REFERENCE_PATH, ModelConfig
from diffusion_model import StrokeDiffusionModel, TrainedModel, load_weights, save_weights

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("changes", [
    {}, {"denoiser": "mlp"}, {"denoiser_category": "direct"}, {"whitening": "points"}, {"num_layers": 3},
    {"denoiser_layers": 2}, {"width": 48, "num_heads": 3}, {"num_points": 5, "max_strokes": 3},
])  # fmt: skip
@pytest.mark.parametrize("num_categories", [1, 7])
def test_settings_say_the_shape_of_every_tensor_of_their_model(changes: dict, num_categories: int) -> None:
    config = dataclasses.replace(ModelConfig(width=32, num_heads=2, num_layers=2, denoiser_layers=1), **changes)
    with torch.device("meta"):
        model = StrokeDiffusionModel(config, num_categories)
    found = {f"model.{name}": tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    said = tensor_shapes(config, num_categories)
    of_whitening = {name: said.pop(name) for name in ("whitening.mean", "whitening.basis", "whitening.scale")}
    assert said == found
    dim = model.token_dim
    assert list(of_whitening.values()) == [(dim,), (dim, dim), (dim,)]


def test_headers_say_what_the_loaded_models_say_and_need_no_torch() -> None:
    for path in (CHECKPOINTS / "cat.safetensors", CHECKPOINTS / "base.safetensors"):
        header, trained = read_weights_header(path), load_weights(path)
        assert (header.config, header.categories) == (trained.model.config, trained.categories)
        assert (header.conditions, header.storage) == (trained.conditions, "bfloat16")
    program = (
        "import sys, weights_header as w, config as c\n"
        "h = w.read_weights_header(c.CHECKPOINTS / 'cat.safetensors')\n"
        "g = w.guide_path(h)\n"
        "w.check_guide(h, w.read_weights_header(g), 'cat')\n"
        "assert w.network_categories(c.NETWORK_PATH) and w.reference_categories(c.REFERENCE_PATH)\n"
        "print(g.name, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("base.safetensors False\n", "")


def test_a_guide_of_other_tokens_or_another_category_is_refused(tiny_model: TrainedModel, tmp_path: Path) -> None:
    turned = dataclasses.replace(tiny_model.whitening, basis=tiny_model.whitening.basis.flip(0))
    for name, trained in (
        ("own", tiny_model),
        ("other", dataclasses.replace(tiny_model, whitening=turned)),
        ("bus", dataclasses.replace(tiny_model, conditions={"trained_on": ["bus"]})),
    ):
        save_weights(tmp_path / name, trained)
    own, other, bus = (read_weights_header(tmp_path / name) for name in ("own", "other", "bus"))
    check_guide(own, own, "cat")
    check_guide(own, bus, "bus")
    with pytest.raises(ValueError, match="other: was trained on other stroke tokens than own"):
        check_guide(own, other, "cat")
    with pytest.raises(ValueError, match="bus: this checkpoint draws bus, not 'cat'"):
        check_guide(own, bus, "cat")
    assert guide_path(own) is None


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    assert reference_categories(tmp_path / "none") == []
    for path, read in ((NETWORK_PATH, reference_categories), (REFERENCE_PATH, network_categories)):
        with pytest.raises(ValueError, match="its header is damaged"):
            read(path)
