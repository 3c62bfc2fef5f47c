# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled model speaks the validation clips of the tracked speaker as he does (needs ../shared)."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffposetalk.checkpoint import load_model
from diffposetalk.evaluate.speaker import evaluate_speaker

from .conftest import BUNDLED_HEAD

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "data" / "grid_s1"


@pytest.mark.shared
@pytest.mark.skipif(not CORPUS.is_dir(), reason="needs ../shared/data/grid_s1")
def test_lips_follow_the_real_speaker(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DIFFPOSETALK_HEAD", str(BUNDLED_HEAD))
    model = load_model(device="cpu")
    figures = evaluate_speaker(model, CORPUS, model.styles[model.config.sampling.style].vector, clips=24)
    assert figures["opening correlation"] >= 0.6 and abs(figures["lag (frames)"]) <= 1
    assert figures["closure"] >= 0.85 and figures["opening"] >= 0.85
    assert figures["bilabials"] > 30 and figures["open vowels"] > 50
