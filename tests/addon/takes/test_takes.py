# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes: that they can be compared, kept and deleted, and changed without losing anything."""

import bpy
import numpy as np
import pytest
from support.foreign_rigs import RIGS, build
from support.scene_state import scene_state, take_points

from benchmarks.adjust import measure


@pytest.fixture
def make_motion(part):
    """Function that makes smooth ARKit motion with blinks."""

    def make(count=100, seed=0, fps=25.0):
        random = np.random.default_rng(seed)
        adjustment = part("data.adjustment")
        exp = np.clip(adjustment.smoothed(random.normal(0.2, 0.6, (count, 50)), 3), 0, 1)
        names = part("data.arkit").EXPRESSION_NAMES
        for name in ("eyeBlinkLeft", "eyeBlinkRight"):
            exp[:, names.index(name)] = 0.05
            for place in range(20, count - 5, 40):
                exp[place - 2 : place + 3, names.index(name)] = (0.3, 0.8, 1.0, 0.6, 0.2)
        jaw = np.zeros((count, 3))
        jaw[:, 0] = 0.2 * np.abs(np.sin(np.arange(count) / 4))
        head = adjustment.smoothed(random.normal(0, 0.3, (count, 3)), 5)
        provenance = {"synthetic": True, "generator": "DiffPoseTalk for Blender", "seed": seed}
        return part("data.motion").Motion(exp.astype("f4"), head, jaw, fps, "arkit", names, provenance)

    return make


@pytest.fixture
def key_takes(part, make_motion):
    """Function that keys takes on objects; returns their first Actions."""
    keying, targets = part("takes.keying"), part("faces.targets")

    def key(objects, count=1, start=1, **options):
        motions = [make_motion(seed=seed) for seed in range(count)]
        made = tuple(
            keying.Take(m, f"line · take {t + 1} (seed {t})", m, {"seed": t}) for t, m in enumerate(motions)
        )
        found = tuple(targets.find_targets(objects, 0.4))
        actions = keying.key_takes([keying.Assignment(found, made, start)], **options)[0]
        return [by_take[0] for by_take in actions]

    return key


def curve_of(part, action, text):
    for one in part("takes.record").take_actions(action):
        for curve in part("takes.keying").action_curves(one):
            if text in curve.data_path:
                return curve
    raise AssertionError(text)


def test_another_frame_rate_is_said_and_mended(api, part, key_takes):
    """With one press for all takes of the head; a dialogue's take is sent to its lines."""
    from types import SimpleNamespace

    panel, scene, texts, pressed = part("ui.takes.panel"), bpy.context.scene, [], []
    scene.render.fps = 25
    head, _ = api.add_head()
    first, second = key_takes([head], 2, start=11)
    column = SimpleNamespace(label=lambda text="", **_: texts.append(text))
    layout = SimpleNamespace(column=lambda **_: column, operator=lambda name, **_: pressed.append(name))
    context = SimpleNamespace(scene=scene, region=SimpleNamespace(width=300))

    def told():
        texts.clear(), pressed.clear()
        panel.draw_other_rate(layout, context, first)
        return " ".join(texts), pressed

    assert told() == ("", [])
    scene.render.fps = 50
    text, buttons = told()
    assert "200 %" in text and buttons == ["diffposetalk.retime_to_scene"]
    bpy.context.view_layer.objects.active = head
    frames = [tuple(action.frame_range) for action in (first, second)]
    assert bpy.ops.diffposetalk.retime_to_scene() == {"FINISHED"}
    assert told() == ("", [])
    for (start, end), action in zip(frames, (first, second), strict=True):
        assert tuple(action.frame_range) == pytest.approx((start, start + 2 * (end - start)), abs=1e-3)
    scene.render.fps = 30
    source = part("takes.record").source_of(first.diffposetalk)
    part("takes.spoken_lines").store_source(first, {**source, "lines": [{}]})
    assert told()[1] == ["diffposetalk.generate_dialogue"]


