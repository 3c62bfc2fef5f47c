# SPDX-License-Identifier: GPL-3.0-or-later
"""Small videos of a moving square, with the oddities that videos have."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np


def picture(k: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A dark picture whose top left quarter is bright red; the blue grows with k."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2, 0] = 250
    image[:, :, 2] = min(250, 5 * k)
    return image


def write_video(
    path: Path,
    times: Sequence[float],
    *,
    width: int = 64,
    height: int = 48,
    rotation: int = 0,
    aspect: Fraction | None = None,
    sound: np.ndarray | None = None,
    sound_rate: int = 44_100,
    codec: str = "mpeg4",
) -> Path:
    """Write frames at these times (seconds), and sound (n, channels) from time 0."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        track = None
        if sound is not None:
            track = container.add_stream("pcm_s16le" if path.suffix == ".mov" else "aac", rate=sound_rate)
            track.layout = "stereo" if sound.shape[1] == 2 else "mono"
        for k, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(k, width, height), format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if track is not None and sound is not None:
            samples = np.ascontiguousarray((sound * 32767).astype(np.int16).reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=track.layout.name)
            frame.rate, frame.pts, frame.time_base = sound_rate, 0, Fraction(1, sound_rate)
            fifo = av.AudioResampler(format=track.format.name, layout=track.layout.name, rate=sound_rate)
            blocks = av.audio.fifo.AudioFifo()
            for piece in [*fifo.resample(frame), *fifo.resample(None)]:
                blocks.write(piece)
            while (block := blocks.read(1024, partial=True)) is not None:
                container.mux(track.encode(block))
            container.mux(track.encode(None))
    return path
