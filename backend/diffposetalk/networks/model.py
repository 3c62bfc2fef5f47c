# SPDX-License-Identifier: GPL-3.0-or-later
"""DiffPoseTalk: speech encoder, denoiser and style encoder with the statistics they were trained under."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ..config import EXPRESSION_DIM, ModelConfig
from ..motion.style_measures import StyleMeasures
from .cuda_graph import StepGraphs
from .denoiser import Denoiser
from .device import Compute
from .prepared_denoiser import PreparedDenoiser
from .schedule import NoiseSchedule
from .speech.build import build_speech_encoder
from .speech.encoder import SpeechEncoder
from .style_encoder import StyleEncoder


class Normalizer(nn.Module):
    """Mean and standard deviation of motion (and shape) over the training data; networks see only normalised values."""

    motion_mean: torch.Tensor
    motion_std: torch.Tensor
    shape_mean: torch.Tensor
    shape_std: torch.Tensor

    def __init__(self, motion_dim: int, shape_dim: int) -> None:
        super().__init__()
        # NaN until real statistics are loaded: a model without its statistics must not produce motion.
        for name, size in (("motion", motion_dim), ("shape", shape_dim)):
            self.register_buffer(f"{name}_mean", torch.full((size,), float("nan")))
            self.register_buffer(f"{name}_std", torch.full((size,), float("nan")))

    def normalize(self, motion: torch.Tensor) -> torch.Tensor:
        """Motion vectors (..., D) in their units to zero mean and unit variance."""
        return (motion - self.motion_mean) / self.motion_std

    def denormalize(self, motion: torch.Tensor) -> torch.Tensor:
        """Inverse of `normalize`."""
        return motion * self.motion_std + self.motion_mean

    def normalize_shape(self, shape: torch.Tensor) -> torch.Tensor:
        """Shape coefficients (..., 100), normalised."""
        return (shape - self.shape_mean) / self.shape_std


class DiffPoseTalk(nn.Module):
    """The whole model. `speech_encoder` may be replaced (training on cached features does without one)."""

    def __init__(self, config: ModelConfig, speech_encoder: SpeechEncoder | None = None) -> None:
        super().__init__()
        self.config = config
        d = config.denoiser
        self.speech_encoder = speech_encoder or build_speech_encoder(config.speech_encoder)
        self.speech_proj = nn.Linear(self.speech_encoder.feature_dim, d.width)
        self.denoiser = Denoiser(d)
        self.style_encoder = StyleEncoder(config.style_encoder)
        self.normalizer = Normalizer(d.motion_dim, d.shape_dim)
        self.start_motion = nn.Parameter(torch.randn(1, d.previous, d.motion_dim))
        self.start_speech = nn.Parameter(torch.randn(1, d.previous, d.width))
        self.null_style = nn.Parameter(torch.randn(1, d.style_dim))
        self.null_speech = nn.Parameter(torch.randn(1, 1, d.width))
        self.schedule = NoiseSchedule(d.steps)
        self.styles: dict[str, StylePreset] = {}
        self.sha256 = ""
        self._prepared: PreparedDenoiser | None = None
        self.compute = Compute(torch.device("cpu"), torch.float32, torch.get_num_threads(), rows=8)

    @property
    def device(self) -> torch.device:
        return self.start_motion.device

    def prepared_denoiser(self) -> PreparedDenoiser:
        """The denoiser arranged for sampling as `compute` says; kept from call to call, as weights are then fixed."""
        if self._prepared is None or self._prepared.dtype != self.compute.dtype:
            graphs = StepGraphs() if self.compute.graphs else None
            self._prepared = PreparedDenoiser(self.denoiser, self.compute.dtype, graphs)
        return self._prepared

    def train(self, mode: bool = True) -> DiffPoseTalk:
        """Training or evaluation mode; either way weights may have changed since sampling was prepared."""
        self._prepared = None
        return super().train(mode)

    def encode_style(self, motion: torch.Tensor) -> torch.Tensor:
        """Style vectors (B, S) of motion vectors (B, T, D) in their own units."""
        return self.style_encoder(self.normalizer.normalize(motion))

    def clamp(self, motion: torch.Tensor) -> torch.Tensor:
        """Motion vectors (..., D) within the ranges that the model's basis allows."""
        out = motion.clone()
        if self.config.coefficient_range:
            out[..., :EXPRESSION_DIM].clamp_(*self.config.coefficient_range)
        if self.config.jaw_range:
            out[..., -1].clamp_(*self.config.jaw_range)
        return out


@dataclass(eq=False)
class StylePreset:
    """A style that ships with a model: its vector (S,), words to choose it by, and figures where they were taken."""

    name: str
    description: str
    vector: torch.Tensor
    measures: StyleMeasures | None = None
