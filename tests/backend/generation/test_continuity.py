# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows join: in the wrapper alone, and in what the bundled model makes of a real recording."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.paths import CLIP

from diffposetalk.diffusion.continuity import ContinuousDenoiser
from diffposetalk.generation.batching import generate
from diffposetalk.generation.course import smooth_head
from diffposetalk.motion.arkit import INDEX
from diffposetalk.motion.clip import MotionClip, to_vectors
from diffposetalk.motion.dynamics import blinks_per_minute, motion_speed, power_above, seam_percentile
from diffposetalk.networks.checkpoint import load_model
from diffposetalk.sound.audio import load_speech


def test_predictions_start_where_the_previous_window_ended():
    torch.manual_seed(0)
    previous, predicted = torch.randn(2, 10, 54), torch.randn(2, 100, 54)
    joined = ContinuousDenoiser(lambda x, step: predicted, previous, 5, 25, torch.ones(2))(
        torch.zeros(2, 100, 54), 7
    )
    assert torch.allclose(
        joined[:, 0], previous[:, -1] + 0.5 * (previous[:, -1] - previous[:, -2]), atol=1e-6
    )
    assert torch.allclose(joined[:, 5:, :50], predicted[:, 5:, :50], atol=1e-6)
    assert torch.allclose(joined[:, 25:], predicted[:, 25:], atol=1e-6)
    assert not torch.allclose(joined[:, 5:20, 50:53], predicted[:, 5:20, 50:53], atol=1e-3)


def test_rows_that_begin_are_left_alone():
    torch.manual_seed(0)
    previous, predicted = torch.randn(2, 10, 54), torch.randn(2, 100, 54)
    joined = ContinuousDenoiser(lambda x, step: predicted, previous, 5, 25, torch.tensor([0.0, 1.0]))
    out = joined(torch.zeros(2, 100, 54), 7)
    assert torch.equal(out[0], predicted[0]) and not torch.allclose(out[1], predicted[1])


def test_smoothing_touches_the_head_alone():
    motion = np.random.default_rng(0).standard_normal((1, 60, 54)).astype(np.float32)
    out = smooth_head(motion, 9)
    assert np.array_equal(out[..., :50], motion[..., :50]) and np.array_equal(out[..., 53], motion[..., 53])
    change = np.abs(np.diff(out[..., 50:53], axis=1)).mean()
    assert change < 0.6 * np.abs(np.diff(motion[..., 50:53], axis=1)).mean()
    assert np.array_equal(smooth_head(motion[:, :5], 9), motion[:, :5])


@pytest.fixture(scope="module")
def takes() -> list[MotionClip]:
    """Three takes of the bundled model over eleven seconds of speech."""
    model = load_model(device="cpu")
    style = model.styles[model.config.sampling.style].vector
    return generate(model, load_speech(CLIP), style=style, seeds=[0, 1, 2])


def test_no_jump_where_windows_meet(takes: list[MotionClip]):
    scale = load_model(device="cpu").normalizer.motion_std.numpy()
    for clip in takes:
        vectors = to_vectors(clip, 54)
        for part in (slice(0, 54), slice(0, 50), slice(50, 53)):
            seams = seam_percentile(motion_speed(vectors[:, part], scale[part]), 100)
            assert len(seams) == 2 and max(seams) <= 0.95


def test_head_moves_without_jitter_and_eyes_blink(takes: list[MotionClip]):
    heads = [np.degrees(clip.pose[:, :3]) for clip in takes]
    assert 0.5 < np.mean([h.std(axis=0).max() for h in heads]) < 8
    assert power_above(heads, 6.0) < 1e-3
    blinks = [blinks_per_minute(clip.exp[:, INDEX["eyeBlinkLeft"]]) for clip in takes]
    assert 4 < np.mean(blinks) < 45
    assert np.median(takes[0].exp[:, INDEX["eyeBlinkLeft"]]) < 0.1


def test_seeds_differ(takes: list[MotionClip]):
    assert np.degrees(np.abs(takes[0].pose[:, :3] - takes[1].pose[:, :3])).mean() > 0.3
    assert np.abs(takes[0].exp - takes[1].exp).mean() > 0.005


def test_styles_differ():
    model, audio = load_model(device="cpu"), load_speech(CLIP)

    def smile(preset: str) -> float:
        [clip] = generate(model, audio, style=model.styles[preset].vector, seeds=[0])
        return float(clip.exp[:, [INDEX["mouthSmileLeft"], INDEX["mouthSmileRight"]]].mean())

    assert smile("warm") > smile("stern") + 0.1
