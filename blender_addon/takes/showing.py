# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes: showing one, changing it after it was made, deleting it.

A change starts from the motion as it was made. Keys that were set, moved or changed by hand are told from
generated ones by their values, and stay as they are.
"""

import contextlib
import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import bpy
import numpy as np

from ..data import adjustment, arkit, bundled
from ..data.adjustment import Adjustment
from ..data.errors import UserError
from ..data.motion import Motion, resample_motion
from ..data.motion_text import motion_from_text, motion_to_text
from ..faces.character import Curve
from ..faces.targets import Target, find_target, find_targets
from . import heard, keying, record
from .record import KeyedAs, is_take, read_keyed, take_actions, take_blocks, takes_of

SAME_VALUE = 2e-5  # of a key that nobody has changed: float32 keeps values of a few units to 1e-6
SAME_FRAME = 1e-3

Values = dict[tuple[str, int], np.ndarray]  # (data path, index) to the (T,) values of its keys

_written: dict[str, tuple[str, dict[str, Values]]] = {}  # by take: what was applied, and the values by object
_quiet = False


def shown_take(owner: bpy.types.Object, target: Target | None = None) -> bpy.types.Action | None:
    """The take that a head or character shows now, or None."""
    target = target or target_of(owner)
    for action in takes_of(owner):
        for block, part in take_blocks(action, target):
            if block.animation_data is not None and block.animation_data.action == part:
                return action
    return None


def target_of(item: bpy.types.Object) -> Target:
    """What of an object can be keyed. Raises UserError."""
    return find_target(item, bundled.bundled_jaw_open_angle())


def targets_of(items: Sequence[bpy.types.Object]) -> list[Target]:
    """What of some objects can be keyed. Raises UserError."""
    return find_targets(items, bundled.bundled_jaw_open_angle())


def show_take(action: bpy.types.Action, target: Target) -> None:
    """Let a take animate its head or character; the one before is kept.

    Raises:
        UserError: the NLA editor holds one of the Actions.
    """
    keying.check_exchangeable(target)
    before = shown_take(target.owner, target)
    blocks = dict(take_blocks(action, target))
    if before is not None:
        for block, part in take_blocks(before, target):
            if block not in blocks:
                keying.rest_block(block, part)
    for block, part in blocks.items():
        keying.show_action(block, part, target.layers(block))
    heard.follow_takes()


def delete_take(action: bpy.types.Action, target: Target) -> None:
    """Remove a take for good; another one is shown if it was the one that was."""
    others = [other for other in takes_of(target.owner) if other != action]
    if shown_take(target.owner, target) == action:
        if others:
            show_take(others[0], target)
        else:
            for block, part in take_blocks(action, target):
                keying.rest_block(block, part)
    _written.pop(action.diffposetalk.id, None)
    for part in reversed(take_actions(action)):
        bpy.data.actions.remove(part)
    heard.follow_takes()


def adjustment_of(action: bpy.types.Action) -> Adjustment:
    """The changes that a take's properties ask for."""
    return Adjustment(**{name: getattr(action.diffposetalk, name) for name in adjustment.NAMES})


def set_adjustment(action: bpy.types.Action, change: Adjustment) -> None:
    """Set a take's properties, and apply them once. Raises UserError."""
    with _quietly():
        for name in adjustment.NAMES:
            setattr(action.diffposetalk, name, getattr(change, name))
    apply(action)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    global _quiet
    before, _quiet = _quiet, True
    try:
        yield
    finally:
        _quiet = before


def apply_unless_quiet(action: bpy.types.Action) -> None:
    """Apply a take's changes, where they are not being set one after another. Raises UserError."""
    if not _quiet and is_take(action):
        apply(action)


def owner_of_take(action: bpy.types.Action) -> bpy.types.Object:
    """The head or character of a take.

    Raises:
        UserError: it is gone.
    """
    take = action.diffposetalk
    marked = [item for item in bpy.data.objects if item.get(record.MARK) == take.owner_mark]
    marked.sort(key=lambda item: item.library is not None)
    owner = marked[0] if marked else bpy.data.objects.get(take.owner)
    if owner is None:
        raise UserError(
            f"The character “{take.owner}” of the take “{take.title}” is not in this file any more."
        )
    return owner


