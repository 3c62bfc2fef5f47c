# SPDX-License-Identifier: GPL-3.0-or-later
"""Whisper's encoder out of a CTranslate2 `model.bin`, to measure encoders that are published in that form only.

The file is a header and a list of named arrays (CTranslate2's binary format, version 6); nothing is executed.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from ..errors import ModelError

_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_NAMES = {
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
    "self_attention/layer_norm": "self_attn_layer_norm",
    "self_attention/linear_1": "self_attn.out_proj",
}
_PARTS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of a CTranslate2 model by name.

    Raises:
        ModelError: not such a file.
    """
    arrays: dict[str, np.ndarray] = {}
    try:
        with open(path, "rb") as file:
            if _unpack(file, "<I") != 6:
                raise ValueError("version")
            _string(file)
            _unpack(file, "<I")
            for _ in range(_unpack(file, "<I")):
                name = _string(file)
                shape = [_unpack(file, "<I") for _ in range(_unpack(file, "<B"))]
                dtype = _DTYPES[_unpack(file, "<B")]
                data = file.read(_unpack(file, "<I"))
                arrays[name] = np.frombuffer(data, dtype).reshape(shape)
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise ModelError(f"{Path(path).name!r} is not a CTranslate2 model of version 6.") from error
    return arrays


def read_whisper_encoder(path: str | Path) -> dict[str, torch.Tensor]:
    """The encoder's state dict for `whisper_encoder.WhisperEncoder`, float32."""
    state: dict[str, torch.Tensor] = {}
    for name, array in read_arrays(path).items():
        if not name.startswith("encoder/") or name == "encoder/num_heads":
            continue
        value = torch.from_numpy(array.astype(np.float32))
        name, _, part = name.removeprefix("encoder/").rpartition("/")
        if part == "encodings":
            state["embed_positions.weight"] = value
        elif not name.startswith("layer_") or name == "layer_norm":
            state[f"{name}.{_PARTS[part]}"] = value
        else:
            layer, _, block = name.partition("/")
            prefix = f"layers.{layer.removeprefix('layer_')}."
            if block == "self_attention/linear_0":  # query, key and value in one; the key has no bias
                for key, piece in zip("qkv", value.chunk(3), strict=True):
                    if not (key == "k" and part == "bias"):
                        state[f"{prefix}self_attn.{key}_proj.{_PARTS[part]}"] = piece
            else:
                state[f"{prefix}{_NAMES[block]}.{_PARTS[part]}"] = value
    return state


def _unpack(file: BinaryIO, code: str) -> int:
    return int(struct.unpack(code, file.read(struct.calcsize(code)))[0])


def _string(file: BinaryIO) -> str:
    return file.read(_unpack(file, "<H")).rstrip(b"\0").decode()
