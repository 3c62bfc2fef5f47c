# SPDX-License-Identifier: GPL-3.0-or-later
"""Captured steps: the handling of their memory on any machine, the capture itself where there is a CUDA device."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from diffposetalk.config import DenoiserConfig
from diffposetalk.networks.cuda_graph import MAX_ROWS, Capture, StepGraphs, capture_cuda
from diffposetalk.networks.denoiser import Denoiser
from diffposetalk.networks.prepared_denoiser import PreparedDenoiser, PreparedWindow

CONFIG = DenoiserConfig(width=64, heads=4, layers=2, steps=20, window=20, previous=5, style_dim=8)


def replaying(run: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """What a graph does, without one: the same function on the same memory, into the same tensor."""
    out = run().clone()

    def replay() -> torch.Tensor:
        return out.copy_(run())

    return replay


def make_window(prepared: PreparedDenoiser, seed: int, rows: int = 2) -> PreparedWindow:
    generator = torch.Generator().manual_seed(seed)
    device, c = prepared.denoiser.positions.device, CONFIG

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(device)

    speech, style = random(rows, c.previous + c.window, c.width), random(rows, c.style_dim)
    branches = [(random(1, c.previous + c.window, c.width), style), (speech, style)]
    before = random(rows, c.previous, c.motion_dim)
    return prepared.window(before, branches, random(rows, c.shape_dim), random(rows, c.window).round())


def check(device: str, capture: Capture, dtype: torch.dtype) -> None:
    """Windows and steps in turn, through graphs and without."""
    torch.manual_seed(0)
    network = Denoiser(CONFIG).eval().to(device)
    graphs = StepGraphs(capture)
    captured, plain = PreparedDenoiser(network, dtype, graphs), PreparedDenoiser(network, dtype)
    kept = []
    with torch.inference_mode():
        for seed in (1, 2, 3):
            rows = 1 if seed == 2 else 2
            one, other = make_window(captured, seed, rows), make_window(plain, seed, rows)
            for step in (20, 9, 1):
                motion = torch.randn(rows, CONFIG.window, CONFIG.motion_dim, device=device)
                kept.append((one(motion, step), other(motion, step)))
    assert not graphs.failed and len(graphs.known) == 2  # one for each number of rows
    for a, b in kept:  # results of earlier steps are not overwritten by later ones
        assert torch.allclose(a, b, atol=1e-5 if dtype == torch.float32 else 1e-2)


def test_memory_of_a_graph_is_reused():
    check("cpu", replaying, torch.float32)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cuda_graphs(dtype: torch.dtype):
    check("cuda", capture_cuda, dtype)


def test_without_graphs_where_capturing_fails():
    def refuse(run: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        raise RuntimeError("operation not permitted when stream is capturing")

    def lie(run: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        out = run() + 1
        return lambda: out

    for capture in (refuse, lie):
        graphs = StepGraphs(capture)
        network = Denoiser(CONFIG).eval()
        motion = torch.randn(2, CONFIG.window, CONFIG.motion_dim)
        with torch.inference_mode():
            out = make_window(PreparedDenoiser(network, graphs=graphs), 1)(motion, 5)
            expected = make_window(PreparedDenoiser(network), 1)(motion, 5)
        assert graphs.failed and torch.equal(out, expected)


def test_large_batches_run_without():
    graphs = StepGraphs(replaying)
    prepared = PreparedDenoiser(Denoiser(CONFIG).eval(), graphs=graphs)
    with torch.inference_mode():
        make_window(prepared, 1, MAX_ROWS + 1)(torch.randn(MAX_ROWS + 1, CONFIG.window, CONFIG.motion_dim), 5)
    assert not graphs.known and not graphs.failed
