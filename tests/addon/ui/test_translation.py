# SPDX-License-Identifier: GPL-3.0-or-later
"""Every text of the interface is translated, and no translation is left over."""

import string

import bpy
import pytest
from support.ui_strings import ui_strings


@pytest.fixture(scope="module")
def texts(addon):
    """What the interface says."""
    return ui_strings(addon)


def test_extraction_finds_labels_tooltips_choices_and_what_panels_draw(texts):
    assert {
        "Generate",  # a button
        "Cancel the running job; nothing is changed",  # its tooltip
        "Recording of speech: WAV, FLAC, OGG, MP3, M4A, or a film, whose sound is taken",  # a property's
        "Third order, predicted and corrected: the fewest steps",  # a choice's
        "First Animation in Three Clicks",  # drawn
        "Start, Seed and Head",  # a panel
        "Keyed {takes} on {names}, frames {first} to {last}",  # what a button says in the end
        "Making the motion",  # what a job says meanwhile
    } <= set(texts)
    assert len(texts) > 350


def test_german_is_complete(texts, part):
    german = part("ui.common.translation").texts("de")
    assert [text for text in texts if text not in german] == []
    assert [text for text in german if text not in texts] == []


def test_translations_are_sound(part):
    for english, german in part("ui.common.translation").texts("de").items():
        assert german and german.endswith(".") == english.endswith("."), english
        names = [
            [field for _, field, _, _ in string.Formatter().parse(text) if field]
            for text in (english, german)
        ]
        assert names[0] == names[1], english


def test_blender_knows_them(part):
    catalogue = part("ui.common.translation").catalogue()
    assert catalogue["de_DE"]["Operator", "Generate"] == catalogue["de"]["*", "Generate"] == "Erzeugen"
    if bpy.app.build_options.international:
        view = bpy.context.preferences.view
        view.language = next(name for name in ("de_DE", "de") if name in bpy.app.translations.locales)
        assert bpy.app.translations.pgettext("Generate", "Operator") == "Erzeugen"
