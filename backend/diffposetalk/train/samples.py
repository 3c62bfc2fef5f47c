# SPDX-License-Identifier: GPL-3.0-or-later
"""What TensorBoard shows of a training besides its losses: rendered samples, and losses on recordings kept out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from ..diffusion.guidance import Condition, GuidedDenoiser
from ..diffusion.samplers import sample
from ..head.head_model import HeadModel
from ..motion.clip import from_vectors
from ..networks.model import DiffPoseTalk
from ..networks.prepared_denoiser import PreparedDenoiser
from ..networks.speech.hubert import HubertSpeechEncoder
from ..networks.style_encoder import StyleEncoder
from .training_set import TrainingSet, motion_channels

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from .denoiser_training import TwoWindowLosses

PICTURES = 10
PICTURE_HEIGHT = 112
VALIDATION_BATCHES = 2


def sample_windows(
    model: DiffPoseTalk, features: torch.Tensor, style: torch.Tensor | None, seed: int
) -> torch.Tensor:
    """Motion vectors (T, D) sampled at the model's own settings for features (T, C) of whole windows.

    Args:
        style: (S,) style vector, or None for none.
    """
    d, settings, device = model.config.denoiser, model.config.sampling, model.device
    prepared = PreparedDenoiser(model.denoiser)
    generator = torch.Generator().manual_seed(seed)

    def noise() -> torch.Tensor:
        return torch.randn(1, d.window, d.motion_dim, generator=generator).to(device)

    w_a = settings.speech_guidance
    w_s = w_a if style is None else settings.style_guidance
    with torch.no_grad():
        projected = model.speech_proj(features.to(device))[None]
        motion: torch.Tensor = model.start_motion
        speech: torch.Tensor = model.start_speech
        windows = []
        for current in projected.split(d.window, dim=1):
            null_speech: torch.Tensor = model.null_speech
            if settings.hears_before:
                null_speech = torch.cat([speech, null_speech.expand(1, d.window, -1)], dim=1)
            condition = Condition(
                previous_motion=motion,
                speech=torch.cat([speech, current], dim=1),
                null_speech=null_speech,
                style=None if style is None else style.to(device)[None],
                null_style=model.null_style,
                shape=torch.zeros(1, d.shape_dim, device=device),
                indicator=torch.ones(1, d.window, device=device),
            )
            denoise = GuidedDenoiser(prepared, condition, w_a, w_s)
            x0 = sample(settings.sampler, denoise, noise(), model.schedule, settings.steps, noise)
            windows.append(x0[0])
            motion, speech = x0[:, -d.previous :], current[:, -d.previous :]
        return model.clamp(model.normalizer.denormalize(torch.cat(windows)))


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
    from ..head.render import render_strip

    d = model.config.denoiser
    frames = 2 * d.window
    found = data.drawable(frames, validation=True)
    tag = "validation" if found else "training"
    sequence = data.sequences[(found or data.drawable(frames))[0]]
    row, start = sequence.feature_starts[0], sequence.motion_starts[-1]
    recorded = np.asarray(data.motion[start : start + frames])
    training, model_was = model.training, model.eval()
    try:
        own = torch.from_numpy(recorded[d.window :, motion_channels(d.motion_dim)])[None].to(model.device)
        with torch.no_grad():
            style = model.encode_style(own)[0] if styled else None
            features = _features(model, data, row, frames)
        made = sample_windows(model, features, style, seed=0).cpu().numpy()
    finally:
        model_was.train(training)
    shown = np.linspace(0, frames - 1, PICTURES + 1).astype(int)[1:].tolist()
    strips = []
    for motion in (recorded, made):
        exp, pose = from_vectors(motion, model.config.jaw_rest)
        strips.append(render_strip(head, exp, pose, shown, PICTURE_HEIGHT))
    writer.add_image(f"sample/{tag}", np.concatenate(strips), step, dataformats="HWC")


def _features(model: DiffPoseTalk, data: TrainingSet, row: int, frames: int) -> torch.Tensor:
    encoder = model.speech_encoder
    if isinstance(encoder, HubertSpeechEncoder) and data.sound is not None:
        sound = np.asarray(data.sound[row : row + frames], dtype=np.float32).ravel() / 32768
        sound = (sound - sound.mean()) / (sound.std() + 1e-5)
        return encoder(torch.from_numpy(sound)[None].to(model.device), frames)[0]
    assert data.features is not None
    return torch.from_numpy(np.asarray(data.features[row : row + frames], dtype=np.float32))


def validation_losses(
    writer: SummaryWriter, step: int, objective: TwoWindowLosses, data: TrainingSet
) -> None:
    """The training's losses on recordings kept out of it, the same samples and noise every time."""
    from .denoiser_training import BatchSource

    model = objective.model
    if not data.drawable(2 * model.config.denoiser.window, validation=True):
        return
    source = BatchSource(data, model, objective.settings, validation=True)
    objective.eval()
    with torch.no_grad():
        batches = [source.draw(-1 % 2**32, k).to(model.device) for k in range(VALIDATION_BATCHES)]
        results = [objective(batch) for batch in batches]
    for name in results[0]:
        mean = sum(result[name].item() for result in results) / len(results)
        writer.add_scalar(f"validation/{name}", mean, step)


def style_retrieval(encoder: StyleEncoder, motion: torch.Tensor) -> float:
    """Share of samples (B, 2T, D; normalised motion) whose second half is the likest to their first half."""
    first, second = (F.normalize(encoder(half), dim=-1) for half in motion.chunk(2, dim=1))
    nearest = (first @ second.T).argmax(dim=1)
    return float((nearest == torch.arange(len(motion), device=nearest.device)).float().mean())
