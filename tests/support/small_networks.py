# SPDX-License-Identifier: GPL-3.0-or-later
"""Configurations of networks small enough for tests."""

from diffposetalk.config import DenoiserConfig

SMALL = DenoiserConfig(width=32, heads=4, layers=2, steps=20, window=12, previous=3, style_dim=8)
SMALL_HUBERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
