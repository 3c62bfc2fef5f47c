# SPDX-License-Identifier: GPL-3.0-or-later
"""The panels of takes and of what is changed of them."""

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ...takes import audio_strip, record
from ..common.layout import RowList, SubPanel, button_row, is_narrow, sub_panel_layout
from ..common.wrapped_text import draw_text
from .operators import active_take, chosen_target
from .properties import SLIDERS

STARS = 5
VERSION_SHARE = 0.4  # of a row


class DIFFPOSETALK_UL_takes(RowList):
    """The takes of the active head."""

    def draw_row(self, context: bpy.types.Context, row: bpy.types.UILayout, item: bpy.types.AnyType) -> None:
        version = record.version(item)  # the name's end, which is cut where it is narrow
        if version:
            row = row.split(factor=VERSION_SHARE)
            row.label(text=version, translate=False)
            row = row.row(align=True)
        row.prop(item, "name", text="", emboss=False)
        if not is_narrow(context):  # else the stars are below the list
            draw_stars(row, item)

    def filter_items(
        self, context: bpy.types.Context, data: bpy.types.AnyType, property: str
    ) -> tuple[list[int], list[int]]:
        target = chosen_target(context)
        wanted = set() if target is None else {a.name for a in record.takes_of(target.owner)}
        text = self.filter_name.lower()
        shown = [
            self.bitflag_filter_item
            if item.name in wanted and item.library is None and text in item.name.lower()
            else 0
            for item in getattr(data, property)
        ]
        return shown, []


def draw_stars(row: bpy.types.UILayout, take: bpy.types.Action) -> None:
    stars = row.row(align=True)
    stars.alignment = "RIGHT"
    stars.scale_x = 0.6
    for star in range(1, STARS + 1):
        kind = "SOLO_ON" if star <= take.diffposetalk.rating else "SOLO_OFF"
        rate = stars.operator("diffposetalk.rate_take", text="", icon=kind, emboss=False)
        rate.take, rate.rating = take.name, star


def draw_other_rate(layout: bpy.types.UILayout, context: bpy.types.Context, take: bpy.types.Action) -> None:
    """Say that a take runs at another speed than it was keyed for, with the button that mends it."""
    fps = audio_strip.frames_per_second(context.scene)
    keyed = record.read_keyed(take.diffposetalk)
    if record.runs_at(keyed, fps):
        return
    text = rpt_(
        "Keyed at {fps:g} frames a second; the scene runs at {rate:g}: the take plays at {share:.0f} % of its speed"
    )
    share = 100 * fps / keyed.fps
    draw_text(layout, text.format(fps=keyed.fps, rate=fps, share=share), context.region.width, "ERROR")
    spoken = "lines" in record.source_of(
        take.diffposetalk
    )  # its strips keep their frames: each line goes to its own
    layout.operator(
        "diffposetalk.generate_dialogue" if spoken else "diffposetalk.retime_to_scene", icon="TIME"
    )


class DIFFPOSETALK_PT_takes(SubPanel, bpy.types.Panel):
    """The variants of a line, to look at, rate, keep and delete."""

    bl_label = "Takes"
    bl_order = 5

    def draw(self, context: bpy.types.Context) -> None:
        layout = sub_panel_layout(self, context, while_running=True)
        row = layout.row()
        row.template_list(
            "DIFFPOSETALK_UL_takes",
            "",
            bpy.data,
            "actions",
            context.window_manager,
            "diffposetalk_take",
            rows=3,
        )
        buttons = row.column(align=True)
        buttons.operator("diffposetalk.step_take", text="", icon="TRIA_UP").step = -1
        buttons.operator("diffposetalk.step_take", text="", icon="TRIA_DOWN").step = 1
        buttons.separator()
        buttons.operator("diffposetalk.delete_take", text="", icon="TRASH")
        shown = active_take(context)
        if is_narrow(context) and shown is not None:
            draw_stars(layout, shown)
        if shown is not None:
            draw_other_rate(layout, context, shown)
        row = button_row(layout, context)
        row.operator("diffposetalk.retime_take", icon="TIME")
        row.operator("diffposetalk.delete_other_takes")


class DIFFPOSETALK_PT_adjust(SubPanel, bpy.types.Panel):
    """What is changed of the shown take; it can always be put back."""

    bl_label = "Adjust Take"
    bl_order = 6

    def draw(self, context: bpy.types.Context) -> None:
        layout = sub_panel_layout(self, context, while_running=True)
        action = active_take(context)
        if action is None:
            layout.label(text="The active object shows no take", icon="INFO")
            return
        take = action.diffposetalk
        for names in SLIDERS:
            column = layout.column(align=True)
            for name in names:
                column.prop(take, name)
        row = button_row(layout, context)
        row.operator("diffposetalk.reset_take", icon="LOOP_BACK")
        row.operator("diffposetalk.copy_adjustment")
