# SPDX-License-Identifier: GPL-3.0-or-later
"""A head in FLAME's layout (`head.npz`) and the change of axes into Blender.

FLAME's axes are x to the character's left, y up, z to the front; Blender's are x to the character's left,
-y to the front, z up. Lengths are metres in both.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .array_file import plain_arrays, read_arrays
from .errors import UserError

LARGEST_SHAPE = 1 << 20  # bytes of a file's identity coefficients
N_SHAPE = 100  # identity components in `shapedirs`; the expression components follow them
_FLOATS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "uv", "material_colors",
           "material_roughness")  # fmt: skip
_INTEGERS = ("polygons", "uv_polygons", "polygon_material")
_TEXTS = ("joint_names", "expression_names", "material_names")
PARENTS = (-1, 0, 1, 1, 1)  # of root, neck, jaw, left eye, right eye
POSED_JOINTS = ("neck", "jaw", "left_eye", "right_eye")  # joints of the 36 pose features, 9 each


@dataclass(frozen=True)
class HeadAsset:
    """A head's geometry and meaning; V vertices, P polygons, U texture points, M materials, E expressions."""

    file_name: str  # of the file that it was read from
    name: str
    basis: str  # the expression basis that the expression components speak: "arkit" or "flame"
    v_template: np.ndarray  # (V, 3) metres, FLAME's axes
    shapedirs: np.ndarray  # (V, 3, 100 + E) displacement at coefficient 1
    posedirs: np.ndarray  # (V, 3, 36) displacement per entry of (R - I), row-major, of POSED_JOINTS
    J_regressor: np.ndarray  # (5, V)
    weights: np.ndarray  # (V, 5) rows sum to 1
    parents: tuple[int, ...]  # (5,) parent of each joint, -1 for the root
    joint_names: tuple[str, ...]
    expression_names: tuple[str, ...]
    jaw_open_angle: float  # jaw pitch in radians that equals ARKit's jawOpen = 1
    eye_look_angles: np.ndarray  # (E, 2, 2) radians per unit: (left, right) x (pitch, yaw)
    polygons: np.ndarray  # (P, 4) i32, -1 in the fourth place of a triangle
    uv: np.ndarray  # (U, 2)
    uv_polygons: np.ndarray  # (P, 4) i32, -1 likewise
    material_names: tuple[str, ...]
    polygon_material: np.ndarray  # (P,) i32
    material_colors: np.ndarray  # (M, 4) linear RGBA
    material_roughness: np.ndarray  # (M,)

    @property
    def expression_dirs(self) -> np.ndarray:
        """(V, 3, E) displacement of each expression component at 1."""
        return self.shapedirs[:, :, N_SHAPE:]

    def gaze_angles(self, eye: str) -> np.ndarray:
        """(E, 2) radians of (pitch, yaw) by which each expression component at 1 turns that eye."""
        return self.eye_look_angles[:, ("left_eye", "right_eye").index(eye)]

    def shaped(self, shape: np.ndarray | None) -> np.ndarray:
        """(V, 3) rest vertices of the identity `shape`, up to 100 coefficients."""
        if shape is None:
            return self.v_template
        betas = np.asarray(shape, np.float32).reshape(-1)
        if betas.size > N_SHAPE or not np.isfinite(betas).all():
            raise UserError(f"A head shape is at most {N_SHAPE} finite numbers; this one has {betas.size}.")
        return self.v_template + self.shapedirs[:, :, : betas.size] @ betas

    def joints(self, shape: np.ndarray | None) -> np.ndarray:
        """(5, 3) joint positions of the identity `shape`."""
        return self.J_regressor @ self.shaped(shape)

    def joint_dirs(self) -> np.ndarray:
        """(5, 3, E) displacement of the joints at 1 of each expression component.

        FLAME's joints are regressed from the mesh that the expressions have moved already.
        """
        regressor, directions = self.J_regressor.astype(np.float64), self.expression_dirs.astype(np.float64)
        return np.tensordot(regressor, directions, axes=1)


def load_head(path: str | Path) -> HeadAsset:
    """Read a head asset.

    Raises:
        UserError: the file is missing, is not a head asset, or its arrays do not fit together.
    """
    data = read_arrays(path, "head")
    try:
        head = _from_arrays(Path(path).name, data)
        _check(head)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(f"“{path}” is not a complete head file: {error}.") from error
    return head


def _from_arrays(file_name: str, data: dict[str, np.ndarray]) -> HeadAsset:
    n_expressions = data["shapedirs"].shape[2] - N_SHAPE
    arrays: dict[str, Any] = {name: data[name].astype(np.float32) for name in _FLOATS}
    arrays |= {name: data[name].astype(np.int32) for name in _INTEGERS}
    arrays |= {name: tuple(map(str, data[name])) for name in _TEXTS}
    return HeadAsset(
        file_name=file_name,
        name=str(data["name"]),
        basis=str(data["basis"]),
        parents=tuple(int(parent) if parent < 5 else -1 for parent in data["kintree_table"][0]),
        jaw_open_angle=float(data["jaw_open_angle"]),
        eye_look_angles=data.get("eye_look_angles", np.zeros((n_expressions, 2, 2), np.float32)),
        **arrays,
    )


