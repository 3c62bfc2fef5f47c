# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings of noise, and motion of chance beside them."""

from pathlib import Path

import numpy as np
import soundfile

from diffposetalk.motion.clip import MotionClip
from diffposetalk.sound.audio import SpeechAudio


def sound(path: Path, seconds: float = 2.0, rate: int = 16_000, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    soundfile.write(path, 0.1 * rng.standard_normal(int(seconds * rate)), rate)
    return path


def speech(seconds: float) -> SpeechAudio:
    """Noise, as it is heard by a model."""
    rng = np.random.default_rng(1)
    samples = (0.1 * rng.standard_normal(int(seconds * 16_000))).astype(np.float32)
    return SpeechAudio(samples, 16_000, 1, seconds, "0" * 64, "noise.wav")


def bad_recordings(folder: Path) -> None:
    """Files that are no recordings of speech, called after what is wrong with them."""
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("not a recording " * 50)
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(folder / "one.wav", np.array([0.5]), 16_000)
    soundfile.write(folder / "cut.wav", np.ones(64_000) * 0.1, 16_000)
    whole = (folder / "cut.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])


def clip(path: Path, frames: int = 50, fps: float = 25.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    MotionClip(rng.random((frames, 50), np.float32), np.zeros((frames, 6), np.float32), fps).save(path)
    return path
