# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's own FLAME as a head, and that motion of one expression basis is not keyed on a head of another.

FLAME itself cannot be here; `tests/support/flame_files.py` makes files of its exact layout.
"""

import json
import shutil
import subprocess
from pathlib import Path

import bpy
import numpy as np
import pytest
from support.paths import ROOT
from support.scene_state import evaluated_vertices, scene_state
from support.waiting import PATIENCE
from test_rig import TOLERANCE, in_blender_axes, put, random_poses

FLAME_FILES = ROOT / "tests" / "support" / "flame_files.py"
EXPRESSIONS = [f"Exp{e:03d}" for e in range(50)]


@pytest.fixture(scope="module")
def flame_pkl(backend_python, tmp_path_factory):
    """A file of FLAME 2023's layout."""
    path = tmp_path_factory.mktemp("flame") / "flame2023.pkl"
    subprocess.run([backend_python, str(FLAME_FILES), str(path)], check=True)
    return path


@pytest.fixture(scope="module")
def flame_model(addon, tmp_path_factory):
    """The bundled model's network as if its motion were FLAME's."""
    folder = tmp_path_factory.mktemp("models") / "flame"
    shutil.copytree(Path(addon.__file__).parent / "assets" / "model", folder)
    config = json.loads((folder / "config.json").read_text())
    config["basis"], config["expression_names"] = "flame", EXPRESSIONS
    config["sampling"]["added_guidance"] = {"head": 0.15}  # FLAME has no groups for brows and eyes
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(autouse=True)
def preferences(real_backend):
    """The preferences, with the environment's backend and nothing else."""
    yield real_backend
    real_backend.model_directory = real_backend.flame_model = ""


def status():
    return bpy.context.window_manager.diffposetalk_status


def write_motion(path, basis):
    """A motion clip of two seconds."""
    random = np.random.default_rng(0)
    exp, pose = random.uniform(0, 1, (50, 50)), random.normal(0, 0.1, (50, 6))
    arrays = {"exp": exp.astype("f4"), "pose": pose.astype("f4")}
    np.savez(path, **arrays, **({} if basis is None else {"fps": np.float32(25), "basis": np.array(basis)}))
    return path


def test_evaluated_mesh_is_the_head_model(api, part, flame_pkl, model_vertices, record_property):
    shape = np.random.default_rng(3).normal(0, 1, 100).astype("f4")
    mesh, rig = api.add_head("Ann", shape=shape, flame=flame_pkl)
    converted = part("engine.flame_file").converted_file(flame_pkl)
    asset = part("data.head_asset").load_head(converted)
    exp, rotations = random_poses(10, "flame")
    expected = in_blender_axes(model_vertices(converted, exp, rotations, shape))
    worst = 0.0
    for frame in range(len(exp)):
        put(mesh, rig, asset, exp[frame], rotations[frame])
        worst = max(worst, float(np.abs(evaluated_vertices(mesh) - expected[frame]).max()))
    print(f"largest difference to smplx, {asset.name}: {1000 * worst:.6f} mm")
    record_property("largest_difference_mm", 1000 * worst)
    assert worst < TOLERANCE
    keys = mesh.data.shape_keys.key_blocks
    assert [key.name for key in keys][1:51] == EXPRESSIONS
    assert sum("_corrective_" in key.name for key in keys) == 36
    assert len(mesh.data.vertices) == 5023 and {"neck", "jaw"} <= {bone.name for bone in rig.data.bones}


def test_the_button_converts_once(api, part, preferences, flame_pkl, monkeypatch):
    preferences.flame_model = str(flame_pkl)
    part("engine.flame_file").converted_file(flame_pkl).unlink(missing_ok=True)
    assert bpy.ops.diffposetalk.add_head(source="FLAME") == {"FINISHED"}
    assert bpy.context.object.data.shape_keys.key_blocks[1].name == "Exp000"
    assert "Added" in status().text and not status().error
    monkeypatch.setenv("DIFFPOSETALK_BACKEND_PYTHON", "/nowhere/python")
    assert bpy.ops.diffposetalk.add_head(source="FLAME") == {"FINISHED"}
    assert api.add_head(flame=True)[0].data.shape_keys.key_blocks[1].name == "Exp000"
    preferences.flame_model = str(part("engine.flame_file").converted_file(flame_pkl))
    assert bpy.ops.diffposetalk.add_head(source="FLAME") == {"FINISHED"}


