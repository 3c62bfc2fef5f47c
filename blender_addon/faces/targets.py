# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an object a motion clip can move: our own heads, and other people's characters by their mapping."""

from collections.abc import Iterable
from dataclasses import dataclass

import bpy
from bpy.app.translations import pgettext_n as n_
from bpy.app.translations import pgettext_rpt as rpt_

from ..data import arkit
from ..data.errors import UserError
from ..data.mapping import FLAME_CHANNELS
from .character import (
    Character,
    armature_of,
    driven_paths,
    find_character,
    left_out_text,
    linked_text,
    override_data,
)
from .rig import ASSET_FILE_MARK, ASSET_MARK, BASIS_MARK, EXPRESSIONS_MARK, HEAD_MARK, JAW_OPEN_ANGLE_MARK

NOT_A_HEAD = n_("“{name}” cannot speak. Select a head (Add Head makes one) or a mesh with ARKit shape keys.")
NOBODY = n_("No object is selected. Select a head (Add Head makes one) or a mesh with ARKit shape keys.")
BASIS_NAMES = {"arkit": "ARKit", "flame": "FLAME"}


@dataclass(frozen=True)
class Target:
    """One head or character that can be keyed.

    mesh: its mesh; of a character without shape keys its armature.
    expressions: the names of the basis's expressions, in its order.
    keys: expression name to the name of the shape key that shows it.
    rig: the armature object of one of our own heads.
    basis: "arkit" or "flame".
    head_file: name of the head asset that one of our own heads was made from.
    character: the mapping of anything but our own heads.
    left_out: what of one of our own heads cannot be keyed, and why.
    """

    mesh: bpy.types.Object
    expressions: tuple[str, ...]
    keys: dict[str, str]
    rig: bpy.types.Object | None
    basis: str
    jaw_open_angle: float
    head_file: str = ""
    character: Character | None = None
    left_out: tuple[str, ...] = ()

    @property
    def blocks(self) -> list[bpy.types.ID]:
        """The data-blocks that keying animates."""
        if self.character is not None:
            return self.character.blocks
        return [block for block in (self.mesh.data.shape_keys, self.rig) if block is not None]

    def make_editable(self) -> None:
        """Override what is still linked of an overridden character."""
        items = (self.mesh,) if self.character is None else self.character.objects
        for item in items:
            override_data(item)

    def layers(self, block: bpy.types.ID) -> bool:
        """Whether the motion of `block` goes on top of the animation that it has."""
        return self.character is not None and block == self.character.rig and self.character.bones.layered

    @property
    def owner(self) -> bpy.types.Object:
        """The object that stands for all of it."""
        return self.character.owner if self.character is not None else self.mesh

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of it cannot be keyed, and why."""
        return self.character.warnings if self.character is not None else self.left_out


def find_target(item: bpy.types.Object, default_jaw_open_angle: float) -> Target:
    """What of `item` can be keyed; the armature of one of our heads stands for its mesh.

    Args:
        default_jaw_open_angle: radians of jaw pitch that open a `jawOpen` key fully, for foreign meshes.

    Raises:
        UserError: nothing can.
    """
    mesh = _mesh_of(item)
    if mesh is None or not mesh.get(HEAD_MARK):
        return _character_target(item, default_jaw_open_angle)
    shape_keys = mesh.data.shape_keys
    if shape_keys is None:
        raise UserError(f"The mesh “{mesh.name}” has no shape keys any more. Add another head with Add Head.")
    if mesh.library is not None:
        raise UserError(linked_text(mesh))
    names = tuple(str(mesh[EXPRESSIONS_MARK]).split("\n"))
    rig = mesh.parent if mesh.parent is not None and mesh.parent.get(HEAD_MARK) else None
    problems = _unusable(shape_keys, names, rig)
    unusable = {name for affected in problems.values() for name in affected}
    keys = {name: name for name in names if name not in unusable}
    if not keys:
        raise UserError(
            f"The shape keys of “{mesh.name}” are driven by something else or gone: none can be keyed."
        )
    return Target(
        mesh,
        names,
        keys,
        rig,
        str(mesh[BASIS_MARK]),
        float(mesh.get(JAW_OPEN_ANGLE_MARK, default_jaw_open_angle)),
        str(mesh.get(ASSET_FILE_MARK, "")),
        left_out=left_out_text(problems),
    )


def _unusable(
    shape_keys: bpy.types.Key, names: Iterable[str], rig: bpy.types.Object | None
) -> dict[str, list[str]]:
    """Reasons why expressions and bones of one of our own heads cannot be keyed, and which."""
    driven = driven_paths(shape_keys)
    problems: dict[str, list[str]] = {}
    for name in names:
        key = shape_keys.key_blocks.get(name)
        if key is None:
            problems.setdefault("no shape key of that name is there any more (renamed?)", []).append(name)
        elif key.path_from_id("value") in driven:
            problems.setdefault("driven by something else", []).append(name)
        elif getattr(key, "lock_shape", False):
            problems.setdefault("locked", []).append(name)
    missing = [name for name in ("neck", "jaw") if rig is not None and name not in rig.pose.bones]
    return problems | ({"no bone of that name is there any more": missing} if missing else {})


def could_speak(item: bpy.types.Object) -> bool:
    """Whether an object may be a face at a glance: an armature, or a mesh with shape keys or an armature."""
    if item.type == "MESH":
        return item.data.shape_keys is not None or armature_of(item) is not None
    return item.type == "ARMATURE"


def _character_target(item: bpy.types.Object, jaw_open_angle: float) -> Target:
    """The character of anything but our own heads. Raises UserError."""
    if item.type not in ("MESH", "ARMATURE", "EMPTY"):
        raise UserError(
            f"“{item.name}” is not a face: select a head made with Add Head, or a mesh with ARKit shape keys."
        )
    if not could_speak(item) and item.type == "MESH":
        raise UserError(
            f"The mesh “{item.name}” has no shape keys. Select a head made with Add Head, or a mesh whose shape "
            "keys have ARKit's names (eyeBlinkLeft, mouthFunnel, ...). VRoid's perfect sync, Faceit and Character "
            "Creator make them; bones can be driven by a mapping (see Character)."
        )
    character = find_character(item)
    meshes = [member for member in character.objects if member.type == "MESH"]
    mesh = item if item in meshes else meshes[0] if meshes else character.owner
    basis = character.basis
    names = arkit.EXPRESSION_NAMES if basis == "arkit" else FLAME_CHANNELS
    keys = {row.source: row.target for row in character.rows if row.source in names}
    return Target(mesh, names, keys, None, basis, jaw_open_angle, character=character)


def find_targets(items: Iterable[bpy.types.Object], default_jaw_open_angle: float) -> list[Target]:
    """The distinct targets among `items`.

    Raises:
        UserError: there are no items, or one of them cannot be keyed.
    """
    targets: dict[bpy.types.ID, Target] = {}
    for item in items:
        target = find_target(item, default_jaw_open_angle)
        owner = target.owner
        targets.setdefault(owner.data.shape_keys if owner.type == "MESH" else owner, target)
    if not targets:
        raise UserError(rpt_(NOBODY))
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
    """The mesh of one of our own heads for the mesh or its armature; None for anything else."""
    if item.type == "ARMATURE" and item.get(HEAD_MARK):
        return next((child for child in item.children if child.get(HEAD_MARK)), None)
    return item if item.type == "MESH" else None