def laid_out(target: Target, raw: Motion, change: Adjustment, keyed: KeyedAs) -> dict[str, Values]:
    """The keys of a take with its changes, by data-block."""
    motion = adjustment.adjusted(raw, change)
    motion = resample_motion(motion, keyed.fps, change.time_offset, keyed.stretch)
    values: dict[str, Values] = {}
    for block, _, curves in keying.take_curves(target, motion, keyed.head_bone, keyed.strength, keyed.parts):
        values[_name(block)] = {(curve.data_path, curve.index): curve.values for curve in curves}
    return values


def _name(block: bpy.types.ID) -> str:
    return f"{block.bl_rna.identifier} {block.name}"


def _state(change: Adjustment, keyed: KeyedAs) -> str:
    """What tells whether values that are remembered are those of the keys."""
    plain = {**change.__dict__, **{**keyed.__dict__, "parts": sorted(keyed.parts)}}
    return json.dumps(plain, sort_keys=True)


def apply(action: bpy.types.Action, keyed: KeyedAs | None = None, raw: Motion | None = None) -> None:
    """Write a take's keys anew from its motion, its changes and how it is keyed; keys made by hand stay.

    Args:
        keyed: how it is keyed from now on; None is as before.
        raw: motion that takes the place of the take's; None is as before.

    Raises:
        UserError: the character or its motion is gone.
    """
    take = action.diffposetalk
    target = target_of(owner_of_take(action))
    old_raw, old_keyed, change = motion_from_text(take.raw), read_keyed(take), adjustment_of(action)
    keyed = keyed or old_keyed
    before = _values_before(action, target, old_raw, old_keyed)
    after = laid_out(target, raw or old_raw, change, keyed)
    start, old_start = keyed.start_frame, old_keyed.start_frame
    still = start == old_start and not take.reduced
    for block, part in take_blocks(action, target):
        name = _name(block)
        old, new = before.get(name, {}), after.get(name, {})
        curves = {(curve.data_path, curve.array_index): curve for curve in keying.action_curves(part)}
        for place, values in new.items():
            curve = curves.get(place)
            if curve is None:
                if place not in old:  # a channel that was still before
                    keying.add_curves(part, [Curve(*place, "Face", values)], start)
            elif not curve.lock and not (still and place in old and np.array_equal(old[place], values)):
                rewrite_curve(curve, old_start, old.get(place), start, values, take.reduced)
    if raw is not None:
        take.raw = motion_to_text(raw)
    record.write_keyed(take, keyed)
    take.applied, take.reduced = json.dumps(change.__dict__), False
    _written[take.id] = (_state(change, keyed) + str(hash(take.raw)), after)


def _values_before(
    action: bpy.types.Action, target: Target, raw: Motion, keyed: KeyedAs
) -> dict[str, Values]:
    """The values that were last written: remembered, or computed again after an undo or a reload."""
    take = action.diffposetalk
    applied = Adjustment(**json.loads(take.applied)) if take.applied else Adjustment()
    state, values = _written.get(take.id, ("", {}))
    if state == _state(applied, keyed) + str(hash(take.raw)):
        return values
    return laid_out(target, raw, applied, keyed)


def rewrite_curve(
    curve: bpy.types.FCurve,
    old_start: float,
    old: np.ndarray | None,
    start: float,
    values: np.ndarray,
    anew: bool = False,
) -> None:
    """Replace a curve's generated keys; those made by hand stay.

    Args:
        old_start, old: first frame and (T,) values of the keys that were generated; None: all were made by hand.
        start, values: those of the new ones.
        anew: write one key for each frame again, whatever keys there were.
    """
    points = curve.keyframe_points
    count = len(points)
    keys = np.empty((count, 2), np.float32)
    points.foreach_get("co", keys.ravel())
    # The common case, quickly.
    if old is not None and count == len(old) == len(values) and start == old_start:
        frames = (start + np.arange(count)).astype(np.float32)
        if (keys[:, 0] == frames).all() and (np.abs(keys[:, 1] - old) <= SAME_VALUE).all():
            keys[:, 1] = values
            points.foreach_set("co", keys.ravel())
            curve.update()
            return
    generated, index = generated_keys(keys, old_start, old)
    if old is not None and not anew and len(old) == len(values) and abs(start - old_start) < SAME_FRAME:
        keys[generated, 1] = values[index[generated]]
        points.foreach_set("co", keys.ravel())
        curve.update()
        return
    by_hand = keys[~generated]
    frames = start + np.arange(len(values))
    free = np.abs(frames[:, None] - by_hand[None, :, 0]).min(axis=1, initial=np.inf) > 0.5
    known = old is not None and count > 0  # else all its keys were made or deleted by hand
    new_keys = np.column_stack([frames[free], values[free]]) if known else np.empty((0, 2))
    together = np.concatenate([new_keys, by_hand]).astype(np.float32)
    kinds = np.concatenate([_default_kinds(len(new_keys)), _key_kinds(curve)[~generated]])
    order = np.argsort(together[:, 0], kind="stable")
    points.clear()
    points.add(len(together))
    points.foreach_set("co", together[order].ravel())
    for column, name in enumerate(_KINDS):
        points.foreach_set(name, np.ascontiguousarray(kinds[order, column]))
    curve.update()


