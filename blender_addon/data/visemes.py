# SPDX-License-Identifier: GPL-3.0-or-later
"""ARKit motion as weights of visemes, for characters that have nothing else. No bpy here.

Each viseme is a pose of ARKit's mouth, written down below. The weights w of T frames minimise

    sum_t |P w_t - x_t|^2 + k_t (g w_t - o_t)^2 + s |w_t - w_{t-1}|^2 + r |w_t|^2,    w >= 0,  w <= 1

(P: the poses as columns, x: the mouth of the motion; g: how far each viseme opens the lips, o: how far the motion
does), a bounded least-squares problem, by accelerated projected gradients (FISTA, Beck and Teboulle 2009). The motion's
own channels must not add up to more than they show, so r is small: it only decides between sets of visemes that look
alike.

A closure is written as jawOpen with as much mouthClose, which no viseme can show: only the opening of the lips is
fitted, not these two. k grows where the lips are about to touch, and there the visemes never open them further than the
motion does.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from . import arkit, lips

SMOOTHNESS = 0.05  # s above at 25 frames per second: a closure of 3 frames keeps 95 % of its height
RIDGE = 0.005
ITERATIONS = 150
# k above: how far the mouth is open is seen first, and closures before that.
OPENING_WEIGHT, CLOSED_WEIGHT = 4.0, 20.0
TOUCHING = 0.01  # opening of the lips that still looks closed

# Poses of ARKit's channels, for a plain speaker; `both` sides get the same.
_POSES: dict[str, dict[str, float]] = {
    "closed": {"mouthClose": 0.05, "mouthPressLeft": 0.35, "mouthPressRight": 0.35, "mouthRollLower": 0.25,
               "mouthRollUpper": 0.25, "jawOpen": 0.02},
    "lip_teeth": {"mouthRollLower": 0.4, "mouthUpperUpLeft": 0.2, "mouthUpperUpRight": 0.2, "jawOpen": 0.07,
                  "mouthShrugLower": 0.1},
    "dental": {"jawOpen": 0.16, "mouthLowerDownLeft": 0.15, "mouthLowerDownRight": 0.15,
               "mouthUpperUpLeft": 0.1, "mouthUpperUpRight": 0.1},
    "alveolar": {"jawOpen": 0.12, "mouthLowerDownLeft": 0.25, "mouthLowerDownRight": 0.25,
                 "mouthStretchLeft": 0.1, "mouthStretchRight": 0.1},
    "velar": {"jawOpen": 0.2, "mouthLowerDownLeft": 0.15, "mouthLowerDownRight": 0.15,
              "mouthShrugUpper": 0.1},
    "postalveolar": {"jawOpen": 0.08, "mouthFunnel": 0.35, "mouthPucker": 0.1, "mouthLowerDownLeft": 0.15,
                     "mouthLowerDownRight": 0.15, "mouthUpperUpLeft": 0.1, "mouthUpperUpRight": 0.1},
    "sibilant": {"jawOpen": 0.04, "mouthStretchLeft": 0.3, "mouthStretchRight": 0.3, "mouthLowerDownLeft": 0.25,
                 "mouthLowerDownRight": 0.25, "mouthUpperUpLeft": 0.1, "mouthUpperUpRight": 0.1},
    "nasal": {"jawOpen": 0.1, "mouthLowerDownLeft": 0.15, "mouthLowerDownRight": 0.15,
              "mouthDimpleLeft": 0.05, "mouthDimpleRight": 0.05},
    "rhotic": {"jawOpen": 0.1, "mouthFunnel": 0.2, "mouthPucker": 0.2, "mouthShrugUpper": 0.05},
    "open": {"jawOpen": 0.5, "mouthLowerDownLeft": 0.2, "mouthLowerDownRight": 0.2, "mouthUpperUpLeft": 0.1,
             "mouthUpperUpRight": 0.1},
    "mid_front": {"jawOpen": 0.28, "mouthStretchLeft": 0.2, "mouthStretchRight": 0.2, "mouthSmileLeft": 0.15,
                  "mouthSmileRight": 0.15, "mouthLowerDownLeft": 0.2, "mouthLowerDownRight": 0.2},
    "close_front": {"jawOpen": 0.12, "mouthStretchLeft": 0.3, "mouthStretchRight": 0.3, "mouthSmileLeft": 0.3,
                    "mouthSmileRight": 0.3, "mouthLowerDownLeft": 0.1, "mouthLowerDownRight": 0.1},
    "mid_back": {"jawOpen": 0.3, "mouthFunnel": 0.4, "mouthPucker": 0.15},
    "close_back": {"jawOpen": 0.1, "mouthFunnel": 0.25, "mouthPucker": 0.55},
    "lateral": {"jawOpen": 0.2, "mouthLowerDownLeft": 0.2, "mouthLowerDownRight": 0.2,
                "mouthUpperUpLeft": 0.15, "mouthUpperUpRight": 0.15},
    "narrow": {"jawOpen": 0.04, "mouthFunnel": 0.1, "mouthPucker": 0.75},
}  # fmt: skip

# Which pose each viseme of a set is; the shapes at rest are what remains when nothing else is shown.
CORRESPONDENCES: dict[str, dict[str, str | None]] = {
    "oculus": {"sil": None, "PP": "closed", "FF": "lip_teeth", "TH": "dental", "DD": "alveolar", "kk": "velar",
               "CH": "postalveolar", "SS": "sibilant", "nn": "nasal", "RR": "rhotic", "aa": "open",
               "E": "mid_front", "I": "close_front", "O": "mid_back", "U": "close_back"},
    "vrm": {"A": "open", "I": "close_front", "U": "close_back", "E": "mid_front", "O": "mid_back"},
    "preston_blair": {"AI": "open", "E": "mid_front", "O": "mid_back", "U": "close_back", "L": "lateral",
                      "WQ": "narrow", "MBP": "closed", "FV": "lip_teeth", "etc": "alveolar", "rest": None},
}  # fmt: skip


def viseme_weights(
    channels: Mapping[str, np.ndarray],
    viseme_set: str,
    visemes: Sequence[str],
    fps: float,
    openings: Mapping[str, float] | None = None,
) -> dict[str, np.ndarray]:
    """Weights of the visemes that show the mouth of an ARKit motion.

    Args:
        channels: (T,) values by ARKit name, jawOpen among them; those that are missing are zero.
        viseme_set: one of CORRESPONDENCES.
        visemes: those of the set that the character has.
        openings: how far each viseme opens the character's lips, as a share of jawOpen = 1; where they are not known,
            as far as its pose does.

    Returns:
        (T,) weights in 0..1 by viseme.
    """
    poses = {v: p for v in visemes if (p := CORRESPONDENCES[viseme_set][v]) is not None}
    names = sorted(
        {name for pose in poses.values() for name in _POSES[pose]} - {arkit.JAW_OPEN, "mouthClose"}
    )
    zero = np.zeros(len(next(iter(channels.values()))))
    motion = np.stack([channels.get(name, zero) for name in names], axis=1)
    matrix = np.array([[_POSES[pose].get(name, 0.0) for pose in poses.values()] for name in names])
    own = {} if openings is None else openings
    opens = np.array([own[v] if v in own else pose_opening(pose) for v, pose in poses.items()])
    opened = lips.opening(channels)
    weight = OPENING_WEIGHT + CLOSED_WEIGHT * lips.closing(opened)
    solved = solve_bounded(matrix, motion, SMOOTHNESS * fps / 25.0, RIDGE, opens, opened, weight)
    shown = solved @ np.maximum(opens, 0.0) - solved @ np.maximum(-opens, 0.0)
    too_far = (shown > opened + TOUCHING) & (opened < lips.CLOSING)
    factor = np.where(too_far, (opened + TOUCHING) / np.maximum(shown, 1e-9), 1.0)
    solved[:, opens > 0] *= factor[:, None]
    result = {viseme: solved[:, v] for v, viseme in enumerate(poses)}
    rest = np.clip(1.0 - solved.sum(axis=1), 0.0, 1.0)
    result.update({viseme: rest for viseme in visemes if viseme not in poses})
    return result


def pose_opening(pose: str) -> float:
    """How far one of the poses opens the lips, as a share of jawOpen = 1."""
    return max(0.0, float(lips.signed_opening({n: np.array([v]) for n, v in _POSES[pose].items()})[0]))


def solve_bounded(
    matrix: np.ndarray,
    values: np.ndarray,
    smoothness: float,
    ridge: float,
    row: np.ndarray | None = None,
    aims: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Minimise |A w_t - x_t|^2 + k_t (g w_t - o_t)^2 + s |w_t - w_{t-1}|^2 + r |w_t|^2 over 0 <= w <= 1.

    Args:
        matrix: A, (C, V).
        values: x, (T, C).
        row, aims, weights: g (V,), o (T,) and k (T,); None leaves the term out.

    Returns:
        w, (T, V).
    """
    count = len(values)
    row = np.zeros(matrix.shape[1]) if row is None else row
    aims = np.zeros(count) if aims is None else aims
    weights = np.zeros(count) if weights is None else weights
    gram = matrix.T @ matrix + ridge * np.eye(matrix.shape[1])
    aim = values @ matrix + (weights * aims)[:, None] * row
    steepest = gram + weights.max(initial=0.0) * np.outer(row, row)
    rate = 1.0 / (np.linalg.eigvalsh(steepest)[-1] + 4.0 * smoothness)
    solved = np.clip(np.linalg.solve(steepest, aim.T).T, 0.0, 1.0)
    ahead, momentum = solved, 1.0
    for _ in range(ITERATIONS):
        gradient = ahead @ gram + (weights * (ahead @ row))[:, None] * row - aim
        if count > 1:
            step = smoothness * np.diff(ahead, axis=0)
            gradient[1:] += step
            gradient[:-1] -= step
        following = np.clip(ahead - rate * gradient, 0.0, 1.0)
        grown = (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        ahead = following + (momentum - 1.0) / grown * (following - solved)
        solved, momentum = following, grown
    return solved
