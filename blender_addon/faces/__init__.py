# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom motion is keyed on: the bundled rig, foreign characters' shape keys and bones, FLAME."""
