# SPDX-License-Identifier: GPL-3.0-or-later
"""The sequencer's lines, with the real backend: who speaks, takes of each line, what is made again."""

import os
import shutil

import bpy
import numpy as np
import pytest
from support.scene_state import scene_state, take_points

HAS_SOUND = bpy.app.build_options.audaspace

pytestmark = pytest.mark.usefixtures("real_backend")


def strips_of(scene):
    editor = scene.sequence_editor or scene.sequence_editor_create()
    return editor.strips if hasattr(editor, "strips") else editor.sequences


@pytest.fixture
def stage(api, recordings):
    """Two heads and three sound strips on two channels; the scene runs at 30 frames per second."""
    if not HAS_SOUND:
        pytest.skip("this build of Blender has no sound")
    scene = bpy.context.scene
    scene.render.fps = 30
    ann, _ = api.add_head("Ann")
    bob, _ = api.add_head("Bob")
    strips = strips_of(scene)
    path = str(recordings / "speech.wav")
    for name, channel, frame in (("Ann_1", 1, 10), ("Bob_1", 2, 80), ("Ann_2", 1, 160)):
        strips.new_sound(name, path, channel, frame)
    return scene, ann, bob


def test_a_scenes_dialogue(api, part, stage):
    scene, ann, bob = stage
    before = scene_state()
    job = api.generate_dialogue(seed=1, steps=2)
    assert (job.made, job.kept, job.left_out) == (3, 0, []) and len(job.takes) == 2
    for head, first in ((ann, 10), (bob, 80)):
        action = part("takes.showing").shown_take(head)
        assert action.frame_range[0] == pytest.approx(first, abs=1e-3)
    last = part("takes.showing").shown_take(ann).frame_range[1]
    assert 160 + 55 < last <= 160 + 61
    values = take_points(part, part("takes.showing").shown_take(ann))
    mouth = np.stack([v[:, 1] for (_, path, _), v in values.items() if '"mouth' in path])
    frames = next(iter(values.values()))[:, 0]
    assert mouth[:, (frames > 95) & (frames < 130)].max() < 1e-3  # at rest between the lines
    steps = np.abs(np.diff(mouth, axis=1)).max(axis=0)
    assert steps[(frames[1:] > 70) & (frames[1:] < 100)].max() < 0.35
    strips = strips_of(scene)
    strips["Ann_2"].frame_start = 200
    again = api.generate_dialogue(seed=1, steps=2)
    assert (again.made, again.kept) == (0, 3)
    moved = part("takes.showing").shown_take(ann)
    assert moved.frame_range[1] == pytest.approx(last + 40, abs=1)
    first = {k: v[:55] for k, v in take_points(part, moved).items()}
    assert all(np.allclose(first[place], values[place][:55], atol=1e-5) for place in values)
    assert before["actions"] == []


def test_who_speaks_what(api, part, stage):
    scene, _, bob = stage
    strips = strips_of(scene)
    rules = scene.diffposetalk_workflow.speakers
    lines = part("jobs.dialogue").dialogue_lines

    def spoken():
        return {line.strip: line.speaker.name for line in lines(scene)[0]}

    assert spoken() == {"Ann_1": "Ann", "Bob_1": "Bob", "Ann_2": "Ann"}
    rule = rules.add()
    rule.by, rule.pattern, rule.object = "NAME", "*_1", bob
    assert spoken() == {"Ann_1": "Bob", "Bob_1": "Bob"} and "no speaker" in lines(scene)[1][0]
    rule.by, rule.channel = "CHANNEL", 2
    assert spoken() == {"Bob_1": "Bob"}
    rule.by, rule.color = "COLOR", "COLOR_03"
    strips["Ann_2"].color_tag = "COLOR_03"
    assert spoken() == {"Ann_2": "Bob"}
    strips["Ann_2"].mute = True
    assert "muted" in " ".join(lines(scene)[1]) and not spoken()
    with pytest.raises(api.UserError, match=r"no line to speak.*muted"):
        api.generate_dialogue()


def test_lines_are_joined_at_their_times(part):
    motion = part("data.motion").Motion
    count = 30
    exp = np.ones((count, 50), np.float32)
    made = motion(exp, np.full((count, 3), 0.2), np.zeros((count, 3)), 25.0, "arkit", (), {})
    other = motion(exp * 0.5, np.full((count, 3), -0.2), np.zeros((count, 3)), 25.0, "arkit", (), {})
    together = part("takes.spoken_lines").joined([(1.0, made), (4.0, other)])
    assert len(together.exp) == 75 + 30 and together.exp[29].max() == 1 and together.exp[75].max() == 0.5
    assert together.exp[45:60].max() == 0
    assert np.abs(np.diff(together.head[:, 0])).max() < 0.02
    cut = part("takes.spoken_lines").joined([(1.0, made), (1.4, other)])
    assert (cut.exp[:10] == 1).all() and (cut.exp[10:] == 0.5).all()


