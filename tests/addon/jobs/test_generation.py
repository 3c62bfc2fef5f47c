# SPDX-License-Identifier: GPL-3.0-or-later
"""From recordings to keys with the real backend and the bundled model; and every way in which it can fail."""

import os
import wave
from pathlib import Path

import bpy
import numpy as np
import pytest
from support.gate import poll_until
from support.scene_state import scene_state
from support.waiting import PATIENCE

HAS_SOUND = bpy.app.build_options.audaspace

pytestmark = pytest.mark.usefixtures("real_backend")


@pytest.fixture
def quick():
    """Settings that keep tests short."""
    return {"steps": 2}


def sound_strips(part):
    return [s for s in part("takes.audio_strip").sequencer_strips(bpy.context.scene) if s.type == "SOUND"]


def key_frames(part, action):
    curve = next(part("takes.keying").action_curves(action))
    return [curve.keyframe_points[0].co.x, curve.keyframe_points[-1].co.x, len(curve.keyframe_points)]


def test_one_object(api, part, recordings, quick):
    head, rig = api.add_head()
    bpy.context.scene.frame_end = 20
    results = api.generate(head, recordings / "speech.wav", seed=3, start_frame=11, **quick)
    assert len(results) == 1 and results[0].objects == [head] and results[0].seeds == [3]
    keys, bones = results[0].actions[0]
    assert head.data.shape_keys.animation_data.action is keys and rig.animation_data.action is bones
    assert (
        keys.name.startswith("speech · take 1 (seed 3)") and keys["seed"] == 3 and keys["synthetic"] is True
    )
    assert len(keys["audio_sha256"]) == 64 and "DiffPoseTalk" in keys["generator"] and keys["style"]
    assert key_frames(part, keys) == [11, 60, 50]  # 2 s at 25 frames per second
    assert bpy.context.scene.frame_end == 60
    strips = sound_strips(part)
    if HAS_SOUND:
        assert strips == [results[0].strip] and strips[0].frame_final_start == 11 and not results[0].warnings
        assert abs(strips[0].frame_final_duration - 50) <= 1
    else:
        assert not strips and "no sound" in results[0].warnings[0]


@pytest.mark.parametrize(("fps", "base"), [(24, 1.0), (24, 1.001), (30, 1.0), (30, 1.001), (60, 1.0)])
def test_frame_rates(api, part, recordings, quick, fps, base):
    head, _ = api.add_head()
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = fps, base
    result = api.generate(head, recordings / "speech.wav", **quick)[0]
    first, last, count = key_frames(part, result.actions[0][0])
    seconds = (last - first) * base / fps
    assert first == 1 and count == last - first + 1
    assert 49 / 25 - base / fps < seconds <= 49 / 25 + 1e-4  # the clip's last frame is 1.96 s
    if HAS_SOUND:
        strip = sound_strips(part)[0]
        assert strip.frame_final_start == 1
        assert abs(strip.frame_final_duration - 2.0 * fps / base) <= 1


def test_the_same_seed_makes_the_same_motion_at_any_frame_rate(api, part, recordings, quick):
    head, _ = api.add_head()
    scene = bpy.context.scene

    def values(seconds):
        scene.frame_set(1 + int(seconds * scene.render.fps))
        return [key.value for key in head.data.shape_keys.key_blocks]

    api.generate(head, recordings / "speech.wav", seed=5, **quick)
    at_25 = values(1.0)
    scene.render.fps = 50
    api.generate(head, recordings / "speech.wav", seed=5, **quick)
    np.testing.assert_allclose(values(1.0), at_25, atol=1e-5)
    api.generate(head, recordings / "speech.wav", seed=6, **quick)
    assert np.abs(np.subtract(values(1.0), at_25)).max() > 1e-3


def test_takes_and_no_head_motion(api, part, recordings, quick):
    head, _ = api.add_head()
    result = api.generate(head, recordings / "speech.wav", seed=10, takes=3, head_motion=False, **quick)[0]
    assert result.seeds == [10, 11, 12] and len(result.actions) == 3
    assert [action.use_fake_user for take in result.actions for action in take] == [True] * 6
    for _, bones in result.actions:
        assert all('"jaw"' in curve.data_path for curve in part("takes.keying").action_curves(bones))


def test_many_objects_and_recordings(api, part, recordings, quick):
    heads = [api.add_head(name)[0] for name in ("Ann", "Bob")]
    paths = [recordings / "speech.wav", recordings / "second line.wav"]
    results = api.generate(heads, paths, **quick)
    assert [result.objects for result in results] == [[heads[0]], [heads[1]]]
    assert [key_frames(part, result.actions[0][0])[2] for result in results] == [50, 75]
    if HAS_SOUND:
        strips = sound_strips(part)
        assert len(strips) == 2 and len({strip.channel for strip in strips}) == 2


