# SPDX-License-Identifier: GPL-3.0-or-later
"""References that styles are taken from: their four seconds, what the last one was like, and the new style.

What was read is kept on the window manager, so that undo does not touch it.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import bpy
from bpy.app.translations import pgettext_rpt as rpt_
from bpy.props import EnumProperty, IntProperty, PointerProperty, StringProperty

from ...data import style_library
from ...data.errors import UserError
from ...jobs import style_list
from ...jobs.styles import ExtractStyle, ReferenceWindow, TrackedVideo
from .job_operator import JobOperator
from .work_operator import WorkOperator
from .wrapped_text import draw_text

PLOT_SCALE = 11.0
FACE = {
    "size": 2,
    "min": -1.0,
    "max": 1.0,
    "default": (-1.0, -1.0),
}  # of a property: a place in a video's picture


def window_property(of: str) -> EnumProperty:
    """The property that chooses four seconds of a reference."""
    return EnumProperty(
        name="Four Seconds",
        description=f"Which part of the {of} the style is taken from",
        items=[
            (
                "auto",
                "Automatic",
                "Four seconds in which the mouth moves, and that are most typical of the whole",
            ),
            ("mean", "Whole Reference", "The mean style over all of it"),
            ("START", "From a Frame", "The four seconds that begin at the frame below"),
        ],
    )


def start_property() -> IntProperty:
    """The property that says where chosen seconds begin."""
    return IntProperty(
        name="First Frame",
        description="Where the four seconds begin, in frames of the reference at 25 a second",
        min=0,
    )


def reference_window(window: str, start_frame: int) -> ReferenceWindow:
    return ReferenceWindow(start_frame=start_frame) if window == "START" else ReferenceWindow(window)


class DiffPoseTalkReference(bpy.types.PropertyGroup):
    """The last reference that was read: its plot, the video's contact sheet, and what to beware of."""

    plot: StringProperty(options={"SKIP_SAVE"})
    contact_sheet: StringProperty(options={"SKIP_SAVE"})
    summary: StringProperty(options={"SKIP_SAVE"})
    notes: StringProperty(options={"SKIP_SAVE"})  # a line each


def show_reference(
    context: bpy.types.Context,
    *,
    tracked: TrackedVideo | None = None,
    plot: Path | None = None,
    notes: Sequence[str] = (),
) -> None:
    shown = context.window_manager.diffposetalk_reference
    shown.plot = str(plot or "")
    shown.contact_sheet, shown.summary = (
        ("", "") if tracked is None else (str(tracked.contact_sheet), tracked.summary)
    )
    shown.notes = "\n".join(dict.fromkeys([*(() if tracked is None else tracked.warnings), *notes]))


def select_style(context: bpy.types.Context, path: Path) -> None:
    style_list.own_styles(fresh=True)
    context.scene.diffposetalk.style = style_list.OWN + path.stem


class ExtractionOperator(JobOperator):
    """An operator that adds a style of a reference to the library."""

    bl_options = {"REGISTER", "UNDO"}
    job: ExtractStyle

    style_name: StringProperty(
        name="Name",
        description="Name of the style. Empty: that of the file or object",
        maxlen=style_library.MAX_NAME,
    )

    def finish(self, context: bpy.types.Context) -> str:
        style = self.job.result
        select_style(context, style.path)
        show_reference(context, tracked=style.tracked, plot=style.plot, notes=style.notes)
        for note in style.notes:
            self.report({"WARNING"}, note)
        figures = f": {style.figures}" if style.figures else ""
        return rpt_("Added the style “{name}”").format(name=style.path.stem) + figures


def draw_reference(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The last reference: its plot (mouth above, head below, the seconds that were read lit up) and notes."""
    shown = context.window_manager.diffposetalk_reference
    if not (shown.plot or shown.contact_sheet or shown.notes):
        return
    layout.separator()
    layout.label(text="Last Reference:")
    for path in (shown.contact_sheet, shown.plot):
        if not path:
            continue
        icon = style_list.picture_icon(Path(path))
        if icon:
            layout.template_icon(icon, scale=PLOT_SCALE)
        layout.operator("diffposetalk.view_picture", icon="IMAGE_DATA").path = path
    if shown.summary:
        draw_text(layout, shown.summary, context.region.width, "INFO")
    for note in shown.notes.splitlines():
        draw_text(layout, note, context.region.width, "ERROR")


class DIFFPOSETALK_OT_view_picture(WorkOperator):
    """Open the picture in the system's viewer, at its full size"""

    bl_label = "View Full Size"
    bl_options = {"REGISTER"}

    path: StringProperty(name="Picture", description="File to open", subtype="FILE_PATH")

    def act(self, context: bpy.types.Context) -> str:
        if not os.path.isfile(self.path):
            raise UserError("The picture is not there any more. Track the video again.")
        bpy.ops.wm.path_open(filepath=self.path)
        return ""


PROPERTIES = (
    (bpy.types.WindowManager, "diffposetalk_reference", PointerProperty(type=DiffPoseTalkReference)),
)
