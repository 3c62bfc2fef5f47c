# SPDX-License-Identifier: GPL-3.0-or-later
"""Videos of people speaking as recordings: tracked once, kept on disk, cut where the face is lost.

A tracked video is a folder of its own: `sound.flac` (16 kHz mono), the motion of each unbroken stretch as
`000.npz`, …, and `track.json` with where they begin and how good the tracking was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ..config import FPS
from ..errors import AudioError, DataError, DiffPoseTalkError, OutputError, refusing
from ..files.digest import file_sha256
from ..files.whole_folder import whole_folder
from ..head.head_model import HeadModel, load_head
from ..motion.clip import load_motion
from ..networks.speech.encoder import SAMPLES_PER_FRAME
from ..sound.audio import SAMPLE_RATE, SILENCE_PEAK
from ..tracking.arkit_motion import stretches
from ..tracking.face_track import OnProgress, track_face
from ..tracking.quality import assess
from ..tracking.video import read_sound
from .recording import OnSkip, Recording, Skipped, Split
from .recordings import VIDEO_SUFFIXES, place

NOT_THE_VIDEOS = ("cancelled", "tracker_missing", "tracker_extra", "video_extra")
"""Kinds of errors that every other video would meet, too."""
LAYOUT = 1
"""Of the folder of a tracked video; those of another one are tracked again."""


@dataclass(frozen=True)
class TrackedVideo:
    """folder: where it lies. starts: second of the video at which each stretch begins. quality: of the tracking."""

    folder: Path
    starts: tuple[float, ...]
    quality: dict[str, Any]


OnTracked = Callable[[str, TrackedVideo], None]
"""Told a video's name and how its tracking went."""


def videos_in(source: Path) -> list[Path]:
    """The videos of a folder that have no motion file beside them (or the one video that is named)."""
    if source.is_file():
        return [source] if source.suffix.lower() in VIDEO_SUFFIXES else []
    videos = [p for p in sorted(source.rglob("*")) if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file()]
    videos = [p for p in videos if not any(part.startswith(".") for part in p.relative_to(source).parts)]
    endings = (".npz", ".csv", "_cal.csv", "_raw.csv")
    return [p for p in videos if not any(p.with_name(p.stem + ending).is_file() for ending in endings)]


def read_videos(
    source: Path,
    folder: Path,
    *,
    split_of: Callable[[str, str], Split],
    model: Path | None = None,
    on_skip: OnSkip | None = None,
    on_tracked: OnTracked | None = None,
    on_progress: Callable[[str], OnProgress | None] | None = None,
) -> Iterator[Recording]:
    """Recordings of the videos of a source, one for each stretch in which the face is seen well.

    Args:
        source: a video, or a folder of them; the folder above a video, if there is one, names its speaker, else the
            video does.
        folder: where tracked videos are kept, so that they are tracked once.
        split_of: gives the split of a (video, speaker) whose folder does not.
        model: MediaPipe's face_landmarker.task; None takes DIFFPOSETALK_TRACKER.
        on_skip: told of the videos that cannot be used; without it the first raises. That the tracker is missing
            is raised all the same.
        on_tracked, on_progress: told the outcome of each, and its progress (a function for each video's name).

    Raises:
        DiffPoseTalkError: as above.
    """
    head = load_head()
    seen: dict[Path, str] = {}
    for path in videos_in(source):
        name = path.stem if source.is_file() else path.relative_to(source).with_suffix("").as_posix()
        speaker, given = place(source, path) if source.is_dir() else ("", None)
        if source.is_file() or speaker == source.name:
            speaker = path.stem
        if given == "test":
            if on_skip is not None:
                on_skip(Skipped(name, "it is in a folder of test clips."))
            continue
        try:
            progress = on_progress(name) if on_progress is not None else None
            tracked = track_video(path, folder, head, model, progress)
        except DiffPoseTalkError as error:
            if on_skip is None or error.kind in NOT_THE_VIDEOS:
                raise
            on_skip(Skipped(name, error.message))
            continue
        if tracked.folder in seen:  # one of them might be trained on and the other validated on
            if on_skip is not None:
                on_skip(Skipped(name, f"it is the same video as {seen[tracked.folder]}."))
            continue
        seen[tracked.folder] = name
        if on_tracked is not None:
            on_tracked(name, tracked)
        split = given or split_of(name, speaker)
        for number, start in enumerate(tracked.starts):
            motion = load_motion(tracked.folder / f"{number:03d}.npz")
            sound = partial(_heard, tracked.folder / "sound.flac", start, len(motion))
            yield Recording(f"{name}#{number}", speaker, split, sound, motion)


def _heard(path: Path, start: float, frames: int) -> np.ndarray:
    first = round(start * FPS) * SAMPLES_PER_FRAME
    damaged = AudioError(f"“{path}” cannot be read; remove its folder to track the video again.")
    with refusing(damaged, soundfile.LibsndfileError, OSError):
        return soundfile.read(path, frames * SAMPLES_PER_FRAME, first, dtype="float32")[0]


def track_video(
    path: Path,
    folder: Path,
    head: HeadModel,
    model: Path | None = None,
    on_progress: OnProgress | None = None,
) -> TrackedVideo:
    """Track a video into `folder`, or find it there tracked already (the same bytes under any name).

    Raises:
        DiffPoseTalkError: no sound or no face in it, or it cannot be read; nothing is left behind.
    """
    if not path.is_file():
        raise DataError(f"There is no video at “{path}”.", "data_missing")
    digest = hashlib.sha256(f"{file_sha256(path)} {LAYOUT}".encode()).hexdigest()[:16]
    place = folder / digest
    kept = _kept(place)
    if kept is not None:
        return kept
    samples = read_sound(path)  # before the long part: training needs it
    if np.abs(samples).max() < SILENCE_PEAK:
        raise AudioError(f"“{path.name}” is silent.", "audio_silent")
    track = track_face(path, model, on_progress=on_progress)
    quality = assess(track).to_dict()
    pieces = stretches(track, head)
    with whole_folder(place) as part:
        for number, piece in enumerate(pieces):
            piece.clip.save(part / f"{number:03d}.npz")
        try:
            soundfile.write(part / "sound.flac", np.clip(samples, -1, 1), SAMPLE_RATE, subtype="PCM_16")
        except soundfile.LibsndfileError as error:
            raise OutputError(f"Cannot write into “{folder}”: {error}.") from error
        about = {
            "layout": LAYOUT,
            "video": path.name,
            "starts": [piece.start for piece in pieces],
            "quality": quality,
        }
        (part / "track.json").write_text(json.dumps(about, indent=1, ensure_ascii=False), encoding="utf-8")
    return TrackedVideo(place, tuple(piece.start for piece in pieces), quality)


def _kept(place: Path) -> TrackedVideo | None:
    """A video tracked before, if all of it is there."""
    try:
        about = json.loads((place / "track.json").read_text(encoding="utf-8"))
        starts = tuple(float(start) for start in about["starts"])
        whole = all((place / f"{number:03d}.npz").is_file() for number in range(len(starts)))
        if not whole or not (place / "sound.flac").is_file() or not starts:
            return None
        return TrackedVideo(place, starts, dict(about["quality"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
