# SPDX-License-Identifier: GPL-3.0-or-later
"""The build script, imported from where it stands."""

from __future__ import annotations

import importlib.util
import sys
import types

import pytest
from support.paths import ROOT


@pytest.fixture(scope="session")
def build_addon() -> types.ModuleType:
    """The build script as a module."""
    spec = importlib.util.spec_from_file_location("build_addon", ROOT / "build_addon.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["build_addon"] = module
    spec.loader.exec_module(module)
    return module
