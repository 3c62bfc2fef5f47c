# SPDX-License-Identifier: GPL-3.0-or-later
"""Mouth opening difference (MOD), and whether openings are as varied as real ones.

MOD is the paper's own metric (section 4.3): the average difference of the size of the mouth opening between prediction
and ground truth. The paper does not say where the opening is measured; here it is the gap between the inner lips,
mean over the head asset's pairs of vertices at the middle of the mouth, less the gap of the resting head.
"""

from __future__ import annotations

import numpy as np

MILLIMETRES = 1e3


def mouth_opening_difference(predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """MOD of each frame, (T,) mm, from openings (T,) in metres."""
    if predicted.shape != actual.shape:
        raise ValueError(f"openings of {len(predicted)} and {len(actual)} frames cannot be compared")
    return MILLIMETRES * np.abs(predicted - actual)


def opening_variance_ratio(predicted: np.ndarray, actual: np.ndarray) -> float:
    """Variance of the predicted openings over that of the actual ones; under 1 the motion is over-smoothed.

    Args:
        predicted, actual: (T,) openings of all clips joined. NaN where the actual mouth never moves.
    """
    variance = float(actual.var())
    return float(predicted.var()) / variance if variance > 1e-12 else float("nan")
