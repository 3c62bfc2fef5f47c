# SPDX-License-Identifier: GPL-3.0-or-later
"""What is particular to the bundled model: its speech encoder's weights and its style presets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ...config import SpeechEncoderConfig
from ...networks.model import DiffPoseTalk, StylePreset
from ...networks.speech.encoder import SAMPLES_PER_FRAME
from ...networks.speech.whisper import WhisperSpeechEncoder
from ..training_set import SetDescription, TrainingSet, motion_channels
from ..whisper_weights import load_whisper_encoder
from .performance import PRESETS, StyleFactors, perform
from .prosody import analyse

TAKES = 24
"""Over which a preset's style is averaged."""
TRACKED = "grid_s1"
"""The corpus of the tracked speaker."""
RECORDED = "recorded"
"""Preset taken from the tracked speaker's own motion instead of from style factors."""


def load_encoder(weights: Path, config: SpeechEncoderConfig | None = None) -> WhisperSpeechEncoder:
    """The frozen speech encoder from OpenAI's published checkpoint file; by default as the bundled model reads it."""
    encoder = WhisperSpeechEncoder(config or SetDescription().speech_encoder)
    encoder.encoder.load_state_dict(load_whisper_encoder(weights))
    return encoder.eval()


def preset_styles(model: DiffPoseTalk, data: TrainingSet) -> dict[str, StylePreset]:
    """The bundled style presets: mean style vectors over performances of training lips in each preset's manner.

    Empty where the set does not hold the tracked speaker, whose lips are performed.
    """
    rng = np.random.default_rng(0)
    window = model.config.style_encoder.window
    channels = motion_channels(model.config.style_encoder.motion_dim)
    # Only sequences of the tracked speaker hold lips as recorded, as their last performance.
    tracked = [s for s in data.sequences if s.corpus == TRACKED and s.frames >= window and not s.validation]
    if not tracked:
        return {}

    def vector(factors: StyleFactors | None) -> torch.Tensor:
        motions = []
        for index in rng.choice(len(tracked), min(TAKES, len(tracked)), replace=False):
            sequence = tracked[index]
            start = sequence.motion_starts[-1]
            motion = np.array(data.motion[start : start + sequence.frames])
            if factors is not None:
                # The sound is not at hand here: the jaw's opening stands in for loudness.
                loudness = np.repeat(motion[:, 53] / (motion[:, 53].max() + 1e-6), SAMPLES_PER_FRAME) * 0.1
                prosody = analyse(loudness.astype(np.float32), sequence.frames)
                motion = perform(motion[:, :50], motion[:, 53], prosody, factors, rng)
            offset = int(rng.integers(sequence.frames - window + 1))
            motions.append(motion[offset : offset + window, channels])
        with torch.no_grad():
            return model.encode_style(torch.from_numpy(np.stack(motions).astype(np.float32))).mean(0)

    styles = {
        key: StylePreset(name, description, vector(factors))
        for key, (name, description, factors) in PRESETS.items()
    }
    description = "As one recorded reader spoke: crisp lips, head nearly still"
    styles[RECORDED] = StylePreset("Recorded Reader", description, vector(None))
    return styles
