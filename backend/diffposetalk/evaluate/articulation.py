# SPDX-License-Identifier: GPL-3.0-or-later
"""Articulation against phones and against a tracked speaker: closures, openings, correlation, lag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..config import FPS

Phone = tuple[str, float, float]

BILABIALS = {"P", "B", "M"}
OPEN_VOWELS = {"AA", "AE", "AH", "AO", "AW", "AY", "EH", "EY"}
ROUNDED = {"UW", "UH", "OW", "AO", "OY", "W"}
UNROUNDED = {"IY", "IH", "EH", "EY", "AE", "AA", "AH", "AY"}
TOLERANCE = 0.04
"""Seconds before and after a phone in which its articulation may fall."""
CLOSED, OPEN = 0.15, 0.5
"""Shares of the clip's 95th percentile of the gap under which lips count as closed, over which as open."""


@dataclass
class Articulation:
    """Hits and counts, to be summed over clips."""

    closed: int = 0
    bilabials: int = 0
    opened: int = 0
    open_vowels: int = 0

    def __add__(self, other: Articulation) -> Articulation:
        return Articulation(
            self.closed + other.closed,
            self.bilabials + other.bilabials,
            self.opened + other.opened,
            self.open_vowels + other.open_vowels,
        )

    @property
    def closure(self) -> float:
        """Share of P, B, M on which the lips closed."""
        return self.closed / max(1, self.bilabials)

    @property
    def opening(self) -> float:
        """Share of open vowels on which the mouth opened."""
        return self.opened / max(1, self.open_vowels)


def articulation(gap: np.ndarray, phones: Sequence[Phone], fps: float = FPS) -> Articulation:
    """Closures and openings of one clip.

    Args:
        gap: (T,) inner-lip gap in any unit, 0 closed.
        phones: (ARPAbet symbol, start, end) in seconds.
    """
    level = np.percentile(gap, 95)
    out = Articulation()
    for phone, start, end in phones:
        near = gap[span(start, end, len(gap), fps)]
        if not len(near):
            continue
        if phone in BILABIALS:
            out.bilabials += 1
            out.closed += bool(near.min() < CLOSED * level)
        elif phone in OPEN_VOWELS:
            out.open_vowels += 1
            out.opened += bool(near.max() > OPEN * level)
    return out


def span(start: float, end: float, frames: int, fps: float = FPS) -> slice:
    """Frames within TOLERANCE of a phone."""
    low = int(np.ceil((start - TOLERANCE) * fps - 1e-6))
    high = int(np.floor((end + TOLERANCE) * fps + 1e-6))
    return slice(max(0, low), max(0, min(frames, high + 1)))


def lag_and_correlation(curves: Sequence[tuple[np.ndarray, np.ndarray]], limit: int = 8) -> tuple[int, float]:
    """Lag at which generated curves follow tracked ones best, and the mean correlation there.

    Args:
        curves: (generated (T,), tracked (T,)) per clip.
        limit: largest lag tried, frames.

    Returns:
        (lag in frames, positive where the generated curve is late; mean Pearson correlation over clips).
    """
    scores = {}
    for lag in range(-limit, limit + 1):
        values = []
        for generated, tracked in curves:
            count = min(len(generated), len(tracked))
            a = generated[max(0, lag) : count + min(0, lag)]
            b = tracked[max(0, -lag) : count - max(0, lag)]
            if a.std() > 1e-9 and b.std() > 1e-9:
                values.append(float(np.corrcoef(a, b)[0, 1]))
        scores[lag] = float(np.mean(values))
    best = max(scores, key=lambda k: scores[k])
    return best, scores[best]


def rounding(exp: np.ndarray, rounding_channels: Sequence[int], phones: Sequence[Phone]) -> tuple[list, list]:
    """Sum of the rounding coefficients at the middle of rounded and of unrounded phones."""
    amount = exp[:, list(rounding_channels)].sum(axis=1)
    rounded, unrounded = [], []
    for phone, start, end in phones:
        middle = min(len(amount) - 1, int(0.5 * (start + end) * FPS))
        if phone in ROUNDED:
            rounded.append(float(amount[middle]))
        elif phone in UNROUNDED:
            unrounded.append(float(amount[middle]))
    return rounded, unrounded
