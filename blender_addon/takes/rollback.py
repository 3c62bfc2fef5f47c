# SPDX-License-Identifier: GPL-3.0-or-later
"""What data-blocks show, noted and shown again; changes to animation that happen wholly or not at all.

Data-blocks are looked up by their session ids each time, because undo may replace them.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import bpy

from .record import MARK

Place = tuple[str, int]  # data path and index of a curve
Value = tuple[str, int, float]  # and what stands there


@dataclass(frozen=True)
class Shown:
    """What a data-block shows: its Action and slot, the number of its NLA tracks, and values that may be moved."""

    animated: bool
    action: int | None  # session id
    slot: str
    blend: str
    tracks: int
    values: tuple[Value, ...]


def values_at(block: bpy.types.ID, places: Iterable[Place]) -> tuple[Value, ...]:
    """The numbers at some places of a data-block; those that are not there are left out."""
    values = []
    for path, index in places:
        with contextlib.suppress(ValueError, KeyError, IndexError, TypeError):
            value = block.path_resolve(path)
            values.append((path, index, float(value if isinstance(value, int | float) else value[index])))
    return tuple(values)


def shown_by(block: bpy.types.ID, places: Iterable[Place]) -> Shown:
    """What a data-block shows now, with its values at `places`."""
    values, animation = values_at(block, places), block.animation_data
    if animation is None:
        return Shown(False, None, "", "REPLACE", 0, values)
    slot = getattr(animation, "action_slot", None)
    return Shown(
        True,
        None if animation.action is None else animation.action.session_uid,
        "" if slot is None else slot.identifier,
        animation.action_blend_type,
        len(animation.nla_tracks),
        values,
    )


def show_again(block: bpy.types.ID, shown: Shown) -> None:
    """Let a data-block show what it did; NLA tracks stay as they are."""
    animation = block.animation_data
    if animation is not None:
        animation.action = next((a for a in bpy.data.actions if a.session_uid == shown.action), None)
        if animation.action is not None and shown.slot:
            slots = animation.action.slots
            animation.action_slot = next((slot for slot in slots if slot.identifier == shown.slot), None)
        animation.action_blend_type = shown.blend
        if not shown.animated and not animation.drivers and animation.action is None:
            block.animation_data_clear()
    set_values(block, shown.values)


def set_values(block: bpy.types.ID, values: Iterable[Value]) -> None:
    """Set numbers of a data-block; those that are not there are left out."""
    for path, index, value in values:
        with contextlib.suppress(ValueError, KeyError, IndexError, TypeError, AttributeError):
            _set_value(block, path, index, value)


def _set_value(block: bpy.types.ID, path: str, index: int, value: float) -> None:
    owner, dot, name = path.rpartition(".")
    if path.endswith("]"):
        owner, _, name = path.rpartition("[")
        (block.path_resolve(owner) if owner else block)[name.rstrip("]").strip('"')] = value
        return
    holder = block.path_resolve(owner) if dot else block
    if isinstance(getattr(holder, name), int | float):
        setattr(holder, name, value)
    else:
        getattr(holder, name)[index] = value


@contextlib.contextmanager
def all_or_nothing(blocks: Iterable[tuple[bpy.types.ID, Iterable[Place]]]) -> Iterator[None]:
    """Let the body make Actions and show them; when it raises, nothing of it stays.

    Args:
        blocks: the data-blocks that it animates, with the places of the values that it may move.
    """
    before = {block.session_uid: shown_by(block, places) for block, places in blocks}
    actions = {action.session_uid: action.use_fake_user for action in bpy.data.actions}
    marked = {item.session_uid for item in bpy.data.objects if MARK in item}
    try:
        yield
    except BaseException:
        for block in animated_blocks():
            shown = before.get(block.session_uid)
            if shown is None:
                continue
            if block.animation_data is not None:
                for track in list(block.animation_data.nla_tracks)[shown.tracks :]:
                    block.animation_data.nla_tracks.remove(track)
            show_again(block, shown)
        for action in list(bpy.data.actions):
            if action.session_uid not in actions:
                bpy.data.actions.remove(action)
            else:
                action.use_fake_user = actions[action.session_uid]
        for item in bpy.data.objects:
            if MARK in item and item.session_uid not in marked:
                del item[MARK]
        raise


def animated_blocks() -> Iterator[bpy.types.ID]:
    yield from bpy.data.shape_keys
    yield from bpy.data.objects
