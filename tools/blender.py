# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Blender is used, and how it runs scripts: an installed one, else the wheel of an environment."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from .environments import blender_environment
from .errors import BuildError

DEMO_BLENDER = "5.0"
OLDEST_BLENDER = (4, 2)


def find_blender() -> str | None:
    """An installed Blender that is new enough, or None."""
    blender = shutil.which("blender")
    if blender is None:
        return None
    done = subprocess.run([blender, "--version"], capture_output=True, text=True)
    found = re.search(r"Blender (\d+)\.(\d+)", done.stdout)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_BLENDER:
        return None
    return blender


def blender_command(cache: Path) -> tuple[Callable[[Path], list[str]], str]:
    """How to run a script in Blender, as a function of the script, and what that Blender is."""
    blender = find_blender()
    if blender:
        options = ["--background", "--factory-startup", "--python-exit-code", "1", "--python"]
        return (lambda script: [blender, *options, str(script), "--"]), blender
    python = blender_environment(cache, DEMO_BLENDER)
    return (lambda script: [str(python), str(script), "--"]), f"Blender {DEMO_BLENDER} (bpy wheel)"


def blender_for_validation(cache: Path) -> list[str]:
    """The command of Blender's own extension tool: from an installed Blender, else from its wheel."""
    blender = find_blender()
    if blender:
        return [blender, "--command", "extension"]
    python = blender_environment(cache, DEMO_BLENDER)
    return [str(python), str(extension_tool(python))]


def extension_tool(python: Path) -> Path:
    """Blender's extension tool inside the wheel that is installed beside this interpreter."""
    found = sorted(python.parents[1].glob("**/bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py"))
    if not found:
        raise BuildError(f"Blender's extension tool is not in {python.parents[1]}.")
    return found[-1]
