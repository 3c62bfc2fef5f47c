# SPDX-License-Identifier: GPL-3.0-or-later
"""The untrained model of a recipe, normalised by its training set, and the speech encoder it learns through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..config import ModelConfig, SpeechEncoderConfig
from ..errors import DataError, ModelError
from ..head.head_model import HeadModel
from ..networks.model import DiffPoseTalk
from ..networks.speech.encoder import SpeechEncoder
from ..networks.speech.hubert import HubertSpeechEncoder, find_hubert, unloaded
from .recipe import Recipe, model_config
from .style_training import motion_statistics
from .training_set import TrainingSet


class CachedFeatures:
    """Stands in for the speech encoder where features come from disk.

    Attributes:
        rows: (T, C) features of the recording that is spoken next, on the model's device; None before they are given.
    """

    def __init__(self, feature_dim: int) -> None:
        self.feature_dim = feature_dim
        self.rows: torch.Tensor | None = None

    def features(self, samples: np.ndarray, frames: int, on_chunk: object = None) -> Iterator[torch.Tensor]:
        """The rows, whatever the sound. Raises TypeError before they are given: a model must not hear by chance."""
        if self.rows is None:
            raise TypeError("features are cached; attach a speech encoder to encode sound")
        yield self.rows[:frames]


def own_hubert() -> tuple[HubertSpeechEncoder, SpeechEncoderConfig]:
    """The user's HuBERT, and how the configuration of a model that holds its trained weights describes it.

    Raises:
        ModelError: it is not there, or of a kind that a model directory cannot describe.
    """
    folder = find_hubert()
    encoder = HubertSpeechEncoder.from_folder(folder)
    sizes = encoder.hubert.config
    config = SpeechEncoderConfig(
        kind="hubert",
        layers=(int(sizes.num_hidden_layers),),
        width=int(sizes.hidden_size),
        heads=int(sizes.num_attention_heads),
        depth=int(sizes.num_hidden_layers),
        stored=True,
    )
    wanted = {k: v.shape for k, v in unloaded(config).state_dict().items()}
    if wanted != {k: v.shape for k, v in encoder.state_dict().items()}:
        raise ModelError(f"The HuBERT in “{folder}” is not built as the base model is.", "hubert_kind")
    return encoder, config


def recipe_model(recipe: Recipe, data: TrainingSet, head: HeadModel) -> DiffPoseTalk:
    """The untrained model of a recipe for a training set; its weights depend on the recipe's seed alone.

    Raises:
        ModelError: the recipe's model is not valid, or HuBERT is to be trained and is not there.
    """
    config = model_config(recipe, data.description, head.jaw_open_angle)
    encoder: HubertSpeechEncoder | None = None
    if recipe.denoiser.train_speech_encoder:
        encoder, speech = own_hubert()
        config = replace(config, speech_encoder=speech)
    torch.manual_seed(recipe.denoiser.seed)
    return new_model(config, data, encoder)


LEARNED_ELSEWHERE = ("normalizer.", "style_encoder.", "speech_encoder.")


def start_from(model: DiffPoseTalk, known: DiffPoseTalk) -> dict[str, Any]:
    """Give the denoiser's side of an untrained model the weights of a trained one.

    Returns:
        What the training's record says of it: the model's name and how it came about.

    Raises:
        DataError: `data_model`; it is built otherwise.
    """
    weights = {k: v for k, v in known.state_dict().items() if not k.startswith(LEARNED_ELSEWHERE)}
    own = {k: v.shape for k, v in model.state_dict().items() if not k.startswith(LEARNED_ELSEWHERE)}
    if known.denoiser.person_frames is None:  # where only the untrained model has it, it begins at zero
        own = {k: v for k, v in own.items() if not k.startswith("denoiser.person_frames.")}
    if own != {k: v.shape for k, v in weights.items()}:
        raise DataError(
            f"The training cannot start from {known.config.name}: it is of another size.", "data_model"
        )
    model.load_state_dict(weights, strict=False)
    return origin_of(known.config)


def origin_of(config: ModelConfig) -> dict[str, Any]:
    """How a training's record names the model that it started from."""
    named = ("recipe", "iterations", "started_from")
    return {"name": config.name, **{k: config.provenance[k] for k in named if k in config.provenance}}


def new_model(config: ModelConfig, data: TrainingSet, encoder: SpeechEncoder | None = None) -> DiffPoseTalk:
    """An untrained model normalised by the training set's statistics."""
    features = 1 if data.features is None else data.features.shape[1]
    model = DiffPoseTalk(config, encoder or CachedFeatures(features))
    mean, std = motion_statistics(data, config.denoiser.motion_dim)
    known = {"motion_mean": mean, "motion_std": std, "shape_mean": 0.0, "shape_std": 1.0}
    if data.shapes is not None:
        shapes = np.asarray(data.shapes, dtype=np.float64)
        known |= {"shape_mean": shapes.mean(axis=0), "shape_std": np.maximum(shapes.std(axis=0), 1e-3)}
    for name, value in known.items():
        getattr(model.normalizer, name).copy_(torch.as_tensor(value))
    return model
