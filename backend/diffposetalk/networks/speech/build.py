# SPDX-License-Identifier: GPL-3.0-or-later
"""The speech encoder that a model's configuration names; transformers is imported only for models with HuBERT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...config import SpeechEncoderConfig
from .whisper import WhisperSpeechEncoder

if TYPE_CHECKING:
    from .hubert import HubertSpeechEncoder


def build_speech_encoder(config: SpeechEncoderConfig) -> WhisperSpeechEncoder | HubertSpeechEncoder:
    """The encoder a configuration names; Whisper's weights are loaded later with the model's own.

    Raises:
        ModelError: HuBERT's weights are not on this machine, or layers that the encoder lacks are asked for.
    """
    if config.kind == "whisper":
        return WhisperSpeechEncoder(config)
    from .hubert import build_hubert

    return build_hubert(config)
