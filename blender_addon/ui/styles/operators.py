# SPDX-License-Identifier: GPL-3.0-or-later
# mypy: disable-error-code="valid-type"
"""The buttons for styles and captures. The work is in the functions and jobs beside it."""

import os
from pathlib import Path
from typing import Any

import bpy
from bpy.app.translations import pgettext_rpt as rpt_
from bpy.props import BoolProperty, EnumProperty, FloatVectorProperty, IntProperty, StringProperty
from bpy_extras.io_utils import ExportHelper, ImportHelper

from ...data import bundled, style_library
from ...data.errors import UserError
from ...data.style_request import VIDEO_SUFFIXES
from ...faces.targets import find_target
from ...install.preferences import addon_preferences
from ...jobs import scene_settings, style_list, styles
from ...jobs.capture import key_capture
from ...jobs.styles import (
    REFERENCE_SUFFIXES,
    ExtractStyle,
    FetchTracker,
    FindFaces,
    MixStyles,
    Person,
    PreviewReference,
    ReferenceWindow,
    TrackVideo,
    animation_file,
)
from ...takes import scene_motion
from ..common.job_operator import JobOperator
from .properties import show_reference

WINDOW_ITEMS = [
    ("auto", "Automatic", "The four seconds closest to the reference's mean style in which the mouth moves"),
    ("mean", "Mean of All", "The mean over all of it"),
    ("START", "Chosen", "Four seconds from a frame on"),
]
VIDEO_FILTER = ";".join(f"*{suffix}" for suffix in VIDEO_SUFFIXES)
ANY_FACE = (-1.0, -1.0)


def chosen_style(context: bpy.types.Context) -> style_library.LibraryStyle:
    """The style of the library that the menu shows. Raises UserError where a preset is chosen, or none."""
    identifier = context.scene.diffposetalk.style
    for style in style_list.own_styles(fresh=True):
        if style_list.OWN + style.name == identifier:
            return style
    raise UserError("This style comes with the model. Choose a style of your own.")


def select_style(context: bpy.types.Context, path: Path) -> None:
    """Let the menu show a style of the library."""
    style_list.own_styles(fresh=True)
    context.scene.diffposetalk.style = style_list.OWN + path.stem


class _Extraction(JobOperator):
    """An operator that adds a style of a reference to the library."""

    job: ExtractStyle

    style_name: StringProperty(
        name="Name",
        description="Name of the style. Empty: that of the file or object",
        maxlen=style_library.MAX_NAME,
    )
    description: StringProperty(name="Description", description="Words to find it by")
    window: EnumProperty(
        name="Four Seconds", description="Which part of the reference is read", items=WINDOW_ITEMS
    )
    start_frame: IntProperty(
        name="Start",
        description="First frame (25 a second) of the four seconds, where they are chosen",
        min=0,
        default=0,
    )

    def reference_window(self) -> ReferenceWindow:
        """What the properties say."""
        if self.window == "START":
            return ReferenceWindow(start_frame=self.start_frame)
        return ReferenceWindow(self.window)

    def draw_window(self, layout: bpy.types.UILayout) -> None:
        """Show the properties."""
        layout.use_property_split = True
        layout.prop(self, "style_name")
        layout.prop(self, "description")
        layout.prop(self, "window")
        if self.window == "START":
            layout.prop(self, "start_frame")

    def finish(self, context: bpy.types.Context) -> str:
        """Choose the new style, and say what it is like."""
        made = self.job.result
        select_style(context, made.path)
        show_reference(context, made)
        for note in made.notes:
            self.report({"WARNING"}, note)
        figures = f": {made.figures}" if made.figures else ""
        return rpt_("Added the style “{name}”").format(name=made.path.stem) + figures


