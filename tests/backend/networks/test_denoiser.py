# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks against plain PyTorch, and the noise schedule against values computed independently."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.paths import RELEASED
from support.small_networks import SMALL
from torch import nn

from diffposetalk.config import DenoiserConfig, StyleEncoderConfig
from diffposetalk.networks.denoiser import AlignedDecoderLayer, Denoiser, alignment_mask
from diffposetalk.networks.schedule import NoiseSchedule
from diffposetalk.networks.style_encoder import StyleEncoder, nt_xent


def inputs(config: DenoiserConfig, batch: int = 2) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    return (
        torch.randn(batch, config.window, config.motion_dim),
        torch.randn(batch, config.previous, config.motion_dim),
        torch.randn(batch, config.previous + config.window, config.width),
        torch.randn(batch, config.style_dim),
        torch.randn(batch, config.shape_dim),
        torch.tensor([3, 20]),
        torch.ones(batch, config.window),
    )


def test_aligned_layer_equals_masked_attention():
    torch.manual_seed(0)
    plain = nn.TransformerDecoderLayer(32, 4, 64, 0.1, "gelu", batch_first=True).eval()
    aligned = AlignedDecoderLayer(32, 4, 64, 0.1, "gelu", batch_first=True).eval()
    aligned.load_state_dict(plain.state_dict())
    tokens, speech = torch.randn(3, 16, 32), torch.randn(3, 15, 32)
    expected = plain(tokens, speech, memory_mask=alignment_mask(15, 1))
    assert torch.allclose(aligned(tokens, speech), expected, atol=1e-6)


def test_alignment_mask_lets_motion_see_its_own_speech_only():
    mask = alignment_mask(4, 1)
    assert mask is not None
    assert not mask[0].any()
    assert torch.equal(~mask[1:], torch.eye(4, dtype=torch.bool))
    assert alignment_mask(4, 0) is None


def test_sizes_come_from_the_configuration():
    for config in (
        SMALL,
        replace(SMALL, motion_dim=51),
        replace(SMALL, align_mask_width=3),
        replace(SMALL, align_mask_width=0),
    ):
        out = Denoiser(config).eval()(*inputs(config))
        assert out.shape == (2, 15, config.motion_dim)


def test_speech_reaches_motion_through_alignment():
    """With the decoder's self-attention cut off, a change of one speech feature moves that frame alone."""
    torch.manual_seed(0)
    layer = AlignedDecoderLayer(32, 4, 64, 0.0, "gelu", batch_first=True).eval()
    memory = torch.randn(1, 15, 32)
    changed = memory.clone()
    changed[0, 7] += 1
    tokens = torch.randn(1, 16, 32)
    difference = (
        layer._mha_block(tokens, memory, None, None) - layer._mha_block(tokens, changed, None, None)
    ).abs()
    moved = difference.sum(-1)[0] > 1e-6
    assert moved.nonzero().flatten().tolist() == [0, 8]


def test_released_sizes_have_the_released_parameters():
    """The published denoiser has 512 wide layers; its decoder layers' tensors fit ours name by name."""
    shapes = {}
    for line in (RELEASED / "state_dict_keys.txt").read_text().splitlines():
        if line.startswith("denoising_net.transformer."):
            name, shape = line.split(" ", 1)
            shapes[name.removeprefix("denoising_net.")] = tuple(
                int(v) for v in shape.strip("(),").split(",") if v
            )
    with torch.device("meta"):
        ours = {k: tuple(v.shape) for k, v in Denoiser(DenoiserConfig()).state_dict().items() if k in shapes}
    assert shapes and ours == shapes


def test_schedule_matches_the_released_values():
    expected = np.load(RELEASED / "cases_head.npz")["alpha_bars"]
    assert np.allclose(NoiseSchedule(len(expected) - 1).alpha_bars.numpy(), expected, atol=1e-6)


def test_schedule_ends():
    schedule = NoiseSchedule(500)
    assert schedule.alpha_bars[0] == 1 and schedule.alpha_bars[-1] < 1e-4
    assert (schedule.alpha_bars.diff() < 0).all()
    x0, noise = torch.randn(2, 5, 3), torch.randn(2, 5, 3)
    out = schedule.add_noise(x0, torch.tensor([0, 500]), noise)
    assert torch.equal(out[0], x0[0]) and torch.allclose(out[1], noise[1], atol=0.05)


def test_style_encoder_reads_order_and_any_length():
    torch.manual_seed(0)
    encoder = StyleEncoder(StyleEncoderConfig(width=16, heads=2, layers=1)).eval()
    motion = torch.randn(2, 100, 54)
    assert encoder(motion).shape == (2, 16) and encoder(motion[:, :40]).shape == (2, 16)
    assert not torch.allclose(encoder(motion), encoder(motion.flip(1)), atol=1e-4)


def test_nt_xent_equals_equation_9_written_out():
    torch.manual_seed(0)
    a, b, tau = torch.randn(4, 8), torch.randn(4, 8), 0.1
    styles = torch.cat([a, b])
    total = 0.0
    for i in range(8):
        j = (i + 4) % 8
        cos = [torch.cosine_similarity(styles[i], styles[k], dim=0) / tau for k in range(8)]
        below = sum(cos[k].exp() for k in range(8) if k != i)
        total -= torch.log(cos[j].exp() / below).item()
    assert nt_xent(a, b, tau).item() == pytest.approx(total / 8, rel=1e-5)
