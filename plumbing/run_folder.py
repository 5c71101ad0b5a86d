"""What a training keeps in its folder: the state from which the same command goes on, and the log of its losses.

A state is whole after a kill at any moment, and nothing in it is executed. Its file is what `torch.save` writes, with
the sha256 of that at the end; the state before it lies beside it as `*.previous`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from config import RunFailed
from plumbing.files import LOCK, UNFINISHED, atomic_file, refuse_overwriting, refuse_replacing, write_atomically

STATE_FILE, LOG_FILE, WEIGHTS_FILE = "training_state.pt", "metrics.jsonl", "weights.safetensors"
GRID_NAME = re.compile(r"samples_\d{7}\.png")
DIGEST_LENGTH = 64
CURVE_ROWS = 40


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a training state; the one before it is kept as `*.previous`.

    At any moment, also where writing fails or is killed, `path` is a whole state. Raises OSError as ``atomic_file``.
    """
    # whole in memory first: then its size is known, and a full disk is an OSError, which torch.save hides
    memory = io.BytesIO()
    torch.save(dict(state), memory)
    content = memory.getvalue()
    content += _digest(content)
    with atomic_file(path, len(content)) as file:
        file.write(content)
        file.flush()
        if path.exists():
            fresh = path.with_name(f".{_previous(path).name}{UNFINISHED}")
            shutil.copyfile(path, fresh)
            os.replace(fresh, _previous(path))


def load_state(path: Path) -> dict[str, Any] | None:
    """Return the newest whole training state, or None where there is none; warns where a damaged one was passed over.

    Tensors come back on the CPU. Raises RunFailed where states exist but none is whole.
    """
    existing = [candidate for candidate in (path, _previous(path)) if candidate.exists()]
    for candidate in existing:
        try:
            content = candidate.read_bytes()
            content, digest = content[:-DIGEST_LENGTH], content[-DIGEST_LENGTH:]
            if _digest(content) != digest:
                raise ValueError("its sha256 does not match")
            state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            return state
        except Exception as error:  # torch.load raises whatever a damaged file provokes
            warnings.warn(f"{candidate}: damaged, using the previous one ({error})", stacklevel=2)
    if existing:
        raise RunFailed(f"{path}: no whole training state is left (of this version); remove the folder to begin anew")
    return None


def written_by_training(folder: Path) -> list[str]:
    """Return the names in a folder that a training gives its files, in order."""
    own = {STATE_FILE, f"{STATE_FILE}.previous", LOG_FILE, WEIGHTS_FILE}
    return sorted(path.name for path in folder.glob("*") if path.name in own or GRID_NAME.fullmatch(path.name))


def refuse_folder_of_others(folder: Path) -> None:
    """Raise ValueError where a folder has files of a training's names and no training: they are somebody's."""
    names = written_by_training(folder)
    if not any(name.startswith(STATE_FILE) for name in names):
        refuse_replacing(folder, names)


def refuse_losing_files(folder: Path, inputs: Iterable[Path]) -> None:
    """Raise ValueError where a training in `folder` would replace one of `inputs`, or what no training wrote."""
    refuse_overwriting(inputs, [folder / name for name in written_by_training(folder)])
    refuse_folder_of_others(folder)


def remove_training(folder: Path, others: Iterable[str] = ()) -> None:
    """Remove from a folder what a training wrote there, and the files `others`; then the folder, if nothing is left."""
    for name in (*written_by_training(folder), *others, LOCK):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody's files are in it
        folder.rmdir()


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _previous(path: Path) -> Path:
    return path.with_name(path.name + ".previous")


def require_pieces(state: Any, expected: Any, where: str) -> None:
    """Raise ValueError for the first piece of the nested tables `expected` that `state` lacks."""
    if not isinstance(expected, Mapping):
        return
    for key, inner in expected.items():
        if not isinstance(state, Mapping) or key not in state:
            raise ValueError(f"{where} lacks '{key}', so the run can't go on as it was; choose another --out")
        require_pieces(state[key], inner, f"{where}: {key}")


def refuse_other_run(folder: Path, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ValueError naming the first setting in which a command, `now`, differs from the run saved in `folder`."""
    if different := _difference(saved, now):
        names, found, value = different
        raise ValueError(
            f"{folder} holds a run with {' '.join(names)} = {found!r:.200}, this command says {value!r:.200}; repeat "
            "its command, or choose another --out"
        )


def _difference(saved: Any, now: Any) -> tuple[list[str], Any, Any] | None:
    """Return the keys that lead to the first difference of two nested tables, and the two values, or None."""
    if not isinstance(saved, Mapping) or not isinstance(now, Mapping):
        return None if saved == now else ([], saved, now)
    for key in dict.fromkeys([*now, *saved]):
        if different := _difference(saved.get(key), now.get(key)):
            names, found, value = different
            return [str(key), *names], found, value
    return None


def learning_curve(log: Path) -> list[dict[str, float]]:
    """Return the losses of metrics.jsonl, at most some CURVE_ROWS rows of training and all validations, by step."""
    if not log.is_file():
        return []
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    trained = [row for row in rows if "loss" in row]
    shown = trained[:: -(-len(trained) // CURVE_ROWS)] if trained else []
    kept = shown + [row for row in rows if "validation_loss" in row]
    keys = ("step", "loss", "stop_loss", "validation_loss", "validation_stop_loss")
    return [{key: row[key] for key in keys if key in row} for row in sorted(kept, key=lambda row: float(row["step"]))]


def forget_after(step: int, log: Path) -> None:
    """Drop the rows that a killed run wrote after its last saved state: they are about to be written again."""
    if not log.is_file():
        return
    kept = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            if line.endswith("\n") and json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, TypeError, KeyError):
            warnings.warn(f"{log}: a damaged row is left out ({line[:40]!r})", stacklevel=2)
    write_atomically(log, "".join(kept))
