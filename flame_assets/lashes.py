# SPDX-License-Identifier: GPL-3.0-or-later
"""Eyelashes as tapered blades that grow from a thin lash line.

MakeHuman's lashes are cards meant for a texture with transparency; seen as plain polygons they are black
bands. The blades here are bound to those cards, so lids and lashes move as the face units say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from makehuman import BaseMesh, Floats
from scipy import sparse
from strips import grid_mixture, strip_grid
from surface import Surface, join


@dataclass(frozen=True)
class LashRow:
    """One lid's lashes. Lengths are in rows of the card (0 at the lid, 4 at its far edge)."""

    card: str
    count: int
    length: float
    line: float
    width: float


# The card's name goes between "helper-l-" or "helper-r-" and nothing: 1 is the lower lid, 2 the upper.
UPPER = LashRow("eyelashes-2", count=19, length=2.8, line=0.6, width=0.34)
LOWER = LashRow("eyelashes-1", count=12, length=1.9, line=0.0, width=0.16)


def build_lashes(base: BaseMesh, vertices: Floats, material: int) -> Surface:
    """Both lids' lashes of both eyes."""
    return join([_build_row(base, vertices, side, row, material) for side in "lr" for row in (UPPER, LOWER)])


def _build_row(base: BaseMesh, vertices: Floats, side: str, row: LashRow, material: int) -> Surface:
    quads = base.quads[base.groups == f"helper-{side}-{row.card}"]
    eye = vertices[base.group_vertices(f"joint-{side}-eye")].mean(axis=0)
    grid = strip_grid(quads, vertices, eye)
    # Columns run towards growing x; lashes lean outwards, away from the nose.
    outward = 1.0 if side == "l" else -1.0
    last = grid.shape[1] - 1

    places: list[tuple[float, float]] = []
    polygons: list[list[int]] = []
    if row.line:
        columns = np.linspace(0, last, last + 1)
        places += [(0.0, c) for c in columns] + [(row.line, c) for c in columns]
        for i in range(last):
            polygons.append([i, i + 1, last + 2 + i, last + 1 + i])
    for number in range(row.count):
        root = last * (number + 0.5) / row.count
        # From the inner to the outer corner lashes get longer and lean more.
        along = root / last if outward > 0 else 1 - root / last
        length = row.length * (0.75 + 0.25 * np.sin(np.pi * min(along * 0.75, 1.0)))
        lean = outward * (0.9 * along - 0.15)
        half = row.width * (0.8 if number % 2 else 1.0)
        first = len(places)
        tip = length * (0.9 if number % 2 else 1.0)
        places += [(0.9 * row.line, root - half), (0.9 * row.line, root + half), (tip, root + lean)]
        polygons.append([first, first + 1, first + 2, -1])

    table = np.array(places)
    mixture = grid_mixture(grid, table, len(vertices))
    shape = np.array(polygons)
    corner = np.array([0.26 if side == "l" else 0.31, 0.02 if row is UPPER else 0.07])
    uv = corner + 0.045 * table[:, ::-1] / np.array([last, 4.0])
    return Surface(
        sparse.csr_matrix(mixture),
        np.zeros((len(table), 3)),
        shape,
        uv,
        shape.copy(),
        np.full(len(shape), material),
    )
