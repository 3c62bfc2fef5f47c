# SPDX-License-Identifier: GPL-3.0-or-later
"""Lip vertex error (LVE): how far the lips are from where they should be.

Of each frame the largest distance of all lip vertices, averaged over frames (Richard et al. 2021, MeshTalk;
section 4.3 of the paper), on meshes without head rotation. The distance is the L2 norm, in millimetres; the scripts
that FaceFormer and CodeTalker published leave it squared, which is why their figures are far smaller numbers.
"""

from __future__ import annotations

import numpy as np

MILLIMETRES = 1e3


def lip_vertex_error(predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """LVE of each frame, (T,) mm.

    Args:
        predicted, actual: (T, L, 3) lip vertices, metres, the same L vertices at zero head rotation.

    Raises:
        ValueError: the shapes differ.
    """
    if predicted.shape != actual.shape:
        raise ValueError(f"lips of shapes {predicted.shape} and {actual.shape} cannot be compared")
    return MILLIMETRES * np.linalg.norm(predicted - actual, axis=2).max(axis=1)
