# SPDX-License-Identifier: GPL-3.0-or-later
"""Whisper's encoder: equal to the published network, one frame of features per motion frame, whatever the length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.paths import CLIP
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from diffposetalk.config import SpeechEncoderConfig
from diffposetalk.errors import ModelError
from diffposetalk.networks.checkpoint import load_model
from diffposetalk.networks.speech.encoder import encode
from diffposetalk.networks.speech.whisper import WhisperSpeechEncoder
from diffposetalk.sound.audio import load_speech
from diffposetalk.train.whisper_weights import load_whisper_encoder

SMALL = SpeechEncoderConfig(width=32, heads=2, depth=2, layers=(0, 2))


@pytest.fixture(scope="module")
def whisper() -> WhisperSpeechEncoder:
    torch.manual_seed(0)
    return WhisperSpeechEncoder(SMALL).eval()


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * 16_000))).astype(np.float32)


def test_spectrogram_equals_the_published_one(whisper: WhisperSpeechEncoder):
    speech = load_speech(CLIP).samples[: 640 * 200]
    published = WhisperFeatureExtractor(feature_size=80)(
        speech, sampling_rate=16_000, padding="do_not_pad", truncation=False, return_tensors="np"
    ).input_features
    ours = whisper.log_mel(torch.from_numpy(speech)[None])
    assert ours.shape == published.shape
    assert np.abs(ours.numpy() - published).max() < 1e-4


def test_states_equal_the_published_network(whisper: WhisperSpeechEncoder):
    sizes = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 128}
    published = WhisperEncoder(WhisperConfig(num_mel_bins=80, max_source_positions=1500, **sizes)).eval()
    published.load_state_dict(whisper.encoder.state_dict())
    mel = torch.randn(2, 80, 3000)
    with torch.no_grad():
        theirs = published(mel, output_hidden_states=True).hidden_states
        ours = whisper.encoder(mel)
    assert len(ours) == len(theirs) == 3
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 7, 100, 199, 201, 219, 221, 300, 405])
def test_one_feature_vector_a_frame(whisper: WhisperSpeechEncoder, frames: int):
    pieces = list(whisper.features(noise(frames / 25), frames))
    features = torch.cat(pieces)
    assert features.shape == (frames, whisper.feature_dim)
    assert torch.isfinite(features).all() and not features.requires_grad


def test_sound_is_padded_with_silence_to_the_frames_wanted(whisper: WhisperSpeechEncoder):
    sound = noise(1.3)
    padded = np.concatenate([sound, np.zeros(100 * 640 - len(sound), np.float32)])
    assert torch.equal(encode(whisper, sound, 100), encode(whisper, padded, 100))


def test_features_follow_the_sound_in_time(whisper: WhisperSpeechEncoder):
    """A click moves the features at its own time most."""
    quiet = noise(4) * 1e-3
    click = quiet.copy()
    click[2 * 16_000 : 2 * 16_000 + 320] += 0.5
    difference = (encode(whisper, click, 100) - encode(whisper, quiet, 100))[:, : 2 * 32].norm(dim=1)
    assert abs(int(difference.argmax()) - 50) <= 1


def test_chunks_are_faded_into_each_other(whisper: WhisperSpeechEncoder):
    """Against each chunk run on its own and mixed by hand."""
    frames, sound = 450, noise(18)
    expected = torch.zeros(frames, whisper.feature_dim)
    total = torch.zeros(frames)
    for start in range(0, frames, 200):
        stop = min(start + 200, frames)
        low, high = max(0, start - 50), min(frames, stop + 50)
        with torch.no_grad():
            states = whisper.encoder(whisper.log_mel(torch.from_numpy(sound[None, low * 640 : high * 640])))
        normed = [torch.nn.functional.layer_norm(states[k][0], (32,)) for k in (0, 2)]
        chunk = torch.cat(normed, dim=-1).reshape(high - low, -1)
        for t in range(low, high):
            rise = 1.0 if start == 0 else min(1.0, max(0.0, (t + 0.5 - start) / 40 + 0.5))
            fall = 1.0 if stop == frames else min(1.0, max(0.0, (stop - t - 0.5) / 40 + 0.5))
            expected[t] += min(rise, fall) * chunk[t - low]
            total[t] += min(rise, fall)
    assert torch.allclose(total, torch.ones(frames))
    assert torch.allclose(encode(whisper, sound, frames), expected, atol=1e-5)


def test_chunks_of_long_sound_meet():
    """The bundled encoder's features change no more across a chunk's edge than anywhere else."""
    encoder = load_model(CLIP.parents[1] / "model", device="cpu").speech_encoder
    assert isinstance(encoder, WhisperSpeechEncoder)
    features = encode(encoder, np.concatenate([load_speech(CLIP).samples] * 3), 800)
    similarity = torch.cosine_similarity(features[1:], features[:-1], dim=1)
    edges = [similarity[edge - 1].item() for edge in range(encoder.CHUNK, 800, encoder.CHUNK)]
    assert len(edges) == 3 and min(edges) > similarity.quantile(0.01).item()


def test_pieces_come_as_they_are_computed(whisper: WhisperSpeechEncoder):
    """The first window's features are there after the first chunk, and progress is told."""
    seen: list[tuple[int, int]] = []
    pieces = whisper.features(noise(30), 750, lambda done, total: seen.append((done, total)))
    assert len(next(pieces)) == 180 and seen == [(1, 4)]
    assert sum(len(piece) for piece in pieces) == 570
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_only_published_whisper_weights_are_taken(tmp_path: Path):
    torch.save({"model_state_dict": {}}, tmp_path / "tiny.en.pt")
    with pytest.raises(ModelError):
        load_whisper_encoder(tmp_path / "tiny.en.pt")


def test_layers_outside_the_encoder_are_refused():
    with pytest.raises(ModelError):
        WhisperSpeechEncoder(SpeechEncoderConfig(width=32, heads=2, depth=2, layers=(3,)))
