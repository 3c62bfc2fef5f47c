# SPDX-License-Identifier: GPL-3.0-or-later
"""Skinning of the bundled head: FLAME's five joints, MakeHuman's weights merged onto them, jaw correctives."""

from __future__ import annotations

import numpy as np
from makehuman import BaseMesh, Floats, Ints, read_bone_parents, read_bone_weights
from scipy import optimize

ROOT, NECK, JAW, LEFT_EYE, RIGHT_EYE = range(5)
JOINT_NAMES = ("root", "neck", "jaw", "left_eye", "right_eye")
PARENTS = (-1, 0, 1, 1, 1)

# MakeHuman bends the neck in three bones between chest and head; FLAME has one joint there. This is how
# much of its rotation each of the three takes.
NECK_SHARE = {"neck01": 0.15, "neck02": 0.5, "neck03": 0.85}

# A root weight within this of 0 or 1 counts as 0 or 1: the skull is rigid and the bust's edge stays put.
FIRM_ENDS = 0.07

# In a pose feature block (row-major R - I) of a rotation about x, entry 5 is -sin and entry 7 is +sin.
MINUS_SINE, PLUS_SINE = 5, 7
JAW_BLOCK = 9


def merged_weights(vertex_count: int) -> Floats:
    """Weights (N, 5) of the base mesh: every MakeHuman bone's given to its joint here. Rows sum to 1."""
    weights = np.zeros((vertex_count, len(JOINT_NAMES)))
    parents = read_bone_parents()
    for bone, (vertices, values) in read_bone_weights().items():
        for joint, share in _joints_of_bone(bone, parents):
            weights[vertices, joint] += share * values
    weights[weights.sum(axis=1) == 0, ROOT] = 1.0
    weights /= weights.sum(axis=1, keepdims=True)
    root = weights[:, ROOT]
    firm = np.clip((root - FIRM_ENDS) / (1 - 2 * FIRM_ENDS), 0, 1)
    weights[:, ROOT + 1 :] *= np.where(root < 1, (1 - firm) / np.maximum(1 - root, 1e-12), 0)[:, None]
    weights[:, ROOT] = firm
    return weights


def _joints_of_bone(bone: str, parents: dict[str, str]) -> list[tuple[int, float]]:
    while bone:
        if bone == "jaw":
            return [(JAW, 1.0)]
        # The eye bones' weights are set by part (eyeballs only), the lids stay with the head.
        if bone == "head":
            return [(NECK, 1.0)]
        if bone in NECK_SHARE:
            return [(NECK, NECK_SHARE[bone]), (ROOT, 1 - NECK_SHARE[bone])]
        bone = parents[bone]
    return [(ROOT, 1.0)]


def joint_places(base: BaseMesh, vertices: Floats) -> Floats:
    """Where MakeHuman's joint cubes put root, neck and jaw: (3, 3) for base vertices (N, 3)."""
    neck_base, skull_base, jaw = (
        vertices[base.group_vertices(f"joint-{name}")].mean(axis=0) for name in ("neck", "head", "mouth")
    )
    return np.stack([neck_base, 0.4 * neck_base + 0.6 * skull_base, jaw])


def rotation_about_x(angle: float) -> Floats:
    """Rotation matrix (3, 3)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def rigid_pitch(before: Floats, after: Floats) -> tuple[float, Floats]:
    """Angle about x and centre (3,), x = 0, of the rotation that best takes points (n, 3) to others."""
    source = before[:, 1:] - before[:, 1:].mean(axis=0)
    goal = after[:, 1:] - after[:, 1:].mean(axis=0)
    cross = source[:, 0] @ goal[:, 1] - source[:, 1] @ goal[:, 0]
    angle = float(np.arctan2(cross, (source * goal).sum()))
    turn = rotation_about_x(angle)[1:, 1:]
    shift = after[:, 1:].mean(axis=0) - turn @ before[:, 1:].mean(axis=0)
    return angle, np.concatenate([[0.0], np.linalg.solve(np.eye(2) - turn, shift)])


def jaw_corrective(vertices: Floats, jaw: Floats, weights: Floats, unit: Floats, angle: float) -> Floats:
    """The displacement (V, 3) before skinning that makes the jaw's rotation by `angle` equal `unit`.

    vertices (V, 3), jaw joint (3,), weights (V, 5), unit (V, 3) the wanted displacement. Solved through
    the inverse of each vertex's blended matrix M = I + w (R - I):  M (v + c - J) + J = v + unit.
    """
    turn = rotation_about_x(angle) - np.eye(3)
    share = weights[:, JAW]
    blended = np.eye(3) + share[:, None, None] * turn
    wanted = unit - share[:, None] * ((vertices - jaw) @ turn.T)
    return np.linalg.solve(blended, wanted[..., None])[..., 0]


def before_jaw(displacement: Floats, weights: Floats, angle: float) -> Floats:
    """The displacement (V, 3) that shows as `displacement` once the jaw has turned by `angle`."""
    share = weights[:, JAW]
    blended = np.eye(3) + share[:, None, None] * (rotation_about_x(angle) - np.eye(3))
    return np.linalg.solve(blended, displacement[..., None])[..., 0]


def pose_directions(corrective: Floats, angle: float) -> Floats:
    """posedirs (V, 3, 36) that add `corrective` (V, 3) times sin(pitch) / sin(angle) of the jaw's pitch."""
    directions = np.zeros((*corrective.shape, 4 * 9))
    half = corrective / (2 * np.sin(angle))
    directions[..., JAW_BLOCK + PLUS_SINE] = half
    directions[..., JAW_BLOCK + MINUS_SINE] = -half
    return directions


def regress_joint(places: Floats, samples: Floats, candidates: Ints, vertex_count: int) -> Floats:
    """Non-negative weights (V,), summing to 1, over candidate vertices that give a joint.

    places (S, 3) the joint in S shapes, samples (S, n, 3) the candidates' vertices. The first shape is the
    template, which is met exactly; the rest in the least-squares sense.
    """
    exact = 1e4
    importance = np.repeat(np.where(np.arange(len(places)) == 0, exact, 1.0), 3)
    # Relative to the joint itself, so that the rows say "the weighted offsets are zero".
    rows = (samples - places[:, None]).transpose(0, 2, 1).reshape(-1, len(candidates)) * importance[:, None]
    scale = np.abs(rows).max()
    rows = np.concatenate([rows, np.full((1, len(candidates)), scale)])
    goal = np.zeros(len(rows))
    goal[-1] = scale
    weights, _ = optimize.nnls(rows, goal, maxiter=30 * len(candidates))
    result = np.zeros(vertex_count)
    result[candidates] = weights / weights.sum()
    return result
