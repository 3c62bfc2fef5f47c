# SPDX-License-Identifier: GPL-3.0-or-later
"""HuBERT trained along with the denoiser: which layers learn, what they hear, and that the model holds them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.paths import BUNDLED_HEAD
from support.training_sets import (
    bundled_assets,  # noqa: F401
    made_set,
    write_recipe,
)

from diffposetalk.cli import main
from diffposetalk.generation.batching import generate
from diffposetalk.head.head_model import load_head
from diffposetalk.networks.checkpoint import load_model
from diffposetalk.networks.speech.encoder import encode
from diffposetalk.networks.speech.hubert import HubertSpeechEncoder
from diffposetalk.sound.audio import SpeechAudio
from diffposetalk.train.denoiser_training import BatchSource, TwoWindowLosses
from diffposetalk.train.new_model import recipe_model
from diffposetalk.train.recipe import read_recipe

LEARNS = "train_speech_encoder = true\nfrozen_speech_layers = 1"


@pytest.fixture(scope="module")
def hubert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a narrow HuBERT of the base kind, with random weights."""
    torch.manual_seed(0)
    encoder = HubertSpeechEncoder.from_config(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=128
    )
    folder = tmp_path_factory.mktemp("hubert")
    encoder.hubert.save_pretrained(folder)
    return folder


def test_upper_layers_learn_and_are_exported(hubert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DIFFPOSETALK_HUBERT", str(hubert))
    made_set(features=0, sound=True).save(tmp_path / "set")
    recipe = write_recipe(tmp_path, LEARNS)
    recipe.write_text(recipe.read_text().replace("batch = 4", "batch = 2"))
    command = ["--work", str(tmp_path)]
    train = [*command, "--config", str(recipe), "--device", "cpu"]
    assert main(["train", "style", *train]) == 0
    assert main(["train", "denoiser", *train, "--iterations", "2"]) == 0
    monkeypatch.delenv("DIFFPOSETALK_HUBERT")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nothing"))
    assert main(["train", "export", *command, "--out", str(tmp_path / "model")]) == 0
    model = load_model(tmp_path / "model", "cpu", "float32")
    assert isinstance(model.speech_encoder, HubertSpeechEncoder)
    before = HubertSpeechEncoder.from_folder(hubert).state_dict()
    after = model.speech_encoder.state_dict()
    frozen = ("hubert.feature_extractor.", "hubert.feature_projection.", "hubert.encoder.layers.0.")
    for name, value in before.items():
        assert torch.equal(value, after[name]) is name.startswith(frozen) or "k_proj.bias" in name, name
    samples = (0.1 * np.random.default_rng(0).standard_normal(32_000)).astype(np.float32)
    speech = SpeechAudio(samples, 16_000, 1, 2.0, "0" * 64, "noise.wav")
    [clip] = generate(model, speech, style=None, seeds=[0])
    assert len(clip) == 50 and np.isfinite(clip.exp).all()


def test_it_hears_as_at_generation(hubert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A recording of two windows: both heard in one pass; one that ends in the first window, by itself."""
    monkeypatch.setenv("DIFFPOSETALK_HUBERT", str(hubert))
    recipe = read_recipe(str(write_recipe(tmp_path, LEARNS)))
    data = made_set(features=0, sound=True)
    data.sequences = [replace(s, frames=40) for s in data.sequences]
    model = recipe_model(recipe, data, load_head(BUNDLED_HEAD))
    settings = replace(recipe.denoiser, truncate_first=0.5, truncate_second=0.5, batch=6)
    batch = BatchSource(data, model, settings).draw(0, 0)
    losses = TwoWindowLosses(model, None, None, settings).eval()
    with torch.no_grad():
        first, second, before = losses.hear(batch)
    assert (batch.real[0] < 20).any() and (batch.real[0] == 20).any() and (batch.real[1] < 20).any()
    encoder = model.speech_encoder

    def heard(sound: torch.Tensor, frames: int) -> torch.Tensor:
        samples = sound.numpy()
        scaled = encode(encoder, samples, frames)
        return model.speech_proj(scaled)

    for k in range(6):
        sound = batch.speech[k].clone()
        length = int(batch.real[1][k])
        # The sound is normalised already, over the whole recording: give `encode` one that it leaves as it is.
        sound[(20 + length) * 640 :] = 0
        with torch.no_grad():
            both = model.speech_proj(encoder(sound[None], 40))[0]
            assert torch.allclose(second[k], both[20:], atol=1e-5)
            assert torch.allclose(before[k], both[15:20], atol=1e-5)
            if batch.real[0][k] == 20:
                assert torch.allclose(first[k], both[:20], atol=1e-5)
                if length == 20:
                    assert torch.allclose(torch.cat([first[k], second[k]]), heard(sound, 40), atol=2e-3)
            else:
                alone = batch.speech[k][: 20 * 640].clone()
                alone[int(batch.real[0][k]) * 640 :] = 0
                assert torch.allclose(first[k], model.speech_proj(encoder(alone[None], 20))[0], atol=1e-5)


def test_a_set_without_sound_is_refused(
    hubert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setenv("DIFFPOSETALK_HUBERT", str(hubert))
    made_set().save(tmp_path / "set")
    train = ["--work", str(tmp_path), "--config", str(write_recipe(tmp_path, LEARNS)), "--device", "cpu"]
    assert main(["train", "style", *train]) == 0
    assert main(["train", "denoiser", *train]) == 2
    assert "sound" in capsys.readouterr().err
