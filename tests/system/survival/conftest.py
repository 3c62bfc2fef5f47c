# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: F811 - fixtures ask for imported ones by their names
"""What can go wrong around a generation: the installed add-on against real backend processes.

After every test no process, thread or file may be left but the one backend that stays warm between jobs.
"""

import dataclasses
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

TEMPORARY = Path(tempfile.mkdtemp(prefix="survival-"))
# Before Blender and anyone else asks: whatever is left of temporary files is found here.
os.environ["TMPDIR"] = tempfile.tempdir = str(TEMPORARY)

from support.installed_addon import (  # noqa: E402, F401 - fixtures and hooks; tells Blender where its settings are
    RESOURCES,
    addon,
    addon_zip,
    api,
    backend_python,
    empty_file,
    part,
    pytest_sessionfinish,
    pytest_unconfigure,
    recordings,
    synthetic_head,
)

# isort: split
import bpy  # noqa: E402
import pytest  # noqa: E402
from support.gate import FAULTS, Gate, poll_until  # noqa: E402
from support.paths import ROOT  # noqa: E402
from support.survivors import backend_processes, backend_threads, children, files_below  # noqa: E402
from support.waiting import wait_until  # noqa: E402


def ours(path: Path, test_folder: Path) -> bool:
    """Whether a temporary file is the tests' own, or of Blender's settings."""
    empty = path.is_dir() and not any(path.iterdir())
    if empty and path.name.startswith(("blender_", "torchinductor_")):  # those programs' own, kept for later
        return True
    return any(path.is_relative_to(own) for own in (test_folder, RESOURCES)) or "pytest-of-" in str(path)


@pytest.fixture(scope="session")
def tiny_models(
    backend_python: str, addon: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Two models of random weights that show on the bundled head."""
    folders = [tmp_path_factory.mktemp("models") / name for name in ("first", "second")]
    config = Path(addon.__file__).parent / "assets" / "model" / "config.json"
    environment = {**os.environ, "PYTHONPATH": str(Path(addon.__file__).parent / "backend")}
    script = ROOT / "tests" / "support" / "tiny_model.py"
    subprocess.run(
        [backend_python, str(script), str(config), *map(str, folders)], check=True, env=environment
    )
    return folders


@pytest.fixture(scope="session")
def expected_files(addon: ModuleType, recordings: Path, tiny_models: list[Path]) -> set[Path]:
    """Temporary files that were there before any job: Blender's own folder, and the tests'."""
    return files_below(TEMPORARY)


@pytest.fixture(scope="session")
def gate(backend_python: str, tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """Stands in the way of all backends but faulty ones; it is open."""
    return Gate(backend_python, tmp_path_factory.mktemp("gate"))


@pytest.fixture(autouse=True)
def nothing_left(
    gate: Gate,
    tiny_models: list[Path],
    expected_files: set[Path],
    part: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[None]:
    """The environment's interpreter and a tiny model to begin with, and nothing left at the end."""
    monkeypatch.setenv("DIFFPOSETALK_BACKEND_PYTHON", str(gate.python))
    preferences = part("install.preferences").addon_preferences()
    preferences.backend_python, preferences.device = "", "cpu"
    preferences.model_directory = str(tiny_models[0])
    handlers = len(bpy.app.handlers.load_pre)
    yield
    gate.open()
    session = part("engine.session")._client
    warm = {session.process.pid} if session is not None and session.alive else set()
    in_use = {Path(session.process.folder)} if warm else set()

    def left() -> dict[str, Any]:
        return {
            "processes": backend_processes(children(os.getpid())) - warm,
            "threads": backend_threads()[2 * len(warm) :],
            "files": {
                path for path in files_below(TEMPORARY) - expected_files - in_use if not ours(path, tmp_path)
            },
            "jobs": list(part("engine.job")._line),
        }

    wait_until(lambda: not any(left().values()), left, patience=60)
    assert len(bpy.app.handlers.load_pre) == handlers


@pytest.fixture(scope="session", autouse=True)
def nothing_left_in_the_end(addon: ModuleType, part: Callable[[str], ModuleType]) -> Iterator[None]:
    """When the backend is stopped, nothing at all is left."""
    descriptors = len(os.listdir("/proc/self/fd"))
    yield
    part("engine.session").stop()
    assert not backend_processes(children(os.getpid())) and not backend_threads()
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 4  # Blender's own: sounds that were opened


@pytest.fixture
def faulty(
    backend_python: str, part: Callable[[str], ModuleType], tmp_path: Path
) -> Iterator[Callable[..., Path]]:
    """Function that lets the next jobs use a real backend with a fault (`faults.py`); its folder is returned.

    A fault strikes once: what it leaves in the folder says that it did, and until the file “go on” is made there
    it holds the backend where it is.
    """

    def use(fault: str, shell: str = "", before: str = "") -> Path:
        folder = tmp_path / f"fault {fault}"
        folder.mkdir(exist_ok=True)
        python = tmp_path / "python"
        arguments = f'"{FAULTS}" {fault} "{folder}"' if fault else '"$@"'
        command = f'"{backend_python}" {arguments}'
        python.write_text(f"#!/bin/sh\n{before}\nexec {command} {shell}\n")
        python.chmod(0o755)
        part("engine.session").stop()
        part("install.preferences").addon_preferences().backend_python = str(python)
        return folder

    yield use
    part("install.preferences").addon_preferences().backend_python = ""
    part("engine.session").stop()


@pytest.fixture
def head(api: ModuleType) -> Any:
    """A bundled head; its armature is its parent."""
    return api.add_head("Ann")[0]


@pytest.fixture
def start(api: ModuleType, recordings: Path, gate: Gate) -> Callable[..., Any]:
    """Function that starts a job and returns it when it is at a stage (its text), where the gate holds it.

    With `shown` what is finished is shown meanwhile, and the gate holds it when its first window is.
    """

    def start(
        head: Any,
        stage: str = "Making the motion",
        recording: str = "minute.flac",
        shown: bool = False,
        **more: Any,
    ) -> Any:
        gate.close(window=int(shown))
        job = api.generate(head, recordings / recording, blocking=False, **more)
        if shown:
            job.settings = dataclasses.replace(job.settings, stream=True)
        poll_until(job, stage)
        if shown:
            wait_until(lambda: bpy.data.actions or job.poll() != "running")
            assert job.state == "running", job.failure
        return job

    return start


@pytest.fixture
def generate_again(
    api: ModuleType, part: Callable[[str], ModuleType], recordings: Path, gate: Gate
) -> Callable[..., None]:
    """Function that generates, without any restart, and sees that all of it is keyed; nothing is in its way."""

    def again(head: Any) -> None:
        gate.open()
        [result] = api.generate(head, recordings / "speech.wav")
        for action in result.actions[0]:
            counts = {len(curve.keyframe_points) for curve in part("takes.keying").action_curves(action)}
            assert counts == {50}
        assert len(result.actions[0]) == 2

    return again
