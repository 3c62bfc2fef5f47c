# SPDX-License-Identifier: GPL-3.0-or-later
"""Other people's characters: what their names mean, which way they face, and what moves them."""

import json

import bpy
import numpy as np
import pytest
from mathutils import Matrix, Quaternion, Vector
from support.foreign_rigs import ARKIT, RIGS, SCHEMES, build, meant
from support.lip_rigs import load_rigify
from support.scene_state import scene_state


@pytest.fixture
def make_motion(part):
    """Function that makes random ARKit motion with head and jaw."""

    def make(count=40, fps=25.0):
        random = np.random.default_rng(count)
        exp = random.uniform(0, 1, (count, 50)).astype("f4")
        turns = np.cumsum(random.normal(0, 0.02, (count, 3)), axis=0)
        jaw = np.zeros((count, 3))
        jaw[:, 0] = random.uniform(0, 0.3, count)
        return part("data.motion").Motion(exp, turns, jaw, fps, "arkit", (), {"synthetic": True})

    return make


@pytest.fixture
def key(part):
    """Function that keys motion on objects; returns the Actions."""
    keying, targets = part("takes.keying"), part("faces.targets")

    def key(objects, motion, **options):
        assignment = keying.Assignment(
            tuple(targets.find_targets(objects, 0.4)), (keying.Take(motion, "line · take 1 (seed 0)"),), 1
        )
        return keying.key_takes([assignment], **options)[0][0]

    return key


@pytest.mark.parametrize("name", RIGS)
def test_channels_are_found_by_their_names(part, name, record_property):
    rig = RIGS[name]()
    owner, meshes = build(rig)
    guessed = {
        (row.source, row.object, row.target) for row in part("faces.character").guess_mapping(meshes[0]).rows
    }
    expected = {
        (channel, mesh, key) for mesh, keys in rig.meshes.items() for key, channel in keys.items() if channel
    }
    right = len(guessed & expected) / len(guessed | expected)
    record_property("right", right)
    assert right >= 0.95, (guessed - expected, expected - guessed)
    assert {channel for channel, _, _ in guessed} == set(ARKIT)
    assert {row.source for row in part("faces.character").guess_mapping(owner).rows} == set(ARKIT)


@pytest.mark.parametrize("name", SCHEMES)
def test_names_of_other_tools_are_read(part, name):
    rig = SCHEMES[name]()
    _, meshes = build(rig)
    guessed = {(r.source, r.object, r.target) for r in part("faces.character").guess_mapping(meshes[0]).rows}
    assert guessed == meant(rig)


def test_numbered_visemes_are_read(part):
    names = part("data.shape_names")
    keys = [f"AA_VI_{n:02d}_{viseme}" for n, viseme in enumerate(names.OCULUS)]
    title, found = names.match_visemes(keys)
    assert title == "oculus" and set(found) == set(names.OCULUS)


@pytest.mark.parametrize("name", RIGS)
def test_keys_reach_all_meshes(part, key, make_motion, name):
    rig = RIGS[name]()
    _, meshes = build(rig)
    motion = make_motion()
    actions = key([meshes[0]], motion)
    assert all(action.use_fake_user for action in actions)
    bpy.context.scene.frame_set(8)
    names = part("data.arkit").EXPRESSION_NAMES
    for mesh in meshes:
        keys = mesh.data.shape_keys.key_blocks
        for shape, channel in rig.meshes[mesh.name].items():
            if channel == "jawOpen":
                expected = min(1.0, motion.jaw[7, 0] / 0.4)
            else:
                expected = motion.exp[7, names.index(channel)] if channel else 0.0
            assert keys[shape].value == pytest.approx(expected, abs=1e-6), (mesh.name, shape)


def test_all_selected_meshes_of_a_character_are_one(part, key, make_motion):
    owner, meshes = build(RIGS["Character Creator"]())
    found = part("faces.targets").find_targets([*meshes, owner], 0.4)
    assert len(found) == 1 and found[0].owner is owner


