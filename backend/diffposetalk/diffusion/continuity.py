# SPDX-License-Identifier: GPL-3.0-or-later
"""Joining a window to the one before it: the clean prediction is bent, at every step, to start where that ended.

The network is conditioned on the previous frames (paper section 3.2) but free to ignore them; what it leaves
open at the seam is closed here inside the sampling, so that later steps can adapt the rest of the window.
"""

from __future__ import annotations

import math

import torch

from ..config import EXPRESSION_DIM
from .samplers import Denoise


class ContinuousDenoiser:
    """`denoise(x, step)` whose prediction continues `previous` in place and, half, in speed.

    The gap between where the previous frames lead and where the prediction starts is added to the prediction,
    fading out over a number of frames: many for the head, which drifts slowly, few for the face, whose lips
    have to be in time.

    Args:
        denoise: the (guided) denoiser.
        previous: (B, T_p, D) normalised motion before the window.
        face_frames, head_frames: lengths of the fade for expression and jaw, and for head rotation.
        joined: (B,) 1 for rows that continue something, 0 for rows that begin.
    """

    def __init__(
        self,
        denoise: Denoise,
        previous: torch.Tensor,
        face_frames: int,
        head_frames: int,
        joined: torch.Tensor,
    ) -> None:
        self.denoise = denoise
        self.joined = joined[:, None, None]
        last, before = previous[:, -1], previous[:, -2]
        self.start = last + 0.5 * (last - before)
        dim = previous.shape[-1]
        lengths = torch.full((dim,), float(face_frames), device=previous.device)
        lengths[EXPRESSION_DIM : dim - 1] = float(head_frames)
        self.lengths = lengths

    def __call__(self, x: torch.Tensor, step: int) -> torch.Tensor:
        """Prediction of the clean window, shape of `x` (B, T_w, D)."""
        x0 = self.denoise(x, step)
        frame = torch.arange(x.shape[1], device=x.device)[:, None]
        fade = 0.5 * (1 + torch.cos(math.pi * (frame / self.lengths).clamp(max=1.0)))
        return x0 + self.joined * fade * (self.start - x0[:, 0])[:, None]
