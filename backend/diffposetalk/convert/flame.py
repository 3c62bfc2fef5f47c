# SPDX-License-Identifier: GPL-3.0-or-later
"""FLAME model files (2020 and 2023 `.pkl`, `.npz`) into head assets.

The layout is FLAME's own (Li et al. 2017): of the 400 directions in `shapedirs`, 1 to 300 are identity and 301 to
400 expression; a head asset keeps the first 100 and the first 50, which are the ones the paper's motion speaks.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..config import EXPRESSION_DIM, SHAPE_DIM
from ..errors import ModelError, refusing
from ..files.array_file import InPieces, read_array, read_header, read_member
from ..files.whole_file import whole_file
from .face_regions import face_regions
from .pickled_arrays import NotAnArray, array_of, content_of, read_pickled

_no_flame = partial(ModelError, kind="flame_format")

VERTICES, TRIANGLES = 5023, 9976
IDENTITIES, EXPRESSIONS = 300, 100
JOINTS = ("root", "neck", "jaw", "left_eye", "right_eye")
PARENTS = (-1, 0, 1, 1, 1)
JAW_OPEN_ANGLE = 0.35
"""Jaw pitch in radians of a wide open mouth; FLAME has no jawOpen of its own (the bundled head opens by 0.36)."""
LARGEST_FILE = 1 << 30
LARGEST_ARRAYS = 1 << 28
"""Bytes of all that is read of an archive; FLAME's arrays have some 60 million."""
OTHER_MODELS = {6890: "SMPL or SMPL-H", 10475: "SMPL-X", 778: "MANO", 3889: "SMAL"}

SHAPES = {
    "v_template": (VERTICES, 3),
    "f": (TRIANGLES, 3),
    "shapedirs": (VERTICES, 3, IDENTITIES + EXPRESSIONS),
    "posedirs": (VERTICES, 3, 36),
    "J_regressor": (5, VERTICES),
    "weights": (VERTICES, 5),
    "kintree_table": (2, 5),
}

MATERIALS = {  # linear base colour, roughness
    "skin": ((0.56, 0.32, 0.24, 1.0), 0.55),
    "lips": ((0.42, 0.14, 0.12, 1.0), 0.4),
    "sclera": ((0.75, 0.72, 0.70, 1.0), 0.2),
    "iris": ((0.10, 0.19, 0.22, 1.0), 0.2),
    "pupil": ((0.01, 0.01, 0.01, 1.0), 0.1),
}
IRIS_ANGLE, PUPIL_ANGLE = 0.5, 0.19
"""Seen from the eyeball's centre, radians from the line of sight: 6 and 2.3 mm on an eyeball of 12 mm."""

LANDMARKS = {
    "lip_inner_upper": (44, 45, 46),
    "lip_inner_lower": (50, 49, 48),
    "mouth_corners": (43, 47),
}
"""What a head asset calls them: of the 51 static landmarks (17 to 67 of the usual 68)."""


@dataclass(frozen=True)
class FlameSummary:
    """What a conversion wrote.

    path, name: the head asset and what it calls itself; vertices: 5,023.
    lips: where the inner lips come from, `landmarks`, `mesh` (found on the mesh) or `none`.
    regions: `masks` or `mesh` likewise. uv: `file` or `cylinder`.
    """

    path: Path
    name: str
    vertices: int
    lips: str
    regions: str
    uv: str


