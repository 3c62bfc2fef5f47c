# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring: speech encoders, articulation against phones and a tracked speaker, dynamics."""
