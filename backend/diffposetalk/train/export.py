# SPDX-License-Identifier: GPL-3.0-or-later
"""From a trained denoiser's checkpoint to a model directory."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel

from ..config import ModelConfig
from ..errors import DataError, ModelError
from ..networks.checkpoint import load_model, save_model
from ..networks.model import DiffPoseTalk, StylePreset
from ..networks.speech.build import build_speech_encoder
from ..networks.speech.encoder import SpeechEncoder
from ..networks.speech.hubert import unloaded
from ..version import VERSION
from .checkpoints import load_latest
from .new_model import CachedFeatures
from .own_model.bundled import TAKES, load_encoder, preset_styles
from .recipe import Record, recorded
from .training_set import TrainingSet, motion_channels

SPEAKERS = 6


def export(folder: Path, data: TrainingSet, out: Path, whisper: Path | None = None) -> None:
    """Write the model directory: trained weights, the speech encoder's, statistics, presets, provenance.

    Args:
        folder: of the denoiser's training.
        whisper: OpenAI's published weights of a frozen Whisper; None takes the bundled model's copy.

    Raises:
        DataError: there is no training in the folder, or its checkpoint is of another model.
        ModelError: the speech encoder's weights are not there, or are another one's.
    """
    record = recorded(folder)
    if record is None:
        raise DataError(f"There is no training in “{folder}”: train the denoiser first.", "data_checkpoint")
    recipe = record.recipe
    trained, step = _load_trained(folder, record, data)
    model = trained
    if not recipe.denoiser.train_speech_encoder:
        model = DiffPoseTalk(trained.config, _frozen_encoder(trained.config, whisper))
        missing, unexpected = model.load_state_dict(trained.state_dict(), strict=False)
        if unexpected or any(not k.startswith("speech_encoder.") for k in missing):
            raise ValueError(f"the trained model does not fit: {missing} {unexpected}")
    model.eval()
    styles: dict[str, StylePreset] = {}
    if recipe.denoiser.styled:
        styles = preset_styles(model, data) or speaker_styles(model, data)
    else:
        fix_style(model)
    provenance = {
        **model.config.provenance,
        "recipe": recipe.name,
        "ablations": list(recipe.ablations),
        "iterations": step,
        "training": {"style": asdict(recipe.style), "denoiser": asdict(recipe.denoiser)},
        **({"training_before": record.before} if record.before else {}),
        **({"started_from": record.started_from} if record.started_from else {}),
        "trained_with": f"diffposetalk {VERSION}, {date.today().isoformat()}",
    }
    sampling = model.config.sampling
    if sampling.style not in styles:
        sampling = replace(sampling, style="")
    model.config = replace(model.config, provenance=provenance, sampling=sampling)
    save_model(model, out, styles)


def _load_trained(folder: Path, record: Record, data: TrainingSet) -> tuple[DiffPoseTalk, int]:
    """The trained model (the moving average, if the recipe has one) and its iterations."""
    settings = record.recipe.denoiser
    encoder: SpeechEncoder = CachedFeatures(1 if data.features is None else data.features.shape[1])
    if settings.train_speech_encoder:
        encoder = unloaded(record.config.speech_encoder).to_empty(device="cpu")
    trained = DiffPoseTalk(record.config, encoder)
    average = AveragedModel(trained) if settings.ema else None
    step = load_latest(folder, {"average": average} if average else {"model": trained})
    if not step:
        raise DataError(f"There is no checkpoint in “{folder}”: train the denoiser first.", "data_checkpoint")
    if average is not None:
        assert isinstance(average.module, DiffPoseTalk)
        trained = average.module
    return trained.eval(), step


def _frozen_encoder(config: ModelConfig, whisper: Path | None) -> SpeechEncoder:
    speech = config.speech_encoder
    if speech.kind != "whisper":
        return build_speech_encoder(speech)
    if whisper is None:
        bundled = load_model(device="cpu")
        if bundled.config.speech_encoder != speech:
            raise ModelError(
                "The bundled model's speech encoder is another one; name OpenAI's weights with --whisper.",
                "model_weights",
            )
        return bundled.speech_encoder
    return load_encoder(whisper, speech)


def fix_style(model: DiffPoseTalk) -> None:
    """Make a denoiser that never was given a style deaf to any: all act as the null style does, exactly."""
    layer = model.denoiser.person_proj
    with torch.no_grad():
        weight = layer.weight[:, -model.config.denoiser.style_dim :]
        layer.bias.add_(weight @ model.null_style[0])
        weight.zero_()


def speaker_styles(model: DiffPoseTalk, data: TrainingSet) -> dict[str, StylePreset]:
    """The styles of the speakers with the most motion: means of the style vectors of some of their windows."""
    window = model.config.style_encoder.window
    channels = motion_channels(model.config.style_encoder.motion_dim)
    spoken: dict[str, list[tuple[int, int]]] = {}
    for s in data.sequences:
        if s.frames >= window:
            spoken.setdefault(s.speaker, []).extend((start, s.frames) for start in s.motion_starts)
    busiest = sorted(spoken, key=lambda who: (-sum(frames for _, frames in spoken[who]), who))[:SPEAKERS]
    rng = np.random.default_rng(0)
    styles = {}
    for k, who in enumerate(busiest, start=1):
        motions = []
        for index in rng.integers(len(spoken[who]), size=TAKES):
            start, frames = spoken[who][index]
            start += int(rng.integers(frames - window + 1))
            motions.append(np.asarray(data.motion[start : start + window, channels]))
        with torch.no_grad():
            vector = model.encode_style(torch.from_numpy(np.stack(motions))).mean(0)
        styles[f"speaker-{k}"] = StylePreset(who, "As this speaker of the training set talks", vector)
    return styles
