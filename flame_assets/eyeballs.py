# SPDX-License-Identifier: GPL-3.0-or-later
"""Eyeballs with a round iris and pupil, in place of MakeHuman's 72-vertex ones.

Each new vertex is the affine combination of the old eyeball's vertices that reproduces its place, so
that the new eye follows whatever identity targets do to the old one.
"""

from __future__ import annotations

import numpy as np
from makehuman import BaseMesh, Floats, Ints
from scipy import sparse
from surface import Surface

SEGMENTS = 24
# Half angles seen from the eye's centre, degrees. The iris is a little wider than anatomy's 11.8 mm
# because MakeHuman's eyeball is larger than a real one.
PUPIL_ANGLE, IRIS_ANGLE = 9.5, 26.5
LIMBUS_ANGLE = 24.0
SCLERA_ANGLES = (34.0, 48.0, 66.0, 90.0, 125.0)


def fit_sphere(points: Floats) -> tuple[Floats, float]:
    """Centre (3,) and radius of the least-squares sphere through points (n, 3)."""
    rows = np.hstack([2 * points, np.ones((len(points), 1))])
    solution = np.linalg.lstsq(rows, (points**2).sum(axis=1), rcond=None)[0]
    centre = solution[:3]
    return centre, float(np.sqrt(solution[3] + centre @ centre))


def eye_centre(base: BaseMesh, vertices: Floats, side: str) -> tuple[Floats, float]:
    """Centre (3,) and radius of an eyeball; side is "l" or "r"; vertices (N, 3) place the base mesh.

    The bulge of the cornea is left out of the fit.
    """
    points = vertices[base.group_vertices(f"helper-{side}-eye")]
    behind = points[:, 2] < np.quantile(points[:, 2], 0.6)
    return fit_sphere(points[behind])


def build_eyeball(
    base: BaseMesh, vertices: Floats, side: str, sclera: int, iris: int, limbus: int, pupil: int
) -> Surface:
    """An eyeball that looks along +z; the last four arguments are material indices."""
    centre, radius = eye_centre(base, vertices, side)
    angles = np.radians([PUPIL_ANGLE, LIMBUS_ANGLE, IRIS_ANGLE, *SCLERA_ANGLES])
    around = np.arange(SEGMENTS) * 2 * np.pi / SEGMENTS
    ring = np.stack([np.cos(around), np.sin(around), np.zeros(SEGMENTS)], axis=1)
    rings = [np.sin(a) * ring + np.array([0, 0, np.cos(a)]) for a in angles]
    unit = np.concatenate([[[0, 0, 1.0]], *rings, [[0, 0, -1.0]]])

    polygons: list[list[int]] = []
    materials: list[int] = []
    band_materials = [iris, limbus] + [sclera] * (len(angles) - 3)
    last = len(unit) - 1
    for i in range(SEGMENTS):
        j = (i + 1) % SEGMENTS
        polygons.append([0, 1 + i, 1 + j, -1])
        materials.append(pupil)
        for band, material in enumerate(band_materials):
            inner, outer = 1 + band * SEGMENTS, 1 + (band + 1) * SEGMENTS
            polygons.append([inner + i, outer + i, outer + j, inner + j])
            materials.append(material)
        outer = 1 + (len(angles) - 1) * SEGMENTS
        polygons.append([outer + i, last, outer + j, -1])
        materials.append(sclera)

    table = np.array(polygons)
    # A disc in the texture: the distance from its middle is the angle from the line of sight.
    polar = np.arccos(np.clip(unit[:, 2], -1, 1)) / np.pi
    direction = unit[:, :2] / np.maximum(np.linalg.norm(unit[:, :2], axis=1, keepdims=True), 1e-12)
    uv = np.array([0.06 if side == "l" else 0.18, 0.06]) + 0.05 * polar[:, None] * direction
    return Surface(
        affine_mixture(vertices, base.group_vertices(f"helper-{side}-eye"), centre + radius * unit),
        np.zeros((len(unit), 3)),
        table,
        uv,
        table.copy(),
        np.array(materials),
    )


def affine_mixture(vertices: Floats, chosen: Ints, points: Floats) -> sparse.csr_matrix:
    """Weights (n, N) over the `chosen` base vertices that reproduce points (n, 3) and every affine map."""
    homogeneous = np.hstack([vertices[chosen], np.ones((len(chosen), 1))])
    weights = np.hstack([points, np.ones((len(points), 1))]) @ np.linalg.pinv(homogeneous)
    columns = np.tile(chosen, len(points))
    rows = np.repeat(np.arange(len(points)), len(chosen))
    return sparse.csr_matrix((weights.ravel(), (rows, columns)), shape=(len(points), len(vertices)))
