# SPDX-License-Identifier: GPL-3.0-or-later
"""A performance tracked from a video, keyed as it is: its motion as a take, with or without the head's place."""

from collections.abc import Sequence
from dataclasses import dataclass

import bpy
import numpy as np

from ..data.head_asset import to_blender
from ..data.motion import Motion, read_motion, resample_motion
from ..faces.character import Curve
from ..faces.targets import Target
from ..takes import audio_strip, heard, showing
from ..takes.keying import Assignment, Take, add_curves, key_takes, last_frame
from .styles import TrackedVideo

CAPTURE_MARK = "captured_from"  # custom property of the Actions: the video's name


@dataclass(frozen=True)
class KeyedCapture:
    """What was keyed."""

    actions: list[bpy.types.Action]
    last_frame: int
    warnings: tuple[str, ...]


def key_capture(
    scene: bpy.types.Scene,
    objects: Sequence[bpy.types.Object],
    tracked: TrackedVideo,
    start_frame: float,
    *,
    translation: bool = False,
    place_sound: bool = True,
    head_strength: float = 1.0,
    head_bone: str = "neck",
) -> KeyedCapture:
    """Key a tracked video on heads.

    Args:
        objects: heads or characters; all move alike.
        start_frame: where the video's first frame falls.
        translation: also move the rigs of our own heads as the person's head moved.
        place_sound: put the video's sound into the sequencer.
        head_strength, head_bone: as of `keying.key_takes`.

    Raises:
        UserError: an object cannot be keyed, or shows another basis. Then nothing is changed.
    """
    motion = resample_motion(read_motion(tracked.motion), audio_strip.frames_per_second(scene))
    targets = tuple(showing.targets_of(objects))
    take = Take(motion, f"{tracked.video.stem} · capture")
    [[actions]] = key_takes([Assignment(targets, (take,), start_frame)], head_bone, head_strength)
    warnings = []
    for action in actions:
        action[CAPTURE_MARK] = action[heard.SOUND_MARK] = tracked.video.name
    if tracked.unseen:
        places = ", ".join(f"{a:.1f} to {b:.1f} s" for a, b in tracked.unseen[:3])
        warnings.append(f"Where the face was not seen ({places}) the motion is filled in.")
    if translation:
        warnings += _key_places(targets, actions, motion, start_frame)
    if place_sound:
        seconds = len(motion.exp) / motion.fps
        _, warning = audio_strip.place_sound(scene, str(tracked.video), round(start_frame), seconds)
        warnings += [warning] if warning else []
        audio_strip.play_in_sync(scene)
    heard.follow_takes()
    last = last_frame(motion, start_frame)
    scene.frame_end = max(scene.frame_end, last)
    return KeyedCapture(actions, last, tuple(warnings))


def _key_places(
    targets: Sequence[Target], actions: Sequence[bpy.types.Action], motion: Motion, start_frame: float
) -> list[str]:
    """Key where the rigs of our own heads are; returns what could not be done."""
    if motion.translation is None:
        return ["The capture does not say where the head was."]
    problems = []
    for target in targets:
        rig = target.rig
        if rig is None:
            name = target.mesh.name
            problems.append(f"“{name}” is not a head made with Add Head: only its rotation was keyed.")
        elif rig.animation_data is None or rig.animation_data.action not in actions:
            problems.append(f"The rig of “{target.mesh.name}” does not move: its place was not keyed.")
        else:
            add_curves(rig.animation_data.action, rig_places(rig, motion.translation), start_frame)
    return problems


def rig_places(rig: bpy.types.Object, translation: np.ndarray) -> list[Curve]:
    """Curves of a rig's location: from where it stands, moved by (T, 3) metres in the head's own directions."""
    turn_and_scale = rig.matrix_basis.to_3x3()
    moved = to_blender(translation.astype(np.float64)) @ np.array(turn_and_scale).T
    places = np.array(rig.location) + moved
    return [Curve("location", axis, "Object Transforms", places[:, axis]) for axis in range(3)]
