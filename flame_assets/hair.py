# SPDX-License-Identifier: GPL-3.0-or-later
"""Short hair and eyebrows, made of the skin they grow from so that they move with it."""

from __future__ import annotations

import numpy as np
from makehuman import Floats
from surface import Surface, project_along_z

# The hairline as seen from the middle of the skull: direction from straight ahead (degrees; ears at 90)
# to its height above the eyes (metres).
SKULL_MIDDLE = np.array([0.0, 0.015, -0.070])
HAIRLINE = (
    (0, 0.076), (14, 0.076), (26, 0.072), (34, 0.064), (42, 0.054), (50, 0.042), (55, 0.024), (58, -0.008),
    (61, -0.022), (66, -0.024), (70, 0.000), (92, 0.000), (98, -0.028), (106, -0.050), (122, -0.070), (150, -0.082),
    (180, -0.086),
)  # fmt: skip
# The ear seen from the side, y (above the eyes) and z: no hair grows inside this ellipse.
EAR_MIDDLE, EAR_RADII = np.array([-0.025, -0.056]), np.array([0.033, 0.021])
HAIR_DEPTH, HAIR_SLOPE = 0.008, 0.035

# Middle line of the left eyebrow from the nose outwards: x, height above the eyes, half width (metres).
BROW = (
    (0.0100, 0.0172, 0.0008),
    (0.0125, 0.0181, 0.0026),
    (0.0170, 0.0193, 0.0033),
    (0.0240, 0.0209, 0.0033),
    (0.0320, 0.0223, 0.0028),
    (0.0400, 0.0221, 0.0020),
    (0.0480, 0.0193, 0.0004),
)
BROW_COLUMNS, BROW_THICKNESS, BROW_LIFT = 19, 0.0011, 0.0003


def hairline_level(points: Floats, eye_height: float) -> Floats:
    """A function (V,) of the head's vertices: negative under the hair, zero at its edge, about metres."""
    from_middle = points - (SKULL_MIDDLE + np.array([0.0, eye_height, 0.0]))
    direction = np.degrees(np.arctan2(np.abs(from_middle[:, 0]), from_middle[:, 2]))
    angles, heights = np.array(HAIRLINE).T
    level = eye_height + np.interp(direction, angles, heights) - points[:, 1]
    ear = (points[:, 1:] - EAR_MIDDLE - np.array([eye_height, 0.0])) / EAR_RADII
    outside = (np.linalg.norm(ear, axis=1) - 1.0) * EAR_RADII.mean()
    beside = np.abs(points[:, 0]) > 0.04
    return np.where(beside, np.maximum(level, -outside), level)


def hair_depth(level: Floats) -> Floats:
    """How far (V,) hair stands off the scalp: nothing at the hairline, HAIR_DEPTH well inside it."""
    inside = np.clip(-level / HAIR_SLOPE, 0, 1)
    return HAIR_DEPTH * np.sqrt(inside) * (1.5 - 0.5 * inside)


def build_eyebrows(skin: Surface, points: Floats, eye_height: float, material: int) -> Surface:
    """Both brows as thin raised strips over the skin's vertices `points` (V, 3)."""
    line = np.array(BROW)
    at = np.linspace(0, len(line) - 1, BROW_COLUMNS)
    x, y, half = (np.interp(at, np.arange(len(line)), column) for column in line.T)
    y = y + eye_height
    # Across the brow: its place between the edges, and how much of the thickness it has there.
    across = np.array([(-1.0, -0.15), (-0.4, 1.0), (0.45, 1.0), (1.0, -0.15)])
    # The hairs' ends make the edges uneven.
    ragged = 1.0 + 0.03 * np.where(np.arange(BROW_COLUMNS) % 2, 1, -1)
    slope = np.gradient(y, x)
    up = np.stack([-slope, np.ones_like(slope)], axis=1) / np.hypot(slope, 1)[:, None]

    flat, lift = [], []
    for side in (1.0, -1.0):
        for share, thick in across:
            edge = ragged if abs(share) == 1.0 else np.ones(BROW_COLUMNS)
            place = np.stack([x, y], axis=1) + (share * half * edge)[:, None] * up
            flat.append(place * np.array([side, 1.0]))
            lift.append(
                np.full(BROW_COLUMNS, BROW_LIFT) + BROW_THICKNESS * thick * np.minimum(half / 0.003, 1)
            )
    weights, normals = project_along_z(points, skin.polygons, np.concatenate(flat))
    count = BROW_COLUMNS * len(across)
    polygons = []
    for side in range(2):
        for i in range(len(across) - 1):
            for j in range(BROW_COLUMNS - 1):
                a, b = side * count + i * BROW_COLUMNS + j, side * count + (i + 1) * BROW_COLUMNS + j
                quad = [a, a + 1, b + 1, b]
                polygons.append(quad if side == 0 else quad[::-1])
    table = np.array(polygons)
    grid = np.stack(np.meshgrid(np.linspace(0, 0.05, BROW_COLUMNS), np.linspace(0, 0.02, len(across))), -1)
    uv = np.concatenate([grid.reshape(-1, 2) + np.array([0.40 + 0.06 * side, 0.13]) for side in range(2)])
    return Surface(
        (weights @ skin.mixture).tocsr(),
        np.concatenate(lift)[:, None] * normals + np.asarray(weights @ skin.offset),
        table,
        uv,
        table.copy(),
        np.full(len(table), material),
    )
