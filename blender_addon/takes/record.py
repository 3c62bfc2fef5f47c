# SPDX-License-Identifier: GPL-3.0-or-later
"""What a take is beside its keys: its motion as it was made, what made it, and which Actions belong to it.

It is kept on the take's first Action, because Actions are local even where the character is linked. The
objects are found again by a mark of their own, else by their names.
"""

import json
import math
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import bpy

from ..data.motion import Motion
from ..data.motion_text import motion_to_text
from ..faces.targets import Target

FPS = 25.0  # of the frames in which a take tells where its lines begin
MARK = "diffposetalk_id"  # custom property of objects that have takes


@dataclass(frozen=True)
class KeyedAs:
    """How a take's motion became keys.

    start_frame: scene frame of the motion's beginning.
    head_bone, strength, parts: as `keying.key_takes` takes them.
    fps: the scene's frame rate.
    stretch: factor of the motion's length.
    """

    start_frame: float
    head_bone: str = "neck"
    strength: float = 1.0
    parts: frozenset[str] = frozenset(("LIPS", "UPPER", "HEAD"))
    fps: float = 25.0
    stretch: float = 1.0

    def is_like(self, other: "KeyedAs") -> bool:
        """Whether both are the same but for what a property of Blender's rounds."""
        numbers = [(k.start_frame, k.strength, k.fps, k.stretch) for k in (self, other)]
        same = all(math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-6) for a, b in zip(*numbers, strict=True))
        return same and (self.head_bone, self.parts) == (other.head_bone, other.parts)


def store(
    target: Target,
    actions: Sequence[tuple[bpy.types.ID, bpy.types.Action]],
    title: str,
    raw: Motion,
    source: dict[str, Any],
    keyed: KeyedAs,
) -> None:
    """Keep a take's data on its first Action.

    Args:
        actions: the take's Actions with the data-blocks that they animate.
        raw: the motion as it was made.
        source: what it was made from: audio, start and length in seconds, style and the like.
    """
    take = actions[0][1].diffposetalk
    take.id, take.title = uuid.uuid4().hex, title
    owner = target.owner
    take.owner_mark, take.owner = _marked(owner), owner.name
    take.raw, take.source = motion_to_text(raw), json.dumps(source, ensure_ascii=False)
    write_keyed(take, keyed)
    objects = {item.data.shape_keys: item for item in _objects(target) if item.type == "MESH"}
    for number, (block, action) in enumerate(actions):
        part = take.parts.add()
        item = objects.get(block, block)
        part.mark, part.object = _marked(item), item.name
        part.is_keys = isinstance(block, bpy.types.Key)
        if number:
            part.action = action
            action.diffposetalk.part_of = take.id


def write_keyed(take: bpy.types.PropertyGroup, keyed: KeyedAs) -> None:
    take.start_frame, take.head_bone, take.strength = keyed.start_frame, keyed.head_bone, keyed.strength
    take.keyed_parts, take.fps, take.keyed_stretch = ",".join(sorted(keyed.parts)), keyed.fps, keyed.stretch


def read_keyed(take: bpy.types.PropertyGroup) -> KeyedAs:
    """How a take's motion became keys."""
    parts = frozenset(take.keyed_parts.split(","))
    return KeyedAs(take.start_frame, take.head_bone, take.strength, parts, take.fps, take.keyed_stretch)


def runs_at(keyed: KeyedAs, fps: float) -> bool:
    """Whether a take's keys are made for a scene of `fps` frames per second."""
    return math.isclose(keyed.fps, fps, rel_tol=1e-4)


def source_of(take: bpy.types.PropertyGroup) -> dict[str, Any]:
    """What a take was made from; empty where that is not known."""
    try:
        source = json.loads(take.source or "{}")
    except ValueError:
        return {}
    return source if isinstance(source, dict) else {}


def _objects(target: Target) -> list[bpy.types.Object]:
    if target.character is not None:
        return list(target.character.objects)
    return [item for item in (target.mesh, target.rig) if item is not None]


def _marked(item: bpy.types.ID) -> str:
    if MARK not in item:
        item[MARK] = uuid.uuid4().hex
    return str(item[MARK])


def is_take(action: bpy.types.Action) -> bool:
    """Whether an Action is the first of a take."""
    return action.is_property_set("diffposetalk") and bool(action.diffposetalk.id)


def version(action: bpy.types.Action) -> str:
    """Number or first frame, and seed of a take, as short as can be; empty where it was not generated."""
    match = re.fullmatch(r".* · (take|from) (\S+) \(seed (\d+)\)", action.diffposetalk.title, re.DOTALL)
    if match is None:
        return ""
    return f"{match[2]} · seed {match[3]}" if match[1] == "take" else f"from {match[2]} · seed {match[3]}"


def takes_of(owner: bpy.types.Object) -> list[bpy.types.Action]:
    """The takes of a head or character, by their first Actions."""
    return [action for action in bpy.data.actions if is_take(action) and belongs_to(action, owner)]


def belongs_to(action: bpy.types.Action, owner: bpy.types.Object) -> bool:
    """Whether a take is one of this head or character."""
    take = action.diffposetalk
    return take.owner_mark == owner[MARK] if MARK in owner else take.owner == owner.name


def take_blocks(action: bpy.types.Action, target: Target) -> Iterator[tuple[bpy.types.ID, bpy.types.Action]]:
    """The data-blocks of a target that a take animates, with the Actions for them; those that are gone are left out."""
    items = _objects(target)
    for number, part in enumerate(action.diffposetalk.parts):
        shown = action if number == 0 else part.action
        item = _found(items, part)
        if item is None or shown is None:
            continue
        if not part.is_keys:
            yield item, shown
        elif item.type == "MESH" and item.data.shape_keys is not None:
            yield item.data.shape_keys, shown


def _found(items: Sequence[bpy.types.Object], part: bpy.types.PropertyGroup) -> bpy.types.Object | None:
    marked = next((item for item in items if item.get(MARK) == part.mark), None)
    return marked or next((item for item in items if item.name == part.object), None)


def take_actions(action: bpy.types.Action) -> list[bpy.types.Action]:
    """All Actions of a take, the first one first."""
    return [action, *(part.action for part in action.diffposetalk.parts if part.action is not None)]
