# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing folders whole or not at all, as `whole_file` does files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutputError
from .whole_file import allowed


@contextmanager
def whole_folder(place: Path) -> Iterator[Path]:
    """A new folder to write into, which becomes `place` when the body ends and vanishes when it fails.

    What was at `place` stays until then. Nothing in the new folder may be open at the end: Windows renames no such.

    Raises:
        OutputError: it cannot be written, or the disk is full.
    """
    part = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}-part-"))
        yield part
        part.chmod(allowed(0o777))  # temporary folders are private, the result need not be
        _replace(part, place)
    except OSError as error:
        raise OutputError(f"Cannot write “{place}”: {error.strerror or error}.") from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _replace(part: Path, place: Path) -> None:
    old = place.with_name(f".{place.name}-old-{os.getpid()}")
    if place.exists():
        place.rename(old)
    try:
        part.rename(place)
    except OSError:
        if old.exists():
            old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)
