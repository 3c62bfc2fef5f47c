# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a face with keys stands still, and what helps."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ..data.errors import UserError
from ..faces.character import moving_keys
from ..faces.targets import Target
from . import keying, record, showing


@dataclass(frozen=True)
class Obstacle:
    """Something that keeps a face from moving: a sentence, and what takes it away, where that can be done."""

    text: str
    remedy: Callable[[], None] | None = None


def find_obstacles(target: Target) -> list[Obstacle]:
    """What keeps a head or character from showing its keys, the most likely first."""
    return [*_of_takes(target), *_of_keys(target), *_of_curves(target)] + [
        Obstacle(text) for text in target.warnings
    ]


def _of_takes(target: Target) -> Iterator[Obstacle]:
    takes = record.takes_of(target.owner)
    if not takes:
        yield Obstacle(
            rpt_("“{name}” has no take: press Generate with it selected").format(name=target.owner.name)
        )
    elif showing.shown_take(target.owner, target) is None:
        text = rpt_("Another Action, or none, is shown instead of the take “{name}”")
        yield Obstacle(text.format(name=takes[0].name), partial(showing.show_take, takes[0], target))
    for block in target.blocks:
        animation = block.animation_data
        for track in animation.nla_tracks if animation is not None else ():
            actions = [strip.action for strip in track.strips if strip.action is not None]
            generated = any(action.get("synthetic") for action in actions)
            if generated and track.mute:
                text = rpt_("The NLA track “{name}” with a take is muted")
                yield Obstacle(text.format(name=track.name), partial(setattr, track, "mute", False))
            if track.is_solo and not generated:
                text = rpt_("Only the NLA track “{name}” is played (Solo)")
                yield Obstacle(text.format(name=track.name), partial(setattr, track, "is_solo", False))


def _of_keys(target: Target) -> Iterator[Obstacle]:
    meshes = [target.mesh] if target.character is None else list(target.character.objects)
    for mesh in meshes:
        keys = mesh.data.shape_keys if mesh.type == "MESH" else None
        if keys is None:
            continue
        used = [keys.key_blocks[name] for name in _keyed(target, mesh) if name in keys.key_blocks]
        muted = [key for key in used if key.mute]
        if muted:
            text = rpt_("Shape keys of “{name}” are muted: {count}")
            yield Obstacle(text.format(name=mesh.name, count=len(muted)), partial(_unmute, muted))
        if mesh.show_only_shape_key:
            text = rpt_("“{name}” is pinned to its active shape key")
            yield Obstacle(text.format(name=mesh.name), partial(setattr, mesh, "show_only_shape_key", False))
        if not keys.use_relative:
            text = rpt_("The shape keys of “{name}” are absolute")
            yield Obstacle(text.format(name=mesh.name), partial(setattr, keys, "use_relative", True))
        short = [key for key in used if key.slider_max < 1.0 or key.slider_min > 0.0]
        if short:
            text = rpt_("The ranges of shape keys of “{name}” cut their values off: {count}")
            yield Obstacle(text.format(name=mesh.name, count=len(short)), partial(_widen, short))
        moving = moving_keys(mesh)
        dead = [key.name for key in used if key.name not in moving]
        if dead:
            text = rpt_("Shape keys of “{name}” move no vertex: {names}")
            yield Obstacle(text.format(name=mesh.name, names=", ".join(dead[:4])))
        for modifier in mesh.modifiers:
            if modifier.type == "ARMATURE" and modifier.object is not None and not modifier.show_viewport:
                text = rpt_("The armature of “{name}” is switched off")
                yield Obstacle(text.format(name=mesh.name), partial(setattr, modifier, "show_viewport", True))
    rig = target.rig if target.character is None else target.character.rig
    if rig is not None and rig.data.pose_position == "REST":
        text = rpt_("The armature “{name}” shows its rest position")
        yield Obstacle(text.format(name=rig.name), partial(setattr, rig.data, "pose_position", "POSE"))


def _keyed(target: Target, mesh: bpy.types.Object) -> set[str]:
    """Names of the shape keys of a mesh that a take moves."""
    if target.character is None:
        return set(target.keys.values())
    return {row.target for row in target.character.rows if row.kind == "KEY" and row.object == mesh.name}


def _of_curves(target: Target) -> Iterator[Obstacle]:
    for block in target.blocks:
        action = block.animation_data.action if block.animation_data is not None else None
        if action is None:
            continue
        muted = [curve for curve in keying.action_curves(action) if curve.mute]
        if muted:
            text = rpt_("Curves of “{name}” are muted: {count}")
            yield Obstacle(text.format(name=action.name, count=len(muted)), partial(_unmute, muted))


def _unmute(items: Iterable[bpy.types.ShapeKey | bpy.types.FCurve]) -> None:
    for item in items:
        item.mute = False


def _widen(keys: Iterable[bpy.types.ShapeKey]) -> None:
    for key in keys:
        key.slider_min, key.slider_max = min(key.slider_min, 0.0), max(key.slider_max, 1.0)


def take_away(obstacles: list[Obstacle]) -> int:
    """Apply all remedies there are. Returns how many were applied. Raises UserError where a take cannot be shown."""
    remedies = [obstacle.remedy for obstacle in obstacles if obstacle.remedy is not None]
    if not remedies:
        raise UserError(rpt_("There is nothing here that could be repaired by itself."))
    for remedy in remedies:
        remedy()
    return len(remedies)
