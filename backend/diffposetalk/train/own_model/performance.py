# SPDX-License-Identifier: GPL-3.0-or-later
"""Speaking styles as interpretable factors, and the performance they make of bare lip motion.

Recordings with real head, lid and brow motion are few, so training speakers are given a style drawn from
these factors: lips are exaggerated or damped, a resting expression is added, and head, lids, gaze and brows
are moved by prosody plus slow random motion whose spectrum and amplitudes follow measured speakers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, savgol_filter, sosfilt

from ...config import FPS
from ...motion.arkit import INDEX, both
from .prosody import Prosody

HEAD_LEAD = 0.17
"""Seconds by which the head's beats precede the sound they accent, as measured."""


def _drawn(default: float, low: float, high: float, geometric: bool = False) -> Any:
    """A factor, and where random ones are drawn: uniformly, or their logarithm is."""
    return field(default=default, metadata={"low": low, "high": high, "geometric": geometric})


@dataclass(frozen=True)
class StyleFactors:
    """One manner of speaking. Lip factors multiply; rests are added coefficients (0–1); angles in degrees.

    A negative smile, frown, squint or brow activity means none, so that many random speakers have none.
    """

    mouth: float = _drawn(1.0, 0.6, 1.65, geometric=True)
    lips: float = _drawn(1.0, 0.6, 1.5)
    rounding: float = _drawn(1.0, 0.7, 1.5)
    smile: float = _drawn(0.0, -0.2, 0.38)
    frown: float = _drawn(0.0, -0.2, 0.25)
    asymmetry: float = _drawn(0.0, -0.2, 0.2)
    brow_activity: float = _drawn(0.1, -0.1, 0.45)
    brow_rest: float = _drawn(0.0, -0.35, 0.2)
    squint: float = _drawn(0.0, -0.2, 0.3)
    blinks: float = _drawn(16.0, 7.0, 22.0)
    gaze: float = _drawn(0.1, 0.02, 0.25)
    head: float = _drawn(1.0, 0.35, 2.4, geometric=True)
    """Multiplies what the head does: the next three, and the beats."""
    pitch: float = _drawn(1.8, 1.4, 2.2)
    yaw: float = _drawn(2.3, 1.7, 3.2)
    roll: float = _drawn(1.9, 1.3, 2.6)
    tempo: float = _drawn(0.26, 0.2, 0.42)
    beat: float = _drawn(0.8, 0.3, 1.5)
    rest_pitch: float = _drawn(0.0, -4.0, 4.0)
    rest_yaw: float = _drawn(0.0, -4.0, 4.0)
    rest_roll: float = _drawn(0.0, -3.0, 3.0)


def draw_factors(rng: np.random.Generator) -> StyleFactors:
    """A random manner of speaking."""

    def draw(low: float, high: float, geometric: bool) -> float:
        if geometric:
            return float(np.exp(rng.uniform(np.log(low), np.log(high))))
        return float(rng.uniform(low, high))

    return StyleFactors(**{f.name: draw(**f.metadata) for f in fields(StyleFactors)})


def perform(
    lips: np.ndarray, jaw: np.ndarray, prosody: Prosody, factors: StyleFactors, rng: np.random.Generator
) -> np.ndarray:
    """A whole performance, (T, 54) motion vectors, from lip motion.

    Args:
        lips: (T, 50) ARKit coefficients of which only the mouth's are read.
        jaw: (T,) jaw pitch, radians.
        prosody: of the same T frames.
    """
    frames = len(lips)
    motion = np.zeros((frames, 54), np.float32)
    motion[:, :50], motion[:, 53] = shape_lips(lips, jaw, factors)
    _add_rest(motion, factors, rng)
    _add_brows(motion, prosody, factors, rng)
    _add_gaze(motion, factors, rng)
    _add_blinks(motion, prosody, factors, rng)
    motion[:, 50:53] = head_rotation(prosody, factors, rng)
    motion[:, :50] = np.clip(motion[:, :50], 0, 1)
    return motion


def shape_lips(lips: np.ndarray, jaw: np.ndarray, factors: StyleFactors) -> tuple[np.ndarray, np.ndarray]:
    """Exaggerate or damp lip motion. What closes the lips scales with what opens them, so closures stay closed."""
    out = lips.copy()
    out[:, INDEX["mouthClose"]] *= factors.mouth
    for name in ("mouthLowerDown", "mouthUpperUp"):
        out[:, both(name)] *= factors.mouth * factors.lips
    for name in ("mouthStretch", "mouthPress", "mouthDimple"):
        out[:, both(name)] *= factors.lips
    for name in ("mouthPucker", "mouthFunnel"):
        out[:, INDEX[name]] *= factors.rounding
    return out, jaw * factors.mouth


def _slow(frames: int, cutoff: float, rng: np.random.Generator) -> np.ndarray:
    """Unit-variance random motion with power falling as frequency to the −4 above `cutoff` Hz."""
    settle = int(8 * FPS)
    noise = rng.standard_normal(frames + settle)
    out = sosfilt(butter(2, cutoff, fs=FPS, output="sos"), noise)[settle:]
    # Normalised by the filter's own gain, not by the clip's spread: short clips may well hold still.
    return out / np.sqrt(1.11 * cutoff * 2 / FPS)


