# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an object a motion clip can move: shape keys by their names, and the bones of our own heads."""

from collections.abc import Iterable
from dataclasses import dataclass

import bpy

from . import arkit
from .errors import UserError
from .rig import (
    ASSET_FILE_MARK,
    ASSET_MARK,
    BASIS_MARK,
    EXPRESSIONS_MARK,
    HEAD_MARK,
    JAW_OPEN_ANGLE_MARK,
)

BASIS_NAMES = {"arkit": "ARKit", "flame": "FLAME"}


@dataclass(frozen=True)
class Target:
    """One mesh that can be keyed.

    expressions: the names of the basis's expressions, in its order.
    keys: expression name to the name of the shape key that shows it.
    jaw_key: shape key that opens the jaw where no bone does.
    rig: the armature object of one of our own heads.
    basis: "arkit" or "flame".
    head_file: name of the head asset that one of our own heads was made from.
    """

    mesh: bpy.types.Object
    expressions: tuple[str, ...]
    keys: dict[str, str]
    jaw_key: str | None
    rig: bpy.types.Object | None
    basis: str
    jaw_open_angle: float
    head_file: str = ""


def find_target(item: bpy.types.Object, default_jaw_open_angle: float) -> Target:
    """What of `item` can be keyed; the armature of one of our heads stands for its mesh.

    Args:
        default_jaw_open_angle: radians of jaw pitch that open a `jawOpen` key fully, for foreign meshes.

    Raises:
        UserError: nothing can.
    """
    mesh = _mesh_of(item)
    if mesh is None or mesh.type != "MESH":
        raise UserError(
            f"“{item.name}” is not a face: select a head made with Add Head, or a mesh with ARKit shape keys."
        )
    shape_keys = mesh.data.shape_keys
    if shape_keys is None:
        raise UserError(
            f"The mesh “{mesh.name}” has no shape keys. Select a head made with Add Head, or a mesh whose "
            "shape "
            "keys have ARKit's names (eyeBlinkLeft, mouthFunnel, ...)."
        )
    if shape_keys.library is not None or mesh.library is not None:
        raise UserError(
            f"“{mesh.name}” is linked from another file and cannot be keyed. Make it local first."
        )
    driven = _driven_keys(shape_keys)
    rig = (
        mesh.parent
        if mesh.get(HEAD_MARK) and mesh.parent is not None and mesh.parent.get(HEAD_MARK)
        else None
    )
    if mesh.get(HEAD_MARK):
        names = tuple(str(mesh[EXPRESSIONS_MARK]).split("\n"))
        keys = {name: name for name in names if name in shape_keys.key_blocks and name not in driven}
        jaw_key = None
        basis = str(mesh[BASIS_MARK])
    else:
        by_name = {
            arkit.canonical_name(key.name): key.name
            for key in reversed(shape_keys.key_blocks[1:])
            if key.name not in driven
        }
        names = arkit.EXPRESSION_NAMES
        found = {name: by_name.get(arkit.canonical_name(name)) for name in names}
        keys = {name: key for name, key in found.items() if key is not None}
        jaw_key = by_name.get(arkit.canonical_name(arkit.JAW_OPEN))
        basis = "arkit"
    if not keys and jaw_key is None:
        reason = "are driven by something else" if driven else "have other names"
        raise UserError(
            f"The mesh “{mesh.name}” has no shape keys that can be keyed: they {reason}. Select a head "
            "made with "
            "Add Head, or a mesh whose shape keys have ARKit's names (eyeBlinkLeft, mouthFunnel, ...)."
        )
    angle = float(mesh.get(JAW_OPEN_ANGLE_MARK, default_jaw_open_angle))
    return Target(mesh, names, keys, jaw_key, rig, basis, angle, head_file=str(mesh.get(ASSET_FILE_MARK, "")))


def find_targets(items: Iterable[bpy.types.Object], default_jaw_open_angle: float) -> list[Target]:
    """The distinct targets among `items`.

    Raises:
        UserError: there are no items, or one of them cannot be keyed.
    """
    targets: dict[bpy.types.Key, Target] = {}
    for item in items:
        target = find_target(item, default_jaw_open_angle)
        targets.setdefault(target.mesh.data.shape_keys, target)
    if not targets:
        raise UserError(
            "No object is selected. Select a head (Add Head makes one) or a mesh with ARKit shape keys."
        )
    return list(targets.values())


def check_basis(target: Target, basis: str, remedy: str) -> None:
    """Raise UserError unless `target` shows motion of `basis`.

    Args:
        remedy: what else helps than another model or head, as a clause.
    """
    if target.basis != basis:
        shown = target.mesh.get(ASSET_MARK, target.mesh.name)
        motion, head = (BASIS_NAMES.get(name, name) for name in (basis, target.basis))
        raise UserError(
            f"The motion is in the {motion} basis and “{target.mesh.name}” ({shown}) shows {head}: choose a "
            f"model of the {head} basis or a head of the {motion} basis, or {remedy}."
        )


def basis_of(item: bpy.types.Object) -> str:
    """The expression basis that an object shows if it is a face: a foreign mesh counts by its ARKit names."""
    return str(item.get(BASIS_MARK, "arkit"))


def _mesh_of(item: bpy.types.Object) -> bpy.types.Object | None:
    """The mesh to key for a selected object."""
    if item.type == "ARMATURE" and item.get(HEAD_MARK):
        return next((child for child in item.children if child.get(HEAD_MARK)), None)
    return item


def _driven_keys(shape_keys: bpy.types.Key) -> set[str]:
    """Names of the shape keys whose values are driven."""
    if shape_keys.animation_data is None:
        return set()
    paths = {driver.data_path for driver in shape_keys.animation_data.drivers}
    return {key.name for key in shape_keys.key_blocks if key.path_from_id("value") in paths}
