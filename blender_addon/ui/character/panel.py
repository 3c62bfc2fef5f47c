# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel of a character's mapping."""

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ...data.errors import UserError
from ...faces import character, face_groups
from ...faces.targets import could_speak
from ...takes import try_pose
from ..common.layout import RowList, SubPanel, sub_panel_layout
from .operators import chosen_character

_STRIP = "STRIP_COLOR" if bpy.app.version >= (4, 4, 0) else "SEQUENCE_COLOR"
_COLOURS = {
    face_groups.FOUND: f"{_STRIP}_04",
    face_groups.PARTLY: f"{_STRIP}_03",
    face_groups.MISSING: f"{_STRIP}_01",
}


class DIFFPOSETALK_UL_mapping(RowList):
    """Source and target of each row."""

    def draw_row(self, context: bpy.types.Context, row: bpy.types.UILayout, item: bpy.types.AnyType) -> None:
        kind = item.bl_rna.properties["kind"].enum_items[item.kind]
        row.label(text=item.source)
        row.label(text=item.target, icon=kind.icon)
        row.prop(item, "gain", text="", emboss=False)


class DIFFPOSETALK_PT_character(SubPanel, bpy.types.Panel):
    """What of the active object's character is keyed."""

    bl_label = "Character"
    bl_order = 20

    def draw(self, context: bpy.types.Context) -> None:
        layout = sub_panel_layout(self, context, while_running=True)
        owner = chosen_character(context)
        if context.active_object is not None and could_speak(context.active_object):
            self._draw_tests(layout)
        if owner is None:
            layout.label(text="Our own heads need no mapping", icon="INFO")
            return
        settings = owner.diffposetalk
        layout.label(
            text=owner.name, icon="OUTLINER_OB_ARMATURE" if owner.type == "ARMATURE" else "OUTLINER_OB_MESH"
        )
        self._draw_groups(layout, context.active_object)
        row = layout.row(align=True)
        row.operator("diffposetalk.detect_mapping", icon="VIEWZOOM")
        row.operator_menu_enum("diffposetalk.mapping_preset", "preset")
        row.operator("diffposetalk.import_mapping", text="", icon="IMPORT")
        row.operator("diffposetalk.export_mapping", text="", icon="EXPORT")
        if not settings.stored:
            layout.label(text="Guessed from the names at Generate", icon="INFO")
            return
        row.operator("diffposetalk.clear_mapping", text="", icon="X")
        row = layout.row()
        row.template_list("DIFFPOSETALK_UL_mapping", "", settings, "rows", settings, "active_row", rows=4)
        buttons = row.column(align=True)
        buttons.operator("diffposetalk.add_mapping_row", text="", icon="ADD")
        buttons.operator("diffposetalk.remove_mapping_row", text="", icon="REMOVE")
        if 0 <= settings.active_row < len(settings.rows):
            self._draw_row(layout.column(), settings.rows[settings.active_row])
        rig = character.armature_of(context.active_object)
        if rig is not None:
            column = layout.column()
            for name in ("head", "neck", "jaw", "eye_left", "eye_right"):
                column.prop_search(settings, name, rig.data, "bones", icon="BONE_DATA")
            column.prop(settings, "neck_share")
            column.prop(settings, "jaw_by")
            column.prop(settings, "layered")

    def _draw_tests(self, layout: bpy.types.UILayout) -> None:
        """Buttons that move the face for a moment, and the one that finds out why it does not."""
        grid = layout.grid_flow(row_major=True, columns=4, even_columns=True, align=True)
        for pose, name, _ in try_pose.CHOICES:
            grid.operator("diffposetalk.test_pose", text=rpt_(name), translate=False).pose = pose
        layout.operator("diffposetalk.does_it_move", icon="QUESTION")

    def _draw_groups(self, layout: bpy.types.UILayout, item: bpy.types.Object) -> None:
        """What of the face was found: green all of it, amber some of it, red nothing."""
        try:
            face = character.find_character(item)
        except UserError:
            return
        grid = layout.grid_flow(row_major=True, columns=3, even_columns=True, align=True)
        for group in face_groups.face_groups(face):
            share = "" if group.count in (0, group.whole) else f" {group.count}/{group.whole}"
            grid.label(text=rpt_(group.name) + share, icon=_COLOURS[group.state], translate=False)

    def _draw_row(self, column: bpy.types.UILayout, row: bpy.types.PropertyGroup) -> None:
        column.prop(row, "source")
        column.prop(row, "kind")
        column.prop(row, "object")
        item = bpy.data.objects.get(row.object)
        if row.kind == "KEY" and item is not None and getattr(item.data, "shape_keys", None) is not None:
            column.prop_search(row, "target", item.data.shape_keys, "key_blocks")
        elif row.kind == "BONE" and item is not None and item.type == "ARMATURE":
            column.prop_search(row, "target", item.data, "bones")
        else:
            column.prop(row, "target")
        if row.kind == "BONE":
            column.prop(row, "channel")
        column.prop(row, "gain")
        column.prop(row, "offset")
        pair = column.row(align=True)
        pair.prop(row, "low")
        pair.prop(row, "high")
