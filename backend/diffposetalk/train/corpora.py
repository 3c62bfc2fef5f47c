# SPDX-License-Identifier: GPL-3.0-or-later
"""The training recordings: where each corpus keeps its sound, phones and motion, and how it is split."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from ..audio import SAMPLE_RATE
from ..config import FPS

VALIDATION_EVERY = 10
"""Every tenth clip of grid_s1, voice of kokoro_en and speaker of speechocean is kept out of training."""

Phone = tuple[str, float, float]
"""ARPAbet symbol (or SIL), start and end in seconds."""


@dataclass(frozen=True)
class Utterance:
    """One recording: 16 kHz mono sound on disk, who speaks, phones if known, motion file if tracked."""

    id: str
    corpus: str
    speaker: str
    sound: Path
    phones: list[Phone]
    motion: Path | None
    validation: bool

    def samples(self) -> np.ndarray:
        """The sound, float32 (n,)."""
        samples, rate = soundfile.read(self.sound, dtype="float32")
        if rate != SAMPLE_RATE or samples.ndim != 1:
            raise ValueError(f"{self.sound} is not 16 kHz mono")
        return samples

    @property
    def frames(self) -> int:
        """Whole motion frames of the sound."""
        return int(soundfile.info(self.sound).duration * FPS)


def read_corpus(folder: Path) -> list[Utterance]:
    """Utterances of a corpus folder (`grid_s1`, `kokoro_en` or `speechocean`) that have phone timings."""
    rows = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    name = folder.name
    speaker_key = {"kokoro_en": "voice", "speechocean": "speaker"}.get(name)
    kept_out: set[str] = set()
    if speaker_key:
        kept_out = set(sorted({r[speaker_key] for r in rows})[::VALIDATION_EVERY])
    out = []
    for i, row in enumerate(rows):
        if not row.get("phones"):
            continue
        motion = folder / f"{row['id']}.npz"
        speaker = row[speaker_key] if speaker_key else name
        out.append(
            Utterance(
                id=row["id"],
                corpus=name,
                speaker=speaker,
                sound=folder / f"{row['id']}.flac",
                phones=[(p, float(a), float(b)) for _, p, a, b in row["phones"]],
                motion=motion if motion.is_file() else None,
                validation=speaker in kept_out if speaker_key else i % VALIDATION_EVERY == 0,
            )
        )
    return out
