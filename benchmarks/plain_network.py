# SPDX-License-Identifier: GPL-3.0-or-later
"""The paper's denoiser and sampling loop as they are written down, to measure ours against.

A plain `nn.TransformerDecoder` with the alignment mask, random weights, ancestral sampling through all steps,
the three guidance branches in one batch.
"""

from __future__ import annotations

import torch
from torch import nn

from diffposetalk.config import DenoiserConfig
from diffposetalk.networks.denoiser import alignment_mask, sinusoidal_table


class PlainDenoiser(nn.Module):
    """Section 3.2 of the paper, nothing precomputed."""

    step_table: torch.Tensor

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.previous = config.previous
        width, frames = config.width, config.previous + config.window
        layer = nn.TransformerDecoderLayer(
            width, config.heads, config.mlp_ratio * width, config.dropout, "gelu", batch_first=True
        )
        self.transformer = nn.TransformerDecoder(layer, config.layers)
        self.step_map = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.person_proj = nn.Linear(config.shape_dim + config.style_dim, width)
        self.motion_proj = nn.Linear(config.motion_dim + 1, width)
        self.positions = nn.Parameter(torch.randn(1, 1 + frames, width) * 0.02)
        self.motion_head = nn.Sequential(
            nn.Linear(width, width // 2), nn.GELU(), nn.Linear(width // 2, config.motion_dim)
        )
        self.register_buffer("step_table", sinusoidal_table(config.steps + 1, width))
        self.register_buffer("mask", alignment_mask(frames, config.align_mask_width))

    def forward(
        self,
        motion: torch.Tensor,
        previous: torch.Tensor,
        speech: torch.Tensor,
        person: torch.Tensor,
        step: int,
    ) -> torch.Tensor:
        """Motion (B, T_w, D), frames before (B, T_p, D), speech (B, T_p + T_w, W), shape and style (B, 228)."""
        frames = torch.cat([previous, motion], dim=1)
        flag = torch.ones(*frames.shape[:2], 1, device=frames.device)
        flag[:, : self.previous] = 0
        first = self.person_proj(person) + self.step_map(self.step_table[step])
        tokens = torch.cat([first[:, None], self.motion_proj(torch.cat([frames, flag], dim=-1))], dim=1)
        out = self.transformer(tokens + self.positions, speech, memory_mask=self.mask)
        return self.motion_head(out[:, 1 + self.previous :])


def ancestral_steps(network: PlainDenoiser, config: DenoiserConfig, steps: int, device: torch.device) -> None:
    """The first `steps` of a window's ancestral sampling with incremental guidance, on random inputs."""
    width, frames = config.width, config.previous + config.window
    x = torch.randn(1, config.window, config.motion_dim, device=device)
    previous = torch.randn(3, config.previous, config.motion_dim, device=device)
    speech = torch.randn(3, frames, width, device=device)
    person = torch.randn(3, config.shape_dim + config.style_dim, device=device)
    for n in range(config.steps, config.steps - steps, -1):
        none, heard, styled = network(x.expand(3, -1, -1), previous, speech, person, n)
        x0 = none + 1.15 * (heard - none) + 3.0 * (styled - heard)
        # The cost of the posterior update is what counts here, not its figures.
        x = 0.01 * x0 + 0.99 * x + 0.05 * torch.randn_like(x)
