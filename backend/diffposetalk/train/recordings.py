# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings of speech with face motion, from the folders and files that people have.

What `read_recordings` recognises:

- a folder of pairs: NAME.npz (our motion clips, or another tool's, see `reconstructions`) or NAME.csv (Live Link
  Face, see `live_link`) beside NAME.wav, .flac, .mp3, .ogg or a video NAME.mov, .mp4, … that is used for its
  sound. The folders above a clip name its speaker; folders called train, validation (val) and test, where there
  are any, its split.
- a list, `manifest.csv` in such a folder or any CSV with these columns: `audio` and `motion` (paths relative to
  the list), and optionally `id`, `speaker`, `split`, `fps`, `head` and `shape` (second files with the head's rotation
  and the identity; beside a NAME.npz, NAME.head.npy and NAME.shape.npy, or .npz).
- the released TFHP/HDTF LMDB (a folder with data.mdb, see `lmdb_corpus`).
- a single Live Link Face take (its CSV).

A clip whose split is not given goes to validation by a hash of its name: the same on every machine, whatever else
is in the folder.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import AudioError, DataError, DiffPoseTalkError, MotionError, refusing
from ..files.text_file import read_text
from ..motion.clip import MotionClip
from ..motion.formats import read_motion
from ..motion.formats.live_link import is_live_link
from ..sound.audio import AudioInfo, load_speech, probe
from .lmdb_corpus import read_lmdb
from .recording import KEPT_FOR_TESTING, OnSkip, Recording, Skipped, Split

_unknown = partial(DataError, kind="data_unknown")

VALIDATION_SHARE = 0.1
SOUND_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff")
VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg")
LENGTH_TOLERANCE = (0.3, 0.02)
"""Seconds, and share of the sound's length, by which motion and sound may differ before they are no pair."""

_SPLITS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
_TAKE_ENDING = re.compile(r"_(cal|raw)$")


def read_recordings(
    source: str | Path,
    *,
    fps: float | None = None,
    validation_share: float = VALIDATION_SHARE,
    split_by: Literal["clip", "speaker"] = "clip",
    testing: bool = False,
    on_skip: OnSkip | None = None,
) -> Iterator[Recording]:
    """The recordings of a folder, list, LMDB or take, one at a time (nothing of the others is in memory).

    Args:
        source: see the module's description.
        fps: of motion files that do not state it; None works it out from the length of the sound.
        validation_share: of the clips whose split is not given, 0 to 1.
        split_by: `clip`, or `speaker`: whole speakers are kept out of training, as the paper does.
        testing: give the clips that are kept for testing, and those alone; otherwise they are skipped.
        on_skip: told of every clip that cannot be used. Without it, the first such clip raises.

    Raises:
        DataError: the source does not exist or holds nothing of these kinds (`data_missing`, `data_unknown`).
        DiffPoseTalkError: without `on_skip`, what is wrong with a clip.
    """
    source = Path(source)
    if not 0.0 <= validation_share <= 1.0:
        raise DataError(f"The share of validation clips must be 0 to 1, not {validation_share:g}.")
    if not source.exists():
        raise DataError(f"There is nothing at “{source}”.", "data_missing")

    split_of = by_hash(validation_share, split_by)
    folder = next((path for path in (source, source / "lmdb") if (path / "data.mdb").is_file()), None)
    if folder is not None:
        yield from read_lmdb(folder, split_of=split_of, testing=testing, on_skip=on_skip)
        return
    count = 0
    for item in _items(source):
        count += 1
        if isinstance(item, Skipped):
            _skip(on_skip, item, None)
            continue
        if (item.split == "test") is not testing:
            if not testing:
                _skip(on_skip, Skipped(item.id, KEPT_FOR_TESTING), None)
            continue
        try:
            recording = _read(item, fps, item.split or split_of(item.id, item.speaker))
        except DiffPoseTalkError as error:
            _skip(on_skip, Skipped(item.id, error.message), error)
            continue
        yield recording
    if not count:
        raise _unknown(
            f"“{source}” holds no recordings: pairs of sound (WAV, FLAC, MP3) and motion (.npz, or Live Link "
            "Face .csv) of one name, a manifest.csv, or an LMDB (data.mdb) are looked for."
        )


