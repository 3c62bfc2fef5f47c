# SPDX-License-Identifier: GPL-3.0-or-later
"""The per-phone average: each phone is said with the mean trajectory that a tracked speaker's face takes on it.

The simplest thing that deserves to be called speech animation, and so the baseline that a model must beat: it knows
the phones and their timing, but nothing of voice, coarticulation or style. Its head does not move.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..config import EXPRESSION_DIM, FPS
from ..phones import Phone

POINTS = 5
"""Points of a trajectory, evenly over a phone from its start to its end."""
SMOOTHING = 0.8
"""Frames (standard deviation) over which neighbouring phones are eased into each other."""


@dataclass(frozen=True)
class PhoneAverage:
    """Mean trajectories (POINTS, D) of motion vectors by phone; `other` stands for phones never heard."""

    trajectories: dict[str, np.ndarray]
    other: np.ndarray

    def motion(self, phones: Sequence[Phone], frames: int, fps: float = FPS) -> np.ndarray:
        """Motion vectors (frames, D) of a sequence of phones; silence where none is given, the head at rest."""
        silence = self.trajectories.get("SIL", self.other)
        out = np.tile(silence[POINTS // 2], (frames, 1))
        times = np.arange(frames) / fps
        for phone, start, end in phones:
            inside = np.flatnonzero((times >= start) & (times < end))
            place = (times[inside] - start) / max(end - start, 1e-6) * (POINTS - 1)
            trajectory = self.trajectories.get(phone, self.other)
            low = np.minimum(place.astype(int), POINTS - 2)
            share = (place - low)[:, None]
            out[inside] = (1 - share) * trajectory[low] + share * trajectory[low + 1]
        out = gaussian_filter1d(out, SMOOTHING, axis=0, mode="nearest") if frames > 1 else out
        out[:, EXPRESSION_DIM:-1] = 0  # a mean head rotation is no motion
        return out.astype(np.float32)


def fit_phone_average(spoken: Iterable[tuple[Sequence[Phone], np.ndarray]], fps: float = FPS) -> PhoneAverage:
    """Average tracked motion by phone.

    Args:
        spoken: (phones, motion vectors (T, D)) of each training clip.

    Raises:
        ValueError: no clip has both phones and motion.
    """
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for phones, motion in spoken:
        frames = np.arange(len(motion)) / fps
        for phone, start, end in phones:
            if end <= start or start >= len(motion) / fps:
                continue
            times = np.linspace(start, end, POINTS)
            sampled = np.stack([np.interp(times, frames, channel) for channel in motion.T], axis=1)
            sums[phone] = sums.get(phone, 0) + sampled
            counts[phone] = counts.get(phone, 0) + 1
    if not sums:
        raise ValueError("no phones with motion to average")
    heard = [name for name in sums if name != "SIL"] or list(sums)
    other = np.sum([sums[name] for name in heard], axis=0) / sum(counts[name] for name in heard)
    return PhoneAverage({name: sums[name] / counts[name] for name in sums}, other)
