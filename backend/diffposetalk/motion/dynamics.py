# SPDX-License-Identifier: GPL-3.0-or-later
"""How motion moves: seams between windows, jitter, blinks, head amplitude and spectrum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.signal import find_peaks, welch

from ..config import FPS


def seam_percentile(speeds: np.ndarray, window: int) -> list[float]:
    """Where the speed across each window seam lies among the speeds inside windows, 0 to 1.

    Args:
        speeds: (T − 1,) speed between consecutive frames.
        window: frames per window.
    """
    index = np.arange(1, len(speeds) + 1)
    seam = index % window == 0
    inside = np.sort(speeds[~seam])
    return [float(np.searchsorted(inside, s) / len(inside)) for s in speeds[seam]]


def motion_speed(vectors: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Speed (T − 1,) of motion vectors (T, D), each channel in units of its `scale` (D,)."""
    return np.linalg.norm(np.diff(vectors / scale, axis=0), axis=1)


def blinks_per_minute(lid: np.ndarray, fps: float = FPS) -> float:
    """Blinks a minute of a lid curve (T,), 0 open to 1 closed: peaks over one half."""
    return blinks(lid) / (len(lid) / fps / 60)


def blinks(lid: np.ndarray) -> int:
    """Blinks in a lid curve (T,), as of `blinks_per_minute`."""
    peaks, _ = find_peaks(np.concatenate([[0], lid, [0]]), height=0.5, distance=4)
    return len(peaks)


def power_above(curves: Sequence[np.ndarray], frequency: float, fps: float = FPS) -> float:
    """Share of the power of curves (T, …) above `frequency` Hz, their means and trends removed."""
    above = total = 0.0
    for curve in curves:
        f, p = welch(curve, fps, axis=0, nperseg=min(128, len(curve)), detrend="linear")
        above += float(p[f > frequency].sum())
        total += float(p.sum())
    return above / max(total, 1e-20)


def head_amplitude(rotation: np.ndarray) -> float:
    """Standard deviation of a head's rotation (T, 3), axis-angle radians: root mean square of the axes, degrees."""
    return float(np.degrees(np.sqrt(rotation.var(axis=0).mean())))


def jitter(positions: np.ndarray, fps: float = FPS) -> float:
    """Mean magnitude of the jerk, the third derivative of position by time (Yi et al. 2021, TransPose).

    Args:
        positions: (T, N, 3) points; in metres the result is in m/s³. NaN for fewer than four frames.
    """
    if len(positions) < 4:
        return float("nan")
    return float(np.linalg.norm(np.diff(positions, 3, axis=0), axis=2).mean() * fps**3)


def spectrum(curves: Sequence[np.ndarray], fps: float = FPS) -> tuple[np.ndarray, np.ndarray]:
    """Power density of curves (T,) or (T, D), summed over D and averaged over curves by their lengths.

    Segments of at most 128 frames, linear trends removed (Welch). Curves under 16 frames are left out.

    Returns:
        (frequencies (F,) Hz, power (F,) in the curves' unit² a Hz); empty where no curve is long enough.
    """
    chosen = [curve.reshape(len(curve), -1) for curve in curves if len(curve) >= 16]
    if not chosen:
        return np.zeros(0), np.zeros(0)
    length = min(128, min(map(len, chosen)))
    total = np.zeros(length // 2 + 1)
    for curve in chosen:
        frequency, power = welch(curve, fps, axis=0, nperseg=length, detrend="linear")
        total += power.sum(axis=1) * len(curve)
    return frequency, total / sum(map(len, chosen))
