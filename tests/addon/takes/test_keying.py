# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion as keys: where they are, that they can be edited, and that nothing that was there is lost."""

import bpy
import numpy as np
import pytest
from mathutils import Quaternion, Vector
from support.scene_state import scene_state

from benchmarks.keying import measure

PROVENANCE = {
    "synthetic": True, "generator": "DiffPoseTalk for Blender 0.1.0", "model": "m", "seed": 7,
    "audio_sha256": "abc", "style": "calm", "guidance": {"speech": 1.15, "style": 3.0},
    "created": "2026-01-01T00:00:00+00:00",
}  # fmt: skip


@pytest.fixture
def make_motion(part):
    """Function that makes random motion."""

    def make(count=40, head=True, basis="arkit", names=()):
        random = np.random.default_rng(count)
        exp = random.uniform(0, 1, (count, 50)).astype("f4")
        turns = np.cumsum(random.normal(0, 0.02, (count, 3)), axis=0) * head
        jaw = np.zeros((count, 3))
        jaw[:, 0] = random.uniform(0, 0.3, count)
        return part("data.motion").Motion(exp, turns, jaw, 25.0, basis, names, dict(PROVENANCE))

    return make


@pytest.fixture
def key(part):
    """Function that keys motion on objects."""
    keying, targets = part("takes.keying"), part("faces.targets")

    def key(objects, *motions, start=1, head_bone="neck", strength=1.0, name="line"):
        takes = tuple(keying.Take(m, f"{name} · take {t + 1} (seed {t})") for t, m in enumerate(motions))
        assignment = keying.Assignment(tuple(targets.find_targets(objects, 0.4)), takes, start)
        return keying.key_takes([assignment], head_bone, strength)[0]

    return key


@pytest.fixture
def arkit_mesh():
    """Function that makes a foreign mesh with shape keys."""

    def make(names, name="Face"):
        mesh = bpy.data.meshes.new(name)
        mesh.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [], [(0, 1, 2)])
        item = bpy.data.objects.new(name, mesh)
        bpy.context.scene.collection.objects.link(item)
        item.shape_key_add(name="Basis")
        for key_name in names:
            item.shape_key_add(name=key_name, from_mix=False)
        return item

    return make


def curves(part, actions):
    return {
        (curve.data_path, curve.array_index): curve
        for action in actions
        for curve in part("takes.keying").action_curves(action)
    }


@pytest.mark.parametrize("start", [1, -20, 1001])
def test_keys_are_where_they_belong(api, part, make_motion, key, start):
    mesh, rig = api.add_head()
    motion = make_motion()
    key([mesh], motion, start=start)
    names = part("data.arkit").EXPRESSION_NAMES
    for n in (0, 7, 39):
        bpy.context.scene.frame_set(start + n)
        values = [mesh.data.shape_keys.key_blocks[name].value for name in names]
        np.testing.assert_allclose(values, motion.exp[n], atol=1e-6)
        assert abs(rig.pose.bones["jaw"].rotation_euler.x - motion.jaw[n, 0]) < 1e-6
        turn = Vector(motion.head[n])
        expected = Quaternion(turn.normalized(), turn.length)
        shown = rig.pose.bones["neck"].rotation_euler.to_quaternion()
        assert shown.rotation_difference(expected).angle < 1e-3


def test_channels(api, part, make_motion, key):
    mesh, rig = api.add_head()
    by_path = curves(part, key([mesh], make_motion())[0])
    assert len(by_path) == 54
    assert sum("neck" in path for path, _ in by_path) == 3
    assert [index for path, index in by_path if "jaw" in path and "bones" in path] == [0]
    without_head = curves(part, key([mesh], make_motion(head=False))[0])
    assert len(without_head) == 51 and not any("neck" in path for path, _ in without_head)
    off = curves(part, key([mesh], make_motion(), strength=0)[0])
    assert len(off) == 51
    on_root = curves(part, key([rig], make_motion(), head_bone="root")[0])
    assert sum('"root"' in path for path, _ in on_root) == 3 and not any("neck" in p for p, _ in on_root)


def test_strength_scales_the_rotation(api, make_motion, key):
    mesh, rig = api.add_head()
    motion = make_motion()
    key([mesh], motion, strength=0.5)
    bpy.context.scene.frame_set(30)
    turn = Vector(motion.head[29] * 0.5)
    expected = Quaternion(turn.normalized(), turn.length)
    assert rig.pose.bones["neck"].rotation_euler.to_quaternion().rotation_difference(expected).angle < 1e-3


