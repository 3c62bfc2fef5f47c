# SPDX-License-Identifier: GPL-3.0-or-later
"""A strong style and a head that moves more."""

import bpy

settings = bpy.context.scene.diffposetalk
settings.style_guidance = 4.0
settings.head_strength = 1.3