def convert_flame(
    source: str | Path,
    destination: str | Path,
    *,
    landmarks: str | Path | None = None,
    masks: str | Path | None = None,
    uv: str | Path | None = None,
) -> FlameSummary:
    """Convert a FLAME file into a head asset `.npz`, written whole or not at all.

    Args:
        source: FLAME 2020 or 2023, any gender, `.pkl` or `.npz`.
        landmarks: `landmark_embedding.npy` or `flame_static_embedding.pkl`; tells where the inner lips are.
        masks: `FLAME_masks.pkl`; tells lips, eyes and upper face. Without these two files they are found from
            the mesh.
        uv: Wavefront `.obj` of the same mesh with texture coordinates; without it they are cylindrical.

    Raises:
        ModelError: a file is missing, damaged, hostile or of another kind; kinds `flame_missing`,
            `flame_format`, `pickle_refused`, `pickle_damaged`.
        OutputError: the destination cannot be written.
    """
    source, destination = Path(source), Path(destination)
    head = _checked(_read(source), f"“{source.name}”")
    arrays, joints = _head_arrays(head), head["J_regressor"] @ head["v_template"]
    arrays.update(face_regions(arrays["v_template"], arrays["f"], arrays["weights"], joints))
    lips = "mesh" if "lip_inner_upper" in arrays else "none"
    if masks is not None:
        arrays.update(_regions_of_file(Path(masks), arrays["weights"]))
    if landmarks is not None:
        arrays.update(_lips_of_file(Path(landmarks), arrays["f"]))
        lips = "landmarks"
    arrays.update(_materials(arrays, joints))
    arrays["uv"], arrays["uv_polygons"] = (
        cylindrical_uv(arrays["v_template"], arrays["f"])
        if uv is None
        else _uv_of_file(Path(uv), arrays["f"])
    )
    name = f"FLAME ({source.stem})"
    arrays.update(
        name=np.array(name),
        license=np.array("FLAME model licence of the Max Planck Society, https://flame.is.tue.mpg.de"),
        credits=np.array(
            "FLAME: Li, Bolkart, Black, Li, Romero, Learning a model of facial shape and expression from 4D "
            "scans, SIGGRAPH Asia 2017. Converted from the user’s own file."
        ),
    )
    with whole_file(destination) as file:
        np.savez_compressed(file, **arrays)
    regions, coordinates = "mesh" if masks is None else "masks", "cylinder" if uv is None else "file"
    return FlameSummary(destination, name, VERTICES, lips, regions, coordinates)


def _head_arrays(head: dict[str, np.ndarray]) -> dict[str, Any]:
    """What a head asset takes over from FLAME as it is."""
    kept = np.r_[0:SHAPE_DIM, IDENTITIES : IDENTITIES + EXPRESSION_DIM]
    faces = head["f"].astype(np.int32)
    taken = ("v_template", "posedirs", "J_regressor", "weights")
    return {
        **{name: head[name].astype(np.float32) for name in taken},
        "f": faces,
        "shapedirs": head["shapedirs"][:, :, kept].astype(np.float32),
        "kintree_table": np.array([PARENTS, range(5)], np.int64),
        "joint_names": np.array(JOINTS),
        "expression_names": np.array([f"Exp{i:03d}" for i in range(EXPRESSION_DIM)]),
        "basis": np.array("flame"),
        "jaw_open_angle": np.float32(JAW_OPEN_ANGLE),
        "eye_look_angles": np.zeros((EXPRESSION_DIM, 2, 2), np.float32),
        "polygons": _as_polygons(faces),
    }


def _checked(content: Mapping[str, Any], what: str) -> dict[str, np.ndarray]:
    """FLAME's arrays in float64 and of FLAME's shapes. Raises ModelError saying what else it is."""
    if "v_template" not in content:
        names = ", ".join(sorted(str(k)[:30] for k in content)[:6]) or "nothing"
        raise _no_flame(f"{what} is not a FLAME model: it has no v_template, but {names}.")
    head: dict[str, np.ndarray] = {}
    for name, shape in SHAPES.items():
        if name not in content:
            raise _no_flame(f"{what} is not a complete FLAME model: it has no {name}.")
        array = _numbers(content, name, what)
        if name == "v_template" and array.ndim == 2 and len(array) != VERTICES:
            other = OTHER_MODELS.get(len(array))
            known = f"a {other} model" if other else "another model"
            raise _no_flame(f"{what} is {known} with {len(array):,} vertices; FLAME has {VERTICES:,}.")
        if array.shape != shape:
            raise _no_flame(
                f"{what} is not FLAME 2020 or 2023: its {name} has the shape {_by(array.shape)}, not {_by(shape)}."
            )
        if not np.isfinite(array).all():
            raise _no_flame(f"{what} is damaged: its {name} holds values that are not finite.")
        head[name] = array.astype(np.float64)
    parents = head["kintree_table"][0].copy()
    parents[(parents < 0) | (parents >= len(JOINTS))] = -1
    if tuple(parents) != PARENTS:
        raise _no_flame(f"{what} does not have FLAME's joints root, neck, jaw, left and right eye.")
    if head["f"].min() < 0 or head["f"].max() >= VERTICES:
        raise _no_flame(f"{what} is damaged: a triangle names a vertex that does not exist.")
    if np.abs(head["weights"].sum(axis=1) - 1).max() > 1e-3 or head["weights"].min() < -1e-3:
        raise _no_flame(f"{what} is damaged: its skinning weights do not add up to 1.")
    extent = float(np.ptp(head["v_template"], axis=0).max())
    if not 0.1 < extent < 1.0:
        raise _no_flame(f"{what} is not a head in metres: it is {extent:.3g} tall.")
    return head


