# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel of files for and from other programs."""

import bpy

from ..common.layout import SidebarPanel, button_row, sub_panel_layout


class DIFFPOSETALK_PT_export(SidebarPanel, bpy.types.Panel):
    """Files for other programs."""

    bl_idname = "DIFFPOSETALK_PT_export"
    bl_parent_id = "DIFFPOSETALK_PT_main"
    bl_label = "Export and Import"
    bl_options = {"DEFAULT_CLOSED"}
    bl_order = 15

    def draw(self, context: bpy.types.Context) -> None:
        """Show the buttons."""
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
