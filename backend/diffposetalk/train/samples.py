# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures that TensorBoard shows of a training: a recording, and the model speaking it as it does for users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..generation.batching import generate_lines
from ..generation.line import Line
from ..generation.options import GenerationOptions
from ..head.head_model import HeadModel
from ..head.render import render_strip
from ..motion.clip import MotionClip, from_vectors
from ..networks.model import DiffPoseTalk
from ..networks.speech.encoder import SAMPLES_PER_FRAME
from ..sound.audio import SAMPLE_RATE, SpeechAudio
from .new_model import CachedFeatures
from .training_set import TrainingSet, motion_channels

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PICTURES = 10
PICTURE_HEIGHT = 112


def show_samples(
    writer: SummaryWriter,
    step: int,
    model: DiffPoseTalk,
    data: TrainingSet,
    head: HeadModel,
    styled: bool = True,
) -> None:
    """Draw two windows of a recording: as recorded above, as the model moves to its speech below.

    The recording is the first that is kept out of training, or a training one where none is; the tag says which.
    The style is the recording's own, taken from its second window; `styled` False samples without one.
    """
    d = model.config.denoiser
    frames = 2 * d.window
    kept_out = data.drawable(frames, validation=True)
    tag = "validation" if kept_out else "training"
    sequence = data.sequences[(kept_out or data.drawable(frames))[0]]
    row, start = sequence.feature_starts[0], sequence.motion_starts[-1]
    recorded = np.asarray(data.motion[start : start + frames])
    training, model_was = model.training, model.eval()
    try:
        own = torch.from_numpy(recorded[d.window :, motion_channels(d.motion_dim)])[None].to(model.device)
        with torch.no_grad():
            style = model.encode_style(own)[0] if styled else None
        clip = sample_clip(model, data, slice(row, row + frames), style)
    finally:
        model_was.train(training)
    shown = np.linspace(0, frames - 1, PICTURES + 1).astype(int)[1:].tolist()
    strips = [
        render_strip(head, exp, pose, shown, PICTURE_HEIGHT)
        for exp, pose in (from_vectors(recorded, model.config.jaw_rest), (clip.exp, clip.pose))
    ]
    writer.add_image(f"sample/{tag}", np.concatenate(strips), step, dataformats="HWC")


def sample_clip(
    model: DiffPoseTalk, data: TrainingSet, rows: slice, style: torch.Tensor | None, seed: int = 0
) -> MotionClip:
    """The model speaking rows of the set, at its own settings; a model without an encoder hears the set's features.

    Args:
        style: (S,) style vector, or None for none.
    """
    sound = np.zeros((rows.stop - rows.start, SAMPLES_PER_FRAME), np.int16)
    if data.sound is not None:
        sound = np.asarray(data.sound[rows])
    samples = sound.astype(np.float32).ravel() / 32768
    if isinstance(model.speech_encoder, CachedFeatures):
        assert data.features is not None
        features = np.asarray(data.features[rows], dtype=np.float32)
        model.speech_encoder.rows = torch.from_numpy(features).to(model.device)
    audio = SpeechAudio(samples, SAMPLE_RATE, 1, len(samples) / SAMPLE_RATE, "", "training set")
    [(_, [clip])] = generate_lines(model, [Line(audio, GenerationOptions(seeds=(seed,)), style)])
    return clip