def test_keys_can_be_edited(api, part, make_motion, key):
    mesh, _ = api.add_head()
    motion = make_motion()
    actions = key([mesh], motion)[0]
    curve = next(c for (path, _), c in curves(part, actions).items() if "mouthFunnel" in path)
    assert len(curve.keyframe_points) == 40 and not curve.lock and curve.group.name == "Shape Keys"
    point = curve.keyframe_points[10]
    assert point.interpolation == "BEZIER" and point.handle_left_type == "AUTO_CLAMPED"
    assert point.handle_left.x < point.co.x < point.handle_right.x
    for _ in range(8):
        curve.keyframe_points.remove(curve.keyframe_points[12], fast=True)
    curve.keyframe_points[10].co.y = 0.9
    curve.keyframe_points.insert(15, 0.25)
    curve.update()
    keys = mesh.data.shape_keys
    for frame, value in ((11, 0.9), (15, 0.25)):
        bpy.context.scene.frame_set(frame)
        assert abs(keys.key_blocks["mouthFunnel"].value - value) < 1e-6
    keys.key_blocks["mouthFunnel"].keyframe_insert("value", frame=11)
    assert keys.animation_data.action is actions[0]


def test_the_previous_action_is_kept(api, make_motion, key):
    mesh, rig = api.add_head()
    shape_keys = mesh.data.shape_keys
    shape_keys.key_blocks["mouthSmileLeft"].value = 0.6
    shape_keys.key_blocks["mouthSmileLeft"].keyframe_insert("value", frame=3)
    by_hand = shape_keys.animation_data.action
    by_hand.use_fake_user = False
    first = key([mesh], make_motion())[0]
    assert shape_keys.animation_data.action is first[0] and by_hand.name in bpy.data.actions
    assert by_hand.use_fake_user and len(bpy.data.actions) == 3
    second = key([mesh], make_motion(), name="again")[0]
    assert shape_keys.animation_data.action is second[0] and rig.animation_data.action is second[1]
    assert all(action.use_fake_user for action in bpy.data.actions) and len(bpy.data.actions) == 5


def test_what_a_new_action_does_not_move_goes_back_to_rest(api, make_motion, key):
    mesh, rig = api.add_head()
    key([mesh], make_motion())
    bpy.context.scene.frame_set(30)
    assert rig.pose.bones["neck"].rotation_euler.to_quaternion().angle > 1e-3
    key([mesh], make_motion(head=False))
    assert rig.pose.bones["neck"].rotation_euler.to_quaternion().angle < 1e-6


def test_takes_are_actions_of_their_own(api, part, make_motion, key):
    mesh, _ = api.add_head()
    takes = key([mesh], make_motion(30), make_motion(31), make_motion(32))
    assert [actions[0].name for actions in takes] == [f"line · take {t + 1} (seed {t})" for t in range(3)]
    assert mesh.data.shape_keys.animation_data.action is takes[0][0]
    animation = mesh.data.shape_keys.animation_data
    animation.action = takes[2][0]
    if bpy.app.version >= (4, 4, 0):
        assert animation.action_slot is not None
    bpy.context.scene.frame_set(32)
    value = mesh.data.shape_keys.key_blocks["jawForward"].value
    column = part("data.arkit").EXPRESSION_NAMES.index("jawForward")
    assert abs(value - make_motion(32).exp[31, column]) < 1e-6


def test_long_names_keep_their_take(api, make_motion, key):
    mesh, _ = api.add_head()
    actions = key([mesh], make_motion(), name="Ö" * 100)[0]
    assert actions[0].name.endswith(" · take 1 (seed 0)") and actions[1].name.endswith("(seed 0) bones")


def test_provenance(api, make_motion, key):
    mesh, _ = api.add_head()
    for action in key([mesh], make_motion())[0]:
        assert action["synthetic"] is True and action["seed"] == 7 and action["model"] == "m"
        assert action["audio_sha256"] == "abc" and "1.15" in action["guidance"] and action["created"]


@pytest.mark.parametrize("mode", ["QUATERNION", "ZYX", "AXIS_ANGLE"])
def test_rotation_modes(api, make_motion, key, mode):
    mesh, rig = api.add_head()
    rig.pose.bones["neck"].rotation_mode = mode
    motion = make_motion()
    key([mesh], motion)
    bpy.context.scene.frame_set(20)
    bpy.context.evaluated_depsgraph_get().update()
    turn = Vector(motion.head[19])
    shown = rig.pose.bones["neck"].matrix_basis.to_quaternion()
    assert shown.rotation_difference(Quaternion(turn.normalized(), turn.length)).angle < 1e-3


