# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the inner lips of a character's mesh are, and how far what moves the face parts them.

Names say what a shape key means, not what it does: how far one opens the mouth differs from character to character. So
the lips are found once per character, as the vertices of its skin that lie on each other at rest and part when the
mouth opens, and what every key and bone does to their gap is measured there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix, Quaternion, Vector
from mathutils.kdtree import KDTree

from ..data import arkit
from ..data.mapping import BONE_CHANNELS, Row
from . import bones

LOWER, UPPER = 0.45, 0.35  # of the greatest movement when the mouth opens: more is below the lips, less above
MIDDLE = 0.7  # of the widest gap: pairs that part less are near the corners
FEWEST_PAIRS = 2
TURN, MOVE = 0.25, 0.1  # radians and distances between the eyes by which bones are tried
OPEN_VISEMES = ("oculus:aa", "vrm:A", "preston_blair:AI")

Place = tuple[str, str, str, str]  # kind, object, target and channel of a row


@dataclass(frozen=True)
class Lips:
    """The inner lips of a face, in the object space of its mesh.

    mesh: name of the object. upper, lower: (K,) vertices that lie on each other at rest, in the middle of the mouth.
    down: (3,) unit vector along which the lower lip leaves the upper one.
    rest: gap of the resting face; full: gap that the mouth opens by when jaw or widest viseme is at 1.
    responses: by how much of `full` 1 of a key, or 1 of a bone's channel, opens them.
    """

    mesh: str
    upper: np.ndarray
    lower: np.ndarray
    down: np.ndarray
    rest: float
    full: float
    responses: Mapping[Place, float]

    def gap(self, vertices: np.ndarray, turn: np.ndarray | None = None) -> float:
        """Gap in object units beyond the resting one, from (V, 3) vertices; below 0 the lips cross.

        Args:
            turn: (3, 3) rotation of the head in object space.
        """
        down = self.down if turn is None else turn @ self.down
        return float(((vertices[self.lower] - vertices[self.upper]) @ down).mean()) - self.rest


def place_of(row: Row) -> Place:
    return row.kind, row.object, row.target, row.channel


def jaw_place(rig: bpy.types.Object, jaw: str) -> Place:
    """What the jaw's bone is among the places that rows move."""
    return "BONE", rig.name, jaw, "TURN_PITCH"


class _Tried:
    """An armature at rest, whose bones are tried."""

    def __init__(self, rig: bpy.types.Object, axes: np.ndarray, eye_distance: float) -> None:
        self.rig, self.axes, self.eye_distance = rig, axes, eye_distance
        self._still: dict[str, np.ndarray] = {}

    def still(self, mesh: bpy.types.Object) -> np.ndarray:
        """The vertices of a mesh while the armature rests."""
        if mesh.name not in self._still:
            bpy.context.view_layer.update()
            self._still[mesh.name] = vertices_of(mesh)
        return self._still[mesh.name]

    def posed(self, mesh: bpy.types.Object, places: Sequence[tuple[Place, float]]) -> np.ndarray:
        """The vertices of a mesh when channels of bones have some values."""
        for (_, _, target, channel), value in places:
            change = bone_change(self.rig, target, channel, value, self.axes, self.eye_distance)
            self.rig.pose.bones[target].matrix_basis @= change
        bpy.context.view_layer.update()
        vertices = vertices_of(mesh)
        for (_, _, target, _), _ in places:
            self.rig.pose.bones[target].matrix_basis = Matrix()
        return vertices


