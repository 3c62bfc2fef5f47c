# SPDX-License-Identifier: GPL-3.0-or-later
"""The LMDB that the paper's TFHP/HDTF data is given out in, read without trusting its pickles.

What is assumed of it, from the published description and the scripts that made it:

- An LMDB environment in a folder (data.mdb), whose keys are text:
  `metadata`: a pickled dict with `seg_len`, frames to a segment (100);
  `PERSON/VIDEO/metadata`: a pickled dict with `n_frames`;
  `PERSON/VIDEO/000`, `…/001`, …: the segments, each a pickled dict of `audio` and `coef`.
- `audio` is the bytes of a sound file, FLAC, 16 kHz, mono, 640 samples to a frame; `coef` a dict of arrays `shape
  (n, 100)`, `exp (n, 50)` and `pose (n, 6)` (axis-angle, head then jaw), FLAME's basis, at 25 frames a second,
  already smoothed. The last segment may be shorter.
- `train.txt`, `val.txt` and `test.txt` beside it or in the folder above list clips as `PERSON/VIDEO`, one a line.

Small variations are taken as they come: the arrays beside `audio` rather than under `coef`, one identity for all
frames, 100 expressions (the first 50 are taken), any sound that libsndfile reads, a missing `n_frames`, numbers as
NumPy scalars, keys with more digits, NumPy 1 or 2 and any protocol of pickle. A pickle may make dicts, lists, text,
bytes, numbers and plain arrays, and can call nothing else.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import soundfile
import soxr

from ..config import EXPRESSION_DIM, FPS, SHAPE_DIM
from ..convert.pickled_arrays import NotAnArray, array_of, read_pickled
from ..errors import AudioError, DataError, DiffPoseTalkError, refusing
from ..motion.clip import MotionClip
from ..networks.speech.encoder import SAMPLES_PER_FRAME
from ..sound.audio import SAMPLE_RATE, mix_to_mono
from .recording import KEPT_FOR_TESTING, OnSkip, Recording, Skipped, Split

_damaged = partial(DataError, kind="data_format")

MAX_VALUE = 1 << 26
"""Bytes of one entry; a segment of the released layout has some 150,000."""
SOUND_SLACK = 2
"""Frames by which a segment's sound may miss its motion (lossy codecs pad) before it is refused."""

_SEGMENT = re.compile(r"^\d{1,9}$")
_SPLIT_FILES = {"train.txt": "train", "val.txt": "validation", "valid.txt": "validation", "test.txt": "test"}


def read_lmdb(
    folder: str | Path,
    *,
    split_of: Callable[[str, str], Split],
    testing: bool = False,
    on_skip: OnSkip | None = None,
) -> Iterator[Recording]:
    """The clips of a released LMDB, one at a time; their sound is decoded when it is asked for.

    Args:
        folder: holds data.mdb.
        split_of: gives the split of a (clip, speaker) that no list names.
        testing: give the clips of test.txt alone, which are skipped otherwise.
        on_skip: told of every clip that cannot be used; without it the first raises.

    Raises:
        DataError: `data_extra` (the lmdb package is not installed), `data_format` (not such a database, or cut off).
        DiffPoseTalkError: without `on_skip`, what is wrong with a clip: `pickle_refused` for a hostile one.
    """
    # LMDB allows one environment of a folder at a time in a process: it is shared while it is in use.
    place = Path(folder).resolve()
    corpus = _corpora.get(place) or _Corpus(place)
    _corpora[place] = corpus
    given = _given_splits(Path(folder))
    any_clips = False
    for name, segments in corpus.clips():
        any_clips = True
        speaker = name.split("/", 1)[0]
        split = given.get(name, "" if not given else "unlisted")
        if split == "unlisted" or (split == "test") is not testing:
            reason = "no list of splits names it." if split == "unlisted" else KEPT_FOR_TESTING
            if on_skip is not None and not testing:
                on_skip(Skipped(name, reason))
            continue
        try:
            motion = corpus.motion(name, segments)
        except DiffPoseTalkError as error:
            if on_skip is None:
                raise
            on_skip(Skipped(name, error.message))
            continue
        sound = partial(corpus.sound, name, segments, len(motion))
        chosen: Any = split or split_of(name, speaker)
        yield Recording(name, speaker, chosen, sound, motion)
    if not any_clips:
        raise _damaged(
            f"“{folder}” is an LMDB, but not in the layout of the released data: no key ends in “/000”."
        )


_corpora: WeakValueDictionary[Path, _Corpus] = WeakValueDictionary()


class _Corpus:
    def __init__(self, folder: Path) -> None:
        missing = DataError(
            'Reading an LMDB needs the package lmdb: pip install "diffposetalk[train]".', "data_extra"
        )
        with refusing(missing, ImportError):
            import lmdb
        self.folder = folder
        try:
            self.environment = lmdb.open(
                str(folder), readonly=True, lock=False, readahead=False, meminit=False, create=False
            )
            pages = (self.environment.info()["last_pgno"] + 1) * self.environment.stat()["psize"]
        except (lmdb.Error, OSError) as error:
            raise _damaged(f"“{folder}” cannot be opened as an LMDB: {error}.") from error
        # LMDB maps the file into memory: reading a page that is not there would end the process.
        size = (folder / "data.mdb").stat().st_size
        if pages > size:
            self.environment.close()
            raise _damaged(
                f"“{folder / 'data.mdb'}” is cut off: it has {size} of {pages} bytes. Copy it again."
            )
        self._failure = lmdb.Error

    def clips(self) -> Iterator[tuple[str, list[str]]]:
        """Names of the clips and of their segments, in order."""
        clips: dict[str, list[str]] = {}
        try:
            with self.environment.begin() as transaction:
                for key in transaction.cursor().iternext(keys=True, values=False):
                    clip, _, last = bytes(key).decode("utf-8", "replace").rpartition("/")
                    if clip.isprintable() and clip and _SEGMENT.match(last):
                        clips.setdefault(clip, []).append(last)
        except self._failure as error:
            raise _damaged(f"“{self.folder}” is a damaged LMDB: {error}.") from error
        for clip, segments in clips.items():
            yield clip, sorted(segments, key=int)

    def value(self, key: str) -> Any:
        """What an entry holds; None where there is no such key."""
        try:
            with self.environment.begin() as transaction:
                data = transaction.get(key.encode())
        except self._failure as error:
            raise _damaged(f"“{key}” of the LMDB cannot be read: {error}.") from error
        if data is None:
            return None
        if len(data) > MAX_VALUE:
            raise _damaged(f"“{key}” of the LMDB is too large.")
        return read_pickled(io.BytesIO(data), f"“{key}” of the LMDB")

    def segment(self, key: str) -> dict[str, Any]:
        """A segment's dict, with what is under `coef` beside the rest."""
        entry = self.value(key)
        if not isinstance(entry, dict):
            raise _damaged(f"“{key}” of the LMDB is no segment of sound and motion.")
        inner = entry.get("coef")
        return {**entry, **inner} if isinstance(inner, dict) else entry

    def motion(self, name: str, segments: list[str]) -> MotionClip:
        """The motion of all of a clip's segments."""
        numbers = [int(s) for s in segments]
        if numbers != list(range(len(numbers))):
            lost = next(i for i, n in enumerate(numbers) if n != i)
            raise _damaged(f"“{name}” of the LMDB lacks its segment {lost:03d}.")
        parts: dict[str, list[np.ndarray]] = {"exp": [], "pose": [], "shape": []}
        for last in segments:
            entry = self.segment(f"{name}/{last}")
            for key, into in parts.items():
                if key == "shape" and key not in entry:
                    continue
                into.append(_array(f"{name}/{last}", key, entry.get(key)))
            if len(parts["exp"][-1]) != len(parts["pose"][-1]):
                raise _damaged(f"“{name}/{last}”: exp and pose differ in length.")
        exp, pose = np.concatenate(parts["exp"]), np.concatenate(parts["pose"])
        wanted = self._frames(name)
        if wanted is not None:
            if len(exp) < wanted:
                raise _damaged(f"“{name}” has {len(exp)} of its {wanted} frames.")
            exp, pose = exp[:wanted], pose[:wanted]
        if len(exp) < 2:
            raise _damaged(f"“{name}” has {len(exp)} frames.")
        shape = np.concatenate(parts["shape"]).mean(axis=0) if parts["shape"] else None
        provenance = {"source": "LMDB", "clip": name, "head_rotation": True}
        return MotionClip(exp, pose, FPS, "flame", shape, (), provenance)

    def sound(self, name: str, segments: list[str], frames: int) -> np.ndarray:
        """The sound of a clip's frames, decoded segment by segment."""
        parts = []
        for last in segments:
            key = f"{name}/{last}"
            entry = self.segment(key)
            moved = len(_array(key, "exp", entry.get("exp")))
            parts.append(_decode(key, entry.get("audio"), moved * SAMPLES_PER_FRAME))
        return np.concatenate(parts)[: frames * SAMPLES_PER_FRAME]

    def _frames(self, name: str) -> int | None:
        about = self.value(f"{name}/metadata")
        frames = about.get("n_frames") if isinstance(about, dict) else None
        if frames is None:
            return None
        refusal = _damaged(f"“{name}/metadata” of the LMDB does not state its frames.")
        with refusing(refusal, NotAnArray, ValueError, OverflowError):
            count = int(array_of(frames).reshape(()))
        return count if count > 0 else None


