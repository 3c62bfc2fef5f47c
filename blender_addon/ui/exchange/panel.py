# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel of files for and from other programs."""

import bpy

from ...jobs.exporting import EXPORTERS
from ..common.layout import SubPanel, button_row, sub_panel_layout
from .operators import operator_name


class DIFFPOSETALK_PT_export(SubPanel, bpy.types.Panel):
    """Files for other programs."""

    bl_label = "Export and Import"
    bl_order = 15

    def draw(self, context: bpy.types.Context) -> None:
        layout = sub_panel_layout(self, context, while_running=True)
        for number, exporter in enumerate(EXPORTERS):
            if number % 2 == 0:
                row = button_row(layout, context)
            row.operator(operator_name(exporter), text=exporter.name, icon="EXPORT")
        row = button_row(layout, context)
        row.operator("diffposetalk.export_motion", icon="EXPORT")
        row.operator("diffposetalk.import_motion", icon="IMPORT")
