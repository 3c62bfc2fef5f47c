# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a user's own files lie, by each system's custom; they need not exist yet."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_data_folder() -> Path:
    """What the user keeps, such as the style library: DIFFPOSETALK_DATA, or where this user's data lie."""
    places = ("APPDATA", "Roaming", "Application Support", "XDG_DATA_HOME", ".local/share")
    return _folder("DIFFPOSETALK_DATA", *places)


def user_cache_folder() -> Path:
    """What can be computed again: DIFFPOSETALK_CACHE, or where this user's caches lie."""
    return _folder("DIFFPOSETALK_CACHE", "LOCALAPPDATA", "Local", "Caches", "XDG_CACHE_HOME", ".cache")


def _folder(
    own: str, windows_variable: str, windows: str, macos: str, linux_variable: str, linux: str
) -> Path:
    if chosen := os.environ.get(own):
        return Path(chosen)
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get(windows_variable) or home / "AppData" / windows)
    elif sys.platform == "darwin":
        base = home / "Library" / macos
    else:
        base = Path(os.environ.get(linux_variable) or home / linux)
    return base / "diffposetalk"
