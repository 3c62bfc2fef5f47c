# SPDX-License-Identifier: GPL-3.0-or-later
"""Samplers: plain functions from noise to clean motion over any denoiser callable.

A denoiser is `denoise(x, step) -> x0_hat`: x of shape (B, T, D) at integer diffusion step `step`. Guidance,
thresholding and the like are wrappers around that callable and unknown here. Needs no torch to be imported: what only
asks for the samplers' names does not wait for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from ..networks.schedule import NoiseSchedule

Denoise = Callable[["torch.Tensor", int], "torch.Tensor"]
DrawNoise = Callable[[], "torch.Tensor"]
"""Draws a standard normal of x's shape."""
OnStep = Callable[[int, int], None]
"""Called after each step with (done, total)."""


def sample_ddpm(
    denoise: Denoise,
    x: torch.Tensor,
    schedule: NoiseSchedule,
    noise: DrawNoise,
    on_step: OnStep | None = None,
) -> torch.Tensor:
    """Ancestral sampling through every step N..1 (Ho et al. 2020, with the clean sample predicted).

    Args:
        x: standard normal start, shape (B, T, D).
        noise: called once a step but the last.

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


NOISY_HALF_LOG_SNR = -4.1
"""Below this half-logSNR the clean prediction hardly changes: the solvers cross that stretch in one step."""
CLEAN_MARGIN = 0.1
GRID_WARP = (-0.006, 0.029)
"""How far the grid departs from even spacing: amplitudes of sin(πu) and sin(2πu) over its fraction u.

