# SPDX-License-Identifier: GPL-3.0-or-later
"""Files by their content: what has the same bytes is the same, whatever its name, place and date."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def content_digest(path: str | Path) -> str:
    """As `file_sha256`; a file whose date and size have not changed is not read again. Raises OSError."""
    status = os.stat(path)
    return _remembered(os.path.abspath(path), status.st_mtime_ns, status.st_size)


@lru_cache(4096)
def _remembered(path: str, changed: int, size: int) -> str:
    return file_sha256(path)
