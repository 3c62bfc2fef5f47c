# SPDX-License-Identifier: GPL-3.0-or-later
"""Upper face dynamics deviation (FDD): whether brows, lids and forehead move as much as they should.

The motion of an upper-face vertex is its distance from the resting face; its dynamics are the standard deviation
of that over time. FDD is the mean over vertices of the actual dynamics less the predicted (Xing et al. 2023,
CodeTalker; section 4.3 of the paper), per clip, in 1e-5 m. Distances are L2 norms; CodeTalker's script
leaves them squared. Its sign says which way a clip deviates (positive: it moves too little); over clips the magnitudes
are averaged, so that too lively and too still ones do not cancel.
"""

from __future__ import annotations

import numpy as np

UNITS = 1e5
"""Of 1e-5 m in a metre."""


def dynamics(vertices: np.ndarray, neutral: np.ndarray) -> np.ndarray:
    """Standard deviation over time of each vertex's distance from rest, (U,) metres.

    Args:
        vertices: (T, U, 3) upper-face vertices at zero head rotation, metres.
        neutral: (U, 3) the same of the resting face.
    """
    return np.linalg.norm(vertices - neutral, axis=2).std(axis=0)


def upper_face_dynamics_deviation(predicted: np.ndarray, actual: np.ndarray, neutral: np.ndarray) -> float:
    """FDD of one clip with its sign, 1e-5 m; arguments as of `dynamics`, both of the same U vertices."""
    return float(UNITS * (dynamics(actual, neutral) - dynamics(predicted, neutral)).mean())