def test_identity(preferences, api, flame_pkl, tmp_path):
    preferences.flame_model = str(flame_pkl)
    mean = evaluated_vertices(api.add_head(flame=True)[0])
    np.save(tmp_path / "ann.npy", np.full(100, 0.5, "f4"))
    np.savez(tmp_path / "ann.npz", shape=np.full(100, 0.5, "f4"))
    np.save(tmp_path / "long.npy", np.zeros(300, "f4"))
    (tmp_path / "notes.npy").write_text("notes")
    for name in ("ann.npy", "ann.npz"):
        assert bpy.ops.diffposetalk.add_head(source="FLAME", identity=str(tmp_path / name)) == {"FINISHED"}
        assert np.abs(evaluated_vertices(bpy.context.object) - mean).max() > 1e-3
        assert len(bpy.context.object["diffposetalk_shape"]) == 100
    before = scene_state()
    for name, message in (
        ("no.npy", "does not exist"),
        ("notes.npy", "not a file"),
        ("long.npy", "at most 100"),
    ):
        with pytest.raises(RuntimeError, match=message):
            bpy.ops.diffposetalk.add_head(identity=str(tmp_path / name))
        assert scene_state() == before and message in status().error


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "No FLAME model is set"),
        ("nothing.pkl", "does not exist"),
        ("", "is a folder"),
        ("notes.pkl", "pickle|damaged"),
        ("notes.npz", "damaged"),
        ("SMPL.pkl", "SMPL"),
        ("cut.pkl", "cut off|damaged"),
        ("arkit.npz", "is not FLAME"),
    ],
)
def test_files_that_are_not_flame(
    api, preferences, backend_python, head_path, flame_pkl, tmp_path, name, message
):
    (tmp_path / "notes.pkl").write_text("notes")
    (tmp_path / "notes.npz").write_text("notes")
    (tmp_path / "cut.pkl").write_bytes(flame_pkl.read_bytes()[:100_000])
    shutil.copy(head_path, tmp_path / "arkit.npz")
    if name == "SMPL.pkl":
        np.savez(tmp_path / "smpl.npz", v_template=np.zeros((6890, 3)), shapedirs=np.zeros((6890, 3, 10)))
        script = "import pickle, sys, numpy; pickle.dump(dict(numpy.load(sys.argv[1])), open(sys.argv[2], 'wb'), 2)"
        arguments = [str(tmp_path / "smpl.npz"), str(tmp_path / name)]
        subprocess.run([backend_python, "-c", script, *arguments], check=True)
    preferences.flame_model = "" if message.startswith("No FLAME") else str(tmp_path / name)
    before = scene_state()
    with pytest.raises(RuntimeError, match=message):
        bpy.ops.diffposetalk.add_head(source="FLAME")
    print(f"{name!r}: {status().error}")
    assert status().error and "\n" not in status().error and not status().running
    with pytest.raises((api.UserError, api.BackendError), match=message):
        api.add_head(flame=True)
    assert scene_state() == before


@pytest.mark.parametrize("way", ["button", "console"])
@pytest.mark.parametrize("model", ["flame", "arkit"])
def test_the_other_basis_is_refused_before_the_backend_is_asked(
    api, part, preferences, flame_pkl, flame_model, recordings, monkeypatch, model, way
):
    preferences.flame_model = str(flame_pkl)
    preferences.model_directory = str(flame_model) if model == "flame" else ""
    head, _ = api.add_head(flame=model == "arkit")
    part("engine.session").stop()
    bpy.context.evaluated_depsgraph_get().update()  # the first evaluation writes the driven values
    before = scene_state()
    message = rf"(?i)motion is in the {model} basis .* turn on Convert to the Head's Basis"
    with pytest.raises((RuntimeError, api.UserError), match=message):
        if way == "button":
            bpy.context.scene.diffposetalk.audio_path = str(recordings / "speech.wav")
            bpy.ops.diffposetalk.generate()
        else:
            api.generate(head, recordings / "speech.wav")
    assert part("engine.session")._client is None and scene_state() == before


def test_the_other_basis_is_refused_when_the_model_is_loaded(
    api, part, preferences, flame_model, recordings, monkeypatch
):
    head, _ = api.add_head()
    preferences.model_directory = str(flame_model)
    monkeypatch.setattr(part("data.bundled"), "model_basis", lambda directory: None)
    before = scene_state()
    with pytest.raises(api.UserError, match="FLAME basis"):
        api.generate(head, recordings / "speech.wav")
    assert scene_state() == before


def test_a_flame_model_moves_a_flame_head(api, part, preferences, flame_pkl, flame_model, recordings):
    preferences.model_directory = str(flame_model)
    head, rig = api.add_head(flame=flame_pkl)
    [result] = api.generate(head, recordings / "speech.wav", steps=2)
    paths = {curve.data_path for curve in part("takes.keying").action_curves(result.actions[0][0])}
    assert paths == {f'key_blocks["{name}"].value' for name in EXPRESSIONS}
    assert rig.animation_data.action is result.actions[0][1] and result.residual is None


