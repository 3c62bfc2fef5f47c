# SPDX-License-Identifier: GPL-3.0-or-later
"""Files by their content: what has the same bytes is the same, whatever its name, place and date."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from ..errors import Cancelled

PROGRESS_BYTES = 1 << 26  # of a large file that are hashed between two reports


def file_sha256(
    path: str | Path,
    cancelled: Callable[[], bool] = lambda: False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Args:
        on_progress: called now and then with the bytes read and those there are.

    Raises:
        OSError: it cannot be read.
        Cancelled: `cancelled` says so.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        total = os.fstat(file.fileno()).st_size
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            if cancelled():
                raise Cancelled()
            if file.tell() % PROGRESS_BYTES == 0:
                on_progress(file.tell(), total)
    return digest.hexdigest()


def content_digest(path: str | Path) -> str:
    """As `file_sha256`; a file whose date and size have not changed is not read again. Raises OSError."""
    status = os.stat(path)
    return _remembered(os.path.abspath(path), status.st_mtime_ns, status.st_size)


@lru_cache(4096)
def _remembered(path: str, changed: int, size: int) -> str:
    return file_sha256(path)