def test_angles_do_not_jump(api, part, make_motion, key):
    mesh, _ = api.add_head()
    motion = make_motion(200)
    angle = np.linspace(0, 7, 200)
    motion.head[:] = part("data.motion").axis_angles(
        part("data.motion").continuous_quaternions(np.outer(angle, [0.1, 0.9, 0.2]))
    )
    by_path = curves(part, key([mesh], motion)[0])
    for (path, _), curve in by_path.items():
        if "neck" in path:
            values = np.array([point.co.y for point in curve.keyframe_points])
            assert np.abs(np.diff(values)).max() < 0.3


def test_foreign_meshes_with_arkit_names(part, arkit_mesh, make_motion, key):
    names = part("data.arkit").EXPRESSION_NAMES
    face = arkit_mesh([*names, "jawOpen", "tongueOut"])
    lashes = arkit_mesh(["eyeBlink_L", "eyeBlink_R", "SomethingElse"], "Lashes")
    motion = make_motion()
    key([face, lashes], motion, start=5)
    bpy.context.scene.frame_set(12)
    keys = face.data.shape_keys.key_blocks
    assert abs(keys["jawOpen"].value - min(1, motion.jaw[7, 0] / 0.4)) < 1e-6
    assert abs(keys["noseSneerRight"].value - motion.exp[7, 49]) < 1e-6
    assert abs(lashes.data.shape_keys.key_blocks["eyeBlink_L"].value - motion.exp[7, 0]) < 1e-6
    assert abs(lashes.data.shape_keys.key_blocks["eyeBlink_R"].value - motion.exp[7, 7]) < 1e-6


def test_objects_that_cannot_be_keyed(api, part, arkit_mesh, key, make_motion):
    find = part("faces.targets").find_targets
    other = arkit_mesh(["Fat", "Thin"])
    bare = bpy.data.objects.new("Bare", bpy.data.meshes.new("Bare"))
    empty = bpy.data.objects.new("Empty", None)
    driven = arkit_mesh(["jawOpen"], "Driven")
    driven.data.shape_keys.key_blocks["jawOpen"].driver_add("value")
    before = scene_state()
    for items, message in (
        ([], "No object is selected"),
        ([other], "other names"),
        ([bare], "no shape keys"),
        ([empty], "not a face"),
        ([driven], "driven"),
    ):
        with pytest.raises(api.UserError, match=message):
            find(items, 0.4)
    assert scene_state() == before


def test_another_basis_is_refused(api, make_motion, key):
    mesh, _ = api.add_head()
    before = scene_state()
    with pytest.raises(api.UserError, match="FLAME basis"):
        key([mesh], make_motion(basis="flame"))
    with pytest.raises(api.UserError, match="names none"):
        key([mesh], make_motion(names=tuple(f"unit{e}" for e in range(50))))
    assert scene_state() == before


def test_nla_tweak_mode_is_refused(api, make_motion, key):
    mesh, _ = api.add_head()
    action = key([mesh], make_motion())[0][0]
    animation = mesh.data.shape_keys.animation_data
    strip = animation.nla_tracks.new().strips.new("strip", 1, action)
    strip.select = animation.nla_tracks[0].select = True
    animation.action = None
    animation.use_tweak_mode = True
    if not animation.use_tweak_mode:
        pytest.skip("this Blender does not enter tweak mode without a window")
    with pytest.raises(api.UserError, match="tweak mode"):
        key([mesh], make_motion())


def test_a_failure_while_writing_takes_everything_back(api, part, make_motion, key, monkeypatch):
    mesh, _ = api.add_head()
    key([mesh], make_motion())
    before = scene_state()
    keying = part("takes.keying")
    write, calls = keying.write_action, []

    def fail_at_the_third(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise MemoryError
        return write(*arguments)

    monkeypatch.setattr(keying, "write_action", fail_at_the_third)
    with pytest.raises(MemoryError):
        key([mesh], make_motion(), make_motion())
    assert scene_state() == before


def test_bulk_keying_is_a_hundred_times_faster(api, part, record_property):
    mesh, rig = api.add_head()
    one_by_one, bulk, count = measure(
        part("takes.keying"), part("data.motion"), part("faces.targets"), mesh, rig
    )
    print(f"{count} curves x 1500: keyframe_insert {one_by_one:.2f} s, bulk {bulk:.4f} s")
    record_property("times_faster", one_by_one / bulk)
    assert count == 54 and one_by_one / bulk >= 100
