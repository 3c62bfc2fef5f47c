# SPDX-License-Identifier: GPL-3.0-or-later
# mypy: disable-error-code="valid-type"
"""The add-on's preferences: where the backend, the model and the user's FLAME are."""

from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from . import job_status, presets


class DiffPoseTalkPreferences(bpy.types.AddonPreferences):
    """Settings of this machine, shared by all files."""

    bl_idname = __package__

    backend_python: StringProperty(
        name="Backend Python",
        description="Python interpreter that runs the backend. Empty: the one that Set Up Backend installed",
        subtype="FILE_PATH",
    )
    device: EnumProperty(
        name="Device",
        description="Where motion is computed",
        items=[
            ("auto", "Automatic", "The GPU if there is one, else the processor"),
            ("cpu", "CPU", "The processor"),
            ("cuda", "CUDA", "An NVIDIA GPU"),
            ("mps", "Metal", "An Apple GPU"),
        ],
        default="auto",
    )
    model_directory: StringProperty(
        name="Model Folder",
        description="Folder of the model (config.json and model.safetensors). Empty: the bundled model",
        subtype="DIR_PATH",
    )

    flame_model: StringProperty(
        name="FLAME Model",
        description="Your FLAME 2020 or 2023 model, for Add Head: the .pkl or .npz file that you downloaded from "
        "flame.is.tue.mpg.de under the licence that you agreed to there, or a head that one was converted into. "
        "The add-on does not bring it and does not pass it on; scenes and exports of a FLAME head contain it",
        subtype="FILE_PATH",
    )

    style_library: StringProperty(
        name="Style Library",
        description="Folder of your own styles. Empty: the one that the command line uses too "
        "(DIFFPOSETALK_STYLES, or diffposetalk/styles among your user's data)",
        subtype="DIR_PATH",
    )
    tracker_model: StringProperty(
        name="Face Tracker",
        description="MediaPipe's face_landmarker.task, for taking motion from video. Empty: the one that Fetch "
        "Face Tracker has put among your user's data",
        subtype="FILE_PATH",
    )

    first_steps: BoolProperty(
        name="Show First Steps",
        description="Show the way to a first animation in place of the controls, until one has been made",
        default=True,
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Show the settings and the state of the backend."""
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "backend_python")
        layout.prop(self, "device")
        layout.prop(self, "model_directory")
        layout.prop(self, "flame_model")
        layout.prop(self, "style_library")
        layout.prop(self, "tracker_model")
        layout.prop(self, "first_steps")
        row = layout.row()
        row.operator("diffposetalk.check_backend", icon="CHECKMARK")
        row.operator("diffposetalk.setup_backend", icon="IMPORT")
        row = layout.row()
        row.operator("diffposetalk.install_tracking", icon="IMPORT")
        row.operator("diffposetalk.fetch_tracker", icon="IMPORT")
        layout.operator("diffposetalk.install_alignment", icon="IMPORT")
        status = context.window_manager.diffposetalk_status
        job_status.draw_status(layout, status, context.region.width)
        for line in job_status.setup_log()[-8:]:
            layout.label(text=line)


def addon_preferences() -> DiffPoseTalkPreferences:
    """This add-on's preferences."""
    return bpy.context.preferences.addons[__package__].preferences


def chosen_model_directory() -> Path:
    """The model folder of the preferences, or the bundled one."""
    chosen = addon_preferences().model_directory
    return Path(bpy.path.abspath(chosen)) if chosen else presets.MODEL_DIRECTORY
