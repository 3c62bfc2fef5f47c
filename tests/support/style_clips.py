# SPDX-License-Identifier: GPL-3.0-or-later
"""Made-up reference motion whose head, lids and mouth are known."""

from __future__ import annotations

import numpy as np

from diffposetalk.config import FPS
from diffposetalk.motion.arkit import EXPRESSIONS, both
from diffposetalk.motion.clip import MotionClip


def talking(
    seconds: float = 8.0,
    *,
    mouth: float = 0.2,
    head: float = 0.08,
    tempo: float = 0.5,
    blink_every: float = 3.0,
    brows: float = 0.2,
    silent_from: float | None = None,
) -> MotionClip:
    """An ARKit head that talks (jaw pitch up to `mouth` radians), nods (amplitude `head` radians) and blinks."""
    t = np.arange(int(seconds * FPS)) / FPS
    exp = np.zeros((len(t), 50), np.float32)
    lids = np.exp(-(((t[:, None] - np.arange(1.0, seconds, blink_every)) / 0.07) ** 2)).sum(axis=1)
    exp[:, both("eyeBlink")] = lids[:, None]
    exp[:, both("browOuterUp")] = (brows * (np.sin(2 * np.pi * 0.4 * t) > 0))[:, None]
    pose = np.zeros((len(t), 6), np.float32)
    pose[:, 0] = head * np.sin(2 * np.pi * tempo * t)
    pose[:, 3] = 0.5 * mouth * (1 - np.cos(2 * np.pi * 2.5 * t))
    if silent_from is not None:
        pose[t >= silent_from, 3] = 0
    return MotionClip(exp, pose, FPS, "arkit", None, EXPRESSIONS)