def test_motion_files(api, part, flame_pkl, tmp_path):
    heads = {"arkit": api.add_head("Ann")[0], "flame": api.add_head("Bob", flame=flame_pkl)[0]}
    for basis, other in (("arkit", "flame"), ("flame", "arkit"), (None, "arkit")):
        path = write_motion(tmp_path / "clip.npz", basis)
        before = scene_state()
        with pytest.raises(api.UserError, match=r"basis .* “diffposetalk convert motion”"):
            api.key_motion(heads[other], path)
        with pytest.raises(api.UserError, match="basis"):
            api.key_motion(list(heads.values()), path)
        assert scene_state() == before
        head = heads[basis or "flame"]
        actions = api.key_motion(head, path, start_frame=11)
        assert len(actions) == 2 and tuple(actions[0].frame_range) == (11, 60)
        with np.load(path) as clip:
            bpy.context.scene.frame_set(20)
            shown = [key.value for key in head.data.shape_keys.key_blocks[1:51]]
            np.testing.assert_allclose(shown, clip["exp"][9], atol=1e-6)
    with pytest.raises(api.UserError, match="neck"):
        api.key_motion(heads["flame"], path, head_bone="foot")


@pytest.mark.parametrize("way", ["button", "console"])
@pytest.mark.parametrize("model", ["flame", "arkit"])
def test_converting_to_the_basis_of_the_head(
    api, part, preferences, flame_pkl, flame_model, recordings, record_property, model, way
):
    preferences.flame_model = str(flame_pkl)
    preferences.model_directory = str(flame_model) if model == "flame" else ""
    head, _ = api.add_head(flame=model == "arkit", shape=np.full(100, 0.1))
    if way == "button":
        settings = bpy.context.scene.diffposetalk
        settings.audio_path, settings.convert_basis, settings.steps = str(recordings / "speech.wav"), True, 2
        assert bpy.ops.diffposetalk.generate() == {"FINISHED"}
        assert "converted to the head's basis" in status().text and " mm off on average" in status().text
        print(status().text)
    else:
        [result] = api.generate(head, recordings / "speech.wav", steps=2, convert_basis=True)
        assert 0 < result.residual["mean"] < result.residual["p95"] < result.residual["max"] < 20
        record_property("residual_mm", result.residual["mean"])
    action = head.data.shape_keys.animation_data.action
    assert action["converted_from"] == model and json.loads(action["conversion_residual_mm"])["mean"] > 0
    names = part("data.arkit").EXPRESSION_NAMES if model == "flame" else EXPRESSIONS
    curves = list(part("takes.keying").action_curves(action))
    assert {curve.data_path for curve in curves} == {f'key_blocks["{name}"].value' for name in names}
    assert max(abs(point.co.y) for curve in curves for point in curve.keyframe_points) > 0.01


def test_conversion_that_cannot_be(api, preferences, flame_pkl, flame_model, recordings):
    speech = recordings / "speech.wav"
    ann, bob = api.add_head("Ann")[0], api.add_head("Bob", flame=flame_pkl)[0]
    before = scene_state()
    with pytest.raises(api.UserError, match="“Ann” and “Bob” are different heads"):
        api.generate([ann, bob], speech, convert_basis=True)
    preferences.model_directory = str(flame_model)
    with pytest.raises(api.UserError, match="No FLAME model is set"):
        api.generate(ann, speech, convert_basis=True)
    assert scene_state() == before


def test_conversion_knows_the_flame_of_the_head(api, part, preferences, flame_pkl, recordings):
    """A FLAME head of before is converted to although the preferences name none any more; ranges of its take, too."""
    bob, _ = api.add_head("Bob", flame=flame_pkl)
    [result] = api.generate(bob, recordings / "speech.wav", steps=2, convert_basis=True, place_sound=False)
    assert result.residual["mean"] > 0
    [action] = api.takes(bob)
    with pytest.raises(api.UserError, match="hold Lips, Brows and Eyes together"):
        api.regenerate(bob, 20, 30, hold=["lips"])
    [again] = api.regenerate(bob, 20, 30, seed=5, hold=["head"])
    raw = part("takes.showing").raw_motion
    old, new = raw(action), raw(again)
    apart = np.abs(new.exp - old.exp).max(axis=1)
    assert new.basis == "flame" and apart[19:30].min() > 1e-4
    assert (apart[:19] == 0).all() and (apart[30:] == 0).all()
    np.testing.assert_array_equal(new.head, old.head)
    job = api.check_lips(bob, "and so my fellow")
    assert (job.source, job.words) == ("transcript", 4)


def test_cancelling_the_conversion(api, part, flame_pkl):
    flame_file = part("engine.flame_file")
    converted = flame_file.converted_file(flame_pkl)
    converted.unlink(missing_ok=True)
    before = scene_state(), sorted(flame_file.heads_folder().iterdir())
    job = flame_file.FlameHead(flame_pkl)
    while job.poll() == "running" and job._call is not None and job._call.method != "convert_flame":
        pass
    job.cancel()
    assert job.wait(PATIENCE) == "cancelled" and "Nothing was changed" in str(job.failure)
    assert (scene_state(), sorted(flame_file.heads_folder().iterdir())) == before
    api.add_head(flame=flame_pkl)
    assert converted.is_file()
