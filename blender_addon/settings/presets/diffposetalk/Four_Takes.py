# SPDX-License-Identifier: GPL-3.0-or-later
"""Four variants of a line to choose from, others at every Generate."""

import bpy

settings = bpy.context.scene.diffposetalk
settings.takes = 4
settings.random_seed = True
