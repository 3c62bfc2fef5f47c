# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged recordings, models, heads, motion, styles and checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from .targets import Target, audio_target, fuzz, model_targets

AUDIO_FILES = 500
MODEL_FILES = 40
"""Of each of the kinds, more than 500 together."""


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    """Models, heads and the like."""
    return model_targets(tmp_path_factory.mktemp("good"))


def test_recordings(tmp_path: Path) -> None:
    found = fuzz(audio_target(), tmp_path / "audio", AUDIO_FILES, seed=1)
    assert found.cases == AUDIO_FILES
    assert found.accepted > 20 and len(found.refused) > 3  # neither all good nor all refused at the door


KINDS = (
    *("config.json", "styles.json", "model.safetensors", "head", "motion", "reconstruction", "motion table"),
    *("style file", "style reference", "style vector", "identity", "checkpoint", "conversion", "FLAME"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_models_and_assets(targets: dict[str, Target], tmp_path: Path, kind: str) -> None:
    found = fuzz(targets[kind], tmp_path / "models", MODEL_FILES, seed=2)
    assert found.cases == MODEL_FILES and sum(found.refused.values()) > 0
    assert not list(tmp_path.rglob("outside*")) and not Path("outside").exists()


def test_no_kind_is_left_out(targets: dict[str, Target]) -> None:
    assert set(targets) == set(KINDS) and MODEL_FILES * len(KINDS) >= 500
