# SPDX-License-Identifier: GPL-3.0-or-later
"""HuBERT as the paper hears through it, against a plain transcription; where its weights come from."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.small_networks import SMALL_HUBERT
from support.waiting import PATIENCE

from diffposetalk.config import SpeechEncoderConfig
from diffposetalk.errors import ModelError
from diffposetalk.networks.speech.build import build_speech_encoder
from diffposetalk.networks.speech.encoder import encode
from diffposetalk.networks.speech.hubert import HubertSpeechEncoder, pad_for_convolutions

HEARS_32 = SpeechEncoderConfig(kind="hubert", width=32, heads=2, depth=2)


@pytest.fixture(scope="module")
def hubert() -> HubertSpeechEncoder:
    torch.manual_seed(0)
    return HubertSpeechEncoder.from_config(**SMALL_HUBERT).eval()


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Modulated noise with an offset, which normalisation must take away."""
    count = round(seconds * 16_000)
    loudness = 0.05 + 0.1 * np.abs(np.sin(np.arange(count) / 5_000))
    return (0.02 + loudness * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


def described(encoder: HubertSpeechEncoder, samples: np.ndarray) -> torch.Tensor:
    """The released code's speech path written down once more, step by step: features of all whole windows."""
    frames = 100 * max(1, math.ceil(int(len(samples) / 16_000 * 25) / 100))
    sound = (samples - samples.mean()) / (samples.std() + 1e-5)
    if len(sound) < 640 * frames:
        sound = np.concatenate([sound, np.zeros(640 * frames - len(sound), np.float32)])
    side = math.ceil((320 * (len(sound) // 320) + 80 - len(sound)) / 2)
    if side > 0:
        sound = np.pad(np.pad(sound, side // 2, "reflect"), side // 2, "reflect")
        sound = np.pad(sound, side % 2, "edge")

    def interpolate(rows: np.ndarray, length: int) -> np.ndarray:
        places = (np.arange(length) + 0.5) * len(rows) / length - 0.5
        return np.stack([np.interp(places, np.arange(len(rows)), column) for column in rows.T], 1)

    with torch.no_grad():
        features = encoder.hubert.feature_extractor(torch.tensor(sound, dtype=torch.float32)[None])[0].T
        doubled = torch.tensor(interpolate(features[: 4 * frames].numpy(), 2 * frames), dtype=torch.float32)
        hidden = encoder.hubert.feature_projection(doubled[None])
        states = encoder.hubert.encoder(hidden[0] if isinstance(hidden, tuple) else hidden)[0][0]
    return torch.tensor(interpolate(states.numpy(), frames), dtype=torch.float32)


# half a second; odd lengths; whole windows with 0, 1, 160, 480 and 639 samples over; one frame more; 3 windows
LENGTHS = (8_000, 12_345, 63_999, 64_000, 64_001, 64_160, 64_480, 64_639, 64_640, 150_001)


@pytest.mark.parametrize("count", LENGTHS)
def test_speech_path_is_the_described_one(hubert: HubertSpeechEncoder, count: int) -> None:
    samples = noise(count / 16_000)
    expected = described(hubert, samples)
    features = encode(hubert, samples, len(expected))
    assert features.shape == expected.shape and not features.requires_grad
    assert float((features - expected).abs().max()) < 2e-5


def test_training_runs_through_the_same_path(hubert: HubertSpeechEncoder) -> None:
    samples = noise(4.0)
    sound = torch.from_numpy((samples - samples.mean()) / (samples.std() + 1e-5))
    features = hubert(sound[None], 100)
    assert torch.allclose(features[0], encode(hubert, samples, 100), atol=1e-5) and features.requires_grad


@pytest.mark.parametrize("frames", [1, 7, 100])
def test_one_feature_vector_a_frame(hubert: HubertSpeechEncoder, frames: int) -> None:
    features = encode(hubert, noise(frames / 25), frames)
    assert features.shape == (frames, hubert.feature_dim) and torch.isfinite(features).all()


def test_padding_gives_one_feature_per_320_samples() -> None:
    for length in (640, 16_000, 64_000, 64_040, 64_079, 64_080, 64_081, 64_100, 64_319):
        out = pad_for_convolutions(torch.randn(1, length)).shape[1]
        for kernel, stride in [(10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)]:
            out = (out - kernel) // stride + 1
        assert out == length // 320


def in_chunks(encoder: HubertSpeechEncoder, samples: np.ndarray, frames: int) -> torch.Tensor:
    calls: list[tuple[int, int]] = []
    encoder.ONE_PASS = 200  # type: ignore[misc]
    encoder.CHUNK, encoder.CONTEXT, encoder.FADE = 200, 50, 10  # type: ignore[misc]
    try:
        pieces = list(encoder.features(samples, frames, lambda *call: calls.append(call)))
    finally:
        for name in ("ONE_PASS", "CHUNK", "CONTEXT", "FADE"):
            delattr(encoder, name)
    assert len(pieces) == math.ceil(frames / 200) and max(map(len, pieces)) <= 210
    assert calls == [(i + 1, len(pieces)) for i in range(len(pieces))]
    return torch.cat(pieces)


@pytest.mark.parametrize(("seconds", "frames"), [(25.0, 700), (28.03, 700), (23.0, 601)])
def test_long_recordings_are_convolved_exactly(
    hubert: HubertSpeechEncoder, seconds: float, frames: int
) -> None:
    """Without its transformer, HuBERT in chunks is HuBERT in one pass."""

    class Unchanged(torch.nn.Module):
        def forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor]:
            return (hidden,)

    convolutions = copy.deepcopy(hubert)
    convolutions.hubert.encoder = Unchanged()
    samples = noise(seconds)
    whole = encode(convolutions, samples, frames)
    assert float((in_chunks(convolutions, samples, frames) - whole).abs().max()) < 1e-5


def test_long_recordings_come_near_one_pass(
    hubert: HubertSpeechEncoder, record_property: pytest.RecordProperty
) -> None:
    """Every state of HuBERT attends to the whole recording: chunks cannot equal one pass, and do not jump."""
    samples = noise(28.0)
    whole = encode(hubert, samples, 700)
    chunked = in_chunks(hubert, samples, 700)
    deviation = float((chunked - whole).abs().max() / whole.std())
    record_property("deviation_of_chunks", deviation)
    assert 1e-5 < deviation < 0.02
    # no seam where chunks meet: the deviation changes no faster there than the features do
    drift = (chunked - whole).diff(dim=0).abs().amax(1)
    assert float(drift[[199, 399, 599]].max()) < 0.5 * float(whole.diff(dim=0).abs().amax(1).mean())


def test_weights_from_a_local_folder(
    hubert: HubertSpeechEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hubert.hubert.save_pretrained(tmp_path)
    monkeypatch.setenv("DIFFPOSETALK_HUBERT", str(tmp_path))
    loaded = build_speech_encoder(HEARS_32)
    assert isinstance(loaded, HubertSpeechEncoder)
    assert torch.allclose(encode(loaded.eval(), noise(1), 25), encode(hubert, noise(1), 25), atol=1e-5)


def refused(config: SpeechEncoderConfig = HEARS_32) -> ModelError:
    with pytest.raises(ModelError) as caught:
        build_speech_encoder(config)
    assert "facebook/hubert-base-ls960" in caught.value.message and "\n" not in caught.value.message
    return caught.value


def test_folders_that_hold_no_hubert(
    hubert: HubertSpeechEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "hubert"
    monkeypatch.setenv("DIFFPOSETALK_HUBERT", str(folder))
    assert refused().kind == "hubert_missing"
    hubert.hubert.save_pretrained(folder)
    assert refused(SpeechEncoderConfig(kind="hubert", width=768)).kind == "hubert_kind"
    weights, config = folder / "model.safetensors", folder / "config.json"
    whole, settings = weights.read_bytes(), json.loads(config.read_text())
    weights.write_bytes(whole[: len(whole) // 2])
    assert refused().kind == "hubert_invalid"
    weights.write_bytes((10**9).to_bytes(8, "little") + whole[8:])
    assert refused().kind == "hubert_invalid"
    weights.unlink()
    assert refused().kind == "hubert_invalid"
    weights.write_bytes(whole)
    config.write_text(json.dumps({**settings, "num_hidden_layers": 3}))  # one layer would stay random
    assert refused().kind == "hubert_invalid"
    for text in ("{", "[]", json.dumps({**settings, "model_type": "wav2vec2"}), '{"model_type": "hubert"}'):
        config.write_text(text)
        assert refused().kind == "hubert_invalid"
    config.write_text(json.dumps(settings))
    weights.unlink()
    torch.save([1, 2], folder / "pytorch_model.bin")
    assert refused().kind == "hubert_invalid"


def test_a_pickle_among_the_weights_is_not_run(
    hubert: HubertSpeechEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hostile:
        def __reduce__(self) -> tuple:
            return (os.system, (f"touch {tmp_path / 'ran'}",))

    hubert.hubert.config.save_pretrained(tmp_path)
    monkeypatch.setenv("DIFFPOSETALK_HUBERT", str(tmp_path))
    weights = tmp_path / "pytorch_model.bin"
    for save, kind in (
        (lambda content: torch.save(content, weights), "pickle_refused"),
        (
            lambda content: torch.save(content, weights, _use_new_zipfile_serialization=False),
            "pickle_refused",
        ),
        (lambda content: weights.write_bytes(pickle.dumps(content)), "hubert_invalid"),  # not of torch.save
    ):
        save({"masked_spec_embed": Hostile()})
        with pytest.raises(ModelError) as caught:
            build_speech_encoder(HEARS_32)
        assert caught.value.kind == kind
        assert (".system" in caught.value.message) == (kind == "pickle_refused")
    assert not (tmp_path / "ran").exists()


OFFLINE = """
import socket, sys
def refuse(*arguments, **options):
    print("NETWORK", arguments[1:])
    raise OSError("no network in this test")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
import diffposetalk.networks.speech.build, diffposetalk.networks.checkpoint
print("transformers" in sys.modules)
from diffposetalk.config import SpeechEncoderConfig
from diffposetalk.errors import ModelError
try:
    encoder = diffposetalk.networks.speech.build.build_speech_encoder(
        SpeechEncoderConfig(kind="hubert", width=32, heads=2, depth=2)
    )
    print("found", encoder.feature_dim)
except ModelError as error:
    print(error.kind)
"""


def test_the_hugging_face_cache_is_read_and_never_filled(hubert: HubertSpeechEncoder, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "DIFFPOSETALK_HUBERT"))}

    def ask(home: Path) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", OFFLINE],
            capture_output=True,
            text=True,
            env={**environment, "HF_HOME": str(home)},
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout.split()

    empty, filled = tmp_path / "empty", tmp_path / "filled"
    empty.mkdir()
    assert ask(empty) == ["False", "hubert_missing"]
    assert not any(p.is_file() for p in empty.rglob("*"))
    repository = filled / "hub" / "models--facebook--hubert-base-ls960"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    # as it was published in 2021: options that are gone, a pickle, the old names of the normalised weight
    options = {
        "activation_dropout": 0.1,
        "architectures": ["HubertModel"],
        "feat_extract_dropout": 0.0,
        "feat_extract_norm": "group",
        "gradient_checkpointing": False,
        "hidden_dropout_prob": 0.1,
        "layerdrop": 0.1,
        "mask_time_prob": 0.05,
        "model_type": "hubert",
        "num_feat_extract_layers": 7,
        "tokenizer_class": "Wav2Vec2CTCTokenizer",
        "torch_dtype": "float32",
        "transformers_version": "4.10.0.dev0",
        "vocab_size": 32,
    }
    (snapshot / "config.json").write_text(json.dumps({**options, **SMALL_HUBERT}))
    state = {}
    for name, value in hubert.hubert.state_dict().items():
        name = name.replace("parametrizations.weight.original0", "weight_g")
        state[name.replace("parametrizations.weight.original1", "weight_v")] = value
    assert len(state) == len(hubert.hubert.state_dict()) and any(k.endswith("weight_g") for k in state)
    torch.save(state, snapshot / "pytorch_model.bin")
    assert ask(filled) == ["False", "found", "32"]
