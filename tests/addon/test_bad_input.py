# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be done is said, and everything else is done: bones, keys, links, scenes, tracks, files."""

import bpy
import numpy as np
import pytest
from support.foreign_rigs import RIGS, build
from support.scene_state import evaluated_vertices, scene_state


@pytest.fixture
def motion(part):
    """Two seconds of ARKit motion."""
    random, smoothed = np.random.default_rng(0), part("data.adjustment").smoothed
    exp = np.clip(smoothed(random.normal(0.3, 0.5, (50, 50)), 3), 0, 1).astype("f4")
    jaw = np.zeros((50, 3))
    jaw[:, 0] = 0.2
    head = smoothed(random.normal(0, 0.4, (50, 3)), 5)
    told = {"synthetic": True, "model": "m", "seed": 7}
    return part("data.motion").Motion(
        exp, head, jaw, 25.0, "arkit", part("data.arkit").EXPRESSION_NAMES, told
    )


@pytest.fixture
def key(part, motion):
    """Function that keys the motion as a take; returns its first Action and the remarks."""
    keying = part("takes.keying")

    def run(item, start=1):
        [target] = part("faces.targets").find_targets([item], 0.4)
        made = keying.Take(motion, "line · take 1 (seed 7)", motion, {})
        [[[action, *_]]] = keying.key_takes([keying.Assignment((target,), (made,), start)])
        return action, " ".join(part("jobs.generation").remarks([target], bpy.context.scene))

    return run


def value_at(block, path, frame):
    bpy.context.scene.frame_set(frame)
    return block.path_resolve(path)


def channel(motion, part, name, frame):
    return motion.exp[frame, part("data.arkit").EXPRESSION_NAMES.index(name)]


def test_keys_and_bones_of_our_own_heads_that_cannot_be_keyed(api, part, key, motion):
    head, rig = api.add_head()
    keys = head.data.shape_keys.key_blocks
    keys["mouthFunnel"].name = "Renamed"
    keys["browInnerUp"].driver_add("value")
    locked = hasattr(keys["cheekPuff"], "lock_shape")
    if locked:
        keys["cheekPuff"].lock_shape = True
    bpy.ops.object.select_all(action="DESELECT")
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    rig.data.edit_bones["neck"].name = "Hals"
    bpy.ops.object.mode_set(mode="OBJECT")
    action, remarks = key(head)
    assert "mouthFunnel" in remarks and "renamed?" in remarks and "browInnerUp" in remarks
    assert "driven" in remarks and "neck" in remarks and (not locked or "locked: cheekPuff" in remarks)
    assert keys["Renamed"].value == 0 and (not locked or keys["cheekPuff"].value == 0)
    expected = channel(motion, part, "mouthPucker", 9)
    assert value_at(keys["mouthPucker"], "value", 10) == pytest.approx(expected, abs=1e-6)
    assert rig.pose.bones["jaw"].rotation_euler.x == pytest.approx(0.2, abs=1e-6)
    api.adjust(head, mouth=0.5)  # and afterwards
    assert value_at(keys["mouthPucker"], "value", 10) == pytest.approx(0.5 * expected, abs=1e-6)
    part("takes.showing").retime(action, 11.0, 1.0, 25.0)


def test_a_key_renamed_and_a_bone_removed_after_the_take(api, part, key):
    _, meshes = build(RIGS["Ready Player Me"]())
    item = meshes[0]
    _, remarks = key(item)
    assert remarks == ""
    item.data.shape_keys.key_blocks["mouthFunnel"].name = "Trichter"
    rig = item.parent
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    rig.data.edit_bones.remove(rig.data.edit_bones["Neck"])
    bpy.ops.object.mode_set(mode="OBJECT")
    keys = item.data.shape_keys.key_blocks
    before = value_at(keys["mouthPucker"], "value", 10)
    api.adjust(item, mouth=0.5)
    assert value_at(keys["mouthPucker"], "value", 10) == pytest.approx(0.5 * before, abs=1e-6)


def test_heads_of_another_file(api, part, key, tmp_path):
    head, rig = api.add_head("Ann")
    path = tmp_path / "head.blend"
    bpy.data.libraries.write(str(path), {head, rig}, fake_user=True)
    for item in (head, rig):
        bpy.data.objects.remove(item)
    with bpy.data.libraries.load(str(path), link=True) as (there, loaded):
        loaded.objects = list(there.objects)
    for item in loaded.objects:
        bpy.context.scene.collection.objects.link(item)
    linked = next(o for o in loaded.objects if o.type == "MESH")
    before = scene_state()
    with pytest.raises(api.UserError, match="linked from another file"):
        key(linked)
    assert scene_state() == before
    scene, layer = bpy.context.scene, bpy.context.view_layer
    override = linked.override_hierarchy_create(scene, layer, do_fully_editable=True)
    action, remarks = key(override)
    assert action and remarks == "" and part("takes.showing").shown_take(override) == action
    bpy.context.scene.frame_set(10)
    assert override.data.shape_keys.key_blocks["mouthPucker"].value > 0


