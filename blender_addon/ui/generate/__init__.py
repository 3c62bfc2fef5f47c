# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job: head, audio, style, Generate; the first steps and the settings presets."""

import bpy

from . import first_steps, operators, panel, properties, settings_presets

_register, _unregister = bpy.utils.register_classes_factory(
    (
        *properties.CLASSES,
        *operators.CLASSES,
        *first_steps.CLASSES,
        *settings_presets.CLASSES,
        *panel.CLASSES,
    )
)


def register() -> None:
    """Make the feature known to Blender: classes first, then the properties made of them."""
    _register()
    properties.register()
    settings_presets.register()


def unregister() -> None:
    """Take it back, in the other order."""
    settings_presets.unregister()
    properties.unregister()
    _unregister()
