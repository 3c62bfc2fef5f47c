# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a recording drives head and brows: loudness, syllable accents and pauses, at motion frame rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from ...config import FPS
from ...networks.speech.encoder import SAMPLES_PER_FRAME


@dataclass(frozen=True)
class Prosody:
    """energy (T,) dB above the clip's floor; speaking (T,) 0 to 1; accents: (frame, strength 0 to 1) of
    stressed syllables; pauses: frames at which speech stops for at least a fifth of a second."""

    energy: np.ndarray
    speaking: np.ndarray
    accents: list[tuple[int, float]]
    pauses: list[int]


def analyse(samples: np.ndarray, frames: int) -> Prosody:
    """Prosody of 16 kHz mono sound, one value a motion frame."""
    sound = np.zeros(frames * SAMPLES_PER_FRAME, np.float32)
    count = min(len(samples), len(sound))
    sound[:count] = samples[:count]
    power = (sound.reshape(frames, -1) ** 2).mean(axis=1)
    energy = 10 * np.log10(power + 1e-8)
    loud = np.percentile(energy, 95)
    energy = np.clip(energy - (loud - 40), 0, None)
    speaking = gaussian_filter1d((energy > 15).astype(np.float64), 2.0)
    smooth = gaussian_filter1d(energy, 1.5)
    peaks, measures = find_peaks(smooth, prominence=3, distance=int(0.16 * FPS))
    accents = [(int(p), float(min(1.0, s / 20))) for p, s in zip(peaks, measures["prominences"], strict=True)]
    quiet = energy < 12
    pauses = [t for t in range(1, frames - 5) if quiet[t : t + 5].all() and not quiet[t - 1]]
    return Prosody(energy, speaking, accents, pauses)
