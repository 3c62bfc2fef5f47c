# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's data modules, which know no Blender, imported without it."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

from support.paths import ROOT

NAME = "addon_data_without_blender"


def addon_data(module: str) -> Any:
    """`blender_addon/data/MODULE.py` as a module."""
    if NAME not in sys.modules:
        package = types.ModuleType(NAME)
        package.__path__ = [str(ROOT / "blender_addon" / "data")]
        sys.modules[NAME] = package
    return importlib.import_module(f"{NAME}.{module}")
