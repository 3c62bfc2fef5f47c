# SPDX-License-Identifier: GPL-3.0-or-later
"""The tab "DiffPoseTalk" in the 3D View's sidebar."""

import bpy

from . import audio_strip, job_status, presets, properties, style_menu, targets
from .preferences import chosen_model_directory


class SidebarPanel:
    """Where all panels are."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "DiffPoseTalk"


def bases_differ(context: bpy.types.Context) -> bool:
    """Whether a selected face shows another expression basis than the model speaks."""
    basis = presets.model_basis(chosen_model_directory())
    faces = [item for item in context.selected_objects if item.type in ("MESH", "ARMATURE")]
    return basis is not None and any(targets.basis_of(item) != basis for item in faces)


class DIFFPOSETALK_PT_main(SidebarPanel, bpy.types.Panel):
    """Speech in, motion out."""

    bl_idname = "DIFFPOSETALK_PT_main"
    bl_label = "DiffPoseTalk"

    def draw(self, context: bpy.types.Context) -> None:
        """Show the settings, the button, and how it goes."""
        layout = self.layout
        settings = context.scene.diffposetalk
        status = context.window_manager.diffposetalk_status
        row = layout.row(align=True)
        add = row.operator("diffposetalk.add_head", icon="ADD")
        add.source, add.identity = settings.head_source, settings.head_identity
        row.prop(settings, "head_source", text="")

        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        column.enabled = not status.running
        column.row().prop(settings, "audio_source", expand=True)
        if settings.audio_source == "FILE":
            column.prop(settings, "audio_path", text="File")
            column.prop(settings, "start_at")
            if settings.start_at == "FIXED":
                column.prop(settings, "start_frame", text="Frame")
        else:
            strip = audio_strip.active_sound_strip(context)
            column.label(
                text=strip.name if strip is not None else "No sound strip is active",
                icon="SOUND" if strip is not None else "ERROR",
            )
        column.separator()
        style_menu.draw_style(column, context)
        column.separator()
        row = column.row(align=True)
        row.prop(settings, "seed")
        row.operator("diffposetalk.new_seed", text="", icon="FILE_REFRESH")
        column.prop(settings, "takes")
        row = column.row()
        row.enabled = presets.has_draft(chosen_model_directory()) or settings.quality == "DRAFT"
        row.prop(settings, "quality", expand=True)
        column.separator()
        row = column.row(heading="Head Motion")
        row.prop(settings, "head_motion", text="")
        sub = row.row()
        sub.enabled = settings.head_motion
        sub.prop(settings, "head_strength", text="")

        if bases_differ(context):
            row = column.row()
            row.use_property_split = False  # the whole width for its long name
            row.prop(settings, "convert_basis")

        layout.separator()
        if not status.running:
            row = layout.row()
            row.scale_y = 1.4
            row.operator("diffposetalk.generate", icon="PLAY")
        job_status.draw_status(layout, status, context.region.width)


def draw_model_defaults(layout: bpy.types.UILayout, settings: properties.DiffPoseTalkSettings) -> None:
    """Say what another model than the bundled one uses for the settings that nobody has changed."""
    defaults = presets.sampling_defaults(chosen_model_directory())
    own = {
        "speech_guidance": f"speech guidance {defaults.speech_guidance:.2f}",
        "style_guidance": f"style guidance {defaults.style_guidance:.2f}",
        "sampler": f"sampler {defaults.sampler}",
        "steps": f"{defaults.steps} steps",
    }
    unchanged = [text for name, text in own.items() if not settings.is_property_set(name)]
    if unchanged:
        column = layout.column(align=True)
        column.label(text="Until changed, as this model has it:", icon="INFO")
        for text in unchanged:
            column.label(text=text, icon="BLANK1")


class DIFFPOSETALK_PT_advanced(SidebarPanel, bpy.types.Panel):
    """What is seldom changed."""

    bl_idname = "DIFFPOSETALK_PT_advanced"
    bl_parent_id = "DIFFPOSETALK_PT_main"
    bl_label = "Advanced"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Show the settings."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = context.scene.diffposetalk
        layout.enabled = not context.window_manager.diffposetalk_status.running
        layout.prop(settings, "head_identity")
        layout.prop(settings, "head_bone")
        layout.prop(settings, "random_seed")
        layout.prop(settings, "place_sound")
        sampling = layout.column()
        sampling.enabled = settings.quality != "DRAFT"
        sampling.prop(settings, "speech_guidance")
        sampling.prop(settings, "style_guidance")
        sampling.prop(settings, "sampler")
        row = sampling.row()
        row.enabled = settings.sampler != "ddpm"
        row.prop(settings, "steps")
        if chosen_model_directory() != presets.MODEL_DIRECTORY:
            draw_model_defaults(layout, settings)


class DIFFPOSETALK_PT_export(SidebarPanel, bpy.types.Panel):
    """Files for other programs."""

    bl_idname = "DIFFPOSETALK_PT_export"
    bl_parent_id = "DIFFPOSETALK_PT_main"
    bl_label = "Export and Import"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Show the buttons."""
        row = self.layout.row(align=True)
        row.operator("diffposetalk.export_fbx", text="FBX", icon="EXPORT")
        row.operator("diffposetalk.export_alembic", text="Alembic", icon="EXPORT")
        row.operator("diffposetalk.export_gltf", text="glTF", icon="EXPORT")
        row.operator("diffposetalk.export_usd", text="USD", icon="EXPORT")
        row = self.layout.row(align=True)
        row.operator("diffposetalk.export_motion", icon="EXPORT")
        row.operator("diffposetalk.import_motion", icon="IMPORT")


CLASSES = (DIFFPOSETALK_PT_main, DIFFPOSETALK_PT_advanced, DIFFPOSETALK_PT_export)
