# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes as layers: into the NLA editor, over other animation; and with fewer keys within an error in millimetres."""

from collections.abc import Iterator

import bpy
import numpy as np

from ..data.errors import UserError
from ..faces.lips import coordinates
from ..faces.targets import Target
from . import keying, record, showing

BLENDS = ("COMBINE", "ADD", "REPLACE")
LEAST_REACH = 1e-7  # metres a unit: a channel that moves nothing needs no keys but its ends


def push_to_nla(action: bpy.types.Action, target: Target, blend: str = "COMBINE") -> list[bpy.types.NlaStrip]:
    """Move a take's Actions into NLA tracks of their own, on top of those that are there.

    Args:
        blend: one of BLENDS, how the strips are added to what lies below.

    Raises:
        UserError: the take is not shown, or the NLA editor holds it.
    """
    if blend not in BLENDS:
        raise UserError(f"The blend is one of {', '.join(BLENDS)}, not “{blend}”.")
    keying.check_exchangeable(target)
    strips = []
    for block, part in record.take_blocks(action, target):
        animation = block.animation_data
        if animation is None or animation.action != part:
            continue
        animation.action_blend_type = "REPLACE"
        strip = keying.push_down(animation)
        strip.blend_type = blend
        strips.append(strip)
    if not strips:
        raise UserError(f"“{action.name}” is not shown: choose it under Takes first.")
    return strips


def reduce_keys(action: bpy.types.Action, bound: float) -> tuple[int, int]:
    """Leave out keys of a take where Bezier curves through the others stay within an error.

    The error of a channel is how far it moves the vertex that it moves most. That of all channels together may
    add up where they move the same one: the bound is divided among the channels that move at the same place.
    Keys made by hand stay. Adjusting the take afterwards writes every frame's key again.

    Args:
        bound: largest error in millimetres.

    Returns:
        Numbers of keys before and after.

    Raises:
        UserError: the bound is not positive, or the character is gone.
    """
    if not bound > 0:
        raise UserError("The largest error must be greater than zero.")
    target = showing.target_of(showing.owner_of_take(action))
    by_hand = {(edit.data_path, round(edit.frame, 3)) for edit in showing.hand_edits(action, target)}
    before = after = 0
    for block, part in record.take_blocks(action, target):
        reaches = dict(_reaches(block, part, target))
        for curve in keying.action_curves(part):
            reach = reaches.get((curve.data_path, curve.array_index), 0.0)
            keys = np.empty((len(curve.keyframe_points), 2), np.float32)
            curve.keyframe_points.foreach_get("co", keys.ravel())
            before += len(keys)
            if curve.lock or len(keys) < 3:
                after += len(keys)
                continue
            allowed = bound / 1000.0 / max(reach, LEAST_REACH)
            fixed = [i for i, key in enumerate(keys) if (curve.data_path, round(float(key[0]), 3)) in by_hand]
            kept, slopes = bezier_keys(keys.astype(np.float64), allowed, fixed)
            _write_bezier(curve, keys[kept], slopes)
            after += len(kept)
    action.diffposetalk.reduced = True  # the next change writes every frame's key again
    return before, after


