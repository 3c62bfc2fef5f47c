# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion tracked from video (MediaPipe's 52 blendshapes, head rotation and lip landmarks) to clean ARKit motion.

The tracker's blendshapes are biased and rarely reach their ends; the distance between the inner lips in its
landmarks is accurate. So blendshapes are calibrated per channel, and the mouth's opening is then corrected
until the bundled head's inner-lip gap equals the tracked one.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy.ndimage import percentile_filter
from scipy.signal import savgol_filter
from scipy.spatial.transform import Rotation

from ..head.head_model import HeadModel
from ..motion.arkit import INDEX, both
from ..motion.smoothing import fill
from ..tracking.lip_gap import GAINS, JAW_SHARE, OUTER_EYE_DISTANCE, TRACKER_CLOSED_GAP, LipGap

BIASES = {"mouthPucker": 0.01, "mouthFunnel": 0.004}
"""What the tracker shows of a channel on lips that are not rounded at all."""


class TrackedCorpus:
    """Reads tracked clips of one folder (its `meta.json` names the tracker's channels and landmarks)."""

    def __init__(self, folder: Path, head: HeadModel, paths: list[Path]) -> None:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        self.names: list[str] = meta["blendshape_names"]
        self.lips: list[int] = meta["lips_landmarks"]
        self.reference: list[int] = meta["ref_landmarks"]
        self.size = np.array([max(meta["image_size"]), min(meta["image_size"])], np.float32)
        self.gap = LipGap(head)
        self.head = head
        rotations = np.concatenate([np.load(p)["head_rotvec"] for p in paths])
        self.neutral = Rotation.from_rotvec(rotations[np.isfinite(rotations).all(1)]).mean()

    def lip_gap(self, path: Path) -> np.ndarray:
        """Tracked inner-lip gap (T,), metres on a head of ordinary size, closed lips at zero."""
        with np.load(path) as data:
            lips = _fill(data["lips"].astype(np.float32))[..., :2] * self.size
            eyes = _fill(data["ref"].astype(np.float32))[..., :2] * self.size
        outer = [self.reference.index(i) for i in (33, 263)]
        scale = OUTER_EYE_DISTANCE / np.linalg.norm(eyes[:, outer[0]] - eyes[:, outer[1]], axis=1)
        pairs = [(self.lips.index(a), self.lips.index(b)) for a, b in ((13, 14), (82, 87), (312, 317))]
        distance = np.mean([np.linalg.norm(lips[:, a] - lips[:, b], axis=1) for a, b in pairs], axis=0)
        gap = savgol_filter(distance * scale, 5, 3)
        return np.clip(gap - TRACKER_CLOSED_GAP, 0, None)

    def motion(self, path: Path) -> np.ndarray:
        """Clean motion vectors (T, 54) of a clip."""
        with np.load(path) as data:
            raw = _fill(data["blendshapes"].astype(np.float32))
            rotation = _fill(data["head_rotvec"].astype(np.float32))
        # Savitzky-Golay, as the paper filters its reconstructions.
        smooth = np.clip(savgol_filter(raw, 5, 2, axis=0), 0, 1)
        track = {n: smooth[:, i] for i, n in enumerate(self.names)}
        exp = np.zeros((len(raw), 50), np.float32)
        for name, gain in GAINS.items():
            exp[:, INDEX[name]] = np.clip(gain * (track[name] - BIASES.get(name, 0.0)), 0, 0.9)
        jaw = JAW_SHARE * track["jawOpen"] * self.head.jaw_open_angle
        exp, jaw = self.gap.reach(exp, jaw, self.lip_gap(path))
        lid = np.mean([raw[:, self.names.index("eyeBlink" + s)] for s in ("Left", "Right")], axis=0)
        base = percentile_filter(lid, 30, size=31)
        blink = np.clip((lid - base - 0.08) / np.clip(0.62 - base, 0.2, None), 0, 1)
        exp[:, both("eyeBlink")] = blink[:, None]
        brow = track["browInnerUp"]
        exp[:, INDEX["browInnerUp"]] = np.clip(brow - np.median(brow), 0, 1)
        relative = (Rotation.from_rotvec(rotation) * self.neutral.inv()).as_rotvec()
        motion = np.zeros((len(raw), 54), np.float32)
        motion[:, :50] = np.clip(exp, 0, 1)
        motion[:, 50:53] = savgol_filter(relative, 9, 2, axis=0)
        motion[:, 53] = jaw
        return motion


def _fill(values: np.ndarray) -> np.ndarray:
    """Replace frames without a face (NaN) by interpolation over time."""
    good = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    return fill(values, good).astype(np.float32) if good.any() else values
