# SPDX-License-Identifier: GPL-3.0-or-later
"""The version, the same as in blender_manifest.toml (the build script compares them)."""

VERSION = "0.1.0"
ADDON = __package__
"""The add-on's own name, by which Blender keeps its preferences, folders and translations."""
