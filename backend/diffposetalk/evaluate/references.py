# SPDX-License-Identifier: GPL-3.0-or-later
"""What a system is measured on: recordings with the motion that really went with them, and with phones in time.

DATA is one of the project's own corpora (a folder with `index.json` that has phones, such as grid_s1, or a folder of
such folders, each of which is reported by itself), or anything that `train.recordings` reads. Phones of the latter come
from an `index.json` with rows {"id", "phones": [[word, ARPAbet symbol, start, end], …]} beside the recordings, or are
aligned to transcripts: the rows' "text", or files NAME.txt beside the sound.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import FPS
from ..errors import DataError, refusing
from ..head.head_model import HeadModel
from ..motion.arkit import EXPRESSIONS
from ..motion.clip import MotionClip, from_vectors
from ..phones import Phone
from ..sound.audio import SAMPLE_RATE, SpeechAudio
from ..train.own_model.corpora import read_corpus
from ..train.recording import OnSkip, Recording, Split
from ..train.recordings import read_recordings
from ..train.tracked_motion import TrackedCorpus

if TYPE_CHECKING:
    from ..lips.alignment import PhoneAligner

_bad_index = partial(DataError, kind="data_index")

CALIBRATION_CLIPS = 200
"""Training clips of a tracked corpus from which the head's neutral rotation is taken."""
LOWEST_NOISE = 50.0
"""Hz below which added noise no longer grows."""


@dataclass(frozen=True)
class Reference:
    """A recording to be spoken by the systems that are compared.

    Attributes:
        id: unique in its corpus; motion files of other systems are named by it.
        speaker: who speaks.
        samples: reads the sound, float32 (n,), 16 kHz mono.
        motion: the motion that went with it, 25 frames a second; None where there is sound alone.
        phones: (ARPAbet symbol, start, end) in seconds; empty where they are not known.
    """

    id: str
    speaker: str
    samples: Callable[[], np.ndarray]
    motion: MotionClip | None
    phones: tuple[Phone, ...]

    def audio(self) -> SpeechAudio:
        """The sound as the engine takes it."""
        samples = self.samples()
        digest = hashlib.sha256(samples.tobytes()).hexdigest()
        return SpeechAudio(samples, SAMPLE_RATE, 1, len(samples) / SAMPLE_RATE, digest, self.id)


def read_references(
    data: str | Path,
    head: HeadModel,
    split: Split = "validation",
    limit: int | None = None,
    align: bool = False,
    on_skip: OnSkip | None = None,
) -> dict[str, list[Reference]]:
    """References by corpus, those of the split, at most `limit` a corpus (spread evenly over it).

    The project's own corpora have no test clips: their validation clips stand for them.

    Args:
        data: see the module's description.
        head: the bundled head, onto whose lips tracked corpora are calibrated.
        align: force-align transcripts where there are no phones.
        on_skip: told of recordings that cannot be used, or are kept for another split; without it the first raises.

    Raises:
        DataError: nothing there, nothing to validate on, or ids that are not unique. No training recordings are no
            error.
        DiffPoseTalkError: a recording or motion cannot be read; with `align`, pocketsphinx is missing.
    """
    data = Path(data)
    if not data.is_dir() and not data.is_file():
        raise DataError(f"There is nothing at “{data}”.", "data_missing")
    folders = _corpus_folders(data)
    corpora = {folder.name: list(_corpus(folder, head, split, limit)) for folder in folders}
    if not folders:
        corpora[data.name] = list(_recordings(data, split, limit, align, on_skip))
    corpora = {name: references for name, references in corpora.items() if references}
    if not corpora and split != "train":
        raise DataError(
            f"“{data}” has no recordings to measure on for {split}: they are kept for something else, or unusable.",
            "data_split",
        )
    for name, references in corpora.items():
        twice = [id for id, count in Counter(r.id for r in references).items() if count > 1]
        if twice:
            raise DataError(f"Two recordings of “{name}” have the name {min(twice)}.", "data_repeated")
    return corpora


def passed_over(data: str | Path) -> list[str]:
    """Folders beside the corpora in a folder of corpora that are not corpora themselves, and so are not measured."""
    folders = _corpus_folders(Path(data))
    if not folders or Path(data) in folders:
        return []
    return [path.name for path in sorted(Path(data).iterdir()) if path.is_dir() and path not in folders]


