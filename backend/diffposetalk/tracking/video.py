# SPDX-License-Identifier: GPL-3.0-or-later
"""Video in: upright frames at their own times, and the sound beside them, from any file that PyAV reads.

Frame rates may vary and pixels need not be square; rotation that a phone has noted in the file is applied. One
frame is in memory at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AudioError, VideoError, refusing
from ..sound.audio import MAX_SECONDS, MIN_SECONDS, SAMPLE_RATE, mix_to_mono

MAX_SIDE = 1280
"""Pixels of a frame's longer side; larger frames are made smaller before they are looked at."""
MAX_RATE = 34.0
"""Frames a second that are looked at at most (every other one of 50 or 60); 30 may come unevenly and all count."""
MAX_PIXELS = 8192 * 8192
MAX_DAMAGED = 50
"""Packets in a row that do not decode before the rest is given up."""

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".mts", ".ts")


def is_video(path: str | Path) -> bool:
    """Whether a file's name says that it is a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class VideoInfo:
    """What a video says of itself.

    seconds: length; 0 where the file does not say. fps: mean rate. width, height: pixels as shown, upright.
    rotation: degrees counter-clockwise by which frames are turned to be upright.
    """

    name: str
    seconds: float
    fps: float
    width: int
    height: int
    rotation: int
    has_sound: bool


@dataclass(frozen=True)
class Frame:
    """time: seconds from the first frame. image: (H, W, 3) uint8 RGB, upright, square pixels, contiguous."""

    time: float
    image: np.ndarray


def probe_video(path: str | Path) -> VideoInfo:
    """Describe a video by its header and first frame.

    Raises:
        VideoError: `video_extra` (PyAV is not installed), `video_missing`, `video_unreadable`, `video_empty` (no
            pictures in it), `video_size`.
    """
    path = Path(path)
    with _open(path) as container:
        stream = _video_stream(container, path)
        first = next(_decoded(container, stream, path), None)
        if first is None:
            raise _without_pictures(path)
        width, height, turns = _upright(first, stream)
        seconds = 0.0
        if stream.duration is not None and stream.time_base is not None:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            seconds = container.duration / 1e6
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        has_sound = any(s.type == "audio" for s in container.streams)
        return VideoInfo(path.name, seconds, rate, width, height, 90 * turns, has_sound)


def read_frames(path: str | Path, max_side: int = MAX_SIDE) -> Iterator[Frame]:
    """The frames in order; times that the file lacks or repeats are made up from its mean rate.

    Raises:
        VideoError: as `probe_video`; `video_damaged` where it cannot be decoded to a useful end.
    """
    path = Path(path)
    with _open(path) as container:
        stream = _video_stream(container, path)
        stream.thread_type = "AUTO"
        step = 1 / float(stream.average_rate or stream.guessed_rate or 25)
        first: float | None = None
        last, due = -math.inf, 0.0
        for picture in _decoded(container, stream, path):
            time = picture.time
            if time is None or not math.isfinite(time) or time <= last:
                time = last + step if math.isfinite(last) else 0.0
            last = time
            first = time if first is None else first
            if time - first < due - 1e-4:
                continue
            due = time - first + 1 / MAX_RATE
            yield Frame(time - first, _image(picture, stream, path, max_side))
        if first is None:
            raise _without_pictures(path)


def frame_near(path: str | Path, seconds: float, exact: bool = False) -> Frame | None:
    """A picture of about this time (seconds from the first frame), or None where there is none.

    Args:
        exact: the last picture at or before that time, decoded from the key frame before it, rather than that key
            frame itself (which may be seconds away, and is there at once).
    """
    path = Path(path)
    with _open(path) as container:
        stream = _video_stream(container, path)
        base = stream.time_base
        start = float((stream.start_time or 0) * base) if base is not None else 0.0
        try:
            container.seek(int((start + seconds) * 1e6), backward=True)
        except _av().error.FFmpegError:
            container.seek(0)
        chosen = None
        for picture in _decoded(container, stream, path):
            if chosen is not None and (picture.time is None or picture.time > start + seconds + 1e-6):
                break
            chosen = picture
            if not exact:
                break
        if chosen is None:
            return None
        return Frame(max(0.0, (chosen.time or 0.0) - start), _image(chosen, stream, path))


def read_sound(path: str | Path) -> np.ndarray:
    """The sound of a video as 16 kHz mono float32 (n,), sample 0 at its first frame.

    Raises:
        AudioError: `audio_empty` (no sound in it), `audio_unreadable`, `audio_too_short`, `audio_too_long`.
        VideoError: as `probe_video`.
    """
    path = Path(path)
    av = _av()
    parts: list[np.ndarray] = []
    held = 0
    with _open(path) as container:
        streams = container.streams.audio
        if not streams:
            raise AudioError(f"“{path.name}” has no sound.", "audio_empty")
        stream = streams[0]
        pictures = container.streams.video
        resampler = av.AudioResampler(format="fltp", rate=SAMPLE_RATE)
        start: float | None = None
        try:
            for sound in container.decode(stream):
                if start is None:
                    start = sound.time or 0.0
                sound.pts = None  # gaps in the times would stop the resampler
                for piece in resampler.resample(sound):
                    parts.append(mix_to_mono(piece.to_ndarray().T.astype(np.float32)))
                    held += len(parts[-1])
                if held > MAX_SECONDS * SAMPLE_RATE:
                    raise AudioError(
                        f"“{path.name}” is longer than {MAX_SECONDS / 60:.0f} minutes; use it in parts.",
                        "audio_too_long",
                    )
            for piece in resampler.resample(None):
                parts.append(mix_to_mono(piece.to_ndarray().T.astype(np.float32)))
        except av.error.FFmpegError as error:
            if held < MIN_SECONDS * SAMPLE_RATE:
                raise AudioError(f"The sound of “{path.name}” cannot be decoded.") from error
        shown = 0.0
        if pictures and pictures[0].start_time is not None and pictures[0].time_base is not None:
            shown = float(pictures[0].start_time * pictures[0].time_base)
    samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if len(samples) < MIN_SECONDS * SAMPLE_RATE:
        raise AudioError(f"“{path.name}” has less than {MIN_SECONDS:g} s of sound.", "audio_too_short")
    if not np.isfinite(samples).all():
        raise AudioError(f"The sound of “{path.name}” holds values that are not finite.", "audio_not_finite")
    # Sound and pictures may start at different times.
    lead = round(((start or 0.0) - shown) * SAMPLE_RATE)
    if abs(lead) > 60 * SAMPLE_RATE:
        lead = 0
    return np.pad(samples, (lead, 0)) if lead > 0 else samples[-lead:] if lead < 0 else samples


def _av() -> Any:
    missing = VideoError('Reading video needs PyAV: pip install "diffposetalk[tracking]".', "video_extra")
    with refusing(missing, ImportError):
        import av
    return av


def _open(path: Path) -> Any:
    av = _av()
    if not path.exists():
        raise VideoError(f"There is no video at “{path}”.", "video_missing")
    if not path.is_file():
        raise VideoError(f"“{path}” is not a file.", "video_missing")
    if path.stat().st_size == 0:
        raise VideoError(f"“{path.name}” is empty (0 bytes).", "video_empty")
    damaged = f"“{path.name}” is not a video that can be read: damaged, cut off, or of another kind."
    with refusing(VideoError(damaged), av.error.FFmpegError, OSError, ValueError):
        return av.open(str(path), metadata_errors="replace")


def _video_stream(container: Any, path: Path) -> Any:
    # A picture of the cover in a sound file is a video stream of one frame.
    streams = [s for s in container.streams.video if "attached_pic" not in str(s.disposition)]
    if not streams:
        raise _without_pictures(path)
    return streams[0]


def _without_pictures(path: Path) -> VideoError:
    return VideoError(f"“{path.name}” has no pictures in it.", "video_empty")


def _decoded(container: Any, stream: Any, path: Path) -> Iterator[Any]:
    """Decode packet by packet: a damaged one loses its frames, not the rest."""
    av = _av()
    damaged = seen = 0
    try:
        for packet in container.demux(stream):
            try:
                pictures = packet.decode()
            except av.error.FFmpegError as error:
                damaged += 1
                if damaged > MAX_DAMAGED:
                    raise VideoError(
                        f"“{path.name}” is damaged: nothing can be decoded after {seen} frames.",
                        "video_damaged",
                    ) from error
                continue
            for picture in pictures:
                damaged = 0
                seen += 1
                yield picture
    except av.error.FFmpegError as error:
        raise VideoError(f"“{path.name}” is damaged after {seen} frames.", "video_damaged") from error


def _upright(picture: Any, stream: Any) -> tuple[int, int, int]:
    """Width and height as shown, and quarter turns counter-clockwise to make it upright."""
    width, height = picture.width, picture.height
    aspect = stream.sample_aspect_ratio
    if aspect:
        ratio = float(aspect)
        if 0.2 < ratio < 5:
            width = round(width * ratio)
    turns = round((picture.rotation or 0) / 90) % 4
    return (height, width, turns) if turns % 2 else (width, height, turns)


def _image(picture: Any, stream: Any, path: Path, max_side: int = MAX_SIDE) -> np.ndarray:
    width, height, turns = _upright(picture, stream)
    if picture.width * picture.height > MAX_PIXELS or min(width, height) < 16:
        raise VideoError(
            f"“{path.name}” has frames of {width} × {height} pixels, which cannot be used.", "video_size"
        )
    if turns % 2:
        width, height = height, width
    scale = min(1.0, max_side / max(width, height))
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    image = picture.reformat(width=width, height=height, format="rgb24").to_ndarray()
    return np.ascontiguousarray(np.rot90(image, turns))
