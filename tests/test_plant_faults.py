"""The list of planted faults is whole: `python tests/plant_faults.py` plants them and tells which the tests notice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import plant_faults

ROOT = Path(__file__).resolve().parent.parent


def test_every_fault_still_has_its_place() -> None:
    assert plant_faults.misplaced(plant_faults.FAULTS) == []
    assert [fault.name for fault in plant_faults.FAULTS if fault.old == fault.new] == []


def test_faults_are_many_have_one_name_each_and_tests_that_exist() -> None:
    assert len(plant_faults.FAULTS) >= 50
    assert [name for name, count in Counter(fault.name for fault in plant_faults.FAULTS).items() if count > 1] == []
    for file, _, law in {test.partition("::") for fault in plant_faults.FAULTS for test in fault.tests}:
        assert f"def {law}(" in (ROOT / file).read_text(encoding="utf-8") if law else (ROOT / file).is_file(), law
