# SPDX-License-Identifier: GPL-3.0-or-later
"""The training recordings: where each corpus keeps its sound, phones and motion, and how it is split."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from ...config import FPS
from ...motion.arkit import EXPRESSIONS, MOUTH
from ...networks.speech.encoder import SAMPLES_PER_FRAME
from ...phones import Phone
from ...sound.audio import SAMPLE_RATE

VALIDATION_EVERY = 10
"""Every tenth clip of grid_s1, voice of kokoro_en and speaker of speechocean is kept out of training."""


@dataclass(frozen=True)
class Utterance:
    """One recording: 16 kHz mono sound on disk, who speaks, phones if known, motion file if tracked.

    Attributes:
        mouth: (T, len(MOUTH) + 1) ARKit channels of the mouth and jawOpen, where those alone were recorded.
        start: seconds into the sound at which it begins; it lasts as long as `mouth`, else to the end.
    """

    id: str
    corpus: str
    speaker: str
    sound: Path
    phones: list[Phone]
    motion: Path | None
    validation: bool
    mouth: np.ndarray | None = None
    start: float = 0.0

    def samples(self) -> np.ndarray:
        """The sound, float32 (n,)."""
        first = int(self.start * SAMPLE_RATE)
        count = -1 if self.mouth is None else len(self.mouth) * SAMPLES_PER_FRAME
        samples, rate = soundfile.read(self.sound, count, first, dtype="float32")
        if rate != SAMPLE_RATE or samples.ndim != 1:
            raise ValueError(f"{self.sound} is not 16 kHz mono")
        return samples

    @property
    def frames(self) -> int:
        """Whole motion frames of the sound."""
        if self.mouth is not None:
            return len(self.mouth)
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
        sound, motion = (folder / f"{row['id']}{suffix}" for suffix in (".flac", ".npz"))
        tracked = motion if motion.is_file() else None
        phones = [(p, float(a), float(b)) for _, p, a, b in row["phones"]]
        speaker = row[speaker_key] if speaker_key else name
        validation = speaker in kept_out if speaker_key else i % VALIDATION_EVERY == 0
        out.append(Utterance(row["id"], name, speaker, sound, phones, tracked, validation))
    return out


MOUTH_CLIP_FRAMES = 250
"""Ten seconds: long takes are cut into utterances of that length."""


def read_mouth_corpus(folder: Path) -> list[Utterance]:
    """Utterances of a folder of (FLAC, npz) takes with the mouth's ARKit curves alone, such as `facegood`.

    The npz holds `blendshapes` (T, 52), 25 frames a second, in the order of its `names`, NaN where nothing was
    recorded. The last take is kept out of training.
    """
    out = []
    takes = sorted(folder.glob("*.npz"))
    for take in takes:
        with np.load(take) as data:
            names = [str(name) for name in data["names"]]
            curves = data["blendshapes"].astype(np.float32)
        wanted = [EXPRESSIONS[channel] for channel in MOUTH] + ["jawOpen"]
        mouth = np.nan_to_num(curves[:, [names.index(name) for name in wanted]])
        sound = take.with_suffix(".flac")
        whole = min(len(mouth), int(soundfile.info(sound).duration * FPS))
        name, kept_out = folder.name, take == takes[-1]
        for first in range(0, whole - MOUTH_CLIP_FRAMES + 1, MOUTH_CLIP_FRAMES):
            part, id = mouth[first : first + MOUTH_CLIP_FRAMES], f"{take.stem}-{first}"
            out.append(Utterance(id, name, name, sound, [], None, kept_out, mouth=part, start=first / FPS))
    return out
