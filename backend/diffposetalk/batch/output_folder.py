# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder that a batch writes into: one batch at a time, nothing outside it, no remains of a killed one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutputError

LOCK_NAME = ".diffposetalk-batch.lock"


@contextmanager
def output_folder(folder: str | Path) -> Iterator[Path]:
    """Hold the folder for one batch, given as an absolute path; the system lets go of it even where that is killed.

    Raises:
        OutputError: it cannot be made or written to, or (kind output_busy) another batch has it.
    """
    folder = Path(folder).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
    except (OSError, ValueError) as error:
        raise OutputError(f"The folder “{folder}” cannot be written to: {error}.") from error
    try:
        if not _lock(handle):
            text = f"Another batch is writing into “{folder}”. Wait for it, or choose another folder."
            raise OutputError(text, "output_busy")
        for part in folder.rglob(".part-*.npz"):
            part.unlink(missing_ok=True)
        yield folder
    finally:
        os.close(handle)


def clip_path(folder: Path, name: str) -> Path:
    """Where a clip of that name goes; its folder is made.

    Raises:
        OutputError: a link on the way leads out of the folder, or it cannot be written to.
    """
    path = folder / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        inside = path.parent.resolve().is_relative_to(folder.resolve())
    except OSError as error:
        raise OutputError(f"The folder “{path.parent}” cannot be made: {error.strerror}.") from error
    if not inside or path.is_symlink():
        raise OutputError(
            f"“{name}” would lie outside the output folder: a link leads there.", "output_outside"
        )
    return path


def _lock(handle: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
