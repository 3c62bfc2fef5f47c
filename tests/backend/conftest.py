# SPDX-License-Identifier: GPL-3.0-or-later
"""A small model with random weights, and a recording, for tests of what surrounds the model."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from support.paths import BUNDLED_HEAD
from support.tiny_model import save_tiny_model

from diffposetalk.networks.checkpoint import load_model
from diffposetalk.networks.model import DiffPoseTalk

# Tiny networks run no slower on one thread, and on a busy machine far faster; processes started here inherit it.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where the backend is installed away from the source, it does not find the bundled head and model by itself.
os.environ["DIFFPOSETALK_HEAD"] = str(BUNDLED_HEAD)
os.environ["DIFFPOSETALK_MODEL"] = str(BUNDLED_HEAD.parents[1] / "model")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests, and the processes they start, leave the user's cache alone."""
    os.environ["DIFFPOSETALK_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["DIFFPOSETALK_DATA"] = str(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a model with random weights and one style, “calm”."""
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> DiffPoseTalk:
    """That model, loaded."""
    return load_model(tiny_model, "cpu", "float32")


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of modulated noise at 16 kHz, in a path with spaces and letters beyond ASCII."""
    folder = tmp_path_factory.mktemp("sound") / "Aufnahmen für Ödön 日本"
    folder.mkdir()
    rng = np.random.default_rng(0)
    samples = 0.2 * rng.standard_normal(96_000) * np.abs(np.sin(np.arange(96_000) / 3_000))
    soundfile.write(folder / "a line.wav", samples, 16_000)
    return folder / "a line.wav"
