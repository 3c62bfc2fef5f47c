# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel of a video."""

from pathlib import Path

import bpy

from ...jobs import style_list
from ..common.layout import SubPanel, draw_long, sub_panel_layout
from ..common.reference import FACE, draw_reference

FACE_SCALE = 4.0


class DIFFPOSETALK_PT_capture(SubPanel, bpy.types.Panel):
    """Motion and styles from video."""

    bl_label = "Video"
    bl_order = 2

    def draw(self, context: bpy.types.Context) -> None:
        layout = sub_panel_layout(self, context)
        settings = context.scene.diffposetalk_capture
        draw_long(layout, context, settings, "video")
        layout.operator("diffposetalk.find_faces", icon="VIEWZOOM")
        faces = context.window_manager.diffposetalk_faces
        if len(faces) > 1:
            row = layout.row()
            for face in faces:
                column = row.column()
                icon = style_list.picture_icon(Path(face.picture))
                if icon:
                    column.template_icon(icon, scale=FACE_SCALE)
                column.operator("diffposetalk.pick_face", text="Use").place = face.place
        if min(settings.face) < 0:
            layout.label(text="The largest face is taken", icon="INFO")
        else:
            row = draw_long(layout, context, settings, "face")
            row.operator("diffposetalk.pick_face", text="", icon="X").place = FACE["default"]
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
