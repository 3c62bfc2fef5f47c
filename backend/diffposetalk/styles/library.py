# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's style library: a folder of style files, each named as its style.

It lies outside of any version's installation, and is plain files: copying the folder copies the library. Blender's
add-on and the command line share it. A file in it that is damaged is reported and left alone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import StyleError
from ..files.file_name import FORBIDDEN, has_hidden_ends, is_allowed, is_writable, with_suffix
from ..files.user_folder import user_data_folder
from ..files.whole_file import whole_file
from .style_file import SUFFIX, Style, load_style, save_style

ENVIRONMENT_VARIABLE = "DIFFPOSETALK_STYLES"
MAX_NAME = 80


@dataclass(frozen=True)
class Entry:
    """A file of the library: its style, or (`style` None) what is wrong with it."""

    name: str
    path: Path
    style: Style | None
    problem: str = ""


def library_folder(folder: str | Path | None = None) -> Path:
    """The library's folder: the one given, that of DIFFPOSETALK_STYLES, or the user's own. It need not exist yet."""
    chosen = folder or os.environ.get(ENVIRONMENT_VARIABLE)
    return Path(chosen) if chosen else user_data_folder() / "styles"


def list_styles(folder: Path) -> list[Entry]:
    """The library's files by name; none where the folder does not exist.

    Raises:
        StyleError: `style_library`; the folder cannot be read.
    """
    entries = []
    for path in _files(folder):
        try:
            entries.append(Entry(path.stem, path, load_style(path)))
        except StyleError as error:
            entries.append(Entry(path.stem, path, None, error.message))
    return entries


def find_style(folder: Path, name: str) -> Path:
    """The file of a style, by its name in any case.

    Raises:
        StyleError: `style_missing`, `style_library`.
    """
    for path in _files(folder):
        if path.stem.casefold() == name.casefold():
            return path
    raise StyleError(f"The style library has no style “{name}”.", "style_missing")


def add_style(folder: Path, style: Style, replace: bool = False) -> Path:
    """Save a style into the library, whose folder is made if need be.

    Raises:
        StyleError: `style_name`, a name that cannot be a file's; `style_exists`, unless `replace`; `style_library`.
    """
    name = check_name(style.name)
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    taken = {path.stem.casefold(): path for path in _files(folder)}
    if name.casefold() in taken and not replace:
        raise _exists(name)
    return save_style(taken.get(name.casefold(), folder / (name + SUFFIX)), style)


def rename_style(folder: Path, old: str, new: str) -> Path:
    """Give a style another name.

    Raises:
        StyleError: `style_missing`, `style_name`, `style_exists`, `style_library`.
    """
    path = find_style(folder, old)
    name = check_name(new)
    target = path.with_name(name + SUFFIX)
    others = {p.stem.casefold() for p in _files(folder) if p != path}
    if name.casefold() in others:
        raise _exists(name)
    with _writing(folder):
        path.rename(target)
    return target


def delete_style(folder: Path, name: str) -> None:
    """Remove a style's file.

    Raises:
        StyleError: `style_missing`, `style_library`.
    """
    with _writing(folder):
        find_style(folder, name).unlink()


def import_style(folder: Path, path: str | Path) -> Path:
    """Copy a style file into the library; where its name is taken a number is added.

    Raises:
        StyleError: it is no style file; `style_library`.
    """
    style = load_style(path)
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    taken = {p.stem.casefold() for p in _files(folder)}
    name, number = check_name(style.name), 2
    while name.casefold() in taken:
        name, number = f"{style.name[: MAX_NAME - 5]} {number}", number + 1
    return _copy(Path(path), folder / (name + SUFFIX))


def export_style(folder: Path, name: str, target: str | Path) -> Path:
    """Copy a style out of the library, to a file or into a folder.

    Raises:
        StyleError: `style_missing`, `style_library`, `style_write`.
    """
    source = find_style(folder, name)
    target = Path(target)
    return _copy(source, target / source.name if target.is_dir() else with_suffix(target, SUFFIX))


def check_name(name: str) -> str:
    """The name, without blanks around it. Raises StyleError `style_name` where no file can be called so."""
    name = name.strip()
    if has_hidden_ends(name) or len(name) > MAX_NAME:
        raise StyleError(
            f"A style's name has 1 to {MAX_NAME} characters, and no dot at its beginning or end.",
            "style_name",
        )
    if not is_allowed(name):
        raise StyleError(
            f"A style's name is its file's: it cannot be “{name}”. Leave out {FORBIDDEN} and line breaks, and names "
            "that Windows keeps for itself (con, nul, com1, …).",
            "style_name",
        )
    return name


def named_after(path: str | Path) -> str:
    """A style's name from a file's."""
    stem = Path(path).stem.replace("_", " ").strip(" .")
    kept = "".join(filter(is_writable, stem))
    return kept[:60].strip(" .") or "Style"


def _files(folder: Path) -> list[Path]:
    if not folder.exists():
        return []
    try:
        files = [p for p in folder.iterdir() if p.suffix.lower() == SUFFIX and not p.name.startswith(".")]
    except OSError as error:
        raise StyleError(
            f"The style library “{folder}” cannot be read: {error.strerror or error}.", "style_library"
        ) from error
    return sorted(files, key=lambda p: p.name.casefold())


def _copy(source: Path, target: Path) -> Path:
    try:
        with source.open("rb") as reader, whole_file(target, StyleError, "style_write") as writer:
            shutil.copyfileobj(reader, writer)
    except OSError as error:
        raise StyleError(f"“{source}” cannot be read: {error.strerror or error}.", "style_library") from error
    return target


def _exists(name: str) -> StyleError:
    return StyleError(f"The style library already has a style “{name}”.", "style_exists")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StyleError(
            f"The style library “{folder}” cannot be written to: {error.strerror or error}. Nothing was changed.",
            "style_library",
        ) from error
