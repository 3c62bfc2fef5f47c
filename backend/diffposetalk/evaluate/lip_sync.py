# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the lips are in time, with the tracked ones and with the phones alone, and open as variedly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..config import FPS
from ..phones import BILABIALS, OPEN_VOWELS, Phone

LAG_LIMIT = 8
"""Frames, the largest lag that is looked for."""
OPENNESS: dict[str, float] = {
    "SIL": 0.0,
    **dict.fromkeys(BILABIALS, 0.0),
    **dict.fromkeys(("F", "V"), 0.15),
    **dict.fromkeys(("W", "UW", "UH"), 0.3),
    **dict.fromkeys(("IY", "IH", "ER", "OW", "OY"), 0.7),
    **dict.fromkeys(OPEN_VOWELS, 1.0),
}
"""How open each phone is said to hold the mouth, 0 to 1; other consonants count as OTHER_OPENNESS."""
OTHER_OPENNESS = 0.35


def lag_and_correlation(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[int, float]:
    """Lag at which generated curves follow tracked ones best, and the mean correlation there.

    Args:
        curves: (generated (T,), tracked (T,)) per clip.

    Returns:
        (lag in frames, positive where the generated curve is late; mean Pearson correlation over clips); the
        correlation is NaN where no curve moves.
    """
    scores = correlation_by_lag(curves)
    if not np.isfinite(scores).any():
        return 0, float("nan")
    best = int(np.nanargmax(scores))
    return best - LAG_LIMIT, float(scores[best])


def correlation_by_lag(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Mean Pearson correlation over clips at lags of -LAG_LIMIT … LAG_LIMIT, one each; arguments as above."""
    scores = np.full(2 * LAG_LIMIT + 1, np.nan)
    for lag in range(-LAG_LIMIT, LAG_LIMIT + 1):
        values = []
        for generated, tracked in curves:
            count = min(len(generated), len(tracked))
            a = generated[max(0, lag) : count + min(0, lag)]
            b = tracked[max(0, -lag) : count - max(0, lag)]
            if len(a) > 1 and a.std() > 1e-9 and b.std() > 1e-9:
                values.append(float(np.corrcoef(a, b)[0, 1]))
        if values:
            scores[lag + LAG_LIMIT] = np.mean(values)
    return scores


def opening_variance_ratio(predicted: np.ndarray, actual: np.ndarray) -> float:
    """Variance of the predicted openings over that of the actual ones; under 1 the motion is over-smoothed.

    Args:
        predicted, actual: (T,) openings of all clips joined. NaN where the actual mouth never moves.
    """
    variance = float(actual.var())
    return float(predicted.var()) / variance if variance > 1e-12 else float("nan")


def expected_openness(phones: Sequence[Phone], frames: int, fps: float = FPS) -> np.ndarray:
    """Openness 0 to 1 that the phones ask for, (frames,): the mean over the time around each frame t, at t / fps."""
    steps = 8  # points of time a frame
    times = ((np.arange(frames * steps) + 0.5) / steps - 0.5) / fps
    fine = np.zeros(frames * steps)
    for phone, start, end in phones:
        fine[(times >= start) & (times < end)] = OPENNESS.get(phone, OTHER_OPENNESS)
    return fine.reshape(frames, steps).mean(axis=1)


def lip_to_phone_lag(clips: Sequence[tuple[np.ndarray, Sequence[Phone]]], fps: float = FPS) -> float:
    """How much later than the phones the mouth opens and closes, in frames, to a fraction of one.

    The lag at which the openings correlate best with what the phones ask for, by a parabola through the best and its
    neighbours. Real lips have a lag of their own, near none: it is what a figure is to be held against.

    Args:
        clips: (opening (T,) in any unit, phones as (ARPAbet symbol, start, end) in seconds) per clip.

    Returns:
        NaN where no mouth moves or nothing is said.
    """
    curves = [(opening, expected_openness(phones, len(opening), fps)) for opening, phones in clips]
    scores = correlation_by_lag(curves)
    if not np.isfinite(scores).any():
        return float("nan")
    best = int(np.nanargmax(scores))
    offset = 0.0
    if 0 < best < len(scores) - 1:
        before, at, after = scores[best - 1 : best + 2]
        curvature = before - 2 * at + after
        if np.isfinite(curvature) and curvature < -1e-9:
            offset = 0.5 * (before - after) / curvature
    return best + offset - LAG_LIMIT