def test_an_object_of_another_scene_is_keyed_and_told(api, part, key, tmp_path):
    head, rig = api.add_head("Ann")
    far = bpy.data.scenes.new("Elsewhere")
    try:
        for item in (head, rig):
            for collection in item.users_collection:
                collection.objects.unlink(item)
            far.collection.objects.link(item)
        action, remarks = key(head)
        assert action and "“Ann” is not in the scene “Scene”" in remarks
        with pytest.raises(api.UserError, match=r"cannot be exported.*another scene"):
            api.export_fbx(head, tmp_path / "a.fbx")
        [result] = api.batch([{"audio": "x.wav", "object": "Ann"}], on_progress=lambda *_: None)
        assert result.state == "failed" and "no object “Ann” in this scene" in result.error
    finally:
        bpy.data.scenes.remove(far)


@pytest.mark.parametrize("suffix", [".fbx", ".glb", ".abc"])
def test_hidden_heads_are_exported_and_hidden_collections_told(api, key, tmp_path, suffix):
    head, rig = api.add_head("Ann")
    key(head)
    export = {".fbx": api.export_fbx, ".glb": api.export_gltf, ".abc": api.export_alembic}[suffix]
    head.hide_set(True)
    rig.hide_viewport = head.hide_render = True
    bpy.context.scene.frame_set(2)
    before = scene_state()
    path = export(head, tmp_path / "hidden")
    assert scene_state() == before and head.hide_get() and rig.hide_viewport and head.hide_render
    known = set(bpy.data.objects)
    if suffix == ".abc":
        bpy.ops.wm.alembic_import(filepath=str(path), as_background_job=False)
    elif suffix == ".fbx":
        bpy.ops.import_scene.fbx(filepath=str(path))
    else:
        bpy.ops.import_scene.gltf(filepath=str(path))
    back = [o for o in bpy.data.objects if o not in known and o.type == "MESH"]
    assert any(len(o.data.vertices) > 1000 for o in back)
    hidden = bpy.data.collections.new("Hidden")
    bpy.context.scene.collection.children.link(hidden)
    for collection in head.users_collection:
        collection.objects.unlink(head)
    hidden.objects.link(head)
    hidden.hide_viewport = True
    with pytest.raises(api.UserError, match="“Ann” cannot be exported from this view layer"):
        export(head, tmp_path / "never")
    assert not list(tmp_path.glob("never*"))


@pytest.mark.parametrize("suffix", [".fbx", ".glb"])
def test_takes_in_the_nla_editor_are_exported_unless_muted(api, part, key, motion, tmp_path, suffix):
    head, rig = api.add_head("Ann")
    key(head, start=21)
    bpy.context.scene.frame_set(30)
    expected = evaluated_vertices(head)
    api.push_to_nla(head, "REPLACE")
    exporting = part("jobs.exporting")
    assert exporting.keyed_range(bpy.context.scene, [head, rig]) == (21, 70)
    assert exporting.provenance_of(head)["seed"] == 7 and exporting.unplayed([head]) == []
    path = (api.export_fbx if suffix == ".fbx" else api.export_gltf)(head, tmp_path / "pushed")
    known = set(bpy.data.objects)
    if suffix == ".fbx":
        bpy.ops.import_scene.fbx(filepath=str(path), anim_offset=0.0)
    else:
        bpy.ops.import_scene.gltf(filepath=str(path))
    back = next(o for o in bpy.data.objects if o not in known and o.type == "MESH" and o.data.shape_keys)
    bpy.context.scene.frame_set(30)
    shown = evaluated_vertices(back)
    nearest = np.abs(expected[:, None, :] - shown[None, ::40, :]).max(axis=2).min(axis=0)
    assert nearest.max() < 1e-4
    for track in head.data.shape_keys.animation_data.nla_tracks:
        track.mute = True
    [told] = exporting.unplayed([head])
    assert "muted" in told and "is not seen" in told
    assert exporting.provenance_of(head) == {}


def test_paths_that_cannot_be_written(api, part, key, tmp_path):
    head, _ = api.add_head("Ann")
    key(head)
    (tmp_path / "file").write_text("x")
    exports = {
        ".fbx": api.export_fbx,
        ".glb": api.export_gltf,
        ".abc": api.export_alembic,
        ".npz": api.export_motion,
    }
    before = scene_state()
    for suffix, export in exports.items():
        (tmp_path / f"folder{suffix}").mkdir()
        for name, message in (
            (f"nowhere/a{suffix}", "does not exist"),
            (f"file/a{suffix}", "does not exist"),
            (f"folder{suffix}", "cannot be written"),
            ("a" * 300 + suffix, "cannot be written"),
        ):
            with pytest.raises(api.UserError, match=message):
                export(head, tmp_path / name)
    assert scene_state() == before


def test_two_jobs_for_one_object(api, part, motion, tmp_path):
    """One job at a time speaks an object; of a list each makes a take of its own."""
    head, rig = api.add_head("Ann")
    clip = part("data.motion").write_motion(tmp_path / "a.npz", motion)
    generation, span = part("jobs.generation"), part("takes.audio_strip").AudioSpan
    speech = [generation.Speech(span(str(clip), 0.0, None, 1), (item,), False) for item in (head, rig)]
    settings = generation.GenerationSettings(part("data.generation_options").GenerationOptions())
    with pytest.raises(api.UserError, match="two recordings at once"):
        generation.GenerationJob(bpy.context.scene, speech, settings)
    first, second = (
        part("jobs.motion_exchange").ImportMotionJob(bpy.context.scene, [head], clip) for _ in range(2)
    )
    while "running" in (first.poll(), second.poll()):
        pass
    assert first.state == second.state == "done" and len(api.takes(head)) == 2
