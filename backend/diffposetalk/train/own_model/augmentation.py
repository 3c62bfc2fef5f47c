# SPDX-License-Identifier: GPL-3.0-or-later
"""Sound augmentation: the rooms, microphones, lines and noise that training recordings lack."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

from ...sound.audio import SAMPLE_RATE

BABBLE_VOICES = 5
NOISY_DB = (3, 15)
"""Signal-to-noise ratios, dB, of the variant that is always noisy."""


def augment(samples: np.ndarray, rng: np.random.Generator, voices: Sequence[np.ndarray] = ()) -> np.ndarray:
    """A recording as another microphone in another room may have heard it: float32, peak at most 1.

    Args:
        voices: recordings of other speakers, for babble.
    """
    out = samples.astype(np.float64)
    if rng.random() < 0.5:
        # A room's impulse response is exponentially decaying noise, of 0.1 to 0.5 s of reverberation time.
        decay = rng.uniform(0.1, 0.5)
        t = np.arange(int(decay * SAMPLE_RATE)) / SAMPLE_RATE
        tail = rng.standard_normal(len(t)) * 10 ** (-3 * t / decay)
        tail *= rng.uniform(0.2, 0.8) / np.linalg.norm(tail)
        tail[0] += 1.0
        out = fftconvolve(out, tail)[: len(out)]
    if rng.random() < 0.5:
        # A telephone's or a small microphone's band.
        low, high = rng.uniform(60, 300), rng.uniform(3200, 7500)
        out = sosfilt(butter(3, [low, high], "bandpass", fs=SAMPLE_RATE, output="sos"), out)
    if rng.random() < 0.75:
        out = _mix(out, _noise(len(out), rng, voices), rng.uniform(3, 30))
    return _recorded(out, rng)


def in_noise(samples: np.ndarray, rng: np.random.Generator, voices: Sequence[np.ndarray] = ()) -> np.ndarray:
    """A recording in plain noise, NOISY_DB below it: float32, peak at most 1.

    Args:
        voices: recordings of other speakers, for babble.
    """
    out = samples.astype(np.float64)
    return _recorded(_mix(out, _noise(len(out), rng, voices), rng.uniform(*NOISY_DB)), rng)


def _recorded(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (x * rng.uniform(0.1, 0.9) / (np.abs(x).max() + 1e-9)).astype(np.float32)


def _noise(length: int, rng: np.random.Generator, voices: Sequence[np.ndarray]) -> np.ndarray:
    if len(voices) and rng.random() < 0.35:
        return _babble(length, voices, rng)
    # Between white and pink.
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequency = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 50)
    return np.fft.irfft(spectrum * frequency ** -rng.uniform(0, 1), length)


def _babble(length: int, voices: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    out = np.zeros(length)
    for index in rng.integers(len(voices), size=BABBLE_VOICES):
        voice = np.resize(voices[index], length)
        out += np.roll(voice, int(rng.integers(length))) / (voice.std() + 1e-6)
    return out


def _mix(x: np.ndarray, noise: np.ndarray, ratio: float) -> np.ndarray:
    """Sound with noise `ratio` dB below it."""
    level = np.sqrt((x**2).mean() / ((noise**2).mean() + 1e-12)) * 10 ** (-ratio / 20)
    return x + level * noise
