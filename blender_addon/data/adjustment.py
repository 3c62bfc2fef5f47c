# SPDX-License-Identifier: GPL-3.0-or-later
"""What an animator changes of a motion after it was made, as a function of the motion. No bpy here.

Nothing is lost: the motion as it was made is kept beside the keys, and every change starts from it.
"""

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np

from . import arkit, lips
from .bundled import bundled_jaw_open_angle
from .mapping import part_of
from .motion import Motion

BLINK_HEIGHT = 0.35  # above its surroundings, from where on a closing lid counts as a blink
BLINK_REACH = 0.28  # seconds from a blink's peak to its end, at most
CLOSURE_GAP = 0.08  # jawOpen less mouthClose, below which lips count as closing
CLOSURE_REACH = 0.4  # seconds around a closure in which the mouth must open: silence is no closure
CLOSURE_OPENS = 0.1
PRESSED = {"mouthPressLeft": 0.6, "mouthPressRight": 0.6, "mouthRollLower": 0.2, "mouthRollUpper": 0.2}


@dataclass(frozen=True)
class Adjustment:
    """Factors are 1 and additions 0 where nothing is changed.

    mouth: factor of lips, cheeks and jaw.
    lip_press: 0 to 1, how firmly lips are pressed where they close.
    upper: factor of brows, squinting and widened eyes.
    head_pitch, head_yaw, head_roll: factors of the head's rotation.
    blink_strength: factor of how far lids close; blink_rate: of how often.
    eyelid_offset: -0.5 to 0.5, added to how closed the lids are.
    smooth_lower, smooth_upper: standard deviations in seconds.
    time_offset: seconds by which the motion comes later.
    asymmetry: -1 to 1; positive moves the character's left side more and the right side less.
    """

    mouth: float = 1.0
    lip_press: float = 0.0
    upper: float = 1.0
    head_pitch: float = 1.0
    head_yaw: float = 1.0
    head_roll: float = 1.0
    blink_strength: float = 1.0
    blink_rate: float = 1.0
    eyelid_offset: float = 0.0
    smooth_lower: float = 0.0
    smooth_upper: float = 0.0
    time_offset: float = 0.0
    asymmetry: float = 0.0


NAMES = tuple(field.name for field in fields(Adjustment))


@lru_cache(maxsize=8)
def _columns(names: tuple[str, ...]) -> dict[str, Any]:
    at = {name: index for index, name in enumerate(names)}
    lower = [i for name, i in at.items() if part_of(name) == "LIPS"]
    moved = [name for name in names if not name.startswith(("eyeBlink", "eyeLook"))]
    upper = [at[name] for name in moved if part_of(name) == "UPPER"]
    lids = [i for name, i in at.items() if name.startswith("eyeBlink")]
    sided = [i for i in (*lower, *upper) if names[i].endswith(("Left", "Right"))]
    signs = np.array([1.0 if names[i].endswith("Left") else -1.0 for i in sided])
    return {"at": at, "lower": lower, "upper": upper, "lids": lids, "sided": sided, "signs": signs}


def adjusted(motion: Motion, change: Adjustment) -> Motion:
    """The motion with its changes; the time offset is left to `resample_motion`.

    Only head, jaw and smoothing can be changed of motion in FLAME's basis, whose components each move the whole
    face.
    """
    head = motion.head * (change.head_pitch, change.head_yaw, change.head_roll)
    exp, jaw = motion.exp.astype(np.float64), motion.jaw * change.mouth
    if motion.basis != "arkit":
        exp = smoothed(exp, change.smooth_lower * motion.fps)
        return replace(motion, exp=exp, head=head, jaw=smoothed(jaw, change.smooth_lower * motion.fps))
    columns = _columns(motion.expression_names or arkit.EXPRESSION_NAMES)
    at, lower, upper, lids = columns["at"], columns["lower"], columns["upper"], columns["lids"]
    if change.smooth_lower > 0:
        exp[:, lower] = smoothed(exp[:, lower], change.smooth_lower * motion.fps)
        jaw = smoothed(jaw, change.smooth_lower * motion.fps)
    if change.smooth_upper > 0:
        exp[:, upper] = smoothed(exp[:, upper], change.smooth_upper * motion.fps)
    exp[:, lower] *= change.mouth
    exp[:, upper] *= change.upper
    if change.asymmetry:
        exp[:, columns["sided"]] *= 1.0 + columns["signs"] * change.asymmetry
    if lids and (change.blink_strength != 1 or change.blink_rate != 1):
        exp[:, lids] = _blinks(exp[:, lids], motion.fps, change.blink_strength, change.blink_rate)
    if change.eyelid_offset and lids:
        exp[:, lids] += change.eyelid_offset
        wide = [at[name] for name in ("eyeWideLeft", "eyeWideRight") if name in at]
        exp[:, wide] += max(0.0, -change.eyelid_offset)
    if change.lip_press > 0 and "mouthClose" in at:
        closing = change.lip_press * _closures(exp[:, at["mouthClose"]], jaw[:, 0], motion.fps)
        for name, amount in PRESSED.items():
            if name in at:
                exp[:, at[name]] += amount * closing
        jaw = jaw * (1.0 - closing)[:, None]
        exp[:, at["mouthClose"]] *= 1.0 - closing  # it takes back what the jaw opens, and no more
    exp = np.clip(exp, 0.0, 1.0)
    if change != Adjustment():
        jaw = _uncrossed(motion, exp, jaw)
    return replace(motion, exp=exp, head=head, jaw=jaw)