def hashed_split(name: str, share: float) -> Split:
    """The split of a clip (or speaker) by its name's hash: stable, and independent of the others."""
    digest = hashlib.sha256(unicodedata.normalize("NFC", name).encode("utf-8", "surrogatepass")).digest()
    return "validation" if int.from_bytes(digest[:4], "big") < share * 2**32 else "train"


def by_hash(share: float, split_by: str) -> Callable[[str, str], Split]:
    """The split of each (clip, speaker), by the hash of the speaker's name if `split_by` is `speaker`."""
    return lambda name, speaker: hashed_split(speaker if split_by == "speaker" else name, share)


@dataclass(frozen=True)
class _Item:
    """A clip before it is read."""

    id: str
    speaker: str
    split: Split | None
    sound: Path
    motion: Path | None
    fps: float | None = None
    head: Path | None = None
    identity: Path | None = None


def _skip(on_skip: OnSkip | None, skipped: Skipped, error: DiffPoseTalkError | None) -> None:
    if on_skip is None:
        raise error or DataError(f"{skipped.id}: {skipped.reason}")
    on_skip(skipped)


def _read(item: _Item, fps: float | None, split: Split) -> Recording:
    sound, seconds = _sound(item.sound)
    motion = None
    if item.motion is not None:
        second = {"head": item.head, "identity": item.identity}
        motion = read_motion(item.motion, fps=item.fps or fps, seconds=seconds, **second)
        check_length(motion, seconds, item.motion.name)
    return Recording(item.id, item.speaker, split, sound, motion)


def check_length(motion: MotionClip, seconds: float, name: str) -> None:
    """Raise MotionError `motion_length` unless the motion (25 fps) lasts about as long as its sound."""
    moved = len(motion) / motion.fps
    if abs(moved - seconds) > max(LENGTH_TOLERANCE[0], LENGTH_TOLERANCE[1] * seconds):
        raise MotionError(
            f"“{name}” lasts {moved:.2f} s but its sound {seconds:.2f} s: a wrong frame rate, or not a pair.",
            "motion_length",
        )


def _sound(path: Path) -> tuple[Callable[[], np.ndarray], float]:
    """How to read a clip's sound, and its length in seconds."""
    if path.suffix.lower() in VIDEO_SUFFIXES:
        from ..tracking.video import probe_video, read_sound

        info = probe_video(path)
        if not info.has_sound:
            raise AudioError(f"“{path.name}” has no sound.", "audio_empty")
        return lambda: read_sound(path), info.seconds
    about: AudioInfo = probe(path)
    return lambda: load_speech(path).samples, about.seconds


def _items(source: Path) -> Iterator[_Item | Skipped]:
    if source.is_file():
        if source.suffix.lower() != ".csv":
            raise _unknown(f"“{source.name}” is neither a folder nor a list (.csv) of recordings.")
        if is_live_link(source):
            yield _pair(source.parent, source, source.parent.name or source.stem)
        else:
            yield from _listed(source)
        return
    if (source / "manifest.csv").is_file():
        yield from _listed(source / "manifest.csv")
        return
    yield from _folder(source)


def _folder(root: Path) -> Iterator[_Item | Skipped]:
    files = sorted(
        p
        for p in root.rglob("*")
        if p.is_file() and not any(x.startswith(".") for x in p.relative_to(root).parts)
    )
    paired: set[Path] = set()
    # A calibrated Live Link Face take comes as NAME_cal.csv and NAME_raw.csv with NAME_neutral.csv.
    stems = {p.with_suffix("") for p in files}
    for path in files:
        suffix = path.suffix.lower()
        if suffix == ".csv":
            calibrated = path.stem.endswith("_raw") and path.with_name(path.stem[:-4] + "_cal") in stems
            if path.stem.endswith("_neutral") or calibrated or not is_live_link(path):
                continue
        elif suffix != ".npz" or path.stem.endswith((".head", ".shape")):
            continue
        speaker, _ = place(root, path)
        item = _pair(root, path, speaker)
        if isinstance(item, _Item):
            if item.sound in paired:
                item = Skipped(item.id, f"“{item.sound.name}” has more than one motion file.")
            else:
                paired.add(item.sound)
        yield item
    for path in files:
        with_motion = any(path.with_suffix(suffix) in files for suffix in (".npz", ".csv"))
        if path.suffix.lower() in SOUND_SUFFIXES and path not in paired and not with_motion:
            speaker, split = place(root, path)
            yield _Item(_name(path.relative_to(root)), speaker, split, path, None)


