# SPDX-License-Identifier: GPL-3.0-or-later
"""Buttons that add styles from files and animation, mix them, and find them."""

from pathlib import Path

import bpy
from bpy.app.translations import pgettext_rpt as rpt_
from bpy.props import BoolProperty, EnumProperty, FloatVectorProperty, IntProperty, StringProperty
from bpy_extras.io_utils import ImportHelper

from ...data import style_library
from ...data.errors import UserError
from ...data.style_request import VIDEO_SUFFIXES
from ...jobs import scene_settings, style_list
from ...jobs.styles import (
    REFERENCE_SUFFIXES,
    ExtractStyle,
    MixStyles,
    Person,
    PreviewReference,
    style_of_animation,
)
from ...takes import scene_motion, showing
from ..common.job_operator import JobOperator
from ..common.reference import (
    FACE,
    ExtractionOperator,
    reference_window,
    select_style,
    show_reference,
    start_property,
    window_property,
)
from ..common.work_operator import WorkOperator

VIDEO_FILTER = ";".join(f"*{suffix}" for suffix in VIDEO_SUFFIXES)


class _FromReference(ExtractionOperator):
    """An operator that asks which four seconds, beside the file or in a dialog."""

    description: StringProperty(name="Description", description="Words to find it by")
    window: window_property("reference")
    start_frame: start_property()

    def draw_window(self, layout: bpy.types.UILayout) -> None:
        layout.use_property_split = True
        layout.prop(self, "style_name")
        layout.prop(self, "description")
        layout.prop(self, "window")
        if self.window == "START":
            layout.prop(self, "start_frame")


class DIFFPOSETALK_OT_add_style(_FromReference, ImportHelper):
    """Add a style to your library from a file: a motion clip (.npz), a Live Link Face recording (.csv), a style vector (.npy), a style file (.dptstyle) or a video of someone speaking"""  # noqa: E501

    bl_label = "Add Style from File"

    filter_glob: StringProperty(
        default=f"*{style_library.SUFFIX};{';'.join('*' + s for s in REFERENCE_SUFFIXES)};{VIDEO_FILTER}",
        options={"HIDDEN"},
    )
    face: FloatVectorProperty(
        name="Face",
        description="Where in the video's picture the face is, as shares from the left and from the top. "
        "Negative: the largest face",
        **FACE,
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.filepath and self.properties.is_property_set("filepath"):
            return JobOperator.invoke(self, context, event)
        return ImportHelper.invoke(self, context, event)

    def draw(self, context: bpy.types.Context) -> None:
        self.draw_window(self.layout)

    def execute(self, context: bpy.types.Context) -> set[str]:
        path = Path(bpy.path.abspath(self.filepath))
        if path.suffix.lower() == style_library.SUFFIX:
            try:
                select_style(context, style_library.import_style(style_list.library_folder(), path))
            except UserError as error:
                self._fail(context, error)
                return {"CANCELLED"}
            self.report({"INFO"}, rpt_("Imported the style “{name}”").format(name=path.stem))
            return {"FINISHED"}
        return self.go(context)

    def start(self, context: bpy.types.Context) -> ExtractStyle:
        path = Path(bpy.path.abspath(self.filepath))
        known = (*REFERENCE_SUFFIXES, *VIDEO_SUFFIXES)
        if path.suffix.lower() not in known:
            raise UserError(
                f"“{path.name}” is no file that a style is taken from: {', '.join(known[:4])} or a video."
            )
        return ExtractStyle(
            path,
            self.style_name,
            reference_window(self.window, self.start_frame),
            person=Person(None if min(self.face) < 0 else (self.face[0], self.face[1])),
            description=self.description,
        )


class DIFFPOSETALK_OT_add_style_from_animation(_FromReference):
    """Add a style to your library from the animation of the active head or character"""

    bl_label = "Add Style from Animation"

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
            ("FIXED", "Frame Range", "The frames below"),
        ],
    )
    first_frame: IntProperty(name="From", description="First frame of the scene that is read", default=1)
    last_frame: IntProperty(name="To", description="Last frame of the scene that is read", default=100)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if context.scene.use_preview_range:
            self.frames = "PREVIEW"
        return context.window_manager.invoke_props_dialog(self)

    def draw(self, context: bpy.types.Context) -> None:
        self.draw_window(self.layout)
        self.layout.prop(self, "frames")
        if self.frames == "FIXED":
            self.layout.prop(self, "first_frame")
            self.layout.prop(self, "last_frame")

    def execute(self, context: bpy.types.Context) -> set[str]:
        return self.go(context)

    def start(self, context: bpy.types.Context) -> ExtractStyle:
        scene, target = context.scene, showing.target_of(scene_settings.speakers(context)[0])
        frames = scene_motion.frame_range(scene, target, self.frames, self.first_frame, self.last_frame)
        window = reference_window(self.window, self.start_frame)
        return style_of_animation(scene, target, frames, self.style_name, window, self.description)


class DIFFPOSETALK_OT_save_mix(JobOperator):
    """Save the mixture of the two chosen styles in your library"""

    bl_label = "Save Mix"
    bl_options = {"REGISTER", "UNDO"}
    job: MixStyles

    style_name: StringProperty(
        name="Name",
        description="Name of the mixture. Empty: made of both names",
        maxlen=style_library.MAX_NAME,
    )

    def start(self, context: bpy.types.Context) -> MixStyles:
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
        return MixStyles(specs, amounts, name)

    def finish(self, context: bpy.types.Context) -> str:
        style = self.job.result
        select_style(context, style.path)
        context.scene.diffposetalk.style_mix = 0.0
        return rpt_("Saved “{name}”").format(name=style.path.stem) + f": {style.figures}"


class DIFFPOSETALK_OT_preview_reference(JobOperator):
    """Plot the motion file with the four seconds that its style would be taken from"""

    bl_label = "Show Reference"
    job: PreviewReference

    def start(self, context: bpy.types.Context) -> PreviewReference:
        settings = context.scene.diffposetalk
        if not settings.style_motion:
            raise UserError("No motion file is chosen for the style. Choose one.")
        window = reference_window(settings.style_window, settings.style_start_frame)
        return PreviewReference(Path(bpy.path.abspath(settings.style_motion)), window)

    def finish(self, context: bpy.types.Context) -> str:
        show_reference(context, plot=self.job.plot, notes=self.job.notes)
        return rpt_("The reference has {frames} frames, {seconds:.1f} s").format(
            frames=self.job.count, seconds=self.job.count / 25
        )


class DIFFPOSETALK_OT_find_style(WorkOperator):
    """Find a style by its name or description"""

    bl_label = "Find Style"
    bl_property = "style"

    style: EnumProperty(name="Style", description="Style to use", items=style_list.searchable_items)
    second: BoolProperty(name="Second", description="Choose the style that is mixed in", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        style_list.own_styles(fresh=True)
        context.window_manager.invoke_search_popup(self)
        return {"RUNNING_MODAL"}

    def act(self, context: bpy.types.Context) -> str:
        setattr(context.scene.diffposetalk, "style_second" if self.second else "style", self.style)
        return ""
