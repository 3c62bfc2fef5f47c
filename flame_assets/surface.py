# SPDX-License-Identifier: GPL-3.0-or-later
"""A polygon surface whose vertices are fixed mixtures of the base mesh's vertices.

Because every vertex is a weighted sum of base-mesh vertices (plus a constant), each MakeHuman target
carries over to the surface by one sparse product, also to vertices that did not exist in MakeHuman:
those that cutting along a curve puts on edges, and finer eyeballs and teeth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Surface:
    """Polygons over mixtures of base-mesh vertices.

    mixture (V, N) sparse: vertex = mixture @ base vertices + offset; offset (V, 3) metres;
    polygons (P, 4) vertex indices, the fourth -1 for a triangle; uv (U, 2); uv_polygons (P, 4) indices
    into uv, -1 likewise; materials (P,) indices into a list the caller keeps.
    """

    mixture: sparse.csr_matrix
    offset: Floats
    polygons: Ints
    uv: Floats
    uv_polygons: Ints
    materials: Ints

    def positions(self, base: Floats) -> Floats:
        """Vertices (V, 3) for base-mesh vertices (N, 3)."""
        return np.asarray(self.mixture @ base) + self.offset


def from_base(quads: Ints, uv: Floats, uv_quads: Ints, vertex_count: int, material: int) -> Surface:
    """The part of the base mesh made of `quads` (P, 4), its vertices renumbered in rising order."""
    used, polygons = np.unique(quads, return_inverse=True)
    used_uv, uv_polygons = np.unique(uv_quads, return_inverse=True)
    ones = np.ones(len(used))
    mixture = sparse.csr_matrix((ones, (np.arange(len(used)), used)), shape=(len(used), vertex_count))
    return Surface(
        mixture,
        np.zeros((len(used), 3)),
        polygons.reshape(quads.shape),
        uv[used_uv],
        uv_polygons.reshape(quads.shape),
        np.full(len(quads), material),
    )


def join(surfaces: list[Surface]) -> Surface:
    """One surface of several, vertices in the order of the list."""
    polygons, uv_polygons, vertices, uvs = [], [], 0, 0
    for surface in surfaces:
        polygons.append(np.where(surface.polygons < 0, -1, surface.polygons + vertices))
        uv_polygons.append(np.where(surface.uv_polygons < 0, -1, surface.uv_polygons + uvs))
        vertices += len(surface.offset)
        uvs += len(surface.uv)
    return Surface(
        sparse.vstack([surface.mixture for surface in surfaces], format="csr"),
        np.concatenate([surface.offset for surface in surfaces]),
        np.concatenate(polygons),
        np.concatenate([surface.uv for surface in surfaces]),
        np.concatenate(uv_polygons),
        np.concatenate([surface.materials for surface in surfaces]),
    )


def keep_polygons(surface: Surface, keep: NDArray[np.bool_]) -> Surface:
    """The surface with only the polygons of the mask `keep` (P,), unused vertices removed."""
    polygons, uv_polygons = surface.polygons[keep], surface.uv_polygons[keep]
    used = np.unique(polygons[polygons >= 0])
    used_uv = np.unique(uv_polygons[uv_polygons >= 0])
    return Surface(
        surface.mixture[used],
        surface.offset[used],
        np.where(polygons < 0, -1, np.searchsorted(used, polygons)),
        surface.uv[used_uv],
        np.where(uv_polygons < 0, -1, np.searchsorted(used_uv, uv_polygons)),
        surface.materials[keep],
    )


def cut(surface: Surface, level: Floats, snap: float = 0.2) -> tuple[Surface, Floats]:
    """Cut the polygons along the zero line of a function given at the vertices.

    level (V,) is taken as linear along edges. A vertex nearer than the fraction `snap` of an edge to the
    line moves onto it, so that no slivers arise. Returns the surface and the level at its vertices; no
    polygon has vertices on both sides any more.
    """
    surface, level = _snap(surface, level, snap)
    surface = _halve_saddles(surface, level)
    edges = polygon_edges(surface.polygons)
    crossed = np.unique(np.sort(edges[level[edges[:, 0]] * level[edges[:, 1]] < 0], axis=1), axis=0)
    count = len(level)
    inserted = {(int(a), int(b)): count + i for i, (a, b) in enumerate(crossed)}
    share = level[crossed[:, 0]] / (level[crossed[:, 0]] - level[crossed[:, 1]])

    mixture = sparse.vstack([surface.mixture, _between(surface.mixture, crossed, share)], format="csr")
    offset = np.concatenate([surface.offset, _between(surface.offset, crossed, share)])
    level = np.concatenate([level, np.zeros(len(crossed))])

    uv = [row for row in surface.uv]
    inserted_uv: dict[tuple[int, int], int] = {}
    polygons, uv_polygons, materials = [], [], []
    for polygon, uv_polygon, material in zip(
        surface.polygons, surface.uv_polygons, surface.materials, strict=True
    ):
        corners = [(int(v), int(t)) for v, t in zip(polygon, uv_polygon, strict=True) if v >= 0]
        signs = level[[v for v, _ in corners]]
        if signs.min() >= 0 or signs.max() <= 0:
            loops = [corners]
        else:
            ring = []
            for (v, t), (w, s) in zip(corners, corners[1:] + corners[:1], strict=True):
                ring.append((v, t))
                key = (min(v, w), max(v, w))
                if key in inserted:
                    uv_key = (min(t, s), max(t, s))
                    if uv_key not in inserted_uv:
                        along = level[v] / (level[v] - level[w])
                        inserted_uv[uv_key] = len(uv)
                        uv.append((1 - along) * uv[t] + along * uv[s])
                    ring.append((inserted[key], inserted_uv[uv_key]))
            loops = [
                [corner for corner in ring if level[corner[0]] >= 0],
                [corner for corner in ring if level[corner[0]] <= 0],
            ]
        for loop in loops:
            for piece in _quads_of_loop(loop):
                padding = [(-1, -1)] * (4 - len(piece))
                polygons.append([v for v, _ in piece + padding])
                uv_polygons.append([t for _, t in piece + padding])
                materials.append(material)
    surface = Surface(
        mixture, offset, np.array(polygons), np.array(uv), np.array(uv_polygons), np.array(materials)
    )
    return surface, level


def polygon_levels(surface: Surface, level: Floats) -> Floats:
    """Mean (P,) of a vertex function over each polygon's corners."""
    corners = surface.polygons >= 0
    values = np.where(corners, level[surface.polygons], 0.0)
    return values.sum(axis=1) / corners.sum(axis=1)


