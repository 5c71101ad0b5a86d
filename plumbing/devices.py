"""Where and in which arithmetic the networks run: the GPU where there is one, bfloat16 where the hardware has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def best_device(wanted: str = "auto") -> torch.device:
    """Return the device `wanted`, cpu or cuda; for auto the GPU where there is one, else the CPU.

    Raises ValueError for a GPU that is not there.
    """
    seen = wanted != "cpu" and torch.cuda.is_available()
    if wanted == "cuda" and not seen:
        built = f"this PyTorch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "it is built without"
        raise ValueError(f"--device is cuda, but PyTorch sees no CUDA GPU here ({built}); use --device cpu, or auto")
    return torch.device("cuda" if seen else "cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether `device` multiplies bfloat16 matrices in hardware, so that autocast is faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(check()) if check is not None else False


def autocast_for(precision: str, device: torch.device | None = None) -> Callable[[], Any]:
    """Return a factory of context managers: bfloat16 autocast for "bfloat16", and for "auto" where it is faster.

    `device` is the one that computes, without it the best one.
    """
    device = device or best_device()
    enabled = precision == "bfloat16" or (precision == "auto" and has_bfloat16(device))
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
