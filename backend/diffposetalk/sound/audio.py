# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings in: any file that libsndfile or PyAV reads becomes 16 kHz mono speech, or a clear reason why not."""

from __future__ import annotations

import math
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from ..config import FPS
from ..errors import AudioError, Cancelled, refusing
from ..files.digest import file_sha256
from . import film_sound

SAMPLE_RATE = 16_000  # Hz, what every speech encoder here hears
MIN_SECONDS = 0.1
MAX_SECONDS = 3600.0
MIN_SAMPLE_RATE = 4_000  # below this the formants that tell phones apart are gone
SILENCE_PEAK = 1e-3  # -60 dB re full scale
RESAMPLER_MARGIN = 1024  # samples that rounding can add
MAX_SAMPLE_RATE = 384_000
MAX_CHANNELS = 32
MAX_SAMPLES = 6_000_000_000  # of all channels that are decoded: an hour of eight at 192 kHz
MAX_PEAK = 1e6  # full scale is 1; beyond this it is no sound, and squares overflow
BLOCK_SAMPLES = 6_000_000  # of all channels, decoded at a time
BLOCK_SECONDS = 10  # decoded at a time, so that an hour of 96 kHz 5.1 needs no more memory than a minute

# Speech sits in the centre channel of a surround mix; the front pair carries it when the centre does not,
# the low-frequency channel never does. Orders are those of WAVE and FLAC: L R C LFE then the surrounds.
SURROUND_WEIGHTS: dict[int, tuple[float, ...]] = {
    3: (0.5, 0.5, 1.0),
    5: (0.5, 0.5, 1.0, 0.25, 0.25),
    6: (0.5, 0.5, 1.0, 0.0, 0.25, 0.25),
    7: (0.5, 0.5, 1.0, 0.0, 0.25, 0.25, 0.25),
    8: (0.5, 0.5, 1.0, 0.0, 0.25, 0.25, 0.25, 0.25),
}

# First bytes of files that people pick by mistake, and what to call them.
SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftypM4A", "AAC sound in an MP4 container (.m4a), which libsndfile does not read"),
    (4, b"ftyp", "an MP4 or QuickTime video"),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (0, b"BLENDER", "a Blender file"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media sound or video"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive or a compressed Blender file"),
)


@dataclass(frozen=True)
class AudioInfo:
    """What a recording is, without its samples.

    seconds: length; frames: motion frames at 25 fps that it gives; sha256: of the file's bytes.
    """

    name: str
    seconds: float
    sample_rate: int
    channels: int
    sha256: str
    frames: int


@dataclass(frozen=True)
class SpeechAudio:
    """Speech as the engine hears it.

    samples: float32 (n,), 16 kHz mono, full scale ±1, not normalised.
    sample_rate_in, channels_in: of the file. seconds: of the selected part. sha256: of the whole file.
    """

    samples: np.ndarray
    sample_rate_in: int
    channels_in: int
    seconds: float
    sha256: str
    name: str

    @property
    def frames(self) -> int:
        """Motion frames at 25 fps that this speech gives."""
        return int(self.seconds * FPS + 1e-6)

    @property
    def info(self) -> AudioInfo:
        """What is told of it without its samples; its length is that of the selected part."""
        of_file = self.sample_rate_in, self.channels_in, self.sha256
        return AudioInfo(self.name, self.seconds, *of_file, self.frames)


