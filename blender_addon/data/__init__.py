# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts, formats and arithmetic that need no Blender: motion, mappings, names, the head asset, styles on disk."""
