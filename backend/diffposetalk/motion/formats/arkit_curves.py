# SPDX-License-Identifier: GPL-3.0-or-later
"""ARKit curves in text: motion clips as Live Link Face tables (CSV) and as JSON, written, and read without change.

The table is the one that the Live Link Face app writes (see `live_link`): timecode, 52 blendshapes, yaw, pitch and
roll of head and eyes in radians. It has no place for provenance. The eyes' angles are those of the gaze blendshapes,
`GAZE_ANGLE` at 1, since a clip has no others. The JSON holds the same curves without loss:

    {"format": "diffposetalk-arkit-curves", "version": 1, "fps": 25.0, "names": [52 names in Apple's order],
     "weights": [[52 numbers], …], "head": [[x, y, z], …], "jaw_open_angle": radians, "provenance": {…}}

`head` is the rotation of the head as axis times angle, radians; jawOpen is the jaw's pitch over `jaw_open_angle`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from ...config import FPS
from ...errors import MotionError, OutputError
from ...files.text_file import read_text
from ...files.whole_file import whole_file
from ..arkit import APPLE_ORDER
from ..clip import MotionClip, load_motion, resample
from ..smoothing import between
from .live_link import (
    EXPRESSION_PLACES,
    JAW_PLACE,
    TABLE_RATES,
    bundled_jaw_open_angle,
    from_blendshapes,
    head_rotation,
    load_live_link,
    read_live_link,
)
from .refusal import refused, unreadable

JSON_FORMAT, JSON_VERSION = "diffposetalk-arkit-curves", 1
TABLE_FPS = 60.0
"""Of the tables that the app writes."""
GAZE_ANGLE = math.radians(30)
MAX_BYTES = 1 << 29

# The app's own order differs from Apple's in one place.
_TABLE_ORDER = [*APPLE_ORDER[:15], "jawRight", "jawLeft", *APPLE_ORDER[17:]]


def blendshapes(clip: MotionClip, jaw_open_angle: float | None = None) -> np.ndarray:
    """The 52 blendshapes (T, 52) of a clip in Apple's order; tongueOut is 0.

    Args:
        jaw_open_angle: jaw pitch of jawOpen = 1, radians; None takes the bundled head's.

    Raises:
        MotionError: kind motion_basis; the clip is not in ARKit's basis.
    """
    if clip.basis != "arkit":
        raise MotionError(
            f"This motion is in the {clip.basis} basis; ARKit's curves can be made of it after converting it: "
            "diffposetalk convert motion --from-head … --to-head ….",
            "motion_basis",
        )
    out = np.zeros((len(clip), 52), np.float32)
    out[:, EXPRESSION_PLACES] = clip.exp
    out[:, JAW_PLACE] = clip.pose[:, 3] / (jaw_open_angle or bundled_jaw_open_angle())
    return out


def write_live_link(clip: MotionClip, path: str | Path, fps: float | None = None) -> Path:
    """Write a Live Link Face table.

    Args:
        fps: lines a second, one of `TABLE_RATES`; None writes 60 as the app does.

    Raises:
        MotionError: kind motion_basis; kind motion_fps, a rate whose timecode could not be read again.
        OutputError: it cannot be written.
    """
    rate = TABLE_FPS if fps is None else fps
    if rate not in TABLE_RATES:
        raise MotionError(
            f"A Live Link Face table has {', '.join(f'{r:g}' for r in TABLE_RATES)} frames a second, not {rate:g}.",
            "motion_fps",
        )
    # One line more than fits rather than one less: what is read again reaches the clip's last frame.
    count = math.ceil((len(clip) - 1) * rate / clip.fps - 1e-6) + 1
    times = np.minimum(np.arange(count) * clip.fps / rate, len(clip) - 1)
    weights = np.clip(between(np.arange(len(clip)), blendshapes(clip), times), 0, 1)
    head = _rotations(np.arange(len(clip)), clip.pose[:, :3], times)
    columns = {name[:1].upper() + name[1:]: weights[:, APPLE_ORDER.index(name)] for name in _TABLE_ORDER}
    angles = head.as_euler("YXZ")
    columns |= dict(zip(("HeadYaw", "HeadPitch", "HeadRoll"), angles.T, strict=True))
    for side, left, right in (("Left", "Out", "In"), ("Right", "In", "Out")):
        look = {name: columns[f"EyeLook{name}{side}"] for name in ("Up", "Down", "In", "Out")}
        columns[f"{side}EyeYaw"] = (look[left] - look[right]) * GAZE_ANGLE
        columns[f"{side}EyePitch"] = (look["Down"] - look["Up"]) * GAZE_ANGLE
        columns[f"{side}EyeRoll"] = np.zeros(len(weights))
    lines = [",".join(["Timecode", "BlendshapeCount", *columns])]
    for number, row in enumerate(zip(*columns.values(), strict=True)):
        second, frame = divmod(number, int(rate))
        code = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}:{frame:02d}.000"
        lines.append(",".join([code, str(len(columns)), *(f"{value:.9f}" for value in row)]))
    with whole_file(path) as file:
        file.write(("\n".join(lines) + "\n").encode())
    return Path(path)


def read_live_link_curves(path: str | Path) -> MotionClip:
    """A Live Link Face table as it stands, at 25 frames a second: nothing is filtered, calibrated or centred.

    Use `live_link.load_live_link` for captures that are to be learned from.

    Raises:
        MotionError: as of `live_link.read_live_link`.
    """
    take = read_live_link(path)
    wanted = np.arange(int(take.times[-1] * FPS + 1e-3) + 1) / FPS
    inside = np.minimum(wanted, take.times[-1])
    weights = between(take.times, take.blendshapes, inside)
    head = _rotations(take.times, head_rotation(take, "auto"), inside).as_rotvec()
    provenance = {"source": "Live Link Face", "file": Path(path).name}
    return from_blendshapes(weights, head, FPS, bundled_jaw_open_angle(), provenance)


def write_arkit_json(clip: MotionClip, path: str | Path, fps: float | None = None) -> Path:
    """Write the curves and the provenance as JSON, at the clip's own rate unless `fps` names another.

    Raises:
        MotionError: kind motion_basis. OutputError: it cannot be written.
    """
    clip = clip if fps is None else resample(clip, fps)
    angle = bundled_jaw_open_angle()
    data = {
        "format": JSON_FORMAT,
        "version": JSON_VERSION,
        "fps": float(clip.fps),
        "names": APPLE_ORDER,
        "jaw_open_angle": angle,
        "provenance": clip.provenance,
        "weights": _rounded(blendshapes(clip, angle)),
        "head": _rounded(clip.pose[:, :3]),
    }
    with whole_file(path) as file:
        file.write((json.dumps(data, ensure_ascii=False) + "\n").encode())
    return Path(path)


def read_arkit_json(path: str | Path) -> MotionClip:
    """A clip of what `write_arkit_json` wrote, or of other ARKit curves in that layout.

    Names may come in any order, and some may be missing: these stay at 0. `head`, `jaw_open_angle` and `provenance`
    may be missing.

    Raises:
        MotionError: kinds motion_missing, motion_format.
    """
    path = Path(path)
    try:
        data = json.loads(read_text(path, MAX_BYTES))
        if not isinstance(data, dict) or data.get("format", JSON_FORMAT) != JSON_FORMAT:
            raise ValueError("it is another format")
        if data.get("version", JSON_VERSION) != JSON_VERSION:
            raise ValueError(f"it is of version {data['version']}, which only a newer release reads")
        names = [str(name) for name in data["names"]]
        given = np.array(data["weights"], np.float64).reshape(len(data["weights"]), len(names))
        head = np.array(data.get("head") or np.zeros((len(given), 3)), np.float64).reshape(len(given), 3)
        fps, angle = float(data["fps"]), float(data.get("jaw_open_angle") or bundled_jaw_open_angle())
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise refused(path, f"holds no ARKit curves: {error}.") from error
    known = {name.lower(): i for i, name in enumerate(APPLE_ORDER)}
    places = [known.get(name.lower()) for name in names]
    if all(place is None for place in places) or not len(given):
        raise refused(path, "has none of ARKit's blendshapes.")
    finite = np.isfinite(given).all() and np.isfinite(head).all()
    if not finite or not 1 <= fps <= 1000 or not 0.01 <= angle <= math.pi:
        raise refused(path, "holds values that cannot be.")
    weights = np.zeros((len(given), 52))
    for place, column in zip(places, given.T, strict=True):
        if place is not None:
            weights[:, place] = column
    provenance = data.get("provenance")
    return from_blendshapes(weights, head, fps, angle, provenance if isinstance(provenance, dict) else {})


def read_unchanged(path: str | Path, *, calibrate: bool = False) -> MotionClip:
    """A clip, table or JSON by its suffix, at its own rate (tables at 25 frames a second), values as they stand.

    Args:
        calibrate: of a table, take the neutral face out, centre the head and filter noise (`live_link`).

    Raises:
        MotionError: it cannot be read.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".csv":
        return load_live_link(path) if calibrate else read_live_link_curves(path)
    return read_arkit_json(path) if suffix == ".json" else load_motion(path)


