"""Threads that wait give their core away: import this before torch, whose OpenMP reads the setting when it is loaded.

By default threads that wait for each other spin. On a machine that others use too that made training with two threads
seven to eight times as slow (5.1 against 0.6 s an update, four runs in turn, load average 4 to 8 on two cores).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
