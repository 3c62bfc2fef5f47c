# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing files whole or not at all: readers and crashes never see half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import DiffPoseTalkError, OutputError


def allowed(mode: int) -> int:
    """What the user's umask leaves of a file's or folder's mode."""
    mask = os.umask(0)
    os.umask(mask)
    return mode & ~mask


@contextmanager
def whole_file(
    path: str | Path, refusal: type[DiffPoseTalkError] = OutputError, kind: str | None = None
) -> Iterator[BinaryIO]:
    """A binary file to write into, which becomes `path` when the body ends and vanishes when it fails.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full; `refusal` of a `kind` where these are given.
    """
    path = Path(path)
    part = None
    try:
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=".part-", suffix=path.suffix)
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(part, allowed(0o666))  # temporary files are private, the result need not be
        os.replace(part, path)
    except BaseException as error:
        if part is not None:
            Path(part).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise refusal(f"Cannot write “{path}”: {error.strerror or error}.", kind) from error
        raise
