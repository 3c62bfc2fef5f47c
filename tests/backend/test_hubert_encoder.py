# SPDX-License-Identifier: GPL-3.0-or-later
"""HuBERT as the paper hears through it: one frame of features per motion frame, whatever the length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diffposetalk.config import SpeechEncoderConfig
from diffposetalk.errors import ModelError
from diffposetalk.hubert_encoder import HubertSpeechEncoder, pad_for_convolutions
from diffposetalk.speech_encoder import build_speech_encoder, encode

SMALL_HUBERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}


@pytest.fixture(scope="module")
def hubert() -> HubertSpeechEncoder:
    torch.manual_seed(0)
    return HubertSpeechEncoder.from_config(**SMALL_HUBERT).eval()


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * 16_000))).astype(np.float32)


@pytest.mark.parametrize("frames", [1, 7, 100, 300])
def test_one_feature_vector_a_frame(hubert: HubertSpeechEncoder, frames: int):
    features = encode(hubert, noise(frames / 25), frames)
    assert features.shape == (frames, hubert.feature_dim)
    assert torch.isfinite(features).all() and not features.requires_grad


def test_sound_is_padded_with_silence_to_the_frames_wanted(hubert: HubertSpeechEncoder):
    assert encode(hubert, noise(1.3), 100).shape[0] == 100


def test_hubert_padding_gives_one_feature_per_320_samples():
    for length in (640, 16_000, 64_000, 64_100):
        padded = pad_for_convolutions(torch.randn(1, length))
        out = padded.shape[1]
        for kernel, stride in [(10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)]:
            out = (out - kernel) // stride + 1
        assert out == length // 320


def test_missing_hubert_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("DIFFPOSETALK_HUBERT", str(tmp_path / "nothing here"))
    with pytest.raises(ModelError) as caught:
        build_speech_encoder(SpeechEncoderConfig(kind="hubert"))
    assert caught.value.kind == "hubert_missing" and "facebook/hubert-base-ls960" in caught.value.message


def test_hubert_loads_from_a_local_folder(
    hubert: HubertSpeechEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    hubert.hubert.save_pretrained(tmp_path)
    monkeypatch.setenv("DIFFPOSETALK_HUBERT", str(tmp_path))
    loaded = build_speech_encoder(SpeechEncoderConfig(kind="hubert"))
    assert isinstance(loaded, HubertSpeechEncoder)
    assert torch.allclose(encode(loaded.eval(), noise(1), 25), encode(hubert, noise(1), 25), atol=1e-5)
