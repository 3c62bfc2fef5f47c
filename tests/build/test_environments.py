# SPDX-License-Identifier: GPL-3.0-or-later
"""How environments are made, mostly without making real ones, and what they are made from."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import BinaryIO

import pytest
from support.paths import ROOT

from tools import blender, environments, suites, system_libraries, windows
from tools.errors import BuildError, UnavailableError
from tools.locks import UV_VERSION, requirement_lines, torch_requirement
from tools.paths import REQUIREMENTS
from tools.processes import checked

LOCKS = [*REQUIREMENTS.glob("*.lock"), *(ROOT / "backend").glob("*.lock"), ROOT / "backend" / "uv.lock.txt"]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """What was installed, one entry an environment; nothing is really installed, from locks of no content."""
    installed: list[list[str]] = []

    def make(cache: Path, folder: Path) -> None:
        python = environments.python_in(folder)
        python.parent.mkdir(parents=True)
        python.touch()

    locks = tmp_path / "locks"
    locks.mkdir()
    for name in environments.ENVIRONMENTS:
        (locks / f"{name}.lock").write_text("a==1\n")
    monkeypatch.setattr(environments, "REQUIREMENTS", locks)
    monkeypatch.setattr(environments, "make_environment", make)
    monkeypatch.setattr(environments, "offers_torch_cpu", lambda cache: False)
    monkeypatch.setattr(environments, "install", lambda cache, python, what: installed.append(list(what)))
    return installed


def test_an_environment_is_made_once_for_its_lock(made: list[list[str]], tmp_path: Path) -> None:
    first = environments.environment(tmp_path, "docs")
    assert first.exists()
    assert environments.environment(tmp_path, "docs") == first
    assert len(made) == 1 and {"--require-hashes", str(tmp_path / "locks" / "docs.lock")} <= set(made[0])
    (tmp_path / "locks" / "docs.lock").write_text("a==2\n")
    assert environments.environment(tmp_path, "docs") != first
    assert len(made) == 2


def test_a_half_made_environment_is_never_used(
    made: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(environments, "install", lambda *_: checked(["false"], {}))
        with pytest.raises(BuildError):
            environments.environment(tmp_path, "docs")
    assert not list((tmp_path / "environments").iterdir())
    assert environments.environment(tmp_path, "docs").exists()


@pytest.mark.parametrize("offered", [False, True])
def test_torch_without_cuda_is_taken_where_it_is_offered(
    made: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offered: bool
) -> None:
    monkeypatch.setattr(environments, "offers_torch_cpu", lambda cache: offered)
    environments.environment(tmp_path, "backend")
    assert any(option.endswith(environments.TORCH_CPU) for option in made[0]) == offered


def test_the_backend_is_installed_anew_only_when_it_changed(
    made: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "backend", source / "backend")
    monkeypatch.setattr(environments, "ROOT", source)
    environments.backend_environment(tmp_path / "cache")
    assert len(made) == 2  # the requirements, the backend
    environments.backend_environment(tmp_path / "cache")
    assert len(made) == 2
    (source / "backend" / "diffposetalk" / "new.py").write_text("# changed\n")
    environments.backend_environment(tmp_path / "cache")
    assert len(made) == 3 and {"--no-deps", "--no-build-isolation"} <= set(made[-1])


@pytest.mark.parametrize("program", ["tensorboard", pytest.param("accelerate", marks=pytest.mark.slow)])
def test_programs_of_the_environment_run(program: str) -> None:
    """They name their interpreter by where they lie; the folder had another name when they were installed."""
    path = Path(sys.prefix) / ("Scripts" if os.name == "nt" else "bin") / program
    done = subprocess.run([str(path), "--help"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "usage:" in done.stdout.lower(), done.stderr


# Locks --------------------------------------------------------------------------------------------


def pinned(lock: Path) -> dict[str, str]:
    """Versions by name."""
    found = re.findall(
        r"^([a-z0-9-]+)(?:\[\w+\])?==([^\s;]+)", lock.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(dict(found)) == len(found) or "python_full_version" in lock.read_text(encoding="utf-8")
    return dict(found)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_package_of_a_lock_has_checksums_and_no_host_is_named(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", text.strip())
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==\S+", entry) and re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
    assert "://" not in text and "index" not in text


@pytest.mark.parametrize("name", environments.ENVIRONMENTS)
def test_a_lock_holds_what_its_environment_is_for(name: str) -> None:
    locked = pinned(REQUIREMENTS / f"{name}.lock")
    wanted = [REQUIREMENTS / f"{name}.in"]
    for line in requirement_lines(wanted[0]):
        if line.startswith("-r "):
            wanted.append(REQUIREMENTS / line[3:])
    lines = [line for path in wanted for line in requirement_lines(path) if not line.startswith("-r ")]
    assert lines
    for line in lines:
        package, _, version = re.sub(r"\[\w+\]", "", line).partition("==")
        assert locked[package] == version


def test_the_tests_environment_has_what_users_get() -> None:
    locked = pinned(REQUIREMENTS / "backend.lock")
    for lock in (ROOT / "backend").glob("*.lock"):
        assert pinned(lock).items() <= locked.items(), lock
    assert locked["uv"] == UV_VERSION == pinned(ROOT / "backend" / "uv.lock.txt")["uv"]
    cpu = REQUIREMENTS / environments.TORCH_CPU
    assert cpu.read_text(encoding="utf-8").startswith(f"{torch_requirement()}+cpu ;")


# Totals -------------------------------------------------------------------------------------------

REPORT = """<testsuites><testsuite tests="5" failures="1" errors="0" skipped="3">
<testcase classname="a" name="b"/>
<testcase name="c"><skipped type="pytest.skip" message="needs ../shared/data">where</skipped></testcase>
<testcase name="d"><skipped type="pytest.skip" message="needs ../shared/data">where</skipped></testcase>
<testcase name="e"><skipped type="pytest.skip" message="no display">where</skipped></testcase>
<testcase name="f"><failure message="x">where</failure></testcase></testsuite></testsuites>"""


def test_what_was_skipped_is_said_before_the_total(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(REPORT)
    assert suites.counted(tmp_path / "report.xml") == (
        1,
        1,
        Counter({"needs ../shared/data": 2, "no display": 1}),
    )
    total = suites.Total()
    total.add(suites.Outcome("tests/a", *suites.counted(tmp_path / "report.xml"), status=1))
    total.add(suites.Outcome("tests/b", 0, 0, status=3))
    assert total.lines() == [
        "skipped: 2 in tests/a: needs ../shared/data",
        "skipped: 1 in tests/a: no display",
        "failed: 1 in tests/a",
        "failed: tests/b: exit status 3",
        "1 passed, 2 failed, 3 skipped",
    ]


def test_quick_leaves_out_training_and_what_waits_for_the_backend() -> None:
    pythons = {"5.0": Path("python")}
    quick = suites.suites(suites.QUICK_PARTS, Path("python"), pythons, quick=True)
    options = {suite.folder: " ".join(suite.options) for suite in quick}
    assert "train" in options["tests/backend"] and "not engine" in options["tests/addon"]
    whole = suites.suites(suites.PARTS, Path("python"), pythons)
    assert not any(suite.options for suite in whole)
    assert {suite.folder for suite in quick} < {suite.folder for suite in whole}


# System libraries and Blenders --------------------------------------------------------------------


def test_missing_system_libraries_are_named_where_they_cannot_be_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(system_libraries, "missing_packages", lambda: ["libgl1", "libsm6"])
    monkeypatch.setattr(system_libraries.shutil, "which", lambda name: None)
    with pytest.raises(BuildError, match=r"libgl1.*sudo apt-get install .*libsm6"):
        system_libraries.ensure_system_libraries()


def test_system_libraries_are_installed_by_apt_where_that_can_be_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = [["libgl1"], []]
    commands: list[list[str]] = []
    monkeypatch.setattr(system_libraries, "missing_packages", lambda: answers.pop(0))
    monkeypatch.setattr(system_libraries.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(system_libraries.os, "geteuid", lambda: 0)
    monkeypatch.setattr(system_libraries, "checked", lambda command, environment: commands.append(command))
    system_libraries.ensure_system_libraries()
    assert [command[:2] for command in commands] == [["apt-get", "update"], ["apt-get", "install"]]
    assert "libgl1" in commands[1]


def test_uv_is_told_where_pip_finds_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = "global.find-links='/some/wheels'\nglobal.index-url='file:///index'\n:env:.timeout='180'\n"
    for name in ("UV_FIND_LINKS", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setattr(
        environments.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, listed, "")
    )
    environment = environments.uv_environment()
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
    monkeypatch: pytest.MonkeyPatch, said: str, found: bool
) -> None:
    monkeypatch.setattr(blender.shutil, "which", lambda name: "/opt/blender/blender")
    monkeypatch.setattr(
        blender.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, said, "")
    )
    assert (blender.find_blender() is not None) is found


def test_where_no_real_window_can_be_shown_the_reason_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(windows.os, "geteuid", lambda: 1000)
    with pytest.raises(UnavailableError, match="as root on Linux"):
        windows.window_root(tmp_path, "trixie")
    monkeypatch.setattr(windows.os, "geteuid", lambda: 0)
    monkeypatch.setattr(windows.sys, "platform", "linux")
    monkeypatch.setattr(windows.shutil, "which", lambda name: None)
    with pytest.raises(UnavailableError, match="apt-get install debootstrap"):
        windows.window_root(tmp_path, "trixie")


def test_a_half_made_debian_folder_is_never_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(windows.os, "geteuid", lambda: 0)
    monkeypatch.setattr(windows.sys, "platform", "linux")
    monkeypatch.setattr(windows.shutil, "which", lambda name: f"/usr/bin/{name}")
    outcome = [1, 0]

    def make(command: list[str], stdout: BinaryIO, **_: object) -> subprocess.CompletedProcess[bytes]:
        assert command[0] == "unshare"  # nothing is mounted where it could be deleted
        (Path(command[-1]) / "etc").mkdir()
        stdout.write(b"E: no network\n")
        return subprocess.CompletedProcess(command, outcome.pop(0))

    monkeypatch.setattr(windows.subprocess, "run", make)
    with pytest.raises(UnavailableError, match="no network"):
        windows.window_root(tmp_path, "trixie")
    assert [path.name for path in (tmp_path / "windows").iterdir()] == ["trixie.log"]
    made = windows.window_root(tmp_path, "trixie")
    assert (made / "etc").is_dir() and windows.window_root(tmp_path, "trixie") == made
