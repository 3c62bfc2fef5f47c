# SPDX-License-Identifier: GPL-3.0-or-later
"""Means over runs with Student's t confidence interval, as the paper's Table 1 gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

LEVEL = 0.95
"""Probability that an interval covers."""


@dataclass(frozen=True)
class Estimate:
    """A figure over runs.

    Attributes:
        mean: over the runs; NaN where no run has a value.
        half_width: half the confidence interval; None from fewer than two runs (a deterministic system).
        runs: how many runs had a value.
    """

    mean: float
    half_width: float | None
    runs: int


def estimate(values: Sequence[float]) -> Estimate:
    """Mean of one value a run, ± t(LEVEL, n - 1) s / sqrt(n). Runs without a value (NaN) do not count."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    count = len(known)
    if count < 2:
        return Estimate(float(known[0]) if count else float("nan"), None, count)
    error = known.std(ddof=1) / np.sqrt(count)
    return Estimate(float(known.mean()), float(student.ppf(0.5 + LEVEL / 2, count - 1) * error), count)
