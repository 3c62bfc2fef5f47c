# SPDX-License-Identifier: GPL-3.0-or-later
"""Make tests/fixtures/scene_0.1.0.blend, a scene as it was saved with version 0.1.0, and digests of its keys.

Run in an installed Blender 4.2 or 4.3 with the zip of that version, built from its commit (59d402f), in the folder
where the scene and a copy of the bundled clip, jfk.flac, are to lie:

    blender --background --factory-startup --python make_earlier_scene.py -- ZIP

`DIFFPOSETALK_BACKEND_PYTHON` names the interpreter with that version's backend. (Blender's wheels before 4.5 have no
sound, and so no strips.) What is in the scene is what `tests/addon/takes/test_earlier_scenes.py` expects.
"""

import json
import os
import sys
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.foreign_rigs import RIGS, build
from support.scene_state import curves_digest

bpy.ops.extensions.package_install_files(
    filepath=os.path.abspath(sys.argv[-1]), repo="user_default", enable_on_install=True, overwrite=True
)
import diffposetalk  # noqa: E402 - there is one only now

RECORDING = os.path.abspath("jfk.flac")
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.preferences.addon_enable(module="bl_ext.user_default.diffposetalk")
preferences = bpy.context.preferences.addons["bl_ext.user_default.diffposetalk"].preferences
preferences.device = "cpu"
scene = bpy.context.scene
scene.render.fps = 24

# A head of ours: two takes, the first of them changed, rated and with a key made by hand.
head, _ = diffposetalk.add_head("Ann")
diffposetalk.generate(
    head, RECORDING, seed=7, takes=2, style="calm", start_frame=11, audio_seconds=2.0, place_sound=False
)
first, second = diffposetalk.takes(head)
path = head.data.shape_keys.key_blocks["mouthFunnel"].path_from_id("value")
curve = next(c for c in first.fcurves if c.data_path == path)
curve.keyframe_points[20].co.y = 0.75
curve.update()
diffposetalk.adjust(head, mouth=1.25, head_yaw=0.5, time_offset=0.05)
first.diffposetalk.rating = 4

# Another tool's character, which speaks a strip of the sequencer.
_, meshes = build(RIGS["Ready Player Me"](), "Bob")
strip = scene.sequence_editor_create().sequences.new_sound("Bob's line", RECORDING, 2, 90)
strip.frame_final_duration = 48
strip.diffposetalk_transcript = "And so, my fellow Americans"
workflow = scene.diffposetalk_workflow
rule = workflow.speakers.add()
rule.by, rule.pattern, rule.object = "NAME", "Bob*", meshes[0]
workflow.only_changed, workflow.hold_brows = False, True
workflow.range_first, workflow.range_last, workflow.range_seed = 20, 30, 5
diffposetalk.generate_dialogue(style="excited", seed=3, steps=6)

# The panel as an animator left it.
settings = scene.diffposetalk
settings.audio_path, settings.style, settings.sampler = "//jfk.flac", "calm", "ddim"
settings.steps, settings.speech_guidance, settings.seed, settings.takes = 8, 1.5, 42, 2
settings.start_frame, settings.head_strength, settings.place_sound = 200, 0.8, False

digests = {action.name: curves_digest(action.fcurves) for action in bpy.data.actions}
Path("scene_0.1.0.json").write_text(
    json.dumps(digests, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
)
bpy.context.preferences.filepaths.save_version = 0
bpy.ops.wm.save_as_mainfile(filepath=os.path.abspath("scene_0.1.0.blend"), compress=True, relative_remap=True)
bpy.ops.file.make_paths_relative()
bpy.ops.wm.save_mainfile(compress=True)
