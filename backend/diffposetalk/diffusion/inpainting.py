# SPDX-License-Identifier: GPL-3.0-or-later
"""Diffusion in-painting: motion that stands is imposed on every step, and only what is unknown is generated.

The known clean values k replace the denoiser's prediction at every step. All samplers here are linear in their state
and in the clean predictions, and exact where the prediction is constant; so from sqrt(ᾱ_N) k + sqrt(1 − ᾱ_N) ε on the
state of what is known is k re-noised to the level of each step (by its own ε with the ODE solvers, by fresh noise
with the samplers that draw it), and the network sees the surroundings of the unknown part at the noise level that it
expects. This is the replacement method of Song et al. 2021 (score SDE, appendix I.2) and of RePaint (Lugmayr et al.
2022), without a second copy of the solver's state that could contradict the multistep history.

Replacement alone leaves a step where known and unknown meet: the network's own prediction of the known frames
beside the seam differs from k, and its unknown frames continue that prediction rather than k. The difference is
spread into the unknown frames, fading out over a few of them, at every step, so that later steps can adapt the rest
(as `continuity` does between windows).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from ..config import EXPRESSION_DIM
from ..networks.schedule import NoiseSchedule
from .samplers import Denoise

FACE_FRAMES, HEAD_FRAMES = 5, 25
"""Fades of models that do not say their own (`SamplingConfig.join_face`, `join_head`): lips have to be in time, the
head drifts slowly."""
MARGIN = 15
"""Known frames on either side of a range that its windows reach over at least, where there are as many."""


@dataclass(frozen=True)
class Standing:
    """Motion of which a part stands and the rest is to be generated.

    Attributes:
        vectors: (T, D) float32 motion vectors in their own units.
        known: (T, D) True where they stand.
    """

    vectors: np.ndarray
    known: np.ndarray

    def span(self) -> tuple[int, int]:
        """First frame with something unknown, and the frame after the last."""
        frames = np.flatnonzero(~self.known.all(axis=1))
        return int(frames[0]), int(frames[-1]) + 1


def place_windows(start: int, stop: int, frames: int, window: int, previous: int) -> tuple[int, int]:
    """Where the windows that generate a range lie: (frame of the first, how many).

    The range is in their middle as far as the clip reaches, with `MARGIN` known frames on either side where there are
    as many. The first window begins with the clip, or has `previous` frames before it to go on from.
    """
    count = math.ceil((stop - start + 2 * MARGIN) / window)
    slack = count * window - (stop - start)
    first = max(0, min(start - slack // 2, frames - count * window))
    if first < previous:
        first = 0
    while first + count * window < min(frames, stop + MARGIN):
        count += 1
    if first + (count - 1) * window >= frames:
        count = math.ceil((frames - first) / window)
    return first, count


class InpaintingDenoiser:
    """`denoise(x, step)` whose prediction is the known motion where that is known, and continues it elsewhere.

    Args:
        denoise: the (guided) denoiser.
        clean: (B, T_w, D) normalised motion; what it holds where nothing is known does not matter.
        known: (B, T_w, D) True where it stands; rows without anything known are left alone.
        face_frames, head_frames: lengths of the fades for expression and jaw, and for head rotation.
    """

    def __init__(
        self,
        denoise: Denoise,
        clean: torch.Tensor,
        known: torch.Tensor,
        face_frames: int = FACE_FRAMES,
        head_frames: int = HEAD_FRAMES,
    ) -> None:
        self.denoise = denoise
        self.seams = Seams(clean, known, face_frames, head_frames)

    def __call__(self, x: torch.Tensor, step: int) -> torch.Tensor:
        """Prediction of the clean window, shape of `x` (B, T_w, D)."""
        return self.seams(self.denoise(x, step))

    def start(self, noise: torch.Tensor, unknown: torch.Tensor, schedule: NoiseSchedule) -> torch.Tensor:
        """What sampling starts from: `unknown`, and where the motion is known, that at step N with `noise`.

        Both (B, T_w, D).
        """
        alpha_bar = schedule.alpha_bars[-1].item()
        renoised = math.sqrt(alpha_bar) * self.seams.clean + math.sqrt(1 - alpha_bar) * noise
        return torch.where(self.seams.known, renoised, unknown)


class Seams:
    """`seams(motion)`: the motion bent to continue what is known, and replaced by it where it is.

    Arguments as of `InpaintingDenoiser`.
    """

    def __init__(self, clean: torch.Tensor, known: torch.Tensor, face_frames: int, head_frames: int) -> None:
        self.clean, self.known = clean, known
        dim = clean.shape[-1]
        lengths = torch.full((dim,), float(face_frames))
        lengths[EXPRESSION_DIM : dim - 1] = float(head_frames)
        self.sides = [_seam(known, lengths, backwards) for backwards in (False, True)]

    def __call__(self, motion: torch.Tensor) -> torch.Tensor:
        """Motion (B, T, D), of which what is known is taken for an error."""
        gap = self.clean - motion
        for nearest, weight in self.sides:
            motion = motion + weight * torch.gather(gap, 1, nearest)
        return torch.where(self.known, self.clean, motion)


def _seam(known: torch.Tensor, lengths: torch.Tensor, backwards: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """For every value the nearest known frame before it (or after it), and the weight of the gap there.

    The weight falls from 1 at the seam to 0 over `lengths` frames, or at the other end of a shorter unknown run.

    Args:
        known: (B, T, D). lengths: (D,).

    Returns:
        (B, T, D) frame, 0 where there is none, and (B, T, D) weight, 0 where there is none or the value is known.
    """
    seen = known.cpu().flip(1) if backwards else known.cpu()
    frames = seen.shape[1]
    index = torch.arange(frames)[None, :, None].expand(seen.shape)
    before = torch.where(seen, index, -1).cummax(1).values
    after = torch.where(seen, index, frames).flip(1).cummin(1).values.flip(1)
    # Where nothing is known any more the run is open: nothing has to fit at its other end.
    run = torch.where(after == frames, torch.full_like(after, frames), after - before).float()
    fade = torch.minimum(lengths.expand(seen.shape), run)
    weight = 0.5 * (1 + torch.cos(math.pi * ((index - before).float() / fade).clamp(max=1.0)))
    weight = torch.where(seen | (before < 0), 0.0, weight)
    nearest = before.clamp(min=0)
    if backwards:
        nearest, weight = frames - 1 - nearest.flip(1), weight.flip(1)
    return nearest.to(known.device), weight.to(known.device)
