# SPDX-License-Identifier: GPL-3.0-or-later
"""A small head with every term of the head model switched on, to test the rig beyond the bundled head.

The bundled head has a jaw that needs few pose correctives; the licensed ones use all 36 columns. This one
has them all, dense, beside shapes, expressions, gaze, quads and triangles.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def write_synthetic_head(
    path: Path,
    expression_names: Sequence[str],
    rings: int = 24,
    segments: int = 32,
    basis: str = "arkit",
    moving_joints: bool = False,
) -> Path:
    """Write an egg of `rings` x `segments` vertices with 50 expressions, and return its path.

    Args:
        moving_joints: whether expressions move all joints, as they do in FLAME, or none.
    """
    random = np.random.default_rng(0)
    theta = np.linspace(0.15, np.pi - 0.15, rings)[:, None]
    phi = np.linspace(0, 2 * np.pi, segments, endpoint=False)[None]
    egg = [
        0.08 * np.sin(theta) * np.cos(phi),
        0.12 * np.cos(theta) + 0 * phi,
        0.1 * np.sin(theta) * np.sin(phi),
    ]
    vertices = np.stack(egg, axis=-1).reshape(-1, 3)
    n = len(vertices)

    ring, segment = np.meshgrid(np.arange(rings - 1), np.arange(segments), indexing="ij")
    right = (segment + 1) % segments
    quads = np.stack(
        [
            ring * segments + segment,
            ring * segments + right,
            (ring + 1) * segments + right,
            (ring + 1) * segments + segment,
        ],
        axis=-1,
    ).reshape(-1, 4)
    split, quads = quads[:segments], quads[segments:]
    triangles = np.concatenate([split[:, [0, 1, 2]], split[:, [0, 2, 3]]])
    polygons = np.concatenate([quads, np.column_stack([triangles, np.full(len(triangles), -1)])])
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]], triangles])

    shapedirs = random.normal(0, 0.004, (n, 3, 150))
    joints = np.array(
        [[0, -0.1, -0.02], [0, -0.06, -0.02], [0, -0.01, 0], [0.03, 0.03, 0.08], [-0.03, 0.03, 0.08]]
    )
    regressor = np.zeros((5, n))
    for j, joint in enumerate(joints):
        near = np.argsort(((vertices - joint) ** 2).sum(1))[:3]
        regressor[j, near] = 1 / 3
        if not moving_joints:
            shapedirs[near, :, 100:] = 0
    falloff = np.exp(-(((vertices[:, None] - joints[None]) / 0.05) ** 2).sum(-1)) + 1e-3
    eye_look_angles = np.zeros((50, 2, 2))
    for e, name in enumerate(expression_names):
        if name.startswith("eyeLook"):
            side = 0 if name.endswith("Left") else 1
            axis = 0 if ("Up" in name or "Down" in name) else 1
            sign = -1 if "Up" in name or ("In" in name) == (side == 0) else 1
            eye_look_angles[e, side, axis] = sign * 0.5

    np.savez(
        path,
        v_template=vertices.astype("f4"), f=faces.astype("i4"), shapedirs=shapedirs.astype("f4"),
        posedirs=random.normal(0, 0.003, (n, 3, 36)).astype("f4"), J_regressor=regressor.astype("f4"),
        weights=(falloff / falloff.sum(1, keepdims=True)).astype("f4"),
        kintree_table=np.array([[-1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], "i8"),
        joint_names=np.array(["root", "neck", "jaw", "left_eye", "right_eye"]),
        expression_names=np.array(expression_names), basis=np.array(basis),
        jaw_open_angle=np.float32(0.4), eye_look_angles=eye_look_angles.astype("f4"),
        polygons=polygons.astype("i4"), uv=np.column_stack([np.arange(n) / n, np.zeros(n)]).astype("f4"),
        uv_polygons=polygons.astype("i4"), material_names=np.array(["skin", "lips"]),
        polygon_material=(np.arange(len(polygons)) % 2).astype("i4"),
        material_colors=np.array([[0.8, 0.5, 0.4, 1], [0.6, 0.2, 0.2, 1]], "f4"),
        material_roughness=np.array([0.5, 0.3], "f4"), name=np.array("Synthetic Head"),
        license=np.array("CC0-1.0"), credits=np.array(""),
    )  # fmt: skip
    return path
