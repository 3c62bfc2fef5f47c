# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's style library: a folder of style files, each named as its style. No bpy here.

The command line shares the folder. A style file is NumPy's `.npz`: `meta` (JSON text), `vector`, `thumbnail` (a PNG's
bytes) and the motion it was read from; the backend writes and reads it, here it is listed, moved and copied.
"""

import contextlib
import json
import os
import shutil
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .array_file import plain_arrays
from .errors import UserError

SUFFIX = ".dptstyle"
FORMAT = "diffposetalk style"
ENVIRONMENT_VARIABLE = "DIFFPOSETALK_STYLES"
MAX_NAME = 80
MAX_META = 1 << 20  # bytes of a file's text, and of its thumbnail
_FORBIDDEN = '<>:"/\\|?*'
_RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))}


@dataclass(frozen=True)
class LibraryStyle:
    """A file of the library.

    description, figures: words of the user's, and what was measured, in one line.
    basis, model: of the model it was made with.
    problem: why it cannot be used; empty where it can.
    """

    name: str
    path: Path
    description: str = ""
    figures: str = ""
    basis: str = ""
    model: str = ""
    problem: str = ""


def default_folder() -> Path:
    """The folder that the command line uses as well: DIFFPOSETALK_STYLES, or the user's own by the system's custom."""
    if os.environ.get(ENVIRONMENT_VARIABLE):
        return Path(os.environ[ENVIRONMENT_VARIABLE])
    if os.environ.get("DIFFPOSETALK_DATA"):
        return Path(os.environ["DIFFPOSETALK_DATA"]) / "styles"
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "diffposetalk" / "styles"


def list_styles(folder: Path) -> list[LibraryStyle]:
    """The styles of the library by name; none where the folder is missing or cannot be read."""
    try:
        paths = [p for p in folder.iterdir() if p.suffix.lower() == SUFFIX and not p.name.startswith(".")]
    except OSError:
        return []
    return [read_entry(path) for path in sorted(paths, key=lambda p: p.name.casefold())]


def read_entry(path: Path) -> LibraryStyle:
    """What a style file says of itself; its `problem` says where it is damaged."""
    try:
        meta = json.loads(str(_array(path, "meta")))
        if meta["format"] != FORMAT:
            raise ValueError("format")
        measures = figures_text(meta.get("measures"))
        return LibraryStyle(
            path.stem, path, str(meta["description"]), measures, str(meta["basis"]), str(meta["model"])
        )
    except (OSError, OverflowError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "the file is damaged"
        return LibraryStyle(path.stem, path, problem=f"“{path.name}” cannot be used: {reason}.")


def thumbnail(path: Path) -> bytes:
    """The PNG in a style file; empty where there is none."""
    try:
        return _array(path, "thumbnail").astype(np.uint8).tobytes()
    except (OSError, OverflowError, ValueError, KeyError, TypeError):
        return b""


def figures_text(measures: Any) -> str:
    """Measures as the protocol has them, in one line, as the backend words them; empty where there are none."""
    known = measures if isinstance(measures, dict) else {}
    figures = {name: value for name, value in known.items() if isinstance(value, int | float)}
    tempo = figures.get("head_tempo", 0.0)
    every = f" about every {1 / tempo:.1f} s" if tempo > 0 else ""
    parts = [
        text.format(scale * figures[name])
        for name, text, scale in (
            ("mouth_opening", "mouth opens {:.0f} mm", 1),
            ("lip_activity", "lips move {:.0f} mm/s", 1),
            ("brow_activity", "brows move {:.0f} %", 100),
            ("head_amplitude", "head moves {:.1f}°" + every, 1),
            ("blinks", "{:.0f} blinks a minute", 1),
        )
        if name in figures
    ]
    return ", ".join(parts)


def check_name(name: str) -> str:
    """The name without blanks around it. Raises UserError where no file can be called so."""
    name = name.strip()
    if not name or len(name) > MAX_NAME or name[0] == "." or name[-1] == ".":
        raise UserError(f"A style's name has 1 to {MAX_NAME} characters, and no dot at its beginning or end.")
    if not all(map(_writable, name)) or name.split(".")[0].casefold() in _RESERVED:
        raise UserError(
            f"A style's name is its file's: it cannot be “{name}”. Leave out {_FORBIDDEN} and line breaks."
        )
    return name


def _writable(character: str) -> bool:
    return character not in _FORBIDDEN and unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")


def free_name(folder: Path, name: str) -> str:
    """The name, with a number where the library has a style of that name."""
    taken = {style.name.casefold() for style in list_styles(folder)}
    name = check_name(name)
    free, number = name, 2
    while free.casefold() in taken:
        free, number = f"{name[: MAX_NAME - 5]} {number}", number + 1
    return free


def name_from(path: str | Path) -> str:
    """A style's name from a file's."""
    stem = Path(path).stem.replace("_", " ").strip(" .")
    kept = "".join(filter(_writable, stem))[:60].strip(" .")
    return kept or "Style"


def prepare_folder(folder: Path) -> Path:
    """Make the library's folder where need be, and see that it can be written to.

    Raises:
        UserError: it cannot.
    """
    with _changing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    return folder


def rename_style(style: LibraryStyle, name: str) -> Path:
    """Give a style another name. Raises UserError: the name cannot be, or is taken; the folder is read-only."""
    target = style.path.with_name(check_name(name) + SUFFIX)
    same = target.name.casefold() == style.path.name.casefold()
    if not same and target.exists():
        raise UserError(f"The style library already has a style “{target.stem}”.")
    with _changing(style.path.parent):
        return style.path.rename(target)


def delete_style(style: LibraryStyle) -> None:
    """Remove a style's file. Raises UserError: the folder is read-only."""
    with _changing(style.path.parent):
        style.path.unlink()


def import_style(folder: Path, path: Path) -> Path:
    """Copy a style file into the library, under a free name. Raises UserError: it is damaged, or none."""
    entry = read_entry(path)
    if entry.problem:
        raise UserError(entry.problem)
    target = prepare_folder(folder) / (free_name(folder, entry.name) + SUFFIX)
    return copy_style(path, target)


def export_style(style: LibraryStyle, target: Path) -> Path:
    """Copy a style out of the library. Raises UserError: it cannot be written there."""
    if target.suffix.lower() != SUFFIX:
        target = target.with_name(target.name + SUFFIX)
    return copy_style(style.path, target)


def copy_style(source: Path, target: Path) -> Path:
    """Copy a style's file whole or not at all. Raises UserError: the folder is read-only."""
    part = target.with_name(f".part-{os.getpid()}-{target.name}")
    try:
        with _changing(target.parent):
            shutil.copyfile(source, part)
            os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


@contextlib.contextmanager
def _changing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"“{folder}” cannot be written to: {reason}. Nothing was changed.") from error


def _array(path: Path, name: str) -> np.ndarray:
    """One small array of a style file. Raises OSError, OverflowError, ValueError or KeyError."""
    return plain_arrays(path, (name,), MAX_META)[name]
