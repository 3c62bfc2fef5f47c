# SPDX-License-Identifier: GPL-3.0-or-later
"""Made-up training sets and recipes, small enough to train on in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from diffposetalk.config import DenoiserConfig, ModelConfig, SamplingConfig, StyleEncoderConfig
from diffposetalk.motion.arkit import EXPRESSIONS, INDEX
from diffposetalk.train.training_set import Sequence, TrainingSet
from support.paths import BUNDLED_HEAD

FRAMES = 220

CONFIG = ModelConfig(
    name="small",
    expression_names=EXPRESSIONS,
    denoiser=DenoiserConfig(width=32, heads=2, layers=1, steps=50, style_dim=16, dropout=0.0),
    style_encoder=StyleEncoderConfig(width=16, heads=2, layers=1, dropout=0.0),
    sampling=SamplingConfig(hears_before=True, steps=4),
)

TINY_RECIPE = """
name = "tiny"

[model]
name = "tiny"

[model.denoiser]
width = 32
heads = 2
layers = 1
steps = 50
window = 20
previous = 5
style_dim = 16
dropout = {dropout}

[model.style_encoder]
width = 16
heads = 2
layers = 1
window = 20
dropout = {dropout}

[model.sampling]
steps = 4
hears_before = true
join_face = 3
join_head = 6
smooth_head = 5

[style]
iterations = 6
batch = 8
learning_rate = 2e-3
checkpoint_every = 3
log_every = 2

[denoiser]
iterations = 6
batch = 4
learning_rate = 2e-3
final_rate = 2e-3
warmup = 1
ema = 0.5
gradient_clip = 1.0
geometry_vertices = 48
checkpoint_every = 3
log_every = 2
sample_every = 0
{denoiser}
"""
"""To be formatted with dropout and further lines of the denoiser's section."""


@pytest.fixture(scope="module", autouse=True)
def bundled_assets() -> Iterator[None]:
    """The repository's head and model, also where the backend is installed elsewhere; for modules that import this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFPOSETALK_HEAD", str(BUNDLED_HEAD))
        patch.setenv("DIFFPOSETALK_MODEL", str(BUNDLED_HEAD.parents[1] / "model"))
        yield


def made_set(features: int = 8, held_out: int = 0, sound: bool = False) -> TrainingSet:
    """Mouths that open with the first feature (or the loudness), in styles that differ by their smile.

    Args:
        features: size of the speech features; 0 for none.
        held_out: how many of the 12 sequences are for validation.
    """
    rng = np.random.default_rng(0)
    heard, motion, sequences, sounds = [], [], [], []
    for k in range(12):
        loud = np.clip(np.sin(np.arange(FRAMES) / (4 + k % 3)) + 0.3 * rng.standard_normal(FRAMES), 0, None)
        speech = 0.1 * rng.standard_normal((FRAMES, max(features, 1)))
        speech[:, 0] = loud
        m = np.zeros((FRAMES, 54))
        m[:, 53] = 0.2 * loud
        m[:, INDEX["mouthSmileLeft"]] = m[:, INDEX["mouthSmileRight"]] = 0.05 * k
        m[:, 50:53] = 0.02 * np.cumsum(rng.standard_normal((FRAMES, 3)), axis=0)
        start = [k * FRAMES]
        sequences.append(Sequence(f"s{k}", "made", str(k), FRAMES, start, start, k >= 12 - held_out))
        heard.append(speech)
        motion.append(m)
        if sound:
            sounds.append(3000 * loud[:, None] * rng.standard_normal((FRAMES, 640)))
    return TrainingSet(
        np.concatenate(heard).astype(np.float16) if features else None,
        np.concatenate(motion).astype(np.float32),
        sequences,
        np.zeros((100, features), np.float32) if features else None,
        np.concatenate(sounds).clip(-32768, 32767).astype(np.int16) if sound else None,
    )


def write_recipe(folder: Path, denoiser: str = "", dropout: float = 0.0) -> Path:
    """A tiny recipe as a TOML file."""
    path = folder / "tiny.toml"
    path.write_text(TINY_RECIPE.format(denoiser=denoiser, dropout=dropout), encoding="utf-8")
    return path


def newest(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The newest checkpoint in a folder."""
    return torch.load(sorted(folder.glob("step-*.pt"))[-1], weights_only=True)


def assert_equal(a: object, b: object, path: str = "") -> None:
    """Assert that nested dictionaries, lists and tensors are the same, bit by bit."""
    if isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor) and torch.equal(a, b), path
    elif isinstance(a, dict):
        assert isinstance(b, dict) and a.keys() == b.keys(), path
        for key, value in a.items():
            assert_equal(value, b[key], f"{path}/{key}")
    elif isinstance(a, (list, tuple)):
        assert isinstance(b, (list, tuple)) and len(a) == len(b), path
        for k, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{path}/{k}")
    else:
        assert a == b, path
