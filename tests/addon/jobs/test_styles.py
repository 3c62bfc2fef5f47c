# SPDX-License-Identifier: GPL-3.0-or-later
"""Styles in Blender: the library, styles from files and from animation, mixtures, and performances from video."""

import json
import math

import bpy
import numpy as np
import pytest
from support.paths import GRID, TRACKER
from support.read_only_disk import disk_at
from support.scene_state import scene_state


@pytest.fixture(autouse=True)
def settings(real_backend, part, monkeypatch, tmp_path):
    """The scene's settings, an empty library, and the environment's backend."""
    monkeypatch.setenv("DIFFPOSETALK_STYLES", str(tmp_path / "library"))
    part("jobs.style_list").own_styles(fresh=True)
    settings = bpy.context.scene.diffposetalk
    settings.steps = 2
    return settings


@pytest.fixture
def library(tmp_path):
    return tmp_path / "library"


def status():
    return bpy.context.window_manager.diffposetalk_status


def write_reference(path, names, seconds=8.0, translation=False, **more):
    """A talking ARKit head that nods."""
    t = np.arange(int(seconds * 25)) / 25
    exp = np.zeros((len(t), 50), np.float32)
    exp[:, names.index("mouthSmileLeft")] = exp[:, names.index("mouthSmileRight")] = 0.3
    blink = np.exp(-(((t[:, None] - np.arange(1, seconds, 2.5)) / 0.07) ** 2)).sum(axis=1)
    exp[:, names.index("eyeBlinkLeft")] = exp[:, names.index("eyeBlinkRight")] = blink
    pose = np.zeros((len(t), 6), np.float32)
    pose[:, 0] = 0.1 * np.sin(2 * np.pi * 0.5 * t)
    pose[:, 1] = 0.15 * np.sin(2 * np.pi * 0.3 * t)
    pose[:, 3] = 0.12 * (1 - np.cos(2 * np.pi * 2.0 * t))
    if translation:
        more["translation"] = np.stack([0.05 * np.sin(t), 0 * t, 0.02 * np.cos(t)], 1).astype(np.float32)
    np.savez(path, exp=exp, pose=pose, fps=np.float32(25), basis="arkit", **more)
    return path


@pytest.fixture
def reference(part, tmp_path):
    return write_reference(tmp_path / "She talks.npz", part("data.arkit").EXPRESSION_NAMES)


def add(path, **settings):
    assert bpy.ops.diffposetalk.add_style(filepath=str(path), **settings) == {"FINISHED"}


def test_a_style_from_a_motion_file_is_kept_described_and_used(
    settings, library, reference, part, recordings
):
    add(reference, description="Nods a lot")
    assert [p.name for p in library.iterdir()] == ["She talks.dptstyle"]
    assert settings.style == "own:She talks" and "mouth" in status().text
    choice = part("jobs.style_list").find_choice(settings.style)
    assert (
        choice.description == "Nods a lot"
        and "head" in choice.figures
        and "blinks a minute" in choice.figures
    )
    assert part("data.style_library").thumbnail(choice.style.path).startswith(b"\x89PNG")
    shown = bpy.context.window_manager.diffposetalk_reference
    assert shown.plot.endswith(".png") and not shown.contact_sheet
    bpy.ops.diffposetalk.add_head()
    settings.audio_path = str(recordings / "speech.wav")
    assert bpy.ops.diffposetalk.generate() == {"FINISHED"}
    action = bpy.context.object.data.shape_keys.animation_data.action
    assert action["style"] == "She talks"


def test_the_four_seconds_can_be_chosen(settings, library, reference, part):
    add(reference, style_name="from 2 s", window="START", start_frame=50)
    add(reference, style_name="all", window="mean")
    add(reference, style_name="all", window="mean")  # a second of that name gets a number
    assert sorted(p.stem for p in library.iterdir()) == ["all", "all 2", "from 2 s"]
    with pytest.raises(RuntimeError, match="200 frames"):
        bpy.ops.diffposetalk.add_style(filepath=str(reference), window="START", start_frame=150)
    assert len(list(library.iterdir())) == 3


def test_a_style_from_animation_is_the_style_of_its_motion(api, settings, library, reference, part):
    head, _ = api.add_head("Ann")
    bpy.context.scene.render.fps = 30
    api.key_motion(head, reference, start_frame=11)
    bpy.context.scene.frame_set(7)
    before = scene_state()
    assert bpy.ops.diffposetalk.add_style_from_animation(style_name="Keyed") == {"FINISHED"}
    assert scene_state() == before
    add(reference, style_name="File")
    vectors = [np.load(library / f"{name}.dptstyle")["vector"] for name in ("Keyed", "File")]
    cosine = vectors[0] @ vectors[1] / np.prod([np.linalg.norm(v) for v in vectors])
    assert cosine > 0.98
    assert bpy.ops.diffposetalk.add_style_from_animation(
        style_name="Part", frames="FIXED", last_frame=160
    ) == {"FINISHED"}


