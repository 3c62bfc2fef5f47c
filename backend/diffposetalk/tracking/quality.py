# SPDX-License-Identifier: GPL-3.0-or-later
"""How good a face's track is, in figures that can be shown, and what to beware of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from .arkit_motion import MAX_GAP, good_frames
from .face_track import FaceTrack
from .snapshots import Snapshot

SMALL_FACE = 60.0
"""Pixels between the outer eye corners under which lips lose detail."""
TURNED = 35.0
"""Degrees from the camera beyond which the far side of the mouth is hidden."""
OPENED = 0.06
"""Lip gap over mouth width that speech exceeds; mumbling reaches 0.1."""
STILL, SETTLED = 8e-4, 10
"""Standard deviation of a face's position (shares of the picture) that no living face stays under, and frames after
which the tracker has settled on a still one: 4e-4 on pictures, from 4e-3 on people who try to sit still."""
FEW_SHADES = 4.5
"""Entropy (bits) of a face's brightness that drawings stay under: 1.8 a cartoon, 3.8 a poster, 5.5 a render, 5.9
footage."""


@dataclass(frozen=True)
class Quality:
    """A track in figures.

    Attributes:
        frames: looked at. seconds: of video. fps: mean rate of the frames looked at.
        face_share: of frames with a face, 0 to 1. used_share: with a usable one.
        faces: most seen at once.
        face_size: median distance of the outer eye corners, pixels.
        yaw, pitch, roll: 5th and 95th percentile, degrees from the camera (to the speaker's left, down, and
            towards the right shoulder are positive).
        mouth_opening: 95th percentile of the lip gap over the mouth's width at rest.
        gaps: stretches longer than 0.4 s without a usable face, as (start, end) seconds.
        warnings: sentences for the user.
    """

    frames: int
    seconds: float
    fps: float
    face_share: float
    used_share: float
    faces: int
    face_size: float
    yaw: tuple[float, float]
    pitch: tuple[float, float]
    roll: tuple[float, float]
    mouth_opening: float
    gaps: tuple[tuple[float, float], ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return asdict(self)

    def describe(self) -> str:
        """One line for a log or a panel."""
        return (
            f"{self.seconds:.1f} s, face in {100 * self.face_share:.0f} % of frames ({100 * self.used_share:.0f} % "
            f"usable), {self.face_size:.0f} px between the eyes' outer corners, yaw {self.yaw[0]:+.0f}° to "
            f"{self.yaw[1]:+.0f}°, mouth opens to {self.mouth_opening:.2f} of its width"
        )


def assess(track: FaceTrack, snapshots: Sequence[Snapshot] = ()) -> Quality:
    """The quality of a track; see `Quality`. Snapshots of it tell drawings from footage."""
    face_found, good = track.face_found, good_frames(track)
    seconds = float(track.times[-1] - track.times[0]) if len(track.times) > 1 else 0.0
    fps = (len(track.times) - 1) / seconds if seconds > 0 else 0.0
    angles = np.degrees(Rotation.from_rotvec(track.rotations[face_found]).as_euler("YXZ"))
    yaw, pitch, roll = zip(*np.percentile(angles, (5, 95), axis=0).tolist(), strict=True)
    size = float(np.median(track.eye_distance[face_found]))
    opening = float(np.percentile(track.lip_gap[face_found], 95) / np.median(track.mouth_width[face_found]))
    face_share, used_share = float(face_found.mean()), float(good.mean())
    turned = float((np.abs(angles[:, 0]) > TURNED).mean())

    centre = (track.boxes[face_found][SETTLED:, :2] + track.boxes[face_found][SETTLED:, 2:]) / 2
    still = (
        len(centre) > SETTLED
        and float(centre.std(axis=0).max()) < STILL
        and np.ptp(track.lip_gap[face_found][SETTLED:]) < 0.02 * size
    )
    drawn = bool(snapshots) and np.median([shades(snapshot) for snapshot in snapshots]) < FEW_SHADES
    edges = [float(time) for time in (track.times[0], *track.times[good], track.times[-1])]
    long = np.flatnonzero(np.diff(edges) > MAX_GAP)  # nothing usable for longer than is bridged
    bad_share, most = face_share - used_share, int(track.faces.max())
    warnings = (
        (face_share < 0.9, f"A face was found in only {100 * face_share:.0f} % of the frames."),
        (bad_share > 0.1, f"{100 * bad_share:.0f} % of the frames show it too badly to be used."),
        (
            size < SMALL_FACE,
            f"The face is small: {size:.0f} pixels between the eyes' outer corners. Lips lose detail.",
        ),
        (
            turned > 0.2,
            f"The head is turned away by more than {TURNED:.0f}° in {100 * turned:.0f} % of the frames.",
        ),
        (opening < OPENED, "The mouth hardly ever opens: is this person speaking?"),
        (0 < fps < 20, f"Only {fps:.0f} frames a second: closures of the lips fall between them."),
        (most > 1, f"Up to {most} faces are in the picture; one was followed."),
        (still, "Nothing moves: this looks like a still picture."),
        (drawn, "The face has hardly any shades: this looks like a drawing, or is far too dark."),
    )
    return Quality(
        len(track.times),
        seconds,
        fps,
        face_share,
        used_share,
        most,
        size,
        yaw,
        pitch,
        roll,
        opening,
        tuple((round(edges[i], 2), round(edges[i + 1], 2)) for i in long),
        tuple(warning for holds, warning in warnings if holds),
    )


def shades(snapshot: Snapshot) -> float:
    """Entropy of the brightness of a face's pixels, bits, of 128 levels."""
    side = len(snapshot.image)
    left, top = np.clip(np.floor(snapshot.landmarks.min(axis=0)).astype(int), 0, side - 1)
    right, bottom = np.clip(np.ceil(snapshot.landmarks.max(axis=0)).astype(int), 1, side)
    brightness = snapshot.image[top : max(bottom, top + 1), left : max(right, left + 1)].mean(axis=2)
    share = np.bincount((brightness / 2).astype(int).ravel(), minlength=128) / brightness.size
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())
