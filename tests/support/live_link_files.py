# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables in the layout that Live Link Face writes, of made-up performances."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffposetalk.motion.arkit import APPLE_ORDER

ROTATIONS = [f"{part}{turn}" for part in ("Head", "LeftEye", "RightEye") for turn in ("Yaw", "Pitch", "Roll")]
# The app's own order differs from Apple's in a few places.
APP_ORDER = [*APPLE_ORDER[:15], "jawRight", "jawLeft", *APPLE_ORDER[17:]]


def performance(seconds: float = 4.0, rate: float = 60.0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Times (T,) and blendshapes and angles by column name: a mouth that opens, a head that nods and turns, gaze."""
    times = np.arange(int(seconds * rate)) / rate
    columns = {name[0].upper() + name[1:]: np.zeros(len(times)) for name in APP_ORDER}
    columns |= {name: np.zeros(len(times)) for name in ROTATIONS}
    columns["JawOpen"] = 0.25 - 0.25 * np.cos(2 * np.pi * 1.0 * times)
    columns["MouthSmileLeft"] = np.full(len(times), 0.12)
    columns["BrowInnerUp"] = 0.1 + 0.2 * (np.sin(2 * np.pi * 0.5 * times) > 0.9)
    columns["HeadYaw"] = 0.3 * np.sin(2 * np.pi * 0.5 * times)
    columns["HeadPitch"] = 0.2 * np.sin(2 * np.pi * 0.7 * times)
    columns["HeadRoll"] = 0.1 * np.sin(2 * np.pi * 0.3 * times)
    gaze = np.sin(2 * np.pi * 0.4 * times)
    for side, left, right in (("Left", "Out", "In"), ("Right", "In", "Out")):
        columns[f"EyeLook{left}{side}"] = np.clip(gaze, 0, 1)
        columns[f"EyeLook{right}{side}"] = np.clip(-gaze, 0, 1)
        columns[f"{side}EyeYaw"] = 0.5 * gaze
        columns[f"EyeLookDown{side}"] = np.clip(np.cos(2 * np.pi * 0.4 * times), 0, 1)
        columns[f"EyeLookUp{side}"] = np.clip(-np.cos(2 * np.pi * 0.4 * times), 0, 1)
        columns[f"{side}EyePitch"] = 0.4 * np.cos(2 * np.pi * 0.4 * times)
    return times, columns


def timecode(seconds: float, rate: int = 60) -> str:
    """HH:MM:SS:FF.sub, the fraction in thousandths of a frame."""
    frame = int(seconds * rate + 1e-6)
    part = round((seconds * rate - frame) * 1000) % 1000
    second, number = divmod(frame, rate)
    return f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}:{number:02d}.{abs(part):03d}"


def write_table(
    path: Path,
    times: np.ndarray,
    columns: dict[str, np.ndarray],
    *,
    start: float = 14 * 3600 + 3 * 60 + 52,
    rate: int = 60,
    separator: str = ",",
    comma: bool = False,
) -> Path:
    """Write the columns, in their order, behind Timecode and BlendshapeCount."""

    def shown(value: float) -> str:
        text = f"{value:.8f}"
        return text.replace(".", ",") if comma else text

    lines = [separator.join(["Timecode", "BlendshapeCount", *columns])]
    for t, row in zip(times, zip(*columns.values(), strict=True), strict=True):
        lines.append(separator.join([timecode(start + t, rate), str(len(columns)), *map(shown, row)]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
