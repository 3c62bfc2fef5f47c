# SPDX-License-Identifier: GPL-3.0-or-later
"""From how a tracked face differs from itself at rest to ARKit's expression, by a linear map learned on renders.

The tracker's blendshapes hardly answer to frowns and lowered brows, and a resting smile cannot be told from the shape
of a mouth. Given one picture of the person at rest, both show: in the landmarks, turned to the front, and in the
scores. `flame_assets/build_face_map.py` renders the bundled head in many identities and styles, and fits the map.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ..array_file import read_arrays
from ..errors import VideoError
from .face_track import look
from .landmarker import Face

POINTS = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191),
    *(263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
    *(33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    *(276, 283, 282, 295, 285, 300, 293, 334, 296, 336, 46, 53, 52, 65, 55, 70, 63, 105, 66, 107),
    *(1, 4, 5, 6, 168, 197, 195, 2, 98, 327, 10, 152, 234, 454, 50, 280, 205, 425),
)
"""Landmarks of lips, eyes, brows, nose, outline and cheeks."""
FEATURES = 3 * len(POINTS)
LEFT_EYE, RIGHT_EYE = 33, 263
"""Outer corners (of the picture's left and right), whose middle and distance are origin and unit."""
MAP_FILE = Path(__file__).with_name("face_map.npz")
LARGEST_MAP = 1 << 22
KEPT = ("eyeBlink", "eyeLook", "mouthClose", "mouthLowerDown", "mouthUpperUp")
"""Channels that lid curves, gaze and the measured lip gap tell better; names begin so."""


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
    """The resting face in a picture or a short video (PyAV reads both): the median over a few of its frames.

    Raises:
        VideoError: it cannot be read; `video_no_face`.
    """
    scores, shapes, turns = [], [], []
    for frame, faces in look(path, model):
        if faces:
            face = max(faces, key=lambda f: f.size)
            height, width = frame.image.shape[:2]
            scores.append(face.blendshapes)
            shapes.append(face_shape(face, width, height))
            turns.append(Rotation.from_matrix(face.matrix[:3, :3]).as_rotvec())
    if not scores:
        raise VideoError(
            f"No face was found in “{Path(path).name}”, which is to show the person at rest.", "video_no_face"
        )
    return RestFace(np.median(scores, axis=0), np.median(shapes, axis=0), np.median(turns, axis=0))


@cache
def _map() -> np.ndarray:
    """(52 + FEATURES, 50): expression per difference of a score or coordinate from rest."""
    matrix = read_arrays(MAP_FILE, ("matrix",), LARGEST_MAP)["matrix"].astype(np.float64)
    if matrix.shape != (52 + FEATURES, 50):
        raise ValueError("the face map does not fit the landmarks")
    return matrix


def mapped_expression(blendshapes: np.ndarray, shapes: np.ndarray, rest: RestFace) -> np.ndarray:
    """ARKit coefficients (T, 50), 0 to 1, of scores (T, 52) and shapes (T, FEATURES)."""
    difference = np.concatenate([blendshapes - rest.blendshapes, shapes - rest.shape], axis=1)
    return np.clip(difference @ _map(), 0, 1)
