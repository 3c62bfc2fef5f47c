# SPDX-License-Identifier: GPL-3.0-or-later
"""The panels for styles and captures, below the main one."""

from pathlib import Path

import bpy

from ...jobs import style_list
from ...jobs.style_list import OWN
from ..common.layout import SidebarPanel, button_row, draw_long, sub_panel_layout
from ..common.wrapped_text import draw_text

PICTURE_SCALE = 6.0
PLOT_SCALE = 11.0


class DIFFPOSETALK_PT_style(SidebarPanel, bpy.types.Panel):
    """What the style is like, mixing, and the library."""

    bl_idname = "DIFFPOSETALK_PT_style"
    bl_parent_id = "DIFFPOSETALK_PT_main"
    bl_label = "Style"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Show it."""
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


class DIFFPOSETALK_PT_capture(SidebarPanel, bpy.types.Panel):
    """Motion and styles from video."""

    bl_idname = "DIFFPOSETALK_PT_capture"
    bl_parent_id = "DIFFPOSETALK_PT_main"
    bl_label = "Video"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Show the settings and buttons."""
        layout = sub_panel_layout(self, context)
        settings = context.scene.diffposetalk_capture
        draw_long(layout, context, settings, "video")
        layout.operator("diffposetalk.find_faces", icon="VIEWZOOM")
        faces = context.window_manager.diffposetalk_reference.faces
        if len(faces) > 1:
            row = layout.row()
            for face in faces:
                column = row.column()
                icon = style_list.picture_icon(Path(face.picture))
                if icon:
                    column.template_icon(icon, scale=4.0)
                column.operator("diffposetalk.pick_face", text="Use").place = face.place
        draw_long(layout, context, settings, "face")
        draw_long(layout, context, settings, "neutral")
        layout.separator()
        draw_long(layout, context, settings, "window")
        if settings.window == "START":
            layout.prop(settings, "start_frame")
        layout.operator("diffposetalk.add_style_from_video", icon="ADD")
        layout.separator()
        layout.prop(settings, "frame")
        layout.prop(settings, "translation")
        layout.prop(settings, "place_sound")
        layout.operator("diffposetalk.capture_performance", icon="OUTLINER_OB_ARMATURE")
        draw_reference(layout, context)


CLASSES = (DIFFPOSETALK_PT_style, DIFFPOSETALK_PT_capture)
