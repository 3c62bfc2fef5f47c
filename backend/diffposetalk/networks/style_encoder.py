# SPDX-License-Identifier: GPL-3.0-or-later
"""The speaking style encoder SE (paper section 3.3.1, figure 2 right, equation 8) and its loss (equation 9)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from ..config import StyleEncoderConfig
from .denoiser import sinusoidal_table

STILL = 0.05
"""Standard deviations of its channel within which motion counts as still."""


class StyleEncoder(nn.Module):
    """Motion of a few seconds to one style vector: transformer encoder, then the mean over time."""

    position_table: torch.Tensor

    def __init__(self, config: StyleEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.motion_proj = nn.Linear(config.motion_dim, config.width)
        self.change_proj = nn.Linear(config.motion_dim, config.width) if config.differences else None
        self.register_buffer(
            "position_table", sinusoidal_table(config.window + 1, config.width), persistent=False
        )
        self.position_dropout = nn.Dropout(config.dropout)
        layer = nn.TransformerEncoderLayer(
            config.width,
            config.heads,
            config.mlp_ratio * config.width,
            config.dropout,
            "gelu",
            batch_first=True,
        )
        self.transformer = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)

    def forward(self, motion: torch.Tensor) -> torch.Tensor:
        """Equation 8: s = SE(X_{0:T}).

        Args:
            motion: (B, T, D) normalised motion, T up to the configured window.

        Returns:
            (B, S) style vectors.
        """
        length = motion.shape[1]
        # The released weights expect one row for all frames, ours a row for each.
        rows = length if self.config.shared_position else slice(length)
        position = self.position_table[rows]
        tokens = self.position_dropout(self.motion_proj(motion) + position)
        style = self.transformer(tokens).mean(dim=1)
        if self.change_proj is not None:
            style = style + self.change_proj(distances(motion, self.config.differences).mean(dim=1))
        return style


def distances(motion: torch.Tensor, frames: int) -> torch.Tensor:
    """log(1 + |x_{t+frames} − x_{t−frames}| / 0.05) of normalised motion (B, T, D), ends held: (B, T, D).

    The logarithm lets what hardly moves at all and what moves twice as much differ as much as large movements do.
    """
    time = torch.arange(motion.shape[1], device=motion.device)
    last = motion.shape[1] - 1
    moved = motion[:, (time + frames).clamp(max=last)] - motion[:, (time - frames).clamp(min=0)]
    return (moved.abs() / STILL).log1p()


def nt_xent(style_a: torch.Tensor, style_b: torch.Tensor, temperature: float) -> torch.Tensor:
    """NT-Xent over N_s positive pairs (equation 9; Chen et al. 2020), averaged over both directions.

    Args:
        style_a, style_b: (N_s, S) styles of the first and second halves of the same samples.
        temperature: τ.
    """
    styles = F.normalize(torch.cat([style_a, style_b]), dim=-1)
    similarity = styles @ styles.T / temperature
    similarity.fill_diagonal_(float("-inf"))
    count = style_a.shape[0]
    partner = torch.arange(2 * count, device=styles.device).roll(count)
    return F.cross_entropy(similarity, partner)
