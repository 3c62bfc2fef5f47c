# SPDX-License-Identifier: GPL-3.0-or-later
"""Sound that the backend cannot read and Blender can: what telephones record (M4A, MP4), and other films."""

from pathlib import Path

import bpy

SIGNATURES = (
    (4, b"ftyp"),
    (0, b"\x1aE\xdf\xa3"),
    (0, b"\x30\x26\xb2\x75"),
)  # MP4, Matroska and WebM, Windows Media
RATE = 48_000  # Hz; the backend hears 16 kHz


def decoded(path: str, folder: Path) -> str | None:
    """The sound of a film or of an M4A as a WAV file of the same name in `folder`; None where there is none to be had.

    The folder is made. Names stay, since takes are called after them.
    """
    with open(path, "rb") as file:
        head = file.read(16)
    if (
        not any(head[at : at + len(mark)] == mark for at, mark in SIGNATURES)
        or not bpy.app.build_options.audaspace
    ):
        return None
    import aud

    folder.mkdir()
    output = str(folder / Path(path).name)
    try:
        sound = aud.Sound(path)
        sound.write(output, RATE, aud.CHANNELS_MONO, aud.FORMAT_S16, aud.CONTAINER_WAV, aud.CODEC_PCM)
    except aud.error:
        return None
    return output
