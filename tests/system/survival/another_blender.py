# SPDX-License-Identifier: GPL-3.0-or-later
"""A Blender that installs the extension, generates, and ends in some way.

Usage: python another_blender.py ZIP MODEL RECORDING finish|exit|abrupt|SIGTERM|SIGKILL
"""

import json
import os
import sys
import time

import bpy

archive, model, recording, how = sys.argv[1:]
bpy.ops.extensions.package_install_files(
    filepath=archive, repo="user_default", enable_on_install=True, overwrite=True
)
addon = sys.modules["bl_ext.user_default.diffposetalk"]
preferences = bpy.context.preferences.addons[addon.__name__].preferences
preferences.model_directory, preferences.device = model, "cpu"

import diffposetalk  # noqa: E402 - there is one only now

head, _ = diffposetalk.add_head("Ann")
job = diffposetalk.generate(head, recording, seed=3, blocking=False)
while job.poll() == "running" and job.text != "Making the motion":
    time.sleep(0.01)
assert job.state == "running" or how == "finish", job.failure
client = sys.modules[f"{addon.__name__}.engine.session"].client()
print("working", client.process.pid, flush=True)
if how == "exit":
    sys.exit()
if how == "abrupt":
    os._exit(1)
if how.startswith("SIG"):
    time.sleep(600)
state = job.wait(600)
keying = sys.modules[f"{addon.__name__}.takes.keying"]
curves = [list(keying.action_curves(action)) for action in job.results[0].actions[0]]
values = [point.co[1] for curve in curves[0] for point in curve.keyframe_points]
counts = sorted({len(curve.keyframe_points) for action in curves for curve in action})
print(json.dumps({"state": state, "keys": counts, "sum": round(sum(values), 4)}), flush=True)
bpy.ops.preferences.addon_disable(module=addon.__name__)
os._exit(0)
