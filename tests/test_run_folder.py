"""What a training keeps in its folder: a state that is whole at any moment, and a log without half rows."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from config import RunFailed
from plumbing import run_folder
from plumbing.run_folder import forget_after, learning_curve, load_state, require_pieces, save_state


def state(step: int) -> dict[str, Any]:
    return {"step": step, "weights": torch.full((1000,), float(step))}


def step_of(path: Path) -> int:
    loaded = load_state(path)
    assert loaded is not None
    assert torch.equal(loaded["weights"], state(loaded["step"])["weights"])
    return int(loaded["step"])


def test_a_state_comes_back_and_the_one_before_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    assert load_state(path) is None
    for step in (1, 2, 3):
        save_state(path, state(step))
        assert step_of(path) == step
    assert step_of(tmp_path / "state.pt.previous") == 2
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["state.pt", "state.pt.previous"]
    assert torch.load(path, weights_only=True)["step"] == 3  # to be read without this program


def test_at_every_moment_of_writing_there_is_a_whole_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """Before each operation on files a reader finds the state before it; so does a killed training."""
    path = tmp_path / "state.pt"
    seen: list[int] = []
    for name in ("fsync", "chmod", "replace", "open"):
        operation = getattr(os, name)

        def looking(*arguments: Any, operation: Callable[..., Any] = operation, **options: Any) -> Any:
            assert path.exists()
            seen.append(step_of(path))
            return operation(*arguments, **options)

        save_state(path, state(1))
        with monkeypatch.context() as patch:
            patch.setattr(os, name, looking)
            save_state(path, state(2))
        assert step_of(path) == 2
        assert step_of(tmp_path / "state.pt.previous") == 1
    assert set(seen) == {1}
    assert not list(recwarn)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "no digest"])
def test_a_damaged_state_is_said_and_the_previous_one_is_used(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "state.pt"
    for step in (1, 2):
        save_state(path, state(step))
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[random.Random(0).randrange(len(whole))] ^= 1
    path.write_bytes({"flip": bytes(flipped), "cut": whole[:500], "empty": b"", "no digest": whole[:-64]}[damage])
    with pytest.warns(UserWarning, match=r"state\.pt: damaged, using the previous one"):
        assert step_of(path) == 1
    (tmp_path / "state.pt.previous").unlink()
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(RunFailed, match="no whole training state is left"):
        load_state(path)


def signed(content: bytes) -> bytes:
    """What a forger writes: any content with its right sha256."""
    return content + run_folder._digest(content)


def test_nothing_in_a_state_is_executed_or_unpacked(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    packed, saved = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", b"\0" * 10_000_000)
    torch.save({"step": Bomb()}, saved)
    for content in (pickle.dumps(Bomb()), packed.getvalue(), saved.getvalue()):
        (tmp_path / "state.pt").write_bytes(signed(content))
        with pytest.warns(UserWarning, match="damaged"), pytest.raises(RunFailed):
            load_state(tmp_path / "state.pt")
    assert not (tmp_path / "exploded").exists()


def test_the_first_piece_that_is_missing_is_named() -> None:
    expected = {"a": None, "b": {"c": {0: None}}}
    require_pieces({"a": 1, "b": {"c": {0: 2, 1: 3}}, "more": 4}, expected, "s.pt")
    for found, where in (({"b": {}}, "s.pt lacks 'a'"), ({"a": 1, "b": 3}, "s.pt: b lacks 'c'"), (7, "s.pt lacks 'a'")):
        with pytest.raises(ValueError, match=where):
            require_pieces(found, expected, "s.pt")


def test_the_log_forgets_what_came_after_the_state_and_what_is_no_row(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    log = tmp_path / "metrics.jsonl"
    forget_after(3, log)
    assert not log.exists()
    rows = b'{"step": 1, "loss": 2.0}\n{"step": 3, "loss": 1.0}\n'
    log.write_bytes(b'{"step": 3, "lo\0\xff\n[]\n' + rows + b'{"step": 4, "loss": 0.5}\n{"step": 3, "half')
    forget_after(3, log)
    assert log.read_bytes() == rows
    assert sum("a damaged row is left out" in str(warning.message) for warning in recwarn) == 2


def test_the_curve_has_all_validations_and_some_rows_of_training(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    assert learning_curve(log) == []
    rows: list[dict[str, float]] = [{"step": step, "loss": 1 / step, "seconds": 3} for step in range(1, 101)]
    log.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"step": 50, "validation_loss": 0.5}]))
    curve = learning_curve(log)
    assert [row for row in curve if "loss" in row] == [{"step": step, "loss": 1 / step} for step in range(1, 101, 3)]
    assert {"step": 50, "validation_loss": 0.5} in curve
    assert [row["step"] for row in curve] == sorted(row["step"] for row in curve)
