# SPDX-License-Identifier: GPL-3.0-or-later
"""HuBERT as the paper uses it (section 3.2), with the preparation of the sound that the released weights expect."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import HubertConfig, HubertModel

from .errors import ModelError
from .speech_encoder import SAMPLES_PER_FRAME, OnChunk


class HubertSpeechEncoder(nn.Module):
    """HuBERT as the paper uses it: convolutional features resampled in time before the transformer.

    The path follows the released code: sound normalised over the whole clip, padded so that the convolutions
    yield about 50 Hz, features interpolated to two a motion frame, transformer, interpolated to 25 fps.
    """

    def __init__(self, hubert: HubertModel) -> None:
        super().__init__()
        self.hubert = hubert
        self.feature_dim = int(hubert.config.hidden_size)

    @classmethod
    def from_config(cls, **sizes: Any) -> HubertSpeechEncoder:
        """Randomly initialised HuBERT of given `transformers.HubertConfig` sizes (training from scratch, tests)."""
        return cls(HubertModel(HubertConfig(**sizes)))

    @classmethod
    def from_folder(cls, folder: str | Path) -> HubertSpeechEncoder:
        """HuBERT from a local folder or the local Hugging Face cache; never downloads.

        Raises:
            ModelError: nothing usable there; the message says how to get the weights.
        """
        try:
            hubert = HubertModel.from_pretrained(str(folder), local_files_only=True, use_safetensors=None)
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(
                f"HuBERT weights were not found in {str(folder)!r}. Download facebook/hubert-base-ls960 with "
                "'hf download facebook/hubert-base-ls960' or set DIFFPOSETALK_HUBERT to a folder that holds it.",
                "hubert_missing",
            ) from error
        return cls(hubert)

    @torch.no_grad()
    def features(
        self, samples: np.ndarray, frames: int, on_chunk: OnChunk | None = None
    ) -> Iterator[torch.Tensor]:
        """See `SpeechEncoder.features`; one pass over the whole padded recording."""
        device = next(self.parameters()).device
        sound = torch.from_numpy(np.asarray(samples, dtype=np.float32)).to(device)
        sound = (sound - sound.mean()) / (sound.std(unbiased=False) + 1e-5)
        length = frames * SAMPLES_PER_FRAME
        sound = F.pad(sound[:length], (0, max(0, length - len(sound))))
        out = self(sound[None], frames)[0]
        if on_chunk:
            on_chunk(1, 1)
        yield out

    def forward(self, sound: torch.Tensor, frames: int) -> torch.Tensor:
        """Normalised sound (B, 640 · frames) to features (B, frames, feature_dim), differentiable."""
        features = self.hubert.feature_extractor(pad_for_convolutions(sound)).transpose(1, 2)
        features = _interpolate(features, 2 * frames)
        hidden = self.hubert.feature_projection(features)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        return _interpolate(self.hubert.encoder(hidden)[0], frames)


def pad_for_convolutions(sound: torch.Tensor) -> torch.Tensor:
    """Pad (B, n) on both sides so that HuBERT's convolutions (320 hop, 400 field) yield n // 320 features."""
    length = sound.shape[-1]
    side = -(-(320 * (length // 320) + 80 - length) // 2)
    x = sound[:, None]
    for _ in range(2):
        x = F.pad(x, (side // 2, side // 2), mode="reflect")
    if side % 2:
        x = F.pad(x, (1, 1), mode="replicate")
    return x[:, 0]


def _interpolate(x: torch.Tensor, length: int) -> torch.Tensor:
    return F.interpolate(x.transpose(1, 2), size=length, mode="linear", align_corners=False).transpose(1, 2)


def find_hubert() -> HubertSpeechEncoder:
    """HuBERT base from the folder DIFFPOSETALK_HUBERT, or from the local Hugging Face cache."""
    return HubertSpeechEncoder.from_folder(
        os.environ.get("DIFFPOSETALK_HUBERT", "facebook/hubert-base-ls960")
    )