def with_noise(reference: Reference, ratio: float) -> Reference:
    """The same recording with pink noise added, the same noise every time.

    Args:
        ratio: signal-to-noise, dB, over the whole recording.
    """

    def samples() -> np.ndarray:
        clean = reference.samples()
        noise = pink_noise(len(clean), np.random.default_rng(list(reference.id.encode())))
        level = np.sqrt((clean**2).mean()) * 10 ** (-ratio / 20)
        return (clean + level * noise).astype(np.float32)

    return replace(reference, samples=samples)


def pink_noise(count: int, rng: np.random.Generator) -> np.ndarray:
    """Noise (count,) whose power falls with frequency by 3 dB an octave, of mean square 1."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(count, 1 / SAMPLE_RATE), LOWEST_NOISE))
    noise = np.fft.irfft(spectrum, count)
    return noise / np.sqrt((noise**2).mean())


def _corpus_folders(data: Path) -> list[Path]:
    """The folder itself, or those in it, that are corpora of our own layout."""
    if not data.is_dir():
        return []
    folders = []
    for folder in (data, *sorted(path for path in data.iterdir() if path.is_dir())):
        rows = _index(folder / "index.json") if (folder / "index.json").is_file() else []
        if rows and "phones" in rows[0] and (folder / f"{rows[0]['id']}.flac").is_file():
            folders.append(folder)
    return folders


def _index(path: Path) -> list[dict[str, Any]]:
    damaged = _bad_index(f"“{path}” is not a list of recordings: rows with an “id” are needed.")
    with refusing(damaged):
        rows = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(row["id"], str) for row in rows):
            raise ValueError("id")
    return list(rows)


def _corpus(folder: Path, head: HeadModel, split: Split, limit: int | None) -> Iterator[Reference]:
    utterances = read_corpus(folder)
    chosen = spread([u for u in utterances if u.validation == (split != "train")], limit)
    tracker: TrackedCorpus | None = None
    if (folder / "meta.json").is_file():
        training = [u.motion for u in utterances if u.motion and not u.validation][:CALIBRATION_CLIPS]
        tracker = TrackedCorpus(folder, head, training)
    for u in chosen:
        motion = None
        if tracker is not None and u.motion is not None and head.basis == "arkit":
            exp, pose = from_vectors(tracker.motion(u.motion))
            motion = MotionClip(exp, pose, FPS, "arkit", None, EXPRESSIONS, {"tracked": True})
        yield Reference(u.id, u.speaker, u.samples, motion, tuple(u.phones))


def _recordings(
    data: Path, split: Split, limit: int | None, align: bool, on_skip: OnSkip | None
) -> Iterator[Reference]:
    root = data if data.is_dir() else data.parent
    index = root / "index.json"
    rows = {row["id"]: row for row in _index(index)} if index.is_file() else {}
    aligner: PhoneAligner | None = None
    # Clips that nobody assigned to a split are all there to be measured on.
    read = read_recordings(data, validation_share=1.0, testing=split == "test", on_skip=on_skip)
    chosen = [r for r in read if r.split == split]
    for recording in spread(chosen, limit):
        phones = _given_phones(rows.get(recording.id, {}), index)
        text = _transcript(recording, rows, root)
        if not phones and align and text:
            from ..lips.alignment import PhoneAligner

            aligner = aligner or PhoneAligner()
            phones = aligner.align(recording.sound(), text)
        yield Reference(recording.id, recording.speaker, recording.sound, recording.motion, tuple(phones))


def _given_phones(row: dict[str, Any], path: Path) -> list[Phone]:
    try:
        return [(str(phone), float(start), float(end)) for _, phone, start, end in row.get("phones") or ()]
    except (TypeError, ValueError) as error:
        raise _bad_index(
            f"“{path}”: the phones of {row['id']} are not rows of word, symbol, start and end."
        ) from error


def _transcript(recording: Recording, rows: dict[str, dict[str, Any]], root: Path) -> str:
    if isinstance(text := rows.get(recording.id, {}).get("text"), str):
        return text
    beside = root / f"{recording.id}.txt"
    damaged = DataError(f"“{beside}” cannot be read as UTF-8 text.", "data_transcript")
    with refusing(damaged, OSError, UnicodeDecodeError):
        return beside.read_text(encoding="utf-8") if beside.is_file() else ""


def spread(items: list[Any], limit: int | None) -> list[Any]:
    """At most `limit` of the items, evenly spread."""
    if limit is None or len(items) <= limit:
        return items
    return [items[round(k * (len(items) - 1) / max(1, limit - 1))] for k in range(limit)]
