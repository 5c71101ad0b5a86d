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

from scoring.inception import load_inception


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return random_inception_state()


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
        with pytest.raises(ValueError, match="damaged, or not a state dict"):
            load_inception(tmp_path / name)
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "inception-2015-12-05.pt")
    with pytest.raises(ValueError, match=r"damaged, or not a state dict as weights-inception-2015") as caught:
        load_inception(tmp_path / "inception-2015-12-05.pt")
    assert "\n" not in str(caught.value)
    assert not trap.exists()
