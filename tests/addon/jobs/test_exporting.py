# SPDX-License-Identifier: GPL-3.0-or-later
"""Exports come back as they were."""

import json

import bpy
import numpy as np
import pytest
from mathutils.kdtree import KDTree
from support.foreign_rigs import RIGS, build
from support.read_only_disk import disk_at
from support.scene_state import evaluated_vertices, scene_state

TOLERANCE = 1e-4  # metres
FIRST, LAST = 5, 34


@pytest.fixture(params=["bundled", "FLAME-like"])
def talking_head(request, api, part, head_path, flame_like_head):
    """A head with 30 frames of motion from frame 5 on."""
    bpy.context.scene.cursor.location = (0.3, -0.2, 1.5)
    basis = "arkit" if request.param == "bundled" else "flame"
    mesh, rig = api.add_head("Ann", asset=head_path if basis == "arkit" else flame_like_head)
    random = np.random.default_rng(0)
    count = LAST - FIRST + 1
    exp = random.uniform(0, 1, (count, 50)) * (random.random((count, 50)) < 0.3)
    if basis == "flame":
        exp = random.normal(0, 1, (count, 50))
    head = np.cumsum(random.normal(0, 0.05, (count, 3)), axis=0)
    jaw = np.zeros((count, 3))
    jaw[:, 0] = random.uniform(0, 0.4, count)
    provenance = {"synthetic": True, "model": "m", "seed": 7, "audio_sha256": "abc"}
    motion = part("data.motion").Motion(exp.astype("f4"), head, jaw, 25.0, basis, (), provenance)
    keying = part("takes.keying")
    target = part("faces.targets").find_target(mesh, 0.4)
    keying.key_takes([keying.Assignment((target,), (keying.Take(motion, "a · take 1"),), FIRST)])
    return mesh, rig


def vertices_by_frame(mesh):
    frames = {}
    for frame in (FIRST, FIRST + 1, 17, 23, LAST):
        bpy.context.scene.frame_set(frame)
        frames[frame] = evaluated_vertices(mesh)
    return frames


def imported_mesh(known):
    return next(item for item in bpy.data.objects if item.type == "MESH" and item not in known)


def largest_difference(mesh, expected):
    shown = vertices_by_frame(mesh)
    return max(float(np.abs(shown[frame] - expected[frame]).max()) for frame in expected)


def test_fbx(api, talking_head, tmp_path, record_property):
    mesh, _ = talking_head
    expected = vertices_by_frame(mesh)
    bpy.context.scene.frame_set(2)
    before = scene_state()
    path = api.export_fbx(mesh, tmp_path / "Ann")
    assert path == tmp_path / "Ann.fbx" and scene_state() == before
    known = set(bpy.data.objects)
    bpy.ops.import_scene.fbx(filepath=str(path), anim_offset=0.0)
    back = imported_mesh(known)
    for key in back.data.shape_keys.key_blocks:
        key.slider_min, key.slider_max = -10, 10  # the importer gives every slider 0 to 1
    difference = largest_difference(back, expected)
    print(f"FBX: largest difference {1000 * difference:.6f} mm")
    record_property("largest_difference_mm", 1000 * difference)
    assert difference < TOLERANCE
    assert back["synthetic"] and back["seed"] == 7 and back["model"] == "m"
    assert {bone.name for bone in back.parent.data.bones} >= {"root", "neck", "jaw", "left_eye", "right_eye"}


def matched(mesh, expected):
    """Largest difference where an importer splits vertices: each one beside the nearest of the first frame."""
    bpy.context.scene.frame_set(FIRST)
    tree = KDTree(len(expected[FIRST]))
    for number, place in enumerate(expected[FIRST]):
        tree.insert(place, number)
    tree.balance()
    index = [tree.find(place)[1] for place in evaluated_vertices(mesh)]
    shown = vertices_by_frame(mesh)
    return max(float(np.abs(shown[frame] - expected[frame][index]).max()) for frame in expected)


def widen_sliders(mesh):
    for key in mesh.data.shape_keys.key_blocks:
        key.slider_min, key.slider_max = -10, 10  # importers give every slider 0 to 1


