# SPDX-License-Identifier: GPL-3.0-or-later
"""MediaPipe's face landmarker: landmarks, 52 blendshapes and the head's position of the faces in a picture.

Its model file (`face_landmarker.task`, Apache-2.0) is named in a call or by the environment variable
DIFFPOSETALK_TRACKER, or lies in the user's data folder, where `tracker_file` puts it when asked to.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DAMAGED, VideoError, refusing
from ..files.user_folder import user_data_folder

_cannot_run = partial(VideoError, kind="tracker_extra")
_not_the_model = partial(VideoError, kind="tracker_format")

ENVIRONMENT_VARIABLE = "DIFFPOSETALK_TRACKER"
LANDMARKS = 478
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
        78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)  # fmt: skip
EYES = (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398,
        33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173)  # fmt: skip
BROWS = (276, 283, 282, 295, 285, 300, 293, 334, 296, 336, 46, 53, 52, 65, 55, 70, 63, 105, 66, 107)
SYSTEM_LIBRARIES = {"libGLESv2.so.2": "libgles2", "libEGL.so.1": "libegl1"}  # and Debian's packages

_load_failure: VideoError | None = None  # why MediaPipe could not be loaded; it is not tried again


@dataclass(frozen=True)
class Face:
    """One face in one picture.

    landmarks: (478, 3), x and y as shares of the picture's width and height, z in the units of x.
    blendshapes: (52,) scores 0 to 1 in the order of `FaceTracker.names`.
    matrix: (4, 4) from the canonical face (centimetres, y up, z out of the face) to camera space.
    """

    landmarks: np.ndarray
    blendshapes: np.ndarray
    matrix: np.ndarray

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the face as shares of the picture."""
        low, high = self.landmarks[:, :2].min(axis=0), self.landmarks[:, :2].max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @property
    def centre(self) -> np.ndarray:
        """(2,), shares of the picture."""
        left, top, right, bottom = self.box
        return np.array([(left + right) / 2, (top + bottom) / 2])

    @property
    def size(self) -> float:
        """Area, as a share of the picture's."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


def kept_tracker() -> Path:
    """Where this user's copy of the model file lies, or would."""
    return user_data_folder() / "face_landmarker.task"


def find_tracker(path: str | Path | None = None) -> Path:
    """The landmarker's model file: the one given, else that of DIFFPOSETALK_TRACKER, else the user's copy.

    Raises:
        VideoError: `tracker_missing`, `tracker_format`.
    """
    chosen = path or os.environ.get(ENVIRONMENT_VARIABLE)
    if not chosen and kept_tracker().is_file():
        chosen = kept_tracker()
    if not chosen:
        raise VideoError(
            "Tracking faces needs MediaPipe's model file face_landmarker.task. Have it fetched (diffposetalk style "
            "tracker --fetch), or get it from MediaPipe's page on the face landmarker and name it with --tracker "
            f"or in {ENVIRONMENT_VARIABLE}.",
            "tracker_missing",
        )
    file = Path(chosen)
    if not file.is_file():
        raise VideoError(f"There is no tracker model at “{file}”.", "tracker_missing")
    damaged = _not_the_model(f"“{file.name}” is not a MediaPipe model (.task), or damaged.")
    with refusing(damaged, zipfile.BadZipFile, *DAMAGED), zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    if "face_landmarks_detector.tflite" not in names or "face_blendshapes.tflite" not in names:
        raise _not_the_model(f"“{file.name}” is a MediaPipe model, but not the face landmarker's.")
    return file


def check_libraries() -> None:
    """Find out whether the shared libraries are there that MediaPipe needs.

    Before it is loaded: where that fails, the second try ends the process.

    Raises:
        VideoError: `tracker_extra`; it names the libraries, and the packages that bring them.
    """
    missing = {}
    for library, package in SYSTEM_LIBRARIES.items() if sys.platform == "linux" else ():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing[library] = package
    if missing:
        raise _cannot_run(
            f"MediaPipe cannot run here: the system lacks {' and '.join(missing)}. On Debian and Ubuntu: sudo apt "
            f"install {' '.join(missing.values())}. On other systems, install what brings these libraries."
        )


class FaceTracker:
    """The landmarker over the frames of one video, or (`still`) over single pictures; use with `with`.

    Args:
        model: the file that `find_tracker` gives.
        faces: most faces to look for. With 1, MediaPipe also steadies the landmarks over time.
        still: pictures have nothing to do with one another.

    Raises:
        VideoError: `tracker_extra` (MediaPipe is not installed or cannot run here), `tracker_format`.
    """

    def __init__(self, model: Path, faces: int = 1, still: bool = False) -> None:
        global _load_failure
        if importlib.util.find_spec("mediapipe") is not None:
            if _load_failure is not None:
                raise _load_failure
            check_libraries()
        # Its C++ parts write to standard error past Python's logging.
        os.environ.setdefault("GLOG_minloglevel", "2")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        try:
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision
        except ImportError as error:
            raise _cannot_run(
                'Tracking faces needs MediaPipe: pip install "diffposetalk[tracking]".'
            ) from error
        except OSError as error:
            _load_failure = _cannot_run(
                f"MediaPipe cannot run here: {error}. A library of the system is missing."
            )
            raise _load_failure from error
        mode = vision.RunningMode.IMAGE if still else vision.RunningMode.VIDEO
        options = vision.FaceLandmarkerOptions(
            # The bytes rather than the path: MediaPipe does not open all that Python does (letters beyond ASCII).
            base_options=BaseOptions(model_asset_buffer=model.read_bytes()),
            running_mode=mode,
            num_faces=faces,
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
        )
        try:
            self._landmarker: Any = vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError, OSError) as error:
            raise _not_the_model(
                f"MediaPipe cannot use “{model.name}”: {str(error).splitlines()[0][:200]}"
            ) from error
        self._mediapipe = mediapipe
        self._still = still
        self._clock = -1
        self.names: tuple[str, ...] = ()
        """Names of the blendshapes, known once a face has been seen."""

    def __enter__(self) -> FaceTracker:
        return self

    def __exit__(self, *_: object) -> None:
        self._landmarker.close()

    def faces(self, image: np.ndarray, seconds: float = 0.0) -> list[Face]:
        """The faces in a picture (H, W, 3) uint8 RGB; times of a video's frames must not go backwards."""
        # MediaPipe reads the memory as if rows followed each other without padding, and says nothing if not.
        picture = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image)
        )
        if self._still:
            seen = self._landmarker.detect(picture)
        else:
            self._clock = max(self._clock + 1, int(seconds * 1000))
            seen = self._landmarker.detect_for_video(picture, self._clock)
        faces = []
        for marks, shapes, matrix in zip(
            seen.face_landmarks, seen.face_blendshapes, seen.facial_transformation_matrixes, strict=False
        ):
            if not self.names:
                self.names = tuple(shape.category_name for shape in shapes)
            points = np.array([(m.x, m.y, m.z) for m in marks], np.float32)
            scores = np.array([shape.score for shape in shapes], np.float32)
            faces.append(Face(points, scores, np.array(matrix, np.float64)))
        return faces
