# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene that was saved with version 0.1.0, on another machine, with `tests/support/make_earlier_scene.py`."""

import json
import shutil

import bpy
import numpy as np
import pytest
from support.paths import CLIP, ROOT
from support.scene_state import curves_digest, take_points

FIXTURES = ROOT / "tests" / "fixtures"
BY_HAND = (31.0, 0.75)  # frame and value of the key of mouthFunnel that was made by hand
SETTINGS = {"style": "calm", "sampler": "ddim", "steps": 8, "speech_guidance": 1.5, "seed": 42, "takes": 2,
            "start_frame": 200, "place_sound": False, "audio_path": "//jfk.flac"}  # fmt: skip


@pytest.fixture(autouse=True)
def opened(real_backend, tmp_path):
    """The scene, with its recording beside it."""
    shutil.copy(CLIP, tmp_path)
    shutil.copy(FIXTURES / "scene_0.1.0.blend", tmp_path)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene_0.1.0.blend"))
    yield
    bpy.ops.wm.read_homefile(use_empty=True)


@pytest.fixture
def ann():
    """The head with two takes."""
    return bpy.data.objects["Ann"]


def hand_key(part, action):
    """The key of mouthFunnel that was made by hand."""
    [(_, keys)] = [item for item in take_points(part, action).items() if "mouthFunnel" in item[0][1]]
    [found] = keys[keys[:, 0] == BY_HAND[0]]
    return tuple(found.tolist())


def changed_frames(before, after):
    """Frames at which a curve differs."""
    assert before.keys() == after.keys()
    frames = [
        after[place][np.abs(after[place][:, 1] - keys[:, 1]) > 2e-5, 0] for place, keys in before.items()
    ]
    return np.unique(np.concatenate(frames))


def test_takes_are_there_with_their_keys(api, part, ann):
    first, second = api.takes(ann)
    assert part("takes.showing").shown_take(ann) == first
    assert (first.diffposetalk.rating, second.diffposetalk.rating) == (4, 0)
    change = api.adjust(first)
    assert (change.mouth, change.head_yaw, change.time_offset) == pytest.approx((1.25, 0.5, 0.05))
    kept = json.loads((FIXTURES / "scene_0.1.0.json").read_text(encoding="utf-8"))
    curves = part("takes.keying").action_curves
    assert {action.name: curves_digest(curves(action)) for action in bpy.data.actions} == kept
    bpy.context.scene.frame_set(round(BY_HAND[0]))
    assert hand_key(part, first) == BY_HAND
    assert ann.data.shape_keys.key_blocks["mouthFunnel"].value == BY_HAND[1]
    api.show_take(second)
    assert part("takes.showing").shown_take(ann) == second
    bpy.context.scene.frame_set(round(BY_HAND[0]))
    assert ann.data.shape_keys.key_blocks["mouthFunnel"].value != BY_HAND[1]


def test_a_take_is_adjusted_and_set_back(api, part, ann):
    action = api.takes(ann)[0]
    before = take_points(part, action)
    api.adjust(ann, mouth=0.6, head_yaw=1.5)
    assert len(changed_frames(before, take_points(part, action))) > 40
    assert hand_key(part, action) == BY_HAND
    api.adjust(ann, mouth=1.25, head_yaw=0.5)
    assert all(np.array_equal(take_points(part, action)[place], keys) for place, keys in before.items())


def test_ranges_are_made_again(api, part, ann):
    """With the model of this Blender, and the recording that lies beside the scene now."""
    before = take_points(part, api.takes(ann)[0])
    [new] = api.regenerate(ann, 36, 45, seed=5)
    frames = changed_frames(before, take_points(part, new))
    assert len(frames) and frames.min() >= 34 and frames.max() <= 47
    assert hand_key(part, new) == BY_HAND and len(api.takes(ann)) == 3
    bob = bpy.data.objects["Wolf3D_Head"]
    [line] = api.takes(bob)
    [new] = api.regenerate(bob, 100, 110, seed=5)
    frames = changed_frames(take_points(part, line), take_points(part, new))
    assert len(frames) and frames.min() >= 98 and frames.max() <= 112


def test_the_panel_generates_with_its_settings(api, ann):
    settings = bpy.context.scene.diffposetalk
    assert {name: getattr(settings, name) for name in SETTINGS} == pytest.approx(SETTINGS)
    settings.steps, before = 2, api.takes(ann)
    bpy.ops.object.select_all(action="DESELECT")
    bpy.context.view_layer.objects.active = ann
    ann.select_set(True)
    assert bpy.ops.diffposetalk.generate() == {"FINISHED"}
    made = [action for action in api.takes(ann) if action not in before]
    assert len(made) == 2 and made[0].frame_range[0] == 200 and made[0]["seed"] == 42
    source = json.loads(made[0].diffposetalk.source)
    assert (source["sampler"], source["steps"], source["style"]) == ("ddim", 2, {"preset": "calm"})


def test_the_dialogue_stands(api, part):
    scene, bob = bpy.context.scene, bpy.data.objects["Wolf3D_Head"]
    workflow = scene.diffposetalk_workflow
    [rule] = workflow.speakers
    assert (rule.by, rule.pattern, rule.object) == ("NAME", "Bob*", bob)
    assert not workflow.only_changed and workflow.hold_brows and not workflow.hold_lips
    assert (workflow.range_first, workflow.range_last, workflow.range_seed) == (20, 30, 5)
    strip = part("takes.audio_strip").sound_strip(scene, "Bob's line")
    assert strip.diffposetalk_transcript == "And so, my fellow Americans"
    [line], left_out = part("jobs.dialogue").dialogue_lines(scene)
    assert (line.strip, line.speaker, left_out) == ("Bob's line", bob, [])
    job = api.generate_dialogue(seed=3, steps=2)
    [take] = job.takes
    assert take in api.takes(bob) and tuple(take.frame_range) == (90.0, 137.0)
