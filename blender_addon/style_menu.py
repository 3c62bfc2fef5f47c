# SPDX-License-Identifier: GPL-3.0-or-later
"""The row of the main panel that chooses a style, and text that is as wide as its region."""

import textwrap

import bpy

from . import job_status
from .style_choice import MOTION_FILE


def draw_text(layout: bpy.types.UILayout, text: str, width: int, icon: str = "NONE") -> None:
    """A text in as many lines as the region's width (pixels) needs."""
    scale = bpy.context.preferences.system.ui_scale or 1.0
    characters = max(20, int((width / scale - job_status.MARGIN_WIDTH) / job_status.CHARACTER_WIDTH))
    column = layout.column(align=True)
    for number, line in enumerate(textwrap.wrap(text, characters)):
        column.label(text=line, icon=icon if number == 0 or icon == "NONE" else "BLANK1")


def draw_style(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The menu of styles with its search, and what a motion file needs."""
    settings = context.scene.diffposetalk
    row = layout.row(align=True)
    row.prop(settings, "style")
    row.operator("diffposetalk.find_style", text="", icon="VIEWZOOM").second = False
    if settings.style == MOTION_FILE:
        layout.prop(settings, "style_motion", text="Motion")
        layout.prop(settings, "style_window")
        if settings.style_window == "START":
            layout.prop(settings, "style_start_frame")
        layout.operator("diffposetalk.preview_reference", icon="FCURVE")
