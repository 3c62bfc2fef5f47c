# SPDX-License-Identifier: GPL-3.0-or-later
"""Noisy recordings are told from clear ones, and listened to with more guidance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.paths import CLIP

from diffposetalk.config import ModelConfig
from diffposetalk.errors import ModelError
from diffposetalk.evaluate.references import pink_noise
from diffposetalk.generation.batching import generate
from diffposetalk.motion.channel_groups import MOUTH, channels_of
from diffposetalk.motion.clip import MotionClip, to_vectors
from diffposetalk.networks.checkpoint import load_model
from diffposetalk.sound.audio import SpeechAudio, load_speech
from diffposetalk.sound.recording_noise import is_noisy, level_range


@pytest.fixture(scope="module")
def clear() -> SpeechAudio:
    return load_speech(CLIP, seconds=4.0)


def noisy(clear: SpeechAudio, decibels: float) -> SpeechAudio:
    noise = pink_noise(len(clear.samples), np.random.default_rng(0))
    level = np.sqrt((clear.samples**2).mean()) * 10 ** (-decibels / 20)
    return replace(clear, samples=(clear.samples + level * noise).astype(np.float32))


def test_range_of_levels_of_a_made_recording():
    """A tenth at one level, the rest 20 dB above: the percentiles are these two levels, whatever the volume."""
    quiet, loud = np.full(320 * 20, 0.01), np.full(320 * 80, 0.1)
    samples = np.concatenate([quiet, loud]).astype(np.float32)
    assert level_range(samples) == pytest.approx(20, abs=0.1)
    assert level_range(samples * 0.1) == pytest.approx(20, abs=0.1)
    cut = np.concatenate([samples, np.zeros(16_000, np.float32)])
    assert level_range(cut) == pytest.approx(20, abs=0.1)
    assert level_range(np.zeros(16_000, np.float32)) == np.inf


def test_noise_is_noticed(clear):
    assert not is_noisy(clear.samples)
    assert not is_noisy(0.01 * clear.samples)
    assert is_noisy(noisy(clear, 10).samples) and is_noisy(noisy(clear, 0).samples)
    padded = np.concatenate([clear.samples, np.zeros(160_000, np.float32)])
    assert not is_noisy(padded)


def test_lips_follow_noisy_recordings_with_more_guidance(clear):
    model = load_model(device="cpu")
    usual, more = model.config.sampling.speech_guidance, model.config.sampling.noisy_lips_guidance
    assert more > usual

    def take(audio: SpeechAudio, **settings: float) -> MotionClip:
        [clip] = generate(model, audio, style=None, seeds=[0], steps=2, **settings)
        return clip

    assert take(clear).provenance["guidance"] == {"speech": usual, "style": None}
    heard = take(noisy(clear, 10))
    assert heard.provenance["guidance"] == {"speech": usual, "style": None, "lips": more}
    # A person's own choice stands.
    asked = take(noisy(clear, 10), speech_guidance=usual)
    assert asked.provenance["guidance"] == {"speech": usual, "style": None}
    lips = channels_of(MOUTH["arkit"], "arkit", 54)
    change = np.abs(to_vectors(heard, 54) - to_vectors(asked, 54)).mean(axis=0)
    assert change[lips].mean() > 1e-3
    model.config = replace(model.config, sampling=replace(model.config.sampling, noisy_lips_guidance=0.0))
    assert np.array_equal(take(noisy(clear, 10)).exp, asked.exp)


def test_a_scale_out_of_range_is_refused():
    config = ModelConfig()
    wrong = replace(config, sampling=replace(config.sampling, noisy_lips_guidance=-1.0)).to_dict()
    with pytest.raises(ModelError, match="noisy_lips_guidance"):
        ModelConfig.from_dict(wrong)
