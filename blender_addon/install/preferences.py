# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user has set in the add-on's preferences, for all who need it; `ui/setup` defines and draws them."""

from pathlib import Path

import bpy

from ..data import bundled
from ..version import ADDON
from .sources import Sources


def addon_preferences() -> "bpy.types.AddonPreferences":
    return bpy.context.preferences.addons[ADDON].preferences


def chosen_model_directory() -> Path:
    """The model folder of the preferences, or the bundled one."""
    chosen = addon_preferences().model_directory
    return Path(bpy.path.abspath(chosen)) if chosen else bundled.MODEL_DIRECTORY


def package_sources_chosen() -> Sources:
    """Where the preferences say that packages come from."""
    chosen = addon_preferences()
    return Sources(
        package_index=chosen.package_index.strip(),
        wheel_folder=bpy.path.abspath(chosen.wheel_folder) if chosen.wheel_folder else "",
        wheels_only=chosen.wheels_only,
        proxy=chosen.proxy.strip(),
        torch=chosen.torch_build,
        uv=bpy.path.abspath(chosen.uv_program) if chosen.uv_program else "",
    )
