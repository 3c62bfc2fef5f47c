# SPDX-License-Identifier: GPL-3.0-or-later
"""Captured curves made even: missing frames filled, noise filtered (as in the paper’s section 3.1), rates changed."""

from __future__ import annotations

import numpy as np

from ..config import FPS
from .savitzky_golay import savitzky_golay_filter


def savitzky_golay(values: np.ndarray, window: int, order: int = 2) -> np.ndarray:
    """The filter along the first axis; curves shorter than its window get a shorter one, or stay as they are."""
    window = min(window, len(values) - (len(values) + 1) % 2)  # odd
    return savitzky_golay_filter(values, window, order) if window > order else np.array(values, copy=True)


def fill(values: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Values (T, …) with the frames that are not `good` (T,) interpolated over time, held at the ends.

    Raises:
        ValueError: no frame is good.
    """
    if not good.any():
        raise ValueError("no good frame")
    return between(np.arange(len(values))[good], values[good], np.arange(len(values)))


def between(times: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Values (T, …) at `times` (T,), ascending, linearly interpolated at the `wanted` times."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    out = np.stack([np.interp(wanted, times, column) for column in flat.T], axis=1)
    return out.reshape(len(wanted), *values.shape[1:])


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """First and last + 1 of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def frame_times(seconds: float, fps: float = FPS) -> np.ndarray:
    """Times of the motion frames that a stretch of this length holds, the first at 0."""
    return np.arange(int(seconds * fps + 1e-6) + 1) / fps


def continuous(rotations: np.ndarray) -> np.ndarray:
    """Axis-angle vectors (T, 3) without the jumps by a whole turn that a vector of the same rotation can make."""
    out = np.array(rotations, np.float64)
    for t in range(1, len(out)):
        angle = np.linalg.norm(out[t])
        if angle > 1e-9:
            turns = [out[t] + out[t] / angle * 2 * np.pi * k for k in (-1, 0, 1)]
            out[t] = min(turns, key=lambda v: float(np.linalg.norm(v - out[t - 1])))
    return out


def relative_to_mean(rotations: np.ndarray) -> np.ndarray:
    """Axis-angle vectors (T, 3) seen from their own mean: the direction that the head is held in is neutral."""
    from scipy.spatial.transform import Rotation  # slow to import, and of no use to most

    turned = Rotation.from_rotvec(rotations)
    return continuous((turned * turned.mean().inv()).as_rotvec())