@pytest.mark.parametrize("name", ["VRoid", "Ready Player Me", "Character Creator", "MetaHuman"])
@pytest.mark.parametrize("mode", ["QUATERNION", "XYZ", "ZXY"])
def test_the_head_turns_as_the_motion_says(part, key, make_motion, name, mode):
    rig = RIGS[name]()
    owner, meshes = build(rig)
    for bone in (rig.head, rig.neck):
        owner.pose.bones[bone].rotation_mode = mode
    motion = make_motion()
    motion.head[:] = 0
    motion.head[:, 1] = 0.5  # to the character's left, which is +X here
    key([meshes[0]], motion)
    choice = part("faces.character").find_character(owner).bones
    assert (choice.head, choice.neck) == (rig.head, rig.neck)
    bpy.context.scene.frame_set(5)
    bpy.context.view_layer.update()
    head = owner.pose.bones[rig.head]
    turned = head.matrix.to_3x3() @ head.bone.matrix_local.to_3x3().inverted()
    up = Vector((0, 1, 0)) if name == "Ready Player Me" else Vector((0, 0, 1))
    forward = Vector((0, 0, 1)) if name == "Ready Player Me" else Vector((0, -1, 0))
    assert (turned @ up - up).length < 1e-5
    assert (turned @ forward).x == pytest.approx(np.sin(0.5), abs=1e-5)
    neck = owner.pose.bones[rig.neck]
    share = (neck.matrix.to_3x3() @ neck.bone.matrix_local.to_3x3().inverted()).to_quaternion().angle
    assert share == pytest.approx(0.4 * 0.5, abs=1e-5)


def test_nodding_and_tilting_follow_flames_axes(part, key, make_motion):
    rig = RIGS["VRoid"]()
    owner, meshes = build(rig)
    motion = make_motion()
    for axis, direction, seen in ((0, (0, -1, 0), (0, 0, -1)), (2, (0, 0, 1), (-1, 0, 0))):
        motion.head[:] = 0
        motion.head[:, axis] = 0.3  # x nods forward: the face goes down; z tilts onto the right shoulder
        key([meshes[0]], motion)
        bpy.context.scene.frame_set(5)
        head = owner.pose.bones[rig.head]
        turned = head.matrix.to_3x3() @ head.bone.matrix_local.to_3x3().inverted()
        assert (turned @ Vector(direction)).dot(Vector(seen)) == pytest.approx(np.sin(0.3), abs=1e-5)


def test_an_armature_that_lies_on_its_side_and_faces_elsewhere(part):
    rig = RIGS["MetaHuman"]()
    turn = Matrix.Rotation(np.pi / 2, 3, "Z") @ Matrix.Rotation(np.pi / 2, 3, "X")
    rig.bones = {
        name: (parent, tuple(turn @ Vector(a)), tuple(turn @ Vector(b)))
        for name, (parent, a, b) in rig.bones.items()
    }
    owner, _ = build(rig)
    axes = part("faces.bones").character_axes(owner, "head", "neck_01")
    expected = np.array(turn) @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]).T
    np.testing.assert_allclose(axes, expected, atol=1e-6)


def test_eye_bones_turn_where_no_key_does(part, key, make_motion):
    rig = RIGS["VRoid"]()
    rig.meshes["Face"] = {k: v for k, v in rig.meshes["Face"].items() if "EyeLook" not in k}
    owner, meshes = build(rig)
    motion = make_motion()
    names = part("data.arkit").EXPRESSION_NAMES
    motion.exp[:] = 0
    motion.exp[:, names.index("eyeLookOutLeft")] = motion.exp[:, names.index("eyeLookInRight")] = 1.0
    motion.head[:] = 0
    key([meshes[0]], motion)
    bpy.context.scene.frame_set(3)
    for bone in ("J_Adj_L_FaceEye", "J_Adj_R_FaceEye"):
        eye = owner.pose.bones[bone]
        turned = eye.matrix.to_3x3() @ eye.bone.matrix_local.to_3x3().inverted()
        assert (turned @ Vector((0, -1, 0))).x == pytest.approx(np.sin(0.6), abs=1e-4), bone


