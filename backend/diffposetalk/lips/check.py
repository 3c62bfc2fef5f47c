# SPDX-License-Identifier: GPL-3.0-or-later
"""From the paths that a user gives to words in time and to marks of closures that were missed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..config import FPS
from ..errors import DataError, refusing
from ..head.geometry import FaceRegions
from ..head.head_model import bundled_head_path, load_head
from ..motion.clip import load_motion
from ..networks.model import DiffPoseTalk
from ..phones import Phone
from ..sound.audio import load_speech
from ..styles.chosen import chosen_style
from .alignment import PhoneAligner
from .missed_closures import Word, closures_of_model, missed, said_closures

MAX_SAMPLES = 32


def align_transcript(
    audio: str | Path, transcript: str, audio_start: float = 0.0, audio_seconds: float | None = None
) -> tuple[list[Word], list[Phone]]:
    """Words and phones of a recording in time, seconds from `audio_start`.

    Raises:
        DiffPoseTalkError: kind extra_missing, pocketsphinx is not installed; kind data_transcript, the transcript has
            unknown words or does not fit; kinds of `load_speech`.
    """
    aligner = PhoneAligner()
    speech = load_speech(audio, audio_start, audio_seconds)
    aligned = aligner.align_words(speech.samples, transcript)
    words = [Word(text, start, stop) for text, start, stop, _ in aligned if text]
    return words, [phone for *_, phones in aligned for phone in phones]


def check_lip_sync(
    audio: str | Path,
    motion: str | Path,
    model: DiffPoseTalk | None,
    *,
    audio_start: float = 0.0,
    audio_seconds: float | None = None,
    transcript: str | None = None,
    phones: Sequence[Sequence[Any]] | None = None,
    style: dict[str, Any] | None = None,
    head: str | Path | None = None,
    samples: int = 5,
    on_progress: Callable[[str, int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Marks where the lips of a take were expected to close and do not.

    Args:
        audio, audio_start, audio_seconds: the recording, and the part of it that the take begins with.
        motion: the take's file. head: head asset of its basis; None takes the bundled one.
        phones, transcript: what is said; where neither is given, `model` must be.
        style: as `styles.resolve_style` takes it, for the model's takes; None is the model's own.

    Returns:
        `marks` (`missed_closures.Mark` as data), `expected` ([start, stop, phone, word] of all closures, seconds from
        the take's first frame), `source` (phones, transcript or model), `words` ([word, start, stop]).

    Raises:
        DiffPoseTalkError: something cannot be read; kind head_basis, the head does not show the take's basis; kind
            data_phones; those of `align_transcript` and `batching.generate`.
    """
    clip = load_motion(motion)
    face = FaceRegions(load_head(head or bundled_head_path()))
    words: list[Word] = []
    if phones is not None:
        source, expected = "phones", said_closures(clip, _phones(phones))
    elif transcript:
        words, aligned = align_transcript(audio, transcript, audio_start, audio_seconds)
        source, expected = "transcript", said_closures(clip, aligned, words)
    else:
        assert model is not None
        speech = load_speech(audio, audio_start, audio_seconds)
        source = "model"
        vector, takes = chosen_style(model, style)[0], min(max(samples, 2), MAX_SAMPLES)
        callbacks: dict[str, Any] = {"on_progress": on_progress, "cancelled": cancelled}
        expected = closures_of_model(face, model, speech, style=vector, samples=takes, **callbacks)
    return {
        "marks": [asdict(mark) for mark in missed(face, clip, expected)],
        "expected": [[e.frames.start / FPS, e.frames.stop / FPS, e.phone, e.word] for e in expected],
        "source": source,
        "words": [[word.text, word.start, word.stop] for word in words],
    }


def _phones(given: Sequence[Sequence[Any]]) -> list[Phone]:
    malformed = DataError("Phones are [symbol, start, end], times in seconds.", "data_phones")
    with refusing(malformed, TypeError, ValueError, OverflowError):
        phones = [(str(symbol), float(start), float(stop)) for symbol, start, stop in given]
    if any(not 0 <= start <= stop < 1e6 for _, start, stop in phones):
        raise DataError("A phone begins before 0 s or ends before it begins.", "data_phones")
    return phones
