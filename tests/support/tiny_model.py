# SPDX-License-Identifier: GPL-3.0-or-later
"""A model of the real build with random weights, small enough to make in milliseconds.

Usage, in the backend's Python, for models with the expressions of another one: python tiny_model.py CONFIG FOLDER ...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from diffposetalk.config import (
    DenoiserConfig,
    ModelConfig,
    SamplingConfig,
    SpeechEncoderConfig,
    StyleEncoderConfig,
)
from diffposetalk.networks.checkpoint import save_model
from diffposetalk.networks.model import DiffPoseTalk, StylePreset


def tiny_config(expression_names: tuple[str, ...] = ()) -> ModelConfig:
    """Its configuration; expressions are called unit0, unit1, … unless they are named."""
    return ModelConfig(
        name="tiny",
        basis="arkit",
        expression_names=expression_names or tuple(f"unit{index}" for index in range(50)),
        coefficient_range=(0.0, 1.0),
        denoiser=DenoiserConfig(width=32, heads=2, layers=1, steps=20, style_dim=16),
        style_encoder=StyleEncoderConfig(width=16, heads=2, layers=1),
        speech_encoder=SpeechEncoderConfig(layers=(1,), width=32, heads=2, depth=1),
        sampling=SamplingConfig(steps=4),
    )


def save_tiny_model(folder: Path, expression_names: tuple[str, ...] = (), seed: int = 0) -> Path:
    """Write its directory, with one style, “calm”."""
    torch.manual_seed(seed)
    model = DiffPoseTalk(tiny_config(expression_names))
    for name, buffer in model.normalizer.named_buffers():
        buffer.copy_(torch.ones_like(buffer) * (0.1 if name.endswith("std") else 0.0))
    save_model(model, folder, {"calm": StylePreset("Calm", "Hardly moves", torch.zeros(16))})
    return folder


if __name__ == "__main__":
    names = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["expression_names"]
    for number, path in enumerate(sys.argv[2:]):
        save_tiny_model(Path(path), tuple(names), number)
