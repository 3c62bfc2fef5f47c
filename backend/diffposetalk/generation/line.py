# SPDX-License-Identifier: GPL-3.0-or-later
"""A line to be spoken, and what its options come to with a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from ..config import SamplingConfig
from ..diffusion.guidance import DynamicThreshold
from ..diffusion.inpainting import Standing, place_windows
from ..errors import DiffPoseTalkError
from ..networks.model import DiffPoseTalk
from ..sound.audio import SpeechAudio
from ..sound.recording_noise import is_noisy
from .options import GenerationOptions


@dataclass(frozen=True)
class Line:
    """A recording to be spoken, in as many takes as there are seeds.

    Attributes:
        audio: the recording, 16 kHz mono.
        options: how. Its style and shape name what `style` and `shape` hold.
        style: (S,) style vector, or None for no style.
        style_name: what the provenance calls the style.
        shape: (100,) identity coefficients; None is the mean of the training data.
        standing: motion of the same recording, of which only what is not known is generated; its frames are the
            clip's. None generates all of it.

    Raises:
        DiffPoseTalkError: kind settings_style; the options name a style or a shape that has not been read.
    """

    audio: SpeechAudio
    options: GenerationOptions = field(default_factory=GenerationOptions)
    style: torch.Tensor | None = None
    style_name: str = ""
    shape: torch.Tensor | None = None
    standing: Standing | None = None

    def __post_init__(self) -> None:
        # A style that was read and is to be none has a name and no vector.
        read = self.style is not None or self.style_name or self.options.style is None
        if not read or (self.options.shape is not None and self.shape is None):
            raise DiffPoseTalkError(
                "The options name a style or a shape, but not what it holds: read it first, with "
                "diffposetalk.resolve_style.",
                "settings_style",
            )

    def extent(self, model: DiffPoseTalk) -> tuple[int, int, int]:
        """Its frames, the frame where its first window begins, and how many windows it has."""
        d = model.config.denoiser
        if self.standing is None:
            frames = max(1, self.audio.frames)
            return frames, 0, math.ceil(frames / d.window)
        frames = len(self.standing.vectors)
        return frames, *place_windows(*self.standing.span(), frames, d.window, d.previous)


@dataclass(frozen=True)
class Solver:
    """How a line's windows are sampled; only lines of the same one go through the network together."""

    sampler: str
    steps: int
    threshold: DynamicThreshold | None

    @staticmethod
    def of(options: GenerationOptions, model: DiffPoseTalk) -> Solver:
        """What was asked for, else the model's own.

        Raises:
            DiffPoseTalkError: kinds settings_steps, settings_threshold.
        """
        defaults, most = model.config.sampling, model.config.denoiser.steps
        sampler, steps = options.sampler or defaults.sampler, options.steps or defaults.steps
        if not 1 <= steps <= most:
            raise DiffPoseTalkError(f"Sampling steps range from 1 to {most}.", "settings_steps")
        threshold = None if options.threshold is None else DynamicThreshold(*options.threshold)
        return Solver(sampler, most if sampler == "ddpm" else steps, threshold)


@dataclass(frozen=True)
class Guidance:
    """Scales of equation 10 for a line: of the speech, of the lips and the jaw towards it, and of the style.

    Attributes:
        added: to the scale of the speech, by group of channels.
    """

    speech: float
    lips: float
    style: float
    added: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def of(line: Line, defaults: SamplingConfig) -> Guidance:
        """What a person asked for, else the model's own: more for the lips where noise blurs the speech."""
        speech, style = line.options.speech_guidance, line.options.style_guidance
        style = defaults.style_guidance if style is None else style
        if speech is not None:
            return Guidance(speech, speech, style, defaults.added_guidance)
        noisy = defaults.noisy_lips_guidance > 0 and is_noisy(line.audio.samples)
        lips = defaults.noisy_lips_guidance if noisy else defaults.speech_guidance
        return Guidance(defaults.speech_guidance, lips, style, defaults.added_guidance)
