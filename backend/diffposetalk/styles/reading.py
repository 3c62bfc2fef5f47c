# SPDX-License-Identifier: GPL-3.0-or-later
"""The style of a reference motion (paper equation 8), and which four seconds of it are read.

The style encoder reads one window (100 frames). Of a longer reference that window is chosen by the user, or is the
one closest to the reference's mean style among those in which the mouth moves; or the styles of all such windows are
averaged. Nothing is read across frames in which the face was not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch

from ..errors import StyleError
from ..motion.arkit import MOUTH
from ..motion.clip import MotionClip, resample, to_vectors
from ..motion.smoothing import runs
from ..networks.model import DiffPoseTalk
from ..tracking.video import is_video

Window = int | Literal["auto", "mean"]
"""First frame of the window (at the model's rate), the best one, or the mean over all."""

MIN_REFERENCE_FRAMES = 25
HOP = 5
"""Frames between two windows that are considered."""
MAX_WINDOWS = 240
"""Considered of a reference, spread evenly over a long one."""
ENOUGH_SPEECH = 0.6
"""Of the mouth activity of the reference's livelier windows (75th percentile) that a window must have."""
SMALLEST_SCALE = 0.02
"""Standard deviation that a channel counts with at least: some hardly move in training."""
STILL_MOUTH = 0.02
"""Mouth activity, in standard deviations of the training data a frame, under which nobody is speaking."""
BATCH = 32


@dataclass(frozen=True)
class StyleReading:
    """A style, and what it was read from.

    Attributes:
        vector: (S,) style vector.
        motion: (W, T, D) motion vectors of the windows that it is the mean over.
        starts: first frame of each window.
        frames: of a window; fewer than the encoder's for a short reference.
        notes: sentences for the user, empty where all is well.
    """

    vector: torch.Tensor
    motion: np.ndarray
    starts: tuple[int, ...]
    frames: int
    notes: tuple[str, ...] = ()


def extract_style(model: DiffPoseTalk, clip: MotionClip, start_frame: int | None = None) -> torch.Tensor:
    """Style of one window of a reference motion (paper equation 8), (S,).

    Args:
        start_frame: first of the 100 frames (4 s at 25 fps) that are read; None takes the middle of the clip.

    Raises:
        StyleError: the reference is in another basis, too short (under 1 s), or `start_frame` is outside it.
    """
    vectors = _vectors(model, clip)
    if start_frame is None:
        start_frame = max(0, (len(vectors) - model.config.style_encoder.window) // 2)
    frames = min(model.config.style_encoder.window, len(vectors))
    _check_start(start_frame, len(vectors), frames)
    return encode_windows(model, vectors[None, start_frame : start_frame + frames])[0]


def read_style(model: DiffPoseTalk, clip: MotionClip, window: Window = "auto") -> StyleReading:
    """Read the style of a reference.

    Args:
        clip: in the model's basis; `unseen` in its provenance names stretches (s) without a face.
        window: which four seconds; see the module's description.

    Raises:
        StyleError: `style_basis`; `style_short`, under 1 s; `style_range`, a window outside the reference or over a
            stretch in which no face was seen.
    """
    vectors = _vectors(model, clip)
    seen = seen_frames(clip, len(vectors), model.config.fps)
    size = model.config.style_encoder.window
    notes: list[str] = []
    if isinstance(window, int):
        frames = min(size, len(vectors))
        _check_start(window, len(vectors), frames)
        if not seen[window : window + frames].all():
            raise StyleError(
                f"In the four seconds from frame {window} on the face is not seen throughout. Choose others.",
                "style_range",
            )
        chosen = np.array([window])
    else:
        frames = min(size, max((b - a for a, b in runs(seen)), default=0))
        if frames < MIN_REFERENCE_FRAMES:
            raise _too_short(frames / model.config.fps)
        # First frames of windows in which every frame is seen, evenly spread.
        missing = np.concatenate([[0], np.cumsum(~seen)])
        starts = np.flatnonzero(missing[frames:] == missing[: len(missing) - frames])
        starts = starts[:: max(HOP, int(np.ceil(len(starts) / MAX_WINDOWS)))]
        activity = np.array([mouth_activity(model, vectors[s : s + frames]) for s in starts])
        spoken = starts[activity >= ENOUGH_SPEECH * np.percentile(activity, 75)]
        if window == "mean":
            chosen = spoken
        else:
            styles = encode_windows(model, np.stack([vectors[s : s + frames] for s in spoken]))
            distance = (styles - styles.mean(dim=0)).norm(dim=1)
            chosen = spoken[[int(distance.argmin())]]
    if frames < size:
        notes.append(
            f"The reference is short: {frames / model.config.fps:.1f} s of unbroken motion instead of "
            f"{size / model.config.fps:.0f}. Its style is less certain, blinks and slow head motion above all."
        )
    motion = np.stack([vectors[s : s + frames] for s in chosen])
    if max(mouth_activity(model, w) for w in motion) < STILL_MOUTH:
        notes.append("The mouth hardly moves in it: the style says little of how the person speaks.")
    vector = encode_windows(model, motion).mean(dim=0)
    return StyleReading(vector, motion, tuple(int(s) for s in chosen), frames, tuple(notes))


def encode_windows(model: DiffPoseTalk, windows: np.ndarray) -> torch.Tensor:
    """Style vectors (W, S) of windows of motion vectors (W, T, D)."""
    with torch.no_grad():
        parts = [
            model.encode_style(torch.from_numpy(windows[first : first + BATCH]).to(model.device))
            for first in range(0, len(windows), BATCH)
        ]
    return torch.cat(parts)


def mouth_activity(model: DiffPoseTalk, vectors: np.ndarray) -> float:
    """How much the mouth moves a frame in (T, D), in standard deviations of the training data.

    FLAME's components move the whole face: there the jaw alone tells.
    """
    channels = [*MOUTH, vectors.shape[1] - 1] if model.config.basis == "arkit" else [vectors.shape[1] - 1]
    if len(vectors) < 2:
        return 0.0
    scale = model.normalizer.motion_std.detach().cpu().numpy()[channels]
    steps = np.diff(vectors[:, channels], axis=0) / np.maximum(scale, SMALLEST_SCALE)
    return float(np.sqrt((steps**2).mean(axis=1)).mean())


def seen_frames(clip: MotionClip, count: int, fps: float) -> np.ndarray:
    """(count,) frames at `fps` in which the face was seen, by the clip's provenance."""
    seen = np.ones(count, bool)
    stretches = clip.provenance.get("unseen", ())
    for stretch in stretches if isinstance(stretches, Sequence) else ():
        try:
            start, stop = (float(second) for second in stretch)
        except (TypeError, ValueError, OverflowError):
            continue
        seen[max(0, round(start * fps)) : max(0, round(stop * fps))] = False
    return seen


def reference_motion(
    model: DiffPoseTalk, path: str | Path, heads: dict[str, str] | None = None
) -> MotionClip:
    """A motion file of any kind, or the performance in a video, in the model's basis.

    Args:
        heads: head assets `motion` (which the file speaks for) and `model`, to convert it where the bases differ.

    Raises:
        MotionError: it cannot be read, or is not in the basis of its head. VideoError: it shows no usable face, or
            faces cannot be tracked here.
        StyleError: `style_format`; one of the heads is not given.
        ModelError: a head cannot be read.
    """
    from ..motion.formats import read_motion  # brings SciPy's geometry, which generating does not need

    path = Path(path)
    changed = path.stat().st_mtime_ns if path.is_file() else 0
    clip = _tracked(path, changed) if is_video(path) else read_motion(path)
    if clip.basis == model.config.basis or not heads:
        return clip
    from ..head.basis_conversion import convert
    from ..head.head_model import load_head

    if not {"motion", "model"} <= heads.keys():
        raise StyleError("Conversion needs two heads, “motion” and “model”.", "style_format")
    return convert(clip, load_head(heads["motion"]), load_head(heads["model"]))[0]


@lru_cache(8)
def _tracked(path: Path, changed: int) -> MotionClip:
    """The performance in a video; kept, since all lines of a batch may name the same one."""
    from ..tracking.performance import track_performance

    return track_performance(path).clip


def chosen_window(start_frame: int | None = None, window: str = "auto") -> Window:
    """What `read_style` takes, of two optional values. Raises StyleError."""
    if start_frame is not None:
        if not isinstance(start_frame, int) or isinstance(start_frame, bool):
            raise StyleError("The first frame of a style reference is a whole number.", "style_format")
        return start_frame
    if window in ("auto", "mean"):
        return cast(Window, window)
    raise StyleError(f"A style is read from “auto” or “mean”, not {window!r}.", "style_format")


def _vectors(model: DiffPoseTalk, clip: MotionClip) -> np.ndarray:
    """Motion vectors (T, D) of a reference at the model's rate. Raises StyleError."""
    config = model.config
    if clip.basis != config.basis:
        raise StyleError(
            f"The style reference is in the {clip.basis} basis, the model speaks {config.basis}. "
            "Choose a reference in the model's basis, or convert it: diffposetalk convert motion.",
            "style_basis",
        )
    vectors = to_vectors(resample(clip, config.fps), config.denoiser.motion_dim)
    if len(vectors) < MIN_REFERENCE_FRAMES:
        raise _too_short(len(vectors) / config.fps)
    return vectors


def _too_short(seconds: float) -> StyleError:
    return StyleError(
        f"The style reference is {seconds:.2f} s long; at least 1 s of motion is needed.", "style_short"
    )


def _check_start(start: int, count: int, frames: int) -> None:
    if not 0 <= start <= count - frames:
        raise StyleError(
            f"The style reference has {count} frames; starting at {start} leaves fewer than {frames}.",
            "style_range",
        )