def test_the_jaw_opens_by_its_bone_where_there_is_no_key(part, key, make_motion):
    rig = RIGS["MetaHuman"]()
    face = rig.meshes["head_lod0_mesh"]
    rig.meshes["head_lod0_mesh"] = {k: v for k, v in face.items() if v != "jawOpen"}
    owner, meshes = build(rig)
    motion = make_motion()
    motion.head[:] = 0
    key([meshes[0]], motion)
    bpy.context.scene.frame_set(6)
    jaw = owner.pose.bones["FACIAL_C_Jaw"]
    turned = jaw.matrix.to_3x3() @ jaw.bone.matrix_local.to_3x3().inverted()
    assert turned.to_quaternion().angle == pytest.approx(motion.jaw[5, 0], abs=1e-5)
    assert (turned @ Vector((0, -1, 0))).z < 0  # the chin goes down


def test_on_top_of_the_bodys_animation(part, key, make_motion):
    rig = RIGS["Character Creator"]()
    owner, meshes = build(rig)
    head, arm = owner.pose.bones[rig.head], owner.pose.bones["CC_Base_Hip"]
    for bone, path in ((head, "rotation_quaternion"), (arm, "location")):
        for frame, value in ((1, 0.0), (41, 0.4)):
            if path == "location":
                bone.location = (value, 0, 0)
            else:
                bone.rotation_quaternion = Quaternion((0, 0, 1), value)
            bone.keyframe_insert(path, frame=frame)
    body = owner.animation_data.action
    bpy.context.scene.frame_set(21)
    before = head.matrix_basis.to_quaternion()
    motion = make_motion()
    key([meshes[0]], motion)
    bpy.context.scene.frame_set(21)
    assert arm.location.x == pytest.approx(0.2, abs=0.02)
    axes = part("faces.bones").character_axes(owner, rig.head, rig.neck)
    local = part("faces.bones").local_turns(owner, rig.head, motion.head[20:21] * 0.6, axes)[0]
    turn = Quaternion(Vector(local).normalized(), Vector(local).length)
    assert head.matrix_basis.to_quaternion().rotation_difference(before @ turn).angle < 1e-3
    assert body in [strip.action for track in owner.animation_data.nla_tracks for strip in track.strips]
    key([meshes[0]], motion)  # a second take does not push the first one down
    assert len(owner.animation_data.nla_tracks) == 1


@pytest.mark.parametrize("title, prefix", [("oculus", "viseme_"), ("vrm", "Fcl_MTH_"), ("preston_blair", "")])
def test_visemes_are_solved_from_the_motion(part, key, make_motion, title, prefix):
    names, visemes = part("data.shape_names"), part("data.visemes")
    shapes = {f"{prefix}{viseme}": None for viseme in names.VISEME_SETS[title]}
    rig = RIGS["VRoid"]()
    rig.meshes = {"Face": shapes | {"Fcl_EYE_Close_L": "eyeBlinkLeft", "Fcl_EYE_Close_R": "eyeBlinkRight"}}
    _, (mesh,) = build(rig)
    rows = part("faces.character").guess_mapping(mesh).rows
    assert {r.source for r in rows} == {f"{title}:{v}" for v in names.VISEME_SETS[title]} | {
        "eyeBlinkLeft", "eyeBlinkRight"}  # fmt: skip
    motion = make_motion(60)
    arkit = list(part("data.arkit").EXPRESSION_NAMES)
    motion.exp[:], motion.jaw[:] = 0, 0
    spoken = [v for v, pose in visemes.CORRESPONDENCES[title].items() if pose is not None][:5]
    for number, viseme in enumerate(spoken):  # a syllable of 12 frames each
        for channel, value in visemes._POSES[visemes.CORRESPONDENCES[title][viseme]].items():
            span = slice(12 * number + 2, 12 * number + 10)
            if channel == "jawOpen":
                motion.jaw[span, 0] = 0.4 * value
            else:
                motion.exp[span, arkit.index(channel)] = value
    key([mesh], motion)
    keys = mesh.data.shape_keys.key_blocks
    for number, viseme in enumerate(spoken):
        bpy.context.scene.frame_set(12 * number + 7)
        values = {v: keys[f"{prefix}{v}"].value for v in names.VISEME_SETS[title]}
        assert max(values, key=values.get) == viseme and min(values.values()) >= 0, (viseme, values)


