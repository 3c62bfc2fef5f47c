# SPDX-License-Identifier: GPL-3.0-or-later
"""The recording in the sequencer: placed in sync with the keys, or taken from a strip that is there."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ..data.errors import UserError

PLACED = "diffposetalk_placed"  # custom property of a strip that came with a take


@dataclass(frozen=True)
class AudioSpan:
    """A stretch of a recording and the frame where it is heard.

    start, seconds: the stretch in seconds; None means up to the end.
    frame: scene frame of its beginning.
    """

    path: str
    start: float
    seconds: float | None
    frame: float


def frames_per_second(scene: bpy.types.Scene) -> float:
    """The scene's frame rate, e.g. 23.976 for 24 / 1.001."""
    return scene.render.fps / scene.render.fps_base


def sequencer_strips(scene: bpy.types.Scene) -> Any:
    """The scene's sequencer strips; makes the sequencer. `strips` from Blender 4.4 on, `sequences` before."""
    editor = scene.sequence_editor or scene.sequence_editor_create()
    return editor.strips if hasattr(editor, "strips") else editor.sequences


def sound_strip(scene: bpy.types.Scene, name: str) -> Any | None:
    """The sound strip of this name in a scene's sequencer, or None."""
    if scene.sequence_editor is None:
        return None
    strip = sequencer_strips(scene).get(name)
    return strip if strip is not None and strip.type == "SOUND" else None


def active_sound_strip(context: bpy.types.Context) -> Any | None:
    """The sound strip that is active in the sequencer, or None."""
    scene = getattr(context.workspace, "sequencer_scene", None) or context.scene
    strip = scene.sequence_editor.active_strip if scene.sequence_editor is not None else None
    return strip if strip is not None and strip.type == "SOUND" else None


def span_of_strip(strip: Any, scene: bpy.types.Scene) -> AudioSpan:
    """The stretch of a recording that a sound strip plays.

    Raises:
        UserError: the strip plays at another speed, or its sound is packed into the .blend file.
    """
    if not math.isclose(getattr(strip, "speed_factor", 1.0), 1.0, abs_tol=1e-6):
        raise UserError(
            f"The strip “{strip.name}” plays at another speed. Render it to a sound file, and choose that "
            "as audio."
        )
    path = bpy.path.abspath(strip.sound.filepath)
    if strip.sound.packed_file is not None and not os.path.isfile(path):
        raise UserError(
            f"The sound of the strip “{strip.name}” is packed into this file. Unpack it first (File, "
            "External Data)."
        )
    fps = frames_per_second(scene)
    return AudioSpan(
        path,
        max(0.0, strip.frame_offset_start / fps),
        strip.frame_final_duration / fps,
        strip.frame_final_start,
    )


def check_audio_path(path: str) -> str:
    """The absolute path of a recording.

    Raises:
        UserError: none is given, it does not exist, or it is a folder.
    """
    if not path.strip():
        raise UserError(
            rpt_("No audio file is chosen. Choose a recording of speech (WAV, FLAC, OGG, MP3, ...).")
        )
    absolute = bpy.path.abspath(path)
    if os.path.isdir(absolute):
        raise UserError(rpt_("“{path}” is a folder. Choose a sound file.").format(path=absolute))
    if not os.path.isfile(absolute):
        raise UserError(
            rpt_("The audio file “{path}” does not exist. Choose another one.").format(path=absolute)
        )
    return absolute


def find_recording(path: str) -> str:
    """Where a recording lies that may have moved with its scene.

    That is its own path, that of a sound of this file with its name, or beside the .blend file; where it is at none of
    them, its own path.
    """
    name = path.replace("\\", "/").rpartition("/")[2]
    sounds = [bpy.path.abspath(sound.filepath, library=sound.library) for sound in bpy.data.sounds]
    places = [path, *(place for place in sounds if os.path.basename(place) == name)]
    if bpy.data.filepath:
        places.append(bpy.path.abspath(f"//{name}"))
    return next((place for place in places if os.path.isfile(place)), path)


def place_sound(scene: bpy.types.Scene, path: str, frame: int, seconds: float) -> tuple[Any | None, str]:
    """Put a recording into the sequencer, unless it lies at this frame already.

    Args:
        frame: scene frame where it begins.
        seconds: its length, to find a free channel.

    Returns:
        The strip that was made, or None, and what the user should know about it ("" when all is well).
    """
    if not bpy.app.build_options.audaspace:
        return None, "This build of Blender has no sound: the motion was keyed without a sound strip."
    strips = sequencer_strips(scene)
    length = math.ceil(seconds * frames_per_second(scene)) + 1
    taken = set()
    for strip in strips:
        if strip.type == "SOUND" and strip.frame_start == frame and is_same_file(strip.sound.filepath, path):
            return None, ""
        if strip.frame_final_start < frame + length and strip.frame_final_end > frame:
            taken.add(strip.channel)
    channel = next(number for number in range(1, len(taken) + 2) if number not in taken)
    try:
        strip = strips.new_sound(Path(path).stem, path, channel, frame)
        strip[PLACED] = True
        return strip, ""
    except RuntimeError as error:
        return None, f"The sound could not be placed in the sequencer: {str(error).strip()}"


def remove_strip(scene: bpy.types.Scene, strip: Any) -> None:
    """Take back a strip that `place_sound` made."""
    sound = strip.sound
    sequencer_strips(scene).remove(strip)
    if sound is not None and sound.users == 0:
        bpy.data.sounds.remove(sound)


def was_placed(strip: Any) -> bool:
    """Whether a strip is a sound that `place_sound` put there."""
    return strip.type == "SOUND" and strip.sound is not None and PLACED in strip


def play_in_sync(scene: bpy.types.Scene) -> bool:
    """Have playback follow the sound, and scrubbing be heard, with the first recording that is placed in a scene.

    Returns:
        Whether anything was changed. What the user turns off afterwards stays off.
    """
    if sum(was_placed(strip) for strip in sequencer_strips(scene)) != 1:
        return False
    if scene.sync_mode == "AUDIO_SYNC" and scene.use_audio_scrub:
        return False
    scene.sync_mode, scene.use_audio_scrub = "AUDIO_SYNC", True
    return True


def is_same_file(blender_path: str, path: str) -> bool:
    """Whether a path of Blender's, which may be relative to the .blend file, names this file."""
    return os.path.normpath(bpy.path.abspath(blender_path)) == os.path.normpath(path)