def _uncrossed(motion: Motion, exp: np.ndarray, jaw: np.ndarray) -> np.ndarray:
    """The jaw under which changed expressions press the lips no further into each other than they may be.

    What mouthClose takes back too much is taken from it, in place; the jaw opens for the rest.
    """
    names, angle = motion.expression_names or arkit.EXPRESSION_NAMES, bundled_jaw_open_angle()

    def signed(of: np.ndarray, pitch: np.ndarray) -> np.ndarray:
        return lips.signed_opening(
            {**dict(zip(names, of.T, strict=True)), arkit.JAW_OPEN: pitch[:, 0] / angle}
        )

    allowed = np.minimum(signed(motion.exp.astype(np.float64), motion.jaw), -lips.PRESSED)
    through = np.maximum(allowed - signed(exp, jaw), 0.0)
    if "mouthClose" in names:
        close = exp[:, names.index("mouthClose")]
        given = np.minimum(close, through / -lips.OPENING["mouthClose"])
        close -= given
        through = through + given * lips.OPENING["mouthClose"]
    return jaw + np.column_stack([through * angle, np.zeros((len(jaw), 2))])


def smoothed(values: np.ndarray, frames: float) -> np.ndarray:
    """(T, C) values under a Gaussian of this standard deviation in frames; the ends are held."""
    if frames < 1e-3 or len(values) < 2:
        return values
    reach = min(int(np.ceil(4 * frames)), len(values) - 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / frames) ** 2)
    kernel /= kernel.sum()
    held = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    size = len(held) + 2 * reach
    spectrum = np.fft.rfft(held, size, axis=0) * np.fft.rfft(kernel, size)[:, None]
    return np.fft.irfft(spectrum, size, axis=0)[2 * reach : 2 * reach + len(values)]


def find_blinks(lids: np.ndarray, fps: float) -> list[tuple[int, int, int]]:
    """The blinks in (T,) lid closing: first frame, peak and last frame of each."""
    reach = max(2, round(BLINK_REACH * fps))
    blinks: list[tuple[int, int, int]] = []
    peaks = np.flatnonzero((lids[1:-1] >= lids[:-2]) & (lids[1:-1] > lids[2:])) + 1
    for peak in peaks.tolist():
        first, last = max(0, peak - reach), min(len(lids) - 1, peak + reach)
        first = peak - int(np.argmin(lids[first : peak + 1][::-1]))
        last = peak + int(np.argmin(lids[peak : last + 1]))
        if lids[peak] - max(lids[first], lids[last]) < BLINK_HEIGHT:
            continue
        if blinks and first < blinks[-1][2]:
            if lids[peak] <= lids[blinks[-1][1]]:
                continue
            blinks.pop()
        blinks.append((first, peak, last))
    return blinks


def _blinks(lids: np.ndarray, fps: float, strength: float, rate: float) -> np.ndarray:
    """(T, 2) lids whose blinks are weaker, stronger, fewer or more; between blinks they stay as they are."""
    blinks = find_blinks(lids.mean(axis=1), fps)
    if not blinks:
        return lids
    resting = lids.copy()
    shapes = []
    for first, _, last in blinks:
        part = np.linspace(0, 1, last - first + 1)[:, None]
        line = lids[first] * (1 - part) + lids[last] * part
        shapes.append(lids[first : last + 1] - line)
        resting[first : last + 1] = line
    share = min(rate, 1.0)
    kept = [k for k in range(len(blinks)) if int((k + 1) * share + 1e-9) > int(k * share + 1e-9)]
    peaks: list[int] = [blinks[k][1] for k in kept]
    placed = [(blinks[k][0], shapes[k]) for k in kept]
    for added in range(round((rate - 1) * len(blinks)) if rate > 1 else 0):
        ends = np.sort(np.array([0, *peaks, len(lids) - 1]))
        gap = int(np.argmax(np.diff(ends)))
        middle = int(ends[gap] + ends[gap + 1]) // 2
        shape = shapes[added % len(shapes)]
        lead = blinks[added % len(shapes)][1] - blinks[added % len(shapes)][0]
        peaks.append(middle)
        placed.append((middle - lead, shape))
    for first, shape in placed:
        begin, end = max(0, first), min(len(resting), first + len(shape))
        if end > begin:
            resting[begin:end] += strength * shape[begin - first : end - first]
    return np.clip(resting, 0.0, 1.0)


def _closures(close: np.ndarray, jaw: np.ndarray, fps: float) -> np.ndarray:
    """(T,) 0 to 1: how much the lips are at a closure, between openings of the mouth.

    Args:
        close: mouthClose; jaw: pitch in radians, of which about 0.4 opens the mouth fully.
    """
    gap = np.maximum(jaw / 0.4 - close, 0.0)
    closed = np.clip(1.0 - gap / CLOSURE_GAP, 0.0, 1.0)
    reach = max(1, round(CLOSURE_REACH * fps))
    held = np.pad(gap, reach, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(held, 2 * reach + 1).max(axis=1)
    return closed * (around > CLOSURE_OPENS)
