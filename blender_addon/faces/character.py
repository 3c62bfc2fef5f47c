# SPDX-License-Identifier: GPL-3.0-or-later
"""Other people's characters: the meshes and the armature that belong together, and what of them can be keyed.

A character is everything that one armature moves (face, teeth, brows, lashes); without an armature, the
meshes under one parent; else one mesh. Its mapping is stored on the armature, the parent or the mesh, or is
guessed from the names each time.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import bpy
import numpy as np

from ..data import arkit
from ..data.errors import UserError
from ..data.lips import corrected, opening
from ..data.mapping import (
    ANY_OBJECT,
    BONE_CHANNELS,
    FLAME_CHANNELS,
    HEAD_CHANNELS,
    JAW_PITCH,
    BoneChoice,
    MappingTable,
    Row,
    channel_values,
    expression_values,
    guess_rows,
    part_of,
)
from ..data.motion import Motion
from ..data.visemes import pose_opening
from . import bones, rig_presets
from .lips import Lips, Place, find_lips, jaw_place, key_offsets, place_of, rest_vertices

NO_KEYS = (
    "has no shape keys and no face bones that are known. Give it shape keys with ARKit's names (eyeBlinkLeft, "
    "mouthFunnel, ...; VRoid's perfect sync, Faceit and Character Creator make them), make a mapping by hand under "
    "Character, or use a head made with Add Head"
)
_ROW_NAMES = ("source", "object", "kind", "target", "gain", "offset", "low", "high")
_BONE_NAMES = ("head", "neck", "jaw", "eye_left", "eye_right", "neck_share", "jaw_by", "layered")
STILL = 1e-5  # of a mesh's extent: a key that moves no vertex further does nothing


@dataclass(frozen=True)
class Curve:
    """One F-curve to write: values (T,) at consecutive frames."""

    data_path: str
    index: int
    group: str
    values: np.ndarray


@dataclass(frozen=True)
class Character:
    """What of a character can be keyed.

    owner: the object that the mapping is stored on.
    rows: those of the mapping that can be used; their `object` names one of `objects`.
    warnings: what cannot be used, and why.
    """

    owner: bpy.types.Object
    objects: tuple[bpy.types.Object, ...]
    rig: bpy.types.Object | None
    rows: tuple[Row, ...]
    bones: BoneChoice
    warnings: tuple[str, ...]

    @property
    def blocks(self) -> list[bpy.types.ID]:
        """The data-blocks that keying may animate."""
        blocks: dict[bpy.types.ID, None] = {}
        objects = {item.name: item for item in self.objects}
        for row in self.rows:
            item = objects[row.object]
            blocks[item.data.shape_keys if row.kind == "KEY" else item] = None
        if self.rig is not None and self.rig.library is None:
            blocks[self.rig] = None
        return list(blocks)

    @property
    def basis(self) -> str:
        """The expression basis that it shows: "flame" where all rows come from FLAME's expressions."""
        sources = {row.source for row in self.rows if not row.source.startswith(("head", "jaw"))}
        return "flame" if sources and sources <= set(FLAME_CHANNELS) else "arkit"


def armature_of(item: bpy.types.Object) -> bpy.types.Object | None:
    """The armature that moves an object: itself, its modifier's, or that of what it hangs on."""
    above: bpy.types.Object | None = item
    while above is not None:
        if above.type == "ARMATURE":
            return above
        for modifier in above.modifiers:
            if modifier.type == "ARMATURE" and modifier.object is not None:
                return modifier.object
        above = above.parent
    return None


def owner_of(item: bpy.types.Object) -> bpy.types.Object:
    """The object that stands for an object's character: its armature, a parent of several meshes, or itself."""
    rig = armature_of(item)
    if rig is not None:
        return rig
    beside = item.parent.children if item.type == "MESH" and item.parent is not None else ()
    keyed = [other for other in beside if other.type == "MESH" and other.data.shape_keys is not None]
    return item.parent if len(keyed) > 1 else item