def _pair(root: Path, motion: Path, speaker: str) -> _Item | Skipped:
    name = _name(motion.relative_to(root))
    _, split = place(root, motion)
    # Live Link Face adds _cal or _raw to the name of its table but not to that of its video.
    ending = _TAKE_ENDING if motion.suffix.lower() == ".csv" else re.compile("$")
    stems = {motion.stem, ending.sub("", motion.stem)}
    beside = [p for p in sorted(motion.parent.iterdir()) if p.stem in stems and p.is_file()]
    for suffixes, kind in ((SOUND_SUFFIXES, "sound files"), (VIDEO_SUFFIXES, "videos")):
        sounds = [p for p in beside if p.suffix.lower() in suffixes]
        if len(sounds) > 1:
            named = ", ".join(p.name for p in sounds)
            return Skipped(name, f"there are several {kind} of that name: {named}.")
        if sounds:
            head, shape = _second(motion, "head"), _second(motion, "shape")
            return _Item(name, speaker, split, sounds[0], motion, None, head, shape)
    reason = f"there is no sound beside “{motion.name}” (.wav, .flac, .mp3 or a video of that name)."
    return Skipped(name, reason)


def _second(motion: Path, what: str) -> Path | None:
    """NAME.head.npy and the like beside NAME.npz."""
    paths = [motion.with_suffix(f".{what}{ending}") for ending in (".npz", ".npy")]
    return next((path for path in paths if path.is_file()), None)


def place(root: Path, path: Path) -> tuple[str, Split | None]:
    """Speaker and given split, if any, of a file, by the folders between it and the root."""
    folders = list(path.relative_to(root).parts[:-1])
    split = _SPLITS.get(folders[0].lower()) if folders else None
    if split:
        folders.pop(0)
    return (folders[0] if folders else root.name or "speaker"), split


def _name(path: Path) -> str:
    return unicodedata.normalize("NFC", path.with_suffix("").as_posix())


def _listed(path: Path) -> Iterator[_Item | Skipped]:
    with refusing(_unknown(f"“{path.name}” cannot be read as UTF-8 text."), OSError, UnicodeDecodeError):
        text = read_text(path)
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    columns = [(name or "").strip().lower() for name in rows.fieldnames or ()]
    if not {"audio", "motion"} <= set(columns):
        raise _unknown(
            f"“{path.name}” is no list of recordings: its first line must name the columns audio and motion "
            f"(and may name id, speaker, split, fps, head, shape); it has {', '.join(columns)[:120] or 'none'}."
        )
    rows.fieldnames = columns
    seen: set[str] = set()
    try:
        for number, row in enumerate(rows, start=2):
            yield _row(path, number, {k: v.strip() for k, v in row.items() if isinstance(v, str)}, seen)
    except csv.Error as error:
        raise _unknown(f"“{path.name}” is not a well-formed table: {error}.") from error


def _row(path: Path, number: int, row: dict[str, str], seen: set[str]) -> _Item | Skipped:
    moved = row.get("motion")
    name = row.get("id") or (_name(Path(moved)) if moved else f"line {number}")
    if not row.get("audio") or not moved:
        missing = "motion" if row.get("audio") else "audio"
        return Skipped(name, f"line {number} of the list names no {missing}.")
    if name in seen:
        return Skipped(name, f"line {number} of the list repeats it.")
    seen.add(name)
    split = row.get("split", "").lower()
    if split and split not in _SPLITS:
        return Skipped(name, f"its split {split!r} is neither train, validation nor test.")
    fps = None
    if row.get("fps"):
        try:
            fps = float(row["fps"])
        except ValueError:
            return Skipped(name, f"its frame rate {row['fps']!r} is not a number.")
    speaker = row.get("speaker") or path.parent.name or "speaker"
    named = ("audio", "motion", "head", "shape")
    sound, motion, head, shape = (path.parent / row[k] if row.get(k) else None for k in named)
    assert sound is not None
    return _Item(name, speaker, _SPLITS.get(split), sound, motion, fps, head, shape)
