# SPDX-License-Identifier: GPL-3.0-or-later
"""Which people a video shows, so that one of them can be picked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .face_track import look
from .snapshots import Snapshot, take

APART = 0.8
"""Face widths between two places that are two people's."""


@dataclass(frozen=True)
class FoundFace:
    """Someone in a video.

    x, y: centre of the face, shares of the picture from left and top; `face` of `face_track.track_face`.
    size: largest area seen, share of the picture's.
    seen: share of the pictures looked at that show it there.
    snapshot: the picture in which it is largest.
    """

    x: float
    y: float
    size: float
    seen: float
    snapshot: Snapshot


def find_faces(path: str | Path, model: str | Path | None = None) -> list[FoundFace]:
    """The faces in a few pictures spread over a video, told apart by their places; the largest first.

    Raises:
        VideoError: the video cannot be read or the tracker cannot run.
    """
    found_faces: list[FoundFace] = []
    widths: list[float] = []
    pictures = 0
    for frame, faces in look(path, model):
        pictures += 1
        for face in faces:
            left, _, right, _ = face.box
            x, y = (float(v) for v in face.centre)
            near = [
                i
                for i, other in enumerate(found_faces)
                if np.hypot(other.x - x, other.y - y) < APART * max(widths[i], right - left)
            ]
            if not near:
                found_faces.append(FoundFace(x, y, face.size, 1, take(frame, face)))
                widths.append(right - left)
                continue
            known = found_faces[near[0]]
            found_faces[near[0]] = replace(known, seen=known.seen + 1)
            if face.size > known.size:
                found_faces[near[0]] = FoundFace(x, y, face.size, known.seen + 1, take(frame, face))
                widths[near[0]] = right - left
    found_faces = [replace(face, seen=face.seen / max(pictures, 1)) for face in found_faces]
    return sorted(found_faces, key=lambda face: -face.size)
