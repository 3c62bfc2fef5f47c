# SPDX-License-Identifier: GPL-3.0-or-later
"""Live Link Face recordings (CSV of ARKit blendshapes) as motion clips.

The app writes one line a captured frame: `Timecode` (HH:MM:SS:FF.sub, frames at the capture's rate and a fraction
of one), `BlendshapeCount`, the 52 blendshapes as EyeBlinkLeft … TongueOut (51 in older versions, without TongueOut),
and, in most versions, HeadYaw, HeadPitch, HeadRoll and the same of both eyes. Columns are found by name, whatever
their order and case; tables saved again by a spreadsheet (semicolons or tabs, decimal commas) read as well.

What is assumed, where the format does not say:

- The head's angles are radians about the head's own axes (y up, z out of the face, x to its left; yaw first, then
  pitch, then roll), positive as rotations about +y, +x and +z, which is ARKit's face anchor in Unreal's conversion
  without mirroring. Values beyond ±π can only be degrees and are read so. Some versions of Unreal write half turns
  (±1 for ±180°); say `angles="half_turns"` for those.
- A mirrored capture has yaw and roll the other way. Where eye rotations are there, they tell: their yaw must go
  with the blendshapes eyeLookOutLeft and eyeLookInRight, their pitch with eyeLookDown. The head's signs follow.
- The first line is the first sample of the sound of the take.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.spatial.transform import Rotation

from ...config import FPS
from ...errors import ModelError, MotionError, refusing
from ...files.array_file import read_arrays
from ...files.shipped import bundled_head_path
from ...files.text_file import read_text
from ..arkit import APPLE_ORDER, EXPRESSIONS
from ..clip import MotionClip
from ..smoothing import between, continuous, frame_times, relative_to_mean, savitzky_golay
from .refusal import refused, unreadable

MAX_BYTES = 1 << 29
"""Of a table; an hour at 60 frames a second has 150 million bytes."""
MAX_GAP = 0.5
"""Seconds without a frame that are bridged; over longer ones nothing is known."""
MIN_FRAMES = 5
NEUTRAL_SHARE = 10
"""Percentile of each blendshape that counts as the neutral face …"""
NEUTRAL_LIMIT = 0.3
"""… up to this: what is held beyond it is an expression."""

Angles = Literal["auto", "radians", "degrees", "half_turns"]

_HEAD = ("headyaw", "headpitch", "headroll")
_TIMECODE = re.compile(r"^\s*(\d{1,3})[:;.](\d{1,2})[:;.](\d{1,2})[:;](\d{1,3})(?:[.,](\d{1,6}))?\s*$")
TABLE_RATES = (24.0, 25.0, 30.0, 48.0, 50.0, 60.0, 120.0)
"""At which a timecode counts whole frames a second."""
JAW_PLACE = APPLE_ORDER.index("jawOpen")
EXPRESSION_PLACES = [APPLE_ORDER.index(name) for name in EXPRESSIONS]
"""Columns of blendshapes in Apple's order."""


@dataclass(frozen=True)
class LiveLinkTake:
    """A table as it stands.

    Attributes:
        times: (T,) seconds from the first frame, ascending.
        blendshapes: (T, 52) in Apple's order, 0 to 1; TongueOut 0 where the table lacks it.
        angles: columns of angles by lower-case name (headyaw, lefteyepitch, …), (T,), as written.
    """

    times: np.ndarray
    blendshapes: np.ndarray
    angles: dict[str, np.ndarray]


def is_live_link(path: str | Path) -> bool:
    """Whether a CSV begins like a Live Link Face table (a look at its first line)."""
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            names = {_key(name) for name in re.split(r"[,;\t]", file.readline(20_000))}
    except OSError:
        return False
    return len(names & _BLENDSHAPES.keys()) >= 20


