# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface of pretrained speech encoders: 16 kHz sound in, one feature vector per motion frame out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch

from ...config import FPS
from ...sound.audio import SAMPLE_RATE

SAMPLES_PER_FRAME = int(SAMPLE_RATE / FPS)
"""640 samples of sound to a motion frame."""

OnChunk = Callable[[int, int], None]
"""Called with (done, total) chunks of a recording."""


class SpeechEncoder(Protocol):
    """What the engine needs of a speech encoder."""

    feature_dim: int

    def features(
        self, samples: np.ndarray, frames: int, on_chunk: OnChunk | None = None
    ) -> Iterator[torch.Tensor]:
        """Features of a recording, piece by piece as they are computed: an hour needs no more memory than a minute.

        Args:
            samples: mono sound at 16 kHz, float32 (n,), in [-1, 1]; silence is appended up to `frames`.
            frames: motion frames wanted (25 a second).
            on_chunk: called with (done, total) as long recordings are worked through.

        Yields:
            (n, feature_dim) float32 on the encoder's device, consecutive; the n add up to `frames`.
        """
        ...


def encode(encoder: SpeechEncoder, samples: np.ndarray, frames: int) -> torch.Tensor:
    """All of `SpeechEncoder.features` at once, (frames, feature_dim)."""
    return torch.cat(list(encoder.features(samples, frames)))


def frames_of_sound(samples: np.ndarray, first: int, last: int) -> np.ndarray:
    """Samples of the motion frames first..last-1, float32, with silence where the recording has ended."""
    sound = samples[first * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME].astype(np.float32, copy=False)
    return np.pad(sound, (0, (last - first) * SAMPLES_PER_FRAME - len(sound)))


def fade(begin: int, end: int, start: int, stop: int, frames: int, length: int) -> torch.Tensor:
    """Weight (end − begin, 1) of a chunk's frames: 1 inside, falling to 0 over `length` frames past its edges."""
    t = torch.arange(begin, end) + 0.5
    rise = (t - start) / (2 * length) + 0.5 if start > 0 else torch.ones(len(t))
    fall = (stop - t) / (2 * length) + 0.5 if stop < frames else torch.ones(len(t))
    return torch.minimum(rise, fall).clamp(0, 1)[:, None]
