"""Where and in which arithmetic the networks run: the GPU where there is one, bfloat16 where the hardware has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def best_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether `device` multiplies bfloat16 matrices in hardware, so that autocast is faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(check()) if check is not None else False


def autocast_for(precision: str) -> Callable[[], Any]:
    """Return a factory of context managers: bfloat16 autocast for "bfloat16", and for "auto" where it is faster."""
    device = best_device()
    enabled = precision == "bfloat16" or (precision == "auto" and has_bfloat16(device))
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
