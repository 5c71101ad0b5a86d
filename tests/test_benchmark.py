"""The benchmark measures what it says."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from config import QUALITIES
from studies import benchmark


def test_operations_are_those_of_the_products() -> None:
    layer, x = torch.nn.Linear(5, 7), torch.randn(2, 3, 5)

    def work() -> None:
        layer(x).sum().backward()
        with torch.inference_mode():
            layer(x)
        torch.bmm(x, x.transpose(1, 2))

    # forward, gradient of the weights, forward again, one of a batch
    assert benchmark.operations_of(work) == 2 * (6 * 5 * 7 * 3 + 2 * 3 * 5 * 3)


def test_parts_are_measured_and_printed_through_the_command_line(
    tmp_path: Path, long_form: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "benchmark.json"
    if not long_form:
        monkeypatch.setattr(benchmark, "seconds_of", partial(benchmark.seconds_of, at_least=0.01))
        monkeypatch.setattr(benchmark, "operations_of", lambda work: 1.0)  # it counts slowly
    parts = ",".join(benchmark.PARTS) if long_form else "drawing,loading"
    rows = benchmark.main(["--only", parts, "--scale", "0.005", "--data-dir", "embedded", "--out", str(out)])
    assert all(row.value > 0 for row in rows)
    values = {(row.what, row.conditions): row.value for row in rows}
    student, teacher = (values["drawing: evaluations", f"cat, {quality}, 1 at once, float32"] for quality in QUALITIES)
    assert teacher >= 40
    assert 4 <= student <= teacher
    shown = capsys.readouterr().out
    assert all(row.conditions in shown for row in rows)
    assert not out.exists()  # a part, or small sizes, are no result


def test_everything_is_written_with_its_conditions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = benchmark.Row("drawing", 3.0, "drawings/s", "none")
    monkeypatch.setattr(benchmark, "PARTS", {"drawing": lambda data_dir, scale: [row]})
    benchmark.main(["--data-dir", "embedded", "--out", str(tmp_path / "b.json")])
    written = json.loads((tmp_path / "b.json").read_text())
    assert written["rows"] == [vars(row)]
    assert written["conditions"]["drawings"] == "embedded drawings"
