# SPDX-License-Identifier: GPL-3.0-or-later
"""From a face's track to clean ARKit motion at 25 frames a second: bad frames out, smoothed, calibrated to the speaker.

The tracker's blendshapes have a bias that differs from face to face and rarely reach their ends, while the distance
between the inner lips in its landmarks is accurate. So each channel's neutral is taken out, and the mouth's opening
is corrected until the head's inner-lip gap equals the tracked one, closed lips included.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, percentile_filter
from scipy.spatial.transform import Rotation

from ..config import FPS
from ..errors import VideoError
from ..head.head_model import HeadModel, load_head
from ..motion.arkit import EXPRESSIONS, INDEX, both
from ..motion.clip import MotionClip
from ..motion.smoothing import between, continuous, fill, frame_times, runs, savitzky_golay
from .face_map import GAZE, KEPT, SHUT, RestFace, mapped_expression
from .face_track import FaceTrack
from .lip_gap import GAINS, JAW_SHARE, OUTER_EYE_DISTANCE, TRACKER_CLOSED_GAP, LipGap

MIN_EYE_DISTANCE = 24.0
"""Pixels between the outer eye corners under which lips are a guess."""
MAX_TURN = np.radians(60)
"""Of the head from the camera; beyond it half of the face is hidden."""
MAX_TURN_SPEED = np.radians(600)
"""A second; a head that turns faster is another face or a mistake."""
MAX_GAP = 0.4
"""Seconds without a good frame that are bridged; a longer gap ends a stretch."""
MIN_STRETCH = 0.6
"""Seconds; shorter stretches between gaps are dropped."""
EDGE = 0.01
"""Share of the picture that a face may stick out of it."""

FACE_FILTER, HEAD_FILTER, LIP_FILTER = 5, 9, 5
"""Frames of the Savitzky-Golay filters (second order; the lips' gap third) at 25 frames a second."""
NEUTRAL_SHARE, NEUTRAL_LIMIT = 10, 0.4
"""Percentile of a channel that is its neutral, and how far that can be: more is an expression held throughout."""
CLOSED_SHARE, CLOSED_LIMIT = 3, 0.0015
"""Percentile of the lip gap that counts as closed lips, and at most this (metres): mouths that hang open stay so."""


@dataclass(frozen=True)
class Stretch:
    """An unbroken piece of good tracking: its motion, and where it begins in the video (seconds)."""

    start: float
    clip: MotionClip


def good_frames(track: FaceTrack) -> np.ndarray:
    """(T,) frames to use: a face is there, large enough, turned to the camera, inside the picture, and not jumping."""
    face_found = track.face_found
    good = face_found & (np.nan_to_num(track.eye_distance) >= MIN_EYE_DISTANCE)
    good &= np.linalg.norm(np.nan_to_num(track.rotations), axis=1) <= MAX_TURN
    boxes = np.nan_to_num(track.boxes)
    good &= (boxes[:, :2] >= -EDGE).all(axis=1) & (boxes[:, 2:] <= 1 + EDGE).all(axis=1)
    index = np.flatnonzero(good)
    if len(index) > 1:
        turned = Rotation.from_rotvec(track.rotations[index])
        speed = (turned[1:] * turned[:-1].inv()).magnitude() / np.maximum(np.diff(track.times[index]), 1e-3)
        # A single wrong frame jumps away and back: it goes. A cut jumps once, and both sides are good.
        wrong = np.zeros(len(index), bool)
        wrong[1:-1] = (speed[:-1] > MAX_TURN_SPEED) & (speed[1:] > MAX_TURN_SPEED)
        good[index[wrong]] = False
    return good


def stretches(track: FaceTrack, head: HeadModel | None = None, rest: RestFace | None = None) -> list[Stretch]:
    """Clean ARKit motion of the good stretches of a track, calibrated over all of them together.

    Args:
        track: as `face_track.track_face` gives it.
        head: whose lips must meet when the speaker's do; None is the bundled head.
        rest: the person at rest, head straight, which the track is compared with; None takes each channel's lowest
            values and the head's mean for rest, so that what is held throughout is lost.

    Raises:
        VideoError: `video_no_face`; no stretch is long enough.
    """
    head = head or load_head()
    good = good_frames(track)
    pieces = _pieces(track.times, good)
    if not pieces:
        raise VideoError(
            f"No stretch of “{track.video.name}” shows the face well for {MIN_STRETCH:g} s: it is too small, turned "
            "away or cut off by the picture's edge.",
            "video_no_face",
        )
    used = np.concatenate([np.arange(a, b)[good[a:b]] for a, b in pieces])
    calibration = _calibrate(track, used)
    gap = LipGap(head)
    out = []
    for first, last in pieces:
        frames = np.arange(first, last)[good[first:last]]
        start = float(track.times[frames[0]])
        # Onto the frames that the sound is cut into from the video's beginning.
        start_frame = int(np.ceil(start * FPS - 1e-6))
        seconds = float(track.times[frames[-1]]) - start_frame / FPS
        if seconds < MIN_STRETCH:
            continue
        wanted = start_frame / FPS + frame_times(seconds)
        out.append(Stretch(start_frame / FPS, _motion(track, frames, wanted, calibration, gap, rest)))
    return out


def _pieces(times: np.ndarray, good: np.ndarray) -> list[tuple[int, int]]:
    """First and last + 1 of stretches of frames whose good ones are never further apart than MAX_GAP."""
    pieces: list[tuple[int, int]] = []
    for a, b in runs(good):
        if pieces and times[a] - times[pieces[-1][1] - 1] <= MAX_GAP:
            pieces[-1] = (pieces[-1][0], b)
        else:
            pieces.append((a, b))
    return [(a, b) for a, b in pieces if times[b - 1] - times[a] >= MIN_STRETCH]


@dataclass(frozen=True)
class _Calibration:
    """Of one speaker: neutral of each tracker channel by name, gaze straight ahead, head direction, closed lips."""

    neutral: dict[str, float]
    gaze: tuple[float, float]
    head: Rotation
    closed: float


def _calibrate(track: FaceTrack, used: np.ndarray) -> _Calibration:
    shapes = track.blendshapes[used]
    low = np.minimum(np.percentile(shapes, NEUTRAL_SHARE, axis=0), NEUTRAL_LIMIT)
    channels = {name: shapes[:, i] for i, name in enumerate(track.names)}
    right, up = _gaze(channels)
    closed = float(np.percentile(_lip_gap(track, used), CLOSED_SHARE))
    return _Calibration(
        dict(zip(track.names, low.tolist(), strict=True)),
        (float(np.median(right)), float(np.median(up))),
        Rotation.from_rotvec(track.rotations[used]).mean(),
        float(np.clip(closed, TRACKER_CLOSED_GAP, CLOSED_LIMIT)),
    )


def _gaze(channels: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Gaze to the speaker's left and up, mean of both eyes, each −1 to 1."""

    def mean(names: Iterable[str]) -> np.ndarray:
        return np.mean([channels[name] for name in names], axis=0)

    towards, away = zip(*GAZE, strict=True)
    return mean(towards[:2]) - mean(away[:2]), mean(towards[2:]) - mean(away[2:])


def _lip_gap(track: FaceTrack, frames: np.ndarray) -> np.ndarray:
    """Inner-lip gap (n,) in metres on a head of ordinary size, seen from the front whatever the head's direction."""
    facing = Rotation.from_rotvec(track.rotations[frames]).as_matrix()[:, :, :2]
    # How much of the face's own width and height the picture keeps.
    width, height = (np.maximum(np.linalg.norm(facing[:, :2, axis], axis=1), 0.3) for axis in (0, 1))
    scale = OUTER_EYE_DISTANCE / (track.eye_distance[frames] / width)
    return track.lip_gap[frames] / height * scale


def _motion(
    track: FaceTrack,
    frames: np.ndarray,
    wanted: np.ndarray,
    calibration: _Calibration,
    lips: LipGap,
    rest: RestFace | None,
) -> MotionClip:
    times = track.times[frames]
    raw = between(times, track.blendshapes[frames], wanted)
    smooth = np.clip(savitzky_golay(raw, FACE_FILTER), 0, 1)
    channels = dict(zip(track.names, smooth.T, strict=True))
    # Lids: what rises above the slowly changing base that squinting and looking down give.
    lid = raw[:, [track.names.index("eyeBlinkLeft"), track.names.index("eyeBlinkRight")]].mean(axis=1)
    base = percentile_filter(lid, 30, size=31)
    blink = np.clip((lid - base - 0.08) / np.clip(0.62 - base, 0.2, None), 0, 1)
    # A closing lid looks to the tracker like looking down and squinting: both wait until it is open again.
    open_eyes = ~binary_dilation(blink > SHUT, iterations=2)
    if rest is not None and track.shapes is not None:
        shapes = savitzky_golay(between(times, track.shapes[frames], wanted), FACE_FILTER)
        exp = mapped_expression(smooth, shapes, rest, open_eyes)
        exp[:, [INDEX[name] for name in EXPRESSIONS if name.startswith(KEPT)]] = 0
    else:
        exp = _scored_expression(channels, calibration)
    hidden = [INDEX[name] for name in EXPRESSIONS if name.startswith(("eyeLook", "eyeSquint"))]
    if open_eyes.any():
        exp[:, hidden] = fill(exp[:, hidden], open_eyes)

    gap = savitzky_golay(between(times, _lip_gap(track, frames), wanted), LIP_FILTER, 3)
    jaw = JAW_SHARE * channels["jawOpen"] * lips.head.jaw_open_angle
    target = np.clip(gap - calibration.closed, 0, None)
    if rest is not None:
        # How the lips part the map has told: the jaw drops until the gap is the target at least.
        for _ in range(2):
            missing = np.clip(target - lips.of(exp, jaw), 0, None)
            jaw = np.clip(jaw + missing / lips.per_jaw, 0, lips.head.jaw_open_angle)
    exp, jaw = lips.reach(exp, jaw, target)
    exp[:, both("eyeBlink")] = blink[:, None]

    straight = calibration.head
    if rest is not None and rest.rotation is not None:
        straight = Rotation.from_rotvec(rest.rotation)
    turned = (Rotation.from_rotvec(track.rotations[frames]) * straight.inv()).as_rotvec()
    pose = np.zeros((len(wanted), 6), np.float32)
    pose[:, :3] = savitzky_golay(between(times, continuous(turned), wanted), HEAD_FILTER)
    pose[:, 3] = jaw
    provenance = {
        "source": "video",
        "file": track.video.name,
        "tracker": "MediaPipe face landmarker",
        "head_rotation": True,
        "rest": "given" if rest is not None else "estimated",
    }
    return MotionClip(
        np.clip(exp, 0, 1).astype(np.float32), pose, FPS, "arkit", None, EXPRESSIONS, provenance
    )


def _scored_expression(channels: dict[str, np.ndarray], calibration: _Calibration) -> np.ndarray:
    """ARKit coefficients (T, 50) of the tracker's scores, each from its own neutral; lids and closed lips at rest."""
    exp = np.zeros((len(channels["jawOpen"]), len(EXPRESSIONS)), np.float32)
    for name in EXPRESSIONS:
        if name in channels and not name.startswith(("eyeBlink", "eyeLook", "mouthClose")):
            neutral = calibration.neutral[name]
            # Channels whose response has been measured are scaled; for those the bias counts as part of it.
            if name in GAINS:
                exp[:, INDEX[name]] = np.clip(GAINS[name] * (channels[name] - neutral), 0, 0.9)
            else:
                exp[:, INDEX[name]] = (channels[name] - neutral) / (1 - neutral)
    left, up = _gaze(channels)
    left, up = left - calibration.gaze[0], up - calibration.gaze[1]
    for (towards, away), value in zip(GAZE, (left, left, up, up), strict=True):
        exp[:, INDEX[towards]], exp[:, INDEX[away]] = value, -value
    return np.clip(exp, 0, 1)