def bezier_keys(
    keys: np.ndarray, allowed: float, fixed: list[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Which keys a curve needs, and its slope at each.

    From the first key on, the longest stretch whose cubic Hermite curve stays within `allowed` of all keys left out,
    then on from its end.

    Args:
        keys: (K, 2) frames and values.
        fixed: indices that must stay.

    Returns:
        Indices (N,) and slopes (N,) in value per frame.
    """
    frames, values = keys[:, 0], keys[:, 1]
    slopes = np.gradient(values, frames)
    stops = sorted({*(fixed or ()), len(keys) - 1} - {0})
    kept = [0]
    for stop in stops:
        while kept[-1] < stop:
            first = kept[-1]
            low, high, step = first + 1, first + 1, 1
            while high < stop and _fits(frames, values, slopes, first, min(stop, first + 2 * step), allowed):
                step *= 2
                low = high = min(stop, first + step)
            high = min(stop, first + 2 * step)
            while high - low > 1:  # the longest that fits lies between
                middle = (low + high) // 2
                if _fits(frames, values, slopes, first, middle, allowed):
                    low = middle
                else:
                    high = middle
            kept.append(low)
    chosen = np.array(kept)
    return chosen, slopes[chosen]


def _fits(
    frames: np.ndarray, values: np.ndarray, slopes: np.ndarray, first: int, last: int, allowed: float
) -> bool:
    """Whether one cubic from key `first` to key `last` stays within `allowed` of the keys between."""
    length = frames[last] - frames[first]
    t = (frames[first + 1 : last] - frames[first]) / length
    shown = (
        (1 + 2 * t) * (1 - t) ** 2 * values[first]
        + t * (1 - t) ** 2 * length * slopes[first]
        + t**2 * (3 - 2 * t) * values[last]
        + t**2 * (t - 1) * length * slopes[last]
    )
    return not len(t) or float(np.abs(shown - values[first + 1 : last]).max()) <= allowed


def _write_bezier(curve: bpy.types.FCurve, keys: np.ndarray, slopes: np.ndarray) -> None:
    """Write keys with handles a third of the way to their neighbours, along the slopes."""
    points = curve.keyframe_points
    points.clear()
    points.add(len(keys))
    gaps = np.diff(keys[:, 0])
    before = np.concatenate([gaps[:1], gaps]) / 3 if len(gaps) else np.ones(1)
    after = np.concatenate([gaps, gaps[-1:]]) / 3 if len(gaps) else np.ones(1)
    enum = bpy.types.Keyframe.bl_rna.properties
    points.foreach_set("co", keys.astype(np.float32).ravel())
    bezier = enum["interpolation"].enum_items["BEZIER"].value
    points.foreach_set("interpolation", np.full(len(keys), bezier, np.int32))
    for name, lengths in (("handle_left", -before), ("handle_right", after)):
        kind = enum[f"{name}_type"].enum_items["FREE"].value
        points.foreach_set(f"{name}_type", np.full(len(keys), kind, np.int32))
        handles = np.column_stack([keys[:, 0] + lengths, keys[:, 1] + lengths * slopes])
        points.foreach_set(name, handles.astype(np.float32).ravel())
    curve.update()


def _reaches(
    block: bpy.types.ID, action: bpy.types.Action, target: Target
) -> Iterator[tuple[tuple[str, int], float]]:
    """How far each curve of an Action moves the vertex that it moves most, in metres for each unit of its value."""
    paths = {(curve.data_path, curve.array_index) for curve in keying.action_curves(action)}
    if isinstance(block, bpy.types.Key):
        scale = _scale(target.mesh)
        rest = coordinates(block.reference_key.data)
        moves = {}
        for key in block.key_blocks:
            path = (key.path_from_id("value"), 0)
            if path in paths:
                moves[path] = np.linalg.norm(coordinates(key.data) - rest, axis=1) * scale
        together = np.sum(list(moves.values()), axis=0) if moves else np.zeros(1)
        for path, distances in moves.items():
            most = int(np.argmax(distances))
            # what moves one vertex together shares its error
            yield path, float(together[most]) if distances[most] > LEAST_REACH else 0.0
        return
    if not isinstance(block, bpy.types.Object):
        return
    scale = _scale(block)
    reach = 3.0 * _lever(target) * scale  # three angles of up to two bones at once
    known = {"rotation_euler": reach, "rotation_quaternion": 2.0 * reach, "location": 3.0 * scale}
    for path, index in paths:
        yield (path, index), next((far for end, far in known.items() if path.endswith(end)), scale)


def _scale(item: bpy.types.Object) -> float:
    return max(abs(value) for value in item.matrix_world.to_scale())


def _lever(target: Target) -> float:
    """Size of the face in the armature's units: how far a vertex may be from a bone that turns it."""
    if target.mesh.type != "MESH":
        return 0.3
    corners = np.array(target.mesh.bound_box)
    return float(np.linalg.norm(np.ptp(corners, axis=0)))