def _decode(key: str, data: Any, samples: int) -> np.ndarray:
    """A segment's sound, float32, exactly `samples` at 16 kHz."""
    if not isinstance(data, (bytes, bytearray)):
        raise AudioError(f"“{key}” of the LMDB has no sound.")
    refusal = AudioError(f"The sound of “{key}” in the LMDB cannot be decoded.")
    kinds = (soundfile.LibsndfileError, TypeError, ValueError, OSError)
    with refusing(refusal, *kinds), soundfile.SoundFile(io.BytesIO(data)) as file:
        rate = file.samplerate
        limit = (samples + 2 * SOUND_SLACK * SAMPLES_PER_FRAME) * rate // SAMPLE_RATE + rate
        sound = mix_to_mono(file.read(limit, dtype="float32", always_2d=True))
    if rate != SAMPLE_RATE:
        sound = soxr.resample(sound, rate, SAMPLE_RATE)
    if not np.isfinite(sound).all():
        raise AudioError(
            f"The sound of “{key}” in the LMDB holds values that are not finite.", "audio_not_finite"
        )
    if abs(len(sound) - samples) > SOUND_SLACK * SAMPLES_PER_FRAME:
        raise AudioError(
            f"The sound of “{key}” in the LMDB lasts {len(sound) / SAMPLE_RATE:.2f} s, its motion "
            f"{samples / SAMPLE_RATE:.2f} s.",
            "audio_truncated",
        )
    return np.pad(sound, (0, max(0, samples - len(sound))))[:samples].astype(np.float32)


_COLUMNS = {"exp": (EXPRESSION_DIM, 100), "pose": (6,), "shape": (SHAPE_DIM, 300)}


def _array(key: str, name: str, thing: Any) -> np.ndarray:
    """One of a segment's arrays, float32 (n, 50), (n, 6) or (n, 100)."""
    if thing is None:
        raise _damaged(f"“{key}” of the LMDB has no {name}.")
    try:
        array = np.asarray(array_of(thing), np.float32)
    except NotAnArray as error:
        raise _damaged(f"“{key}” of the LMDB: {name} {error}.") from error
    if name == "shape" and array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] not in _COLUMNS[name] or not len(array):
        raise _damaged(f"“{key}” of the LMDB: {name} has the shape {array.shape}.")
    if not np.isfinite(array).all():
        raise _damaged(f"“{key}” of the LMDB: {name} holds values that are not finite.")
    return array[:, : _COLUMNS[name][0]]


def _given_splits(folder: Path) -> dict[str, str]:
    """Splits by clip from the lists beside the database or, if there are none, in the folder above."""
    for place in (folder, folder.parent):
        splits: dict[str, str] = {}
        for file, split in _SPLIT_FILES.items():
            path = place / file
            if path.is_file():
                lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
                splits.update({line.split()[0]: split for line in lines if line.strip()})
        if splits:
            return splits
    return {}
