# SPDX-License-Identifier: GPL-3.0-or-later
"""When lips should close and whether they do: phones in time, articulation, missed closures."""
