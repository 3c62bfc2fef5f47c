# SPDX-License-Identifier: GPL-3.0-or-later
"""Beat alignment (BA): whether the head moves in the rhythm of the real one.

Beats are the local minima of the smoothed speed of the motion. Bailando (Li et al. 2022) averages, over
the beats of the music, a Gaussian of the distance to the nearest beat of the dance; SadTalker (Zhang et al. 2023) takes
that to head motion. The paper's modification (section 4.3) puts the actual head's beats in the place of the music's:

    BA = 1/|B| sum over b in B of exp(-min over p in P of (p - b)² / (2 sigma²))

B actual and P predicted beats in frames. Smoothing (a Gaussian of 5 frames) and sigma (3 frames) are those of
Bailando's published script, applied at 25 frames a second as SadTalker and the paper seem to. Random heads then score
0.2 to 0.3, by the length of the clips: the score is to be read beside `shuffled_control`, the same heads against the
beats of other clips.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import argrelextrema
from scipy.spatial.transform import Rotation

SMOOTHING = 5.0
SIGMA = 3.0
"""Frames, both."""
PERMUTATIONS = 1000
CONTROL_CLIPS = 200
"""Clips that the shuffled control mixes at most, spread evenly over all."""


def angular_speed(rotation: np.ndarray) -> np.ndarray:
    """Angle between consecutive head rotations, (T - 1,) radians a frame, from axis-angle vectors (T, 3)."""
    turns = Rotation.from_rotvec(rotation)
    return (turns[:-1].inv() * turns[1:]).magnitude()


def head_beats(rotation: np.ndarray) -> np.ndarray:
    """Frames at which a head pauses or turns round, ascending; none if it never moves.

    Args:
        rotation: (T, 3) axis-angle, radians.
    """
    if len(rotation) < 4:
        return np.zeros(0, np.int64)
    speed = gaussian_filter1d(angular_speed(rotation), SMOOTHING)
    return argrelextrema(speed, np.less)[0]


def beat_alignment(predicted: np.ndarray, actual: np.ndarray, sigma: float = SIGMA) -> float:
    """BA of one clip, 0 to 1; 0 where the prediction has no beats, NaN where the actual motion has none.

    Args:
        predicted, actual: frames of beats, as of `head_beats`.
    """
    if len(actual) == 0:
        return float("nan")
    if len(predicted) == 0:
        return 0.0
    nearest = np.abs(np.subtract.outer(np.asarray(actual, float), np.asarray(predicted, float))).min(axis=1)
    return float(np.exp(-(nearest**2) / (2 * sigma**2)).mean())


def shuffled_control(
    predicted: Sequence[np.ndarray], actual: Sequence[np.ndarray], frames: Sequence[int]
) -> tuple[float, float]:
    """Mean BA of predictions against the beats of other clips, and how far above it their own score is.

    A permutation test: the clips' predictions are dealt to the clips at random, `PERMUTATIONS` times.

    Args:
        predicted, actual: beats of each clip.
        frames: length of each clip; of a pair only the frames that both have are compared.

    Returns:
        (what alignment comes by chance, the score of the right pairs less that in standard deviations of the
        shuffled scores: above 1.64, chance gives as much in fewer than 5 of 100 cases); NaN for fewer than two clips
        with actual beats.
    """
    with_beats = [i for i, beats in enumerate(actual) if len(beats)]
    step = max(1, -(-len(with_beats) // CONTROL_CLIPS))
    chosen = with_beats[::step]
    if len(chosen) < 2:
        return float("nan"), float("nan")
    scores = np.full((len(chosen), len(chosen)), np.nan)
    for row, i in enumerate(chosen):
        for column, j in enumerate(chosen):
            shared = min(frames[i], frames[j])
            ours, theirs = predicted[i], actual[j]
            scores[row, column] = beat_alignment(ours[ours < shared], theirs[theirs < shared])
    rng = np.random.default_rng(0)
    rows = np.arange(len(chosen))
    dealt = np.array([np.nanmean(scores[rows, rng.permutation(rows)]) for _ in range(PERMUTATIONS)])
    spread = dealt.std()
    above = (np.nanmean(scores[rows, rows]) - dealt.mean()) / spread if spread > 0 else np.nan
    return float(np.nanmean(scores[~np.eye(len(chosen), dtype=bool)])), float(above)
