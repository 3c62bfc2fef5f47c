# SPDX-License-Identifier: GPL-3.0-or-later
"""How the build script makes environments, without making real ones."""

from __future__ import annotations

import shutil
import subprocess
import types
from pathlib import Path
from typing import BinaryIO

import pytest


@pytest.fixture
def made(build_addon: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was installed, one entry an environment; nothing is really installed."""
    installed: list[list[str]] = []

    def make(cache: Path, folder: Path) -> None:
        python = build_addon.python_in(folder)
        python.parent.mkdir(parents=True)
        python.touch()

    monkeypatch.setattr(build_addon, "make_environment", make)
    monkeypatch.setattr(build_addon, "install", lambda cache, python, what: installed.append(list(what)))
    return installed


def test_an_environment_is_made_once(
    build_addon: types.ModuleType, made: list[list[str]], tmp_path: Path
) -> None:
    first = build_addon.environment(tmp_path, "some", ["a==1"])
    assert first.exists()
    assert build_addon.environment(tmp_path, "some", ["a==1"]) == first
    assert made == [["a==1"]]
    assert build_addon.environment(tmp_path, "some", ["a==2"]) != first
    assert made == [["a==1"], ["a==2"]]


def test_a_half_made_environment_is_never_used(
    build_addon: types.ModuleType, made: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(build_addon, "install", lambda *_: build_addon.checked(["false"], {}))
        with pytest.raises(build_addon.BuildError):
            build_addon.environment(tmp_path, "some", ["a==1"])
    assert not list((tmp_path / "environments").iterdir())
    assert build_addon.environment(tmp_path, "some", ["a==1"]).exists()


def test_the_backend_is_installed_anew_only_when_it_changed(
    build_addon: types.ModuleType, made: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    shutil.copytree(build_addon.ROOT / "backend", source / "backend")
    monkeypatch.setattr(build_addon, "ROOT", source)
    build_addon.backend_environment(tmp_path / "cache")
    assert len(made) == 2  # the requirements, the backend
    build_addon.backend_environment(tmp_path / "cache")
    assert len(made) == 2
    (source / "backend" / "diffposetalk" / "audio.py").write_text("# changed\n")
    build_addon.backend_environment(tmp_path / "cache")
    assert len(made) == 3 and "--no-deps" in made[-1]


def test_missing_system_libraries_are_named_where_they_cannot_be_installed(
    build_addon: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_addon, "missing_packages", lambda: ["libgl1", "libsm6"])
    monkeypatch.setattr(build_addon.shutil, "which", lambda name: None)
    with pytest.raises(build_addon.BuildError, match=r"libgl1.*sudo apt-get install .*libsm6"):
        build_addon.ensure_system_libraries()


def test_system_libraries_are_installed_by_apt_where_that_can_be_done(
    build_addon: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [["libgl1"], []]
    commands: list[list[str]] = []
    monkeypatch.setattr(build_addon, "missing_packages", lambda: answers.pop(0))
    monkeypatch.setattr(build_addon.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(build_addon.os, "geteuid", lambda: 0)
    monkeypatch.setattr(build_addon, "checked", lambda command, environment: commands.append(command))
    build_addon.ensure_system_libraries()
    assert [command[:2] for command in commands] == [["apt-get", "update"], ["apt-get", "install"]]
    assert "libgl1" in commands[1]


def test_uv_is_told_where_pip_finds_packages(
    build_addon: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = "global.find-links='/some/wheels'\nglobal.index-url='file:///index'\n:env:.timeout='180'\n"
    for name in ("UV_FIND_LINKS", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setattr(
        build_addon.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, listed, "")
    )
    environment = build_addon.uv_environment()
    assert environment["UV_FIND_LINKS"] == "/some/wheels"
    assert environment["UV_DEFAULT_INDEX"] == "file:///index"
    assert "PYTHONPATH" not in environment


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("Blender 4.1.1\n", False),
        ("Blender 4.2.3 LTS\n", True),
        ("Blender 5.2.0 Alpha\n", True),
        ("no version\n", False),
    ],
)
def test_an_installed_blender_is_used_if_new_enough(
    build_addon: types.ModuleType, monkeypatch: pytest.MonkeyPatch, said: str, found: bool
) -> None:
    monkeypatch.setattr(build_addon.shutil, "which", lambda name: "/opt/blender/blender")
    monkeypatch.setattr(
        build_addon.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, said, "")
    )
    assert (build_addon.find_blender() is not None) is found


def test_where_no_real_window_can_be_shown_the_reason_is_said(
    build_addon: types.ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(build_addon.os, "geteuid", lambda: 1000)
    with pytest.raises(build_addon.UnavailableError, match="as root on Linux"):
        build_addon.window_root(tmp_path, "trixie")
    monkeypatch.setattr(build_addon.os, "geteuid", lambda: 0)
    monkeypatch.setattr(build_addon.sys, "platform", "linux")
    monkeypatch.setattr(build_addon.shutil, "which", lambda name: None)
    with pytest.raises(build_addon.UnavailableError, match="apt-get install debootstrap"):
        build_addon.window_root(tmp_path, "trixie")


def test_a_half_made_debian_folder_is_never_used(
    build_addon: types.ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(build_addon.os, "geteuid", lambda: 0)
    monkeypatch.setattr(build_addon.sys, "platform", "linux")
    monkeypatch.setattr(build_addon.shutil, "which", lambda name: f"/usr/bin/{name}")
    outcome = [1, 0]

    def make(command: list[str], stdout: BinaryIO, **_: object) -> subprocess.CompletedProcess[bytes]:
        assert command[0] == "unshare"  # nothing is mounted where it could be deleted
        (Path(command[-1]) / "etc").mkdir()
        stdout.write(b"E: no network\n")
        return subprocess.CompletedProcess(command, outcome.pop(0))

    monkeypatch.setattr(build_addon.subprocess, "run", make)
    with pytest.raises(build_addon.UnavailableError, match="no network"):
        build_addon.window_root(tmp_path, "trixie")
    assert [path.name for path in (tmp_path / "windows").iterdir()] == ["trixie.log"]
    made = build_addon.window_root(tmp_path, "trixie")
    assert (made / "etc").is_dir() and build_addon.window_root(tmp_path, "trixie") == made
