# SPDX-License-Identifier: GPL-3.0-or-later
"""Samplers: plain functions from noise to clean motion over any denoiser callable.

A denoiser is `denoise(x, step) -> x0_hat`: x of shape (B, T, D) at integer diffusion step `step`. Guidance,
thresholding and the like are wrappers around that callable and unknown here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from .schedule import NoiseSchedule

Denoise = Callable[[torch.Tensor, int], torch.Tensor]
OnStep = Callable[[int, int], None]
"""Called after each step with (done, total)."""


def sample_ddpm(
    denoise: Denoise,
    x: torch.Tensor,
    schedule: NoiseSchedule,
    noise: Callable[[], torch.Tensor],
    on_step: OnStep | None = None,
) -> torch.Tensor:
    """Ancestral sampling through every step N..1 (Ho et al. 2020, with the clean sample predicted).

    Args:
        x: standard normal start, shape (B, T, D).
        noise: draws a standard normal of x's shape; called once a step but the last.

    Returns:
        Clean sample of x's shape.
    """
    for n in range(schedule.steps, 0, -1):
        x0 = denoise(x, n)
        beta = schedule.betas[n].item()
        alpha = schedule.alphas[n].item()
        alpha_bar = schedule.alpha_bars[n].item()
        previous = schedule.alpha_bars[n - 1].item()
        # Posterior mean and variance of q(x_{n-1} | x_n, x_0), equations 6 and 7 of Ho et al.
        x = (math.sqrt(previous) * beta * x0 + math.sqrt(alpha) * (1 - previous) * x) / (1 - alpha_bar)
        if n > 1:
            x = x + math.sqrt((1 - previous) / (1 - alpha_bar) * beta) * noise()
        if on_step:
            on_step(schedule.steps - n + 1, schedule.steps)
    return x


NOISY_HALF_LOG_SNR = -4.0
"""Below this half-logSNR the clean prediction hardly changes: the solver crosses that stretch in one step."""


def solver_steps(schedule: NoiseSchedule, count: int) -> list[int]:
    """Integer diffusion steps N = n_0 > n_1 > … > n_count = 0, evenly spaced in log signal-to-noise ratio.

    Even spacing in half-logSNR is what DPM-Solver recommends. A cosine schedule spends much of that range on
    its last few, almost purely noisy steps; they are crossed at once, which by measurement halves the error.
    Steps that round to the same integer are spread so that exactly `count` network evaluations remain.
    """
    count = min(count, schedule.steps)
    alpha_bars = schedule.alpha_bars[1:]
    half_log_snr = 0.5 * (torch.log(alpha_bars) - torch.log1p(-alpha_bars))
    low = max(NOISY_HALF_LOG_SNR, half_log_snr[-1].item())
    targets = torch.linspace(low, half_log_snr[0].item(), count - 1, dtype=torch.float64)
    steps = [schedule.steps]
    for i, target in enumerate(targets, start=1):
        n = int((half_log_snr - target).abs().argmin()) + 1
        steps.append(max(count - i, min(steps[-1] - 1, n)))  # leave room for the distinct steps still to come
    return [*steps, 0]


def sample_dpm_solver_pp_2m(
    denoise: Denoise,
    x: torch.Tensor,
    schedule: NoiseSchedule,
    count: int,
    on_step: OnStep | None = None,
) -> torch.Tensor:
    """DPM-Solver++(2M), the second-order multistep solver of the guided diffusion ODE (Lu et al. 2022b, Alg. 2).

    Args:
        x: standard normal start, shape (B, T, D).
        count: network evaluations, 1..N.

    Returns:
        Clean sample of x's shape; deterministic in `x`.
    """
    steps = solver_steps(schedule, count)
    alpha_bar = schedule.alpha_bars[steps]
    alpha, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    lam = torch.log(alpha) - torch.log(sigma)  # half-logSNR; +inf at the last entry, step 0
    previous_x0: torch.Tensor | None = None
    for i, n in enumerate(steps[:-1]):
        x0 = denoise(x, n)
        if i == len(steps) - 2:
            # sigma = 0 at step 0: the update degenerates to the clean prediction itself (first order).
            x = x0
        else:
            h = (lam[i + 1] - lam[i]).item()
            if previous_x0 is None:
                d = x0
            else:
                r = (lam[i] - lam[i - 1]).item() / h
                d = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * previous_x0
            x = (sigma[i + 1] / sigma[i]).item() * x - alpha[i + 1].item() * math.expm1(-h) * d
        previous_x0 = x0
        if on_step:
            on_step(i + 1, len(steps) - 1)
    return x