def load_live_link(
    path: str | Path,
    *,
    fps: float | None = None,
    neutral: Literal["auto", "none"] | np.ndarray = "auto",
    angles: Angles = "auto",
    jaw_open_angle: float | None = None,
) -> MotionClip:
    """A Live Link Face table as an ARKit motion clip at 25 frames a second, neutral face and head direction at zero.

    Args:
        path: the CSV. Of a calibrated take choose NAME_cal.csv, which needs no further calibration.
        fps: rate of the lines; None reads it from the timecode.
        neutral: `auto` subtracts the neutral face: that of NAME_neutral.csv where the app has written one (not for
            NAME_cal.csv), else the 10th percentile of each channel, at most 0.3. `none` leaves the values be.
            An array (52,) in Apple's order is subtracted. Gaze is never changed.
        angles: unit of the head's and eyes' angles.
        jaw_open_angle: jaw pitch of jawOpen = 1, radians; None takes the bundled head's.

    Raises:
        MotionError: `motion_missing`, `motion_format` (no such table, columns missing, not numbers, timecode that
            goes backwards), `motion_gap` (more than half a second without a frame), `motion_short`.
    """
    path = Path(path)
    take = read_live_link(path, fps)
    how = "given"
    if isinstance(neutral, str):
        how, face = _neutral(path, take) if neutral == "auto" else ("none", np.zeros(52))
    else:
        face = np.asarray(neutral, np.float64)
        if face.shape != (52,) or not np.isfinite(face).all():
            raise MotionError("A neutral face has 52 finite numbers.", "motion_format")
    face = np.where(_GAZE, 0.0, np.clip(face, 0.0, 0.95))
    shapes = np.clip((take.blendshapes - face) / (1 - face), 0, 1)
    head = relative_to_mean(head_rotation(take, angles))

    rate = (len(take.times) - 1) / take.times[-1]
    wanted = frame_times(take.times[-1])
    grid = frame_times(take.times[-1], rate)
    # On an even grid at the capture's own rate, noise and what 25 frames a second cannot hold are filtered out.
    window = max(5, 2 * round(rate / FPS) + 1)
    shapes = savitzky_golay(between(take.times, shapes, grid), window)
    head = savitzky_golay(between(take.times, head, grid), 2 * window + 1)
    shapes = np.clip(between(grid, shapes, wanted), 0, 1)

    provenance = {
        "source": "Live Link Face",
        "file": path.name,
        "capture_fps": round(rate, 3),
        "neutral": how,
        "head_rotation": all(name in take.angles for name in _HEAD),
    }
    angle = jaw_open_angle or bundled_jaw_open_angle()
    return from_blendshapes(shapes, between(grid, head, wanted), FPS, angle, provenance)


def from_blendshapes(
    weights: np.ndarray, head: np.ndarray, fps: float, jaw_open_angle: float, provenance: dict[str, Any]
) -> MotionClip:
    """A clip of blendshapes (T, 52) in Apple's order and head rotations (T, 3), axis-angle.

    Args:
        jaw_open_angle: jaw pitch of jawOpen = 1, radians.
    """
    pose = np.zeros((len(weights), 6), np.float32)
    pose[:, :3], pose[:, 3] = head, weights[:, JAW_PLACE] * jaw_open_angle
    exp = weights[:, EXPRESSION_PLACES].astype(np.float32)
    return MotionClip(exp, pose, fps, "arkit", None, EXPRESSIONS, provenance)


def bundled_jaw_open_angle() -> float:
    """The bundled head's jaw pitch at jawOpen = 1, in radians.

    Raises:
        ModelError: there is no bundled head here.
    """
    path = bundled_head_path()
    foreign = f"“{path}” is not a head asset that says how far its jaw opens."
    with refusing(ModelError(foreign, "head_format")):
        return float(read_arrays(path, ("jaw_open_angle",), 1024)["jaw_open_angle"])


