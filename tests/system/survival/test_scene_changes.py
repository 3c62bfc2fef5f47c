# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene changes while motion for it is made; keying fails half-way."""

import itertools

import bpy
import pytest
from support.scene_state import scene_state
from support.waiting import PATIENCE

pytestmark = pytest.mark.each_blender


def undo_push(message):
    bpy.ops.ed.undo_push(message=message)


def remove_object(head):
    bpy.data.objects.remove(head)


def remove_armature(head):
    bpy.data.objects.remove(head.parent)


def remove_mesh(head):
    bpy.data.meshes.remove(head.data)


def remove_shape_keys(head):
    head.shape_key_clear()


def remove_bones(head):
    rig = head.parent
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    for bone in list(rig.data.edit_bones):
        rig.data.edit_bones.remove(bone)
    bpy.ops.object.mode_set(mode="OBJECT")


CHANGES = [remove_object, remove_armature, remove_mesh, remove_shape_keys]


@pytest.mark.parametrize("change", CHANGES)
def test_something_is_deleted(api, start, gate, head, generate_again, change):
    other = api.add_head("Bob")[0]
    job = start(head)
    change(head)
    before = scene_state()
    gate.open()
    assert job.wait(PATIENCE) == "failed"
    assert "Nothing was keyed" in str(job.failure) or "any more" in str(job.failure)
    assert scene_state() == before
    generate_again(other)


def test_bones_are_deleted(part, start, gate, head):
    """What is left is keyed, all of it, as on a head that never had them."""
    job = start(head)
    remove_bones(head)
    gate.open()
    assert job.wait(PATIENCE) == "done", job.failure
    [actions] = job.results[0].actions
    counts = {len(c.keyframe_points) for a in actions for c in part("takes.keying").action_curves(a)}
    assert counts == {1500} and job.results[0].warnings


@pytest.mark.parametrize("change", CHANGES)
def test_something_is_deleted_while_it_is_shown(start, gate, head, change):
    """What was shown meanwhile is taken back."""
    before = {key.name: key.value for key in head.data.shape_keys.key_blocks}
    job = start(head, shown=True)
    change(head)
    gate.open()
    assert job.wait(PATIENCE) == "failed" and "internal" not in str(job.failure)
    assert not bpy.data.actions
    if bpy.data.shape_keys and bpy.data.objects.get("Ann") is not None:
        keys = bpy.data.objects["Ann"].data.shape_keys
        assert {key.name: key.value for key in keys.key_blocks} == before


def test_the_scene_is_deleted(api, start, gate, generate_again):
    scene = bpy.data.scenes.new("Other")
    head = api.add_head("Ann")[0]
    job = start(head, scene=scene)
    bpy.data.scenes.remove(scene)
    before = scene_state()
    gate.open()
    assert job.wait(PATIENCE) == "failed" and "scene was removed" in str(job.failure)
    assert scene_state() == before
    generate_again(head)


@pytest.mark.parametrize("fps", [24, 30, 60])
def test_the_frame_rate_changes(part, start, gate, head, fps):
    job = start(head)
    bpy.context.scene.render.fps = fps
    gate.open()
    assert job.wait(PATIENCE) == "done"
    [result] = job.results
    counts = {
        len(c.keyframe_points) for a in result.actions[0] for c in part("takes.keying").action_curves(a)
    }
    assert counts == {int(59.96 * fps + 1e-6) + 1}
    assert result.last_frame == counts.pop() and bpy.context.scene.frame_end == result.last_frame


def test_undo_and_redo(api, head, recordings, generate_again):
    """A generation is undone and redone; motion can be made again after either."""
    undo_push("head")
    before = scene_state()
    generate_again(head)
    undo_push("generate")
    after = scene_state()
    for _ in range(3):
        bpy.ops.ed.undo()
        assert scene_state() == before
        bpy.ops.ed.redo()
        assert scene_state() == after
    bpy.ops.ed.undo()
    generate_again(bpy.data.objects["Ann"])


def test_undo_and_redo_meanwhile(head, start, gate):
    """Undo replaces the objects; the job finds them again."""
    undo_push("head")
    head.location.x = 1
    undo_push("moved")
    job = start(head)
    bpy.ops.ed.undo()
    assert job.poll() == "running"
    bpy.ops.ed.redo()
    bpy.ops.ed.undo()
    gate.open()
    assert job.wait(PATIENCE) == "done"
    head = bpy.data.objects["Ann"]
    assert head.location.x == 0 and head.data.shape_keys.animation_data.action == job.results[0].actions[0][0]


def test_the_head_itself_is_undone_meanwhile(api, start, gate, generate_again):
    undo_push("nothing")
    head = api.add_head("Ann")[0]
    undo_push("head")
    job = start(head)
    bpy.ops.ed.undo()
    assert "Ann" not in bpy.data.objects
    before = scene_state()
    gate.open()
    assert job.wait(PATIENCE) == "failed" and "removed" in str(job.failure)
    assert scene_state() == before
    bpy.ops.ed.redo()
    generate_again(bpy.data.objects["Ann"])


def keying_steps(part):
    """The functions through which keying touches the scene."""
    return [
        (part("takes.audio_strip"), "place_sound"),
        (part("takes.keying"), "write_action"),
        (part("takes.keying"), "mark"),
        (part("takes.keying"), "show_action"),
        (part("takes.record"), "store"),
        (part("takes.record"), "write_keyed"),
    ]


def test_keying_that_fails_anywhere_leaves_nothing(api, part, head, recordings, generate_again):
    """Each call of each function that touches the scene fails once: before it began, and after it was done."""
    heads = [head, api.add_head("Bob")[0]]
    generate_again(head)  # there is something to lose
    bpy.context.scene.frame_end = 10
    job = api.generate(heads, recordings / "speech.wav", takes=2, blocking=False)
    made = []
    job._key = made.extend  # the motion is made once, and keyed again and again
    assert job.wait(PATIENCE) == "done"
    failures = 0
    for module, name in keying_steps(part):
        real = getattr(module, name)
        before = scene_state()
        for number, late in itertools.product(range(100), (False, True)):
            calls = itertools.count()

            def failing(*arguments, real=real, calls=calls, number=number, late=late, **more):
                strikes = next(calls) == number
                if strikes and not late:
                    raise MemoryError("before")
                result = real(*arguments, **more)
                if strikes:
                    raise MemoryError("after")
                return result

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(module, name, failing)
                try:
                    type(job)._key(job, made)
                except MemoryError:
                    failures += 1
                    assert scene_state() == before, (name, number, late)
                else:
                    assert next(calls) == number  # it is not called so often
                    break
    assert failures > 20
