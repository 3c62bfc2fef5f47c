# SPDX-License-Identifier: GPL-3.0-or-later
"""The plain regressor: the denoiser's own network, trained without diffusion or style (`--ablation regressor`).

It answers speech with one motion, the mean over all that could have gone with it. What a diffusion model is worth shows
against it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from ..config import FPS, SHAPE_DIM
from ..errors import DataError
from ..motion.clip import MotionClip, from_vectors
from ..networks.model import DiffPoseTalk
from ..networks.speech.encoder import encode
from ..sound.audio import SpeechAudio
from ..train.recipe import REGRESSOR
from .references import Reference


@torch.inference_mode()
def regress(model: DiffPoseTalk, audio: SpeechAudio) -> MotionClip:
    """The motion of a recording, window by window, each from the end of the one before."""
    config = model.config.denoiser
    count = -(-audio.frames // config.window)
    features = encode(model.speech_encoder, audio.samples, count * config.window).to(model.device)
    speech = model.speech_proj(features.float())[None]
    previous_motion, previous_speech = model.start_motion, model.start_speech
    nothing = torch.zeros(1, config.window, config.motion_dim, device=model.device)
    shape = torch.zeros(1, SHAPE_DIM, device=model.device)
    last = torch.full((1,), config.steps, device=model.device)
    parts = []
    frames = torch.arange(count * config.window, device=model.device)
    spoken = (frames < audio.frames).float()[None].split(config.window, dim=1)
    for heard, indicator in zip(speech.split(config.window, dim=1), spoken, strict=True):
        around = torch.cat([previous_speech, heard], dim=1)
        out = model.denoiser(nothing, previous_motion, around, model.null_style, shape, last, indicator)
        motion = out[:, config.previous :]
        parts.append(motion)
        previous_motion, previous_speech = motion[:, -config.previous :], heard[:, -config.previous :]
    vectors = model.clamp(model.normalizer.denormalize(torch.cat(parts, dim=1)))[0, : audio.frames]
    exp, pose = from_vectors(vectors.cpu().numpy())
    return MotionClip(exp, pose, FPS, model.config.basis, None, model.config.expression_names, {})


@dataclass
class RegressorSubject:
    """A model directory that was trained as a regressor.

    Raises:
        DataError: `data_model`; it was not.
    """

    model: DiffPoseTalk
    name: str = "regressor"
    runs: int = 1
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if REGRESSOR not in self.model.config.provenance.get("ablations", ()):
            raise DataError(
                f"{self.model.config.name} is not a regressor: train one with --ablation {REGRESSOR}.",
                "data_model",
            )

    def takes(self, references: Sequence[Reference]) -> Iterator[tuple[int, list[MotionClip]]]:
        """One motion a recording: there is nothing to draw."""
        for index, reference in enumerate(references):
            yield index, [regress(self.model, reference.audio())]
