"""Our scores agree with other libraries', and results/agreement.json says by how much."""

from __future__ import annotations

import json

import agreement
import pytest


def test_the_measured_table_is_within_its_bounds_and_is_the_kept_one() -> None:
    kept = {
        (row["what"], row["against"], row["conditions"], row["kind"], row["bound"]): row["deviation"]
        for row in json.loads(agreement.RESULTS.read_text(encoding="utf-8"))["rows"]
    }
    table = agreement.rows()
    assert [row for row in table if not row["deviation"] <= row["bound"]] == []
    measured = {
        (row["what"], row["against"], row["conditions"], row["kind"], row["bound"]): row["deviation"] for row in table
    }
    for key, deviation in measured.items():
        low, high = sorted([deviation, kept[key]])
        assert high < 1e-12 or high <= 10 * low, key
    for name in agreement.LIBRARIES:
        if agreement.library(name) is None:
            pytest.skip(f"{name} is not installed for comparison; tests/agreement.py says how")
    assert list(kept) == list(measured)
