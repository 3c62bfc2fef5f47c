# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a user's own data lie, by each system's custom; caches lie elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_data_folder() -> Path:
    """DIFFPOSETALK_DATA, or where this user's data lie by the system's custom; it need not exist yet."""
    if os.environ.get("DIFFPOSETALK_DATA"):
        return Path(os.environ["DIFFPOSETALK_DATA"])
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "diffposetalk"
