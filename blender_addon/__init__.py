# SPDX-License-Identifier: GPL-3.0-or-later
"""DiffPoseTalk for Blender: speech becomes facial animation and head motion, as editable keys.

Scripts use `import diffposetalk` once the add-on is enabled; see `console`.
"""

import atexit

import bpy

from . import (
    backend_job,
    backend_session,
    character_operators,
    character_panel,
    character_properties,
    first_steps,
    import_name,
    job_status,
    model_operators,
    operators,
    panels,
    preferences,
    properties,
    settings_presets,
    setup_operators,
    style_choice,
    style_operators,
    style_panel,
    style_status,
    take_operators,
    take_panel,
    take_properties,
    translation,
    workflow_operators,
    workflow_panel,
    workflow_properties,
)

_CLASSES = (
    job_status.DiffPoseTalkStatus,
    preferences.DiffPoseTalkPreferences,
    properties.DiffPoseTalkSettings,
    *character_properties.CLASSES,
    *take_properties.CLASSES,
    *workflow_properties.CLASSES,
    *style_status.CLASSES,
    *operators.CLASSES,
    *setup_operators.CLASSES,
    *model_operators.CLASSES,
    *first_steps.CLASSES,
    *settings_presets.CLASSES,
    *style_operators.CLASSES,
    *character_operators.CLASSES,
    *take_operators.CLASSES,
    *workflow_operators.CLASSES,
    *panels.CLASSES,
    *style_panel.CLASSES,
    *take_panel.CLASSES,
    *workflow_panel.CLASSES,
    *character_panel.CLASSES,
)


def register() -> None:
    """Make the add-on known to Blender."""
    style_choice.register()
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.diffposetalk = bpy.props.PointerProperty(type=properties.DiffPoseTalkSettings)
    bpy.types.WindowManager.diffposetalk_status = bpy.props.PointerProperty(
        type=job_status.DiffPoseTalkStatus
    )
    character_properties.register()
    take_properties.register()
    workflow_properties.register()
    take_operators.register()
    settings_presets.register()
    translation.register()
    style_status.register()
    import_name.register()
    backend_job.register()
    atexit.register(backend_session.stop)


def unregister() -> None:
    """Take everything back, and end the backend."""
    atexit.unregister(backend_session.stop)
    backend_job.unregister()
    import_name.unregister()
    style_status.unregister()
    translation.unregister()
    settings_presets.unregister()
    take_operators.unregister()
    workflow_properties.unregister()
    take_properties.unregister()
    character_properties.unregister()
    del bpy.types.WindowManager.diffposetalk_status
    del bpy.types.Scene.diffposetalk
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
    style_choice.unregister()
