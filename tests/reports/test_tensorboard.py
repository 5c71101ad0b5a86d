"""Logs of trainings become events that TensorBoard reads; without it one line says what to install."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Answer

from reports import tensorboard

LOG = '{"step": 50, "loss": 0.5, "learning_rate": 0.001}\n{"step": 100, "validation_loss": 0.25}\n{"step": 150, "lo'


def test_a_folder_without_logs_is_told(tmp_path: Path, answer: Callable[..., Answer]) -> None:
    said = answer("reports.tensorboard", tmp_path)
    assert (said.code, "holds no metrics.jsonl" in said.err) == (2, True)


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is not None, reason="TensorBoard is installed")
def test_without_the_package_one_line_says_what_to_install(tmp_path: Path, answer: Callable[..., Answer]) -> None:
    (tmp_path / "metrics.jsonl").write_text(LOG)
    said = answer("reports.tensorboard", tmp_path)
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert "pip install tensorboard" in said.err


def test_every_number_of_a_log_is_an_event_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "metrics.jsonl").write_text(LOG)
    for _ in range(2):  # a second call replaces the first one's
        assert tensorboard.main([str(tmp_path)]) == 3
    events = EventAccumulator(str(tmp_path / "cat" / tensorboard.EVENTS))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["learning_rate", "loss", "validation_loss"]
    assert [(event.step, event.value) for event in events.Scalars("validation_loss")] == [(100, 0.25)]