def members_of(item: bpy.types.Object) -> list[bpy.types.Object]:
    """The meshes with shape keys of an object's character, in its own scenes, itself first."""
    return [mesh for mesh in skins_of(item) if mesh.data.shape_keys is not None]


def skins_of(item: bpy.types.Object) -> list[bpy.types.Object]:
    """The meshes of an object's character, with shape keys or without, in its own scenes, itself first."""
    owner = owner_of(item)
    scenes = set(item.users_scene)
    if owner.type == "ARMATURE":
        near = (o for s in scenes for o in s.objects) if scenes else iter(bpy.data.objects)
        skins = [
            other for other in dict.fromkeys(near) if other.type == "MESH" and armature_of(other) is owner
        ]
    elif owner is not item or item.type == "EMPTY":
        skins = [child for child in owner.children if not scenes or scenes & set(child.users_scene)]
    else:
        skins = [item]
    return sorted((mesh for mesh in skins if mesh.type == "MESH"), key=lambda mesh: mesh is not item)


_moving: dict[tuple[object, ...], list[str]] = {}  # by mesh, its vertices and the names of its keys


def moving_keys(mesh: bpy.types.Object) -> list[str]:
    """The names of a mesh's shape keys that move any of its vertices."""
    keys = mesh.data.shape_keys
    names = tuple(key.name for key in keys.key_blocks)
    known = (keys.session_uid, len(mesh.data.vertices), names)
    if known not in _moving:
        rest = rest_vertices(mesh)
        least = STILL * float(np.ptp(rest, axis=0).max(initial=0.0))
        _moving[known] = [
            name for name in names[1:] if np.abs(key_offsets(mesh, name)).max(initial=0.0) > least
        ]
    return _moving[known]


def _only_bone_moves(meshes: Sequence[bpy.types.Object], rows: Sequence[Row], bone: str) -> bool:
    """Whether a bone carries vertices, of the character's meshes, that the keys of rows leave where they are."""
    carried = left = 0
    for mesh in meshes if bone else ():
        group = mesh.vertex_groups.get(bone)
        if group is None:
            continue
        members = [
            vertex.index
            for vertex in mesh.data.vertices
            if any(g.group == group.index and g.weight > 0.5 for g in vertex.groups)
        ]
        moved = np.zeros(len(mesh.data.vertices))
        for row in rows:
            if row.object == mesh.name and row.kind == "KEY":
                moved = np.maximum(moved, np.abs(key_offsets(mesh, row.target)).max(axis=1))
        carried += len(members)
        left += int((moved[members] <= STILL * max(1e-9, float(np.ptp(rest_vertices(mesh))))).sum())
    return carried > 0 and left >= 0.8 * carried


def guess_mapping(item: bpy.types.Object) -> MappingTable:
    """The mapping of an object's character from the names of its shape keys and bones."""
    members = members_of(item)
    names: dict[str, list[str]] = {}
    seen = set()
    for mesh in members:
        keys = mesh.data.shape_keys
        if keys not in seen:  # meshes that share their data
            seen.add(keys)
            driven = driven_paths(keys)
            names[mesh.name] = [
                key.name for key in keys.key_blocks[1:] if key.path_from_id("value") not in driven
            ]
    moving = {mesh.name: set(moving_keys(mesh)) for mesh in members if mesh.name in names}
    if any(moving.values()):  # else they are yet to be sculpted, all of them
        names = {mesh: [name for name in own if name in moving[mesh]] for mesh, own in names.items()}
    rows = guess_rows(names)
    rig = armature_of(item)
    choice = bones.pick_bones(rig) if rig is not None else BoneChoice()
    if not rows and rig is not None:
        rows = rig_presets.rigify_rows(rig)
    sources = {row.source for row in rows}
    if sum(source.startswith("eyeLook") for source in sources) >= 6:
        gaze = [row for row in rows if row.source.startswith("eyeLook")]
        if not any(_only_bone_moves(members, gaze, bone) for bone in (choice.eye_left, choice.eye_right)):
            choice = replace(choice, eye_left="", eye_right="")  # the keys turn the eyes
    has_jaw_key = arkit.JAW_OPEN in sources or any(":" in source for source in sources)
    jaw_by = "KEY" if has_jaw_key else "BONE" if choice.jaw else "KEY"
    opening = [row for row in rows if row.source == arkit.JAW_OPEN]
    if opening and _only_bone_moves(skins_of(item), opening, choice.jaw):
        jaw_by = "BOTH"  # the key opens the skin, the bone what is inside
    return MappingTable(tuple(rows), replace(choice, jaw_by=jaw_by))


