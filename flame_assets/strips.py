# SPDX-License-Identifier: GPL-3.0-or-later
"""Grids of quads: MakeHuman's lash cards and tooth strips read as rows and columns."""

from __future__ import annotations

import numpy as np
from makehuman import Floats, Ints
from scipy import sparse


def strip_grid(quads: Ints, vertices: Floats, first_row_near: Floats) -> Ints:
    """Vertices (rows, columns) of a strip of quads (P, 4) with four corners.

    The long sides are rows. The first row is the one nearer to the point `first_row_near` (3,), and
    columns run towards growing x.
    """
    uses: dict[frozenset[int], int] = {}
    around: dict[int, set[int]] = {}
    for number, quad in enumerate(quads.tolist()):
        for a, b in zip(quad, quad[1:] + quad[:1], strict=True):
            uses[frozenset((a, b))] = uses.get(frozenset((a, b)), 0) + 1
            around.setdefault(a, set()).add(number)
    neighbours: dict[int, set[int]] = {}
    border: dict[int, set[int]] = {}
    for edge, count in uses.items():
        for table in (neighbours, border) if count == 1 else (neighbours,):
            a, b = edge
            table.setdefault(a, set()).add(b)
            table.setdefault(b, set()).add(a)

    corners = sorted(v for v in border if len(around[v]) == 1)
    if len(corners) != 4:
        raise ValueError(f"a strip has four corners, this has {len(corners)}")
    sides = []
    for corner in corners:
        for onward in sorted(border[corner]):
            side = [corner, onward]
            while side[-1] not in corners:
                side.append(next(v for v in border[side[-1]] if v != side[-2]))
            sides.append(side)
    longest = max(len(side) for side in sides)
    long_sides = [side for side in sides if len(side) == longest]
    row = min(long_sides, key=lambda side: np.linalg.norm(vertices[side] - first_row_near, axis=1).mean())
    if vertices[row[0], 0] > vertices[row[-1], 0]:
        row = row[::-1]

    rows = [row]
    while set(rows[-1]) - set(row) or len(rows) == 1:
        previous = rows[-2] if len(rows) > 1 else rows[-1]
        taken = set(previous) | set(rows[-1])
        onward = [neighbours[v] - taken for v in rows[-1]]
        if not all(onward):
            break
        rows.append([options.pop() for options in onward])
    return np.array(rows)


def grid_mixture(grid: Ints, places: Floats, vertex_count: int) -> sparse.csr_matrix:
    """Weights (n, N) that interpolate a grid's vertices bilinearly at places (n, 2) = (row, column)."""
    limits = np.array(grid.shape) - 1
    clipped = np.clip(places, 0, limits)
    low = np.minimum(clipped.astype(int), limits - 1)
    share = clipped - low
    rows, columns, values = [], [], []
    for down in (0, 1):
        for right in (0, 1):
            weight = np.where(down, share[:, 0], 1 - share[:, 0]) * np.where(
                right, share[:, 1], 1 - share[:, 1]
            )
            rows.append(np.arange(len(places)))
            columns.append(grid[low[:, 0] + down, low[:, 1] + right])
            values.append(weight)
    table = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_matrix(table, shape=(len(places), vertex_count))
