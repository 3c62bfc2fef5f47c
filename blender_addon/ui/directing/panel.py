# SPDX-License-Identifier: GPL-3.0-or-later
"""Panels of what comes after the first take; all closed until they are wanted."""

import bpy

from ...takes import audio_strip
from ..common.layout import RowList, SidebarPanel, SubPanel, button_row, draw_long, sub_panel_layout


class DIFFPOSETALK_PT_range(SubPanel, bpy.types.Panel):
    """A part of the take again."""

    bl_label = "Regenerate Range"
    bl_order = 7

    def draw(self, context: bpy.types.Context) -> None:
        layout = sub_panel_layout(self, context, while_running=True)
        settings = context.scene.diffposetalk_workflow
        column = layout.column(align=True)
        column.prop(settings, "range_first")
        column.prop(settings, "range_last")
        layout.operator("diffposetalk.range_from_timeline", icon="KEYFRAME_HLT")
        layout.prop(settings, "range_seed")
        column = layout.column(heading="Hold Fixed", align=True)
        for name in ("hold_lips", "hold_brows", "hold_eyes", "hold_head"):
            column.prop(settings, name)
        layout.prop(settings, "hold_hand_made")
        layout.operator("diffposetalk.regenerate_range", icon="FILE_REFRESH")


class DIFFPOSETALK_PT_layers(SubPanel, bpy.types.Panel):
    """Which parts are keyed, and how the take lies over other animation."""

    bl_label = "Layers and Keys"
    bl_order = 8

    def draw(self, context: bpy.types.Context) -> None:
        layout = sub_panel_layout(self, context, while_running=True)
        settings = context.scene.diffposetalk_workflow
        column = layout.column()
        column.use_property_split = False  # three buttons side by side
        column.label(text="What Is Keyed")
        row = button_row(column, context)
        for name in ("key_lips", "key_upper", "key_head"):
            row.prop(settings, name, toggle=True)
        column.prop(settings, "stream")
        column = layout.column()
        column.prop(settings, "nla_blend")
        column.operator("diffposetalk.push_take", icon="NLA_PUSHDOWN")
        column = layout.column()
        column.prop(settings, "reduce_bound")
        column.operator("diffposetalk.reduce_keys", icon="IPO_BEZIER")


class DIFFPOSETALK_UL_speakers(RowList):
    """Who speaks what."""

    def draw_row(self, context: bpy.types.Context, row: bpy.types.UILayout, item: bpy.types.AnyType) -> None:
        row.prop(item, "object", text="", emboss=False)
        recognised = {"CHANNEL": f"channel {item.channel}", "NAME": item.pattern, "COLOR": item.color.title()}
        row.label(text=recognised[item.by])


class DIFFPOSETALK_PT_dialogue(SubPanel, bpy.types.Panel):
    """The sequencer's lines."""

    bl_label = "Dialogue"
    bl_order = 9

    def draw(self, context: bpy.types.Context) -> None:
        layout = sub_panel_layout(self, context, while_running=True)
        settings = context.scene.diffposetalk_workflow
        row = layout.row()
        row.template_list(
            "DIFFPOSETALK_UL_speakers", "", settings, "speakers", settings, "active_speaker", rows=2
        )
        buttons = row.column(align=True)
        buttons.operator("diffposetalk.add_speaker", text="", icon="ADD")
        buttons.operator("diffposetalk.remove_speaker", text="", icon="REMOVE")
        if 0 <= settings.active_speaker < len(settings.speakers):
            rule = settings.speakers[settings.active_speaker]
            column = layout.column()
            column.prop(rule, "object")
            column.prop(rule, "by")
            column.prop(rule, {"CHANNEL": "channel", "NAME": "pattern", "COLOR": "color"}[rule.by])
        layout.prop(settings, "only_changed")
        layout.operator("diffposetalk.generate_dialogue", icon="SEQUENCE")
        layout.operator("diffposetalk.step_line", icon="FILE_REFRESH")


class DIFFPOSETALK_PT_lips(SubPanel, bpy.types.Panel):
    """Words, and closures that are not reached."""

    bl_label = "Lip-Sync Check"
    bl_order = 10

    def draw(self, context: bpy.types.Context) -> None:
        layout = sub_panel_layout(self, context, while_running=True)
        draw_long(layout, context, context.scene.diffposetalk_workflow, "transcript")
        row = button_row(layout, context)
        row.operator("diffposetalk.check_lips", icon="CHECKMARK")
        row.operator("diffposetalk.clear_marks", icon="X")


class DIFFPOSETALK_PT_strip(SidebarPanel, bpy.types.Panel):
    """What is said in the sequencer's active strip."""

    bl_idname = "DIFFPOSETALK_PT_strip"
    bl_space_type = "SEQUENCE_EDITOR"
    bl_label = "DiffPoseTalk"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return audio_strip.active_sound_strip(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout = sub_panel_layout(self, context, while_running=True)
        layout.prop(audio_strip.active_sound_strip(context), "diffposetalk_transcript")
