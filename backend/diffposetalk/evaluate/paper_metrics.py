# SPDX-License-Identifier: GPL-3.0-or-later
"""The paper's metrics (section 4.3, Table 1): LVE, FDD, MOD, BA and diversity, with the units of the table.

The paper names them and leaves parts of their definitions open; what is taken here stands with each. Distances are L2
norms; the scripts that FaceFormer and CodeTalker published leave theirs squared, which is why their figures are far
smaller numbers. Meshes are without head rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import argrelextrema
from scipy.spatial.transform import Rotation

MILLIMETRES = 1e3
FDD_UNITS = 1e5
"""Of 1e-5 m in a metre."""
DIVERSITY_UNITS = 1e4
"""Of 1e-4 m in a metre."""
BEAT_SMOOTHING = 5.0
BEAT_SIGMA = 3.0
"""Frames, both, of beat alignment."""
PERMUTATIONS = 1000
CONTROL_CLIPS = 200
"""Clips that the shuffled control mixes at most, spread evenly over all."""


def lip_vertex_error(predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """LVE of each frame, (T,) mm: the largest distance of all lip vertices (Richard et al. 2021, MeshTalk).

        LVE_t = max over lip vertices v of ||p_tv - a_tv||, averaged over frames

    Args:
        predicted, actual: (T, L, 3) lip vertices, metres, the same L vertices.

    Raises:
        ValueError: the shapes differ.
    """
    if predicted.shape != actual.shape:
        raise ValueError(f"lips of shapes {predicted.shape} and {actual.shape} cannot be compared")
    return MILLIMETRES * np.linalg.norm(predicted - actual, axis=2).max(axis=1)


def upper_face_dynamics(vertices: np.ndarray, neutral: np.ndarray) -> np.ndarray:
    """Standard deviation over time of each vertex's distance from rest, (U,) metres.

    Args:
        vertices: (T, U, 3) upper-face vertices, metres.
        neutral: (U, 3) the same of the resting face.
    """
    return np.linalg.norm(vertices - neutral, axis=2).std(axis=0)


def upper_face_dynamics_deviation(predicted: np.ndarray, actual: np.ndarray, neutral: np.ndarray) -> float:
    """FDD of one clip with its sign, 1e-5 m: do brows, lids and forehead move as much (Xing et al. 2023, CodeTalker)?

        FDD = mean over upper-face vertices v of (dyn(a_v) - dyn(p_v)), dyn as of `upper_face_dynamics`

    Positive: it moves too little. Over clips the magnitudes are averaged, so that too lively and too still ones do
    not cancel.
    """
    difference = upper_face_dynamics(actual, neutral) - upper_face_dynamics(predicted, neutral)
    return float(FDD_UNITS * difference.mean())


def mouth_opening_difference(predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """MOD of each frame, (T,) mm: the paper's own metric, |opening_p - opening_a|, averaged over frames.

    The paper does not say where the opening is measured; here it is the gap between the inner lips, mean over the
    head asset's pairs of vertices at the middle of the mouth, less the gap of the resting head.

    Args:
        predicted, actual: (T,) openings, metres.
    """
    if predicted.shape != actual.shape:
        raise ValueError(f"openings of {len(predicted)} and {len(actual)} frames cannot be compared")
    return MILLIMETRES * np.abs(predicted - actual)


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
    speed = gaussian_filter1d(angular_speed(rotation), BEAT_SMOOTHING)
    return argrelextrema(speed, np.less)[0]


def beat_alignment(predicted: np.ndarray, actual: np.ndarray, sigma: float = BEAT_SIGMA) -> float:
    """BA of one clip, 0 to 1: whether the head moves in the rhythm of the real one.

        BA = 1/|A| sum over b in A of exp(-min over p in P of (p - b)² / (2 sigma²))

    A actual and P predicted beats in frames. Bailando (Li et al. 2022) takes the beats of music for A and those of the
    dance for P; SadTalker (Zhang et al. 2023) takes that to head motion, the paper puts the actual head's beats in
    the music's place. Smoothing and sigma are those of Bailando's published script, at 25 frames a second as
    SadTalker and the paper seem to apply them. Random heads then score 0.2 to 0.3, by the length of the clips: read
    it beside `shuffled_control`.

    Args:
        predicted, actual: frames of beats, as of `head_beats`.

    Returns:
        0 where the prediction has no beats, NaN where the actual motion has none.
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


def expression_diversity(samples: Sequence[np.ndarray]) -> float:
    """Diversity of faces (T, V, 3) in metres, all of one recording; 1e-4 m. NaN for a single sample.

        Div = mean over pairs (i, j) of samples, frames and vertices of ||v_i - v_j||

    After Ren et al. 2023, as FaceDiffuser (Stan et al. 2023) has it for faces. The paper names neither the distance
    nor the units behind its figures; with these the orders of magnitude agree, for head poses as well.
    """
    distances = [np.linalg.norm(a - b, axis=2).mean() for a, b in combinations(samples, 2)]
    return float(DIVERSITY_UNITS * np.mean(distances)) if distances else float("nan")


def head_pose_diversity(samples: Sequence[np.ndarray]) -> float:
    """Diversity of head rotations (T, 3), axis-angle radians, of one recording; degrees. NaN for a single sample."""
    turns = [Rotation.from_rotvec(sample) for sample in samples]
    angles = [(a.inv() * b).magnitude().mean() for a, b in combinations(turns, 2)]
    return float(np.degrees(np.mean(angles))) if angles else float("nan")