def test_solving_is_bounded_smooth_and_optimal(part):
    visemes = part("data.visemes")
    random = np.random.default_rng(1)
    matrix = random.uniform(0, 1, (12, 5))
    values = random.uniform(0, 1, (200, 5)) @ matrix.T + random.normal(0, 0.1, (200, 12))
    solved = visemes.solve_bounded(matrix, values, 0.5, 0.01)
    assert solved.min() >= 0 and solved.max() <= 1
    gram = matrix.T @ matrix + 0.01 * np.eye(5)
    gradient = solved @ gram - values @ matrix
    step = 0.5 * np.diff(solved, axis=0)
    gradient[1:] += step
    gradient[:-1] -= step
    inside = (solved > 1e-6) & (solved < 1 - 1e-6)
    assert np.abs(gradient[inside]).max() < 1e-3  # the conditions of Karush, Kuhn and Tucker
    assert gradient[solved <= 1e-6].min() > -1e-3 and gradient[solved >= 1 - 1e-6].max() < 1e-3
    rough = visemes.solve_bounded(matrix, values, 0.0, 0.01)
    assert np.abs(np.diff(solved, axis=0)).sum() < 0.7 * np.abs(np.diff(rough, axis=0)).sum()


def test_mapping_rows_gain_offset_clamp_property_and_bone(part, key, make_motion):
    mapping, character = part("data.mapping"), part("faces.character")
    rig = RIGS["MetaHuman"]()
    owner, (mesh,) = build(rig)
    owner["smile"] = 0.0
    rows = (
        mapping.Row("mouthFunnel", mesh.name, "KEY", "CTRL_expressions_browDownL", "", 2.0, -0.5, 0.1, 0.8),
        mapping.Row("mouthSmileLeft", owner.name, "PROPERTY", '["smile"]', "", 1.0, 0.0, 0.0, 1.0),
        mapping.Row("jawLeft", owner.name, "PROPERTY", "location[2]", "", 1.0, 0.0, -1.0, 1.0),
        mapping.Row("jawRight", owner.name, "BONE", "FACIAL_C_Jaw", "MOVE_UP", 0.5, 0.0, 0.0, 1.0),
    )
    character.store_mapping(
        owner,
        mapping.MappingTable(
            rows, mapping.BoneChoice("", "", "", "FACIAL_L_Eye", "FACIAL_R_Eye", jaw_by="NONE")
        ),
    )
    motion = make_motion()
    motion.head[:] = 0
    key([mesh], motion)
    names = list(part("data.arkit").EXPRESSION_NAMES)
    bpy.context.scene.frame_set(9)
    value = {
        n: motion.exp[8, names.index(n)] for n in ("mouthFunnel", "mouthSmileLeft", "jawLeft", "jawRight")
    }
    shape = mesh.data.shape_keys.key_blocks["CTRL_expressions_browDownL"].value
    assert shape == pytest.approx(np.clip(2 * value["mouthFunnel"] - 0.5, 0.1, 0.8), abs=1e-6)
    assert owner["smile"] == pytest.approx(value["mouthSmileLeft"], abs=1e-6)
    assert owner.location.z == pytest.approx(value["jawLeft"], abs=1e-6)
    jaw = owner.pose.bones["FACIAL_C_Jaw"]
    moved = (
        owner.matrix_world.inverted() @ owner.matrix_world @ jaw.matrix.translation
        - jaw.bone.matrix_local.translation
    )
    assert moved.z == pytest.approx(0.5 * value["jawRight"] * 0.064, abs=1e-5) and abs(moved.x) < 1e-6


