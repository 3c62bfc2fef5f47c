# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion as F-curves: whole curves are written at once into new Actions, and the old Actions are kept.

A take is one Action for the shape keys and, on our own heads, one for the bones. From Blender 4.4 on an
Action has slots, layers and channel bags; before, it has its curves itself.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import bpy
import numpy as np

from ..data.errors import UserError
from ..data.mapping import PARTS, part_of
from ..data.motion import Motion
from ..faces import bones
from ..faces.character import Curve, character_curves
from ..faces.targets import Target, check_basis
from . import record
from .record import KeyedAs
from .rollback import Place, all_or_nothing

SLOTTED = bpy.app.version >= (4, 4, 0)
CONVERT_MOTION = "convert the motion with “diffposetalk convert motion”"
LAST_FRAME = int(bpy.types.Scene.bl_rna.properties["frame_end"].hard_max)
NAME_BYTES = 63  # Blender's longest data-block name, in UTF-8, before 5.0
PROVENANCE_KEYS = ("synthetic", "generator", "model", "model_sha256", "seed", "audio_sha256", "audio_name",
                   "style", "guidance", "sampler", "steps", "created", "converted_from",
                   "conversion_residual_mm")  # fmt: skip


@dataclass(frozen=True)
class Take:
    """Motion at the scene's frame rate, and how its Actions are called."""

    motion: Motion
    name: str  # "speech · take 1 (seed 7)"
    raw: Motion | None = None  # as it was made, at its own frame rate: kept with the take, to adjust it later
    source: dict[str, Any] = field(default_factory=dict)  # what it was made from, to make a part of it again


@dataclass(frozen=True)
class Assignment:
    """What some targets are to do from a frame on: takes of one recording, the first of which is shown."""

    targets: tuple[Target, ...]
    takes: tuple[Take, ...]
    start_frame: float


def key_takes(
    assignments: Sequence[Assignment],
    head_bone: str = "neck",
    strength: float = 1.0,
    parts: frozenset[str] = frozenset(PARTS),
) -> list[list[list[bpy.types.Action]]]:
    """Write all takes of all assignments, and show the first take of each.

    Either all of it happens or, when an error is raised, nothing.

    Args:
        assignments: what to key; no target twice.
        head_bone: "neck" or "root", the bone that gets the head rotation.
        strength: factor of the head rotation; 0 keys none.
        parts: which of `mapping.PARTS` to key; what the target's Actions show of the others is kept.

    Returns:
        The Actions by assignment and take.

    Raises:
        UserError: a target shows another basis, its Action may not be exchanged now, or `head_bone` is another.
    """
    check_head_bone(head_bone)
    for assignment in assignments:
        for take in assignment.takes:
            if last_frame(take.motion, assignment.start_frame) > LAST_FRAME:
                raise UserError(
                    f"The motion would go to frame {last_frame(take.motion, assignment.start_frame)}, and Blender's "
                    f"timeline ends at {LAST_FRAME}. Start earlier, or choose a lower frame rate."
                )
        for target in assignment.targets:
            for take in assignment.takes:
                check_basis(target, take.motion.basis, CONVERT_MOTION)
                names = take.motion.expression_names if target.character is None else ()
                if names and not set(names) & set(target.keys):
                    raise UserError(f"The motion names none of the expressions of “{target.mesh.name}”.")
            target.make_editable()
            check_exchangeable(target)
    shown: list[tuple[bpy.types.ID, bpy.types.Action, bool]] = []
    result: list[list[list[bpy.types.Action]]] = []
    with all_or_nothing(_moved(assignments)):
        for assignment in assignments:
            result.append([])
            for take in assignment.takes:
                result[-1].append([])
                for target in assignment.targets:
                    actions: list[tuple[bpy.types.ID, bpy.types.Action]] = []
                    for block, suffix, curves in take_curves(target, take.motion, head_bone, strength, parts):
                        name = action_name(take.name, suffix)
                        action = write_action(name, block, curves, assignment.start_frame)
                        result[-1][-1].append(action)
                        actions.append((block, action))
                        if parts != frozenset(PARTS):
                            _keep_others(block, action, curves)
                        mark(action, take.motion.provenance)
                        if len(result[-1]) == 1:
                            shown.append((block, action, target.layers(block)))
                    if take.raw is not None and actions:
                        keyed = KeyedAs(assignment.start_frame, head_bone, strength, parts, take.motion.fps)
                        record.store(target, actions, take.name, take.raw, take.source, keyed)
        for block, action, layered in shown:
            show_action(block, action, layered)
    return result