def polygon_edges(polygons: Ints) -> Ints:
    """Directed edges (E, 2) of polygons (P, 4) with -1 as fourth corner of triangles."""
    edges = []
    for size in (3, 4):
        chosen = polygons[(polygons >= 0).sum(axis=1) == size][:, :size]
        edges.append(np.stack([chosen, np.roll(chosen, -1, axis=1)], axis=-1).reshape(-1, 2))
    return np.concatenate(edges)


def triangulate(polygons: Ints) -> Ints:
    """Triangles (F, 3): each quad cut along its first diagonal, polygon order kept."""
    first = polygons[:, [0, 1, 2]]
    second = polygons[:, [0, 2, 3]]
    pairs = np.stack([first, second], axis=1)
    keep = np.stack([np.ones(len(polygons), bool), polygons[:, 3] >= 0], axis=1)
    return pairs[keep]


def vertex_normals(positions: Floats, polygons: Ints) -> Floats:
    """Unit normals (V, 3), area weighted."""
    triangles = triangulate(polygons)
    a, b, c = (positions[triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    normals = np.zeros_like(positions)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], face)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)


def project_along_z(points: Floats, polygons: Ints, flat: Floats) -> tuple[sparse.csr_matrix, Floats]:
    """The foremost point of a surface at each flat (n, 2) = (x, y), seen from +z.

    points (V, 3), polygons (P, 4). Returns barycentric weights (n, V) and unit normals (n, 3); every flat
    point must lie in front of or behind the surface.
    """
    triangles = triangulate(polygons)
    a, b, c = (points[triangles[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    area = normals[:, 2]
    rows, columns, values, found = [], [], [], np.zeros((len(flat), 3))
    for number, (x, y) in enumerate(flat):
        with np.errstate(divide="ignore", invalid="ignore"):
            u = ((b[:, 0] - x) * (c[:, 1] - y) - (c[:, 0] - x) * (b[:, 1] - y)) / area
            v = ((c[:, 0] - x) * (a[:, 1] - y) - (a[:, 0] - x) * (c[:, 1] - y)) / area
        w = 1 - u - v
        hit = np.flatnonzero((area > 0) & (np.minimum(np.minimum(u, v), w) >= -1e-9))
        depth = u[hit] * a[hit, 2] + v[hit] * b[hit, 2] + w[hit] * c[hit, 2]
        front = hit[depth.argmax()]
        rows += [number] * 3
        columns += triangles[front].tolist()
        values += [u[front], v[front], w[front]]
        found[number] = normals[front] / np.linalg.norm(normals[front])
    return sparse.csr_matrix((values, (rows, columns)), shape=(len(flat), len(points))), found


def smooth(values: Floats, polygons: Ints, free: NDArray[np.bool_], steps: int) -> Floats:
    """Values (V,) averaged with their neighbours along edges `steps` times, only where `free` (V,)."""
    edges = polygon_edges(polygons)
    count = len(values)
    links = sparse.coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count)).tocsr()
    links = ((links + links.T) > 0).astype(np.float64)
    average = sparse.diags(1 / np.maximum(np.asarray(links.sum(axis=1)).ravel(), 1)) @ links
    for _ in range(steps):
        values = np.where(free, 0.5 * values + 0.5 * (average @ values), values)
    return values


def _between(rows, pairs: Ints, share: Floats):
    """Rows (1 - share) * rows[a] + share * rows[b] of a dense or sparse matrix."""
    if sparse.issparse(rows):
        return sparse.diags(1 - share) @ rows[pairs[:, 0]] + sparse.diags(share) @ rows[pairs[:, 1]]
    return (1 - share)[:, None] * rows[pairs[:, 0]] + share[:, None] * rows[pairs[:, 1]]


def _snap(surface: Surface, level: Floats, snap: float) -> tuple[Surface, Floats]:
    edges = np.unique(polygon_edges(surface.polygons), axis=0)
    edges = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
    edges = edges[level[edges[:, 0]] * level[edges[:, 1]] < 0]
    share = level[edges[:, 0]] / (level[edges[:, 0]] - level[edges[:, 1]])
    near = share < snap
    edges, share = edges[near], share[near]
    order = np.lexsort((share, edges[:, 0]))
    moved, first = np.unique(edges[order, 0], return_index=True)
    pairs, share = edges[order][first], share[order][first]

    toward = dict(zip(moved.tolist(), zip(pairs[:, 1].tolist(), share.tolist(), strict=True), strict=True))
    uv = surface.uv.copy()
    for polygon, uv_polygon in zip(surface.polygons.tolist(), surface.uv_polygons.tolist(), strict=True):
        for v, t in zip(polygon, uv_polygon, strict=True):
            if v in toward and toward[v][0] in polygon:
                other, along = toward[v]
                uv[t] = (1 - along) * surface.uv[t] + along * surface.uv[uv_polygon[polygon.index(other)]]
    keep = np.ones(len(level))
    keep[moved] = 0
    place = sparse.csr_matrix(
        (np.ones(len(moved)), (moved, np.arange(len(moved)))), shape=(len(level), len(moved))
    )
    mixture = sparse.diags(keep) @ surface.mixture + place @ _between(surface.mixture, pairs, share)
    offset = surface.offset.copy()
    offset[moved] = _between(surface.offset, pairs, share)
    level = level.copy()
    level[moved] = 0.0
    return replace(surface, mixture=mixture.tocsr(), offset=offset, uv=uv), level


def _halve_saddles(surface: Surface, level: Floats) -> Surface:
    """Cut quads whose sign alternates around (two lines through one quad) into triangles."""
    signs = np.sign(level[surface.polygons])
    saddle = (surface.polygons[:, 3] >= 0) & (signs[:, 0] * signs[:, 1] < 0)
    saddle &= (signs[:, 1] * signs[:, 2] < 0) & (signs[:, 2] * signs[:, 3] < 0)
    if not saddle.any():
        return surface

    def halved(table: Ints) -> Ints:
        whole, split = table[~saddle], table[saddle]
        none = np.full((len(split), 1), -1)
        return np.concatenate(
            [whole, np.hstack([split[:, [0, 1, 2]], none]), np.hstack([split[:, [0, 2, 3]], none])]
        )

    materials = np.concatenate([surface.materials[~saddle], np.tile(surface.materials[saddle], 2)])
    return replace(
        surface,
        polygons=halved(surface.polygons),
        uv_polygons=halved(surface.uv_polygons),
        materials=materials,
    )


def _quads_of_loop(loop: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Quads and at most one triangle that fill a convex loop of three to six corners."""
    if len(loop) < 3:
        return []
    if len(loop) <= 4:
        return [loop]
    return [loop[:4], *_quads_of_loop([loop[0], *loop[3:]])]
