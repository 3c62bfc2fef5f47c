# SPDX-License-Identifier: GPL-3.0-or-later
"""The encoder of OpenAI Whisper (Radford et al. 2022), run on the sound as long as it is.

Written on torch alone and equal to `transformers`' WhisperEncoder and WhisperFeatureExtractor (tested): to
import those takes longer than to start the rest of the engine. Parameters bear the names they have there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ...config import SpeechEncoderConfig
from ...errors import ModelError
from ...sound.audio import SAMPLE_RATE
from .encoder import OnChunk, fade, frames_of_sound

FFT_SIZE, HOP = 400, 160
"""25 ms windows every 10 ms."""


def slaney_mel_filters(mels: int) -> torch.Tensor:
    """Triangular mel filters of unit area, (FFT_SIZE / 2 + 1, mels), on Slaney's scale (Auditory Toolbox).

    The scale is linear up to 1 kHz (15 mel) and logarithmic, 27 mel to a factor of 6.4, above.
    """
    log_step = np.log(6.4) / 27
    top = 15 + np.log(SAMPLE_RATE / 2 / 1000) / log_step
    mel = np.linspace(0, top, mels + 2)
    hertz = np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(log_step * (mel - 15)))
    bins = np.linspace(0, SAMPLE_RATE / 2, FFT_SIZE // 2 + 1)[:, None]
    rise = (bins - hertz[:-2]) / (hertz[1:-1] - hertz[:-2])
    fall = (hertz[2:] - bins) / (hertz[2:] - hertz[1:-1])
    filters = np.maximum(0, np.minimum(rise, fall)) * 2 / (hertz[2:] - hertz[:-2])
    return torch.from_numpy(filters.astype(np.float32))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class _Layer(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = _Attention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class WhisperEncoder(nn.Module):
    """Two convolutions, a table of positions and pre-norm transformer layers."""

    def __init__(self, config: SpeechEncoderConfig) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(config.mels, config.width, 3, padding=1)
        self.conv2 = nn.Conv1d(config.width, config.width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.positions, config.width)
        self.layers = nn.ModuleList(_Layer(config.width, config.heads) for _ in range(config.depth))
        self.layer_norm = nn.LayerNorm(config.width)

    def forward(self, mel: torch.Tensor) -> list[torch.Tensor]:
        """Hidden states after the convolutions and after each layer, the last one normalised.

        Args:
            mel: (B, mels, T) log-mel, T at most twice the table of positions.

        Returns:
            depth + 1 tensors (B, T / 2, width).
        """
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        states = [x + self.embed_positions.weight[: x.shape[1]]]
        for layer in self.layers:
            states.append(layer(states[-1]))
        states[-1] = self.layer_norm(states[-1])
        return states


class WhisperSpeechEncoder(nn.Module):
    """Features of Whisper's hidden states, each 25 fps frame the two 50 Hz states that fall into it, side by side.

    Long recordings go through in chunks of `CHUNK` frames with `CONTEXT` frames of sound on either side; where
    chunks meet, their features are cross-faded over `FADE` frames on either side. A state attends to all sound
    that is heard with it, and the loudest moment of a chunk sets the floor of its spectrogram, so chunks are
    not equal to one pass over the whole recording; the model is trained on chunked features.
    """

    CHUNK = 200
    CONTEXT = 50
    FADE = 20
    STATES_PER_FRAME = 2

    mel_filters: torch.Tensor

    def __init__(self, config: SpeechEncoderConfig) -> None:
        super().__init__()
        self.layers = tuple(config.layers)
        if not self.layers or not all(0 <= layer <= config.depth for layer in self.layers):
            raise ModelError(
                f"The model reads layers {self.layers} of an encoder of depth {config.depth}.", "model_config"
            )
        self.feature_dim = self.STATES_PER_FRAME * config.width * len(self.layers)
        self.encoder = WhisperEncoder(config)
        self.register_buffer("mel_filters", slaney_mel_filters(config.mels), persistent=False)
        self.requires_grad_(False)

    def log_mel(self, sound: torch.Tensor) -> torch.Tensor:
        """Whisper's log-mel spectrogram (B, mels, 100 a second) of sound (B, n), n whole motion frames."""
        window = torch.hann_window(FFT_SIZE, device=sound.device)
        spectrum = torch.stft(sound, FFT_SIZE, HOP, window=window, return_complex=True)[..., :-1]
        mel = (spectrum.abs().square().transpose(1, 2) @ self.mel_filters).transpose(1, 2)
        log = mel.clamp_min(1e-10).log10()
        floor = log.amax(dim=(1, 2), keepdim=True) - 8.0
        return (torch.maximum(log, floor) + 4.0) / 4.0

    @torch.no_grad()
    def features(
        self, samples: np.ndarray, frames: int, on_chunk: OnChunk | None = None
    ) -> Iterator[torch.Tensor]:
        """See `SpeechEncoder.features`; a chunk is yielded up to where the next one begins to fade in."""
        device = self.mel_filters.device
        starts = range(0, frames, self.CHUNK)
        pending = torch.zeros(0, self.feature_dim, device=device)  # faded out, the next chunk completes it
        for i, start in enumerate(starts):
            stop = min(start + self.CHUNK, frames)
            low, high = max(0, start - self.CONTEXT), min(frames, stop + self.CONTEXT)
            sound = torch.from_numpy(frames_of_sound(samples, low, high)).to(device)
            states = self.encoder(self.log_mel(sound[None]))
            # Whisper's inner states have a few very large dimensions: each state is normalised on its own.
            chosen = [F.layer_norm(states[k][0], states[k].shape[-1:]) for k in self.layers]
            paired = torch.cat(chosen, dim=-1).unflatten(0, (high - low, self.STATES_PER_FRAME)).flatten(1)
            begin = max(0, start - self.FADE)
            final = frames if stop == frames else stop - self.FADE
            end = min(frames, stop + self.FADE)
            weight = fade(begin, end, start, stop, frames, self.FADE)
            piece = paired[begin - low : end - low] * weight.to(device)
            piece[: len(pending)] += pending
            pending = piece[final - begin :]
            if on_chunk:
                on_chunk(i + 1, len(starts))
            yield piece[: final - begin]