def _moved(assignments: Sequence[Assignment]) -> Iterator[tuple[bpy.types.ID, list[Place]]]:
    """The data-blocks that are about to show something else, with what their present Actions move."""
    for assignment in assignments:
        for target in assignment.targets:
            for block in target.blocks:
                shown = block.animation_data.action if block.animation_data is not None else None
                curves = action_curves(shown) if shown is not None else ()
                yield block, [(curve.data_path, curve.array_index) for curve in curves]


def check_head_bone(name: str) -> None:
    """Raise UserError unless the head rotation can go to the bone of this name."""
    if name not in ("neck", "root"):
        raise UserError(f"The head rotation goes to the “neck” or the “root”, not to “{name}”.")


def check_exchangeable(target: Target) -> None:
    """Raise UserError while the NLA editor holds the target's Action."""
    for block in target.blocks:
        if block.animation_data is not None and block.animation_data.use_tweak_mode:
            raise UserError(f"“{block.name}” is in the NLA editor's tweak mode. Leave tweak mode first.")


def write_action(
    name: str, block: bpy.types.ID, curves: Sequence[Curve], start_frame: float
) -> bpy.types.Action:
    """Make an Action with all `curves`, one key a frame from `start_frame` on.

    Keys are Bezier with automatic handles: they can be edited, thinned and moved like keys set by hand.

    Args:
        block: what it is to animate; it is not assigned yet.
    """
    action = bpy.data.actions.new(name)
    try:
        _write_curves(_curve_container(action, block), curves, start_frame)
    except BaseException:
        bpy.data.actions.remove(action)
        raise
    action.use_fake_user = True  # a take that no object shows must outlive the file's saving
    return action


def add_curves(action: bpy.types.Action, curves: Sequence[Curve], start_frame: float) -> None:
    """Write more `curves` into an Action that `write_action` made."""
    _write_curves(next(curve_containers(action)), curves, start_frame)


def _write_curves(container: Any, curves: Sequence[Curve], start_frame: float) -> None:
    enum = bpy.types.Keyframe.bl_rna.properties
    bezier = enum["interpolation"].enum_items["BEZIER"].value
    handle = enum["handle_left_type"].enum_items["AUTO_CLAMPED"].value
    count = len(curves[0].values) if curves else 0
    points = np.empty((count, 2), np.float32)
    points[:, 0] = start_frame + np.arange(count)
    interpolations = np.full(count, bezier, np.int32)
    handles = np.full(count, handle, np.int32)
    groups: dict[str, bpy.types.ActionGroup] = {group.name: group for group in container.groups}
    for curve in curves:
        fcurve = container.fcurves.new(curve.data_path, index=curve.index)
        if curve.group not in groups:
            groups[curve.group] = container.groups.new(curve.group)
        fcurve.group = groups[curve.group]
        keys = fcurve.keyframe_points
        keys.add(count)
        points[:, 1] = curve.values
        keys.foreach_set("co", points.ravel())
        keys.foreach_set("interpolation", interpolations)
        keys.foreach_set("handle_left_type", handles)
        keys.foreach_set("handle_right_type", handles)
        fcurve.update()


def append_keys(container: Any, curve: Curve, start_frame: float) -> None:
    """Add keys at the end of a curve, one a frame; straight between them, so that the keys before are not touched.

    Args:
        container: what holds the Action's curves; one that it lacks is made.
    """
    fcurve = container.fcurves.find(curve.data_path, index=curve.index)
    if fcurve is None:
        fcurve = container.fcurves.new(curve.data_path, index=curve.index)
    keys = fcurve.keyframe_points
    known = len(keys)
    keys.add(len(curve.values))
    for number, value in enumerate(curve.values.tolist()):
        key = keys[known + number]
        key.co = start_frame + number, value
        key.interpolation = "LINEAR"


def _curve_container(action: bpy.types.Action, block: bpy.types.ID) -> Any:
    """What holds the curves and groups of a new Action.

    Its slot bears the data-block's name: by it Blender finds the slot when another take is chosen.
    """
    if not SLOTTED:
        action.id_root = block.id_type
        return action
    slot = action.slots.new(id_type=block.id_type, name=block.name)
    strip = action.layers.new("Layer").strips.new(type="KEYFRAME")
    return strip.channelbag(slot, ensure=True)


