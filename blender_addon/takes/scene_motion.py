# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion as it stands in the scene: what keys, drivers, NLA strips and hands have made of a face, as a motion clip."""

from typing import Any

import bpy
import numpy as np
from mathutils import Quaternion

from ..data import arkit
from ..data.errors import UserError
from ..data.motion import Motion, continuous_quaternions
from ..faces import bones
from ..faces.targets import Target
from .keying import action_curves

FPS = 25.0
MAX_SECONDS = 600.0
STILL = 1e-5  # a face whose channels all change less than this over a range is not animated there


def scene_motion(
    scene: bpy.types.Scene, target: Target, first_frame: float, last_frame: float, fps: float = FPS
) -> Motion:
    """What a target does from one frame of the scene to another, sampled `fps` times a second.

    The scene is evaluated frame by frame; its current frame is put back.

    Args:
        target: a head or character.
        first_frame, last_frame: of the scene; the clip's first frame is `first_frame`.

    Raises:
        UserError: the range is empty or over ten minutes, or nothing moves in it.
    """
    rate = scene.render.fps / scene.render.fps_base
    seconds = (last_frame - first_frame) / rate
    if seconds <= 0 or seconds > MAX_SECONDS:
        raise UserError(
            f"A range of {seconds:.1f} s cannot be read: choose up to {MAX_SECONDS / 60:.0f} minutes."
        )
    count = int(seconds * fps + 1e-6) + 1
    reader = _OwnHead(target) if target.character is None else _Character(target)
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    before = scene.frame_current, scene.frame_subframe
    try:
        for index in range(count):
            at = first_frame + index * rate / fps
            frame = int(np.floor(at + 1e-6))
            scene.frame_set(frame, subframe=max(0.0, at - frame))
            rows.append(reader.read())
    finally:
        scene.frame_set(before[0], subframe=before[1])
    exp, head, jaw = (np.stack(column).astype(np.float32) for column in zip(*rows, strict=True))
    if max(np.ptp(a, axis=0).max() for a in (exp, head, jaw)) < STILL:
        raise UserError(
            f"Nothing of “{target.mesh.name}” moves from frame {first_frame:g} to {last_frame:g}. Choose a range in "
            "which it is animated."
        )
    names = target.expressions if target.basis == "arkit" else ()
    provenance = {
        "source": "animation",
        "object": target.mesh.name,
        "head_rotation": bool(np.ptp(head) > STILL),
    }
    return Motion(exp, _continuous(head), jaw, fps, target.basis, names, provenance)


def animated_range(target: Target) -> tuple[float, float] | None:
    """First and last frame of the Actions that a target shows, or None where it shows none."""
    ranges = [tuple(action.frame_range) for action in _actions(target)]
    return (min(r[0] for r in ranges), max(r[1] for r in ranges)) if ranges else None


def selected_range(target: Target) -> tuple[float, float] | None:
    """First and last frame of the selected keys of a target's Actions, or None where none are selected."""
    frames = [
        key.co[0]
        for action in _actions(target)
        for curve in action_curves(action)
        for key in curve.keyframe_points
        if key.select_control_point
    ]
    return (min(frames), max(frames)) if frames else None


def _actions(target: Target) -> list[bpy.types.Action]:
    actions = []
    for block in target.blocks:
        if block.animation_data is None:
            continue
        if block.animation_data.action is not None:
            actions.append(block.animation_data.action)
        actions += [s.action for t in block.animation_data.nla_tracks for s in t.strips if s.action]
    return actions


class _OwnHead:
    """Reads one of our own heads: keys by their names, the jaw and head bones' rotations."""

    def __init__(self, target: Target) -> None:
        keys = target.mesh.data.shape_keys.key_blocks
        self._keys = [keys[target.keys[name]] if name in target.keys else None for name in target.expressions]
        self._rig = target.rig

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Expression coefficients, head and jaw rotation (axis-angle) at the scene's frame."""
        exp = np.array([0.0 if key is None or key.mute else key.value for key in self._keys])
        if self._rig is None:
            return exp, np.zeros(3), np.zeros(3)
        turns = self._rig.pose.bones
        head = turns["root"].matrix_basis.to_quaternion() @ turns["neck"].matrix_basis.to_quaternion()
        return exp, _axis_angle(head), _axis_angle(turns["jaw"].matrix_basis.to_quaternion())


