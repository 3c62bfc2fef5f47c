# SPDX-License-Identifier: GPL-3.0-or-later
"""What the add-on says of styles itself, since it shares no code with the backend, is what the backend says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.addon_data import addon_data

from diffposetalk.errors import StyleError
from diffposetalk.motion.style_measures import StyleMeasures
from diffposetalk.styles import library


@pytest.mark.parametrize(
    ("measures", "words"),
    [
        (
            StyleMeasures(17.2, 19.6, 0.108, 4.69, 0.362, 12.7, 33.0),
            "mouth opens 17 mm, lips move 20 mm/s, brows move 11 %, head moves 4.7° about every 2.8 s, "
            "13 blinks a minute",
        ),
        (
            StyleMeasures(9.0, 3.0, None, 0.1, 0.0, None, 4.0),
            "mouth opens 9 mm, lips move 3 mm/s, head moves 0.1°",
        ),
    ],
)
def test_figures_are_worded_alike(measures: StyleMeasures, words: str) -> None:
    assert str(measures) == words == addon_data("style_library").figures_text(measures.to_dict())
    assert addon_data("style_library").figures_text(None) == ""


@pytest.mark.parametrize("system", ["win32", "darwin", "linux"])
def test_the_library_lies_in_the_same_folder(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", system)
    for variables in ({}, {"DIFFPOSETALK_DATA": "/data"}, {"DIFFPOSETALK_STYLES": "/mine"}):
        for name in ("DIFFPOSETALK_DATA", "DIFFPOSETALK_STYLES", "APPDATA", "XDG_DATA_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        folder = library.library_folder()
        assert folder == addon_data("style_library").default_folder() and folder.is_absolute()
        assert Path("/mine") == folder or folder.name == "styles"


@pytest.mark.parametrize(
    "name",
    ["Anna", " Zwei ü ", "Ödön 日本", "نام\u200cها", "a.b", "", "a/b", ".a", "a.", "con", "LPT1.x", "a\nb", "a\u2028b"],
)  # fmt: skip
def test_the_same_names_are_taken(name: str) -> None:
    def backend() -> str:
        try:
            return library.check_name(name)
        except StyleError:
            return ""

    def blender() -> str:
        try:
            return str(addon_data("style_library").check_name(name))
        except addon_data("errors").UserError:
            return ""

    assert backend() == blender()