def find_lips(
    meshes: Sequence[bpy.types.Object],
    rows: Sequence[Row],
    rig: bpy.types.Object | None,
    jaw_bone: str,
    head: str,
    neck: str,
    eye_distance: float,
    jaw_open_angle: float,
) -> Lips | None:
    """The lips of a character, or None where the mouth opens by nothing that can be measured.

    Args:
        meshes: those of the character; rows: those of its mapping that can be used.
        jaw_bone: the bone that opens the mouth, or nothing. head, neck, eye_distance: for the directions of bones.
        jaw_open_angle: radians of that bone that open the mouth fully.
    """
    opening: dict[Place, float] = {}
    for wanted in ((arkit.JAW_OPEN,), OPEN_VISEMES):
        for row in rows:
            if row.source in wanted and row.kind in ("KEY", "BONE") and not opening.get(place_of(row)):
                opening[place_of(row)] = float(row.value(np.ones(1))[0])
        if opening:
            break
    for row in rows:
        if row.source == "jawPitch" and row.kind == "BONE":
            opening[place_of(row)] = float(row.value(np.full(1, jaw_open_angle))[0])
    if jaw_bone and rig is not None:
        opening[jaw_place(rig, jaw_bone)] = jaw_open_angle
    if not opening:
        return None
    axes = None if rig is None else bones.character_axes(rig, head, neck)
    tried = None if rig is None or axes is None else _Tried(rig, axes, eye_distance)
    turned = {place[2] for place in opening if place[0] == "BONE"}
    with _resting(rig, turned | {row.target for row in rows if row.kind == "BONE"}):
        best: tuple[float, Lips] | None = None
        for mesh in meshes:
            moved = _movement(mesh, opening, tried)
            pairs = _find_pairs(mesh, moved)
            if pairs is None:
                continue
            upper, lower = pairs
            apart = (moved[lower] - moved[upper]).mean(axis=0)
            down = _down(mesh, apart, rig, axes)
            full = float(apart @ down)
            rest = rest_vertices(mesh)
            at_rest = float(((rest[lower] - rest[upper]) @ down).mean())
            size = full * float(np.abs(np.array(mesh.matrix_world.to_scale())).mean()) * len(upper) ** 0.5
            if best is None or size > best[0]:
                best = size, Lips(mesh.name, upper, lower, down, at_rest, full, {})
        if best is None:
            return None
        lips = best[1]
        mesh = next(item for item in meshes if item.name == lips.mesh)
        places = dict.fromkeys([*opening, *(place_of(row) for row in rows)])
        responses = {}
        for place in places:
            if (place[0] == "KEY" and place[1] != mesh.name) or place[0] == "PROPERTY":
                continue
            amount = 1.0 if place[0] == "KEY" else TURN if place[3].startswith("TURN") else MOVE
            moved = _movement(mesh, {place: amount}, tried)
            parted = float(((moved[lips.lower] - moved[lips.upper]) @ lips.down).mean())
            responses[place] = parted / amount / lips.full
    return Lips(lips.mesh, lips.upper, lips.lower, lips.down, lips.rest, lips.full, responses)


def _down(
    mesh: bpy.types.Object, apart: np.ndarray, rig: bpy.types.Object | None, axes: np.ndarray | None
) -> np.ndarray:
    """The direction from the upper lip to the lower one; `apart`, in which a jaw opens, goes backwards too."""
    if rig is not None and axes is not None:
        turn = np.array((mesh.matrix_world.inverted() @ rig.matrix_world).to_3x3())
        down = -(turn / np.linalg.norm(turn, axis=0)) @ axes[:, 1]
        if down @ apart > 0.5 * np.linalg.norm(apart):
            return down
    return bones.snapped(apart, apart)


def vertices_of(mesh: bpy.types.Object) -> np.ndarray:
    """(V, 3) vertices of an object as it is evaluated now, in its object space."""
    evaluated = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
    data = evaluated.to_mesh()
    try:
        return coordinates(data.vertices)
    finally:
        evaluated.to_mesh_clear()


