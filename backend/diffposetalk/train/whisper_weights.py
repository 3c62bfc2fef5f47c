# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenAI Whisper's published encoder weights, under the names that `transformers` and `whisper_encoder` give them."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from ..errors import ModelError
from ..files.digest import file_sha256

TINY_EN_SHA256 = "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03"
"""The checksum that openai-whisper's own model table carries in its download address."""

_RENAMES = (
    (r"^positional_embedding$", "embed_positions.weight"),
    (r"^ln_post\.", "layer_norm."),
    (r"^blocks\.", "layers."),
    (r"\.attn_ln\.", ".self_attn_layer_norm."),
    (r"\.attn\.query\.", ".self_attn.q_proj."),
    (r"\.attn\.key\.", ".self_attn.k_proj."),
    (r"\.attn\.value\.", ".self_attn.v_proj."),
    (r"\.attn\.out\.", ".self_attn.out_proj."),
    (r"\.mlp_ln\.", ".final_layer_norm."),
    (r"\.mlp\.0\.", ".fc1."),
    (r"\.mlp\.2\.", ".fc2."),
)


def load_whisper_encoder(path: Path) -> dict[str, torch.Tensor]:
    """The encoder's state dict (float32) of OpenAI's `tiny.en.pt`, for `whisper_encoder.WhisperEncoder`.

    Raises:
        ModelError: the file's SHA-256 is not the one that OpenAI published.
    """
    digest = file_sha256(path)
    if digest != TINY_EN_SHA256:
        raise ModelError(f"{path.name!r} is not a published Whisper checkpoint (SHA-256 {digest}).")
    state = torch.load(path, map_location="cpu", weights_only=True)["model_state_dict"]
    encoder = {}
    for name, value in state.items():
        if name.startswith("encoder."):
            name = name.removeprefix("encoder.")
            for pattern, replacement in _RENAMES:
                name = re.sub(pattern, replacement, name)
            encoder[name] = value.float()
    return encoder
