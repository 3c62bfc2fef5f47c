# SPDX-License-Identifier: GPL-3.0-or-later
"""From how a tracked face differs from itself at rest to ARKit's expression, by linear maps learned on renders.

The tracker's blendshapes hardly answer to frowns and lowered brows, and a resting smile cannot be told from the shape
of a mouth. Given one picture of the person at rest, both show: in the landmarks, turned to the front, and in the
scores. What is held for seconds shows more surely than what moves: a mean over frames has little noise, but another
frame's lips and lids in it. So each has a map of its own. `flame_assets/build_face_map.py` renders the bundled head in
many identities and styles, and fits them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice, repeat
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ..config import FPS
from ..errors import VideoError
from ..files.array_file import read_arrays
from .face_track import most_faces
from .landmarker import BROWS, EYES, LIPS, Face, FaceTracker, find_tracker
from .video import read_frames

POINTS = (
    *LIPS,
    *EYES,
    *BROWS,
    *(1, 4, 5, 6, 168, 197, 195, 2, 98, 327, 10, 152, 234, 454, 50, 280, 205, 425),
    *(468, 473),
)
"""Landmarks of lips, eyes, brows, nose, outline, cheeks and pupils."""
FEATURES = 3 * len(POINTS)
LEFT_EYE, RIGHT_EYE = 33, 263
"""Outer corners (of the picture's left and right), whose middle and distance are origin and unit."""
MAP_FILE = Path(__file__).with_name("face_map.npz")
LARGEST_MAP = 1 << 22
KEPT = ("eyeBlink", "mouthClose")
"""Channels that lid curves and the measured lip gap tell better; names begin so."""
GAZE = (
    ("eyeLookOutLeft", "eyeLookInLeft"),
    ("eyeLookInRight", "eyeLookOutRight"),
    ("eyeLookUpLeft", "eyeLookDownLeft"),
    ("eyeLookUpRight", "eyeLookDownRight"),
)
"""Channels of looking to the left and to the right (both eyes), then up and down."""
OPPOSITES = (*GAZE, ("mouthLeft", "mouthRight"))
"""Channels of which only one is above zero: the maps give the first less the second, and the second less the first."""
SHUT = 0.15
"""Blink from which on a lid hides where the eye looks and how far it is squinted."""
REST_FRAMES = 100
"""Most frames of a video at rest that are looked at."""
SETTLING_FRAMES = 25
"""Frames that a picture at rest is shown for."""
HELD_FRAMES = 150
"""Frames (6 s at 25 a second) over whose mean an expression counts as held."""


def face_shape(face: Face, width: int, height: int) -> np.ndarray:
    """The landmarks (FEATURES,) of a face turned to the front, in distances between the outer eye corners."""
    points = face.landmarks.astype(np.float64) * [width, -height, -width]
    turn = face.matrix[:3, :3] / np.linalg.norm(face.matrix[:3, :3], axis=0)
    points = points @ turn
    middle = (points[LEFT_EYE] + points[RIGHT_EYE]) / 2
    unit = max(float(np.linalg.norm(points[LEFT_EYE] - points[RIGHT_EYE])), 1e-6)
    return ((points - middle) / unit)[list(POINTS)].reshape(-1).astype(np.float32)


@dataclass(frozen=True)
class RestFace:
    """A person at rest: blendshape scores (52,), shape (FEATURES,), and how the head is held (3,), axis-angle."""

    blendshapes: np.ndarray
    shape: np.ndarray
    rotation: np.ndarray | None = None


def read_rest_face(path: str | Path, model: str | Path | None = None) -> RestFace:
    """The resting face in a picture or a short video (PyAV reads both): the median over its first frames.

    They are followed as a performance's are: the tracker reads a face that it follows otherwise than a single picture.

    Raises:
        VideoError: it cannot be read; `video_no_face`.
    """
    seen = []
    tracker_file = find_tracker(model)
    with FaceTracker(tracker_file, max(1, most_faces(path, tracker_file))) as tracker:
        for number, image in enumerate(_rest_pictures(path)):
            if faces := tracker.faces(image, number / FPS):
                face = max(faces, key=lambda f: f.size)
                height, width = image.shape[:2]
                turn = Rotation.from_matrix(face.matrix[:3, :3]).as_rotvec()
                seen.append((face.blendshapes, face_shape(face, width, height), turn))
    if not seen:
        raise VideoError(
            f"No face was found in “{Path(path).name}”, which is to show the person at rest.", "video_no_face"
        )
    return RestFace(*(np.median(values, axis=0) for values in zip(*seen, strict=True)))


def _rest_pictures(path: str | Path) -> Iterator[np.ndarray]:
    """The first pictures of a video; a single one again and again, until the tracker has settled on it."""
    shown, image = 0, None
    for frame in islice(read_frames(path), REST_FRAMES):
        shown, image = shown + 1, frame.image
        yield image
    if image is not None:
        yield from repeat(image, max(0, SETTLING_FRAMES - shown))


@cache
def _maps() -> tuple[np.ndarray, np.ndarray]:
    """Two of (52 + FEATURES, 50), held and moving: expression per difference of a score or coordinate."""
    arrays = read_arrays(MAP_FILE, ("held", "moving"), LARGEST_MAP)
    held, moving = (arrays[name].astype(np.float64) for name in ("held", "moving"))
    if held.shape != (52 + FEATURES, 50) or moving.shape != held.shape:
        raise ValueError("the face maps do not fit the landmarks")
    return held, moving


def mapped_expression(
    blendshapes: np.ndarray, shapes: np.ndarray, rest: RestFace, lids_open: np.ndarray
) -> np.ndarray:
    """ARKit coefficients (T, 50), 0 to 1, of scores (T, 52) and shapes (T, FEATURES) at 25 frames a second.

    Args:
        lids_open: (T,) frames that tell what is held: no blink.
    """
    held, moving = _maps()
    features = np.concatenate([blendshapes, shapes], axis=1).astype(np.float64)
    mean = running_mean(features, lids_open if lids_open.any() else np.ones(len(features), bool), HELD_FRAMES)
    at_rest = np.concatenate([rest.blendshapes, rest.shape])
    return np.clip((mean - at_rest) @ held + (features - mean) @ moving, 0, 1).astype(np.float32)


def running_mean(values: np.ndarray, counted: np.ndarray, window: int) -> np.ndarray:
    """Mean (T, F) of those of the values (T, F) that are `counted` (T,) in a window around each frame.

    Windows without a counted frame take the mean of all of them.
    """
    first = np.clip(np.arange(len(values)) - window // 2, 0, None)
    last = np.clip(np.arange(len(values)) + window // 2 + 1, None, len(values))
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values * counted[:, None], axis=0)])
    counts = np.concatenate([[0], np.cumsum(counted)])
    number = counts[last] - counts[first]
    mean = (sums[last] - sums[first]) / np.maximum(number, 1)[:, None]
    mean[number == 0] = values[counted].mean(axis=0)
    return mean
