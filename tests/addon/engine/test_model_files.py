# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user brings, through the preferences' buttons and a real backend; the files are made up, and small."""

import subprocess

import bpy
import pytest
from support.paths import ROOT


@pytest.fixture(scope="module")
def files(backend_python, tmp_path_factory):
    """Folder with a released set and a HuBERT."""
    folder = tmp_path_factory.mktemp("files")
    script = ROOT / "tests" / "support" / "make_released_files.py"
    subprocess.run([backend_python, str(script), str(folder)], check=True)
    return folder


@pytest.fixture
def preferences(part, monkeypatch, tmp_path):
    """The add-on's preferences, back to the defaults afterwards; converted models go to a folder of the test's."""
    monkeypatch.setattr(part("ui.setup.model_operators"), "models_folder", lambda: tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    chosen = part("install.preferences").addon_preferences()
    chosen.device = "cpu"
    yield chosen
    names = ("checkpoint", "checkpoint_style_encoder", "checkpoint_statistics", "hubert_folder")
    for name in (*names, "model_directory", "flame_model", "device"):
        chosen.property_unset(name)
    part("engine.session").stop()


def status():
    return bpy.context.window_manager.diffposetalk_status


def test_a_checkpoint_is_converted_checked_and_chosen(files, preferences, tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFPOSETALK_HUBERT", str(tmp_path / "there is none"))
    convert = bpy.ops.diffposetalk.convert_checkpoint
    assert not convert.poll()
    preferences.checkpoint = str(files / "released" / "denoiser.pt")
    preferences.checkpoint_style_encoder = str(files / "released" / "style.pt")
    preferences.checkpoint_statistics = str(files / "released" / "stats_train.npz")
    with pytest.raises(RuntimeError, match="HuBERT"):
        convert()
    assert "HuBERT" in status().error and preferences.model_directory == ""
    preferences.hubert_folder = str(files / "hubert")
    assert convert() == {"FINISHED"}
    [made] = tmp_path.iterdir()
    assert preferences.model_directory == str(made) and "chosen as Model Folder" in status().text
    assert bpy.ops.diffposetalk.check_model() == {"FINISHED"}
    assert "basis flame" in status().text and "runs on cpu" in status().text


def test_what_is_no_checkpoint_is_refused(files, preferences, tmp_path):
    preferences.checkpoint = str(files / "released" / "stats_train.npz")
    preferences.checkpoint_style_encoder = str(files / "released" / "style.pt")
    preferences.checkpoint_statistics = str(files / "released" / "stats_train.npz")
    with pytest.raises(RuntimeError):
        bpy.ops.diffposetalk.convert_checkpoint()
    assert status().error and list(tmp_path.iterdir()) == []
    preferences.checkpoint = str(tmp_path / "nothing.pt")
    with pytest.raises(RuntimeError, match="does not exist"):
        bpy.ops.diffposetalk.convert_checkpoint()


def test_flame_and_the_bundled_model_are_checked(preferences, flame_like_head):
    preferences.flame_model = str(flame_like_head)
    assert bpy.ops.diffposetalk.check_flame() == {"FINISHED"} and "vertices" in status().text
    preferences.flame_model = str(flame_like_head.parent / "nothing.pkl")
    with pytest.raises(RuntimeError, match="does not exist"):
        bpy.ops.diffposetalk.check_flame()
    assert bpy.ops.diffposetalk.check_model() == {"FINISHED"} and "basis arkit" in status().text
