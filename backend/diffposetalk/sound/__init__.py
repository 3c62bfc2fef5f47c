# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings: samples at 16 kHz, and how noisy they are."""
