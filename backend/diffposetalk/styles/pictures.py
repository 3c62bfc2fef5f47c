# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of a style: a thumbnail strip of the head in it, and a plot of the reference it is read from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..head.head_model import HeadModel
from ..head.render import render_frames
from ..motion.clip import MotionClip
from .reading import seen_frames

MOMENTS, ROWS = 6, 2
"""Pictures in a thumbnail strip, in so many rows: nearly square, as icons are."""
SIZE = 112
"""Pixels of a moment's height."""

PLOT_WIDTH, PLOT_HEIGHT, MARGIN = 640, 168, 6
PAPER, CHOSEN, UNSEEN, AXIS = (30, 31, 34), (54, 74, 104), (70, 44, 44), (62, 64, 70)
MOUTH_COLOUR = (255, 140, 110)
HEAD_COLOURS = ((120, 200, 255), (130, 230, 150), (225, 190, 110))
"""Of pitch, yaw and roll."""
HEAD_RANGE = np.radians(6.0)
"""Radians that the head's half of a plot shows at least, each way."""


def thumbnail_strip(clips: Sequence[MotionClip], head: HeadModel) -> np.ndarray:
    """Moments of motion on a head, (ROWS · SIZE, W, 3) uint8, one of each sixth of the time; of every other the widest
    open mouth.

    Args:
        clips: unbroken pieces of motion in the head's basis, together two frames or more.
    """
    exp = np.concatenate([clip.exp for clip in clips])
    pose = np.concatenate([clip.pose for clip in clips])
    edges = np.linspace(0, len(exp), MOMENTS + 1).round().astype(int)
    chosen = []
    for moment, (a, b) in enumerate(pairwise(edges.tolist())):
        # Every other one as it comes: a strip of open mouths alone would hide the resting face.
        at = (a + b) // 2 if moment % 2 else a + int(pose[a:b, 3].argmax()) if b > a else a
        chosen.append(min(at, len(exp) - 1))
    pictures = render_frames(head, exp, pose, chosen, SIZE)
    rows = [np.concatenate(list(row), axis=1) for row in np.split(pictures, ROWS)]
    return np.concatenate(rows)


def reference_plot(
    clip: MotionClip, starts: Sequence[int], frames: int, fps: float, opening: np.ndarray | None = None
) -> np.ndarray:
    """A reference over time, (PLOT_HEIGHT, PLOT_WIDTH, 3) uint8: mouth above, head below, the windows read lit up.

    Args:
        clip: the whole reference.
        starts, frames: first frames and length of the windows read, at `fps`.
        opening: (T,) of the mouth in any unit; None takes the jaw's pitch.
    """
    image = np.empty((PLOT_HEIGHT, PLOT_WIDTH, 3), np.uint8)
    image[:] = PAPER
    seconds = max(len(clip) / clip.fps, 1e-6)

    def columns(start: float, stop: float) -> slice:
        left = int(np.clip(start / seconds, 0, 1) * (PLOT_WIDTH - 1))
        return slice(left, max(left + 1, int(np.ceil(np.clip(stop / seconds, 0, 1) * PLOT_WIDTH))))

    for start in starts:
        image[:, columns(start / fps, (start + frames) / fps)] = CHOSEN
    seen = seen_frames(clip, len(clip), clip.fps)
    place = np.minimum((np.arange(PLOT_WIDTH) * len(clip)) // PLOT_WIDTH, len(clip) - 1)
    image[:, ~seen[place]] = UNSEEN
    for second in range(1, int(seconds) + 1) if seconds <= 60 else range(10, int(seconds) + 1, 10):
        image[-MARGIN:, columns(second, second)] = AXIS
    half = PLOT_HEIGHT // 2
    image[half] = AXIS
    mouth = clip.pose[:, 3] if opening is None else opening
    low, high = float(np.min(mouth)), float(np.max(mouth))
    _curve(image[MARGIN : half - MARGIN], (mouth - low) / max(high - low, 1e-9), MOUTH_COLOUR)
    head = clip.pose[:, :3] - clip.pose[:, :3].mean(axis=0)
    reach = max(float(np.abs(head).max()), float(HEAD_RANGE))
    for axis, colour in enumerate(HEAD_COLOURS):
        _curve(image[half + MARGIN : PLOT_HEIGHT - MARGIN], 0.5 + head[:, axis] / (2 * reach), colour)
    return image


def _curve(image: np.ndarray, values: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Draw values (T,), 0 at the bottom to 1 at the top, over the picture's width."""
    height, width = image.shape[:2]
    at = np.linspace(0, len(values) - 1, 4 * width)
    y = (1 - np.interp(at, np.arange(len(values)), values)) * (height - 1)
    # Each column from the lowest to the highest value in it and at its edges: no gaps, no lost peaks.
    edges = np.concatenate([y, y[-1:]])
    blocks = np.stack([edges[k : k + 4 * width : 4] for k in range(4)] + [edges[4::4][:width]])
    first, last = np.floor(blocks.min(axis=0)).astype(int), np.ceil(blocks.max(axis=0)).astype(int)
    for column in range(width):
        image[max(0, first[column]) : min(height, last[column] + 1), column] = colour
