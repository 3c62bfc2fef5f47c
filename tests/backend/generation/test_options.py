# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a generation, and their like in the add-on, which knows nothing of the backend."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from support.paths import ROOT

from diffposetalk import config
from diffposetalk.diffusion import samplers
from diffposetalk.errors import DiffPoseTalkError
from diffposetalk.generation import draft, options
from diffposetalk.generation.line import Line
from diffposetalk.generation.options import GenerationOptions
from diffposetalk.sound.audio import SpeechAudio

sys.path.insert(0, str(ROOT / "blender_addon"))

addon = importlib.import_module("data.generation_options")
UserError = importlib.import_module("data.errors").UserError

OTHERS: dict[str, Any] = {
    "seeds": (3, 2**63 - 1),
    "style": {"mix": [{"preset": "calm"}, {"vector": "style.npy"}], "amounts": [0.25, 0.75]},
    "shape": "shape.npy",
    "head_pose": False,
    "speech_guidance": 1.5,
    "style_guidance": 0.0,
    "sampler": "ddpm",
    "steps": 7,
    "threshold": (0.99, 1.0, 4.0),
    "quality": "draft",
}
"""For each field a value that is not its default."""


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that OTHERS names."""
    monkeypatch.chdir(tmp_path)
    for name in ("style.npy", "shape.npy"):
        np.save(tmp_path / name, np.arange(len(name)))
    return tmp_path


def test_both_sides_are_alike() -> None:
    mirror = addon.GenerationOptions
    assert [f.name for f in fields(GenerationOptions)] == [f.name for f in fields(mirror)] == list(OTHERS)
    assert GenerationOptions().to_params() == mirror().to_params()
    assert get_type_hints(GenerationOptions) == get_type_hints(mirror)
    assert set(addon.SAMPLERS) == set(samplers.SAMPLERS) and addon.QUALITIES == config.QUALITIES
    assert (addon.GUIDANCE_LIMIT, addon.FILES) == (options.GUIDANCE_LIMIT, options.FILES)
    assert addon.BUILT_IN == draft.BUILT_IN


@pytest.mark.parametrize("names", [*([name] for name in OTHERS), list(OTHERS), []])
def test_what_one_side_says_the_other_understands(names: list[str]) -> None:
    values = {name: OTHERS[name] for name in names}
    ours, theirs = GenerationOptions(**values), addon.GenerationOptions(**values)
    assert GenerationOptions.from_params(theirs.to_params()) == ours
    assert addon.GenerationOptions.from_params({**ours.to_params(), "audio": "line.wav"}) == theirs
    assert ours.key() == theirs.key()


def test_every_field_counts() -> None:
    keys = {GenerationOptions(**{name: value}).key() for name, value in OTHERS.items()}
    assert len(keys | {GenerationOptions().key()}) == len(OTHERS) + 1


@pytest.mark.parametrize("side", [GenerationOptions, addon.GenerationOptions])
def test_files_count_by_content(files: Path, side: Any) -> None:
    before = side(**OTHERS).key()
    os.utime(files / "style.npy", (1, 1))
    assert side(**OTHERS).key() == before
    (files / "style.npy").rename(files / "moved.npy")
    style = {**OTHERS["style"], "mix": [{"preset": "calm"}, {"vector": "moved.npy"}]}
    assert side(**OTHERS | {"style": style}).key() == before
    np.save(files / "moved.npy", np.arange(9) + 1)
    assert side(**OTHERS | {"style": style}).key() != before
    with pytest.raises((OSError, UserError)):
        side(**OTHERS).key()


@pytest.mark.parametrize(
    "wrong",
    [
        {"seeds": ()},
        {"seeds": (-1,)},
        {"seeds": (2**63,)},
        {"speech_guidance": 21.0},
        {"style_guidance": float("nan")},
        {"sampler": "euler"},
        {"steps": 0},
        {"quality": "best"},
    ],
)
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DiffPoseTalkError):
        GenerationOptions(**wrong)
    with pytest.raises(UserError):
        addon.GenerationOptions(**wrong)


@pytest.mark.parametrize("wrong", [{"seeds": 3}, {"steps": "ten"}, {"colour": "red"}, {"threshold": [1.0]}])
def test_params_of_wrong_types_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DiffPoseTalkError) as caught:
        GenerationOptions.from_params(wrong)
    assert caught.value.kind == "settings_format"


def test_a_draft_has_its_own_sampling() -> None:
    asked = addon.GenerationOptions(**OTHERS).without_built_in()
    assert all(getattr(asked, name) is None for name in draft.BUILT_IN) and asked.quality == "draft"
    final = replace(addon.GenerationOptions(**OTHERS), quality="final")
    assert final.without_built_in() == final


def test_a_line_wants_what_its_options_name() -> None:
    audio = SpeechAudio(np.zeros(16_000, np.float32), 16_000, 1, 1.0, "", "")
    with pytest.raises(DiffPoseTalkError, match="read it first"):
        Line(audio, GenerationOptions(style={"preset": "calm"}))