def test_mappings_are_saved_and_read(part, tmp_path):
    mapping, character, presets = part("data.mapping"), part("faces.character"), part("faces.rig_presets")
    owner, (mesh, *_) = build(RIGS["Character Creator"]())
    table = character.guess_mapping(mesh)
    mapping.write_mapping(tmp_path / "cc.json", table)
    assert mapping.read_mapping(tmp_path / "cc.json") == table
    character.store_mapping(owner, table)
    stored = character.stored_mapping(owner)
    assert stored.bones.head == table.bones.head and len(stored.rows) == len(table.rows)
    assert part("faces.character").find_character(mesh).rows == table.rows
    for name, rig in (("CHARACTER_CREATOR", "Character Creator"), ("METAHUMAN", "MetaHuman"), ("ARKIT_PASCAL", "VRoid"),
                      ("ARKIT", "Ready Player Me")):  # fmt: skip
        described = {key: ch for keys in RIGS[rig]().meshes.values() for key, ch in keys.items()}
        preset = presets.rig_preset(name)
        matched = [row for row in preset.rows if described.get(row.target) == row.source]
        assert {row.source for row in matched} == set(ARKIT), name


@pytest.mark.parametrize(
    "change, message",
    [
        ({"format": "other"}, "format"),
        ({"version": 9}, "version 9"),
        ({"rows": None}, "no list"),
        ({"rows": [{"kind": "KEY", "target": "x"}]}, "Row 1 .* lacks “source”"),
        ({"rows": [{"source": "jawOpen", "kind": "MORPH", "target": "x"}]}, "Row 1 .*kind"),
        ({"rows": [{"source": "jawOpen", "kind": "BONE", "target": "x"}]}, "Row 1 .*channel"),
        ({"rows": [{"source": "jawOpen", "kind": "KEY", "target": "x", "gain": "high"}]}, "not a number"),
        ({"rows": [{"source": "jawOpen", "kind": "KEY", "target": "x", "colour": 1}]}, "colour"),
        ({"bones": {"neck_share": 3}}, "neck_share"),
    ],
)
def test_bad_mapping_files(api, part, tmp_path, change, message):
    path = tmp_path / "mapping.json"
    path.write_text(json.dumps({"format": "diffposetalk-mapping", "version": 1, "rows": []} | change))
    with pytest.raises(api.UserError, match=message):
        part("data.mapping").read_mapping(path)


def test_what_cannot_be_keyed_is_named_and_the_rest_is_done(part, key, make_motion):
    character = part("faces.character")
    rig = RIGS["Character Creator"]()
    owner, (body, _, tongue) = build(rig)
    table = character.guess_mapping(body)
    character.store_mapping(owner, table)
    keys = body.data.shape_keys.key_blocks
    keys["Jaw_Forward"].name = "Renamed"
    keys["Mouth_Close"].driver_add("value")
    locked = hasattr(keys["Mouth_L"], "lock_shape")
    if locked:
        keys["Mouth_L"].lock_shape = True
    bpy.data.objects.remove(tongue)
    owner.diffposetalk.jaw, owner.diffposetalk.jaw_by = "No Such Bone", "BOTH"
    found = character.find_character(body)
    text = " ".join(found.warnings)
    assert "Jaw_Forward" in text and "Mouth_Close" in text and "driven" in text and "CC_Base_Tongue" in text
    assert "No Such Bone" in text and (not locked or "locked" in text)
    motion = make_motion()
    key([body], motion)
    bpy.context.scene.frame_set(4)
    assert keys["Mouth_Shrug_Upper"].value == pytest.approx(
        motion.exp[3, part("data.arkit").EXPRESSION_NAMES.index("mouthShrugUpper")], abs=1e-6
    )


