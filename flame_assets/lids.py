# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the lids travel in a blink."""

from __future__ import annotations

import numpy as np
from makehuman import BaseMesh, Floats, Ints
from strips import strip_grid
from surface import project_along_z

LASH_CLEARANCE = 0.0003

# At eyeBlink = 1 the upper lid's edge ends this far below the lower one's. A little more than touching:
# tracked and generated blinks seldom reach 1, and must still look shut.
OVERLAP = 0.0012


def measured_blink(base: BaseMesh, vertices: Floats, unit: Floats, side: str) -> Floats:
    """The eyeBlink unit (N, 3) shortened so that the lids of this head meet instead of crossing.

    MakeHuman's unit drives the upper lid's edge three to four millimetres behind the lower lid, lashes and
    all. Each vertex keeps its direction; the share it keeps depends on its place across the eye, so that the
    lids close evenly. side is "l" or "r"; vertices (N, 3) place the base mesh.
    """
    eye = vertices[base.group_vertices(f"joint-{side}-eye")].mean(axis=0)
    edges = []
    for lid in ("eyelashes-2", "eyelashes-1"):  # the upper, the lower
        quads = base.quads[base.groups == f"helper-{side}-{lid}"]
        edge = strip_grid(quads, vertices, eye)[0]
        edges.append(edge[np.argsort(vertices[edge, 0])])
    reach = 0.36 * (vertices[edges[0][-1], 0] - vertices[edges[0][0], 0])
    across = eye[0] + np.linspace(-reach, reach, 25)

    def opening(state: Floats) -> Floats:
        upper, lower = (
            np.interp(across, *state[edge[np.argsort(state[edge, 0])]][:, :2].T) for edge in edges
        )
        return upper - lower

    rest, shut = opening(vertices), opening(vertices + unit)
    share = np.polyval(np.polyfit(across - eye[0], (rest + OVERLAP) / (rest - shut), 3), across - eye[0])
    return unit * np.minimum(np.interp(vertices[:, 0], across, share), 1.0)[:, None]


def lashes_over_skin(points: Floats, skin_polygons: Ints, lashes: Ints, unit: Floats) -> Floats:
    """The unit (V, 3) with moved `lashes` (vertex indices) brought forward where they would sink into skin."""
    state = points + unit
    moved = lashes[np.linalg.norm(unit[lashes], axis=1) > 0.001]
    weights, _ = project_along_z(state, skin_polygons, state[moved, :2])
    sunk = np.maximum((weights @ state)[:, 2] + LASH_CLEARANCE - state[moved, 2], 0)
    unit = unit.copy()
    unit[moved, 2] += sunk
    return unit
