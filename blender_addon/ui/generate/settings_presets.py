# SPDX-License-Identifier: GPL-3.0-or-later
"""Named sets of settings for Generate: those that come with the add-on, the user's own, and the defaults."""

import bpy
from bl_operators.presets import AddPresetBase
from bl_ui.utils import PresetPanel

from ...data.bundled import ROOT
from ..common.work_operator import WorkOperator

SHIPPED = ROOT / "settings"  # holds a folder `presets`
FOLDER = "diffposetalk"  # below `presets` there and among the user's scripts
KEPT = (
    "quality",
    "takes",
    "random_seed",
    "head_motion",
    "head_strength",
    "head_bone",
    "speech_guidance",
    "style_guidance",
    "sampler",
    "steps",
)
NEVER_RESET = ("audio_source", "audio_path")  # what is said is no setting


class DIFFPOSETALK_PT_presets(PresetPanel, bpy.types.Panel):
    """Choose, save or remove settings for Generate"""

    bl_label = "Settings Presets"  # `script.execute_preset` writes the chosen preset's name over it
    preset_subdir = FOLDER
    preset_operator = "script.execute_preset"
    preset_add_operator = "diffposetalk.add_preset"


class DIFFPOSETALK_OT_add_preset(AddPresetBase, bpy.types.Operator):
    """Save the settings for Generate as a preset, or remove the chosen preset"""

    bl_idname = "diffposetalk.add_preset"
    bl_label = "Add Settings Preset"
    preset_menu = "DIFFPOSETALK_PT_presets"
    preset_subdir = FOLDER
    preset_defines = ["settings = bpy.context.scene.diffposetalk"]
    preset_values = [f"settings.{name}" for name in KEPT]


class DIFFPOSETALK_OT_reset_settings(WorkOperator):
    """Reset all settings for Generate to their defaults; the chosen audio stays"""

    bl_label = "Reset to Defaults"

    def act(self, context: bpy.types.Context) -> str:
        settings = context.scene.diffposetalk
        for prop in settings.bl_rna.properties:
            if prop.identifier not in NEVER_RESET and not prop.is_readonly:
                settings.property_unset(prop.identifier)
        return ""


def draw_header(layout: bpy.types.UILayout, with_reset: bool) -> None:
    """The presets' menu and, where there is room, the way back to the defaults."""
    row = layout.row(align=True)
    row.emboss = "NONE"
    if with_reset:
        row.operator("diffposetalk.reset_settings", text="", icon="LOOP_BACK")
    DIFFPOSETALK_PT_presets.draw_panel_header(layout)


def register() -> None:
    bpy.utils.register_preset_path(str(SHIPPED))


def unregister() -> None:
    bpy.utils.unregister_preset_path(str(SHIPPED))