def test_a_takes_version_is_told_first(api, part, key_takes):
    """Number and seed: of a long name the list cuts just these."""
    head, _ = api.add_head()
    take = key_takes([head], 2)[1]
    version = part("takes.record").version
    assert version(take) == "2 · seed 1"
    take.diffposetalk.title = "jfk · take 1 (seed 3) · from 20.5 (seed 14)"
    assert version(take) == "from 20.5 · seed 14"
    for title in ("walk · motion", "take 3 (seed 4)", ""):
        take.diffposetalk.title = title
        assert version(take) == ""


def test_takes_are_listed_shown_and_kept(api, part, key_takes):
    head, rig = api.add_head()
    other, _ = api.add_head("Other")
    first, second, third = key_takes([head], 3)
    key_takes([other], 1)
    data, takes = part("takes.record"), part("takes.showing")
    target = takes.target_of(head)
    assert set(data.takes_of(target.owner)) == {first, second, third}
    assert takes.shown_take(target.owner) == first
    takes.show_take(second, target)
    assert head.data.shape_keys.animation_data.action == second and takes.shown_take(head) == second
    assert rig.animation_data.action in data.take_actions(second)
    assert all(action.use_fake_user for action in bpy.data.actions)
    head.name = "Renamed"
    assert takes.shown_take(head) == second
    takes.delete_take(second, takes.target_of(head))
    assert takes.shown_take(head) == first and len(data.takes_of(head)) == 2
    for action in data.takes_of(head):
        takes.delete_take(action, takes.target_of(head))
    assert head.data.shape_keys.animation_data.action is None and rig.animation_data.action is None
    assert max(abs(key.value) for key in head.data.shape_keys.key_blocks[1:51]) == 0
    assert len(data.takes_of(other)) == 1


def test_the_buttons_and_the_list(api, part, key_takes):
    head, _ = api.add_head()
    first, second, third = key_takes([head], 3)
    manager = bpy.context.window_manager
    assert bpy.data.actions[manager.diffposetalk_take] == first
    manager.diffposetalk_take = list(bpy.data.actions).index(third)
    assert part("takes.showing").shown_take(head) == third
    assert bpy.ops.diffposetalk.step_take(step=1) == {"FINISHED"}
    assert part("takes.showing").shown_take(head) == first
    assert bpy.ops.diffposetalk.rate_take(take=second.name, rating=4) == {"FINISHED"}
    assert second.diffposetalk.rating == 4
    assert bpy.ops.diffposetalk.delete_other_takes() == {"FINISHED"}
    assert set(part("takes.record").takes_of(head)) == {first, second}
    assert bpy.ops.diffposetalk.delete_take() == {"FINISHED"}
    assert part("takes.showing").shown_take(head) == second
    bpy.ops.object.select_all(action="DESELECT")
    bpy.context.view_layer.objects.active = None
    assert not bpy.ops.diffposetalk.delete_take.poll()


@pytest.mark.parametrize(
    "name", ["mouth", "upper", "head_yaw", "blink_strength", "smooth_lower", "time_offset"]
)
def test_a_change_and_back_is_what_it_was(api, part, key_takes, name):
    head, _ = api.add_head()
    (action,) = key_takes([head])
    before = take_points(part, action)
    take = action.diffposetalk
    default = getattr(take, name)
    setattr(take, name, 0.1 if default == 0 else 0.5)
    changed = take_points(part, action)
    assert any(not np.allclose(changed[place], before[place], atol=1e-4) for place in before)
    assert all(np.array_equal(changed[place][:, 0], before[place][:, 0]) for place in before)
    setattr(take, name, default)
    after = take_points(part, action)
    assert all(np.allclose(after[place], before[place], atol=1e-6) for place in before)


