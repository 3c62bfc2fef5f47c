# SPDX-License-Identifier: GPL-3.0-or-later
"""Whisper's encoder comes out of CTranslate2's file as it went in."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from diffposetalk.config import SpeechEncoderConfig
from diffposetalk.errors import ModelError
from diffposetalk.evaluate.ctranslate2_weights import read_whisper_encoder
from diffposetalk.networks.speech.whisper import WhisperSpeechEncoder


def write_model(path: Path, state: dict[str, torch.Tensor]) -> None:
    """The encoder in CTranslate2's binary format, query, key and value fused."""
    arrays: dict[str, torch.Tensor] = {}
    names = {"final_layer_norm": "ffn/layer_norm", "fc1": "ffn/linear_0", "fc2": "ffn/linear_1"}
    names |= {
        "self_attn_layer_norm": "self_attention/layer_norm",
        "self_attn.out_proj": "self_attention/linear_1",
    }
    for name, value in state.items():
        block, _, part = name.rpartition(".")
        if block == "embed_positions":
            arrays["encoder/position_encodings/encodings"] = value
        elif not block.startswith("layers."):
            part = {"weight": "gamma", "bias": "beta"}[part] if "norm" in block else part
            arrays[f"encoder/{block}/{part}"] = value
        else:
            _, layer, rest = block.split(".", 2)
            if rest in names:
                part = {"weight": "gamma", "bias": "beta"}[part] if "norm" in rest else part
                arrays[f"encoder/layer_{layer}/{names[rest]}/{part}"] = value
    for layer in {name.split(".")[1] for name in state if name.startswith("layers.")}:
        prefix = f"layers.{layer}.self_attn."
        weight = [state[f"{prefix}{k}_proj.weight"] for k in "qkv"]
        bias = [state[f"{prefix}q_proj.bias"], torch.zeros(len(weight[0])), state[f"{prefix}v_proj.bias"]]
        arrays[f"encoder/layer_{layer}/self_attention/linear_0/weight"] = torch.cat(weight)
        arrays[f"encoder/layer_{layer}/self_attention/linear_0/bias"] = torch.cat(bias)

    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    out = struct.pack("<I", 6) + string("WhisperSpec") + struct.pack("<II", 3, len(arrays))
    for name, value in arrays.items():
        data = value.numpy().astype(np.float32).tobytes()
        shape = struct.pack(f"<B{value.dim()}I", value.dim(), *value.shape)
        out += string(name) + shape + struct.pack("<BI", 0, len(data)) + data
    path.write_bytes(out)


def test_round_trip(tmp_path: Path):
    encoder = WhisperSpeechEncoder(SpeechEncoderConfig(width=32, heads=2, depth=2, layers=(2,))).encoder
    write_model(tmp_path / "model.bin", encoder.state_dict())
    read = read_whisper_encoder(tmp_path / "model.bin")
    assert set(read) == set(encoder.state_dict())
    assert all(torch.equal(read[name], value) for name, value in encoder.state_dict().items())


@pytest.mark.parametrize(
    "content", [b"", b"\x06\0\0\0", b"\x05\0\0\0" + b"x" * 50, b"\x06\0\0\0\x02\0a\0" + b"\xff" * 40]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes):
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(ModelError):
        read_whisper_encoder(tmp_path / "model.bin")