def write_motion(clip: MotionClip, path: str | Path, fps: float | None = None) -> Path:
    """Write a clip in the format that the suffix names: `.npz`, `.json`, or `.csv` for Live Link Face.

    Raises:
        OutputError: kind output_format, another suffix; or it cannot be written. MotionError: as of the writers.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return write_live_link(clip, path, fps)
    if suffix == ".json":
        return write_arkit_json(clip, path, fps)
    if suffix == ".npz":
        return (clip if fps is None else resample(clip, fps)).save(path)
    raise OutputError(
        f"“{path.name}” names no format of motion: .npz, .json (ARKit curves) or .csv (Live Link Face).",
        "output_format",
    )


def _rotations(times: np.ndarray, rotations: np.ndarray, wanted: np.ndarray) -> Rotation:
    """Axis-angles (T, 3) at other times, by spherical interpolation."""
    if len(times) == 1:
        return Rotation.from_rotvec(np.repeat(rotations, len(wanted), axis=0))
    return Slerp(times, Rotation.from_rotvec(rotations))(wanted)


def _rounded(values: np.ndarray) -> list[list[float]]:
    """Float32 numbers in the shortest decimals that give them back."""
    return [
        [float(np.format_float_positional(v, unique=True)) for v in row] for row in values.astype(np.float32)
    ]
