# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled head's polygons: which part of the base mesh it is, what is added, and what colour it has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from eyeballs import build_eyeball, eye_centre
from hair import build_eyebrows, hair_depth, hairline_level
from lashes import build_lashes
from makehuman import BaseMesh, Floats, Ints
from mouth import lip_loops
from scipy import sparse
from surface import (
    Surface,
    cut,
    from_base,
    join,
    keep_polygons,
    polygon_edges,
    polygon_levels,
    smooth,
    vertex_normals,
)
from teeth import LOWER, UPPER, build_teeth

# name: (linear red, green, blue), roughness
MATERIALS: dict[str, tuple[tuple[float, float, float], float]] = {
    "skin": ((0.68, 0.41, 0.30), 0.55),
    "lips": ((0.52, 0.215, 0.18), 0.38),
    "mouth": ((0.23, 0.055, 0.05), 0.60),
    "hair": ((0.040, 0.023, 0.014), 0.75),
    "eyebrows": ((0.070, 0.038, 0.022), 0.90),
    "lashes": ((0.012, 0.008, 0.006), 0.80),
    "sclera": ((0.82, 0.80, 0.77), 0.15),
    "iris": ((0.085, 0.150, 0.165), 0.15),
    "limbus": ((0.025, 0.040, 0.045), 0.15),
    "pupil": ((0.002, 0.002, 0.002), 0.10),
    "teeth": ((0.80, 0.76, 0.67), 0.25),
    "gums": ((0.45, 0.15, 0.14), 0.45),
    "tongue": ((0.44, 0.15, 0.14), 0.50),
}
MATERIAL_INDEX = {name: number for number, name in enumerate(MATERIALS)}

# The bust's edge: a ball around the base of the neck, below its middle.
BUST_CENTRE_ABOVE_NECK_BASE, BUST_RADIUS = 0.025, 0.115

# Loops of the mouth (see mouth.LOOP_STARTS) between which the skin is lip, and inside which it is mouth.
MOUTH_LOOP, LIP_EDGE_LOOP = 1, 8


def build_surface(base: BaseMesh, vertices: Floats, eye_height: float) -> tuple[Surface, np.ndarray]:
    """The head for base-mesh vertices (N, 3), and the part (V,) each of its vertices belongs to.

    Parts: body, left-eye, right-eye, upper-teeth, lower-teeth, tongue, lashes, brows.
    """
    index = MATERIAL_INDEX
    body = body_surface(base, vertices, eye_height)
    eye_materials = [index[name] for name in ("sclera", "iris", "limbus", "pupil")]
    tongue = base.groups == "helper-tongue"
    pieces = {
        "body": body,
        "left-eye": build_eyeball(base, vertices, "l", *eye_materials),
        "right-eye": build_eyeball(base, vertices, "r", *eye_materials),
        "upper-teeth": build_teeth(base, vertices, UPPER, index["teeth"], index["gums"]),
        "lower-teeth": build_teeth(base, vertices, LOWER, index["teeth"], index["gums"]),
        "tongue": from_base(
            base.quads[tongue], base.uv, base.uv_quads[tongue], len(vertices), index["tongue"]
        ),
        "lashes": build_lashes(base, vertices, index["lashes"]),
        "brows": build_eyebrows(body, body.positions(vertices), eye_height, index["eyebrows"]),
    }
    parts = np.concatenate([np.full(len(piece.offset), part) for part, piece in pieces.items()])
    return join(list(pieces.values())), parts


def body_surface(base: BaseMesh, vertices: Floats, eye_height: float) -> Surface:
    """Skin of head, neck and shoulders down to a round edge, with lips, hair and the inside of the mouth."""
    centre = vertices[base.group_vertices("joint-neck")].mean(axis=0)
    centre = centre + np.array([0.0, BUST_CENTRE_ABOVE_NECK_BASE, 0.0])
    corners = vertices[base.quads]
    near = np.linalg.norm(corners - centre, axis=-1).min(axis=1) < 1.2 * BUST_RADIUS
    above = corners[..., 1].min(axis=1) > centre[1]
    chosen = (base.groups == "body") & (near | above)
    surface = from_base(
        base.quads[chosen], base.uv, base.uv_quads[chosen], len(vertices), MATERIAL_INDEX["skin"]
    )
    surface = paint_mouth(base, surface)
    for side in "lr":
        surface = close_socket(surface, vertices, *eye_centre(base, vertices, side))

    points = surface.positions(vertices)
    inside = BUST_RADIUS - np.linalg.norm(points - centre, axis=1)
    surface, level = cut(surface, np.where(points[:, 1] > centre[1], 1.0, inside))
    surface = keep_polygons(surface, polygon_levels(surface, level) > 0)

    points = surface.positions(vertices)
    surface, level = cut(surface, hairline_level(points, eye_height))
    hairy = (polygon_levels(surface, level) < 0) & (surface.materials == MATERIAL_INDEX["skin"])
    surface = replace(surface, materials=np.where(hairy, MATERIAL_INDEX["hair"], surface.materials))
    normals = vertex_normals(surface.positions(vertices), surface.polygons)
    corners = surface.polygons[hairy]
    under_hair = np.zeros(len(level), bool)
    under_hair[corners[corners >= 0]] = True
    corners = surface.polygons[~hairy]
    under_hair[corners[corners >= 0]] = False
    depth = smooth(np.where(under_hair, hair_depth(level), 0.0), surface.polygons, under_hair, steps=4)
    return replace(surface, offset=surface.offset + depth[:, None] * normals)


