# SPDX-License-Identifier: GPL-3.0-or-later
"""What all panels of the sidebar have in common: their place, and how they make do with a narrow one."""

import bpy

NARROW_WIDTH = 250  # pixels at a UI scale of 1, below which names find no room beside settings


class SidebarPanel:
    """Where all panels are."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "DiffPoseTalk"


class SubPanel(SidebarPanel):
    """A panel below the main one, closed until it is wanted."""

    bl_parent_id = "DIFFPOSETALK_PT_main"
    bl_options = {"DEFAULT_CLOSED"}


def sub_panel_layout(
    panel: bpy.types.Panel, context: bpy.types.Context, *, while_running: bool = False
) -> bpy.types.UILayout:
    """The layout of a panel as all begin: names on the left or, where it is narrow, in the fields; no dots for keying.

    Args:
        while_running: whether it can be used while a job runs.
    """
    layout: bpy.types.UILayout = panel.layout
    layout.use_property_split = not is_narrow(context)
    layout.use_property_decorate = False
    layout.enabled = while_running or not context.window_manager.diffposetalk_status.running
    return layout


def is_narrow(context: bpy.types.Context) -> bool:
    return context.region.width < NARROW_WIDTH * context.preferences.system.ui_scale


def button_row(layout: bpy.types.UILayout, context: bpy.types.Context) -> bpy.types.UILayout:
    """Room for buttons side by side or, in a narrow sidebar, one below the other."""
    return layout.column(align=True) if is_narrow(context) else layout.row(align=True)


def draw_long(
    layout: bpy.types.UILayout, context: bpy.types.Context, owner: bpy.types.bpy_struct, name: str
) -> bpy.types.UILayout:
    """Show a property that fills its line, with its name above it in a narrow sidebar. Returns its row."""
    narrow = is_narrow(context)
    if narrow:
        layout.label(text=owner.bl_rna.properties[name].name)
    row = layout.row(align=True)
    row.prop(owner, name, **({"text": ""} if narrow else {}))
    return row


class RowList(bpy.types.UIList):
    """A list whose items are each drawn as one row."""

    def draw_row(self, context: bpy.types.Context, row: bpy.types.UILayout, item: bpy.types.AnyType) -> None:
        raise NotImplementedError

    def draw_item(
        self,
        context: bpy.types.Context,
        layout: bpy.types.UILayout,
        data: bpy.types.AnyType,
        item: bpy.types.AnyType,
        icon: int,
        active_data: bpy.types.AnyType,
        active_property: str,
        index: int = 0,
        flt_flag: int = 0,
    ) -> None:
        self.draw_row(context, layout.row(align=True), item)
