# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion files of any kind as motion clips: ours, Live Link Face, ARKit curves in JSON, FLAME coefficients of tools."""

from __future__ import annotations

from pathlib import Path

from ...config import FPS
from ..clip import MOTION_SUFFIXES, MotionClip, resample
from .arkit_curves import read_arkit_json, write_motion
from .live_link import load_live_link
from .reconstructions import load_reconstruction

__all__ = ["MOTION_SUFFIXES", "read_motion", "write_motion"]


def read_motion(
    path: str | Path,
    *,
    fps: float | None = None,
    seconds: float | None = None,
    head: Path | None = None,
    identity: Path | None = None,
) -> MotionClip:
    """A motion file of any kind: our clips, other tools' FLAME coefficients, Live Link Face; at 25 frames a second.

    Args:
        path: .npz, .csv or .json.
        fps: of files that do not state it.
        seconds: length of the sound, by which a rate that is neither stated nor given is worked out.
        head, identity: other files with the head's rotation and the identity (see `reconstructions`).

    Raises:
        MotionError: damaged, of another kind, or ambiguous.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        return load_live_link(path, fps=fps)
    if path.suffix.lower() == ".json":
        return resample(read_arkit_json(path), FPS)
    return resample(load_reconstruction(path, fps=fps, seconds=seconds, head=head, identity=identity), FPS)
