# SPDX-License-Identifier: GPL-3.0-or-later
"""The installable zip and the script that makes it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.paths import ROOT

from tools.errors import BuildError
from tools.package import package, project_version, validate


@pytest.fixture(scope="session")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A freshly made zip."""
    return package(tmp_path_factory.mktemp("dist"))


def test_contents(extension: Path) -> None:
    with zipfile.ZipFile(extension) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names))
    for needed in (
        "blender_manifest.toml",
        "__init__.py",
        "LICENSE",
        "backend/pyproject.toml",
        "backend/requirements.txt",
        "backend/requirements.lock",
        "backend/requirements-torch.lock",
        "backend/uv.lock.txt",
        "backend/diffposetalk/__main__.py",
        "backend/diffposetalk/server/methods.py",
        "assets/head/head.npz",
        "assets/head/CREDITS.md",
        "assets/model/config.json",
        "assets/model/model.safetensors",
        "assets/clips/jfk.flac",
    ):
        assert needed in names
    for name in names:
        assert not name.startswith(("/", ".")) and ".." not in name
        assert not name.endswith((".pyc", ".part")) and "__pycache__" not in name and "egg-info" not in name
        if name.startswith("assets/"):
            assert not name.endswith(".py")


def test_size(extension: Path) -> None:
    assert extension.stat().st_size <= 120 * 1024**2


def test_same_source_same_bytes(extension: Path, tmp_path: Path) -> None:
    assert package(tmp_path).read_bytes() == extension.read_bytes()


def test_versions_agree(extension: Path) -> None:
    import diffposetalk

    assert project_version() == diffposetalk.__version__
    assert diffposetalk.__version__ in extension.name


@pytest.mark.skipif(
    "DIFFPOSETALK_BLENDER_EXTENSION_TOOL" not in os.environ, reason="build_addon.py test names Blender's tool"
)
def test_blender_accepts_it(extension: Path, tmp_path: Path) -> None:
    tool = [os.environ["DIFFPOSETALK_BLENDER_PYTHON"], os.environ["DIFFPOSETALK_BLENDER_EXTENSION_TOOL"]]
    validate(extension, tool)
    (tmp_path / "broken.zip").write_bytes(extension.read_bytes()[:1000])
    with pytest.raises(BuildError):
        validate(tmp_path / "broken.zip", tool)


def imported(path: Path) -> set[str]:
    """Top-level names of what a module imports absolutely."""
    import ast

    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_backend_runs_from_the_zip(extension: Path, tmp_path: Path) -> None:
    """As the add-on runs it: from where the extension lies, with the bundled model found beside it."""
    with zipfile.ZipFile(extension) as archive:
        archive.extractall(tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "DIFFPOSETALK_MODEL"}
    done = subprocess.run(
        [sys.executable, "-m", "diffposetalk", "info"],
        env={**environment, "PYTHONPATH": str(tmp_path / "backend")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "assets" / "model") in done.stdout


def test_script_needs_the_standard_library_only() -> None:
    for path in (ROOT / "build_addon.py", *(ROOT / "tools").rglob("*.py")):
        assert imported(path) <= {"tools", *sys.stdlib_module_names}, path


def test_package_without_a_model_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("blender_addon", "backend"):
        (tmp_path / part).symlink_to(ROOT / part)
    (tmp_path / "LICENSE").symlink_to(ROOT / "LICENSE")
    monkeypatch.setattr("tools.package.ROOT", tmp_path)
    with pytest.raises(BuildError, match="missing"):
        package(tmp_path / "dist")
    assert not (tmp_path / "dist").exists() or not list((tmp_path / "dist").iterdir())