def _numbers(content: Mapping[str, Any], name: str, what: str) -> np.ndarray:
    try:
        return array_of(content[name])
    except NotAnArray as error:
        raise _no_flame(f"{what} cannot be used: its {name} {error}.") from error


def _read(path: Path) -> Mapping[str, Any]:
    """What a `.pkl` or `.npz` file holds, by name; told apart by their first bytes."""
    what = f"“{path.name}”"
    if not path.is_file():
        raise ModelError(f"The file “{path}” does not exist.", "flame_missing")
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise _no_flame(f"{what} is larger than 1 GB, which no FLAME file is.")
        with path.open("rb") as file:
            start = file.read(6)
            file.seek(0)
            if start.startswith(b"PK"):
                content = _read_npz(path, what)
            elif start == b"\x93NUMPY":
                content = content_of(_read_npy(bytearray(file.read()), what))
            else:
                content = read_pickled(file, what)
    except OSError as error:
        raise ModelError(f"{what} cannot be read: {error.strerror}.", "flame_missing") from error
    if not isinstance(content, Mapping):
        raise _no_flame(f"{what} does not hold arrays by name, as FLAME's files do.")
    return content


def _read_npz(path: Path, what: str) -> dict[str, Any]:
    try:
        with InPieces(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
            content, left = {}, LARGEST_ARRAYS
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if member.filename.endswith(".npy") and (name in SHAPES or name == "hands_components"):
                    data = read_member(archive, member, left)
                    left -= len(data)
                    content[name] = _read_npy(data, what)
            return content
    except ModelError:
        raise
    # Hostile bytes make zipfile, zlib and NumPy raise nearly anything.
    except (Exception, MemoryError) as error:
        raise _no_flame(f"{what} is cut off or damaged.") from error


def _read_npy(data: bytearray, what: str) -> Any:
    """One array of a `.npy` file; an object array is read through the allow-list."""
    try:
        _, _, dtype, start = read_header(data)
        if not dtype.hasobject:
            return read_array(data)
    # What a damaged header makes NumPy raise is any of a dozen kinds.
    except (Exception, MemoryError) as error:
        raise _no_flame(f"{what} is cut off or damaged.") from error
    return read_pickled(io.BytesIO(memoryview(data)[start:]), what)


def _lips_of_file(path: Path, faces: np.ndarray) -> dict[str, np.ndarray]:
    """Inner lip pairs and mouth corners from a landmark embedding: the nearest vertex of each landmark."""
    what = f"The landmark file “{path.name}”"
    content = _read(path)
    names = ("static_lmk_faces_idx", "static_lmk_bary_coords")
    names = names if names[0] in content else ("lmk_face_idx", "lmk_b_coords")
    if not set(names) <= content.keys():
        raise _no_flame(f"{what} does not hold FLAME's 51 static landmarks.")
    triangle, weight = _numbers(content, names[0], what).ravel(), _numbers(content, names[1], what)
    if triangle.shape != (51,) or weight.shape != (51, 3) or not np.isfinite(weight).all():
        raise _no_flame(f"{what} does not hold FLAME's 51 static landmarks.")
    if triangle.min() < 0 or triangle.max() >= len(faces):
        raise _no_flame(f"{what} names triangles that FLAME does not have.")
    vertex = faces[triangle.astype(np.int64), weight.argmax(axis=1)]
    return {name: vertex[list(landmarks)].astype(np.int32) for name, landmarks in LANDMARKS.items()}


def _regions_of_file(path: Path, weights: np.ndarray) -> dict[str, np.ndarray]:
    what = f"The mask file “{path.name}”"
    content = _read(path)
    regions: dict[str, np.ndarray] = {}
    for name in ("lips", "forehead", "left_eye_region", "right_eye_region", "left_eyeball", "right_eyeball"):
        if name not in content:
            raise _no_flame(f"{what} has no region {name!r}.")
        region = _numbers(content, name, what).ravel()
        if region.size == 0 or region.dtype.kind not in "iu" or region.min() < 0 or region.max() >= VERTICES:
            raise _no_flame(f"{what} names vertices that FLAME does not have.")
        regions[name] = region.astype(np.int32)
    out = {
        "mask_lips": regions["lips"],
        "mask_upper_face": _union(regions, "forehead", "left_eye_region", "right_eye_region"),
    }
    # Whose left: the skinning says it.
    swapped = weights[regions["left_eyeball"], 3].sum() < weights[regions["left_eyeball"], 4].sum()
    for side, other in (("left", "right"), ("right", "left")):
        named = other if swapped else side
        out[f"mask_{side}_eye"] = _union(regions, f"{named}_eyeball", f"{named}_eye_region")
    return out


def _union(regions: dict[str, np.ndarray], *names: str) -> np.ndarray:
    return np.unique(np.concatenate([regions[name] for name in names])).astype(np.int32)


def _materials(arrays: dict[str, Any], joints: np.ndarray) -> dict[str, np.ndarray]:
    """Which polygon is skin, lips or part of an eye, with colours for them."""
    names = list(MATERIALS)
    faces, weights = arrays["f"], arrays["weights"]
    material = np.zeros(len(faces), np.int32)
    if "mask_lips" in arrays:
        material[np.isin(faces, arrays["mask_lips"]).all(axis=1)] = names.index("lips")
    centres = arrays["v_template"][faces].mean(axis=1)
    for joint in (3, 4):
        eye = (weights[faces, joint] > 0.5).all(axis=1)
        outward = centres - joints[joint]
        angle = np.arccos(np.clip(outward[:, 2] / np.linalg.norm(outward, axis=1).clip(1e-9), -1, 1))
        material[eye] = names.index("sclera")
        material[eye & (angle < IRIS_ANGLE)] = names.index("iris")
        material[eye & (angle < PUPIL_ANGLE)] = names.index("pupil")
    return {
        "material_names": np.array(names),
        "polygon_material": material,
        "material_colors": np.array([colour for colour, _ in MATERIALS.values()], np.float32),
        "material_roughness": np.array([roughness for _, roughness in MATERIALS.values()], np.float32),
    }


def cylindrical_uv(v_template: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Texture coordinates (U, 2) in 0 to 1 around the vertical axis, and polygons (F, 4) into them, -1 in the fourth.

    The seam is at the back; vertices there have a second coordinate at the other edge of the picture.
    """
    low, high = v_template.min(axis=0), v_template.max(axis=0)
    around = v_template - (low + high) / 2
    u = np.arctan2(around[:, 0], around[:, 2]) / (2 * np.pi) + 0.5
    v = (v_template[:, 1] - low[1]) / (high[1] - low[1])
    corners = faces.astype(np.int32)
    over_seam = np.ptp(u[corners], axis=1) > 0.5
    second = over_seam[:, None] & (u[corners] < 0.5)
    doubled = np.unique(corners[second])
    corners[second] = len(u) + np.searchsorted(doubled, corners[second])
    u, v = np.concatenate([u, u[doubled] + 1]), np.concatenate([v, v[doubled]])
    uv = np.stack([u / max(1.0, u.max()), v], axis=1).astype(np.float32)
    return uv, _as_polygons(corners)


def _uv_of_file(path: Path, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Texture coordinates of a Wavefront file, laid onto FLAME's triangles whatever their order there."""
    what = f"The texture coordinates in “{path.name}”"
    if not path.is_file():
        raise ModelError(f"The file “{path}” does not exist.", "flame_missing")
    uv: list[tuple[float, float]] = []
    corners: dict[tuple[int, ...], dict[int, int]] = {}
    vertices = 0
    foreign = _no_flame(
        f"{what} cannot be used: it must be a Wavefront file of FLAME's own triangles (f v/vt …)."
    )
    with refusing(foreign):
        if path.stat().st_size > LARGEST_FILE // 8:
            raise ValueError("too large")
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                words = line.split()
                if words[:1] == ["v"]:
                    vertices += 1
                elif words[:1] == ["vt"]:
                    uv.append((float(words[1]), float(words[2])))
                elif words[:1] == ["f"]:
                    pairs = [word.split("/")[:2] for word in words[1:]]
                    corner = {int(v) - 1: int(vt) - 1 for v, vt in pairs}
                    corners[tuple(sorted(corner))] = corner
        points = np.array(uv, np.float32)
        polygons = np.array([[corners[tuple(sorted(t))][v] for v in t] for t in faces.tolist()], np.int32)
        if vertices != VERTICES or polygons.min() < 0 or polygons.max() >= len(points):
            raise ValueError("another mesh")
        if not np.isfinite(points).all():
            raise ValueError("not finite")
    return points, _as_polygons(polygons)


def _as_polygons(triangles: np.ndarray) -> np.ndarray:
    """Triangles (F, 3) as polygons (F, 4) of a head asset, -1 in the fourth."""
    return np.pad(triangles, ((0, 0), (0, 1)), constant_values=-1)


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "none"
