"""Threads that wait spin for a moment only: import this before torch, whose OpenMP reads the setting when it is loaded.

By default threads that wait for each other spin for long. On a machine that others use too that made training with two
threads seven to eight times as slow; never to spin makes an idle machine twice as slow (docs/PERFORMANCE.md).
"""

from __future__ import annotations

import os

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