def curve_containers(action: bpy.types.Action) -> Iterator[Any]:
    """What holds the curves of an Action: itself, or its channel bags."""
    if not SLOTTED:
        yield action
        return
    for layer in action.layers:
        for strip in layer.strips:
            yield from strip.channelbags


def action_curves(action: bpy.types.Action) -> Iterator[bpy.types.FCurve]:
    """All F-curves of an Action, in any version."""
    for container in curve_containers(action):
        yield from container.fcurves


def show_action(block: bpy.types.ID, action: bpy.types.Action, layered: bool = False) -> None:
    """Let `action` animate `block`; the Action before is kept.

    What an earlier generated Action moved and this one does not goes back to rest, lest the head freezes in
    whatever pose it had.

    Args:
        layered: on top of an Action that was not generated, which goes into the NLA editor.
    """
    animation = block.animation_data or block.animation_data_create()
    previous = animation.action
    if previous is not None and previous != action:
        previous.use_fake_user = True
        if previous.get("synthetic"):
            _rest(block, previous, action)
        elif layered:
            push_down(animation)
            animation.action_blend_type = "COMBINE"
    animation.action = action
    if SLOTTED:
        animation.action_slot = action.slots[0]


def push_down(animation: bpy.types.AnimData) -> bpy.types.NlaStrip:
    """Move the Action that `animation` shows into a new NLA track, where it plays on as it did."""
    action, slot = animation.action, getattr(animation, "action_slot", None)
    first = action.frame_range[0]
    animation.action = None
    track = animation.nla_tracks.new()
    track.name = action.name
    strip = track.strips.new(action.name, math.floor(first), action)
    if slot is not None:
        strip.action_slot = slot
    strip.frame_start, strip.frame_end = first, first + (strip.action_frame_end - strip.action_frame_start)
    strip.blend_type = animation.action_blend_type
    return strip


def played_actions(
    block: bpy.types.ID | None,
) -> Iterator[tuple[bpy.types.Action, tuple[float, float]]]:
    """The Actions that animate a data-block, with their first and last frames in the scene, the uppermost first.

    Its own one, then those of the NLA editor's tracks that are heard.
    """
    animation = block.animation_data if block is not None else None
    if animation is None:
        return
    solo = any(track.is_solo for track in animation.nla_tracks)
    if animation.action is not None and not solo:
        yield animation.action, tuple(animation.action.frame_range)
    for track in reversed(animation.nla_tracks):
        if animation.use_nla and not track.mute and (track.is_solo or not solo):
            for strip in track.strips:
                if strip.action is not None and not strip.mute:
                    yield strip.action, (strip.frame_start, strip.frame_end)


def unplayed_takes(blocks: Iterable[bpy.types.ID]) -> list[str]:
    """Sentences about generated Actions of data-blocks that the NLA editor does not play: muted, or another is solo."""
    texts: dict[str, None] = {}
    for block in blocks:
        animation = block.animation_data
        if animation is None:
            continue
        name = getattr(block, "user", block).name
        played = [action for action, _ in played_actions(block)]

        def unseen(action: bpy.types.Action | None, played: list[bpy.types.Action] = played) -> bool:
            return action is not None and bool(action.get("synthetic")) and action not in played

        if unseen(animation.action):
            solo = next(track.name for track in animation.nla_tracks if track.is_solo)
            text = f"“{name}” plays only its NLA track “{solo}”, which is set to Solo: its take is not seen."
            texts[text] = None
        for track in animation.nla_tracks:
            if any(unseen(strip.action) for strip in track.strips):
                texts[f"The NLA track “{track.name}” of “{name}” is muted: its take is not seen."] = None
    return list(texts)


def rest_block(block: bpy.types.ID, action: bpy.types.Action) -> None:
    """Let `block` show `action` no more; what it moved goes back to rest."""
    animation = block.animation_data
    if animation is not None and animation.action == action:
        _rest(block, action, None)
        animation.action = None


def _rest(block: bpy.types.ID, previous: bpy.types.Action, action: bpy.types.Action | None) -> None:
    """Set to 0 what `previous` animates and `action` does not."""
    own = action_curves(action) if action is not None else ()
    kept = {(curve.data_path, curve.array_index) for curve in own}
    for curve in action_curves(previous):
        if (curve.data_path, curve.array_index) in kept:
            continue
        if curve.data_path.endswith(("rotation_euler", ".location")):
            block.path_resolve(curve.data_path)[curve.array_index] = 0.0
        elif curve.data_path.endswith("rotation_quaternion"):
            block.path_resolve(curve.data_path)[curve.array_index] = float(curve.array_index == 0)
        elif curve.data_path.endswith(".value"):
            block.path_resolve(curve.data_path.removesuffix(".value")).value = 0.0


