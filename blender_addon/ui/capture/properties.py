# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's settings for taking motion or a style from a video, and the faces found in it."""

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ..common.reference import FACE, start_property, window_property


class DiffPoseTalkFace(bpy.types.PropertyGroup):
    """A face found in a video."""

    place: FloatVectorProperty(size=2, options={"SKIP_SAVE"})
    picture: StringProperty(options={"SKIP_SAVE"})


class DiffPoseTalkCapture(bpy.types.PropertyGroup):
    """Settings for taking motion or a style from a video."""

    video: StringProperty(
        name="Video",
        description="Video of someone speaking, from the front: any file that PyAV reads (MP4, MOV, WebM, ...)",
        subtype="FILE_PATH",
    )
    face: FloatVectorProperty(
        name="Face",
        description="Where in the picture the face is, as shares from the left and from the top; Find "
        "Faces helps to fill it in. Negative: the largest face",
        **FACE,
        precision=2,
    )
    neutral: StringProperty(
        name="Neutral Face",
        description="Picture or short video of the same person at rest: mouth closed, head straight. It "
        "tells a smile or frown that is held throughout from the shape of the face. Empty: "
        "the resting face is estimated from the video",
        subtype="FILE_PATH",
    )
    window: window_property("video")
    start_frame: start_property()
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


PROPERTIES = (
    (bpy.types.Scene, "diffposetalk_capture", PointerProperty(type=DiffPoseTalkCapture)),
    (bpy.types.WindowManager, "diffposetalk_faces", CollectionProperty(type=DiffPoseTalkFace)),
)
