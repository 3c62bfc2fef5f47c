# SPDX-License-Identifier: GPL-3.0-or-later
"""Training on a small made-up set: it learns, resumes exactly, and its parts do what the paper says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from diffposetalk.config import DenoiserConfig, ModelConfig, StyleEncoderConfig
from diffposetalk.head_model import HeadModel, load_head
from diffposetalk.model import DiffPoseTalk
from diffposetalk.train.arkit import EXPRESSIONS, INDEX
from diffposetalk.train.bundled import new_model
from diffposetalk.train.denoiser_training import DenoiserTraining, draw_batch, train_denoiser
from diffposetalk.train.losses import GeometricLoss, LossWeights, head_loss
from diffposetalk.train.performance import StyleFactors, draw_factors, perform
from diffposetalk.train.phone_teacher import closure_envelope, phone_features
from diffposetalk.train.prosody import analyse
from diffposetalk.train.sequences import Sequence, TrainingSet, join
from diffposetalk.train.style_training import StyleTraining, train_style_encoder
from diffposetalk.train.tracked_motion import LipGap

from .conftest import BUNDLED_HEAD


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head(BUNDLED_HEAD)


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    """Mouths that open with the first feature, in styles that differ by their smile."""
    rng = np.random.default_rng(0)
    frames, features, motion, sequences = 220, [], [], []
    for k in range(12):
        loud = np.clip(np.sin(np.arange(frames) / (4 + k % 3)) + 0.3 * rng.standard_normal(frames), 0, None)
        speech = 0.1 * rng.standard_normal((frames, 8))
        speech[:, 0] = loud
        m = np.zeros((frames, 54))
        m[:, 53] = 0.2 * loud
        m[:, INDEX["mouthSmileLeft"]] = m[:, INDEX["mouthSmileRight"]] = 0.05 * k
        m[:, 50:53] = 0.02 * np.cumsum(rng.standard_normal((frames, 3)), axis=0)
        sequences.append(Sequence(f"s{k}", "made", str(k), frames, [k * frames], [k * frames]))
        features.append(speech)
        motion.append(m)
    silence = np.zeros((100, 8), np.float32)
    return TrainingSet(
        np.concatenate(features).astype(np.float16),
        np.concatenate(motion).astype(np.float32),
        sequences,
        silence,
    )


CONFIG = ModelConfig(
    name="small",
    expression_names=EXPRESSIONS,
    denoiser=DenoiserConfig(width=32, heads=2, layers=1, steps=50, style_dim=16, dropout=0.0),
    style_encoder=StyleEncoderConfig(width=16, heads=2, layers=1, dropout=0.0),
)
SETTINGS = DenoiserTraining(
    iterations=6, batch=4, warmup=1, checkpoint_every=3, learning_rate=2e-3, bfloat16=False
)


def fresh(data: TrainingSet) -> DiffPoseTalk:
    torch.manual_seed(5)
    return new_model(CONFIG, data)


def test_style_encoder_learns_to_tell_styles_apart(data: TrainingSet, tmp_path: Path):
    settings = StyleTraining(iterations=60, batch=12, learning_rate=2e-3, bfloat16=False)
    encoder = train_style_encoder(data, tmp_path, CONFIG.style_encoder, settings)
    mean, std = data.motion.mean(0), np.maximum(data.motion.std(0), 0.02)

    def styles(part: slice) -> torch.Tensor:
        rows = np.stack([data.motion[s.motion_starts[0] :][part] for s in data.sequences])
        with torch.no_grad():
            out = encoder(torch.from_numpy((rows - mean) / std).float())
        return torch.nn.functional.normalize(out, dim=-1)

    similar = styles(slice(0, 100)) @ styles(slice(110, 210)).T
    rank = (similar > similar.diagonal()[:, None]).sum(1).float()
    assert rank.mean() < 2.0  # chance is 5.5


def test_denoiser_training_resumes_exactly(data: TrainingSet, head: HeadModel, tmp_path: Path):
    whole = train_denoiser(fresh(data), data, head, tmp_path / "whole", SETTINGS)
    train_denoiser(
        fresh(data), data, head, tmp_path / "parts", replace(SETTINGS, iterations=6, checkpoint_every=3)
    )
    for stale in (tmp_path / "parts").glob("step-00000006.pt"):
        stale.unlink()
    resumed = train_denoiser(fresh(data), data, head, tmp_path / "parts", SETTINGS)
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_denoiser_learns_to_follow_speech(data: TrainingSet, head: HeadModel, tmp_path: Path):
    settings = replace(
        SETTINGS, iterations=150, batch=8, ema=0.9, checkpoint_every=1000, weights=LossWeights(2e5, 1e5, 0)
    )
    model = train_denoiser(fresh(data), data, head, tmp_path, settings)
    rng = np.random.default_rng(9)
    batch = draw_batch(data, 100, replace(settings, truncate_first=0, truncate_second=0), rng)
    with torch.no_grad():
        x0 = model.normalizer.normalize(batch.motion)
        speech = torch.cat(
            [model.start_speech.expand(8, -1, -1), model.speech_proj(batch.speech[:, :100])], 1
        )
        out = model.denoiser(
            torch.randn_like(x0[:, :100]),
            model.start_motion.expand(8, -1, -1),
            speech,
            model.style_encoder(x0[:, 100:]),
            torch.zeros(8, 100),
            torch.full((8,), 50),
            torch.ones(8, 100),
        )[:, 10:]
    jaw = out[..., -1].flatten(), x0[:, :100, -1].flatten()
    assert np.corrcoef(*(v.numpy() for v in jaw))[0, 1] > 0.5


def test_truncated_windows_hear_silence(data: TrainingSet):
    settings = replace(SETTINGS, batch=64, truncate_first=0.5, truncate_second=1.0)
    batch = draw_batch(data, 100, settings, np.random.default_rng(0))
    for k in range(64):
        length = int(batch.real[1][k])
        assert 1 <= length <= 99
        assert not batch.speech[k, 100 + length :].any() and batch.speech[k, 100 : 100 + length].any()


def test_geometric_losses(head: HeadModel):
    loss = GeometricLoss(head, count=40)
    motion = torch.zeros(2, 12, 54)
    mask = torch.ones(2, 12)
    assert all(v.item() == 0 for v in loss(motion, motion, mask))
    opened = motion.clone()
    opened[:, 6:, 53] = 0.2
    vertex, velocity, smooth = loss(opened, motion, mask)
    assert vertex > 0 and velocity > 0 and smooth > 0
    # A mask that leaves the change out leaves the loss at zero.
    half = mask.clone()
    half[:, 6:] = 0
    assert loss(opened, motion, half)[0].item() == 0
    # Vertices are those of the whole head.
    full = head.vertices(torch.zeros(1, 50), torch.tensor([[0, 0, 0, 0.2, 0, 0.0]]))[0, loss.vertices]
    assert torch.allclose(loss.mesh(opened[:1, 6:7])[0, 0], full, atol=1e-6)


def test_head_loss_sees_the_seam():
    weights = LossWeights(head_angle=0, head_velocity=0, head_acceleration=0)
    target = torch.zeros(1, 30, 54)
    for frame, expected in ((10, True), (25, False)):
        predicted = target.clone()
        predicted[:, frame:, 50:53] = 1.0
        assert (head_loss(predicted, target, torch.ones(1, 30), 10, weights) > 0).item() is expected


def test_performance_is_within_range_and_styled():
    rng = np.random.default_rng(0)
    frames = 500
    sound = (0.1 * rng.standard_normal(frames * 640) * (np.sin(np.arange(frames * 640) / 4000) > 0)).astype(
        np.float32
    )
    prosody = analyse(sound, frames)
    lips, jaw = np.zeros((frames, 50), np.float32), np.full(frames, 0.1)
    for seed in range(5):
        out = perform(
            lips, jaw, prosody, draw_factors(np.random.default_rng(seed)), np.random.default_rng(seed)
        )
        assert out.shape == (frames, 54) and np.isfinite(out).all()
        assert out[:, :50].min() >= 0 and out[:, :50].max() <= 1
        assert np.abs(out[:, 50:53]).max() < np.radians(40)
    small = perform(
        lips, jaw, prosody, StyleFactors(pitch=0.7, yaw=0.7, roll=0.7, beat=0), np.random.default_rng(1)
    )
    large = perform(
        lips, jaw, prosody, StyleFactors(pitch=3.5, yaw=6, roll=4, beat=2), np.random.default_rng(1)
    )
    assert large[:, 50:53].std() > 2.5 * small[:, 50:53].std()


def test_lips_reach_a_wanted_gap(head: HeadModel):
    gap = LipGap(head)
    rng = np.random.default_rng(0)
    exp = np.zeros((50, 50), np.float32)
    exp[:, INDEX["mouthPucker"]] = rng.uniform(0, 0.5, 50)
    exp[:, INDEX["mouthFunnel"]] = rng.uniform(0, 0.3, 50)
    wanted = rng.uniform(0, 0.015, 50)
    out, jaw = gap.reach(exp, rng.uniform(0, 0.2, 50), wanted)
    assert np.abs(gap.of(out, jaw) - wanted).max() < 5e-4
    assert out.min() >= 0 and out.max() <= 1 and jaw.min() >= 0


def test_joins_have_no_jump():
    a, b = np.zeros((40, 3)), np.ones((40, 3))
    out = join([a, b])
    assert len(out) == 80 and np.abs(np.diff(out, axis=0)).max() < 0.3


def test_phones_to_frames():
    features = phone_features([("P", 0.04, 0.1), ("AA", 0.1, 0.2), ("??", 0.2, 0.24)], 8)
    assert np.allclose(features.sum(axis=1), 1)
    closed = closure_envelope([("P", 0.2, 0.3)], 15)
    assert closed.min() == 0 and closed[0] == 1 and closed[-1] == 1
