# SPDX-License-Identifier: GPL-3.0-or-later
"""A model against a tracked speaker's held-out clips, and how its motion behaves over a long recording."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..audio import SpeechAudio, load_speech
from ..config import FPS
from ..generation import generate
from ..head_model import HeadModel, load_head
from ..model import DiffPoseTalk
from ..motion import MotionClip, to_vectors
from ..train.arkit import INDEX
from ..train.corpora import Utterance, read_corpus
from ..train.tracked_motion import LipGap, TrackedCorpus
from .articulation import Articulation, articulation, rounding
from .dynamics import blinks_per_minute, motion_speed, power_above, seam_percentile
from .lip_sync import lag_and_correlation

ROUNDING_CHANNELS = (INDEX["mouthPucker"], INDEX["mouthFunnel"])


def evaluate_speaker(
    model: DiffPoseTalk,
    folder: Path,
    style: torch.Tensor | None,
    clips: int | None = None,
    seed: int = 0,
    on_clip: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> dict[str, float]:
    """Articulation of generated motion on the validation clips of a tracked corpus such as grid_s1.

    Args:
        folder: the corpus (index.json, sound, tracked motion, meta.json).
        style: style vector (S,) or None.
        clips: how many validation clips; None takes all.
        settings: passed on to `generate` (guidance, sampler, steps).

    Returns:
        Figures by name; `real …` are those of the tracked speaker on the same clips.
    """
    head = load_head()
    gap = LipGap(head)
    utterances = read_corpus(folder)
    tracker = TrackedCorpus(
        folder, head, [u.motion for u in utterances if u.motion and not u.validation][:200]
    )
    chosen = [u for u in utterances if u.validation and u.motion][:clips]
    generated, real = Articulation(), Articulation()
    curves: list[tuple[np.ndarray, np.ndarray]] = []
    rounded: list[float] = []
    unrounded: list[float] = []
    lips: list[float] = []
    for i, utterance in enumerate(chosen):
        assert utterance.motion is not None
        audio = load_speech(utterance.sound)
        [clip] = generate(model, audio, style=style, seeds=[seed + i], **settings)
        opening = gap.of(clip.exp, clip.pose[:, 3])
        tracked = tracker.lip_gap(utterance.motion)
        generated += articulation(opening, utterance.phones)
        real += articulation(tracked, utterance.phones)
        curves.append((opening, tracked))
        r, u = rounding(clip.exp[:, list(ROUNDING_CHANNELS)].sum(axis=1), utterance.phones)
        rounded += r
        unrounded += u
        lips.append(float(np.percentile(opening, 95) / max(np.percentile(tracked, 95), 1e-6)))
        if on_clip:
            on_clip(i + 1, len(chosen))
    lag, correlation = lag_and_correlation(curves)
    return {
        "clips": len(chosen),
        "closure": generated.closure,
        "real closure": real.closure,
        "opening": generated.opening,
        "real opening": real.opening,
        "bilabials": generated.bilabials,
        "open vowels": generated.open_vowels,
        "opening correlation": correlation,
        "lag (frames)": lag,
        "rounding on rounded": float(np.mean(rounded)),
        "rounding on unrounded": float(np.mean(unrounded)),
        "opening amplitude over tracked": float(np.median(lips)),
    }


def evaluate_voices(
    model: DiffPoseTalk,
    folder: Path,
    style: torch.Tensor | None,
    clips: int = 60,
    seed: int = 0,
    **settings: Any,
) -> dict[str, float]:
    """Closures and openings on voices kept out of training that have phone timings but no tracked motion."""
    gap = LipGap(load_head())
    chosen = [u for u in read_corpus(folder) if u.validation][:clips]
    total = Articulation()
    for i, utterance in enumerate(chosen):
        [clip] = generate(model, load_speech(utterance.sound), style=style, seeds=[seed + i], **settings)
        total += articulation(gap.of(clip.exp, clip.pose[:, 3]), utterance.phones)
    return {"clips": len(chosen), "closure": total.closure, "opening": total.opening}


def evaluate_dynamics(
    model: DiffPoseTalk,
    audio: SpeechAudio,
    style: torch.Tensor | None,
    seeds: Sequence[int] = (0, 1),
    **settings: Any,
) -> dict[str, float]:
    """Seams, blinks, head motion, jitter and the difference of takes over one long recording."""
    clips = generate(model, audio, style=style, seeds=list(seeds), **settings)
    head = load_head()
    window = model.config.denoiser.window
    vectors = [to_vectors(c, model.config.denoiser.motion_dim) for c in clips]
    scale = model.normalizer.motion_std.cpu().numpy()
    seams = [p for v in vectors for p in seam_percentile(motion_speed(v, scale), window)]
    lip_seams = [p for c in clips for p in seam_percentile(_lip_speed(head, c), window)]
    head_seams = [p for c in clips for p in seam_percentile(motion_speed(c.pose[:, :3], np.ones(3)), window)]
    rotation = np.degrees(np.concatenate([c.pose[:, :3] for c in clips]))
    speed = np.concatenate(
        [np.linalg.norm(np.diff(np.degrees(c.pose[:, :3]), axis=0), axis=1) * FPS for c in clips]
    )
    out = {
        "seconds": len(clips[0]) / FPS,
        "seams within the 95th percentile": float(np.mean(np.array(seams) <= 0.95)),
        "lip seams within the 95th percentile": float(np.mean(np.array(lip_seams) <= 0.95)),
        "head seams within the 95th percentile": float(np.mean(np.array(head_seams) <= 0.95)),
        "mean seam percentile": float(np.mean(seams)),
        "blinks a minute": float(
            np.mean([blinks_per_minute(c.exp[:, INDEX["eyeBlinkLeft"]]) for c in clips])
        ),
        "lid at rest": float(np.median(np.concatenate([c.exp[:, INDEX["eyeBlinkLeft"]] for c in clips]))),
        "head speed median (deg/s)": float(np.median(speed)),
        "head speed 95th (deg/s)": float(np.percentile(speed, 95)),
        "head power above 6 Hz": power_above([c.pose[:, :3] for c in clips], 6.0),
        "mouth power above 8 Hz": power_above([c.pose[:, 3] for c in clips], 8.0),
    }
    for k, name in enumerate(("pitch", "yaw", "roll")):
        out[f"head {name} std (deg)"] = float(rotation[:, k].std())
    if len(clips) > 1:
        out["difference of takes, head (deg)"] = float(
            np.degrees(np.linalg.norm(clips[0].pose[:, :3] - clips[1].pose[:, :3], axis=1)).mean()
        )
        out["difference of takes, expression"] = float(np.abs(clips[0].exp - clips[1].exp).mean())
    return out


def _lip_speed(head: HeadModel, clip: MotionClip) -> np.ndarray:
    return np.abs(np.diff(head.lip_gap(clip.exp, clip.pose)))


def joined_validation_speech(folder: Path, seconds: float) -> SpeechAudio:
    """Validation clips said one after the other, for measuring what long recordings do."""
    chosen: list[Utterance] = [u for u in read_corpus(folder) if u.validation]
    parts: list[np.ndarray] = []
    for utterance in chosen:
        parts.append(utterance.samples())
        if sum(map(len, parts)) >= seconds * 16_000:
            break
    samples = np.concatenate(parts)[: int(seconds * 16_000)]
    return SpeechAudio(samples, 16_000, 1, len(samples) / 16_000, "0" * 64, "validation")