def test_what_each_change_does(part, make_motion):
    adjustment = part("data.adjustment")
    change, motion = adjustment.Adjustment, make_motion(400)
    names = list(part("data.arkit").EXPRESSION_NAMES)

    def column(made, name):
        return made.exp[:, names.index(name)]

    mouth = adjustment.adjusted(motion, change(mouth=0.5))
    np.testing.assert_allclose(column(mouth, "mouthFunnel"), 0.5 * column(motion, "mouthFunnel"), atol=1e-6)
    np.testing.assert_allclose(mouth.jaw, 0.5 * motion.jaw)
    np.testing.assert_array_equal(column(mouth, "browInnerUp"), column(motion, "browInnerUp"))
    upper = adjustment.adjusted(motion, change(upper=0.0))
    assert column(upper, "browInnerUp").max() == 0
    np.testing.assert_array_equal(column(upper, "eyeBlinkLeft"), column(motion, "eyeBlinkLeft"))
    head = adjustment.adjusted(motion, change(head_roll=0.0, head_pitch=2.0)).head
    np.testing.assert_allclose(head, motion.head * (2, 1, 0))

    def blinks(made):
        return len(adjustment.find_blinks(column(made, "eyeBlinkLeft"), 25.0))

    count = blinks(motion)
    assert count == 10
    for rate in (0.0, 0.5, 1.0, 1.5, 2.0):
        assert blinks(adjustment.adjusted(motion, change(blink_rate=rate))) == round(rate * count), rate
    weak = adjustment.adjusted(motion, change(blink_strength=0.5))
    assert column(weak, "eyeBlinkLeft").max() == pytest.approx(0.5, abs=0.05)
    lids = adjustment.adjusted(motion, change(eyelid_offset=0.2))
    assert column(lids, "eyeBlinkLeft").min() == pytest.approx(0.25, abs=1e-5)
    wide = adjustment.adjusted(motion, change(eyelid_offset=-0.2))
    assert (column(wide, "eyeWideLeft") >= column(motion, "eyeWideLeft") + 0.2 - 1e-6)[
        column(motion, "eyeWideLeft") < 0.8
    ].all()
    smooth = adjustment.adjusted(motion, change(smooth_lower=0.1, smooth_upper=0.1))
    for name in ("mouthFunnel", "browInnerUp"):
        assert (
            np.abs(np.diff(column(smooth, name), 2)).sum()
            < 0.6 * np.abs(np.diff(column(motion, name), 2)).sum()
        )
    assert blinks(smooth) == count  # smoothing leaves blinks alone
    uneven = adjustment.adjusted(motion, change(asymmetry=0.3))
    np.testing.assert_allclose(
        column(uneven, "mouthSmileLeft"), np.clip(1.3 * column(motion, "mouthSmileLeft"), 0, 1), atol=1e-6
    )
    np.testing.assert_allclose(
        column(uneven, "mouthSmileRight"), 0.7 * column(motion, "mouthSmileRight"), atol=1e-6
    )
    pressed = adjustment.adjusted(motion, change(lip_press=1.0))
    gap = motion.jaw[:, 0] / 0.4 - column(motion, "mouthClose")
    closed, open_ = gap <= 0.0, gap > 0.1
    assert closed.any() and pressed.jaw[closed].max() < 0.03  # what pressed lips need not to cross
    np.testing.assert_array_equal(pressed.jaw[open_], motion.jaw[open_])
    assert (column(pressed, "mouthPressLeft") - column(motion, "mouthPressLeft"))[closed].mean() > 0.3


def test_the_time_offset_moves_the_motion(part, make_motion):
    motion = make_motion()
    later = part("data.motion").resample_motion(motion, 25.0, offset=0.2)
    np.testing.assert_allclose(later.exp[5:], motion.exp[:-5], atol=1e-6)
    np.testing.assert_allclose(later.exp[:5], np.repeat(motion.exp[:1], 5, 0), atol=1e-6)
    assert len(part("data.motion").resample_motion(motion, 25.0, stretch=2.0).exp) == 2 * 99 + 1


@pytest.mark.parametrize("fps", [23.976, 24, 29.97, 30, 48, 59.94, 60, 120])
def test_frame_rates(part, make_motion, fps):
    motion = make_motion()
    made = part("data.motion").resample_motion(motion, fps)
    assert len(made.exp) == int(99 / 25 * fps + 1e-6) + 1
    at = np.arange(len(made.exp)) / fps * 25
    expected = np.stack([np.interp(at, np.arange(100), column) for column in motion.exp.T], axis=1)
    assert np.abs(made.exp - expected).max() < 0.2 and made.exp.min() >= 0 and made.exp.max() <= 1


def test_keys_made_by_hand_stay(api, part, key_takes):
    head, _ = api.add_head()
    (action,) = key_takes([head])
    curve = curve_of(part, action, "mouthFunnel")
    before = take_points(part, action)
    curve.keyframe_points[10].co.y = 0.77
    curve.keyframe_points.insert(50.5, 0.66)
    curve.update()
    hand = part("takes.showing").hand_edits(action, part("takes.showing").target_of(head))
    assert [(edit.channel, edit.frame) for edit in hand] == [("mouthFunnel", 11.0), ("mouthFunnel", 50.5)]
    place = next(place for place in before if "mouthFunnel" in place[1])
    assert hand[0].change == pytest.approx(0.77 - before[place][10, 1], abs=1e-5)
    action.diffposetalk.mouth = 0.5
    points = np.array([key.co for key in curve_of(part, action, "mouthFunnel").keyframe_points])
    assert points[10] == pytest.approx((11, 0.77)) and np.isclose(points, [50.5, 0.66]).all(1).any()
    place = next(place for place in before if "mouthFunnel" in place[1])
    np.testing.assert_allclose(points[11:50, 1], 0.5 * before[place][11:50, 1], atol=1e-5)
    part("takes.showing")._written.clear()  # as after loading the file again
    action.diffposetalk.mouth = 1.0
    points = np.array([key.co for key in curve_of(part, action, "mouthFunnel").keyframe_points])
    assert points[10] == pytest.approx((11, 0.77)) and len(points) == 101
    np.testing.assert_allclose(points[11:50, 1], before[place][11:50, 1], atol=1e-5)


def test_takes_can_be_moved_stretched_and_resampled(api, part, key_takes):
    head, _ = api.add_head()
    (action,) = key_takes([head])
    curve = curve_of(part, action, "mouthFunnel")
    curve.keyframe_points[10].co.y = 0.77
    curve.update()
    original = take_points(part, action)
    part("takes.showing").retime(action, 20.25, 2.0, 25.0)
    points = next(v for k, v in take_points(part, action).items() if "jaw" in k[1] and "bones" in k[1])
    assert points[0, 0] == 20.25 and len(points) == 199
    changed = np.array([key.co for key in curve_of(part, action, "mouthFunnel").keyframe_points])
    assert np.isclose(changed, [11, 0.77]).all(1).any()
    part("takes.showing").retime(action, 1, 1.0, 25.0)
    back = take_points(part, action)
    assert all(np.allclose(back[place], original[place], atol=1e-5) for place in original)
    part("takes.showing").retime(action, 1, 1.0, 60.0)
    points = next(v for k, v in take_points(part, action).items() if "jaw" in k[1] and "bones" in k[1])
    assert len(points) == int(99 / 25 * 60 + 1e-6) + 1
    with pytest.raises(api.UserError, match="greater than zero"):
        part("takes.showing").retime(action, 1, 0.0, 25.0)


def test_takes_survive_saving(api, part, key_takes, tmp_path):
    head, _ = api.add_head()
    (action,) = key_takes([head])
    action.diffposetalk.mouth = 0.5
    bpy.data.libraries.write(str(tmp_path / "take.blend"), {action})
    with bpy.data.libraries.load(str(tmp_path / "take.blend")) as (there, loaded):
        loaded.actions = list(there.actions)
    again = next(a for a in loaded.actions if part("takes.record").is_take(a))
    assert again.diffposetalk.mouth == 0.5
    first, second = (part("takes.showing").raw_motion(a) for a in (action, again))
    np.testing.assert_array_equal(first.exp, second.exp)
    assert (
        first.provenance
        == second.provenance
        == {"synthetic": True, "generator": "DiffPoseTalk for Blender", "seed": 0}
    )


def test_only_some_parts_are_keyed_and_the_others_stay(api, part, key_takes):
    head, _ = api.add_head()
    (whole,) = key_takes([head])
    before = take_points(part, whole)
    (lips,) = key_takes([head], parts=frozenset(("LIPS",)), start=11)
    after = take_points(part, lips)
    for (number, path, index), points in before.items():
        if "brow" in path or "neck" in path:
            np.testing.assert_array_equal(after[(number, path, index)], points)
        if "mouthFunnel" in path:
            assert after[(number, path, index)][0, 0] == 11
    lips.diffposetalk.upper = 0.0
    assert all(np.array_equal(take_points(part, lips)[p], after[p]) for p in after if "brow" in p[1])
    (only,) = key_takes([api.add_head("New")[0]], parts=frozenset(("HEAD",)))
    assert {path for _, path, _ in take_points(part, only)} == {'pose.bones["neck"].rotation_euler'}


