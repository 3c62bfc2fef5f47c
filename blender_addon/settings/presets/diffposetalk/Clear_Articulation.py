# SPDX-License-Identifier: GPL-3.0-or-later
"""For what must be read from the lips: the speech is followed more closely."""

import bpy

settings = bpy.context.scene.diffposetalk
settings.speech_guidance = 1.6
