# SPDX-License-Identifier: GPL-3.0-or-later
"""The lips in MakeHuman's base mesh: closed edge loops around the mouth, one inside the other."""

from __future__ import annotations

import numpy as np
from makehuman import BaseMesh, Floats, Ints

# Each loop's upper midline vertex in base.obj, from inside the mouth out to the edge of the lips.
# The loop INNER_LOOP is the first that shows when the lips are closed: where they meet.
LOOP_STARTS = (571, 554, 537, 520, 474, 468, 509, 467, 466)
INNER_LOOP = 4

# Vertices of the inner loop at the middle of the mouth, upper and the lower one that it meets, right to left.
INNER_UPPER = (469, 470, 472, 474, 7228, 7226, 7225)
INNER_LOWER = (475, 481, 487, 493, 7242, 7236, 7230)
CORNERS = (7192, 432)

# How much of the closing each loop of LOOP_STARTS takes part in: all at the contact, fading outwards.
SEAL_SHARE = (0.25, 0.5, 0.8, 1.0, 1.0, 0.85, 0.6, 0.35, 0.15)


def lip_loops(base: BaseMesh) -> list[Ints]:
    """Base-mesh vertices of each loop of LOOP_STARTS, in order along the loop."""
    quads = base.quads[base.groups == "body"]
    around: dict[int, set[int]] = {}
    for number, quad in enumerate(quads.tolist()):
        for vertex in quad:
            around.setdefault(vertex, set()).add(number)

    def neighbours(vertex: int) -> set[int]:
        found = set()
        for number in around[vertex]:
            quad = quads[number].tolist()
            place = quad.index(vertex)
            found |= {quad[place - 1], quad[(place + 1) % 4]}
        return found

    def straight_on(previous: int, vertex: int) -> int:
        beside = {v for number in around[previous] & around[vertex] for v in quads[number].tolist()}
        (onward,) = neighbours(vertex) - beside
        return onward

    loops = []
    for start in LOOP_STARTS:
        sideways = next(v for v in sorted(neighbours(start)) if base.vertices[v, 0] > 1e-4)
        loop = [start, sideways]
        while loop[-1] != start:
            loop.append(straight_on(loop[-2], loop[-1]))
        loops.append(np.array(loop[:-1]))
    return loops


def lip_seal(base: BaseMesh, vertices: Floats, heights: Floats) -> Floats:
    """Displacement (N, 3) of the base mesh that closes the slit between the resting lips.

    MakeHuman leaves about a millimetre. Upper and lower lip each go half the way, by the height of the slit
    at their distance from the middle, which is measured in vertices (N, 3). heights (N,) are what the slit
    is read from: the vertices' own y, or the y of a displacement that is to leave closed lips closed.
    """
    loops = lip_loops(base)
    upper, lower = _halves(loops[INNER_LOOP])
    slit = np.linspace(vertices[upper[0], 0], vertices[upper[-1], 0], 200)
    height = np.interp(slit, vertices[upper, 0], heights[upper])
    height -= np.interp(slit, vertices[lower, 0], heights[lower])

    seal = np.zeros_like(vertices)
    for loop, share in zip(loops, SEAL_SHARE, strict=True):
        for half, direction in zip(_halves(loop), (-0.5, 0.5), strict=True):
            seal[half, 1] = direction * share * np.interp(vertices[half, 0], slit, height, left=0, right=0)
    return seal


def _halves(loop: Ints) -> tuple[Ints, Ints]:
    """The upper and the lower part of a lip loop from corner to corner, both from right to left (rising x).

    Every loop of LOOP_STARTS has its corners at the same steps from its upper midline vertex.
    """
    to_corner = 12
    upper = np.concatenate([loop[-to_corner:], loop[: to_corner + 1]])
    lower = loop[to_corner : len(loop) - to_corner + 1][::-1]
    return upper, lower
