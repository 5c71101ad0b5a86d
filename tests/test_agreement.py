"""Our figures agree with other libraries', and results/agreement.json says by how much."""

from __future__ import annotations

import json
from typing import Any

import agreement
import pytest


def key(row: agreement.Row) -> tuple[Any, ...]:
    return row["what"], row["against"], row["conditions"], row["kind"], row["bound"]


@pytest.fixture(scope="module")
def table() -> list[agreement.Row]:
    return agreement.rows()


@pytest.fixture(scope="module")
def kept() -> list[agreement.Row]:
    return json.loads(agreement.RESULTS.read_text(encoding="utf-8"))["rows"]


@pytest.mark.parametrize("name", sorted(agreement.LIBRARIES))
def test_every_library_agrees(name: str, table: list[agreement.Row]) -> None:
    if agreement.library(name) is None:
        pytest.skip(f"{name} is not installed for comparison; tests/agreement.py says how")
    rows = [row for row in table if row["against"].split()[0] == name]
    assert rows
    assert [row for row in rows if not row["deviation"] <= row["bound"]] == []


def test_scipy_agrees(table: list[agreement.Row]) -> None:
    rows = [row for row in table if row["against"].split()[0] not in agreement.LIBRARIES]
    assert {row["what"] for row in rows} == {"FID", "Wasserstein-1"}
    assert [row for row in rows if not row["deviation"] <= row["bound"]] == []


def test_the_kept_table_is_the_measured_one(table: list[agreement.Row], kept: list[agreement.Row]) -> None:
    measured = {key(row): row["deviation"] for row in table}
    assert len(measured) == len(table)
    stored = {key(row): row["deviation"] for row in kept}
    if not agreement.missing_libraries():
        assert list(stored) == list(measured)
    for name, deviation in measured.items():
        low, high = sorted([deviation, stored[name]])
        assert high < 1e-12 or high <= 10 * low, name


def test_a_deviation_is_seen() -> None:
    relative = agreement.row("a", "b", "c", [1.0, 2.0], [1.0, 2.2], 1e-3)
    assert relative["deviation"] == pytest.approx(0.2 / 2.2)
    assert agreement.row("a", "b", "c", 1.0, 3.0, 0.0, absolute=True)["deviation"] == 2.0
