# SPDX-License-Identifier: GPL-3.0-or-later
"""The course of a line's takes through their windows: what each window starts from, and what they come to together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor

import numpy as np
import torch

from ..config import EXPRESSION_DIM
from ..diffusion.inpainting import FACE_FRAMES, HEAD_FRAMES, Seams
from ..motion.clip import MotionClip
from ..motion.savitzky_golay import savitzky_golay_filter
from ..networks.model import DiffPoseTalk
from ..networks.speech.encoder import OnChunk
from ..networks.speech.windows import SpeechWindows
from .line import Guidance, Line, Solver
from .take import motion_clip, provenance


class Course:
    """Takes of one line on their way through its windows, in step with one another."""

    def __init__(self, model: DiffPoseTalk, index: int, line: Line, takes: list[int]) -> None:
        d = model.config.denoiser
        self.model, self.index, self.line, self.takes = model, index, line, takes
        self.frames, self.origin, self.windows = line.extent(model)
        self.solver = Solver.of(line.options, model)
        self.guidance = Guidance.of(line, model.config.sampling)
        self.window = 0
        self.generators = [torch.Generator().manual_seed(line.options.seeds[take]) for take in takes]
        self.first_noise: torch.Tensor | None = None
        self.previous_motion = model.start_motion.expand(len(takes), -1, -1)
        self.previous_speech = model.start_speech[0]
        self.speech: SpeechWindows | None = None
        self.motion: list[np.ndarray] = []
        self.given_frames = 0  # that on_window was given
        self.clean: torch.Tensor | None = None
        if line.standing is not None:
            vectors = torch.from_numpy(line.standing.vectors).to(model.device)
            self.clean = model.normalizer.normalize(vectors)
            if self.origin:
                before = self.clean[self.origin - d.previous : self.origin]
                self.previous_motion = before.expand(len(takes), -1, -1)

    @property
    def rows(self) -> int:
        """Rows of a batch that this takes up."""
        return len(self.takes)

    @property
    def first_frame(self) -> int:
        return self.origin + self.window * self.model.config.denoiser.window

    @property
    def real_frames(self) -> int:
        """Frames of the window to come that the recording reaches into."""
        return min(self.model.config.denoiser.window, self.frames - self.first_frame)

    @property
    def finished(self) -> bool:
        return self.window == self.windows

    def draw_noise(self) -> torch.Tensor:
        """Standard normal (rows, T_w, D) on the CPU; a row depends on its own seed alone."""
        d = self.model.config.denoiser
        return torch.stack([torch.randn(d.window, d.motion_dim, generator=g) for g in self.generators])

    def start_noise(self) -> torch.Tensor:
        """What the window to come is made from."""
        if self.first_noise is None:
            self.first_noise = self.draw_noise()
            return self.first_noise
        return self.first_noise if self.model.config.sampling.reuse_noise else self.draw_noise()

    def current_speech(self, thread: Executor, on_chunk: OnChunk, check: Callable[[], None]) -> torch.Tensor:
        """Projected speech features (T_w, C) of the window to come.

        Args:
            thread: listens ahead. check: raises what ends the wait for it.
            on_chunk: progress of listening, told until the first window can begin.
        """
        if self.speech is None:
            audio, progress = self.line.audio, on_chunk if self.window == 0 else None
            self.speech = SpeechWindows(self.model, audio, self.windows, thread, progress, self.origin)
            if self.origin and self.window == 0:
                self.previous_speech = self.speech.before(self.model.config.denoiser.previous, check)
            self.speech.skip(self.window, check)
        return self.speech.window(self.window, check)

    def known(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised motion that stands in the window to come, and where: both (T_w, D)."""
        d, standing = self.model.config.denoiser, self.line.standing
        clean = torch.zeros(d.window, d.motion_dim, device=self.model.device)
        mask = torch.zeros(d.window, d.motion_dim, dtype=torch.bool, device=self.model.device)
        if standing is not None and self.clean is not None:
            here = slice(self.first_frame, self.first_frame + self.real_frames)
            clean[: self.real_frames] = self.clean[here]
            mask[: self.real_frames] = torch.from_numpy(standing.known[here]).to(self.model.device)
        return clean, mask

    def goes_on(self) -> bool:
        """Whether the window to come continues generated motion, which nothing known at its start does for it."""
        standing = self.line.standing
        return self.window > 0 and (standing is None or not standing.known[self.first_frame].all())

    def split(self, limit: int) -> list[Course]:
        """This, in pieces of at most `limit` takes, each going on from the same window."""
        if self.rows <= limit:
            return [self]
        pieces = []
        for first in range(0, self.rows, limit):
            chosen = slice(first, first + limit)
            piece = Course(self.model, self.index, self.line, self.takes[chosen])
            piece.window, piece.generators = self.window, self.generators[chosen]
            piece.first_noise = None if self.first_noise is None else self.first_noise[chosen]
            piece.previous_motion = self.previous_motion[chosen]
            piece.previous_speech = self.previous_speech
            piece.motion, piece.given_frames = [motion[chosen] for motion in self.motion], self.given_frames
            pieces.append(piece)
        return pieces

    def clips(self) -> list[MotionClip]:
        """The finished takes."""
        motion, standing = np.concatenate(self.motion, axis=1), self.line.standing
        defaults = self.model.config.sampling
        if standing is not None:
            whole = np.repeat(standing.vectors[None], self.rows, axis=0)
            here = slice(self.origin, self.origin + motion.shape[1])
            whole[:, here] = np.where(standing.known[here], whole[:, here], motion)
            motion = whole
        smoothed = smooth_head(motion, defaults.smooth_head)
        if standing is not None:
            # The filter moves what stands, too: by how much, the frames beside it have to follow.
            vectors, known = (
                torch.from_numpy(a)[None].expand(motion.shape) for a in (standing.vectors, standing.known)
            )
            seams = Seams(
                vectors, known, defaults.join_face or FACE_FRAMES, defaults.join_head or HEAD_FRAMES
            )
            smoothed = self.model.clamp(seams(torch.from_numpy(smoothed)).to(self.model.device)).cpu().numpy()
            smoothed = np.where(standing.known, standing.vectors, smoothed)
        return [
            motion_clip(
                self.model,
                self.line,
                motion,
                provenance(self.model, self.line, self.solver, self.guidance, take),
            )
            for take, motion in zip(self.takes, smoothed, strict=True)
        ]

    def final_frames(self) -> tuple[int, np.ndarray]:
        """Frames that are final and were not given yet: (the first of them, motion vectors (rows, n, D)).

        The head's filter reaches half its length over the end of what is there, so that many frames have to wait
        for the next window.
        """
        length = self.model.config.sampling.smooth_head
        motion = np.concatenate(self.motion[-4:], axis=1)  # the filter is no longer than a window
        end = min(self.window * self.model.config.denoiser.window, self.frames)
        offset = end - motion.shape[1]
        first, self.given_frames = self.given_frames, end if self.finished else end - length // 2
        begin = max(offset, first - 2 * length)  # where the filter begins does not reach what is given
        smoothed = smooth_head(motion[:, begin - offset :], length)
        return first, smoothed[:, first - begin : self.given_frames - begin]


def smooth_head(motion: np.ndarray, frames: int) -> np.ndarray:
    """Savitzky-Golay filter over the head rotation of motion vectors (B, T, D), as the paper's data is filtered."""
    if not frames or motion.shape[1] < frames or motion.shape[2] == EXPRESSION_DIM + 1:
        return motion
    head = slice(EXPRESSION_DIM, EXPRESSION_DIM + 3)
    out = motion.copy()
    out[..., head] = savitzky_golay_filter(motion[..., head], frames, 2, axis=1)
    return out
