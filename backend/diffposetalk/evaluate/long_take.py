# SPDX-License-Identifier: GPL-3.0-or-later
"""How a model behaves over one long recording: joins between windows, blinks, head amplitude, spectra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..config import FPS
from ..generation.batching import generate_lines
from ..generation.line import Line
from ..generation.options import GenerationOptions
from ..head.geometry import FaceRegions
from ..motion.arkit import both
from ..motion.clip import MotionClip, to_vectors
from ..motion.dynamics import blinks_per_minute, motion_speed, power_above, seam_percentile
from ..networks.model import DiffPoseTalk
from ..sound.audio import SAMPLE_RATE, SpeechAudio
from .confidence import Estimate, estimate
from .evaluation import HEAD_RATE
from .references import Reference

NOT_FASTER = 0.95


@dataclass(frozen=True)
class LongTake:
    """Figures by the keys of `reported_figures.LONG_TAKE`, the takes they are of, and their mouth openings, metres."""

    seconds: float
    estimates: dict[str, Estimate]
    clips: list[MotionClip]
    openings: list[np.ndarray]


def joined_speech(references: Sequence[Reference], seconds: float) -> SpeechAudio:
    """Recordings said one after the other, beginning again if they are too few, `seconds` in all."""
    wanted = int(seconds * SAMPLE_RATE)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < wanted:
        parts.append(references[len(parts) % len(references)].samples())
    samples = np.concatenate(parts)[:wanted]
    return SpeechAudio(samples, SAMPLE_RATE, 1, len(samples) / SAMPLE_RATE, "0" * 64, "joined recordings")


def evaluate_long_take(
    model: DiffPoseTalk,
    audio: SpeechAudio,
    style: torch.Tensor | None,
    regions: FaceRegions,
    options: GenerationOptions,
) -> LongTake:
    """Generate and measure; `regions` are of a head of the model's basis."""
    [(_, clips)] = generate_lines(model, [Line(audio, options, style)])
    openings = [regions.track(clip).opening for clip in clips]
    by_take = [take_figures(model, *take) for take in zip(clips, openings, strict=True)]
    estimates = {}
    for key in by_take[0]:
        values = [figures[key] for figures in by_take]
        if np.isfinite(values).any():
            estimates[key] = estimate(values)
    return LongTake(audio.seconds, estimates, clips, openings)


def take_figures(model: DiffPoseTalk, clip: MotionClip, opening: np.ndarray | None) -> dict[str, float]:
    """Figures of one take, NaN where the basis or the length do not allow them."""
    window = model.config.denoiser.window
    scale = model.normalizer.motion_std.cpu().numpy()
    degrees = np.degrees(clip.pose[:, :3])
    out = {
        "seam_motion": _seams(
            motion_speed(to_vectors(clip, model.config.denoiser.motion_dim), scale), window
        ),
        "seam_lips": float("nan") if opening is None else _seams(np.abs(np.diff(opening)), window),
    }
    if model.config.basis == "arkit":
        lid = clip.exp[:, both("eyeBlink")].mean(axis=1)
        out |= {"long_blinks": blinks_per_minute(lid), "long_lid_rest": float(np.median(lid))}
    if np.ptp(degrees) > 0:
        pitch, yaw, roll = degrees.std(axis=0)
        speed = np.linalg.norm(np.diff(degrees, axis=0), axis=1) * FPS
        out |= {
            "seam_head": _seams(motion_speed(clip.pose[:, :3], np.ones(3)), window),
            "long_head_power": power_above([clip.pose[:, :3]], HEAD_RATE),
            "long_pitch": float(pitch),
            "long_yaw": float(yaw),
            "long_roll": float(roll),
            "long_speed": float(np.median(speed)),
        }
    return out


def _seams(speed: np.ndarray, window: int) -> float:
    """Share of the joins that are no faster than NOT_FASTER of the frames inside windows; NaN without a join."""
    places = seam_percentile(speed, window)
    return float(np.mean(np.array(places) <= NOT_FASTER)) if places else float("nan")
