# SPDX-License-Identifier: GPL-3.0-or-later
"""What the features share: jobs with their progress, panels' layout, wrapped text, languages."""

import bpy

from . import job_operator, job_status, translation

_register, _unregister = bpy.utils.register_classes_factory((*job_status.CLASSES, *job_operator.CLASSES))


def register() -> None:
    """Make the status and the languages known to Blender."""
    _register()
    job_status.register()
    translation.register()


def unregister() -> None:
    """Take it back, in the other order."""
    translation.unregister()
    job_status.unregister()
    _unregister()
