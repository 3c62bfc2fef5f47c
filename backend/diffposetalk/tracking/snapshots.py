# SPDX-License-Identifier: GPL-3.0-or-later
"""A few pictures of the tracked face, spread over its video and kept while it is tracked: never more than a few."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .landmarker import Face
from .video import Frame

SIDE = 224
"""Pixels of a picture's side."""
ROOM = 1.7
"""Width and height shown, in those of the face."""
BEYOND = 40
"""Grey of what lies outside the frame."""


@dataclass(frozen=True)
class Snapshot:
    """time: seconds. image: (SIDE, SIDE, 3) uint8 around the face. landmarks: (478, 2) in its pixels."""

    time: float
    image: np.ndarray
    landmarks: np.ndarray


class Snapshots:
    """Shown every frame; keeps every k-th that has a face, and doubles k when it holds twice what is wanted."""

    def __init__(self, count: int = 8) -> None:
        self.count = count
        self._kept: list[Snapshot] = []
        self._every, self._seen = 1, 0

    def __call__(self, frame: Frame, face: Face | None) -> None:
        if face is None:
            return
        if self._seen % self._every == 0:
            self._kept.append(take(frame, face))
            if len(self._kept) > 2 * self.count:
                self._kept = self._kept[::2]
                self._every *= 2
        self._seen += 1

    def spread(self, times: tuple[tuple[float, float], ...] = ()) -> list[Snapshot]:
        """At most `count`, evenly spread; only those within the given stretches (seconds), if there are any."""
        kept = [s for s in self._kept if not times or any(a <= s.time <= b for a, b in times)]
        if len(kept) <= self.count:
            return kept
        return [kept[i] for i in np.linspace(0, len(kept) - 1, self.count).round().astype(int)]


def take(frame: Frame, face: Face, side: int = SIDE) -> Snapshot:
    """The face in a frame, cut out and scaled to (side, side)."""
    height, width = frame.image.shape[:2]
    left, top, right, bottom = face.box
    extent = ROOM * max((right - left) * width, (bottom - top) * height, 8.0)
    x0 = (left + right) / 2 * width - extent / 2
    y0 = (top + bottom) / 2 * height - extent / 2
    grid = (np.arange(side) + 0.5) * extent / side
    image = _sample(frame.image, x0 + grid, y0 + grid)
    points = (face.landmarks[:, :2] * [width, height] - [x0, y0]) * side / extent
    return Snapshot(frame.time, image, points)


def _sample(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pixels (len(y), len(x), 3) at these places, linearly interpolated; grey outside."""
    height, width = image.shape[:2]
    column, row = np.floor(x - 0.5).astype(int), np.floor(y - 0.5).astype(int)
    fx, fy = (x - 0.5 - column)[None, :, None], (y - 0.5 - row)[:, None, None]
    columns = [np.clip(column + k, 0, width - 1) for k in (0, 1)]
    rows = [np.clip(row + k, 0, height - 1) for k in (0, 1)]
    upper, lower = (
        image[r][:, columns[0]] * (1 - fx) + image[r][:, columns[1]] * fx for r in (rows[0], rows[1])
    )
    out = upper * (1 - fy) + lower * fy
    outside = ((x < 0) | (x >= width))[None, :] | ((y < 0) | (y >= height))[:, None]
    out[outside] = BEYOND
    return (out + 0.5).astype(np.uint8)