def close_socket(surface: Surface, vertices: Floats, centre: Floats, radius: float) -> Surface:
    """Put a plain cone behind the eyeball, where MakeHuman has a fine cup that nobody can see."""
    points = surface.positions(vertices)
    behind = np.linalg.norm(points - centre, axis=1) < 1.3 * radius
    behind &= points[:, 2] < centre[2]
    corners = surface.polygons >= 0
    cup = np.where(corners, behind[surface.polygons], True).all(axis=1)
    edges = polygon_edges(surface.polygons[cup])
    both_ways = {(a, b) for a, b in edges.tolist()}
    ring = np.array([(a, b) for a, b in edges.tolist() if (b, a) not in both_ways])
    uv_of = dict(zip(surface.polygons[corners].tolist(), surface.uv_polygons[corners].tolist(), strict=True))

    rim = ring[:, 0]
    pole, uv_pole = len(points), len(surface.uv)
    mixture = sparse.csr_matrix(surface.mixture[rim].mean(axis=0))
    fan = np.array([[a, b, pole, -1] for a, b in ring])
    uv_fan = np.array([[uv_of[a], uv_of[b], uv_pole, -1] for a, b in ring.tolist()])
    surface = Surface(
        sparse.vstack([surface.mixture, mixture], format="csr"),
        np.concatenate([surface.offset, [[0.0, 0.0, -radius]]]),
        np.concatenate([surface.polygons[~cup], fan]),
        np.concatenate([surface.uv, surface.uv[[uv_of[v] for v in rim.tolist()]].mean(axis=0)[None]]),
        np.concatenate([surface.uv_polygons[~cup], uv_fan]),
        np.concatenate([surface.materials[~cup], np.full(len(fan), MATERIAL_INDEX["skin"])]),
    )
    return keep_polygons(surface, np.ones(len(surface.polygons), bool))


def paint_mouth(base: BaseMesh, surface: Surface) -> Surface:
    """Give the lips and the inside of the mouth their materials."""
    number_of = base_vertex_numbers(surface)
    loops = [np.array([number_of[int(v)] for v in loop]) for loop in lip_loops(base)]
    mouth = _enclosed(surface, loops[MOUTH_LOOP], loops[0])
    lips = _enclosed(surface, loops[LIP_EDGE_LOOP], loops[MOUTH_LOOP + 1]) & ~mouth
    materials = np.where(mouth, MATERIAL_INDEX["mouth"], surface.materials)
    return replace(surface, materials=np.where(lips, MATERIAL_INDEX["lips"], materials))


def base_vertex_numbers(surface: Surface) -> dict[int, int]:
    """Base-mesh vertex to the surface's vertex that is it and nothing else."""
    mixture = surface.mixture.tocsr()
    mixture.eliminate_zeros()
    single = np.flatnonzero(np.diff(mixture.indptr) == 1)
    return {int(mixture.indices[mixture.indptr[row]]): int(row) for row in single}


def _enclosed(surface: Surface, loop: Ints, seeds: Ints) -> np.ndarray:
    """Mask (P,) of the polygons on the seeds' side of a closed vertex loop."""
    fence = {frozenset((int(a), int(b))) for a, b in zip(loop, np.roll(loop, -1), strict=True)}
    beside: dict[frozenset[int], list[int]] = {}
    for number, polygon in enumerate(surface.polygons):
        for a, b in polygon_edges(polygon[None]).tolist():
            beside.setdefault(frozenset((a, b)), []).append(number)
    found = np.isin(surface.polygons, seeds).any(axis=1)
    front = np.flatnonzero(found).tolist()
    while front:
        polygon = front.pop()
        for a, b in polygon_edges(surface.polygons[polygon][None]).tolist():
            edge = frozenset((a, b))
            if edge in fence:
                continue
            for other in beside[edge]:
                if not found[other]:
                    found[other] = True
                    front.append(other)
    return found
