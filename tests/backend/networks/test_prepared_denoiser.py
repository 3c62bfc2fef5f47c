# SPDX-License-Identifier: GPL-3.0-or-later
"""What is computed once a window changes nothing: outputs equal the plain network's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from diffposetalk.config import DenoiserConfig
from diffposetalk.networks.denoiser import Denoiser
from diffposetalk.networks.prepared_denoiser import PreparedDenoiser

CONFIG = DenoiserConfig(width=64, heads=4, layers=3, steps=20, window=20, previous=5, style_dim=8)


@pytest.mark.parametrize("mask_width", [0, 1, 3])
@pytest.mark.parametrize("motion_dim", [51, 54])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("person_frames", [False, True])
def test_equals_the_plain_network(mask_width: int, motion_dim: int, layers: int, person_frames: bool):
    torch.manual_seed(0)
    c = replace(
        CONFIG, align_mask_width=mask_width, motion_dim=motion_dim, layers=layers, person_frames=person_frames
    )
    network = Denoiser(c).eval()
    if network.person_frames is not None:  # at zero it would not show
        torch.nn.init.normal_(network.person_frames.weight, std=0.1)
        torch.nn.init.normal_(network.person_frames.bias)
    rows, frames = 2, c.previous + c.window
    previous = torch.randn(rows, c.previous, motion_dim)
    speech, no_speech = torch.randn(rows, frames, c.width), torch.randn(1, 1, c.width).expand(1, frames, -1)
    style, no_style = torch.randn(rows, c.style_dim), torch.randn(1, c.style_dim)
    shape, indicator = torch.randn(rows, c.shape_dim), torch.ones(rows, c.window)
    indicator[1, 13:] = 0
    branches = [(no_speech, no_style), (speech, no_style), (speech, style)]
    with torch.no_grad():
        window = PreparedDenoiser(network).window(previous, branches, shape, indicator)
        for step in (20, 7, 1):
            motion = torch.randn(rows, c.window, motion_dim)
            out = window(motion, step)
            for k, (a, s) in enumerate(branches):
                plain = network(
                    motion,
                    previous,
                    a.expand(rows, -1, -1),
                    s.expand(rows, -1),
                    shape,
                    torch.full((rows,), step),
                    indicator,
                )
                assert torch.allclose(out[k], plain[:, c.previous :], atol=1e-5)


def test_bfloat16_stays_close():
    torch.manual_seed(0)
    c = CONFIG
    network = Denoiser(c).eval()
    inputs = (
        torch.randn(1, c.previous, c.motion_dim),
        [(torch.randn(1, c.previous + c.window, c.width), torch.randn(1, c.style_dim))],
        torch.zeros(1, c.shape_dim),
        torch.ones(1, c.window),
    )
    motion = torch.randn(1, c.window, c.motion_dim)
    with torch.no_grad():
        exact = PreparedDenoiser(network).window(*inputs)(motion, 9)
        rounded = PreparedDenoiser(network, torch.bfloat16).window(*inputs)(motion, 9)
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).abs().max() < 0.05 * exact.std()