def stored_mapping(owner: bpy.types.Object) -> MappingTable | None:
    """The mapping that was stored on a character, or None."""
    if not owner.is_property_set("diffposetalk") or not owner.diffposetalk.stored:
        return None
    settings = owner.diffposetalk
    rows = tuple(
        Row(
            **{name: getattr(row, name) for name in _ROW_NAMES},
            channel=row.channel if row.kind == "BONE" else "",
        )
        for row in settings.rows
    )
    choice = BoneChoice(**{name: getattr(settings, name) for name in _BONE_NAMES})
    return MappingTable(rows, choice, settings.preset)


def store_mapping(owner: bpy.types.Object, table: MappingTable) -> None:
    settings = owner.diffposetalk
    settings.rows.clear()
    for row in table.rows:
        item = settings.rows.add()
        for name in _ROW_NAMES:
            setattr(item, name, getattr(row, name))
        if row.kind == "BONE":
            item.channel = row.channel
    for name in _BONE_NAMES:
        setattr(settings, name, getattr(table.bones, name))
    settings.preset = table.name
    settings.stored = True


def adopt_mapping(item: bpy.types.Object, table: MappingTable) -> MappingTable:
    """A mapping of another character for this one: rows of objects that it lacks go to whichever has the target."""
    owner = owner_of(item)
    names = {member.name for member in (*members_of(item), owner)}
    rows = (row if row.object in names else replace(row, object=ANY_OBJECT) for row in table.rows)
    choice = table.bones
    rig = armature_of(item)
    if rig is not None:
        picked = bones.pick_bones(rig)
        for role in ("head", "neck", "jaw", "eye_left", "eye_right"):
            if getattr(choice, role) and getattr(choice, role) not in rig.data.bones:
                choice = replace(choice, **{role: getattr(picked, role)})
    return replace(table, rows=tuple(dict.fromkeys(rows)), bones=choice)


def find_character(item: bpy.types.Object) -> Character:
    """What of an object's character can be keyed.

    Raises:
        UserError: nothing can.
    """
    owner, rig = owner_of(item), armature_of(item)
    table = stored_mapping(owner)
    guessed = table is None
    if table is None:
        table = guess_mapping(item)
    members = members_of(item)
    objects = {member.name: member for member in members}
    if rig is not None:
        objects[rig.name] = rig
    objects.setdefault(owner.name, owner)
    rows: list[Row] = []
    problems: dict[str, list[str]] = {}
    driven_on = functools.cache(driven_paths)  # looked up once for each data-block
    for row in table.rows:
        places = _places(row, objects)
        if not places:
            reason = _why_missing(row, objects)
            problems.setdefault(reason, []).append(row.target)
        for place in places:
            problem = _why_not_keyed(place, row, driven_on)
            if problem is None:
                rows.append(replace(row, object=place.name))
                objects.setdefault(place.name, place)
            else:
                problems.setdefault(problem, []).append(row.target)
    choice = _usable_bones(rig, table.bones, driven_on, problems)
    if choice.jaw_by in ("BONE", "BOTH"):  # not by a row as well, as older presets had it
        rows = [row for row in rows if row.source != JAW_PITCH or row.target != choice.jaw]
    if guessed:
        for mesh in members:
            driven = driven_on(mesh.data.shape_keys)
            names = [k.name for k in mesh.data.shape_keys.key_blocks[1:] if k.path_from_id("value") in driven]
            for row in guess_rows({mesh.name: names}) if names else ():
                problems.setdefault(f"of “{mesh.name}” driven by something else", []).append(row.target)
    warnings = (*left_out_text(problems), *_unseen(members, rows))
    if rig is not None and not choice.head and not choice.neck:
        warnings += (
            f"No bone of “{rig.name}” is known to be the head, which does not turn: choose it under Character",
        )
    opens_by_bone = bool(choice.jaw) and choice.jaw_by in ("BONE", "BOTH")
    if not rows and not opens_by_bone:
        raise UserError(_nothing_to_key(item, members, warnings))
    return Character(owner, tuple(objects.values()), rig, tuple(rows), choice, warnings)