def test_a_choir_speaks_one_recording(api, recordings, quick):
    heads = [api.add_head(name)[0] for name in ("Ann", "Bob")]
    results = api.generate(heads, recordings / "speech.wav", **quick)
    assert len(results) == 1 and results[0].objects == heads
    assert len(results[0].actions[0]) == 4


def test_a_second_generation_does_not_double_the_sound(api, part, recordings, quick):
    head, _ = api.add_head()
    for seed in range(2):
        api.generate(head, recordings / "speech.wav", seed=seed, **quick)
    assert len(sound_strips(part)) == (1 if HAS_SOUND else 0)


def test_non_blocking(api, recordings, gate):
    head, _ = api.add_head()
    before = scene_state()
    ended = []
    gate.close()
    job = api.generate(head, recordings / "speech.wav", blocking=False, on_done=ended.append)
    assert job.state == "running" and scene_state() == before
    poll_until(job, "Making the motion")
    assert scene_state() == before and 0 < job.progress < 1 and not ended
    gate.open()
    assert job.wait(PATIENCE) == "done" and job.progress == 1.0 and len(job.results) == 1 and bpy.data.actions
    assert not Path(job._folder).exists()


@pytest.mark.parametrize(
    "name", ["telephone.wav", "studio.wav", "surround.wav", "Ödön's Aufnahmen 日本語/sprich, bitte!.wav"]
)
def test_recordings_of_many_kinds(api, part, recordings, quick, name):
    head, _ = api.add_head()
    result = api.generate(head, recordings / name, **quick)[0]
    assert key_frames(part, result.actions[0][0])[2] == pytest.approx(50, abs=1)
    if HAS_SOUND:
        assert os.path.samefile(bpy.path.abspath(result.strip.sound.filepath), recordings / name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty.wav", "empty|no sound|not a sound"),
        ("silent.wav", "silent|silence"),
        ("one sample.wav", "short"),
        ("notes.wav", "not a recording"),
        ("truncated.flac", "truncated|ends|damaged|cut"),
        ("folder.wav", "is a folder"),
        ("missing.wav", "does not exist"),
    ],
)
def test_bad_recordings(api, recordings, quick, name, message):
    head, _ = api.add_head()
    before = scene_state()
    with pytest.raises((api.UserError, api.BackendError), match=rf"(?i){message}") as caught:
        api.generate(head, recordings / name, **quick)
    print(f"{name}: {caught.value}")
    assert scene_state() == before


def test_bad_settings(api, recordings):
    head, _ = api.add_head()
    speech = recordings / "speech.wav"
    before = scene_state()
    for arguments, message in (
        ({"objects": []}, "No object"),
        ({"objects": [head, head], "audio": [speech, speech]}, "two recordings"),
        ({"objects": [head], "audio": [speech, speech]}, "do not pair up"),
        ({"audio": ""}, "No audio file"),
        ({"takes": 0}, "At least one take"),
        ({"style": "no such style"}, "style"),
        ({"style": "nothing.npz"}, "does not exist"),
        ({"head_bone": "foot"}, "neck"),
        ({"steps": 0}, "denoising step"),
    ):
        with pytest.raises((api.UserError, api.BackendError), match=message):
            api.generate(**({"objects": head, "audio": speech} | arguments))
        assert scene_state() == before


def test_a_missing_model(api, part, recordings, tmp_path):
    head, _ = api.add_head()
    before = scene_state()
    part("install.preferences").addon_preferences().model_directory = str(tmp_path / "no model")
    with pytest.raises(api.BackendError, match="no model"):
        api.generate(head, recordings / "speech.wav")
    assert scene_state() == before


def test_no_backend(api, part, recordings, monkeypatch, tmp_path):
    head, _ = api.add_head()
    before = scene_state()
    monkeypatch.delenv("DIFFPOSETALK_BACKEND_PYTHON")
    part("engine.session").stop()
    preferences = part("install.preferences").addon_preferences()
    for python, message in (
        ("", "not set up"),
        (str(tmp_path / "nowhere"), "does not exist"),
        (str(tmp_path), "is a folder"),
        (str(recordings / "speech.wav"), "cannot be started"),
        ("/bin/true", "ended with exit code 0"),
        ("/bin/echo", "not the backend's protocol"),
    ):
        preferences.backend_python = python
        with pytest.raises((api.UserError, api.BackendError), match=message) as caught:
            api.generate(head, recordings / "speech.wav")
        print(f"{python!r}: {caught.value}")
        assert scene_state() == before


def test_a_python_without_the_packages(api, part, recordings, tmp_path):
    """The interpreter of this Blender has the backend's source by the package, but no torch."""
    import sys

    head, _ = api.add_head()
    before = scene_state()
    part("install.preferences").addon_preferences().backend_python = sys.executable
    with pytest.raises(api.BackendError, match=r"lacks the package|Set Up Backend"):
        api.generate(head, recordings / "speech.wav")
    assert scene_state() == before


