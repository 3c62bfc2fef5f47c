# SPDX-License-Identifier: GPL-3.0-or-later
"""The face tracker's calibration, and the inner-lip gap, by which the opening of a tracked mouth is corrected."""

from __future__ import annotations

import numpy as np

from ..head.head_model import HeadModel
from ..motion.arkit import INDEX, both

OUTER_EYE_DISTANCE = 0.090
"""Metres between the outer eye corners, by which landmark distances are scaled."""
TRACKER_CLOSED_GAP = 0.00015
"""Metres that the tracker still shows between closed lips."""
JAW_SHARE = 0.8
"""How much of the tracked jawOpen goes into the jaw; the lips part on their own for the rest."""
ROUNDS = 4
"""Of correcting lips and jaw towards a gap."""
GAINS = {
    "mouthPucker": 1.3, "mouthFunnel": 5.2, "mouthPressLeft": 2.0, "mouthPressRight": 2.0, "mouthRollLower": 2.5,
    "mouthRollUpper": 1.5, "mouthStretchLeft": 4.0, "mouthStretchRight": 4.0, "mouthSmileLeft": 1.0,
    "mouthSmileRight": 1.0, "mouthShrugLower": 3.0, "mouthDimpleLeft": 3.0, "mouthDimpleRight": 3.0,
}  # fmt: skip
"""Calibration of this tracker's mouth channels; those it never moves on this speaker stay at rest."""


class LipGap:
    """The head's inner-lip gap and what moves it, for correcting an opening to a wanted one."""

    def __init__(self, head: HeadModel) -> None:
        self.head = head
        zero = np.zeros((4, 50), np.float32)
        zero[1, both("mouthLowerDown")] = 1
        zero[2, both("mouthUpperUp")] = 1
        pose = np.zeros((4, 6), np.float32)
        pose[3, 3] = head.jaw_open_angle
        gap = head.lip_gap(zero, pose)
        self.per_lips = float(0.65 * (gap[1] - gap[0]) + 0.35 * (gap[2] - gap[0]))
        self.per_jaw = float((gap[3] - gap[0]) / head.jaw_open_angle)
        closing = np.zeros((1, 50), np.float32)
        closing[0, INDEX["mouthClose"]] = 1
        self.per_close = float(gap[3] - head.lip_gap(closing, pose[3:])[0])
        self.rest = float(gap[0])

    def of(self, exp: np.ndarray, jaw: np.ndarray) -> np.ndarray:
        """Inner-lip gap beyond that of the resting head (T,), metres; 0 is closed."""
        pose = np.zeros((len(exp), 6), np.float32)
        pose[:, 3] = jaw
        return self.head.lip_gap(exp, pose) - self.rest

    def reach(self, exp: np.ndarray, jaw: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Correct lips and jaw until the gap is `target` (T,), metres.

        Too wide: mouthClose brings the lips together over the jaw, as on a bilabial. Too narrow: the lips part
        first, then the jaw drops.
        """
        exp, jaw = exp.copy(), jaw.copy()
        close, down, up = INDEX["mouthClose"], both("mouthLowerDown"), both("mouthUpperUp")
        for _ in range(ROUNDS):
            error = target - self.of(exp, jaw)
            wide = np.clip(-error, 0, None)
            # First take back parted lips, then close over the jaw.
            parted = exp[:, down[0]].copy()
            back = np.minimum(parted, wide / self.per_lips)
            exp[:, down] = np.clip(exp[:, down] - back[:, None], 0, 1)
            exp[:, up] = np.clip(exp[:, up] - 0.54 * back[:, None], 0, None)
            wide = np.clip(wide - back * self.per_lips, 0, None)
            exp[:, close] = np.clip(exp[:, close] + wide / self.per_close, 0, 1)
            narrow = np.clip(error, 0, None)
            open_again = np.minimum(exp[:, close], narrow / self.per_close)
            exp[:, close] = np.clip(exp[:, close] - open_again, 0, 1)
            narrow = np.clip(narrow - open_again * self.per_close, 0, None)
            part = np.minimum(narrow / self.per_lips * 0.6, np.clip(0.45 - exp[:, down[0]], 0, None))
            exp[:, down] += part[:, None]
            exp[:, up] = np.clip(exp[:, up] + 0.54 * part[:, None], 0, 0.3)
            jaw = np.clip(
                jaw + np.clip(narrow - part * self.per_lips, 0, None) / self.per_jaw,
                0,
                self.head.jaw_open_angle,
            )
        return exp, jaw
