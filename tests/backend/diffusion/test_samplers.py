# SPDX-License-Identifier: GPL-3.0-or-later
"""Samplers against a distribution whose denoiser and probability flow are known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from support.small_networks import SMALL

from diffposetalk.diffusion.guidance import Condition, DynamicThreshold, GuidedDenoiser, SparseBranch
from diffposetalk.diffusion.samplers import (
    sample_ddim,
    sample_ddpm,
    sample_dpm_solver_pp_2m,
    sample_dpm_solver_pp_2m_sde,
    sample_unipc,
    solver_steps,
)
from diffposetalk.networks.denoiser import Denoiser
from diffposetalk.networks.prepared_denoiser import PreparedDenoiser
from diffposetalk.networks.schedule import NoiseSchedule

MEAN, STD = 0.7, 0.5
SCHEDULE = NoiseSchedule(500)


def gaussian_denoiser(x: torch.Tensor, step: int) -> torch.Tensor:
    """E[x0 | x_n] for data N(MEAN, STD²)."""
    alpha_bar = SCHEDULE.alpha_bars[step].item()
    a, variance = alpha_bar**0.5, alpha_bar * STD**2 + 1 - alpha_bar
    return MEAN + a * STD**2 / variance * (x - a * MEAN)


def test_ddpm_reaches_the_data_distribution():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, 1, 1, generator=generator)
    out = sample_ddpm(gaussian_denoiser, x, SCHEDULE, lambda: torch.randn(x.shape, generator=generator))
    assert out.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert out.std().item() == pytest.approx(STD, rel=0.03)


def exact_flow(x: torch.Tensor) -> torch.Tensor:
    """The probability flow ODE's endpoint: quantiles are kept, so it is affine for a Gaussian."""
    alpha_bar = SCHEDULE.alpha_bars[-1].item()
    a, variance = alpha_bar**0.5, alpha_bar * STD**2 + 1 - alpha_bar
    return MEAN + STD / variance**0.5 * (x - a * MEAN)


@pytest.mark.parametrize(
    ("solver", "order", "at_20"),
    [(sample_ddim, 1, 0.15), (sample_dpm_solver_pp_2m, 2, 0.02), (sample_unipc, 3, 0.01)],
)
def test_solvers_follow_the_exact_flow(solver: Callable, order: int, at_20: float):
    x = torch.linspace(-2, 2, 41)[:, None, None].double()
    coarse, middle, fine = (
        (solver(gaussian_denoiser, x, SCHEDULE, count) - exact_flow(x)).abs().max().item()
        for count in (10, 20, 40)
    )
    assert middle < at_20
    # Halving the step divides the error by 2 to the solver's order, here at least by 1.5 to the order.
    assert coarse / fine > 1.5 ** (2 * order), (coarse, middle, fine)


def test_sde_solver_reaches_the_data_distribution():
    generator = torch.Generator().manual_seed(0)

    def noise() -> torch.Tensor:
        return torch.randn(20_000, 1, 1, generator=generator)

    start = noise()
    out = sample_dpm_solver_pp_2m_sde(gaussian_denoiser, start, SCHEDULE, 30, noise)
    assert out.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert out.std().item() == pytest.approx(STD, rel=0.05)
    other = sample_dpm_solver_pp_2m_sde(gaussian_denoiser, start, SCHEDULE, 30, noise)
    assert (out - other).abs().mean() > 0.1  # its noise is fresh at every step


def test_solver_steps_are_distinct_and_end_at_zero():
    for count in (1, 2, 7, 20, 100, 500):
        steps = solver_steps(SCHEDULE, count)
        assert len(steps) == count + 1 and steps[0] == 500 and steps[-1] == 0
        assert all(a > b for a, b in pairwise(steps))


def condition(style: bool = True) -> Condition:
    torch.manual_seed(3)
    d = SMALL
    return Condition(
        previous_motion=torch.randn(2, d.previous, d.motion_dim),
        speech=torch.randn(2, d.previous + d.window, d.width),
        null_speech=torch.randn(1, 1, d.width),
        style=torch.randn(2, d.style_dim) if style else None,
        null_style=torch.randn(1, d.style_dim),
        shape=torch.zeros(2, d.shape_dim),
        indicator=torch.ones(2, d.window),
    )


