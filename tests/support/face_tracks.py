# SPDX-License-Identifier: GPL-3.0-or-later
"""Tracks of a face that was never filmed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from diffposetalk.motion.arkit import APPLE_ORDER
from diffposetalk.tracking.face_track import FaceTrack
from diffposetalk.tracking.video import VideoInfo

NAMES = ("_neutral", *(n for n in APPLE_ORDER if n != "tongueOut"))


def made_up(seconds: float = 6.0, fps: float = 30.0) -> FaceTrack:
    """A face 100 pixels between the eyes that opens and closes its mouth, turns and nods, blinks, and is biased."""
    times = np.arange(int(seconds * fps)) / fps
    count = len(times)
    shapes = np.zeros((count, 52))
    shapes[:, NAMES.index("browDownLeft")] = 0.2  # the tracker's bias
    shapes[:, NAMES.index("browInnerUp")] = 0.1 + 0.3 * (np.sin(2 * np.pi * 0.4 * times) > 0)
    open_ = np.clip(np.sin(2 * np.pi * 1.5 * times), 0, 1)
    shapes[:, NAMES.index("jawOpen")] = 0.3 * open_
    blink = np.exp(-(((times[:, None] - np.arange(1, seconds, 1.5)) / 0.06) ** 2)).sum(axis=1)
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        shapes[:, NAMES.index(name)] = 0.1 + 0.6 * blink
    for name in ("eyeLookDownLeft", "eyeLookDownRight", "eyeSquintLeft"):
        shapes[:, NAMES.index(name)] = 0.7 * blink  # as the tracker has it
    angles = np.stack([0.3 * np.sin(2 * np.pi * 0.2 * times), 0.1 * np.sin(2 * np.pi * 0.5 * times) + 0.1], 1)
    rotations = Rotation.from_euler("YX", angles)
    facing = rotations.as_matrix()
    width = np.linalg.norm(facing[:, :2, 0], axis=1)
    height = np.linalg.norm(facing[:, :2, 1], axis=1)
    gap = (0.0005 + 0.012 * open_) * 100 / 0.09  # half a millimetre is left of closed lips
    return FaceTrack(
        VideoInfo("made up.mp4", seconds, fps, 640, 480, 0, False),
        NAMES,
        times,
        shapes,
        rotations.as_rotvec(),
        np.tile([0.0, 0.0, -40.0], (count, 1)),
        100 * width,
        gap * height,
        np.full(count, 60.0) * width,
        np.tile([0.3, 0.2, 0.7, 0.8], (count, 1)),
        np.ones(count, int),
    )


def without(track: FaceTrack, frames: slice) -> FaceTrack:
    changed = {}
    for name in (
        "blendshapes",
        "rotations",
        "translations",
        "eye_distance",
        "lip_gap",
        "mouth_width",
        "boxes",
    ):
        changed[name] = getattr(track, name).copy()
        changed[name][frames] = np.nan
    faces = track.faces.copy()
    faces[frames] = 0
    return replace(track, faces=faces, **changed)
