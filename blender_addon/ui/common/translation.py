# SPDX-License-Identifier: GPL-3.0-or-later
"""Other languages for the interface; Blender chooses the one of its preferences.

A language is a file of English texts and their translations. Another is added by writing one and naming it here;
`tests/addon/ui/test_translation.py` says which texts are missing.
"""

import json
from pathlib import Path

import bpy

from ...version import ADDON

FOLDER = Path(__file__).parents[2] / "languages"
LANGUAGES = {"de": ("de_DE", "de")}  # file to Blender's names for it, which differ by its version
CONTEXTS = ("*", "Operator")  # where Blender looks labels and buttons up


def texts(language: str) -> dict[str, str]:
    translations: dict[str, str] = json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    return translations


def catalogue() -> dict[str, dict[tuple[str, str], str]]:
    """All languages as Blender takes them: context and English text to the translation."""
    return {
        name: {
            (context, text): translation
            for text, translation in texts(language).items()
            for context in CONTEXTS
        }
        for language, names in LANGUAGES.items()
        for name in names
    }


def register() -> None:
    bpy.app.translations.register(ADDON, catalogue())


def unregister() -> None:
    bpy.app.translations.unregister(ADDON)
