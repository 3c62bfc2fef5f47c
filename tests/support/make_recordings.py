# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by the backend's Python: good, odd and bad sound files cut from a real recording.

Usage: python make_recordings.py CLIP FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr


def main(clip: str, folder: str) -> None:
    """Write the files."""
    out = Path(folder)
    speech, rate = soundfile.read(clip, dtype="float32", always_2d=True)
    speech = speech[:, 0]
    short = speech[: 2 * rate]
    soundfile.write(out / "speech.wav", short, rate)
    soundfile.write(out / "americans.wav", speech[: int(3.2 * rate)], rate)  # “And so, my fellow Americans”
    soundfile.write(out / "second line.wav", speech[2 * rate : 5 * rate], rate)
    odd_folder = out / "Ödön's Aufnahmen 日本語"
    odd_folder.mkdir()
    soundfile.write(odd_folder / "sprich, bitte!.wav", short, rate)
    soundfile.write(out / "telephone.wav", soxr.resample(short, rate, 8000), 8000)
    soundfile.write(out / "studio.wav", soxr.resample(short, rate, 48000), 48000, subtype="PCM_24")
    surround = np.zeros((2 * 48000, 6), np.float32)
    surround[:, 2] = soxr.resample(short, rate, 48000)[: len(surround)]
    soundfile.write(out / "surround.wav", surround, 48000, subtype="PCM_24")
    soundfile.write(out / "minute.flac", np.resize(speech, 60 * rate), rate)
    soundfile.write(out / "ten minutes.flac", np.resize(speech, 600 * rate), rate)

    (out / "empty.wav").write_bytes(b"")
    soundfile.write(out / "silent.wav", np.zeros(2 * rate, np.float32), rate)
    soundfile.write(out / "one sample.wav", np.array([0.5], np.float32), rate)
    (out / "notes.wav").write_text("This is not a sound.\n" * 50)
    soundfile.write(out / "whole.flac", short, rate)
    whole = (out / "whole.flac").read_bytes()
    (out / "truncated.flac").write_bytes(whole[: len(whole) // 3])
    (out / "folder.wav").mkdir()


if __name__ == "__main__":
    main(*sys.argv[1:])