def test_cancelling(api, recordings, quick, gate):
    head, _ = api.add_head()
    before = scene_state()
    gate.close()
    job = api.generate(head, recordings / "minute.flac", blocking=False)
    poll_until(job, "Making the motion")
    folder = job._folder
    job.cancel()
    assert job.wait(PATIENCE) == "cancelled"
    assert scene_state() == before and not folder.exists()
    gate.open()
    assert len(api.generate(head, recordings / "speech.wav", **quick)) == 1  # the backend goes on


def test_cancelling_at_once(api, recordings):
    head, _ = api.add_head()
    before = scene_state()
    job = api.generate(head, recordings / "speech.wav", blocking=False)
    job.cancel()
    assert job.wait(PATIENCE) == "cancelled" and scene_state() == before


def test_an_object_renamed_meanwhile(api, recordings, quick):
    head, _ = api.add_head()
    job = api.generate(head, recordings / "speech.wav", blocking=False, **quick)
    head.name = "Someone Else"
    assert job.wait(PATIENCE) == "done" and job.results[0].objects == [head]


def test_the_style_of_a_motion_file(api, part, recordings, quick, tmp_path):
    head, _ = api.add_head()
    random = np.random.default_rng(0)
    exp = np.clip(np.cumsum(random.normal(0, 0.05, (120, 50)), axis=0), 0, 1).astype("f4")
    np.savez(
        tmp_path / "clip.npz",
        exp=exp,
        pose=np.zeros((120, 6), "f4"),
        fps=np.float32(25),
        basis=np.array("arkit"),
    )
    result = api.generate(head, recordings / "speech.wav", style=tmp_path / "clip.npz", **quick)[0]
    assert result.actions[0][0]["style"] == "clip.npz"


def test_a_draft(api, part, recordings):
    def values(action):
        return [
            tuple(p.co) for curve in part("takes.keying").action_curves(action) for p in curve.keyframe_points
        ]

    head, _ = api.add_head()
    [draft, other] = api.generate(head, recordings / "speech.wav", quality="draft", takes=2)[0].actions
    [final] = api.generate(head, recordings / "speech.wav", steps=6)[0].actions
    assert "draft" in draft[0]["model"] and "draft" not in final[0]["model"]
    assert 1 <= draft[0]["steps"] <= 4 and draft[0]["synthetic"] is True
    assert values(draft[0]) != values(other[0])


@pytest.mark.skipif(not HAS_SOUND, reason="this build of Blender has no sound")
def test_a_sound_strip_as_audio(api, part, recordings, quick):
    head, _ = api.add_head()
    audio_strip = part("takes.audio_strip")
    scene = bpy.context.scene
    strip, _ = audio_strip.place_sound(scene, str(recordings / "second line.wav"), 40, 3.0)
    strip.frame_offset_start = 25
    strip.frame_offset_end = 10
    scene.sequence_editor.active_strip = strip
    span = audio_strip.span_of_strip(strip, scene)
    assert (span.start, span.frame) == (1.0, 65) and span.seconds == pytest.approx(1.6)
    settings = scene.diffposetalk
    settings.audio_source, settings.steps = "STRIP", 2
    head.select_set(True)
    assert bpy.ops.diffposetalk.generate() == {"FINISHED"}
    action = head.data.shape_keys.animation_data.action
    assert key_frames(part, action) == [65, 104, 40] and len(sound_strips(part)) == 1


@pytest.mark.skipif(not HAS_SOUND, reason="this build of Blender has no sound")
@pytest.mark.parametrize("name", ["from a telephone.m4a", "film.mp4"])
def test_what_telephones_record(api, part, recordings, quick, tmp_path, name):
    """AAC in an MP4 container, which the backend's libsndfile does not read; the take is made from the file itself."""
    import aud

    path = tmp_path / name
    sound = aud.Sound(str(recordings / "speech.wav"))
    sound.write(
        str(path),
        44_100,
        aud.CHANNELS_STEREO,
        aud.FORMAT_FLOAT32,
        aud.CONTAINER_MATROSKA,
        aud.CODEC_AAC,
        128_000,
    )
    blenders = part("engine.sound_file").decoded(
        str(path), tmp_path / "decoded"
    )  # for a backend without PyAV
    with wave.open(blenders) as decoded:
        assert decoded.getnframes() / decoded.getframerate() == pytest.approx(2.0, abs=0.1)
    assert (
        Path(blenders).name == name
        and part("engine.sound_file").decoded(str(recordings / "notes.wav"), tmp_path) is None
    )
    head, _ = api.add_head()
    result = api.generate(head, path, **quick)[0]
    assert key_frames(part, result.actions[0][0])[2] == pytest.approx(50, abs=2)
    action = part("takes.showing").shown_take(head)
    assert part("takes.record").source_of(action.diffposetalk)["audio"] == str(path)
    assert action["audio_name"] == name and os.path.samefile(
        bpy.path.abspath(result.strip.sound.filepath), path
    )
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(api.BackendError, match=r"Matroska|video|sound"):
        api.generate(head, path, seed=5, **quick)