def shown_gap(lips: Lips, rig: bpy.types.Object | None, head: str) -> float:
    """The gap in scene units, beyond that of the resting face, of the mesh as it is evaluated at the present frame.

    Args:
        rig, head: the armature and the bone that turns the head, where there are any.
    """
    mesh = bpy.data.objects[lips.mesh]
    turn = None
    if rig is not None and head in rig.pose.bones:
        posed = rig.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones[head]
        into = mesh.matrix_world.inverted() @ rig.matrix_world
        turned = (into @ posed.matrix @ posed.bone.matrix_local.inverted() @ into.inverted()).to_3x3()
        turn = np.array(turned) / np.linalg.norm(np.array(turned), axis=0)
    return lips.gap(vertices_of(mesh), turn) * float(np.abs(np.array(mesh.matrix_world.to_scale())).mean())


def key_offsets(mesh: bpy.types.Object, name: str) -> np.ndarray:
    """(V, 3) movement of the vertices when a shape key is at 1, before other keys and bones."""
    key = mesh.data.shape_keys.key_blocks[name]
    return coordinates(key.data) - coordinates(key.relative_key.data)


def coordinates(points: bpy.types.bpy_prop_collection) -> np.ndarray:
    """(N, 3) places of a mesh's vertices or a shape key's points."""
    flat = np.empty(3 * len(points), np.float32)
    points.foreach_get("co", flat)
    return flat.reshape(-1, 3).astype(np.float64)


def rest_vertices(mesh: bpy.types.Object) -> np.ndarray:
    """(V, 3) vertices of a mesh before shape keys and bones, in its object space."""
    keys = mesh.data.shape_keys
    return coordinates(mesh.data.vertices if keys is None else keys.reference_key.data)


@contextmanager
def _resting(rig: bpy.types.Object | None, moved: set[str]) -> Iterator[None]:
    """Let an armature rest while bones of it are tried; nothing happens where none are."""
    if rig is None or not moved:
        yield
        return
    before = [(bone, bone.matrix_basis.copy()) for bone in rig.pose.bones]
    try:
        for bone, _ in before:
            bone.matrix_basis = Matrix()
        bpy.context.view_layer.update()
        yield
    finally:
        for bone, matrix in before:
            bone.matrix_basis = matrix
        bpy.context.view_layer.update()


def _movement(mesh: bpy.types.Object, places: Mapping[Place, float], tried: _Tried | None) -> np.ndarray:
    """(V, 3) movement of a mesh's vertices when what rows move is set to some values; the armature rests."""
    rest = rest_vertices(mesh)
    moved = np.zeros_like(rest)
    turned = []
    for place, value in places.items():
        kind, name, target, _ = place
        if kind == "KEY" and name == mesh.name:
            moved += value * key_offsets(mesh, target)
        elif kind == "BONE" and tried is not None and target in tried.rig.pose.bones:
            turned.append((place, value))
    if not turned or tried is None:
        return moved
    before, after = tried.still(mesh), tried.posed(mesh, turned)
    if len(before) < len(rest) or len(after) != len(before):
        return moved
    return moved + (after - before)[: len(rest)]  # subdivision keeps the mesh's own vertices first


def bone_change(
    rig: bpy.types.Object, bone: str, channel: str, value: float, axes: np.ndarray, eye_distance: float
) -> Matrix:
    """What a bone's channel does to it, relative to its rest pose."""
    amounts = np.zeros((1, 3))
    amounts[0, BONE_CHANNELS.index(channel) % 3] = value
    if channel.startswith("TURN"):
        turn = Vector(bones.local_turns(rig, bone, amounts, axes)[0])
        return Quaternion(turn.normalized(), turn.length).to_matrix().to_4x4()
    return Matrix.Translation(Vector(bones.local_moves(rig, bone, amounts * eye_distance, axes)[0]))


