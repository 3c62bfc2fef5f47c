# SPDX-License-Identifier: GPL-3.0-or-later
"""Diversity of what is generated from identical input, for the face and for the head's rotation.

Mean distance over all pairs of samples and all frames (after Ren et al. 2023, as FaceDiffuser, Stan et al. 2023, has it
for faces). For expressions the distance is the mean over the vertices of meshes without head rotation, in 1e-4 m; for
head poses the angle between the two rotations, in degrees. The paper names neither the distance nor the units behind
its figures; with these the orders of magnitude agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.spatial.transform import Rotation

UNITS = 1e4
"""Of 1e-4 m in a metre."""


def expression_diversity(samples: Sequence[np.ndarray]) -> float:
    """Diversity of faces (T, V, 3) in metres, all of one recording; 1e-4 m. NaN for a single sample."""
    distances = [np.linalg.norm(a - b, axis=2).mean() for a, b in combinations(samples, 2)]
    return float(UNITS * np.mean(distances)) if distances else float("nan")


def head_pose_diversity(samples: Sequence[np.ndarray]) -> float:
    """Diversity of head rotations (T, 3), axis-angle radians, of one recording; degrees. NaN for a single sample."""
    turns = [Rotation.from_rotvec(sample) for sample in samples]
    angles = [(a.inv() * b).magnitude().mean() for a, b in combinations(turns, 2)]
    return float(np.degrees(np.mean(angles))) if angles else float("nan")
