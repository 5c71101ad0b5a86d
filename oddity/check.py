"""Is each drawing what it claims to be: scores against a threshold of known false alarms, verdicts, and reasons.

A threshold is a quantile of the score over calibration drawings: real ones of the category that neither the score nor
the networks behind it have learned from, see docs/ODD_DRAWINGS.md. Those of the default score are shipped for all 345
categories; other scores are fitted to training drawings at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from config import RunFailed
from dataset_utils import load_category
from drawings.packed import PackedDrawings
from oddity.looks import Judges, Look
from oddity.scores import SCORES
from plumbing.tensor_files import read_header

Drawing = Sequence[NDArray[Any]]
Array = NDArray[np.float64]
