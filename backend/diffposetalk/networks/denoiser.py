# SPDX-License-Identifier: GPL-3.0-or-later
"""The transformer-based denoising network D (paper section 3.2, figure 2 left, equations 1 and 7)."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from ..config import DenoiserConfig


def sinusoidal_table(rows: int, width: int) -> torch.Tensor:
    """Sinusoidal position table of shape (rows, width) (Vaswani et al. 2017): even columns sin, odd cos."""
    position = torch.arange(rows, dtype=torch.float32)[:, None]
    frequency = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10000.0) / width))
    table = torch.zeros(rows, width)
    table[:, 0::2] = torch.sin(position * frequency)
    table[:, 1::2] = torch.cos(position * frequency)
    return table


class AlignedDecoderLayer(nn.TransformerDecoderLayer):
    """Post-norm decoder layer whose cross-attention obeys the alignment mask of width 1 in closed form.

    Motion token t may attend only to speech feature t, so its softmax over one key is 1 and its output is the
    value projection of that feature, whatever the query: attention scores are computed for the first token
    only, which attends to all features. Equal to the masked attention, at a fraction of its cost.
    """

    def _mha_block(  # type: ignore[override]
        self,
        x: torch.Tensor,
        mem: torch.Tensor,
        attn_mask: torch.Tensor | None,
        key_padding_mask: torch.Tensor | None,
        is_causal: bool = False,
    ) -> torch.Tensor:
        attention = self.multihead_attn
        width = x.shape[-1]
        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        query = F.linear(x[:, :1], weight[:width], bias[:width])
        key = F.linear(mem, weight[width : 2 * width], bias[width : 2 * width])
        value = F.linear(mem, weight[2 * width :], bias[2 * width :])
        heads = attention.num_heads

        def split(t: torch.Tensor) -> torch.Tensor:
            return t.unflatten(-1, (heads, width // heads)).transpose(1, 2)

        first = F.scaled_dot_product_attention(split(query), split(key), split(value))
        first = first.transpose(1, 2).flatten(2)
        return self.dropout2(attention.out_proj(torch.cat([first, value], dim=1)))


class Denoiser(nn.Module):
    """Predicts the clean motion of a window and of the frames before it from a noisy window.

    Tokens: one for (diffusion step, shape, style), then T_p previous and T_w current motion frames.
    """

    alignment_mask: torch.Tensor | None
    step_table: torch.Tensor

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        width, frames = config.width, config.previous + config.window
        self.step_dropout = nn.Dropout(config.dropout)
        self.register_buffer("step_table", sinusoidal_table(config.steps + 1, width), persistent=False)
        self.step_map = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.person_proj = nn.Linear(config.shape_dim + config.style_dim, width)
        self.motion_proj = nn.Linear(config.motion_dim + 1, width)
        self.person_frames = nn.Linear(width, width) if config.person_frames else None
        if self.person_frames is not None:
            # At first the network is the one without; so a training may start from that one's weights.
            nn.init.zeros_(self.person_frames.weight)
            nn.init.zeros_(self.person_frames.bias)
        self.positions = nn.Parameter(torch.randn(1, 1 + frames, width) * 0.02)
        aligned = config.align_mask_width == 1
        layer = (AlignedDecoderLayer if aligned else nn.TransformerDecoderLayer)(
            width, config.heads, config.mlp_ratio * width, config.dropout, "gelu", batch_first=True
        )
        self.transformer = nn.TransformerDecoder(layer, config.layers)
        self.motion_head = nn.Sequential(
            nn.Linear(width, width // 2), nn.GELU(), nn.Linear(width // 2, config.motion_dim)
        )
        mask = None if aligned else alignment_mask(frames, config.align_mask_width)
        self.register_buffer("alignment_mask", mask, persistent=False)

    def forward(
        self,
        motion: torch.Tensor,
        previous_motion: torch.Tensor,
        speech: torch.Tensor,
        style: torch.Tensor,
        shape: torch.Tensor,
        step: torch.Tensor,
        indicator: torch.Tensor,
    ) -> torch.Tensor:
        """Equation 7.

        Args:
            motion: (B, T_w, D) noisy normalised motion X^n.
            previous_motion: (B, T_p, D) clean normalised motion before the window.
            speech: (B, T_p + T_w, width) projected speech features A.
            style: (B, S) style vectors s.
            shape: (B, 100) normalised shape coefficients β.
            step: (B,) diffusion steps n in 0..N.
            indicator: (B, T_w) 1 for real frames, 0 for padding.

        Returns:
            (B, T_p + T_w, D) predicted clean normalised motion.
        """
        flag = torch.cat([indicator.new_zeros(indicator.shape[0], self.config.previous), indicator], dim=1)
        frames = torch.cat([torch.cat([previous_motion, motion], dim=1), flag[..., None]], dim=-1)
        step_embedding = self.step_map(self.step_dropout(self.step_table[step]))
        person = self.person_proj(torch.cat([shape, style], dim=-1)) + step_embedding
        embedded = self.motion_proj(frames)
        if self.person_frames is not None:
            embedded = embedded + self.person_frames(person)[:, None]
        tokens = torch.cat([person[:, None], embedded], dim=1) + self.positions
        out = self.transformer(tokens, speech, memory_mask=self.alignment_mask)
        return self.motion_head(out[:, 1:])


def alignment_mask(frames: int, width: int) -> torch.Tensor | None:
    """Boolean memory mask (1 + frames, frames), True where attention is forbidden; None where width is 0.

    Motion token t sees the speech features within width // 2 of t; the first token sees all.
    """
    if width == 0:
        return None
    t = torch.arange(frames)
    mask = (t[:, None] - t[None, :]).abs() > width // 2
    return torch.cat([torch.zeros(1, frames, dtype=torch.bool), mask])
