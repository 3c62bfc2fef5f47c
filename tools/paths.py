# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
SITE = ROOT / "build" / "site"
SCREENSHOTS = ROOT / "docs" / "screenshots"
REQUIREMENTS = ROOT / "tools" / "requirements"


def default_cache() -> Path:
    """Where environments are kept: the user's cache folder."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "diffposetalk"


def files_below(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    """The source files below a folder, without what Python or an editor left there."""
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") or part in ("__pycache__", "build") for part in relative.parts)
        if path.is_file() and not hidden and not path.name.endswith((".pyc", ".part", ".egg-info")):
            yield prefix + relative.as_posix(), path
