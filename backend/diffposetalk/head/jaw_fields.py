# SPDX-License-Identifier: GPL-3.0-or-later
"""A head's displacement from rest as a product of features of its coefficients and fixed fields of vectors.

With only the jaw turned, by a pitch t, linear blend skinning moves a point with skinning weight w for the jaw to

    x0 + B c + P(t) + w (R(t) - I) (x0 + B c + P(t) - J0 - G c),    R(t) - I = sin t S + (1 - cos t) S²

(c expression coefficients, B their directions, P the correctives of the jaw, J0 + G c the jaw joint, S the cross
product with x). That is linear in the features [c, s c, k c, s, k, s², s k, k²] with s = sin t and k = 1 - cos t.
"""

from __future__ import annotations

import numpy as np

from ..config import EXPRESSION_DIM
from .head_model import JAW, HeadModel

FEATURES = 3 * EXPRESSION_DIM + 5


def jaw_fields(head: HeadModel, points: np.ndarray) -> np.ndarray:
    """The features' displacement fields at some vertices, (N, 3, FEATURES) metres."""
    regress = head.J_regressor[JAW].numpy().astype(np.float64)
    template = head.v_template.numpy().astype(np.float64)
    directions = head.shapedirs.numpy()[:, :, -EXPRESSION_DIM:]
    at_joint = np.einsum("v,vck->ck", regress, directions)
    weight = head.weights.numpy()[points, JAW].astype(np.float64)[:, None, None]
    correctives = head.posedirs.T.reshape(-1, 3, 36).numpy()[points].astype(np.float64)[:, :, 9:18]
    along_s = (correctives[:, :, 7] - correctives[:, :, 5])[:, :, None]
    along_k = -(correctives[:, :, 4] + correctives[:, :, 8])[:, :, None]
    arm = (template[points] - regress @ template)[:, :, None]
    moving = directions[points].astype(np.float64)
    cross = np.array([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]])

    def turned(field: np.ndarray) -> np.ndarray:
        return weight * (cross @ field)

    def turned_twice(field: np.ndarray) -> np.ndarray:
        return weight * (cross @ cross @ field)

    return np.concatenate(
        [
            moving,
            turned(moving - at_joint),
            turned_twice(moving - at_joint),
            along_s + turned(arm),
            along_k + turned_twice(arm),
            turned(along_s),
            turned(along_k) + turned_twice(along_s),
            turned_twice(along_k),
        ],
        axis=2,
    )


def jaw_features(exp: np.ndarray, jaw: np.ndarray) -> np.ndarray:
    """Features (T, FEATURES) of coefficients (T, 50) and jaw pitch (T,)."""
    s, k = np.sin(jaw)[:, None], 1 - np.cos(jaw)[:, None]
    return np.concatenate([exp, s * exp, k * exp, s, k, s * s, s * k, k * k], axis=1)


def jaw_slope(exp: np.ndarray, jaw: np.ndarray) -> np.ndarray:
    """Derivative of `jaw_features` by the jaw pitch, (T, FEATURES)."""
    s, k, c = np.sin(jaw)[:, None], 1 - np.cos(jaw)[:, None], np.cos(jaw)[:, None]
    return np.concatenate([0 * exp, c * exp, s * exp, c, s, 2 * s * c, c * k + s * s, 2 * k * s], axis=1)