@pytest.mark.parametrize("fps", [24, 25, 60])
def test_motion_read_from_the_scene_is_what_was_keyed(api, part, reference, fps):
    head, _ = api.add_head("Ann")
    bpy.context.scene.render.fps = fps
    api.key_motion(head, reference, start_frame=-3)
    target = part("faces.targets").find_target(head, 0.36)
    first, last = part("takes.scene_motion").animated_range(target)
    read = part("takes.scene_motion").scene_motion(bpy.context.scene, target, first, last)
    keyed = part("data.motion").read_motion(reference)
    count = min(len(read.exp), len(keyed.exp))
    assert count >= len(keyed.exp) - 1 and read.fps == 25 and read.basis == "arkit"
    assert np.abs(read.exp[:count] - keyed.exp[:count]).max() < 0.05  # a blink's peak between two frames
    assert np.abs(read.head[:count] - keyed.head[:count]).max() < 0.003
    assert np.abs(read.jaw[:count] - keyed.jaw[:count]).max() < 0.02


def test_animation_that_cannot_give_a_style(api, settings, library, reference, part):
    with pytest.raises(RuntimeError, match="No object is selected"):
        bpy.ops.diffposetalk.add_style_from_animation()
    head, _ = api.add_head("Ann")
    with pytest.raises(RuntimeError, match="has no animation"):
        bpy.ops.diffposetalk.add_style_from_animation()
    with pytest.raises(RuntimeError, match="moves from frame"):
        bpy.ops.diffposetalk.add_style_from_animation(frames="PREVIEW")
    api.key_motion(head, reference)
    for action in bpy.data.actions:
        for curve in part("takes.keying").action_curves(action):
            curve.keyframe_points.foreach_set("select_control_point", [False] * len(curve.keyframe_points))
    with pytest.raises(RuntimeError, match="No keys"):
        bpy.ops.diffposetalk.add_style_from_animation(frames="SELECTED")
    with pytest.raises(RuntimeError, match="at least 1 s"):
        bpy.ops.diffposetalk.add_style_from_animation(frames="FIXED", first_frame=1, last_frame=15)
    with pytest.raises(RuntimeError, match="cannot be read"):
        bpy.ops.diffposetalk.add_style_from_animation(frames="FIXED", first_frame=20, last_frame=10)
    assert not list(library.glob("*")) and not status().running


def test_the_style_of_selected_keys(api, settings, library, reference, part):
    head, _ = api.add_head("Ann")
    api.key_motion(head, reference)
    for action in bpy.data.actions:
        for curve in part("takes.keying").action_curves(action):
            frames = [point.co[0] for point in curve.keyframe_points]
            curve.keyframe_points.foreach_set("select_control_point", [20 <= f <= 90 for f in frames])
    target = part("faces.targets").find_target(head, 0.36)
    assert part("takes.scene_motion").frame_range(bpy.context.scene, target, "SELECTED") == (20, 90)
    assert bpy.ops.diffposetalk.add_style_from_animation(frames="SELECTED") == {"FINISHED"}
    assert "short" in bpy.context.window_manager.diffposetalk_reference.notes  # 2.8 s


def test_a_style_vector_becomes_a_style(settings, library, reference, part, tmp_path):
    add(reference, style_name="One")
    np.save(tmp_path / "bare.npy", np.load(library / "One.dptstyle")["vector"])
    add(tmp_path / "bare.npy")
    assert settings.style == "own:bare" and part("jobs.style_list").find_choice("own:bare").figures


def test_mixing(settings, library, reference, part, recordings):
    add(reference)
    presets = [p.id for p in part("data.bundled").style_presets(part("data.bundled").MODEL_DIRECTORY)]
    settings.style_second, settings.style_mix = presets[1], 0.25
    wanted = part("jobs.style_list").panel_style(settings)
    assert wanted["amounts"] == [0.75, 0.25] and wanted["mix"][1] == {"preset": presets[1]}
    bpy.ops.diffposetalk.add_head()
    settings.audio_path = str(recordings / "speech.wav")
    assert bpy.ops.diffposetalk.generate() == {"FINISHED"}
    assert "0.25" in bpy.context.object.data.shape_keys.animation_data.action["style"]
    assert bpy.ops.diffposetalk.save_mix() == {"FINISHED"}
    assert settings.style_mix == 0 and settings.style.startswith("own:She talks + ")
    assert len(list(library.iterdir())) == 2
    settings.style_second, settings.style_mix = "MOTION_FILE", 0.5
    with pytest.raises(RuntimeError, match="cannot be mixed in"):
        bpy.ops.diffposetalk.generate()


