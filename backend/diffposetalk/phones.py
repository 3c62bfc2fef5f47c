# SPDX-License-Identifier: GPL-3.0-or-later
"""Phones as ARPAbet names them, and those whose shape of the lips is seen."""

from __future__ import annotations

Phone = tuple[str, float, float]
"""Symbol without stress (or SIL), start and end in seconds."""

BILABIALS = {"P", "B", "M"}
OPEN_VOWELS = {"AA", "AE", "AH", "AO", "AW", "AY", "EH", "EY"}
ROUNDED = {"UW", "UH", "OW", "AO", "OY", "W"}
UNROUNDED = {"IY", "IH", "EH", "EY", "AE", "AA", "AH", "AY"}
