# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a user's own data and what can be computed again lie, by each system's custom."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_CUSTOMS = {
    # variable and folder below the home of Windows, folder of macOS, variable and folder of others
    "DATA": ("APPDATA", "AppData/Roaming", "Library/Application Support", "XDG_DATA_HOME", ".local/share"),
    "CACHE": ("LOCALAPPDATA", "AppData/Local", "Library/Caches", "XDG_CACHE_HOME", ".cache"),
}


def user_data_folder() -> Path:
    """DIFFPOSETALK_DATA, or where this user's data lie by the system's custom; it need not exist yet."""
    return _folder("DATA")


def user_cache_folder() -> Path:
    """DIFFPOSETALK_CACHE, or where this user keeps what can be computed again; it need not exist yet."""
    return _folder("CACHE")


def _folder(kind: str) -> Path:
    if named := os.environ.get(f"DIFFPOSETALK_{kind}"):
        return Path(named)
    windows_variable, windows, mac, variable, other = _CUSTOMS[kind]
    if sys.platform == "darwin":
        return Path.home() / mac / "diffposetalk"
    if sys.platform == "win32":
        variable, other = windows_variable, windows
    return Path(os.environ.get(variable) or Path.home() / other) / "diffposetalk"
