# SPDX-License-Identifier: GPL-3.0-or-later
"""The row of the main panel that chooses a style."""

import bpy

from ...jobs.style_list import MOTION_FILE


def draw_style(row: bpy.types.UILayout, column: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The menu of styles with its search, and what a motion file needs.

    Args:
        row: room for the menu.
        column: the one that the row is in, for what goes below it.
    """
    settings = context.scene.diffposetalk
    row.prop(settings, "style", text="")
    row.operator("diffposetalk.find_style", text="", icon="VIEWZOOM").second = False
    if settings.style == MOTION_FILE:
        below = column.column()
        below.use_property_split = True
        below.use_property_decorate = False
        below.prop(settings, "style_motion", text="Motion")
        below.prop(settings, "style_window")
        if settings.style_window == "START":
            below.prop(settings, "style_start_frame")
        below.operator("diffposetalk.preview_reference", icon="FCURVE")
