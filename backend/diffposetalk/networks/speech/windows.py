# SPDX-License-Identifier: GPL-3.0-or-later
"""Speech features of a recording, window by window, computed ahead of the sampling that needs them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, wait
from dataclasses import dataclass

import torch

from ...sound.audio import SpeechAudio
from ..model import DiffPoseTalk
from .encoder import OnChunk

CANCEL_POLL_SECONDS = 0.1


@dataclass
class _Report:
    """Passes on what the encoder tells of its chunks, as long as somebody listens.

    Apart from `SpeechWindows`, which holds the encoder's generator: a generator that held it in turn would be a cycle
    and keep the encoder's states, 4 MiB of them, until Python happens to look for cycles.
    """

    on_chunk: OnChunk | None

    def __call__(self, done: int, total: int) -> None:
        if self.on_chunk:
            self.on_chunk(done, total)


class SpeechWindows:
    """Speech features of a recording, projected, a window at a time as the encoder yields them.

    The encoder works ahead by one piece on a thread of its own, while windows are sampled.

    Args:
        origin: motion frame of the recording at which the first window begins.
    """

    def __init__(
        self,
        model: DiffPoseTalk,
        audio: SpeechAudio,
        windows: int,
        thread: Executor,
        on_chunk: OnChunk | None,
        origin: int = 0,
    ) -> None:
        self.model, self.thread = model, thread
        self.length = model.config.denoiser.window
        self.origin = origin
        self.frames = origin + windows * self.length
        self.report = _Report(on_chunk)
        self.pieces = model.speech_encoder.features(audio.samples, self.frames, self.report)
        self.known = torch.zeros(0, model.config.denoiser.width, device=model.device)
        self.first = 0
        self.ahead = thread.submit(self._next_piece)

    @torch.inference_mode()
    def _next_piece(self) -> torch.Tensor:
        return self.model.speech_proj(next(self.pieces))

    def skip(self, window: int, check: Callable[[], None]) -> None:
        """Begin at a later window."""
        for earlier in range(window):
            self.window(earlier, check)

    def window(self, window: int, check: Callable[[], None]) -> torch.Tensor:
        """Features (T_w, C); windows are asked for in order, the last one again and again.

        Args:
            check: called while waiting; may raise.
        """
        begin = self.origin + window * self.length
        features = self._span(begin, begin + self.length, check)
        self.report.on_chunk = None  # from here on listening goes with the motion
        return features

    def before(self, count: int, check: Callable[[], None]) -> torch.Tensor:
        """Features (count, C) of the frames before the first window; to be asked for first."""
        return self._span(self.origin - count, self.origin, check)

    def _span(self, begin: int, end: int, check: Callable[[], None]) -> torch.Tensor:
        """Features of the frames begin..end-1; those before `begin` are forgotten."""
        while self.first + len(self.known) < end:
            while not self.ahead.done():
                check()
                wait([self.ahead], timeout=CANCEL_POLL_SECONDS)
            self.known = torch.cat([self.known, self.ahead.result()])
            if self.first + len(self.known) < self.frames:
                self.ahead = self.thread.submit(self._next_piece)
        self.known, self.first = self.known[begin - self.first :], begin
        return self.known[: end - begin]