These figures were fitted on the bundled model so that 16 steps of UniPC come closest to the exact flow;
`benchmarks/solver_error.py` measures what they give.
"""


def solver_steps(schedule: NoiseSchedule, count: int) -> list[int]:
    """Integer diffusion steps N = n_0 > n_1 > … > n_count = 0, nearly evenly spaced in half-logSNR λ.

    Even spacing in λ is what DPM-Solver recommends; see `NOISY_HALF_LOG_SNR` and `GRID_WARP` for where this
    departs from it. Steps that round to the same integer are spread so that exactly `count` network
    evaluations remain.
    """
    import torch

    count = min(count, schedule.steps)
    lam = schedule.half_log_snr()
    low, high = max(NOISY_HALF_LOG_SNR, lam[-1].item()), lam[0].item() + CLEAN_MARGIN
    u = torch.linspace(0, 1, count - 1, dtype=torch.float64)
    warped = u + GRID_WARP[0] * torch.sin(math.pi * u) + GRID_WARP[1] * torch.sin(2 * math.pi * u)
    steps = [schedule.steps]
    for i, target in enumerate(low + (high - low) * warped, start=1):
        n = int((lam - target).abs().argmin()) + 1
        steps.append(max(count - i, min(steps[-1] - 1, n)))  # leave room for the distinct steps still to come
    return [*steps, 0]


def sample_ddim(
    denoise: Denoise,
    x: torch.Tensor,
    schedule: NoiseSchedule,
    count: int,
    on_step: OnStep | None = None,
) -> torch.Tensor:
    """DDIM without noise (Song et al. 2021, eta = 0): first order, kept for comparison.

    Args:
        x: standard normal start, shape (B, T, D).
        count: network evaluations, 1..N.
    """
    steps = solver_steps(schedule, count)
    alpha_bar = schedule.alpha_bars[steps].tolist()
    for i, n in enumerate(steps[:-1]):
        x0 = denoise(x, n)
        epsilon = (x - math.sqrt(alpha_bar[i]) * x0) / math.sqrt(1 - alpha_bar[i])
        x = math.sqrt(alpha_bar[i + 1]) * x0 + math.sqrt(1 - alpha_bar[i + 1]) * epsilon
        if on_step:
            on_step(i + 1, len(steps) - 1)
    return x


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
    return _multistep_2m(denoise, x, schedule, count, None, on_step)


def sample_unipc(
    denoise: Denoise,
    x: torch.Tensor,
    schedule: NoiseSchedule,
    count: int,
    on_step: OnStep | None = None,
) -> torch.Tensor:
    """UniPC of third order for a denoiser that predicts the clean sample (Zhao et al. 2023, with B2(h) = e^h − 1).

    A multistep predictor as DPM-Solver++, whose result is corrected with the prediction made at it; that
    prediction serves the next step too, so the correction costs no network evaluation.

    Arguments and result as of `sample_dpm_solver_pp_2m`.
    """
    steps = solver_steps(schedule, count)
    alpha, sigma, lam = _path(schedule, steps)
    known = [denoise(x, steps[0])]  # clean predictions, the newest first
    for i in range(len(steps) - 1):
        if on_step:
            on_step(i + 1, len(steps) - 1)
        if i == len(steps) - 2:
            break  # sigma = 0 at step 0: what is left is the clean prediction itself
        h = lam[i + 1] - lam[i]
        rates = [(lam[i - k] - lam[i]) / h for k in range(1, len(known))]
        slopes = [(m - known[0]) / r for m, r in zip(known[1:], rates, strict=True)]
        first_order = sigma[i + 1] / sigma[i] * x - alpha[i + 1] * math.expm1(-h) * known[0]
        scale = -alpha[i + 1] * math.expm1(-h)
        predicted = first_order
        for weight, slope in zip(_unipc_weights(rates, h), slopes, strict=True):
            predicted = predicted + scale * weight * slope
        new = denoise(predicted, steps[i + 1])
        x = first_order
        for weight, slope in zip(_unipc_weights([*rates, 1.0], h), [*slopes, new - known[0]], strict=True):
            x = x + scale * weight * slope
        known = [new, *known[: UNIPC_ORDER - 1]]
    return known[0]


UNIPC_ORDER = 3


def _unipc_weights(rates: list[float], h: float) -> list[float]:
    """Weights of the divided differences at `rates` (in steps of h): solve equation 6 of Zhao et al. 2023."""
    import torch

    if not rates:
        return []
    if len(rates) == 1:
        return [0.5]
    phi, factorial = math.expm1(-h) / -h - 1, 1
    right = []
    for power in range(1, len(rates) + 1):
        right.append(phi * factorial / math.expm1(-h))
        factorial *= power + 1
        phi = phi / -h - 1 / factorial
    matrix = torch.tensor([[r**power for r in rates] for power in range(len(rates))], dtype=torch.float64)
    return torch.linalg.solve(matrix, torch.tensor(right, dtype=torch.float64)).tolist()


def sample_dpm_solver_pp_2m_sde(
    denoise: Denoise,
    x: torch.Tensor,
    schedule: NoiseSchedule,
    count: int,
    noise: DrawNoise,
    on_step: OnStep | None = None,
) -> torch.Tensor:
    """SDE-DPM-Solver++(2M) (Lu et al. 2022b, section 5): the reverse SDE, with fresh noise at every step.

    Args:
        noise: called once a step but the last.
        others: as of `sample_dpm_solver_pp_2m`.
    """
    return _multistep_2m(denoise, x, schedule, count, noise, on_step)


def _multistep_2m(
    denoise: Denoise,
    x: torch.Tensor,
    schedule: NoiseSchedule,
    count: int,
    noise: DrawNoise | None,
    on_step: OnStep | None,
) -> torch.Tensor:
    """DPM-Solver++(2M); the SDE, where `noise` is given, doubles the exponent and adds noise."""
    steps = solver_steps(schedule, count)
    alpha, sigma, lam = _path(schedule, steps)
    before: torch.Tensor | None = None
    for i, n in enumerate(steps[:-1]):
        x0 = denoise(x, n)
        if i == len(steps) - 2:
            x = x0  # sigma = 0 at step 0: the update degenerates to the clean prediction itself
        else:
            h = lam[i + 1] - lam[i]
            d = x0
            if before is not None:
                d = x0 + (x0 - before) * (0.5 * h / (lam[i] - lam[i - 1]))
            decay = math.exp(-h) if noise else 1.0
            grow = -math.expm1(-2 * h) if noise else -math.expm1(-h)
            x = sigma[i + 1] / sigma[i] * decay * x + alpha[i + 1] * grow * d
            if noise:
                x = x + sigma[i + 1] * math.sqrt(grow) * noise()
        before = x0
        if on_step:
            on_step(i + 1, len(steps) - 1)
    return x


def _path(schedule: NoiseSchedule, steps: list[int]) -> tuple[list[float], list[float], list[float]]:
    """sqrt(alpha-bar), sqrt(1 − alpha-bar) and half-logSNR (infinite at step 0) of the steps."""
    alpha_bar = schedule.alpha_bars[steps]
    alpha, sigma = alpha_bar.sqrt().tolist(), (1 - alpha_bar).sqrt().tolist()
    return alpha, sigma, [math.log(a / s) if s else math.inf for a, s in zip(alpha, sigma, strict=True)]


SOLVERS: dict[str, Callable[[Denoise, torch.Tensor, NoiseSchedule, int, OnStep | None], torch.Tensor]] = {
    "unipc": sample_unipc,
    "dpmpp_2m": sample_dpm_solver_pp_2m,
    "ddim": sample_ddim,
}
"""By name, those that solve the ODE and draw no noise between their steps."""
NOISY_SAMPLERS: dict[
    str, Callable[[Denoise, torch.Tensor, NoiseSchedule, int, DrawNoise, OnStep | None], torch.Tensor]
] = {
    "dpmpp_2m_sde": sample_dpm_solver_pp_2m_sde,
    "ddpm": lambda denoise, x, schedule, _, noise, on_step: sample_ddpm(denoise, x, schedule, noise, on_step),
}
"""By name, those that draw noise at every step; `ddpm` takes all N steps."""
SAMPLERS = (*SOLVERS, *NOISY_SAMPLERS)
"""All names, as users choose them by."""


def sample(
    name: str,
    denoise: Denoise,
    x: torch.Tensor,
    schedule: NoiseSchedule,
    count: int,
    noise: DrawNoise,
    on_step: OnStep | None = None,
) -> torch.Tensor:
    """Run the sampler of that name, one of `SAMPLERS`; arguments as of the functions themselves."""
    if name in SOLVERS:
        return SOLVERS[name](denoise, x, schedule, count, on_step)
    return NOISY_SAMPLERS[name](denoise, x, schedule, count, noise, on_step)
