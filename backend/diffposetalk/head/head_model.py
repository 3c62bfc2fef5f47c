# SPDX-License-Identifier: GPL-3.0-or-later
"""The head model M(β, θ, ψ) (paper section 3.1): a head asset in FLAME's layout, posed through smplx's skinning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from smplx.lbs import lbs

from ..config import EXPRESSION_DIM, SHAPE_DIM
from ..errors import ModelError, refusing
from ..files.array_file import read_arrays
from ..files.shipped import bundled_head_path

ROOT, NECK, JAW, LEFT_EYE, RIGHT_EYE = range(5)
_REQUIRED = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "basis")
_ARRAYS = frozenset(
    (
        *_REQUIRED,
        *("joint_names", "expression_names", "jaw_open_angle", "jaw_open_displacement", "eye_look_angles"),
        *("polygons", "uv", "uv_polygons", "parts", "name", "license", "credits"),
        *("material_names", "polygon_material", "material_colors", "material_roughness"),
        *("mask_lips", "mask_upper_face", "mask_left_eye", "mask_right_eye"),
        *("lip_inner_upper", "lip_inner_lower", "mouth_corners"),
    )
)
LARGEST_ASSET = 1 << 28
"""Bytes of a head asset's arrays; the bundled head has 14 million, FLAME 13 million."""


class HeadModel:
    """A head: V vertices, 100 shape and 50 expression components, joints root, neck, jaw, left and right eye.

    Attributes (float32 unless said): v_template (V, 3) metres; shapedirs (V, 3, 150); posedirs (36, 3V);
    J_regressor (5, V); weights (V, 5); eye_look_angles (50, 2, 2) radians of (pitch, yaw) per unit and eye;
    faces (F, 3) int; jaw_open_angle radians; arrays: everything else of the asset by name.
    """

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        missing = [k for k in _REQUIRED if k not in arrays]
        if missing:
            raise ModelError(f"The head asset lacks the array {missing[0]!r}.", "head_format")
        self.arrays = arrays
        count = len(arrays["v_template"])
        shapes = {
            "v_template": (count, 3),
            "shapedirs": (count, 3, SHAPE_DIM + EXPRESSION_DIM),
            "posedirs": (count, 3, 36),
            "J_regressor": (5, count),
            "weights": (count, 5),
        }
        tensors = {name: torch.as_tensor(arrays[name], dtype=torch.float32) for name in shapes}
        for name, shape in shapes.items():
            array = tensors[name]
            if array.shape != shape:
                raise ModelError(
                    f"The head asset's {name} has the shape {tuple(array.shape)}, not {shape}.", "head_format"
                )
            if not array.isfinite().all():
                raise ModelError(f"The head asset's {name} holds values that are not finite.", "head_format")
        if np.shape(arrays["kintree_table"]) != (2, 5):
            raise ModelError("The head asset does not have the five joints of FLAME.", "head_format")
        self.v_template, self.shapedirs, posedirs, self.J_regressor, self.weights = tensors.values()
        self.posedirs = posedirs.reshape(-1, 36).T.contiguous()
        parents = torch.as_tensor(arrays["kintree_table"][0].astype(np.int64))
        self.parents = torch.where(parents > 4, -1, parents)
        self.faces = np.asarray(arrays["f"])
        self.basis = str(arrays["basis"])
        self.jaw_open_angle = float(arrays.get("jaw_open_angle", 0.3))
        eyes = arrays.get("eye_look_angles", np.zeros((EXPRESSION_DIM, 2, 2)))
        self.eye_look_angles = torch.as_tensor(np.asarray(eyes), dtype=torch.float32)
        if self.eye_look_angles.shape != (EXPRESSION_DIM, 2, 2):
            raise ModelError("The head asset's eye_look_angles are not 50 × 2 × 2.", "head_format")

    def full_pose(self, exp: torch.Tensor, pose: torch.Tensor, head_joint: int = NECK) -> torch.Tensor:
        """Axis-angle of all five joints, (B, 15), from exp (B, 50) and pose (B, 6: head, jaw)."""
        full = exp.new_zeros(exp.shape[0], 5, 3)
        full[:, head_joint] = pose[:, :3]
        full[:, JAW] = pose[:, 3:]
        look = torch.einsum("be,esk->bsk", exp, self.eye_look_angles.to(exp))
        full[:, LEFT_EYE] = _euler_to_axis_angle(look[:, 0, 0], look[:, 0, 1])
        full[:, RIGHT_EYE] = _euler_to_axis_angle(look[:, 1, 0], look[:, 1, 1])
        return full.flatten(1)

    def vertices(
        self,
        exp: torch.Tensor,
        pose: torch.Tensor,
        shape: torch.Tensor | None = None,
        head_joint: int = NECK,
    ) -> torch.Tensor:
        """Posed vertices through `smplx.lbs.lbs`.

        Args:
            exp: (B, 50) expression coefficients.
            pose: (B, 6) axis-angle radians, head then jaw.
            shape: (100,) or (B, 100) identity; None is the template.
            head_joint: the joint the head rotation turns, NECK (default) or ROOT (as the paper renders).

        Returns:
            (B, V, 3) metres.
        """
        betas = exp.new_zeros(exp.shape[0], SHAPE_DIM) if shape is None else shape.expand(exp.shape[0], -1)
        verts, _ = lbs(
            torch.cat([betas, exp], dim=1),
            self.full_pose(exp, pose, head_joint),
            self.v_template[None].to(exp),
            self.shapedirs.to(exp),
            self.posedirs.to(exp),
            self.J_regressor.to(exp),
            self.parents,
            self.weights.to(exp),
        )
        return verts

    def posed(self, exp: np.ndarray, pose: np.ndarray, shape: np.ndarray | None = None) -> np.ndarray:
        """As `vertices`, of NumPy's arrays to one, (T, V, 3) float32."""
        given = (None if a is None else torch.as_tensor(a, dtype=torch.float32) for a in (exp, pose, shape))
        with torch.no_grad():
            vertices: np.ndarray = self.vertices(*given).numpy()  # type: ignore[arg-type]
        return vertices

    def restricted_to(self, vertices: np.ndarray) -> HeadModel:
        """The same head with only some of its vertices, posed identically and much cheaper.

        The five joints ride along as the last vertices of the template, so that joint positions keep following
        shape and expression exactly; `vertices()` of the result therefore returns len(vertices) + 5 rows.
        """
        index = np.asarray(vertices)
        regress = self.J_regressor.numpy().astype(np.float64)
        template = self.v_template.numpy()
        shapedirs = self.shapedirs.numpy()
        count = len(index)
        picks = np.zeros((5, count + 5), np.float32)
        picks[:, count:] = np.eye(5)
        posedirs = self.posedirs.T.reshape(-1, 3, 36).numpy()
        arrays = dict(self.arrays)
        arrays.update(
            v_template=np.concatenate([template[index], regress @ template]),
            shapedirs=np.concatenate([shapedirs[index], np.einsum("jv,vck->jck", regress, shapedirs)]),
            posedirs=np.concatenate([posedirs[index], np.zeros((5, 3, 36), np.float32)]),
            J_regressor=picks,
            weights=np.concatenate([self.weights.numpy()[index], np.eye(5, dtype=np.float32)]),
            f=np.zeros((0, 3), np.int32),
        )
        return HeadModel(arrays)

    def lip_gap(self, exp: np.ndarray, pose: np.ndarray, shape: np.ndarray | None = None) -> np.ndarray:
        """Inner-lip gap per frame, (T,) metres, mean over the asset's mid-lip pairs at zero head rotation.

        Raises:
            ModelError: kind head_regions; the asset does not say where its lips are.
        """
        if "lip_inner_upper" not in self.arrays or "lip_inner_lower" not in self.arrays:
            raise ModelError(
                "This head asset does not say where its lips meet. "
                "Convert the FLAME file again with --landmarks landmark_embedding.npy.",
                "head_regions",
            )
        upper, lower = self.arrays["lip_inner_upper"], self.arrays["lip_inner_lower"]
        small = self.restricted_to(np.concatenate([upper, lower]))
        still = np.concatenate([np.zeros((len(exp), 3), np.float32), pose[:, 3:]], axis=1)
        verts = small.posed(exp, still, shape)
        count = len(upper)
        return (verts[:, :count, 1] - verts[:, count : 2 * count, 1]).mean(axis=1)


