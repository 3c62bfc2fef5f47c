# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for tests of the add-on as users get it: the packaged extension, installed into this Python's Blender.

Run with a Python that has `bpy`. `DIFFPOSETALK_BACKEND_PYTHON` names the interpreter with the backend's
packages; `DIFFPOSETALK_ADDON_ZIP` the package to test, which is built when it is not given.
"""

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent
RESOURCES = tempfile.mkdtemp(prefix="diffposetalk-blender-")
os.environ["BLENDER_USER_RESOURCES"] = RESOURCES  # before Blender looks for its settings

import bpy  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from support.gate import Gate  # noqa: E402
from tools.package import package  # noqa: E402

ADDON = "bl_ext.user_default.diffposetalk"
Vertices = Callable[..., np.ndarray]
NEEDS_ENGINE = {"backend_python", "model_vertices", "recordings"}
OUTCOME = pytest.StashKey[int]()


def addon_package(folder: Path) -> Path:
    """The package under test."""
    given = os.environ.get("DIFFPOSETALK_ADDON_ZIP")
    if given:
        return Path(given)
    return package(folder)


@pytest.fixture(scope="session")
def addon_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension's zip."""
    return addon_package(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="session", autouse=True)
def addon(addon_zip: Path) -> Iterator[ModuleType]:
    """The installed and enabled extension."""
    bpy.ops.extensions.package_install_files(
        filepath=str(addon_zip), repo="user_default", enable_on_install=True, overwrite=True
    )
    assert ADDON in bpy.context.preferences.addons
    yield sys.modules[ADDON]
    bpy.ops.preferences.addon_disable(module=ADDON)
    shutil.rmtree(RESOURCES, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that have the backend work, so that they can be left out."""
    for item in items:
        if NEEDS_ENGINE & set(getattr(item, "fixturenames", ())):
            item.add_marker("engine")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep the outcome for `pytest_unconfigure`."""
    session.config.stash[OUTCOME] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End without the interpreter's own end, in which the wheel of Blender 4.2 sometimes crashes.

    It frees its data after Python's: what any property's callback refers to is gone by then. An installed Blender
    ends in the other order.
    """
    outcome = config.stash.get(OUTCOME, int(pytest.ExitCode.INTERNAL_ERROR))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(outcome)


@pytest.fixture(autouse=True)
def empty_file(addon: ModuleType) -> None:
    """Every test begins with an empty file at 25 frames per second."""
    scene = bpy.context.scene
    if bpy.context.object is not None and bpy.context.object.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    scene.sequence_editor_clear()
    for name in (
        "objects",
        "collections",
        "meshes",
        "armatures",
        "actions",
        "materials",
        "sounds",
        "cameras",
    ):
        bpy.data.batch_remove(list(getattr(bpy.data, name)))
    scene.frame_start, scene.frame_end = 1, 250
    scene.frame_set(1)
    scene.cursor.location = (0, 0, 0)
    scene.render.fps, scene.render.fps_base = 25, 1.0
    scene.timeline_markers.clear()
    for group in (scene.diffposetalk, scene.diffposetalk_workflow, scene.diffposetalk_capture):
        for prop in group.bl_rna.properties:
            group.property_unset(prop.identifier)


@pytest.fixture(scope="session")
def backend_python() -> str:
    """The interpreter with the backend's packages."""
    python = os.environ.get("DIFFPOSETALK_BACKEND_PYTHON")
    if not python:
        pytest.fail("Set DIFFPOSETALK_BACKEND_PYTHON to a Python that has the backend's packages.")
    return python


@pytest.fixture
def real_backend(
    backend_python: str, part: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> bpy.types.AddonPreferences:
    """Jobs run by the environment's interpreter on the CPU, whatever a test before chose. The add-on's preferences."""
    monkeypatch.setenv("DIFFPOSETALK_BACKEND_PYTHON", backend_python)
    preferences = part("install.preferences").addon_preferences()
    for name in ("backend_python", "model_directory", "flame_model", "style_library"):
        preferences.property_unset(name)
    preferences.device = "cpu"
    return preferences


@pytest.fixture
def gate(
    real_backend: bpy.types.AddonPreferences,
    backend_python: str,
    part: Callable[[str], ModuleType],
    tmp_path: Path,
) -> Iterator[Gate]:
    """Stands in the backend's way in this test; it is open."""
    made = Gate(backend_python, tmp_path / "gate")
    part("engine.session").stop()
    real_backend.backend_python = str(made.python)
    yield made
    made.open()
    part("engine.session").stop()
    real_backend.backend_python = ""


@pytest.fixture(scope="session")
def api(addon: ModuleType) -> ModuleType:
    """What scripts import."""
    import diffposetalk

    return diffposetalk


@pytest.fixture(scope="session")
def part(addon: ModuleType) -> Callable[[str], ModuleType]:
    """A module of the add-on by its name."""
    return lambda name: importlib.import_module(f"{ADDON}.{name}")


@pytest.fixture(scope="session")
def head_path(addon: ModuleType) -> Path:
    """The bundled head, as installed."""
    return Path(addon.__file__).parent / "assets" / "head" / "head.npz"


@pytest.fixture(scope="session")
def synthetic_head(tmp_path_factory: pytest.TempPathFactory, part: Callable[[str], ModuleType]) -> Path:
    """A head with dense pose correctives."""
    from support.synthetic_head import write_synthetic_head

    names = part("data.arkit").EXPRESSION_NAMES
    return write_synthetic_head(tmp_path_factory.mktemp("synthetic") / "head.npz", names)


@pytest.fixture(scope="session")
def flame_like_head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head with FLAME's names and dense pose correctives, all of whose joints follow the expressions."""
    from support.synthetic_head import write_synthetic_head

    path = tmp_path_factory.mktemp("flame-like") / "head.npz"
    names = [f"Exp{e:03d}" for e in range(50)]
    return write_synthetic_head(path, names, basis="flame", moving_joints=True)


@pytest.fixture(scope="session")
def model_vertices(backend_python: str, tmp_path_factory: pytest.TempPathFactory) -> Vertices:
    """Function from a head file, expressions (N, E) and the joints' rotations (N, 5, 3) to vertices (N, V, 3).

    The vertices are smplx's, computed in the backend's Python, in FLAME's axes.
    """
    folder = tmp_path_factory.mktemp("vertices")

    def vertices(head: Path, exp: Any, rotations: Any, shape: Any = None) -> np.ndarray:
        shape = np.zeros(100, np.float32) if shape is None else shape
        np.savez(folder / "poses.npz", exp=exp, rotations=rotations, shape=shape)
        command = [backend_python, str(HERE / "head_model_vertices.py"), str(head)]
        subprocess.run([*command, str(folder / "poses.npz"), str(folder / "out.npy")], check=True)
        return np.load(folder / "out.npy")

    return vertices


@pytest.fixture(scope="session")
def recordings(backend_python: str, addon: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of recordings cut from the bundled clip; see `make_recordings.py`."""
    folder = tmp_path_factory.mktemp("recordings")
    clip = next((Path(addon.__file__).parent / "assets" / "clips").glob("*.flac"))
    subprocess.run([backend_python, str(HERE / "make_recordings.py"), str(clip), str(folder)], check=True)
    return folder
