# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion clips: expression coefficients, head rotation and jaw over time, their file format and their vectors."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..config import EXPRESSION_DIM, FPS, SHAPE_DIM
from ..errors import MotionError, refusing
from ..files.array_file import read_arrays
from ..files.whole_file import whole_file

LARGEST = 1e4
"""Of coefficients and radians; expressions are a few units, and squares of larger ones soon are not numbers."""
MAX_BYTES = 1 << 30
"""Of a motion file's arrays; a day at 25 frames a second has half of it."""
MOTION_SUFFIXES = (".npz", ".csv", ".json")
"""Of the files that hold motion in one format or another (`formats`)."""


@dataclass
class MotionClip:
    """Face motion.

    Attributes:
        exp: (T, 50) float32 expression coefficients in `basis` (ARKit: 0 to 1).
        pose: (T, 6) float32 axis-angle radians, 3 head rotation then 3 jaw.
        fps: frames per second.
        basis: `arkit` or `flame`.
        shape: (100,) identity coefficients of the speaker, if known.
        expression_names: names of the 50 coefficients, if the basis names them.
        provenance: where the motion comes from; generated motion has `synthetic: true`. `unseen` lists stretches,
            [start, stop] in seconds, that were not captured but filled in.
        translation: (T, 3) metres of the head from its mean place, in the head's axes (captured motion only).
    """

    exp: np.ndarray
    pose: np.ndarray
    fps: float = FPS
    basis: str = "arkit"
    shape: np.ndarray | None = None
    expression_names: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    translation: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.exp)

    def save(self, path: str | Path) -> Path:
        """Write the `.npz` atomically: the file is whole or not there.

        Raises:
            MotionError: the folder cannot be written or is full.
        """
        path = Path(path)
        arrays: dict[str, Any] = {
            "exp": self.exp.astype(np.float32),
            "pose": self.pose.astype(np.float32),
            "fps": np.float32(self.fps),
            "basis": np.array(self.basis),
            "provenance": np.array(json.dumps(self.provenance, ensure_ascii=False)),
        }
        if self.shape is not None:
            arrays["shape"] = self.shape.astype(np.float32)
        if self.translation is not None:
            arrays["translation"] = self.translation.astype(np.float32)
        if self.expression_names:
            arrays["expression_names"] = np.array(self.expression_names)
        with whole_file(path, MotionError, "motion_write") as file:
            np.savez_compressed(file, **arrays)
        return path


def load_motion(path: str | Path) -> MotionClip:
    """Read a motion clip: ours, or the released code's `.npz` of `exp` and `pose` (taken as FLAME basis, 25 fps).

    Raises:
        MotionError: missing, not such a file, wrong shapes, or values that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise MotionError(f"The motion file {str(path)!r} does not exist.", "motion_missing")
    foreign = f"{path.name!r} is not a motion file (.npz with exp and pose)."
    with refusing(MotionError(foreign, "motion_format")):
        arrays = read_arrays(path, MotionClip.__dataclass_fields__, MAX_BYTES)
    if "exp" not in arrays or "pose" not in arrays:
        raise MotionError(
            f"{path.name!r} holds no motion: arrays 'exp' and 'pose' are needed.", "motion_format"
        )
    with refusing(MotionError(f"{path.name!r} holds arrays of the wrong kind.", "motion_format")):
        exp = np.asarray(arrays["exp"], dtype=np.float32)
        pose = np.asarray(arrays["pose"], dtype=np.float32)
        fps = float(arrays.get("fps", FPS))
        shape = np.asarray(arrays["shape"], dtype=np.float32).reshape(-1) if "shape" in arrays else None
        provenance = json.loads(str(arrays["provenance"])) if "provenance" in arrays else {}
        moved = np.asarray(arrays["translation"], dtype=np.float32) if "translation" in arrays else None
    if exp.ndim != 2 or exp.shape[1] != EXPRESSION_DIM or pose.shape != (len(exp), 6) or len(exp) == 0:
        raise MotionError(
            f"{path.name!r} has shapes {exp.shape} and {pose.shape}; (frames, 50) and (frames, 6) are needed.",
            "motion_format",
        )
    if shape is not None and shape.shape != (SHAPE_DIM,):
        raise MotionError(f"{path.name!r} has a shape code of {shape.size} values, not 100.", "motion_format")
    if moved is not None and (moved.shape != (len(exp), 3) or not np.isfinite(moved).all()):
        raise MotionError(f"{path.name!r} has a translation that is not (frames, 3).", "motion_format")
    if not (np.isfinite(exp).all() and np.isfinite(pose).all()) or not 1.0 <= fps <= 1000.0:
        raise MotionError(f"{path.name!r} holds values that are not finite.", "motion_format")
    if max(np.abs(exp).max(), np.abs(pose).max()) > LARGEST:
        raise MotionError(f"{path.name!r} holds values that no face has (over {LARGEST:g}).", "motion_format")
    basis = str(arrays.get("basis", "flame"))
    if basis not in ("arkit", "flame"):
        raise MotionError(f"{path.name!r} is in an unknown basis {basis!r}.", "motion_format")
    names = tuple(str(n) for n in np.ravel(arrays.get("expression_names", ())))
    provenance = provenance if isinstance(provenance, dict) else {}
    return MotionClip(exp, pose, fps, basis, shape, names, provenance, moved)


def resample(clip: MotionClip, fps: float = FPS) -> MotionClip:
    """The clip at another frame rate: rotations by spherical, coefficients by linear interpolation."""
    if abs(clip.fps - fps) < 1e-6 or len(clip) < 2:
        return clip
    from scipy.spatial.transform import Rotation, Slerp

    times = np.arange(len(clip)) / clip.fps
    wanted = np.arange(int(times[-1] * fps + 1e-6) + 1) / fps
    wanted = np.minimum(wanted, times[-1])
    exp = np.stack([np.interp(wanted, times, c) for c in clip.exp.T], axis=1)
    turned = [Slerp(times, Rotation.from_rotvec(clip.pose[:, i : i + 3]))(wanted).as_rotvec() for i in (0, 3)]
    moved = clip.translation
    if moved is not None:
        moved = np.stack([np.interp(wanted, times, c) for c in moved.T], axis=1).astype(np.float32)
    pose = np.concatenate(turned, axis=1).astype(np.float32)
    return replace(clip, exp=exp.astype(np.float32), pose=pose, fps=fps, translation=moved)


def to_vectors(clip: MotionClip, motion_dim: int) -> np.ndarray:
    """Motion vectors x of the paper, (T, motion_dim): expression, head rotation (if 54), jaw pitch."""
    head = clip.pose[:, :3] if motion_dim == EXPRESSION_DIM + 4 else clip.pose[:, :0]
    return np.concatenate([clip.exp, head, clip.pose[:, 3:4]], axis=1).astype(np.float32)


def from_vectors(
    vectors: np.ndarray, jaw_rest: tuple[float, float] = (0.0, 0.0)
) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of `to_vectors`: (exp (T, 50), pose (T, 6)).

    Args:
        jaw_rest: the jaw's rotation about y and z, which the vectors lack (radians); the head's is then zero.
    """
    exp = vectors[:, :EXPRESSION_DIM]
    pose = np.zeros((len(vectors), 6), np.float32)
    pose[:, 3] = vectors[:, -1]
    pose[:, 4:] = jaw_rest
    if vectors.shape[1] == EXPRESSION_DIM + 4:
        pose[:, :3] = vectors[:, EXPRESSION_DIM : EXPRESSION_DIM + 3]
    return exp.astype(np.float32), pose