def load_shape(path: str | Path) -> np.ndarray:
    """Identity coefficients from a `.npy`, or from the array `shape` of a `.npz`.

    Raises:
        UserError: the file is missing, or holds something else.
    """
    try:
        arrays = plain_arrays(path, ("", "shape"), LARGEST_SHAPE)
        return np.asarray(arrays.get("", arrays.get("shape")), np.float32).reshape(-1)
    except FileNotFoundError as error:
        raise UserError(f"The identity file “{path}” does not exist.") from error
    except Exception as error:  # as many kinds as in read_arrays
        raise UserError(
            f"“{path}” is not a file of identity coefficients (.npy, or .npz with “shape”)."
        ) from error


def _check(head: HeadAsset) -> None:
    """Raise ValueError where the arrays of `head` do not fit together."""
    n_vertices, n_expressions = len(head.v_template), len(head.expression_names)
    shapes = {
        "v_template": (head.v_template.shape, (n_vertices, 3)),
        "shapedirs": (head.shapedirs.shape, (n_vertices, 3, N_SHAPE + n_expressions)),
        "posedirs": (head.posedirs.shape, (n_vertices, 3, 9 * len(POSED_JOINTS))),
        "J_regressor": (head.J_regressor.shape, (5, n_vertices)),
        "weights": (head.weights.shape, (n_vertices, 5)),
        "eye_look_angles": (head.eye_look_angles.shape, (n_expressions, 2, 2)),
        "uv_polygons": (head.uv_polygons.shape, head.polygons.shape),
        "polygon_material": (head.polygon_material.shape, (len(head.polygons),)),
        "joint_names": ((len(head.joint_names),), (5,)),
    }
    for name, (shape, expected) in shapes.items():
        if shape != expected:
            raise ValueError(f"{name} has the shape {shape} and not {expected}")
    for name in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "eye_look_angles", "uv"):
        if not np.isfinite(getattr(head, name)).all():
            raise ValueError(f"{name} holds numbers that are not finite")
    if head.joint_names != ("root", *POSED_JOINTS):
        raise ValueError(f"the joints are {', '.join(head.joint_names)}")
    if head.parents != PARENTS:
        raise ValueError(f"the joints' parents are {head.parents}")
    if len(set(head.expression_names)) != n_expressions:
        raise ValueError("two expressions have one name")
    for corners, count in ((head.polygons, n_vertices), (head.uv_polygons, len(head.uv))):
        if corners[:, :3].min() < 0 or corners.min() < -1 or corners.max() >= count:
            raise ValueError("a polygon names a vertex that does not exist")
    materials = len(head.material_names)
    if head.polygon_material.min() < 0 or head.polygon_material.max() >= materials:
        raise ValueError("a polygon names a material that does not exist")
    if (head.material_colors.shape, head.material_roughness.shape) != ((materials, 4), (materials,)):
        raise ValueError("materials lack a colour or a roughness")


def to_blender(points: np.ndarray) -> np.ndarray:
    """Turn (..., 3) from FLAME's axes into Blender's: (x, y, z) becomes (x, -z, y)."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def pose_corrective_groups(posedirs: np.ndarray) -> list[tuple[str, list[tuple[int, float]], np.ndarray]]:
    """Merge the pose-corrective columns that are multiples of one another; drop the zero ones.

    A rotation about one axis repeats itself in several entries of R - I (a hinge has -sin and sin), and a
    head made for it has proportional columns there. One shape key then carries them exactly.

    Args:
        posedirs: (V, 3, 36).

    Returns:
        For each key to make: the joint, its terms as (entry 0..8 of R - I, factor), and the (V, 3)
        displacement that the sum of the terms multiplies.
    """
    groups: list[tuple[str, list[tuple[int, float]], np.ndarray]] = []
    for j, joint in enumerate(POSED_JOINTS):
        columns = posedirs[:, :, 9 * j : 9 * j + 9].astype(np.float64)
        own: list[tuple[list[tuple[int, float]], np.ndarray]] = []
        for entry in range(9):
            column = columns[:, :, entry]
            if not column.any():
                continue
            for terms, base in own:
                factor = float((base * column).sum() / (base * base).sum())
                if np.abs(column - factor * base).max() <= 1e-6:  # metres
                    terms.append((entry, factor))
                    break
            else:
                own.append(([(entry, 1.0)], column))
        groups += [(joint, terms, base.astype(np.float32)) for terms, base in own]
    return groups