def test_rename_export_import_delete(settings, library, reference, tmp_path):
    add(reference, style_name="One")
    assert bpy.ops.diffposetalk.rename_style(style_name="Zwei ü") == {"FINISHED"}
    assert settings.style == "own:Zwei ü"
    out = tmp_path / "somewhere" / "shared"
    out.parent.mkdir()
    assert bpy.ops.diffposetalk.export_style(filepath=str(out)) == {"FINISHED"}
    with pytest.raises(RuntimeError, match="cannot be"):
        bpy.ops.diffposetalk.rename_style(style_name="a/b")
    add(out.with_suffix(".dptstyle"))
    assert settings.style == "own:shared"
    with pytest.raises(RuntimeError, match="already has"):
        bpy.ops.diffposetalk.rename_style(
            style_name="zwei ü" if (library / "zwei ü.dptstyle").exists() else "Zwei ü"
        )
    assert bpy.ops.diffposetalk.delete_style("EXEC_DEFAULT") == {"FINISHED"}
    assert [p.stem for p in library.iterdir()] == ["Zwei ü"] and not settings.style.startswith("own:")
    assert not bpy.ops.diffposetalk.delete_style.poll()


def test_scripts_name_styles_by_the_words_of_the_command_line(
    settings, reference, part, api, recordings, tmp_path
):
    api.add_style(reference, "Anna")
    speech = recordings / "speech.wav"
    head = api.add_head("Words")[0]
    api.generate(head, speech, style="0.5 calm + 0.5 library:anna", steps=1, seed=3)
    assert head.data.shape_keys.animation_data.action["style"] == "calm 0.50 + Anna 0.50"
    api.generate(head, speech, style=f"{reference}@20", steps=1, seed=3)
    assert head.data.shape_keys.animation_data.action["style"] == reference.name
    api.generate(head, speech, style="none", steps=1, seed=3)
    assert head.data.shape_keys.animation_data.action["style"] == "none"
    rows = "audio,object,style\na.wav,Words,ref.json@mean\nb.wav,Words,library:Nobody\n"
    (tmp_path / "lines.csv").write_text(rows)
    [(_, job)], bad = part("jobs.batch").read_jobs(tmp_path / "lines.csv")
    assert job.style == {"motion": str(tmp_path / "ref.json"), "window": "mean"}
    assert "no style “Nobody”" in bad[0].error


def test_presets_and_own_styles_are_one_list_that_is_searched(settings, library, reference, part):
    choice = part("jobs.style_list")
    presets = [p.id for p in part("data.bundled").style_presets(part("data.bundled").MODEL_DIRECTORY)]
    add(reference, description="Friendly aunt")
    found = [c.identifier for c in choice.choices()]
    assert set(found) == {*presets, "own:She talks"} and found[-1] == "own:She talks"
    names = {item[0]: item[1] for item in choice.searchable_items(None, None)}
    assert "Friendly aunt" in names["own:She talks"] and len(names) == len(found)
    assert bpy.ops.diffposetalk.find_style(style=presets[0]) == {"FINISHED"}
    assert settings.style == presets[0]
    numbers = [item[4] for item in choice.style_items(None, None)]
    assert all(number < 2**24 for number in numbers)  # menus carry them as floats
    assert len(set(numbers)) == len(numbers)


def test_a_style_that_is_gone_or_damaged_is_told(settings, library, reference, part, recordings):
    add(reference)
    bpy.ops.diffposetalk.add_head()
    settings.audio_path = str(recordings / "speech.wav")
    path = library / "She talks.dptstyle"
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    [entry] = part("data.style_library").list_styles(library)
    assert "damaged" in entry.problem
    before = scene_state()
    with pytest.raises(RuntimeError, match="damaged"):
        bpy.ops.diffposetalk.generate()
    path.unlink()
    with pytest.raises(RuntimeError, match=r"not (in the style library|there) any more"):
        bpy.ops.diffposetalk.generate()
    assert scene_state() == before


def test_a_library_that_cannot_be_written(settings, library, reference, part):
    library.write_text("a file where the folder should be")
    with pytest.raises(RuntimeError, match="cannot be written"):
        bpy.ops.diffposetalk.add_style(filepath=str(reference))
    assert library.read_text() == "a file where the folder should be"
    assert part("jobs.style_list").own_styles(fresh=True) == []


