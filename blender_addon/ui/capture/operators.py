# SPDX-License-Identifier: GPL-3.0-or-later
"""Buttons of a video: whose face, a style of it, its motion as a take; and the tracker's model file."""

from pathlib import Path

import bpy
from bpy.app.translations import pgettext_rpt as rpt_
from bpy.props import FloatVectorProperty

from ...data.errors import UserError
from ...install.preferences import addon_preferences
from ...jobs import scene_settings
from ...jobs.capture import key_capture
from ...jobs.styles import ExtractStyle, FetchTracker, FindFaces, Person, TrackVideo
from ...takes import showing
from ..common.job_operator import JobOperator
from ..common.reference import FACE, ExtractionOperator, reference_window, show_reference
from ..common.work_operator import WorkOperator


def capture_video(context: bpy.types.Context) -> Path:
    """The video that the panel names. Raises UserError where there is none."""
    chosen = context.scene.diffposetalk_capture.video
    if not chosen:
        raise UserError("No video is chosen. Choose one that shows someone speaking, from the front.")
    path = Path(bpy.path.abspath(chosen))
    if not path.is_file():
        raise UserError(f"The video “{path}” does not exist. Choose another one.")
    return path


def capture_person(context: bpy.types.Context) -> Person:
    """The face that was picked, and its neutral picture."""
    settings = context.scene.diffposetalk_capture
    neutral = Path(bpy.path.abspath(settings.neutral)) if settings.neutral else None
    face = settings.face
    return Person(None if min(face) < 0 else (face[0], face[1]), neutral)


class DIFFPOSETALK_OT_find_faces(JobOperator):
    """Find the faces in the video, to choose one of several"""

    bl_label = "Find Faces"
    job: FindFaces

    def start(self, context: bpy.types.Context) -> FindFaces:
        return FindFaces(capture_video(context))

    def finish(self, context: bpy.types.Context) -> str:
        faces = context.window_manager.diffposetalk_faces
        faces.clear()
        for face in self.job.faces:
            item = faces.add()
            item.place, item.picture = (face.x, face.y), str(face.picture)
        if not self.job.faces:
            raise UserError("No face was found in the video. It must show one from the front, large enough.")
        return rpt_("Faces found: {faces}").format(faces=len(self.job.faces))


class DIFFPOSETALK_OT_pick_face(WorkOperator):
    """Use this face of the video"""

    bl_label = "Use This Face"

    place: FloatVectorProperty(
        name="Place",
        description="Where it is in the picture, as shares from the left and from the top. Negative: the "
        "largest face",
        **FACE,
    )

    def act(self, context: bpy.types.Context) -> str:
        context.scene.diffposetalk_capture.face = self.place
        return ""


class DIFFPOSETALK_OT_add_style_from_video(ExtractionOperator):
    """Add a style to your library from the video: its face is tracked, and four seconds of the motion are read"""

    bl_label = "Add Style from Video"

    def start(self, context: bpy.types.Context) -> ExtractStyle:
        settings = context.scene.diffposetalk_capture
        return ExtractStyle(
            capture_video(context),
            self.style_name,
            reference_window(settings.window, settings.start_frame),
            person=capture_person(context),
        )


class DIFFPOSETALK_OT_capture_performance(JobOperator):
    """Key the performance in the video on the selected heads as it is: the tracked motion becomes a take"""

    bl_label = "Key Performance"
    bl_options = {"REGISTER", "UNDO"}
    job: TrackVideo

    def start(self, context: bpy.types.Context) -> TrackVideo:
        showing.targets_of(scene_settings.speakers(context))
        return TrackVideo(capture_video(context), capture_person(context))

    def finish(self, context: bpy.types.Context) -> str:
        settings = context.scene.diffposetalk_capture
        tracked = self.job.tracked
        show_reference(context, tracked=tracked)
        keyed = key_capture(
            context.scene,
            scene_settings.speakers(context),
            tracked,
            settings.frame,
            translation=settings.translation,
            place_sound=settings.place_sound,
            head_strength=context.scene.diffposetalk.head_strength,
            head_bone=context.scene.diffposetalk.head_bone,
        )
        for warning in (*tracked.warnings, *keyed.warnings):
            self.report({"WARNING"}, warning)
        return rpt_("Keyed the performance, frames {first} to {last}").format(
            first=settings.frame, last=keyed.last_frame
        )


class DIFFPOSETALK_OT_fetch_tracker(JobOperator):
    """Download MediaPipe's face tracker (face_landmarker.task, 3.8 MB, from Google) once, and check its checksum"""

    bl_label = "Fetch Face Tracker"
    place = "FILES"
    job: FetchTracker

    @classmethod
    def obstacle(cls, context: bpy.types.Context) -> str:
        if not bpy.app.online_access:
            return rpt_("Turn on Allow Online Access in Preferences, System, or choose the file yourself")
        return super().obstacle(context)

    def start(self, context: bpy.types.Context) -> FetchTracker:
        return FetchTracker()

    def finish(self, context: bpy.types.Context) -> str:
        addon_preferences().tracker_model = ""
        return rpt_("The face tracker is in {path}").format(path=self.job.path)