def probe(
    path: str | Path,
    cancelled: Callable[[], bool] = lambda: False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> AudioInfo:
    """Describe a recording by its header, and its bytes by their hash.

    Args:
        cancelled: asked now and then whether to give up. on_progress: told the bytes read, and all, of a large file.

    Raises:
        AudioError: it is no usable recording. Cancelled.
    """
    path = _existing_file(path)
    with _open(path) as sound:
        seconds = sound.frames / sound.samplerate
        _check_length(path, sound, seconds)
        return AudioInfo(
            name=path.name,
            seconds=seconds,
            sample_rate=sound.samplerate,
            channels=sound.channels,
            sha256=file_sha256(path, cancelled, on_progress),
            frames=int(seconds * FPS + 1e-6),
        )


def load_speech(
    path: str | Path,
    start: float = 0.0,
    seconds: float | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> SpeechAudio:
    """Read a recording, or the part of it from `start` lasting `seconds`, as 16 kHz mono.

    Several channels are mixed to one (see `mix_to_mono`); the rate is converted by soxr's HQ filter. At
    most an hour is taken in one call. `cancelled` is asked now and then whether to give up.

    Raises Cancelled, or AudioError of a kind of audio_missing, audio_not_a_file, audio_unreadable, audio_empty,
    audio_too_short, audio_silent, audio_too_long, audio_truncated, audio_not_finite, audio_range.
    """
    path = _existing_file(path)
    if not np.isfinite(start) or start < 0 or (seconds is not None and not seconds > 0):
        raise AudioError(
            "The part of the recording to use must start at 0 s or later and last longer than 0 s.",
            "audio_range",
        )
    with _open(path) as sound:
        rate, channels = sound.samplerate, sound.channels
        first = round(start * rate)
        _check_length(path, sound, sound.frames / rate)
        if first >= sound.frames:
            raise AudioError(
                f"“{path.name}” lasts {sound.frames / rate:.2f} s; it cannot be used from {start:.2f} s on.",
                "audio_range",
            )
        wanted = sound.frames - first
        if seconds is not None:
            wanted = min(wanted, round(seconds * rate))
        _check_selection(path, wanted / rate)
        if wanted * channels > MAX_SAMPLES:
            raise AudioError(
                f"“{path.name}” has {channels} channels at {rate} Hz, too much to read {wanted / rate / 60:.0f} "
                "minutes of it in one go. Use it in parts, or save its speech as mono.",
                "audio_too_long",
            )

        resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        samples = np.empty(math.ceil(wanted / rate * SAMPLE_RATE) + RESAMPLER_MARGIN, np.float32)
        heard, written, peak = 0, 0, 0.0
        for block in _blocks(sound, path, first, wanted):
            if cancelled():
                raise Cancelled()
            if not np.abs(block).max() < MAX_PEAK:  # NaN is not smaller either
                raise AudioError(
                    f"“{path.name}” contains samples that are not numbers (NaN or infinity), or more than a million "
                    "times full scale. Export it again from your sound editor.",
                    "audio_not_finite",
                )
            mono = mix_to_mono(block)
            heard += len(mono)
            peak = max(peak, float(np.abs(mono).max()))
            written = _append(samples, written, resampler.resample_chunk(mono))
    # Lengths of MP3 files are estimates, so a missing blink of sound is no damage.
    if (wanted - heard) / rate > MIN_SECONDS:
        raise AudioError(_truncated_message(path, wanted / rate, heard / rate), "audio_truncated")
    written = _append(samples, written, resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    if peak < SILENCE_PEAK:
        level = f"its peak is {20 * np.log10(peak):.0f} dB" if peak > 0 else "every sample is zero"
        raise AudioError(
            f"“{path.name}” is silent: {level}. Pick a recording with speech in it, or raise its level.",
            "audio_silent",
        )
    return SpeechAudio(
        samples=samples[:written],
        sample_rate_in=rate,
        channels_in=channels,
        seconds=heard / rate,
        sha256=file_sha256(path, cancelled),
        name=path.name,
    )


def _append(samples: np.ndarray, written: int, piece: np.ndarray) -> int:
    """Write `piece` into `samples` after the first `written`; the new count."""
    stop = written + len(piece)
    samples[written:stop] = piece
    return stop


def mix_to_mono(block: np.ndarray) -> np.ndarray:
    """Mix float32 samples (n, channels) to (n,).

    Stereo and unusual layouts are averaged; surround layouts (`SURROUND_WEIGHTS`) favour the centre. Where
    the mix cancels (a pair wired in opposite phase), the loudest channel is taken instead.
    """
    channels = block.shape[1]
    if channels == 1:
        return np.ascontiguousarray(block[:, 0])
    weights = np.asarray(SURROUND_WEIGHTS.get(channels, (1.0,) * channels), dtype=np.float32)
    mono = block @ (weights / weights.sum())
    energy = np.square(block).mean(axis=0) * (weights > 0)
    loudest = int(energy.argmax())
    if np.square(mono).mean() < 1e-3 * energy[loudest]:
        return np.ascontiguousarray(block[:, loudest])
    return mono


def _existing_file(path: str | Path) -> Path:
    path = Path(path)
    missing = f"There is no recording at “{path}”. Check the path; it may have been moved or renamed."
    with refusing(AudioError(missing, "audio_missing")):
        status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(f"“{path}” is a folder. Pick a sound file in it.", "audio_not_a_file")
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(f"“{path}” is not a regular file. Pick a sound file.", "audio_not_a_file")
    if status.st_size == 0:
        raise AudioError(
            f"“{path.name}” is empty (0 bytes). Export or copy the recording again.", "audio_empty"
        )
    return path


def _open(path: Path) -> soundfile.SoundFile:
    try:
        # Names on a disk need not be UTF-8; on Windows they are no bytes at all.
        sound = soundfile.SoundFile(str(path) if sys.platform == "win32" else os.fsencode(path))
    except (soundfile.LibsndfileError, TypeError, OSError) as error:
        sound = film_sound.decoded(path) if os.access(path, os.R_OK) else None
        if sound is None:
            raise AudioError(_unreadable_message(path)) from error
    rate, channels = sound.samplerate, sound.channels
    if rate < MIN_SAMPLE_RATE:
        sound.close()
        raise AudioError(
            f"“{path.name}” has a sample rate of {rate} Hz, too low to hold speech. "
            f"Use a recording of at least {MIN_SAMPLE_RATE // 1000} kHz."
        )
    if rate > MAX_SAMPLE_RATE or channels > MAX_CHANNELS:
        sound.close()
        raise AudioError(
            f"“{path.name}” has {channels} channels at {rate} Hz; at most {MAX_CHANNELS} channels at "
            f"{MAX_SAMPLE_RATE // 1000} kHz are read. Save its speech as mono at 48 kHz."
        )
    return sound


def _unreadable_message(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as error:
        return f"“{path.name}” cannot be opened: {error.strerror or error}. Check its permissions."
    for offset, signature, name in SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            return f"“{path.name}” is {name}. Save its sound as WAV, FLAC, MP3 or Ogg and use that file."
    if head[:4] in (b"RIFF", b"fLaC", b"OggS", b"FORM", b"caff", b"riff"):
        return f"“{path.name}” is a damaged or cut off sound file. Export or copy it again."
    if re.fullmatch(rb"[\x09\x0a\x0d\x20-\x7e]+", head):
        return f"“{path.name}” is a text file, not a recording. Pick a WAV, FLAC, MP3 or Ogg file."
    return f"“{path.name}” is not a sound file that can be read. Use WAV, FLAC, MP3, Ogg or AIFF."


def _check_length(path: Path, sound: soundfile.SoundFile, seconds: float) -> None:
    if sound.frames == 0:
        raise AudioError(
            f"“{path.name}” has a header but no sound in it. Export or copy the recording again.",
            "audio_empty",
        )
    stated = _stated_seconds(sound)
    if stated is not None and stated > seconds + MIN_SECONDS:
        raise AudioError(_truncated_message(path, stated, seconds), "audio_truncated")
    if seconds < MIN_SECONDS:
        samples = f"{sound.frames} sample{'s' if sound.frames != 1 else ''}"
        raise AudioError(
            f"“{path.name}” is too short: {samples}, {seconds * 1000:.1f} ms. "
            f"At least {MIN_SECONDS:g} s of speech is needed.",
            "audio_too_short",
        )


def _check_selection(path: Path, seconds: float) -> None:
    if seconds < MIN_SECONDS:
        raise AudioError(
            f"The part of “{path.name}” to use lasts {seconds * 1000:.0f} ms; "
            f"at least {MIN_SECONDS:g} s is needed.",
            "audio_too_short",
        )
    if seconds > MAX_SECONDS:
        raise AudioError(
            f"“{path.name}” lasts {seconds / 60:.0f} minutes; at most {MAX_SECONDS / 60:.0f} minutes can be "
            "done in one go. Use it in parts, by their start and length.",
            "audio_too_long",
        )


def _truncated_message(path: Path, stated: float, actual: float) -> str:
    return (
        f"“{path.name}” is cut off: {stated:.2f} s are announced, but it breaks off after {actual:.2f} s. "
        "Copy it again, or save the part that plays as a new file."
    )


def _stated_seconds(sound: soundfile.SoundFile) -> float | None:
    """Length that the header announces where libsndfile found less data than that, else None."""
    match = re.search(
        r"(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", sound.extra_info, re.IGNORECASE
    )
    if match is None:
        return None
    announced, actual = int(match[1]), int(match[2])
    # Programs that write to a pipe leave the largest number there; such a file is whole.
    if announced >= 0x7FFFF000 or actual <= 0 or announced <= actual:
        return None
    return float(sound.frames / sound.samplerate * announced / actual)


def _blocks(sound: soundfile.SoundFile, path: Path, first: int, wanted: int) -> Iterator[np.ndarray]:
    """Decode `wanted` frames from `first` on, as float32 (n, channels) blocks; fewer where data ends."""
    # A decoder that loses its way: how far it got is not known, only that the rest is missing.
    damaged = AudioError(
        f"“{path.name}” is cut off or damaged: its sound cannot be decoded to the end. "
        "Copy it again, or save the part that plays as a new file.",
        "audio_truncated",
    )
    with refusing(damaged, soundfile.LibsndfileError):
        if first:
            sound.seek(first)
        remaining = wanted
        while remaining > 0:
            block = sound.read(
                min(remaining, BLOCK_SECONDS * sound.samplerate, BLOCK_SAMPLES // sound.channels),
                dtype="float32",
                always_2d=True,
            )
            if len(block) == 0:
                return
            remaining -= len(block)
            yield block