class DIFFPOSETALK_OT_add_style(_Extraction, ImportHelper):
    """Add a style to your library from a file: a motion clip (.npz), a Live Link Face recording (.csv), a style vector (.npy), a style file (.dptstyle) or a video of someone speaking"""  # noqa: E501

    bl_idname = "diffposetalk.add_style"
    bl_label = "Add Style from File"
    bl_options = {"REGISTER", "UNDO"}

    filter_glob: StringProperty(
        default=f"*{style_library.SUFFIX};{';'.join('*' + s for s in REFERENCE_SUFFIXES)};{VIDEO_FILTER}",
        options={"HIDDEN"},
    )
    face: FloatVectorProperty(
        name="Face",
        description="Place of the face in the video, as shares of the picture from left and top. Negative: the largest",
        size=2,
        min=-1.0,
        max=1.0,
        default=ANY_FACE,
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for the file first."""
        if self.filepath and self.properties.is_property_set("filepath"):
            return JobOperator.invoke(self, context, event)
        return ImportHelper.invoke(self, context, event)

    def draw(self, context: bpy.types.Context) -> None:
        """Show the settings beside the files."""
        self.draw_window(self.layout)
        self.layout.prop(self, "face")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Import a style file at once; start the job for anything else."""
        path = Path(bpy.path.abspath(self.filepath))
        if path.suffix.lower() == style_library.SUFFIX:
            try:
                select_style(context, style_library.import_style(style_list.library_folder(), path))
            except UserError as error:
                self._fail(context, error)
                return {"CANCELLED"}
            self.report({"INFO"}, rpt_("Imported the style “{name}”").format(name=path.stem))
            return {"FINISHED"}
        if bpy.app.background or context.window is None:
            return JobOperator.execute(self, context)
        return JobOperator.invoke(self, context, None)

    def start(self, context: bpy.types.Context) -> ExtractStyle:
        """Start reading the file."""
        path = Path(bpy.path.abspath(self.filepath))
        known = (*REFERENCE_SUFFIXES, *VIDEO_SUFFIXES)
        if path.suffix.lower() not in known:
            raise UserError(
                f"“{path.name}” is no file that a style is taken from: {', '.join(known[:4])} or a video."
            )
        return ExtractStyle(
            styles.machine(),
            path,
            style_list.library_folder(),
            self.style_name or style_library.name_from(path),
            self.reference_window(),
            person=Person(None if min(self.face) < 0 else (self.face[0], self.face[1])),
            description=self.description,
        )


class DIFFPOSETALK_OT_add_style_from_animation(_Extraction):
    """Add a style to your library from the animation of the active head or character"""

    bl_idname = "diffposetalk.add_style_from_animation"
    bl_label = "Add Style from Animation"
    bl_options = {"REGISTER", "UNDO"}

    frames: EnumProperty(
        name="Frames",
        description="Which frames the style is taken from",
        items=[
            ("ACTION", "Whole Action", "All that is keyed"),
            (
                "PREVIEW",
                "Preview Range",
                "The timeline's preview range; the scene's range where there is none",
            ),
            ("SELECTED", "Selected Keys", "From the first to the last selected key"),
            ("FIXED", "From To", "The frames below"),
        ],
    )
    first_frame: IntProperty(name="From", description="First frame of the scene that is read", default=1)
    last_frame: IntProperty(name="To", description="Last frame of the scene that is read", default=100)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask which frames."""
        if context.scene.use_preview_range:
            self.frames = "PREVIEW"
        return context.window_manager.invoke_props_dialog(self)

    def draw(self, context: bpy.types.Context) -> None:
        """Show the settings."""
        self.draw_window(self.layout)
        self.layout.prop(self, "frames")
        if self.frames == "FIXED":
            self.layout.prop(self, "first_frame")
            self.layout.prop(self, "last_frame")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Read the animation now, and the style of it in the background."""
        if bpy.app.background or context.window is None:
            return JobOperator.execute(self, context)
        return JobOperator.invoke(self, context, None)

    def start(self, context: bpy.types.Context) -> ExtractStyle:
        """Sample the animation and start."""
        target = find_target(scene_settings.speakers(context)[0], bundled.bundled_jaw_open_angle())
        first, last = scene_motion.frame_range(
            context.scene, target, self.frames, self.first_frame, self.last_frame
        )
        motion = scene_motion.scene_motion(context.scene, target, first, last)
        path = animation_file(motion)
        name = self.style_name or style_library.name_from(target.mesh.name)
        source = {"kind": "animation", "object": target.mesh.name, "frames": [first, last]}
        return ExtractStyle(
            styles.machine(),
            path,
            style_list.library_folder(),
            name,
            self.reference_window(),
            description=self.description,
            source=source,
            basis=target.basis,
            remove_reference=True,
        )


class DIFFPOSETALK_OT_save_mix(JobOperator):
    """Save the mixture of the two chosen styles in your library"""

    bl_idname = "diffposetalk.save_mix"
    bl_label = "Save Mix"
    bl_options = {"REGISTER", "UNDO"}
    job: MixStyles

    style_name: StringProperty(
        name="Name",
        description="Name of the mixture. Empty: made of both names",
        maxlen=style_library.MAX_NAME,
    )

    def start(self, context: bpy.types.Context) -> MixStyles:
        """Start mixing."""
        settings = context.scene.diffposetalk
        specs, names = [], []
        for identifier in (settings.style, settings.style_second):
            spec = style_list.requested_style(identifier)
            choice = style_list.find_choice(identifier)
            if spec is None or choice is None or identifier == style_list.MOTION_FILE:
                raise UserError("A mixture is of two styles of the list. Choose them.")
            specs.append(spec)
            names.append(choice.name)
        name = self.style_name or f"{names[0]} + {names[1]} {100 * settings.style_mix:.0f} %"
        amounts = [1.0 - settings.style_mix, settings.style_mix]
        return MixStyles(styles.machine(), specs, amounts, style_list.library_folder(), name)

    def finish(self, context: bpy.types.Context) -> str:
        """Choose the mixture."""
        select_style(context, self.job.result.path)
        context.scene.diffposetalk.style_mix = 0.0
        made = self.job.result
        return rpt_("Saved “{name}”").format(name=made.path.stem) + f": {made.figures}"


class DIFFPOSETALK_OT_preview_reference(JobOperator):
    """Plot the motion file with the four seconds that its style would be taken from"""

    bl_idname = "diffposetalk.preview_reference"
    bl_label = "Show Reference"
    job: PreviewReference

    def start(self, context: bpy.types.Context) -> PreviewReference:
        """Start reading it."""
        settings = context.scene.diffposetalk
        if not settings.style_motion:
            raise UserError("No motion file is chosen for the style. Choose one.")
        chosen = settings.style_start_frame if settings.style_window == "START" else None
        window = ReferenceWindow("auto" if chosen is not None else settings.style_window, chosen)
        return PreviewReference(styles.machine(), Path(bpy.path.abspath(settings.style_motion)), window)

    def finish(self, context: bpy.types.Context) -> str:
        """Show the plot."""
        show_reference(context, plot=self.job.plot, notes=self.job.notes)
        return rpt_("The reference has {frames} frames, {seconds:.1f} s").format(
            frames=self.job.count, seconds=self.job.count / 25
        )


class DIFFPOSETALK_OT_find_style(bpy.types.Operator):
    """Find a style by its name or description"""

    bl_idname = "diffposetalk.find_style"
    bl_label = "Find Style"
    bl_options = {"REGISTER", "UNDO"}
    bl_property = "style"

    style: EnumProperty(name="Style", description="Style to use", items=style_list.searchable_items)
    second: BoolProperty(name="Second", description="Choose the style that is mixed in", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Open the search."""
        style_list.own_styles(fresh=True)
        context.window_manager.invoke_search_popup(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Choose what was found."""
        setattr(context.scene.diffposetalk, "style_second" if self.second else "style", self.style)
        return {"FINISHED"}


class _LibraryOperator(bpy.types.Operator):
    """An operator on the chosen style of the library."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only for styles of the user's own."""
        if not context.scene.diffposetalk.style.startswith(style_list.OWN):
            cls.poll_message_set(rpt_("Choose a style of your own: this one comes with the model"))
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Do it, or say why it cannot be done."""
        try:
            self.report({"INFO"}, self.act(context, chosen_style(context)))
        except UserError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}

    def act(self, context: bpy.types.Context, style: style_library.LibraryStyle) -> str:
        """The work; returns a sentence for the user. Raises UserError."""
        raise NotImplementedError


class DIFFPOSETALK_OT_rename_style(_LibraryOperator):
    """Give the chosen style of your library another name"""

    bl_idname = "diffposetalk.rename_style"
    bl_label = "Rename Style"
    bl_options = {"REGISTER", "UNDO"}

    style_name: StringProperty(name="Name", description="The new name", maxlen=style_library.MAX_NAME)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for the name."""
        self.style_name = context.scene.diffposetalk.style.removeprefix(style_list.OWN)
        return context.window_manager.invoke_props_dialog(self)

    def act(self, context: bpy.types.Context, style: style_library.LibraryStyle) -> str:
        """Rename the file."""
        path = style_library.rename_style(style, self.style_name)
        select_style(context, path)
        return rpt_("Renamed “{old}” to “{new}”").format(old=style.name, new=path.stem)


class DIFFPOSETALK_OT_delete_style(_LibraryOperator):
    """Remove the chosen style from your library, and its file from the disk"""

    bl_idname = "diffposetalk.delete_style"
    bl_label = "Delete Style"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask first: it cannot be undone."""
        return context.window_manager.invoke_confirm(self, event)

    def act(self, context: bpy.types.Context, style: style_library.LibraryStyle) -> str:
        """Remove the file, and choose the model's own style."""
        style_library.delete_style(style)
        left = style_list.choices(fresh=True)
        if left:
            context.scene.diffposetalk.style = left[0].identifier
        return rpt_("Deleted “{name}”").format(name=style.name)


class DIFFPOSETALK_OT_export_style(_LibraryOperator, ExportHelper):
    """Copy the chosen style of your library to a file that others can import"""

    bl_idname = "diffposetalk.export_style"
    bl_label = "Export Style"
    filename_ext = style_library.SUFFIX
    filter_glob: StringProperty(default=f"*{style_library.SUFFIX}", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask where to."""
        self.filepath = context.scene.diffposetalk.style.removeprefix(style_list.OWN) + style_library.SUFFIX
        return ExportHelper.invoke(self, context, event)

    def act(self, context: bpy.types.Context, style: style_library.LibraryStyle) -> str:
        """Copy the file."""
        path = style_library.export_style(style, Path(bpy.path.abspath(self.filepath)))
        return rpt_("Exported {path}").format(path=path)


class DIFFPOSETALK_OT_find_faces(JobOperator):
    """Look who is in the capture's video, to choose one of several"""

    bl_idname = "diffposetalk.find_faces"
    bl_label = "Find Faces"
    job: FindFaces

    def start(self, context: bpy.types.Context) -> FindFaces:
        """Start looking."""
        return FindFaces(styles.machine(), capture_video(context))

    def finish(self, context: bpy.types.Context) -> str:
        """Offer them."""
        found = context.window_manager.diffposetalk_reference.faces
        found.clear()
        for face in self.job.faces:
            item = found.add()
            item.place, item.picture = (face.x, face.y), str(face.picture)
        if not self.job.faces:
            raise UserError("No face was found in the video. It must show one from the front, large enough.")
        return rpt_("Faces found: {faces}").format(faces=len(self.job.faces))


class DIFFPOSETALK_OT_pick_face(bpy.types.Operator):
    """Use this face of the video"""

    bl_idname = "diffposetalk.pick_face"
    bl_label = "Use This Face"
    bl_options = {"REGISTER", "UNDO"}

    place: FloatVectorProperty(
        name="Place",
        description="Where it is, as shares of the picture from left and top. Negative: the largest",
        size=2,
        min=-1.0,
        max=1.0,
        default=ANY_FACE,
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Remember it."""
        context.scene.diffposetalk_capture.face = self.place
        return {"FINISHED"}


class _VideoOperator(JobOperator):
    """An operator on the capture's video."""

    def person(self, context: bpy.types.Context) -> Person:
        """The face that was picked, and its neutral picture."""
        settings = context.scene.diffposetalk_capture
        neutral = Path(bpy.path.abspath(settings.neutral)) if settings.neutral else None
        face = settings.face
        return Person(None if min(face) < 0 else (face[0], face[1]), neutral)


class DIFFPOSETALK_OT_add_style_from_video(_VideoOperator):
    """Add a style to your library from the video: its face is tracked, and four seconds of the motion are read"""

    bl_idname = "diffposetalk.add_style_from_video"
    bl_label = "Add Style from Video"
    bl_options = {"REGISTER", "UNDO"}
    job: ExtractStyle

    style_name: StringProperty(
        name="Name", description="Name of the style. Empty: the file's", maxlen=style_library.MAX_NAME
    )

    def start(self, context: bpy.types.Context) -> ExtractStyle:
        """Start tracking."""
        video = capture_video(context)
        settings = context.scene.diffposetalk_capture
        chosen = settings.start_frame if settings.window == "START" else None
        return ExtractStyle(
            styles.machine(),
            video,
            style_list.library_folder(),
            self.style_name or style_library.name_from(video),
            ReferenceWindow("auto" if chosen is not None else settings.window, chosen),
            person=self.person(context),
        )

    finish = _Extraction.finish


class DIFFPOSETALK_OT_capture_performance(_VideoOperator):
    """Key the performance in the video on the selected heads as it is: the tracked motion becomes a take"""

    bl_idname = "diffposetalk.capture_performance"
    bl_label = "Key Performance"
    bl_options = {"REGISTER", "UNDO"}
    job: TrackVideo

    def start(self, context: bpy.types.Context) -> TrackVideo:
        """Check the heads, and start tracking."""
        for item in scene_settings.speakers(context):
            find_target(item, bundled.bundled_jaw_open_angle())
        return TrackVideo(styles.machine(), capture_video(context), self.person(context))

    def finish(self, context: bpy.types.Context) -> str:
        """Key the motion."""
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


class DIFFPOSETALK_OT_view_picture(bpy.types.Operator):
    """Open the picture in the system's viewer, at its full size"""

    bl_idname = "diffposetalk.view_picture"
    bl_label = "View Full Size"

    path: StringProperty(name="Picture", description="File to open", subtype="FILE_PATH")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Open it."""
        if not os.path.isfile(self.path):
            self.report({"ERROR"}, "The picture is not there any more. Track the video again.")
            return {"CANCELLED"}
        bpy.ops.wm.path_open(filepath=self.path)
        return {"FINISHED"}


class DIFFPOSETALK_OT_fetch_tracker(JobOperator):
    """Download MediaPipe's face tracker (face_landmarker.task, 3.8 MB, from Google) once, and check its checksum"""

    bl_idname = "diffposetalk.fetch_tracker"
    bl_label = "Fetch Face Tracker"
    job: FetchTracker

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """One job at a time, and only when Blender may go online."""
        if not bpy.app.online_access:
            cls.poll_message_set(
                rpt_("Turn on Allow Online Access in Preferences, System, or choose the file yourself")
            )
            return False
        return super().poll(context)

    def start(self, context: bpy.types.Context) -> FetchTracker:
        """Start the download."""
        return FetchTracker()

    def finish(self, context: bpy.types.Context) -> str:
        """Use it."""
        addon_preferences().tracker_model = ""
        return rpt_("The face tracker is in {path}").format(path=self.job.path)


def capture_video(context: bpy.types.Context) -> Path:
    """The video that the panel names. Raises UserError where there is none."""
    chosen = context.scene.diffposetalk_capture.video
    if not chosen:
        raise UserError("No video is chosen. Choose one that shows someone speaking, from the front.")
    path = Path(bpy.path.abspath(chosen))
    if not path.is_file():
        raise UserError(f"The video “{path}” does not exist. Choose another one.")
    return path


CLASSES: tuple[Any, ...] = (
    DIFFPOSETALK_OT_add_style,
    DIFFPOSETALK_OT_add_style_from_animation,
    DIFFPOSETALK_OT_add_style_from_video,
    DIFFPOSETALK_OT_save_mix,
    DIFFPOSETALK_OT_preview_reference,
    DIFFPOSETALK_OT_find_style,
    DIFFPOSETALK_OT_rename_style,
    DIFFPOSETALK_OT_delete_style,
    DIFFPOSETALK_OT_export_style,
    DIFFPOSETALK_OT_find_faces,
    DIFFPOSETALK_OT_pick_face,
    DIFFPOSETALK_OT_capture_performance,
    DIFFPOSETALK_OT_view_picture,
    DIFFPOSETALK_OT_fetch_tracker,
)
