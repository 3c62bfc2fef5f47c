# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by the backend's Python: vertices of a head in given poses, by smplx's own skinning.

Usage: python head_model_vertices.py HEAD.npz POSES.npz OUT.npy

POSES.npz holds `shape` (100,), `exp` (N, E) and `rotations` (N, 5, 3), the joints' axis-angle in radians; the eyes'
come on top of the gaze that the expressions say. OUT.npy gets (N, V, 3) metres in FLAME's axes.
"""

import sys

import numpy as np
import torch
from smplx.lbs import batch_rodrigues, lbs

LEFT_EYE = 3


def turns(angles: torch.Tensor, axis: int) -> torch.Tensor:
    """Rotation matrices (..., 3, 3) about a coordinate axis."""
    axis_angles = torch.zeros(*angles.shape, 3, dtype=angles.dtype)
    axis_angles[..., axis] = angles
    return batch_rodrigues(axis_angles.reshape(-1, 3)).reshape(*angles.shape, 3, 3)


def main(head_path: str, poses_path: str, out_path: str) -> None:
    """Write the vertices of every pose."""
    head, poses = np.load(head_path), np.load(poses_path)
    as_tensor = lambda array: torch.as_tensor(array.astype("f8"))  # noqa: E731
    exp = as_tensor(poses["exp"])
    n = len(exp)
    rotations = batch_rodrigues(as_tensor(poses["rotations"]).reshape(-1, 3)).reshape(n, 5, 3, 3)
    gaze = torch.einsum("ne,eij->nij", exp, as_tensor(head["eye_look_angles"]))  # eyes x (pitch, yaw)
    rotations[:, LEFT_EYE:] = turns(gaze[..., 1], 1) @ turns(gaze[..., 0], 0) @ rotations[:, LEFT_EYE:]
    betas = torch.cat([as_tensor(poses["shape"]).expand(n, -1), exp], dim=1)
    posedirs = as_tensor(head["posedirs"])
    parents = torch.as_tensor(head["kintree_table"][0].astype("i8").copy())
    parents[0] = -1
    vertices, _ = lbs(
        betas,
        rotations,
        as_tensor(head["v_template"])[None].expand(n, -1, -1),
        as_tensor(head["shapedirs"]),
        posedirs.reshape(-1, posedirs.shape[-1]).T,
        as_tensor(head["J_regressor"]),
        parents,
        as_tensor(head["weights"]),
        pose2rot=False,
    )
    np.save(out_path, vertices.numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