class _Character:
    """Reads another character against its mapping: what it shows of each channel, as the mean over its rows."""

    def __init__(self, target: Target) -> None:
        assert target.character is not None
        character = target.character
        self._names, self._open = target.expressions, target.jaw_open_angle
        self._rows = [row for row in character.rows if row.kind in ("KEY", "PROPERTY") and row.gain]
        self._objects = {item.name: item for item in character.objects}
        self._rig, self._choice = character.rig, character.bones
        if self._rig is not None:
            self._axes = bones.character_axes(self._rig, self._choice.head, self._choice.neck)

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As of `_OwnHead`."""
        sums: dict[str, list[float]] = {}
        for row in self._rows:
            sums.setdefault(row.source, []).append((self._value(row) - row.offset) / row.gain)
        channels = {source: float(np.mean(values)) for source, values in sums.items()}
        exp = np.array([channels.get(name, 0.0) for name in self._names])
        head, jaw = np.zeros(3), np.array([channels.get(arkit.JAW_OPEN, 0.0) * self._open, 0.0, 0.0])
        if self._rig is not None:
            for bone in {self._choice.neck, self._choice.head} - {""}:
                head += self._turn(bone)
            if self._choice.jaw and self._choice.jaw_by in ("BONE", "BOTH"):
                jaw = self._turn(self._choice.jaw)
        return exp, head, jaw

    def _value(self, row: Any) -> float:
        item = self._objects[row.object]
        if row.kind == "KEY":
            return float(item.data.shape_keys.key_blocks[row.target].value)
        return float(item.path_resolve(row.target))

    def _turn(self, bone: str) -> np.ndarray:
        """A bone's rotation from its rest pose in the character's directions."""
        assert self._rig is not None
        rest = np.array(self._rig.data.bones[bone].matrix_local.to_3x3())
        rest /= np.linalg.norm(rest, axis=0)
        local = _axis_angle(self._rig.pose.bones[bone].matrix_basis.to_quaternion())
        return local @ (rest.T @ self._axes)


def _axis_angle(quaternion: Quaternion) -> np.ndarray:
    return np.array(quaternion.to_exponential_map())


def _continuous(rotations: np.ndarray) -> np.ndarray:
    """Axis-angle (T, 3) without jumps by a whole turn, as quaternions on one side have them."""
    quaternions = continuous_quaternions(rotations)
    angle = 2 * np.arctan2(np.linalg.norm(quaternions[:, 1:], axis=1), quaternions[:, 0])
    scale = np.where(angle > 1e-6, angle / np.maximum(np.sin(angle / 2), 1e-9), 2.0)
    return (quaternions[:, 1:] * scale[:, None]).astype(np.float32)


def frame_range(
    scene: bpy.types.Scene, target: Target, which: str, first: int = 0, last: int = 0
) -> tuple[float, float]:
    """The frames that a choice of `frames` means for a target.

    Raises:
        UserError: it is not animated, or no keys are selected.
    """
    if which == "FIXED":
        return float(first), float(last)
    if which == "PREVIEW":
        if scene.use_preview_range:
            return float(scene.frame_preview_start), float(scene.frame_preview_end)
        return float(scene.frame_start), float(scene.frame_end)
    if which == "SELECTED":
        frames = selected_range(target)
        problem = f"No keys of “{target.mesh.name}” are selected. Select some, or choose other frames."
    else:
        frames = animated_range(target)
        problem = f"“{target.mesh.name}” has no animation. Generate or key some, or choose other frames."
    if frames is None:
        raise UserError(problem)
    return frames