def _find_pairs(mesh: bpy.types.Object, moved: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Vertices of the upper and the lower inner lip that lie on each other; `moved` is the mouth's opening."""
    length = np.linalg.norm(moved, axis=1)
    most = length.max(initial=0.0)
    rest = rest_vertices(mesh)
    extent = float(np.ptp(rest, axis=0).max(initial=0.0))
    if most < 1e-4 * extent or most <= 1e-9:
        return None
    below = np.flatnonzero(length > LOWER * most)
    low, high = rest[below].min(axis=0) - most, rest[below].max(axis=0) + most
    above = np.flatnonzero((length < UPPER * most) & ((rest >= low) & (rest <= high)).all(axis=1))
    if not len(below) or not len(above):
        return None
    edges = np.empty(2 * len(mesh.data.edges), np.int32)
    mesh.data.edges.foreach_get("vertices", edges)
    islands, near = _islands(edges.reshape(-1, 2), len(rest)), _neighbours(edges.reshape(-1, 2), len(rest))
    to_above = _nearest(rest[below], rest[above])
    to_below = _nearest(rest[above], rest[below])
    pairs = [(int(above[a]), int(below[b])) for b, a in enumerate(to_above) if to_below[a] == b]
    parted = []
    for upper, lower in pairs:
        around = set(near(upper))
        if lower in around or around & set(near(lower)):
            continue  # one skin that stretches, not two lips
        apart = float(np.linalg.norm(moved[lower] - moved[upper]))
        distance = float(np.linalg.norm(rest[lower] - rest[upper]))
        if distance < 0.6 * apart:
            parted.append((upper, lower, apart, islands[upper] == islands[lower], distance))
    if any(pair[3] for pair in parted):
        parted = [pair for pair in parted if pair[3]]  # upper teeth and lower teeth are not of one piece
    if len(parted) < FEWEST_PAIRS:
        return None
    widest = max(pair[2] for pair in parted)
    parted = [pair for pair in parted if pair[2] >= MIDDLE * widest]
    closest = min(pair[4] for pair in parted)
    parted = [pair for pair in parted if pair[4] <= closest + 0.15 * widest]
    above, below = (np.array([pair[side] for pair in parted]) for side in (0, 1))
    outermost = _outermost(rest, above, below, (moved[below] - moved[above]).mean(axis=0), widest)
    return (above[outermost], below[outermost]) if outermost.sum() >= FEWEST_PAIRS else None


def _outermost(
    rest: np.ndarray, upper: np.ndarray, lower: np.ndarray, down: np.ndarray, widest: float
) -> np.ndarray:
    """Which pairs are at the front: behind the lips the mouth's inside lies on itself as well."""
    middle = 0.5 * (rest[upper] + rest[lower])
    down = down / np.linalg.norm(down)
    outward = middle.mean(axis=0) - rest.mean(axis=0)
    outward -= down * (outward @ down)
    norm = np.linalg.norm(outward)
    if norm < 1e-9:
        return np.ones(len(upper), bool)
    ahead = middle @ (outward / norm)
    return ahead >= ahead.max() - 0.35 * widest


def _nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N,) index of the nearest of `others` for each point."""
    tree = KDTree(len(others))
    for index, point in enumerate(others.tolist()):
        tree.insert(point, index)
    tree.balance()
    return np.array([tree.find(point)[1] for point in points.tolist()])


def _islands(edges: np.ndarray, count: int) -> np.ndarray:
    """(V,) a number for each vertex, the same for those that edges connect."""
    labels = np.arange(count)
    while True:
        before = labels.copy()
        lowest = np.minimum(labels[edges[:, 0]], labels[edges[:, 1]])
        np.minimum.at(labels, edges[:, 0], lowest)
        np.minimum.at(labels, edges[:, 1], lowest)
        labels = labels[labels]
        if np.array_equal(labels, before):
            return labels


def _neighbours(edges: np.ndarray, count: int) -> Callable[[int], list[int]]:
    """Function from a vertex to those that edges connect with it."""
    both = np.concatenate([edges, edges[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind="stable")]
    starts = np.searchsorted(both[:, 0], np.arange(count + 1))
    return lambda vertex: both[starts[vertex] : starts[vertex + 1], 1].tolist()
