# SPDX-License-Identifier: GPL-3.0-or-later
"""The tab "DiffPoseTalk" in the 3D View's sidebar: the main job on top, everything else closed below it."""

import os

import bpy

from ...data import bundled
from ...data.generation_options import SAMPLERS
from ...faces import targets
from ...install.preferences import chosen_model_directory
from ...jobs import scene_settings
from ...takes import audio_strip
from ..common import job_status
from ..common.layout import SidebarPanel, SubPanel, is_narrow, sub_panel_layout
from ..common.wrapped_text import draw_text
from . import first_steps, properties, settings_presets, style_menu

LABEL_SHARE = 0.28  # of the width, for the names of the main controls
PROPERTY_SHARE = 0.4  # the same where Blender shows properties


def bases_differ(context: bpy.types.Context) -> bool:
    """Whether a selected face shows another expression basis than the model speaks."""
    basis = bundled.model_basis(chosen_model_directory())
    faces = [item for item in context.selected_objects if item.type in ("MESH", "ARMATURE")]
    return basis is not None and any(targets.basis_of(item) != basis for item in faces)


def _control(
    column: bpy.types.UILayout, name: str, context: bpy.types.Context, share: float = LABEL_SHARE
) -> bpy.types.UILayout:
    """A main control's name, and room for the control beside it or, in a narrow sidebar, below it."""
    if is_narrow(context):
        column.label(text=name)
        return column.row(align=True)
    split = column.split(factor=share)
    label = split.row()
    label.alignment = "RIGHT"
    label.label(text=name)
    return split.row(align=True)


def _draw_head(column: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Who speaks: the selected heads, and the button that adds one."""
    settings = context.scene.diffposetalk
    row = _control(column, "Head", context)
    chosen = [item for item in context.selected_objects if targets.could_speak(item)]
    if chosen:
        row.label(text=", ".join(item.name for item in chosen), icon="OUTLINER_OB_MESH", translate=False)
    add = row.operator("diffposetalk.add_head", icon="ADD", **({"text": ""} if chosen else {}))
    add.source, add.identity = settings.head_source, settings.head_identity


def _draw_audio(column: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What is said: a file, or the sequencer's active strip."""
    settings = context.scene.diffposetalk
    row = _control(column, "Audio", context)
    row.prop(settings, "audio_source", expand=True, icon_only=True)
    if settings.audio_source == "FILE":
        row.prop(settings, "audio_path", text="")
        row.operator("diffposetalk.choose_audio", text="", icon="FILEBROWSER")
        name = os.path.basename(settings.audio_path.replace("\\", "/"))
        if name != settings.audio_path:  # of a long path the field shows the beginning
            _control(column, "", context).label(text=name, translate=False)
        return
    strip = audio_strip.active_sound_strip(context)
    if strip is None:
        row.label(text="No strip is active")
    else:
        row.label(text=strip.name, translate=False)


class DIFFPOSETALK_PT_main(SidebarPanel, bpy.types.Panel):
    """Speech in, motion out."""

    bl_idname = "DIFFPOSETALK_PT_main"
    bl_label = "DiffPoseTalk"

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        settings_presets.draw_header(self.layout, with_reset=not is_narrow(context))

    def draw(self, context: bpy.types.Context) -> None:
        if first_steps.wanted():
            first_steps.draw_card(self.layout, context)
            return
        layout = self.layout
        settings = context.scene.diffposetalk
        status = context.window_manager.diffposetalk_status
        width = context.region.width
        column = layout.column()
        column.enabled = not status.running
        _draw_head(column, context)
        _draw_audio(column, context)
        style_menu.draw_style(_control(column, "Style", context), column, context)
        row = _control(column, "Quality", context)
        row.enabled = bundled.has_draft(chosen_model_directory()) or settings.quality == "DRAFT"
        row.prop(settings, "quality", expand=True)
        _control(column, "Takes", context).prop(settings, "takes", text="")
        if bases_differ(context):
            column.prop(settings, "convert_basis")

        problem = first_steps.backend_problem()
        if problem:
            first_steps.draw_backend_problem(layout, problem, width)
        row = layout.row()  # while a job runs too: nothing jumps, and nobody cancels by a second click
        row.scale_y = 1.5
        row.operator("diffposetalk.generate", icon="PLAY")
        missing = "" if problem or status.running else scene_settings.missing_for_generate(context)
        if missing:
            draw_text(layout, missing, width, "INFO")
        job_status.draw_status(layout, status, width)


def draw_model_defaults(layout: bpy.types.UILayout, settings: properties.DiffPoseTalkSettings) -> None:
    """Say what another model than the bundled one uses for the settings that nobody has changed."""
    defaults = bundled.sampling_defaults(chosen_model_directory())
    own = {
        "speech_guidance": f"speech guidance {defaults.speech_guidance:.2f}",
        "style_guidance": f"style guidance {defaults.style_guidance:.2f}",
        "sampler": f"sampler {defaults.sampler}",
        "steps": f"{defaults.steps} steps",
    }
    unchanged = [text for name, text in own.items() if not settings.is_property_set(name)]
    if unchanged:
        column = layout.column(align=True)
        column.label(text="This model's own defaults:", icon="INFO")
        for text in unchanged:
            column.label(text=text, icon="BLANK1")


class DIFFPOSETALK_PT_options(SubPanel, bpy.types.Panel):
    """Where the speech begins, which variant it is, and what the head does."""

    bl_label = "Start, Seed and Head"

    def draw(self, context: bpy.types.Context) -> None:
        layout = sub_panel_layout(self, context)
        settings = context.scene.diffposetalk
        column = layout.column()
        column.enabled = settings.audio_source == "FILE"  # a strip has its place
        column.prop(settings, "start_at")
        if settings.start_at == "FIXED":
            column.prop(settings, "start_frame")
        column.prop(settings, "place_sound")
        column = layout.column()
        row = column.row(align=True)
        row.prop(settings, "seed")
        row.operator("diffposetalk.new_seed", text="", icon="FILE_REFRESH")
        column.prop(settings, "random_seed")
        column = layout.column()
        column.prop(settings, "head_motion")
        sub = column.column()
        sub.enabled = settings.head_motion
        sub.prop(settings, "head_strength")
        sub.prop(settings, "head_bone")


class DIFFPOSETALK_MT_sampler(bpy.types.Menu):
    """Method by which noise becomes motion, step by step"""

    bl_label = "Sampler"

    def draw(self, context: bpy.types.Context) -> None:
        for name, sampler in SAMPLERS.items():
            if sampler.offered:
                self.layout.prop_enum(context.scene.diffposetalk, "sampler", name)


class DIFFPOSETALK_PT_advanced(SubPanel, bpy.types.Panel):
    """What is seldom changed."""

    bl_label = "Advanced"
    bl_order = 30

    def draw(self, context: bpy.types.Context) -> None:
        layout = sub_panel_layout(self, context)
        settings = context.scene.diffposetalk
        layout.prop(settings, "head_source")
        layout.prop(settings, "head_identity")
        sampling = layout.column()
        sampling.enabled = settings.quality != "DRAFT"
        sampling.prop(settings, "speech_guidance")
        sampling.prop(settings, "style_guidance")
        shown = settings.bl_rna.properties["sampler"].enum_items[settings.sampler].name
        _control(sampling, "Sampler", context, PROPERTY_SHARE).menu("DIFFPOSETALK_MT_sampler", text=shown)
        row = sampling.row()
        row.enabled = settings.sampler != "ddpm"
        row.prop(settings, "steps")
        if chosen_model_directory() != bundled.MODEL_DIRECTORY:
            draw_model_defaults(layout, settings)
