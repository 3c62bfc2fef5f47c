# SPDX-License-Identifier: GPL-3.0-or-later
"""Installing the backend: a failure or a cancel leaves the environment from before. Nothing is downloaded."""

import time

import bpy
import pytest


@pytest.fixture
def setup(part, monkeypatch, tmp_path):
    """The module, allowed to go online, with a folder of its own and requirements that fail at once."""
    module = part("backend_setup")
    monkeypatch.setattr(bpy.context.preferences.system, "use_online_access", True)
    if not bpy.app.online_access:
        pytest.skip("this Blender was started offline")
    monkeypatch.setattr(module, "environments_folder", lambda: tmp_path)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("--no-index\n--find-links /nowhere\nno-such-package==1\n")
    monkeypatch.setattr(module, "REQUIREMENTS", requirements)
    yield module
    bpy.context.preferences.system.use_online_access = False


def wait(job):
    deadline = time.monotonic() + 300
    while job.poll() == "running":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return job.state


def test_a_failed_installation_leaves_the_old_one(setup, tmp_path):
    old = setup.python_in(tmp_path / "environment")
    old.parent.mkdir(parents=True)
    old.write_text("old")
    job = setup.SetupJob()
    assert wait(job) == "failed" and "could not be installed" in str(job.failure)
    assert any("no-such-package" in line for line in job.log)
    assert setup.installed_python() == old and old.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["environment", "requirements.txt"]


def test_a_cancelled_installation_leaves_nothing(setup, tmp_path):
    job = setup.SetupJob()
    job.poll()
    time.sleep(0.2)
    job.cancel()
    assert wait(job) == "cancelled" and setup.installed_python() is None
    assert [path.name for path in tmp_path.iterdir()] == ["requirements.txt"]


def test_an_environment_without_torch_does_not_take_its_place(setup, tmp_path):
    setup.REQUIREMENTS.write_text("")
    job = setup.SetupJob()
    assert wait(job) == "failed" and "lacks the package" in str(job.failure)
    assert setup.installed_python() is None


def test_it_needs_permission_and_a_package(setup, api, part, monkeypatch, tmp_path):
    monkeypatch.setattr(setup, "REQUIREMENTS", tmp_path / "nothing.txt")
    with pytest.raises(api.UserError, match="Install it again"):
        setup.SetupJob()
    bpy.context.preferences.system.use_online_access = False
    with pytest.raises(api.UserError, match="Allow"):
        setup.SetupJob()
