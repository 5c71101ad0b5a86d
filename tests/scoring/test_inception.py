"""Laws of the FID's Inception-v3: its shape and conventions, and which weights files are taken and which refused."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from agreement import random_inception_state
from safetensors.torch import save_file
from torch import nn

from scoring.inception import InceptionV3, load_inception


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return random_inception_state()


@pytest.fixture(scope="module")
def network(state: dict[str, torch.Tensor]) -> InceptionV3:
    with torch.device("meta"):
        made = InceptionV3()
    made.load_state_dict({name: tensor for name, tensor in state.items() if not name.startswith("fc.")}, assign=True)
    return made.eval()


@pytest.fixture
def hollow(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """The same names and shapes, but every tensor holds one number, its own: files of it are small."""
    return {
        name: torch.tensor(number, dtype=tensor.dtype).expand(tensor.shape)
        for number, (name, tensor) in enumerate(state.items())
    }


def save(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


# ---- the network


@torch.no_grad()
def test_every_stage_has_the_papers_shape_and_features_are_its_mean(network: InceptionV3) -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    seen: dict[str, torch.Tensor] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
            shapes[name] = tuple(output.shape[1:])
            seen[name] = inputs[0] if name == "Conv2d_1a_3x3" else output

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in network.named_children()]
    pictures = torch.cat([torch.full((1, 3, 299, 299), value) for value in (0.0, 128.0, 255.0)])
    features = network(pictures)
    for hook in hooks:
        hook.remove()
    assert shapes == {
        "Conv2d_1a_3x3": (32, 149, 149), "Conv2d_2a_3x3": (32, 147, 147), "Conv2d_2b_3x3": (64, 147, 147),
        "Conv2d_3b_1x1": (80, 73, 73), "Conv2d_4a_3x3": (192, 71, 71),
        "Mixed_5b": (256, 35, 35), "Mixed_5c": (288, 35, 35), "Mixed_5d": (288, 35, 35),
        "Mixed_6a": (768, 17, 17), "Mixed_6b": (768, 17, 17), "Mixed_6c": (768, 17, 17),
        "Mixed_6d": (768, 17, 17), "Mixed_6e": (768, 17, 17),
        "Mixed_7a": (1280, 8, 8), "Mixed_7b": (2048, 8, 8), "Mixed_7c": (2048, 8, 8),
    }  # fmt: skip
    assert seen["Conv2d_1a_3x3"][:, 0, 0, 0].tolist() == [-1.0, 0.0, 127 / 128]
    assert features.shape == (3, 2048)
    with pytest.raises(ValueError, match=r"\(B, 3, 299, 299\)"):
        network(torch.zeros(1, 3, 256, 256))
    torch.testing.assert_close(features, seen["Mixed_7c"].mean(dim=(2, 3)))
    assert features.std(dim=0).mean() > 0.01


@torch.no_grad()
def test_averages_do_not_count_padding_and_the_last_block_takes_the_maximum(network: InceptionV3) -> None:
    for name, corner, middle in (("Mixed_5b", 1 / 4, 1 / 9), ("Mixed_6c", 1 / 4, 1 / 9), ("Mixed_7b", 1 / 4, 1 / 9),
                                 ("Mixed_7c", 1, 1)):  # fmt: skip
        block = network.get_submodule(name)
        channels = block.branch_pool.conv.in_channels
        spike = torch.zeros(2, channels, 8, 8)
        spike[0, :, 0, 0] = spike[1, :, 4, 4] = 1
        received: list[tuple[torch.Tensor, torch.Tensor]] = []
        hook = block.branch_pool.register_forward_hook(lambda _, x, y, kept=received: kept.append((x[0], y)))
        stacked = block(spike)
        hook.remove()
        (pooled, convolved), first = received[0], block.branch1x1(spike)
        assert pooled[0, 0, 0, 0].item() == pytest.approx(corner)
        assert pooled[1, 0, 3:6, 3:6].flatten().tolist() == pytest.approx([middle] * 9)
        # the order in which branches are stacked is that of the features
        assert torch.equal(stacked[:, -convolved.shape[1] :], convolved)
        assert torch.equal(stacked[:, : first.shape[1]], first)


# ---- files of weights


def test_every_form_of_the_file_gives_the_same_weights(hollow: dict[str, Any], tmp_path: Path) -> None:
    bare = {n: t for n, t in hollow.items() if not n.startswith("fc.") and not n.endswith("num_batches_tracked")}
    save_file({name: tensor.contiguous() for name, tensor in bare.items()}, tmp_path / "bare.safetensors")
    files = (
        tmp_path / "bare.safetensors",
        save(tmp_path / "whole.pth", hollow),
        save(tmp_path / "bare.pth", bare),
        save(tmp_path / "double.pth", {name: tensor.double() for name, tensor in bare.items()}),
        save(tmp_path / "old.pth", bare, _use_new_zipfile_serialization=False),
    )
    for path in files:
        loaded = load_inception(path)
        found = loaded.state_dict()
        assert not loaded.training
        assert all(torch.equal(found[name], tensor) for name, tensor in bare.items()), path.name
        assert {tensor.dtype for name, tensor in found.items() if name in bare} == {torch.float32}
        path.unlink()


NAME = "Mixed_6c.branch7x7_2.conv.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {n: t for n, t in s.items() if n != NAME}, rf"{NAME} has shape \(\), the"),
        (
            lambda s: s | {NAME: s[NAME][:, :, :, :5]},
            f"{NAME} has shape .160, 160, 1, 5., the FID's .* 160, 1, 7",
        ),
        (
            lambda s: s | {"fc.weight": torch.zeros(1000, 2048)},
            r"fc.weight has shape \(1000, .* has \(1008, 2048",
        ),
        (lambda s: s | {NAME: s[NAME] * float("nan")}, f"{NAME} holds NaN"),
        (lambda s: {"state_dict": s}, "has shape .*, .* the file wanted is weights-inception"),
        (lambda s: [s[NAME]], "holds a list"),
    ],
)
def test_other_tensors_are_refused_in_one_line(
    hollow: dict[str, Any], tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    path = save(tmp_path / "odd.pth", change(hollow))
    with pytest.raises(ValueError, match=message) as caught:
        load_inception(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_files_are_refused_in_one_line(hollow: dict[str, Any], tmp_path: Path, suffix: str) -> None:
    whole = save(tmp_path / "whole.pth", hollow).read_bytes()
    path = tmp_path / f"damaged{suffix}"
    for content in (b"", whole[: len(whole) // 2], b"<html>not found</html>"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="damaged") as caught:
            load_inception(path)
        assert "\n" not in str(caught.value)


class _Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_programs_are_refused_and_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    save(tmp_path / "pickle.pth", {"weight": _Trap(trap)})
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(_Trap(trap)))
    for name in ("pickle.pth", "plain.pth"):
        with pytest.raises(ValueError, match="damaged, or no state dict"):
            load_inception(tmp_path / name)
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "inception-2015-12-05.pt")
    with pytest.raises(ValueError, match=r"damaged, or no state dict as weights-inception-2015") as caught:
        load_inception(tmp_path / "inception-2015-12-05.pt")
    assert "\n" not in str(caught.value)
    assert not trap.exists()
