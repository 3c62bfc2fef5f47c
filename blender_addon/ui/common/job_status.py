# SPDX-License-Identifier: GPL-3.0-or-later
"""What the window shows of the job under way: kept on the window manager, so that undo does not touch it."""

import bpy
from bpy.props import BoolProperty, FloatProperty, StringProperty

from .wrapped_text import draw_text

REDRAW_SECONDS = 0.1
PANELS = "PANELS"  # the sidebar

setup_log: list[str] = []  # the last lines of the backend's installation


class DiffPoseTalkStatus(bpy.types.PropertyGroup):
    """State of the running job, and how the last one ended."""

    running: BoolProperty(options={"SKIP_SAVE"})
    cancel_requested: BoolProperty(options={"SKIP_SAVE"})
    progress: FloatProperty(min=0.0, max=1.0, options={"SKIP_SAVE"})
    text: StringProperty(options={"SKIP_SAVE"})
    error: StringProperty(options={"SKIP_SAVE"})
    place: StringProperty(default=PANELS, options={"SKIP_SAVE"})


def show(
    context: bpy.types.Context,
    *,
    running: bool,
    progress: float = 0.0,
    text: str = "",
    error: str = "",
    place: str = "PANELS",
) -> None:
    """Put a job's state where the panels read it, and have them redrawn.

    Args:
        place: where it is said how the job ended: PANELS, or the page of the preferences that it belongs to.
    """
    status = context.window_manager.diffposetalk_status
    state = running, text, error, place
    unchanged = (status.running, status.text, status.error, status.place) == state
    if unchanged and abs(status.progress - progress) < 0.001:
        return
    status.running, status.text, status.error, status.place = state
    status.progress = progress
    redraw()
    if not running:
        status.cancel_requested = False
        if not bpy.app.timers.is_registered(
            redraw
        ):  # once more when the operator has ended: buttons are free then
            bpy.app.timers.register(redraw, first_interval=REDRAW_SECONDS)


def redraw() -> None:
    """Have everything drawn anew that may show what a job does."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            for region in area.regions:
                region.tag_redraw()


def draw_status(
    layout: bpy.types.UILayout, status: DiffPoseTalkStatus, width: int, place: str = PANELS
) -> None:
    """Show the running job with its Cancel button, or how the last one ended that belongs to a place.

    Args:
        width: of the region in pixels; text is broken into as many lines as it needs.
    """
    if status.running:
        percent = f" {100 * status.progress:.0f} %" if status.progress > 0 else ""
        layout.progress(factor=status.progress, text=status.text + percent)
        layout.operator("diffposetalk.cancel", icon="CANCEL")
    elif status.place != place:
        return
    elif status.error:
        box = layout.box()
        box.alert = True
        draw_text(box, status.error, width, "ERROR")
    elif status.text:
        draw_text(layout, status.text, width, "INFO")


PROPERTIES = (
    (bpy.types.WindowManager, "diffposetalk_status", bpy.props.PointerProperty(type=DiffPoseTalkStatus)),
)
