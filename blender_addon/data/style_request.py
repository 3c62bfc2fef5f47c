# SPDX-License-Identifier: GPL-3.0-or-later
"""A word that names a style, as the protocol has it; the backend's `styles.request` reads the same words."""

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from . import style_library
from .errors import UserError

MOTION_SUFFIXES = (".npz", ".csv", ".json")
VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".mts", ".ts")
NONE = "none"
_KINDS = {".npy": "vector", style_library.SUFFIX: "file"} | dict.fromkeys(
    MOTION_SUFFIXES + VIDEO_SUFFIXES, "motion"
)
_AMOUNT = re.compile(r"(?P<amount>\d+(?:\.\d+)?)\s*%?\s+(?P<word>\S.*)")
_WINDOW = re.compile(r"(?P<file>.+)@(?P<window>auto|mean|\d+)")


def style_params(
    word: str,
    place: Callable[[str], str] = str,
    own: Mapping[str, Path] | None = None,
    presets: Collection[str] = (),
) -> dict[str, Any]:
    """The style that a word names: `calm`, `Anna`, `library:Anna`, `take.csv@120`, `0.7 calm + 0.3 Anna`, `none`.

    Args:
        place: where the file at a path lies.
        own: files of the library's styles by their names; None leaves names to the backend.
        presets: ids of the model's, which go before names of the library.

    Raises:
        UserError: the library has no such style.
    """
    word = word.strip()
    parts = [_AMOUNT.fullmatch(part) for part in re.split(r"\s\+\s+", word)]
    if len(parts) > 1 and (mixed := [part for part in parts if part]) and len(mixed) == len(parts):
        styles = [style_params(part["word"], place, own, presets) for part in mixed]
        return {"mix": styles, "amounts": [float(part["amount"]) for part in mixed]}
    files = {name.casefold(): str(path) for name, path in (own or {}).items()}
    if word.startswith("library:"):
        name = word.removeprefix("library:").strip()
        if own is not None and name.casefold() not in files:
            raise UserError(f"The style library has no style “{name}”.")
        return {"library": name} if own is None else {"file": files[name.casefold()]}
    window: dict[str, Any] = {}
    if (match := _WINDOW.fullmatch(word)) and _kind(match["file"]) == "motion":
        word, chosen = match["file"], match["window"]
        if chosen != "auto":
            window = {"start_frame": int(chosen)} if chosen.isdecimal() else {"window": chosen}
    if kind := _kind(word):
        return {kind: place(word), **window}
    if word.casefold() in files and word not in (NONE, *presets):
        return {"file": files[word.casefold()]}
    return {"preset": word}


def _kind(word: str) -> str:
    return _KINDS.get(Path(word).suffix.lower(), "")
