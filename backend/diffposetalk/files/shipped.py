# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that ship with the tool: in `flame_assets` of a source checkout, in `assets` of the add-on's folder."""

from __future__ import annotations

import os
from pathlib import Path

ABOVE = Path(__file__).resolve().parents[3]
"""What the folder of the package lies in."""


def shipped(path: str) -> Path:
    """Where a shipped file lies; where it is in neither folder, where the checkout would have it."""
    places = [ABOVE / folder / path for folder in ("flame_assets", "assets")]
    return next((place for place in places if place.is_file()), places[0])


def bundled_head_path() -> Path:
    """The head asset that ships with the tool (source checkout or add-on folder), or DIFFPOSETALK_HEAD."""
    if os.environ.get("DIFFPOSETALK_HEAD"):
        return Path(os.environ["DIFFPOSETALK_HEAD"])
    return shipped("head/head.npz")
