# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel of the style and the library."""

import bpy

from ...jobs import style_list
from ...jobs.style_list import OWN
from ..common.layout import SubPanel, button_row, draw_long, sub_panel_layout
from ..common.reference import draw_reference
from ..common.wrapped_text import draw_text

PICTURE_SCALE = 6.0


class DIFFPOSETALK_PT_style(SubPanel, bpy.types.Panel):
    """What the style is like, mixing, and the library."""

    bl_label = "Style"
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        layout = sub_panel_layout(self, context)
        settings = context.scene.diffposetalk
        width = context.region.width
        choice = style_list.find_choice(settings.style)
        if choice is not None:
            icon = style_list.icon_of(choice)
            if icon:
                layout.template_icon(icon, scale=PICTURE_SCALE)
            if choice.figures:
                draw_text(layout, choice.figures, width, "DRIVER_DISTANCE")
            if not choice.usable:
                draw_text(layout, choice.description, width, "ERROR")
        layout.prop(settings, "style_guidance")
        row = draw_long(layout, context, settings, "style_second")
        row.operator("diffposetalk.find_style", text="", icon="VIEWZOOM").second = True
        layout.prop(settings, "style_mix", slider=True)
        sub = layout.column()
        sub.enabled = settings.style_mix > 0
        sub.operator("diffposetalk.save_mix", icon="FILE_TICK")
        layout.separator()
        layout.label(text="Add to Library:")
        row = button_row(layout, context)
        row.operator("diffposetalk.add_style", text="File", icon="FILE")
        row.operator("diffposetalk.add_style_from_animation", text="Animation", icon="ACTION")
        column = layout.column()
        column.enabled = settings.style.startswith(OWN)
        row = button_row(column, context)
        row.operator("diffposetalk.rename_style", text="Rename", icon="GREASEPENCIL")
        row.operator("diffposetalk.delete_style", text="Delete", icon="TRASH")
        column.operator("diffposetalk.export_style", text="Export", icon="EXPORT")
        draw_reference(layout, context)
