# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests in a real Blender window. `build_addon.py test --only window` makes what they need and runs them.

`DIFFPOSETALK_WINDOW_ROOT` names the Debian folder with Blender, `DIFFPOSETALK_WINDOW_MISSING` says why there is none;
pictures go to `DIFFPOSETALK_SCREENSHOTS`, the manual's folder, or where it is not given to a temporary one.
The tests of a file build on each other, as the clicks of one person at work do.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from real_window import RealWindow, python_folders  # noqa: E402
from sidebar import Sidebar  # noqa: E402


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that Blender sees too. In its `home` lies what a person has downloaded."""
    folder = tmp_path_factory.mktemp("window")
    (folder / "home").mkdir()
    shutil.copy(os.environ["DIFFPOSETALK_ADDON_ZIP"], folder / "home" / "diffposetalk.zip")
    return folder


@pytest.fixture(scope="session")
def debian() -> Path:
    """The folder with Debian's Blender."""
    root = os.environ.get("DIFFPOSETALK_WINDOW_ROOT")
    if not root:
        pytest.skip(os.environ.get("DIFFPOSETALK_WINDOW_MISSING", "run by build_addon.py test --only window"))
    return Path(root)


@pytest.fixture(scope="module")
def window(shared: Path, debian: Path) -> Iterator[RealWindow]:
    """A factory-fresh Blender."""
    seen = python_folders(Path(os.environ["DIFFPOSETALK_BACKEND_PYTHON"]))
    opened = RealWindow(debian, shared, seen)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def sidebar(window: RealWindow) -> Sidebar:
    """The add-on's tab."""
    return Sidebar(window)


@pytest.fixture(autouse=True)
def no_complaints(request: pytest.FixtureRequest) -> Iterator[None]:
    """Blender's console shows no traceback, whatever was clicked."""
    yield
    if "window" not in request.fixturenames:
        return
    window: RealWindow = request.getfixturevalue("window")
    window.screenshot(window.shared / "last.png")
    assert "Traceback" not in window.log.read_text(errors="replace")


@pytest.fixture
def screenshots(shared: Path) -> Path:
    """Where pictures are kept."""
    return Path(os.environ.get("DIFFPOSETALK_SCREENSHOTS") or shared / "screenshots")