def read_live_link(path: str | Path, fps: float | None = None) -> LiveLinkTake:
    """Read a table without changing its values; see `load_live_link` for errors."""
    path = Path(path)
    try:
        columns, rows = _table(read_text(path, MAX_BYTES))
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise refused(path, "is not a text table (UTF-8).") from error
    except csv.Error as error:
        raise refused(path, f"is not a well-formed table: {error}.") from error
    if not columns:
        raise refused(path, "is empty.")
    missing = [name for key, name in _BLENDSHAPES.items() if key not in columns and key != "tongueout"]
    if missing:
        raise refused(
            path,
            f"lacks {len(missing)} of the 52 blendshape columns of Live Link Face, "
            f"among them {missing[0][:1].upper()}{missing[0][1:]}.",
        )
    wanted = [name for name in _BLENDSHAPES if name in columns]
    wanted += [name for name in columns if name.endswith(("yaw", "pitch", "roll"))]
    if len(rows) > 1 and len(rows[-1]) != len(rows[0]):
        rows.pop()  # the app was stopped while writing
    if len(rows) < MIN_FRAMES:
        raise refused(path, f"has {len(rows)} frames; at least {MIN_FRAMES} are needed.", "motion_short")
    picked = [columns[name] for name in wanted]
    values = np.array([[_number(path, n, row, i) for i in picked] for n, row in enumerate(rows, start=2)])
    times = _times(path, rows, columns.get("timecode"), fps)

    order = np.concatenate([[True], np.diff(times) > 1e-6])  # the same frame written twice
    times, values = times[order] - times[0], values[order]
    gaps = np.diff(times)
    if len(times) < MIN_FRAMES:
        raise refused(path, f"has {len(times)} frames; at least {MIN_FRAMES} are needed.", "motion_short")
    if gaps.max() > MAX_GAP:
        at = times[int(gaps.argmax())]
        raise refused(
            path,
            f"has no frames for {gaps.max():.2f} s from {at:.2f} s on; cut the take there.",
            "motion_gap",
        )
    by_name = dict(zip(wanted, values.T, strict=True))
    shapes = np.stack([by_name.get(key, np.zeros(len(times))) for key in _BLENDSHAPES], axis=1)
    if shapes.min() < -0.5 or shapes.max() > 2.0:
        raise refused(
            path, f"has blendshapes from {shapes.min():.2f} to {shapes.max():.2f}; 0 to 1 is expected."
        )
    turns = {name: by_name[name] for name in wanted if name not in _BLENDSHAPES}
    return LiveLinkTake(times, np.clip(shapes, 0, 1), turns)


_BLENDSHAPES = {name.lower(): name for name in APPLE_ORDER}
_GAZE = np.array([name.startswith("eyeLook") for name in APPLE_ORDER])


def _table(text: str) -> tuple[dict[str, int], list[list[str]]]:
    """Places of the columns by their names' keys, and the rows below; neither where the text is empty."""
    lines = [line for line in io.StringIO(text) if line.strip()]
    separator = max(",;\t", key=lines[0].count) if lines else ","
    names, *rows = list(csv.reader(lines, delimiter=separator)) or [[]]
    return {_key(name): i for i, name in enumerate(names)}, rows


def _key(name: str) -> str:
    return name.strip().strip('"').replace("_", "").lower()


def _number(path: Path, line: int, row: list[str], index: int) -> float:
    try:
        value = float(row[index].replace(",", "."))
    except (IndexError, ValueError) as error:
        shown = row[index][:20] if index < len(row) else "nothing"
        raise refused(path, f", line {line}: {shown!r} is not a number.") from error
    if not np.isfinite(value):
        raise refused(path, f", line {line}: a value is not finite.")
    return value


def _times(path: Path, rows: list[list[str]], column: int | None, fps: float | None) -> np.ndarray:
    """Seconds of each line: by its timecode, else by its number and the rate."""
    if fps is not None and not 1 <= fps <= 1000:
        raise MotionError(f"A frame rate of {fps:g} cannot be.", "motion_format")
    if column is None:
        if fps is None:
            raise refused(path, "has no Timecode column; give its frame rate.")
        return np.arange(len(rows)) / fps
    fields = []
    for line, row in enumerate(rows, start=2):
        match = _TIMECODE.match(row[column]) if column < len(row) else None
        if match is None:
            shown = row[column][:20] if column < len(row) else ""
            raise refused(path, f", line {line}: {shown!r} is no timecode (HH:MM:SS:FF.sub).")
        fraction = float("0." + match[5]) if match[5] else 0.0
        fields.append((int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3]), int(match[4]), fraction))
    seconds, frames, fractions = (np.array(column, np.float64) for column in zip(*fields, strict=True))
    # Past midnight the timecode starts over.
    wrapped = np.cumsum(np.concatenate([[0.0], np.diff(seconds) < -43_200])) * 86_400
    seconds += wrapped
    times = seconds + (frames + fractions) / (_rate(seconds, frames) if fps is None else fps)
    if (np.diff(times) < -1e-6).any():
        line = int(np.flatnonzero(np.diff(times) < -1e-6)[0]) + 3
        raise refused(path, f", line {line}: the timecode goes backwards.")
    return times


