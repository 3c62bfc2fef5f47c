# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings of noise, and motion of chance beside them."""

from pathlib import Path

import numpy as np
import soundfile

from diffposetalk.motion.clip import MotionClip


def sound(path: Path, seconds: float = 2.0, rate: int = 16_000, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    soundfile.write(path, 0.1 * rng.standard_normal(int(seconds * rate)), rate)
    return path


def clip(path: Path, frames: int = 50, fps: float = 25.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    MotionClip(rng.random((frames, 50), np.float32), np.zeros((frames, 6), np.float32), fps).save(path)
    return path
