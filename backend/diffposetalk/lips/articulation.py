# SPDX-License-Identifier: GPL-3.0-or-later
"""Articulation against phones: whether lips close on P, B, M, open on open vowels, and round on rounded ones.

Shares are counted as the tracked speaker's were, so that they can be held against real ones: a closure is an inner-lip
gap under 0.15 of the clip's 95th percentile within 40 ms of the phone, an opening one over half of it.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from ..config import FPS
from ..phones import BILABIALS, OPEN_VOWELS, ROUNDED, UNROUNDED, Phone

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
        return Articulation(*map(int.__add__, astuple(self), astuple(other)))

    @property
    def closure(self) -> float:
        """Share of P, B, M on which the lips closed; NaN where none was said."""
        return self.closed / self.bilabials if self.bilabials else float("nan")

    @property
    def opening(self) -> float:
        """Share of open vowels on which the mouth opened; NaN where none was said."""
        return self.opened / self.open_vowels if self.open_vowels else float("nan")


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


def at_phones(curve: np.ndarray, phones: Sequence[Phone], symbols: Container[str]) -> list[float]:
    """Values of a curve (T,) at the middle of each of the phones that are among `symbols`."""
    return [
        float(curve[min(len(curve) - 1, int(0.5 * (start + end) * FPS))])
        for phone, start, end in phones
        if phone in symbols
    ]


def rounding(curve: np.ndarray, phones: Sequence[Phone]) -> tuple[list[float], list[float]]:
    """A measure of lip rounding (T,) on rounded phones, and on unrounded ones.

    The measure is the sum of pucker and funnel in the ARKit basis, the protrusion of the lips in any.
    """
    return at_phones(curve, phones, ROUNDED), at_phones(curve, phones, UNROUNDED)