def _keep_others(block: bpy.types.ID, action: bpy.types.Action, curves: Sequence[Curve]) -> None:
    """Copy into a new Action what the one that `block` shows has of other channels, key by key."""
    shown = block.animation_data.action if block.animation_data is not None else None
    if shown is None:
        return
    own = {(curve.data_path, curve.index) for curve in curves}
    container = next(curve_containers(action))
    for curve in action_curves(shown):
        if (curve.data_path, curve.array_index) not in own:
            copy_curve(curve, container.fcurves.new(curve.data_path, index=curve.array_index))


def copy_curve(curve: bpy.types.FCurve, into: bpy.types.FCurve) -> None:
    """Copy the keys, handles and behaviour of a curve into an empty one."""
    count = len(curve.keyframe_points)
    into.keyframe_points.add(count)
    for name, width in (("co", 2), ("handle_left", 2), ("handle_right", 2)):
        values = np.empty(width * count, np.float32)
        curve.keyframe_points.foreach_get(name, values)
        into.keyframe_points.foreach_set(name, values)
    for name in ("interpolation", "easing", "handle_left_type", "handle_right_type", "type"):
        kinds = np.empty(count, np.int32)
        curve.keyframe_points.foreach_get(name, kinds)
        into.keyframe_points.foreach_set(name, kinds)
    into.extrapolation, into.mute, into.lock = curve.extrapolation, curve.mute, curve.lock
    into.update()


def take_curves(
    target: Target, motion: Motion, head_bone: str, strength: float, parts: frozenset[str] = frozenset(PARTS)
) -> Iterator[tuple[bpy.types.ID, str, list[Curve]]]:
    """The data-blocks to animate: (block, suffix of the Action's name, curves)."""
    if target.character is not None:
        yield from character_curves(target.character, motion, target.jaw_open_angle, strength, parts)
        return
    names = motion.expression_names or target.expressions
    columns = {name: e for e, name in enumerate(names)}
    shape_keys = target.mesh.data.shape_keys
    values = [
        (key, motion.exp[:, columns[name]])
        for name, key in target.keys.items()
        if name in columns and part_of(name) in parts
    ]
    curves = [
        Curve(shape_keys.key_blocks[key].path_from_id("value"), 0, "Shape Keys", column)
        for key, column in values
    ]
    if curves:
        yield shape_keys, "", curves
    if target.rig is not None:
        bones = _bone_curves(target.rig, "jaw", motion.jaw) if "LIPS" in parts else []
        if motion.has_head and strength > 0 and "HEAD" in parts:
            bones += _bone_curves(target.rig, head_bone, motion.head * strength)
        if bones:
            yield target.rig, " bones", bones


def _bone_curves(rig: bpy.types.Object, bone: str, rotations: np.ndarray) -> list[Curve]:
    """Curves of one bone of our own heads, whose axes are the motion's, from (T, 3) axis-angle rotations."""
    if bone not in rig.pose.bones:  # the target's warnings say so
        return []
    return [
        Curve(path, index, bone, values)
        for path, index, values in bones.rotation_curves(rig.pose.bones[bone], rotations)
    ]


def action_name(take: str, suffix: str) -> str:
    """Fit a take's name into Blender's limit; the recording's name gives way, the take's number does not."""
    stem, separator, number = take.rpartition(" · ")
    room = NAME_BYTES - len((separator + number + suffix).encode())
    return stem.encode()[:room].decode(errors="ignore") + separator + number + suffix


def mark(action: bpy.types.Action, provenance: dict[str, Any]) -> None:
    """Store where the motion comes from as the Action's custom properties."""
    for name in PROVENANCE_KEYS:
        if name in provenance and provenance[name] is not None:
            value = provenance[name]
            plain = isinstance(value, bool | str | float) or (isinstance(value, int) and abs(value) < 2**31)
            action[name] = value if plain else json.dumps(value, ensure_ascii=False)


def last_frame(motion: Motion, start_frame: float) -> int:
    """Frame of the last key of `motion` when it starts at `start_frame`."""
    return math.ceil(start_frame + len(motion.exp) - 1)
