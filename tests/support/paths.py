# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"  # recordings beside the repository, not part of it
FIXTURES = ROOT / "tests" / "fixtures"
RELEASED = FIXTURES / "released_format"  # what the paper's released network computed
GRID = FIXTURES / "grid"  # two sentences of one speaker: videos, sound, tracks, phones
TRACKER = FIXTURES / "face_landmarker.task"
CLIP = ROOT / "flame_assets" / "clips" / "jfk.flac"
BUNDLED_HEAD = ROOT / "flame_assets" / "head" / "head.npz"
BUNDLED_MODEL = ROOT / "flame_assets" / "model"
