# SPDX-License-Identifier: GPL-3.0-or-later
"""Set Up Backend, the preferences, and the models that a user brings."""

import bpy

from . import model_operators, operators, preferences

register, unregister = bpy.utils.register_classes_factory(
    (
        *preferences.CLASSES,
        *operators.CLASSES,
        *model_operators.CLASSES,
    )
)
