# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of teeth with gums, bound to MakeHuman's smooth tooth strips.

Row coordinates of a strip: 0 at the gum's far edge, 2 at the biting edge, 3 behind the teeth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from makehuman import BaseMesh, Floats
from strips import grid_mixture, strip_grid
from surface import Surface


@dataclass(frozen=True)
class ToothRow:
    """One jaw's teeth: widths in millimetres from the middle outwards, and how the strip is moved."""

    group: str
    widths: tuple[float, ...]
    heights: tuple[float, ...]
    towards_gum: float
    shift: tuple[float, float, float]


# Widths and crown heights (millimetres) are textbook averages of permanent teeth. MakeHuman's strips meet
# edge to edge; the upper one is let down a little and the lower moved back, as in a normal bite.
UPPER = ToothRow(
    "helper-upper-teeth",
    widths=(8.5, 6.7, 7.6, 7.0, 6.8, 10.0),
    heights=(10.5, 9.3, 10.2, 8.6, 8.0, 7.4),
    towards_gum=1.0,
    shift=(0.0, -0.0048, -0.0006),
)
LOWER = ToothRow(
    "helper-lower-teeth",
    widths=(5.4, 6.0, 7.0, 7.0, 7.2, 11.0),
    heights=(8.8, 9.2, 10.4, 8.8, 8.2, 7.6),
    towards_gum=-1.0,
    shift=(0.0, -0.0024, -0.0030),
)

FRONT_TEETH = 3  # each side's incisors and canine have one more column, as they show
GAP_DEPTH, GAP_NOTCH, BULGE, THICKNESS = 0.0011, 0.0011, 0.0006, 0.0022
GUM_HEIGHT = 0.006


def build_teeth(base: BaseMesh, vertices: Floats, row: ToothRow, tooth: int, gum: int) -> Surface:
    """One row of teeth; `tooth` and `gum` are material indices. Rest geometry is that of `vertices`."""
    quads = base.quads[base.groups == row.group]
    gum_side = vertices[base.group_vertices(row.group)].mean(axis=0) + np.array([0, row.towards_gum, 0])
    grid = strip_grid(quads, vertices, gum_side)
    edge = vertices[grid[2]]
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(edge, axis=0), axis=1))])
    middle = np.interp(0.0, edge[:, 0], lengths)

    # Columns: distance along the arch from its middle (metres), crown height, 1 between teeth and 0 on them.
    right_half: list[tuple[float, float, float]] = [(0.0, row.heights[0], 1.0)]
    start = 0.0
    for number, (width, height) in enumerate(zip(row.widths, row.heights, strict=True)):
        after = row.heights[min(number + 1, len(row.heights) - 1)]
        inside = (0.22, 0.78) if number < FRONT_TEETH else (0.5,)
        right_half += [(start + share * width, height, 0.0) for share in inside]
        start += width
        right_half.append((start, (height + after) / 2, 1.0))
    columns = np.array([(-d, h, g) for d, h, g in right_half[:0:-1]] + right_half)
    distance, height, between = columns[:, 0] / 1000, columns[:, 1] / 1000, columns[:, 2]
    reach = min(middle, lengths[-1] - middle) * 0.985
    distance *= min(1.0, reach / distance[-1])
    column = np.interp(middle + distance, lengths, np.arange(len(edge)))

    biting = np.array(
        grid_mixture(grid, np.stack([np.full_like(column, 2.0), column], 1), len(vertices)) @ vertices
    )
    tangent = np.gradient(biting, axis=0)
    outward = np.stack([-tangent[:, 2], np.zeros(len(column)), tangent[:, 0]], axis=1)
    outward *= np.where(outward[:, 2:] < 0, -1, 1) / np.linalg.norm(outward, axis=1, keepdims=True)
    outward[0, 2] = outward[-1, 2] = 0.0
    up = np.array([0.0, row.towards_gum, 0.0])

    def line(rise: Floats, out: Floats) -> Floats:
        return biting + rise[:, None] * up + out[:, None] * outward

    zero = np.zeros(len(column))
    dip = -GAP_DEPTH * between
    lines = [
        line(height + GUM_HEIGHT, zero - 0.0006),
        line(height + 0.0012 * between, zero + 0.0001),
        line(0.55 * height, dip + BULGE * (1 - between)),
        line(GAP_NOTCH * between, dip),
        line(GAP_NOTCH * between, dip - THICKNESS * (1 - 0.4 * between)),
        line(0.8 * height, zero - 0.006),
    ]
    points = np.concatenate(lines) + np.array(row.shift)
    count = len(column)
    places = np.stack([np.repeat([0.6, 1.0, 1.5, 2.0, 2.1, 2.8], count), np.tile(column, len(lines))], axis=1)
    mixture = grid_mixture(grid, places, len(vertices))

    polygons, materials = [], []
    for i in range(len(lines) - 1):
        for j in range(count - 1):
            a, b = i * count + j, (i + 1) * count + j
            quad = [a, b, b + 1, a + 1]
            polygons.append(quad if row.towards_gum > 0 else quad[::-1])
            materials.append(gum if i == 0 else tooth)
    table = np.array(polygons)
    corner = np.array([0.02, 0.13 if row is UPPER else 0.19])
    share = np.stack(
        [places[:, 1] / (grid.shape[1] - 1), np.repeat(np.linspace(0, 1, len(lines)), count)], axis=1
    )
    return Surface(
        mixture,
        points - mixture @ vertices,
        table,
        corner + share * np.array([0.3, 0.05]),
        table.copy(),
        np.array(materials),
    )
