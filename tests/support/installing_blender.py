# SPDX-License-Identifier: GPL-3.0-or-later
"""A Blender that has the extension, and in which Set Up Backend is pressed; it tells what it found before and after.

Usage: python installing_blender.py MODULE SETTINGS [RECORDING]

MODULE is the extension's, SETTINGS its preferences as JSON. With a recording it adds a head and makes it speak.
"""

import importlib
import json
import os
import sys

import bpy

module, settings, *recording = sys.argv[1:]
bpy.context.preferences.system.use_online_access = True
bpy.ops.preferences.addon_enable(module=module)
preferences = bpy.context.preferences.addons[module].preferences
for name, value in json.loads(settings).items():
    setattr(preferences, name, value)
setup = importlib.import_module(f"{module}.install.environment")
told = {"before": setup.setup_problem(), "folder": str(setup.environments_folder())}
bpy.ops.diffposetalk.setup_backend()
told |= {"after": setup.setup_problem(), "python": str(setup.installed_python())}
told["facts"] = setup.current_environment().facts
if recording:
    import diffposetalk

    head, _ = diffposetalk.add_head("Ann")
    [result] = diffposetalk.generate(head, recording[0])
    told["actions"] = len(result.actions[0])
print(json.dumps(told), flush=True)
bpy.ops.preferences.addon_disable(module=module)
os._exit(0)
