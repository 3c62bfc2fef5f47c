# SPDX-License-Identifier: GPL-3.0-or-later
"""Sound in containers that libsndfile does not read (M4A, MP4, QuickTime, Matroska, Windows Media), through PyAV."""

from __future__ import annotations

import tempfile
from pathlib import Path

import soundfile

SIGNATURES = ((4, b"ftyp"), (0, b"\x1aE\xdf\xa3"), (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"))
MAX_RATE = 48_000


def decoded(path: Path) -> soundfile.SoundFile | None:
    """The first sound of a film, or of a recording in such a container, as mono in a temporary file.

    None where it is no such file, PyAV is not installed, or no sound can be decoded.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if not any(head[at : at + len(mark)] == mark for at, mark in SIGNATURES):
        return None
    try:
        import av
    except ImportError:
        return None
    wave = tempfile.TemporaryFile()  # noqa: SIM115 - it goes with what reads it
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            [stream, *_] = container.streams.audio
            rate = min(stream.rate, MAX_RATE)
            resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
            with soundfile.SoundFile(wave, "w", rate, 1, "PCM_16", format="WAV") as sound:
                for frame in container.decode(stream):
                    frame.pts = None  # gaps in the times would stop the resampler
                    for piece in resampler.resample(frame):
                        sound.write(piece.to_ndarray().T)
                for piece in resampler.resample(None):
                    sound.write(piece.to_ndarray().T)
        wave.seek(0)
        return soundfile.SoundFile(wave)
    except (av.error.FFmpegError, soundfile.LibsndfileError, OSError, ValueError):
        wave.close()
        return None