@pytest.mark.parametrize("preset", ["UNITY", "UNREAL"])
def test_fbx_for_game_engines(api, talking_head, tmp_path, preset, record_property):
    mesh, _ = talking_head
    expected = vertices_by_frame(mesh)
    path = api.export_fbx(mesh, tmp_path / "Ann", preset=preset)
    known = set(bpy.data.objects)
    bpy.ops.import_scene.fbx(filepath=str(path), anim_offset=0.0)
    back = imported_mesh(known)
    widen_sliders(back)
    difference = largest_difference(back, expected)
    record_property("largest_difference_mm", 1000 * difference)
    assert difference < TOLERANCE
    with pytest.raises(api.UserError, match="preset is one of"):
        api.export_fbx(mesh, tmp_path / "Ann", preset="GODOT")


def test_gltf(api, talking_head, tmp_path, record_property):
    mesh, _ = talking_head
    expected = vertices_by_frame(mesh)
    bpy.context.scene.frame_set(2)
    before = scene_state()
    path = api.export_gltf(mesh, tmp_path / "Ann")
    assert path == tmp_path / "Ann.glb" and scene_state() == before
    known = set(bpy.data.objects)
    bpy.ops.import_scene.gltf(filepath=str(path))
    back = next(o for o in bpy.data.objects if o not in known and o.type == "MESH" and o.data.shape_keys)
    widen_sliders(back)
    difference = matched(back, expected)
    record_property("largest_difference_mm", 1000 * difference)
    assert difference < TOLERANCE
    told = next(
        o for o in bpy.data.objects if o not in known and "synthetic" in o
    )  # the importer's own empty
    assert told["synthetic"] and told["seed"] == 7 and told["model"] == "m"


@pytest.mark.skipif(not bpy.app.build_options.usd, reason="this build of Blender has no USD")
def test_usd(api, talking_head, tmp_path, record_property):
    mesh, _ = talking_head
    expected = vertices_by_frame(mesh)
    bpy.context.scene.frame_set(2)
    before = scene_state()
    path = api.export_usd(mesh, tmp_path / "Ann")
    assert path == tmp_path / "Ann.usdc" and scene_state() == before
    known = set(bpy.data.objects)
    bpy.ops.wm.usd_import(filepath=str(path))
    back = imported_mesh(known)
    if back.data.shape_keys is not None:
        widen_sliders(back)
    difference = largest_difference(back, expected)
    record_property("largest_difference_mm", 1000 * difference)
    assert difference < TOLERANCE


@pytest.mark.skipif(not bpy.app.build_options.alembic, reason="this build of Blender has no Alembic")
def test_alembic(api, talking_head, tmp_path, record_property):
    mesh, rig = talking_head
    expected = vertices_by_frame(mesh)
    bpy.context.scene.frame_set(2)
    before = scene_state()
    path = api.export_alembic(rig, tmp_path / "Ann.abc")
    assert scene_state() == before
    assert json.loads((tmp_path / "Ann.abc.json").read_text())["Ann"]["seed"] == 7
    known = set(bpy.data.objects)
    bpy.ops.wm.alembic_import(filepath=str(path), as_background_job=False)
    difference = largest_difference(imported_mesh(known), expected)
    print(f"Alembic: largest difference {1000 * difference:.6f} mm")
    record_property("largest_difference_mm", 1000 * difference)
    assert difference < TOLERANCE


def test_operators_export_the_selection(talking_head, tmp_path):
    assert bpy.ops.diffposetalk.export_fbx(filepath=str(tmp_path / "a.fbx")) == {"FINISHED"}
    assert (tmp_path / "a.fbx").stat().st_size > 50_000
    if bpy.app.build_options.alembic:
        assert bpy.ops.diffposetalk.export_alembic(filepath=str(tmp_path / "a.abc")) == {"FINISHED"}
        assert (tmp_path / "a.abc").stat().st_size > 50_000


def test_the_status_says_what_was_exported(talking_head, tmp_path):
    """In place of what went before, which may have been an error."""
    status = bpy.context.window_manager.diffposetalk_status
    status.error, status.text = "Something went wrong before.", ""
    assert bpy.ops.diffposetalk.export_fbx(filepath=str(tmp_path / "a.fbx")) == {"FINISHED"}
    assert status.text == f"Exported {tmp_path / 'a.fbx'}" and not status.error
    with pytest.raises(RuntimeError, match="does not exist"):
        bpy.ops.diffposetalk.export_fbx(filepath=str(tmp_path / "nowhere" / "a.fbx"))
    assert "does not exist" in status.error and not status.text


