# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lips were expected to close and do not: marks for an animator to look at.

What is expected comes from phones in time (given, or aligned to a transcript): P, B and M close the lips. Without
them it comes from the model's own confidence: it speaks the recording several times, and where nearly all of its takes
close the lips for a moment, between two openings, the recording is taken to ask for that. A pause, in which lips may
rest open or closed, is not such a moment.

Closed is what `articulation` counts as closed: an inner-lip gap under 0.15 of the take's 95th percentile within 40 ms;
a gap under `CLOSED_GAP` always is, so that a mouth that hardly opens is not held to hundredths of a millimetre.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.signal import find_peaks

from ..config import FPS
from ..generation.batching import generate
from ..head.geometry import FaceRegions
from ..motion.clip import MotionClip, resample
from ..networks.model import DiffPoseTalk
from ..phones import BILABIALS, Phone
from ..sound.audio import SpeechAudio
from .articulation import CLOSED, TOLERANCE, span

CLOSED_GAP = 3e-4
"""Metres between the inner lips, beyond those of the head at rest, that count as closed in any take."""
AGREEMENT = 0.8
"""Share of the model's takes that must close the lips."""
PROMINENCE = 0.25
"""How far the mean gap of the takes must rise on both sides of a closure, as a share of its 95th percentile …"""
PROMINENT_WITHIN = 0.8
"""… within this time around it, seconds."""
SAMPLES, STEPS = 5, 8
"""Takes the model is asked for, and steps each is sampled in: enough to say where lips close."""


@dataclass(frozen=True)
class Word:
    """A word of the transcript in time, seconds."""

    text: str
    start: float
    stop: float


@dataclass(frozen=True)
class Mark:
    """A closure that was expected and not reached.

    Attributes:
        frame: of the clip, where the lips come closest. start, stop: frames in which they should, `stop` exclusive.
        phone, word: what is said there, where that is known.
        confidence: 1 for phones, else the share of the model's takes that close the lips.
        gap_mm, limit_mm: how close they come, and what would count as closed.
        reason: a sentence for people.
    """

    frame: int
    start: int
    stop: int
    phone: str | None
    word: str | None
    confidence: float
    gap_mm: float
    limit_mm: float
    reason: str


@dataclass(frozen=True)
class Expected:
    """Where lips should close: frames at `FPS`, what is said there, and how sure that is."""

    frames: slice
    confidence: float
    phone: str | None = None
    word: str | None = None


def closed_below(gap: np.ndarray) -> float:
    """The gap, metres, under which lips count as closed in a take with inner-lip gaps (T,)."""
    return max(CLOSED * float(np.percentile(gap, 95)), CLOSED_GAP)


def said_closures(clip: MotionClip, phones: Sequence[Phone], words: Sequence[Word] = ()) -> list[Expected]:
    """Where P, B and M are said.

    Args:
        phones: (ARPAbet symbol, start, end) in seconds from the clip's first frame; stress digits do not matter.
    """
    expected, frames = [], len(resample(clip, FPS))
    for symbol, start, end in phones:
        phone = symbol.upper().rstrip("012")
        if phone in BILABIALS:
            middle = 0.5 * (start + end)
            word = next((w.text for w in words if w.start <= middle < w.stop), None)
            expected.append(Expected(span(start, end, frames), 1.0, phone, word))
    return expected


def closures_of_model(
    face: FaceRegions,
    model: DiffPoseTalk,
    audio: SpeechAudio,
    *,
    style: torch.Tensor | None = None,
    samples: int = SAMPLES,
    on_progress: Callable[[str, int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[Expected]:
    """The closures that the model makes in nearly all of its takes of a recording.

    Args:
        face: of a head that shows the model's basis.
        samples: takes, 2 or more.
        others: as of `batching.generate`.

    Raises:
        ModelError: kind head_basis; the head does not show the model's basis.
        DiffPoseTalkError: as of `generate`.
    """
    takes = generate(
        model,
        audio,
        style=style,
        seeds=range(max(2, samples)),
        steps=min(STEPS, model.config.sampling.steps),
        on_progress=on_progress,
        cancelled=cancelled,
    )
    return expected_closures(np.stack([face.track(take).opening for take in takes]))


def expected_closures(gaps: np.ndarray, fps: float = FPS) -> list[Expected]:
    """Moments at which nearly all takes close the lips between two openings.

    Args:
        gaps: (takes, T) inner-lip gaps, metres.
    """
    reach = max(1, round(TOLERANCE * fps))
    limits = np.array([closed_below(gap) for gap in gaps])
    mean = gaps.mean(axis=0)
    around = 2 * round(0.5 * PROMINENT_WITHIN * fps) + 1
    if mean.max() < CLOSED_GAP:
        return []
    rise = max(PROMINENCE * float(np.percentile(mean, 95)), CLOSED_GAP)
    valleys, _ = find_peaks(-mean, prominence=rise, wlen=around)
    expected = []
    for valley in valleys:
        frames = slice(max(0, valley - reach), min(len(mean), valley + reach + 1))
        share = float((gaps[:, frames].min(axis=1) < limits).mean())
        if share >= AGREEMENT:
            expected.append(Expected(frames, share))
    return expected


def missed(face: FaceRegions, clip: MotionClip, expected: Sequence[Expected]) -> list[Mark]:
    """Marks of the closures that a clip, whose first frame is the recording's, does not reach.

    Args:
        face: of a head that shows the clip's basis.

    Raises:
        ModelError: kind head_basis; the head does not show the clip's basis.
    """
    if not expected:
        return []
    gap = face.track(resample(clip, FPS)).opening
    limit = closed_below(gap)
    marks = []
    for closure in expected:
        near = gap[closure.frames]
        if not len(near) or near.min() < limit:
            continue
        closest = closure.frames.start + int(near.argmin())
        said = "" if closure.phone is None else f" for {closure.phone}"
        said += f" in “{closure.word}”" if closure.word else ""
        if closure.phone is None:
            said = f" here in {closure.confidence:.0%} of the model's takes"
        start, frame, stop = (
            min(len(clip), round(f / FPS * clip.fps))
            for f in (closure.frames.start, closest, min(len(gap), closure.frames.stop))
        )
        marks.append(
            Mark(
                frame=min(frame, len(clip) - 1),
                start=start,
                stop=max(stop, start + 1),
                phone=closure.phone,
                word=closure.word,
                confidence=round(closure.confidence, 3),
                gap_mm=round(1e3 * float(near.min()), 3),
                limit_mm=round(1e3 * limit, 3),
                reason=f"The lips close{said}, but stay {1e3 * near.min():.1f} mm apart.",
            )
        )
    return marks
