# SPDX-License-Identifier: GPL-3.0-or-later
"""Speech encoders: one interface, one frame of features per motion frame, whatever the length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diffposetalk.audio import load_speech
from diffposetalk.checkpoint import load_model
from diffposetalk.config import SpeechEncoderConfig
from diffposetalk.errors import ModelError
from diffposetalk.speech_encoder import (
    HubertSpeechEncoder,
    WhisperSpeechEncoder,
    build_speech_encoder,
    pad_for_convolutions,
)
from diffposetalk.train.whisper_weights import load_whisper_encoder

CLIP = Path(__file__).resolve().parents[2] / "flame_assets" / "clips" / "jfk.flac"
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
def whisper() -> WhisperSpeechEncoder:
    torch.manual_seed(0)
    return WhisperSpeechEncoder(SpeechEncoderConfig(width=32, heads=2, depth=2, layers=(0, 2))).eval()


@pytest.fixture(scope="module")
def hubert() -> HubertSpeechEncoder:
    torch.manual_seed(0)
    return HubertSpeechEncoder.from_config(**SMALL_HUBERT).eval()


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * 16_000))).astype(np.float32)


@pytest.mark.parametrize("name", ["whisper", "hubert"])
@pytest.mark.parametrize("frames", [1, 7, 100, 300])
def test_one_feature_vector_a_frame(name: str, frames: int, request: pytest.FixtureRequest):
    encoder = request.getfixturevalue(name)
    features = encoder.encode(noise(frames / 25), frames)
    assert features.shape == (frames, encoder.feature_dim)
    assert torch.isfinite(features).all() and not features.requires_grad


@pytest.mark.parametrize("name", ["whisper", "hubert"])
def test_sound_is_padded_with_silence_to_the_frames_wanted(name: str, request: pytest.FixtureRequest):
    encoder = request.getfixturevalue(name)
    assert encoder.encode(noise(1.3), 100).shape[0] == 100


def test_features_follow_the_sound_in_time(whisper: WhisperSpeechEncoder):
    """A click moves the features at its own time most."""
    quiet = noise(4) * 1e-3
    click = quiet.copy()
    click[2 * 16_000 : 2 * 16_000 + 320] += 0.5
    difference = (whisper.encode(click, 100) - whisper.encode(quiet, 100))[:, : 2 * 32].norm(dim=1)
    assert abs(int(difference.argmax()) - 50) <= 1


def test_chunks_of_long_sound_meet():
    """The bundled encoder's features change no more across a chunk's edge than anywhere else."""
    encoder = load_model(device="cpu").speech_encoder
    assert isinstance(encoder, WhisperSpeechEncoder)
    sound = np.concatenate([load_speech(CLIP).samples] * 3)
    features = encoder.encode(sound, 800)
    similarity = torch.cosine_similarity(features[1:], features[:-1], dim=1)
    edges = [similarity[edge - 1].item() for edge in range(encoder.CHUNK, 800, encoder.CHUNK)]
    assert len(edges) == 3 and min(edges) > similarity.quantile(0.01).item()


def test_chunks_report_progress(whisper: WhisperSpeechEncoder):
    seen: list[tuple[int, int]] = []
    whisper.encode(noise(30), 750, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


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
    assert torch.allclose(loaded.eval().encode(noise(1), 25), hubert.encode(noise(1), 25), atol=1e-5)


def test_only_published_whisper_weights_are_taken(tmp_path: Path):
    torch.save({"model_state_dict": {}}, tmp_path / "tiny.en.pt")
    with pytest.raises(ModelError):
        load_whisper_encoder(tmp_path / "tiny.en.pt")


def test_layers_outside_the_encoder_are_refused():
    with pytest.raises(ModelError):
        WhisperSpeechEncoder(SpeechEncoderConfig(width=32, heads=2, depth=2, layers=(3,)))
