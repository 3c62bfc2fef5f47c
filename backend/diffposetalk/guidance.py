# SPDX-License-Identifier: GPL-3.0-or-later
"""Incremental classifier-free guidance over speech and style (paper equation 10)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .denoiser import Denoiser


@dataclass(frozen=True)
class Condition:
    """What a window is generated from; B clips or takes.

    Attributes:
        previous_motion: (B, T_p, D) normalised motion before the window.
        speech: (B, T_p + T_w, C) projected speech features.
        null_speech: (1, 1, C) learned feature that stands for "no speech".
        style: (B, S) style vectors, or None to generate without one.
        null_style: (1, S) learned vector that stands for "no style".
        shape: (B, 100) normalised shape coefficients.
        indicator: (B, T_w) 1 for real frames, 0 for padding.
    """

    previous_motion: torch.Tensor
    speech: torch.Tensor
    null_speech: torch.Tensor
    style: torch.Tensor | None
    null_style: torch.Tensor
    shape: torch.Tensor
    indicator: torch.Tensor


class GuidedDenoiser:
    """`denoise(x, step)` for the samplers: the guided clean prediction of a window's T_w frames.

    All branches run in one forward. With guidance scales w_a (speech) and w_s (style):
    x0 = D(∅, ∅) + w_a [D(A, ∅) − D(∅, ∅)] + w_s [D(A, s) − D(A, ∅)].
    """

    def __init__(self, denoiser: Denoiser, condition: Condition, w_a: float, w_s: float) -> None:
        c = condition
        batch = c.speech.shape[0]
        null_speech = c.null_speech.expand_as(c.speech)
        null_style = c.null_style.expand(batch, -1)
        # (speech, style, weight in the sum); a branch of weight 0 is not computed.
        branches = [(null_speech, null_style, 1 - w_a)]
        if c.style is None:
            branches.append((c.speech, null_style, w_a))
        else:
            branches.append((c.speech, null_style, w_a - w_s))
            branches.append((c.speech, c.style, w_s))
        branches = [b for b in branches if b[2] != 0.0]
        self.weights = [b[2] for b in branches]
        count = len(branches)
        self.denoiser = denoiser
        self.speech = torch.cat([b[0] for b in branches])
        self.style = torch.cat([b[1] for b in branches])
        self.previous_motion = c.previous_motion.repeat(count, 1, 1)
        self.shape = c.shape.repeat(count, 1)
        self.indicator = c.indicator.repeat(count, 1)
        self.previous = c.previous_motion.shape[1]

    def __call__(self, x: torch.Tensor, step: int) -> torch.Tensor:
        """Guided prediction of the clean window, shape of `x` (B, T_w, D), at diffusion step `step`."""
        count = len(self.weights)
        steps = torch.full((x.shape[0] * count,), step, device=x.device, dtype=torch.long)
        out = self.denoiser(
            x.repeat(count, 1, 1),
            self.previous_motion,
            self.speech,
            self.style,
            self.shape,
            steps,
            self.indicator,
        )[:, self.previous :]
        parts = out.chunk(count)
        return torch.stack([w * p for w, p in zip(self.weights, parts, strict=True)]).sum(0)
