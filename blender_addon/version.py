# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's version, as its manifest says it."""

from pathlib import Path

import tomllib

VERSION: str = tomllib.loads((Path(__file__).parent / "blender_manifest.toml").read_text(encoding="utf-8"))[
    "version"
]