def test_takes_of_other_characters(part, key_takes):
    rig = RIGS["Character Creator"]()
    owner, meshes = build(rig)
    first, second = key_takes([meshes[0]], 2)
    assert len(part("takes.record").take_actions(first)) == 4  # three meshes and the bones
    takes = part("takes.showing")
    assert takes.shown_take(owner) == first
    first.diffposetalk.mouth = 0.5
    second.diffposetalk.mouth = 0.25  # of a take that is not shown
    bpy.context.scene.frame_set(10)
    body = meshes[0].data.shape_keys.key_blocks
    raw = takes.raw_motion(first)
    expected = raw.exp[9, part("data.arkit").EXPRESSION_NAMES.index("mouthSmileLeft")]
    assert body["Mouth_Smile_L"].value == pytest.approx(0.5 * expected, abs=1e-5)
    takes.show_take(second, takes.target_of(owner))
    bpy.context.scene.frame_set(10)
    raw = takes.raw_motion(second)
    expected = raw.exp[9, part("data.arkit").EXPRESSION_NAMES.index("mouthSmileLeft")]
    assert body["Mouth_Smile_L"].value == pytest.approx(0.25 * expected, abs=1e-5)


def test_a_take_whose_character_is_gone_is_told(api, part, key_takes):
    head, _ = api.add_head()
    (action,) = key_takes([head])
    bpy.data.objects.remove(head)
    before = scene_state()
    with pytest.raises(api.UserError, match="not in this file any more"):
        part("takes.showing").set_adjustment(action, part("data.adjustment").Adjustment(mouth=0.5))
    action.diffposetalk.mouth = 0.3  # in the window the message goes to the panel
    assert "not in this file" in bpy.context.window_manager.diffposetalk_status.error
    assert scene_state() == before
    part("ui.common.job_status").show(bpy.context, running=False)


def test_adjusting_is_quick_beside_writing_anew(api, part):
    head, _ = api.add_head()
    anew, changed, _ = measure(part, head)
    assert changed < 1.5 * anew  # usually less


def test_heads_in_hidden_collections_are_keyed_and_cannot_be_exported(api, part, key_takes, tmp_path):
    head, rig = api.add_head()
    hidden = bpy.data.collections.new("Hidden")
    bpy.context.scene.collection.children.link(hidden)
    for item in (head, rig):
        for collection in item.users_collection:
            collection.objects.unlink(item)
        hidden.objects.link(item)
    bpy.context.view_layer.layer_collection.children["Hidden"].exclude = True
    (action,) = key_takes([head])
    api.adjust(action, mouth=0.5)
    assert head.data.shape_keys.animation_data.action == action
    with pytest.raises(api.UserError, match="cannot be exported from this view layer"):
        api.export_fbx(head, tmp_path / "a.fbx")


def test_locked_curves_are_left_alone(api, part, key_takes):
    head, _ = api.add_head()
    (action,) = key_takes([head])
    curve = curve_of(part, action, "mouthFunnel")
    curve.lock = True
    before = take_points(part, action)
    api.adjust(head, mouth=0.5)
    after = take_points(part, action)
    for place, points in before.items():
        if "mouthFunnel" in place[1]:
            np.testing.assert_array_equal(after[place], points)
        if "mouthSmileLeft" in place[1]:
            np.testing.assert_allclose(after[place][:, 1], 0.5 * points[:, 1], atol=1e-5)


def test_what_cannot_be_adjusted(api, key_takes):
    head, _ = api.add_head()
    with pytest.raises(api.UserError, match="shows no take"):
        api.adjust(head, mouth=0.5)
    key_takes([head])
    with pytest.raises(api.UserError, match="nothing that can be adjusted"):
        api.adjust(head, nose=2)
    assert api.adjust(head, mouth=1.5).mouth == 1.5
