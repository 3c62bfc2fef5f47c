# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tracker made of a video, to look at: frames with their landmarks, and below each the head it drives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..head.head_model import HeadModel
from ..head.render import render_frames
from ..motion.clip import MotionClip
from .landmarker import BROWS, EYES, LIPS
from .snapshots import Snapshot

OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
        152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
COLOURS = ((LIPS, (255, 70, 90)), (EYES, (80, 220, 255)), (BROWS, (255, 210, 60)), (OVAL, (120, 255, 120)))
DOT = 2
"""Pixels of a landmark's side."""
BORDER = 4


def contact_sheet(clip: MotionClip, snapshots: Sequence[Snapshot], head: HeadModel) -> np.ndarray:
    """Two rows of pictures (H, W, 3) uint8: the frames with landmarks, and the head at the same times.

    Args:
        clip: what was tracked, from the video's beginning, in the head's basis.
        snapshots: of the tracked face, one or more.
    """
    frames = [min(len(clip) - 1, max(0, round(s.time * clip.fps))) for s in snapshots]
    side = snapshots[0].image.shape[0]
    heads = render_frames(head, clip.exp, clip.pose, frames, side, clip.shape, view_yaw=0.0)
    columns = []
    for snapshot, rendered in zip(snapshots, heads, strict=True):
        width = rendered.shape[1]
        room = (side - width) // 2
        seen = with_landmarks(snapshot)[:, room : room + width]
        columns.append(np.concatenate([seen, np.full((BORDER, width, 3), 255, np.uint8), rendered]))
    gap = np.full((len(columns[0]), BORDER, 3), 255, np.uint8)
    spaced = [part for column in columns for part in (column, gap)][:-1]
    return np.concatenate(spaced, axis=1)


def with_landmarks(snapshot: Snapshot) -> np.ndarray:
    """The snapshot's picture with the landmarks of lips, eyes, brows and outline drawn in."""
    image = snapshot.image.copy()
    side = len(image)
    for indices, colour in COLOURS:
        for x, y in np.floor(snapshot.landmarks[list(indices)]).astype(int):
            if 0 <= x < side - DOT and 0 <= y < side - DOT:
                image[y : y + DOT, x : x + DOT] = colour
    return image
