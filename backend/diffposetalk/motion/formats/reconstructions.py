# SPDX-License-Identifier: GPL-3.0-or-later
"""FLAME coefficients of face reconstruction tools (SPECTRE, EMOCA, DECA, MICA, SMIRK, 6DRepNet) as motion clips.

Arrays are found by the names these tools use, in one `.npz` a clip:

| what | names | shapes |
| --- | --- | --- |
| expression | exp, expcode, expression, expression_params | (T, 50) or (T, 100): the first 50 are taken |
| head and jaw together | pose, posecode | (T, 6): axis-angle, radians, head then jaw |
| jaw | jaw, jaw_pose, jaw_params | (T, 3) axis-angle; (T,) or (T, 1) pitch; (T, 3, 3) matrices |
| head | head, head_pose, global_pose, global_orient, pose_params | (T, 3) axis-angle; (T, 3, 3) matrices |
| head in degrees | head_euler_degrees, or pitch, yaw and roll | (T, 3) as pitch, yaw, roll; (T,) each |
| 6D rotation | head_6d, jaw_6d, with rotation_6d = "columns" or "rows" | (T, 6) |
| identity | shape, shapecode, shape_params | (100 or more,), or (T, 100 or more): the mean over T |
| rate | fps | a number |

A dimension of 1 after the first is dropped. A head or jaw array of its own takes the place of that part of `pose`,
as the paper replaces SPECTRE's head rotation by 6DRepNet's. The head may also be in a second file (6DRepNet's
output): `.npy` with (T, 3, 3) matrices or (T, 3) Euler angles in degrees, or `.npz` with the names above. So may the
identity (MICA's `identity.npy`): `.npy`, or `.npz` with one of its names. Tools that write a folder of small files
for every frame (EMOCA's --save_codes) need them stacked into such an `.npz` first.

Rotations are FLAME's: y up, z out of the face, x to its left. 6DRepNet's matrices are taken as they are, as the
paper's data has them; its Euler angles are the ones its own function makes of such a matrix, R = Rz Ry Rx of pitch
(x), yaw (y), roll (z). 6D rotations are ambiguous: 6DRepNet keeps the matrix's first two columns, PyTorch3D its
first two rows; so the file must say which. What else could mean two things is refused with the reason: `pose` of
three columns (head or jaw?), angles in degrees under a name for radians, a frame rate that is nowhere stated.

Expressions and jaw are smoothed with a Savitzky-Golay filter of 5 frames and order 2, the head of 7 (paper section
3.1), unless the file is one of our own clips.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ...config import EXPRESSION_DIM, FPS, SHAPE_DIM
from ...errors import MotionError, refusing
from ...files.array_file import read_arrays
from ..clip import MAX_BYTES, MotionClip, load_motion
from ..smoothing import continuous, savitzky_golay
from .refusal import refused

_ambiguous = partial(refused, kind="motion_ambiguous")

RATES = (25.0, 30.0, 24.0, 50.0, 60.0, 29.97, 23.976, 59.94, 20.0, 15.0, 100.0, 120.0)
RATE_TOLERANCE = 0.015
"""Share by which frames over seconds of sound may miss a usual rate."""
MAX_EXPRESSION = 100.0
"""Standard deviations of FLAME's components; trackers stay within ten."""
SMOOTH_FACE, SMOOTH_HEAD = 5, 7
"""Frames of the filters, at 25 to 30 frames a second."""

_EXPRESSION = ("exp", "expcode", "expression", "expression_params")
_BOTH = ("pose", "posecode")
_JAW = ("jaw", "jaw_pose", "jaw_params")
_HEAD = ("head", "head_pose", "global_pose", "global_orient", "pose_params")
_SHAPE = ("shape", "shapecode", "shape_params")
_OTHER = (
    "head_euler_degrees",
    "pitch",
    "yaw",
    "roll",
    "head_6d",
    "jaw_6d",
    "rotation_6d",
    "fps",
    "basis",
    "",
)
_NAMES = frozenset((*_EXPRESSION, *_BOTH, *_JAW, *_HEAD, *_SHAPE, *_OTHER))


