# SPDX-License-Identifier: GPL-3.0-or-later
"""Files for other programs, and motion from them."""

import bpy

from . import operators, panel

register, unregister = bpy.utils.register_classes_factory(
    (
        *operators.CLASSES,
        *panel.CLASSES,
    )
)
