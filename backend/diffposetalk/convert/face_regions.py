# SPDX-License-Identifier: GPL-3.0-or-later
"""Where lips, eyes and upper face are on a head of unknown mesh: from its skinning and its shape at rest.

The seam of the lips is where vertices that the jaw turns touch vertices that it leaves, without being joined to
them by an edge. All lengths scale with the distance between the eyes.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

JAW, LEFT_EYE, RIGHT_EYE = 2, 3, 4
# In distances between the eyes (about 6 cm).
TOUCHING = 0.07  # lips at rest are no further apart than this
MIDDLE = 0.25  # the middle of the mouth, to each side
COLUMNS = 7  # pairs of the inner lips, over the middle
LIP_HEIGHT = 0.13
LID_WIDTH = 0.22  # skin around the eyeball that moves as its lids
RIM = 0.07  # depth of the foremost part of the seam, where the lips part first
MIN_PAIRS = 3
JAW_DIVIDE = 0.35  # weight of the jaw that divides what it turns from what it leaves
PARTING = 0.3  # at least this much more of the jaw's turn below the seam than above it


def face_regions(
    v_template: np.ndarray, faces: np.ndarray, weights: np.ndarray, joints: np.ndarray
) -> dict[str, np.ndarray]:
    """Vertex indices (int32) of the regions that a head asset names, those of them that can be told.

    Args:
        v_template: (V, 3) metres, y up, the face along +z, the left side at +x.
        faces: (F, 3) triangles.
        weights: (V, 5) skinning weights of root, neck, jaw, left and right eye.
        joints: (5, 3) their positions.

    Returns:
        `mask_left_eye`, `mask_right_eye`, `mask_upper_face` always; `mask_lips`, `lip_inner_upper` and
        `lip_inner_lower` (paired, K >= 3), and `mouth_corners` (2,) if a seam between the lips is found.
    """
    unit = float(np.linalg.norm(joints[LEFT_EYE] - joints[RIGHT_EYE]))
    between = (joints[LEFT_EYE] + joints[RIGHT_EYE]) / 2
    eyeball = weights[:, LEFT_EYE:] > 0.5
    skin = np.logical_not(eyeball.any(axis=1))
    out: dict[str, np.ndarray] = {}
    for side, joint in (("left", LEFT_EYE), ("right", RIGHT_EYE)):
        ball = eyeball[:, joint - LEFT_EYE]
        distance = np.linalg.norm(v_template - joints[joint], axis=1)
        radius = np.median(distance[ball]) if ball.any() else 0.2 * unit
        lids = skin & (distance < radius + LID_WIDTH * unit) & (v_template[:, 2] > joints[joint, 2])
        out[f"mask_{side}_eye"] = _index(ball | lids)
    upper = skin & (v_template[:, 1] > between[1] - 0.4 * unit) & (v_template[:, 2] > between[2] - 0.6 * unit)
    upper &= v_template[:, 1] < between[1] + 1.0 * unit
    out["mask_upper_face"] = _index(upper | np.isin(np.arange(len(skin)), out["mask_left_eye"]) & skin)
    out |= _lips(v_template, faces, weights[:, JAW], skin, between, unit)
    return out


def _lips(
    v: np.ndarray, faces: np.ndarray, jaw: np.ndarray, skin: np.ndarray, between: np.ndarray, unit: float
) -> dict[str, np.ndarray]:
    around_mouth = (
        skin
        & (v[:, 1] < between[1] - 0.5 * unit)
        & (v[:, 1] > between[1] - 1.9 * unit)
        & (v[:, 2] > between[2] - 0.2 * unit)
        & (np.abs(v[:, 0] - between[0]) < 0.7 * unit)
    )
    above, below = _index(around_mouth & (jaw < JAW_DIVIDE)), _index(around_mouth & (jaw >= JAW_DIVIDE))
    if len(above) < MIN_PAIRS or len(below) < MIN_PAIRS:
        return {}
    joined: list[set[int]] = [set() for _ in range(int(faces.max()) + 1)]
    for i, j, k in faces.tolist():
        joined[i].update((j, k))
        joined[j].update((i, k))
        joined[k].update((i, j))
    tree = cKDTree(v[below])
    upper, lower, gap = [], [], []
    for a in above:
        for d, b in zip(
            *tree.query(v[a], k=min(6, len(below)), distance_upper_bound=TOUCHING * unit), strict=True
        ):
            if np.isfinite(d) and below[b] not in joined[a] and jaw[below[b]] - jaw[a] > PARTING:
                upper.append(a)
                lower.append(below[b])
                gap.append(d)
                break
    if len(upper) < MIN_PAIRS:
        return {}
    pairs, distances = np.array([upper, lower]), np.array(gap)
    side = v[pairs[0], 0] - between[0]
    middle = np.abs(side) < MIDDLE * unit
    if not middle.any():
        return {}
    rim = v[pairs[0, middle], 2].max() - RIM * unit
    at_seam = (v[pairs[0], 2] > rim - (side / unit) ** 2 * 1.2 * unit) & (
        np.abs(v[pairs[0], 1] - np.median(v[pairs[0, middle & (v[pairs[0], 2] > rim)], 1])) < 0.12 * unit
    )
    chosen: list[int] = []
    for x in np.linspace(-MIDDLE, MIDDLE, COLUMNS) * unit:
        candidates = np.flatnonzero(at_seam & (np.abs(side - x) < 0.5 * MIDDLE * unit / 3))
        if len(candidates):
            best = int(candidates[np.argmin(distances[candidates])])
            if pairs[0, best] not in pairs[0, chosen] and pairs[1, best] not in pairs[1, chosen]:
                chosen.append(best)
    if len(chosen) < MIN_PAIRS:
        return {}
    seam = pairs[:, at_seam]
    corners = [seam[0, np.argmax(v[seam[0], 0])], seam[0, np.argmin(v[seam[0], 0])]]
    to_seam, nearest = cKDTree(v[seam.ravel()]).query(v)
    half = np.ptp(v[corners, 0]) / 2
    aside = (v[seam.ravel()[nearest], 0] - v[corners, 0].mean()) / half
    height = LIP_HEIGHT * unit * (1 - 0.7 * aside**2)  # lips taper towards the corners
    return {
        "lip_inner_upper": pairs[0, chosen].astype(np.int32),
        "lip_inner_lower": pairs[1, chosen].astype(np.int32),
        "mouth_corners": np.array(corners, np.int32),
        "mask_lips": _index(skin & (to_seam < height)),
    }


def _index(chosen: np.ndarray) -> np.ndarray:
    return np.flatnonzero(chosen).astype(np.int32)