def load_reconstruction(
    path: str | Path,
    *,
    fps: float | None = None,
    seconds: float | None = None,
    head: str | Path | None = None,
    identity: str | Path | None = None,
    smooth: bool = True,
) -> MotionClip:
    """A reconstruction as a motion clip in FLAME's basis at its own frame rate; our own clips as they are.

    Args:
        path: .npz, see the module's description.
        fps: rate of a file that does not state it.
        seconds: length of the clip's sound, by which the rate is worked out where neither is known.
        head: second file with the head's rotation.
        identity: second file with the identity.
        smooth: filter as the paper does.

    Returns:
        The clip; its provenance says where the head's rotation came from (`head_rotation`: false where there is
        none), and which rate was assumed.

    Raises:
        MotionError: `motion_missing`, `motion_format`, `motion_ambiguous`, `motion_rate`.
    """
    path = Path(path)
    arrays = _arrays(path)
    if "basis" in arrays and head is None and identity is None:
        return load_motion(path)
    exp = _expression(path, _needed(path, arrays, _EXPRESSION, "expression"))
    count = len(exp)
    both = _one(path, arrays, _BOTH, "head and jaw rotation")
    pose = np.zeros((count, 6)) if both is None else _pose(path, both, count)
    jaw = _jaw(path, arrays, count)
    if jaw is None and both is None:
        raise refused(path, "has no rotation of the jaw: “pose” (T, 6) or “jaw” (T, 3) is needed.")
    if jaw is not None:
        pose[:, 3:] = jaw
    turned = _head(path, arrays, count)
    if head is not None:
        turned = _head_file(Path(head), count)
    if turned is not None:
        pose[:, :3] = turned
    for part in (slice(0, 3), slice(3, 6)):
        if np.linalg.norm(pose[:, part], axis=1).max() > 2 * np.pi:
            raise _ambiguous(path, "has rotations of more than a turn; degrees go under head_euler_degrees.")
        pose[:, part] = continuous(pose[:, part])
    rate, stated = _rate(path, arrays, count, fps, seconds)
    if smooth:
        exp = savitzky_golay(exp, SMOOTH_FACE)
        pose[:, 3:] = savitzky_golay(pose[:, 3:], SMOOTH_FACE)
        pose[:, :3] = savitzky_golay(pose[:, :3], SMOOTH_HEAD)
    provenance = {
        "source": "face reconstruction",
        "file": path.name,
        "fps": stated,
        "head_rotation": turned is not None or both is not None,
    }
    if identity is None:
        shape = _identity(path, _one(path, arrays, _SHAPE, "identity"))
    else:
        shape = _identity(Path(identity), _alone(Path(identity), _SHAPE, "identity"))
    return MotionClip(exp.astype(np.float32), pose.astype(np.float32), rate, "flame", shape, (), provenance)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise MotionError(f"The motion file “{path}” does not exist.", "motion_missing")
    with refusing(refused(path, "is not a file of plain NumPy arrays (.npz), or damaged.")):
        return read_arrays(path, _NAMES, MAX_BYTES)


def _one(
    path: Path, arrays: Mapping[str, np.ndarray], names: tuple[str, ...], what: str
) -> np.ndarray | None:
    """The array under the one of these names that the file has, if it has one."""
    present = [name for name in names if name in arrays]
    if len(present) > 1:
        raise _ambiguous(path, f"has the {what} twice: {' and '.join(present)}. Keep the one that is meant.")
    return _finite(path, present[0], arrays[present[0]]) if present else None


def _needed(path: Path, arrays: Mapping[str, np.ndarray], names: tuple[str, ...], what: str) -> np.ndarray:
    array = _one(path, arrays, names, what)
    if array is None:
        raise refused(path, f"holds no {what}: an array {', '.join(names[:-1])} or {names[-1]} is needed.")
    return array


def _alone(path: Path, names: tuple[str, ...], what: str) -> np.ndarray:
    """The array of a file of its own: the one of a `.npy`, or of a `.npz` the one of these names."""
    arrays = _arrays(path)
    return _finite(path, "it", arrays[""]) if "" in arrays else _needed(path, arrays, names, what)


