# SPDX-License-Identifier: GPL-3.0-or-later
# mypy: disable-error-code="valid-type"
"""The capture's settings, and what the last reference or video was like: shown by the panels, untouched by undo."""

from collections.abc import Sequence
from pathlib import Path

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ...jobs.styles import Extracted, TrackedVideo


class DiffPoseTalkFace(bpy.types.PropertyGroup):
    """A face found in a video."""

    place: FloatVectorProperty(size=2, options={"SKIP_SAVE"})
    picture: StringProperty(options={"SKIP_SAVE"})


class DiffPoseTalkReference(bpy.types.PropertyGroup):
    """The last reference that was read: its plot, the video's contact sheet, and what to beware of."""

    plot: StringProperty(options={"SKIP_SAVE"})
    contact_sheet: StringProperty(options={"SKIP_SAVE"})
    summary: StringProperty(options={"SKIP_SAVE"})
    notes: StringProperty(options={"SKIP_SAVE"})  # a line each
    faces: CollectionProperty(type=DiffPoseTalkFace, options={"SKIP_SAVE"})


class DiffPoseTalkCapture(bpy.types.PropertyGroup):
    """Settings for taking motion or a style from a video."""

    video: StringProperty(
        name="Video",
        description="Video of someone speaking, from the front: any file that PyAV reads (MP4, MOV, WebM, ...)",
        subtype="FILE_PATH",
    )
    face: FloatVectorProperty(
        name="Which Face",
        description="Place of the face that is meant, as shares of the picture from left and top. Negative: the "
        "largest face",
        size=2,
        min=-1.0,
        max=1.0,
        default=(-1.0, -1.0),
        precision=2,
    )
    neutral: StringProperty(
        name="Neutral Face",
        description="Picture or short video of the same person at rest, mouth closed, head straight: by it a smile "
        "or frown that is held throughout is told from the shape of the face. Empty: rest is estimated from the "
        "video itself",
        subtype="FILE_PATH",
    )
    window: EnumProperty(
        name="Four Seconds",
        description="Which part of the video the style is taken from",
        items=[
            ("auto", "Automatic", "The four seconds closest to its mean style in which the mouth moves"),
            ("mean", "Mean of All", "The mean over all of it"),
            ("START", "Chosen", "Four seconds from a frame on"),
        ],
    )
    start_frame: IntProperty(
        name="Start", description="First frame (25 a second) of the four seconds", min=0, default=0
    )
    frame: IntProperty(
        name="Start Frame", description="Frame of the scene where the performance begins", default=1
    )
    translation: BoolProperty(
        name="Move the Head",
        description="Key the head's place too, not only how it turns: the rig moves as the person leaned and swayed "
        "(heads made with Add Head)",
    )
    place_sound: BoolProperty(
        name="Add Sound Strip", description="Put the video's sound into the sequencer, in sync", default=True
    )


def show_reference(
    context: bpy.types.Context,
    extracted: Extracted | None = None,
    *,
    tracked: TrackedVideo | None = None,
    plot: Path | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Let the panels show what was read."""
    shown = context.window_manager.diffposetalk_reference
    if extracted is not None:
        tracked, plot, notes = extracted.tracked, extracted.plot, extracted.notes
    shown.plot = str(plot or "")
    shown.contact_sheet = str(tracked.contact_sheet) if tracked is not None else ""
    shown.summary = tracked.summary if tracked is not None else ""
    lines = dict.fromkeys([*(tracked.warnings if tracked is not None else ()), *notes])
    shown.notes = "\n".join(lines)


CLASSES = (DiffPoseTalkFace, DiffPoseTalkReference, DiffPoseTalkCapture)


def register() -> None:
    """Give scenes and the window manager their properties; the classes are registered already."""
    bpy.types.Scene.diffposetalk_capture = PointerProperty(type=DiffPoseTalkCapture)
    bpy.types.WindowManager.diffposetalk_reference = PointerProperty(type=DiffPoseTalkReference)


def unregister() -> None:
    """Take them back."""
    del bpy.types.WindowManager.diffposetalk_reference
    del bpy.types.Scene.diffposetalk_capture