def _rate(seconds: np.ndarray, frames: np.ndarray) -> float:
    """Frames to a second of the timecode: the lowest usual rate that its frame numbers fit in."""
    highest = frames.max() + 1
    if highest > TABLE_RATES[-1]:
        return 1000.0  # some programs write milliseconds there
    fitting = [rate for rate in TABLE_RATES if rate >= highest]
    # A take of less than a second need not reach the last frame number; then the app's own rate is meant.
    whole = seconds[-1] > seconds[0] + 1
    return fitting[0] if whole else max(60.0, fitting[0])


def _neutral(path: Path, take: LiveLinkTake) -> tuple[str, np.ndarray]:
    """Where the neutral face was taken from, and it (52,)."""
    if path.stem.endswith("_cal"):
        return "calibrated by the app", np.zeros(52)
    stem = path.stem[:-4] if path.stem.endswith("_raw") else path.stem
    beside = path.with_name(f"{stem}_neutral.csv")
    if beside.is_file() and beside != path:
        return beside.name, np.median(_neutral_rows(beside), axis=0)
    return "estimated", np.minimum(np.percentile(take.blendshapes, NEUTRAL_SHARE, axis=0), NEUTRAL_LIMIT)


def _neutral_rows(path: Path) -> np.ndarray:
    """Blendshapes (T, 52) of a neutral face's table, which may have a single line."""
    columns, rows = _table(read_text(path, MAX_BYTES, "replace"))
    if not rows or not set(_BLENDSHAPES) - {"tongueout"} <= columns.keys():
        raise refused(path, "is no neutral face of Live Link Face.")
    out = np.zeros((len(rows), 52))
    for k, name in enumerate(_BLENDSHAPES):
        if name in columns:
            out[:, k] = [_number(path, n, row, columns[name]) for n, row in enumerate(rows, start=2)]
    return out


def head_rotation(take: LiveLinkTake, unit: Angles) -> np.ndarray:
    """Axis-angle (T, 3) in the head model's axes; zero where the table has no head rotation."""
    if not all(name in take.angles for name in _HEAD):
        return np.zeros((len(take.times), 3))
    head = np.stack([take.angles[name] for name in _HEAD], axis=1)
    largest = max(np.abs(column).max() for column in take.angles.values())
    if unit == "auto":
        unit = "degrees" if largest > np.pi else "radians"
    # Signs that agree with the gaze; looking to one's left turns the left eye out and the right eye in: both about +y.
    yaw = _agreement(take, "lefteyeyaw", "eyeLookOutLeft", "eyeLookInLeft")
    yaw += _agreement(take, "righteyeyaw", "eyeLookInRight", "eyeLookOutRight")
    pitch = _agreement(take, "lefteyepitch", "eyeLookDownLeft", "eyeLookUpLeft")
    pitch += _agreement(take, "righteyepitch", "eyeLookDownRight", "eyeLookUpRight")
    yaw_sign, pitch_sign = (-1.0 if yaw < 0 else 1.0), (-1.0 if pitch < 0 else 1.0)
    head = head * {"radians": 1.0, "degrees": np.pi / 180, "half_turns": np.pi}[unit]
    head = np.unwrap(head, axis=0) * [yaw_sign, pitch_sign, yaw_sign]
    return continuous(Rotation.from_euler("YXZ", head).as_rotvec())


def _agreement(take: LiveLinkTake, angle: str, towards: str, away: str) -> float:
    """Correlation of an eye's angle with the blendshapes of looking towards and away; 0 where that is not clear."""
    if angle not in take.angles:
        return 0.0
    turned = take.angles[angle]
    look = take.blendshapes[:, APPLE_ORDER.index(towards)] - take.blendshapes[:, APPLE_ORDER.index(away)]
    if turned.std() < 1e-6 or look.std() < 0.02:
        return 0.0
    correlation = float(np.corrcoef(turned, look)[0, 1])
    return correlation if abs(correlation) > 0.5 else 0.0
