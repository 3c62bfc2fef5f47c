# SPDX-License-Identifier: GPL-3.0-or-later
"""The head in Blender is the head model."""

import bpy
import numpy as np
import pytest
from mathutils import Quaternion, Vector
from support.scene_state import evaluated_vertices

TOLERANCE = 1e-4  # metres


def in_blender_axes(vertices):
    return np.stack([vertices[..., 0], -vertices[..., 2], vertices[..., 1]], axis=-1)


def random_poses(count, basis, seed=0):
    """Expressions (count, 50) and rotations (count, 5, 3) of all joints at once."""
    random = np.random.default_rng(seed)
    if basis == "arkit":
        exp = random.uniform(0, 1, (count, 50)) * (random.random((count, 50)) < 0.4)
    else:
        exp = random.normal(0, 1, (count, 50))
        exp[0, :8] = [5, -5, 3, -3, 9.5, -9.5, 2, -2]
    return exp.astype("f4"), random.normal(0, 0.2, (count, 5, 3)).astype("f4")


def put(mesh, rig, asset, exp, rotations):
    for name, value in zip(asset.expression_names, exp, strict=True):
        mesh.data.shape_keys.key_blocks[name].value = value
    for bone, rotation in zip(asset.joint_names, rotations, strict=True):
        axis_angle = Vector(rotation)
        turned = Quaternion(axis_angle.normalized(), axis_angle.length)
        rig.pose.bones[bone].rotation_euler = turned.to_euler("XYZ")


@pytest.fixture
def head_file(request, head_path, synthetic_head, flame_like_head):
    """The head file that a test's parameter names."""
    files = {"bundled": head_path, "synthetic": synthetic_head, "FLAME-like": flame_like_head}
    return files[request.param]


@pytest.mark.parametrize("head_file", ["bundled", "synthetic", "FLAME-like"], indirect=True)
def test_evaluated_mesh_is_the_head_model(api, part, head_file, model_vertices, record_property, request):
    asset = part("data.head_asset").load_head(head_file)
    shape = np.random.default_rng(3).normal(0, 0.7, 100).astype("f4")
    exp, rotations = random_poses(10, asset.basis)
    expected = in_blender_axes(model_vertices(head_file, exp, rotations, shape))
    mesh, rig = api.add_head("Ann", shape=shape, asset=head_file)
    worst = 0.0
    for frame in range(len(exp)):
        put(mesh, rig, asset, exp[frame], rotations[frame])
        worst = max(worst, float(np.abs(evaluated_vertices(mesh) - expected[frame]).max()))
    print(f"largest difference to smplx, {asset.name}: {1000 * worst:.6f} mm")
    record_property("largest_difference_mm", 1000 * worst)
    assert worst < TOLERANCE


@pytest.mark.parametrize("joint", range(5))
def test_each_joint_alone(api, part, flame_like_head, model_vertices, joint):
    """Large turns of one joint, with expressions that move it a little and much."""
    asset = part("data.head_asset").load_head(flame_like_head)
    exp, rotations = random_poses(4, "flame", joint)
    exp *= np.array([1e-3, 0.02, 0.3, 2], "f4")[:, None]
    rotations *= 4 * (np.arange(5) == joint)[:, None]
    expected = in_blender_axes(model_vertices(flame_like_head, exp, rotations))
    mesh, rig = api.add_head(asset=flame_like_head)
    for frame in range(len(exp)):
        put(mesh, rig, asset, exp[frame], rotations[frame])
        assert np.abs(evaluated_vertices(mesh) - expected[frame]).max() < 5e-6  # metres


def test_parts_of_a_head_with_moving_joints(api, flame_like_head):
    mesh, rig = api.add_head(asset=flame_like_head)
    keys = mesh.data.shape_keys.key_blocks
    assert [key.name for key in keys][1:51] == [f"Exp{e:03d}" for e in range(50)]
    assert all((key.slider_min, key.slider_max) == (-10, 10) for key in keys[1:51])
    assert sum("_corrective_" in key.name for key in keys) == 36
    shown = {bone.name for bone in rig.data.bones if any(c.is_visible for c in bone.collections)}
    assert shown == {"root", "neck", "jaw", "left_eye", "right_eye"}
    assert {bone.name for bone in rig.data.bones if bone.use_deform} == {f"{name}_deform" for name in shown}
    keys["Exp003"].value = 0.1
    bpy.context.evaluated_depsgraph_get().update()
    assert rig.pose.bones["jaw"].location.length > 1e-5


def test_parts_of_the_rig(api, part, head_path):
    asset = part("data.head_asset").load_head(head_path)
    bpy.context.scene.cursor.location = (1, 2, 3)
    mesh, rig = api.add_head()
    assert mesh.parent is rig and rig.location == Vector((1, 2, 3))
    assert bpy.context.object is mesh and mesh.select_get()
    keys = mesh.data.shape_keys.key_blocks
    names = part("data.arkit").EXPRESSION_NAMES
    assert [key.name for key in keys][1 : 1 + len(names)] == list(names)
    assert all((keys[name].slider_min, keys[name].slider_max) == (0, 1) for name in names)
    assert [b.name for b in rig.data.bones if b.use_deform] == [
        "root",
        "neck",
        "jaw",
        "left_eye",
        "right_eye",
    ]
    assert rig.data.bones["jaw"].parent.name == "neck" and rig.data.bones["left_eye"].parent.name == "neck"
    height = evaluated_vertices(mesh)[:, 2]
    assert 0.15 < height.max() - height.min() < 0.6  # metres: a head with some neck
    assert all(m.node_tree and tuple(m.diffuse_color[:3]) != (0.8, 0.8, 0.8) for m in mesh.data.materials)
    assert len(mesh.data.materials) == len(asset.material_names)
    weights = np.zeros_like(asset.weights)
    for vertex in mesh.data.vertices:
        for group in vertex.groups:
            weights[vertex.index, group.group] = group.weight
    np.testing.assert_array_equal(weights, asset.weights)


def test_drivers_need_no_permission_to_run_scripts(api, synthetic_head, flame_like_head):
    for path, count in ((synthetic_head, 36 + 4), (flame_like_head, 36 + 5 * 3 * (2 + 2))):
        mesh, rig = api.add_head(asset=path)
        drivers = [*mesh.data.shape_keys.animation_data.drivers, *rig.animation_data.drivers]
        assert len(drivers) == count
        assert all(d.driver.is_simple_expression and d.driver.is_valid for d in drivers)


def test_no_dependency_cycle(api, head_path, synthetic_head, flame_like_head, capfd):
    for path in (head_path, synthetic_head, flame_like_head):
        api.add_head(asset=path)
    bpy.context.evaluated_depsgraph_get().update()
    output = "".join(capfd.readouterr()).lower()
    assert "cycle" not in output


def test_eyes_turn_with_the_gaze_and_by_hand(api, part, head_path):
    asset = part("data.head_asset").load_head(head_path)
    mesh, rig = api.add_head()
    name = asset.expression_names[int(np.abs(asset.eye_look_angles[:, 0]).sum(1).argmax())]
    eye = rig.pose.bones["left_eye"]

    def turn():
        bpy.context.evaluated_depsgraph_get().update()
        return eye.matrix.to_quaternion()

    rest = turn()
    mesh.data.shape_keys.key_blocks[name].value = 1.0
    looking = turn()
    assert rest.rotation_difference(looking).angle > 0.1
    eye.rotation_euler.z = 0.3
    assert abs(looking.rotation_difference(turn()).angle - 0.3) < 1e-4


def test_two_heads_do_not_share_anything(api):
    first, _ = api.add_head("Ann")
    second, _ = api.add_head("Bob")
    assert first.data is not second.data and first.data.shape_keys is not second.data.shape_keys
    first.data.shape_keys.key_blocks["eyeBlinkLeft"].value = 1.0
    assert second.data.shape_keys.key_blocks["eyeBlinkLeft"].value == 0.0


def test_add_head_in_pose_mode_and_with_a_hidden_collection(api):
    _, rig = api.add_head()
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="POSE")
    hidden = bpy.data.collections.new("Hidden")
    bpy.context.scene.collection.children.link(hidden)
    layer = bpy.context.view_layer.layer_collection.children["Hidden"]
    bpy.context.view_layer.active_layer_collection = layer
    hidden.hide_viewport = True
    mesh, _ = api.add_head()
    assert mesh.visible_get()


@pytest.mark.parametrize("content", [b"", b"not a head", None])
def test_a_bad_head_file_is_refused(api, tmp_path, content):
    path = tmp_path / "bad.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(api.UserError, match=r"bad\.npz"):
        api.add_head(asset=path)
    assert not bpy.data.objects


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("weights", lambda weights: weights[:-1]),
        ("shapedirs", lambda shapedirs: np.where(shapedirs > 0.01, np.nan, shapedirs)),
        ("polygons|vertex", lambda polygons: np.where(polygons == 3, 10**6, polygons)),
        ("kintree_table|parents", lambda table: table[::-1]),
        ("polygon_material|material", lambda material: material + 7),
        ("expression_names|one name", lambda names: np.where(names == names[1], names[0], names)),
    ],
)
def test_a_head_file_that_does_not_fit_together_is_refused(api, synthetic_head, tmp_path, name, change):
    array, _, message = name.partition("|")
    with np.load(synthetic_head) as file:
        arrays = dict(file)
    arrays[array] = change(arrays[array])
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(api.UserError, match=message or array):
        api.add_head(asset=tmp_path / "bad.npz")
    assert not bpy.data.objects and not bpy.data.meshes


def test_damaged_head_files_are_refused(api, part, synthetic_head, tmp_path):
    """Whatever zipfile, zlib and numpy raise for it, the user reads one kind of error."""
    with np.load(synthetic_head) as file:
        np.savez_compressed(tmp_path / "whole.npz", **file)
    content = (tmp_path / "whole.npz").read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for case in range(150):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), 5):
            damaged[place] = random.integers(256)
        if case % 3 == 0:
            del damaged[random.integers(len(content)) :]
        (tmp_path / "bad.npz").write_bytes(damaged)
        try:
            part("data.head_asset").load_head(tmp_path / "bad.npz")
        except api.UserError:
            refused += 1
    assert refused > 100


def test_a_file_that_unpacks_to_gigabytes_is_refused(api, part, tmp_path, monkeypatch):
    monkeypatch.setattr(part("data.array_file"), "LARGEST_CONTENT", 1 << 20)
    np.savez_compressed(tmp_path / "bomb.npz", v_template=np.zeros(1 << 18))
    with pytest.raises(api.UserError, match="too large"):
        api.add_head(asset=tmp_path / "bomb.npz")
