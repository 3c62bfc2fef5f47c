# SPDX-License-Identifier: GPL-3.0-or-later
"""Words and missed closures on the timeline, with the real backend and real lines."""

import shutil
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
import pytest
from support.lip_rigs import LIP_RIGS, build_lip_rig

HAS_SOUND = bpy.app.build_options.audaspace
SAID = "And so, my fellow Americans"


@pytest.fixture(autouse=True)
def backend_from_environment(backend_python, part, monkeypatch):
    """Use the environment's interpreter, and no preference of another test."""
    monkeypatch.setenv("DIFFPOSETALK_BACKEND_PYTHON", backend_python)
    preferences = part("install.preferences").addon_preferences()
    preferences.backend_python = preferences.model_directory = ""
    preferences.device = "cpu"
    bpy.context.scene.timeline_markers.clear()
    bpy.context.scene.diffposetalk_workflow.speakers.clear()


def held_open(part, action):
    """Open a take's mouth throughout."""
    raw = part("takes.showing").raw_motion(action)
    jaw, exp = np.array(raw.jaw), np.array(raw.exp)
    jaw[:, 0] = np.maximum(jaw[:, 0], 0.2)
    for name in ("mouthClose", "mouthRollLower", "mouthRollUpper", "mouthPressLeft", "mouthPressRight"):
        exp[:, raw.expression_names.index(name)] = 0
    part("takes.showing").apply(action, raw=replace(raw, jaw=jaw, exp=exp))


def marks(sign):
    found = [m for m in bpy.context.scene.timeline_markers if m.name.startswith(sign)]
    return sorted(((m.frame, m.name) for m in found), key=lambda mark: mark[0])


def test_the_models_own_judgement_then_a_transcript(api, part, recordings):
    scene = bpy.context.scene
    head, _ = api.add_head("Ann")
    sound = recordings / "americans.wav"
    api.generate(head, sound, seed=3, start_frame=11, steps=4, place_sound=False)
    [action] = api.takes(head)
    scene.timeline_markers.new("mine", frame=3)
    job = api.check_lips(head)
    assert job.source == "model" and len(marks("✕")) == job.closures and job.words == 0
    assert all("mm open" in name for _, name in marks("✕"))

    held_open(part, action)
    scene.diffposetalk_workflow.transcript = SAID
    assert bpy.ops.diffposetalk.check_lips() == {"FINISHED"}
    words = marks("“")
    assert [name for _, name in words] == ["“and”", "“so”", "“my”", "“fellow”", "“americans”"]
    frames = [frame for frame, _ in words]
    assert frames == sorted(frames) and 11 <= frames[0] < 30 and 45 < frames[-1] < 11 + 80
    missed = marks("✕")
    assert [name.split(":")[0] for _, name in missed] == ["✕ M in “my”", "✕ M in “americans”"]
    assert frames[2] - 2 <= missed[0][0] <= frames[3] and frames[4] <= missed[1][0]
    assert "2 closures are not reached, 5 words marked" in bpy.context.window_manager.diffposetalk_status.text

    for place in (missed[0][0], missed[0][0] - 1, missed[0][0] + 1):  # closed by hand, as an animator would
        for one in part("takes.record").take_actions(action):
            for curve in part("takes.keying").action_curves(one):
                if curve.data_path.endswith('["jaw"].rotation_euler') and curve.array_index == 0:
                    curve.keyframe_points[place - 11].co.y = 0.0
    scene.diffposetalk_workflow.transcript = ""
    job = api.check_lips(head, SAID)
    assert [name.split(":")[0] for _, name in marks("✕")] == ["✕ M in “americans”"]
    assert bpy.ops.diffposetalk.clear_marks() == {"FINISHED"}
    assert [marker.name for marker in scene.timeline_markers] == ["mine"]


def test_stretched_takes_are_checked_at_their_own_speed(api, part, recordings, tmp_path):
    head, _ = api.add_head("Ann")
    sound = Path(shutil.copy(recordings / "americans.wav", tmp_path / "line.wav"))
    sound.with_suffix(".txt").write_text(SAID, encoding="utf-8")  # beside the recording
    api.generate(head, sound, seed=3, start_frame=1, steps=2, place_sound=False)
    api.check_lips(head)
    plain = [frame for frame, _ in marks("“")]
    assert len(plain) == 5
    part("takes.showing").retime(api.takes(head)[0], 101.0, 2.0, 25.0)
    api.check_lips(head)
    assert [frame for frame, _ in marks("“")] == pytest.approx([101 + 2 * (f - 1) for f in plain], abs=2)


def test_transcripts_that_do_not_fit(api, part, recordings, monkeypatch):
    head, _ = api.add_head("Ann")
    api.generate(head, recordings / "americans.wav", seed=3, steps=2, place_sound=False)
    bpy.context.scene.timeline_markers.new("“old”", frame=3)
    with pytest.raises(api.BackendError, match="dictionary lacks: xyzzy"):
        api.check_lips(head, "and so my xyzzy")
    assert [name for _, name in marks("“")] == ["“old”"]


@pytest.mark.skipif(not HAS_SOUND, reason="this build of Blender has no sound")
def test_words_of_a_dialogue(api, part, recordings, tmp_path):
    scene = bpy.context.scene
    scene.render.fps = 30
    editor = scene.sequence_editor or scene.sequence_editor_create()
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences
    for name in ("ann.wav", "bob.wav", "other.wav"):
        shutil.copy(recordings / "americans.wav", tmp_path / name)
    (tmp_path / "ann.txt").write_text(SAID, encoding="utf-8")
    for name, sound, channel, frame in (
        ("Ann_1", "ann.wav", 1, 10),
        ("Bob_1", "bob.wav", 2, 120),
        ("Ann_2", "other.wav", 1, 240),
    ):
        strips.new_sound(name, str(tmp_path / sound), channel, frame)
    ann, _ = api.add_head("Ann")
    bob, _ = api.add_head("Bob")
    strips["Bob_1"].diffposetalk_transcript = SAID
    strips["Ann_2"].diffposetalk_transcript = "and so xyzzy"
    job = api.generate_dialogue(seed=1, steps=2)
    assert len(job.takes) == 2
    for action in job.takes:
        held_open(part, action)
    job = api.check_lips([ann, bob])
    [problem] = job.problems
    assert "Ann_2" in problem and "xyzzy" in problem
    assert (job.words, job.closures, job.source) == (10, 4, "transcript")
    words = [frame for frame, _ in marks("“")]
    ann_1, bob_1 = words[:5], words[5:]
    assert 10 <= ann_1[0] < 35 and bob_1 == pytest.approx([frame + 110 for frame in ann_1], abs=1)


def test_a_characters_lips_are_checked_on_its_mesh(api, part, recordings):
    mesh, _ = build_lip_rig(LIP_RIGS["VRM vowels"]())
    api.generate(mesh, recordings / "americans.wav", seed=3, start_frame=11, steps=4, place_sound=False)
    present = bpy.context.scene.frame_current
    assert api.check_lips(mesh, SAID).closures == 0 and bpy.context.scene.frame_current == present
    for curve in part("takes.keying").action_curves(mesh.data.shape_keys.animation_data.action):
        if (
            "Fcl_MTH_A" in curve.data_path
        ):  # what the channels say does not matter: a key alone holds the mouth open
            for point in curve.keyframe_points:
                point.co.y = 0.5
    job = api.check_lips(mesh, SAID)
    assert [name.split(":")[0] for _, name in marks("✕")] == ["✕ M in “my”", "✕ M in “americans”"]
    assert job.closures == 2
