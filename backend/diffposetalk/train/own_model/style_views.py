# SPDX-License-Identifier: GPL-3.0-or-later
"""One performance as different captures of it would have it: what a style must not be told by.

Trackers read some channels of a face too strongly or too weakly, hardly see others, and take the head's neutral
where they like. Contrasting views that differ in these teaches the style encoder to find a style again in a video or
a take of Live Link Face, not in the numbers of one tracker.
"""

from __future__ import annotations

import numpy as np

from ...motion.arkit import EXPRESSIONS, both
from ..training_set import HEAD_CHANNELS

UNSEEN = tuple(
    i
    for i, name in enumerate(EXPRESSIONS)
    if name.startswith(("mouthRoll", "mouthShrug", "mouthPress", "mouthDimple", "mouthFunnel", "mouthClose"))
    or name.startswith(("cheek", "noseSneer", "eyeLook", "eyeWide"))
)
"""Channels that many captures lack."""
FINE = (
    *UNSEEN,
    *(i for i, name in enumerate(EXPRESSIONS) if name in ("mouthPucker", "mouthLeft", "mouthRight")),
    *both("mouthStretch"),
)
"""Small motion that captures disagree on."""
GAIN, FINE_GAIN = 0.15, 0.35
"""Standard deviations of the logarithm of a channel's gain."""
BIAS, FINE_BIAS = 0.02, 0.05
"""Largest constant that is added to a channel."""
LACKING = 0.3
"""Chance that a view lacks one of UNSEEN."""
RECENTRED = 0.5
"""Chance that a view's head rotation has no mean."""


def view(motion: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One capture of a performance: (T, 54) ARKit motion vectors to the same in other gains, biases and gaps."""
    out = motion.copy()
    channels = len(EXPRESSIONS)
    fine = np.isin(np.arange(channels), FINE)
    gain = np.exp(rng.standard_normal(channels) * np.where(fine, FINE_GAIN, GAIN))
    bias = rng.uniform(-1, 1, channels) * np.where(fine, FINE_BIAS, BIAS)
    out[:, :channels] = np.clip(out[:, :channels] * gain + bias, 0, 1)
    lacking = [i for i in UNSEEN if rng.random() < LACKING]
    out[:, lacking] = 0
    if rng.random() < RECENTRED:
        out[:, HEAD_CHANNELS] -= out[:, HEAD_CHANNELS].mean(axis=0)
    out[:, -1] *= np.exp(rng.standard_normal() * GAIN)
    return out
