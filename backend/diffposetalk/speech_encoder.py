# SPDX-License-Identifier: GPL-3.0-or-later
"""Pretrained speech encoders behind one interface: 16 kHz sound in, one feature vector per motion frame out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import HubertConfig, HubertModel, WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from .audio import SAMPLE_RATE
from .config import FPS, SpeechEncoderConfig
from .errors import ModelError

SAMPLES_PER_FRAME = int(SAMPLE_RATE / FPS)
"""640 samples of sound to a motion frame."""

OnChunk = Callable[[int, int], None]


class SpeechEncoder(Protocol):
    """What the engine needs of a speech encoder."""

    feature_dim: int

    def encode(self, samples: np.ndarray, frames: int, on_chunk: OnChunk | None = None) -> torch.Tensor:
        """Features of a recording.

        Args:
            samples: mono sound at 16 kHz, float32 (n,), in [-1, 1]; silence is appended up to `frames`.
            frames: motion frames wanted (25 a second).
            on_chunk: called with (done, total) as long recordings are worked through.

        Returns:
            (frames, feature_dim) float32 on the encoder's device.
        """
        ...


class WhisperSpeechEncoder(nn.Module):
    """Encoder of OpenAI Whisper, run on the sound as long as it is instead of padded to 30 s.

    Long recordings go through in chunks of `CHUNK` frames with `CONTEXT` frames of sound on either side; where
    chunks meet, their features are cross-faded over `FADE` frames on either side. Each 25 fps frame takes the
    two 50 Hz states that fall into it, side by side, so that nothing of the encoder's time resolution is lost.
    """

    CHUNK = 200
    CONTEXT = 50
    FADE = 20
    STATES_PER_FRAME = 2

    def __init__(self, config: SpeechEncoderConfig) -> None:
        super().__init__()
        self.layers = tuple(config.layers)
        if not self.layers or not all(0 <= layer <= config.depth for layer in self.layers):
            raise ModelError(
                f"The model reads layers {self.layers} of an encoder of depth {config.depth}.", "model_config"
            )
        self.feature_dim = self.STATES_PER_FRAME * config.width * len(self.layers)
        self.encoder = WhisperEncoder(
            WhisperConfig(
                d_model=config.width,
                encoder_layers=config.depth,
                encoder_attention_heads=config.heads,
                encoder_ffn_dim=4 * config.width,
                num_mel_bins=config.mels,
                max_source_positions=config.positions,
                attn_implementation="sdpa",
            )
        )
        self.mel = WhisperFeatureExtractor(feature_size=config.mels)
        self.requires_grad_(False)

    def log_mel(self, samples: np.ndarray) -> np.ndarray:
        """Whisper's log-mel spectrogram, (mels, 100 frames a second); `samples` whole motion frames long."""
        out = self.mel(
            samples, sampling_rate=SAMPLE_RATE, padding="do_not_pad", truncation=False, return_tensors="np"
        )
        return np.asarray(out.input_features[0], dtype=np.float32)

    def states(self, mel: torch.Tensor) -> list[torch.Tensor]:
        """Hidden states after the convolutions and after each layer, the last one normalised.

        Args:
            mel: (B, mels, T) log-mel, T at most twice the table of positions.

        Returns:
            depth + 1 tensors (B, T / 2, width).
        """
        encoder = self.encoder
        x = F.gelu(encoder.conv2(F.gelu(encoder.conv1(mel)))).permute(0, 2, 1)
        x = x + encoder.embed_positions.weight[: x.shape[1]]
        states = [x]
        for layer in encoder.layers:
            x = layer(x, None)
            x = x[0] if isinstance(x, tuple) else x
            states.append(x)
        states[-1] = encoder.layer_norm(states[-1])
        return states

    @torch.no_grad()
    def encode(self, samples: np.ndarray, frames: int, on_chunk: OnChunk | None = None) -> torch.Tensor:
        """See `SpeechEncoder.encode`."""
        device = next(self.parameters()).device
        sound = np.zeros(frames * SAMPLES_PER_FRAME, np.float32)
        count = min(len(samples), len(sound))
        sound[:count] = samples[:count]
        out = torch.zeros(frames, self.feature_dim, device=device)
        total = torch.zeros(frames, 1, device=device)
        starts = range(0, frames, self.CHUNK)
        for i, start in enumerate(starts):
            stop = min(start + self.CHUNK, frames)
            low, high = max(0, start - self.CONTEXT), min(frames, stop + self.CONTEXT)
            mel = self.log_mel(sound[low * SAMPLES_PER_FRAME : high * SAMPLES_PER_FRAME])
            states = self.states(torch.from_numpy(mel).to(device)[None])
            # Whisper's inner states have a few very large dimensions: each state is normalised on its own.
            feature = torch.cat(
                [F.layer_norm(states[k][0], states[k].shape[-1:]) for k in self.layers], dim=-1
            )
            pairs = feature[: (high - low) * 2].unflatten(0, (high - low, 2)).flatten(1)
            weight = self._fade(low, high, start, stop, frames).to(device)
            out[low:high] += weight * pairs
            total[low:high] += weight
            if on_chunk:
                on_chunk(i + 1, len(starts))
        return out / total

    def _fade(self, low: int, high: int, start: int, stop: int, frames: int) -> torch.Tensor:
        """Weight (high − low, 1) of a chunk's frames: 1 inside, falling to 0 over `FADE` frames past its edges."""
        t = torch.arange(low, high) + 0.5
        rise = (t - start) / (2 * self.FADE) + 0.5 if start > 0 else torch.ones(len(t))
        fall = (stop - t) / (2 * self.FADE) + 0.5 if stop < frames else torch.ones(len(t))
        return torch.minimum(rise, fall).clamp(0, 1)[:, None]


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
    def encode(self, samples: np.ndarray, frames: int, on_chunk: OnChunk | None = None) -> torch.Tensor:
        """See `SpeechEncoder.encode`; one pass over the whole padded recording."""
        device = next(self.parameters()).device
        sound = torch.from_numpy(np.asarray(samples, dtype=np.float32)).to(device)
        sound = (sound - sound.mean()) / (sound.std(unbiased=False) + 1e-5)
        length = frames * SAMPLES_PER_FRAME
        sound = F.pad(sound[:length], (0, max(0, length - len(sound))))
        out = self(sound[None], frames)[0]
        if on_chunk:
            on_chunk(1, 1)
        return out

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


def build_speech_encoder(config: SpeechEncoderConfig) -> WhisperSpeechEncoder | HubertSpeechEncoder:
    """The encoder a configuration names; Whisper's weights are loaded later with the model's own."""
    if config.kind == "whisper":
        return WhisperSpeechEncoder(config)
    return HubertSpeechEncoder.from_folder(
        os.environ.get("DIFFPOSETALK_HUBERT", "facebook/hubert-base-ls960")
    )