@pytest.mark.parametrize("scales", [(1.15, 3.0), (1.0, 1.0), (0.0, 0.0), (2.0, 0.5)])
def test_guidance_is_equation_10(scales: tuple[float, float]):
    w_a, w_s = scales
    torch.manual_seed(0)
    network = Denoiser(SMALL).eval()
    c = condition()
    assert c.style is not None
    x = torch.randn(2, SMALL.window, SMALL.motion_dim)
    step = torch.full((2,), 5)

    def plain(speech: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        out = network(x, c.previous_motion, speech, style, c.shape, step, c.indicator)
        return out[:, SMALL.previous :]

    none_a, none_s = c.null_speech.expand_as(c.speech), c.null_style.expand(2, -1)
    unconditional, speech, both = plain(none_a, none_s), plain(c.speech, none_s), plain(c.speech, c.style)
    expected = unconditional + w_a * (speech - unconditional) + w_s * (both - speech)
    assert torch.allclose(GuidedDenoiser(PreparedDenoiser(network), c, w_a, w_s)(x, 5), expected, atol=1e-5)


def test_guidance_without_a_style_has_two_branches():
    torch.manual_seed(0)
    prepared = PreparedDenoiser(Denoiser(SMALL).eval())
    weights = GuidedDenoiser(prepared, condition(style=False), 1.5, 3.0).weights
    assert weights.squeeze(-1).tolist() == [[-0.5] * 2, [1.5] * 2]


def test_branches_without_weight_are_not_computed():
    prepared = PreparedDenoiser(Denoiser(SMALL).eval())
    assert GuidedDenoiser(prepared, condition(), 1.0, 1.0).weights.squeeze(-1).tolist() == [[1.0] * 2]
    assert len(GuidedDenoiser(prepared, condition(), 1.0, 2.0).weights) == 2


def test_each_row_has_its_own_scales():
    torch.manual_seed(0)
    prepared, c = PreparedDenoiser(Denoiser(SMALL).eval()), condition()
    x = torch.randn(2, SMALL.window, SMALL.motion_dim)
    by_channel = torch.full((2, SMALL.motion_dim), 1.15)
    by_channel[:, 7] = 2.0
    some = GuidedDenoiser(prepared, c, by_channel, torch.tensor([3.0, 0.5]))(x, 5)
    for row, w_s in enumerate((3.0, 0.5)):
        for channel, w_a in ((6, 1.15), (7, 2.0)):
            alone = GuidedDenoiser(prepared, c, w_a, w_s)(x, 5)
            assert torch.allclose(some[row, :, channel], alone[row, :, channel], atol=1e-6)
    mixed = GuidedDenoiser(prepared, c, torch.tensor([1.15, 2.0]), torch.tensor([3.0, 0.5]))(x, 5)
    assert torch.allclose(mixed[0], GuidedDenoiser(prepared, c, 1.15, 3.0)(x, 5)[0], atol=1e-6)
    assert torch.allclose(mixed[1], GuidedDenoiser(prepared, c, 2.0, 0.5)(x, 5)[1], atol=1e-6)


def test_dynamic_threshold_clamps_each_window_to_its_own_quantile():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 100, 54) * torch.tensor([0.1, 1.2, 9.0])[:, None, None]
    out = DynamicThreshold(0.99, 1.0, 4.0)(x)
    assert torch.equal(out[:, 0], x[:, 0])  # the lower bound leaves small motion alone
    limit = x[0, 1].abs().flatten().quantile(0.99)
    assert 1 < limit < 4 and torch.allclose(out[0, 1], x[0, 1].clamp(-limit, limit))
    assert out[:, 2].abs().max() == 4.0


def test_a_sparse_branch_is_inferred_where_it_weighs_little():
    """Exact where the difference of the branches is linear in λ; rows in which it weighs much are left alone."""
    lam = SCHEDULE.half_log_snr().tolist()
    seen: list[int] = []

    class Window:
        branches = 3

        def __call__(self, x: torch.Tensor, step: int) -> torch.Tensor:
            seen.append(step)
            spoken = x + step
            return torch.stack([spoken - 2.0 - 0.3 * lam[step - 1] * x, spoken, 2 * spoken])

    class Rest(Window):
        branches = 2

        def __call__(self, x: torch.Tensor, step: int) -> torch.Tensor:
            out = super().__call__(x, step)[1:]
            seen.pop()
            return out

    x = torch.randn(2, 4, 3, dtype=torch.float64)
    steps = solver_steps(SCHEDULE, 10)[:-1]
    for heavy in ([False, False], [True, False]):
        sparse = SparseBranch(3, lam)
        seen.clear()
        for k, step in enumerate(steps):
            out = sparse(Window(), Rest(), torch.tensor(heavy), x, step)  # type: ignore[arg-type]
            whole = Window()(x, step)
            seen.pop()
            assert torch.equal(out[1:], whole[1:])
            if k > 2:  # from the second evaluation on the line is known
                assert torch.allclose(out[0], whole[0], atol=1e-9)
            else:
                assert torch.equal(out[0, 0], whole[0, 0]) or not heavy[0]
        assert seen == (steps if heavy[0] else steps[::3])


def test_guidance_is_exact_where_nothing_may_be_left_out():
    torch.manual_seed(0)
    prepared, c = PreparedDenoiser(Denoiser(SMALL).eval()), condition()
    lam = NoiseSchedule(SMALL.steps).half_log_snr().tolist()
    x = torch.randn(2, SMALL.window, SMALL.motion_dim)
    for w_a in (2.0, 1.0):
        exact, sparse = (
            GuidedDenoiser(prepared, c, w_a, 3.0, sparse=s) for s in (None, SparseBranch(3, lam))
        )
        for step in (20, 15, 9, 3):
            assert torch.equal(exact(x, step), sparse(x, step))
    sparse = GuidedDenoiser(prepared, c, 1.15, 3.0, sparse=SparseBranch(3, lam))
    exact = GuidedDenoiser(prepared, c, 1.15, 3.0)
    assert torch.equal(sparse(x, 20), exact(x, 20)) and not torch.equal(sparse(x, 15), exact(x, 15))
    assert (sparse(x, 15) - exact(x, 15)).abs().max() < 0.05 * exact(x, 15).std()