def differing(part, one, other):
    """Frames at which any curve of two takes differs."""
    first, second = take_points(part, one), take_points(part, other)
    assert first.keys() == second.keys()
    frames: set[float] = set()
    for place, values in first.items():
        assert len(values) == len(second[place]), place
        apart = np.abs(values[:, 1] - second[place][:, 1]) > 2e-5
        frames.update(values[apart, 0].tolist())
    return sorted(frames)


def test_takes_of_lines(api, part, stage):
    """Several seeds a run, the best one of each line, a range of a line; what was made is not made again."""
    _, ann, _ = stage
    job = api.generate_dialogue(seed=1, takes=2, steps=2)
    assert (job.made, job.kept, len(job.takes)) == (3, 0, 4) and job.warnings == []
    first, second = api.takes(ann)
    assert ("take 1 (seed 1)" in first.name, "take 2 (seed 2)" in second.name) == (True, True)
    assert part("takes.showing").shown_take(ann) == first
    again = api.generate_dialogue(seed=2, steps=2)
    assert (again.made, again.kept) == (0, 3)
    assert differing(part, again.takes[0], second) == []

    api.show_take(first)
    before = take_points(part, first)
    chosen = api.step_line(ann, 170)
    assert chosen not in (first, second) and "chosen lines" in chosen.name
    assert all(np.array_equal(take_points(part, first)[place], before[place]) for place in before)
    frames = differing(part, chosen, first)
    assert min(frames) > 70 and 160 in frames  # the pause before Ann_2 follows it
    assert not [frame for frame in differing(part, chosen, second) if frame >= 160]
    assert api.step_line(ann, 170) == chosen and differing(part, chosen, first) == []
    with pytest.raises(api.UserError, match="of a dialogue"):
        part("jobs.dialogue").line_at(
            part("takes.showing").duplicate(
                imported(api, part, ann), part("takes.showing").target_of(ann), "x"
            ),
            1,
        )


def test_a_replaced_file_makes_its_lines_anew(api, part, stage, tmp_path):
    """What counts is what files hold, not their names, places and dates."""

    def made(style):
        return api.generate_dialogue(seed=1, steps=1, style=style).made

    style = tmp_path / "mine.npy"
    np.save(style, np.full(128, 0.1, np.float32))
    assert made(style) == 3
    moved = style.rename(tmp_path / "moved.npy")
    os.utime(moved, (1, 1))
    model = tmp_path / "model"
    shutil.copytree(part("data.bundled").MODEL_DIRECTORY, model)
    part("install.preferences").addon_preferences().model_directory = str(model)
    assert made(moved) == 0
    np.save(moved, np.full(128, 0.2, np.float32))
    assert made(moved) == 3 and made(moved) == 0
    (model / "draft.json").unlink()
    assert made(moved) == 0
    config = model / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"name": "', '"name": "A new '))
    assert made(moved) == 3
    moved.unlink()
    with pytest.raises(api.UserError, match=r"moved\.npy.* cannot be read"):
        made(moved)


def imported(api, part, head):
    """A take of a motion file on a head."""
    path = bpy.app.tempdir + "motion.npz"
    part("data.motion").write_motion(path, part("takes.showing").raw_motion(api.takes(head)[0]))
    return api.import_motion(head, path)[0]