_KINDS = ("interpolation", "handle_left_type", "handle_right_type")


def _key_kinds(curve: bpy.types.FCurve) -> np.ndarray:
    """(K, 3) interpolation and handle types of a curve's keys."""
    kinds = np.empty((len(curve.keyframe_points), len(_KINDS)), np.int32)
    for column, name in enumerate(_KINDS):
        one = np.empty(len(kinds), np.int32)
        curve.keyframe_points.foreach_get(name, one)
        kinds[:, column] = one
    return kinds


def _default_kinds(count: int) -> np.ndarray:
    enum = bpy.types.Keyframe.bl_rna.properties
    chosen = zip(_KINDS, ("BEZIER", "AUTO_CLAMPED", "AUTO_CLAMPED"), strict=True)
    row = [enum[name].enum_items[kind].value for name, kind in chosen]
    return np.tile(np.array(row, np.int32), (count, 1))


def generated_keys(
    keys: np.ndarray, start: float, values: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Which of (K, 2) keys are where and what they were generated as, and the index of each in `values`."""
    if values is None or not len(keys):
        return np.zeros(len(keys), bool), np.zeros(len(keys), int)
    at = keys[:, 0] - start
    index = np.rint(at).astype(int)
    inside = (np.abs(at - index) < SAME_FRAME * 4) & (index >= 0) & (index < len(values))
    index = np.clip(index, 0, len(values) - 1)
    close = np.abs(keys[:, 1] - values[index]) <= SAME_VALUE * (1 + np.abs(values[index]))
    return inside & close, index


@dataclass(frozen=True)
class HandEdit:
    """A key that was made by hand.

    channel: the motion's channel, "head" for the head's bones, "" where it cannot be told.
    change: by how much its value differs from the generated one, in the channel's own units.
    """

    data_path: str
    frame: float
    channel: str
    change: float


def hand_edits(action: bpy.types.Action, target: Target) -> list[HandEdit]:
    """The keys of a take that were made by hand. Raises UserError where the character is gone."""
    keyed = read_keyed(action.diffposetalk)
    before = _values_before(action, target, motion_from_text(action.diffposetalk.raw), keyed)
    edits: list[HandEdit] = []
    for block, part in take_blocks(action, target):
        old, channels = before.get(_name(block), {}), _channels(target, block)
        for curve in keying.action_curves(part):
            place = (curve.data_path, curve.array_index)
            if place not in old:
                continue
            keys = np.empty((len(curve.keyframe_points), 2), np.float32)
            curve.keyframe_points.foreach_get("co", keys.ravel())
            generated, _ = generated_keys(keys, keyed.start_frame, old[place])
            channel, gain = channels.get(curve.data_path, ("", 1.0))
            for frame, value in keys[~generated].tolist():
                at = frame - keyed.start_frame
                expected = float(np.interp(at, np.arange(len(old[place])), old[place]))
                edits.append(HandEdit(curve.data_path, frame, channel, (value - expected) / gain))
    return edits


def with_hand_edits(action: bpy.types.Action, target: Target, motion: Motion) -> Motion:
    """A take's motion, with its changes but not stretched, and the keys made by hand of its expressions and jaw."""
    keyed, names = read_keyed(action.diffposetalk), list(motion.expression_names)
    exp, jaw = np.array(motion.exp), np.array(motion.jaw)
    for edit in hand_edits(action, target):
        frame = round((edit.frame - keyed.start_frame) / keyed.fps / keyed.stretch * motion.fps)
        if not 0 <= frame < len(exp):
            continue
        if edit.channel in names:
            exp[frame, names.index(edit.channel)] += edit.change
        elif edit.channel == arkit.JAW_OPEN and not edit.data_path.endswith("quaternion"):
            turned = edit.data_path.endswith("euler")  # radians; else a key, of which 1 is wide open
            jaw[frame, 0] += edit.change * (1.0 if turned else target.jaw_open_angle)
    return replace(motion, exp=np.clip(exp, 0.0, 1.0) if motion.basis == "arkit" else exp, jaw=jaw)


def _channels(target: Target, block: bpy.types.ID) -> dict[str, tuple[str, float]]:
    """Data path to the channel that moves it, and its gain."""
    channels: dict[str, tuple[str, float]] = {}
    if target.character is None:
        if isinstance(block, bpy.types.Key):
            for name, key in target.keys.items():
                channels[block.key_blocks[key].path_from_id("value")] = (name, 1.0)
    else:
        objects = {item.name: item for item in target.character.objects}
        for row in target.character.rows:
            keys = getattr(objects[row.object].data, "shape_keys", None)
            if row.kind == "KEY" and keys == block and row.gain:
                channels[keys.key_blocks[row.target].path_from_id("value")] = (row.source, row.gain)
    if isinstance(block, bpy.types.Object) and block.type == "ARMATURE":
        jaw = "jaw" if target.character is None else target.character.bones.jaw
        for bone in block.pose.bones:
            channel = "jawOpen" if bone.name == jaw else "head"
            for name in ("rotation_euler", "rotation_quaternion"):
                channels[bone.path_from_id(name)] = (channel, 1.0)
    return channels


def duplicate(
    action: bpy.types.Action, target: Target, title: str, raw: Motion | None = None
) -> bpy.types.Action:
    """Copy a take with its changes and the keys made by hand.

    Args:
        raw: motion of the copy; None is the same.

    Returns:
        The copy's first Action.
    """
    copy = action.copy()
    copy.use_fake_user = True
    copy.name = keying.action_name(title, "")
    copy.diffposetalk.id, copy.diffposetalk.title = uuid.uuid4().hex, title
    copy.diffposetalk.rating = 0
    for part in copy.diffposetalk.parts:
        if part.action is not None:
            suffix = part.action.name.removeprefix(action.name)
            part.action = part.action.copy()
            part.action.use_fake_user = True
            part.action.name = keying.action_name(title, suffix if len(suffix) < 30 else "")
            part.action.diffposetalk.part_of = copy.diffposetalk.id
    if raw is not None:
        apply(copy, raw=raw)
        for part in take_actions(copy):
            keying.mark(part, raw.provenance)
    return copy


def retime(action: bpy.types.Action, start_frame: float, stretch: float, fps: float) -> None:
    """Move, stretch or resample a take; keys made by hand stay where they are. Raises UserError."""
    if not stretch > 0 or not fps > 0:
        raise UserError("A take's stretch and frame rate must be greater than zero.")
    keyed = read_keyed(action.diffposetalk)
    apply(action, replace(keyed, start_frame=start_frame, stretch=stretch, fps=fps))


def raw_motion(action: bpy.types.Action) -> Motion:
    """A take's motion as it was made. Raises UserError."""
    if not is_take(action):
        raise UserError(f"“{action.name}” is not a take of DiffPoseTalk.")
    return motion_from_text(action.diffposetalk.raw)


def changed_motion(action: bpy.types.Action, stretch: float = 1.0) -> Motion:
    """A take's motion with its changes, at the rate it was made at. Raises UserError."""
    raw, change = raw_motion(action), adjustment_of(action)
    return resample_motion(adjustment.adjusted(raw, change), raw.fps, change.time_offset, stretch)


def chosen_takes(items: Sequence[bpy.types.Object]) -> list[bpy.types.Action]:
    """The takes that the objects show. Raises UserError where one shows none."""
    takes: dict[bpy.types.Action, None] = {}
    for item in items:
        target = target_of(item)
        action = shown_take(target.owner, target)
        if action is None:
            raise UserError(f"“{item.name}” shows no take. Generate one, or choose one under Takes.")
        takes[action] = None
    return list(takes)