def _unseen(meshes: Sequence[bpy.types.Object], rows: Sequence[Row]) -> tuple[str, ...]:
    """Sentences about keys that are keyed and do not show, and why."""
    texts = []
    for mesh in meshes:
        keys = mesh.data.shape_keys
        used = {row.target for row in rows if row.kind == "KEY" and row.object == mesh.name}
        muted = [name for name in used if keys.key_blocks[name].mute]
        if muted:
            texts.append(f"“{mesh.name}” mutes {len(muted)} of its shape keys, which do not move")
        if used and mesh.show_only_shape_key:
            texts.append(f"“{mesh.name}” shows only the active shape key: unpin it to see the others")
        if used and not keys.use_relative:
            texts.append(f"The shape keys of “{mesh.name}” are absolute: set them to Relative to see them")
    return tuple(texts)


def left_out_text(problems: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Sentences about what cannot be keyed, from reasons and the names that each is true of."""
    return tuple(
        f"Left out, {reason}: {', '.join(names[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''}"
        for reason, names in problems.items()
    )


def _nothing_to_key(
    item: bpy.types.Object, members: list[bpy.types.Object], warnings: tuple[str, ...]
) -> str:
    """Why nothing of a character can be keyed, and what to do."""
    if item.library is not None:
        return linked_text(item)
    if not members:
        if item.type == "EMPTY":
            return f"“{item.name}” is not a face: select a head made with Add Head, or a mesh with ARKit shape keys."
        return f"“{item.name}” {NO_KEYS}."
    if warnings:
        return f"“{item.name}” has no shape keys that can be keyed. {'. '.join(warnings)}."
    return (
        f"The mesh “{members[0].name}” has no shape keys that can be keyed: they have other names. Select a head "
        "made with Add Head, a mesh whose shape keys have ARKit's names (eyeBlinkLeft, mouthFunnel, ...), or make "
        "a mapping under Character."
    )


def _places(row: Row, objects: dict[str, bpy.types.Object]) -> list[bpy.types.Object]:
    """The objects of a character that have a row's target."""
    if row.object == ANY_OBJECT:
        return [item for item in objects.values() if _has(item, row)]
    item = objects.get(row.object)
    if item is None and row.kind == "PROPERTY":  # of any object: a control panel, a light
        item = bpy.data.objects.get(row.object)
    return [item] if item is not None and _has(item, row) else []


def _has(item: bpy.types.Object, row: Row) -> bool:
    if row.kind == "KEY":
        return (
            item.type == "MESH"
            and item.data.shape_keys is not None
            and row.target in item.data.shape_keys.key_blocks
        )
    if row.kind == "BONE":
        return item.type == "ARMATURE" and row.target in item.data.bones
    try:
        return isinstance(item.path_resolve(row.target), int | float)
    except ValueError:
        return False


def _why_missing(row: Row, objects: dict[str, bpy.types.Object]) -> str:
    kind = {"KEY": "shape key", "BONE": "bone", "PROPERTY": "property"}[row.kind]
    if row.object != ANY_OBJECT and row.object not in objects:
        if row.object not in bpy.data.objects:
            return f"the object “{row.object}” is not there any more"
        return f"the object “{row.object}” is not part of this character in this scene"
    return f"no {kind} of that name is there any more (renamed? press Detect, or edit the mapping)"


def _why_not_keyed(
    item: bpy.types.Object, row: Row, driven_on: Callable[[bpy.types.ID], set[str]]
) -> str | None:
    if item.library is not None:
        return f"“{item.name}” is linked and not overridden"
    if row.kind == "BONE":
        return None
    keys = item.data.shape_keys if row.kind == "KEY" else None
    key = None if keys is None else keys.key_blocks[row.target]
    if (row.target if key is None else key.path_from_id("value")) in driven_on(
        item if keys is None else keys
    ):
        return f"of “{item.name}” driven by something else"
    return f"of “{item.name}” locked" if getattr(key, "lock_shape", False) else None


def _usable_bones(
    rig: bpy.types.Object | None,
    choice: BoneChoice,
    driven_on: Callable[[bpy.types.ID], set[str]],
    problems: dict[str, list[str]],
) -> BoneChoice:
    """The choice without bones that are not there or cannot be keyed."""
    for role in ("head", "neck", "jaw", "eye_left", "eye_right"):
        name = getattr(choice, role)
        if not name:
            continue
        reason = None
        if rig is None or name not in rig.pose.bones:
            reason = "no bone of that name is there any more"
        elif rig.library is not None:
            reason = f"“{rig.name}” is linked and not overridden"
        elif any(
            path.startswith(f"{rig.pose.bones[name].path_from_id()}.rotation") for path in driven_on(rig)
        ):
            reason = "its rotation is driven by something else"
        if reason is not None:
            problems.setdefault(reason, []).append(name)
            choice = replace(choice, **{role: ""})  # type: ignore[arg-type]
    return choice


def linked_text(item: bpy.types.Object) -> str:
    """Why an object of another file cannot be keyed, and what to do."""
    return (
        f"“{item.name}” is linked from another file and cannot be keyed. Make a library override of it (Object, "
        "Library Override, Make), or make it local."
    )


def override_data(item: bpy.types.Object) -> None:
    """Give an overridden object whose mesh is still linked an override of the mesh, which brings its shape keys."""
    if item.type == "MESH" and item.library is None and item.data.library is not None:
        item.data.override_create(remap_local_usages=True)


def driven_paths(block: bpy.types.ID) -> set[str]:
    """The data paths of a data-block that have drivers."""
    if block.animation_data is None:
        return set()
    return {driver.data_path for driver in block.animation_data.drivers}


_lips: dict[tuple[object, ...], Lips | None] = {}  # what was found, by all that it was found from


def look_again() -> None:
    """Forget what was found of shapes: they may have been edited."""
    _lips.clear()
    _moving.clear()


def lips_of(character: Character, jaw_open_angle: float) -> Lips | None:
    """The inner lips of a character, found once; None where its mouth has none that can be measured.

    Args:
        jaw_open_angle: radians of a jaw bone that open the mouth fully.
    """
    meshes = [item for item in skins_of(character.owner) if item.visible_get()]
    rows = tuple(row for row in character.rows if part_of(row.source) == "LIPS")
    choice, rig = character.bones, character.rig
    jaw = choice.jaw if choice.jaw_by in ("BONE", "BOTH") else ""
    if choice.jaw_by in ("BONE", "NONE"):
        rows = tuple(row for row in rows if row.source != arkit.JAW_OPEN or row.kind != "KEY")
    sizes = tuple((mesh.data.session_uid, len(mesh.data.vertices)) for mesh in meshes)
    key = (character.owner.session_uid, rows, choice, sizes, jaw_open_angle)
    if key not in _lips:
        distance = bones.eye_distance(rig, choice) if rig is not None else 0.0
        _lips[key] = find_lips(meshes, rows, rig, jaw, choice.head, choice.neck, distance, jaw_open_angle)
    return _lips[key]


def character_curves(
    character: Character,
    motion: Motion,
    jaw_open_angle: float,
    strength: float = 1.0,
    parts: frozenset[str] = frozenset(("LIPS", "UPPER", "HEAD")),
) -> Iterator[tuple[bpy.types.ID, str, list[Curve]]]:
    """What a motion does to a character.

    Args:
        strength: factor of the head's rotation.
        parts: those of `mapping.PARTS` that are wanted.

    Yields:
        (data-block to animate, suffix of the Action's name, curves).
    """
    motion = replace(motion, head=motion.head * strength)
    rows = [row for row in character.rows if part_of(row.source) in parts]
    if not motion.has_head:
        rows = [row for row in rows if row.source not in HEAD_CHANNELS]
    if character.bones.jaw_by in ("BONE", "NONE"):
        rows = [row for row in rows if row.source != arkit.JAW_OPEN or row.kind != "KEY"]
    values, sums = _moved_places(character, motion, rows, jaw_open_angle, parts)
    objects = {item.name: item for item in character.objects}
    by_block: dict[bpy.types.ID, list[Curve]] = {}
    moved: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for (kind, name, target, channel), value in sums.items():
        item = objects[name]
        if kind == "KEY":
            keys = item.data.shape_keys
            path = keys.key_blocks[target].path_from_id("value")
            by_block.setdefault(keys, []).append(Curve(path, 0, "Shape Keys", value))
        elif kind == "PROPERTY":
            path, index = _path_and_index(target)
            by_block.setdefault(item, []).append(Curve(path, index, "Face", value))
        elif character.rig is not None:
            moves, turns = moved.setdefault(target, (np.zeros((len(value), 3)), np.zeros((len(value), 3))))
            (moves if channel.startswith("MOVE") else turns)[:, BONE_CHANNELS.index(channel) % 3] += value
    if character.rig is not None:
        curves = _bone_curves(character, motion, values, moved, parts)
        if curves:
            by_block.setdefault(character.rig, []).extend(curves)
    meshes = {item.data.shape_keys: item.name for item in reversed(character.objects) if item.type == "MESH"}
    for number, (block, curves) in enumerate(by_block.items()):
        name = "bones" if block == character.rig else "" if number == 0 else meshes.get(block, block.name)
        yield block, f" {name}" if name else "", curves


def _moved_places(
    character: Character, motion: Motion, rows: Sequence[Row], jaw_open_angle: float, parts: frozenset[str]
) -> tuple[dict[str, np.ndarray], dict[Place, np.ndarray]]:
    """The motion's channels, and the values of what rows move, such that the character's own lips close with it."""
    sources = [row.source for row in rows]
    measured = "LIPS" in parts and motion.basis == "arkit"
    lips = lips_of(character, jaw_open_angle) if measured else None
    if lips is None:
        values = channel_values(motion, jaw_open_angle, sources)
        return values, _sums(rows, values)
    widest = pose_opening("open")
    openings = {
        row.source: lips.responses[place_of(row)] * row.gain * widest
        for row in rows
        if ":" in row.source and place_of(row) in lips.responses
    }
    values = channel_values(motion, jaw_open_angle, sources, openings)
    sums = _sums(rows, values)
    if openings:
        return values, sums
    ones = {JAW_PITCH: np.full(1, jaw_open_angle), arkit.JAW_OPEN: np.ones(1), "mouthClose": np.zeros(1)}
    jaw_bone = character.bones.jaw if character.bones.jaw_by in ("BONE", "BOTH") else ""
    bone = lips.responses.get(jaw_place(character.rig, jaw_bone), 0.0) if character.rig and jaw_bone else 0.0

    def opens(of: Mapping[Place, np.ndarray], pitch: np.ndarray) -> np.ndarray:
        return sum((lips.responses.get(place, 0.0) * value for place, value in of.items()), bone * pitch)

    still = {name: np.zeros(1) for name in ones}
    closed = {**still, "mouthClose": np.ones(1)}
    jaw_rows = [row for row in rows if row.source in ones]
    at_rest = opens(_sums(jaw_rows, still), np.zeros(1))
    unit = float((opens(_sums(jaw_rows, ones), ones[JAW_PITCH]) - at_rest)[0])
    close = float((opens(_sums(jaw_rows, closed), np.zeros(1)) - at_rest)[0])
    if unit <= 0:
        return values, sums
    jaw, shut = corrected(
        values[arkit.JAW_OPEN],
        values.get("mouthClose", np.zeros(len(motion.exp))),
        opening(expression_values(motion, jaw_open_angle)),
        opens(sums, values[JAW_PITCH]) / unit,
        close / unit,
    )
    values[JAW_PITCH] = values[JAW_PITCH] + (jaw - values[arkit.JAW_OPEN]) * jaw_open_angle
    values[arkit.JAW_OPEN], values["mouthClose"] = jaw, shut
    return values, _sums(rows, values)


def _sums(rows: Sequence[Row], values: Mapping[str, np.ndarray]) -> dict[Place, np.ndarray]:
    """What rows add up to, by what they move."""
    sums: dict[Place, np.ndarray] = {}
    for row in rows:
        if row.source in values:
            value = row.value(values[row.source])
            sums[place_of(row)] = sums[place_of(row)] + value if place_of(row) in sums else value
    return sums


def _bone_curves(
    character: Character,
    motion: Motion,
    values: dict[str, np.ndarray],
    moved: dict[str, tuple[np.ndarray, np.ndarray]],
    parts: frozenset[str],
) -> list[Curve]:
    """Curves of head, neck, jaw, eyes and of the bones that rows move."""
    rig, choice, count = character.rig, character.bones, len(motion.exp)
    assert rig is not None
    axes = bones.character_axes(rig, choice.head, choice.neck)
    turned = {bone: turns for bone, (_, turns) in moved.items() if turns.any()}

    def add(bone: str, turns: np.ndarray) -> None:
        turned[bone] = turned[bone] + turns if bone in turned else turns

    if "HEAD" in parts and motion.has_head:
        share = choice.neck_share if choice.head and choice.neck else float(bool(choice.neck))
        if choice.neck and share > 0:
            add(choice.neck, motion.head * share)
        if choice.head and share < 1:
            add(choice.head, motion.head * (1 - share))
    if "LIPS" in parts and choice.jaw and choice.jaw_by in ("BONE", "BOTH"):
        add(choice.jaw, np.column_stack([values[JAW_PITCH], motion.jaw[:, 1:]]))
    if "UPPER" in parts and motion.basis == "arkit":
        for bone, side in ((choice.eye_left, "Left"), (choice.eye_right, "Right")):
            if bone:
                add(bone, bones.eye_turns(values, side))
    curves = []
    for bone, turns in turned.items():
        local = bones.local_turns(rig, bone, np.broadcast_to(turns, (count, 3)), axes)
        for path, index, column in bones.rotation_curves(rig.pose.bones[bone], local):
            curves.append(Curve(path, index, bone, column))
    scale = bones.eye_distance(rig, choice)
    for bone, (moves, _) in moved.items():
        if moves.any():
            local = bones.local_moves(rig, bone, moves * scale, axes)
            path = rig.pose.bones[bone].path_from_id("location")
            curves += [Curve(path, axis, bone, local[:, axis]) for axis in range(3) if local[:, axis].any()]
    return curves


def _path_and_index(path: str) -> tuple[str, int]:
    """`location[2]` is ("location", 2); `["smile"]` is itself and 0."""
    stem, bracket, rest = path.rpartition("[")
    if bracket and rest.rstrip("]").isdigit():
        return stem, int(rest.rstrip("]"))
    return path, 0
