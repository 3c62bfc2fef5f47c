# SPDX-License-Identifier: GPL-3.0-or-later
"""HuBERT as the paper uses it (section 3.2), with the preparation of the sound that the released weights expect.

The sound is normalised over the whole clip and padded so that the convolutions give 50 features a second; these
are interpolated to two a motion frame, go through the transformer, and are interpolated to one a frame.

transformers is imported here and nowhere else in the engine, and this module only for models that use HuBERT.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F
from transformers import HubertConfig, HubertModel

from ...config import SpeechEncoderConfig
from ...errors import ModelError, refusing
from ...files.text_file import read_text
from ...files.torch_file import read_torch_file
from .encoder import SAMPLES_PER_FRAME, OnChunk, fade

HUB_NAME = "facebook/hubert-base-ls960"
HOP, FIELD = 320, 400
"""Samples from one convolutional feature to the next, and under each."""
_EXTRA = FIELD - HOP
_BLOCK = 500
"""Convolutional features computed at a time (10 s): the first layer alone would need 6.5 MB a second."""


Norm = tuple[torch.Tensor, torch.Tensor]
"""Mean and deviation (1, C, 1) of each channel."""


class HubertSpeechEncoder(nn.Module):
    """Features of HuBERT's last hidden state, one per motion frame.

    Up to `ONE_PASS` frames a recording goes through in one pass, as in the released code. A longer one goes
    through the convolutions exactly (their normalisation over the whole recording is computed beforehand), and
    through the transformer in chunks of `CHUNK` frames with `CONTEXT` frames on either side, cross-faded over
    `FADE` frames on either side of where they meet. In HuBERT every state attends to the whole recording, so
    chunks are not equal to one pass; what a state hears more than `CONTEXT` away is what is lost.
    """

    ONE_PASS = 3000
    CHUNK = 1000
    CONTEXT = 250
    FADE = 25

    def __init__(self, hubert: HubertModel) -> None:
        super().__init__()
        config = hubert.config
        if config.feat_extract_norm != "group" or int(np.prod(config.conv_stride)) != HOP:
            raise ModelError("This HuBERT is not of the base kind that the models use.", "hubert_kind")
        self.hubert = hubert
        self.feature_dim = int(config.hidden_size)

    @classmethod
    def from_config(cls, **sizes: Any) -> HubertSpeechEncoder:
        """Randomly initialised HuBERT of given `transformers.HubertConfig` sizes (training from scratch, tests)."""
        return cls(HubertModel(HubertConfig(**sizes)))

    @classmethod
    def from_folder(cls, folder: str | Path) -> HubertSpeechEncoder:
        """HuBERT from a folder with `config.json` and `model.safetensors` or `pytorch_model.bin`.

        The latter, as which HuBERT is published, is a pickle, and goes through the allow-list.

        Raises:
            ModelError: `hubert_invalid`; not a whole HuBERT, or damaged. `pickle_refused`; it asks for code.
        """
        folder = Path(folder)
        try:
            config = json.loads(read_text(folder / "config.json"))
            if config.get("model_type") != "hubert":
                raise ValueError("not HuBERT")
            encoder = _unloaded({**config, **_NO_MASKING})
            weights = folder / "model.safetensors"
            published = folder / "pytorch_model.bin"
            encoder._fill(load_file(weights) if weights.is_file() else read_torch_file(published))
        except ModelError as error:
            if error.kind == "pickle_refused":
                raise
            raise _invalid(folder) from error
        # Damaged files and sizes that do not go together make the libraries raise nearly anything.
        except (Exception, MemoryError) as error:
            raise _invalid(folder) from error
        return encoder

    def _fill(self, tensors: Any) -> None:
        """Allocate an unloaded encoder and copy weights into it. Raises ValueError unless they are all there."""
        expected = self.hubert.state_dict()
        renamed = {modern_name(key).removeprefix("hubert."): value for key, value in tensors.items()}
        weights = {key: renamed[key].float() for key in expected if key in renamed}
        if any(key not in weights or weights[key].shape != value.shape for key, value in expected.items()):
            raise ValueError("weights missing or of another size")
        if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
            raise ValueError("weights that are not finite")
        self.to_empty(device="cpu")
        self.hubert.load_state_dict(weights)

    @torch.no_grad()
    def features(
        self, samples: np.ndarray, frames: int, on_chunk: OnChunk | None = None
    ) -> Iterator[torch.Tensor]:
        """See `SpeechEncoder.features`; a chunk is yielded up to where the next one begins to fade in."""
        sound = _prepare(samples, frames)
        norm = self._first_norm(sound)
        whole = frames <= self.ONE_PASS
        starts = range(0, frames, frames if whole else self.CHUNK)
        heard = norm[0].new_zeros(
            0, norm[0].shape[1]
        )  # resampled convolutional features, two a motion frame,
        heard_from = heard_to = 0  # of these motion frames
        pending = norm[0].new_zeros(0, self.feature_dim)  # faded out, to be completed by the next chunk
        for i, start in enumerate(starts):
            stop = frames if whole else min(start + self.CHUNK, frames)
            low, high = max(0, start - self.CONTEXT), min(frames, stop + self.CONTEXT)
            heard = heard[2 * (low - heard_from) :]
            if high > heard_to:  # the last chunk may lie within the context of the one before
                heard = torch.cat([heard, self._resampled(sound, norm, heard_to, high, frames)])
            heard_from, heard_to = low, high
            states = self._transform(heard[None])[0]
            begin, end = max(0, start - self.FADE), min(frames, stop + self.FADE)
            final = frames if stop == frames else stop - self.FADE
            weight = fade(begin, end, start, stop, frames, self.FADE)
            piece = states[begin - low : end - low] * weight.to(states)
            piece[: len(pending)] += pending
            if on_chunk:
                on_chunk(i + 1, len(starts))
            yield piece[: final - begin]
            pending = piece[final - begin :]

    def forward(self, sound: torch.Tensor, frames: int) -> torch.Tensor:
        """Normalised sound (B, 640 · frames) to features (B, frames, feature_dim) in one pass, differentiable."""
        features = self.hubert.feature_extractor(pad_for_convolutions(sound)).transpose(1, 2)
        return self._transform(_interpolate(features, 2 * frames))

    def _transform(self, features: torch.Tensor) -> torch.Tensor:
        """Convolutional features (B, 2 n, C), two a motion frame, to states (B, n, feature_dim)."""
        hidden = self.hubert.feature_projection(features)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        return _interpolate(self.hubert.encoder(hidden)[0], features.shape[1] // 2)

    def _first_norm(self, sound: torch.Tensor) -> Norm:
        """Mean and deviation (1, C, 1) of each channel of the first convolution over the whole padded sound."""
        first = self.hubert.feature_extractor.conv_layers[0]
        (kernel,), (stride,) = first.conv.kernel_size, first.conv.stride
        count = (sound.shape[1] - kernel) // stride + 1
        # Summed in float64 on the CPU: Apple's GPUs have none.
        total = torch.zeros(1, first.conv.out_channels, 1, dtype=torch.float64)
        square = torch.zeros_like(total)
        step = _BLOCK * HOP // stride
        for k in range(0, count, step):
            part = sound[:, k * stride : (min(k + step, count) - 1) * stride + kernel]
            x = first.conv(part[:, None].to(first.conv.weight))
            mean = x.mean(-1, keepdim=True).cpu().double()
            total += x.shape[-1] * mean
            square += x.shape[-1] * (x.var(-1, keepdim=True, correction=0).cpu().double() + mean.square())
        mean = total / count
        deviation = (square / count - mean.square() + first.layer_norm.eps).sqrt()
        return mean.float().to(first.conv.weight), deviation.float().to(first.conv.weight)

    def _resampled(self, sound: torch.Tensor, norm: Norm, begin: int, end: int, frames: int) -> torch.Tensor:
        """Convolutional features of motion frames begin..end-1, interpolated to two a frame, (2 (end − begin), C).

        As `F.interpolate` over all of them would give (align_corners False), computed for these alone.
        """
        count = (sound.shape[1] - FIELD) // HOP + 1
        wanted = torch.arange(2 * begin, 2 * end, dtype=torch.float64)
        place = ((wanted + 0.5) * count / (2 * frames) - 0.5).clamp(0, count - 1)
        left = place.floor().long()
        first, last = int(left[0]), min(int(left[-1]) + 1, count - 1)
        blocks = [
            self._convolved(sound, norm, k, min(k + _BLOCK, last + 1)) for k in range(first, last + 1, _BLOCK)
        ]
        features = torch.cat(blocks)
        weight = (place - left).float().to(features)[:, None]
        left = left.to(features.device) - first
        right = (left + 1).clamp_max(len(features) - 1)
        return features[left] * (1 - weight) + features[right] * weight

    def _convolved(self, sound: torch.Tensor, norm: Norm, first: int, last: int) -> torch.Tensor:
        """Convolutional features first..last-1 of padded sound, (last − first, C), under a given first norm."""
        layer, *others = self.hubert.feature_extractor.conv_layers
        part = sound[:, first * HOP : (last - 1) * HOP + FIELD]
        x = layer.conv(part[:, None].to(layer.conv.weight))
        scale = layer.layer_norm.weight[:, None] / norm[1]
        x = layer.activation((x - norm[0]) * scale + layer.layer_norm.bias[:, None])
        for other in others:
            x = other(x)
        return x[0].T


def _prepare(samples: np.ndarray, frames: int) -> torch.Tensor:
    """Sound of a whole clip normalised, followed by silence up to `frames`, and padded: (1, n) float32, CPU.

    The part of a frame at the clip's end is kept when no silence follows, as in the released code.
    """
    x = np.asarray(samples[: (frames + 1) * SAMPLES_PER_FRAME - 1], dtype=np.float32)
    mean = samples.mean(dtype=np.float64)
    blocks = np.array_split(samples, 1 + len(samples) // 10**6)  # float64 of an hour would be half a gigabyte
    deviation = np.sqrt(sum(np.square(b - mean, dtype=np.float64).sum() for b in blocks) / len(samples))
    sound = np.zeros(max(len(x), frames * SAMPLES_PER_FRAME), np.float32)
    np.subtract(x, np.float32(mean), out=sound[: len(x)])
    sound[: len(x)] /= np.float32(deviation + 1e-5)
    return pad_for_convolutions(torch.from_numpy(sound)[None])


def pad_for_convolutions(sound: torch.Tensor) -> torch.Tensor:
    """Pad (B, n) on both sides so that HuBERT's convolutions yield n // 320 features."""
    length = sound.shape[-1]
    side = -(-(HOP * (length // HOP) + _EXTRA - length) // 2)
    if side <= 0:  # more than a quarter of a hop is left over: there is enough sound as it is
        return sound
    # Only the ends matter to padding: a long recording is copied once.
    added, end = 2 * (side // 2) + side % 2, min(length, HOP)
    before = _pad(sound[:, :end], side)[:, :added]
    after = _pad(sound[:, -end:], side)[:, -added:]
    return torch.cat([before, sound, after], dim=1)


def _pad(x: torch.Tensor, side: int) -> torch.Tensor:
    x = x[:, None]
    for _ in range(2):
        x = F.pad(x, (side // 2, side // 2), mode="reflect")
    if side % 2:
        x = F.pad(x, (1, 1), mode="replicate")
    return x[:, 0]


def _interpolate(x: torch.Tensor, length: int) -> torch.Tensor:
    return F.interpolate(x.transpose(1, 2), size=length, mode="linear", align_corners=False).transpose(1, 2)


_HOW_TO_GET = (
    f"Download it once with 'hf download {HUB_NAME}', "
    "or set DIFFPOSETALK_HUBERT to a folder that holds its files."
)


def find_hubert() -> Path:
    """Folder of HuBERT base: DIFFPOSETALK_HUBERT, else in the local Hugging Face cache. Never downloads.

    Raises:
        ModelError: `hubert_missing`; it is in neither, and the message says how to get it.
    """
    named = os.environ.get("DIFFPOSETALK_HUBERT")
    if named:
        if not (Path(named) / "config.json").is_file():
            raise ModelError(
                f"DIFFPOSETALK_HUBERT names “{named}”, which holds no HuBERT (config.json and weights of "
                f"{HUB_NAME}). {_HOW_TO_GET}",
                "hubert_missing",
            )
        return Path(named)
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(HUB_NAME, "config.json")
    if not isinstance(cached, str):
        raise ModelError(
            f"The model listens through HuBERT ({HUB_NAME}), which is not on this computer. {_HOW_TO_GET}",
            "hubert_missing",
        )
    return Path(cached).parent


def build_hubert(config: SpeechEncoderConfig) -> HubertSpeechEncoder:
    """The encoder of a model: without weights yet where the model's directory holds them, else the user's files.

    Raises:
        ModelError: HuBERT's files are missing, damaged, or of another size than the model listens through.
    """
    if config.stored:
        return unloaded(config).to_empty(device="cpu")
    folder = find_hubert()
    encoder = HubertSpeechEncoder.from_folder(folder)
    if encoder.feature_dim != config.width:
        raise ModelError(
            f"The HuBERT in “{folder}” gives features of {encoder.feature_dim} values, the model needs "
            f"{config.width} ({HUB_NAME}).",
            "hubert_kind",
        )
    return encoder


def unloaded(config: SpeechEncoderConfig) -> HubertSpeechEncoder:
    """A HuBERT of the base kind in a model's sizes, its weights named and shaped but not allocated.

    Raises:
        ModelError: no HuBERT can have such sizes.
    """
    sizes = {
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "intermediate_size": 4 * config.width,
    }
    with refusing(ModelError(f"No HuBERT is {config.width} wide.", "model_config"), ValueError):
        return _unloaded({**sizes, **_NO_MASKING})


def _unloaded(sizes: dict[str, Any]) -> HubertSpeechEncoder:
    with torch.device("meta"):
        return HubertSpeechEncoder(HubertModel(HubertConfig(**sizes)))


# No embedding to mask speech with in training, and attention in PyTorch's own implementation.
_NO_MASKING = {
    "apply_spec_augment": False,
    "mask_time_prob": 0.0,
    "mask_feature_prob": 0.0,
    "attn_implementation": "sdpa",
}


def modern_name(key: str) -> str:
    """Name of a weight as PyTorch spells it today: older versions called the parts of a normalised one otherwise."""
    for old, new in ((".weight_g", "original0"), (".weight_v", "original1")):
        if key.endswith(old):
            return key.removesuffix(old) + ".parametrizations.weight." + new
    return key


def _invalid(folder: Path) -> ModelError:
    return ModelError(
        f"“{folder}” does not hold the whole of a HuBERT, undamaged. {_HOW_TO_GET}", "hubert_invalid"
    )
