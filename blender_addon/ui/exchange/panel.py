# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel of files for and from other programs."""

import bpy

from ..common.layout import SubPanel, button_row, sub_panel_layout


class DIFFPOSETALK_PT_export(SubPanel, bpy.types.Panel):
    """Files for other programs."""

    bl_label = "Export and Import"
    bl_order = 15

    def draw(self, context: bpy.types.Context) -> None:
        layout = sub_panel_layout(self, context, while_running=True)
        row = button_row(layout, context)
        row.operator("diffposetalk.export_fbx", text="FBX", icon="EXPORT")
        row.operator("diffposetalk.export_alembic", text="Alembic", icon="EXPORT")
        row = button_row(layout, context)
        row.operator("diffposetalk.export_gltf", text="glTF", icon="EXPORT")
        row.operator("diffposetalk.export_usd", text="USD", icon="EXPORT")
        row = button_row(layout, context)
        row.operator("diffposetalk.export_motion", icon="EXPORT")
        row.operator("diffposetalk.import_motion", icon="IMPORT")


CLASSES = (DIFFPOSETALK_PT_export,)
