"""Training states: all that a resumed run needs in one file, written so that a crash at any moment leaves a whole one.

`torch.save`, with a sha256 beside it and the one before kept as `*.previous`; `weights_only=True`, so nothing in a file
is executed.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from config import RunFailed
from plumbing.files import write_atomically
from plumbing.tensor_files import sha256_of


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a training state with its sha256; the state before it is kept as `*.previous`, also when writing fails."""
    fresh = path.with_name(path.name + ".new")
    # whole in memory first: then its size is known, and a full disk is an OSError, which torch.save hides
    memory = io.BytesIO()
    torch.save(dict(state), memory)
    content = memory.getvalue()
    write_atomically(fresh, content)
    write_atomically(_digest_file(fresh), hashlib.sha256(content).hexdigest())
    # Whatever moment a kill hits, one of path, *.previous and *.new is whole and carries a matching hash.
    for source, target in ((path, _previous(path)), (fresh, path)):
        if source.exists():
            os.replace(source, target)
            if _digest_file(source).exists():
                os.replace(_digest_file(source), _digest_file(target))


def load_state(path: Path) -> dict[str, Any] | None:
    """Return the newest whole training state, or None where there is none; warns where a damaged one was passed over.

    Tensors come back on the CPU. Raises RunFailed where states exist but none is whole.
    """
    candidates = [path.with_name(path.name + ".new"), path, _previous(path)]
    existing = [candidate for candidate in candidates if candidate.exists()]
    for candidate in existing:
        digest_file = _digest_file(candidate)
        try:
            if not digest_file.exists() or digest_file.read_text() != sha256_of(candidate):
                raise ValueError("its sha256 does not match")
            state: dict[str, Any] = torch.load(candidate, map_location="cpu", weights_only=True)
        except Exception as error:  # torch.load raises whatever a damaged file provokes
            if candidate is not candidates[0]:  # an unfinished *.new is what a kill leaves; no news
                warnings.warn(f"{candidate}: damaged, using the previous one ({error})", stacklevel=2)
            continue
        return state
    if any(candidate is not candidates[0] for candidate in existing):
        raise RunFailed(f"{path}: no whole training state is left; remove the folder to start anew")
    return None


def require_pieces(state: Any, expected: Any, where: str) -> None:
    """Raise ValueError for the first piece of the nested tables `expected` that `state` lacks."""
    if not isinstance(expected, Mapping):
        return
    for key, inner in expected.items():
        if not isinstance(state, Mapping) or key not in state:
            raise ValueError(f"{where} lacks '{key}', so the run can't go on as it was; choose another --out")
        require_pieces(state[key], inner, f"{where}: {key}")


def _digest_file(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _previous(path: Path) -> Path:
    return path.with_name(path.name + ".previous")
