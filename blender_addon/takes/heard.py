# SPDX-License-Identifier: GPL-3.0-or-later
"""Which recordings are heard: those of the takes that are shown.

Only sound strips that were placed with a take are muted, and only those that were muted here are heard again: the
user's own strips, and what the user mutes, stay as they are.
"""

import os
from collections.abc import Iterator

import bpy

from . import audio_strip, keying, record
from .rollback import animated_blocks

# Custom property of an Action that is no take: the name of its sound's file.
SOUND_MARK = "diffposetalk_sound"
MUTED = "diffposetalk_muted"  # custom property of a strip that was muted here


def follow_takes() -> None:
    """Mute the placed strips of takes that are not shown, and let those of shown takes be heard again."""
    wanted = list(_sounds_of_shown_takes())
    for scene in bpy.data.scenes:
        if scene.sequence_editor is None:
            continue
        strips = [strip for strip in audio_strip.sequencer_strips(scene) if audio_strip.was_placed(strip)]
        heard = {_strip_of(strips, path, frame) for path, frame in wanted}
        for strip in strips:
            if strip.name in heard:
                if MUTED in strip:
                    strip.mute = False
                    del strip[MUTED]
            elif not strip.mute:
                strip.mute, strip[MUTED] = True, True


def _strip_of(strips: list[bpy.types.ID], path: str, frame: float) -> str:
    """Name of the strip that plays a recording nearest to a frame; empty where none plays it."""
    named = [strip for strip in strips if _name(strip.sound.filepath) == _name(path)]
    same = [strip for strip in named if audio_strip.is_same_file(strip.sound.filepath, path)] or named
    return min(same, key=lambda strip: abs(strip.frame_start - frame)).name if same else ""


def _name(path: str) -> str:
    return os.path.basename(path.replace("\\", "/"))


def _sounds_of_shown_takes() -> Iterator[tuple[str, float]]:
    """Path and first frame of each recording that a shown take speaks."""
    played = {action for block in animated_blocks() for action, _ in keying.played_actions(block)}
    for action in bpy.data.actions:
        if action in played and SOUND_MARK in action:
            yield str(action[SOUND_MARK]), action.frame_range[0]
        if not record.is_take(action) or not played.intersection(record.take_actions(action)):
            continue
        source, keyed = record.source_of(action.diffposetalk), record.read_keyed(action.diffposetalk)
        for line in source.get("lines", [source]):
            if "audio" in line:
                at = line.get("at", 0.0) / record.FPS * keyed.fps * keyed.stretch
                yield line["audio"], keyed.start_frame + at
