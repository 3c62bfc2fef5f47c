# SPDX-License-Identifier: GPL-3.0-or-later
"""What scripts and Blender's Python console import as `diffposetalk`."""