def _finite(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise refused(path, f": {name} does not hold numbers.")
    array = np.asarray(array, np.float64)
    if array.size == 0:
        raise refused(path, f": {name} is empty.")
    if not np.isfinite(array).all():
        raise refused(path, f": {name} holds values that are not finite (frames without a face?).")
    # (T, 1, 50), as tools write that keep a batch of one.
    singles = tuple(axis for axis in range(1, array.ndim - 1) if array.shape[axis] == 1)
    return array.squeeze(singles) if singles else array


def _expression(path: Path, exp: np.ndarray) -> np.ndarray:
    if exp.ndim != 2 or exp.shape[1] not in (EXPRESSION_DIM, 100):
        raise refused(
            path, f"has expressions of the shape {exp.shape}; (frames, 50) or (frames, 100) is needed."
        )
    if len(exp) < 2:
        raise refused(path, "has a single frame.")
    if np.abs(exp).max() > MAX_EXPRESSION:
        raise refused(path, f"has expressions up to {np.abs(exp).max():.0f}, which FLAME's never reach.")
    return exp[:, :EXPRESSION_DIM]


def _pose(path: Path, pose: np.ndarray, count: int) -> np.ndarray:
    if pose.shape == (count, 3):
        raise _ambiguous(
            path,
            ": pose has three columns, which may be the head's or the jaw's rotation. "
            "Name it head_pose or jaw_pose.",
        )
    if pose.shape != (count, 6):
        raise refused(path, f": pose has the shape {pose.shape}; ({count}, 6) is needed: head, then jaw.")
    return pose.copy()


def _jaw(path: Path, arrays: Mapping[str, np.ndarray], count: int) -> np.ndarray | None:
    jaw = _one(path, arrays, (*_JAW, "jaw_6d"), "jaw rotation")
    if jaw is None:
        return None
    if "jaw_6d" in arrays:
        return _six(path, arrays, jaw, "jaw_6d", count)
    if jaw.shape in ((count,), (count, 1)):
        return np.concatenate([jaw.reshape(count, 1), np.zeros((count, 2))], axis=1)
    return _rotation(path, jaw, "jaw", count)


def _head(path: Path, arrays: Mapping[str, np.ndarray], count: int) -> np.ndarray | None:
    angles = [name for name in ("pitch", "yaw", "roll") if name in arrays]
    if angles and len(angles) < 3:
        raise refused(path, f"has {' and '.join(angles)} but not all of pitch, yaw, roll.")
    single = (*_HEAD, "head_euler_degrees", "head_6d")
    if angles and any(name in arrays for name in single):
        raise _ambiguous(path, "has the head's rotation twice.")
    if angles:
        columns = [_finite(path, name, arrays[name]).reshape(-1) for name in ("pitch", "yaw", "roll")]
        if any(len(column) != count for column in columns):
            raise refused(path, f": pitch, yaw and roll do not have {count} frames.")
        return euler_degrees(np.stack(columns, axis=1))
    head = _one(path, arrays, single, "head rotation")
    if head is None:
        return None
    if "head_6d" in arrays:
        return _six(path, arrays, head, "head_6d", count)
    if "head_euler_degrees" in arrays:
        if head.shape != (count, 3):
            raise refused(path, f": head_euler_degrees has the shape {head.shape}, not ({count}, 3).")
        return euler_degrees(head)
    return _rotation(path, head, "head", count)


def _head_file(path: Path, count: int) -> np.ndarray:
    """The head's rotation (T, 3) out of a file of its own; one that is a frame or two longer is cut."""
    arrays = _arrays(path)
    if "" in arrays:
        array = _finite(path, "it", arrays[""])
        cut = _same_length(path, array, count)
        if cut.shape == (count, 3):
            if np.abs(cut).max() <= np.pi:
                raise _ambiguous(
                    path,
                    "has three columns that may be degrees or radians; save it as .npz under the name "
                    "head_euler_degrees or head_pose.",
                )
            return euler_degrees(cut)
        return _rotation(path, cut, "head", count)
    turned = _head(
        path, {k: v if v.ndim == 0 else _same_length(path, v, count) for k, v in arrays.items()}, count
    )
    if turned is None:
        both = _needed(path, arrays, _BOTH, "head rotation")
        return _pose(path, _same_length(path, both, count), count)[:, :3]
    return turned


def _same_length(path: Path, array: np.ndarray, count: int) -> np.ndarray:
    if not count <= len(array) <= count + 2:
        raise refused(path, f"has {len(array)} frames, the face {count}.")
    return array[:count]


def euler_degrees(angles: np.ndarray) -> np.ndarray:
    """Axis-angle (T, 3) of 6DRepNet's pitch, yaw, roll in degrees (T, 3): R = Rz(roll) Ry(yaw) Rx(pitch)."""
    return Rotation.from_euler("xyz", angles, degrees=True).as_rotvec()


def _rotation(path: Path, array: np.ndarray, what: str, count: int) -> np.ndarray:
    """Axis-angle (T, 3) of axis-angle vectors or matrices."""
    if array.shape == (count, 6):
        raise _ambiguous(
            path,
            f": the {what} has six columns. A 6D rotation goes under {what}_6d, with rotation_6d saying "
            "whether they are the matrix's columns (6DRepNet) or rows (PyTorch3D).",
        )
    if array.shape == (count, 3):
        return array.copy()
    if array.shape == (count, 3, 3):
        return _of_matrices(path, array)
    raise refused(
        path,
        f": the {what}'s rotation has the shape {array.shape}; ({count}, 3) or ({count}, 3, 3) is needed.",
    )


def _of_matrices(path: Path, matrices: np.ndarray) -> np.ndarray:
    off = np.abs(matrices @ matrices.transpose(0, 2, 1) - np.eye(3)).max()
    if off > 0.05 or (np.linalg.det(matrices) < 0.5).any():
        raise refused(path, "has matrices that are no rotations.")
    return Rotation.from_matrix(matrices).as_rotvec()


def _six(path: Path, arrays: Mapping[str, np.ndarray], six: np.ndarray, name: str, count: int) -> np.ndarray:
    order = str(arrays["rotation_6d"]) if "rotation_6d" in arrays else ""
    if order not in ("columns", "rows"):
        raise _ambiguous(
            path,
            f": {name} needs rotation_6d, “columns” (6DRepNet) or “rows” (PyTorch3D): the same six "
            "numbers are opposite rotations.",
        )
    if six.shape != (count, 6):
        raise refused(path, f": {name} has the shape {six.shape}, not ({count}, 6).")
    first, second = six[:, :3], six[:, 3:]
    length = np.linalg.norm(first, axis=1, keepdims=True)
    third = np.cross(first, second)
    if (length < 1e-6).any() or (np.linalg.norm(third, axis=1) < 1e-6).any():
        raise refused(path, f": {name} holds numbers that are no rotations.")
    x = first / length
    z = third / np.linalg.norm(third, axis=1, keepdims=True)
    matrices = np.stack([x, np.cross(z, x), z], axis=2)
    return _of_matrices(path, matrices if order == "columns" else matrices.transpose(0, 2, 1))


def _identity(path: Path, shape: np.ndarray | None) -> np.ndarray | None:
    """The first 100 coefficients, the mean over frames."""
    if shape is None:
        return None
    if shape.ndim == 2:
        shape = shape.mean(axis=0)
    if shape.ndim != 1 or len(shape) < SHAPE_DIM:
        raise MotionError(f"“{path.name}” has an identity of {shape.shape} values; at least 100 are needed.")
    return shape[:SHAPE_DIM].astype(np.float32)


def _rate(
    path: Path, arrays: Mapping[str, np.ndarray], count: int, fps: float | None, seconds: float | None
) -> tuple[float, str]:
    """Frames a second, and how they are known."""
    if "fps" in arrays:
        value = arrays["fps"]
        if value.size != 1 or value.dtype.kind not in "fiu" or not 1 <= float(value.reshape(())) <= 1000:
            raise refused(path, ": fps is not a frame rate.", "motion_rate")
        return float(value.reshape(())), "stated"
    if fps is not None:
        if not 1 <= fps <= 1000:
            raise MotionError(f"A frame rate of {fps:g} cannot be.", "motion_rate")
        return fps, "given"
    if seconds is None:
        if {"exp", "pose"} <= arrays.keys():
            return FPS, "assumed, as the released code's files"
        raise refused(path, "does not state its frame rate (fps); give it.", "motion_rate")
    measured = count / seconds
    # A clip's last frame may be missing or one too many.
    slack = max(RATE_TOLERANCE, 1.5 / count)

    def off(rate: float) -> float:
        return abs(measured / rate - 1)

    # Rates that the clip is too short to tell apart (29.97 and 30 differ by a frame in 40 s): the usual one.
    known = max(0.0005, 0.5 / count)
    best = min(RATES, key=lambda rate: (int(off(rate) / known), RATES.index(rate)))
    if off(best) > slack:
        raise refused(
            path,
            f"has {count} frames for {seconds:.2f} s of sound, {measured:.2f} a second: no usual rate. "
            "State it (fps), or check that the two belong together.",
            "motion_rate",
        )
    return best, "from the sound's length"