@pytest.mark.parametrize(
    ("path", "kind", "named"),
    [
        ("/a/first.blend", ".csv", "/a/first.csv"),
        ("/a/first.BLEND", ".json", "/a/first.json"),
        ("/a/first.npz", ".csv", "/a/first.npz"),
        ("/a/take.2", ".csv", "/a/take.2.csv"),
    ],
)
def test_the_proposed_name_of_motion(part, path, kind, named):
    from types import SimpleNamespace

    operator = part("ui.exchange.operators").DIFFPOSETALK_OT_export_motion
    assert operator._named(SimpleNamespace(kind=kind), path) == named


def test_bad_exports(api, talking_head, tmp_path):
    mesh, _ = talking_head
    empty = bpy.data.objects.new("Empty", None)
    before = scene_state()
    for objects, path, message in (
        ([], tmp_path / "a.fbx", "No head is selected"),
        ([empty], tmp_path / "a.fbx", "No head is selected"),
        ([mesh], tmp_path / "nowhere" / "a.fbx", "does not exist"),
    ):
        with pytest.raises(api.UserError, match=message):
            api.export_fbx(objects, path)
        with pytest.raises(api.UserError):
            api.export_alembic(objects, path)
    assert scene_state() == before and not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["fbx", "gltf", "usd", "alembic"])
@pytest.mark.parametrize("fault", ["read-only", "full"])
def test_a_disk_that_takes_nothing(api, private_head, tmp_path, kind, fault):
    """A sentence, not the traceback of Blender's exporter; the scene and the disk are as they were."""
    if not getattr(bpy.app.build_options, kind, True):
        pytest.skip("this build of Blender does not write it")
    folder = tmp_path / "disk"
    folder.mkdir()
    before = scene_state()
    with disk_at(folder) as make_read_only:
        if fault == "read-only":
            make_read_only()
        else:
            with (
                pytest.raises(OSError, match="No space"),
                (folder / "filling").open("wb", buffering=0) as file,
            ):
                while True:
                    file.write(bytes(4096))
        with pytest.raises(api.UserError) as caught:
            getattr(api, f"export_{kind}")(private_head, folder / "Ann")
        assert {path.name for path in folder.iterdir()} <= {"filling"}
    text = str(caught.value)
    print(text)
    assert "Traceback" not in text and "\n" not in text and text.endswith(".")
    assert scene_state() == before


def test_the_ending_says_which_exporter_writes_heads(api, part, tmp_path):
    head, _ = api.add_head("Ann")
    exporters = part("jobs.exporting").EXPORTERS
    assert {exporter.suffix for exporter in exporters} == {".fbx", ".abc", ".glb", ".usdc"}
    for exporter in exporters:
        assert getattr(bpy.ops.diffposetalk, f"export_{exporter.name.lower()}").get_rna_type().name
    assert api.export_heads(head, tmp_path / "ann.FBX").read_bytes().startswith(b"Kaydara FBX")
    with pytest.raises(api.UserError, match=r"\.usdc"):
        api.export_heads(head, tmp_path / "ann.obj")


@pytest.mark.parametrize("kind", ["fbx", "gltf", "usd", "alembic"])
def test_all_that_belongs_to_a_character_is_exported(api, tmp_path, kind):
    """Lids on the eyes' mesh, a hat on a bone, a body without keys: whichever of them is chosen."""
    owner, (face, hair) = build(RIGS["VRoid"]())

    def add(name, parent, bone=""):
        mesh = bpy.data.meshes.new(name)
        mesh.from_pydata([(0, 0, 0), (0.1, 0, 0), (0, 0.1, 0)], [], [(0, 1, 2)])
        item = bpy.data.objects.new(name, mesh)
        bpy.context.scene.collection.objects.link(item)
        item.parent = parent
        if bone:
            item.parent_type, item.parent_bone = "BONE", bone
        return item

    eyes, hat, body = add("EYE_DEF", None), add("Hat", owner, "J_Bip_C_Head"), add("Body", owner)
    eyes.modifiers.new("Armature", "ARMATURE").object = owner
    lids, other = add("EL_DEF", eyes), add("Someone Else", None)
    lids.shape_key_add(name="Basis")
    names = {item.name for item in (face, hair, eyes, hat, body, lids)}
    if not getattr(bpy.app.build_options, kind, True):
        pytest.skip(f"this Blender has no {kind}")
    path = getattr(api, f"export_{kind}")(face, tmp_path / "Ann", frame_range=(1, 3))
    known = set(bpy.data.objects)
    imports = {"fbx": bpy.ops.import_scene.fbx, "gltf": bpy.ops.import_scene.gltf, "usd": bpy.ops.wm.usd_import,
               "alembic": bpy.ops.wm.alembic_import}  # fmt: skip
    imports[kind](filepath=str(path))
    came = {item.name.split(".")[0] for item in set(bpy.data.objects) - known if item.type == "MESH"}
    assert {name.replace(" ", "_") for name in names} <= {name.replace(" ", "_") for name in came}
    assert not any("Someone" in name for name in came)
    assert other.name in bpy.context.scene.objects