def _add_rest(motion: np.ndarray, f: StyleFactors, rng: np.random.Generator) -> None:
    frames = len(motion)
    smile, frown, squint = max(0.0, f.smile), max(0.0, f.frown), max(0.0, f.squint)
    if smile > frown:
        frown = 0.0
    else:
        smile = 0.0
    # A puckered or wide open mouth leaves less room for a smile.
    room = np.clip(1 - motion[:, INDEX["mouthPucker"]] - 0.5 * motion[:, INDEX["mouthFunnel"]], 0.2, 1)
    breathe = 1 + 0.25 * _slow(frames, 0.15, rng)
    for side, sign in (("Left", 1), ("Right", -1)):
        lean = 1 + 2 * sign * f.asymmetry
        motion[:, INDEX["mouthSmile" + side]] += smile * lean * room * breathe
        motion[:, INDEX["cheekSquint" + side]] += 0.6 * smile * lean * breathe
        motion[:, INDEX["mouthFrown" + side]] += frown * lean * room * breathe
        motion[:, INDEX["eyeSquint" + side]] += (squint + 0.3 * smile) * breathe
        motion[:, INDEX["browDown" + side]] += max(0.0, -f.brow_rest) * breathe
    motion[:, INDEX["mouthLeft" if f.asymmetry > 0 else "mouthRight"]] += 0.4 * abs(f.asymmetry)


def _add_brows(motion: np.ndarray, prosody: Prosody, f: StyleFactors, rng: np.random.Generator) -> None:
    frames = len(motion)
    activity = max(0.0, f.brow_activity)
    raised = np.full(frames, max(0.0, f.brow_rest))
    raised += activity * 0.5 * np.clip(_slow(frames, 0.2, rng), 0, None)
    for frame, strength in prosody.accents:
        if rng.random() < 0.45 * strength + 0.1:
            raised += activity * (0.5 + strength) * _bump(frames, frame - 3, rng.uniform(4, 8))
    tilt = 0.15 * _slow(frames, 0.1, rng)
    motion[:, INDEX["browInnerUp"]] += raised
    motion[:, INDEX["browOuterUpLeft"]] += raised * np.clip(0.7 + tilt + f.asymmetry, 0, None)
    motion[:, INDEX["browOuterUpRight"]] += raised * np.clip(0.7 - tilt - f.asymmetry, 0, None)
    motion[:, both("eyeWide")] += 0.3 * raised[:, None]
    motion[:, both("browDown")] *= np.clip(1 - 2 * raised, 0, 1)[:, None]


def _add_gaze(motion: np.ndarray, f: StyleFactors, rng: np.random.Generator) -> None:
    """Fixations of a third of a second to three seconds, joined by saccades of about two frames."""
    frames = len(motion)
    side, up = np.zeros(frames), np.zeros(frames)
    t = 0
    while t < frames:
        stop = t + int(rng.gamma(2.0, 0.6) * FPS) + 8
        away = 1.0 if rng.random() < 0.75 else 2.2
        side[t:stop] = away * f.gaze * rng.standard_normal()
        up[t:stop] = 0.6 * away * f.gaze * rng.standard_normal()
        t = stop
    side, up = gaussian_filter1d(side, 0.7), gaussian_filter1d(up, 0.7)
    for name, value in (
        ("eyeLookOutLeft", side),
        ("eyeLookInRight", side),
        ("eyeLookInLeft", -side),
        ("eyeLookOutRight", -side),
        ("eyeLookUpLeft", up),
        ("eyeLookUpRight", up),
        ("eyeLookDownLeft", -up),
        ("eyeLookDownRight", -up),
    ):
        motion[:, INDEX[name]] += np.clip(value, 0, 0.6)


def _add_blinks(motion: np.ndarray, prosody: Prosody, f: StyleFactors, rng: np.random.Generator) -> None:
    """Blinks 0.2 s wide at half height, quick to close and slower to open, more likely where speech pauses."""
    frames = len(motion)
    mean = 60 / f.blinks
    times: list[float] = []
    t = rng.exponential(mean) * 0.8
    while t < frames / FPS:
        near = [p / FPS for p in prosody.pauses if abs(p / FPS - t) < 0.8]
        times.append(near[0] + rng.uniform(0, 0.15) if near and rng.random() < 0.6 else t)
        t = times[-1] + 0.4 + rng.exponential(max(0.3, mean - 0.4))
    frame = np.arange(frames) / FPS
    lid = np.zeros(frames)
    for t in times:
        width = rng.uniform(0.85, 1.2)
        close, hold, reopen = 0.09 * width, 0.04, 0.17 * width
        shape = np.interp(frame, [t - close, t, t + hold, t + hold + reopen], [0, 1, 1, 0], left=0, right=0)
        lid = np.maximum(lid, rng.uniform(0.9, 1.0) * 0.5 * (1 - np.cos(np.pi * shape)))
    for side in ("Left", "Right"):
        # A closed lid leaves no room for squint or width.
        motion[:, INDEX["eyeSquint" + side]] *= 1 - lid
        motion[:, INDEX["eyeWide" + side]] *= 1 - lid
        motion[:, INDEX["eyeBlink" + side]] = lid


