# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled model: its configuration, and its assembly from what was trained."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import torch

from .. import __version__
from ..checkpoint import save_model
from ..config import DenoiserConfig, ModelConfig, SamplingConfig, SpeechEncoderConfig, StyleEncoderConfig
from ..head_model import HeadModel
from ..model import DiffPoseTalk, StylePreset
from ..speech_encoder import SAMPLES_PER_FRAME, SpeechEncoder
from ..whisper_encoder import WhisperSpeechEncoder
from .arkit import EXPRESSIONS
from .performance import PRESETS, StyleFactors, perform
from .prosody import analyse
from .sequences import TrainingSet
from .style_training import motion_statistics
from .whisper_weights import load_whisper_encoder

SPEECH_LAYERS = (2, 4)
"""Read by the bundled model: the layer that tells phones best and an earlier one, closer to the sound."""


def bundled_config(head: HeadModel) -> ModelConfig:
    """Configuration of the bundled model, small enough to train on two CPU cores."""
    return ModelConfig(
        name="DiffPoseTalk bundled 1",
        basis="arkit",
        expression_names=EXPRESSIONS,
        coefficient_range=(0.0, 1.0),
        jaw_range=(0.0, head.jaw_open_angle),
        denoiser=DenoiserConfig(width=256, heads=4, layers=4, dropout=0.0),
        style_encoder=StyleEncoderConfig(dropout=0.0),
        speech_encoder=SpeechEncoderConfig(layers=SPEECH_LAYERS),
        sampling=SamplingConfig(
            style="neutral", style_guidance=2.0, join_face=5, join_head=25, smooth_head=9
        ),
        provenance={
            "license": "GPL-3.0-or-later (weights); see MODEL_CARD.md for the data's licences",
            "speech_encoder": "OpenAI Whisper tiny.en encoder (MIT)",
            "trained_on": ["grid_s1 (CC BY 4.0)", "kokoro_en (Apache-2.0)", "speechocean762 (free)"],
        },
    )


def load_encoder(weights: Path) -> WhisperSpeechEncoder:
    """The frozen speech encoder from OpenAI's published checkpoint file."""
    _, state = load_whisper_encoder(weights)
    encoder = WhisperSpeechEncoder(SpeechEncoderConfig(layers=SPEECH_LAYERS))
    encoder.encoder.load_state_dict(state)
    return encoder.eval()


class CachedFeatures:
    """Stands in for the speech encoder where features come from disk."""

    def __init__(self, feature_dim: int) -> None:
        self.feature_dim = feature_dim

    def features(self, samples: np.ndarray, frames: int, on_chunk: object = None) -> Iterator[torch.Tensor]:
        """Not available: raises TypeError."""
        raise TypeError("features are cached; attach a speech encoder to encode sound")


def new_model(config: ModelConfig, data: TrainingSet, encoder: SpeechEncoder | None = None) -> DiffPoseTalk:
    """An untrained model normalised by the training set's statistics."""
    model = DiffPoseTalk(config, encoder or CachedFeatures(data.features.shape[1]))
    mean, std = motion_statistics(data)
    model.normalizer.motion_mean.copy_(torch.from_numpy(mean))
    model.normalizer.motion_std.copy_(torch.from_numpy(std))
    model.normalizer.shape_mean.zero_()
    model.normalizer.shape_std.fill_(1.0)
    return model


RECORDED = "recorded"
"""Preset taken from the tracked speaker's own motion instead of from style factors."""


def preset_styles(
    model: DiffPoseTalk, data: TrainingSet, takes: int = 24, seed: int = 0
) -> dict[str, StylePreset]:
    """The style presets: mean style vectors over performances of training lips in each preset's manner."""
    rng = np.random.default_rng(seed)
    window = model.config.style_encoder.window
    # Only sequences of the tracked speaker hold lips as recorded, as their last performance.
    tracked = [s for s in data.sequences if s.corpus == "grid_s1"]

    def vector(factors: StyleFactors | None) -> torch.Tensor:
        motions = []
        for index in rng.choice(len(tracked), min(takes, len(tracked)), replace=False):
            sequence = tracked[index]
            start = sequence.motion_starts[-1]
            motion = np.array(data.motion[start : start + sequence.frames])
            if factors is not None:
                # The sound is not at hand here: the jaw's opening stands in for loudness.
                loudness = np.repeat(motion[:, 53] / (motion[:, 53].max() + 1e-6), SAMPLES_PER_FRAME) * 0.1
                prosody = analyse(loudness.astype(np.float32), sequence.frames)
                motion = perform(motion[:, :50], motion[:, 53], prosody, factors, rng)
            offset = int(rng.integers(sequence.frames - window + 1))
            motions.append(motion[offset : offset + window])
        with torch.no_grad():
            return model.encode_style(torch.from_numpy(np.stack(motions))).mean(0)

    styles = {
        key: StylePreset(name, description, vector(factors))
        for key, (name, description, factors) in PRESETS.items()
    }
    description = "As one recorded reader spoke: crisp lips, head nearly still"
    styles[RECORDED] = StylePreset("Recorded Reader", description, vector(None))
    return styles


def export(trained: DiffPoseTalk, encoder: WhisperSpeechEncoder, data: TrainingSet, out: Path) -> None:
    """Write the model directory: trained weights, the speech encoder's, statistics, presets."""
    model = DiffPoseTalk(trained.config, encoder)
    missing, unexpected = model.load_state_dict(trained.state_dict(), strict=False)
    if unexpected or any(not k.startswith("speech_encoder.") for k in missing):
        raise ValueError(f"the trained model does not fit: {missing} {unexpected}")
    model.config.provenance["trained_with"] = f"diffposetalk {__version__}, {date.today().isoformat()}"
    save_model(model.eval(), out, preset_styles(model.eval(), data))
