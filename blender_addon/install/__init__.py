# SPDX-License-Identifier: GPL-3.0-or-later
"""Set Up Backend: the environment beside Blender, where its packages come from, and what the preferences say."""