def vertex_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals (V, 3) of a mesh of points (V, 3) and triangles (F, 3), weighted by area."""
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    faces = np.cross(b - a, c - a)
    normals = np.zeros_like(points)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], faces)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)


def inner_lips(head: HeadModel) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Vertices of the upper and the lower inner lip, in pairs, and of the mouth's corners; None if one is not known."""
    names = ("lip_inner_upper", "lip_inner_lower", "mouth_corners")
    if not all(name in head.arrays for name in names):
        return None
    upper, lower, corners = (head.arrays[name] for name in names)
    return upper, lower, corners


def _euler_to_axis_angle(pitch: torch.Tensor, yaw: torch.Tensor) -> torch.Tensor:
    """Axis-angle (B, 3) of R = Ry(yaw) Rx(pitch), through its quaternion."""
    half_x, half_y = pitch / 2, yaw / 2
    w = half_x.cos() * half_y.cos()
    v = torch.stack(
        [half_x.sin() * half_y.cos(), half_x.cos() * half_y.sin(), -half_x.sin() * half_y.sin()], -1
    )
    norm = v.norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(norm, w[:, None])
    return torch.where(norm > 1e-9, v / norm.clamp_min(1e-9) * angle, 2 * v)


def load_head(path: str | Path | None = None) -> HeadModel:
    """Load a head asset `.npz`; None is the bundled head.

    Raises:
        ModelError: missing, not such a file, or arrays that do not fit together.
    """
    path = Path(path) if path else bundled_head_path()
    if not path.is_file():
        raise ModelError(
            f"The head asset {str(path)!r} does not exist. Set DIFFPOSETALK_HEAD to a head.npz.",
            "head_missing",
        )
    foreign = f"{path.name!r} is not a head asset (.npz in FLAME's layout)."
    with refusing(ModelError(foreign, "head_format")):  # HeadModel, too, refuses arrays of text, or of none
        return HeadModel(read_arrays(path, _ARRAYS, LARGEST_ASSET))
