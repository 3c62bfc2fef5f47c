# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring a style on motion: lips on a head's mesh, brows and lids in the blendshapes, the head in its rotation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..head.geometry import FaceRegions
from ..head.head_model import HeadModel
from ..motion.arkit import INDEX, both
from ..motion.clip import MotionClip
from ..motion.dynamics import blinks
from ..motion.style_measures import StyleMeasures

MILLIMETRES = 1e3
BROWS = [INDEX["browInnerUp"], *both("browOuterUp"), *both("browDown")]
STILL_HEAD = 0.2
"""Degrees of amplitude under which a head has no tempo."""


def measure_style(clips: Sequence[MotionClip], head: HeadModel) -> StyleMeasures:
    """Measure motion, all of it together.

    Args:
        clips: unbroken pieces of one performance, in the head's basis.

    Raises:
        ModelError: `head_basis`, or `head_regions` where the asset does not say where its lips are.
    """
    regions = FaceRegions(head)
    tracks = [regions.track(clip) for clip in clips]
    frames = sum(map(len, clips))
    seconds = sum(len(clip) / clip.fps for clip in clips)
    opening = np.concatenate([track.opening for track in tracks])
    travelled = sum(
        float(np.linalg.norm(np.diff(track.lips, axis=0), axis=2).mean(axis=1).sum()) for track in tracks
    )
    squares = speeds = 0.0
    for clip in clips:
        rotation = clip.pose[:, :3].astype(np.float64)
        squares += float(rotation.var(axis=0).sum()) * len(rotation)
        speeds += float((np.diff(rotation, axis=0) ** 2).sum()) * clip.fps**2
    amplitude = float(np.degrees(np.sqrt(squares / frames / 3)))
    tempo = float(np.sqrt(speeds / squares)) / (2 * np.pi) if amplitude > STILL_HEAD else 0.0
    brows = lids = None
    if head.basis == "arkit":
        spread = sum(clip.exp[:, BROWS].astype(np.float64).var(axis=0) * len(clip) for clip in clips)
        brows = float(np.sqrt(spread / frames).mean())
        lids = sum(blinks(clip.exp[:, both("eyeBlink")].mean(axis=1)) for clip in clips) / (seconds / 60)
    return StyleMeasures(
        MILLIMETRES * float(np.percentile(opening, 95)),
        MILLIMETRES * travelled / seconds,
        brows,
        amplitude,
        tempo,
        lids,
        seconds,
    )
