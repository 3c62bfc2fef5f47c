# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a motion file cannot be read, in a sentence that begins with its name."""

from __future__ import annotations

from pathlib import Path

from ...errors import MotionError


def refused(path: Path, reason: str, kind: str = "motion_format") -> MotionError:
    """The error that a file of motion is refused with: “NAME” and the reason, which may begin with a colon or comma."""
    between = "" if reason[0] in ":," else " "
    return MotionError(f"“{path.name}”{between}{reason}", kind)


def unreadable(path: Path, error: OSError) -> MotionError:
    """The error of a file of motion that the system does not hand out."""
    return MotionError(f"The motion file “{path}” cannot be read: {error.strerror}.", "motion_missing")
