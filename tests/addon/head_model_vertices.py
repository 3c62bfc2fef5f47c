# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by the backend's Python: vertices of a head in given poses, by smplx's own skinning.

Usage: python head_model_vertices.py HEAD.npz POSES.npz OUT.npy

POSES.npz holds `shape` (100,), `exp` (N, E), `pose` (N, 6) (head and jaw axis-angle, radians) and
`head_joint` ("neck" or "root"). OUT.npy gets (N, V, 3) metres in FLAME's axes.
"""

import sys

import numpy as np
import torch
from smplx.lbs import lbs


def axis_angle_of_gaze(pitch: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """Axis-angle (N, 3) of Ry(yaw) Rx(pitch)."""
    x, y = pitch / 2, yaw / 2
    w = np.cos(x) * np.cos(y)
    axis = np.stack([np.sin(x) * np.cos(y), np.cos(x) * np.sin(y), -np.sin(x) * np.sin(y)], axis=-1)
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, w[:, None])
    return np.where(sine > 1e-12, axis / np.maximum(sine, 1e-12) * angle, 0.0)


def main(head_path: str, poses_path: str, out_path: str) -> None:
    """Write the vertices of every pose."""
    head, poses = np.load(head_path), np.load(poses_path)
    exp, pose = poses["exp"].astype("f8"), poses["pose"].astype("f8")
    n = len(exp)
    full_pose = np.zeros((n, 5, 3))
    full_pose[:, 0 if str(poses["head_joint"]) == "root" else 1] = pose[:, :3]
    full_pose[:, 2] = pose[:, 3:]
    gaze = np.einsum("ne,eij->nij", exp, head["eye_look_angles"].astype("f8"))
    full_pose[:, 3] = axis_angle_of_gaze(gaze[:, 0, 0], gaze[:, 0, 1])
    full_pose[:, 4] = axis_angle_of_gaze(gaze[:, 1, 0], gaze[:, 1, 1])
    betas = np.concatenate([np.tile(poses["shape"].astype("f8"), (n, 1)), exp], axis=1)
    as_tensor = lambda name: torch.as_tensor(head[name].astype("f8"))  # noqa: E731
    posedirs = as_tensor("posedirs")
    parents = torch.as_tensor(head["kintree_table"][0].astype("i8").copy())
    parents[0] = -1
    vertices, _ = lbs(
        torch.as_tensor(betas),
        torch.as_tensor(full_pose.reshape(n, 15)),
        as_tensor("v_template")[None].expand(n, -1, -1),
        as_tensor("shapedirs"),
        posedirs.reshape(-1, posedirs.shape[-1]).T,
        as_tensor("J_regressor"),
        parents,
        as_tensor("weights"),
    )
    np.save(out_path, vertices.numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