def test_characters_without_shape_keys_are_told_what_to_do(api, part, key, make_motion):
    rig = RIGS["VRoid"]()
    rig.meshes = {}
    owner, _ = build(rig)
    bare = bpy.data.objects.new("Bare", bpy.data.meshes.new("Bare"))
    bare.parent = owner
    bpy.context.scene.collection.objects.link(bare)
    before = scene_state()
    for item in (owner, bare):
        with pytest.raises(api.UserError, match=r"no shape keys .*Give it shape keys with ARKit's names"):
            key([item], make_motion())
    assert scene_state() == before


def test_a_linked_character_is_refused_and_its_override_is_keyed(api, part, key, make_motion, tmp_path):
    rig = RIGS["Ready Player Me"]()
    owner, meshes = build(rig)
    path = tmp_path / "character.blend"
    bpy.data.libraries.write(str(path), {owner, *meshes}, fake_user=True)
    for item in (*meshes, owner):
        bpy.data.objects.remove(item)
    with bpy.data.libraries.load(str(path), link=True) as (_, loaded):
        loaded.objects = [owner_name for owner_name in ("Ann", "Wolf3D_Head", "Wolf3D_Teeth")]
    for item in loaded.objects:
        bpy.context.scene.collection.objects.link(item)
    linked = bpy.data.objects["Wolf3D_Head"]
    with pytest.raises(api.UserError, match="linked from another file"):
        key([linked], make_motion())
    override = linked.override_hierarchy_create(
        bpy.context.scene, bpy.context.view_layer, do_fully_editable=True
    )
    motion = make_motion()
    actions = key([override], motion)
    assert actions and override.data.shape_keys.library is None
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene.blend"))
    override = next(o for o in bpy.data.objects if o.name == "Wolf3D_Head" and o.library is None)
    bpy.context.scene.frame_set(5)
    value = override.data.shape_keys.key_blocks["mouthFunnel"].value
    assert value == pytest.approx(
        motion.exp[4, part("data.arkit").EXPRESSION_NAMES.index("mouthFunnel")], abs=1e-6
    )


@pytest.mark.parametrize("kind", ["classic", "modular"])
def test_rigifys_face_moves(part, key, make_motion, tmp_path, kind):
    rig = load_rigify(tmp_path / "rigify.blend", kind)
    found = part("faces.character").find_character(rig)
    assert {row.source for row in found.rows} >= set(ARKIT) - {"jawOpen"}
    assert (found.bones.head, found.bones.neck, found.bones.jaw) == ("head", "neck", "jaw_master")
    motion = make_motion()
    motion.exp[:], motion.head[:] = 0, 0
    names = list(part("data.arkit").EXPRESSION_NAMES)
    motion.exp[:, names.index("mouthSmileLeft")] = 1.0
    motion.jaw[:, 0] = 0.3
    key([rig], motion)
    rest = {bone.name: bone.matrix_local.translation.copy() for bone in rig.data.bones}
    bpy.context.scene.frame_set(5)
    bpy.context.view_layer.update()
    chin = rig.pose.bones["DEF-chin"]
    assert (chin.matrix.translation - rest["DEF-chin"]).z < -0.005  # the jaw opens downwards
    names = ("lips.L", "lips.R") if kind == "classic" else ("lip_end.L.001", "lip_end.R.001")
    left, right = (rig.pose.bones[name].matrix.translation - rest[name] for name in names)
    assert left.z > right.z + 0.005 and left.x + right.x > 0.003
