# SPDX-License-Identifier: GPL-3.0-or-later
"""The face alone talks; the head stays as it is."""

import bpy

settings = bpy.context.scene.diffposetalk
settings.head_motion = False