SECRET = "secret place"


def everything_in(path):
    """A file's content, and of a USD file its text."""
    if path.suffix == ".usdc":
        if hasattr(bpy.utils, "expose_bundled_modules"):  # since Blender 4.4
            bpy.utils.expose_bundled_modules()
        Sdf = pytest.importorskip("pxr.Sdf")
        layer = Sdf.Layer.FindOrOpen(str(path))
        return layer.ExportToString().encode()
    return path.read_bytes()


@pytest.fixture
def private_head(api, part, tmp_path):
    """A head with a take and a texture, and settings, all of which name a folder that is nobody's business."""
    folder = tmp_path / SECRET
    folder.mkdir()
    mesh, _ = api.add_head("Ann")
    skin = bpy.data.images.new("skin", 4, 4)
    skin.filepath_raw, skin.file_format = str(folder / "skin.png"), "PNG"
    skin.save()
    bpy.data.images.remove(skin)
    skin = bpy.data.images.load(str(folder / "skin.png"))
    material = bpy.data.materials.new("skin")
    material.use_nodes = True
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = skin
    shader = next(n for n in material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
    material.node_tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
    mesh.data.materials.clear()
    mesh.data.materials.append(material)
    scene = bpy.context.scene
    scene.diffposetalk.audio_path = scene.diffposetalk_workflow.transcript = str(folder / "line.wav")
    count = 20
    provenance = {"synthetic": True, "model": "m", "seed": 7, "audio_name": "line.wav"}
    exp, zero = np.full((count, 50), 0.3, "f4"), np.zeros((count, 3), "f4")
    motion = part("data.motion").Motion(exp, zero + 0.1, zero, 25.0, "arkit", (), provenance)
    source = {"audio": str(folder / "line.wav"), "model": str(folder / "model"), "seed": 7}
    keying = part("takes.keying")
    target = part("faces.targets").find_target(mesh, 0.4)
    take = keying.Take(motion, "line · take 1 (seed 7)", motion, source)
    keying.key_takes([keying.Assignment((target,), (take,), FIRST)])
    scene.frame_set(2)
    return mesh


@pytest.mark.parametrize("kind", ["fbx", "gltf", "usd", "alembic"])
def test_no_paths_and_no_raw_motion_are_exported(api, part, private_head, tmp_path, kind):
    """The folder of the recording, model and textures, and the one that is exported to; provenance goes along."""
    if not getattr(bpy.app.build_options, kind, True):
        pytest.skip("this build of Blender does not write it")
    action = private_head.data.shape_keys.animation_data.action
    assert SECRET in action.diffposetalk.source and len(action.diffposetalk.raw) > 100
    before = scene_state()
    (tmp_path / "to send").mkdir()
    path = getattr(api, f"export_{kind}")(private_head, tmp_path / "to send" / "Ann")
    content = everything_in(path)
    assert scene_state() == before and SECRET in action.diffposetalk.source
    for private in (SECRET.encode(), str(tmp_path).encode(), action.diffposetalk.raw[:40].encode()):
        assert private not in content, private
    told = content + b"".join(p.read_bytes() for p in path.parent.glob("*.json"))
    assert b"synthetic" in told and b"line.wav" in told


def test_textures_come_back_from_fbx(api, private_head, tmp_path):
    """They lie in the file, wherever it is moved to."""
    path = api.export_fbx(private_head, tmp_path / "Ann")
    (tmp_path / SECRET / "skin.png").unlink()
    (tmp_path / "elsewhere").mkdir()
    path = path.rename(tmp_path / "elsewhere" / "Ann.fbx")
    known = set(bpy.data.images)
    bpy.ops.import_scene.fbx(filepath=str(path))
    [skin] = [image for image in bpy.data.images if image not in known]
    assert tuple(skin.size) == (4, 4) and skin.packed_file is not None
