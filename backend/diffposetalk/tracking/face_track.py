# SPDX-License-Identifier: GPL-3.0-or-later
"""One face through a video: what the landmarker measures in every frame, before any of it is judged or smoothed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ..errors import Cancelled, VideoError
from .landmarker import Face, FaceTracker, find_tracker
from .video import MAX_RATE, Frame, VideoInfo, frame_near, probe_video, read_frames

MAX_FACES = 5
SCAN_FRAMES = 12
"""Pictures spread over the video in which faces are counted first."""
MAX_STEP = 0.6
"""Face widths that a face may move from frame to frame and still be the same one."""
LOST_AFTER = 1.0
"""Seconds without the face after which the largest one is followed instead."""

OUTER_EYES = (33, 263)
INNER_LIPS = ((13, 14), (82, 87), (312, 317))
"""Landmarks of the upper and lower inner lip, in pairs."""
MOUTH_CORNERS = (61, 291)

OnProgress = Callable[[int, int], None]
"""Called with (frames done, frames in all, 0 where the file does not say)."""
OnFrame = Callable[[Frame, Face | None], None]
"""Called with each frame and the followed face in it."""


@dataclass(frozen=True)
class FaceTrack:
    """A face in every looked-at frame of a video; NaN where it was not found.

    Attributes:
        video: what the video says of itself.
        names: of the blendshapes.
        times: (T,) seconds from the first frame, ascending.
        blendshapes: (T, 52) scores, 0 to 1.
        rotations: (T, 3) axis-angle of the head in camera space (x right, y up, z to the camera), radians.
        translations: (T, 3) of the head in camera space, centimetres.
        eye_distance: (T,) between the outer eye corners, in pixels of the frames as shown.
        lip_gap: (T,) between the inner lips, pixels, the mean of three pairs.
        mouth_width: (T,) between its corners, pixels.
        boxes: (T, 4) left, top, right, bottom, shares of the picture.
        faces: (T,) how many faces were seen.
        shapes: (T, F) landmarks turned to the front, as of `face_map.face_shape`; None where they were not kept.
    """

    video: VideoInfo
    names: tuple[str, ...]
    times: np.ndarray
    blendshapes: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    eye_distance: np.ndarray
    lip_gap: np.ndarray
    mouth_width: np.ndarray
    boxes: np.ndarray
    faces: np.ndarray
    shapes: np.ndarray | None = None

    @property
    def face_found(self) -> np.ndarray:
        """(T,) whether the face is there."""
        return np.isfinite(self.eye_distance)


def look(path: str | Path, model: str | Path | None = None) -> Iterator[tuple[Frame, list[Face]]]:
    """A few pictures spread over a video, and the faces in each.

    Raises:
        VideoError: as `track_face`.
    """
    info = probe_video(path)
    looked: set[float] = set()
    with FaceTracker(find_tracker(model), MAX_FACES, still=True) as tracker:
        count = SCAN_FRAMES if info.seconds > 1 else 1
        for wanted in (np.arange(count) + 0.5) / count * info.seconds:
            frame = frame_near(path, float(wanted))
            if frame is not None and frame.time not in looked:
                looked.add(frame.time)
                yield frame, tracker.faces(frame.image)


def track_face(
    path: str | Path,
    model: str | Path | None = None,
    *,
    face: tuple[float, float] | None = None,
    on_progress: OnProgress | None = None,
    on_frame: OnFrame | None = None,
    shape: Callable[[Face, int, int], np.ndarray] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> FaceTrack:
    """Follow one face through a video.

    Args:
        path: anything PyAV reads.
        model: MediaPipe's face_landmarker.task; None takes DIFFPOSETALK_TRACKER.
        face: where the face is that is meant (x, y as shares of the picture, from left and top) when there are
            several; None is the largest.
        on_progress: told after every frame.
        on_frame: shown every frame with what was found in it.
        shape: what to keep of a face's landmarks as `shapes`, from it and the picture's width and height.
        cancelled: asked before every frame.

    Raises:
        VideoError: the video cannot be read (see `video`), the tracker cannot run (see `landmarker`).
        Cancelled: `cancelled` said so.
    """
    file = find_tracker(model)
    info = probe_video(path)
    # No more than there are: MediaPipe looks for missing ones anew in every frame, and all of them suffer.
    count = max(1, most_faces(path, file))
    rate = info.fps or 25.0
    total = round(info.seconds * rate / max(1, math.ceil(rate / MAX_RATE)))
    rows: list[dict[str, Any]] = []
    last: tuple[float, np.ndarray, float] | None = None  # when, where and how wide it was seen
    with FaceTracker(file, count) as tracker:
        for frame in read_frames(path):
            if cancelled is not None and cancelled():
                raise Cancelled()
            seen = tracker.faces(frame.image, frame.time)
            chosen = _same_face(seen, last, frame.time, face)
            if chosen is not None:
                left, _, right, _ = chosen.box
                last = frame.time, chosen.centre, right - left
            height, width = frame.image.shape[:2]
            measured = {} if chosen is None else _measured(chosen, width, height)
            if shape is not None and chosen is not None:
                measured["shapes"] = shape(chosen, width, height)
            rows.append({"times": frame.time, "faces": len(seen), **measured})
            if on_frame is not None:
                on_frame(frame, chosen)
            if on_progress is not None:
                on_progress(len(rows), max(total, len(rows)))
        names = tracker.names
    with_face = next((row for row in rows if "boxes" in row), None)
    if with_face is None:
        raise VideoError(
            f"No face was found in “{Path(path).name}” ({len(rows)} frames). It must show one person's face, upright "
            "and from the front.",
            "video_no_face",
        )

    # Where the face was not found, each of its values is missing.
    missing = {name: np.full(np.shape(value), np.nan) for name, value in with_face.items()}
    columns = {name: np.array([row.get(name, missing[name]) for row in rows]) for name in with_face}
    return FaceTrack(info, names, **columns)


def _measured(face: Face, width: int, height: int) -> dict[str, Any]:
    """What a track keeps of a face in one frame, by its columns."""
    points = face.landmarks[:, :2] * np.array([width, height], np.float32)

    def distance(a: int, b: int) -> float:
        return float(np.linalg.norm(points[a] - points[b]))

    return {
        "blendshapes": face.blendshapes.astype(np.float64),
        "rotations": Rotation.from_matrix(face.matrix[:3, :3]).as_rotvec(),
        "translations": face.matrix[:3, 3],
        "eye_distance": distance(*OUTER_EYES),
        "lip_gap": float(np.mean([distance(a, b) for a, b in INNER_LIPS])),
        "mouth_width": distance(*MOUTH_CORNERS),
        "boxes": np.array(face.box),
    }


def most_faces(path: str | Path, model: Path) -> int:
    """How many faces are seen at once in a few pictures spread over a video."""
    return max((len(faces) for _, faces in look(path, model)), default=0)


def _same_face(
    seen: list[Face],
    last: tuple[float, np.ndarray, float] | None,
    time: float,
    meant: tuple[float, float] | None,
) -> Face | None:
    """The face to follow: near where it was, else the one that is meant, else the largest."""
    if not seen:
        return None
    if last is not None and time - last[0] <= LOST_AFTER:
        when, where, width = last
        near = min(seen, key=lambda f: float(np.linalg.norm(f.centre - where)))
        frames = max(1.0, (time - when) * 25)
        # One face alone may jump (a cut in the video): what is bad is told from its motion later.
        moved = float(np.linalg.norm(near.centre - where))
        return near if len(seen) == 1 or moved <= MAX_STEP * width * frames else None
    if meant is not None:
        return min(seen, key=lambda f: float(np.linalg.norm(f.centre - np.array(meant))))
    return max(seen, key=lambda f: f.size)
