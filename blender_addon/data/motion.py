# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion clips as the backend writes them, and their resampling to the scene's frame rate. No bpy here."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import arkit
from .array_file import read_arrays
from .errors import UserError


@dataclass(frozen=True)
class Motion:
    """Face motion of T frames.

    exp: (T, E) expression coefficients in `basis`.
    head, jaw: (T, 3) axis-angle in radians, in FLAME's axes.
    fps: frames per second.
    expression_names: (E,) names of the coefficients; empty where the basis does not name them.
    provenance: where the motion comes from.
    translation: (T, 3) metres of the head from its mean place, in FLAME's axes; None where it is not known.
    """

    exp: np.ndarray
    head: np.ndarray
    jaw: np.ndarray
    fps: float
    basis: str
    expression_names: tuple[str, ...]
    provenance: dict[str, Any]
    translation: np.ndarray | None = None

    @property
    def has_head(self) -> bool:
        """Whether the head moves; a model without head pose writes zeros."""
        return bool(self.head.any())

    @property
    def seconds(self) -> float:
        return (len(self.exp) - 1) / self.fps


def read_motion(path: str | Path) -> Motion:
    """Read a motion clip (`.npz` with exp, pose, fps, basis, provenance).

    Raises:
        UserError: the file is missing, is no motion clip, is empty or holds numbers that are not finite.
    """
    name = Path(path).name
    data = read_arrays(path, "motion")
    if "exp" not in data or "pose" not in data:
        raise UserError(f"{name} is not a motion file: it lacks “exp” or “pose”.")
    exp, pose = data["exp"], data["pose"]
    numbers = exp.dtype.kind == "f" and pose.dtype.kind in "fiu"
    if not numbers or exp.ndim != 2 or pose.shape != (len(exp), 6) or not len(exp):
        raise UserError(f"{name} holds exp {exp.shape} and pose {pose.shape}; (T, 50) and (T, 6) are needed.")
    if not (np.isfinite(exp).all() and np.isfinite(pose).all()):
        raise UserError(f"{name} holds numbers that are not finite.")
    rate = np.asarray(data.get("fps", 25.0))
    if rate.size != 1 or rate.dtype.kind not in "fiu" or not np.isfinite(rate).all() or rate.item() <= 0:
        raise UserError(f"{name} does not say how many frames per second it has.")
    fps = float(rate.item())
    basis = str(data.get("basis", "flame"))  # files of the paper's own code say nothing and are FLAME's
    names = tuple(str(n) for n in np.ravel(data.get("expression_names", ())))
    if not names and basis == "arkit":
        names = arkit.EXPRESSION_NAMES
    if names and len(names) != exp.shape[1]:
        raise UserError(f"{name} names {len(names)} expressions and holds {exp.shape[1]}.")
    try:
        provenance = json.loads(str(data.get("provenance", "{}")))
    except (ValueError, RecursionError):
        provenance = {}
    if not isinstance(provenance, dict):
        provenance = {}
    moved = data.get("translation")
    if moved is not None and (
        moved.dtype.kind not in "fiu" or moved.shape != (len(exp), 3) or not np.isfinite(moved).all()
    ):
        raise UserError(f"{name} holds a translation that is not (T, 3).")
    return Motion(exp, pose[:, :3], pose[:, 3:], fps, basis, names, provenance, moved)


def write_motion(path: str | Path, motion: Motion) -> Path:
    """Write a motion clip as the backend reads it (`.npz`)."""
    arrays: dict[str, Any] = {
        "exp": motion.exp.astype(np.float32),
        "pose": np.concatenate([motion.head, motion.jaw], axis=1).astype(np.float32),
        "fps": np.float32(motion.fps),
        "basis": np.array(motion.basis),
        "provenance": np.array(json.dumps(motion.provenance, ensure_ascii=False)),
    }
    if motion.expression_names:
        arrays["expression_names"] = np.array(motion.expression_names)
    path = Path(path)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return path


