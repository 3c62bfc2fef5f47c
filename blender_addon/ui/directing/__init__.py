# SPDX-License-Identifier: GPL-3.0-or-later
"""Ranges made again, layers, dialogue, lip-sync check."""

import bpy

from . import operators, panel, properties

_register, _unregister = bpy.utils.register_classes_factory(
    (
        *properties.CLASSES,
        *operators.CLASSES,
        *panel.CLASSES,
    )
)


def register() -> None:
    """Make the feature known to Blender: classes first, then the properties made of them."""
    _register()
    properties.register()


def unregister() -> None:
    """Take it back, in the other order."""
    properties.unregister()
    _unregister()
