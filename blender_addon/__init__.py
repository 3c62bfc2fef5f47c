# SPDX-License-Identifier: GPL-3.0-or-later
"""DiffPoseTalk for Blender: speech becomes facial animation and head motion, as editable keys.

Where things are; each package imports only those before it, `api` and `ui` not each other:

    data/      facts, formats and arithmetic that need no Blender
    client/    the backend's process, and JSON-RPC calls to it; needs no Blender either
    install/   Set Up Backend, and what the preferences say
    engine/    the one warm process, and the course of every job
    faces/     the rig, and whom motion is keyed on
    takes/     motion on the timeline: records, keys, layers, adjustment, sound
    jobs/      what a button or a script asks for, from settings to keys
    api/       `import diffposetalk` in Blender's console
    ui/        what the user sees, a package a feature

A click on Generate: `ui.generate.operators`, `jobs.scene_settings`, `jobs.generation`, `engine.job`,
`client.client`, then the backend; its windows come back through `jobs.generation` to `takes.preview`,
`takes.keying` and `takes.record`.
"""

import atexit

from .api import import_name
from .engine import job, session
from .jobs import style_list
from .ui import FEATURES


def register() -> None:
    style_list.register()
    for feature in FEATURES:
        feature.register()
    import_name.register()
    job.register()
    atexit.register(session.stop)


def unregister() -> None:
    atexit.unregister(session.stop)
    job.unregister()
    import_name.unregister()
    for feature in reversed(FEATURES):
        feature.unregister()
    style_list.unregister()