def resample_motion(
    motion: Motion, fps: float, offset: float = 0.0, stretch: float = 1.0, subframe: float = 0.0
) -> Motion:
    """Resample to `fps` frames per second; frame n of the result shows the time n / fps.

    Expressions stay within their neighbours (a clamped coefficient stays clamped) and rotations stay rotations.

    Args:
        offset: seconds by which the motion comes later.
        stretch: factor of its length; 2 is half as fast.
        subframe: part of a frame by which it begins before its first frame.

    Returns:
        Motion of as many frames as the stretched one has; before its beginning and after its end it is held.
    """
    still = stretch == 1 and abs(offset) < 1e-9 and abs(subframe) < 1e-9
    if (fps == motion.fps and still) or len(motion.exp) == 1:
        return replace(motion, fps=fps)
    count = int(motion.seconds * stretch * fps + 1e-6) + 1
    at = ((np.arange(count) + subframe) / fps - offset) / stretch * motion.fps
    at = np.clip(at, 0, len(motion.exp) - 1)
    return replace(
        motion,
        exp=interpolate(motion.exp, at),
        head=_resample_rotation(motion.head, at),
        jaw=_resample_rotation(motion.jaw, at),
        fps=fps,
        translation=None if motion.translation is None else interpolate(motion.translation, at),
    )


def interpolate(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Monotone cubic interpolation (Fritsch and Butland 1984, on a uniform grid).

    Args:
        values: (T, C) samples at 0, 1, ... T-1; T >= 2.
        at: (N,) places in 0..T-1.

    Returns:
        (N, C); between two samples never above the higher or below the lower one.
    """
    values = values.astype(np.float64)
    step = np.diff(values, axis=0)
    slopes = np.zeros_like(values)
    slopes[0], slopes[-1] = step[0], step[-1]
    product = step[:-1] * step[1:]
    total = step[:-1] + step[1:]
    slopes[1:-1] = np.where(product > 0, 2 * product / np.where(total == 0, 1, total), 0)
    i = np.clip(np.floor(at).astype(int), 0, len(values) - 2)
    t = (at - i)[:, None]
    return (
        (1 + 2 * t) * (1 - t) ** 2 * values[i]
        + t * (1 - t) ** 2 * slopes[i]
        + t**2 * (3 - 2 * t) * values[i + 1]
        + t**2 * (t - 1) * slopes[i + 1]
    )


def _resample_rotation(rotations: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Resample (T, 3) axis-angle rotations: pitch alone as an angle, others through quaternions, which never jump."""
    if not rotations[:, 1:].any():
        return np.column_stack([interpolate(rotations[:, :1], at), np.zeros((len(at), 2))])
    return axis_angles(interpolate(continuous_quaternions(rotations), at))


def continuous_quaternions(rotations: np.ndarray) -> np.ndarray:
    """(T, 3) axis-angle to (T, 4) unit quaternions (w, x, y, z), each on the side of the one before."""
    rotations = rotations.astype(np.float64)
    angle = np.linalg.norm(rotations, axis=1, keepdims=True)
    quaternions = np.concatenate([np.cos(angle / 2), np.sinc(angle / (2 * np.pi)) / 2 * rotations], axis=1)
    agreement = np.sign((quaternions[1:] * quaternions[:-1]).sum(1))
    agreement[agreement == 0] = 1
    quaternions[1:] *= np.cumprod(agreement)[:, None]
    return quaternions


def axis_angles(quaternions: np.ndarray) -> np.ndarray:
    """(T, 4) quaternions of any length but zero to (T, 3) axis-angle, at most half a turn."""
    w, xyz = quaternions[:, :1], quaternions[:, 1:]
    xyz = np.where(w < 0, -xyz, xyz)
    sine = np.linalg.norm(xyz, axis=1, keepdims=True)
    angle = 2 * np.arctan2(sine, np.abs(w))
    return np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 2.0) * xyz
