# SPDX-License-Identifier: GPL-3.0-or-later
"""Sound augmentation: the rooms, microphones, lines and noise that training recordings lack."""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

from ..audio import SAMPLE_RATE


def augment(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A recording as another microphone in another room may have heard it: float32, peak at most 1."""
    out = samples.astype(np.float64)
    if rng.random() < 0.5:
        out = _room(out, rng)
    if rng.random() < 0.5:
        out = _band(out, rng)
    if rng.random() < 0.75:
        out = _noise(out, rng)
    out *= rng.uniform(0.1, 0.9) / (np.abs(out).max() + 1e-9)
    return out.astype(np.float32)


def _room(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exponentially decaying noise as an impulse response, 0.1 to 0.5 s of reverberation time."""
    decay = rng.uniform(0.1, 0.5)
    t = np.arange(int(decay * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(t)) * 10 ** (-3 * t / decay)
    tail *= rng.uniform(0.2, 0.8) / np.linalg.norm(tail)
    tail[0] += 1.0
    return fftconvolve(x, tail)[: len(x)]


def _band(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A telephone's or a small microphone's band."""
    low, high = rng.uniform(60, 300), rng.uniform(3200, 7500)
    return sosfilt(butter(3, [low, high], "bandpass", fs=SAMPLE_RATE, output="sos"), x)


def _noise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Coloured noise, 5 to 30 dB below the speech."""
    spectrum = np.fft.rfft(rng.standard_normal(len(x)))
    frequency = np.maximum(np.fft.rfftfreq(len(x), 1 / SAMPLE_RATE), 50)
    noise = np.fft.irfft(spectrum * frequency ** -rng.uniform(0, 1), len(x))
    level = np.sqrt((x**2).mean() / ((noise**2).mean() + 1e-12)) * 10 ** (-rng.uniform(5, 30) / 20)
    return x + level * noise
