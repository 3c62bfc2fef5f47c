# SPDX-License-Identifier: GPL-3.0-or-later
"""What benchmarks in Blender's Python begin with: the add-on as users get it, installed into a Blender of its own."""

import importlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def installed_add_on(package: str | None) -> tuple[Any, Callable[[str], Any], Callable[[], None]]:
    """Install and enable the add-on.

    Args:
        package: its zip; built when None.

    Returns:
        (Blender's `bpy`, a module of the add-on by its name, what takes the add-on back.)
    """
    if package:
        os.environ["DIFFPOSETALK_ADDON_ZIP"] = package
    sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("tests", "")]
    from support.installed_addon import (  # settles Blender's folders before it starts
        ADDON,
        addon_package,
        bpy,
    )

    path = addon_package(Path(tempfile.mkdtemp(prefix="diffposetalk-bench-")))
    bpy.ops.extensions.package_install_files(
        filepath=str(path), repo="user_default", enable_on_install=True, overwrite=True
    )
    return (
        bpy,
        lambda name: importlib.import_module(f"{ADDON}.{name}"),
        lambda: bpy.ops.preferences.addon_disable(module=ADDON),
    )