def head_rotation(prosody: Prosody, f: StyleFactors, rng: np.random.Generator) -> np.ndarray:
    """Head rotation (T, 3), axis-angle radians: slow drift, livelier in speech, and nods on accents."""
    frames = len(prosody.energy)
    lively = 0.75 + 0.35 * gaussian_filter1d(prosody.speaking, 6)
    pitch = f.rest_pitch + f.head * f.pitch * 0.8 * _slow(frames, 1.35 * f.tempo, rng) * lively
    yaw = f.rest_yaw + f.head * f.yaw * _slow(frames, f.tempo, rng) * lively
    roll = f.rest_roll + f.head * f.roll * _slow(frames, 0.7 * f.tempo, rng)
    lead = HEAD_LEAD * FPS
    for frame, strength in prosody.accents:
        if rng.random() < 0.25 + 0.6 * strength:
            size = f.head * f.beat * strength * rng.uniform(0.6, 1.5)
            width = rng.uniform(3.5, 6.0)
            # A beat lifts the chin a little before it drops it on the stressed syllable.
            pitch += size * (
                _bump(frames, frame - lead + width, width) - 0.5 * _bump(frames, frame - lead - width, width)
            )
            yaw += 0.3 * size * rng.standard_normal() * _bump(frames, frame - lead, 1.4 * width)
    angles = np.radians(np.stack([pitch, yaw, roll], axis=1))
    return savgol_filter(angles, 9, 2, axis=0) if frames >= 9 else angles


def _bump(frames: int, centre: float, width: float) -> np.ndarray:
    return np.exp(-0.5 * ((np.arange(frames) - centre) / width) ** 2)


PRESETS: dict[str, tuple[str, str, StyleFactors]] = {}


def _preset(key: str, name: str, description: str, **changes: float) -> None:
    PRESETS[key] = (name, description, replace(StyleFactors(), **changes))


_preset("neutral", "Neutral", "Even delivery: ordinary mouth, small head motion")
_preset(
    "lively", "Lively", "Large mouth, busy brows, strong nods", mouth=1.35, lips=1.2, brow_activity=0.4, head=1.8,
    beat=1.4, tempo=0.36, blinks=18,
)  # fmt: skip
_preset(
    "calm", "Calm", "Small mouth, slow and quiet head", mouth=0.8, lips=0.85, brow_activity=0.0, head=0.5, beat=0.4,
    tempo=0.2, blinks=11,
)  # fmt: skip
_preset(
    "warm", "Warm Smile", "Smiling at rest, friendly brows", smile=0.36, brow_activity=0.25, mouth=1.05, head=1.1,
    roll=2.6, beat=1.0, blinks=16,
)  # fmt: skip
_preset(
    "stern", "Stern", "Lowered brows, corners down, still head", frown=0.22, brow_rest=-0.33, squint=0.2,
    brow_activity=0.0, head=0.5, beat=1.4, blinks=8, gaze=0.04,
)  # fmt: skip
_preset(
    "mumbling", "Mumbling", "Barely opens the mouth, looks around", mouth=0.62, lips=0.65, rounding=0.75, gaze=0.24,
    rest_pitch=3.5, brow_activity=0.0, beat=0.3, blinks=20,
)  # fmt: skip
_preset(
    "announcer", "Announcer", "Wide, crisp mouth and rounded lips over a steady head", mouth=1.5, lips=1.4,
    rounding=1.45, head=0.6, beat=1.3, gaze=0.04, blinks=10,
)  # fmt: skip
_preset(
    "excited", "Excited", "Raised brows, wide mouth, restless head", mouth=1.45, brow_activity=0.45, brow_rest=0.15,
    head=2.3, tempo=0.42, beat=1.5, gaze=0.18, blinks=21, smile=0.2,
)  # fmt: skip
_preset(
    "sorrowful", "Sorrowful", "Corners down, head bowed, little motion", mouth=0.7, lips=0.75, frown=0.25,
    brow_rest=0.12, brow_activity=0.1, rest_pitch=4.0, head=0.55, tempo=0.2, beat=0.3, blinks=18,
)  # fmt: skip
_preset(
    "smirk", "Smirk", "One corner up, head tilted, narrowed eyes", smile=0.3, asymmetry=0.2, squint=0.22,
    rest_roll=2.8, head=0.8, blinks=10,
)  # fmt: skip
_preset(
    "attentive", "Attentive", "Raised brows, eyes on the listener, gentle nods", brow_rest=0.2, brow_activity=0.3,
    gaze=0.03, pitch=2.2, yaw=1.7, beat=1.4, smile=0.1, blinks=14,
)  # fmt: skip
_preset(
    "tense", "Tense", "Tight lips, narrowed eyes, quick small head motion", mouth=0.75, lips=1.4, rounding=0.8,
    squint=0.3, brow_rest=-0.2, head=0.7, tempo=0.42, beat=1.2, blinks=22,
)  # fmt: skip