def test_a_range_of_a_line_is_made_again(api, part, stage):
    _, ann, _ = stage
    api.generate_dialogue(seed=1, steps=2)
    [take] = api.takes(ann)
    with pytest.raises(api.UserError, match="Nobody speaks from frame 95 to 130"):
        api.regenerate(ann, 95, 130)
    [inside] = api.regenerate(ann, 175, 190, seed=9, hold=["head"])
    frames = differing(part, inside, take)
    assert frames and min(frames) >= 173 and max(frames) <= 192
    kept = api.generate_dialogue(seed=1, steps=2)
    assert kept.made == 0 and differing(part, kept.takes[0], inside) == []  # not as it was before
    api.show_take(take)
    first, second = api.regenerate(
        ann, 40, 170, seed=3, count=2
    )  # the end of Ann_1, the pause, Ann_2's beginning
    frames = differing(part, first, take)
    assert min(frames) >= 38 and max(frames) <= 172 and differing(part, first, second)
    values = take_points(part, first)
    mouth = np.stack([v[:, 1] for (_, path, _), v in values.items() if '"mouth' in path])
    at = next(iter(values.values()))[:, 0]
    assert mouth[:, (at > 95) & (at < 130)].max() < 1e-3
    assert np.abs(np.diff(mouth, axis=1)).max(axis=0)[(at[1:] > 60) & (at[1:] < 100)].max() < 0.35
    imported(api, part, ann)
    with pytest.raises(api.UserError, match="was not made from a recording"):
        api.regenerate(ann, 10, 20)


def test_a_silent_strip_stops_no_other(api, part, stage, recordings):
    """It is left out and named, before, between or after others; alone it is an error."""
    scene, ann, _ = stage
    strips = strips_of(scene)
    for name, channel, frame in (("Ann_0", 3, 1), ("Bob_2", 4, 140), ("Bob_3", 4, 400)):
        strips.new_sound(name, str(recordings / "silent.wav"), channel, frame)
    job = api.generate_dialogue(seed=1, steps=2)
    assert (job.made, job.kept, len(job.left_out)) == (3, 0, 3) and len(job.takes) == 2
    for strip, told in zip(("Ann_0", "Bob_2", "Bob_3"), job.left_out, strict=True):
        assert strip in told and "silen" in told
    assert part("takes.showing").shown_take(ann).frame_range[0] == pytest.approx(10, abs=1e-3)
    again = api.generate_dialogue(seed=1, steps=2)
    assert (again.made, again.kept, len(again.left_out)) == (0, 3, 3)
    for name in ("Ann_1", "Ann_2", "Bob_1"):
        strips.remove(strips[name])
    before = scene_state()
    with pytest.raises(api.BackendError, match="silen"):
        api.generate_dialogue(seed=1, steps=2)
    assert scene_state() == before


def test_a_speaker_of_another_basis_stops_no_other(api, part, stage, flame_like_head):
    scene, *_ = stage
    api.add_head("Carl", asset=flame_like_head)
    strips_of(scene).new_sound("Carl_1", strips_of(scene)["Ann_1"].sound.filepath, 5, 10)
    job = api.generate_dialogue(seed=1, steps=2)
    assert job.made == 3 and len(job.takes) == 2 and "Carl_1" in " ".join(job.left_out)


def test_overlaps_and_speakers_who_cannot(api, part, stage):
    scene, ann, bob = stage
    strips_of(scene)["Ann_2"].frame_start = 40
    bare = bpy.data.objects.new("Cube", bpy.data.meshes.new("Cube"))
    scene.collection.objects.link(bare)
    strips_of(scene).new_sound("Cube_1", strips_of(scene)["Ann_1"].sound.filepath, 3, 300)
    far = bpy.data.scenes.new("Elsewhere")
    carl, _ = api.add_head("Carl")
    scene.collection.objects.unlink(carl)
    far.collection.objects.link(carl)
    rule = None
    for name, item in (("Ann_1", ann), ("Ann*", ann.parent), ("Bob*", bob), ("Cube*", bare), ("Carl*", carl)):
        rule = scene.diffposetalk_workflow.speakers.add()
        rule.by, rule.pattern, rule.object = "NAME", name, item
    strips_of(scene).new_sound("Carl_1", strips_of(scene)["Ann_1"].sound.filepath, 4, 300)
    for track in bob.data.shape_keys, bob.parent:
        track.animation_data_create().nla_tracks.new().is_solo = True
    job = api.generate_dialogue(seed=1, steps=2)
    assert job.made == 3 and len(job.takes) == 2
    told = " ".join(job.left_out)
    assert "no shape keys" in told and "Cube_1" in told and "not in this scene" in told and "Carl_1" in told
    [overlap, *others] = job.warnings
    assert "“Ann_1” and “Ann_2”" in overlap and "30 frames" in overlap and "cut off" in overlap
    assert len(others) == 2 and all("Solo" in text for text in others)
    mouth = [
        v
        for (_, path, _), v in take_points(part, part("takes.showing").shown_take(ann)).items()
        if '"mouth' in path
    ]
    assert mouth[0][-1, 0] == pytest.approx(99, abs=1)  # to the second line's end
    bpy.data.scenes.remove(far)