def test_a_disk_that_is_read_only_loses_nothing(settings, library, reference, part, recordings, tmp_path):
    library.mkdir()
    with disk_at(library) as make_read_only:
        add(reference)
        chosen = settings.style
        bpy.ops.diffposetalk.export_style(filepath=str(tmp_path / "loose.dptstyle"))
        make_read_only()
        for act in (
            lambda: bpy.ops.diffposetalk.add_style(filepath=str(reference)),
            lambda: bpy.ops.diffposetalk.add_style(filepath=str(tmp_path / "loose.dptstyle")),
            lambda: bpy.ops.diffposetalk.rename_style(style_name="Other"),
            lambda: bpy.ops.diffposetalk.delete_style(),
        ):
            with pytest.raises(RuntimeError, match="cannot be written to: Read-only file system"):
                act()
            assert settings.style == chosen
        assert [style.name for style in part("jobs.style_list").own_styles(fresh=True)] == ["She talks"]
        bpy.ops.diffposetalk.add_head()
        settings.audio_path = str(recordings / "speech.wav")
        assert bpy.ops.diffposetalk.generate() == {"FINISHED"}
    assert part("jobs.style_list").own_styles(fresh=True) == []


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("short.npz", None, "at least 1 s"),
        ("text.npz", b"not a motion", "not a motion|cannot be read|damaged"),
        ("bad.csv", b"a,b,c\n1,2,3\n", "blendshape columns"),
        ("odd.txt", b"", "no file that a style is taken from"),
        ("vector.npy", b"nonsense", "style vector"),
        ("fake.dptstyle", b"nonsense", "cannot be used"),
        ("missing.npz", "missing", "does not exist"),
    ],
)
def test_bad_references(part, library, tmp_path, name, content, message):
    path = tmp_path / name
    if content is None:
        write_reference(path, part("data.arkit").EXPRESSION_NAMES, seconds=0.6)
    elif content != "missing":
        path.write_bytes(content)
    with pytest.raises(RuntimeError, match=message):
        bpy.ops.diffposetalk.add_style(filepath=str(path))
    assert not library.exists() or not list(library.iterdir())


def test_a_reference_of_another_basis_needs_the_users_flame(part, library, tmp_path):
    np.savez(tmp_path / "flame.npz", exp=np.zeros((150, 50), np.float32), pose=np.zeros((150, 6), np.float32))
    part("install.preferences").addon_preferences().flame_model = ""
    with pytest.raises(RuntimeError, match="No FLAME model is set"):
        bpy.ops.diffposetalk.add_style(filepath=str(tmp_path / "flame.npz"))


def test_the_reference_of_a_motion_file_is_plotted(settings, reference):
    settings.style, settings.style_motion = "MOTION_FILE", str(reference)
    assert bpy.ops.diffposetalk.preview_reference() == {"FINISHED"}
    assert bpy.context.window_manager.diffposetalk_reference.plot
    assert "200 frames" in status().text


def tracked_video(part, tmp_path, **more):
    motion = write_reference(
        tmp_path / "tracked.npz", part("data.arkit").EXPRESSION_NAMES, translation=True, **more
    )
    video = tmp_path / "my take.mp4"
    video.write_bytes(b"")
    return part("jobs.styles").TrackedVideo(video, motion, tmp_path / "sheet.png", "fine", (), ((1.0, 1.5),))


def test_a_capture_is_keyed_with_the_heads_place(api, part, tmp_path):
    tracked = tracked_video(part, tmp_path)
    head, rig = api.add_head("Ann")
    rig.location, rig.rotation_euler = (1.0, 2.0, 3.0), (0, 0, math.pi / 2)
    bpy.context.view_layer.update()
    keyed = part("jobs.capture").key_capture(
        bpy.context.scene, [head], tracked, 10, translation=True, place_sound=False
    )
    assert keyed.last_frame == 209 and "filled in" in keyed.warnings[0]
    assert {action["captured_from"] for action in keyed.actions} == {"my take.mp4"}
    assert "synthetic" not in keyed.actions[0]
    motion = part("data.motion").read_motion(tracked.motion)
    for frame in (10, 60, 200):
        bpy.context.scene.frame_set(frame)
        x, y, z = motion.translation[frame - 10]
        # The head's left, up and front are the rig's x, z and -y; the rig is turned by a quarter.
        assert np.allclose(rig.location, (1.0 + z, 2.0 + x, 3.0 + y), atol=1e-3)
        assert rig.pose.bones["jaw"].matrix_basis.to_euler().x == pytest.approx(
            motion.jaw[frame - 10, 0], abs=1e-3
        )


