# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses that show whether a face moves, and why one does not."""

import bpy
import numpy as np
import pytest
from support.lip_rigs import LIP_RIGS, build_lip_rig, evaluated_gap
from support.scene_state import evaluated_vertices, scene_state

RIGGED = ["ARKit", "VRM vowels", "Jaw bone alone", "Character Creator 4"]


@pytest.fixture
def talking(part):
    """Function that builds a character with a take of an opening mouth. Returns its mesh and its target."""
    keying, targets, motion = part("takes.keying"), part("faces.targets"), part("data.motion")

    def talking(name):
        mesh, _ = build_lip_rig(LIP_RIGS[name]())
        jaw = np.zeros((20, 3))
        jaw[:, 0] = np.linspace(0.0, 0.3, 20)
        made = motion.Motion(
            np.zeros((20, 50), np.float32), np.zeros((20, 3)), jaw, 25.0, "arkit", (), {"synthetic": True}
        )
        target = targets.find_target(mesh, 0.36)
        take = keying.Take(made, "line · take 1 (seed 0)", made, {})
        keying.key_takes([keying.Assignment((target,), (take,), 1)])
        return mesh, target

    return talking


@pytest.mark.parametrize("name", RIGGED)
def test_poses_move_the_face_and_leave_nothing(part, name):
    try_pose = part("takes.try_pose")
    mesh, face = build_lip_rig(LIP_RIGS[name]())
    target = part("faces.targets").find_target(mesh, 0.36)
    before, rest = scene_state(), evaluated_vertices(mesh)
    for pose in try_pose.POSES:
        put_back = try_pose.show_pose(target, pose)
        moved = np.abs(evaluated_vertices(mesh) - rest).max()
        gap = 1e3 * evaluated_gap(mesh, face)
        put_back()
        if pose in ("OPEN", "NOD") or name in ("ARKit", "Character Creator 4"):
            assert moved > 5e-4, pose
        if pose == "OPEN":
            assert gap > 5
        if pose == "CLOSE":
            assert gap < 0.5
        np.testing.assert_allclose(evaluated_vertices(mesh), rest, atol=1e-7)
    assert scene_state() == before
    bpy.context.view_layer.objects.active = mesh
    assert bpy.ops.diffposetalk.test_pose(pose="OPEN") == {"FINISHED"} and scene_state() == before


def test_a_pose_shows_on_our_own_head(api, part):
    mesh, _ = api.add_head()
    rest = evaluated_vertices(mesh)
    put_back = part("takes.try_pose").show_pose(part("faces.targets").find_target(mesh, 0.36), "SMILE")
    assert np.abs(evaluated_vertices(mesh) - rest).max() > 1e-3
    put_back()
    np.testing.assert_allclose(evaluated_vertices(mesh), rest, atol=1e-7)


def mute_keys(mesh):
    mesh.data.shape_keys.key_blocks["jawOpen"].mute = True


def pin(mesh):
    mesh.show_only_shape_key = True


def cut_off(mesh):
    mesh.data.shape_keys.key_blocks["jawOpen"].slider_max = 0.01


def play_nothing(mesh):
    mesh.data.shape_keys.animation_data.action = None


def mute_curves(mesh):
    action = mesh.data.shape_keys.animation_data.action
    bags = (
        [b for layer in action.layers for s in layer.strips for b in s.channelbags]
        if getattr(action, "is_action_layered", False)
        else []
    )
    for curve in bags[0].fcurves if bags else action.fcurves:
        curve.mute = True


@pytest.mark.parametrize(
    "break_it, text",
    [(mute_keys, "muted: 1"), (pin, "pinned"), (cut_off, "cut their values off"), (play_nothing, "is shown instead"),
     (mute_curves, "Curves")],
)  # fmt: skip
def test_what_keeps_a_face_still_is_found_and_repaired(part, talking, break_it, text):
    standstill = part("takes.standstill")
    mesh, target = talking("ARKit")
    assert standstill.find_obstacles(target) == []

    def opened():
        bpy.context.scene.frame_set(1)
        closed = evaluated_vertices(mesh)
        bpy.context.scene.frame_set(20)
        return np.abs(evaluated_vertices(mesh) - closed).max()

    assert opened() > 5e-3
    break_it(mesh)
    assert opened() < 2e-3
    assert any(text in obstacle.text for obstacle in standstill.find_obstacles(target))
    bpy.context.view_layer.objects.active = mesh
    assert bpy.ops.diffposetalk.does_it_move() == {"FINISHED"}
    assert opened() > 5e-3 and standstill.find_obstacles(target) == []


def test_the_groups_of_a_face(part):
    groups, character = part("faces.face_groups"), part("faces.character")
    mesh, _ = build_lip_rig(LIP_RIGS["ARKit"]())
    found = {group.name: group for group in groups.face_groups(character.find_character(mesh))}
    assert {group.state for group in found.values()} == {groups.FOUND}
    mesh, _ = build_lip_rig(LIP_RIGS["MMD, four vowels"](), "Miku")
    found = {group.name: group for group in groups.face_groups(character.find_character(mesh))}
    assert (found["Visemes"].state, found["Visemes"].lacks) == (groups.PARTLY, ("vrm:E",))
    assert found["Brows"].state == groups.MISSING and found["Lids"].count == 2
    assert found["Gaze"].state == found["Head"].state == groups.FOUND
