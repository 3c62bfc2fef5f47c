# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a face with keys stands still, and what helps."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

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

        def show() -> None:
            showing.show_take(takes[0], target)

        text = rpt_("Another Action, or none, is shown instead of the take “{name}”")
        yield Obstacle(text.format(name=takes[0].name), show)
    for block in target.blocks:
        animation = block.animation_data
        for track in animation.nla_tracks if animation is not None else ():
            generated = any(
                strip.action is not None and strip.action.get("synthetic") for strip in track.strips
            )
            if generated and track.mute:

                def hear(track: bpy.types.NlaTrack = track) -> None:
                    track.mute = False

                yield Obstacle(
                    rpt_("The NLA track “{name}” with a take is muted").format(name=track.name), hear
                )
            if track.is_solo and not generated:

                def unsolo(track: bpy.types.NlaTrack = track) -> None:
                    track.is_solo = False

                yield Obstacle(
                    rpt_("Only the NLA track “{name}” is played (Solo)").format(name=track.name), unsolo
                )


def _of_keys(target: Target) -> Iterator[Obstacle]:
    meshes = [target.mesh] if target.character is None else list(target.character.objects)
    for mesh in meshes:
        keys = mesh.data.shape_keys if mesh.type == "MESH" else None
        if keys is None:
            continue
        used = [keys.key_blocks[name] for name in _keyed(target, mesh) if name in keys.key_blocks]
        muted = [key for key in used if key.mute]
        if muted:

            def unmute(muted: list[bpy.types.ShapeKey] = muted) -> None:
                for key in muted:
                    key.mute = False

            text = rpt_("Shape keys of “{name}” are muted: {count}")
            yield Obstacle(text.format(name=mesh.name, count=len(muted)), unmute)
        if mesh.show_only_shape_key:

            def unpin(mesh: bpy.types.Object = mesh) -> None:
                mesh.show_only_shape_key = False

            yield Obstacle(rpt_("“{name}” is pinned to its active shape key").format(name=mesh.name), unpin)
        if not keys.use_relative:

            def relate(keys: bpy.types.Key = keys) -> None:
                keys.use_relative = True

            yield Obstacle(rpt_("The shape keys of “{name}” are absolute").format(name=mesh.name), relate)
        short = [key for key in used if key.slider_max < 1.0 or key.slider_min > 0.0]
        if short:

            def widen(short: list[bpy.types.ShapeKey] = short) -> None:
                for key in short:
                    key.slider_min, key.slider_max = min(key.slider_min, 0.0), max(key.slider_max, 1.0)

            text = rpt_("The ranges of shape keys of “{name}” cut their values off: {count}")
            yield Obstacle(text.format(name=mesh.name, count=len(short)), widen)
        moving = moving_keys(mesh)
        dead = [key.name for key in used if key.name not in moving]
        if dead:
            text = rpt_("Shape keys of “{name}” move no vertex: {names}")
            yield Obstacle(text.format(name=mesh.name, names=", ".join(dead[:4])))
        for modifier in mesh.modifiers:
            if modifier.type == "ARMATURE" and modifier.object is not None and not modifier.show_viewport:

                def switch_on(modifier: bpy.types.Modifier = modifier) -> None:
                    modifier.show_viewport = True

                yield Obstacle(
                    rpt_("The armature of “{name}” is switched off").format(name=mesh.name), switch_on
                )
    rig = target.rig if target.character is None else target.character.rig
    if rig is not None and rig.data.pose_position == "REST":

        def pose() -> None:
            rig.data.pose_position = "POSE"

        yield Obstacle(rpt_("The armature “{name}” shows its rest position").format(name=rig.name), pose)


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

            def hear(muted: list[bpy.types.FCurve] = muted) -> None:
                for curve in muted:
                    curve.mute = False

            text = rpt_("Curves of “{name}” are muted: {count}")
            yield Obstacle(text.format(name=action.name, count=len(muted)), hear)


def take_away(obstacles: list[Obstacle]) -> int:
    """Apply all remedies there are. Returns how many were applied. Raises UserError where a take cannot be shown."""
    remedies = [obstacle.remedy for obstacle in obstacles if obstacle.remedy is not None]
    if not remedies:
        raise UserError(rpt_("There is nothing here that could be repaired by itself."))
    for remedy in remedies:
        remedy()
    return len(remedies)
