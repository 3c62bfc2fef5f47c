# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation's Python for Blender runs in Blender, with a small model; its files are read by what reads them."""

import ast
import inspect
import json
import os
import subprocess
from pathlib import Path

import bpy
import pytest
from support.code_blocks import by_page, code_blocks
from support.paths import ROOT

HAS_SOUND = bpy.app.build_options.audaspace


@pytest.fixture(scope="module")
def small_model(backend_python, addon, tmp_path_factory):
    """A model with random weights and ARKit's expressions."""
    folder = tmp_path_factory.mktemp("model") / "small"
    bundled = Path(addon.__file__).parent / "assets" / "model" / "config.json"
    environment = {**os.environ, "PYTHONPATH": str(Path(addon.__file__).parent / "backend")}
    script = ROOT / "tests" / "support" / "tiny_model.py"
    subprocess.run([backend_python, str(script), str(bundled), str(folder)], env=environment, check=True)
    return folder


@pytest.fixture
def workplace(small_model, real_backend, api, recordings, tmp_path, monkeypatch):
    """A saved file beside the recordings and the clip that the pages speak of, and a library of styles of its own."""
    monkeypatch.setenv("DIFFPOSETALK_STYLES", str(tmp_path / "styles"))
    real_backend.model_directory = str(small_model)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"), check_existing=False)
    for name in ("line", "answer"):
        (tmp_path / f"{name}.wav").write_bytes((recordings / "speech.wav").read_bytes())
    (tmp_path / "out").mkdir()
    head, _ = api.add_head("Someone")
    api.generate(head, recordings / "americans.wav", seed=1, place_sound=False)
    api.export_motion(head, "//someone.npz")
    bpy.data.batch_remove([*bpy.data.objects, *bpy.data.actions, *bpy.data.armatures])
    yield tmp_path
    real_backend.model_directory = ""


@pytest.mark.parametrize("page", by_page("python blender"))
def test_python_runs(page, workplace, capsys):
    if page == "directing.md" and not HAS_SOUND:
        pytest.skip("this build of Blender has no sound")
    for block in by_page("csv blender-batch").get(page, ()):
        (workplace / "jobs.csv").write_text(block.text, encoding="utf-8")
    names = {"bpy": bpy}
    for block in by_page("python blender")[page]:
        exec(compile(block.text, str(block), "exec"), names)
    assert bpy.data.actions
    if "results" in names:
        assert [result.state for result in names["results"]] == ["done", "done"]
        assert sorted(path.name for path in (workplace / "out").iterdir()) == [
            "ann.fbx",
            "bob.csv",
            "bob.glb",
        ]
    if page == "directing.md":
        assert names["job"].made and {"ann.fbx", "ann.glb", "ann.csv"} <= {
            path.name for path in workplace.iterdir()
        }


@pytest.mark.parametrize("block", code_blocks("python flame", "python video", "python alignment"), ids=str)
def test_python_that_needs_more_calls_what_there_is(block, api):
    """These need FLAME, a video or an aligner, with which other tests run them; here their names are checked."""
    calls = [node for node in ast.walk(ast.parse(block.text)) if isinstance(node, ast.Call)]
    assert calls
    for call in calls:
        function = getattr(api, call.func.attr)
        inspect.signature(function).bind(*call.args, **{word.arg: None for word in call.keywords})


@pytest.mark.parametrize("block", code_blocks("json mapping"), ids=str)
def test_mappings_are_read(block, part):
    table = part("data.mapping").from_json(block.text, "the page")
    assert len(table.rows) == len(json.loads(block.text)["rows"]) and table.bones.jaw_by == "BONE"
