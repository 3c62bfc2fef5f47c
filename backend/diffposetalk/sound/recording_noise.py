# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a recording is noisy, by how far its quiet moments lie below its loud ones.

Between words, and in the closures of stops, a clear recording falls almost to silence; noise fills these moments. In
the tests' recordings the range of levels was 24 to 63 dB as they are, and at most 23.6 dB with pink noise 15 dB below
the speech. Where noise blurs P, B and M, guidance has to pull harder towards what is still heard of them.
"""

from __future__ import annotations

import numpy as np

from .audio import SAMPLE_RATE

NOISY_BELOW = 24.0
"""dB of `level_range`."""
FRAME = SAMPLE_RATE // 50
"""Samples whose level is taken together: 20 ms."""
DIGITAL_SILENCE = -110.0
"""dB of full scale. Frames below are cut, gated or synthesised: they say nothing of the noise around a speaker."""


def level_range(samples: np.ndarray) -> float:
    """Range of levels, 10th to 95th percentile of the frames that are not digital silence, dB.

    Args:
        samples: (n,) full scale ±1, 16 kHz.

    Returns:
        Infinity where no frame is louder than digital silence.
    """
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    power = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / FRAME
    level = 10 * np.log10(power[power > 10 ** (DIGITAL_SILENCE / 10)])
    if not len(level):
        return float("inf")
    quiet, loud = np.percentile(level, [10, 95])
    return float(loud - quiet)


def is_noisy(samples: np.ndarray) -> bool:
    """Whether noise fills the pauses of a recording."""
    return level_range(samples) < NOISY_BELOW