def test_a_capture_without_translation_leaves_the_place(api, part, tmp_path):
    head, rig = api.add_head("Ann")
    part("jobs.capture").key_capture(
        bpy.context.scene, [head], tracked_video(part, tmp_path), 1, place_sound=False
    )
    paths = {c.data_path for c in part("takes.keying").action_curves(rig.animation_data.action)}
    assert "location" not in paths


def test_a_real_video_is_keyed_and_becomes_a_style(api, part, settings, library):
    preferences = part("install.preferences").addon_preferences()
    capture = bpy.context.scene.diffposetalk_capture
    head, rig = api.add_head("Ann")
    before = [action.name for action in bpy.data.actions]
    preferences.tracker_model = str(TRACKER)
    try:
        capture.video, capture.frame, capture.translation = str(GRID / "video" / "pbac1s.mpg"), 11, True
        assert bpy.ops.diffposetalk.capture_performance() == {"FINISHED"}
        keyed = set(bpy.data.actions.keys()) - set(before)
        assert status().text.startswith("Keyed the performance, frames 11 to")
        assert bpy.ops.diffposetalk.add_style_from_video() == {"FINISHED"}  # not tracked again
    finally:
        preferences.tracker_model = ""
    assert settings.style == "own:pbac1s" and [p.name for p in library.iterdir()] == ["pbac1s.dptstyle"]
    shown = bpy.context.window_manager.diffposetalk_reference
    assert shown.contact_sheet and shown.plot and "usable" in shown.summary
    actions = [bpy.data.actions[name] for name in keyed]
    assert actions and all(action["captured_from"] == "pbac1s.mpg" for action in actions)
    with np.load(GRID / "pbac1s.npz") as given:
        names = json.loads((GRID / "meta.json").read_text())["blendshape_names"]
        opened = given["blendshapes"][:, names.index("jawOpen")]
    scene = bpy.context.scene
    fps = scene.render.fps / scene.render.fps_base
    jaw, place, blinks = [], [], []
    keys = head.data.shape_keys.key_blocks
    for k in range(70):
        frame = 11 + k * fps / 25
        scene.frame_set(int(frame), subframe=frame % 1)
        jaw.append(rig.pose.bones["jaw"].matrix_basis.to_euler().x)
        place.append(tuple(rig.location))
        blinks.append(keys["eyeBlinkLeft"].value)
    assert np.corrcoef(jaw, opened[:70])[0, 1] > 0.8 and np.ptp(jaw) > 0.02
    assert 0.001 < np.ptp(place, axis=0).max() < 0.1  # metres
    assert max(blinks) <= 1
    if bpy.app.build_options.audaspace:  # the wheel of Blender 4.2 has no sound
        strips = part("takes.audio_strip").sequencer_strips(scene)
        assert any(strip.type == "SOUND" and strip.frame_final_start == 11 for strip in strips)


def test_videos_are_refused_with_reasons(api, settings, tmp_path):
    capture = bpy.context.scene.diffposetalk_capture
    for operator in ("add_style_from_video", "find_faces"):
        with pytest.raises(RuntimeError, match="No video is chosen"):
            getattr(bpy.ops.diffposetalk, operator)()
    capture.video = str(tmp_path / "no.mp4")
    with pytest.raises(RuntimeError, match="does not exist"):
        bpy.ops.diffposetalk.add_style_from_video()
    with pytest.raises(RuntimeError, match="No object is selected"):
        bpy.ops.diffposetalk.capture_performance()
    assert bpy.ops.diffposetalk.pick_face(place=(0.25, 0.5)) == {"FINISHED"}
    assert tuple(capture.face) == (0.25, 0.5)


def test_nothing_is_fetched_without_permission():
    if bpy.app.online_access:
        pytest.skip("this Blender may go online")
    assert not bpy.ops.diffposetalk.fetch_tracker.poll()
    assert not bpy.ops.diffposetalk.install_tracking.poll()


def test_figures_of_presets_are_shown(part, tmp_path):
    row = {"id": "x", "name": "X", "description": "As X talks", "vector": [0.0]}
    measures = {"mouth_opening": 14.2, "head_amplitude": 3.14, "head_tempo": 0.3, "blinks": None}
    (tmp_path / "styles.json").write_text(json.dumps([{**row, "measures": measures}, {**row, "measures": 3}]))
    first, second = part("data.bundled").style_presets(tmp_path)
    assert first.figures == "mouth opens 14 mm, head moves 3.1° about every 3.3 s" and second.figures == ""
