# SPDX-License-Identifier: GPL-3.0-or-later
"""The noise schedule of the diffusion (cosine, Nichol and Dhariwal 2021, as the paper's released code clips it)."""

from __future__ import annotations

import math

import torch

COSINE_OFFSET = 0.008
BETA_MIN, BETA_MAX = 1e-4, 0.999


class NoiseSchedule:
    """Cosine schedule over N steps; index 0 is the identity (no noise), index N nearly pure noise.

    Attributes (each float64 tensor of shape (N + 1,)):
        betas: variance added at a step, clipped to [0.0001, 0.999]; 0 at index 0.
        alphas: 1 - betas.
        alpha_bars: cumulative product of alphas, recomputed from the clipped betas.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        t = torch.arange(steps + 1, dtype=torch.float64) / steps
        f = torch.cos((t + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2) ** 2
        betas = (1 - f[1:] / f[:-1]).clamp(BETA_MIN, BETA_MAX)
        self.betas = torch.cat([torch.zeros(1, dtype=torch.float64), betas])
        self.alphas = 1 - self.betas
        self.alpha_bars = torch.cumprod(self.alphas, 0)

    def half_log_snr(self) -> torch.Tensor:
        """λ = log(sqrt(alpha-bar) / sqrt(1 − alpha-bar)) of steps 1..N, float64 (N,), falling."""
        alpha_bars = self.alpha_bars[1:]
        return 0.5 * (torch.log(alpha_bars) - torch.log1p(-alpha_bars))

    def add_noise(self, x0: torch.Tensor, step: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Sample q(x_n | x_0) = sqrt(alpha-bar) x_0 + sqrt(1 - alpha-bar) noise.

        Args:
            x0: clean motion, shape (B, T, D).
            step: diffusion steps, shape (B,), in 0..N.
            noise: standard normal, shape of `x0`.
        """
        alpha_bar = self.alpha_bars.to(x0.device, x0.dtype)[step][:, None, None]
        return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise
