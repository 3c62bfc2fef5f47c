# SPDX-License-Identifier: GPL-3.0-or-later
"""The Savitzky-Golay filter (Savitzky and Golay 1964), as `scipy.signal.savgol_filter` has it.

Written out because importing SciPy's takes longer than loading a model: it brings all of its statistics along.
"""

from __future__ import annotations

import functools

import numpy as np


@functools.cache
def _weights(window: int, order: int) -> tuple[float, ...]:
    """What the frames of a window count for at its centre, in a least-squares fit of a polynomial."""
    half = window // 2
    powers = np.arange(half, half - window, -1.0) ** np.arange(order + 1)[:, None]
    wanted = np.zeros(order + 1)
    wanted[0] = 1.0
    return tuple(np.linalg.lstsq(powers, wanted, rcond=None)[0])


def savitzky_golay_filter(values: np.ndarray, window: int, order: int, axis: int = 0) -> np.ndarray:
    """Values smoothed along an axis by polynomials over an odd `window` of frames; the ends by the outermost ones.

    Raises:
        ValueError: the window is even, not larger than the order, or longer than the curve.
    """
    moved = np.moveaxis(np.asarray(values), axis, 0)
    if window % 2 == 0 or not order < window <= len(moved):
        raise ValueError(f"a window of {window} frames for {len(moved)} of them and order {order}")
    exact = moved.astype(np.float64)
    weights, half, inner = _weights(window, order), window // 2, len(moved) - window + 1
    # Frame by frame in one order, so that a frame comes out the same to the last bit wherever its curve was cut.
    smooth = exact[half : half + inner] * weights[half]
    for away in range(half, 0, -1):
        pairs = exact[half - away : half - away + inner] + exact[half + away : half + away + inner]
        smooth += pairs * weights[half - away]
    out = np.empty_like(exact)
    out[half : half + inner] = smooth
    times = np.arange(window)
    for frames, fitted in (
        (slice(0, half), times[:half]),
        (slice(len(moved) - half, None), times[window - half :]),
    ):
        edge = exact[:window] if frames.start == 0 else exact[len(moved) - window :]
        curves = np.polyfit(times, edge.reshape(window, -1), order)
        ends = np.stack([np.polyval(curve, fitted) for curve in curves.T], axis=1)
        out[frames] = ends.reshape(half, *exact.shape[1:])
    return np.moveaxis(out.astype(moved.dtype if moved.dtype == np.float32 else np.float64), 0, axis)
