# SPDX-License-Identifier: GPL-3.0-or-later
"""Phones in time from a transcript, by forced alignment (English; CMU PocketSphinx and the acoustic model inside it).

Two passes: words first, then the phones within them. On synthetic speech, whose phones are known, 80 % of the
boundaries lie within 20 ms. An optional dependency: `pip install "diffposetalk[evaluate]"`.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np

from ..errors import DataError, DiffPoseTalkError, refusing
from ..phones import Phone
from ..sound.audio import SAMPLE_RATE

_unfitting = partial(DataError, kind="data_transcript")

FRAMES = 100
"""A second, of the acoustic model."""
AlignedWord = tuple[str, float, float, list[Phone]]
"""Word (lower case; empty for silence), start and end in seconds, and its phones."""
SILENCES = frozenset(("SIL", "+NSN+", "+SPN+", "+BREATH+", "+COUGH+", "+NOISE+", "+SMACK+", "+UH+", "+UM+"))


class PhoneAligner:
    """Aligns transcripts with recordings, one after the other.

    Raises:
        DiffPoseTalkError: kind extra_missing; pocketsphinx is not installed.
    """

    def __init__(self) -> None:
        missing = DiffPoseTalkError(
            'Aligning transcripts needs pocketsphinx: pip install "diffposetalk[evaluate]".', "extra_missing"
        )
        with refusing(missing, ImportError):
            from pocketsphinx import Decoder
        self._decoder: Any = Decoder(samprate=SAMPLE_RATE, bestpath=False, loglevel="FATAL")

    def align(self, samples: np.ndarray, text: str) -> list[Phone]:
        """Phones of a recording.

        Args:
            samples: float32 (n,), 16 kHz mono, full scale ±1.
            text: what is said, in English; case and punctuation do not matter, numbers are to be words.

        Returns:
            (ARPAbet symbol without stress, or SIL; start, end in seconds), in order.

        Raises:
            DataError: a word is not in the dictionary, or the text does not fit the sound.
        """
        return [phone for _, _, _, phones in self.align_words(samples, text) for phone in phones]

    def align_words(self, samples: np.ndarray, text: str) -> list[AlignedWord]:
        """Words of a recording and the phones within them, silences (with an empty word) among them.

        Arguments and errors as of `align`.
        """
        words = transcript_words(text)
        unknown = [word for word in words if self._decoder.lookup_word(word) is None]
        if not words:
            raise _unfitting("The transcript has no words.")
        if unknown:
            named = ", ".join(sorted(set(unknown)))
            raise _unfitting(
                f"The transcript has words that the dictionary lacks: {named}. Spell them as they are said "
                "(numbers as words)."
            )
        sound = (np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes()
        with refusing(_unfitting("The transcript does not fit the recording."), RuntimeError, ValueError):
            self._decoder.set_align_text(" ".join(words))
            self._decode(sound)
            self._decoder.set_alignment()
            self._decode(sound)
            alignment = self._decoder.get_alignment()
            if alignment is None:
                raise ValueError("no alignment")
        return [_aligned(word) for word in alignment]

    def _decode(self, sound: bytes) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(sound, full_utt=True)
        self._decoder.end_utt()


def _aligned(word: Any) -> AlignedWord:
    phones: list[Phone] = [("SIL" if p.name in SILENCES else p.name, *_span(p)) for p in word]
    silent = all(symbol == "SIL" for symbol, _, _ in phones)
    spelling = re.sub(r"\(\d+\)$", "", word.name)  # “a(2)” is another way to say “a”
    return ("" if silent else spelling, *_span(word), phones)


def _span(part: Any) -> tuple[float, float]:
    """Start and end, seconds, of a word or phone of PocketSphinx."""
    return part.start / FRAMES, (part.start + part.duration) / FRAMES


def transcript_words(text: str) -> list[str]:
    """Words of a transcript as the dictionary spells them: lower case, apostrophes kept, no other punctuation."""
    return re.findall(r"[a-z0-9]+(?:'[a-z]+)*", text.lower().replace("’", "'"))
